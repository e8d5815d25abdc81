//! Shards of the rows that conditions on a single table leave.

use super::analyze::is_hash_equality;
use super::ship;
use super::values::{self, Values};
use crate::catalog::{Kind as TableKind, Table};
use crate::pg::query::{Kind, Node};
use crate::plan::{Prune, Target};
use pgrx::pg_sys::BoolExprType;
use std::rc::Rc;

/// Where a query on one table with these conditions, within the shards of `among`, runs.
pub fn target(table: &Rc<Table>, quals: &[Node], among: Prune, values: &mut Values) -> Target {
    let anchor = u32::from(table.relid);
    if table.kind == TableKind::Reference {
        return Target::AnyReplica { anchor };
    }
    let mut prune = if table.key.is_none() { Prune::Fixed(vec![0]) } else { among };
    for q in quals {
        prune = prune.and(prune_one(table, *q, values));
    }
    let single = prune.is_single();
    Target::Shards { anchor, prune, single }
}

/// Shards of a condition.
fn prune_one(table: &Table, node: Node, values: &mut Values) -> Prune {
    let Some(key) = table.key.as_ref() else { return Prune::All };
    let is_key =
        |n: Node| matches!(n.strip_alike().kind(), Kind::Var(v) if v.varattno() == key.attno);
    match node.kind() {
        Kind::OpExpr(op) => {
            let Some((a, b)) = op.pair() else { return Prune::All };
            if !is_hash_equality(op.opno(), op.inputcollid()) {
                return Prune::All;
            }
            if is_key(a) {
                value_prune(table, b, values)
            } else if is_key(b) {
                value_prune(table, a, values)
            } else {
                Prune::All
            }
        }
        Kind::ScalarArrayOpExpr(op) => {
            let (a, array) = (op.args().at(0), op.args().at(1).strip_relabel());
            let known = matches!(array.kind(), Kind::Const(_));
            if !op.use_or()
                || !is_key(a)
                || !is_hash_equality(op.opno(), op.inputcollid())
                || !known
            {
                return Prune::All;
            }
            values::prune_array(table, array, values)
        }
        Kind::BoolExpr(b) => {
            let args = b.args().iter();
            match b.boolop() {
                BoolExprType::AND_EXPR => {
                    args.fold(Prune::All, |p, n| p.and(prune_one(table, n, values)))
                }
                BoolExprType::OR_EXPR => {
                    args.fold(Prune::Fixed(vec![]), |p, n| p.or(prune_one(table, n, values)))
                }
                _ => Prune::All,
            }
        }
        _ => Prune::All,
    }
}

/// Values of outer plan nodes are parameters like those from outside; read at each start.
fn value_prune(table: &Table, value: Node, values: &mut Values) -> Prune {
    if ship::classify(value).is_value() {
        return values::prune_value(table, value, values);
    }
    Prune::All
}
