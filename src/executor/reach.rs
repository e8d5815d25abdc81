//! Which of a shard's placements is used, and what happens when its node cannot be connected.
//!
//! A read takes another placement. A write goes on without the placements on that node, which are
//! marked as not healthy (`shardstate` 3) in the same transaction: whoever sees the write does not
//! see these placements any more, and they come back only by being copied. Reference tables are
//! different: every node needs them for its joins and foreign keys, so a write that cannot reach
//! all of them is an error.

use super::tasks::Task;
use crate::catalog::{self, Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::shard_lock::{self, Class, Level};
use crate::pg::{guard, invalidation, relation, spi};
use crate::plan::{DistPlan, Operation};
use crate::settings::{self, TaskAssignmentPolicy};
use crate::txn;
use pgrx::pg_sys::Oid;
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// For how long reads do without a node that could not be connected.
const AVOID: Duration = Duration::from_secs(10);

thread_local! {
    static AVOIDED: RefCell<Vec<(i32, Instant)>> = const { RefCell::new(Vec::new()) };
    static TURN: Cell<usize> = const { Cell::new(0) };
}

fn is_avoided(group: i32) -> bool {
    AVOIDED.with(|a| a.borrow().iter().any(|(g, at)| *g == group && at.elapsed() < AVOID))
}

fn avoid(group: i32) {
    AVOIDED.with(|a| {
        let mut a = a.borrow_mut();
        a.retain(|(g, at)| *g != group && at.elapsed() < AVOID);
        a.push((group, Instant::now()));
    });
}

/// Groups that are not avoided, as long as there are any.
pub fn reachable(groups: &[i32]) -> Vec<i32> {
    let left: Vec<i32> = groups.iter().copied().filter(|g| !is_avoided(*g)).collect();
    if left.is_empty() {
        return groups.to_vec();
    }
    left
}

/// Chooses placements for the reads of one execution.
#[derive(Default)]
pub struct Chooser {
    load: FxHashMap<i32, usize>,
    turn: Option<usize>,
}

impl Chooser {
    /// One of the groups that have a copy of a shard: this node itself when it is a reference
    /// table's, else by `citus.task_assignment_policy`.
    pub fn choose(&mut self, groups: &[i32], reference: bool, local: i32) -> i32 {
        let groups = reachable(groups);
        if reference && groups.contains(&local) {
            return local;
        }
        let first = groups.first().copied().unwrap_or(local);
        let chosen = match settings::task_assignment_policy() {
            TaskAssignmentPolicy::FirstReplica => first,
            TaskAssignmentPolicy::Greedy => {
                let load = |g: &i32| self.load.get(g).copied().unwrap_or(0);
                groups.iter().copied().min_by_key(load).unwrap_or(first)
            }
            TaskAssignmentPolicy::RoundRobin => {
                let turn = *self
                    .turn
                    .get_or_insert_with(|| TURN.with(|t| t.replace(t.get().wrapping_add(1))));
                groups.get(turn % groups.len().max(1)).copied().unwrap_or(first)
            }
        };
        *self.load.entry(chosen).or_default() += 1;
        chosen
    }
}

/// Makes sure that the nodes of tasks with replicas are connected. True when the tasks have to be
/// made anew, without nodes that could not be. `failed` are those of earlier rounds.
pub fn settle(plan: &DistPlan, tasks: &[Task], failed: &mut Vec<i32>) -> Result<bool> {
    if tasks.iter().all(|t| t.copies == 1) {
        return Ok(false);
    }
    let local = catalog::local_group()?;
    let mut groups: Vec<i32> =
        tasks.iter().filter(|t| t.copies > 1).map(|t| t.group).filter(|g| *g != local).collect();
    groups.sort_unstable();
    groups.dedup();
    let lost = txn::connect(&groups)?;
    if lost.is_empty() {
        return Ok(false);
    }
    for (group, e) in &lost {
        let only = tasks.iter().any(|t| t.group == *group && t.copies == 1);
        let waits = plan.operation != Operation::Modify && e.code == sqlstate::CANNOT_CONNECT_NOW;
        if failed.contains(group) || only || !(guard::is_connection_error(e) || waits) {
            return Err(e.clone());
        }
    }
    failed.extend(lost.iter().map(|l| l.0));
    lost.iter().for_each(|l| avoid(l.0));
    if plan.operation == Operation::Modify {
        mark(plan, tasks, &lost)?;
    } else {
        lost.iter().for_each(|(_, e)| warn(e, "Another copy of the shards is used."));
    }
    Ok(true)
}

fn warn(e: &Error, detail: &str) {
    let mut w = Error::new(e.code, e.message.clone()).detail(detail);
    w.hint = None;
    guard::warning(&w);
}

/// Connects to the nodes of a table before it is written to as a whole, and marks the placements
/// on those that cannot be. Tables without replicas are left alone.
pub fn settle_table(relid: Oid) -> Result<()> {
    let Some(table) = catalog::table(relid).filter(|t| t.replicated) else { return Ok(()) };
    let task = |shard: &catalog::Shard, group| Task {
        group,
        sql: "".into(),
        mute: false,
        shard: shard.id,
        copies: shard.placements.len(),
        rows: None,
        own: None,
    };
    let tasks: Vec<Task> = table
        .shards
        .iter()
        .flat_map(|s| s.placements.iter().map(move |p| task(s, p.group)))
        .collect();
    let plan = DistPlan::writing(relid.into(), false);
    settle(&plan, &tasks, &mut Vec::new()).map(|_| ())
}

/// Marks the placements that a write cannot reach, with those co-located with them.
fn mark(plan: &DistPlan, tasks: &[Task], lost: &[(i32, Error)]) -> Result<()> {
    let relid = plan.locks.first().copied().unwrap_or_default();
    let gone = || Error::internal("the written table is not known");
    let before = catalog::table(Oid::from(relid)).ok_or_else(gone)?;
    if before.kind == Kind::Reference {
        return Err(reference_error(&before, lost));
    }
    // Two sessions that can reach different nodes must not mark each other's.
    shard_lock::lock(Class::Placements, before.colocation as u32 as u64, Level::Exclusive);
    invalidation::accept();
    let table = catalog::table(Oid::from(relid)).ok_or_else(gone)?;
    for (group, e) in lost {
        let mut at = Vec::new();
        for t in tasks.iter().filter(|t| t.group == *group && t.copies > 1) {
            let Some(i) = table.shards.iter().position(|s| s.id == t.shard) else { continue };
            let others = |p: &&catalog::Placement| !lost.iter().any(|l| l.0 == p.group);
            if table.shards.get(i).and_then(|s| s.placements.iter().find(others)).is_none() {
                return Err(e.clone());
            }
            at.push(i);
        }
        let marked = mark_placements(&table, &at, *group)?;
        let (placements, miss) = match marked {
            1 => ("placement is", "it misses"),
            _ => ("placements are", "they miss"),
        };
        let mut w = Error::new(e.code, e.message.clone())
            .detail(format!("{marked} {placements} marked as not healthy: {miss} a write."))
            .hint("When the node is back, repair them with citus_copy_shard_placement.");
        w.context = None;
        guard::warning(&w);
    }
    Ok(())
}

/// Marks placements of shards of a table and of all tables co-located with it.
fn mark_placements(table: &Table, at: &[usize], group: i32) -> Result<u64> {
    let sql = "SELECT logicalrelid::oid FROM pg_catalog.pg_dist_partition \
        WHERE logicalrelid = $1 OR (colocationid = $2 AND colocationid <> 0)";
    let params = [spi::oid(table.relid), spi::i32(table.colocation)];
    let mut ids: Vec<String> = Vec::new();
    for oid in spi::query(sql, &params)?.into_iter().flatten().flatten() {
        let Some(t) = oid.parse::<u32>().ok().and_then(|o| catalog::table(Oid::from(o))) else {
            continue;
        };
        ids.extend(at.iter().filter_map(|i| t.shards.get(*i)).map(|s| s.id.to_string()));
    }
    let sql = "UPDATE pg_catalog.pg_dist_placement SET shardstate = 3 \
        WHERE shardid = ANY ($1::int8[]) AND groupid = $2 AND shardstate = 1";
    let list = format!("{{{}}}", ids.join(","));
    let marked = spi::execute_as_owner(sql, &[spi::text(&list), spi::i32(group)])?.1;
    relation::command_counter_increment();
    Ok(marked)
}

fn reference_error(table: &Table, lost: &[(i32, Error)]) -> Error {
    let Some((_, e)) = lost.first() else { return Error::internal("no node was lost") };
    let name = crate::ddl::info::name_of(table.relid);
    let mut e = e.clone();
    e.detail =
        Some(format!("Table \"{name}\" has a copy on every node, and all have to be written."));
    e.hint = Some(
        "Start the node, or give it up for the time being with citus_disable_node.".to_owned(),
    );
    e
}
