//! Long lists of values, of which each shard gets its own: `key IN (...)`, and OR over conditions that
//! compare the key with constants.
//!
//! In a conjunct of WHERE only truth matters, and in a shard a condition on another shard's value is
//! never true: it may as well be left out. The terms of such a list are put in order of their shards,
//! with marks between, and where these stand in the text the template has a choice.

use super::{deparse, ship, values};
use crate::catalog::{self, Kind as TableKind, Table};
use crate::error::{Error, Result};
use crate::pg::query::{self, Kind, List, Node, Query, ScalarArrayOpExpr, Visit};
use crate::plan::{Marked, Template};
use crate::planner::analyze::is_hash_equality;
use pgrx::pg_sys::{BoolExprType, ParamKind, RTEKind};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// Shorter lists are left as they are.
const LONG: usize = 16;

/// Marks the lists of a query (which is modified).
pub fn mark(q: Query) -> Vec<Marked> {
    let mut choices = Vec::new();
    mark_level(q, &mut choices);
    q.walk_parts(|n| {
        if let Kind::Query(inner) = n.kind() {
            mark_level(inner, &mut choices);
        }
        Visit::Descend
    });
    choices
}

fn mark_level(q: Query, choices: &mut Vec<Marked>) {
    let Some(from) = q.jointree() else { return };
    let quals = from.quals();
    if is_long(quals) {
        from.set_quals(marked(q, quals, choices));
    }
}

/// Numbers of the parameters that are lists of values of distribution columns, and nothing else. Like
/// the elements of a constant list, theirs are left out where they are of other shards: when it runs.
pub fn parameters(q: Query) -> FxHashSet<i32> {
    let mut lists: FxHashMap<i32, i64> = FxHashMap::default();
    let mut look = |q: Query| q.jointree().into_iter().for_each(|f| find(q, f.quals(), &mut lists));
    look(q);
    q.walk_parts(|n| {
        if let Kind::Query(inner) = n.kind() {
            look(inner);
        }
        Visit::Descend
    });
    if lists.is_empty() {
        return FxHashSet::default();
    }
    q.walk(|n| {
        // What is used elsewhere, too, is below zero in the end.
        let number = if is_value(n) { parameter(n) } else { None };
        if let Some(left) = number.and_then(|n| lists.get_mut(&n)) {
            *left -= 1;
        }
        Visit::Descend
    });
    lists.into_iter().filter(|(_, left)| *left == 0).map(|(n, _)| n).collect()
}

/// Counts the lists of a condition of which only the truth matters.
fn find(q: Query, n: Node, lists: &mut FxHashMap<i32, i64>) {
    match n.kind() {
        Kind::BoolExpr(b) if b.boolop() != BoolExprType::NOT_EXPR => {
            b.args().iter().for_each(|a| find(q, a, lists));
        }
        Kind::ScalarArrayOpExpr(op) => {
            let Some(number) = parameter(op.args().at(1)) else { return };
            if op.use_or()
                && is_hash_equality(op.opno(), op.inputcollid())
                && table_of_key(q, op.args().at(0)).is_some()
            {
                *lists.entry(number).or_default() += 1;
            }
        }
        _ => {}
    }
}

/// Whether a node is a parameter of the statement.
fn is_value(n: Node) -> bool {
    matches!(n.kind(), Kind::Param(p) if p.paramkind() == ParamKind::PARAM_EXTERN)
}

/// The number of the parameter that a list is, which may travel as text.
fn parameter(n: Node) -> Option<i32> {
    match n.strip_alike().kind() {
        Kind::Param(p) if is_value(p.node()) => Some(p.paramid()),
        Kind::CoerceViaIO(c) => parameter(c.arg()),
        _ => None,
    }
}

/// Whether a condition has a long list where only truth matters.
fn is_long(n: Node) -> bool {
    match n.kind() {
        Kind::BoolExpr(b) => match b.boolop() {
            BoolExprType::OR_EXPR => b.args().len() >= LONG || b.args().iter().any(is_long),
            BoolExprType::AND_EXPR => b.args().iter().any(is_long),
            _ => false,
        },
        Kind::ScalarArrayOpExpr(op) => {
            op.use_or() && matches!(op.args().at(1).kind(), Kind::Const(_))
        }
        _ => false,
    }
}

/// A condition with marks, where only truth matters.
fn marked(q: Query, n: Node, choices: &mut Vec<Marked>) -> Node {
    let terms = match n.kind() {
        Kind::BoolExpr(b) if b.boolop() == BoolExprType::OR_EXPR && b.args().len() >= LONG => {
            terms(q, b.args())
        }
        Kind::ScalarArrayOpExpr(op) => elements(q, op),
        _ => None,
    };
    match (terms, n.kind()) {
        // One part is for all shards that the statement runs on.
        (Some(terms), _) if terms.len() > 1 => with_marks(terms, choices),
        (_, Kind::BoolExpr(b)) if b.boolop() != BoolExprType::NOT_EXPR => {
            let copy = b.shallow_copy();
            copy.set_args(b.args().iter().map(|a| marked(q, a, choices)).collect());
            copy.node()
        }
        _ => n,
    }
}

/// Parts of a list: the terms that the same shards get.
type Parts = Vec<(Vec<u32>, Vec<Node>)>;

fn with_marks(parts: Parts, choices: &mut Vec<Marked>) -> Node {
    let mut args = Vec::new();
    let mut choice = Marked { marks: Vec::new(), shards: Vec::new() };
    let next = |args: &mut Vec<Node>, marks: &mut Vec<String>| {
        let token = deparse::token();
        args.push(query::text(&token));
        marks.push(format!("'{token}'"));
    };
    for (shards, terms) in parts {
        next(&mut args, &mut choice.marks);
        args.extend(terms);
        choice.shards.push(shards);
    }
    next(&mut args, &mut choice.marks);
    choices.push(choice);
    query::or(&args)
}

/// The terms of an OR by their shards; `None` when one of them may be true in any.
fn terms(q: Query, args: List<Node>) -> Option<Parts> {
    let mut parts: Parts = Vec::new();
    let mut known: FxHashMap<Vec<u32>, usize> = FxHashMap::default();
    for term in args.iter() {
        let class = ship::classify(term);
        // What has tables in it would be cut into pieces; what is volatile is called as often as before.
        if class.sublink || class.volatile {
            return None;
        }
        let shards = shards(q, term)?;
        let at = *known.entry(shards.clone()).or_insert_with(|| {
            parts.push((shards, Vec::new()));
            parts.len() - 1
        });
        parts.get_mut(at)?.1.push(term);
    }
    Some(parts)
}

/// Comparisons of the key with the elements of an array, each with those of a shard.
fn elements(q: Query, op: ScalarArrayOpExpr) -> Option<Parts> {
    let Kind::Const(array) = op.args().at(1).kind() else { return None };
    if !op.use_or() || !is_hash_equality(op.opno(), op.inputcollid()) {
        return None;
    }
    let table = table_of_key(q, op.args().at(0))?;
    let elements = array.value()?.elements()?;
    if elements.len() < LONG {
        return None;
    }
    let mut by_shard: FxHashMap<u32, Vec<_>> = FxHashMap::default();
    for e in elements {
        for shard in values::shard_of(&table, Some(e))? {
            by_shard.entry(shard).or_default().push(e);
        }
    }
    let mut parts: Vec<_> = by_shard.into_iter().collect();
    parts.sort_unstable_by_key(|(shard, _)| *shard);
    let one = |(shard, elements): (u32, Vec<_>)| {
        let copy = op.shallow_copy();
        let own = array.with_elements(&elements)?;
        copy.set_args(List::from([op.args().at(0), own.node()]));
        Some((vec![shard], vec![copy.node()]))
    };
    parts.into_iter().map(one).collect()
}

/// Shards in which a condition can be true, as far as it compares the key with constants.
fn shards(q: Query, n: Node) -> Option<Vec<u32>> {
    match n.kind() {
        Kind::OpExpr(op) if is_hash_equality(op.opno(), op.inputcollid()) => {
            let (a, b) = op.pair()?;
            let (key, value) = match b.strip_alike().kind() {
                Kind::Const(c) => (a, c),
                _ => match a.strip_alike().kind() {
                    Kind::Const(c) => (b, c),
                    _ => return None,
                },
            };
            values::shard_of(&*table_of_key(q, key)?, value.value())
        }
        Kind::ScalarArrayOpExpr(op) => {
            let Kind::Const(array) = op.args().at(1).kind() else { return None };
            if !op.use_or() || !is_hash_equality(op.opno(), op.inputcollid()) {
                return None;
            }
            values::shards_of_array(&*table_of_key(q, op.args().at(0))?, array.value())
        }
        Kind::BoolExpr(b) => match b.boolop() {
            BoolExprType::AND_EXPR => {
                let sets = b.args().iter().filter_map(|a| shards(q, a));
                sets.reduce(|a, b| a.into_iter().filter(|s| b.contains(s)).collect())
            }
            BoolExprType::OR_EXPR => {
                let sets: Option<Vec<_>> = b.args().iter().map(|a| shards(q, a)).collect();
                let mut all = sets?.concat();
                all.sort_unstable();
                all.dedup();
                Some(all)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The table whose distribution column an expression is.
fn table_of_key(q: Query, n: Node) -> Option<Rc<Table>> {
    let Kind::Var(v) = n.strip_alike().kind() else { return None };
    let rte = q.entry(u32::try_from(v.varno()).ok()?).filter(|_| v.varlevelsup() == 0)?;
    if rte.rtekind() != RTEKind::RTE_RELATION {
        return None;
    }
    let table = catalog::table(rte.relid())?;
    let is_key = table.key.as_ref().is_some_and(|k| k.attno == v.varattno());
    (is_key && table.kind == TableKind::Hash).then_some(table)
}

/// Puts the choices into the text.
pub fn cut(template: &mut Template, choices: &[Marked]) -> Result<()> {
    match choices.is_empty() || template.choose(choices, deparse::QUOTED_TOKEN) {
        true => Ok(()),
        false => Err(Error::internal("a list of values not found in deparsed query")),
    }
}
