//! Nodes of the cluster (`pg_dist_node`) and which of them this server is.

use super::cache::{oids, steady, NODES};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{scan, spi};
use std::cell::Cell;
use std::rc::Rc;

/// A row of `pg_dist_node`.
#[derive(Clone, Debug)]
pub struct Node {
    /// Node id.
    pub id: i32,
    /// Group (a primary and its secondaries); group 0 is the coordinator.
    pub group: i32,
    /// Host name, address or directory of a unix socket.
    pub name: String,
    /// Port.
    pub port: i32,
    /// Whether metadata is kept there.
    pub has_metadata: bool,
    /// Whether it takes queries and writes.
    pub active: bool,
    /// `primary`, `secondary` or `unavailable`.
    pub role: String,
    /// Cluster name, `default` unless read replicas are grouped.
    pub cluster: String,
    /// Whether new shards may be placed there.
    pub should_have_shards: bool,
}

impl Node {
    /// Whether it is the primary of its group.
    pub fn is_primary(&self) -> bool {
        self.role == "primary"
    }
}

/// All nodes and the group of this server.
pub struct NodeCache {
    nodes: Vec<Rc<Node>>,
    local_group: i32,
    /// Id of this server's node; `None` until somebody asks.
    local_id: Cell<Option<i32>>,
}

fn load() -> Result<Rc<NodeCache>> {
    if let Some(c) = NODES.with(|n| n.borrow().clone()) {
        return Ok(c);
    }
    let (cache, may_be_kept) = steady(read);
    let cache = cache?;
    if may_be_kept {
        NODES.with(|n| *n.borrow_mut() = Some(cache.clone()));
    }
    Ok(cache)
}

fn read() -> Result<Rc<NodeCache>> {
    let o = oids().ok_or_else(not_installed)?;
    let mut nodes = Vec::new();
    scan::rows(o.node, None, &[], |r| {
        nodes.push(Rc::new(Node {
            id: r.i32(1),
            group: r.i32(2),
            name: r.text(3).unwrap_or_default(),
            port: r.i32(4),
            has_metadata: r.bool(6),
            active: r.bool(7),
            role: role_name(r.oid(8)),
            cluster: r.name(9).unwrap_or_default(),
            should_have_shards: r.bool(11),
        }));
    });
    nodes.sort_by_key(|n| n.id);
    let mut local_group = 0;
    scan::rows(o.local_group, None, &[], |r| local_group = r.i32(1));
    Ok(Rc::new(NodeCache { nodes, local_group, local_id: Cell::new(None) }))
}

fn not_installed() -> Error {
    Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "extension citus is not installed")
        .hint("Run CREATE EXTENSION citus in this database.")
}

/// Label of a value of the enum `noderole`.
pub fn role_name(value: pgrx::pg_sys::Oid) -> String {
    scan::enum_label(value).unwrap_or_default()
}

/// All nodes, by id.
pub fn nodes() -> Result<Vec<Rc<Node>>> {
    Ok(load()?.nodes.clone())
}

/// Groups of the other active nodes, in order.
pub fn other_groups() -> Result<Vec<i32>> {
    let local = local_group()?;
    let others = |n: &&Rc<Node>| n.is_primary() && n.active && n.group != local;
    let mut groups: Vec<i32> = nodes()?.iter().filter(others).map(|n| n.group).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// The group of this server: 0 on the coordinator.
pub fn local_group() -> Result<i32> {
    Ok(load()?.local_group)
}

/// The id of this server's node, 0 when it is no node of a cluster. A worker does not know the
/// nodes; the coordinator told it its id when it joined.
pub fn local_node_id() -> Result<i32> {
    let cache = load()?;
    if let Some(id) = cache.local_id.get() {
        return Ok(id);
    }
    let known = cache.nodes.iter().find(|n| n.group == cache.local_group && n.is_primary());
    let id = match known {
        Some(n) => n.id,
        None if cache.local_group == 0 => 0,
        None => {
            let sql = "SELECT metadata->>'node_id' FROM pg_catalog.pg_dist_node_metadata LIMIT 1";
            spi::value(sql, &[])?.and_then(|id| id.parse().ok()).unwrap_or(0)
        }
    };
    cache.local_id.set(Some(id));
    Ok(id)
}

/// The primary of a group.
pub fn node_of_group(group: i32) -> Result<Rc<Node>> {
    let cache = load()?;
    let found = cache.nodes.iter().find(|n| n.group == group && n.is_primary()).cloned();
    found.ok_or_else(|| {
        Error::new(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("there is no primary node for group {group} in pg_dist_node"),
        )
    })
}

/// A node by id.
pub fn node_by_id(id: i32) -> Result<Option<Rc<Node>>> {
    Ok(load()?.nodes.iter().find(|n| n.id == id).cloned())
}

/// A node by name and port.
pub fn node_by_name(name: &str, port: i32) -> Result<Option<Rc<Node>>> {
    Ok(load()?.nodes.iter().find(|n| n.name == name && n.port == port).cloned())
}

/// Identity of this cluster (`pg_dist_node_metadata.metadata->>'server_id'`).
pub fn server_id() -> Result<Option<String>> {
    spi::value("SELECT metadata->>'server_id' FROM pg_catalog.pg_dist_node_metadata LIMIT 1", &[])
}
