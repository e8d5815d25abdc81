//! Can a query run on each shard group independently, and on which ones?
//!
//! The analysis follows equalities. A *filter* is an equality that every row which survives to
//! the top fulfils; filters flow down into joins (into the nullable side of an outer join from its
//! ON clause, too), and through sub-queries where a restriction may be pushed. Two distributed
//! tables are aligned when their distribution columns are connected by equalities at the join
//! that brings them together, or both equal the same value. All rows of an aligned query that
//! belong together are then on one shard group.

mod conflict;
mod from;
mod outputs;
mod policy;
mod prune;
mod subquery;
mod terms;

pub use terms::{is_hash_equality, Filters, Term};

use super::distinct::Distinct;
use super::values::Values;
use super::{cases, ship};
use crate::catalog::{self, Table};
use crate::pg::lookup;
use crate::pg::query::{Kind, Node, Query, Visit};
use crate::plan::Prune;
use pgrx::pg_sys::{self, CmdType, NodeTag, RTEKind};
use std::rc::Rc;

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
    known: Distinct,
    /// Queries entered so far; the innermost open ones are on the stack.
    queries: Vec<Query>,
    stack: Vec<usize>,
    /// Every distributed table met, for the router.
    pub leaves: Vec<Leaf>,
    /// Whether a reference table was met.
    pub reference: Option<Rc<Table>>,
    /// Only collect leaves: single-shard queries need no alignment.
    pinning: bool,
    /// Columns of the one row for which sub-queries are answered: what equals its key is on its
    /// shard group, all of it.
    row_keys: Vec<Term>,
}

impl<'a> Analyzer<'a> {
    /// A new analysis; `pinning` looks for a single shard, otherwise for alignment.
    pub fn new(values: &'a mut Values, pinning: bool) -> Self {
        Analyzer {
            values,
            known: Distinct::default(),
            queries: Vec::new(),
            stack: Vec::new(),
            leaves: Vec::new(),
            reference: None,
            pinning,
            row_keys: Vec::new(),
        }
    }

    fn enter(&mut self, q: Query) -> usize {
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
    pub fn top(&mut self, q: Query) -> Answer<Part> {
        self.query_body(q, &Filters::default())
    }

    /// Columns of a query analyzed by [`Analyzer::top`] that equal the distribution key.
    pub fn key_columns(&mut self, q: Query, part: &Part) -> Vec<Node> {
        let id = self.queries.iter().position(|x| *x == q).unwrap_or(0);
        let mut out = Vec::new();
        for t in part.filters.closure(&part.keys) {
            let Term::Col((qid, rti, attno)) = t else { continue };
            match q.entry(rti) {
                Some(rte) if qid == id && rte.rtekind() == RTEKind::RTE_RELATION => {
                    out.push(lookup::column(rte.relid(), attno, rti as i32).node());
                }
                _ => {}
            }
        }
        out
    }

    /// FROM, WHERE and the sub-queries in all expressions of a query.
    fn query_body(&mut self, q: Query, filters: &Filters) -> Answer<Part> {
        self.enter(q);
        let r = self.body_inner(q, filters);
        self.stack.pop();
        r
    }

    fn body_inner(&mut self, q: Query, filters: &Filters) -> Answer<Part> {
        if q.has_modifying_cte() && !self.pinning {
            return Err(Reject("data-modifying CTE"));
        }
        if q.command_type() != CmdType::CMD_SELECT {
            self.check_target(q)?;
        }
        let mut part = match q.jointree() {
            None => Part::default(),
            Some(f) => self.from(q, f.node(), filters)?,
        };
        if q.set_operations().is_some() {
            part = self.set_operation(q, filters)?;
        }
        self.expressions(q, filters, &mut part)?;
        self.unreferenced_ctes(q)?;
        Ok(part)
    }

    fn check_target(&mut self, q: Query) -> Answer<()> {
        match q.target().and_then(|rte| catalog::table(rte.relid())) {
            Some(_) => Ok(()),
            None => Err(Reject("writes to a local table")),
        }
    }

    fn current(&self) -> usize {
        self.stack.last().copied().unwrap_or(0)
    }
}

/// A node that cannot be sent to another node, and why. Values computable beforehand are fine:
/// they travel as parameters.
pub fn blocker(n: Node) -> Option<&'static str> {
    match n.kind() {
        Kind::Var(v) => {
            if v.varattno() == pg_sys::TableOidAttributeNumber as i16 {
                return Some("tableoid");
            }
            if v.varattno() == 0 {
                return Some("whole-row reference");
            }
            None
        }
        Kind::Other(NodeTag::T_CurrentOfExpr) => Some("WHERE CURRENT OF"),
        Kind::List(_) | Kind::TargetEntry(_) | Kind::RangeTblEntry(_) => None,
        _ if ship::is_unknown_there(n) => Some("something that other nodes do not have"),
        Kind::CaseExpr(c) if cases::repeats(c) => Some("CASE of a volatile argument"),
        _ => (ship::own(n).local_only && !ship::classify(n).is_value())
            .then_some("expression that only this node can evaluate"),
    }
}

/// [`blocker`] for an expression and everything in it but sub-queries. What values are made of does not
/// matter, as they are computed here.
pub fn blocked(n: Node) -> Option<&'static str> {
    first_blocker(n, |n| ship::own(n).local_only)
        .and_then(|_| first_blocker(n, ship::becomes_parameter))
}

/// The first blocker that is not below a value.
fn first_blocker(n: Node, is_value: impl Fn(Node) -> bool) -> Option<&'static str> {
    let mut found = None;
    n.walk(|n| match n.kind() {
        Kind::Query(_) => Visit::Skip,
        _ => {
            found = blocker(n);
            match found {
                Some(_) => Visit::Stop,
                None if is_value(n) => Visit::Skip,
                None => Visit::Descend,
            }
        }
    });
    found
}
