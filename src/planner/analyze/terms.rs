//! Columns and values that equalities connect.

use super::Analyzer;
use crate::pg::lookup;
use crate::pg::query::{Kind, Node, OpExpr, Var};
use crate::planner::ship;
use pgrx::pg_sys::{Oid, RTEKind};

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
    pub quals: Vec<(usize, Node)>,
}

impl Filters {
    pub(super) fn extended(&self, more: &Filters) -> Filters {
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

impl Analyzer<'_> {
    pub(super) fn read_quals(&mut self, quals: Node) -> Filters {
        let id = self.current();
        let mut f = Filters::default();
        for n in quals.conjuncts() {
            match n.kind() {
                Kind::OpExpr(op) => f.pairs.extend(self.equality(id, op)),
                Kind::ScalarArrayOpExpr(_) | Kind::BoolExpr(_) => f.quals.push((id, n)),
                _ => {}
            }
        }
        f
    }

    /// Both sides of an equality, if it is one.
    fn equality(&mut self, id: usize, op: OpExpr) -> Option<(Term, Term)> {
        let (a, b) = op.pair()?;
        if !is_hash_equality(op.opno(), op.inputcollid()) {
            return None;
        }
        let (a, b) = (self.term(id, a), self.term(id, b));
        Some((a?, b?))
    }

    /// A column or a value, or nothing that equalities can use.
    pub(super) fn term(&mut self, id: usize, node: Node) -> Option<Term> {
        let node = node.strip_alike();
        if let Kind::Var(v) = node.kind() {
            return self.column(id, v);
        }
        if !ship::classify(node).is_value() {
            return None;
        }
        Some(Term::Value(self.known.number(node)))
    }

    fn column(&mut self, id: usize, var: Var) -> Option<Term> {
        let qid = if var.varlevelsup() == 0 {
            id
        } else {
            let at = self.stack.iter().rposition(|s| *s == id)?;
            *self.stack.get(at.checked_sub(var.varlevelsup() as usize)?)?
        };
        let q = self.queries[qid];
        let rte = q.entry(var.varno() as u32)?;
        if var.varattno() <= 0 {
            return None;
        }
        if rte.rtekind() == RTEKind::RTE_JOIN {
            let behind = rte.joinaliasvars().at(var.varattno() as usize - 1);
            let behind = behind.strip_alike();
            if let Kind::Var(v) = behind.kind() {
                // Alias variables are relative to the query of the join itself.
                self.stack.push(qid);
                let r = self.column(qid, v);
                self.stack.pop();
                return r;
            }
            return None;
        }
        Some(Term::Col((qid, var.varno() as u32, var.varattno())))
    }
}

/// Whether an operator is the equality of a hash operator family, under a collation in which
/// equal values have equal hashes.
pub fn is_hash_equality(op: Oid, collation: Oid) -> bool {
    lookup::is_hash_operator(op)
        && (collation == Oid::INVALID || lookup::is_deterministic(collation))
}
