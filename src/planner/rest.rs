//! The safety net: PostgreSQL plans the query, and every table of ours that reaches its planner
//! is a scan of shards with the pushable conditions and only the needed columns (see `scan`).

use super::{combine, is_ours, locks, pushdown, scan, source, whole, Standard};
use crate::error::Result;
use crate::pg::query::{Kind, List, PlannedStmt, Query, Visit};
use crate::plan::Target;
use pgrx::pg_sys::CmdType;

/// Plans a query by PostgreSQL's planner with scans in the place of our tables.
pub fn plan(q: Query, standard: Standard<'_>) -> Result<PlannedStmt> {
    locks::check(q, standard);
    // Parts that become scans hide their tables from PostgreSQL, which still has to check the
    // user's privileges on them and to plan again when they change.
    let (tables, oids) = whole::relations(q);
    sources(q, true)?;
    prepare(q);
    let stmt = standard(q);
    stmt.set_rtable(stmt.rtable().concat(tables));
    stmt.set_relation_oids(stmt.relation_oids().concat(oids));
    Ok(stmt)
}

/// Finds the largest parts that shard groups can answer: this query's own, or those of its
/// sub-queries.
fn sources(q: Query, outermost: bool) -> Result<()> {
    if q.command_type() == CmdType::CMD_SELECT && !is_correlated(q) && super::concerns_us(q) {
        if !outermost && !q.has_modifying_cte() {
            if let Some(place) = pushdown::place(q)? {
                if place_is_wanted(q, &place) {
                    let (plan, values) = pushdown::dist_plan(q, place)?;
                    return source::become_source(q, &plan, values.exprs());
                }
            }
        }
        if combine::rewrite(q)? {
            return Ok(());
        }
    }
    if super::concerns_us(q) {
        super::decorrelate::rewrite(q);
    }
    q.inner_queries().into_iter().try_for_each(|i| sources(i, false))
}

/// A plain read of one table is left to PostgreSQL's planner, which may add conditions to it.
fn place_is_wanted(q: Query, place: &pushdown::Place) -> bool {
    let plain = q.rtable().len() == 1
        && !q.has_aggs()
        && q.group_clause().is_empty()
        && q.distinct_clause().is_empty()
        && !q.has_window_funcs()
        && !q.has_target_srfs()
        && q.limit_count().is_none()
        && q.limit_offset().is_none();
    !(plain && matches!(place.target, Target::Shards { .. }))
}

/// Whether a query refers to columns of a query around it.
fn is_correlated(q: Query) -> bool {
    (1..8).any(|level| q.node().has_vars_of_level(level))
}

/// Makes shells look like plain tables without children, and moves row locks into the scans.
fn prepare(q: Query) {
    q.walk(|n| {
        match n.kind() {
            Kind::Query(level) => drop_row_marks(level),
            Kind::RangeTblEntry(rte) if is_ours(rte) => rte.set_inh(false),
            _ => {}
        }
        Visit::Descend
    });
}

/// PostgreSQL cannot lock rows of ours by their place; the scans lock them where they are. The
/// lock's strength and wait policy travel in a field that only transition tables use.
fn drop_row_marks(q: Query) {
    let mut keep = List::EMPTY;
    for m in q.row_marks().iter() {
        match q.entry(m.rti()) {
            Some(rte) if is_ours(rte) => {
                // A cursor wants the places of its rows as well.
                let place = if rte.enrtuples() >= scan::BY_PLACE { scan::BY_PLACE } else { 0.0 };
                let lock = f64::from(m.strength()) + 10.0 * f64::from(m.wait_policy());
                rte.set_enrtuples(place + lock);
            }
            _ => keep.push(m),
        }
    }
    q.set_row_marks(keep);
}
