//! Correlated scalar aggregates as joins.
//!
//! `x > (SELECT f(agg(y)) FROM t WHERE t.a = outer.b AND ...)` would run the sub-query once per
//! outer row, each time over all shards. It is the same as a join with the sub-query grouped by
//! what it is correlated on: a group that is missing gives NULL there, and a strict comparison
//! with NULL is not true, which is what the inner join says by the missing row.

use super::analyze::is_hash_equality;
use crate::pg::lookup;
use crate::pg::query::{
    self, Kind, List, Node, OpExpr, Query, SortGroupClause, SubLink, TargetEntry, Text,
};
use pgrx::pg_sys::{CmdType, RTEKind, SubLinkType};

/// Rewrites what can be rewritten in the WHERE clause of a query.
pub fn rewrite(q: Query) {
    if !q.has_sub_links() || q.jointree().is_none() || q.command_type() != CmdType::CMD_SELECT {
        return;
    }
    let quals = q.quals().conjuncts();
    let mut changed = false;
    let mut out: Vec<Node> = Vec::new();
    for c in quals {
        match comparison(c) {
            Some((op, i, link)) => match grouped(q, link) {
                Some((var, joins)) => {
                    let new = op.copy();
                    new.args().set(i, var);
                    out.push(new.node());
                    out.extend(joins);
                    changed = true;
                }
                None => out.push(c),
            },
            None => out.push(c),
        }
    }
    if changed {
        q.set_quals(query::and_or_true(&out));
    }
}

/// A strict comparison with a scalar sub-query as one side: which side, and the sub-query.
fn comparison(c: Node) -> Option<(OpExpr, usize, SubLink)> {
    let op = c.cast::<OpExpr>()?;
    op.set_function();
    if op.args().len() != 2 || !lookup::is_strict(op.opfuncid()) {
        return None;
    }
    let side = |i: usize| {
        let link = op.args().at(i).cast::<SubLink>()?;
        (link.sub_link_type() == SubLinkType::EXPR_SUBLINK).then_some(link)
    };
    let (i, link) = side(0).map(|s| (0, s)).or_else(|| side(1).map(|s| (1, s)))?;
    let other = op.args().at(1 - i);
    (!has_sublink(other)).then_some((op, i, link))
}

fn has_sublink(n: Node) -> bool {
    n.contains(|x| matches!(x.kind(), Kind::SubLink(_)))
}

/// Levels that an expression's columns belong to: (own, directly outer, further out).
fn levels(n: Node) -> (bool, bool, bool) {
    let found = |level| n.has_vars_of_level(level);
    (found(0), found(1), (2..8).any(found))
}

/// Adds the sub-query, grouped, to the FROM list: its value as a column, and the join conditions.
fn grouped(q: Query, link: SubLink) -> Option<(Node, Vec<Node>)> {
    let s = link.subselect().copy().cast::<Query>()?;
    let tle = s.target_list().get(0)?;
    if !is_plain_aggregate(s) || s.target_list().len() != 1 || !null_on_empty(tle.expr()) {
        return None;
    }
    let (mut keep, mut pairs) = (Vec::new(), Vec::new());
    for c in s.quals().conjuncts() {
        match levels(c) {
            (_, false, false) => keep.push(c),
            (_, _, true) => return None,
            _ => pairs.push(equality(c)?),
        }
    }
    if pairs.is_empty() || keep.iter().any(|k| has_sublink(*k) && levels(*k).1) {
        return None;
    }
    s.set_quals(query::and_or_true(&keep));
    if (1..8).any(|l| s.node().has_vars_of_level(l)) {
        return None;
    }
    let mut joins = Vec::new();
    let rti = q.rtable().len() as i32 + 1;
    for (i, (op, inner, outer)) in pairs.iter().enumerate() {
        let n = i as i16 + 2;
        let t = group_column(s, *inner, n)?;
        s.set_target_list(s.target_list().with(t));
        outer.shift_levels(-1, 1);
        let new = op.copy();
        let var = query::var_like(rti, n, *inner);
        new.set_args(if op.args().at(0).equals(*inner) {
            List::from([var, *outer])
        } else {
            List::from([*outer, var])
        });
        joins.push(new.node());
    }
    let value = query::var_like(rti, 1, tle.expr());
    add_entry(q, s, rti);
    Some((value, joins))
}

fn is_plain_aggregate(s: Query) -> bool {
    s.command_type() == CmdType::CMD_SELECT
        && s.has_aggs()
        && s.group_clause().is_empty()
        && s.grouping_sets().is_empty()
        && s.having_qual().is_none()
        && s.ctes().is_empty()
        && s.set_operations().is_none()
        && s.limit_count().is_none()
        && s.limit_offset().is_none()
        && s.distinct_clause().is_empty()
        && s.window_clause().is_empty()
        && !s.has_target_srfs()
        && s.row_marks().is_empty()
}

/// Whether an expression over aggregates is NULL when there are no rows.
fn null_on_empty(n: Node) -> bool {
    let strict = |function, args: List<Node>| {
        lookup::is_strict(function) && args.iter().any(null_on_empty) && !n.is_volatile()
    };
    match n.kind() {
        Kind::Aggref(a) => {
            let name = lookup::function_name(a.aggfnoid());
            a.agglevelsup() == 0 && matches!(name.as_str(), "sum" | "avg" | "min" | "max")
        }
        Kind::OpExpr(op) => {
            op.set_function();
            strict(op.opfuncid(), op.args())
        }
        Kind::FuncExpr(f) => strict(f.funcid(), f.args()),
        Kind::RelabelType(r) => null_on_empty(r.arg()),
        _ => false,
    }
}

/// `inner = outer` with the columns of one level on each side.
fn equality(c: Node) -> Option<(OpExpr, Node, Node)> {
    let op = c.cast::<OpExpr>()?;
    let (a, b) = op.pair()?;
    if !is_hash_equality(op.opno(), op.inputcollid()) {
        return None;
    }
    if has_sublink(c) || c.is_volatile() {
        return None;
    }
    match (levels(a), levels(b)) {
        ((true, false, false), (false, true, false)) => Some((op, a, b)),
        ((false, true, false), (true, false, false)) => Some((op, b, a)),
        _ => None,
    }
}

/// A grouping column of the sub-query.
fn group_column(s: Query, e: Node, n: i16) -> Option<TargetEntry> {
    let g = SortGroupClause::for_type(e.typ())?;
    g.set_tle_sort_group_ref(n as u32);
    let t = query::target_entry(e.copy(), n, Text::new(&format!("key{n}")));
    t.set_ressortgroupref(n as u32);
    s.set_group_clause(s.group_clause().with(g));
    Some(t)
}

fn add_entry(q: Query, s: Query, rti: i32) {
    let rte = query::from_item(RTEKind::RTE_SUBQUERY);
    rte.set_subquery(Some(s));
    let mut names = List::EMPTY;
    for t in s.target_list().iter() {
        if t.resname().is_none() {
            t.set_resname(Text::new("value"));
        }
        names.push(query::string(&t.resname().to_string()));
    }
    rte.set_eref(Some(query::alias(&format!("citus_group_{rti}"), names)));
    q.set_rtable(q.rtable().with(rte));
    if let Some(from) = q.jointree() {
        from.set_fromlist(from.fromlist().with(query::range_ref(rti)));
    }
}
