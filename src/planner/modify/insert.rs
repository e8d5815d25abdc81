//! INSERT: one row, or rows from below routed to their shards.

use super::rows::{self, Form};
use super::wanted::{self, Rows};
use super::{checks, conflict, lift, select};
use super::{key_change, shard_without_key};
use crate::catalog::{self, Kind as TableKind, Table};
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{
    self, CoerceViaIO, CustomScan, Kind, List, Node, OnConflictExpr, Param, PlannedStmt, Query,
    RangeTblEntry, RangeTblRef, TargetEntry, Text, Var, Visit,
};
use crate::plan::{Apply, Check, DistPlan, Prune, Route, Sent, Step, Target, When};
use crate::planner::deparse;
use crate::planner::pushdown::{self, Place};
use crate::planner::ship;
use crate::planner::values::{self, Values};
use crate::planner::{whole, Standard};
use pgrx::pg_sys::{self, CmdType, CoercionForm, OverridingKind, RTEKind};
use std::rc::Rc;

/// Whether the INSERT is of one row of values.
pub fn is_single_row(q: Query) -> bool {
    q.from_items().is_empty() && q.ctes().is_empty()
}

/// `INSERT ... VALUES (one row)`: the row's values are computed here, the statement runs there.
pub fn insert_row(q: Query, table: &Rc<Table>) -> Result<Option<PlannedStmt>> {
    let original = q;
    let q = q.copy();
    q.set_overriding(OverridingKind::OVERRIDING_NOT_SET);
    let mut vals = Values::default();
    let mut prune = if table.key.is_some() { None } else { Some(Prune::Fixed(vec![0])) };
    for t in q.target_list().iter() {
        let e = crate::planner::fold(t.expr());
        t.set_expr(e);
        let c = ship::classify(e);
        if c.sublink || c.srf || c.rows {
            return Ok(None);
        }
        if !matches!(e.kind(), Kind::Const(_)) {
            t.set_expr(deparse::parameter(e, &mut vals)?);
        }
        if table.key.as_ref().is_some_and(|k| k.attno == t.resno()) {
            prune = Some(key_prune(table, e, t.expr(), &mut vals)?);
        }
    }
    let prune = prune.unwrap_or(Prune::Fixed(Vec::new()));
    if !lift::ships(q, table) || !ships_with_references(q.returning_list().node()) {
        return Ok(None);
    }
    let anchor = u32::from(table.relid);
    let target = if table.kind == TableKind::Reference {
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

/// Whether nodes can evaluate expressions; sub-queries may read reference tables, which are on
/// every node.
pub fn ships_with_references(n: Node) -> bool {
    !n.walk(|x| {
        if let Some(rte) = x.cast::<RangeTblEntry>() {
            let elsewhere = match rte.rtekind() {
                RTEKind::RTE_RELATION => crate::catalog::table(rte.relid())
                    .is_none_or(|t| t.kind != TableKind::Reference),
                _ => false,
            };
            return if elsewhere { Visit::Stop } else { Visit::Descend };
        }
        if matches!(x.kind(), Kind::SubLink(s) if conflict::is_row(s)) {
            return Visit::Skip;
        }
        match crate::planner::analyze::blocker(x) {
            Some(_) if !matches!(x.kind(), Kind::Query(_)) => Visit::Stop,
            _ => Visit::Descend,
        }
    })
}

fn conflict_changes_key(q: Query, table: &Table) -> bool {
    let Some(key) = &table.key else { return false };
    let set = q.on_conflict().map_or(List::EMPTY, |c| c.on_conflict_set());
    set.iter().any(|t| {
        t.resno() == key.attno && t.expr().cast::<Var>().is_none_or(|v| v.varattno() != key.attno)
    })
}

/// Shard of the new row: known now, or when its parameter is.
fn key_prune(table: &Table, e: Node, replaced: Node, vals: &mut Values) -> Result<Prune> {
    if let Kind::Const(_) = e.kind() {
        return Ok(values::prune_value(table, e, vals));
    }
    // The parameter is the last one; its value is computed once for row and routing.
    let number = match replaced.cast::<Param>() {
        Some(p) => p.paramid(),
        None => vals.exprs().iter().rposition(|x| x.equals(e)).map_or(0, |i| i as i32 + 1),
    };
    Ok(Prune::Param(number as u32 - 1))
}

/// Gives literals of no known type among the outputs of the INSERT's query the type that they get
/// on a node. PostgreSQL leaves them alone there and takes the literals themselves for new rows.
fn settle_unknown(q: Query) {
    let source = select::source_of(q).filter(|s| s.set_operations().is_none());
    let outputs = source.map_or(List::EMPTY, |s| s.target_list());
    for t in outputs.iter().filter(|t| t.expr().typ() == pg_sys::UNKNOWNOID) {
        let c = CoerceViaIO::new();
        c.set_arg(t.expr());
        c.set_resulttype(pg_sys::TEXTOID);
        c.set_resultcollid(pg_sys::DEFAULT_COLLATION_OID);
        c.set_coerceformat(CoercionForm::COERCE_EXPLICIT_CAST);
        c.set_location(-1);
        t.set_expr(c.node().eval_const());
    }
}

/// What no plan for several rows can do.
fn check(q: Query, table: &Rc<Table>) -> Result<()> {
    if let Some(key) = &table.key {
        let given = q.target_list().iter().any(|t| t.resno() == key.attno);
        if !given {
            shard_without_key(table)?;
        }
    }
    if conflict_changes_key(q, table) {
        return Err(key_change(table));
    }
    if !ships_with_references(q.returning_list().node()) {
        return Err(Error::unsupported(
            "RETURNING of an INSERT has an expression that only this node can evaluate",
        ));
    }
    Ok(())
}

/// The plan of an INSERT whose rows are where they belong.
pub fn pushed(q: Query, table: &Rc<Table>) -> Result<Option<PlannedStmt>> {
    check(q, table)?;
    if lift::ships(q, table) {
        select::pushed(q, table)
    } else {
        Ok(None)
    }
}

/// Rows from VALUES or a query, sent to where they are, or routed one by one.
pub fn insert(q: Query, table: &Rc<Table>, standard: Standard<'_>) -> Result<PlannedStmt> {
    settle_unknown(q);
    if let Some(stmt) = pushed(q, table)? {
        return Ok(stmt);
    }
    let mut vals = Values::default();
    if !lift::ships(q, table) {
        lift::settle(q, table, &mut vals)?;
    }
    let rows_given = rows::take(q);
    let rows_are_given = rows_given.is_some();
    let (plan, vals) = template(q, table, rows_are_given, vals)?;
    let (select, checks) = as_select(q.copy(), table)?;
    let (given, exprs) = lift::add_columns(select, &vals);
    // Nothing of ours is left to be found in them.
    let plain = rows_given.is_some() && !select.has_sub_links();
    let stmt = match rows_given {
        Some(given) if plain => rows::plan(select, given, standard),
        given => {
            given.into_iter().for_each(|given| rows::give(select, given));
            crate::planner::plan_query(select, standard)?
        }
    };
    let key_column = table.key.as_ref().and_then(|k| {
        q.target_list().iter().filter(|t| !t.resjunk()).position(|t| t.resno() == k.attno)
    });
    let columns =
        (0..q.target_list().len() as u32).map(|column| Sent { column, as_text: false }).collect();
    let route = match key_column {
        Some(i) => Route::Key(i as u32),
        None => Route::First,
    };
    let copy = if rows_are_given { Vec::new() } else { copied_columns(q, table, &plan) };
    let mut apply = Apply::one(Step {
        plan,
        route,
        columns,
        counts: true,
        untyped: true,
        when: When::Always,
        moves: None,
    });
    apply.materialize = !plain && reads_us_later(stmt);
    apply.checks = checks;
    apply.copy = copy;
    apply.given = given;
    Ok(super::on_top(q, stmt, &apply, &exprs))
}

/// Columns of rows that COPY can bring into the shards with the same result as the statement: it
/// has no other columns than new ones to tell of, answers nothing, knows no other way out of a
/// conflict than an error, and checks the rights of who runs it.
fn copied_columns(q: Query, table: &Table, plan: &DistPlan) -> Vec<i16> {
    let plain = q.on_conflict().is_none()
        && q.returning_list().is_empty()
        && q.with_check_options().is_empty()
        && plan.check_as.iter().all(|c| c.role == 0);
    if !plain || table.kind == TableKind::Local {
        return Vec::new();
    }
    let all = lookup::attributes(table.relid);
    let has_type = |t: &TargetEntry| {
        let of = all.iter().flatten().find(|a| a.attno == t.resno());
        of.is_some_and(|a| a.typ == t.expr().typ() && !a.generated)
    };
    let list = q.target_list();
    if !list.iter().all(|t| has_type(&t)) {
        return Vec::new();
    }
    list.iter().map(|t| t.resno()).collect()
}

/// Whether scans of ours may start after the first rows have come: they would see rows that
/// were already written.
fn reads_us_later(stmt: PlannedStmt) -> bool {
    let top: Node = stmt.plan_tree().into();
    let ours = stmt
        .rtable()
        .iter()
        .any(|r| crate::planner::is_ours(r) || crate::planner::source::call_of(r).is_some());
    ours && top.cast::<CustomScan>().is_none()
}

/// The INSERT's source as a query for the new rows, and the conditions on them.
pub(super) fn as_select(q: Query, table: &Table) -> Result<(Query, Vec<Check>)> {
    let target = q.result_relation();
    let mut rows = Rows::new(target);
    if !q.with_check_options().is_empty() {
        let volatile = |t: &TargetEntry| wanted::is_volatile(t.expr());
        q.target_list().iter().filter(volatile).for_each(|t| t.set_expr(rows.once(t.expr())));
    }
    let new: Vec<(i16, Node)> = q.target_list().iter().map(|t| (t.resno(), t.expr())).collect();
    for (i, t) in q.target_list().iter().enumerate() {
        t.set_resno(i as i16 + 1);
        t.set_resname(Text::new(&format!("column{}", i + 1)));
    }
    let new = checks::complete(table, target, &new, true);
    let mut checked = Vec::new();
    for (condition, mut check) in checks::conditions(q, &new)? {
        let n = q.target_list().len();
        let name = Text::new(&format!("column{}", n + 1));
        let t = query::target_entry(condition, n as i16 + 1, name);
        q.set_target_list(q.target_list().with(t));
        check.column = n as u32;
        checked.push(check);
    }
    q.set_with_check_options(List::EMPTY);
    q.set_command_type(CmdType::CMD_SELECT);
    q.set_result_relation(0);
    q.set_returning_list(List::EMPTY);
    q.set_on_conflict(None);
    q.set_overriding(OverridingKind::OVERRIDING_NOT_SET);
    for r in q.from_items().iter().filter_map(|n| n.cast::<RangeTblRef>()) {
        if let Some(rte) = q.entry(r.rtindex() as u32) {
            rte.set_in_from_cl(true);
        }
    }
    Ok((rows.over(q), checked))
}

/// [`insert_template`], or what it was for another statement of the same form.
fn template(
    q: Query,
    table: &Rc<Table>,
    constant: bool,
    vals: Values,
) -> Result<(DistPlan, Values)> {
    let form = if constant { Form::of(q) } else { None };
    if let Some(known) = form.as_ref().and_then(Form::known) {
        return Ok((known, Values::default()));
    }
    let generation = catalog::generation();
    let (plan, vals) = insert_template(q.copy(), table, vals)?;
    if let Some(form) = form.filter(|_| vals.exprs().is_empty()) {
        form.remember(&plan, generation);
    }
    Ok((plan, vals))
}

/// `INSERT INTO shard (columns) VALUES` with a slot for the rows. Nodes turn the values into the
/// columns' types themselves, so rows are plain literals.
fn insert_template(q: Query, table: &Rc<Table>, values: Values) -> Result<(DistPlan, Values)> {
    let target_rte = q.target().ok_or_else(|| Error::internal("INSERT without a table"))?;
    let token = deparse::token();
    let source = query::from_item(RTEKind::RTE_VALUES);
    let (mut names, mut outer_list) = (List::EMPTY, List::EMPTY);
    for (i, t) in q.target_list().iter().enumerate() {
        let n = i as i16 + 1;
        names.push(query::string(&format!("column{n}")));
        let v = query::var_like(2, n, t.expr());
        outer_list.push(query::target_entry(v, t.resno(), t.resname()));
    }
    // Stands for all rows.
    let mark = List::from([query::text(&token)]);
    source.set_values_lists(List::from([mark.node()]));
    source.set_eref(Some(query::alias("citus_source", names)));
    let result = q.result_relation();
    q.set_rtable(keep_entries(q, target_rte, source, result));
    q.set_result_relation(1);
    q.set_jointree(Some(query::from_entry(2, Node::NONE)));
    q.set_target_list(outer_list);
    q.set_ctes(List::EMPTY);
    q.set_overriding(OverridingKind::OVERRIDING_NOT_SET);
    let anchor = u32::from(table.relid);
    let target = match table.kind {
        TableKind::Reference => Target::AllReplicas { anchor },
        _ => Target::Shards { anchor, prune: Prune::All, single: false },
    };
    let place = Place { target, values, rows: 1000.0 };
    let (mut plan, vals) = pushdown::dist_plan(q, place)?;
    if !plan.template.split_rows(&format!("VALUES ('{token}'::pg_catalog.text)")) {
        return Err(Error::internal("rows not found in deparsed INSERT"));
    }
    plan.prepare = false;
    Ok((plan, vals))
}

/// Range table of the template: target, source, and EXCLUDED where ON CONFLICT refers to it. The
/// expressions that stay are renumbered to it.
pub(super) fn keep_entries(
    q: Query,
    target: RangeTblEntry,
    source: RangeTblEntry,
    result: i32,
) -> List<RangeTblEntry> {
    let mut entries = List::from([target, source]);
    let mut renumber = vec![(result, 1)];
    if let Some(c) = q.on_conflict() {
        if let Some(excluded) = q.entry(c.excl_rel_index() as u32) {
            entries.push(excluded);
            renumber.push((c.excl_rel_index(), 3));
            c.set_excl_rel_index(3);
        }
    }
    q.set_returning_list(q.returning_list().mutate(|n| one_renumbered(n, 0, &renumber)));
    if let Some(c) = q.on_conflict() {
        let new = renumbered(c.node(), 0, &renumber).cast::<OnConflictExpr>();
        if let Some(new) = new {
            new.set_excl_rel_index(c.excl_rel_index());
        }
        q.set_on_conflict(new);
    }
    entries
}

/// An expression whose variables of range table entries have new numbers.
fn renumbered(n: Node, depth: u32, numbers: &[(i32, i32)]) -> Node {
    n.mutate(|x| one_renumbered(x, depth, numbers))
}

fn one_renumbered(n: Node, depth: u32, numbers: &[(i32, i32)]) -> Option<Node> {
    let v = match n.kind() {
        Kind::Query(q) => {
            let q = q.copy();
            q.mutate_parts(|y| Some(renumbered(y, depth + 1, numbers)));
            return Some(q.node());
        }
        Kind::Var(v) => v,
        _ => return None,
    };
    let (_, new) = numbers.iter().find(|(old, _)| *old == v.varno())?;
    if v.varlevelsup() != depth {
        return None;
    }
    Some(query::renumbered_var(v, *new).node())
}
