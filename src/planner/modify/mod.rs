//! INSERT, UPDATE and DELETE on tables of ours.
//!
//! - A statement that its shard groups can run themselves is sent to them (`pushed`).
//! - So is an INSERT of a query's rows that are in the same shard groups already (`select`). Any
//!   other INSERT whose rows come from VALUES or a query is a plan for those rows, here, under a
//!   node that routes them to their shards (`insert`).
//! - Any other UPDATE or DELETE is a query, here, for the places (shard, ctid) and new values of
//!   the target's rows, which are locked while they are found; a node on top applies them
//!   (`place`).

mod checks;
mod conflict;
mod ctid;
mod identity;
mod insert;
mod lift;
mod merge;
mod moving;
mod once;
mod place;
mod returning;
mod rows;
mod select;
mod wanted;

pub use conflict::is_row;
pub use place::{substitute, SHARD_ATTRIBUTE};
pub use returning::{plan_apart, reads_elsewhere};

use super::{collations, cursor, pushdown, ship, whole, Standard};
use crate::catalog::{self, Kind as TableKind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::lookup::{self, Attribute};
use crate::pg::query::{self, Kind, List, Node, PlannedStmt, Query, RangeTblRef, Text, Var};
use crate::plan::{Apply, Target};
use pgrx::pg_sys::{CmdType, OnConflictAction};
use std::rc::Rc;

/// The target of a modification when it is a table of ours.
pub fn target_of(q: Query) -> Option<Rc<Table>> {
    catalog::table(q.target()?.relid())
}

/// Plans a modification of a table of ours.
pub fn plan(q: Query, table: &Rc<Table>, standard: Standard<'_>) -> Result<PlannedStmt> {
    name_tables(q);
    cursor::find_current(q, table)?;
    settle(q, table);
    match q.command_type() {
        CmdType::CMD_INSERT => {
            settle_conflict(q)?;
            if !returning::needs_lowering(q) {
                return plan_insert(q, table, standard);
            }
            let projection = returning::lower(q, table);
            projection.apply(plan_insert(q, table, standard)?)
        }
        CmdType::CMD_UPDATE | CmdType::CMD_DELETE => change(q, table, standard),
        _ => merge::plan(q, table, standard),
    }
}

/// The plan of a modification that one scan can carry out as it is, if it is one.
pub fn whole(q: Query, table: &Rc<Table>) -> Result<Option<PlannedStmt>> {
    name_tables(q);
    cursor::find_current(q, table)?;
    if returning::needs_lowering(q) || reads_elsewhere(q) {
        return Ok(None);
    }
    settle(q, table);
    match q.command_type() {
        CmdType::CMD_INSERT if q.with_check_options().is_empty() => {
            settle_conflict(q)?;
            if insert::is_single_row(q) {
                return insert::insert_row(q, table);
            }
            insert::pushed(q, table)
        }
        CmdType::CMD_UPDATE | CmdType::CMD_DELETE => pushed(q, table),
        _ => Ok(None),
    }
}

/// `tableoid` of a table is its own OID, and no shard's. (From here on the target's stands for the number
/// of a row's shard.)
fn name_tables(q: Query) {
    let asks = |n: Node| matches!(n.kind(), Kind::Var(v) if v.varattno() == SHARD_ATTRIBUTE);
    // The rows of an INSERT may be many, and are not the target's.
    let asked = match q.command_type() {
        CmdType::CMD_INSERT => {
            q.returning_list().node().contains(asks)
                || q.on_conflict().is_some_and(|c| c.node().contains(asks))
        }
        _ => q.node().contains(asks),
    };
    if !asked {
        return;
    }
    for (rte, rti) in q.rtable().iter().zip(1..).filter(|e| super::is_ours(e.0)) {
        let own = [(SHARD_ATTRIBUTE, query::oid(rte.relid()))];
        q.mutate_parts(|n| Some(place::substitute(n, 0, rti, &own)));
    }
}

/// Brings a statement into the form that text can be made of.
fn settle(q: Query, table: &Table) {
    settle_from_items(q);
    let conflict = q.on_conflict().map_or(List::EMPTY, |c| c.on_conflict_set());
    for t in q.target_list().iter().chain(conflict.iter()).filter(|t| !t.resjunk()) {
        t.set_expr(collations::assigned(t.expr()));
    }
    // `SET generated = DEFAULT` alone leaves nothing to set, and is written again as it was: it
    // takes the right to update this very column.
    if q.command_type() == CmdType::CMD_UPDATE && q.target_list().is_empty() {
        let named = |a: &Attribute| a.generated && q.target().is_some_and(|t| t.updates(a.attno));
        let all: Vec<Attribute> = lookup::attributes(table.relid).into_iter().flatten().collect();
        let some = all.iter().any(named);
        let list = all.iter().filter(|a| if some { named(a) } else { a.generated }).map(|a| {
            query::target_entry(query::set_to_default(a.typ), a.attno, Text::new(&a.name))
        });
        q.set_target_list(list.collect());
    }
}

/// Brings ON CONFLICT into the form that text can be made of.
fn settle_conflict(q: Query) -> Result<()> {
    let updates = OnConflictAction::ONCONFLICT_UPDATE;
    if q.on_conflict().is_some_and(|c| c.action() == updates) {
        checks::leave_policies(q);
    }
    conflict::name_arbiters(q)?;
    conflict::expand_rows(q);
    Ok(())
}

/// Says which entries are FROM items: the table of a view was one of the view's query, and a view
/// whose rule changes other tables was none of the statement that the rule replaces.
fn settle_from_items(q: Query) {
    if q.command_type() != CmdType::CMD_INSERT {
        for r in q.from_items().iter().filter_map(|n| n.cast::<RangeTblRef>()) {
            if let Some(rte) = q.entry(r.rtindex() as u32) {
                rte.set_in_from_cl(true);
            }
        }
    }
    if let Some(rte) = q.target() {
        rte.set_in_from_cl(false);
    }
}

fn plan_insert(q: Query, table: &Rc<Table>, standard: Standard<'_>) -> Result<PlannedStmt> {
    if insert::is_single_row(q) && q.with_check_options().is_empty() {
        if let Some(stmt) = insert::insert_row(q, table)? {
            return Ok(stmt);
        }
    }
    insert::insert(q, table, standard)
}

fn change(q: Query, table: &Rc<Table>, standard: Standard<'_>) -> Result<PlannedStmt> {
    if !returning::needs_lowering(q) {
        if let Some(stmt) = pushed(q, table)? {
            return Ok(stmt);
        }
    }
    if q.returning_list().is_empty() {
        return place::plan(q, table, standard);
    }
    let projection = returning::lower(q, table);
    let stmt = match pushed(q, table)? {
        Some(s) => s,
        None => place::plan(q, table, standard)?,
    };
    projection.apply(stmt)
}

// ---- UPDATE and DELETE as they are ------------------------------------------------------------

/// A statement that shard groups run themselves.
fn pushed(q: Query, table: &Rc<Table>) -> Result<Option<PlannedStmt>> {
    if changes_key(q, table) || !q.with_check_options().is_empty() {
        return Ok(None);
    }
    if q.target_list().node().contains(ship::is_manifold_assignment) {
        return Ok(None);
    }
    let Some(mut place) = pushdown::place(q)? else { return Ok(None) };
    if let Target::AnyReplica { anchor } = place.target {
        if table.kind != TableKind::Reference {
            return Ok(None);
        }
        place.target = Target::AllReplicas { anchor };
    } else if table.kind == TableKind::Reference {
        return Ok(None);
    }
    if is_replicated(table) && once::differs_by_copy(q) {
        return Ok(None);
    }
    ctid::check_pushed(q, table, &place.target)?;
    let (plan, values) = pushdown::dist_plan(q, place)?;
    Ok(Some(whole::statement(q, &plan, values.exprs())))
}

fn is_replicated(table: &Table) -> bool {
    table.kind == TableKind::Reference || table.replicated
}

/// Whether an UPDATE assigns something new to the distribution column.
fn changes_key(q: Query, table: &Table) -> bool {
    let Some(key) = &table.key else { return false };
    let assigns = q.target_list().iter().any(|t| {
        let own = |v: Var| v.varno() == q.result_relation() && v.varattno() == key.attno;
        let e = t.expr().strip_relabel();
        !t.resjunk() && t.resno() == key.attno && !e.cast::<Var>().is_some_and(own)
    });
    q.command_type() == CmdType::CMD_UPDATE && assigns
}

fn key_change(table: &Table) -> Error {
    Error::unsupported(format!(
        "modifying the distribution column \"{}\" is not supported here",
        key_name(table)
    ))
    .hint("Delete the row and insert it with the new value in one transaction.")
}

fn key_name(table: &Table) -> String {
    table.key.as_ref().map_or_else(String::new, |k| lookup::column_name(table.relid, k.attno))
}

/// Where a row without a value for the distribution column goes: the first shard refuses it with
/// PostgreSQL's own error when the column is NOT NULL; otherwise it is refused here.
pub fn shard_without_key(table: &Table) -> Result<u32> {
    let Some(key) = &table.key else { return Ok(0) };
    if lookup::is_not_null(table.relid, key.attno) {
        Ok(0)
    } else {
        Err(null_key(table))
    }
}

/// The error of a row without a value for the distribution column.
pub fn null_key(table: &Table) -> Error {
    let name = key_name(table);
    let mut e = Error::new(
        sqlstate::NOT_NULL_VIOLATION,
        format!("cannot insert NULL into the distribution column \"{name}\""),
    );
    e.column = Some(name);
    e
}

// ---- the node on top --------------------------------------------------------------------------

/// Puts the applying node on a plan for rows; the result is a plan of the original statement.
fn on_top(q: Query, stmt: PlannedStmt, apply: &Apply, exprs: &[Node]) -> PlannedStmt {
    let (Some(child), Some(first)) = (stmt.plan_tree(), apply.steps.first()) else { return stmt };
    let results = whole::result_list(q);
    let rti = stmt.rtable().len() as i32 + 1;
    stmt.set_rtable(stmt.rtable().with(whole::remote_rte(results)));
    let scan = whole::scan_node(&first.plan, exprs);
    scan.set_methods(crate::executor::apply_methods(apply));
    scan.set_custom_private(scan.custom_private().with(query::bytes(&apply.encode())));
    scan.set_custom_plans(List::from([child]));
    scan.set_total_cost(child.total_cost() + child.plan_rows() * 0.05);
    scan.set_plan_rows(child.plan_rows());
    whole::set_targets(scan, results, rti);
    scan.take_params(child);
    stmt.set_plan_tree(Some(scan.plan()));
    stmt.set_command_type(q.command_type());
    stmt.set_has_returning(!q.returning_list().is_empty());
    stmt.set_query_id(q.query_id());
    stmt.set_can_set_tag(q.can_set_tag());
    stmt.set_parallel_mode_needed(false);
    whole::add_relations(stmt, q);
    stmt.set_stmt_location(q.stmt_location());
    stmt.set_stmt_len(q.stmt_len());
    stmt
}
