//! MERGE.
//!
//! Where source and target are cut alike by the join's own condition, each shard group merges its
//! part. Otherwise the source is joined here with the target's rows and their places; each row of
//! the join says by a number which action it is for and carries that action's values.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::place::{self, Identity, Rows, SHARD_ATTRIBUTE};
use super::returning;
use super::Standard;
use crate::catalog::{Kind, Table};
use crate::error::{Error, Result};
use crate::pg::nodes;
use crate::plan::{Apply, Prune, Target};
use crate::planner::analyze::Analyzer;
use crate::planner::pushdown::{self, Place};
use crate::planner::values::Values;
use crate::planner::{rest, ship, whole};
use pgrx::pg_sys::{
    self, CmdType, JoinType, MergeAction, Node, NodeTag, Oid, PlannedStmt, Query, RTEKind,
    RangeTblEntry, TargetEntry, Var,
};
use std::rc::Rc;

/// Plans a MERGE into a table of ours.
pub unsafe fn plan(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    if !(*q).withCheckOptions.is_null() {
        return Err(Error::unsupported(
            "MERGE under row-level security is not supported on distributed tables",
        ));
    }
    if !super::is_replicated(table) {
        if let Some(stmt) = pushed(q, table)? {
            return Ok(stmt);
        }
    }
    by_place(q, table, standard)
}

unsafe fn actions(q: *mut Query) -> Vec<*mut MergeAction> {
    nodes::iter::<MergeAction>((*q).mergeActionList).collect()
}

/// The join of source and target as a query without outputs.
unsafe fn join(q: *mut Query) -> *mut Query {
    let s = nodes::copy(q);
    let inserts =
        actions(q).iter().any(|a| !(**a).matched && (**a).commandType != CmdType::CMD_NOTHING);
    let rte: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    let kind = if inserts { JoinType::JOIN_LEFT } else { JoinType::JOIN_INNER };
    (*rte).rtekind = RTEKind::RTE_JOIN;
    (*rte).jointype = kind;
    (*rte).inFromCl = true;
    (*rte).eref = pg_sys::makeAlias(c"merged".as_ptr(), std::ptr::null_mut());
    (*s).rtable = pg_sys::lappend((*s).rtable, rte as *mut _);
    (*nodes::rte((*s).rtable, (*s).resultRelation as u32)).inFromCl = true;
    let from = (*s).jointree;
    let source: *mut Node = if nodes::len((*from).fromlist) == 1 {
        nodes::nth((*from).fromlist, 0)
    } else {
        pg_sys::makeFromExpr((*from).fromlist, std::ptr::null_mut()) as *mut Node
    };
    let j: *mut pg_sys::JoinExpr = nodes::make(NodeTag::T_JoinExpr);
    (*j).jointype = kind;
    (*j).larg = source;
    (*j).rarg = rest::range_ref((*s).resultRelation) as *mut Node;
    (*j).quals = (*from).quals;
    (*j).rtindex = nodes::len((*s).rtable) as i32;
    (*s).jointree = pg_sys::makeFromExpr(nodes::list([j]), std::ptr::null_mut());
    s
}

// ---- pushed down ------------------------------------------------------------------------------

/// The plan of a MERGE that shard groups run themselves.
unsafe fn pushed(q: *mut Query, table: &Rc<Table>) -> Result<Option<*mut PlannedStmt>> {
    let s = join(q);
    let mut rows = Rows::new();
    let mut keys = Vec::new();
    for a in actions(s) {
        rows.add_if((*a).qual);
        for t in nodes::iter::<TargetEntry>((*a).targetList) {
            let n = rows.add((*t).expr as *mut Node);
            let is_key = table.key.as_ref().is_some_and(|k| k.attno == (*t).resno);
            match (*a).commandType {
                CmdType::CMD_INSERT if is_key => keys.push(n as i16 + 1),
                CmdType::CMD_UPDATE if is_key => return Ok(None),
                _ => {}
            }
        }
    }
    let inserts = actions(s).iter().filter(|a| (***a).commandType == CmdType::CMD_INSERT).count();
    if table.key.is_some() && inserts != keys.len() {
        return Ok(None);
    }
    let target = (*s).resultRelation;
    rows.add(key_or_true(table, target));
    let s = rows.into_query(s);
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, false);
    let Ok(part) = a.top(s) else { return Ok(None) };
    if a.needs_combining(s, &part).is_some() {
        return Ok(None);
    }
    let outputs = a.key_outputs(s, &part);
    if !keys.iter().all(|k| outputs.contains(k)) {
        return Ok(None);
    }
    let Some(anchor) = part.anchor.clone() else { return Ok(None) };
    let prune = part.prune.clone().unwrap_or(Prune::All);
    let single = prune.is_single();
    let target = Target::Shards { anchor: u32::from(anchor.relid), prune, single };
    let (plan, values) = pushdown::dist_plan(q, Place { target, values, rows: 1000.0 })?;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

unsafe fn key_or_true(table: &Table, target: i32) -> *mut Node {
    let own = returning::attributes(table)
        .into_iter()
        .flatten()
        .find(|a| table.key.as_ref().is_some_and(|k| k.attno == a.attno));
    match own {
        Some(a) => a.var(target) as *mut Node,
        None => pg_sys::makeBoolConst(true, false),
    }
}

// ---- by place ---------------------------------------------------------------------------------

unsafe fn by_place(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    let s = join(q);
    let target = (*s).resultRelation;
    for a in actions(s) {
        if ship::classify((*a).qual).volatile {
            return Err(Error::unsupported(
                "a volatile function in a condition of MERGE on a distributed table",
            )
            .hint("Compute the condition in the source query."));
        }
    }
    let mut rows = Rows::new();
    let id = Identity::new(table, target, &mut rows);
    let number = action_number(s);
    let column = rows.add(number);
    let mut apply = Apply {
        steps: Vec::new(),
        actions: Vec::new(),
        action: Some(column),
        identity: id.columns(),
        once: true,
        materialize: true,
        checks: Vec::new(),
        keep: Vec::new(),
    };
    for (i, a) in actions(s).into_iter().enumerate() {
        let steps = action_steps(s, table, a, (number, i as i32 + 1), &mut rows, &id)?;
        let first = apply.steps.len() as u32;
        apply.actions.push((first..first + steps.len() as u32).collect());
        apply.steps.extend(steps);
    }
    if apply.steps.is_empty() {
        // Only DO NOTHING: the rows are read all the same.
        apply.steps.push(place::by_identity(table, &id, &[], true, &[]));
    }
    let s = rows.into_query(s);
    let stmt = rest::plan(s, standard)?;
    Ok(super::on_top(q, stmt, &apply, &[]))
}

/// Steps of one action; its values are computed only where the row is for it.
unsafe fn action_steps(
    s: *mut Query,
    table: &Table,
    a: *mut MergeAction,
    number: (*mut Node, i32),
    rows: &mut Rows,
    id: &Identity,
) -> Result<Vec<crate::plan::Step>> {
    let target = (*s).resultRelation;
    let mut columns = Vec::new();
    let mut key = None;
    let mut moves = false;
    for t in nodes::iter::<TargetEntry>((*a).targetList).filter(|t| !(**t).resjunk) {
        let e = place::without_multi((*t).expr as *mut Node, (*a).targetList);
        let own = nodes::cast::<Var>(nodes::strip_relabel(e), NodeTag::T_Var)
            .is_some_and(|v| (*v).varno == target && (*v).varattno == (*t).resno);
        let is_key = table.key.as_ref().is_some_and(|k| k.attno == (*t).resno);
        moves |= is_key && !own;
        let n = rows.add(only_for(number, e));
        if is_key {
            key = Some(n);
        }
        columns.push(((*t).resno, n));
    }
    match (*a).commandType {
        CmdType::CMD_DELETE => Ok(vec![place::by_identity(table, id, &[], true, &[])]),
        CmdType::CMD_UPDATE if moves => {
            for at in returning::attributes(table).into_iter().flatten() {
                if at.generated.is_none() && !columns.iter().any(|(n, _)| *n == at.attno) {
                    columns.push((at.attno, rows.add(at.var(target) as *mut Node)));
                }
            }
            let mut delete = place::by_identity(table, id, &[], true, &[]);
            delete.counts = false;
            Ok(vec![delete, place::insert_step(table, &columns, key)])
        }
        CmdType::CMD_UPDATE => Ok(vec![place::by_identity(table, id, &columns, false, &[])]),
        CmdType::CMD_INSERT => {
            if let (None, Some(k)) = (key, &table.key) {
                // Found at the first row, as PostgreSQL would.
                let none = pg_sys::makeNullConst(k.typ, -1, k.collation) as *mut Node;
                key = Some(rows.add(none));
            }
            let key = key.filter(|_| table.kind == Kind::Hash);
            Ok(vec![place::insert_step(table, &columns, key)])
        }
        _ => Ok(Vec::new()),
    }
}

unsafe fn int4(n: i32) -> *mut Node {
    let none = Oid::INVALID;
    let d = pg_sys::Datum::from(n as i64 as usize);
    pg_sys::makeConst(pg_sys::INT4OID, -1, none, 4, d, false, true) as *mut Node
}

/// `CASE WHEN <target found> THEN CASE WHEN <condition> THEN 1 ... END ELSE ... END`.
unsafe fn action_number(s: *mut Query) -> *mut Node {
    let (mut matched, mut other) = (Vec::new(), Vec::new());
    for (i, a) in actions(s).into_iter().enumerate() {
        let arm = ((*a).qual, int4(i as i32 + 1));
        if (*a).matched {
            matched.push(arm);
        } else {
            other.push(arm);
        }
    }
    let found: *mut pg_sys::NullTest = nodes::make(NodeTag::T_NullTest);
    let shard =
        pg_sys::makeVar((*s).resultRelation, SHARD_ATTRIBUTE, pg_sys::OIDOID, -1, Oid::INVALID, 0);
    (*found).arg = shard as *mut pg_sys::Expr;
    (*found).nulltesttype = pg_sys::NullTestType::IS_NOT_NULL;
    (*found).location = -1;
    case(vec![(found as *mut Node, searched(matched))], searched(other))
}

unsafe fn searched(arms: Vec<(*mut Node, *mut Node)>) -> *mut Node {
    let mut when = Vec::new();
    for (qual, result) in arms {
        let quals = nodes::conjuncts(qual);
        match quals.len() {
            0 => return if when.is_empty() { result } else { case(when, result) },
            1 => when.push((nodes::copy(quals[0]), result)),
            _ => {
                let list = nodes::list(quals.iter().map(|n| nodes::copy(*n)));
                let all = pg_sys::makeBoolExpr(pg_sys::BoolExprType::AND_EXPR, list, -1);
                when.push((all as *mut Node, result));
            }
        }
    }
    if when.is_empty() {
        int4(0)
    } else {
        case(when, int4(0))
    }
}

unsafe fn case(arms: Vec<(*mut Node, *mut Node)>, otherwise: *mut Node) -> *mut Node {
    let c: *mut pg_sys::CaseExpr = nodes::make(NodeTag::T_CaseExpr);
    (*c).casetype = pg_sys::exprType(otherwise);
    (*c).casecollid = pg_sys::exprCollation(otherwise);
    (*c).location = -1;
    (*c).args = nodes::list(arms.into_iter().map(|(when, result)| {
        let w: *mut pg_sys::CaseWhen = nodes::make(NodeTag::T_CaseWhen);
        (*w).expr = when as *mut pg_sys::Expr;
        (*w).result = result as *mut pg_sys::Expr;
        (*w).location = -1;
        w
    }));
    (*c).defresult = otherwise as *mut pg_sys::Expr;
    c as *mut Node
}

/// `CASE WHEN number = n THEN value END`.
unsafe fn only_for((number, n): (*mut Node, i32), value: *mut Node) -> *mut Node {
    let equal: *mut pg_sys::OpExpr = nodes::make(NodeTag::T_OpExpr);
    (*equal).opno = Oid::from(pg_sys::Int4EqualOperator);
    (*equal).opresulttype = pg_sys::BOOLOID;
    (*equal).args = nodes::list([nodes::copy(number), int4(n)]);
    (*equal).location = -1;
    pg_sys::set_opfuncid(equal);
    let none = pg_sys::makeNullConst(
        pg_sys::exprType(value),
        pg_sys::exprTypmod(value),
        pg_sys::exprCollation(value),
    );
    case(vec![(equal as *mut Node, value)], none as *mut Node)
}
