//! From PostgreSQL's query tree to distributed plans.
//!
//! The rules stand in one order, from the plan that costs least to the one that always works:
//! 1. `router`: everything the query needs is on one shard group: send the whole query there.
//! 2. `pushdown`: each shard group can answer for itself: send the whole query to each.
//! 3. `combine`: each shard group can answer a part (aggregates, top rows): combine here.
//! 4. `rest`: PostgreSQL plans the query, distributed tables (or sub-queries that fall under 1 to
//!    3) are scans.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

mod aggregate;
pub mod analyze;
mod combine;
mod ctes;
mod decorrelate;
mod deparse;
mod extension;
pub mod modify;
mod pushdown;
pub mod rest;
pub mod ship;
mod source;
pub mod values;
pub mod whole;

use crate::catalog;
use crate::error::Result;
use crate::pg::nodes::{self, Visit};
use pgrx::pg_sys::{
    self, CmdType, Node, NodeTag, ParamListInfo, PlannedStmt, Query, RTEKind, RangeTblEntry,
};

/// Whether a query mentions a table of ours at any level.
pub unsafe fn concerns_us(q: *mut Query) -> bool {
    if !catalog::extension_ready() {
        return false;
    }
    nodes::walk(q as *mut Node, &mut |n| {
        if nodes::tag(n) == NodeTag::T_RangeTblEntry {
            let rte = n as *mut RangeTblEntry;
            if (*rte).rtekind == RTEKind::RTE_RELATION && catalog::table((*rte).relid).is_some() {
                return Visit::Stop;
            }
        }
        Visit::Descend
    })
}

/// Plans a query that mentions our tables. `standard` is PostgreSQL's planner (or the next hook).
pub unsafe fn plan(
    q: *mut Query,
    params: ParamListInfo,
    standard: &mut dyn FnMut(*mut Query) -> *mut PlannedStmt,
) -> Result<*mut PlannedStmt> {
    let _ = params;
    simplify(q);
    if (*q).hasModifyingCTE && !(*q).cteList.is_null() {
        return ctes::plan(q, standard);
    }
    plan_query(q, standard)
}

/// Plans a simplified query by the first rule that applies.
unsafe fn plan_query(
    q: *mut Query,
    standard: &mut dyn FnMut(*mut Query) -> *mut PlannedStmt,
) -> Result<*mut PlannedStmt> {
    if !concerns_us(q) {
        return Ok(standard(q));
    }
    if let Some(table) = modify::target_of(q) {
        return modify::plan(q, &table, standard);
    }
    if let Some(stmt) = pushdown::whole_query(q)? {
        return Ok(stmt);
    }
    rest::plan(q, standard)
}

/// Folds constants in all expressions, so that what is known is a constant for the rules, too.
unsafe fn simplify(q: *mut Query) {
    nodes::walk(q as *mut Node, &mut |n| {
        if nodes::tag(n) == NodeTag::T_Query {
            simplify_level(n as *mut Query);
        }
        Visit::Descend
    });
}

unsafe fn fold(n: *mut Node) -> *mut Node {
    if n.is_null() {
        return n;
    }
    let n = pg_sys::eval_const_expressions(std::ptr::null_mut(), n);
    // Folding turns COLLATE into a relabeling, which would not be printed any more.
    nodes::mutate(n, &mut |x| {
        let r = nodes::cast::<pg_sys::RelabelType>(x, NodeTag::T_RelabelType)?;
        let arg = (*r).arg as *mut Node;
        if (*r).resulttype != pg_sys::exprType(arg)
            || (*r).resultcollid == pg_sys::exprCollation(arg)
            || (*r).resultcollid == pg_sys::Oid::INVALID
        {
            return None;
        }
        let c: *mut pg_sys::CollateExpr = nodes::make(NodeTag::T_CollateExpr);
        (*c).arg = fold(arg) as *mut pg_sys::Expr;
        (*c).collOid = (*r).resultcollid;
        (*c).location = -1;
        Some(c as *mut Node)
    })
}

unsafe fn simplify_level(q: *mut Query) {
    if !(*q).jointree.is_null() {
        simplify_from((*q).jointree as *mut Node);
    }
    if (*q).commandType != CmdType::CMD_INSERT {
        (*q).targetList = fold((*q).targetList as *mut Node) as *mut pg_sys::List;
    }
    (*q).havingQual = fold((*q).havingQual);
    (*q).limitCount = fold((*q).limitCount);
    (*q).limitOffset = fold((*q).limitOffset);
}

unsafe fn simplify_from(n: *mut Node) {
    match nodes::tag(n) {
        NodeTag::T_FromExpr => {
            let f = n as *mut pg_sys::FromExpr;
            (*f).quals = fold((*f).quals);
            nodes::iter::<Node>((*f).fromlist).for_each(|c| simplify_from(c));
        }
        NodeTag::T_JoinExpr => {
            let j = n as *mut pg_sys::JoinExpr;
            (*j).quals = fold((*j).quals);
            simplify_from((*j).larg);
            simplify_from((*j).rarg);
        }
        _ => {}
    }
}
