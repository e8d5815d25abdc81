//! Expressions that are numbered, equal ones with the same number. Statements that programs write have
//! thousands of different constants or parameters.

use crate::pg::query::Node;
use rustc_hash::FxHashMap;

/// As many are found by looking at all of them.
const FEW: usize = 8;

/// Different expressions, in order.
#[derive(Default)]
pub struct Distinct {
    nodes: Vec<Node>,
    /// Numbers by what equal expressions have in common, when there are more than a few.
    alike: FxHashMap<u64, Vec<usize>>,
}

impl Distinct {
    /// Number of an expression that is equal, if there is one.
    pub fn find(&self, e: Node) -> Option<usize> {
        let equal = |i: &usize| self.nodes.get(*i).is_some_and(|x| x.equals(e));
        if self.nodes.len() <= FEW {
            return (0..self.nodes.len()).find(equal);
        }
        self.alike.get(&e.fingerprint())?.iter().copied().find(equal)
    }

    /// Adds an expression, whatever is there already; its number.
    pub fn push(&mut self, e: Node) -> usize {
        let number = self.nodes.len();
        self.nodes.push(e);
        if number == FEW {
            let known = self.nodes.iter().enumerate();
            known.for_each(|(i, n)| self.alike.entry(n.fingerprint()).or_default().push(i));
        } else if number > FEW {
            self.alike.entry(e.fingerprint()).or_default().push(number);
        }
        number
    }

    /// Number of an expression, added when it is new.
    pub fn number(&mut self, e: Node) -> usize {
        self.find(e).unwrap_or_else(|| self.push(e))
    }

    /// All of them by number.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}
