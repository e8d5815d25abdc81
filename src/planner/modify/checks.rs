//! WITH CHECK OPTION of views, and policies for new rows: evaluated with the new values, here.

use super::place::substitute;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::lookup::{self, Attribute};
use crate::pg::query::{self, List, Node, Query};
use crate::plan::Check;
use crate::planner::ship;
use pgrx::pg_sys::{OnConflictAction, WCOKind};

/// The new row's values by column: what is assigned, generated columns, and for the others the
/// old value (UPDATE) or NULL (INSERT).
pub fn complete(table: &Table, target: i32, new: &[(i16, Node)], insert: bool) -> Vec<(i16, Node)> {
    let all: Vec<Attribute> = lookup::attributes(table.relid).into_iter().flatten().collect();
    let mut values: Vec<(i16, Node)> = Vec::new();
    for a in all.iter().filter(|a| !a.generated) {
        let value = match new.iter().find(|(n, _)| *n == a.attno) {
            Some((_, e)) => *e,
            None if insert => query::null(a.typ, a.typmod, a.collation),
            None => a.var(target),
        };
        values.push((a.attno, value));
    }
    let stored = values.clone();
    for a in all.iter().filter(|a| a.generated) {
        let expression = lookup::column_default(table.relid, a.attno);
        values.push((a.attno, substitute(expression, 0, 1, &stored)));
    }
    values
}

/// Leaves the policies for the rows of INSERT ... ON CONFLICT DO UPDATE and MERGE to the nodes, where
/// the statement is the same and shards have the policies of the table. False when a view's CHECK
/// OPTION is among the conditions, which nodes do not know.
pub fn leave_policies(q: Query) -> bool {
    let of_view = |kind| kind == WCOKind::WCO_VIEW_CHECK;
    if q.with_check_options().iter().any(|w| of_view(w.check_kind()) && w.qual().is_some()) {
        return false;
    }
    q.set_with_check_options(List::EMPTY);
    true
}

/// The conditions on new rows as expressions over what they are made from.
pub fn conditions(q: Query, new: &[(i16, Node)]) -> Result<Vec<(Node, Check)>> {
    use WCOKind::{WCO_RLS_INSERT_CHECK, WCO_RLS_UPDATE_CHECK, WCO_VIEW_CHECK};
    let mut out = Vec::new();
    for w in q.with_check_options().iter() {
        let updates = OnConflictAction::ONCONFLICT_UPDATE;
        if q.on_conflict().is_some_and(|c| c.action() == updates) {
            return Err(Error::unsupported(
                "ON CONFLICT DO UPDATE through a view with CHECK OPTION on a distributed table",
            ));
        }
        if ![WCO_VIEW_CHECK, WCO_RLS_INSERT_CHECK, WCO_RLS_UPDATE_CHECK].contains(&w.check_kind()) {
            continue;
        }
        // A view without a condition has a check of nothing.
        if w.qual().is_none() {
            continue;
        }
        let condition = substitute(w.qual(), 0, q.result_relation(), new);
        if ship::classify(condition).volatile {
            return Err(Error::unsupported(
                "a check option on a column with a volatile value in a distributed table",
            ));
        }
        let relation = w.relname().to_string();
        let view = w.check_kind() == WCO_VIEW_CHECK;
        q.set_has_sub_links(q.has_sub_links() || ship::classify(condition).sublink);
        out.push((condition, Check { column: 0, relation, view }));
    }
    Ok(out)
}
