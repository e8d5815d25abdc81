//! INSERT, UPDATE and DELETE on tables of ours.
//!
//! - A statement that its shard groups can run themselves is sent to them (`pushed`).
//! - An INSERT whose rows come from VALUES or a query is a plan for those rows, here, under a node
//!   that routes them to their shards (`insert`).
//! - Any other UPDATE or DELETE is a query, here, for the places (shard, ctid) and new values of
//!   the target's rows, which are locked while they are found; a node on top applies them
//!   (`place`).

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

mod checks;
mod conflict;
mod insert;
mod merge;
mod place;
mod returning;

pub use place::SHARD_ATTRIBUTE;

use super::pushdown;
use super::ship;
use super::whole;
use crate::catalog::{self, Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::nodes;
use crate::plan::{Apply, Target};
use pgrx::pg_sys::{
    self, CmdType, CustomScan, List, Node, NodeTag, PlannedStmt, Query, TargetEntry, Var,
};
use std::rc::Rc;

type Standard<'a> = &'a mut dyn FnMut(*mut Query) -> *mut PlannedStmt;

/// The target of a modification when it is a table of ours.
pub unsafe fn target_of(q: *mut Query) -> Option<Rc<Table>> {
    if (*q).resultRelation == 0 {
        return None;
    }
    let rte = nodes::rte((*q).rtable, (*q).resultRelation as u32);
    catalog::table((*rte).relid)
}

/// Plans a modification of a table of ours.
pub unsafe fn plan(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    check(q)?;
    // The table of a view was a FROM item of the view's query.
    (*nodes::rte((*q).rtable, (*q).resultRelation as u32)).inFromCl = false;
    match (*q).commandType {
        CmdType::CMD_INSERT => {
            conflict::name_arbiters(q)?;
            conflict::check_volatile(q, table)?;
            if !returning::needs_lowering(q) {
                return plan_insert(q, table, standard);
            }
            let projection = returning::lower(q, table);
            projection.apply(plan_insert(q, table, standard)?)
        }
        CmdType::CMD_UPDATE | CmdType::CMD_DELETE => change(q, table, standard),
        _ => merge::plan(q, table, standard),
    }
}

unsafe fn plan_insert(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    if insert::is_single_row(q) && (*q).withCheckOptions.is_null() {
        if let Some(stmt) = insert::insert_row(q, table)? {
            return Ok(stmt);
        }
    }
    insert::insert(q, table, standard)
}

unsafe fn change(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    if !returning::needs_lowering(q) {
        if let Some(stmt) = pushed(q, table)? {
            return Ok(stmt);
        }
    }
    if (*q).returningList.is_null() {
        return place::plan(q, table, standard);
    }
    let projection = returning::lower(q, table);
    let stmt = match pushed(q, table)? {
        Some(s) => s,
        None => place::plan(q, table, standard)?,
    };
    projection.apply(stmt)
}

/// What no plan of ours can do.
unsafe fn check(q: *mut Query) -> Result<()> {
    let current = !(*q).jointree.is_null()
        && nodes::walk((*(*q).jointree).quals, &mut |n| {
            if nodes::tag(n) == NodeTag::T_CurrentOfExpr {
                nodes::Visit::Stop
            } else {
                nodes::Visit::Descend
            }
        });
    if current {
        return Err(Error::unsupported("WHERE CURRENT OF is not supported on distributed tables")
            .hint("Use the primary key of the row that the cursor returned."));
    }
    Ok(())
}

// ---- UPDATE and DELETE as they are ------------------------------------------------------------

/// A statement that shard groups run themselves.
unsafe fn pushed(q: *mut Query, table: &Rc<Table>) -> Result<Option<*mut PlannedStmt>> {
    if changes_key(q, table) || !(*q).withCheckOptions.is_null() {
        return Ok(None);
    }
    let Some(mut place) = pushdown::place(q)? else { return Ok(None) };
    if let Target::AnyReplica { anchor } = place.target {
        if table.kind != Kind::Reference {
            return Ok(None);
        }
        place.target = Target::AllReplicas { anchor };
    } else if table.kind == Kind::Reference {
        return Ok(None);
    }
    if is_replicated(table) && has_volatile(q) {
        return Ok(None);
    }
    let (plan, values) = pushdown::dist_plan(q, place)?;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

fn is_replicated(table: &Table) -> bool {
    table.kind == Kind::Reference || table.shards.iter().any(|s| s.placements.len() > 1)
}

unsafe fn has_volatile(q: *mut Query) -> bool {
    nodes::walk(q as *mut Node, &mut |n| {
        if nodes::tag(n) != NodeTag::T_Query && ship::own(n).volatile {
            return nodes::Visit::Stop;
        }
        nodes::Visit::Descend
    })
}

/// Whether an UPDATE assigns something new to the distribution column.
unsafe fn changes_key(q: *mut Query, table: &Table) -> bool {
    let Some(key) = &table.key else { return false };
    let assigns = |list: *mut List| {
        nodes::iter::<TargetEntry>(list).any(|t| {
            if (*t).resjunk || (*t).resno != key.attno {
                return false;
            }
            let e = nodes::strip_relabel((*t).expr as *mut Node);
            !nodes::cast::<Var>(e, NodeTag::T_Var)
                .is_some_and(|v| (*v).varno == (*q).resultRelation && (*v).varattno == key.attno)
        })
    };
    (*q).commandType == CmdType::CMD_UPDATE && assigns((*q).targetList)
}

unsafe fn key_change(table: &Table) -> Error {
    Error::unsupported(format!(
        "modifying the distribution column \"{}\" is not supported here",
        key_name(table)
    ))
    .hint("Delete the row and insert it with the new value in one transaction.")
}

unsafe fn key_name(table: &Table) -> String {
    table.key.as_ref().map_or_else(String::new, |k| {
        nodes::str_of(pg_sys::get_attname(table.relid, k.attno, true))
    })
}

/// Where a row without a value for the distribution column goes: the first shard refuses it with
/// PostgreSQL's own error when the column is NOT NULL; otherwise it is refused here.
pub unsafe fn shard_without_key(table: &Table) -> Result<u32> {
    let Some(key) = &table.key else { return Ok(0) };
    let rel = pg_sys::table_open(table.relid, pg_sys::NoLock as i32);
    let attribute = (*(*rel).rd_att).attrs.as_ptr().add(key.attno as usize - 1);
    let refused_there = (*attribute).attnotnull;
    pg_sys::table_close(rel, pg_sys::NoLock as i32);
    if refused_there {
        Ok(0)
    } else {
        Err(null_key(table))
    }
}

/// The error of a row without a value for the distribution column.
pub unsafe fn null_key(table: &Table) -> Error {
    let name = key_name(table);
    let mut e = Error::new(
        sqlstate::NOT_NULL_VIOLATION,
        format!("cannot insert NULL into the distribution column \"{name}\""),
    );
    e.column = Some(name);
    e
}

// ---- the node on top --------------------------------------------------------------------------

/// Puts the applying node on a plan for rows; the result is a plan of the original statement.
unsafe fn on_top(
    q: *mut Query,
    stmt: *mut PlannedStmt,
    apply: &Apply,
    exprs: &[*mut Node],
) -> *mut PlannedStmt {
    let child = (*stmt).planTree;
    let results = whole::result_list(q);
    let rti = nodes::len((*stmt).rtable) as i32 + 1;
    (*stmt).rtable = pg_sys::lappend((*stmt).rtable, whole::remote_rte(results) as *mut _);
    let Some(first) = apply.steps.first() else { return stmt };
    let scan: *mut CustomScan = whole::scan_node(&first.plan, exprs);
    (*scan).methods = crate::executor::apply_methods(apply);
    (*scan).custom_private =
        pg_sys::lappend((*scan).custom_private, whole::encode_bytes(&apply.encode()) as *mut _);
    (*scan).custom_plans = nodes::list([child]);
    (*scan).scan.plan.total_cost = (*child).total_cost + (*child).plan_rows * 0.05;
    (*scan).scan.plan.plan_rows = (*child).plan_rows;
    whole::set_targets(scan, results, rti);
    (*scan).scan.plan.extParam = pg_sys::bms_copy((*child).extParam);
    (*scan).scan.plan.allParam = pg_sys::bms_copy((*child).allParam);
    (*stmt).planTree = scan as *mut pg_sys::Plan;
    (*stmt).commandType = (*q).commandType;
    (*stmt).hasReturning = !(*q).returningList.is_null();
    (*stmt).queryId = (*q).queryId;
    (*stmt).canSetTag = (*q).canSetTag;
    (*stmt).parallelModeNeeded = false;
    whole::add_relations(stmt, q);
    (*stmt).stmt_location = (*q).stmt_location;
    (*stmt).stmt_len = (*q).stmt_len;
    stmt
}
