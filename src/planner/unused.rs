//! CTEs that nothing refers to any more.
//!
//! PostgreSQL never runs a SELECT in WITH that nothing refers to, and a reference may go away with the
//! condition or value around it when constants are folded. What is left must not decide where a query
//! can run, nor go to nodes in its text.

use crate::pg::query::{CommonTableExpr, Kind, Query, Visit};
use pgrx::pg_sys::{CmdType, RTEKind};

/// Drops them, at all levels of a query.
pub fn drop_ctes(q: Query) {
    drop_own(q);
    q.walk(|n| {
        if let Kind::Query(level) = n.kind() {
            drop_own(level);
        }
        Visit::Descend
    });
}

fn drop_own(q: Query) {
    // Without one, those that only it referred to are not needed either.
    while let Some(unused) = q.ctes().iter().find(|c| is_unused(q, *c)) {
        q.set_ctes(q.ctes().iter().filter(|c| *c != unused).collect());
    }
}

fn is_unused(q: Query, cte: CommonTableExpr) -> bool {
    let body = cte.ctequery().cast::<Query>();
    let Some(body) = body.filter(|b| b.command_type() == CmdType::CMD_SELECT) else { return false };
    let name = cte.ctename().to_string();
    // A recursive one refers to itself.
    let others = q.inner_queries().into_iter().filter(|i| *i != body);
    !(names(q, &name, 0) || others.into_iter().any(|i| refers(i, &name, 1)))
}

/// Whether a query refers to a CTE so many levels above it.
fn refers(q: Query, name: &str, above: u32) -> bool {
    names(q, name, above) || q.inner_queries().into_iter().any(|i| refers(i, name, above + 1))
}

fn names(q: Query, name: &str, above: u32) -> bool {
    q.rtable().iter().any(|r| {
        r.rtekind() == RTEKind::RTE_CTE
            && r.ctelevelsup() == above
            && r.ctename().to_string() == name
    })
}
