//! Conditions on `ctid` in statements that change rows.
//!
//! Each shard has places of its own, so a `ctid` does not stand for one row of a table with many
//! shards. Statements that take it for that (`DELETE ... WHERE ctid IN (SELECT ctid ... LIMIT n)`,
//! what other servers send for foreign tables) would change rows that nobody meant. They are refused
//! unless both sides of the comparison come from the same shard. Ranges between constants, by which
//! tools go through a table in pieces, mean the same on each shard.

use crate::catalog::{Kind as TableKind, Table};
use crate::error::{Error, Result};
use crate::pg::lookup;
use crate::pg::query::{Kind, List, Node, Query, Visit};
use crate::plan::Target;
use crate::planner::conditions;
use crate::planner::values::Values;
use pgrx::pg_sys::{self, Oid};
use std::rc::Rc;

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
    refuse_if(table.shards.len() > 1 && compares(q, &wrong) && !is_on_one_shard(q, table), table)
}

/// Whether conditions on the target alone leave one shard of it.
fn is_on_one_shard(q: Query, table: &Rc<Table>) -> bool {
    let foreign = |n: Node| match n.kind() {
        Kind::Var(v) => v.varno() != q.result_relation() || v.varlevelsup() != 0,
        k => matches!(k, Kind::SubLink(_)),
    };
    let own: Vec<Node> =
        q.quals().conjuncts().into_iter().filter(|c| !c.contains(foreign)).collect();
    let target = conditions::target(table, &own, &mut Values::default());
    matches!(target, Target::Shards { single: true, .. })
}

/// Refuses a statement that each shard group runs itself, when it compares the target's places
/// with what does not come from the shard.
pub fn check_pushed(q: Query, table: &Table, target: &Target) -> Result<()> {
    let many = matches!(target, Target::Shards { single: false, .. }) && table.shards.len() > 1;
    let wrong = |op: Oid, other: Node| !is_ordering(op) && is_given(other);
    refuse_if(many && compares(q, &wrong), table)
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

/// Whether the target's place is compared with something in a way that is asked for.
fn compares(q: Query, wrong: &dyn Fn(Oid, Node) -> bool) -> bool {
    in_query(q, q.result_relation(), 0, wrong)
}

fn in_query(q: Query, target: i32, level: u32, wrong: &dyn Fn(Oid, Node) -> bool) -> bool {
    let is_place = |n: Node| match n.strip_relabel().kind() {
        Kind::Var(v) => {
            v.varno() == target
                && v.varlevelsup() == level
                && v.varattno() == pg_sys::SelfItemPointerAttributeNumber as i16
        }
        _ => false,
    };
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
