//! Checks of what users say about nodes.

use crate::catalog::{self, Node};
use crate::error::{sqlstate, Error, Result};
use std::rc::Rc;

/// Longest host name (a name in DNS has at most 253 characters; socket paths are shorter).
const MAX_HOST: usize = 255;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// Refuses what cannot be a host name, an address or a socket directory.
pub fn check_host(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(invalid("node name must not be empty"));
    }
    if name.len() > MAX_HOST {
        return Err(invalid("node name is too long")
            .detail(format!("It has {} bytes, at most {MAX_HOST} are possible.", name.len())));
    }
    if let Some(c) = name.chars().find(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid("node name contains an invalid character")
            .detail(format!("The character is U+{:04X}.", u32::from(c)))
            .hint("Give a host name, an IP address or the directory of a unix socket."));
    }
    if name.contains(',') {
        return Err(invalid("node name contains an invalid character")
            .detail("A list of hosts is not possible."));
    }
    Ok(())
}

/// Refuses what cannot be a port.
pub fn check_port(port: i32) -> Result<()> {
    if (1..=65535).contains(&port) {
        return Ok(());
    }
    Err(invalid(format!("port {port} is out of range"))
        .hint("A port is a number between 1 and 65535."))
}

/// [`check_host`] and [`check_port`].
pub fn check_address(name: &str, port: i32) -> Result<()> {
    check_host(name)?;
    check_port(port)
}

/// Refuses what cannot be the name of a cluster.
pub fn check_cluster(cluster: &str) -> Result<()> {
    if cluster.is_empty() {
        return Err(invalid("cluster name must not be empty"));
    }
    Ok(())
}

/// The registered node with this address.
pub fn require_node(name: &str, port: i32) -> Result<Rc<Node>> {
    check_address(name, port)?;
    catalog::node_by_name(name, port)?.ok_or_else(|| {
        Error::new(sqlstate::UNDEFINED_OBJECT, format!("node at \"{name}:{port}\" does not exist"))
            .hint("The nodes of the cluster are listed in pg_dist_node.")
    })
}

/// The registered node with this id.
pub fn require_node_id(id: i32) -> Result<Rc<Node>> {
    catalog::node_by_id(id)?.ok_or_else(|| catalog::no_node_with_id(id))
}

/// Refuses a group that a new node cannot join.
pub fn check_group(group: i32, role: &str) -> Result<()> {
    if group < -1 {
        return Err(invalid(format!("group {group} is out of range"))
            .hint("Leave the group out to let the node have a group of its own."));
    }
    if group == -1 {
        if role == "primary" {
            return Ok(());
        }
        return Err(invalid(format!("a {role} node needs the group of its primary")).hint(
            "Use citus_add_secondary_node, which finds the group by the primary's address.",
        ));
    }
    let nodes = catalog::nodes()?;
    let primary = nodes.iter().find(|n| n.group == group && n.is_primary());
    match (primary, role) {
        (Some(p), "primary") => Err(Error::new(
            sqlstate::DUPLICATE_OBJECT,
            format!("group {group} already has a primary node"),
        )
        .detail(format!("It is node {} ({}:{}).", p.id, p.name, p.port))),
        (None, "primary") if group == catalog::COORDINATOR_GROUP => Ok(()),
        (None, "primary") if nodes.iter().any(|n| n.group == group) => Ok(()),
        (None, _) => Err(Error::new(
            sqlstate::UNDEFINED_OBJECT,
            format!("there is no primary node in group {group}"),
        )
        .hint("Add the primary first, or leave the group out to add a primary.")),
        (Some(_), _) => Ok(()),
    }
}
