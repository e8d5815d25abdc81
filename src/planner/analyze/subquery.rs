//! Sub-queries: in FROM, in expressions, in WITH, and the arms of set operations.

use super::from::aligned;
use super::terms::{is_hash_equality, Filters, Term};
use super::{blocked, blocker, Analyzer, Answer, Part, Reject};
use crate::pg::query::{
    Kind, List, Node, OpExpr, Param, Query, SortGroupClause, SubLink, TargetEntry, Visit,
};
use crate::planner::{modify, ship};
use pgrx::pg_sys::{CmdType, ParamKind, SetOperation, SubLinkType};

impl Analyzer<'_> {
    /// Sub-queries and conditions outside FROM: target list, HAVING, ON CONFLICT, RETURNING ...
    pub(super) fn expressions(
        &mut self,
        q: Query,
        filters: &Filters,
        part: &mut Part,
    ) -> Answer<()> {
        let id = self.current();
        let scope = filters.extended(&part.filters);
        let mut bad = None;
        let selects = q.command_type() == CmdType::CMD_SELECT;
        let mut subs: Vec<(SubLink, bool)> = Vec::new();
        let top: Vec<Node> =
            if q.jointree().is_none() { Vec::new() } else { q.quals().conjuncts() };
        q.walk_expressions(|n| match n.kind() {
            Kind::SubLink(s) => {
                subs.push((s, top.contains(&n)));
                // looked at later, with its test expression
                Visit::Skip
            }
            Kind::Query(_) => Visit::Skip,
            _ => {
                if let Some(b) = blocker(n) {
                    bad = Some(b);
                    return Visit::Stop;
                }
                if selects && ship::is_assignment(n) && !ship::classify(n).is_value() {
                    bad = Some("assignment that a SELECT cannot be written with");
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

    pub(super) fn sublink(
        &mut self,
        id: usize,
        s: SubLink,
        conjunct: bool,
        scope: &Filters,
        part: &mut Part,
    ) -> Answer<()> {
        if modify::is_row(s) {
            return Ok(());
        }
        let Some(q) = s.subselect().cast::<Query>() else {
            return Err(Reject("unknown sub-query"));
        };
        if let Some(b) = blocked(s.testexpr()) {
            return Err(Reject(b));
        }
        let mut f = scope.clone();
        if conjunct && s.sub_link_type() == SubLinkType::ANY_SUBLINK {
            self.any_filter(id, s, q, &mut f);
        }
        let mut nested = Vec::new();
        s.testexpr().walk(|n| {
            if let Kind::SubLink(inner) = n.kind() {
                nested.push(inner);
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
    fn any_filter(&mut self, id: usize, s: SubLink, q: Query, f: &mut Filters) {
        for test in s.testexpr().conjuncts() {
            let Some(op) = test.cast::<OpExpr>() else { continue };
            if op.args().len() != 2 || !is_hash_equality(op.opno(), op.inputcollid()) {
                continue;
            }
            let outer = self.term(id, op.args().at(0));
            let right = op.args().at(1).strip_alike();
            let Some(p) = right.cast::<Param>() else { continue };
            if p.paramkind() != ParamKind::PARAM_SUBLINK {
                continue;
            }
            let tle = (p.paramid() as usize).checked_sub(1).and_then(|i| q.target_list().get(i));
            if let (Some(o), Some(tle)) = (outer, tle) {
                if let Some(inner) = self.output_term(q, tle) {
                    f.pairs.push((o, inner));
                }
            }
        }
    }

    /// The column behind an output of a sub-query when a restriction on the output may be applied
    /// to the sub-query's input.
    fn output_term(&mut self, q: Query, tle: TargetEntry) -> Option<Term> {
        if !restriction_passes(q, tle) {
            return None;
        }
        self.enter(q);
        let id = self.current();
        let t = self.term(id, tle.expr());
        self.stack.pop();
        match t {
            Some(Term::Col(_)) => t,
            _ => None,
        }
    }

    /// CTEs that nothing refers to still stand in the text.
    pub(super) fn unreferenced_ctes(&mut self, q: Query) -> Answer<()> {
        for cte in q.ctes().iter() {
            let Some(cq) = cte.ctequery().cast::<Query>() else { continue };
            if cte.cterefcount() == 0 || cq.command_type() != CmdType::CMD_SELECT {
                let (part, _) = self.subquery(cq, &Filters::default())?;
                if part.anchor.is_some() && !self.pinning {
                    return Err(Reject("unreferenced CTE"));
                }
            }
        }
        Ok(())
    }

    /// A sub-query in FROM, its output columns tied to what they come from.
    pub(super) fn derived_part(
        &mut self,
        rti: u32,
        sub: Query,
        filters: &Filters,
        parent: usize,
    ) -> Answer<Part> {
        let mut f = filters.clone();
        for tle in sub.target_list().iter() {
            if !tle.resjunk() {
                if let Some(t) = self.output_term(sub, tle) {
                    f.pairs.push((Term::Col((parent, rti, tle.resno())), t));
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
    pub(super) fn subquery(&mut self, q: Query, filters: &Filters) -> Answer<(Part, Vec<i16>)> {
        self.enter(q);
        let r = self.subquery_inner(q, filters);
        self.stack.pop();
        r
    }

    fn subquery_inner(&mut self, q: Query, filters: &Filters) -> Answer<(Part, Vec<i16>)> {
        let part = self.body_inner(q, filters)?;
        if part.anchor.is_none() || self.pinning {
            if !self.pinning && q.node().contains(ship::is_volatile) {
                // Each shard group would compute a value of its own for what is one value.
                return Err(Reject("volatile function in a query over no distributed table"));
            }
            return Ok((part, Vec::new()));
        }
        let outputs = self.key_outputs(q, &part);
        if !self.is_of_one_row(&part) {
            if let Some(why) = self.needs_combining(q, &part) {
                return Err(Reject(why));
            }
        }
        Ok((part, outputs))
    }

    pub(super) fn set_operation(&mut self, q: Query, filters: &Filters) -> Answer<Part> {
        let id = self.current();
        let mut arms = Vec::new();
        let mut all = true;
        collect_arms(q.set_operations(), &mut arms, &mut all);
        let mut out: Option<(Part, Vec<i16>)> = None;
        let mut recurring = false;
        for rti in arms {
            let Some(sub) = q.entry(rti).and_then(|rte| rte.subquery()) else { continue };
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
}

/// Whether a restriction on an output column may be applied below the query's own operations.
fn restriction_passes(q: Query, tle: TargetEntry) -> bool {
    if q.command_type() != CmdType::CMD_SELECT
        || q.limit_count().is_some()
        || q.limit_offset().is_some()
        || q.set_operations().is_some()
        || !q.grouping_sets().is_empty()
        || q.has_target_srfs()
        || !matches!(tle.expr().strip_alike().kind(), Kind::Var(_))
    {
        return false;
    }
    let within = |l: List<SortGroupClause>| {
        l.iter()
            .any(|c| c.tle_sort_group_ref() != 0 && c.tle_sort_group_ref() == tle.ressortgroupref())
    };
    if (q.has_aggs() || !q.group_clause().is_empty()) && !within(q.group_clause()) {
        return false;
    }
    if !q.distinct_clause().is_empty() && !within(q.distinct_clause()) {
        return false;
    }
    q.window_clause().iter().all(|w| within(w.partition_clause()))
}

fn collect_arms(node: Node, arms: &mut Vec<u32>, all: &mut bool) {
    match node.kind() {
        Kind::RangeTblRef(r) => arms.push(r.rtindex() as u32),
        Kind::SetOperationStmt(s) => {
            if s.op() != SetOperation::SETOP_UNION || !s.all() {
                *all = false;
            }
            collect_arms(s.larg(), arms, all);
            collect_arms(s.rarg(), arms, all);
        }
        _ => {}
    }
}
