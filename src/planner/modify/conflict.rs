//! ON CONFLICT.

use super::once;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{InferenceElem, List, Node, Query};
use pgrx::pg_sys::Oid;

/// Constraints of shards have names of their own: ON CONSTRAINT becomes the constraint's columns.
pub fn name_arbiters(q: Query) -> Result<()> {
    let Some(c) = q.on_conflict().filter(|c| c.constraint() != Oid::INVALID) else {
        return Ok(());
    };
    let Some((unique, keys)) = lookup::constraint_columns(c.constraint()) else {
        return Err(Error::unsupported(
            "ON CONFLICT ON CONSTRAINT with a constraint that has no index",
        ));
    };
    if !unique {
        return Err(Error::unsupported(
            "ON CONFLICT ON CONSTRAINT with an exclusion constraint on a distributed table",
        ));
    }
    let Some(rte) = q.target() else { return Ok(()) };
    let mut elements = List::EMPTY;
    for attno in keys {
        let e = InferenceElem::new();
        e.set_expr(lookup::column(rte.relid(), attno, q.result_relation()).node());
        elements.push(e.node());
    }
    c.set_arbiter_elems(elements);
    c.set_constraint(Oid::INVALID);
    Ok(())
}

/// Replicas must not compute different values for the same row.
pub fn check_volatile(q: Query, table: &Table) -> Result<()> {
    let Some(c) = q.on_conflict().filter(|_| super::is_replicated(table)) else { return Ok(()) };
    let volatile = |n: Node| !n.is_none() && once::expression_differs(n);
    if volatile(c.on_conflict_set().node()) || volatile(c.on_conflict_where()) {
        return Err(Error::unsupported(
            "a volatile function or a query whose result depends on the order of rows in \
             ON CONFLICT DO UPDATE of a replicated table",
        )
        .hint("Compute it in the inserted row and refer to it by EXCLUDED."));
    }
    Ok(())
}
