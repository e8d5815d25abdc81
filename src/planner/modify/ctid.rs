//! Conditions on `ctid` in statements that change rows.
//!
//! Each shard has places of its own, so a `ctid` does not stand for one row of a table with many
//! shards. Statements that take it for that (`DELETE ... WHERE ctid IN (SELECT ctid ... LIMIT n)`,
//! what other servers send for foreign tables) would change rows that nobody meant. Where the places
//! come from a sub-query on the same table, it gives the shard with them ([`with_shards`]). Others are
//! refused unless both sides of the comparison come from the same shard. Ranges between constants, by
//! which tools go through a table in pieces, mean the same on each shard.

use crate::catalog::{Kind as TableKind, Table};
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{
    self, Kind, List, Node, Param, Query, SubLink, TargetEntry, Text, Var, Visit,
};
use crate::plan::{Prune, Target};
use crate::planner::values::Values;
use crate::planner::{conditions, cursor, scan};
use pgrx::pg_sys::{self, CmdType, Oid, ParamKind, RTEKind, SubLinkType};
use std::rc::Rc;

/// `=` of oid, in which the number of a shard travels.
const OID_EQUAL: u32 = 607;

/// Comparisons of places other than `=` and `<>`.
const ORDERING: [u32; 4] = [
    pg_sys::TIDLessOperator,
    pg_sys::TIDGreaterOperator,
    pg_sys::TIDLessEqOperator,
    pg_sys::TIDGreaterEqOperator,
];

/// Refuses a statement that compares the target's places and runs here, with rows of many shards.
pub fn check_here(q: Query, table: &Rc<Table>) -> Result<()> {
    let wrong = |op: Oid, other: Node| !is_ordering(op) || !is_given(other);
    if table.shards.len() < 2 || !compares(q, &wrong) || is_on_one_shard(q, table) {
        return Ok(());
    }
    let others = q.copy();
    let known = |n: Node| paired(n, q.result_relation(), table).map(|_| query::boolean(true));
    others.set_quals(q.quals().mutate(known));
    let all = super::is_replicated(table) || q.command_type() == CmdType::CMD_MERGE;
    refuse_if(compares(if all { q } else { others }, &wrong), table)
}

/// Whether conditions on the target alone leave one shard of it.
fn is_on_one_shard(q: Query, table: &Rc<Table>) -> bool {
    let foreign = |n: Node| match n.kind() {
        Kind::Var(v) => v.varno() != q.result_relation() || v.varlevelsup() != 0,
        k => matches!(k, Kind::SubLink(_)),
    };
    let all = q.quals().conjuncts();
    // A cursor's row has its shard with its place.
    if all.iter().any(|c| cursor::is_place(*c)) {
        return true;
    }
    let own: Vec<Node> = all.into_iter().filter(|c| !c.contains(foreign)).collect();
    let target = conditions::target(table, &own, Prune::All, &mut Values::default());
    matches!(target, Target::Shards { single: true, .. })
}

/// Refuses a statement that each shard group runs itself, when it compares the target's places
/// with what does not come from the shard.
pub fn check_pushed(q: Query, table: &Table, target: &Target) -> Result<()> {
    let many = matches!(target, Target::Shards { single: false, .. }) && table.shards.len() > 1;
    let wrong = |op: Oid, other: Node| !is_ordering(op) && is_given(other);
    refuse_if(many && compares(q, &wrong), table)
}

/// Lets the target's places be compared together with their shards, where they are compared with
/// those that a sub-query finds in the same table.
pub fn with_shards(q: Query, table: &Table) {
    if table.shards.len() < 2 || super::is_replicated(table) {
        return;
    }
    if let Some(from) = q.jointree() {
        let target = q.result_relation();
        from.set_quals(from.quals().mutate(|n| paired(n, target, table)));
    }
}

/// A comparison of the target's places with those of a sub-query, with their shards.
fn paired(n: Node, target: i32, table: &Table) -> Option<Node> {
    let equal = |op: Oid| u32::from(op) == pg_sys::TIDEqualOperator;
    let (link, kind) = match n.kind() {
        Kind::SubLink(l) if l.sub_link_type() == SubLinkType::ANY_SUBLINK => {
            let Kind::OpExpr(op) = l.testexpr().kind() else { return None };
            let (place, given) = op.pair()?;
            let fits = equal(op.opno()) && is_place(place, target, 0);
            (fits && given.cast::<Param>().is_some()).then_some((l, SubLinkType::ANY_SUBLINK))
        }
        Kind::OpExpr(op) if equal(op.opno()) => {
            let (a, b) = op.pair()?;
            let (place, other) = if is_place(a, target, 0) { (a, b) } else { (b, a) };
            let link = other.cast::<SubLink>().filter(|_| is_place(place, target, 0))?;
            let one = link.sub_link_type() == SubLinkType::EXPR_SUBLINK;
            one.then_some((link, SubLinkType::ROWCOMPARE_SUBLINK))
        }
        Kind::ScalarArrayOpExpr(op) if equal(op.opno()) && op.use_or() => {
            let link = op.args().at(1).cast::<SubLink>()?;
            let fits = is_place(op.args().at(0), target, 0);
            let array = link.sub_link_type() == SubLinkType::ARRAY_SUBLINK;
            (fits && array).then_some((link, SubLinkType::ANY_SUBLINK))
        }
        _ => None,
    }?;
    let places = link.subselect().cast::<Query>().and_then(|s| places_with_shards(s, table))?;
    let compared = |i: i32, op: u32, attno: i32, typ: Oid| {
        let own = query::var(target, attno as i16, typ, -1, Oid::INVALID).node();
        let args = List::from([own, column_of_link(i, typ)]);
        query::operator(Oid::from(op), pg_sys::BOOLOID, args)
    };
    let paired = SubLink::new();
    paired.set_sub_link_type(kind);
    paired.set_testexpr(query::and(&[
        compared(
            1,
            pg_sys::TIDEqualOperator,
            pg_sys::SelfItemPointerAttributeNumber,
            pg_sys::TIDOID,
        ),
        compared(2, OID_EQUAL, i32::from(super::SHARD_ATTRIBUTE), pg_sys::OIDOID),
    ]));
    paired.set_subselect(places.node());
    paired.set_location(-1);
    Some(paired.node())
}

/// What stands for a column of a sub-query in the comparison with it.
fn column_of_link(number: i32, typ: Oid) -> Node {
    let p = Param::new();
    p.set_paramkind(ParamKind::PARAM_SUBLINK);
    p.set_paramid(number);
    p.set_paramtype(typ);
    p.set_paramtypmod(-1);
    p.set_location(-1);
    p.node()
}

/// A query for places in the table that gives their shards too; `None` if it is another query, or
/// one that locks rows: rows of the target are locked while they are looked for, so two statements
/// that have locked rows for themselves would wait for each other.
fn places_with_shards(q: Query, table: &Table) -> Option<Query> {
    let simple = q.set_operations().is_none()
        && q.distinct_clause().is_empty()
        && q.group_clause().is_empty()
        && !q.has_aggs()
        && q.row_marks().is_empty();
    let visible: Vec<TargetEntry> = q.target_list().iter().filter(|t| !t.resjunk()).collect();
    let [place] = visible.as_slice() else { return None };
    let var = place.expr().cast::<Var>().filter(|v| simple && v.varlevelsup() == 0)?;
    let rte = q.entry(u32::try_from(var.varno()).ok()?)?;
    let of_table = rte.rtekind() == RTEKind::RTE_RELATION && rte.relid() == table.relid;
    if !of_table || var.varattno() != pg_sys::SelfItemPointerAttributeNumber as i16 {
        return None;
    }
    let q = q.copy();
    let none = Oid::INVALID;
    let shard = query::var(var.varno(), super::SHARD_ATTRIBUTE, pg_sys::OIDOID, -1, none).node();
    let mut list = List::EMPTY;
    for t in q.target_list().iter() {
        if t.resjunk() {
            t.set_resno(t.resno() + 1);
        }
        list.push(t);
        if !t.resjunk() {
            list.push(query::target_entry(shard, t.resno() + 1, Text::new("shard")));
        }
    }
    q.set_target_list(list);
    q.entry(var.varno() as u32)?.set_enrtuples(scan::BY_PLACE);
    Some(q)
}

fn refuse_if(wrong: bool, table: &Table) -> Result<()> {
    if !wrong || table.kind == TableKind::Reference {
        return Ok(());
    }
    let name = lookup::relation_names(table.relid).1;
    let key = table.key.as_ref().map(|k| lookup::column_name(table.relid, k.attno));
    let key = key.unwrap_or_default();
    Err(Error::unsupported(format!(
        "rows to change in distributed table \"{name}\" cannot be told by ctid"
    ))
    .detail("Each shard has places of its own, so a ctid does not stand for one row.")
    .hint(format!(
        "Use the primary key, or add a condition that fixes the distribution column \"{key}\".",
    )))
}

fn is_ordering(op: Oid) -> bool {
    ORDERING.contains(&u32::from(op))
}

/// Whether a value is the same for all rows and does not come from a query.
fn is_given(n: Node) -> bool {
    !n.contains(|n| match n.kind() {
        Kind::Param(p) => p.paramkind() == pg_sys::ParamKind::PARAM_SUBLINK,
        k => matches!(k, Kind::Var(_) | Kind::SubLink(_)),
    })
}

/// Whether something is the place of the row of an entry of the query `level` levels up.
fn is_place(n: Node, varno: i32, level: u32) -> bool {
    let place = pg_sys::SelfItemPointerAttributeNumber as i16;
    n.strip_relabel()
        .cast::<Var>()
        .is_some_and(|v| v.varno() == varno && v.varlevelsup() == level && v.varattno() == place)
}

/// Whether the target's place is compared with something in a way that is asked for.
fn compares(q: Query, wrong: &dyn Fn(Oid, Node) -> bool) -> bool {
    in_query(q, q.result_relation(), 0, wrong)
}

fn in_query(q: Query, target: i32, level: u32, wrong: &dyn Fn(Oid, Node) -> bool) -> bool {
    let is_place = |n: Node| is_place(n, target, level);
    let compared = |op: Oid, args: List<Node>| {
        args.len() == 2
            && (is_place(args.at(0)) && wrong(op, args.at(1))
                || is_place(args.at(1)) && wrong(op, args.at(0)))
    };
    let mut found = false;
    q.walk_parts(|n| {
        if found {
            return Visit::Stop;
        }
        let (here, inside) = match n.kind() {
            Kind::OpExpr(op) => (compared(op.opno(), op.args()), Visit::Descend),
            Kind::ScalarArrayOpExpr(op) => (compared(op.opno(), op.args()), Visit::Descend),
            Kind::Query(inner) => (in_query(inner, target, level + 1, wrong), Visit::Skip),
            _ => (false, Visit::Descend),
        };
        found = here;
        inside
    });
    found
}
