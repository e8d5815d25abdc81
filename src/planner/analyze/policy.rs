//! Policies of row-level security, which the nodes apply beside each shard.

use super::terms::{Filters, Term};
use super::{Analyzer, Answer, Part};
use crate::catalog::Table;
use crate::pg::query::{self, Kind, List, Node, SubLink, Visit};
use pgrx::pg_sys::{BoolExprType, RTEKind};
use std::rc::Rc;

impl Analyzer<'_> {
    /// Whether the sub-queries of a policy's condition find beside the row's shard all that they would
    /// find anywhere. Columns of the row are those of range table entry 1, as catalogs have it.
    pub fn policy(&mut self, condition: Node, table: &Rc<Table>) -> Answer<()> {
        let rte = query::from_item(RTEKind::RTE_RELATION);
        rte.set_relid(table.relid);
        rte.set_relkind(b'r');
        let q = query::select();
        q.set_rtable(List::from([rte]));
        q.set_jointree(Some(query::from_entry(1, condition)));
        q.set_has_sub_links(true);
        let id = self.enter(q);
        let key = table.key.as_ref().map(|k| Term::Col((id, 1, k.attno)));
        let mut part = Part {
            anchor: Some(table.clone()),
            keys: key.into_iter().collect(),
            ..Part::default()
        };
        self.row_keys.clone_from(&part.keys);
        let (mut required, mut subs) = (Vec::new(), Vec::new());
        add_required(condition, &mut required);
        condition.walk(|n| match n.kind() {
            Kind::SubLink(s) => {
                subs.push((s, required.contains(&n)));
                Visit::Skip
            }
            _ => Visit::Descend,
        });
        let each = |(s, required): (SubLink, bool)| {
            self.sublink(id, s, required, &Filters::default(), &mut part)
        };
        let answer = subs.into_iter().try_for_each(each);
        self.stack.pop();
        answer
    }
}

/// Conditions that AND and OR connect: there NULL is as good as false.
fn add_required(n: Node, out: &mut Vec<Node>) {
    match n.kind() {
        Kind::BoolExpr(b) if b.boolop() != BoolExprType::NOT_EXPR => {
            b.args().iter().for_each(|a| add_required(a, out));
        }
        _ => out.push(n),
    }
}
