//! The node's side of shard DDL: statements on logical tables, applied to each of a set of shards.

use super::names::shard_name;
use super::objects;
use crate::error::{sqlstate, Error, Result, SqlState};
use crate::model::proof::Arguments;
use crate::pg::transmit::usual_reading;
use crate::pg::tree::{self, Renaming, Tree};
use crate::pg::{relation, spi, subxact, xact};
use crate::remote::proof::Call;
use pgrx::pg_sys::{NodeTag, ObjectType};

/// The function that applies a batch.
pub const APPLY: &str = "citus_internal_apply_shard_ddl";

/// Statements for one node: written once with the names of the logical tables, applied to every
/// set of shards.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Relations whose names stand for shards: schema and name. The first is the main one: its
    /// shard's id is also in the names of indexes and constraints.
    pub relations: Vec<(String, String)>,
    /// For each set of shards the id for each relation.
    pub ids: Vec<Vec<i64>>,
    /// The statements.
    pub commands: Vec<String>,
}

impl Batch {
    /// The call that applies the batch on another node.
    pub fn to_call(&self) -> Call {
        let array = |parts: &mut dyn Iterator<Item = String>, typ: &str| {
            format!("ARRAY[{}]::{typ}[]", parts.collect::<Vec<_>>().join(","))
        };
        let quote = crate::pg::fmgr::quote_literal;
        let text = "pg_catalog.text";
        let sql = format!(
            "{}, {}, {}, {}",
            array(&mut self.relations.iter().map(|r| quote(&r.0)), text),
            array(&mut self.relations.iter().map(|r| quote(&r.1)), text),
            array(&mut self.ids.iter().flatten().map(i64::to_string), "pg_catalog.int8"),
            array(&mut self.commands.iter().map(|c| quote(c)), text),
        );
        Call { function: APPLY, sql, arguments: self.arguments() }
    }

    /// What a proof for the call is about.
    pub fn arguments(&self) -> Arguments {
        let mut all = Arguments::default();
        all.list(self.relations.iter().map(|r| &r.0));
        all.list(self.relations.iter().map(|r| &r.1));
        let ids: Vec<String> = self.ids.iter().flatten().map(i64::to_string).collect();
        all.list(ids.iter());
        all.list(self.commands.iter());
        all
    }

    /// Applies the batch here.
    pub fn run(&self) -> Result<()> {
        quietly(|| {
            let mut parsed: Vec<(Tree, &str)> = Vec::new();
            for c in &self.commands {
                parsed.extend(tree::parse(c)?.into_iter().map(|t| (t, c.as_str())));
            }
            for ids in &self.ids {
                tree::with_temporary_context(|| self.run_for(&parsed, ids))?;
            }
            Ok(())
        })
    }

    /// Applies statements that manage transactions themselves, one after the other.
    pub fn run_top_level(&self) -> Result<()> {
        for ids in &self.ids {
            for c in &self.commands {
                // Statements outlive the transactions that they begin and end.
                tree::in_portal_context(|| {
                    for statement in usual_reading(|| tree::parse(c))? {
                        self.with_renaming(ids, |r| statement.rename(r))?;
                        statement.run_top_level(c)?;
                        // DROP INDEX leaves its last step to be committed.
                        xact::commit_and_start();
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn run_for(&self, parsed: &[(Tree, &str)], ids: &[i64]) -> Result<()> {
        self.with_renaming(ids, |renaming| {
            for (statement, source) in parsed {
                let statement = statement.copy();
                statement.rename(renaming)?;
                statement.run(source)?;
            }
            Ok(())
        })
    }

    fn with_renaming(&self, ids: &[i64], f: impl FnOnce(&Renaming) -> Result<()>) -> Result<()> {
        let Some((&main_id, (schema, name))) = ids.first().zip(self.relations.first()) else {
            return Err(Error::internal("shard command without a relation"));
        };
        if ids.len() != self.relations.len() {
            return Err(Error::internal("shard command with a wrong number of shard ids"));
        }
        let main_shard = shard_name(name, main_id);
        let relations: Vec<((&str, &str), String)> = self
            .relations
            .iter()
            .zip(ids)
            .map(|((s, n), id)| ((s.as_str(), n.as_str()), shard_name(n, *id)))
            .collect();
        f(&Renaming {
            relations,
            dependent: &|n| shard_name(n, main_id),
            has_constraint: &|n| relation::has_constraint(schema, &main_shard, n),
        })
    }
}

/// Runs `f` with the search path pinned and without notices: the statement on the table itself has
/// said what there is to say.
fn quietly<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    spi::pinned(|| spi::with_setting("client_min_messages", "warning", f))
}

/// How long a lock is waited for when objects are made.
const LOCK_TIMEOUT: &str = "30s";

/// Runs statements that create objects, what they are made of first, each in a subtransaction. An
/// object that is there already is left as it is, but for types and functions that are others by now.
///
/// Statements about a function come after a query that finds a row when it is what it is to be: then they
/// are left out, and no lock is taken. One of them drops the function; it is run when it cannot be
/// changed.
pub fn create_unless_exist(commands: &[String]) -> Result<()> {
    const EXISTS: [SqlState; 3] =
        [sqlstate::DUPLICATE_OBJECT, SqlState::new(b"42P06"), SqlState::new(b"23505")];
    drop_others(commands)?;
    // What holds a lock for long may be the transaction that waits for this call.
    spi::with_setting("lock_timeout", LOCK_TIMEOUT, || make_each(commands, &EXISTS))
}

fn make_each(commands: &[String], exists: &[SqlState]) -> Result<()> {
    let (mut drop, mut skip) = (None, false);
    for command in commands {
        let parsed = tree::parse(command)?;
        let Some(statement) = parsed.first() else { continue };
        if statement.tag() == NodeTag::T_SelectStmt {
            skip = !spi::pinned(|| spi::query(command, &[]))?.is_empty();
            continue;
        }
        skip &= statement.is_about_function();
        if skip {
            continue;
        }
        if statement.drop_kind() == Some(ObjectType::OBJECT_FUNCTION) {
            drop = Some(command.as_str());
            continue;
        }
        let result = match statement.tag() == NodeTag::T_CreateFunctionStmt {
            true => attempt_function(command, drop.take())?,
            false => attempt(command)?,
        };
        if let Err(e) = result {
            if !exists.contains(&e.code) {
                return Err(e);
            }
        }
    }
    Ok(())
}

/// Makes or changes a function. One with another type of result is dropped before.
fn attempt_function(command: &str, drop: Option<&str>) -> Result<Result<()>> {
    // What it calls may not be needed here, or come later.
    let unchecked = || spi::with_setting("check_function_bodies", "off", || attempt(command));
    match (unchecked()?, drop) {
        (Err(e), Some(drop)) if e.code == SqlState::new(b"42P13") => match attempt(drop)? {
            Ok(()) => unchecked(),
            in_use => Ok(in_use),
        },
        (result, _) => Ok(result),
    }
}

fn attempt(command: &str) -> Result<Result<()>> {
    subxact::attempt(|| {
        quietly(|| {
            for statement in tree::parse(command)? {
                statement.run(command)?;
            }
            Ok(())
        })
    })
}

/// A type that is to be there, and what it is there now.
struct Wanted<'a> {
    command: &'a str,
    name: String,
    is_domain: bool,
    there: Option<String>,
}

impl Wanted<'_> {
    fn is_other(&self) -> bool {
        self.there.as_deref().is_some_and(|there| there != self.command)
    }

    /// Defaults and checks of a domain that are written otherwise do no harm to the values here.
    fn is_usable(&self) -> bool {
        let base = |text: &str| {
            let ends = [" COLLATE ", " DEFAULT ", " NOT NULL", " CONSTRAINT "];
            ends.iter()
                .filter_map(|e| text.find(e))
                .min()
                .and_then(|n| text.get(..n).map(str::to_owned))
        };
        let base = |text: &str| base(text).unwrap_or_else(|| text.to_owned());
        self.is_domain && self.there.as_deref().is_some_and(|t| base(t) == base(self.command))
    }
}

/// Types outlive the tables that they were made for here, and one of the same name may be another by
/// now. Then it goes, with what is made of it, if nothing uses it.
fn drop_others(commands: &[String]) -> Result<()> {
    let mut types = Vec::new();
    for command in commands {
        let made = tree::parse(command)?.iter().find_map(|s| s.created_type());
        if let Some((name, is_domain)) = made {
            let there = objects::type_definition(&name)?;
            types.push(Wanted { command, name, is_domain, there });
        }
    }
    let Some(first) = types.iter().position(Wanted::is_other) else { return Ok(()) };
    // What comes later may be made of it.
    for t in types.iter().skip(first).filter(|t| t.there.is_some()).rev() {
        // A domain is one, too.
        match attempt(&format!("DROP TYPE {}", t.name))? {
            Err(e) if t.is_other() && !t.is_usable() => return Err(in_use(t, &e)),
            _ => {}
        }
    }
    Ok(())
}

fn in_use(t: &Wanted, e: &Error) -> Error {
    let there = t.there.as_deref().unwrap_or_default();
    let users = e.detail.as_deref().unwrap_or(&e.message);
    Error::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("type {} is another one on this node, and in use", t.name),
    )
    .detail(format!("It was made by: {there}\n{users}"))
    .hint("Drop what uses it on the node, or give the new type another name.")
}
