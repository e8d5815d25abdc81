//! From PostgreSQL's query tree to distributed plans.
//!
//! The rules stand in one order, from the plan that costs least to the one that always works:
//! 0. `shapes`: a statement on one shard that came before with other constants: take its plan.
//! 1. `router`: everything the query needs is on one shard group: send the whole query there.
//! 2. `pushdown`: each shard group can answer for itself: send the whole query to each.
//! 3. `combine`: each shard group can answer a part (aggregates, top rows): combine here.
//! 4. `rest`: PostgreSQL plans the query, distributed tables (or sub-queries that fall under 1 to
//!    3) are scans (`scan`).
//!
//! Queries and plans are handles (`pg::query`) of trees that live as long as the planner call.

mod aggregate;
pub mod analyze;
mod barriers;
mod cases;
mod collations;
mod combine;
mod conditions;
mod ctes;
mod cursor;
mod decorrelate;
mod deparse;
mod distinct;
mod extension;
pub mod hiding;
mod lists;
pub mod locks;
pub mod modify;
mod order;
mod presence;
mod printable;
mod pushdown;
mod rest;
pub mod scan;
mod shapes;
pub mod ship;
mod source;
mod unused;
pub mod values;
pub mod whole;

use crate::catalog;
use crate::error::Result;
use crate::pg::query::{Kind, List, Node, PlannedStmt, Query, RangeTblEntry, SubLink, Visit};
use pgrx::pg_sys::{CmdType, RTEKind};

/// PostgreSQL's planner (or the next hook).
pub type Standard<'a> = &'a mut dyn FnMut(Query) -> PlannedStmt;

/// Whether a range table entry is a table of ours.
fn is_ours(rte: RangeTblEntry) -> bool {
    rte.rtekind() == RTEKind::RTE_RELATION && catalog::table(rte.relid()).is_some()
}

/// Whether a query mentions a table of ours at any level.
pub fn concerns_us(q: Query) -> bool {
    if !catalog::extension_ready() {
        return false;
    }
    if is_flat(q) {
        // Most queries: there is no other place for a table.
        return q.rtable().iter().any(is_ours);
    }
    q.walk(|n| match n.cast::<RangeTblEntry>() {
        Some(rte) if is_ours(rte) => Visit::Stop,
        _ => Visit::Descend,
    })
}

/// Whether there is no other query in a query.
fn is_flat(q: Query) -> bool {
    !q.has_sub_links()
        && q.ctes().is_empty()
        && q.rtable().iter().all(|r| r.rtekind() != RTEKind::RTE_SUBQUERY)
}

/// Plans the query of a cursor.
pub fn plan_cursor(q: Query, standard: Standard<'_>) -> Result<PlannedStmt> {
    simplify(q);
    match cursor::plan(q, standard)? {
        Some(stmt) => Ok(stmt),
        None => plan(q, None, standard),
    }
}

/// Plans a query that mentions our tables. `text` is what the client sent, when the query has no
/// parameters.
pub fn plan(q: Query, text: Option<&[u8]>, standard: Standard<'_>) -> Result<PlannedStmt> {
    if let Some(text) = text {
        if let Some(known) = shapes::plan(q, text)? {
            return Ok(known);
        }
    }
    simplify(q);
    if modify::reads_elsewhere(q) && modify::target_of(q).is_some() {
        return modify::plan_apart(q, standard);
    }
    if q.has_modifying_cte() && !q.ctes().is_empty() {
        return ctes::plan(q, None, standard);
    }
    plan_query(q, standard)
}

/// Plans a simplified query by the first rule that applies.
fn plan_query(q: Query, standard: Standard<'_>) -> Result<PlannedStmt> {
    if !concerns_us(q) {
        return Ok(standard(q));
    }
    if let Some(table) = modify::target_of(q) {
        if modify::reads_elsewhere(q) {
            return modify::plan_apart(q, standard);
        }
        return modify::plan(q, &table, standard);
    }
    if let Some(stmt) = pushdown::whole_query(q)? {
        return Ok(stmt);
    }
    rest::plan(q, standard)
}

/// Folds constants in all expressions, so that what is known is a constant for the rules, too.
fn simplify(q: Query) {
    if is_flat(q) {
        return simplify_level(q);
    }
    // Nor may what never runs raise errors when it is folded.
    unused::drop_ctes(q);
    q.walk(|n| {
        if let Kind::Query(level) = n.kind() {
            simplify_level(level);
            // The walk comes to what it reads afterwards.
            barriers::narrow(level);
        }
        Visit::Descend
    });
    unused::drop_ctes(q);
}

fn fold(n: Node) -> Node {
    if n.is_none() {
        return n;
    }
    let links = sub_links(n);
    // Folding turns COLLATE into a relabeling, which would not be printed any more.
    n.eval_const().mutate(|x| match x.kind() {
        Kind::SubLink(l) if !l.testexpr().is_none() => {
            let original = links.iter().find(|o| o.subselect() == l.subselect())?;
            let c = l.shallow_copy();
            c.set_testexpr(fold_comparison(original.testexpr()));
            Some(c.node())
        }
        Kind::RelabelType(r) => collations::relabeled(r, fold(r.arg())),
        _ => None,
    })
}

/// The sub-queries in an expression that are compared with something.
fn sub_links(n: Node) -> Vec<SubLink> {
    let mut found = Vec::new();
    n.walk(|x| {
        if let Kind::SubLink(l) = x.kind() {
            found.push(l);
        }
        Visit::Descend
    });
    found.retain(|l| !l.testexpr().is_none());
    found
}

/// Folds what is compared with a sub-query's columns. The comparisons stay: PostgreSQL prints the
/// sub-query by them, and takes what else it finds (a NULL, say) for a comparison.
fn fold_comparison(n: Node) -> Node {
    let folded = |args: List<Node>, f: fn(Node) -> Node| args.iter().map(f).collect::<List<Node>>();
    match n.kind() {
        Kind::BoolExpr(b) => {
            let c = b.shallow_copy();
            c.set_args(folded(b.args(), fold_comparison));
            c.node()
        }
        Kind::OpExpr(o) => {
            let c = o.shallow_copy();
            c.set_args(folded(o.args(), fold));
            c.node()
        }
        _ => n.copy(),
    }
}

fn simplify_level(q: Query) {
    simplify_from(q.jointree().into());
    if q.command_type() != CmdType::CMD_INSERT {
        q.set_target_list(fold(q.target_list().node()).list().of());
    }
    q.set_having_qual(fold(q.having_qual()));
    q.set_limit_count(fold(q.limit_count()));
    q.set_limit_offset(fold(q.limit_offset()));
}

fn simplify_from(n: Node) {
    match n.kind() {
        Kind::FromExpr(f) => {
            f.set_quals(fold(f.quals()));
            f.fromlist().iter().for_each(simplify_from);
        }
        Kind::JoinExpr(j) => {
            j.set_quals(fold(j.quals()));
            simplify_from(j.larg());
            simplify_from(j.rarg());
        }
        _ => {}
    }
}
