//! Statements that each copy of a shard could understand differently.
//!
//! Copies hold the same rows, but not in the same places nor in the same order, and each node
//! computes volatile functions for itself. What depends on that is evaluated once, here, and the
//! rows that come out of it are written to all copies.

use crate::pg::query::{Kind, Node, Query, RangeTblEntry};
use crate::planner::ship;
use pgrx::pg_sys::CmdType;

/// Whether the result of a statement depends on the copy that it runs on.
pub fn differs_by_copy(q: Query) -> bool {
    // Which one of several matches an UPDATE takes is a matter of order.
    let joins = q.command_type() == CmdType::CMD_UPDATE
        && (q.from_items().len() > 1
            || q.from_items().iter().any(|f| matches!(f.kind(), Kind::JoinExpr(_))));
    joins || q.node().contains(|n| depends(n) || inner(n, q))
}

/// Whether an expression of a statement depends on the copy that evaluates it.
pub fn expression_differs(n: Node) -> bool {
    n.contains(|x| depends(x) || matches!(x.kind(), Kind::Query(s) if is_ordered(s)))
}

fn inner(n: Node, q: Query) -> bool {
    matches!(n.kind(), Kind::Query(s) if s.node() != q.node() && is_ordered(s))
}

fn depends(n: Node) -> bool {
    if let Some(rte) = n.cast::<RangeTblEntry>() {
        return !rte.tablesample().is_none();
    }
    match n.kind() {
        // System columns.
        Kind::Var(v) => v.varattno() < 0,
        _ => ship::is_volatile(n),
    }
}

/// Whether the order in which rows are found can show in the result of a query: by what is cut
/// off, which of equal values stands for all, and sums of floats or lists.
fn is_ordered(s: Query) -> bool {
    s.has_aggs()
        || s.has_window_funcs()
        || !s.distinct_clause().is_empty()
        || !s.group_clause().is_empty()
        || !s.set_operations().is_none()
        || !s.limit_count().is_none()
        || !s.limit_offset().is_none()
        || !s.row_marks().is_empty()
}
