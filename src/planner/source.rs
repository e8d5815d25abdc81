//! A distributed plan as a FROM item of the rest of a query.
//!
//! It stands as a call of `citus_source(plan, values ...)`. PostgreSQL's planner treats
//! the values as it treats any function's arguments (parameters and outer columns included), and
//! the path hook turns the call into a scan of the plan.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::whole;
use crate::error::{sqlstate, Error, Result};
use crate::pg::nodes;
use crate::plan::DistPlan;
use pgrx::pg_sys::{
    self, CustomScan, List, Node, NodeTag, Oid, Query, RTEKind, RangeTblEntry, RelOptInfo,
    TargetEntry,
};
use std::cell::Cell;

thread_local! { static FUNCTION: Cell<(u64, u32)> = const { Cell::new((0, 0)) }; }

/// OID of `citus_source`.
pub unsafe fn function() -> Result<Oid> {
    let now = crate::catalog::generation();
    let (seen, oid) = FUNCTION.with(Cell::get);
    if seen == now && oid != 0 {
        return Ok(Oid::from(oid));
    }
    let name = nodes::list([nodes::string_node("pg_catalog"), nodes::string_node("citus_source")]);
    let f = pg_sys::LookupFuncName(name, -1, std::ptr::null(), true);
    if f == Oid::INVALID {
        return Err(Error::new(
            sqlstate::UNDEFINED_FUNCTION,
            "function citus_source does not exist",
        )
        .hint("Run ALTER EXTENSION citus UPDATE."));
    }
    FUNCTION.with(|c| c.set((now, u32::from(f))));
    Ok(f)
}

/// OID of a function of ours by its name.
pub unsafe fn internal_function(name: &str) -> Result<Oid> {
    let names = nodes::list([nodes::string_node("pg_catalog"), nodes::string_node(name)]);
    let f = pg_sys::LookupFuncName(names, -1, std::ptr::null(), true);
    if f == Oid::INVALID {
        return Err(Error::internal(format!("function {name} does not exist")));
    }
    Ok(f)
}

/// The FROM item that delivers the rows of a plan whose columns are those of `columns`.
pub unsafe fn entry(
    plan: &DistPlan,
    exprs: &[*mut Node],
    columns: *mut List,
) -> Result<*mut RangeTblEntry> {
    let mut args: *mut List = nodes::list([whole::encode(plan), secret_const()?]);
    for e in exprs {
        args = pg_sys::lappend(args, nodes::copy(*e) as *mut _);
    }
    let call = pg_sys::makeFuncExpr(
        function()?,
        pg_sys::RECORDOID,
        args,
        Oid::INVALID,
        Oid::INVALID,
        pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
    );
    (*call).funcretset = true;
    let f: *mut pg_sys::RangeTblFunction = nodes::make(NodeTag::T_RangeTblFunction);
    (*f).funcexpr = call as *mut Node;
    let (mut names, mut types, mut typmods, mut collations) =
        (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    for (i, t) in nodes::iter::<TargetEntry>(columns).enumerate() {
        let e = (*t).expr as *mut Node;
        let name = if (*t).resname.is_null() {
            format!("column{}", i + 1)
        } else {
            nodes::str_of((*t).resname)
        };
        names = pg_sys::lappend(names, nodes::string_node(&name) as *mut _);
        types = pg_sys::lappend_oid(types, pg_sys::exprType(e));
        typmods = pg_sys::lappend_int(typmods, pg_sys::exprTypmod(e));
        collations = pg_sys::lappend_oid(collations, pg_sys::exprCollation(e));
    }
    (*f).funccolcount = nodes::len(columns) as i32;
    (*f).funccolnames = names;
    (*f).funccoltypes = types;
    (*f).funccoltypmods = typmods;
    (*f).funccolcollations = collations;
    let rte: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    (*rte).rtekind = RTEKind::RTE_FUNCTION;
    (*rte).functions = nodes::list([f]);
    (*rte).eref = pg_sys::makeAlias(c"remote_scan".as_ptr(), nodes::copy(names));
    (*rte).inFromCl = true;
    Ok(rte)
}

thread_local! { static SECRET: Cell<Option<i64>> = const { Cell::new(None) }; }

/// A number that this backend alone knows. It tells sources made by the planner from calls that
/// somebody wrote: a plan from outside could claim result types that its rows do not have.
unsafe fn secret() -> Result<i64> {
    if let Some(s) = SECRET.with(Cell::get) {
        return Ok(s);
    }
    let mut bytes = [0u8; 8];
    if !pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) {
        return Err(Error::internal("could not generate a random number"));
    }
    let s = i64::from_ne_bytes(bytes);
    SECRET.with(|c| c.set(Some(s)));
    Ok(s)
}

unsafe fn secret_const() -> Result<*mut Node> {
    let value = pg_sys::Datum::from(secret()?);
    let bigint = pg_sys::INT8OID;
    Ok(pg_sys::makeConst(bigint, -1, Oid::INVALID, 8, value, false, true) as *mut Node)
}

/// Whether the planner of this backend made the call.
unsafe fn is_ours(call: *mut pg_sys::FuncExpr) -> bool {
    let mark: *mut Node = nodes::nth((*call).args, 1);
    let Some(c) = nodes::cast::<pg_sys::Const>(mark, NodeTag::T_Const) else { return false };
    (*c).consttype == pg_sys::INT8OID
        && !(*c).constisnull
        && secret().is_ok_and(|s| (*c).constvalue.value() as i64 == s)
}

/// The call of a source in a range table entry, if it is one.
pub unsafe fn call_of(rte: *mut RangeTblEntry) -> Option<*mut pg_sys::FuncExpr> {
    if (*rte).rtekind != RTEKind::RTE_FUNCTION {
        return None;
    }
    let f: *mut pg_sys::RangeTblFunction = nodes::nth((*rte).functions, 0);
    if f.is_null() {
        return None;
    }
    let call = nodes::cast::<pg_sys::FuncExpr>((*f).funcexpr, NodeTag::T_FuncExpr)?;
    if u32::from((*call).funcid) < pg_sys::FirstNormalObjectId {
        return None;
    }
    (function().ok()? == (*call).funcid && is_ours(call)).then_some(call)
}

/// The scan node of a source.
pub unsafe fn scan(
    rel: *mut RelOptInfo,
    rte: *mut RangeTblEntry,
    call: *mut pg_sys::FuncExpr,
    tlist: *mut List,
    quals: *mut List,
    rows: f64,
) -> Result<*mut CustomScan> {
    let mut plan = whole::decode((*call).args)
        .ok_or_else(|| Error::internal("unreadable distributed plan"))?;
    plan.rows = rows;
    let exprs: Vec<*mut Node> = nodes::iter((*call).args).skip(2).collect();
    let scan = whole::scan_node(&plan, &exprs);
    let f: *mut pg_sys::RangeTblFunction = nodes::nth((*rte).functions, 0);
    let oids = |l: *mut List, i: usize| (*(*l).elements.add(i)).oid_value;
    let mut columns: *mut List = std::ptr::null_mut();
    for i in 0..(*f).funccolcount as usize {
        let n = i as i16 + 1;
        let v = pg_sys::makeVar(
            (*rel).relid as i32,
            n,
            oids((*f).funccoltypes, i),
            (*(*(*f).funccoltypmods).elements.add(i)).int_value,
            oids((*f).funccolcollations, i),
            0,
        );
        let t = pg_sys::makeTargetEntry(v as *mut pg_sys::Expr, n, std::ptr::null_mut(), false);
        columns = pg_sys::lappend(columns, t as *mut _);
    }
    if let Some(row) = whole_row(rel, tlist) {
        // Wanted for rechecks after a concurrent update of another table's row; the executor
        // leaves it NULL.
        let n = nodes::len(columns) as i16 + 1;
        let t = pg_sys::makeTargetEntry(row as *mut pg_sys::Expr, n, std::ptr::null_mut(), false);
        columns = pg_sys::lappend(columns, t as *mut _);
    }
    (*scan).custom_scan_tlist = columns;
    (*scan).scan.plan.targetlist = tlist;
    (*scan).scan.plan.qual = quals;
    Ok(scan)
}

/// The reference to a whole row of a source that row marks ask for.
unsafe fn whole_row(rel: *mut RelOptInfo, tlist: *mut List) -> Option<*mut pg_sys::Var> {
    let mut found = None;
    let mut look = |n: *mut Node| {
        if let Some(v) = nodes::cast::<pg_sys::Var>(n, NodeTag::T_Var) {
            if (*v).varno as u32 == (*rel).relid && (*v).varattno == 0 && (*v).varlevelsup == 0 {
                found = Some(nodes::copy(v));
            }
        }
        nodes::Visit::Descend
    };
    nodes::walk(tlist as *mut Node, &mut look);
    nodes::walk((*(*rel).reltarget).exprs as *mut Node, &mut look);
    found
}

/// Makes a query a plain read of a source: `SELECT its columns FROM source`.
pub unsafe fn become_source(q: *mut Query, plan: &DistPlan, exprs: &[*mut Node]) -> Result<()> {
    let results = whole::result_list(q);
    let rte = entry(plan, exprs, results)?;
    let mut tlist: *mut List = std::ptr::null_mut();
    for (i, t) in nodes::iter::<TargetEntry>(results).enumerate() {
        let n = i as i16 + 1;
        let out: *mut TargetEntry = nodes::copy(t);
        (*out).expr = whole::var_like(1, n, (*t).expr as *mut Node) as *mut pg_sys::Expr;
        (*out).resno = n;
        (*out).ressortgroupref = 0;
        tlist = pg_sys::lappend(tlist, out as *mut _);
    }
    read_from(q, rte, tlist);
    (*q).groupClause = std::ptr::null_mut();
    (*q).groupDistinct = false;
    (*q).groupingSets = std::ptr::null_mut();
    (*q).havingQual = std::ptr::null_mut();
    (*q).windowClause = std::ptr::null_mut();
    (*q).distinctClause = std::ptr::null_mut();
    (*q).sortClause = std::ptr::null_mut();
    (*q).limitCount = std::ptr::null_mut();
    (*q).limitOffset = std::ptr::null_mut();
    (*q).hasAggs = false;
    (*q).hasWindowFuncs = false;
    (*q).hasDistinctOn = false;
    (*q).hasSubLinks = false;
    Ok(())
}

/// Gives a query a source as its only FROM item and a new target list.
pub unsafe fn read_from(q: *mut Query, rte: *mut RangeTblEntry, tlist: *mut List) {
    (*q).commandType = pg_sys::CmdType::CMD_SELECT;
    (*q).rtable = nodes::list([rte]);
    let from = nodes::list([super::rest::range_ref(1)]);
    (*q).jointree = pg_sys::makeFromExpr(from, std::ptr::null_mut());
    (*q).targetList = tlist;
    (*q).returningList = std::ptr::null_mut();
    (*q).cteList = std::ptr::null_mut();
    (*q).rowMarks = std::ptr::null_mut();
    (*q).setOperations = std::ptr::null_mut();
    (*q).hasTargetSRFs = false;
    (*q).hasModifyingCTE = false;
    (*q).hasRecursive = false;
    (*q).hasForUpdate = false;
    (*q).constraintDeps = std::ptr::null_mut();
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
