//! A distributed plan as a FROM item of the rest of a query.
//!
//! It stands as a call of `citus_source(plan, values ...)`. PostgreSQL's planner treats
//! the values as it treats any function's arguments (parameters and outer columns included), and
//! the path hook turns the call into a scan of the plan.

use super::whole;
use crate::error::{sqlstate, Error, Result};
use crate::pg::query::{
    self, CustomScan, FuncExpr, Kind, List, Node, Query, RangeTblEntry, RangeTblFunction,
    RelOptInfo, TargetEntry, Text, Var, Visit,
};
use crate::pg::{lookup, server};
use crate::plan::DistPlan;
use pgrx::pg_sys::{self, CoercionForm, Oid, RTEKind};
use std::cell::Cell;

thread_local! { static FUNCTION: Cell<(u64, u32)> = const { Cell::new((0, 0)) }; }

/// OID of `citus_source`.
pub fn function() -> Result<Oid> {
    let now = crate::catalog::generation();
    let (seen, oid) = FUNCTION.with(Cell::get);
    if seen == now && oid != 0 {
        return Ok(Oid::from(oid));
    }
    let Some(f) = lookup::function("citus_source") else {
        return Err(Error::new(
            sqlstate::UNDEFINED_FUNCTION,
            "function citus_source does not exist",
        )
        .hint("Run ALTER EXTENSION citus UPDATE."));
    };
    FUNCTION.with(|c| c.set((now, u32::from(f))));
    Ok(f)
}

/// OID of a function of ours by its name.
pub fn internal_function(name: &str) -> Result<Oid> {
    lookup::function(name).ok_or_else(|| Error::internal(format!("function {name} does not exist")))
}

/// The FROM item that delivers the rows of a plan whose columns are those of `columns`.
pub fn entry(plan: &DistPlan, exprs: &[Node], columns: List<TargetEntry>) -> Result<RangeTblEntry> {
    let mut args = List::from([whole::encode(plan), query::int8(secret()?)]);
    exprs.iter().for_each(|e| args.push(e.copy()));
    let form = CoercionForm::COERCE_EXPLICIT_CALL;
    let call = query::call(function()?, pg_sys::RECORDOID, args, form);
    call.set_funcretset(true);
    let f = RangeTblFunction::new();
    f.set_funcexpr(call.node());
    let name = |(i, t): (usize, TargetEntry)| match t.resname() {
        n if n.is_none() => query::string(&format!("column{}", i + 1)),
        n => query::string(&n.to_string()),
    };
    let names: List<Node> = columns.iter().enumerate().map(name).collect();
    f.set_funccolcount(columns.len() as i32);
    f.set_funccolnames(names);
    f.set_funccoltypes(columns.iter().map(|t| t.expr().typ()).collect());
    f.set_funccoltypmods(columns.iter().map(|t| t.expr().typmod()).collect());
    f.set_funccolcollations(columns.iter().map(|t| t.expr().collation()).collect());
    let rte = query::from_item(RTEKind::RTE_FUNCTION);
    rte.set_functions(List::from([f]));
    rte.set_eref(Some(query::alias("remote_scan", names.copy())));
    Ok(rte)
}

thread_local! { static SECRET: Cell<Option<i64>> = const { Cell::new(None) }; }

/// A number that this backend alone knows. It tells sources made by the planner from calls that
/// somebody wrote: a plan from outside could claim result types that its rows do not have.
fn secret() -> Result<i64> {
    if let Some(s) = SECRET.with(Cell::get) {
        return Ok(s);
    }
    let s = server::strong_random()?;
    SECRET.with(|c| c.set(Some(s)));
    Ok(s)
}

/// Whether the planner of this backend made the call.
fn is_ours(call: FuncExpr) -> bool {
    let Kind::Const(mark) = call.args().at(1).kind() else { return false };
    mark.int8().is_some_and(|m| secret().is_ok_and(|s| m == s))
}

/// The call of a source in a range table entry, if it is one.
pub fn call_of(rte: RangeTblEntry) -> Option<FuncExpr> {
    if rte.rtekind() != RTEKind::RTE_FUNCTION {
        return None;
    }
    let call = rte.functions().get(0)?.funcexpr().cast::<FuncExpr>()?;
    if u32::from(call.funcid()) < pg_sys::FirstNormalObjectId {
        return None;
    }
    (function().ok()? == call.funcid() && is_ours(call)).then_some(call)
}

/// The scan node of a source.
pub fn scan(
    rel: RelOptInfo,
    rte: RangeTblEntry,
    call: FuncExpr,
    tlist: List<TargetEntry>,
    quals: List<Node>,
    rows: f64,
) -> Result<CustomScan> {
    let mut plan =
        whole::decode(call.args()).ok_or_else(|| Error::internal("unreadable distributed plan"))?;
    plan.rows = rows;
    let exprs: Vec<Node> = call.args().iter().skip(2).collect();
    let scan = whole::scan_node(&plan, &exprs);
    let mut columns = List::EMPTY;
    if let Some(f) = rte.functions().get(0) {
        let types = f.funccoltypes().iter().zip(f.funccoltypmods().iter());
        for ((typ, typmod), collation) in types.zip(f.funccolcollations().iter()) {
            let n = columns.len() as i16 + 1;
            let v = query::var(rel.relid() as i32, n, typ, typmod, collation);
            columns.push(query::target_entry(v.node(), n, Text::NONE));
        }
    }
    if let Some(row) = whole_row(rel, tlist) {
        // Wanted for rechecks after a concurrent update of another table's row; the executor
        // leaves it NULL.
        let n = columns.len() as i16 + 1;
        columns.push(query::target_entry(row.node(), n, Text::NONE));
    }
    scan.set_custom_scan_tlist(columns);
    scan.set_targetlist(tlist);
    scan.set_qual(quals);
    Ok(scan)
}

/// The reference to a whole row of a source that row marks ask for.
fn whole_row(rel: RelOptInfo, tlist: List<TargetEntry>) -> Option<Var> {
    let mut found = None;
    let mut look = |n: Node| {
        if let Kind::Var(v) = n.kind() {
            if v.varno() as u32 == rel.relid() && v.varattno() == 0 && v.varlevelsup() == 0 {
                found = Some(v.copy());
            }
        }
        Visit::Descend
    };
    tlist.walk(&mut look);
    rel.wanted().walk(&mut look);
    found
}

/// Makes a query a plain read of a source: `SELECT its columns FROM source`.
pub fn become_source(q: Query, plan: &DistPlan, exprs: &[Node]) -> Result<()> {
    let results = whole::result_list(q);
    let rte = entry(plan, exprs, results)?;
    let mut tlist = List::EMPTY;
    for (i, t) in results.iter().enumerate() {
        let n = i as i16 + 1;
        let out = t.copy();
        out.set_expr(query::var_like(1, n, t.expr()));
        out.set_resno(n);
        out.set_ressortgroupref(0);
        tlist.push(out);
    }
    read_from(q, rte, tlist);
    q.set_group_clause(List::EMPTY);
    q.set_group_distinct(false);
    q.set_grouping_sets(List::EMPTY);
    q.set_having_qual(Node::NONE);
    q.set_window_clause(List::EMPTY);
    q.set_distinct_clause(List::EMPTY);
    q.set_sort_clause(List::EMPTY);
    q.set_limit_count(Node::NONE);
    q.set_limit_offset(Node::NONE);
    q.set_has_aggs(false);
    q.set_has_window_funcs(false);
    q.set_has_distinct_on(false);
    q.set_has_sub_links(false);
    Ok(())
}

/// Gives a query a source as its only FROM item and a new target list.
pub fn read_from(q: Query, rte: RangeTblEntry, tlist: List<TargetEntry>) {
    q.set_command_type(pg_sys::CmdType::CMD_SELECT);
    q.set_rtable(List::from([rte]));
    q.set_jointree(Some(query::from_entry(1, Node::NONE)));
    q.set_target_list(tlist);
    q.set_returning_list(List::EMPTY);
    q.set_ctes(List::EMPTY);
    q.set_row_marks(List::EMPTY);
    q.set_set_operations(Node::NONE);
    q.set_has_target_srfs(false);
    q.set_has_modifying_cte(false);
    q.set_has_recursive(false);
    q.set_has_for_update(false);
    q.set_constraint_deps(List::EMPTY);
}

crate::pg_function!(
    /// `citus_source(bytea, VARIADIC "any")`: planned away; calling it is a mistake.
    citus_source,
    |_args| {
        Err(Error::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "citus_source cannot be called directly",
        ))
    }
);
