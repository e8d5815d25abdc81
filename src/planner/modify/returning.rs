//! RETURNING whose expressions are evaluated here, over columns that the nodes return.

use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{
    self, CustomScan, Kind, List, Node, PlannedStmt, Query, RowExpr, TargetEntry, Text, Var, Visit,
};
use crate::planner::{analyze, pushdown};
use pgrx::pg_sys::{self, CoercionForm, Oid, RTEKind};

/// What is left to do here with the columns that come back.
pub struct Projection {
    /// The expressions.
    list: List<TargetEntry>,
    /// What the columns are in them.
    columns: Vec<Node>,
}

/// Whether nodes cannot evaluate the list themselves.
pub fn needs_lowering(q: Query) -> bool {
    if q.returning_list().is_empty() {
        return false;
    }
    if !pushdown::columns(q).iter().all(|c| pushdown::is_transportable(Oid::from(c.typ))) {
        return true;
    }
    q.returning_list().walk(|n| match n.kind() {
        Kind::SubLink(_) => Visit::Skip,
        _ if analyze::blocker(n).is_some() => Visit::Stop,
        _ => Visit::Descend,
    })
}

/// Makes RETURNING of `q` the plain columns (and sub-queries) that its expressions are made of.
pub fn lower(q: Query, table: &Table) -> Projection {
    let target = q.result_relation();
    let list = q.returning_list().mutate(|n| expand(n, target, table));
    let mut columns: Vec<Node> = Vec::new();
    list.walk(|n| {
        let own = match n.kind() {
            Kind::Var(v) => v.varlevelsup() == 0,
            Kind::SubLink(_) => true,
            _ => return Visit::Descend,
        };
        if own && !columns.iter().any(|c| c.equals(n)) {
            columns.push(n);
        }
        Visit::Skip
    });
    if columns.is_empty() {
        columns.push(query::boolean(true));
    }
    let output = |(i, c): (usize, &Node)| {
        query::target_entry(c.copy(), i as i16 + 1, Text::new(&format!("r{}", i + 1)))
    };
    q.set_returning_list(columns.iter().enumerate().map(output).collect());
    Projection { list, columns }
}

/// Whole rows and the OID of the target in terms of its columns.
fn expand(n: Node, target: i32, table: &Table) -> Option<Node> {
    let v = match n.kind() {
        Kind::SubLink(_) => return Some(n.copy()),
        Kind::Var(v) => v,
        _ => return None,
    };
    if v.varno() != target || v.varlevelsup() != 0 {
        return None;
    }
    if v.varattno() == pg_sys::TableOidAttributeNumber as i16 {
        return Some(query::oid(table.relid));
    }
    (v.varattno() == 0).then(|| whole_row(v, table))
}

/// A row of the table's type made of its columns.
fn whole_row(v: Var, table: &Table) -> Node {
    let row = RowExpr::new();
    for a in lookup::attributes(table.relid) {
        let (e, name) = match a {
            None => (query::null(pg_sys::INT4OID, -1, Oid::INVALID), String::new()),
            Some(a) => (a.var(v.varno()), a.name),
        };
        row.set_args(row.args().with(e));
        row.set_colnames(row.colnames().with(query::string(&name)));
    }
    row.set_row_typeid(v.vartype());
    row.set_row_format(CoercionForm::COERCE_IMPLICIT_CAST);
    row.set_location(-1);
    row.node()
}

impl Projection {
    /// Evaluates the expressions in the node that returns the columns.
    pub fn apply(self, stmt: PlannedStmt) -> Result<PlannedStmt> {
        let top: Node = stmt.plan_tree().into();
        let Some(scan) = top.cast::<CustomScan>() else {
            return Err(Error::internal("RETURNING without a node that returns rows"));
        };
        let columns = self.columns;
        let mut tlist = List::EMPTY;
        for t in self.list.iter().filter(|t| !t.resjunk()) {
            let out = t.copy();
            let e = t.expr().mutate(|n| {
                let i = columns.iter().position(|c| c.equals(n))?;
                Some(query::var_like(pg_sys::INDEX_VAR, i as i16 + 1, n))
            });
            let e = crate::planner::fold(e);
            e.set_functions();
            out.set_expr(e);
            out.set_resno(tlist.len() as i16 + 1);
            tlist.push(out);
        }
        scan.set_targetlist(tlist);
        Ok(stmt)
    }
}

/// Whether the entry is a table, whose whole rows have a named type.
pub fn has_named_rows(q: Query, varno: i32) -> bool {
    q.entry(varno as u32).is_some_and(|rte| rte.rtekind() == RTEKind::RTE_RELATION)
}
