//! INSERT, UPDATE and DELETE on tables of ours.
//!
//! - A statement that its shard groups can run themselves is sent to them (`pushed`).
//! - An INSERT whose rows come from VALUES or a query is a plan for those rows, here, under a node
//!   that routes them to their shards (`insert`).
//! - Any other UPDATE or DELETE is a query, here, for the places (shard, ctid) and new values of
//!   the target's rows, which are locked while they are found; a node on top applies them
//!   (`by_place`).

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::deparse;
use super::pushdown::{self, Place};
use super::rest;
use super::ship;
use super::values::{self, Values};
use super::whole;
use crate::catalog::{self, Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::nodes;
use crate::plan::{Apply, DistPlan, Operation, ParamSpec, Prune, Target};
use pgrx::pg_sys::{
    self, CmdType, CustomScan, List, Node, NodeTag, PlannedStmt, Query, RTEKind, RangeTblEntry,
    TargetEntry, Var,
};
use std::rc::Rc;

type Standard<'a> = &'a mut dyn FnMut(*mut Query) -> *mut PlannedStmt;

/// The target of a modification when it is a table of ours.
pub unsafe fn target_of(q: *mut Query) -> Option<Rc<Table>> {
    if (*q).resultRelation == 0 {
        return None;
    }
    let rte = nodes::rte((*q).rtable, (*q).resultRelation as u32);
    catalog::table((*rte).relid)
}

/// Plans a modification of a table of ours.
pub unsafe fn plan(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    match (*q).commandType {
        CmdType::CMD_INSERT => {
            if is_single_row(q) {
                if let Some(stmt) = insert_row(q, table)? {
                    return Ok(stmt);
                }
            }
            insert(q, table, standard)
        }
        CmdType::CMD_UPDATE | CmdType::CMD_DELETE => {
            if let Some(stmt) = pushed(q, table)? {
                return Ok(stmt);
            }
            by_place(q, table, standard)
        }
        _ => Err(Error::unsupported("MERGE is not supported on distributed tables")
            .hint("Use INSERT ... ON CONFLICT, or UPDATE and INSERT in one transaction.")),
    }
}

// ---- UPDATE and DELETE as they are ------------------------------------------------------------

/// A statement that shard groups run themselves.
unsafe fn pushed(q: *mut Query, table: &Rc<Table>) -> Result<Option<*mut PlannedStmt>> {
    if changes_key(q, table) {
        return Ok(None);
    }
    let Some(mut place) = pushdown::place(q)? else { return Ok(None) };
    if let Target::AnyReplica { anchor } = place.target {
        if table.kind != Kind::Reference {
            return Ok(None);
        }
        place.target = Target::AllReplicas { anchor };
    } else if table.kind == Kind::Reference {
        return Ok(None);
    }
    if is_replicated(table) && has_volatile(q) {
        return Ok(None);
    }
    let (plan, values) = pushdown::dist_plan(q, place)?;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

fn is_replicated(table: &Table) -> bool {
    table.kind == Kind::Reference || table.shards.iter().any(|s| s.placements.len() > 1)
}

unsafe fn has_volatile(q: *mut Query) -> bool {
    nodes::walk(q as *mut Node, &mut |n| {
        if nodes::tag(n) != NodeTag::T_Query && ship::own(n).volatile {
            return nodes::Visit::Stop;
        }
        nodes::Visit::Descend
    })
}

/// Whether an UPDATE assigns something new to the distribution column.
unsafe fn changes_key(q: *mut Query, table: &Table) -> bool {
    let Some(key) = &table.key else { return false };
    let assigns = |list: *mut List| {
        nodes::iter::<TargetEntry>(list).any(|t| {
            if (*t).resjunk || (*t).resno != key.attno {
                return false;
            }
            let e = nodes::strip_relabel((*t).expr as *mut Node);
            !nodes::cast::<Var>(e, NodeTag::T_Var)
                .is_some_and(|v| (*v).varno == (*q).resultRelation && (*v).varattno == key.attno)
        })
    };
    (*q).commandType == CmdType::CMD_UPDATE && assigns((*q).targetList)
}

// ---- INSERT -----------------------------------------------------------------------------------

unsafe fn is_single_row(q: *mut Query) -> bool {
    nodes::len((*(*q).jointree).fromlist) == 0 && (*q).cteList.is_null()
}

/// `INSERT ... VALUES (one row)`: the row's values are computed here, the statement runs there.
unsafe fn insert_row(q: *mut Query, table: &Rc<Table>) -> Result<Option<*mut PlannedStmt>> {
    let original = q;
    let q = nodes::copy(q);
    (*q).override_ = pg_sys::OverridingKind::OVERRIDING_NOT_SET;
    let mut vals = Values::default();
    let mut prune = if table.key.is_some() { None } else { Some(Prune::Fixed(vec![0])) };
    for t in nodes::iter::<TargetEntry>((*q).targetList) {
        let e = super::fold((*t).expr as *mut Node);
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
        if parts.into_iter().any(|n| !pushdown::expression_ships(n)) {
            return false;
        }
    }
    pushdown::expression_ships((*q).returningList as *mut Node)
}

unsafe fn conflict_changes_key(q: *mut Query, table: &Table) -> bool {
    let Some(key) = &table.key else { return false };
    if (*q).onConflict.is_null() {
        return false;
    }
    nodes::iter::<TargetEntry>((*(*q).onConflict).onConflictSet).any(|t| {
        (*t).resno == key.attno
            && !nodes::cast::<Var>((*t).expr as *mut Node, NodeTag::T_Var)
                .is_some_and(|v| (*v).varattno == key.attno)
    })
}

unsafe fn key_change(table: &Table) -> Error {
    Error::unsupported(format!(
        "modifying the distribution column \"{}\" is not supported here",
        key_name(table)
    ))
    .hint("Delete the row and insert it with the new value in one transaction.")
}

unsafe fn key_name(table: &Table) -> String {
    table.key.as_ref().map_or_else(String::new, |k| {
        nodes::str_of(pg_sys::get_attname(table.relid, k.attno, true))
    })
}

/// Where a row without a value for the distribution column goes: the first shard refuses it with
/// PostgreSQL's own error when the column is NOT NULL; otherwise it is refused here.
pub unsafe fn shard_without_key(table: &Table) -> Result<u32> {
    let Some(key) = &table.key else { return Ok(0) };
    let rel = pg_sys::table_open(table.relid, pg_sys::NoLock as i32);
    let attribute = (*(*rel).rd_att).attrs.as_ptr().add(key.attno as usize - 1);
    let refused_there = (*attribute).attnotnull;
    pg_sys::table_close(rel, pg_sys::NoLock as i32);
    if refused_there {
        Ok(0)
    } else {
        Err(null_key(table))
    }
}

/// The error of a row without a value for the distribution column.
pub unsafe fn null_key(table: &Table) -> Error {
    let name = key_name(table);
    let mut e = Error::new(
        sqlstate::NOT_NULL_VIOLATION,
        format!("cannot insert NULL into the distribution column \"{name}\""),
    );
    e.column = Some(name);
    e
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
unsafe fn insert(
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
    let rows = as_select(nodes::copy(q));
    let stmt = super::plan_query(rows, standard)?;
    let key_column = table.key.as_ref().and_then(|k| {
        nodes::iter::<TargetEntry>((*q).targetList)
            .filter(|t| !(**t).resjunk)
            .position(|t| (*t).resno == k.attno)
    });
    let apply = Apply::Insert { key: key_column.map(|i| i as u32) };
    Ok(on_top(q, stmt, &plan, &apply, vals.exprs()))
}

/// The INSERT's source as a query for the new rows.
unsafe fn as_select(q: *mut Query) -> *mut Query {
    (*q).commandType = CmdType::CMD_SELECT;
    (*q).resultRelation = 0;
    (*q).returningList = std::ptr::null_mut();
    (*q).onConflict = std::ptr::null_mut();
    (*q).override_ = pg_sys::OverridingKind::OVERRIDING_NOT_SET;
    for r in nodes::iter::<pg_sys::RangeTblRef>((*(*q).jointree).fromlist) {
        (*nodes::rte((*q).rtable, (*r).rtindex as u32)).inFromCl = true;
    }
    for (i, t) in nodes::iter::<TargetEntry>((*q).targetList).enumerate() {
        (*t).resno = i as i16 + 1;
        (*t).resname = nodes::pstr(&format!("column{}", i + 1));
    }
    q
}

/// `INSERT INTO shard (columns) SELECT * FROM (VALUES ...)` with a slot for the rows.
unsafe fn insert_template(q: *mut Query, table: &Rc<Table>) -> Result<(DistPlan, Values)> {
    let target_rte = nodes::rte((*q).rtable, (*q).resultRelation as u32);
    let token = deparse::token();
    let inner: *mut Query = nodes::make(NodeTag::T_Query);
    (*inner).commandType = CmdType::CMD_SELECT;
    (*inner).canSetTag = true;
    let rows: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    (*rows).rtekind = RTEKind::RTE_CTE;
    (*rows).ctename = nodes::pstr(&token);
    (*rows).inFromCl = true;
    let source: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    (*source).rtekind = RTEKind::RTE_SUBQUERY;
    (*source).subquery = inner;
    (*source).inFromCl = true;
    let (mut names, mut inner_list, mut outer_list) =
        (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    let (mut types, mut typmods, mut collations) =
        (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    for (i, t) in nodes::iter::<TargetEntry>((*q).targetList).enumerate() {
        let n = i as i16 + 1;
        let e = (*t).expr as *mut Node;
        let name = format!("column{n}");
        names = pg_sys::lappend(names, nodes::string_node(&name) as *mut _);
        types = pg_sys::lappend_oid(types, pg_sys::exprType(e));
        typmods = pg_sys::lappend_int(typmods, pg_sys::exprTypmod(e));
        collations = pg_sys::lappend_oid(collations, pg_sys::exprCollation(e));
        let v = whole::var_like(1, n, e) as *mut pg_sys::Expr;
        let it = pg_sys::makeTargetEntry(v, n, nodes::pstr(&name), false);
        inner_list = pg_sys::lappend(inner_list, it as *mut _);
        let v = whole::var_like(2, n, e) as *mut pg_sys::Expr;
        let ot = pg_sys::makeTargetEntry(v, (*t).resno, (*t).resname, false);
        outer_list = pg_sys::lappend(outer_list, ot as *mut _);
    }
    (*rows).coltypes = types;
    (*rows).coltypmods = typmods;
    (*rows).colcollations = collations;
    (*rows).alias = pg_sys::makeAlias(c"citus_rows".as_ptr(), std::ptr::null_mut());
    (*rows).eref = pg_sys::makeAlias(c"citus_rows".as_ptr(), names);
    (*source).eref = pg_sys::makeAlias(c"citus_source".as_ptr(), nodes::copy(names));
    (*inner).rtable = nodes::list([rows]);
    (*inner).jointree =
        pg_sys::makeFromExpr(nodes::list([rest::range_ref(1)]), std::ptr::null_mut());
    (*inner).targetList = inner_list;
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
    if !plan.template.split_at(&token) {
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
    let change = |n: *mut Node| {
        nodes::mutate(n, &mut |x| {
            let v = nodes::cast::<Var>(x, NodeTag::T_Var)?;
            let (_, new) = renumber.iter().find(|(old, _)| *old == (*v).varno)?;
            if (*v).varlevelsup != 0 {
                return None;
            }
            let c = nodes::copy(v);
            (*c).varno = *new;
            (*c).varnosyn = *new as u32;
            Some(c as *mut Node)
        })
    };
    (*q).returningList = change((*q).returningList as *mut Node) as *mut List;
    if !(*q).onConflict.is_null() {
        let excl = (*(*q).onConflict).exclRelIndex;
        (*q).onConflict = change((*q).onConflict as *mut Node) as *mut pg_sys::OnConflictExpr;
        (*(*q).onConflict).exclRelIndex = excl;
    }
    nodes::list(entries)
}

// ---- UPDATE and DELETE by place ---------------------------------------------------------------

/// Attribute number under which scans deliver the number of a row's shard.
pub const SHARD_ATTRIBUTE: i16 = pg_sys::TableOidAttributeNumber as i16;

unsafe fn by_place(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    if !(*q).returningList.is_null() {
        return Err(Error::unsupported(
            "RETURNING is not supported in this UPDATE or DELETE over several shards",
        )
        .hint("Restrict it to one value of the distribution column, or drop RETURNING."));
    }
    if is_replicated(table) {
        return Err(Error::unsupported(
            "this UPDATE or DELETE of a replicated table cannot be evaluated on every replica",
        )
        .hint("Compute what it needs in a separate query first."));
    }
    if changes_key(q, table) {
        return Err(key_change(table));
    }
    let is_update = (*q).commandType == CmdType::CMD_UPDATE;
    let columns = if is_update { assigned(q, table)? } else { Vec::new() };
    let plan = place_plan(table, &columns)?;
    let s = nodes::copy(q);
    let target = (*s).resultRelation;
    let mut list = std::ptr::null_mut();
    let system = |attno: i16, typ: pg_sys::Oid| {
        pg_sys::makeVar(target, attno, typ, -1, pg_sys::Oid::INVALID, 0) as *mut pg_sys::Expr
    };
    let place = [
        system(SHARD_ATTRIBUTE, pg_sys::OIDOID),
        system(pg_sys::SelfItemPointerAttributeNumber as i16, pg_sys::TIDOID),
    ];
    for (i, e) in place.into_iter().enumerate() {
        let t = pg_sys::makeTargetEntry(e, i as i16 + 1, nodes::pstr("place"), false);
        list = pg_sys::lappend(list, t as *mut _);
    }
    if is_update {
        for t in nodes::iter::<TargetEntry>((*s).targetList).filter(|t| !(**t).resjunk) {
            let n = nodes::len(list) as i16 + 1;
            let e = pg_sys::makeTargetEntry((*t).expr, n, nodes::pstr("value"), false);
            list = pg_sys::lappend(list, e as *mut _);
        }
    }
    (*s).targetList = list;
    (*s).commandType = CmdType::CMD_SELECT;
    (*s).resultRelation = 0;
    lock_target(s, target);
    let stmt = rest::plan(s, standard)?;
    Ok(on_top(q, stmt, &plan, &Apply::Place { update: is_update }, &[]))
}

/// Rows are locked where they are found, so that their places stay true.
unsafe fn lock_target(s: *mut Query, target: i32) {
    let rte = nodes::rte((*s).rtable, target as u32);
    (*rte).enrtuples = rest::BY_PLACE + f64::from(pg_sys::LockClauseStrength::LCS_FORUPDATE);
}

/// Columns that an UPDATE assigns, in the order of its values, with their types.
unsafe fn assigned(q: *mut Query, table: &Table) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for t in nodes::iter::<TargetEntry>((*q).targetList).filter(|t| !(**t).resjunk) {
        let c = ship::classify((*t).expr as *mut Node);
        let mut multi = false;
        nodes::walk((*t).expr as *mut Node, &mut |n| {
            if let Some(p) = nodes::cast::<pg_sys::Param>(n, NodeTag::T_Param) {
                multi |= (*p).paramkind == pg_sys::ParamKind::PARAM_MULTIEXPR;
            }
            nodes::Visit::Descend
        });
        if c.srf || multi {
            return Err(Error::unsupported(
                "UPDATE with a multi-column sub-query over several shards is not supported",
            )
            .hint("Assign the columns from a join in FROM instead."));
        }
        let name = nodes::str_of(pg_sys::get_attname(table.relid, (*t).resno, false));
        let typ = String::new();
        out.push((crate::pg::fmgr::quote_ident(&name), typ));
    }
    Ok(out)
}

/// The statement that applies places and values on a shard.
unsafe fn place_plan(table: &Rc<Table>, columns: &[(String, String)]) -> Result<DistPlan> {
    use crate::plan::{Piece, Template};
    let mut pieces = Vec::new();
    let names: Vec<String> = (0..columns.len()).map(|i| format!("v{}", i + 1)).collect();
    if columns.is_empty() {
        pieces.push(Piece::Text("DELETE FROM ".into()));
        pieces.push(Piece::Table(0));
        pieces.push(Piece::Text(" t USING (VALUES ".into()));
    } else {
        let set: Vec<String> =
            columns.iter().zip(&names).map(|((c, _), v)| format!("{c} = v.{v}")).collect();
        pieces.push(Piece::Text("UPDATE ".into()));
        pieces.push(Piece::Table(0));
        pieces.push(Piece::Text(format!(" t SET {} FROM (VALUES ", set.join(", "))));
    }
    pieces.push(Piece::Rows);
    let mut cols = vec!["place".to_owned()];
    cols.extend(names);
    pieces.push(Piece::Text(format!(
        ") v({}) WHERE t.ctid OPERATOR(pg_catalog.=) v.place",
        cols.join(", ")
    )));
    Ok(DistPlan {
        operation: Operation::Modify,
        target: Target::Shards { anchor: u32::from(table.relid), prune: Prune::All, single: false },
        template: Template { pieces },
        tables: vec![u32::from(table.relid)],
        params: Vec::<ParamSpec>::new(),
        columns: Vec::new(),
        merge: Vec::new(),
        rows: 1000.0,
        prepare: false,
        insert: false,
        tenant: None,
    })
}

// ---- the node on top --------------------------------------------------------------------------

/// Puts the applying node on a plan for rows; the result is a plan of the original statement.
unsafe fn on_top(
    q: *mut Query,
    stmt: *mut PlannedStmt,
    plan: &DistPlan,
    apply: &Apply,
    exprs: &[*mut Node],
) -> *mut PlannedStmt {
    let child = (*stmt).planTree;
    let results = whole::result_list(q);
    let rti = nodes::len((*stmt).rtable) as i32 + 1;
    (*stmt).rtable = pg_sys::lappend((*stmt).rtable, whole::remote_rte(results) as *mut _);
    let scan: *mut CustomScan = whole::scan_node(plan, exprs);
    (*scan).methods = crate::executor::apply_methods(apply);
    (*scan).custom_private =
        pg_sys::lappend((*scan).custom_private, whole::encode_bytes(&apply.encode()) as *mut _);
    (*scan).custom_plans = nodes::list([child]);
    (*scan).scan.plan.total_cost = (*child).total_cost + (*child).plan_rows * 0.05;
    (*scan).scan.plan.plan_rows = (*child).plan_rows;
    whole::set_targets(scan, results, rti);
    (*scan).scan.plan.extParam = pg_sys::bms_copy((*child).extParam);
    (*scan).scan.plan.allParam = pg_sys::bms_copy((*child).allParam);
    (*stmt).planTree = scan as *mut pg_sys::Plan;
    (*stmt).commandType = (*q).commandType;
    (*stmt).hasReturning = !(*q).returningList.is_null();
    (*stmt).queryId = (*q).queryId;
    (*stmt).canSetTag = (*q).canSetTag;
    (*stmt).parallelModeNeeded = false;
    whole::add_relations(stmt, q);
    (*stmt).stmt_location = (*q).stmt_location;
    (*stmt).stmt_len = (*q).stmt_len;
    stmt
}
