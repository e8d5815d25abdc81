//! Plans of statements that differ in their constants only.
//!
//! Clients without prepared statements send the same statement with other values again and again.
//! When a statement on one shard comes for the second time, its constants are made parameters and
//! the plan is kept, as the plan of a prepared statement would be; from then on a statement of
//! this shape needs no planning, no deparsing and no new texts for its tasks.
//!
//! What makes this safe:
//! - The text only finds candidates (`fingerprint`); a kept plan is used when the analyzed query,
//!   constants aside, is equal to the one that it was made for, node by node.
//! - Constants that decide more than a value stay constants and must be equal: NULLs, booleans
//!   (partial indexes), types with their own output, what SQL syntax or a length coercion needs.
//! - Nodes plan for the values of each execution, as they would for the statement with its
//!   constants. Only a statement that reaches at most one row through a unique key is prepared
//!   there, as no value could make another plan better.
//! - Everything is forgotten when metadata or definitions of objects change (`generation`).

use super::analyze::is_hash_equality;
use super::{is_flat, modify, pushdown, simplify, whole};
use crate::catalog;
use crate::error::Result;
use crate::pg::lookup;
use crate::pg::query::{
    CustomScan, KeptPlan, Kind, List, Node, Param, PlannedStmt, Query, RangeTblEntry, TargetEntry,
};
use crate::plan::Target;
use crate::settings;
use crate::stats::query;
use pgrx::pg_sys::{self, CmdType, CoercionForm, Oid, ParamKind, RTEKind};
use rustc_hash::{FxHashMap, FxHasher};
use std::cell::RefCell;
use std::hash::Hasher;

/// Texts that are remembered; more and all is forgotten.
const MAX_TEXTS: usize = 256;
/// Plans for one text: it may mean different things (other schemas, types of constants).
const MAX_PLANS: usize = 4;
/// Plans for all texts, some 10 kB each; more and all is forgotten.
const MAX_ALL_PLANS: usize = 256;
/// Attempts in vain, one after the other, until a text is given up.
const MAX_MISSES: u32 = 8;
/// Longer statements are mostly data.
const MAX_LENGTH: usize = 4096;
/// More constants are mostly data, too.
const MAX_CONSTANTS: usize = 64;

/// What is known about statements of one text, constants aside.
#[derive(Default)]
struct Known {
    plans: Vec<KeptPlan>,
    misses: u32,
}

#[derive(Default)]
struct Shapes {
    generation: u64,
    plans: usize,
    texts: FxHashMap<u64, Known>,
}

thread_local! {
    static SHAPES: RefCell<Shapes> = RefCell::default();
}

/// The plan of a statement whose shape is known or becomes known now.
pub fn plan(q: Query, text: &[u8]) -> Result<Option<PlannedStmt>> {
    let Some(print) = candidate(q, text) else { return Ok(None) };
    match look(print) {
        Look::New | Look::Hopeless => return Ok(None),
        Look::Known => {}
    }
    let Some((shape, constants)) = parametrize(q) else {
        give_up(print);
        return Ok(None);
    };
    let known = match find(print, shape) {
        Some(stmt) => Some(stmt),
        None => make(print, shape)?,
    };
    Ok(known.map(|stmt| finish(stmt, q, &constants)))
}

/// Whether a statement may have a kept plan, and the fingerprint of its text.
fn candidate(q: Query, source: &[u8]) -> Option<u64> {
    let verb: &[u8] = match q.command_type() {
        CmdType::CMD_SELECT => b"select",
        CmdType::CMD_INSERT => b"insert",
        CmdType::CMD_UPDATE => b"update",
        CmdType::CMD_DELETE => b"delete",
        _ => return None,
    };
    let start = usize::try_from(q.stmt_location()).ok()?;
    let text = source.get(start..)?;
    let text = match usize::try_from(q.stmt_len()).unwrap_or(0) {
        0 => text,
        n => text.get(..n)?,
    };
    let text = text.trim_ascii_start();
    // EXPLAIN, PREPARE, DECLARE and others bring the same query; they go the long way.
    let is_plain = text.len() <= MAX_LENGTH
        && text.get(..verb.len())?.eq_ignore_ascii_case(verb)
        && q.ctes().is_empty()
        && (q.command_type() != CmdType::CMD_INSERT || !has_rows(q))
        && !q.has_row_security()
        && q.with_check_options().is_empty()
        && settings::enable_fast_path_router_planner()
        && !query::wants_tenant();
    is_plain.then(|| fingerprint(text))
}

/// Whether an INSERT has a list of rows.
fn has_rows(q: Query) -> bool {
    q.rtable().iter().any(|r| r.rtekind() == RTEKind::RTE_VALUES)
}

/// A hash of a statement's text without numbers and strings.
fn fingerprint(text: &[u8]) -> u64 {
    let mut hash = FxHasher::default();
    let mut in_name = false;
    let mut bytes = text.iter().copied();
    while let Some(b) = bytes.next() {
        match b {
            b'\'' => {
                // A doubled quote ends one string and begins another: the same to the hash.
                bytes.by_ref().find(|c| *c == b'\'');
                in_name = false;
            }
            b'0'..=b'9' if !in_name => {}
            b'.' if !in_name => {}
            _ => {
                in_name = b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
                hash.write_u8(b);
            }
        }
    }
    hash.finish()
}

enum Look {
    /// Never seen; now it was.
    New,
    /// Worth trying.
    Known,
    /// It was tried often enough.
    Hopeless,
}

fn look(print: u64) -> Look {
    SHAPES.with(|s| {
        let mut s = s.borrow_mut();
        let generation = catalog::generation();
        let full = s.texts.len() > MAX_TEXTS || s.plans >= MAX_ALL_PLANS;
        if s.generation != generation || full {
            s.texts.clear();
            s.plans = 0;
            s.generation = generation;
        }
        match s.texts.get(&print) {
            None => {
                s.texts.insert(print, Known::default());
                Look::New
            }
            Some(k) if k.misses >= MAX_MISSES => Look::Hopeless,
            Some(_) => Look::Known,
        }
    })
}

fn with_known<R>(print: u64, f: impl FnOnce(&mut Known) -> R) -> Option<R> {
    SHAPES.with(|s| s.borrow_mut().texts.get_mut(&print).map(f))
}

fn give_up(print: u64) {
    with_known(print, |k| k.misses = MAX_MISSES);
}

fn find(print: u64, shape: Query) -> Option<PlannedStmt> {
    with_known(print, |k| {
        let found = k.plans.iter().find(|p| p.is_for(shape)).map(KeptPlan::plan);
        k.misses = if found.is_some() { 0 } else { k.misses + 1 };
        found
    })
    .flatten()
}

/// Plans a shape and keeps the plan, when it is one that runs as a whole on one shard.
fn make(print: u64, shape: Query) -> Result<Option<PlannedStmt>> {
    if with_known(print, |k| k.plans.len()).is_none_or(|n| n >= MAX_PLANS) {
        return Ok(None);
    }
    let Some(stmt) = plan_shape(shape.copy())? else {
        give_up(print);
        return Ok(None);
    };
    // Planning may have read catalogs and thereby learned of changes.
    let kept = KeptPlan::new(shape, stmt);
    if with_known(print, |k| k.plans.push(kept)).is_some() {
        SHAPES.with(|s| s.borrow_mut().plans += 1);
    }
    Ok(Some(stmt))
}

fn plan_shape(q: Query) -> Result<Option<PlannedStmt>> {
    let is_point = reaches_one_row(q);
    simplify(q);
    let stmt = match modify::target_of(q) {
        Some(table) => modify::whole(q, &table)?,
        None => pushdown::whole_query(q)?,
    };
    let Some(stmt) = stmt else { return Ok(None) };
    let scan: Option<CustomScan> = stmt.plan_tree().and_then(|p| p.node().cast());
    let Some(scan) = scan.filter(|s| s.custom_plans().is_empty()) else { return Ok(None) };
    let Some(mut plan) = whole::decode(scan.custom_private()) else { return Ok(None) };
    let Target::Shards { single: true, .. } = plan.target else { return Ok(None) };
    plan.prepare &= is_point;
    scan.set_custom_private(List::from([whole::encode(&plan)]));
    Ok(Some(stmt))
}

/// The plan for one execution: with the statement's own constants and place.
fn finish(stmt: PlannedStmt, q: Query, constants: &[Node]) -> PlannedStmt {
    let scan: Option<CustomScan> = stmt.plan_tree().and_then(|p| p.node().cast());
    if let Some(scan) = scan {
        let exprs = scan.custom_exprs().iter().map(|e| {
            e.mutate(|n| {
                let p = n.cast::<Param>().filter(|p| p.paramkind() == ParamKind::PARAM_EXTERN)?;
                let i = usize::try_from(p.paramid()).ok()?.checked_sub(1)?;
                constants.get(i).copied()
            })
        });
        scan.set_custom_exprs(exprs.collect());
    }
    stmt.set_query_id(q.query_id());
    stmt.set_can_set_tag(q.can_set_tag());
    stmt.set_stmt_location(q.stmt_location());
    stmt.set_stmt_len(q.stmt_len());
    stmt
}

// ---- constants --------------------------------------------------------------------------------

/// A copy of the query with parameters for its constants, and these; `None` when it has
/// parameters of its own, or no or too many constants.
fn parametrize(q: Query) -> Option<(Query, Vec<Node>)> {
    let is_param =
        |n: Node| matches!(n.kind(), Kind::Param(p) if p.paramkind() == ParamKind::PARAM_EXTERN);
    if q.node().contains(is_param) || repeats_group(q) {
        return None;
    }
    let mut constants = Vec::new();
    let shape: Query = q.node().mutate(|n| replace(n, &mut constants)).cast()?;
    let fits = !constants.is_empty() && constants.len() <= MAX_CONSTANTS;
    fits.then_some((shape, constants))
}

/// Whether an expression with constants that rows are grouped by is written again within another output,
/// or in HAVING: it would be the same no more when each of its constants is another parameter.
fn repeats_group(q: Query) -> bool {
    let own = |q: Query| {
        let groups = q.group_clause();
        let number = |t: TargetEntry| t.ressortgroupref();
        let is_group = |t: TargetEntry| {
            number(t) != 0 && groups.iter().any(|g| g.tle_sort_group_ref() == number(t))
        };
        let constant = |n: Node| matches!(n.kind(), Kind::Const(_));
        let written_again = |t: TargetEntry| {
            let same = |n: Node| n.equals(t.expr());
            let others = q.target_list().iter().filter(|o| number(*o) != number(t));
            q.having_qual().contains(same) || others.into_iter().any(|o| o.expr().contains(same))
        };
        let mut all = q.target_list().iter().filter(|t| is_group(*t));
        !groups.is_empty() && all.any(|t| t.expr().contains(constant) && written_again(t))
    };
    let inner = |n: Node| matches!(n.kind(), Kind::Query(inner) if own(inner));
    own(q) || (!is_flat(q) && q.node().contains(inner))
}

fn replace(n: Node, constants: &mut Vec<Node>) -> Option<Node> {
    match n.kind() {
        Kind::Const(c) if !c.constisnull() && is_plain(c.consttype()) => {
            let p = Param::new();
            constants.push(n);
            p.set_paramkind(ParamKind::PARAM_EXTERN);
            p.set_paramid(constants.len() as i32);
            p.set_paramtype(c.consttype());
            p.set_paramtypmod(n.typmod());
            p.set_paramcollid(n.collation());
            p.set_location(-1);
            Some(p.node())
        }
        // What is written as syntax (EXTRACT) or as a cast with a length needs its constants.
        Kind::FuncExpr(f) if f.funcformat() != CoercionForm::COERCE_EXPLICIT_CALL => {
            let copy = f.shallow_copy();
            let mut args: Vec<Node> = f.args().iter().collect();
            if let (Some(value), true) = (args.first_mut(), is_cast(f.funcformat())) {
                *value = value.mutate(|x| replace(x, constants));
            }
            copy.set_args(args.into_iter().collect());
            Some(copy.node())
        }
        // An index is inferred from its predicate's constants.
        Kind::OnConflictExpr(c) => {
            let copy = c.shallow_copy();
            let mut change = |x: Node| x.mutate(|y| replace(y, constants));
            copy.set_on_conflict_set(change(c.on_conflict_set().node()).list().of());
            copy.set_on_conflict_where(change(c.on_conflict_where()));
            Some(copy.node())
        }
        _ => None,
    }
}

fn is_cast(f: CoercionForm::Type) -> bool {
    f == CoercionForm::COERCE_EXPLICIT_CAST || f == CoercionForm::COERCE_IMPLICIT_CAST
}

/// Types whose constants are values and nothing else.
fn is_plain(t: Oid) -> bool {
    [
        pg_sys::INT2OID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::FLOAT4OID,
        pg_sys::FLOAT8OID,
        pg_sys::NUMERICOID,
        pg_sys::TEXTOID,
        pg_sys::VARCHAROID,
        pg_sys::BPCHAROID,
        pg_sys::BYTEAOID,
        pg_sys::UUIDOID,
        pg_sys::DATEOID,
        pg_sys::TIMEOID,
        pg_sys::TIMESTAMPOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
        pg_sys::JSONOID,
        pg_sys::JSONBOID,
    ]
    .contains(&t)
}

/// Whether at most one row is concerned, found through a unique key, whatever the values.
fn reaches_one_row(q: Query) -> bool {
    let tables: Vec<RangeTblEntry> = q.rtable().iter().collect();
    let [table] = tables.as_slice() else {
        // The target and what ON CONFLICT calls the excluded row.
        return q.command_type() == CmdType::CMD_INSERT && q.from_items().is_empty();
    };
    if q.command_type() == CmdType::CMD_INSERT {
        return q.from_items().is_empty();
    }
    if table.rtekind() != RTEKind::RTE_RELATION || q.has_sub_links() {
        return false;
    }
    let mut fixed = Vec::new();
    for n in q.quals().conjuncts() {
        let Kind::OpExpr(op) = n.kind() else { continue };
        let Some((a, b)) = op.pair() else { continue };
        if !is_hash_equality(op.opno(), op.inputcollid()) {
            continue;
        }
        for (column, value) in [(a, b), (b, a)] {
            let is_value = matches!(value.strip_relabel().kind(), Kind::Param(_) | Kind::Const(_));
            if let (Kind::Var(v), true) = (column.strip_alike().kind(), is_value) {
                fixed.push(v.varattno());
            }
        }
    }
    lookup::unique_keys(table.relid())
        .iter()
        .any(|key| key.iter().all(|attno| fixed.contains(attno)))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn constants_do_not_count() {
        let f = |s: &str| fingerprint(s.as_bytes());
        assert_eq!(f("SELECT v FROM t WHERE id = 5"), f("SELECT v FROM t WHERE id = 1234.5"));
        assert_eq!(f("SELECT 'it''s' FROM t1"), f("SELECT 'x' FROM t1"));
        assert_ne!(f("SELECT v FROM t1"), f("SELECT v FROM t2"));
        assert_ne!(f("SELECT v FROM t"), f("SELECT w FROM t"));
    }
}
