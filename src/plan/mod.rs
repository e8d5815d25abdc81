//! What the planner says and the executor does: plain data, no server, no I/O.

mod apply;
mod prune;
mod template;

pub use apply::{Apply, Check, Moves, Route, Sent, Step, When};
pub use prune::{By, Prune};
pub use template::{Marked, Piece, Template};

use serde::{Deserialize, Serialize};

/// What a distributed plan does to its tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Operation {
    /// Reads.
    Select,
    /// Reads and locks rows.
    SelectForUpdate,
    /// Writes; the number of affected rows counts.
    Modify,
}

/// Where a plan's tasks run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Target {
    /// One task per shard group of the co-located tables led by this one, after pruning.
    Shards {
        /// OID of the table whose shards are pruned.
        anchor: u32,
        /// Which shards can hold matching rows.
        prune: Prune,
        /// The query is only right on a single shard (router); pruning guarantees one.
        single: bool,
    },
    /// One task on any node that has the reference tables.
    AnyReplica {
        /// A reference table of the query.
        anchor: u32,
    },
    /// One task on every replica of a reference table (writes); rows come from the first.
    AllReplicas {
        /// The reference table written to.
        anchor: u32,
    },
    /// The rows of a statement in WITH, which ran before.
    Statement {
        /// Its number in this backend.
        number: u64,
    },
}

/// A parameter of the remote statement; its value is expression `i` of the scan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ParamSpec {
    /// Type of the expression here.
    pub typ: u32,
    /// Type announced to the node: the same for built-in types, text where the OID may differ.
    pub remote: u32,
    /// An array of values of the distribution column: a shard needs those that can be its own.
    pub list: bool,
}

/// A column of the remote result.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Type.
    pub typ: u32,
    /// Type modifier.
    pub typmod: i32,
}

/// Order in which every task delivers its rows, for merging them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SortKey {
    /// Result column, from 0.
    pub column: u32,
    /// Ordering operator.
    pub operator: u32,
    /// Collation.
    pub collation: u32,
    /// NULLs first.
    pub nulls_first: bool,
}

/// A table of a statement whose rights and policies are somebody's, whoever runs the statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckAs {
    /// Its number among the plan's tables.
    pub table: u32,
    /// Its alias in the text, which no other table there has.
    pub alias: String,
    /// OID of the role that is checked; 0 for whoever opened the query.
    pub role: u32,
}

/// A query that runs on shard groups independently, its results concatenated.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DistPlan {
    /// What it does.
    pub operation: Operation,
    /// Where it runs.
    pub target: Target,
    /// Its text with slots for shard names.
    pub template: Template,
    /// Tables of the slots (OIDs).
    pub tables: Vec<u32>,
    /// Parameters of the text.
    pub params: Vec<ParamSpec>,
    /// Result columns.
    pub columns: Vec<Column>,
    /// Merge order, empty when rows come as they come.
    pub merge: Vec<SortKey>,
    /// Stop after so many rows per task (known limit), for estimates only.
    pub rows: f64,
    /// Run as a server-side prepared statement on the node.
    pub prepare: bool,
    /// Inserts one row: it needs a value for the distribution column.
    pub insert: bool,
    /// Each run may bring other rows: it calls volatile functions.
    pub volatile: bool,
    /// Tables that are written, or whose rows are locked (OIDs).
    pub locks: Vec<u32>,
    /// Rows that others have locked are an error (NOWAIT).
    pub nowait: bool,
    /// Nothing but new rows is written, and a conflict with other rows is an error.
    pub append: bool,
    /// Value of the distribution column of a single-shard plan, where statistics ask for it.
    pub tenant: Option<String>,
    /// Tables that came in by a view or rule: their rights are checked as its owner.
    pub check_as: Vec<CheckAs>,
}

impl DistPlan {
    /// Whether rows come back: always from a query (they may have no columns), from a
    /// modification with RETURNING.
    pub fn returns_rows(&self) -> bool {
        self.operation != Operation::Modify || !self.columns.is_empty()
    }

    /// A plan of nothing but what is known of a statement that writes to any shard of a table;
    /// `append` when it does nothing but add rows.
    pub fn writing(table: u32, append: bool) -> Self {
        DistPlan {
            operation: Operation::Modify,
            target: Target::Shards { anchor: table, prune: Prune::All, single: false },
            template: Template::default(),
            tables: vec![table],
            params: Vec::new(),
            columns: Vec::new(),
            merge: Vec::new(),
            rows: 0.0,
            prepare: false,
            insert: false,
            volatile: false,
            locks: vec![table],
            nowait: false,
            append,
            tenant: None,
            check_as: Vec::new(),
        }
    }

    /// Serialized form for PostgreSQL's plan trees.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads what [`DistPlan::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}
