//! Changes of registered nodes: address and properties.

use super::{checks, placements};
use crate::catalog::{self, Node};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{guard, spi, subxact};

/// Waits for writers before it kills them: rounds of killing before giving up.
const KILL_ROUNDS: usize = 20;

fn check_cooldown(cooldown: i32) -> Result<()> {
    if cooldown >= 0 {
        return Ok(());
    }
    Err(Error::new(
        sqlstate::INVALID_PARAMETER_VALUE,
        format!("lock_cooldown {cooldown} is out of range"),
    )
    .hint("It is a time in milliseconds."))
}

/// Keeps writers away from a node until the end of the transaction; see [`set_address`].
pub fn pause(id: i32, force: bool, cooldown: i32) -> Result<()> {
    check_cooldown(cooldown)?;
    catalog::require_coordinator()?;
    wait_for_writers(&*checks::require_node_id(id)?, force, cooldown)
}

/// Gives a node a new address, after a failover for example.
///
/// Running writes to its tables come to their end first, so that none of them goes to the old
/// address. With `force` they are terminated when they have not ended after `cooldown`
/// milliseconds.
pub fn set_address(id: i32, name: &str, port: i32, force: bool, cooldown: i32) -> Result<()> {
    checks::check_address(name, port)?;
    check_cooldown(cooldown)?;
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    let node = checks::require_node_id(id)?;
    if node.name == name && node.port == port {
        return Ok(());
    }
    if let Some(other) = catalog::node_by_name(name, port)? {
        return Err(Error::new(
            sqlstate::DUPLICATE_OBJECT,
            format!("node {name}:{port} is registered already"),
        )
        .detail(format!("It is node {}.", other.id)));
    }
    if node.is_primary() {
        wait_for_writers(&node, force, cooldown)?;
    }
    catalog::set_node_address(id, name, port)
}

fn wait_for_writers(node: &Node, force: bool, cooldown: i32) -> Result<()> {
    if !force {
        return placements::lock_tables(node.group);
    }
    // A lock_timeout of 0 would wait for ever.
    let mut patience = cooldown.max(1);
    for _ in 0..KILL_ROUNDS {
        let locked = subxact::attempt(|| {
            spi::with_setting("lock_timeout", &patience.to_string(), || {
                placements::lock_tables(node.group)
            })
        })?;
        match locked {
            Ok(_) => return Ok(()),
            Err(e) if e.code == sqlstate::LOCK_NOT_AVAILABLE => terminate_writers(node.group)?,
            Err(e) => return Err(e),
        }
        patience = 500;
    }
    Err(Error::new(
        sqlstate::LOCK_NOT_AVAILABLE,
        format!("could not stop the writes to node {}:{}", node.name, node.port),
    ))
}

/// Terminates the sessions that write to tables with a placement in the group.
fn terminate_writers(group: i32) -> Result<()> {
    let sql = "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM (\
               SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l WHERE l.granted \
               AND l.locktype = 'relation' AND l.pid <> pg_catalog.pg_backend_pid() \
               AND l.database = (SELECT oid FROM pg_catalog.pg_database \
                 WHERE datname = pg_catalog.current_database()) \
               AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') \
               AND l.relation IN (SELECT s.logicalrelid FROM pg_catalog.pg_dist_shard s \
                 JOIN pg_catalog.pg_dist_placement p USING (shardid) WHERE p.groupid = $1)) b";
    let (rows, _) = spi::execute_as_owner(sql, &[spi::i32(group)])?;
    if let Some(n) = rows.into_iter().flatten().flatten().next().filter(|n| n != "0") {
        guard::notice(format!("terminated {n} sessions that were writing to the node"));
    }
    Ok(())
}

/// Sets a property of a node. There is one: `shouldhaveshards`.
pub fn set_property(name: &str, port: i32, property: &str, value: bool) -> Result<()> {
    if property != "shouldhaveshards" {
        return Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("unknown property \"{property}\" of a node"),
        )
        .hint("The property that can be set is \"shouldhaveshards\"."));
    }
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    let node = checks::require_node(name, port)?;
    catalog::set_node_should_have_shards(node.id, value)?;
    let no_place =
        !catalog::nodes()?.iter().any(|n| n.is_primary() && n.active && n.should_have_shards);
    if no_place {
        guard::notice("no node of the cluster may have new shards now");
    }
    Ok(())
}
