//! Plans that are a single distributed scan.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use crate::pg::fmgr::text_datum;
use crate::pg::nodes;
use crate::plan::DistPlan;
use pgrx::pg_sys::{
    self, CmdType, CustomScan, Datum, List, Node, NodeTag, Oid, PlannedStmt, Query, RTEKind,
    RangeTblEntry, TargetEntry, Var,
};
use std::cell::Cell;

/// Columns of a remote result as target entries without junk.
pub unsafe fn result_list(q: *mut Query) -> *mut List {
    let source =
        if (*q).commandType == CmdType::CMD_SELECT { (*q).targetList } else { (*q).returningList };
    nodes::list(nodes::iter::<TargetEntry>(source).filter(|t| !(**t).resjunk))
}

/// A range table entry that gives remote columns a name in EXPLAIN.
pub unsafe fn remote_rte(tlist: *mut List) -> *mut RangeTblEntry {
    let rte: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    (*rte).rtekind = RTEKind::RTE_RESULT;
    let names = nodes::list(nodes::iter::<TargetEntry>(tlist).map(|t| {
        let n = if (*t).resname.is_null() { "column".into() } else { nodes::str_of((*t).resname) };
        nodes::string_node(&n)
    }));
    (*rte).eref = pg_sys::makeAlias(nodes::pstr("remote_scan"), names);
    (*rte).inFromCl = true;
    rte
}

/// A variable for column `n` (one-based) of an entry, typed as an expression.
pub unsafe fn var_like(varno: i32, n: i16, e: *mut Node) -> *mut Var {
    pg_sys::makeVar(
        varno,
        n,
        pg_sys::exprType(e),
        pg_sys::exprTypmod(e),
        pg_sys::exprCollation(e),
        0,
    )
}

/// A constant of type text.
pub unsafe fn text_const(s: &str) -> *mut Node {
    let (typ, collation) = (pg_sys::TEXTOID, pg_sys::DEFAULT_COLLATION_OID);
    pg_sys::makeConst(typ, -1, collation, -1, text_datum(s), false, false) as *mut Node
}

/// The scan node of a plan.
pub unsafe fn scan_node(plan: &DistPlan, exprs: &[*mut Node]) -> *mut CustomScan {
    let scan: *mut CustomScan = nodes::make(NodeTag::T_CustomScan);
    (*scan).methods = crate::executor::methods(plan);
    (*scan).custom_exprs = nodes::list(exprs.iter().map(|e| nodes::copy(*e)));
    (*scan).custom_private = nodes::list([encode(plan)]);
    (*scan).flags = 0;
    (*scan).scan.plan.plan_rows = plan.rows;
    (*scan).scan.plan.startup_cost = 0.0;
    (*scan).scan.plan.total_cost = plan.rows * 0.01;
    scan
}

/// A plan as a node that PostgreSQL can copy, with a number that copies of it share.
pub unsafe fn encode(plan: &DistPlan) -> *mut Node {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let number = NUMBER.with(|n| {
        n.set(n.get() + 1);
        n.get()
    });
    let mut bytes = number.to_ne_bytes().to_vec();
    bytes.append(&mut plan.encode());
    encode_bytes(&bytes)
}

/// The number in front of an encoded plan, and the plan.
pub fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, plan) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_ne_bytes(*number), plan))
}

/// Bytes as a node that PostgreSQL can copy.
pub unsafe fn encode_bytes(bytes: &[u8]) -> *mut Node {
    let size = bytes.len() + pg_sys::VARHDRSZ;
    let v = pg_sys::palloc(size) as *mut u8;
    (v as *mut u32).write((size as u32) << 2);
    std::ptr::copy_nonoverlapping(bytes.as_ptr(), v.add(pg_sys::VARHDRSZ), bytes.len());
    pg_sys::makeConst(pg_sys::BYTEAOID, -1, Oid::INVALID, -1, Datum::from(v as usize), false, false)
        as *mut Node
}

/// Reads what [`encode`] wrote.
pub unsafe fn decode(list: *mut List) -> Option<DistPlan> {
    DistPlan::decode(split_number(decode_bytes(list, 0)?)?.1)
}

/// Reads what [`encode_bytes`] wrote.
pub unsafe fn decode_bytes<'a>(list: *mut List, i: usize) -> Option<&'a [u8]> {
    let node: *mut Node = nodes::nth(list, i);
    let c = nodes::cast::<pg_sys::Const>(node, NodeTag::T_Const)?;
    let v = (*c).constvalue.cast_mut_ptr::<u8>();
    let size = ((v as *const u32).read() >> 2) as usize;
    let head = pg_sys::VARHDRSZ;
    Some(std::slice::from_raw_parts(v.add(head), size.checked_sub(head)?))
}

/// The statement whose plan is one distributed scan. `q` is the query as the user wrote it.
pub unsafe fn statement(q: *mut Query, plan: &DistPlan, exprs: &[*mut Node]) -> *mut PlannedStmt {
    let scan = scan_node(plan, exprs);
    let results = result_list(q);
    set_targets(scan, results, 1);
    let stmt: *mut PlannedStmt = nodes::make(NodeTag::T_PlannedStmt);
    (*stmt).commandType = (*q).commandType;
    (*stmt).queryId = (*q).queryId;
    (*stmt).hasReturning = !(*q).returningList.is_null();
    (*stmt).hasModifyingCTE = (*q).hasModifyingCTE;
    (*stmt).canSetTag = (*q).canSetTag;
    (*stmt).dependsOnRole = (*q).hasRowSecurity;
    (*stmt).planTree = scan as *mut pg_sys::Plan;
    (*stmt).rtable = nodes::list([remote_rte(results)]);
    add_relations(stmt, q);
    (*stmt).stmt_location = (*q).stmt_location;
    (*stmt).stmt_len = (*q).stmt_len;
    stmt
}

/// Target lists of a scan that delivers the columns of `results`, named by entry `rti`.
pub unsafe fn set_targets(scan: *mut CustomScan, results: *mut List, rti: i32) {
    let mut scan_tlist: *mut List = std::ptr::null_mut();
    let mut tlist: *mut List = std::ptr::null_mut();
    for (i, t) in nodes::iter::<TargetEntry>(results).enumerate() {
        let n = i as i16 + 1;
        let e = (*t).expr as *mut Node;
        let v = var_like(rti, n, e) as *mut pg_sys::Expr;
        let remote = pg_sys::makeTargetEntry(v, n, (*t).resname, false);
        scan_tlist = pg_sys::lappend(scan_tlist, remote as *mut _);
        let out = nodes::make::<TargetEntry>(NodeTag::T_TargetEntry);
        *out = *t;
        (*out).expr = var_like(pg_sys::INDEX_VAR, n, e) as *mut pg_sys::Expr;
        (*out).resno = n;
        tlist = pg_sys::lappend(tlist, out as *mut _);
    }
    (*scan).custom_scan_tlist = scan_tlist;
    (*scan).scan.plan.targetlist = tlist;
}

/// Adds a query's relations to a plan's range table and dependencies.
pub unsafe fn add_relations(stmt: *mut PlannedStmt, q: *mut Query) {
    let (rtable, oids) = relations(q);
    (*stmt).rtable = pg_sys::list_concat((*stmt).rtable, rtable);
    (*stmt).relationOids = pg_sys::list_concat((*stmt).relationOids, oids);
}

/// The relations of a query at all levels: permissions are checked, and locks taken, on them.
pub unsafe fn relations(q: *mut Query) -> (*mut List, *mut List) {
    let mut entries: *mut List = std::ptr::null_mut();
    let mut oids: *mut List = std::ptr::null_mut();
    nodes::walk(q as *mut Node, &mut |n| {
        if nodes::tag(n) == NodeTag::T_RangeTblEntry {
            let rte = n as *mut RangeTblEntry;
            if (*rte).rtekind == RTEKind::RTE_RELATION {
                let c: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
                *c = *rte;
                (*c).securityQuals = std::ptr::null_mut();
                (*c).tablesample = std::ptr::null_mut();
                entries = pg_sys::lappend(entries, c as *mut _);
                oids = pg_sys::lappend_oid(oids, (*rte).relid);
            }
        }
        nodes::Visit::Descend
    });
    (entries, oids)
}
