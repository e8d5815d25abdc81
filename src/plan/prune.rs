//! Which shards can hold rows that match a condition.

use serde::{Deserialize, Serialize};

/// A condition on the distribution column, reduced to what decides shards.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Prune {
    /// No restriction known.
    All,
    /// The shards whose indices are listed, sorted.
    Fixed(Vec<u32>),
    /// Equal to the value of parameter expression `i` of the scan, known when it runs.
    Param(u32),
    /// Equal to one of the elements of the array parameter expression `i`.
    ArrayParam(u32),
    /// The shard whose index is the value of parameter expression `i`; none when it is NULL.
    Number(u32),
    /// All conditions hold.
    And(Vec<Prune>),
    /// At least one condition holds.
    Or(Vec<Prune>),
}

/// How a parameter says which shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// By the hash of its value.
    Value,
    /// By the hashes of its elements.
    Elements,
    /// It is the index of the shard.
    Number,
}

/// A sorted set of shard indices; `None` stands for all.
pub type Set = Option<Vec<u32>>;

impl Prune {
    /// Conjunction, simplified.
    pub fn and(self, other: Prune) -> Prune {
        match (self, other) {
            (Prune::All, p) | (p, Prune::All) => p,
            (Prune::Fixed(a), Prune::Fixed(b)) => Prune::Fixed(intersect(&a, &b)),
            (Prune::And(mut v), p) => {
                v.push(p);
                Prune::And(v)
            }
            (a, b) => Prune::And(vec![a, b]),
        }
    }

    /// Disjunction, simplified.
    pub fn or(self, other: Prune) -> Prune {
        match (self, other) {
            (Prune::All, _) | (_, Prune::All) => Prune::All,
            (Prune::Fixed(a), Prune::Fixed(b)) => Prune::Fixed(union(&a, &b)),
            (Prune::Or(mut v), p) => {
                v.push(p);
                Prune::Or(v)
            }
            (a, b) => Prune::Or(vec![a, b]),
        }
    }

    /// Whether it always yields at most one shard.
    pub fn is_single(&self) -> bool {
        match self {
            Prune::Fixed(v) => v.len() <= 1,
            Prune::Param(_) | Prune::Number(_) => true,
            Prune::And(v) => v.iter().any(Prune::is_single),
            Prune::All | Prune::ArrayParam(_) | Prune::Or(_) => false,
        }
    }

    /// Whether it waits for parameter values.
    pub fn is_deferred(&self) -> bool {
        match self {
            Prune::All | Prune::Fixed(_) => false,
            Prune::Param(_) | Prune::ArrayParam(_) | Prune::Number(_) => true,
            Prune::And(v) | Prune::Or(v) => v.iter().any(Prune::is_deferred),
        }
    }

    /// The shards, given what a parameter says.
    pub fn eval<E>(&self, lookup: &mut dyn FnMut(u32, By) -> Result<Set, E>) -> Result<Set, E> {
        Ok(match self {
            Prune::All => None,
            Prune::Fixed(v) => Some(v.clone()),
            Prune::Param(i) => lookup(*i, By::Value)?,
            Prune::ArrayParam(i) => lookup(*i, By::Elements)?,
            Prune::Number(i) => lookup(*i, By::Number)?,
            Prune::And(parts) => {
                let mut acc: Set = None;
                for p in parts {
                    acc = match (acc, p.eval(lookup)?) {
                        (None, s) | (s, None) => s,
                        (Some(a), Some(b)) => Some(intersect(&a, &b)),
                    };
                }
                acc
            }
            Prune::Or(parts) => {
                let mut acc = Vec::new();
                for p in parts {
                    match p.eval(lookup)? {
                        None => return Ok(None),
                        Some(s) => acc = union(&acc, &s),
                    }
                }
                Some(acc)
            }
        })
    }
}

fn intersect(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().copied().filter(|x| b.binary_search(x).is_ok()).collect()
}

fn union(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut v: Vec<u32> = a.iter().chain(b).copied().collect();
    v.sort_unstable();
    v.dedup();
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let p = Prune::Fixed(vec![1, 2]).and(Prune::Fixed(vec![2, 3]));
        assert_eq!(p, Prune::Fixed(vec![2]));
        assert!(p.is_single());
        let p = Prune::Fixed(vec![1]).or(Prune::Fixed(vec![3]));
        assert_eq!(p, Prune::Fixed(vec![1, 3]));
        assert_eq!(Prune::All.or(Prune::Fixed(vec![1])), Prune::All);
        assert_eq!(Prune::All.and(Prune::Fixed(vec![1])), Prune::Fixed(vec![1]));
    }

    #[test]
    fn deferred() {
        let p = Prune::Param(0).and(Prune::Or(vec![Prune::Param(1), Prune::Fixed(vec![4])]));
        assert!(p.is_single() && p.is_deferred());
        let mut lookup = |i: u32, _: By| Ok::<Set, ()>(Some(vec![i + 3]));
        assert_eq!(p.eval(&mut lookup), Ok(Some(vec![])));
        let p = Prune::Or(vec![Prune::Param(1), Prune::Param(2)]);
        assert_eq!(p.eval(&mut lookup), Ok(Some(vec![4, 5])));
    }
}
