//! Data-modifying statements in WITH.
//!
//! Each is planned by itself and runs once, under a node on top of the main plan; what refers to
//! it reads its rows. As in PostgreSQL all parts of a statement look at the data before any of
//! them writes: the node starts the scans first and reads them to their end. Scans that wait for
//! values of other rows cannot be read ahead; they see what was written on other nodes.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::{ship, source, whole};
use crate::error::{Error, Result};
use crate::pg::nodes::{self, Visit};
use crate::plan::{Column, DistPlan, Operation, Target, Template};
use pgrx::pg_sys::{
    self, CmdType, CommonTableExpr, CustomScan, List, Node, NodeTag, PlannedStmt, Query, RTEKind,
    RangeTblEntry, TargetEntry,
};
use std::cell::Cell;

type Standard<'a> = &'a mut dyn FnMut(*mut Query) -> *mut PlannedStmt;

thread_local! { static NUMBERS: Cell<u64> = const { Cell::new(0) }; }

/// Plans a statement with data-modifying CTEs.
pub unsafe fn plan(q: *mut Query, standard: Standard<'_>) -> Result<*mut PlannedStmt> {
    let mut statements: Vec<(u64, *mut PlannedStmt)> = Vec::new();
    let mut ready: *mut List = std::ptr::null_mut();
    let own: Vec<*mut CommonTableExpr> = nodes::iter((*q).cteList).collect();
    for cte in own {
        let body = (*cte).ctequery as *mut Query;
        let modifies = (*body).commandType != CmdType::CMD_SELECT;
        if !modifies && !needs_one_run(cte, body) {
            ready = pg_sys::lappend(ready, cte as *mut _);
            continue;
        }
        let number = NUMBERS.with(|n| {
            n.set(n.get() + 1);
            n.get()
        });
        let statement = detached(body, ready, (*q).hasRecursive)?;
        (*statement).canSetTag = false;
        let columns = whole::result_list(body);
        if nodes::len(columns) > 0 && (*cte).cterefcount > 0 {
            (*cte).ctequery = reader(number, columns)? as *mut Node;
            ready = pg_sys::lappend(ready, cte as *mut _);
        }
        statements.push((number, super::plan_query(statement, standard)?));
    }
    (*q).cteList = ready;
    (*q).hasModifyingCTE = false;
    let stmt = super::plan_query(q, standard)?;
    Ok(on_top(stmt, &statements))
}

/// A CTE whose rows differ from run to run must not be copied into several statements.
unsafe fn needs_one_run(cte: *mut CommonTableExpr, body: *mut Query) -> bool {
    !(*cte).cterecursive
        && (*cte).cterefcount > 0
        && nodes::walk(body as *mut Node, &mut |n| {
            if nodes::tag(n) != NodeTag::T_Query && ship::own(n).volatile {
                return Visit::Stop;
            }
            Visit::Descend
        })
}

/// A CTE's query as a statement of its own that has the CTEs before it as its own.
unsafe fn detached(body: *mut Query, before: *mut List, recursive: bool) -> Result<*mut Query> {
    let q: *mut Query = nodes::copy(body);
    let mut outer = false;
    lift(q, 0, &mut outer);
    if !outer {
        return Ok(q);
    }
    let name = |c: *mut CommonTableExpr| nodes::str_of((*c).ctename);
    let own: Vec<String> = nodes::iter((*q).cteList).map(name).collect();
    if nodes::iter(before).any(|c| own.contains(&name(c))) {
        return Err(Error::unsupported("two WITH queries of the same name in one statement"));
    }
    (*q).cteList = pg_sys::list_concat(nodes::copy(before), (*q).cteList);
    (*q).hasRecursive |= recursive;
    Ok(q)
}

/// References to CTEs of the query around become references to the query's own.
unsafe fn lift(q: *mut Query, depth: u32, outer: &mut bool) {
    let mut inner: Vec<*mut Query> = Vec::new();
    nodes::walk_query(q, 0, &mut |n| {
        if let Some(rte) = nodes::cast::<RangeTblEntry>(n, NodeTag::T_RangeTblEntry) {
            if (*rte).rtekind == RTEKind::RTE_CTE && (*rte).ctelevelsup > depth {
                (*rte).ctelevelsup -= 1;
                *outer = true;
            }
        }
        if nodes::tag(n) == NodeTag::T_Query {
            inner.push(n as *mut Query);
            return Visit::Skip;
        }
        Visit::Descend
    });
    for i in inner {
        lift(i, depth + 1, outer);
    }
}

/// The query that reads the rows of a statement.
unsafe fn reader(number: u64, columns: *mut List) -> Result<*mut Query> {
    let plan = DistPlan {
        operation: Operation::Select,
        target: Target::Statement { number },
        template: Template::default(),
        tables: Vec::new(),
        params: Vec::new(),
        columns: nodes::iter::<TargetEntry>(columns)
            .map(|t| {
                let e = (*t).expr as *mut Node;
                Column { typ: u32::from(pg_sys::exprType(e)), typmod: pg_sys::exprTypmod(e) }
            })
            .collect(),
        merge: Vec::new(),
        rows: 1000.0,
        prepare: false,
        insert: false,
        tenant: None,
    };
    let rte = source::entry(&plan, &[], columns)?;
    let q: *mut Query = nodes::make(NodeTag::T_Query);
    (*q).canSetTag = true;
    let mut tlist: *mut List = std::ptr::null_mut();
    for (i, t) in nodes::iter::<TargetEntry>(columns).enumerate() {
        let n = i as i16 + 1;
        let v = whole::var_like(1, n, (*t).expr as *mut Node) as *mut pg_sys::Expr;
        let out = pg_sys::makeTargetEntry(v, n, (*t).resname, false);
        tlist = pg_sys::lappend(tlist, out as *mut _);
    }
    source::read_from(q, rte, tlist);
    Ok(q)
}

/// Puts the node that runs the statements on the main plan.
unsafe fn on_top(
    stmt: *mut PlannedStmt,
    statements: &[(u64, *mut PlannedStmt)],
) -> *mut PlannedStmt {
    let child = (*stmt).planTree;
    let scan: *mut CustomScan = nodes::make(NodeTag::T_CustomScan);
    (*scan).methods = crate::executor::with_methods();
    (*scan).custom_plans = nodes::list([child]);
    let mut private: *mut List = std::ptr::null_mut();
    for (number, s) in statements {
        private = pg_sys::lappend(private, whole::encode_bytes(&number.to_ne_bytes()) as *mut _);
        private = pg_sys::lappend(private, *s as *mut _);
        // Locks of a cached plan are taken by the range table of the whole.
        let tables = nodes::iter::<RangeTblEntry>((**s).rtable)
            .filter(|r| (**r).rtekind == RTEKind::RTE_RELATION)
            .map(|r| nodes::copy(r));
        (*stmt).rtable = pg_sys::list_concat((*stmt).rtable, nodes::list(tables));
        (*stmt).relationOids =
            pg_sys::list_concat((*stmt).relationOids, nodes::copy((**s).relationOids));
        (*stmt).invalItems = pg_sys::list_concat((*stmt).invalItems, nodes::copy((**s).invalItems));
    }
    (*scan).custom_private = private;
    let results = nodes::list(nodes::iter::<TargetEntry>((*child).targetlist));
    let rti = nodes::len((*stmt).rtable) as i32 + 1;
    (*stmt).rtable = pg_sys::lappend((*stmt).rtable, whole::remote_rte(results) as *mut _);
    whole::set_targets(scan, results, rti);
    (*scan).scan.plan.plan_rows = (*child).plan_rows;
    (*scan).scan.plan.startup_cost = (*child).startup_cost;
    (*scan).scan.plan.total_cost = (*child).total_cost;
    (*scan).scan.plan.extParam = pg_sys::bms_copy((*child).extParam);
    (*scan).scan.plan.allParam = pg_sys::bms_copy((*child).allParam);
    (*stmt).planTree = scan as *mut pg_sys::Plan;
    (*stmt).hasModifyingCTE = true;
    (*stmt).parallelModeNeeded = false;
    stmt
}
