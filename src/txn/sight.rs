//! Which placements have what the running transaction reads.
//!
//! A copy or move of a shard writes rows into a new placement, and what distributes a table writes
//! all of it. A transaction with one snapshot that had the node's before does not see them: the
//! placement is empty for it. So each placement is known by the transaction that entered it in the
//! catalog, and is used only when that one had committed at the moment at which the node's snapshot
//! was taken. Both moments are on this server, inside the gate (see [`gate`](super::gate)), where
//! no such transaction is between its commit here and those on the nodes.

use super::consistent;
use super::parts;
use crate::catalog::{self, Placement, Shard};
use crate::error::{sqlstate, Error, Result};
use crate::pg::snapshot::{Fixed, Moment};
use crate::pg::{session as local, xact};
use std::rc::Rc;

/// As of when the running transaction, or one of its statements, reads.
pub struct Sight {
    here: Fixed,
    local: i32,
    nodes: Nodes,
}

/// As of when other nodes are read.
enum Nodes {
    /// Those that take part in the transaction already.
    Joined(Vec<(i32, Rc<Moment>)>),
    /// All at the moment of the statement's snapshot here.
    Statement,
}

impl Sight {
    /// The running transaction's; `None` when it reads what is there now.
    pub fn of_transaction() -> Result<Option<Sight>> {
        if !xact::has_one_snapshot() {
            return Ok(None);
        }
        let nodes = Nodes::Joined(parts::moments());
        let (here, local) = (Fixed::of_transaction()?, catalog::local_group()?);
        Ok(Some(Sight { here, local, nodes }))
    }

    /// That of a statement for which nodes hold snapshots, from its own.
    pub fn of_statement(here: Fixed) -> Result<Sight> {
        Ok(Sight { here, local: catalog::local_group()?, nodes: Nodes::Statement })
    }

    /// Why a shard's placement on a group cannot be used; `None` when it can, or is none.
    pub fn trouble(&self, shard: &Shard, group: i32) -> Option<Error> {
        let placement = shard.placements.iter().find(|p| p.group == group)?;
        let seen_at = match &self.nodes {
            _ if group == self.local => Some(self.here),
            Nodes::Statement => Some(self.here),
            Nodes::Joined(joined) => match joined.iter().find(|(g, _)| *g == group) {
                Some((_, moment)) => moment.snapshot(),
                // Its snapshot will be taken after what we know was committed, or never.
                None => return consistent::why_missing(group),
            },
        };
        let sees = seen_at.is_none_or(|at| sees(&at, shard.id, placement));
        (!sees).then(|| self.error(shard.id, group))
    }

    fn error(&self, shard: i64, group: i32) -> Error {
        let node = match catalog::node_of_group(group) {
            Ok(n) => format!("node {}:{}", n.name, n.port),
            Err(_) => format!("group {group}"),
        };
        let table = catalog::relation_of_shard(shard).and_then(local::relation_name);
        let of = table.map_or_else(String::new, |(_, name)| format!(" of table \"{name}\""));
        let (what, hint) = match self.nodes {
            Nodes::Joined(_) => ("transaction", "Roll back and run the transaction again."),
            Nodes::Statement => ("statement", "Run the statement again."),
        };
        let message = format!(
            "shard {shard}{of} was placed on {node} after this {what}'s snapshot was taken"
        );
        Error::new(sqlstate::SERIALIZATION_FAILURE, message)
            .detail("The snapshot does not contain the rows that were written there since.")
            .hint(hint)
    }
}

/// Whether a placement was there at a moment.
fn sees(at: &Fixed, shard: i64, placement: &Placement) -> bool {
    placement.since == 0
        || at.sees(placement.since)
        || xact::is_own(placement.since)
        // Its row may have been written again since, for its size.
        || catalog::was_placed(at, shard, placement.id)
}

/// Refuses a table of this server whose rows came back from shards after the snapshot of the
/// running transaction, which has only one: it looks empty there.
pub fn check_plain(relid: pgrx::pg_sys::Oid) -> Result<()> {
    if !catalog::was_managed(&Fixed::of_transaction()?, relid) {
        return Ok(());
    }
    let name = local::relation_name(relid).map_or_else(String::new, |(_, name)| name);
    let message = format!(
        "the rows of table \"{name}\" came here after this transaction's snapshot was taken"
    );
    Err(Error::new(sqlstate::SERIALIZATION_FAILURE, message)
        .detail("It was a distributed or reference table then.")
        .hint("Roll back and run the transaction again."))
}
