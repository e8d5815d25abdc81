//! Can a query run on each shard group independently, and on which ones?
//!
//! The analysis follows equalities. A *filter* is an equality that every row which survives to
//! the top fulfils; filters flow down into joins (into the nullable side of an outer join from its
//! ON clause, too), and through sub-queries where a restriction may be pushed. Two distributed
//! tables are aligned when their distribution columns are connected by equalities at the join
//! that brings them together, or both equal the same value. All rows of an aligned query that
//! belong together are then on one shard group.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::ship;
use super::values::{self, Values};
use crate::catalog::{self, Kind, Table};
use crate::pg::nodes::{self, tag, Visit};
use crate::plan::Prune;
use pgrx::pg_sys::{self, CmdType, JoinType, Node, NodeTag, Query, RTEKind, RangeTblEntry, Var};
use std::rc::Rc;

/// A column of a range table entry of some query under analysis.
pub type Col = (usize, u32, i16);

/// One side of an equality.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Term {
    /// A column.
    Col(Col),
    /// A value known before the statement runs, by number.
    Value(usize),
}

/// Equalities and other conditions that hold for what is being looked at.
#[derive(Clone, Default)]
pub struct Filters {
    /// Equalities.
    pub pairs: Vec<(Term, Term)>,
    /// Conditions (query number, expression) that may prune: IN lists, ORs.
    pub quals: Vec<(usize, *mut Node)>,
}

impl Filters {
    fn extended(&self, more: &Filters) -> Filters {
        let mut f = self.clone();
        f.pairs.extend_from_slice(&more.pairs);
        f.quals.extend_from_slice(&more.quals);
        f
    }

    /// Everything equal to one of `start`.
    pub fn closure(&self, start: &[Term]) -> Vec<Term> {
        let mut known: Vec<Term> = start.to_vec();
        loop {
            let before = known.len();
            for (a, b) in &self.pairs {
                match (known.contains(a), known.contains(b)) {
                    (true, false) => known.push(*b),
                    (false, true) => known.push(*a),
                    _ => {}
                }
            }
            if known.len() == before {
                return known;
            }
        }
    }
}

/// Where the rows of a part of a query are.
#[derive(Clone, Default)]
pub struct Part {
    /// The first distributed table; `None` when the rows are the same on every node.
    pub anchor: Option<Rc<Table>>,
    /// Columns that equal the distribution key in every row.
    pub keys: Vec<Term>,
    /// Columns that equal the key or are NULL from an outer join.
    pub nullable: Vec<Term>,
    /// Equalities that hold for all rows.
    pub filters: Filters,
    /// Which shards can contribute.
    pub prune: Option<Prune>,
}

/// Why a query cannot run on each shard group independently.
#[derive(Clone, Debug)]
pub struct Reject(pub &'static str);

type Answer<T> = Result<T, Reject>;

/// A distributed table found in a query and the shards its useful rows are on.
pub struct Leaf {
    /// The table.
    pub table: Rc<Table>,
    /// Shards.
    pub prune: Prune,
}

/// State of one analysis.
pub struct Analyzer<'a> {
    /// Values the executor evaluates.
    pub values: &'a mut Values,
    /// Known values, for [`Term::Value`].
    known: Vec<*mut Node>,
    /// Queries entered so far; the innermost open ones are on the stack.
    queries: Vec<*mut Query>,
    stack: Vec<usize>,
    /// Every distributed table met, for the router.
    pub leaves: Vec<Leaf>,
    /// Whether a reference table was met.
    pub reference: Option<Rc<Table>>,
    /// Only collect leaves: single-shard queries need no alignment.
    pinning: bool,
    /// Do not look at what the outermost query does with its rows.
    from_only: bool,
}

impl<'a> Analyzer<'a> {
    /// A new analysis; `pinning` looks for a single shard, otherwise for alignment.
    pub fn new(values: &'a mut Values, pinning: bool) -> Self {
        Analyzer {
            values,
            known: Vec::new(),
            queries: Vec::new(),
            stack: Vec::new(),
            leaves: Vec::new(),
            reference: None,
            pinning,
            from_only: false,
        }
    }

    unsafe fn enter(&mut self, q: *mut Query) -> usize {
        let id = match self.queries.iter().position(|x| *x == q) {
            Some(i) => i,
            None => {
                self.queries.push(q);
                self.queries.len() - 1
            }
        };
        self.stack.push(id);
        id
    }

    /// The FROM and WHERE of the outermost query.
    pub unsafe fn top(&mut self, q: *mut Query) -> Answer<Part> {
        self.query_body(q, &Filters::default())
    }

    /// The FROM and WHERE only, whatever the query does with the rows.
    pub unsafe fn top_from(&mut self, q: *mut Query) -> Answer<Part> {
        self.from_only = true;
        self.query_body(q, &Filters::default())
    }

    /// Columns of a query analyzed by [`Analyzer::top_from`] that equal the distribution key.
    pub unsafe fn key_columns(&mut self, q: *mut Query, part: &Part) -> Vec<*mut Node> {
        let id = self.queries.iter().position(|x| *x == q).unwrap_or(0);
        let mut out = Vec::new();
        for t in part.filters.closure(&part.keys) {
            if let Term::Col((qid, rti, attno)) = t {
                if qid == id && rti > 0 {
                    let rte = nodes::rte((*q).rtable, rti);
                    if (*rte).rtekind != RTEKind::RTE_RELATION {
                        continue;
                    }
                    let (mut typ, mut typmod, mut coll) =
                        (pg_sys::Oid::INVALID, 0, pg_sys::Oid::INVALID);
                    pg_sys::get_atttypetypmodcoll(
                        (*rte).relid,
                        attno,
                        &mut typ,
                        &mut typmod,
                        &mut coll,
                    );
                    out.push(pg_sys::makeVar(rti as i32, attno, typ, typmod, coll, 0) as *mut Node);
                }
            }
        }
        out
    }

    /// FROM, WHERE and the sub-queries in all expressions of a query.
    unsafe fn query_body(&mut self, q: *mut Query, filters: &Filters) -> Answer<Part> {
        self.enter(q);
        let r = self.body_inner(q, filters);
        self.stack.pop();
        r
    }

    unsafe fn body_inner(&mut self, q: *mut Query, filters: &Filters) -> Answer<Part> {
        if (*q).hasModifyingCTE && !self.pinning {
            return Err(Reject("data-modifying CTE"));
        }
        if (*q).commandType != CmdType::CMD_SELECT {
            self.check_target(q)?;
        }
        let mut part = if (*q).jointree.is_null() {
            Part::default()
        } else {
            self.from(q, (*q).jointree as *mut Node, filters)?
        };
        if !(*q).setOperations.is_null() {
            part = self.set_operation(q, filters)?;
        }
        self.expressions(q, filters, &mut part)?;
        self.unreferenced_ctes(q)?;
        Ok(part)
    }

    unsafe fn check_target(&mut self, q: *mut Query) -> Answer<()> {
        let rte = nodes::rte((*q).rtable, (*q).resultRelation as u32);
        match catalog::table((*rte).relid) {
            Some(_) => Ok(()),
            None => Err(Reject("writes to a local table")),
        }
    }

    /// Sub-queries and conditions outside FROM: target list, HAVING, ON CONFLICT, RETURNING ...
    unsafe fn expressions(
        &mut self,
        q: *mut Query,
        filters: &Filters,
        part: &mut Part,
    ) -> Answer<()> {
        let id = self.current();
        let scope = filters.extended(&part.filters);
        let mut bad = None;
        let mut subs: Vec<(*mut pg_sys::SubLink, bool)> = Vec::new();
        let top: Vec<*mut Node> = if (*q).jointree.is_null() {
            Vec::new()
        } else {
            nodes::conjuncts((*(*q).jointree).quals)
        };
        nodes::walk_query(q, nodes::SKIP_RT_SUBQUERIES | nodes::SKIP_CTES, &mut |n| match tag(n) {
            NodeTag::T_SubLink => {
                subs.push((n as *mut pg_sys::SubLink, top.contains(&n)));
                // the test expression is looked at here, the sub-query later
                Visit::Skip
            }
            NodeTag::T_Query => Visit::Skip,
            _ => {
                if let Some(b) = blocker(n) {
                    bad = Some(b);
                    return Visit::Stop;
                }
                if ship::own(n).local_only {
                    // a value: computed here, however it is made
                    return Visit::Skip;
                }
                Visit::Descend
            }
        });
        if let Some(b) = bad {
            return Err(Reject(b));
        }
        for (s, conjunct) in subs {
            self.sublink(id, s, conjunct, &scope, part)?;
        }
        Ok(())
    }

    fn current(&self) -> usize {
        self.stack.last().copied().unwrap_or(0)
    }

    unsafe fn sublink(
        &mut self,
        id: usize,
        s: *mut pg_sys::SubLink,
        conjunct: bool,
        scope: &Filters,
        part: &mut Part,
    ) -> Answer<()> {
        let q = (*s).subselect as *mut Query;
        let mut f = scope.clone();
        if conjunct && (*s).subLinkType == pg_sys::SubLinkType::ANY_SUBLINK {
            self.any_filter(id, s, q, &mut f);
        }
        let mut nested = Vec::new();
        nodes::walk((*s).testexpr, &mut |n| {
            if tag(n) == NodeTag::T_SubLink {
                nested.push(n as *mut pg_sys::SubLink);
                return Visit::Skip;
            }
            Visit::Descend
        });
        for n in nested {
            self.sublink(id, n, false, scope, part)?;
        }
        let (inner, _) = self.subquery(q, &f)?;
        if inner.anchor.is_none() || self.pinning {
            return Ok(());
        }
        if part.anchor.is_none() {
            return Err(Reject("sub-query over distributed tables in a query over none"));
        }
        // Correlated by the key: the rows it needs are on the outer row's shard.
        let reach = f.extended(&inner.filters).closure(&inner.keys);
        if !aligned(part, &inner) || !part.keys.iter().any(|k| reach.contains(k)) {
            return Err(Reject("sub-query not correlated by the distribution column"));
        }
        Ok(())
    }

    /// `x IN (SELECT y ...)` as a conjunct: only rows with y = x matter inside.
    unsafe fn any_filter(
        &mut self,
        id: usize,
        s: *mut pg_sys::SubLink,
        q: *mut Query,
        f: &mut Filters,
    ) {
        for test in nodes::conjuncts((*s).testexpr) {
            let Some(op) = nodes::cast::<pg_sys::OpExpr>(test, NodeTag::T_OpExpr) else { continue };
            if nodes::len((*op).args) != 2 || !is_hash_equality((*op).opno, (*op).inputcollid) {
                continue;
            }
            let outer = self.term(id, nodes::nth((*op).args, 0));
            let right = nodes::strip_relabel(nodes::nth((*op).args, 1));
            let Some(p) = nodes::cast::<pg_sys::Param>(right, NodeTag::T_Param) else { continue };
            if (*p).paramkind != pg_sys::ParamKind::PARAM_SUBLINK {
                continue;
            }
            let tle = nodes::nth::<pg_sys::TargetEntry>((*q).targetList, (*p).paramid as usize - 1);
            if let (Some(o), false) = (outer, tle.is_null()) {
                if let Some(inner) = self.output_term(q, tle) {
                    f.pairs.push((o, inner));
                }
            }
        }
    }

    /// The column behind an output of a sub-query when a restriction on the output may be applied
    /// to the sub-query's input.
    unsafe fn output_term(&mut self, q: *mut Query, tle: *mut pg_sys::TargetEntry) -> Option<Term> {
        if !restriction_passes(q, tle) {
            return None;
        }
        self.enter(q);
        let id = self.current();
        let t = self.term(id, (*tle).expr as *mut Node);
        self.stack.pop();
        match t {
            Some(Term::Col(_)) => t,
            _ => None,
        }
    }

    /// CTEs that nothing refers to still stand in the text.
    unsafe fn unreferenced_ctes(&mut self, q: *mut Query) -> Answer<()> {
        for cte in nodes::iter::<pg_sys::CommonTableExpr>((*q).cteList) {
            let cq = (*cte).ctequery as *mut Query;
            if (*cte).cterefcount == 0 || (*cq).commandType != CmdType::CMD_SELECT {
                let (part, _) = self.subquery(cq, &Filters::default())?;
                if part.anchor.is_some() && !self.pinning {
                    return Err(Reject("unreferenced CTE"));
                }
            }
        }
        Ok(())
    }

    // ---- FROM ---------------------------------------------------------------------------------

    unsafe fn from(&mut self, q: *mut Query, node: *mut Node, filters: &Filters) -> Answer<Part> {
        match tag(node) {
            NodeTag::T_RangeTblRef => {
                let rti = (*(node as *mut pg_sys::RangeTblRef)).rtindex as u32;
                self.entry(q, rti, filters)
            }
            NodeTag::T_FromExpr => {
                let f = node as *mut pg_sys::FromExpr;
                let own = self.read_quals((*f).quals);
                let scope = filters.extended(&own);
                let mut parts = Vec::new();
                for item in nodes::iter::<Node>((*f).fromlist) {
                    parts.push(self.from(q, item, &scope)?);
                }
                self.inner(parts, own, filters)
            }
            NodeTag::T_JoinExpr => self.join(q, node as *mut pg_sys::JoinExpr, filters),
            _ => Err(Reject("unknown join tree node")),
        }
    }

    /// Inner join of several parts under conditions.
    fn inner(&mut self, parts: Vec<Part>, own: Filters, above: &Filters) -> Answer<Part> {
        let mut out = Part { filters: own, ..Part::default() };
        for p in &parts {
            out.filters = out.filters.extended(&p.filters);
        }
        let scope = above.extended(&out.filters);
        let mut waiting: Vec<Part> = Vec::new();
        for p in parts {
            if p.anchor.is_none() {
                continue;
            }
            if out.anchor.is_none() {
                take(&mut out, p);
            } else {
                waiting.push(p);
            }
        }
        if self.pinning {
            waiting.into_iter().for_each(|p| take(&mut out, p));
            return Ok(out);
        }
        while !waiting.is_empty() {
            let reach = scope.closure(&[out.keys.as_slice(), &out.nullable].concat());
            let next = waiting.iter().position(|p| {
                aligned(&out, p) && p.keys.iter().chain(&p.nullable).any(|k| reach.contains(k))
            });
            let Some(i) = next else {
                return Err(Reject("join not on the distribution columns"));
            };
            let p = waiting.remove(i);
            take(&mut out, p);
        }
        Ok(out)
    }

    unsafe fn join(
        &mut self,
        q: *mut Query,
        j: *mut pg_sys::JoinExpr,
        filters: &Filters,
    ) -> Answer<Part> {
        let own = self.read_quals((*j).quals);
        let scope = filters.extended(&own);
        let (left, right) = match (*j).jointype {
            JoinType::JOIN_INNER => {
                let l = self.from(q, (*j).larg, &scope)?;
                let r = self.from(q, (*j).rarg, &scope)?;
                return self.inner(vec![l, r], own, filters);
            }
            JoinType::JOIN_LEFT => {
                (self.from(q, (*j).larg, filters)?, self.from(q, (*j).rarg, &scope)?)
            }
            JoinType::JOIN_RIGHT => {
                let l = self.from(q, (*j).larg, &scope)?;
                let r = self.from(q, (*j).rarg, filters)?;
                // a RIGHT JOIN b is b LEFT JOIN a
                return self.outer(r, l, own, filters);
            }
            JoinType::JOIN_FULL => {
                let l = self.from(q, (*j).larg, filters)?;
                let r = self.from(q, (*j).rarg, filters)?;
                return self.full(l, r, own, filters);
            }
            _ => return Err(Reject("unknown join type")),
        };
        self.outer(left, right, own, filters)
    }

    fn outer(&mut self, kept: Part, nullable: Part, on: Filters, above: &Filters) -> Answer<Part> {
        let mut out = kept;
        if nullable.anchor.is_none() {
            return Ok(out);
        }
        if self.pinning {
            if out.anchor.is_none() {
                out.anchor = nullable.anchor;
            }
            return Ok(out);
        }
        if out.anchor.is_none() {
            return Err(Reject("outer join that keeps rows present on every node"));
        }
        let scope = above.extended(&on).extended(&out.filters).extended(&nullable.filters);
        let reach = scope.closure(&[out.keys.as_slice(), &out.nullable].concat());
        let met = nullable.keys.iter().chain(&nullable.nullable).any(|k| reach.contains(k));
        if !aligned(&out, &nullable) || !met {
            return Err(Reject("outer join not on the distribution columns"));
        }
        out.nullable.extend(nullable.keys);
        out.nullable.extend(nullable.nullable);
        Ok(out)
    }

    fn full(&mut self, l: Part, r: Part, on: Filters, above: &Filters) -> Answer<Part> {
        if self.pinning {
            let anchor = l.anchor.or(r.anchor);
            return Ok(Part { anchor, ..Part::default() });
        }
        if l.anchor.is_none() && r.anchor.is_none() {
            return Ok(Part::default());
        }
        if l.anchor.is_none() || r.anchor.is_none() || !aligned(&l, &r) {
            return Err(Reject("full join of rows present on every node"));
        }
        let scope = above.extended(&on).extended(&l.filters).extended(&r.filters);
        let reach = scope.closure(&l.keys);
        if !r.keys.iter().any(|k| reach.contains(k)) {
            return Err(Reject("full join not on the distribution columns"));
        }
        let mut nullable = l.keys;
        nullable.extend(r.keys);
        nullable.extend(l.nullable);
        nullable.extend(r.nullable);
        Ok(Part { anchor: l.anchor, nullable, ..Part::default() })
    }

    unsafe fn entry(&mut self, q: *mut Query, rti: u32, filters: &Filters) -> Answer<Part> {
        let rte = nodes::rte((*q).rtable, rti);
        if !(*rte).securityQuals.is_null() {
            return Err(Reject("row-level security"));
        }
        match (*rte).rtekind {
            RTEKind::RTE_RELATION => self.relation(rti, rte, filters),
            RTEKind::RTE_SUBQUERY => self.derived(q, rti, (*rte).subquery, filters),
            RTEKind::RTE_CTE => match self.find_cte(rte) {
                Some(_) if (*rte).self_reference => Ok(Part::default()),
                Some(cte) => self.cte(q, rti, cte, filters),
                None => Err(Reject("CTE of an outer query")),
            },
            RTEKind::RTE_VALUES | RTEKind::RTE_RESULT | RTEKind::RTE_TABLEFUNC => {
                Ok(Part::default())
            }
            RTEKind::RTE_FUNCTION => {
                for f in nodes::iter::<pg_sys::RangeTblFunction>((*rte).functions) {
                    let c = ship::classify((*f).funcexpr);
                    if c.volatile || c.local_only || !(*f).funccolnames.is_null() {
                        return Err(Reject("function in FROM"));
                    }
                }
                Ok(Part::default())
            }
            _ => Err(Reject("kind of FROM item")),
        }
    }

    unsafe fn find_cte(&self, rte: *mut RangeTblEntry) -> Option<*mut pg_sys::CommonTableExpr> {
        let level = self.stack.len().checked_sub(1 + (*rte).ctelevelsup as usize)?;
        let q = self.queries[*self.stack.get(level)?];
        let name = nodes::str_of((*rte).ctename);
        nodes::iter::<pg_sys::CommonTableExpr>((*q).cteList)
            .find(|c| nodes::str_of((**c).ctename) == name)
    }

    unsafe fn cte(
        &mut self,
        q: *mut Query,
        rti: u32,
        cte: *mut pg_sys::CommonTableExpr,
        filters: &Filters,
    ) -> Answer<Part> {
        let cq = (*cte).ctequery as *mut Query;
        // The CTE is a query of the level that defines it.
        let rte = nodes::rte((*q).rtable, rti);
        let keep = self.stack.len() - (*rte).ctelevelsup as usize;
        let saved = self.stack.split_off(keep);
        let r = if (*cte).cterecursive {
            self.recursive(cq)
        } else if (*cq).commandType != CmdType::CMD_SELECT {
            self.subquery(cq, &Filters::default()).map(|(p, _)| p)
        } else if (*cte).cterefcount > 1 && !self.pinning {
            // every reference must see all rows of the shard group: no restriction from one
            self.derived_part(q, rti, cq, &Filters::default(), self.parent_id(&saved))
        } else {
            self.derived_part(q, rti, cq, filters, self.parent_id(&saved))
        };
        self.stack.extend(saved);
        r
    }

    fn parent_id(&self, saved: &[usize]) -> usize {
        saved.last().copied().unwrap_or_else(|| self.current())
    }

    unsafe fn recursive(&mut self, cq: *mut Query) -> Answer<Part> {
        let (part, _) = self.subquery(cq, &Filters::default())?;
        if part.anchor.is_some() && !self.pinning {
            return Err(Reject("recursive CTE over distributed tables"));
        }
        Ok(part)
    }

    unsafe fn relation(
        &mut self,
        rti: u32,
        rte: *mut RangeTblEntry,
        filters: &Filters,
    ) -> Answer<Part> {
        let Some(table) = catalog::table((*rte).relid) else {
            return Err(Reject("local table"));
        };
        match table.kind {
            Kind::Reference => {
                self.reference.get_or_insert(table);
                return Ok(Part::default());
            }
            Kind::Local => return Err(Reject("local table")),
            Kind::Hash | Kind::Single => {}
        }
        let own: Vec<Term> = match &table.key {
            Some(k) => vec![Term::Col((self.current(), rti, k.attno))],
            None => Vec::new(),
        };
        let class = filters.closure(&own);
        let prune = self.prune(&table, &class, filters);
        self.leaves.push(Leaf { table: table.clone(), prune: prune.clone() });
        Ok(Part { anchor: Some(table), keys: own, prune: Some(prune), ..Part::default() })
    }

    /// Shards of a table given everything known about its key.
    unsafe fn prune(&mut self, table: &Table, class: &[Term], filters: &Filters) -> Prune {
        if table.key.is_none() {
            return Prune::Fixed(vec![0]);
        }
        let mut out = Prune::All;
        for t in class {
            if let Term::Value(v) = t {
                out = out.and(values::prune_value(table, self.known[*v], self.values));
            }
        }
        for (id, q) in &filters.quals {
            out = out.and(self.prune_qual(table, class, *id, *q));
        }
        out
    }

    unsafe fn prune_qual(
        &mut self,
        table: &Table,
        class: &[Term],
        id: usize,
        node: *mut Node,
    ) -> Prune {
        match tag(node) {
            NodeTag::T_OpExpr => {
                let op = node as *mut pg_sys::OpExpr;
                if nodes::len((*op).args) != 2 || !is_hash_equality((*op).opno, (*op).inputcollid) {
                    return Prune::All;
                }
                let a = self.term(id, nodes::nth((*op).args, 0));
                let b = self.term(id, nodes::nth((*op).args, 1));
                match (a, b) {
                    (Some(Term::Value(v)), Some(k)) | (Some(k), Some(Term::Value(v)))
                        if class.contains(&k) =>
                    {
                        values::prune_value(table, self.known[v], self.values)
                    }
                    _ => Prune::All,
                }
            }
            NodeTag::T_ScalarArrayOpExpr => {
                let op = node as *mut pg_sys::ScalarArrayOpExpr;
                if !(*op).useOr || !is_hash_equality((*op).opno, (*op).inputcollid) {
                    return Prune::All;
                }
                let array: *mut Node = nodes::nth((*op).args, 1);
                match self.term(id, nodes::nth((*op).args, 0)) {
                    Some(k) if class.contains(&k) && ship::classify(array).is_value() => {
                        values::prune_array(table, array, self.values)
                    }
                    _ => Prune::All,
                }
            }
            NodeTag::T_BoolExpr => {
                let b = node as *mut pg_sys::BoolExpr;
                let args: Vec<*mut Node> = nodes::iter((*b).args).collect();
                match (*b).boolop {
                    pg_sys::BoolExprType::AND_EXPR => args
                        .into_iter()
                        .fold(Prune::All, |p, n| p.and(self.prune_qual(table, class, id, n))),
                    pg_sys::BoolExprType::OR_EXPR => {
                        args.into_iter().fold(Prune::Fixed(vec![]), |p, n| {
                            p.or(self.prune_qual(table, class, id, n))
                        })
                    }
                    _ => Prune::All,
                }
            }
            _ => Prune::All,
        }
    }

    // ---- sub-queries --------------------------------------------------------------------------

    unsafe fn derived(
        &mut self,
        q: *mut Query,
        rti: u32,
        sub: *mut Query,
        filters: &Filters,
    ) -> Answer<Part> {
        let id = self.current();
        let _ = q;
        self.derived_part(q, rti, sub, filters, id)
    }

    /// A sub-query in FROM, its output columns tied to what they come from.
    unsafe fn derived_part(
        &mut self,
        _q: *mut Query,
        rti: u32,
        sub: *mut Query,
        filters: &Filters,
        parent: usize,
    ) -> Answer<Part> {
        let mut f = filters.clone();
        for tle in nodes::iter::<pg_sys::TargetEntry>((*sub).targetList) {
            if !(*tle).resjunk {
                if let Some(t) = self.output_term(sub, tle) {
                    f.pairs.push((Term::Col((parent, rti, (*tle).resno)), t));
                }
            }
        }
        let (part, outputs) = self.subquery(sub, &f)?;
        let col = |n: &i16| Term::Col((parent, rti, *n));
        Ok(Part {
            anchor: part.anchor,
            keys: outputs.iter().map(col).collect(),
            nullable: Vec::new(),
            filters: Filters::default(),
            prune: part.prune,
        })
    }

    /// A whole sub-query: where its rows are, and which output columns equal the key.
    unsafe fn subquery(&mut self, q: *mut Query, filters: &Filters) -> Answer<(Part, Vec<i16>)> {
        self.enter(q);
        let r = self.subquery_inner(q, filters);
        self.stack.pop();
        r
    }

    unsafe fn subquery_inner(
        &mut self,
        q: *mut Query,
        filters: &Filters,
    ) -> Answer<(Part, Vec<i16>)> {
        let part = self.body_inner(q, filters)?;
        if part.anchor.is_none() || self.pinning {
            return Ok((part, Vec::new()));
        }
        let outputs = self.key_outputs(q, &part);
        if let Some(why) = self.needs_combining(q, &part) {
            return Err(Reject(why));
        }
        Ok((part, outputs))
    }

    /// Output columns that equal the distribution key.
    pub unsafe fn key_outputs(&mut self, q: *mut Query, part: &Part) -> Vec<i16> {
        let id = self.queries.iter().position(|x| *x == q).unwrap_or(0);
        let mut out = Vec::new();
        if !(*q).setOperations.is_null() {
            for k in &part.keys {
                if let Term::Col((qid, 0, n)) = k {
                    if *qid == id {
                        out.push(*n);
                    }
                }
            }
            return out;
        }
        let reach = part.filters.closure(&part.keys);
        self.stack.push(id);
        let list = if (*q).commandType == CmdType::CMD_SELECT {
            (*q).targetList
        } else {
            (*q).returningList
        };
        for tle in nodes::iter::<pg_sys::TargetEntry>(list) {
            if let Some(t) = self.term(id, (*tle).expr as *mut Node) {
                if matches!(t, Term::Col(_)) && reach.contains(&t) {
                    out.push((*tle).resno);
                }
            }
        }
        self.stack.pop();
        out
    }

    /// Whether an expression list contains the key, so that its groups are local to a shard.
    unsafe fn contains_key(
        &mut self,
        q: *mut Query,
        clause: *mut pg_sys::List,
        part: &Part,
    ) -> bool {
        let id = self.queries.iter().position(|x| *x == q).unwrap_or(0);
        let reach = part.filters.closure(&part.keys);
        self.stack.push(id);
        let mut found = false;
        for c in nodes::iter::<pg_sys::SortGroupClause>(clause) {
            let e = pg_sys::get_sortgroupclause_expr(c, (*q).targetList);
            if let Some(t) = self.term(id, e) {
                found |= matches!(t, Term::Col(_)) && reach.contains(&t);
            }
        }
        self.stack.pop();
        found
    }

    /// Why the results of the shard groups cannot simply be concatenated, if so.
    pub unsafe fn needs_combining(&mut self, q: *mut Query, part: &Part) -> Option<&'static str> {
        if !(*q).limitCount.is_null() || !(*q).limitOffset.is_null() {
            return Some("LIMIT over several shards");
        }
        if !(*q).groupingSets.is_null() {
            return Some("GROUPING SETS over several shards");
        }
        let grouped = !(*q).groupClause.is_null() && self.contains_key(q, (*q).groupClause, part);
        let aggregates = (*q).hasAggs || !(*q).groupClause.is_null() || !(*q).havingQual.is_null();
        if aggregates && !grouped {
            return Some("aggregate over several shards");
        }
        if !(*q).distinctClause.is_null() {
            let key = self.contains_key(q, (*q).distinctClause, part);
            if !key {
                return Some("DISTINCT over several shards");
            }
        }
        for w in nodes::iter::<pg_sys::WindowClause>((*q).windowClause) {
            if (*q).hasWindowFuncs && !self.contains_key(q, (*w).partitionClause, part) {
                return Some("window over several shards");
            }
        }
        None
    }

    unsafe fn set_operation(&mut self, q: *mut Query, filters: &Filters) -> Answer<Part> {
        let id = self.current();
        let mut arms = Vec::new();
        let mut all = true;
        collect_arms((*q).setOperations, &mut arms, &mut all);
        let mut out: Option<(Part, Vec<i16>)> = None;
        let mut recurring = false;
        for rti in arms {
            let sub = (*nodes::rte((*q).rtable, rti)).subquery;
            let _ = filters;
            let (p, keys) = self.subquery(sub, &Filters::default())?;
            if p.anchor.is_none() {
                recurring = true;
                continue;
            }
            out = Some(match out {
                None => (p, keys),
                Some((mut o, k)) => {
                    if !self.pinning && !aligned(&o, &p) {
                        return Err(Reject("set operation over tables that are not co-located"));
                    }
                    o.prune = match (o.prune, p.prune) {
                        (Some(a), Some(b)) => Some(a.or(b)),
                        _ => None,
                    };
                    (o, k.into_iter().filter(|n| keys.contains(n)).collect())
                }
            });
        }
        let Some((mut part, keys)) = out else { return Ok(Part::default()) };
        if self.pinning {
            return Ok(part);
        }
        if recurring || (!all && keys.is_empty()) {
            return Err(Reject("set operation over several shards"));
        }
        part.keys = keys.into_iter().map(|n| Term::Col((id, 0, n))).collect();
        part.nullable.clear();
        part.filters = Filters::default();
        Ok(part)
    }

    // ---- terms --------------------------------------------------------------------------------

    unsafe fn read_quals(&mut self, quals: *mut Node) -> Filters {
        let id = self.current();
        let mut f = Filters::default();
        for n in nodes::conjuncts(quals) {
            match tag(n) {
                NodeTag::T_OpExpr => {
                    let op = n as *mut pg_sys::OpExpr;
                    if nodes::len((*op).args) == 2
                        && is_hash_equality((*op).opno, (*op).inputcollid)
                    {
                        let a = self.term(id, nodes::nth((*op).args, 0));
                        let b = self.term(id, nodes::nth((*op).args, 1));
                        if let (Some(a), Some(b)) = (a, b) {
                            f.pairs.push((a, b));
                        }
                    }
                }
                NodeTag::T_ScalarArrayOpExpr | NodeTag::T_BoolExpr => f.quals.push((id, n)),
                _ => {}
            }
        }
        f
    }

    /// A column or a value, or nothing that equalities can use.
    unsafe fn term(&mut self, id: usize, node: *mut Node) -> Option<Term> {
        let node = nodes::strip_relabel(node);
        if tag(node) == NodeTag::T_Var {
            return self.column(id, node as *mut Var);
        }
        if !ship::classify(node).is_value() {
            return None;
        }
        if let Some(i) = self.known.iter().position(|k| nodes::equal(*k, node)) {
            return Some(Term::Value(i));
        }
        self.known.push(node);
        Some(Term::Value(self.known.len() - 1))
    }

    unsafe fn column(&mut self, id: usize, var: *mut Var) -> Option<Term> {
        let qid = if (*var).varlevelsup == 0 {
            id
        } else {
            let at = self.stack.iter().rposition(|s| *s == id)?;
            *self.stack.get(at.checked_sub((*var).varlevelsup as usize)?)?
        };
        let q = self.queries[qid];
        let rte = nodes::rte((*q).rtable, (*var).varno as u32);
        if rte.is_null() || (*var).varattno <= 0 {
            return None;
        }
        if (*rte).rtekind == RTEKind::RTE_JOIN {
            let behind: *mut Node = nodes::nth((*rte).joinaliasvars, (*var).varattno as usize - 1);
            let behind = nodes::strip_relabel(behind);
            if tag(behind) == NodeTag::T_Var {
                let v = behind as *mut Var;
                // Alias variables are relative to the query of the join itself.
                self.stack.push(qid);
                let r = self.column(qid, v);
                self.stack.pop();
                return r;
            }
            return None;
        }
        Some(Term::Col((qid, (*var).varno as u32, (*var).varattno)))
    }
}

fn take(out: &mut Part, p: Part) {
    if out.anchor.is_none() {
        out.anchor = p.anchor;
        out.prune = p.prune;
    } else {
        out.prune = match (out.prune.take(), p.prune) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
    }
    out.keys.extend(p.keys);
    out.nullable.extend(p.nullable);
}

/// Whether two parts are cut alike and live on the same nodes.
fn aligned(a: &Part, b: &Part) -> bool {
    match (&a.anchor, &b.anchor) {
        (Some(x), Some(y)) => x.relid == y.relid || x.colocated_with(y),
        _ => true,
    }
}

/// Whether an operator is the equality of a hash operator family, under a collation in which
/// equal values have equal hashes.
pub unsafe fn is_hash_equality(op: pg_sys::Oid, collation: pg_sys::Oid) -> bool {
    let mut left = pg_sys::Oid::INVALID;
    let mut right = pg_sys::Oid::INVALID;
    if !pg_sys::get_op_hash_functions(op, &mut left, &mut right) {
        return false;
    }
    collation == pg_sys::Oid::INVALID || pg_sys::get_collation_isdeterministic(collation)
}

/// Whether a restriction on an output column may be applied below the query's own operations.
unsafe fn restriction_passes(q: *mut Query, tle: *mut pg_sys::TargetEntry) -> bool {
    if (*q).commandType != CmdType::CMD_SELECT
        || !(*q).limitCount.is_null()
        || !(*q).limitOffset.is_null()
        || !(*q).setOperations.is_null()
        || !(*q).groupingSets.is_null()
        || (*q).hasTargetSRFs
        || tag(nodes::strip_relabel((*tle).expr as *mut Node)) != NodeTag::T_Var
    {
        return false;
    }
    let within = |l: *mut pg_sys::List| {
        nodes::iter::<pg_sys::SortGroupClause>(l)
            .any(|c| (*c).tleSortGroupRef != 0 && (*c).tleSortGroupRef == (*tle).ressortgroupref)
    };
    if ((*q).hasAggs || !(*q).groupClause.is_null()) && !within((*q).groupClause) {
        return false;
    }
    if !(*q).distinctClause.is_null() && !within((*q).distinctClause) {
        return false;
    }
    nodes::iter::<pg_sys::WindowClause>((*q).windowClause).all(|w| within((*w).partitionClause))
}

unsafe fn collect_arms(node: *mut Node, arms: &mut Vec<u32>, all: &mut bool) {
    match tag(node) {
        NodeTag::T_RangeTblRef => arms.push((*(node as *mut pg_sys::RangeTblRef)).rtindex as u32),
        NodeTag::T_SetOperationStmt => {
            let s = node as *mut pg_sys::SetOperationStmt;
            if (*s).op != pg_sys::SetOperation::SETOP_UNION || !(*s).all {
                *all = false;
            }
            collect_arms((*s).larg, arms, all);
            collect_arms((*s).rarg, arms, all);
        }
        _ => {}
    }
}

/// A node that cannot be sent to another node, and why. Values computable beforehand are fine:
/// they travel as parameters.
pub unsafe fn blocker(n: *mut Node) -> Option<&'static str> {
    match tag(n) {
        NodeTag::T_Var => {
            let v = n as *mut Var;
            if (*v).varattno == pg_sys::TableOidAttributeNumber as i16 {
                return Some("tableoid");
            }
            if (*v).varattno == 0 {
                return Some("whole-row reference");
            }
            None
        }
        NodeTag::T_CurrentOfExpr => Some("WHERE CURRENT OF"),
        NodeTag::T_List | NodeTag::T_TargetEntry | NodeTag::T_RangeTblEntry => None,
        _ => (ship::own(n).local_only && !ship::classify(n).is_value())
            .then_some("expression that only this node can evaluate"),
    }
}
