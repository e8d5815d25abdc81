//! Nodes that leave: disabled for a while, or removed.

use super::{checks, placements, probe};
use crate::catalog::{self, Node, COORDINATOR_GROUP};
use crate::ddl::leftovers;
use crate::error::{sqlstate, Error, Result};
use crate::pg::{guard, session, spi, subxact};
use crate::remote::pool;
use crate::txn::{recovery, run};

/// Stops using a node. Its copies of shards that other nodes have too are forgotten, because they
/// miss what is written from now on; it gets new ones of reference tables when it is activated.
pub fn disable(name: &str, port: i32) -> Result<()> {
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    let node = checks::require_node(name, port)?;
    if node.group == COORDINATOR_GROUP && node.is_primary() {
        return Err(Error::new(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the coordinator cannot be disabled",
        )
        .hint("Use citus_set_node_property to keep new shards away from it."));
    }
    if node.is_primary() && node.active {
        placements::lock_tables(node.group)?;
        placements::require_other_copies(&node, "disable")?;
        let reachable = is_reachable(&node);
        clear(&node, reachable)?;
    }
    catalog::set_node_active(node.id, false)
}

/// Takes a node out of the cluster.
pub fn remove(name: &str, port: i32) -> Result<()> {
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    let node = checks::require_node(name, port)?;
    if !node.is_primary() {
        return catalog::delete_node(node.id);
    }
    placements::lock_tables(node.group)?;
    placements::require_other_copies(&node, "remove")?;
    require_no_standby(&node)?;
    if node.group == COORDINATOR_GROUP {
        clear(&node, true)?;
        return catalog::delete_node(node.id);
    }
    let reachable = is_reachable(&node);
    clear(&node, reachable)?;
    if reachable {
        unmark(&node)?;
    } else {
        guard::warning(
            &Error::new(
                sqlstate::UNABLE_TO_CONNECT,
                format!("node {name}:{port} is removed although it cannot be reached"),
            )
            .hint(
                "To use that server otherwise, drop and create extension citus in its database. \
                 It can be added to this cluster again as it is.",
            ),
        );
    }
    forget_transactions(&node)?;
    leftovers::take(node.group)?;
    catalog::forget_secret(node.group)?;
    catalog::delete_node(node.id)
}

/// A group without primary but with standbys would be of no use.
fn require_no_standby(node: &Node) -> Result<()> {
    let nodes = catalog::nodes()?;
    let Some(s) = nodes.iter().find(|n| n.group == node.group && n.id != node.id) else {
        return Ok(());
    };
    Err(Error::new(
        sqlstate::OBJECT_IN_USE,
        format!("cannot remove node {}:{} because it has a standby", node.name, node.port),
    )
    .detail(format!("It is node {}:{}.", s.name, s.port))
    .hint("Remove the standby first."))
}

/// Whether a connection to the node can be made now.
fn is_reachable(node: &Node) -> bool {
    pool::connect(&probe::address_of(node), &session::user_name()).is_ok()
}

/// Gives up the node's placements, and the tables behind them where the node can be reached.
fn clear(node: &Node, reachable: bool) -> Result<()> {
    if reachable && node.group != COORDINATOR_GROUP {
        // What a crash left half done there would keep its locks.
        recovery::recover_at(&probe::address_of(node))?;
    }
    if node.group != COORDINATOR_GROUP {
        // What others have prepared together with the node is decided while it can be asked.
        recovery::recover()?;
    }
    let names = placements::names(&placements::forget(node.group)?);
    if !reachable {
        return leftovers::record(node.group, &names);
    }
    leftovers::drop_now(node.group, &names)?;
    leftovers::drop_now(node.group, &leftovers::take(node.group)?)
}

/// Makes the worker an independent server again, if it still is one of ours.
fn unmark(node: &Node) -> Result<()> {
    let done = subxact::attempt(|| run::on_group(node.group, probe::UNMARK_SQL, true))?;
    if let Err(e) = done {
        guard::warning(
            &Error::new(
                e.code,
                format!(
                    "node {}:{} could not be told that it left the cluster: {}",
                    node.name, node.port, e.message
                ),
            )
            .hint("To use that server otherwise, drop and create extension citus there."),
        );
    }
    Ok(())
}

/// Decisions about prepared transactions on the node are of no use any more.
fn forget_transactions(node: &Node) -> Result<()> {
    let sql = "DELETE FROM pg_catalog.pg_dist_transaction WHERE groupid = $1";
    spi::execute_as_owner(sql, &[spi::i32(node.group)]).map(|_| ())
}
