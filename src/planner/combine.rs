//! Queries whose shard groups answer in parts that are combined here: sorted and cut results,
//! aggregates over all shards.

use super::aggregate::{self, Partial};
use super::analyze::{Analyzer, Part};
use super::order;
use super::pushdown::{self, Place};
use super::source;
use super::values::Values;
use crate::error::Result;
use crate::pg::query::{
    self, Aggref, Kind, List, Node, Query, RangeTblEntry, SortGroupClause, TargetEntry, Text, Var,
};
use crate::plan::{Prune, Target};
use pgrx::pg_sys::{self, CmdType, CoercionForm, NodeTag, Oid};

/// Rewrites a SELECT whose FROM and WHERE run on each shard group into a query over a source;
/// false when this rule does not apply (the query is unchanged then).
pub fn rewrite(q: Query) -> Result<bool> {
    if q.command_type() != CmdType::CMD_SELECT
        || q.has_modifying_cte()
        || !q.grouping_sets().is_empty()
    {
        return Ok(false);
    }
    // An order that is written down goes to the nodes, with the LIMIT above it.
    order::write_down(q);
    // Everything is tried on the parts that are sent; the query itself changes at the end.
    if let Some(place) = top_place(q)? {
        return top(q, place);
    }
    if q.set_operations().is_some() || upper_sublinks(q) {
        return Ok(false);
    }
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, false);
    let Ok(part) = a.top(q) else { return Ok(false) };
    if part.anchor.is_none() {
        return Ok(false);
    }
    if q.has_aggs() || !q.group_clause().is_empty() || q.having_qual().is_some() {
        let keys = a.key_columns(q, &part);
        if aggregates(q, &part, &keys)? {
            return Ok(true);
        }
    }
    if q.rtable().len() > 1 && !order::is_of_source(q) {
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
fn upper_sublinks(q: Query) -> bool {
    let has = |n: Node| n.contains(|x| matches!(x.kind(), Kind::SubLink(_)));
    q.has_sub_links() && (has(q.target_list().node()) || has(q.having_qual()))
}

// ---- sorted, distinct and cut results ---------------------------------------------------------

/// Where the query could run without its DISTINCT, ORDER BY and LIMIT.
fn top_place(q: Query) -> Result<Option<Place>> {
    if q.sort_clause().is_empty()
        && q.limit_count().is_none()
        && q.limit_offset().is_none()
        && q.distinct_clause().is_empty()
    {
        return Ok(None);
    }
    // What they are sorted by comes back, too.
    if !q.target_list().iter().all(|t| pushdown::is_transportable(t.expr().typ())) {
        return Ok(None);
    }
    let bare = q.copy();
    bare.set_sort_clause(List::EMPTY);
    bare.set_limit_count(Node::NONE);
    bare.set_limit_offset(Node::NONE);
    bare.set_distinct_clause(List::EMPTY);
    bare.set_has_distinct_on(false);
    // An order of its own replaces what order the rows have.
    match q.sort_clause().is_empty() {
        true => pushdown::place(bare),
        false => pushdown::unordered_place(bare),
    }
}

fn top(q: Query, place: Place) -> Result<bool> {
    let inner = q.copy();
    // Hidden sort columns are ordinary columns of the part.
    for t in inner.target_list().iter() {
        t.set_resjunk(false);
    }
    let limited = q.limit_count().is_some() || q.limit_offset().is_some();
    inner.set_limit_count(rows_needed(q));
    inner.set_limit_offset(Node::NONE);
    if inner.limit_count().is_none() && !inner.has_distinct_on() {
        inner.set_sort_clause(List::EMPTY);
    }
    let (plan, values) = pushdown::dist_plan(inner, place)?;
    let rte = source::entry(&plan, values.exprs(), inner.target_list())?;
    let mut tlist = List::EMPTY;
    for (i, t) in q.target_list().iter().enumerate() {
        let out = t.copy();
        out.set_expr(query::var_like(1, i as i16 + 1, t.expr()));
        tlist.push(out);
    }
    source::read_from(q, rte, tlist);
    q.set_group_clause(List::EMPTY);
    q.set_having_qual(Node::NONE);
    q.set_window_clause(List::EMPTY);
    q.set_has_aggs(false);
    q.set_has_window_funcs(false);
    q.set_has_sub_links(limited);
    Ok(true)
}

/// LIMIT + OFFSET, which is how many rows of each part can be among the result; no node when
/// that is all of them, or not known.
fn rows_needed(q: Query) -> Node {
    let (count, offset) = (q.limit_count(), q.limit_offset());
    let is_null = |n: Node| matches!(n.kind(), Kind::Const(c) if c.constisnull());
    if count.is_none() || is_null(count) || super::ship::classify(count).sublink {
        return Node::NONE;
    }
    if offset.is_none() || is_null(offset) {
        return count.copy();
    }
    if super::ship::classify(offset).sublink {
        return Node::NONE;
    }
    // The sum is no more than the largest number, which is all rows.
    let call = |f: u32, a: Node, b: Node| {
        let form = CoercionForm::COERCE_EXPLICIT_CALL;
        query::call(Oid::from(f), pg_sys::INT8OID, List::from([a, b]), form).node()
    };
    let skipped = call(pg_sys::F_INT8LARGER, offset.copy(), query::int8(0));
    let most = call(pg_sys::F_INT8MI, query::int8(i64::MAX), skipped);
    let count = call(pg_sys::F_INT8SMALLER, count.copy(), most);
    super::fold(call(pg_sys::F_INT8PL, count, offset.copy()))
}

// ---- aggregates -------------------------------------------------------------------------------

/// Columns of the part that is sent.
struct Columns {
    list: List<TargetEntry>,
    groups: List<SortGroupClause>,
    exprs: Vec<Node>,
}

impl Columns {
    fn new() -> Self {
        Columns { list: List::EMPTY, groups: List::EMPTY, exprs: Vec::new() }
    }

    /// Number of an output column for an expression, added when new.
    fn add(&mut self, e: Node) -> i16 {
        if let Some(i) = self.exprs.iter().position(|x| x.equals(e)) {
            return i as i16 + 1;
        }
        let n = self.exprs.len() as i16 + 1;
        self.list.push(query::target_entry(e.copy(), n, Text::new(&format!("c{n}"))));
        self.exprs.push(e);
        n
    }

    /// Makes column `n` a grouping column of the part.
    fn group(&mut self, n: i16, like: SortGroupClause) {
        let Some(t) = self.list.get(n as usize - 1) else { return };
        if t.ressortgroupref() != 0 {
            return;
        }
        t.set_ressortgroupref(n as u32);
        let g = like.copy();
        g.set_tle_sort_group_ref(n as u32);
        self.groups.push(g);
    }

    /// Whether all columns can come back; a part without columns gets one that nobody reads.
    fn complete(&mut self) -> bool {
        let transportable = self.exprs.iter().all(|e| pushdown::is_transportable(e.typ()));
        if self.exprs.is_empty() {
            self.add(query::boolean(true));
        }
        transportable
    }
}

/// An aggregate query on its way to two: the part that is sent, and what combines its rows.
struct Split<'a> {
    q: Query,
    keys: &'a [Node],
    columns: Columns,
    /// Grouping expressions and their columns.
    groups: Vec<(Node, i16)>,
    /// Whether something cannot be split.
    failed: bool,
}

impl Split<'_> {
    /// Makes the query's groups those of the part, if nodes can compute them.
    fn group(&mut self) -> bool {
        for c in self.q.group_clause().iter() {
            let e = c.expr(self.q.target_list());
            let class = super::ship::classify(e);
            if class.volatile || class.srf || !pushdown::expression_ships(e) {
                return false;
            }
            let n = self.columns.add(e);
            self.columns.group(n, c);
            self.groups.push((e, n));
        }
        true
    }

    /// An expression over groups and aggregates as one over the part's columns.
    fn over_columns(&mut self, e: Node) -> Node {
        e.mutate(|n| self.replacement(n))
    }

    fn replacement(&mut self, n: Node) -> Option<Node> {
        if self.failed {
            return Some(n);
        }
        if let Some((_, c)) = self.groups.iter().find(|(g, _)| g.equals(n)) {
            return Some(query::var_like(1, *c, n));
        }
        let new = match n.kind() {
            Kind::Aggref(agg) => {
                aggregate::split(agg, self.keys).map(|p| combined(agg, p, &mut self.columns))
            }
            // Determined by the grouping columns: the same in every row of a group.
            Kind::Var(v) => extra_group(self.q, v, &mut self.columns),
            Kind::Other(NodeTag::T_GroupingFunc) => None,
            _ => return None,
        };
        self.failed = new.is_none();
        Some(new.unwrap_or(n))
    }
}

fn aggregates(q: Query, part: &Part, keys: &[Node]) -> Result<bool> {
    let (columns, groups) = (Columns::new(), Vec::new());
    let mut split = Split { q, keys, columns, groups, failed: false };
    if !split.group() {
        return Ok(false);
    }
    let tlist = outputs(q, &mut |e| split.over_columns(e));
    let having = split.over_columns(q.having_qual());
    if split.failed || !split.columns.complete() {
        return Ok(false);
    }
    let sent = split.columns.list;
    let inner = part_query(q, sent);
    inner.set_group_clause(split.columns.groups);
    inner.set_has_aggs(sent.node().contains(|n| matches!(n.kind(), Kind::Aggref(_))));
    let rte = send(inner, part, if split.groups.is_empty() { 1.0 } else { 200.0 })?;
    let srfs = q.has_target_srfs();
    source::read_from(q, rte, tlist);
    q.set_having_qual(having);
    q.set_has_target_srfs(srfs);
    q.set_has_sub_links(false);
    q.set_has_aggs(true);
    Ok(true)
}

/// The outputs of a query with other expressions.
fn outputs(q: Query, change: &mut dyn FnMut(Node) -> Node) -> List<TargetEntry> {
    let mut out = List::EMPTY;
    for t in q.target_list().iter() {
        let new = t.copy();
        new.set_expr(change(t.expr()));
        out.push(new);
    }
    out
}

/// The FROM and WHERE of a query with other outputs.
fn part_query(q: Query, tlist: List<TargetEntry>) -> Query {
    let inner = query::select();
    inner.set_rtable(q.rtable().copy());
    inner.set_jointree(q.jointree().map(|f| f.copy()));
    inner.set_ctes(q.ctes().copy());
    inner.set_has_sub_links(q.has_sub_links());
    inner.set_has_recursive(q.has_recursive());
    inner.set_target_list(tlist);
    inner
}

fn send(inner: Query, part: &Part, rows: f64) -> Result<RangeTblEntry> {
    // The pruning of the analysis refers to its values; they are found again for the part.
    let mut values = Values::default();
    let mut a = Analyzer::new(&mut values, false);
    let again = a.top(inner).unwrap_or_else(|_| part.clone());
    let rows = rows * part.anchor.as_ref().map_or(1.0, |t| t.shards.len() as f64);
    let place = Place { target: target(&again), values, rows };
    let (plan, values) = pushdown::dist_plan(inner, place)?;
    source::entry(&plan, values.exprs(), inner.target_list())
}

/// A column that the grouping columns determine.
fn extra_group(q: Query, v: Var, columns: &mut Columns) -> Option<Node> {
    if v.varlevelsup() != 0 || q.constraint_deps().is_empty() || v.varattno() <= 0 {
        return None;
    }
    let n = columns.add(v.node());
    let c = SortGroupClause::for_type(v.vartype())?;
    columns.group(n, c);
    Some(query::var_like(1, n, v.node()))
}

/// The expression over partial results that stands for an aggregate.
fn combined(agg: Aggref, p: Partial, columns: &mut Columns) -> Node {
    let mut var = |e: &Node| query::var_like(1, columns.add(*e), *e);
    let vars: Vec<Node> = p.columns.iter().map(&mut var).collect();
    (p.combine)(agg, &vars)
}

// ---- joins ------------------------------------------------------------------------------------

/// The join itself is sent, everything above it happens here.
fn joined(q: Query, part: &Part) -> Result<bool> {
    let mut columns = Columns::new();
    let mut failed = false;
    let mut change = |e: Node| {
        e.mutate(|n| {
            let v = n.cast::<Var>()?;
            if v.varlevelsup() != 0 || v.varattno() <= 0 {
                failed = true;
                return Some(n);
            }
            Some(query::var_like(1, columns.add(n), n))
        })
    };
    let tlist = outputs(q, &mut change);
    let having = change(q.having_qual());
    if failed || !q.row_marks().is_empty() || !columns.complete() {
        return Ok(false);
    }
    let inner = part_query(q, columns.list);
    let rte = send(inner, part, 1000.0)?;
    let windows = q.has_window_funcs();
    let srfs = q.has_target_srfs();
    source::read_from(q, rte, tlist);
    q.set_having_qual(having);
    q.set_has_window_funcs(windows);
    q.set_has_target_srfs(srfs);
    q.set_has_sub_links(false);
    Ok(true)
}
