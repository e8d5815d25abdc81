//! Conditions on views that are security barriers.
//!
//! Such a view is a query of its own for the nodes. Conditions of the query around it that tell nothing of
//! the rows they see (leakproof ones) are copied into it, as PostgreSQL does when it plans: otherwise all
//! shards would send all rows of the view.

use super::modify::substitute;
use super::ship;
use crate::pg::query::{self, Kind, Node, Query};
use pgrx::pg_sys::{CmdType, JoinType, RTEKind};

/// Copies conditions of a level of a query into the barriers that it reads.
pub fn narrow(q: Query) {
    // What MERGE has for WHERE is its ON, which does not decide over the rows of the source.
    let is_merge = q.command_type() == CmdType::CMD_MERGE;
    if is_merge || !q.rtable().iter().any(|r| r.security_barrier()) {
        return;
    }
    let mut kept = Vec::new();
    q.from_items().iter().for_each(|n| keep(n, &mut kept));
    let conditions = q.jointree().map_or(Node::NONE, |f| f.quals()).conjuncts();
    for (rte, rti) in q.rtable().iter().zip(1..) {
        let is_barrier = rte.rtekind() == RTEKind::RTE_SUBQUERY && rte.security_barrier();
        let Some(view) = rte.subquery().filter(|s| is_barrier && takes_conditions(*s)) else {
            continue;
        };
        if !kept.contains(&rti) {
            continue;
        }
        let columns = columns(view);
        let new = conditions.iter().filter(|c| is_harmless(**c, rti, &columns));
        let new: Vec<Node> = new.map(|c| substitute(*c, 0, rti, &columns)).collect();
        if let Some(f) = view.jointree().filter(|_| !new.is_empty()) {
            f.set_quals(query::and(&[f.quals().conjuncts(), new].concat()));
        }
    }
}

/// The entries of FROM whose rows WHERE decides over: not those that an outer join fills up with NULL.
fn keep(n: Node, kept: &mut Vec<i32>) {
    match n.kind() {
        Kind::RangeTblRef(r) => kept.push(r.rtindex()),
        Kind::JoinExpr(j) => {
            let kind = j.jointype();
            if matches!(kind, JoinType::JOIN_INNER | JoinType::JOIN_LEFT) {
                keep(j.larg(), kept);
            }
            if matches!(kind, JoinType::JOIN_INNER | JoinType::JOIN_RIGHT) {
                keep(j.rarg(), kept);
            }
        }
        _ => {}
    }
}

/// Whether a condition on the rows of a view is one on the rows that it reads.
fn takes_conditions(view: Query) -> bool {
    view.command_type() == CmdType::CMD_SELECT
        && !view.has_aggs()
        && !view.has_window_funcs()
        && !view.has_target_srfs()
        && view.group_clause().is_empty()
        && view.grouping_sets().is_empty()
        && view.having_qual().is_none()
        && view.distinct_clause().is_empty()
        && view.set_operations().is_none()
        && view.row_marks().is_empty()
        && view.limit_count().is_none()
        && view.limit_offset().is_none()
}

/// The columns of a view that are columns of what it reads.
fn columns(view: Query) -> Vec<(i16, Node)> {
    let plain = view.target_list().iter().filter(|t| {
        !t.resjunk() && matches!(t.expr().kind(), Kind::Var(v) if v.varlevelsup() == 0)
    });
    plain.map(|t| (t.resno(), t.expr())).collect()
}

/// Whether a condition is about these columns of an entry only, and tells nobody of them.
fn is_harmless(e: Node, rti: i32, columns: &[(i16, Node)]) -> bool {
    let c = ship::classify(e);
    if c.sublink || c.volatile || c.srf || e.leaks() {
        return false;
    }
    let mut found = false;
    let other = e.contains(|n| match n.kind() {
        Kind::Var(v) => {
            v.varlevelsup() != 0
                || v.varno() != rti
                || !columns.iter().any(|(a, _)| *a == v.varattno())
        }
        _ => false,
    });
    e.walk(|n| {
        found |= matches!(n.kind(), Kind::Var(_));
        query::Visit::Descend
    });
    found && !other
}
