//! Copies of shards on other nodes: placements that missed a write are repaired, and new ones made.
//!
//! Co-located shards have their placements in common, so they are copied together. Writers of the
//! tables wait until the end of the transaction, readers go on.

use super::replicate::{self, Missing};
use super::{info, layout, leftovers};
use crate::catalog::{self, Kind, Node, Shard, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::qualified;
use crate::pg::shard_lock::Level;
use crate::pg::{relation, session, spi};
use crate::txn::run;
use pgrx::pg_sys::{self, Oid};
use std::rc::Rc;

/// What is to be copied where.
#[derive(Clone, Copy)]
pub struct Copy<'a> {
    /// The shard.
    pub shard: i64,
    /// Node with a healthy placement.
    pub source: &'a Node,
    /// Node that gets one.
    pub target: &'a Node,
    /// A placement that is not healthy may be there already, and is replaced.
    pub repair: bool,
}

/// A group of co-located shards.
pub(super) struct Unit<'a> {
    /// The tables, in the order in which everybody locks them.
    pub tables: &'a [Oid],
    /// Position of the shard in each of them.
    pub index: usize,
}

/// Refuses a way of copying that does not exist (yet).
pub fn check_mode(mode: &str) -> Result<()> {
    if mode == "force_logical" {
        return Err(Error::unsupported("copying shards by logical replication is not supported")
            .hint("Use transfer_mode 'block_writes': writers wait until the copy is complete."));
    }
    Ok(())
}

/// Copies a shard and those co-located with it.
pub fn copy_shard(request: &Copy) -> Result<()> {
    let (tables, index) = begin(request, pg_sys::ExclusiveLock)?;
    run_copy(&Unit { tables: &tables, index }, request)?;
    note_replication(&tables)
}

/// Moves a shard and those co-located with it: they are copied, and the old ones go. With
/// `deferred` the maintenance process drops these when nobody can be reading them any more; else
/// they go in this transaction, and readers wait for its end as well.
pub fn move_shard(request: &Copy, deferred: bool) -> Result<()> {
    let mode = if deferred { pg_sys::ExclusiveLock } else { pg_sys::AccessExclusiveLock };
    let (tables, index) = begin(request, mode)?;
    let unit = Unit { tables: &tables, index };
    run_copy(&unit, request)?;
    let old = forget_placements(&unit, request.source.group)?;
    match deferred {
        true => leftovers::record(request.source.group, &old)?,
        false => leftovers::drop_now(request.source.group, &old)?,
    }
    Ok(())
}

/// Locks and checks what is to be copied: the co-located tables and the shard's position.
fn begin(request: &Copy, mode: u32) -> Result<(Vec<Oid>, usize)> {
    catalog::require_coordinator()?;
    let (table, _) = find(request.shard)?;
    check_table(&table)?;
    replicate::require_fresh_snapshots()?;
    catalog::lock_nodes_shared()?;
    let tables = lock(&table, mode)?;
    // Again: it may have changed while others were waited for.
    let (table, index) = find(request.shard)?;
    check(&table, index, request)?;
    Ok((tables, index))
}

/// Gives each shard of a table as many healthy placements as wanted; how many copies were made.
pub fn replicate_table(relid: Oid, factor: i32, most: i32, excluded: &[i64]) -> Result<i32> {
    catalog::require_coordinator()?;
    let table = catalog::table(relid).ok_or_else(|| not_distributed(relid))?;
    check_table(&table)?;
    let nodes = layout::shard_nodes()?;
    if factor < 1 || factor as usize > nodes.len() {
        let n = nodes.len();
        return Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("shard_replication_factor must be between 1 and {n}, the number of nodes that may have shards"),
        )
        .detail(format!("It is {factor}.")));
    }
    let mut made = 0;
    for (i, shard) in table.shards.iter().enumerate() {
        if excluded.contains(&shard.id) {
            continue;
        }
        for target in targets(&nodes, shard, i, factor as usize) {
            if made >= most {
                return Ok(made);
            }
            let from = shard.placements.first().ok_or_else(|| no_source(shard.id))?;
            let source = catalog::node_of_group(from.group)?;
            copy_shard(&Copy { shard: shard.id, source: &source, target, repair: true })?;
            made += 1;
        }
    }
    Ok(made)
}

/// The nodes that are to get a copy, beginning behind the first that has one.
fn targets<'a>(nodes: &'a [Rc<Node>], shard: &Shard, i: usize, factor: usize) -> Vec<&'a Node> {
    let has = |g: i32| shard.placements.iter().any(|p| p.group == g);
    let begin = nodes.iter().position(|n| has(n.group)).unwrap_or(i);
    (1..=nodes.len())
        .filter_map(|n| nodes.get((begin + n) % nodes.len()))
        .map(Rc::as_ref)
        .filter(|n| !has(n.group))
        .take(factor.saturating_sub(shard.placements.len()))
        .collect()
}

fn find(shard: i64) -> Result<(Rc<Table>, usize)> {
    let missing = || {
        Error::new(sqlstate::UNDEFINED_OBJECT, format!("shard {shard} does not exist"))
            .hint("SELECT shardid FROM pg_dist_shard lists the shards.")
    };
    let table = catalog::relation_of_shard(shard).and_then(catalog::table).ok_or_else(missing)?;
    let index = table.shards.iter().position(|s| s.id == shard).ok_or_else(missing)?;
    Ok((table, index))
}

pub(super) fn not_distributed(relid: Oid) -> Error {
    let name = info::name_of(relid);
    Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a distributed table"))
}

/// Refuses tables that are not spread over the nodes, and who does not own the table.
pub(super) fn check_table(table: &Table) -> Result<()> {
    let name = info::name_of(table.relid);
    match table.kind {
        Kind::Hash => {}
        Kind::Reference => {
            return Err(Error::new(
                sqlstate::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is a reference table, which has a copy on every active node"),
            )
            .hint("Use replicate_reference_tables() or citus_activate_node()."))
        }
        Kind::Single | Kind::Local => return Err(not_distributed(table.relid)),
    }
    session::require_owner(table.relid, &name)
}

/// Keeps writers away from all co-located tables, and others from becoming co-located; with the
/// mode AccessExclusiveLock readers, too. The tables, in the order in which everybody locks them.
pub(super) fn lock(table: &Table, mode: u32) -> Result<Vec<Oid>> {
    let mut locked: Vec<Oid> = Vec::new();
    loop {
        let tables = colocated(table)?;
        let new: Vec<Oid> = tables.iter().copied().filter(|t| !locked.contains(t)).collect();
        for t in &new {
            session::require_owner(*t, &info::name_of(*t))?;
            relation::lock(*t, mode);
        }
        // Whoever adds a table to the group does not need these locks: first them, then this.
        layout::lock_places(table.colocation, Level::Exclusive);
        let first = locked.is_empty();
        locked.extend(&new);
        if new.is_empty() && !first {
            return Ok(tables);
        }
    }
}

/// A table and those co-located with it.
fn colocated(table: &Table) -> Result<Vec<Oid>> {
    let sql = "SELECT logicalrelid::oid FROM pg_catalog.pg_dist_partition \
        WHERE logicalrelid = $1 OR (colocationid = $2 AND colocationid <> 0) ORDER BY 1";
    let params = [spi::oid(table.relid), spi::i32(table.colocation)];
    let parse = |v: String| v.parse::<u32>().ok().map(Oid::from);
    Ok(spi::query(sql, &params)?.into_iter().flatten().flatten().filter_map(parse).collect())
}

fn no_source(shard: i64) -> Error {
    Error::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("shard {shard} has no healthy placement to copy from"),
    )
}

/// What has to be there, and what must not.
fn check(table: &Table, index: usize, c: &Copy) -> Result<()> {
    let healthy =
        |g: i32| table.shards.get(index).is_some_and(|s| s.placements.iter().any(|p| p.group == g));
    let state = |message: String| Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
    let at = |n: &Node| format!("{}:{}", n.name, n.port);
    let shard = c.shard;
    if !healthy(c.source.group) {
        return Err(state(format!(
            "node {} has no healthy placement of shard {shard}",
            at(c.source)
        ))
        .hint("SELECT * FROM pg_dist_shard_placement shows the placements; state 1 is healthy."));
    }
    if healthy(c.target.group) {
        return Err(state(format!(
            "node {} has a healthy placement of shard {shard} already",
            at(c.target)
        )));
    }
    if !c.target.is_primary() || !c.target.active {
        return Err(state(format!("node {} is not an active primary", at(c.target)))
            .hint("Activate it with citus_activate_node."));
    }
    let sql = "SELECT 1 FROM pg_catalog.pg_dist_placement WHERE shardid = $1 AND groupid = $2";
    let params = [spi::i64(shard), spi::i32(c.target.group)];
    if !c.repair && !spi::query(sql, &params)?.is_empty() {
        return Err(state(format!(
            "node {} has a placement of shard {shard} already, which is not healthy",
            at(c.target)
        ))
        .hint("Use do_repair := true."));
    }
    Ok(())
}

/// Makes the copies. The tables are locked.
pub(super) fn run_copy(unit: &Unit, c: &Copy) -> Result<()> {
    wait_for_writers(unit, c.source)?;
    let mut made: Vec<Missing> = Vec::new();
    for t in unit.tables {
        forget(*t, unit.index, c.target.group)?;
        if let Some(m) = replicate::prepare(*t, unit.index, c.target.group)? {
            replicate::copy(&m, c.source.group, c.target.group)?;
            made.push(m);
        }
    }
    // What refers from one table to another comes when all of them are there.
    for m in &made {
        replicate::finish(m, c.target.group)?;
    }
    relation::command_counter_increment();
    Ok(())
}

/// Writers that were interrupted in the second phase of their commit hold the shard on the source
/// until recovery has decided.
fn wait_for_writers(unit: &Unit, source: &Node) -> Result<()> {
    let mut names = Vec::new();
    for t in unit.tables {
        let shard = catalog::table(*t).and_then(|t| t.shards.get(unit.index).cloned());
        if let (Some((schema, name)), Some(shard)) = (session::relation_name(*t), shard) {
            if !shard.placements.iter().any(|p| p.group == source.group) {
                return Err(no_source(shard.id).detail(format!(
                    "Node {}:{} has none of table \"{}\".",
                    source.name,
                    source.port,
                    info::name_of(*t)
                )));
            }
            let shard = super::names::shard_name(&name, shard.id);
            names.push(format!("ONLY {}", qualified(&schema, &shard)));
        }
    }
    let sql = format!("LOCK TABLE {} IN SHARE MODE", names.join(", "));
    run::on_group(source.group, &sql, false).map(|_| ())
}

/// A placement on the target is not healthy from here on, so that it is copied anew.
fn forget(relid: Oid, index: usize, group: i32) -> Result<()> {
    let Some(shard) = catalog::table(relid).and_then(|t| t.shards.get(index).map(|s| s.id)) else {
        return Ok(());
    };
    let sql = "UPDATE pg_catalog.pg_dist_placement SET shardstate = 3 \
        WHERE shardid = $1 AND groupid = $2 AND shardstate = 1";
    spi::execute_as_owner(sql, &[spi::i64(shard), spi::i32(group)])?;
    relation::command_counter_increment();
    Ok(())
}

/// Forgets a node's placements of shards, and tells which tables they were there.
pub(super) fn forget_placements(unit: &Unit, group: i32) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut ids = Vec::new();
    for t in unit.tables {
        let shard = catalog::table(*t).and_then(|t| t.shards.get(unit.index).map(|s| s.id));
        if let (Some((schema, name)), Some(shard)) = (session::relation_name(*t), shard) {
            names.push(qualified(&schema, &super::names::shard_name(&name, shard)));
            ids.push(shard.to_string());
        }
    }
    let sql = "DELETE FROM pg_catalog.pg_dist_placement \
        WHERE shardid = ANY ($1::int8[]) AND groupid = $2";
    let list = format!("{{{}}}", ids.join(","));
    spi::execute_as_owner(sql, &[spi::text(&list), spi::i32(group)])?;
    relation::command_counter_increment();
    Ok(names)
}

/// The tables' replication model says that shards have more than one placement where any has.
pub(super) fn note_replication(tables: &[Oid]) -> Result<()> {
    for t in tables {
        let sql = "UPDATE pg_catalog.pg_dist_partition SET repmodel = 'c' \
            WHERE logicalrelid = $1 AND repmodel = 's'";
        if catalog::table(*t).is_some_and(|t| t.replicated) {
            spi::execute_as_owner(sql, &[spi::oid(*t)])?;
        }
    }
    relation::command_counter_increment();
    Ok(())
}
