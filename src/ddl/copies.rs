//! How many copies the shards of a table have, and who keeps them equal.

use super::transfer::{self, Copy, Unit};
use super::{info, layout, leftovers, replicate};
use crate::catalog::{self, Table};
use crate::error::{sqlstate, Error, Result};
use crate::model::copies::{self, Change, Node, Shard, Trouble};
use crate::pg::{guard, relation, spi};
use crate::txn;
use pgrx::pg_sys::{self, Oid};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most copies of a shard.
const MOST: i32 = 100;

/// A distributed table of the user.
fn distributed(relid: Oid) -> Result<Rc<Table>> {
    catalog::require_coordinator()?;
    if !relation::exists(relid) {
        info::Relation::load(relid)?;
    }
    let table = catalog::table(relid).ok_or_else(|| transfer::not_distributed(relid))?;
    transfer::check_table(&table)?;
    Ok(table)
}

/// Says who keeps the copies of shards equal, for a table and those co-located with it.
///
/// `coordinator` (`c`, `statement`): the coordinator writes to each placement of a shard.
/// `streaming` (`s`): shards have one placement each, and what is there of further copies is the
/// matter of PostgreSQL's streaming replication of the node. Since several placements are always
/// written by the coordinator, the second is true of tables with single placements only.
pub fn set_model(relid: Oid, model: &str) -> Result<()> {
    let new = match model.to_ascii_lowercase().as_str() {
        "streaming" | "s" => 's',
        "coordinator" | "statement" | "c" => 'c',
        "2pc" | "t" => {
            return Err(Error::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                "replication model \"2pc\" is that of reference tables",
            )
            .hint("Use \"streaming\" or \"coordinator\", or create_reference_table()."))
        }
        _ => {
            return Err(Error::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("invalid replication model: \"{model}\""),
            )
            .hint("Use \"streaming\" or \"coordinator\"."))
        }
    };
    let table = distributed(relid)?;
    let tables = transfer::lock(&table, pg_sys::ExclusiveLock)?;
    let many = tables.iter().any(|t| catalog::table(*t).is_some_and(|t| t.replicated));
    if new == 's' && many {
        guard::notice(format!(
            "shards of \"{}\" have several copies, which the coordinator keeps equal: the \
             replication model stays \"coordinator\"",
            info::name_of(relid)
        ));
        return Ok(());
    }
    write_model(&tables, new)
}

fn write_model(tables: &[Oid], model: char) -> Result<()> {
    for t in tables {
        let sql = "UPDATE pg_catalog.pg_dist_partition SET repmodel = $2::\"char\" \
            WHERE logicalrelid = $1 AND repmodel <> $2::\"char\"";
        spi::execute_as_owner(sql, &[spi::oid(*t), spi::text(&model.to_string())])?;
    }
    relation::command_counter_increment();
    Ok(())
}

/// Gives each shard of a table, and of those co-located with it, exactly `factor` healthy
/// placements. What is too much goes in the same transaction.
pub fn set_factor(relid: Oid, factor: i32) -> Result<()> {
    if !(1..=MOST).contains(&factor) {
        return Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("replication_factor must be between 1 and {MOST}"),
        )
        .detail(format!("It is {factor}.")));
    }
    let table = distributed(relid)?;
    replicate::require_fresh_snapshots()?;
    catalog::lock_nodes_shared()?;
    let factor = check_nodes(factor)?;
    // Who reads a copy that goes would not find it any more: readers wait.
    let less = table.shards.iter().any(|s| s.placements.len() > factor);
    let mode = if less { pg_sys::AccessExclusiveLock } else { pg_sys::ExclusiveLock };
    let tables = transfer::lock(&table, mode)?;
    let table = distributed(relid)?;
    let shards = shards_of(&table)?;
    let nodes = nodes_for(&shards)?;
    let changes = copies::plan(&shards, &nodes, factor).map_err(|t| trouble(&table, factor, t))?;
    make(&table, &tables, &changes)?;
    drop_surplus(&tables, &changes, &nodes)?;
    let sql = "UPDATE pg_catalog.pg_dist_colocation SET replicationfactor = $2 \
        WHERE colocationid = $1 AND replicationfactor <> $2";
    spi::execute_as_owner(sql, &[spi::i32(table.colocation), spi::i32(factor as i32)])?;
    write_model(&tables, if factor > 1 { 'c' } else { 's' })
}

/// Refuses more copies than there are nodes for.
fn check_nodes(factor: i32) -> Result<usize> {
    let n = layout::shard_nodes()?.len();
    match usize::try_from(factor) {
        Ok(f) if f <= n => Ok(f),
        _ => Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!(
                "replication factor {factor} exceeds the number of nodes that may have shards ({n})"
            ),
        )
        .hint("Add nodes, or use a lower factor.")),
    }
}

/// Where the shards of a table are, by position.
fn shards_of(table: &Table) -> Result<Vec<Shard>> {
    let sql = "SELECT p.shardid::text, p.groupid FROM pg_catalog.pg_dist_placement p \
        JOIN pg_catalog.pg_dist_shard s ON s.shardid = p.shardid \
        WHERE s.logicalrelid = $1 AND p.shardstate <> 1 ORDER BY p.placementid";
    let mut stale: BTreeMap<i64, Vec<i32>> = BTreeMap::new();
    for row in info::rows(sql, &[spi::oid(table.relid)])? {
        stale.entry(row.num(0)).or_default().push(row.num(1));
    }
    let mut shard = |s: &catalog::Shard| Shard {
        healthy: s.placements.iter().map(|p| p.group).collect(),
        stale: stale.remove(&s.id).unwrap_or_default(),
    };
    Ok(table.shards.iter().map(&mut shard).collect())
}

/// The nodes that have shards or may have them, and which of them can be reached.
fn nodes_for(shards: &[Shard]) -> Result<Vec<Node>> {
    let may: Vec<i32> = layout::shard_nodes()?.iter().map(|n| n.group).collect();
    let mut groups = may.clone();
    for g in shards.iter().flat_map(|s| s.healthy.iter().chain(&s.stale)) {
        if !groups.contains(g) {
            groups.push(*g);
        }
    }
    let local = catalog::local_group()?;
    let others: Vec<i32> = groups.iter().copied().filter(|g| *g != local).collect();
    let lost: Vec<i32> = txn::connect(&others)?.into_iter().map(|l| l.0).collect();
    let node = |group: i32| Node {
        group,
        wanted: may.contains(&group),
        reachable: !lost.contains(&group),
    };
    Ok(groups.into_iter().map(node).collect())
}

fn trouble(table: &Table, factor: usize, t: Trouble) -> Error {
    let id = |i: usize| table.shards.get(i).map_or(0, |s| s.id);
    let state = |m: String| Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, m);
    match t {
        Trouble::NoSource(i) => state(format!(
            "shard {} has no healthy placement that can be reached to copy from",
            id(i)
        ))
        .hint("Start the nodes that have one; pg_dist_shard_placement shows them."),
        Trouble::NoTarget(i) => state(format!(
            "too few nodes can be reached to give shard {} {factor} placements",
            id(i)
        ))
        .hint("Start the nodes, or use a lower factor."),
    }
}

/// Makes the copies that are missing.
fn make(table: &Table, tables: &[Oid], changes: &[Change]) -> Result<()> {
    for (index, (shard, change)) in table.shards.iter().zip(changes).enumerate() {
        for (from, to) in &change.copies {
            let (source, target) = (catalog::node_of_group(*from)?, catalog::node_of_group(*to)?);
            let copy = Copy { shard: shard.id, source: &source, target: &target, repair: true };
            transfer::run_copy(&Unit { tables, index }, &copy)?;
        }
    }
    Ok(())
}

/// Drops what is too much: at once, or when its node can be reached again.
fn drop_surplus(tables: &[Oid], changes: &[Change], nodes: &[Node]) -> Result<()> {
    let mut by_group: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        for group in &change.drops {
            let names = transfer::forget_placements(&Unit { tables, index }, *group)?;
            by_group.entry(*group).or_default().extend(names);
        }
    }
    for (group, names) in by_group {
        match nodes.iter().any(|n| n.group == group && n.reachable) {
            true => leftovers::drop_now(group, &names)?,
            false => leftovers::record(group, &names)?,
        }
    }
    Ok(())
}
