//! Changes of `pg_dist_node`, the catalog of the cluster's nodes.
//!
//! Privileges are checked by the callers (the SQL functions are closed to ordinary users); the
//! catalog is written as the extension's owner, so that a role with EXECUTE on a function needs
//! no privilege on the catalog itself.

use super::nodes::{local_group, nodes, Node};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{session, spi};
use crate::settings;
use std::rc::Rc;

/// Group of the coordinator.
pub const COORDINATOR_GROUP: i32 = 0;

/// A node to be registered.
pub struct NewNode<'a> {
    /// Group, `None` for the next free one.
    pub group: Option<i32>,
    /// Host name, address or socket directory.
    pub name: &'a str,
    /// Port.
    pub port: i32,
    /// `primary`, `secondary` or `unavailable`.
    pub role: &'a str,
    /// Cluster name.
    pub cluster: &'a str,
    /// Whether it takes queries at once.
    pub active: bool,
    /// Whether new shards may be placed there.
    pub should_have_shards: bool,
}

/// Refuses everywhere but on the coordinator.
pub fn require_coordinator() -> Result<()> {
    if local_group()? == COORDINATOR_GROUP {
        return Ok(());
    }
    Err(Error::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "operation is not allowed on this node",
    )
    .hint("Connect to the coordinator and run it again."))
}

/// Serializes changes of the set of nodes until the end of the transaction. Readers go on.
pub fn lock_nodes() -> Result<()> {
    let sql = "LOCK TABLE pg_catalog.pg_dist_node IN EXCLUSIVE MODE";
    spi::execute_as_owner(sql, &[]).map(|_| ())
}

/// Keeps the set of nodes as it is until the end of the transaction: for who puts something on
/// every node, or on nodes of his choice.
pub fn lock_nodes_shared() -> Result<()> {
    let sql = "LOCK TABLE pg_catalog.pg_dist_node IN ROW SHARE MODE";
    spi::execute_as_owner(sql, &[]).map(|_| ())
}

/// Registers a node and gives back its id. The caller holds [`lock_nodes`].
pub fn insert_node(n: &NewNode) -> Result<i32> {
    let group = match n.group {
        Some(g) => g,
        None => next_group()?,
    };
    // Only the coordinator keeps metadata.
    let metadata = group == COORDINATOR_GROUP;
    let sql = "INSERT INTO pg_catalog.pg_dist_node (groupid, nodename, nodeport, hasmetadata, \
               isactive, noderole, nodecluster, metadatasynced, shouldhaveshards) \
               VALUES ($1, $2, $3, $4, $5, $6::pg_catalog.noderole, $7::name, $4, $8) \
               RETURNING nodeid";
    let params = [
        spi::i32(group),
        spi::text(n.name),
        spi::i32(n.port),
        spi::bool(metadata),
        spi::bool(n.active),
        spi::text(n.role),
        spi::text(n.cluster),
        spi::bool(n.should_have_shards),
    ];
    let (rows, _) = spi::execute_as_owner(sql, &params)?;
    rows.first()
        .and_then(|r| r.first())
        .and_then(|v| v.as_deref())
        .and_then(|v| v.parse().ok())
        .ok_or_else(|| Error::internal("no id of the new row of pg_dist_node"))
}

fn next_group() -> Result<i32> {
    let sql = "SELECT pg_catalog.nextval('pg_catalog.pg_dist_groupid_seq'::regclass)";
    let (rows, _) = spi::execute_as_owner(sql, &[])?;
    let group = rows.into_iter().flatten().flatten().next();
    group.and_then(|g| g.parse().ok()).ok_or_else(|| {
        Error::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "no more group identifiers are available")
    })
}

/// Changes one column of a node's row.
fn update(id: i32, set: &str, values: &[spi::Param]) -> Result<()> {
    let sql = format!("UPDATE pg_catalog.pg_dist_node SET {set} WHERE nodeid = $1");
    let mut params = vec![spi::i32(id)];
    params.extend_from_slice(values);
    match spi::execute_as_owner(&sql, &params)? {
        (_, 1) => Ok(()),
        _ => Err(no_node_with_id(id)),
    }
}

/// The error for an unknown node id.
pub fn no_node_with_id(id: i32) -> Error {
    Error::new(sqlstate::UNDEFINED_OBJECT, format!("node {id} does not exist"))
        .hint("The nodes of the cluster are listed in pg_dist_node.")
}

/// Lets a node take queries, or not.
pub fn set_node_active(id: i32, active: bool) -> Result<()> {
    update(id, "isactive = $2", &[spi::bool(active)])
}

/// Gives a node a new address.
pub fn set_node_address(id: i32, name: &str, port: i32) -> Result<()> {
    update(id, "nodename = $2, nodeport = $3", &[spi::text(name), spi::i32(port)])
}

/// Lets a node have new shards, or not.
pub fn set_node_should_have_shards(id: i32, value: bool) -> Result<()> {
    update(id, "shouldhaveshards = $2", &[spi::bool(value)])
}

/// Removes a node's row and what belongs to it.
pub fn delete_node(id: i32) -> Result<()> {
    for catalog in ["pg_dist_authinfo", "pg_dist_poolinfo", "pg_dist_node"] {
        let sql = format!("DELETE FROM pg_catalog.{catalog} WHERE nodeid = $1");
        spi::execute_as_owner(&sql, &[spi::i32(id)])?;
    }
    Ok(())
}

/// The row of the coordinator, if it is registered.
pub fn coordinator_node() -> Result<Option<Rc<Node>>> {
    Ok(nodes()?.into_iter().find(|n| n.group == COORDINATOR_GROUP && n.is_primary()))
}

/// Whether there is a primary besides the coordinator.
pub fn has_workers() -> Result<bool> {
    Ok(nodes()?.iter().any(|n| n.group != COORDINATOR_GROUP && n.is_primary()))
}

/// Makes a cluster out of this single server: where no node is registered yet, the coordinator
/// registers itself and holds shards. Called before the first table is distributed.
pub fn ensure_local_node() -> Result<()> {
    require_coordinator()?;
    if !nodes()?.is_empty() {
        return Ok(());
    }
    lock_nodes()?;
    if !nodes()?.is_empty() {
        return Ok(());
    }
    let host = Some(settings::local_hostname()).filter(|h| !h.is_empty());
    insert_node(&NewNode {
        group: Some(COORDINATOR_GROUP),
        name: host.as_deref().unwrap_or("localhost"),
        port: session::server_port(),
        role: "primary",
        cluster: "default",
        active: true,
        should_have_shards: true,
    })?;
    Ok(())
}
