//! Shards of a distributed table that can have rows which fulfil the conditions.

use super::terms::{is_hash_equality, Filters, Term};
use super::Analyzer;
use crate::catalog::Table;
use crate::pg::query::{Kind, Node};
use crate::plan::Prune;
use crate::planner::{ship, values};
use pgrx::pg_sys::BoolExprType;

impl Analyzer<'_> {
    /// Shards of a table given everything known about its key.
    pub(super) fn prune(&mut self, table: &Table, class: &[Term], filters: &Filters) -> Prune {
        if table.key.is_none() {
            return Prune::Fixed(vec![0]);
        }
        let mut out = Prune::All;
        for t in class {
            if let Term::Value(v) = t {
                out = out.and(values::prune_value(table, self.known.nodes()[*v], self.values));
            }
        }
        for (id, q) in &filters.quals {
            out = out.and(self.prune_qual(table, class, *id, *q));
        }
        out
    }

    fn prune_qual(&mut self, table: &Table, class: &[Term], id: usize, node: Node) -> Prune {
        match node.kind() {
            Kind::OpExpr(op) => {
                if op.args().len() != 2 || !is_hash_equality(op.opno(), op.inputcollid()) {
                    return Prune::All;
                }
                let a = self.term(id, op.args().at(0));
                let b = self.term(id, op.args().at(1));
                match (a, b) {
                    (Some(Term::Value(v)), Some(k)) | (Some(k), Some(Term::Value(v)))
                        if class.contains(&k) =>
                    {
                        values::prune_value(table, self.known.nodes()[v], self.values)
                    }
                    _ => Prune::All,
                }
            }
            Kind::ScalarArrayOpExpr(op) => {
                if !op.use_or() || !is_hash_equality(op.opno(), op.inputcollid()) {
                    return Prune::All;
                }
                let array = op.args().at(1);
                match self.term(id, op.args().at(0)) {
                    Some(k) if class.contains(&k) && ship::classify(array).is_value() => {
                        values::prune_array(table, array, self.values)
                    }
                    _ => Prune::All,
                }
            }
            Kind::BoolExpr(b) => {
                let args: Vec<Node> = b.args().iter().collect();
                match b.boolop() {
                    BoolExprType::AND_EXPR => args
                        .into_iter()
                        .fold(Prune::All, |p, n| p.and(self.prune_qual(table, class, id, n))),
                    BoolExprType::OR_EXPR => args.into_iter().fold(Prune::Fixed(vec![]), |p, n| {
                        p.or(self.prune_qual(table, class, id, n))
                    }),
                    _ => Prune::All,
                }
            }
            _ => Prune::All,
        }
    }
}
