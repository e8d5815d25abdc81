//! FROM: where the rows of its items are, and whether joins keep to shard groups.

use super::terms::{Filters, Term};
use super::{blocked, Analyzer, Answer, Leaf, Part, Reject};
use crate::catalog::{self, Kind as TableKind};
use crate::pg::query::{CommonTableExpr, JoinExpr, Kind, Node, Query, RangeTblEntry};
use crate::planner::ship;
use pgrx::pg_sys::{CmdType, JoinType, RTEKind};

impl Analyzer<'_> {
    pub(super) fn from(&mut self, q: Query, node: Node, filters: &Filters) -> Answer<Part> {
        match node.kind() {
            Kind::RangeTblRef(r) => self.entry(q, r.rtindex() as u32, filters),
            Kind::FromExpr(f) => {
                let own = self.read_quals(f.quals());
                let scope = filters.extended(&own);
                let mut parts = Vec::new();
                for item in f.fromlist().iter() {
                    parts.push(self.from(q, item, &scope)?);
                }
                self.inner(parts, own, filters)
            }
            Kind::JoinExpr(j) => self.join(q, j, filters),
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

    fn join(&mut self, q: Query, j: JoinExpr, filters: &Filters) -> Answer<Part> {
        let own = self.read_quals(j.quals());
        let scope = filters.extended(&own);
        let (left, right) = match j.jointype() {
            JoinType::JOIN_INNER => {
                let l = self.from(q, j.larg(), &scope)?;
                let r = self.from(q, j.rarg(), &scope)?;
                return self.inner(vec![l, r], own, filters);
            }
            JoinType::JOIN_LEFT => {
                (self.from(q, j.larg(), filters)?, self.from(q, j.rarg(), &scope)?)
            }
            JoinType::JOIN_RIGHT => {
                let l = self.from(q, j.larg(), &scope)?;
                let r = self.from(q, j.rarg(), filters)?;
                // a RIGHT JOIN b is b LEFT JOIN a
                return self.outer(r, l, own, filters);
            }
            JoinType::JOIN_FULL => {
                let l = self.from(q, j.larg(), filters)?;
                let r = self.from(q, j.rarg(), filters)?;
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

    fn entry(&mut self, q: Query, rti: u32, filters: &Filters) -> Answer<Part> {
        let Some(rte) = q.entry(rti) else { return Err(Reject("unknown FROM item")) };
        if !rte.security_quals().is_empty() {
            return Err(Reject("row-level security"));
        }
        if rte.security_barrier() {
            // The text of the statement would not tell the node of it.
            return Err(Reject("security barrier of a view"));
        }
        match rte.rtekind() {
            RTEKind::RTE_RELATION => self.relation(rti, rte, filters),
            RTEKind::RTE_SUBQUERY => match rte.subquery() {
                Some(sub) => self.derived_part(rti, sub, filters, self.current()),
                None => Err(Reject("sub-query that is not known")),
            },
            RTEKind::RTE_CTE => match self.find_cte(rte) {
                Some(_) if rte.self_reference() => Ok(Part::default()),
                Some(cte) => self.cte(rte, rti, cte, filters),
                None => Err(Reject("CTE of an outer query")),
            },
            RTEKind::RTE_TABLEFUNC if !rte.coltypes().iter().all(ship::type_is_there) => {
                Err(Reject("type that other nodes do not have"))
            }
            RTEKind::RTE_VALUES | RTEKind::RTE_RESULT | RTEKind::RTE_TABLEFUNC => {
                Ok(Part::default())
            }
            RTEKind::RTE_FUNCTION => {
                for f in rte.functions().iter() {
                    let c = ship::classify(f.funcexpr());
                    let unknown = || blocked(f.funcexpr()).is_some();
                    if c.volatile || c.local_only || !f.funccolnames().is_empty() || unknown() {
                        return Err(Reject("function in FROM"));
                    }
                }
                Ok(Part::default())
            }
            _ => Err(Reject("kind of FROM item")),
        }
    }

    fn find_cte(&self, rte: RangeTblEntry) -> Option<CommonTableExpr> {
        let level = self.stack.len().checked_sub(1 + rte.ctelevelsup() as usize)?;
        let q = self.queries[*self.stack.get(level)?];
        let name = rte.ctename().to_string();
        q.ctes().iter().find(|c| c.ctename().to_string() == name)
    }

    fn cte(
        &mut self,
        rte: RangeTblEntry,
        rti: u32,
        cte: CommonTableExpr,
        filters: &Filters,
    ) -> Answer<Part> {
        let Some(cq) = cte.ctequery().cast::<Query>() else { return Err(Reject("unknown CTE")) };
        // The CTE is a query of the level that defines it.
        let keep = self.stack.len() - rte.ctelevelsup() as usize;
        let saved = self.stack.split_off(keep);
        let r = if cte.cterecursive() {
            self.recursive(cq)
        } else if cq.command_type() != CmdType::CMD_SELECT {
            self.subquery(cq, &Filters::default()).map(|(p, _)| p)
        } else if cte.cterefcount() > 1 && !self.pinning {
            // every reference must see all rows of the shard group: no restriction from one
            self.derived_part(rti, cq, &Filters::default(), self.parent_id(&saved))
        } else {
            self.derived_part(rti, cq, filters, self.parent_id(&saved))
        };
        self.stack.extend(saved);
        r
    }

    fn parent_id(&self, saved: &[usize]) -> usize {
        saved.last().copied().unwrap_or_else(|| self.current())
    }

    fn recursive(&mut self, cq: Query) -> Answer<Part> {
        let (part, _) = self.subquery(cq, &Filters::default())?;
        if part.anchor.is_some() && !self.pinning {
            return Err(Reject("recursive CTE over distributed tables"));
        }
        Ok(part)
    }

    fn relation(&mut self, rti: u32, rte: RangeTblEntry, filters: &Filters) -> Answer<Part> {
        let Some(table) = catalog::table(rte.relid()) else {
            return Err(Reject("local table"));
        };
        match table.kind {
            TableKind::Reference => {
                self.reference.get_or_insert(table);
                return Ok(Part::default());
            }
            TableKind::Local => return Err(Reject("local table")),
            TableKind::Hash | TableKind::Single => {}
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
pub(super) fn aligned(a: &Part, b: &Part) -> bool {
    match (&a.anchor, &b.anchor) {
        (Some(x), Some(y)) => x.relid == y.relid || x.colocated_with(y),
        _ => true,
    }
}
