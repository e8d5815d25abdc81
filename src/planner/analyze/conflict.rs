//! ON CONFLICT as a part of a statement that runs beside each shard.

use super::terms::{Filters, Term};
use super::{blocked, Analyzer, Answer, Part, Reject};
use crate::catalog::{Kind as TableKind, Table};
use crate::pg::query::{Kind, Query, Visit};
use crate::planner::ship;
use std::rc::Rc;

impl Analyzer<'_> {
    /// ON CONFLICT of rows that go to the shards of a table: the new row, and the old one that it
    /// conflicts with, are in the shard group of their key.
    pub fn conflict(&mut self, q: Query, table: &Rc<Table>) -> Answer<()> {
        let Some(c) = q.on_conflict() else { return Ok(()) };
        let id = self.enter(q);
        let key = table.key.as_ref().map(|k| k.attno);
        let row = |varno: i32| Some(Term::Col((id, varno as u32, key?)));
        let mut part = Part {
            anchor: (table.kind != TableKind::Reference).then(|| table.clone()),
            keys: [q.result_relation(), c.excl_rel_index()].into_iter().filter_map(row).collect(),
            ..Part::default()
        };
        self.row_keys.clone_from(&part.keys);
        let (mut subs, mut bad) = (Vec::new(), None);
        for n in [c.on_conflict_set().node(), c.on_conflict_where(), c.arbiter_where()] {
            bad = bad.or_else(|| blocked(n));
            n.walk(|n| match n.kind() {
                Kind::SubLink(s) => {
                    subs.push(s);
                    Visit::Skip
                }
                _ if ship::own(n).local_only => Visit::Skip,
                _ => Visit::Descend,
            });
        }
        let mut answer = bad.map_or(Ok(()), |b| Err(Reject(b)));
        for s in subs {
            answer =
                answer.and_then(|()| self.sublink(id, s, false, &Filters::default(), &mut part));
        }
        self.stack.pop();
        answer
    }

    /// Whether all that a part of a sub-query reads is on the shard group of the row that it is
    /// answered for.
    pub(super) fn is_of_one_row(&self, part: &Part) -> bool {
        let reach = part.filters.closure(&part.keys);
        self.row_keys.iter().any(|k| reach.contains(k))
    }
}
