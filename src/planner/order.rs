//! The order that rows have by the ORDER BY of a sub-query, view or CTE.
//!
//! SQL does not promise that `SELECT ... FROM (SELECT ... ORDER BY ...)` keeps it, but PostgreSQL does
//! so, and a LIMIT around such a query is a common way to write pages. Where shards answer, the order
//! has to be made here: so the outer query gets the same ORDER BY, where it can be written down.

use crate::pg::query::{
    self, Kind, List, Node, Query, RangeTblEntry, RangeTblRef, TargetEntry, Text,
};
use pgrx::pg_sys::{CmdType, RTEKind};

/// The only FROM item of a query that passes its rows on one by one, in their order.
struct Source {
    rti: i32,
    entry: RangeTblEntry,
    query: Query,
}

fn source_of(q: Query) -> Option<Source> {
    let keeps = q.command_type() == CmdType::CMD_SELECT
        && q.sort_clause().is_empty()
        && (q.distinct_clause().is_empty() || q.has_distinct_on())
        && !q.has_aggs()
        && q.group_clause().is_empty()
        && q.grouping_sets().is_empty()
        && q.having_qual().is_none()
        && q.set_operations().is_none()
        && q.from_items().len() == 1;
    if !keeps {
        return None;
    }
    let rti = q.from_items().get(0)?.cast::<RangeTblRef>()?.rtindex();
    let entry = q.entry(rti as u32)?;
    let query = match entry.rtekind() {
        RTEKind::RTE_SUBQUERY => entry.subquery()?,
        RTEKind::RTE_CTE if entry.ctelevelsup() == 0 => {
            let name = entry.ctename().to_string();
            q.ctes().iter().find(|c| c.ctename().to_string() == name)?.ctequery().cast()?
        }
        _ => return None,
    };
    Some(Source { rti, entry, query })
}

/// Whether a query's rows have the order of its source.
pub fn is_of_source(q: Query) -> bool {
    source_of(q).is_some_and(|s| !s.query.sort_clause().is_empty() || is_of_source(s.query))
}

/// Gives a query the ORDER BY that its rows have anyway, if they have one and it can be written down;
/// else the query means what it did.
pub fn write_down(q: Query) {
    // DISTINCT ON takes the first rows, window functions number them, functions that return sets
    // multiply them: all before they are sorted.
    if !is_of_source(q)
        || !q.distinct_clause().is_empty()
        || q.has_window_funcs()
        || q.has_target_srfs()
    {
        return;
    }
    let Some(source) = source_of(q) else { return };
    write_down(source.query);
    let rows_are_used = uses_rows(q, source.rti);
    let mut keys = List::EMPTY;
    let mut outputs = q.target_list().copy();
    for clause in source.query.sort_clause().iter() {
        let wanted = clause.tle_sort_group_ref();
        let key = source.query.target_list().iter().find(|t| t.ressortgroupref() == wanted);
        let Some(key) = key.filter(|k| !k.resjunk() || (!rows_are_used && reveal(&source, *k)))
        else {
            return;
        };
        let column = query::var_like(source.rti, key.resno(), key.expr());
        let output = outputs.iter().find(|t| t.expr().equals(column)).unwrap_or_else(|| {
            let t = query::target_entry(column, outputs.len() as i16 + 1, Text::NONE);
            t.set_resjunk(true);
            outputs.push(t);
            t
        });
        if output.ressortgroupref() == 0 {
            let most = outputs.iter().map(|t| t.ressortgroupref()).max().unwrap_or(0);
            output.set_ressortgroupref(most + 1);
        }
        let new = clause.copy();
        new.set_tle_sort_group_ref(output.ressortgroupref());
        keys.push(new);
    }
    q.set_target_list(outputs);
    q.set_sort_clause(keys);
}

/// Whether whole rows of a FROM item are used, at this level or (any item of that number) below it.
fn uses_rows(q: Query, rti: i32) -> bool {
    let is_row =
        |n: Node| matches!(n.kind(), Kind::Var(v) if v.varattno() == 0 && v.varno() == rti);
    q.node().contains(is_row)
}

/// Makes a hidden sort column of a sub-query one of its outputs; false where that is not possible.
fn reveal(source: &Source, key: TargetEntry) -> bool {
    let (Some(names), RTEKind::RTE_SUBQUERY) = (source.entry.eref(), source.entry.rtekind()) else {
        return false;
    };
    let next = names.colnames().len() + 1;
    if key.resno() as usize != next || !source.query.distinct_clause().is_empty() {
        return false;
    }
    let name = format!("order{next}");
    key.set_resjunk(false);
    key.set_resname(Text::new(&name));
    names.set_colnames(names.colnames().with(query::string(&name)));
    true
}
