//! What a node does with the rows of the plan below it.

use super::{CheckAs, DistPlan};
use crate::error::{sqlstate, Error};
use serde::{Deserialize, Serialize};

/// A modification by rows from below. Columns of these rows are counted from 0.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Apply {
    /// Statements that rows are written by, in the order in which they run.
    pub steps: Vec<Step>,
    /// Steps of each action, by number.
    pub actions: Vec<Vec<u32>>,
    /// Column with the number of a row's action, from 1 (0 and NULL: nothing to do); without it
    /// all rows are of the first action.
    pub action: Option<u32>,
    /// Columns that identify the target's row: only the first of equal ones is applied.
    pub identity: Vec<u32>,
    /// Column with the row's place, where several rows may be equal in what identifies them: the
    /// statements change all of them alike.
    pub place: Option<u32>,
    /// A target's row that comes a second time is an error (MERGE).
    pub once: bool,
    /// Read all rows before the first is written.
    pub materialize: bool,
    /// Conditions on new rows.
    pub checks: Vec<Check>,
    /// Columns that are the result themselves, where no step delivers it.
    pub keep: Vec<u32>,
    /// The table's columns (attribute numbers) that those of the rows are for, when COPY may bring
    /// the rows into the shards; empty when it has to be the statement.
    pub copy: Vec<i16>,
    /// Parameters whose value is that of a column, the same in all rows: number of the parameter,
    /// and of the column.
    pub given: Vec<(u32, u32)>,
}

/// A condition that a view or policy sets for new rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Column with its result.
    pub column: u32,
    /// Name of the view or table.
    pub relation: String,
    /// The view's, else the table's row-level security.
    pub view: bool,
}

impl Check {
    /// The error of a row that does not fulfil it.
    pub fn error(&self) -> Error {
        if self.view {
            Error::new(
                sqlstate::WITH_CHECK_OPTION_VIOLATION,
                format!("new row violates check option for view \"{}\"", self.relation),
            )
        } else {
            Error::new(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                format!(
                    "new row violates row-level security policy for table \"{}\"",
                    self.relation
                ),
            )
        }
    }
}

/// One statement with a slot for rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The statement.
    pub plan: DistPlan,
    /// Which shard a row goes to.
    pub route: Route,
    /// Columns that are sent, in the order of the statement.
    pub columns: Vec<Sent>,
    /// Whether its rows count for the command tag.
    pub counts: bool,
    /// The statement inserts the rows as they are: it gives literals the columns' own types, and
    /// the slot is for all that stands where `VALUES` or a query does.
    pub untyped: bool,
    /// Which rows it is for.
    pub when: When,
    /// It takes rows from their old shards.
    pub moves: Option<Moves>,
}

/// Which rows a step is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum When {
    /// All of the action.
    Always,
    /// Those whose shard stays the same with the new value of the distribution column.
    Stays,
    /// The others.
    Moves,
}

/// What has to be known when a step has not taken all rows from their old shards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moves {
    /// Name of the table.
    pub table: String,
    /// Names of constraints by which other rows keep the row, and schema and name of their tables.
    pub constraints: Vec<(String, (String, String))>,
    /// Whether policies can keep it.
    pub policies: bool,
}

impl Moves {
    /// The error of rows that stayed.
    pub fn error(&self) -> Error {
        let table = &self.table;
        let how =
            "Rows that get another distribution column value are deleted from their shard and \
            inserted into another.";
        match (self.constraints.as_slice(), self.policies) {
            ([(constraint, (schema, child)), ..], false) => {
                let mut e = Error::new(
                    sqlstate::FOREIGN_KEY_VIOLATION,
                    format!(
                        "update or delete on table \"{table}\" violates foreign key constraint \
                         \"{constraint}\" on table \"{child}\""
                    ),
                )
                .detail(format!("Key is still referenced from table \"{child}\"."));
                e.constraint = Some(constraint.clone());
                e.schema = Some(schema.clone());
                e.table = Some(child.clone());
                e
            }
            ([], true) => Error::new(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                format!("row-level security keeps a row of table \"{table}\" in its shard"),
            )
            .detail(how)
            .hint("The table's policies for DELETE must allow what those for UPDATE do."),
            _ => Error::unsupported(format!(
                "a row of table \"{table}\" cannot be moved to another shard"
            ))
            .detail(how)
            .hint(
                "Rows of other tables refer to it, or the table's policies for DELETE do not allow \
                 what those for UPDATE do.",
            ),
        }
    }
}

/// A column that is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Its number.
    pub column: u32,
    /// As text, whatever its type.
    pub as_text: bool,
}

/// How the shard of a row is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Route {
    /// There is only one.
    First,
    /// The column holds its number; a row without it has no target (outer join).
    Number(u32),
    /// The column is the distribution column's value.
    Key(u32),
}

impl Apply {
    /// One statement for all rows.
    pub fn one(step: Step) -> Self {
        Apply::of(vec![step])
    }

    /// The same statements for all rows.
    pub fn of(steps: Vec<Step>) -> Self {
        Apply {
            actions: vec![(0..steps.len() as u32).collect()],
            steps,
            action: None,
            identity: Vec::new(),
            place: None,
            once: false,
            materialize: true,
            checks: Vec::new(),
            keep: Vec::new(),
            copy: Vec::new(),
            given: Vec::new(),
        }
    }

    /// Whether the result is what comes back for new rows that go to several shards: it has their
    /// order then.
    pub fn returns_new_rows(&self) -> bool {
        let [step] = self.steps.as_slice() else { return false };
        let keyed = matches!(step.route, Route::Key(_));
        keyed && step.untyped && self.keep.is_empty() && step.plan.returns_rows()
    }

    /// Says as whom the rights of the statements on their target are checked, 0 for the
    /// current user.
    pub fn check_as(&mut self, alias: &str, role: u32) {
        if role == 0 {
            return;
        }
        for step in &mut self.steps {
            step.plan.check_as.push(CheckAs { table: 0, alias: alias.to_owned(), role });
        }
    }

    /// Serialized form for PostgreSQL's plan trees.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads what [`Apply::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}
