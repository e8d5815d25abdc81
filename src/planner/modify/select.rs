//! INSERT of a query's rows where they are: each shard group puts its rows into its own shards.
//!
//! That is right when each shard group can answer the query for itself, and the value for the
//! target's distribution column is the key of the rows that it is made from: so the new row belongs
//! to the shard beside theirs. Or all of it, old rows and new ones, is on one shard group.
//!
//! Not so with `citus.consistent_reads` on, as shards would be read each as of its own moment.
//!
//! Replicated targets are not among them: each copy would read the query's tables with a snapshot
//! of its own, and what others commit in between would make the copies differ. Their rows are
//! read once, here, and written to all copies.

use super::{insert, is_replicated};
use crate::catalog::{self, Kind as TableKind, Table};
use crate::error::Result;
use crate::pg::lookup;
use crate::pg::query::{
    self, Kind, List, Node, OnConflictExpr, PlannedStmt, Query, RangeTblRef, TargetEntry, Var,
};
use crate::plan::{Prune, Target};
use crate::planner::analyze::{Analyzer, Reject};
use crate::planner::pushdown::{self, Place};
use crate::planner::values::{self, Values};
use crate::planner::{fold, ship, whole};
use crate::settings::{self, ConsistentReads};
use pgrx::pg_sys::{CoercionForm, JoinType, NodeTag, OverridingKind, RTEKind};
use std::rc::Rc;

/// Range table index of the query in a statement that is pushed; 1 is the target's.
const SOURCE: i32 = 2;

/// Where a statement can run.
struct Found {
    place: Place,
    /// It needs a value for the distribution column, which a parameter holds.
    insert: bool,
}

/// The plan of an INSERT whose query's shard groups can run it.
pub fn pushed(q: Query, table: &Rc<Table>) -> Result<Option<PlannedStmt>> {
    let Some(s) = statement(q, table)? else { return Ok(None) };
    let found = match aligned(s, table) {
        Ok(found) => found,
        Err(why) => match pinned(s, table) {
            Some(found) => found,
            None => {
                pushdown::debug(&format!("INSERT of a query is not pushed down: {}", why.0));
                return Ok(None);
            }
        },
    };
    let (mut plan, values) = pushdown::dist_plan(s, found.place)?;
    plan.insert = found.insert;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

// ---- the statement ----------------------------------------------------------------------------

/// `INSERT INTO table (columns) SELECT new values`, as it can be printed: the printed statement has
/// the expressions of the query only, and what PostgreSQL has added on top of it (defaults, casts)
/// becomes a part of it.
fn statement(q: Query, table: &Rc<Table>) -> Result<Option<Query>> {
    let hash_or_single = matches!(table.kind, TableKind::Hash | TableKind::Single);
    if !hash_or_single || is_replicated(table) || !q.with_check_options().is_empty() {
        return Ok(None);
    }
    if q.target_list().is_empty() || q.target_list().iter().any(|t| assigns_part(t.expr())) {
        return Ok(None);
    }
    let tail = [q.returning_list().node(), q.on_conflict().into()];
    if tail.into_iter().any(|n| n.contains(is_cte_reference)) {
        return Ok(None);
    }
    let select = match source_of(q) {
        None => return Ok(None),
        Some(source) if is_source_as_it_is(q, source) => source.copy(),
        Some(_) => new_rows(q, table)?,
    };
    if select.node().contains(writes_or_locks) {
        return Ok(None);
    }
    let Some(target) = q.target() else { return Ok(None) };
    let target = target.copy();
    let s = q.copy();
    let source = query::from_item(RTEKind::RTE_SUBQUERY);
    source.set_subquery(Some(select));
    let (mut names, mut outputs) = (List::EMPTY, List::EMPTY);
    for (i, t) in s.target_list().iter().enumerate() {
        let n = i as i16 + 1;
        names.push(query::string(&format!("column{n}")));
        outputs.push(query::target_entry(
            query::var_like(SOURCE, n, t.expr()),
            t.resno(),
            t.resname(),
        ));
    }
    source.set_eref(Some(query::alias("citus_source", names)));
    let result = s.result_relation();
    s.set_rtable(insert::keep_entries(s, target, source, result));
    s.set_on_conflict(s.on_conflict().map(without_excluded_list));
    s.set_result_relation(1);
    s.set_jointree(Some(query::from_entry(SOURCE, Node::NONE)));
    s.set_target_list(outputs);
    s.set_ctes(List::EMPTY);
    s.set_overriding(OverridingKind::OVERRIDING_NOT_SET);
    Ok(Some(s))
}

/// ON CONFLICT without what PostgreSQL's planner keeps there: all columns of EXCLUDED, used or not,
/// and the whole row, which does not ship.
fn without_excluded_list(c: OnConflictExpr) -> OnConflictExpr {
    let out = OnConflictExpr::new();
    out.set_action(c.action());
    out.set_arbiter_elems(c.arbiter_elems());
    out.set_arbiter_where(c.arbiter_where());
    out.set_constraint(c.constraint());
    out.set_on_conflict_set(c.on_conflict_set());
    out.set_on_conflict_where(c.on_conflict_where());
    out.set_excl_rel_index(c.excl_rel_index());
    out
}

/// Elements of arrays and fields of rows: an expression for them cannot be printed in a SELECT.
fn assigns_part(e: Node) -> bool {
    let parts = [NodeTag::T_FieldStore, NodeTag::T_SubscriptingRef];
    e.contains(|n| parts.contains(&n.tag()))
}

fn writes_or_locks(n: Node) -> bool {
    matches!(n.kind(), Kind::Query(s) if s.has_modifying_cte() || !s.row_marks().is_empty())
}

fn is_cte_reference(n: Node) -> bool {
    matches!(n.kind(), Kind::RangeTblEntry(r) if r.rtekind() == RTEKind::RTE_CTE)
}

/// The query that an INSERT takes its rows from.
pub(super) fn source_of(q: Query) -> Option<Query> {
    let items = q.from_items();
    let (1, Some(only)) = (items.len(), items.at(0).cast::<RangeTblRef>()) else { return None };
    q.entry(only.rtindex() as u32)?.subquery()
}

/// Whether the new rows are those of the query, column by column.
fn is_source_as_it_is(q: Query, source: Query) -> bool {
    let outputs = source.target_list().iter().filter(|t| !t.resjunk()).count();
    let as_it_is = q.target_list().iter().zip(1..).all(|(t, n)| {
        t.expr().cast::<Var>().is_some_and(|v| v.varlevelsup() == 0 && v.varattno() == n)
    });
    as_it_is && outputs == q.target_list().len() && q.quals().is_none() && q.ctes().is_empty()
}

/// A new value before it is cast to the column's type as it is assigned: the shard does the same,
/// and knows that it is an assignment.
fn before_assignment(e: Node) -> Node {
    let implicit = |f: CoercionForm::Type| f == CoercionForm::COERCE_IMPLICIT_CAST;
    let arg = match e.kind() {
        Kind::FuncExpr(f) if implicit(f.funcformat()) && ship::is_builtin(f.funcid()) => {
            f.args().at(0)
        }
        Kind::CoerceToDomain(c) if implicit(c.coercionformat()) => c.arg(),
        Kind::CoerceViaIO(c) if implicit(c.coerceformat()) => c.arg(),
        _ => return e,
    };
    before_assignment(arg)
}

/// The query for the new rows with everything that is done to them here.
fn new_rows(q: Query, table: &Table) -> Result<Query> {
    let copy = q.copy();
    let is_key = |t: &TargetEntry| table.key.as_ref().is_some_and(|k| k.attno == t.resno());
    for t in copy.target_list().iter() {
        let e = fold(t.expr());
        t.set_expr(if is_key(&t) { e } else { before_assignment(e) });
    }
    // The statement's own entries are not the query's.
    let excluded = copy.on_conflict().map_or(0, |c| c.excl_rel_index());
    for i in [copy.result_relation(), excluded] {
        let none = query::from_item(RTEKind::RTE_RESULT);
        none.set_eref(Some(query::alias("citus_none", List::EMPTY)));
        if let Some(at) = usize::try_from(i).ok().and_then(|i| i.checked_sub(1)) {
            copy.rtable().set(at, none);
        }
    }
    insert::as_select(copy, table).map(|(select, _)| select)
}

// ---- its place --------------------------------------------------------------------------------

/// Whether new rows of a table belong beside those of another.
fn same_groups(target: &Table, anchor: &Table) -> bool {
    let key = |t: &Table| t.key.as_ref().map(|k| (k.typ, k.collation));
    key(target) == key(anchor) && (target.relid == anchor.relid || target.colocated_with(anchor))
}

/// The place of a statement that each shard group can run for itself.
fn aligned(s: Query, table: &Rc<Table>) -> std::result::Result<Found, Reject> {
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, false);
    let part = a.top(s)?;
    if !part.anchor.as_ref().is_some_and(|anchor| same_groups(table, anchor)) {
        return Err(Reject("its rows are not in the shard groups of the table"));
    }
    if table.key.is_some() && !key_value(s, table).is_some_and(|e| a.is_key(s, &part, e)) {
        return Err(Reject("new rows may have another distribution column than those they are of"));
    }
    let prune = part.prune.unwrap_or(Prune::All);
    let single = prune.is_single();
    if !single && settings::consistent_reads() == ConsistentReads::On {
        return Err(Reject("all shards are to be read as of one moment"));
    }
    let rows = if single { 100.0 } else { table.shards.len() as f64 * 1000.0 };
    let target = Target::Shards { anchor: u32::from(table.relid), prune, single };
    Ok(Found { place: Place { target, values, rows }, insert: false })
}

/// The expression for the distribution column.
fn key_value(s: Query, table: &Table) -> Option<Node> {
    let key = table.key.as_ref()?;
    s.target_list().iter().find(|t| t.resno() == key.attno).map(|t| t.expr())
}

/// What a new row's value for the distribution column is.
enum Origin {
    /// The same for all rows, and known before the statement runs.
    Value(Node),
    /// The key of a row of a distributed table.
    Key,
}

/// The place of a statement that has all its rows, old and new, on one shard group.
fn pinned(s: Query, table: &Rc<Table>) -> Option<Found> {
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, true);
    a.top(s).ok()?;
    let rows = match (pushdown::single_shard(&a.leaves), a.reference.is_some()) {
        (Some((anchor, prune)), _) => same_groups(table, &anchor).then_some(Some(prune))?,
        (None, true) if a.leaves.is_empty() => None,
        _ => return None,
    };
    let (prune, insert) = match (&table.key, rows) {
        (None, rows) => (rows.unwrap_or(Prune::Fixed(vec![0])), false),
        (Some(key), rows) => {
            let e = key_value(s, table)?;
            match (origin(s, e)?, rows) {
                (Origin::Key, Some(rows)) => (rows, false),
                (Origin::Value(e), rows) if e.typ() == key.typ => {
                    let own = values::prune_value(table, e, &mut values);
                    if rows.is_some_and(|r| r != own) {
                        return None;
                    }
                    let known = match &own {
                        Prune::Fixed(at) => at.len() == 1,
                        // NULL has no shard: the first one refuses it.
                        Prune::Param(_) => lookup::is_not_null(table.relid, key.attno),
                        _ => false,
                    };
                    let deferred = own.is_deferred();
                    known.then_some((own, deferred))?
                }
                _ => return None,
            }
        }
    };
    let target = Target::Shards { anchor: u32::from(table.relid), prune, single: true };
    Some(Found { place: Place { target, values, rows: 100.0 }, insert })
}

/// What a column of a query's FROM is made from, where that is handed up as it is.
fn origin(q: Query, e: Node) -> Option<Origin> {
    if q.set_operations().is_some() || !q.grouping_sets().is_empty() {
        // A column of the first query in name only; NULL in the sums over all groups.
        return None;
    }
    let e = e.strip_relabel();
    let Some(v) = e.cast::<Var>() else {
        return ship::classify(e).is_value().then_some(Origin::Value(e));
    };
    let rte = q.entry(v.varno() as u32)?;
    if v.varlevelsup() != 0 || v.varattno() <= 0 {
        return None;
    }
    if rte.rtekind() == RTEKind::RTE_JOIN {
        let behind = rte.joinaliasvars().at(v.varattno() as usize - 1);
        return behind.strip_relabel().cast::<Var>().and_then(|v| origin(q, v.node()));
    }
    if !keeps_values(q.jointree().into(), v.varno()) {
        return None;
    }
    match rte.rtekind() {
        RTEKind::RTE_SUBQUERY => {
            let below = rte.subquery()?;
            let t = below.target_list().iter().find(|t| t.resno() == v.varattno())?;
            origin(below, t.expr())
        }
        RTEKind::RTE_RELATION => {
            let table = catalog::table(rte.relid())?;
            let is_key = table.key.as_ref().is_some_and(|k| k.attno == v.varattno());
            is_key.then_some(Origin::Key)
        }
        _ => None,
    }
}

/// Whether an entry of FROM is there, and on no side of an outer join that can be missing.
pub(super) fn keeps_values(n: Node, rti: i32) -> bool {
    match n.kind() {
        Kind::RangeTblRef(r) => r.rtindex() == rti,
        Kind::FromExpr(f) => f.fromlist().iter().any(|x| keeps_values(x, rti)),
        Kind::JoinExpr(j) => {
            let (l, r) = match j.jointype() {
                JoinType::JOIN_INNER => (true, true),
                JoinType::JOIN_LEFT => (true, false),
                JoinType::JOIN_RIGHT => (false, true),
                _ => (false, false),
            };
            (l && keeps_values(j.larg(), rti)) || (r && keeps_values(j.rarg(), rti))
        }
        _ => false,
    }
}
