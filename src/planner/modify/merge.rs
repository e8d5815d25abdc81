//! MERGE.
//!
//! Where source and target are cut alike by the join's own condition, each shard group merges its
//! part. Otherwise the source is joined here with the target's rows and their places; each row of
//! the join says by a number which action it is for and carries that action's values.

use super::checks;
use super::ctid;
use super::identity::Identity;
use super::moving;
use super::place::{self, SHARD_ATTRIBUTE};
use super::wanted::{self, Rows};
use crate::catalog::{Kind, Table};
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{
    self, CaseExpr, CaseWhen, JoinExpr, List, MergeAction, Node, NullTest, PlannedStmt, Query,
    TargetEntry, Text, Var,
};
use crate::plan::{Apply, Prune, Target};
use crate::planner::analyze::Analyzer;
use crate::planner::pushdown::{self, Place};
use crate::planner::values::Values;
use crate::planner::{rest, whole, Standard};
use pgrx::pg_sys::{self, CmdType, JoinType, NodeTag, NullTestType, Oid, RTEKind};
use std::rc::Rc;

/// Plans a MERGE into a table of ours.
pub fn plan(q: Query, table: &Rc<Table>, standard: Standard<'_>) -> Result<PlannedStmt> {
    let checked = !q.with_check_options().is_empty();
    if !super::is_replicated(table) && checks::leave_policies(q) {
        settle_defaults(q, table);
        if let Some(stmt) = pushed(q, table)? {
            return Ok(stmt);
        }
    }
    if checked {
        return Err(Error::unsupported(
            "MERGE under row-level security where shards cannot merge their rows by themselves",
        )
        .detail(
            "The source is joined by something else than the distribution column, or writes it.",
        )
        .hint("Use INSERT ... ON CONFLICT DO UPDATE, or UPDATE and INSERT."));
    }
    by_place(q, table, standard)
}

/// `UPDATE SET generated = DEFAULT` leaves nothing to set, and is written again.
fn settle_defaults(q: Query, table: &Table) {
    let generated = lookup::attributes(table.relid).into_iter().flatten().find(|a| a.generated);
    let Some(a) = generated else { return };
    for action in actions(q) {
        if action.command_type() == CmdType::CMD_UPDATE && action.target_list().is_empty() {
            let e = query::set_to_default(a.typ);
            let t = query::target_entry(e, a.attno, Text::new(&a.name));
            action.set_target_list(List::from([t]));
        }
    }
}

fn actions(q: Query) -> Vec<MergeAction> {
    q.merge_action_list().iter().collect()
}

/// The join of source and target as a query without outputs.
fn join(q: Query) -> Query {
    let s = q.copy();
    let inserts =
        actions(q).iter().any(|a| !a.matched() && a.command_type() != CmdType::CMD_NOTHING);
    let kind = if inserts { JoinType::JOIN_LEFT } else { JoinType::JOIN_INNER };
    let rte = query::from_item(RTEKind::RTE_JOIN);
    rte.set_jointype(kind);
    rte.set_eref(Some(query::alias("merged", List::EMPTY)));
    s.set_rtable(s.rtable().with(rte));
    if let Some(target) = s.target() {
        target.set_in_from_cl(true);
    }
    let items = s.from_items();
    let source =
        if items.len() == 1 { items.at(0) } else { query::from_expr(items, Node::NONE).node() };
    let j = JoinExpr::new();
    j.set_jointype(kind);
    j.set_larg(source);
    j.set_rarg(query::range_ref(s.result_relation()));
    j.set_quals(s.quals());
    j.set_rtindex(s.rtable().len() as i32);
    s.set_jointree(Some(query::from_expr(List::from([j.node()]), Node::NONE)));
    s
}

// ---- pushed down ------------------------------------------------------------------------------

/// The plan of a MERGE that shard groups run themselves.
fn pushed(q: Query, table: &Rc<Table>) -> Result<Option<PlannedStmt>> {
    let s = join(q);
    if let Some(target) = s.target() {
        // The shards have the policies of the table, and check by themselves.
        target.set_security_quals(List::EMPTY);
    }
    let mut rows = Rows::new(s.result_relation());
    let mut keys = Vec::new();
    for a in actions(s) {
        rows.add_if(a.qual());
        for t in a.target_list().iter() {
            let n = rows.add(t.expr());
            let is_key = table.key.as_ref().is_some_and(|k| k.attno == t.resno());
            match a.command_type() {
                CmdType::CMD_INSERT if is_key => keys.push(n as i16 + 1),
                CmdType::CMD_UPDATE if is_key => return Ok(None),
                _ => {}
            }
        }
    }
    let inserts = actions(s).iter().filter(|a| a.command_type() == CmdType::CMD_INSERT).count();
    if table.key.is_some() && inserts != keys.len() {
        return Ok(None);
    }
    let target = s.result_relation();
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
    ctid::check_pushed(q, table, &target)?;
    let (plan, values) = pushdown::dist_plan(q, Place { target, values, rows: 1000.0 })?;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

fn key_or_true(table: &Table, target: i32) -> Node {
    let own = lookup::attributes(table.relid)
        .into_iter()
        .flatten()
        .find(|a| table.key.as_ref().is_some_and(|k| k.attno == a.attno));
    match own {
        Some(a) => a.var(target),
        None => query::boolean(true),
    }
}

// ---- by place ---------------------------------------------------------------------------------

fn by_place(q: Query, table: &Rc<Table>, standard: Standard<'_>) -> Result<PlannedStmt> {
    ctid::check_here(q, table)?;
    let s = join(q);
    let target = s.result_relation();
    let mut rows = Rows::new(target);
    let id = Identity::new(table, target, &mut rows);
    let number = action_number(s);
    // Conditions that have another answer each time are asked once for a row.
    let number = if wanted::is_volatile(number) { rows.once(number) } else { number };
    let column = rows.add(number);
    let mut apply = Apply {
        steps: Vec::new(),
        actions: Vec::new(),
        action: Some(column),
        identity: id.columns(),
        place: id.place,
        once: true,
        materialize: true,
        checks: Vec::new(),
        keep: Vec::new(),
        copy: Vec::new(),
        given: Vec::new(),
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
    apply.check_as(place::ALIAS, place::owner_of_target(s));
    let s = rows.into_query(s);
    let stmt = rest::plan(s, standard)?;
    Ok(super::on_top(q, stmt, &apply, &[]))
}

/// Steps of one action; its values are computed only where the row is for it.
fn action_steps(
    s: Query,
    table: &Table,
    a: MergeAction,
    number: (Node, i32),
    rows: &mut Rows,
    id: &Identity,
) -> Result<Vec<crate::plan::Step>> {
    let target = s.result_relation();
    let mut columns = Vec::new();
    let mut key = None;
    let mut moves = false;
    let computed = |t: &TargetEntry| t.expr().tag() == NodeTag::T_SetToDefault;
    for t in a.target_list().iter().filter(|t| !t.resjunk() && !computed(t)) {
        let e = place::without_multi(t.expr(), a.target_list(), |link, column, like| {
            // The number is not known yet where a row is asked for when it is.
            let known = number.0.cast::<Var>().is_none();
            let guard = |row| if known { only_for(number, row) } else { row };
            rows.column_of(link, column, like, guard)
        });
        let own = e
            .strip_relabel()
            .cast::<Var>()
            .is_some_and(|v| v.varno() == target && v.varattno() == t.resno());
        let is_key = table.key.as_ref().is_some_and(|k| k.attno == t.resno());
        moves |= is_key && !own;
        let n = rows.add(only_for(number, e));
        if is_key {
            key = Some(n);
        }
        columns.push((t.resno(), n));
    }
    match a.command_type() {
        CmdType::CMD_DELETE => Ok(vec![place::by_identity(table, id, &[], true, &[])]),
        CmdType::CMD_UPDATE if moves => {
            let changed = columns.clone();
            for at in lookup::attributes(table.relid).into_iter().flatten() {
                if !at.generated && !columns.iter().any(|(n, _)| *n == at.attno) {
                    columns.push((at.attno, rows.add(at.var(target))));
                }
            }
            Ok(moving::steps(table, id, &changed, &columns, key))
        }
        CmdType::CMD_UPDATE => Ok(vec![place::by_identity(table, id, &columns, false, &[])]),
        CmdType::CMD_INSERT => {
            if let (None, Some(k)) = (key, &table.key) {
                // Found at the first row, as PostgreSQL would.
                let none = query::null(k.typ, -1, k.collation);
                key = Some(rows.add(none));
            }
            let key = key.filter(|_| table.kind == Kind::Hash);
            Ok(vec![place::insert_step(table, &columns, key)])
        }
        _ => Ok(Vec::new()),
    }
}

/// `CASE WHEN <target found> THEN CASE WHEN <condition> THEN 1 ... END ELSE ... END`.
fn action_number(s: Query) -> Node {
    let (mut matched, mut other) = (Vec::new(), Vec::new());
    for (i, a) in actions(s).into_iter().enumerate() {
        let arm = (a.qual(), query::int4(i as i32 + 1));
        if a.matched() {
            matched.push(arm);
        } else {
            other.push(arm);
        }
    }
    let found = NullTest::new();
    let (target, none) = (s.result_relation(), Oid::INVALID);
    found.set_arg(query::var(target, SHARD_ATTRIBUTE, pg_sys::OIDOID, -1, none).node());
    found.set_nulltesttype(NullTestType::IS_NOT_NULL);
    found.set_location(-1);
    case(vec![(found.node(), searched(matched))], searched(other))
}

fn searched(arms: Vec<(Node, Node)>) -> Node {
    let mut when = Vec::new();
    for (qual, result) in arms {
        let quals: Vec<Node> = qual.conjuncts().into_iter().map(Node::copy).collect();
        if quals.is_empty() {
            return if when.is_empty() { result } else { case(when, result) };
        }
        when.push((query::and(&quals), result));
    }
    if when.is_empty() {
        query::int4(0)
    } else {
        case(when, query::int4(0))
    }
}

fn case(arms: Vec<(Node, Node)>, otherwise: Node) -> Node {
    let c = CaseExpr::new();
    c.set_casetype(otherwise.typ());
    c.set_casecollid(otherwise.collation());
    c.set_location(-1);
    let arm = |(when, result)| {
        let w = CaseWhen::new();
        w.set_expr(when);
        w.set_result(result);
        w.set_location(-1);
        w
    };
    c.set_args(arms.into_iter().map(arm).collect());
    c.set_defresult(otherwise);
    c.node()
}

/// `CASE WHEN number = n THEN value END`.
fn only_for((number, n): (Node, i32), value: Node) -> Node {
    let args = List::from([number.copy(), query::int4(n)]);
    let equal = query::operator(Oid::from(pg_sys::Int4EqualOperator), pg_sys::BOOLOID, args);
    let none = query::null(value.typ(), value.typmod(), value.collation());
    case(vec![(equal, value)], none)
}
