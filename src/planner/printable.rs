//! Trees that PostgreSQL's printer would print as something else: it is made for the queries of views and
//! rules, before they are rewritten.

use super::{cases, collations};
use crate::pg::lookup;
use crate::pg::query::{Kind, List, Node, Query, RangeTblEntry, SubLink, TargetEntry, Visit};
use pgrx::pg_sys::{self, CmdType, CoercionForm, ParamKind, RTEKind, SubLinkType};

/// Changes a query so that its text means what the query does.
pub fn prepare(q: Query) {
    collations::say(q);
    cases::say(q);
    order_assignments(q);
    cast_rows(q);
    say_types_of_values(q);
}

/// `SET (b, a) = (SELECT ...)` is printed as the list of assignments has the columns: in the order of
/// the table, in which the planner wants them. The columns of each sub-query are put together, and
/// into its order. (That list has the sub-queries at its end, in the order in which they are printed.)
fn order_assignments(q: Query) {
    q.walk(|n| {
        match n.kind() {
            Kind::Query(level) if level.command_type() == CmdType::CMD_UPDATE => {
                level.set_target_list(grouped(level.target_list()));
            }
            Kind::OnConflictExpr(c) => c.set_on_conflict_set(grouped(c.on_conflict_set())),
            Kind::MergeAction(a) if a.command_type() == CmdType::CMD_UPDATE => {
                a.set_target_list(grouped(a.target_list()));
            }
            _ => {}
        }
        Visit::Descend
    });
}

fn grouped(list: List<TargetEntry>) -> List<TargetEntry> {
    let printed: Vec<i32> = list.iter().filter_map(|t| Some(multi(t)?.sub_link_id())).collect();
    if printed.is_empty() {
        return list;
    }
    // Before the sub-queries' columns those that have values of their own.
    let place = |t: &TargetEntry| match column_of_multi(t.expr()) {
        _ if t.resjunk() => (printed.len() + 1, 0),
        None => (0, 0),
        Some((id, column)) => (printed.iter().position(|p| *p == id).unwrap_or(0) + 1, column),
    };
    let mut entries: Vec<TargetEntry> = list.iter().collect();
    entries.sort_by_key(place);
    entries.into_iter().collect()
}

/// The sub-query for several columns that an entry is.
fn multi(t: TargetEntry) -> Option<SubLink> {
    let link = t.expr().cast::<SubLink>().filter(|_| t.resjunk());
    link.filter(|s| s.sub_link_type() == SubLinkType::MULTIEXPR_SUBLINK)
}

/// Which sub-query's which column an expression assigns.
fn column_of_multi(e: Node) -> Option<(i32, i32)> {
    let mut found = None;
    e.walk(|n| match n.kind() {
        Kind::Param(p) if p.paramkind() == ParamKind::PARAM_MULTIEXPR => {
            found = Some((p.paramid() >> 16, p.paramid() & 0xffff));
            Visit::Stop
        }
        Kind::SubLink(_) => Visit::Skip,
        _ => Visit::Descend,
    });
    found
}

/// Rows that an operator compares become `ROW(...)::record`: without the cast, the text would mean that
/// their columns are compared, for which two NULLs are not equal, and a sub-query beside it would have
/// to have as many columns.
fn cast_rows(q: Query) {
    q.walk(|n| {
        if let Kind::OpExpr(op) = n.kind() {
            if op.args().iter().any(|a| matches!(a.kind(), Kind::RowExpr(_))) {
                op.set_args(op.args().iter().map(as_record).collect());
            }
        }
        Visit::Descend
    });
}

fn as_record(e: Node) -> Node {
    let Kind::RowExpr(row) = e.kind() else { return e };
    let record = row.shallow_copy();
    if row.row_typeid() != pg_sys::RECORDOID {
        // Nodes may not have the type, and its dropped columns are not compared.
        let dropped = lookup::dropped_fields(row.row_typeid());
        let live = |(i, _): &(usize, Node)| !dropped.contains(i);
        record.set_args(row.args().iter().enumerate().filter(live).map(|x| x.1).collect());
        record.set_colnames(List::EMPTY);
    }
    record.set_row_typeid(pg_sys::RECORDOID);
    record.set_row_format(CoercionForm::COERCE_EXPLICIT_CAST);
    record.node()
}

/// Makes the casts of VALUES visible. In the new rows of an INSERT each value is cast to its column's
/// type where it stands, and the text would leave such a cast away: the node would send another type.
fn say_types_of_values(q: Query) {
    let values = |e: &RangeTblEntry| e.rtekind() == RTEKind::RTE_VALUES;
    if q.command_type() != CmdType::CMD_SELECT {
        return;
    }
    let rows = q.rtable().iter().filter(values).flat_map(|e| e.values_lists().iter());
    let shown = CoercionForm::COERCE_EXPLICIT_CAST;
    let hidden = |f| f == CoercionForm::COERCE_IMPLICIT_CAST;
    for value in rows.flat_map(|row| row.list().iter()) {
        match value.kind() {
            Kind::FuncExpr(f) if hidden(f.funcformat()) => f.set_funcformat(shown),
            Kind::CoerceViaIO(c) if hidden(c.coerceformat()) => c.set_coerceformat(shown),
            _ => {}
        }
    }
}
