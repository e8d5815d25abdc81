//! RETURNING whose expressions are evaluated here, over columns that the nodes return.

use super::select;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{
    self, CustomScan, Kind, List, Node, PlannedStmt, Query, RangeTblEntry, RowExpr, TargetEntry,
    Text, Var, Visit,
};
use crate::planner::{analyze, ctes, pushdown, Standard};
use pgrx::pg_sys::{self, CmdType, CoercionForm, Oid, RTEKind};

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
    let list = q.returning_list().mutate(|n| expand(n, target, table).or_else(|| row_of(n, q)));
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

/// The row of a sub-query in FROM as one of its columns: it has no type that its text could be read
/// back by. Not where an outer join may have none, which is NULL and not a row of NULLs.
fn row_of(n: Node, q: Query) -> Option<Node> {
    let Kind::Var(v) = n.kind() else { return None };
    let whole = v.varattno() == 0 && v.varlevelsup() == 0 && v.vartype() == pg_sys::RECORDOID;
    if !whole || !select::keeps_values(q.jointree().into(), v.varno()) {
        return None;
    }
    let (names, columns) = q.entry(v.varno() as u32)?.columns(v.varno());
    let row = RowExpr::new();
    row.set_args(columns);
    row.set_colnames(names);
    row.set_row_typeid(pg_sys::RECORDOID);
    row.set_row_format(CoercionForm::COERCE_IMPLICIT_CAST);
    row.set_location(-1);
    Some(row.node())
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
            let e = e.eval_const();
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

/// Whether RETURNING of an INSERT has sub-queries that read what is not on the nodes of its shards:
/// queries of WITH, tables that are cut otherwise. Rows found for an UPDATE or DELETE carry the
/// values of such sub-queries; the rows of an INSERT are only there when they are back.
pub fn reads_elsewhere(q: Query) -> bool {
    q.command_type() == CmdType::CMD_INSERT
        && q.has_sub_links()
        && q.returning_list().walk(|n| {
            let Kind::SubLink(link) = n.kind() else { return Visit::Descend };
            let inner = link.subselect();
            let outer = inner.cast::<Query>().is_some_and(|s| reads_with(s, 0));
            if outer || !super::insert::ships_with_references(inner) {
                Visit::Stop
            } else {
                Visit::Skip
            }
        })
}

/// Whether a sub-query reads queries of a WITH around it.
pub(super) fn reads_with(q: Query, depth: u32) -> bool {
    let outer = |r: RangeTblEntry| r.rtekind() == RTEKind::RTE_CTE && r.ctelevelsup() > depth;
    q.rtable().iter().any(outer) || q.inner_queries().into_iter().any(|i| reads_with(i, depth + 1))
}

/// Plans a modification whose RETURNING is a query of its own: it reads the columns that the
/// modification returns as it would read those of a modification in WITH.
pub fn plan_apart(q: Query, standard: Standard<'_>) -> Result<PlannedStmt> {
    let body = q.copy();
    let mut columns: Vec<Var> = Vec::new();
    let list = q.returning_list().mutate(|n| Some(over_columns(n, 0, &mut columns)));
    let mut outputs: List<TargetEntry> =
        columns.iter().enumerate().map(|(i, v)| output(v.node(), i)).collect();
    if columns.is_empty() {
        outputs.push(output(query::boolean(true), 0));
    }
    body.set_returning_list(outputs);
    body.set_ctes(List::EMPTY);
    let outer = query::select();
    outer.set_target_list(list);
    outer.set_ctes(q.ctes());
    outer.set_has_recursive(q.has_recursive());
    outer.set_has_modifying_cte(true);
    outer.set_has_sub_links(true);
    outer.set_query_id(q.query_id());
    outer.set_can_set_tag(q.can_set_tag());
    outer.set_stmt_location(q.stmt_location());
    outer.set_stmt_len(q.stmt_len());
    let stmt = ctes::plan(outer, Some(body), standard)?;
    stmt.set_command_type(q.command_type());
    stmt.set_has_returning(true);
    Ok(stmt)
}

fn output(e: Node, i: usize) -> TargetEntry {
    query::target_entry(e.copy(), i as i16 + 1, Text::new(&format!("r{}", i + 1)))
}

/// An expression over the columns that a modification returns, which `columns` collects.
pub(super) fn over_columns(n: Node, depth: u32, columns: &mut Vec<Var>) -> Node {
    n.mutate(|x| {
        let v = match x.kind() {
            Kind::Query(q) => {
                let q = q.copy();
                q.mutate_parts(|y| Some(over_columns(y, depth + 1, columns)));
                return Some(q.node());
            }
            Kind::Var(v) if v.varlevelsup() == depth => v,
            _ => return None,
        };
        let own = v.copy();
        own.set_varlevelsup(0);
        let i = match columns.iter().position(|c| c.node().equals(own.node())) {
            Some(i) => i,
            None => {
                columns.push(own);
                columns.len() - 1
            }
        };
        let new = query::var(1, i as i16 + 1, x.typ(), x.typmod(), x.collation());
        new.set_varlevelsup(depth);
        Some(new.node())
    })
}
