//! Which nodes reach which.

use super::{address, address_of, checks};
use crate::catalog::{self, Node};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{fmgr, guard, session, subxact};
use crate::remote::{pool, NodeAddr};
use crate::txn::run;
use std::rc::Rc;

/// Whether this server can connect to a node as the current user.
///
/// Nobody but a superuser may make the server connect to places that are not nodes.
pub fn check_connection(name: &str, port: i32) -> Result<bool> {
    checks::check_address(name, port)?;
    let node = catalog::node_by_name(name, port)?;
    if node.is_none() && !session::is_superuser() {
        return Err(Error::new(
            sqlstate::INSUFFICIENT_PRIVILEGE,
            format!("permission denied to connect to {name}:{port}"),
        )
        .detail("Only superusers can check connections to servers that are not in pg_dist_node."));
    }
    let to = node.map_or_else(|| address(name, port), |n| address_of(&n));
    match guard::catch_result(|| pool::connect(&to, &session::user_name())) {
        Ok(_) => Ok(true),
        Err(e) if subxact::is_final(&e) => Err(e),
        Err(_) => Ok(false),
    }
}

/// The way from one node to another.
pub struct Check {
    /// The node that connects.
    pub from: Rc<Node>,
    /// The node that it connects to.
    pub to: Rc<Node>,
    /// Whether it could; `None` when the first node could not be asked.
    pub result: Option<bool>,
}

/// The ways between all active primaries.
pub fn check_cluster() -> Result<Vec<Check>> {
    let nodes: Vec<Rc<Node>> =
        catalog::nodes()?.into_iter().filter(|n| n.is_primary() && n.active).collect();
    let local = catalog::local_group()?;
    let remote: Vec<Rc<Node>> = nodes.iter().filter(|n| n.group != local).cloned().collect();
    let sql: Vec<String> = nodes.iter().map(|n| check_sql(n)).collect();
    let work: Vec<(NodeAddr, Vec<String>)> =
        remote.iter().map(|n| (address_of(n), sql.clone())).collect();
    let mut answers = run::apart(&work)?.into_iter();
    let mut checks = Vec::new();
    for from in &nodes {
        let mut answers =
            if from.group == local { None } else { answers.next() }.map(|a| a.into_iter());
        for to in &nodes {
            let result = match &mut answers {
                None => Some(check_connection(&to.name, to.port)?),
                Some(a) => a
                    .next()
                    .and_then(|r| r.ok())
                    .and_then(|r| r.rows.into_iter().flatten().flatten().next().map(|v| v == "t")),
            };
            checks.push(Check { from: from.clone(), to: to.clone(), result });
        }
    }
    Ok(checks)
}

fn check_sql(to: &Node) -> String {
    format!(
        "SELECT pg_catalog.citus_check_connection_to_node({}, {})",
        fmgr::quote_literal(&to.name),
        to.port
    )
}
