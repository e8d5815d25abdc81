//! Nodes that join: added, activated, and the coordinator's own row.

use super::checks;
use super::probe::{address, address_of, Probe};
use crate::catalog::{self, NewNode, Node, COORDINATOR_GROUP};
use crate::ddl::{dependencies, replicate};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{guard, session, spi};
use crate::settings;
use crate::txn::{recovery, run};

/// A node as the user describes it.
pub struct Request<'a> {
    /// Host name, address or socket directory.
    pub name: &'a str,
    /// Port.
    pub port: i32,
    /// Group, -1 for one of its own.
    pub group: i32,
    /// `primary`, `secondary` or `unavailable`.
    pub role: &'a str,
    /// Cluster name.
    pub cluster: &'a str,
}

/// Adds a node and gives back its id; a node that is registered already is left as it is.
pub fn add(r: &Request, activate: bool) -> Result<i32> {
    checks::check_address(r.name, r.port)?;
    checks::check_cluster(r.cluster)?;
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    if let Some(known) = catalog::node_by_name(r.name, r.port)? {
        return Ok(known.id);
    }
    checks::check_group(r.group, r.role)?;
    match (r.group, r.role) {
        (COORDINATOR_GROUP, "primary") => insert_coordinator(r),
        (_, "primary") => add_worker(r, activate),
        _ => add_standby(r, activate),
    }
}

fn add_worker(r: &Request, activate: bool) -> Result<i32> {
    let local = Probe::local()?;
    let mut probe = Probe::remote(r.name, r.port)?;
    probe.require_compatible(&local)?;
    // A crash may have left its joining or leaving half done.
    if !probe.in_recovery && recovery::recover_at(&address(r.name, r.port))? > 0 {
        probe = Probe::remote(r.name, r.port)?;
    }
    probe.require_free(&local)?;
    let first = !catalog::has_workers()?;
    let id = catalog::insert_node(&NewNode {
        group: (r.group >= 0).then_some(r.group),
        name: r.name,
        port: r.port,
        role: r.role,
        cluster: r.cluster,
        active: activate,
        should_have_shards: true,
    })?;
    let node = checks::require_node_id(id)?;
    mark(&node, &probe, &local)?;
    if first {
        relieve_coordinator()?;
    }
    if activate {
        prepare(&node)?;
    }
    Ok(id)
}

/// A node that takes queries has the types that they may name, and a copy of every reference table.
fn prepare(node: &Node) -> Result<()> {
    dependencies::ensure_all_used(node.group)?;
    if !settings::replicate_reference_tables_on_activate() {
        return Ok(());
    }
    replicate::reference_tables_to(node.group)
}

/// Gives every active node the reference tables that it misses.
pub fn replicate_reference_tables() -> Result<()> {
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    for node in catalog::nodes()?.iter().filter(|n| n.is_primary() && n.active) {
        replicate::reference_tables_to(node.group)?;
    }
    Ok(())
}

/// Writes the worker's identity into its catalogs, within the running transaction.
fn mark(node: &Node, probe: &Probe, local: &Probe) -> Result<()> {
    let marked = run::on_group(node.group, &probe.mark_sql(local, node.group, node.id), true)?;
    probe.require_marked(&marked)?;
    share_secret(node)
}

/// Agrees with a node on a new secret, in the running transaction.
fn share_secret(node: &Node) -> Result<()> {
    let sql = format!("SELECT citus_internal.make_secret({})", node.group);
    let made = run::on_group(node.group, &sql, true)?;
    let secret = made.rows.into_iter().flatten().flatten().next();
    let secret = secret.ok_or_else(|| Error::internal("a node made no secret"))?;
    catalog::remember_secret(node.group, &secret)
}

/// A coordinator that was alone held the shards; with the first worker it stops getting new ones,
/// unless it holds shards of distributed tables already.
fn relieve_coordinator() -> Result<()> {
    let Some(node) = catalog::coordinator_node()? else { return Ok(()) };
    if !node.should_have_shards || holds_distributed_shards(node.group)? {
        return Ok(());
    }
    catalog::set_node_should_have_shards(node.id, false)
}

fn holds_distributed_shards(group: i32) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_placement p \
               JOIN pg_catalog.pg_dist_shard s USING (shardid) \
               JOIN pg_catalog.pg_dist_partition t USING (logicalrelid) \
               WHERE p.groupid = $1 AND (t.partmethod <> 'n' OR t.repmodel = 's' \
               AND t.colocationid <> 0))";
    Ok(spi::value(sql, &[spi::i32(group)])?.as_deref() == Some("t"))
}

fn add_standby(r: &Request, activate: bool) -> Result<i32> {
    let primary = catalog::node_of_group(r.group)?;
    let standby = Probe::remote(r.name, r.port)?;
    let upstream = Probe::remote(&primary.name, primary.port)?;
    standby.require_compatible(&upstream)?;
    if !standby.in_recovery || standby.system_id != upstream.system_id {
        return Err(Error::new(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "node {}:{} is not a standby of node {}:{}",
                r.name, r.port, primary.name, primary.port
            ),
        )
        .hint("Set up streaming replication from the primary first."));
    }
    catalog::insert_node(&NewNode {
        group: Some(r.group),
        name: r.name,
        port: r.port,
        role: r.role,
        cluster: r.cluster,
        active: activate,
        should_have_shards: true,
    })
}

/// Adds a standby of a registered primary.
pub fn add_secondary(name: &str, port: i32, primary: (&str, i32), cluster: &str) -> Result<i32> {
    catalog::require_coordinator()?;
    let primary = checks::require_node(primary.0, primary.1)?;
    if !primary.is_primary() {
        return Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("node {}:{} is not a primary", primary.name, primary.port),
        ));
    }
    add(&Request { name, port, group: primary.group, role: "secondary", cluster }, true)
}

/// Registers the coordinator where it is not yet: it is about to hold a shard itself, a table that
/// is managed but not distributed.
pub fn ensure_coordinator() -> Result<()> {
    catalog::ensure_local_node()?;
    if catalog::coordinator_node()?.is_some() {
        return Ok(());
    }
    super::lock_nodes()?;
    if catalog::coordinator_node()?.is_some() {
        return Ok(());
    }
    let host = Some(settings::local_hostname()).filter(|h| !h.is_empty());
    let name = host.as_deref().unwrap_or("localhost");
    let port = session::server_port();
    let r = Request { name, port, group: COORDINATOR_GROUP, role: "primary", cluster: "default" };
    insert_coordinator(&r).map(|_| ())
}

fn insert_coordinator(r: &Request) -> Result<i32> {
    let id = catalog::insert_node(&NewNode {
        group: Some(COORDINATOR_GROUP),
        name: r.name,
        port: r.port,
        role: r.role,
        cluster: r.cluster,
        active: true,
        // A coordinator without workers is all that there is to hold shards.
        should_have_shards: !catalog::has_workers()?,
    })?;
    prepare(&*checks::require_node_id(id)?)?;
    Ok(id)
}

/// Registers the coordinator's own address, or changes it.
pub fn set_coordinator_host(r: &Request) -> Result<()> {
    checks::check_address(r.name, r.port)?;
    checks::check_cluster(r.cluster)?;
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    let known = catalog::node_by_name(r.name, r.port)?;
    if let Some(other) = known.as_ref().filter(|n| n.group != COORDINATOR_GROUP) {
        return Err(Error::new(
            sqlstate::DUPLICATE_OBJECT,
            format!("node {}:{} is registered as a worker", other.name, other.port),
        )
        .hint("Give the address of this server, the coordinator."));
    }
    match catalog::coordinator_node()? {
        Some(row) if r.role == "primary" => {
            if known.as_ref().is_some_and(|k| k.id != row.id) {
                return Err(Error::new(
                    sqlstate::DUPLICATE_OBJECT,
                    format!("node {}:{} is registered as a standby", r.name, r.port),
                ));
            }
            catalog::set_node_address(row.id, r.name, r.port)
        }
        None if r.role == "primary" => insert_coordinator(r).map(|_| ()),
        _ if known.is_some() => Ok(()),
        _ => add_standby(r, true).map(|_| ()),
    }
}

/// Lets a node take queries and gives back its id. A worker gets a new secret in any case.
pub fn activate(name: &str, port: i32) -> Result<i32> {
    catalog::require_coordinator()?;
    super::lock_nodes()?;
    let node = checks::require_node(name, port)?;
    let is_worker = node.group != COORDINATOR_GROUP && node.is_primary();
    if node.active {
        if is_worker {
            share_secret(&node)?;
        }
        guard::notice(format!("node {name}:{port} is already active"));
        return Ok(node.id);
    }
    if is_worker {
        let local = Probe::local()?;
        recovery::recover_at(&address_of(&node))?;
        let probe = Probe::remote(name, port)?;
        probe.require_compatible(&local)?;
        probe.require_no_other_cluster(&local)?;
        match probe.is_marked_as(&local, node.group) {
            true => share_secret(&node)?,
            false => mark(&node, &probe, &local)?,
        }
    }
    catalog::set_node_active(node.id, true)?;
    if node.is_primary() {
        prepare(&node)?;
    }
    Ok(node.id)
}
