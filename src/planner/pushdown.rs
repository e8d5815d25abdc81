//! Queries that run as they are on one shard group, or on each.

use super::analyze::{Analyzer, Leaf, Part, Reject};
use super::deparse;
use super::order;
use super::ship;
use super::values::Values;
use super::whole;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{Kind, Node, PlannedStmt, Query, RangeTblEntry};
use crate::plan::{Column, DistPlan, Operation, Prune, Target};
use crate::stats::query;
use pgrx::pg_sys::{self, CmdType, Oid};
use std::rc::Rc;

/// Where a whole query can run.
pub struct Place {
    /// Its tasks.
    pub target: Target,
    /// Expressions that pruning refers to.
    pub values: Values,
    /// Guess at the rows per task.
    pub rows: f64,
}

/// The plan of a query that one scan can answer, if it is one.
pub fn whole_query(q: Query) -> Result<Option<PlannedStmt>> {
    if q.command_type() != CmdType::CMD_SELECT {
        return Ok(None);
    }
    let Some(place) = place(q)? else { return Ok(None) };
    let (plan, values) = dist_plan(q, place)?;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

/// The distributed plan of a query for its place.
pub fn dist_plan(q: Query, place: Place) -> Result<(DistPlan, Values)> {
    let mut values = place.values;
    let tenant = query::take_tenant().filter(|_| is_single(&place.target));
    let copy = q.copy();
    let deparsed = deparse::deparse(copy, &mut values)?;
    let columns = columns(q);
    let operation = if q.command_type() != CmdType::CMD_SELECT || q.has_modifying_cte() {
        Operation::Modify
    } else if !q.row_marks().is_empty() {
        Operation::SelectForUpdate
    } else {
        Operation::Select
    };
    let prepare = !deparsed.params.is_empty() && is_single(&place.target);
    let plan = DistPlan {
        operation,
        target: place.target,
        template: deparsed.template,
        tables: deparsed.tables,
        params: deparsed.params,
        columns,
        merge: Vec::new(),
        rows: place.rows,
        prepare,
        insert: false,
        volatile: operation == Operation::Select && q.node().contains(ship::is_volatile),
        locks: locked_tables(q),
        nowait: has_nowait(q),
        append: q.command_type() == CmdType::CMD_INSERT
            && q.on_conflict().is_none()
            && !q.has_modifying_cte(),
        tenant,
        check_as: deparsed.check_as,
    };
    Ok((plan, values))
}

/// Tables of ours that a query writes to or locks rows of.
fn locked_tables(q: Query) -> Vec<u32> {
    let ours = |rte: RangeTblEntry| crate::planner::is_ours(rte).then(|| u32::from(rte.relid()));
    let marks = q.row_marks();
    let marked = marks.iter().filter_map(|m| q.entry(m.rti())).filter_map(ours);
    q.target().and_then(ours).into_iter().chain(marked).collect()
}

/// Whether a query shall fail where rows are locked already.
pub fn has_nowait(q: Query) -> bool {
    q.row_marks().iter().any(|m| m.wait_policy() == pg_sys::LockWaitPolicy::LockWaitError)
}

fn is_single(t: &Target) -> bool {
    matches!(t, Target::Shards { single: true, .. } | Target::AnyReplica { .. })
}

/// Result columns of a query.
pub fn columns(q: Query) -> Vec<Column> {
    let list =
        if q.command_type() == CmdType::CMD_SELECT { q.target_list() } else { q.returning_list() };
    list.iter().filter(|t| !t.resjunk()).map(|t| column(t.expr())).collect()
}

/// The result column that an expression makes.
pub fn column(e: Node) -> Column {
    Column { typ: u32::from(e.typ()), typmod: e.typmod() }
}

/// Whether values of a type can come back from another node: not those whose shape only the
/// query knows.
pub fn is_transportable(typ: Oid) -> bool {
    typ == pg_sys::UNKNOWNOID || lookup::type_kind(typ) != b'p'
}

/// Where a query can run as a whole, if anywhere.
pub fn place(q: Query) -> Result<Option<Place>> {
    let place = unordered_place(q)?;
    let many = |p: &Place| matches!(p.target, Target::Shards { single: false, .. });
    if place.as_ref().is_some_and(many) && order::is_of_source(q) {
        return rejected(Reject("the order of a sub-query over several shards"));
    }
    Ok(place)
}

/// Where a query can run as a whole when the order of its rows does not matter.
pub fn unordered_place(q: Query) -> Result<Option<Place>> {
    if !columns(q).iter().all(|c| is_transportable(Oid::from(c.typ))) {
        return Ok(None);
    }
    let mut values = Values::default();
    let (leaves, reference) = {
        let mut a = Analyzer::new(&mut values, true);
        match a.top(q) {
            Ok(_) => (a.leaves, a.reference),
            Err(r) => return rejected(r),
        }
    };
    if leaves.is_empty() {
        return Ok(reference.map(|t| Place {
            target: Target::AnyReplica { anchor: u32::from(t.relid) },
            values,
            rows: 1000.0,
        }));
    }
    if let Some((table, prune)) = single_shard(&leaves) {
        return Ok(Some(Place {
            target: Target::Shards { anchor: u32::from(table.relid), prune, single: true },
            values,
            rows: 100.0,
        }));
    }
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, false);
    let part = match a.top(q) {
        Ok(p) => p,
        Err(r) => return rejected(r),
    };
    let why = if q.sort_clause().is_empty() {
        a.needs_combining(q, &part)
    } else {
        Some("ORDER BY over several shards")
    };
    let Some(anchor) = part.anchor.clone() else { return Ok(None) };
    let prune = part.prune.clone().unwrap_or(Prune::All);
    let single = prune.is_single();
    if why.is_some() && !single {
        return Ok(None);
    }
    let target = Target::Shards { anchor: u32::from(anchor.relid), prune, single };
    Ok(Some(Place { target, values, rows: estimate(&part) }))
}

fn rejected(r: Reject) -> Result<Option<Place>> {
    debug(&format!("query is not pushed down: {}", r.0));
    Ok(None)
}

/// Tells those who look at DEBUG2 why a plan is not a better one.
pub(super) fn debug(text: &str) {
    crate::pg::guard::report(&Error::new(crate::error::SqlState(0), text), pgrx::pg_sys::DEBUG2);
}

fn estimate(part: &Part) -> f64 {
    part.anchor.as_ref().map_or(1000.0, |t| t.shards.len() as f64 * 1000.0)
}

/// The one shard group that all distributed tables are pinned to.
pub(super) fn single_shard(leaves: &[Leaf]) -> Option<(Rc<Table>, Prune)> {
    let first = leaves.first()?;
    let mut prune = first.prune.clone();
    for l in leaves {
        if !l.prune.is_single() {
            return None;
        }
        if l.table.relid != first.table.relid && !l.table.colocated_with(&first.table) {
            return None;
        }
        if l.prune == first.prune {
            continue;
        }
        // Different constants can mean the same shard; different parameters may not.
        match (&prune, &l.prune) {
            (Prune::Fixed(a), Prune::Fixed(b)) if a.is_empty() || b.is_empty() || a == b => {
                if a.is_empty() {
                    prune = l.prune.clone();
                }
            }
            _ => return None,
        }
    }
    Some((first.table.clone(), prune))
}

/// Whether nodes can evaluate a list of expressions without sub-queries.
pub fn expression_ships(n: Node) -> bool {
    super::analyze::blocked(n).is_none() && !n.contains(|x| matches!(x.kind(), Kind::SubLink(_)))
}
