//! Rows that a modification affected, on all copies of a shard the same number.

use super::Task;
use crate::error::{sqlstate, Error, Result};
use crate::pg::xact;
use rustc_hash::FxHashMap;

/// A task under way.
#[derive(Clone, Copy)]
pub struct Running {
    /// Its rows and counts are another replica's.
    pub mute: bool,
    /// The shard.
    pub shard: i64,
    /// Healthy placements of the shard.
    pub copies: usize,
}

impl Running {
    /// What is kept of a task.
    pub fn of(t: &Task) -> Running {
        Running { mute: t.mute, shard: t.shard, copies: t.copies }
    }
}

/// The counts of one execution.
#[derive(Default)]
pub struct Count {
    /// Rows affected, each counted once whatever its replicas.
    pub affected: u64,
    /// Rows of shards with replicas, as the first that answered has it.
    first: FxHashMap<i64, u64>,
}

impl Count {
    /// More statements on the same shards follow.
    pub fn next_round(&mut self) {
        self.first.clear();
    }

    /// Counts the rows of a task.
    pub fn add(&mut self, task: Option<Running>, rows: u64) -> Result<()> {
        let mute = task.is_some_and(|t| t.mute);
        if !mute {
            self.affected += rows;
        }
        let Some(t) = task.filter(|t| t.copies > 1) else { return Ok(()) };
        let first = *self.first.entry(t.shard).or_insert(rows);
        if first == rows {
            return Ok(());
        }
        Err(differ(t.shard, first, rows))
    }
}

/// Copies of a shard that do not agree: with a snapshot that the transaction took on one node
/// earlier than on another, that is a conflict with others like any.
fn differ(shard: i64, a: u64, b: u64) -> Error {
    if !xact::characteristics().is_plain() {
        let message = "could not serialize access due to concurrent update of a replicated shard";
        return Error::new(sqlstate::SERIALIZATION_FAILURE, message)
            .hint("Run the transaction again.");
    }
    Error::new(sqlstate::DATA_CORRUPTED, format!("the copies of shard {shard} differ"))
        .detail(format!("The statement affects {a} rows of one copy and {b} of another."))
        .hint(
            "If a node was interrupted in a commit, recovery finishes that soon: try again. Otherwise \
             find out which copy is right, set shardstate of the others in pg_dist_placement to 3, \
             and repair them with citus_copy_shard_placement.",
        )
}

/// The count in a command tag: the last word of `INSERT 0 5`, `UPDATE 3` ...
pub fn tag_count(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
