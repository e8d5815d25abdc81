//! What a query makes of the rows of each shard group: whether its results can be concatenated,
//! and which of them still equal the distribution key.

use super::terms::Term;
use super::{Analyzer, Part};
use crate::pg::query::{List, Node, Query, SortGroupClause};
use pgrx::pg_sys::CmdType;

impl Analyzer<'_> {
    /// Output columns that equal the distribution key.
    pub fn key_outputs(&mut self, q: Query, part: &Part) -> Vec<i16> {
        let id = self.queries.iter().position(|x| *x == q).unwrap_or(0);
        let mut out = Vec::new();
        if q.set_operations().is_some() {
            for k in &part.keys {
                if let Term::Col((qid, 0, n)) = k {
                    if *qid == id {
                        out.push(*n);
                    }
                }
            }
            return out;
        }
        let list = if q.command_type() == CmdType::CMD_SELECT {
            q.target_list()
        } else {
            q.returning_list()
        };
        out.extend(list.iter().filter(|t| self.is_key(q, part, t.expr())).map(|t| t.resno()));
        out
    }

    /// Whether an expression over the FROM of a query that was analyzed equals the distribution key
    /// in every row.
    pub fn is_key(&mut self, q: Query, part: &Part, e: Node) -> bool {
        let id = self.queries.iter().position(|x| *x == q).unwrap_or(0);
        self.stack.push(id);
        let term = self.term(id, e);
        self.stack.pop();
        let is_column = |t: &Term| matches!(t, Term::Col(_));
        term.filter(is_column).is_some_and(|t| part.filters.closure(&part.keys).contains(&t))
    }

    /// Whether an expression list contains the key, so that its groups are local to a shard.
    fn contains_key(&mut self, q: Query, clause: List<SortGroupClause>, part: &Part) -> bool {
        let id = self.queries.iter().position(|x| *x == q).unwrap_or(0);
        let reach = part.filters.closure(&part.keys);
        self.stack.push(id);
        let mut found = false;
        for c in clause.iter() {
            let e = c.expr(q.target_list());
            if let Some(t) = self.term(id, e) {
                found |= matches!(t, Term::Col(_)) && reach.contains(&t);
            }
        }
        self.stack.pop();
        found
    }

    /// Why the results of the shard groups cannot simply be concatenated, if so.
    pub fn needs_combining(&mut self, q: Query, part: &Part) -> Option<&'static str> {
        if q.limit_count().is_some() || q.limit_offset().is_some() {
            return Some("LIMIT over several shards");
        }
        if !q.grouping_sets().is_empty() {
            return Some("GROUPING SETS over several shards");
        }
        let grouped = !q.group_clause().is_empty() && self.contains_key(q, q.group_clause(), part);
        let aggregates = q.has_aggs() || !q.group_clause().is_empty() || q.having_qual().is_some();
        if aggregates && !grouped {
            return Some("aggregate over several shards");
        }
        if !q.distinct_clause().is_empty() {
            let key = self.contains_key(q, q.distinct_clause(), part);
            if !key {
                return Some("DISTINCT over several shards");
            }
        }
        for w in q.window_clause().iter() {
            if q.has_window_funcs() && !self.contains_key(q, w.partition_clause(), part) {
                return Some("window over several shards");
            }
        }
        None
    }
}
