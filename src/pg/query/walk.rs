//! Walking through trees and changing copies of them.

use super::{Kind, List, Node, Query, Ref, TaggedRef};
pub use crate::pg::nodes::Visit;
use crate::pg::{hash, lookup, nodes};
use pgrx::pg_sys::Oid;

impl Node {
    /// Visits the node and everything below it, sub-queries included, in pre-order; range table
    /// entries are visited before their contents. True when stopped.
    pub fn walk(self, mut visit: impl FnMut(Node) -> Visit) -> bool {
        // SAFETY: null or a valid tree, of which the walker hands out valid nodes.
        unsafe { nodes::walk(self.0, &mut |n| visit(Node(n))) }
    }

    /// Whether something in the tree is as asked for.
    pub fn contains(self, wanted: impl Fn(Node) -> bool) -> bool {
        self.walk(|n| if wanted(n) { Visit::Stop } else { Visit::Descend })
    }

    /// A copy in which `change` may replace any node (`None`: copy and go on below it).
    pub fn mutate(self, mut change: impl FnMut(Node) -> Option<Node>) -> Node {
        // SAFETY: null or a valid tree; what comes back is made of valid nodes.
        unsafe { Node(nodes::mutate(self.0, &mut |n| change(Node(n)).map(|n| n.0))) }
    }

    /// The conjuncts of a qualification (an implicit-AND list, an AND expression or one
    /// expression).
    pub fn conjuncts(self) -> Vec<Node> {
        // SAFETY: null or a valid tree.
        unsafe { nodes::conjuncts(self.0) }.into_iter().map(Node).collect()
    }

    /// An expression without the relabelings that do not change its bytes.
    pub fn strip_relabel(self) -> Node {
        let mut n = self;
        while let Kind::RelabelType(r) = n.kind() {
            n = r.arg();
        }
        n
    }

    /// An expression without the relabelings after which the same values are equal: what is stored alike
    /// may be compared otherwise (text as bpchar).
    pub fn strip_alike(self) -> Node {
        let mut n = self;
        while let Kind::RelabelType(r) = n.kind() {
            let (arg, collation) = (r.arg(), r.resultcollid());
            let exact = |c| c == Oid::INVALID || lookup::is_deterministic(c);
            let alike = collation == arg.collation() || exact(collation) && exact(arg.collation());
            if !alike || hash::family(r.resulttype()) != hash::family(arg.typ()) {
                break;
            }
            n = arg;
        }
        n
    }
}

impl<E> List<E> {
    /// Visits the elements and everything below them; see [`Node::walk`].
    pub fn walk(self, visit: impl FnMut(Node) -> Visit) -> bool {
        self.node().walk(visit)
    }
}

impl<T> List<Ref<T>>
where
    Ref<T>: TaggedRef,
{
    /// A copy in which `change` may replace any node; empty when elements are not of the type any
    /// more.
    pub fn mutate(self, change: impl FnMut(Node) -> Option<Node>) -> Self {
        self.node().mutate(change).list().of()
    }
}

impl Query {
    /// Visits the query and everything in it; see [`Node::walk`].
    pub fn walk(self, visit: impl FnMut(Node) -> Visit) -> bool {
        self.node().walk(visit)
    }

    /// Visits all direct parts of the query (not the query node itself).
    pub fn walk_parts(self, visit: impl FnMut(Node) -> Visit) {
        self.walk_with(0, visit);
    }

    /// Visits what the query does outside FROM and WITH: join conditions and WHERE, outputs and
    /// the other clauses, and the range table apart from sub-queries.
    pub fn walk_expressions(self, visit: impl FnMut(Node) -> Visit) {
        self.walk_with(nodes::SKIP_RT_SUBQUERIES | nodes::SKIP_CTES, visit);
    }

    fn walk_with(self, flags: std::ffi::c_int, mut visit: impl FnMut(Node) -> Visit) {
        // SAFETY: a valid query, of which the walker hands out valid nodes.
        unsafe { nodes::walk_query(self.as_ptr(), flags, &mut |n| visit(Node(n))) };
    }

    /// Replaces nodes in all direct parts of the query, in place (sub-queries of the range table
    /// and CTEs included when `change` descends into Query nodes).
    pub fn mutate_parts(self, mut change: impl FnMut(Node) -> Option<Node>) {
        // SAFETY: a valid query; replacements are valid nodes.
        unsafe { nodes::mutate_query(self.as_ptr(), 0, &mut |n| change(Node(n)).map(|n| n.0)) }
    }

    /// The queries directly inside the query: in FROM, WITH and expressions.
    pub fn inner_queries(self) -> Vec<Query> {
        let mut inner = Vec::new();
        self.walk_parts(|n| match n.kind() {
            Kind::Query(q) => {
                inner.push(q);
                Visit::Skip
            }
            _ => Visit::Descend,
        });
        inner
    }
}
