//! What PostgreSQL refuses to lock: rows that may be missing, groups, and the like.
//!
//! Its planner says so, who does not see the locks on tables of ours (the scans take them). So a
//! query of which it might say so is planned twice: first as one of plain tables, in vain.

use super::Standard;
use crate::pg::query::{Kind, Node, Query};
use pgrx::pg_sys::JoinType;
use std::cell::Cell;

thread_local! { static IN_VAIN: Cell<bool> = const { Cell::new(false) }; }

/// Whether tables of ours are planned as if they were plain ones.
pub fn in_vain() -> bool {
    IN_VAIN.with(Cell::get)
}

/// A time of planning in vain, or not, until it is dropped, also when an error of the planner ends it.
pub struct During {
    before: bool,
}

impl During {
    /// Queries of functions that are called while another one is planned in vain: their plans are kept.
    pub fn earnest() -> Self {
        Self::begin(false)
    }

    fn begin(in_vain: bool) -> Self {
        During { before: IN_VAIN.with(|v| v.replace(in_vain)) }
    }
}

impl Drop for During {
    fn drop(&mut self) {
        IN_VAIN.with(|v| v.set(self.before));
    }
}

/// Raises PostgreSQL's error where a query locks rows that cannot be locked.
pub fn check(q: Query, standard: Standard<'_>) {
    let questionable = q.node().contains(|n| match n.kind() {
        Kind::Query(level) => !level.row_marks().is_empty() && may_be_refused(level),
        _ => false,
    });
    if questionable {
        let _in_vain = During::begin(true);
        standard(q.copy());
    }
}

/// Whether PostgreSQL might refuse to lock rows of a query.
fn may_be_refused(q: Query) -> bool {
    let outer = |n: Node| match n.kind() {
        Kind::JoinExpr(j) => j.jointype() != JoinType::JOIN_INNER,
        _ => false,
    };
    q.has_aggs()
        || q.has_window_funcs()
        || q.has_target_srfs()
        || !q.group_clause().is_empty()
        || !q.grouping_sets().is_empty()
        || !q.having_qual().is_none()
        || !q.distinct_clause().is_empty()
        || !q.set_operations().is_none()
        || q.from_items().node().contains(outer)
}
