//! Queries whose shard groups answer in parts that are combined here: sorted and cut results,
//! aggregates over all shards.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::aggregate::{self, Partial};
use super::analyze::{Analyzer, Part};
use super::pushdown::{self, Place};
use super::source;
use super::values::Values;
use super::whole;
use crate::error::Result;
use crate::pg::nodes;
use crate::plan::{Prune, Target};
use pgrx::pg_sys::{
    self, CmdType, List, Node, NodeTag, Oid, Query, SortGroupClause, TargetEntry, Var,
};

/// Rewrites a SELECT whose FROM and WHERE run on each shard group into a query over a source;
/// false when this rule does not apply (the query is unchanged then).
pub unsafe fn rewrite(q: *mut Query) -> Result<bool> {
    if (*q).commandType != CmdType::CMD_SELECT
        || (*q).hasModifyingCTE
        || !(*q).groupingSets.is_null()
    {
        return Ok(false);
    }
    // Everything is tried on the parts that are sent; the query itself changes at the end.
    if let Some(place) = top_place(q)? {
        return top(q, place);
    }
    if !(*q).setOperations.is_null() || upper_sublinks(q) {
        return Ok(false);
    }
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, false);
    let Ok(part) = a.top_from(q) else { return Ok(false) };
    if part.anchor.is_none() {
        return Ok(false);
    }
    if (*q).hasAggs || !(*q).groupClause.is_null() || !(*q).havingQual.is_null() {
        let keys = a.key_columns(q, &part);
        if aggregates(q, &part, &keys)? {
            return Ok(true);
        }
    }
    if nodes::len((*q).rtable) > 1 {
        return joined(q, &part);
    }
    Ok(false)
}

fn target(part: &Part) -> Target {
    let anchor = part.anchor.as_ref().map_or(0, |t| u32::from(t.relid));
    let prune = part.prune.clone().unwrap_or(Prune::All);
    let single = prune.is_single();
    Target::Shards { anchor, prune, single }
}

/// Sub-queries outside FROM and WHERE, which could refer to what is replaced.
unsafe fn upper_sublinks(q: *mut Query) -> bool {
    let has = |n: *mut Node| {
        nodes::walk(n, &mut |x| {
            if nodes::tag(x) == NodeTag::T_SubLink {
                nodes::Visit::Stop
            } else {
                nodes::Visit::Descend
            }
        })
    };
    (*q).hasSubLinks && (has((*q).targetList as *mut Node) || has((*q).havingQual))
}

// ---- sorted, distinct and cut results ---------------------------------------------------------

/// Where the query could run without its DISTINCT, ORDER BY and LIMIT.
unsafe fn top_place(q: *mut Query) -> Result<Option<Place>> {
    if (*q).sortClause.is_null()
        && (*q).limitCount.is_null()
        && (*q).limitOffset.is_null()
        && (*q).distinctClause.is_null()
    {
        return Ok(None);
    }
    let bare = nodes::copy(q);
    (*bare).sortClause = std::ptr::null_mut();
    (*bare).limitCount = std::ptr::null_mut();
    (*bare).limitOffset = std::ptr::null_mut();
    (*bare).distinctClause = std::ptr::null_mut();
    (*bare).hasDistinctOn = false;
    pushdown::place(bare)
}

unsafe fn top(q: *mut Query, place: Place) -> Result<bool> {
    let inner = nodes::copy(q);
    // Hidden sort columns are ordinary columns of the part.
    for t in nodes::iter::<TargetEntry>((*inner).targetList) {
        (*t).resjunk = false;
    }
    let limited = !(*q).limitCount.is_null() || !(*q).limitOffset.is_null();
    (*inner).limitCount = rows_needed(q);
    (*inner).limitOffset = std::ptr::null_mut();
    if (*inner).limitCount.is_null() && !(*inner).hasDistinctOn {
        (*inner).sortClause = std::ptr::null_mut();
    }
    let (plan, values) = pushdown::dist_plan(inner, place)?;
    let rte = source::entry(&plan, values.exprs(), (*inner).targetList)?;
    let mut tlist: *mut List = std::ptr::null_mut();
    for (i, t) in nodes::iter::<TargetEntry>((*q).targetList).enumerate() {
        let out: *mut TargetEntry = nodes::copy(t);
        let v = whole::var_like(1, i as i16 + 1, (*t).expr as *mut Node);
        (*out).expr = v as *mut pg_sys::Expr;
        tlist = pg_sys::lappend(tlist, out as *mut _);
    }
    source::read_from(q, rte, tlist);
    (*q).groupClause = std::ptr::null_mut();
    (*q).havingQual = std::ptr::null_mut();
    (*q).windowClause = std::ptr::null_mut();
    (*q).hasAggs = false;
    (*q).hasWindowFuncs = false;
    (*q).hasSubLinks = limited;
    Ok(true)
}

/// LIMIT + OFFSET, which is how many rows of each part can be among the result.
unsafe fn rows_needed(q: *mut Query) -> *mut Node {
    if (*q).limitCount.is_null() {
        return std::ptr::null_mut();
    }
    let has_null = |n: *mut Node| {
        nodes::cast::<pg_sys::Const>(n, NodeTag::T_Const).is_some_and(|c| (*c).constisnull)
    };
    if has_null((*q).limitCount) || super::ship::classify((*q).limitCount).sublink {
        return std::ptr::null_mut();
    }
    let count: *mut Node = nodes::copy((*q).limitCount);
    if (*q).limitOffset.is_null() || has_null((*q).limitOffset) {
        return count;
    }
    if super::ship::classify((*q).limitOffset).sublink {
        return std::ptr::null_mut();
    }
    let sum = pg_sys::makeFuncExpr(
        Oid::from(pg_sys::F_INT8PL),
        pg_sys::INT8OID,
        nodes::list([count, nodes::copy((*q).limitOffset)]),
        Oid::INVALID,
        Oid::INVALID,
        pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
    );
    super::fold(sum as *mut Node)
}

// ---- aggregates -------------------------------------------------------------------------------

/// Columns of the part that is sent.
struct Columns {
    list: *mut List,
    groups: *mut List,
    exprs: Vec<*mut Node>,
}

impl Columns {
    /// Number of an output column for an expression, added when new.
    unsafe fn add(&mut self, e: *mut Node) -> i16 {
        if let Some(i) = self.exprs.iter().position(|x| nodes::equal(*x, e)) {
            return i as i16 + 1;
        }
        let n = self.exprs.len() as i16 + 1;
        let t = pg_sys::makeTargetEntry(
            nodes::copy(e) as *mut pg_sys::Expr,
            n,
            nodes::pstr(&format!("c{n}")),
            false,
        );
        self.list = pg_sys::lappend(self.list, t as *mut _);
        self.exprs.push(e);
        n
    }

    /// Makes column `n` a grouping column of the part.
    unsafe fn group(&mut self, n: i16, like: *mut SortGroupClause) {
        let t: *mut TargetEntry = nodes::nth(self.list, n as usize - 1);
        if (*t).ressortgroupref != 0 {
            return;
        }
        (*t).ressortgroupref = n as u32;
        let g = nodes::copy(like);
        (*g).tleSortGroupRef = n as u32;
        self.groups = pg_sys::lappend(self.groups, g as *mut _);
    }
}

unsafe fn aggregates(q: *mut Query, part: &Part, keys: &[*mut Node]) -> Result<bool> {
    let mut columns =
        Columns { list: std::ptr::null_mut(), groups: std::ptr::null_mut(), exprs: Vec::new() };
    let mut groups: Vec<(*mut Node, i16)> = Vec::new();
    for c in nodes::iter::<SortGroupClause>((*q).groupClause) {
        let e = pg_sys::get_sortgroupclause_expr(c, (*q).targetList);
        let class = super::ship::classify(e);
        if class.volatile || class.srf || !pushdown::expression_ships(e) {
            return Ok(false);
        }
        let n = columns.add(e);
        columns.group(n, c);
        groups.push((e, n));
    }
    let mut failed = false;
    let mut change = |n: *mut Node| -> Option<*mut Node> {
        if failed {
            return Some(n);
        }
        if let Some((_, c)) = groups.iter().find(|(g, _)| nodes::equal(*g, n)) {
            return Some(whole::var_like(1, *c, n) as *mut Node);
        }
        match nodes::tag(n) {
            NodeTag::T_Aggref => {
                let agg = n as *mut pg_sys::Aggref;
                match aggregate::split(agg, keys) {
                    Some(p) => Some(combined(agg, p, &mut columns)),
                    None => {
                        failed = true;
                        Some(n)
                    }
                }
            }
            NodeTag::T_Var => {
                // Determined by the grouping columns: the same in every row of a group.
                match extra_group(q, n as *mut Var, &mut columns) {
                    Some(v) => Some(v),
                    None => {
                        failed = true;
                        Some(n)
                    }
                }
            }
            NodeTag::T_GroupingFunc => {
                failed = true;
                Some(n)
            }
            _ => None,
        }
    };
    let mut tlist: *mut List = std::ptr::null_mut();
    for t in nodes::iter::<TargetEntry>((*q).targetList) {
        let out: *mut TargetEntry = nodes::copy(t);
        (*out).expr = nodes::mutate((*t).expr, &mut change);
        tlist = pg_sys::lappend(tlist, out as *mut _);
    }
    let having = nodes::mutate((*q).havingQual, &mut change);
    if failed || !columns.exprs.iter().all(|e| pushdown::is_transportable(pg_sys::exprType(*e))) {
        return Ok(false);
    }
    if columns.exprs.is_empty() {
        columns.add(pg_sys::makeBoolConst(true, false));
    }
    let inner = part_query(q, columns.list);
    (*inner).groupClause = columns.groups;
    (*inner).hasAggs = nodes::walk(columns.list as *mut Node, &mut |n| {
        if nodes::tag(n) == NodeTag::T_Aggref {
            nodes::Visit::Stop
        } else {
            nodes::Visit::Descend
        }
    });
    let rte = send(inner, part, if groups.is_empty() { 1.0 } else { 200.0 })?;
    source::read_from(q, rte, tlist);
    (*q).havingQual = having;
    (*q).hasSubLinks = false;
    (*q).hasAggs = true;
    Ok(true)
}

/// The FROM and WHERE of a query with other outputs.
unsafe fn part_query(q: *mut Query, tlist: *mut List) -> *mut Query {
    let inner: *mut Query = nodes::make(NodeTag::T_Query);
    (*inner).commandType = CmdType::CMD_SELECT;
    (*inner).canSetTag = true;
    (*inner).rtable = nodes::copy((*q).rtable);
    (*inner).jointree = nodes::copy((*q).jointree);
    (*inner).cteList = nodes::copy((*q).cteList);
    (*inner).hasSubLinks = (*q).hasSubLinks;
    (*inner).hasRecursive = (*q).hasRecursive;
    (*inner).targetList = tlist;
    inner
}

unsafe fn send(inner: *mut Query, part: &Part, rows: f64) -> Result<*mut pg_sys::RangeTblEntry> {
    // The pruning of the analysis refers to its values; they are found again for the part.
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, false);
    let again = a.top_from(inner).unwrap_or_else(|_| part.clone());
    let rows = rows * part.anchor.as_ref().map_or(1.0, |t| t.shards.len() as f64);
    let place = Place { target: target(&again), values, rows };
    let (plan, values) = pushdown::dist_plan(inner, place)?;
    source::entry(&plan, values.exprs(), (*inner).targetList)
}

/// A column that the grouping columns determine.
unsafe fn extra_group(q: *mut Query, v: *mut Var, columns: &mut Columns) -> Option<*mut Node> {
    if (*v).varlevelsup != 0 || (*q).constraintDeps.is_null() || (*v).varattno <= 0 {
        return None;
    }
    let n = columns.add(v as *mut Node);
    let (mut lt, mut eq, mut gt, mut hashable) = (Oid::INVALID, Oid::INVALID, Oid::INVALID, false);
    pg_sys::get_sort_group_operators(
        (*v).vartype,
        false,
        false,
        false,
        &mut lt,
        &mut eq,
        &mut gt,
        &mut hashable,
    );
    if eq == Oid::INVALID {
        return None;
    }
    let c: *mut SortGroupClause = nodes::make(NodeTag::T_SortGroupClause);
    (*c).eqop = eq;
    (*c).sortop = lt;
    (*c).hashable = hashable;
    columns.group(n, c);
    Some(whole::var_like(1, n, v as *mut Node) as *mut Node)
}

/// The expression over partial results that stands for an aggregate.
unsafe fn combined(agg: *mut pg_sys::Aggref, p: Partial, columns: &mut Columns) -> *mut Node {
    let vars: Vec<*mut Node> = p
        .columns
        .iter()
        .map(|e| {
            let n = columns.add(*e);
            whole::var_like(1, n, *e) as *mut Node
        })
        .collect();
    (p.combine)(agg, &vars)
}

// ---- joins ------------------------------------------------------------------------------------

/// The join itself is sent, everything above it happens here.
unsafe fn joined(q: *mut Query, part: &Part) -> Result<bool> {
    let mut columns =
        Columns { list: std::ptr::null_mut(), groups: std::ptr::null_mut(), exprs: Vec::new() };
    let mut failed = false;
    let mut change = |n: *mut Node| -> Option<*mut Node> {
        let v = nodes::cast::<Var>(n, NodeTag::T_Var)?;
        if (*v).varlevelsup != 0 || (*v).varattno <= 0 {
            failed = true;
            return Some(n);
        }
        let c = columns.add(n);
        Some(whole::var_like(1, c, n) as *mut Node)
    };
    let mut tlist: *mut List = std::ptr::null_mut();
    for t in nodes::iter::<TargetEntry>((*q).targetList) {
        let out: *mut TargetEntry = nodes::copy(t);
        (*out).expr = nodes::mutate((*t).expr, &mut change);
        tlist = pg_sys::lappend(tlist, out as *mut _);
    }
    let having = nodes::mutate((*q).havingQual, &mut change);
    if failed || !(*q).rowMarks.is_null() {
        return Ok(false);
    }
    if columns.exprs.is_empty() {
        columns.add(pg_sys::makeBoolConst(true, false));
    }
    if !columns.exprs.iter().all(|e| pushdown::is_transportable(pg_sys::exprType(*e))) {
        return Ok(false);
    }
    let inner = part_query(q, columns.list);
    let rte = send(inner, part, 1000.0)?;
    let windows = (*q).hasWindowFuncs;
    let srfs = (*q).hasTargetSRFs;
    source::read_from(q, rte, tlist);
    (*q).havingQual = having;
    (*q).hasWindowFuncs = windows;
    (*q).hasTargetSRFs = srfs;
    (*q).hasSubLinks = false;
    Ok(true)
}
