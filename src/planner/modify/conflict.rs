//! ON CONFLICT.

use super::once;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{self, InferenceElem, Kind, List, Node, OnConflictExpr, Query, RowExpr};
use crate::planner::ship;
use pgrx::pg_sys::{self, CoercionForm, NodeTag, Oid};

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

/// Whole rows of the target and EXCLUDED, which have no names in the text for a shard, become rows
/// of their columns where only the values count: comparisons (`t.* IS DISTINCT FROM excluded.*`),
/// tests for NULL and the text of a row.
pub fn expand_rows(q: Query) {
    let Some(c) = q.on_conflict() else { return };
    let rows = (q.result_relation(), c.excl_rel_index());
    let Some(target) = q.target().map(|rte| rte.relid()) else { return };
    let new = c.node().mutate(|n| expand(n, rows, target));
    if let Some(new) = new.cast::<OnConflictExpr>() {
        new.set_excl_rel_index(c.excl_rel_index());
        q.set_on_conflict(Some(new));
    }
}

/// A comparison, test or cast with rows of columns in the place of whole rows that are its arguments.
fn expand(n: Node, rows: (i32, i32), target: Oid) -> Option<Node> {
    let by_value = match n.kind() {
        Kind::OpExpr(o) => ship::is_builtin(o.opno()),
        Kind::Other(tag) => tag == NodeTag::T_DistinctExpr,
        Kind::NullTest(_) | Kind::CoerceViaIO(_) => true,
        _ => false,
    };
    by_value.then(|| {
        n.mutate(|x| match x.kind() {
            Kind::List(_) => None,
            _ if x == n => None,
            Kind::Var(v) if v.varattno() == 0 && v.varlevelsup() == 0 => {
                let own = v.varno() == rows.0 || v.varno() == rows.1;
                own.then(|| row_of(v.varno(), target))
            }
            _ => Some(x.mutate(|y| expand(y, rows, target))),
        })
    })
}

/// `ROW(...)::record` of a table's columns: with the cast, a comparison is that of records, not one
/// of each pair of columns, which is NULL for columns that are.
fn row_of(varno: i32, relid: Oid) -> Node {
    let row = RowExpr::new();
    for a in lookup::attributes(relid).into_iter().flatten() {
        let name = query::string(&format!("f{}", row.args().len() + 1));
        row.set_args(row.args().with(a.var(varno)));
        row.set_colnames(row.colnames().with(name));
    }
    row.set_row_typeid(pg_sys::RECORDOID);
    row.set_row_format(CoercionForm::COERCE_EXPLICIT_CAST);
    row.set_location(-1);
    row.node()
}
