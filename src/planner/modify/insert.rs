//! INSERT: one row, or rows from below routed to their shards.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::checks;
use super::{key_change, shard_without_key, Standard};
use crate::catalog::{Kind, Table};
use crate::error::{Error, Result};
use crate::pg::nodes;
use crate::plan::{Apply, Check, DistPlan, Prune, Route, Sent, Step, Target};
use crate::planner::deparse;
use crate::planner::pushdown::{self, Place};
use crate::planner::rest;
use crate::planner::ship;
use crate::planner::values::{self, Values};
use crate::planner::whole;
use pgrx::pg_sys::{
    self, CmdType, List, Node, NodeTag, PlannedStmt, Query, RTEKind, RangeTblEntry, TargetEntry,
    Var,
};
use std::rc::Rc;

/// Whether the INSERT is of one row of values.
pub unsafe fn is_single_row(q: *mut Query) -> bool {
    nodes::len((*(*q).jointree).fromlist) == 0 && (*q).cteList.is_null()
}

/// `INSERT ... VALUES (one row)`: the row's values are computed here, the statement runs there.
pub unsafe fn insert_row(q: *mut Query, table: &Rc<Table>) -> Result<Option<*mut PlannedStmt>> {
    let original = q;
    let q = nodes::copy(q);
    (*q).override_ = pg_sys::OverridingKind::OVERRIDING_NOT_SET;
    let mut vals = Values::default();
    let mut prune = if table.key.is_some() { None } else { Some(Prune::Fixed(vec![0])) };
    for t in nodes::iter::<TargetEntry>((*q).targetList) {
        let e = crate::planner::fold((*t).expr as *mut Node);
        (*t).expr = e as *mut pg_sys::Expr;
        let c = ship::classify(e);
        if c.sublink || c.srf || c.rows {
            return Ok(None);
        }
        if nodes::tag(e) != NodeTag::T_Const {
            (*t).expr = deparse::parameter(e, &mut vals)? as *mut pg_sys::Expr;
        }
        if table.key.as_ref().is_some_and(|k| k.attno == (*t).resno) {
            prune = Some(key_prune(table, e, (*t).expr as *mut Node, &mut vals)?);
        }
    }
    let prune = prune.unwrap_or(Prune::Fixed(Vec::new()));
    if !tail_ships(q) {
        return Ok(None);
    }
    let anchor = u32::from(table.relid);
    let target = if table.kind == Kind::Reference {
        Target::AllReplicas { anchor }
    } else {
        Target::Shards { anchor, prune, single: true }
    };
    if conflict_changes_key(q, table) {
        return Err(key_change(table));
    }
    let (mut plan, vals) = pushdown::dist_plan(q, Place { target, values: vals, rows: 1.0 })?;
    plan.insert = true;
    Ok(Some(whole::statement(original, &plan, vals.exprs())))
}

/// Whether nodes can evaluate RETURNING and ON CONFLICT.
unsafe fn tail_ships(q: *mut Query) -> bool {
    let c = (*q).onConflict;
    if !c.is_null() {
        let parts = [
            (*c).arbiterElems as *mut Node,
            (*c).arbiterWhere,
            (*c).onConflictSet as *mut Node,
            (*c).onConflictWhere,
        ];
        if parts.into_iter().any(|n| !ships_with_references(n)) {
            return false;
        }
    }
    ships_with_references((*q).returningList as *mut Node)
}

/// Whether nodes can evaluate expressions; sub-queries may read reference tables, which are on
/// every node.
unsafe fn ships_with_references(n: *mut Node) -> bool {
    !nodes::walk(n, &mut |x| {
        if let Some(rte) = nodes::cast::<RangeTblEntry>(x, NodeTag::T_RangeTblEntry) {
            let elsewhere = match (*rte).rtekind {
                RTEKind::RTE_RELATION => {
                    crate::catalog::table((*rte).relid).is_none_or(|t| t.kind != Kind::Reference)
                }
                _ => false,
            };
            return if elsewhere { nodes::Visit::Stop } else { nodes::Visit::Descend };
        }
        match crate::planner::analyze::blocker(x) {
            Some(_) if nodes::tag(x) != NodeTag::T_Query => nodes::Visit::Stop,
            _ => nodes::Visit::Descend,
        }
    })
}

unsafe fn conflict_changes_key(q: *mut Query, table: &Table) -> bool {
    let Some(key) = &table.key else { return false };
    if (*q).onConflict.is_null() {
        return false;
    }
    nodes::iter::<TargetEntry>((*(*q).onConflict).onConflictSet).any(|t| {
        (*t).resno == key.attno
            && nodes::cast::<Var>((*t).expr as *mut Node, NodeTag::T_Var)
                .is_none_or(|v| (*v).varattno != key.attno)
    })
}

/// Shard of the new row: known now, or when its parameter is.
unsafe fn key_prune(
    table: &Table,
    e: *mut Node,
    replaced: *mut Node,
    vals: &mut Values,
) -> Result<Prune> {
    if nodes::tag(e) == NodeTag::T_Const {
        return Ok(values::prune_value(table, e, vals));
    }
    // The parameter is the last one; its value is computed once for row and routing.
    let number = match nodes::cast::<pg_sys::Param>(replaced, NodeTag::T_Param) {
        Some(p) => (*p).paramid,
        None => vals.exprs().iter().rposition(|x| nodes::equal(*x, e)).map_or(0, |i| i as i32 + 1),
    };
    Ok(Prune::Param(number as u32 - 1))
}

/// Rows from VALUES or a query, routed one by one.
pub unsafe fn insert(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    if let Some(key) = &table.key {
        let given = nodes::iter::<TargetEntry>((*q).targetList).any(|t| (*t).resno == key.attno);
        if !given {
            shard_without_key(table)?;
        }
    }
    if conflict_changes_key(q, table) {
        return Err(key_change(table));
    }
    if !tail_ships(q) {
        return Err(Error::unsupported(
            "RETURNING or ON CONFLICT uses a function that only this node has",
        ));
    }
    let (plan, vals) = insert_template(nodes::copy(q), table)?;
    let (rows, checks) = as_select(nodes::copy(q), table)?;
    let stmt = crate::planner::plan_query(rows, standard)?;
    let key_column = table.key.as_ref().and_then(|k| {
        nodes::iter::<TargetEntry>((*q).targetList)
            .filter(|t| !(**t).resjunk)
            .position(|t| (*t).resno == k.attno)
    });
    let columns = (0..nodes::len((*q).targetList) as u32)
        .map(|column| Sent { column, as_text: false })
        .collect();
    let route = match key_column {
        Some(i) => Route::Key(i as u32),
        None => Route::First,
    };
    let mut apply = Apply::one(Step { plan, route, columns, counts: true, untyped: true });
    apply.materialize = reads_us_later(stmt);
    apply.checks = checks;
    Ok(super::on_top(q, stmt, &apply, vals.exprs()))
}

/// Whether scans of ours may start after the first rows have come: they would see rows that
/// were already written.
unsafe fn reads_us_later(stmt: *mut PlannedStmt) -> bool {
    let top = (*stmt).planTree as *mut Node;
    let ours = nodes::iter::<RangeTblEntry>((*stmt).rtable).any(|r| {
        let relation =
            (*r).rtekind == RTEKind::RTE_RELATION && crate::catalog::table((*r).relid).is_some();
        relation || crate::planner::source::call_of(r).is_some()
    });
    ours && nodes::tag(top) != NodeTag::T_CustomScan
}

/// The INSERT's source as a query for the new rows, and the conditions on them.
unsafe fn as_select(q: *mut Query, table: &Table) -> Result<(*mut Query, Vec<Check>)> {
    let target = (*q).resultRelation;
    let new: Vec<(i16, *mut Node)> = nodes::iter::<TargetEntry>((*q).targetList)
        .map(|t| ((*t).resno, (*t).expr as *mut Node))
        .collect();
    for (i, t) in nodes::iter::<TargetEntry>((*q).targetList).enumerate() {
        (*t).resno = i as i16 + 1;
        (*t).resname = nodes::pstr(&format!("column{}", i + 1));
    }
    let new = checks::complete(table, target, &new, true);
    let mut checked = Vec::new();
    for (condition, mut check) in checks::conditions(q, &new)? {
        let n = nodes::len((*q).targetList);
        let name = nodes::pstr(&format!("column{}", n + 1));
        let e = condition as *mut pg_sys::Expr;
        let t = pg_sys::makeTargetEntry(e, n as i16 + 1, name, false);
        (*q).targetList = pg_sys::lappend((*q).targetList, t as *mut _);
        check.column = n as u32;
        checked.push(check);
    }
    (*q).withCheckOptions = std::ptr::null_mut();
    (*q).commandType = CmdType::CMD_SELECT;
    (*q).resultRelation = 0;
    (*q).returningList = std::ptr::null_mut();
    (*q).onConflict = std::ptr::null_mut();
    (*q).override_ = pg_sys::OverridingKind::OVERRIDING_NOT_SET;
    for r in nodes::iter::<pg_sys::RangeTblRef>((*(*q).jointree).fromlist) {
        (*nodes::rte((*q).rtable, (*r).rtindex as u32)).inFromCl = true;
    }
    Ok((q, checked))
}

/// `INSERT INTO shard (columns) VALUES` with a slot for the rows. Nodes turn the values into the
/// columns' types themselves, so rows are plain literals.
unsafe fn insert_template(q: *mut Query, table: &Rc<Table>) -> Result<(DistPlan, Values)> {
    let target_rte = nodes::rte((*q).rtable, (*q).resultRelation as u32);
    let token = deparse::token();
    let source: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    (*source).rtekind = RTEKind::RTE_VALUES;
    (*source).inFromCl = true;
    let (mut names, mut outer_list) = (std::ptr::null_mut(), std::ptr::null_mut());
    for (i, t) in nodes::iter::<TargetEntry>((*q).targetList).enumerate() {
        let n = i as i16 + 1;
        let e = (*t).expr as *mut Node;
        names = pg_sys::lappend(names, nodes::string_node(&format!("column{n}")) as *mut _);
        let v = whole::var_like(2, n, e) as *mut pg_sys::Expr;
        let ot = pg_sys::makeTargetEntry(v, (*t).resno, (*t).resname, false);
        outer_list = pg_sys::lappend(outer_list, ot as *mut _);
    }
    // Stands for all rows.
    let mark = nodes::list([whole::text_const(&token)]);
    (*source).values_lists = pg_sys::lappend(std::ptr::null_mut(), mark as *mut _);
    (*source).eref = pg_sys::makeAlias(c"citus_source".as_ptr(), names);
    let result = (*q).resultRelation;
    (*q).rtable = keep_entries(q, target_rte, source, result);
    (*q).resultRelation = 1;
    (*q).jointree = pg_sys::makeFromExpr(nodes::list([rest::range_ref(2)]), std::ptr::null_mut());
    (*q).targetList = outer_list;
    (*q).cteList = std::ptr::null_mut();
    (*q).override_ = pg_sys::OverridingKind::OVERRIDING_NOT_SET;
    let anchor = u32::from(table.relid);
    let target = match table.kind {
        Kind::Reference => Target::AllReplicas { anchor },
        _ => Target::Shards { anchor, prune: Prune::All, single: false },
    };
    let place = Place { target, values: Values::default(), rows: 1000.0 };
    let (mut plan, vals) = pushdown::dist_plan(q, place)?;
    if !plan.template.split_rows(&format!("('{token}'::text)")) {
        return Err(Error::internal("rows not found in deparsed INSERT"));
    }
    plan.prepare = false;
    Ok((plan, vals))
}

/// Range table of the template: target, source, and EXCLUDED where ON CONFLICT refers to it. The
/// expressions that stay are renumbered to it.
unsafe fn keep_entries(
    q: *mut Query,
    target: *mut RangeTblEntry,
    source: *mut RangeTblEntry,
    result: i32,
) -> *mut List {
    let mut entries = vec![target, source];
    let mut renumber = vec![(result, 1)];
    if !(*q).onConflict.is_null() && (*(*q).onConflict).exclRelIndex > 0 {
        let old = (*(*q).onConflict).exclRelIndex;
        entries.push(nodes::rte((*q).rtable, old as u32));
        renumber.push((old, 3));
        (*(*q).onConflict).exclRelIndex = 3;
    }
    let change = |n: *mut Node| renumbered(n, 0, &renumber);
    (*q).returningList = change((*q).returningList as *mut Node) as *mut List;
    if !(*q).onConflict.is_null() {
        let excl = (*(*q).onConflict).exclRelIndex;
        (*q).onConflict = change((*q).onConflict as *mut Node) as *mut pg_sys::OnConflictExpr;
        (*(*q).onConflict).exclRelIndex = excl;
    }
    nodes::list(entries)
}

/// An expression whose variables of range table entries have new numbers.
unsafe fn renumbered(n: *mut Node, depth: u32, numbers: &[(i32, i32)]) -> *mut Node {
    nodes::mutate(n, &mut |x| {
        if nodes::tag(x) == NodeTag::T_Query {
            let q: *mut Query = nodes::copy(x as *mut Query);
            nodes::mutate_query(q, 0, &mut |y| Some(renumbered(y, depth + 1, numbers)));
            return Some(q as *mut Node);
        }
        let v = nodes::cast::<Var>(x, NodeTag::T_Var)?;
        let (_, new) = numbers.iter().find(|(old, _)| *old == (*v).varno)?;
        if (*v).varlevelsup != depth {
            return None;
        }
        let c = nodes::copy(v);
        (*c).varno = *new;
        (*c).varnosyn = *new as u32;
        Some(c as *mut Node)
    })
}
