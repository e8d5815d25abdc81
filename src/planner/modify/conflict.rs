//! ON CONFLICT.

use super::once;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{
    self, InferenceElem, Kind, List, Node, OnConflictExpr, Query, RowExpr, SubLink, Text, Var,
};
use crate::planner::ship;
use pgrx::pg_sys::{self, CoercionForm, NodeTag, Oid, RTEKind, SubLinkType};
use std::cell::Cell;

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

/// Whether copies of a shard could compute different values for the same row.
pub fn differs(q: Query, table: &Table) -> bool {
    let Some(c) = q.on_conflict().filter(|_| super::is_replicated(table)) else { return false };
    let volatile = |n: Node| !n.is_none() && once::expression_differs(n);
    volatile(c.on_conflict_set().node()) || volatile(c.on_conflict_where())
}

/// Replicas must not compute different values for the same row.
pub fn check_volatile(q: Query, table: &Table) -> Result<()> {
    if !differs(q, table) {
        return Ok(());
    }
    Err(Error::unsupported(
        "a volatile function or a query whose result depends on the order of rows in \
         ON CONFLICT DO UPDATE of a replicated table",
    )
    .hint("Compute it in the inserted row and refer to it by EXCLUDED."))
}

/// Whole rows of the target and EXCLUDED, which have no names in the text for a shard, become rows
/// of their columns where only the values count: comparisons (`t.* IS DISTINCT FROM excluded.*`),
/// tests for NULL and the text of a row. Functions of any row (`to_jsonb(excluded)`) get one whose
/// columns have names.
pub fn expand_rows(q: Query) {
    let Some(c) = q.on_conflict() else { return };
    let Some(target) = q.target().map(|rte| rte.relid()) else { return };
    let rows =
        Rows { varnos: (q.result_relation(), c.excl_rel_index()), target, named: Cell::new(false) };
    let new = c.node().mutate(|n| rows.expand(n, 0));
    if let Some(new) = new.cast::<OnConflictExpr>() {
        new.set_excl_rel_index(c.excl_rel_index());
        q.set_on_conflict(Some(new));
    }
    q.set_has_sub_links(q.has_sub_links() || rows.named.get());
}

/// The whole rows that an expression may mention.
struct Rows {
    varnos: (i32, i32),
    target: Oid,
    /// Whether one was replaced by a sub-query.
    named: Cell<bool>,
}

impl Rows {
    /// An expression with rows of columns in the place of whole rows that are its arguments;
    /// `depth` is the number of queries around it within the statement.
    fn expand(&self, n: Node, depth: u32) -> Option<Node> {
        if let Kind::Query(q) = n.kind() {
            let q = q.copy();
            q.mutate_parts(|x| self.expand(x, depth + 1));
            return Some(q.node());
        }
        let named = is_function_of_any_row(n);
        let by_value = match n.kind() {
            Kind::OpExpr(o) => ship::is_builtin(o.opno()),
            Kind::Other(tag) => tag == NodeTag::T_DistinctExpr,
            Kind::NullTest(_) | Kind::CoerceViaIO(_) => true,
            _ => named,
        };
        by_value.then(|| {
            n.mutate(|x| match x.kind() {
                Kind::List(_) => None,
                _ if x == n => None,
                Kind::Var(v) if v.varattno() == 0 && v.varlevelsup() == depth => {
                    let own = v.varno() == self.varnos.0 || v.varno() == self.varnos.1;
                    own.then(|| self.row_of(v, named))
                }
                _ => Some(self.expand(x, depth).unwrap_or_else(|| {
                    x.mutate(|y| if y == x { None } else { self.expand(y, depth) })
                })),
            })
        })
    }

    fn row_of(&self, v: Var, named: bool) -> Node {
        let row = if named {
            self.named.set(true);
            named_row_of(v.varno(), self.target)
        } else {
            row_of(v.varno(), self.target)
        };
        row.shift_levels(v.varlevelsup() as i32, 0);
        row
    }
}

/// Whether a node calls a built-in function, which takes any row, and does not answer with it or its
/// type.
fn is_function_of_any_row(n: Node) -> bool {
    let Kind::FuncExpr(f) = n.kind() else { return false };
    ship::is_builtin(f.funcid())
        && f.funcid() != Oid::from(pg_sys::F_PG_TYPEOF)
        && ship::is_plain_type(n.typ())
}

/// `(SELECT citus_row FROM (SELECT row.a AS a, ...) citus_row)`: a record whose fields have the
/// names of the table's columns.
fn named_row_of(varno: i32, relid: Oid) -> Node {
    let columns = query::select();
    let mut names = List::EMPTY;
    for a in lookup::attributes(relid).into_iter().flatten() {
        let n = columns.target_list().len() as i16 + 1;
        let e = a.var(varno);
        e.shift_levels(2, 0);
        columns.set_target_list(columns.target_list().with(query::target_entry(
            e,
            n,
            Text::new(&a.name),
        )));
        names.push(query::string(&a.name));
    }
    columns.set_jointree(Some(query::from_expr(List::EMPTY, Node::NONE)));
    let rte = query::from_item(RTEKind::RTE_SUBQUERY);
    rte.set_subquery(Some(columns));
    rte.set_eref(Some(query::alias("citus_row", names)));
    let whole = query::var(1, 0, pg_sys::RECORDOID, -1, Oid::INVALID).node();
    let row = query::select();
    row.set_rtable(List::from([rte]));
    row.set_jointree(Some(query::from_entry(1, Node::NONE)));
    row.set_target_list(List::from([query::target_entry(whole, 1, Text::new("citus_row"))]));
    let link = SubLink::new();
    link.set_sub_link_type(SubLinkType::EXPR_SUBLINK);
    link.set_subselect(row.node());
    link.set_location(-1);
    link.node()
}

/// Whether a sub-query is a row as [`expand_rows`] makes it: it reads nothing but columns of the
/// statement's own rows.
pub fn is_row(s: SubLink) -> bool {
    let whole =
        |n: Node| matches!(n.kind(), Kind::Var(v) if v.varlevelsup() == 0 && v.varattno() == 0);
    let column =
        |n: Node| matches!(n.kind(), Kind::Var(v) if v.varlevelsup() >= 2 && v.varattno() > 0);
    let Some(row) = s.subselect().cast::<Query>() else { return false };
    let (Some(rte), 1, 1) = (row.entry(1), row.rtable().len(), row.target_list().len()) else {
        return false;
    };
    let Some(columns) = rte.subquery().filter(|_| rte.rtekind() == RTEKind::RTE_SUBQUERY) else {
        return false;
    };
    s.sub_link_type() == SubLinkType::EXPR_SUBLINK
        && row.quals().is_none()
        && row.target_list().iter().all(|t| whole(t.expr()))
        && columns.rtable().is_empty()
        && columns.quals().is_none()
        && columns.target_list().iter().all(|t| column(t.expr()))
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
