//! The rows of `INSERT ... VALUES`: there may be many, and most of planning has nothing to do with
//! them.

use crate::catalog;
use crate::pg::query::{List, Node, PlannedStmt, Query, RangeTblEntry, RangeTblRef, ValuesScan};
use crate::plan::DistPlan;
use crate::planner::Standard;
use pgrx::pg_sys::{NodeTag, RTEKind};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// Takes the rows out of an INSERT of VALUES that read nothing.
pub fn take(q: Query) -> Option<List<Node>> {
    let source = values_of(q)?;
    let alone = q.ctes().is_empty() && !q.has_sub_links() && q.quals().is_none();
    alone.then(|| {
        let rows = source.values_lists();
        source.set_values_lists(List::EMPTY);
        rows
    })
}

/// Puts them back, or into a copy.
pub fn give(q: Query, rows: List<Node>) {
    if let Some(source) = values_of(q) {
        source.set_values_lists(rows);
    }
}

/// The VALUES that an INSERT takes its rows from.
fn values_of(q: Query) -> Option<RangeTblEntry> {
    let mut from = q.from_items().iter();
    let (Some(only), None) = (from.next(), from.next()) else { return None };
    let source = q.entry(only.cast::<RangeTblRef>()?.rtindex() as u32)?;
    (source.rtekind() == RTEKind::RTE_VALUES).then_some(source)
}

/// Plans a query for rows that were taken out of it and read nothing. PostgreSQL's planner copies
/// and simplifies every value; where all are constants there is nothing to simplify, so that it
/// is shown two of the rows and the plan is given all.
pub fn plan(q: Query, rows: List<Node>, standard: Standard<'_>) -> PlannedStmt {
    let constant = |row: Node| row.list().iter().all(|v| v.tag() == NodeTag::T_Const);
    // A single row would become constants of the target list.
    if let (Some(a), Some(b), true) = (rows.get(0), rows.get(1), rows.iter().all(constant)) {
        let short = q.copy();
        give(short, List::from([a, b]).copy());
        let stmt = standard(short);
        let scan = stmt.plan_tree().and_then(|p| p.node().cast::<ValuesScan>());
        if let Some(scan) = scan {
            scan.set_values_lists(rows);
            let rows = rows.len() as f64;
            scan.set_total_cost(scan.total_cost() / 2.0 * rows);
            scan.set_plan_rows(rows);
            return stmt;
        }
    }
    give(q, rows);
    standard(q)
}

/// What the statement for a shard depends on, for an INSERT that only adds rows to a table.
#[derive(PartialEq, Eq, Hash)]
pub struct Form {
    table: u32,
    checked_as: u32,
    alias: String,
    columns: Vec<i16>,
}

/// Forms that are remembered.
const MAX_FORMS: usize = 64;

thread_local! {
    static TEMPLATES: RefCell<(u64, FxHashMap<Form, DistPlan>)> = RefCell::default();
}

impl Form {
    /// The form of an INSERT of VALUES, its rows taken out; none when the statement for a shard
    /// has more in it.
    pub fn of(q: Query) -> Option<Form> {
        let target = q.target()?;
        let simple = q.rtable().len() == 2
            && q.returning_list().is_empty()
            && q.on_conflict().is_none()
            && q.with_check_options().is_empty()
            && !q.has_row_security();
        simple.then(|| Form {
            table: target.relid().into(),
            checked_as: target.check_as_user().into(),
            alias: target.eref().map_or_else(String::new, |a| a.aliasname().to_string()),
            columns: q.target_list().iter().map(|t| t.resno()).collect(),
        })
    }

    /// The statement, if it was made before and nothing has changed since.
    pub fn known(&self) -> Option<DistPlan> {
        TEMPLATES.with(|t| {
            let t = t.borrow();
            (t.0 == catalog::generation()).then(|| t.1.get(self).cloned()).flatten()
        })
    }

    /// Remembers the statement, which was made when the metadata was as of `generation`.
    pub fn remember(self, plan: &DistPlan, generation: u64) {
        TEMPLATES.with(|t| {
            let mut t = t.borrow_mut();
            if t.0 != generation || t.1.len() >= MAX_FORMS {
                *t = (generation, FxHashMap::default());
            }
            t.1.insert(self, plan.clone());
        });
    }
}
