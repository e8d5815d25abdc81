//! Queries that run as they are on one shard group, or on each.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::analyze::{Analyzer, Leaf, Part, Reject};
use super::deparse;
use super::values::Values;
use super::whole;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::nodes;
use crate::plan::{Column, DistPlan, Operation, Prune, Target};
use crate::stats::query;
use pgrx::pg_sys::{self, CmdType, Node, PlannedStmt, Query, TargetEntry};
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
pub unsafe fn whole_query(q: *mut Query) -> Result<Option<*mut PlannedStmt>> {
    if (*q).commandType != CmdType::CMD_SELECT {
        return Ok(None);
    }
    let Some(place) = place(q)? else { return Ok(None) };
    let (plan, values) = dist_plan(q, place)?;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

/// The distributed plan of a query for its place.
pub unsafe fn dist_plan(q: *mut Query, place: Place) -> Result<(DistPlan, Values)> {
    let mut values = place.values;
    let copy = nodes::copy(q);
    let deparsed = deparse::deparse(copy, &mut values)?;
    let columns = columns(q);
    let operation = if (*q).commandType != CmdType::CMD_SELECT || (*q).hasModifyingCTE {
        Operation::Modify
    } else if !(*q).rowMarks.is_null() {
        Operation::SelectForUpdate
    } else {
        Operation::Select
    };
    let prepare = !deparsed.params.is_empty() && is_single(&place.target);
    let tenant = query::take_tenant().filter(|_| is_single(&place.target));
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
        tenant,
    };
    Ok((plan, values))
}

fn is_single(t: &Target) -> bool {
    matches!(t, Target::Shards { single: true, .. } | Target::AnyReplica { .. })
}

/// Result columns of a query.
pub unsafe fn columns(q: *mut Query) -> Vec<Column> {
    let list =
        if (*q).commandType == CmdType::CMD_SELECT { (*q).targetList } else { (*q).returningList };
    nodes::iter::<TargetEntry>(list)
        .filter(|t| !(**t).resjunk)
        .map(|t| {
            let e = (*t).expr as *mut Node;
            Column { typ: u32::from(pg_sys::exprType(e)), typmod: pg_sys::exprTypmod(e) }
        })
        .collect()
}

/// Whether values of a type can come back from another node: not those whose shape only the
/// query knows.
pub unsafe fn is_transportable(typ: pg_sys::Oid) -> bool {
    typ == pg_sys::UNKNOWNOID || pg_sys::get_typtype(typ) as u8 != b'p'
}

/// Where a query can run as a whole, if anywhere.
pub unsafe fn place(q: *mut Query) -> Result<Option<Place>> {
    if !columns(q).iter().all(|c| is_transportable(pg_sys::Oid::from(c.typ))) {
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
    let why = if (*q).sortClause.is_null() {
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

fn debug(text: &str) {
    crate::pg::guard::report(&Error::new(crate::error::SqlState(0), text), pgrx::pg_sys::DEBUG2);
}

fn estimate(part: &Part) -> f64 {
    part.anchor.as_ref().map_or(1000.0, |t| t.shards.len() as f64 * 1000.0)
}

/// The one shard group that all distributed tables are pinned to.
fn single_shard(leaves: &[Leaf]) -> Option<(Rc<Table>, Prune)> {
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
pub unsafe fn expression_ships(n: *mut Node) -> bool {
    !nodes::walk(n, &mut |x| match nodes::tag(x) {
        pg_sys::NodeTag::T_SubLink => nodes::Visit::Stop,
        _ => match super::analyze::blocker(x) {
            Some(_) => nodes::Visit::Stop,
            None => nodes::Visit::Descend,
        },
    })
}
