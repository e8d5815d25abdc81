//! Deadlocks over several nodes: who waits for whom, and which waits can never end.
//!
//! On a node, backends wait for backends. What a node cannot know is that some of its backends
//! work for sessions that have backends elsewhere: a backend that holds locks keeps them until
//! its session goes on, and the session goes on when none of its backends waits any more. So a
//! deadlock is a circle of waits in which at least one step leads from a backend to another one
//! of the same session. A circle without such a step is the node's own business; its lock manager
//! finds it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// A backend of a node: node id and process id.
pub type Backend = (i32, i32);

/// A backend waits for a lock that another one of the same node holds or is due to get first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Wait {
    /// Who waits.
    pub waiter: Backend,
    /// When that began by the node's clock: with the process id it says which wait it is.
    pub since: i64,
    /// For whom.
    pub blocker: Backend,
}

/// What is known about backends.
pub trait Sessions {
    /// Identifies a session.
    type Id: Copy + Eq + Hash;

    /// The session that a backend belongs to.
    fn of(&self, backend: Backend) -> Self::Id;

    /// Whether a backend keeps its locks until its session goes on, even when it does not wait
    /// itself: one that runs a transaction, as opposed to a single statement.
    fn holds(&self, backend: Backend) -> bool;

    /// When the session's transaction began; `None` for sessions that cannot be victims.
    fn began(&self, session: Self::Id) -> Option<i64>;
}

/// A circle of waits and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deadlock<S> {
    /// The waits, each for the session that waits next; the last for the first.
    pub waits: Vec<Wait>,
    /// The session whose transaction is given up.
    pub victim: S,
}

/// Finds deadlocks, one for each victim that is needed. The victim is the youngest transaction of
/// the circle.
pub fn deadlocks<S: Sessions>(waits: &[Wait], sessions: &S) -> Vec<Deadlock<S::Id>> {
    let mut found = Vec::new();
    let mut gone: HashSet<S::Id> = HashSet::new();
    let mut graph = Graph::new(waits, sessions);
    // Every round takes a session out of the graph, so the loop ends.
    while let Some(circle) = graph.circle() {
        let members = circle.iter().map(|w| sessions.of(w.waiter));
        let ages = members.clone().filter_map(|s| Some((sessions.began(s)?, s)));
        // Of two that began at the same time, the first in the circle: the order does not matter.
        let youngest = ages.fold(None, |best: Option<(i64, S::Id)>, (began, session)| match best {
            Some((b, _)) if b >= began => best,
            _ => Some((began, session)),
        });
        let out = youngest.map(|y| y.1).or_else(|| members.clone().next());
        let Some(out) = out else { break };
        gone.insert(out);
        if let Some((_, victim)) = youngest {
            found.push(Deadlock { waits: circle, victim });
        }
        let rest: Vec<Wait> = waits
            .iter()
            .filter(|w| {
                !gone.contains(&sessions.of(w.waiter)) && !gone.contains(&sessions.of(w.blocker))
            })
            .copied()
            .collect();
        graph = Graph::new(&rest, sessions);
    }
    found
}

struct Graph {
    /// The waits of each waiting backend.
    waits: HashMap<Backend, Vec<Wait>>,
    /// From a backend that others wait for to the waiting backends of the same session.
    steps: HashMap<Backend, Vec<Backend>>,
    /// The keys of `steps` in the order of the waits, so that the outcome is always the same.
    starts: Vec<Backend>,
}

impl Graph {
    fn new<S: Sessions>(all: &[Wait], sessions: &S) -> Graph {
        let mut waits: HashMap<Backend, Vec<Wait>> = HashMap::new();
        let mut waiting: HashMap<S::Id, Vec<Backend>> = HashMap::new();
        for w in all {
            let list = waits.entry(w.waiter).or_default();
            if list.is_empty() {
                waiting.entry(sessions.of(w.waiter)).or_default().push(w.waiter);
            }
            list.push(*w);
        }
        let mut steps: HashMap<Backend, Vec<Backend>> = HashMap::new();
        let mut starts = Vec::new();
        for b in all.iter().map(|w| w.blocker) {
            if steps.contains_key(&b) || !(waits.contains_key(&b) || sessions.holds(b)) {
                continue;
            }
            let others = waiting.get(&sessions.of(b)).map_or(&[][..], Vec::as_slice);
            let others: Vec<Backend> = others.iter().filter(|o| **o != b).copied().collect();
            if !others.is_empty() {
                steps.insert(b, others);
                starts.push(b);
            }
        }
        Graph { waits, steps, starts }
    }

    /// A shortest circle with a step between backends of a session.
    fn circle(&self) -> Option<Vec<Wait>> {
        let mut best: Option<Vec<Wait>> = None;
        for end in &self.starts {
            for start in self.steps.get(end).into_iter().flatten() {
                if let Some(path) = self.path(*start, *end) {
                    if best.as_ref().is_none_or(|b| path.len() < b.len()) {
                        best = Some(path);
                    }
                }
            }
        }
        best
    }

    /// The shortest way from one backend to another, as the waits on it. After a step to another
    /// backend of the session comes a wait, at the start as well: there is no going round within
    /// a session.
    fn path(&self, start: Backend, end: Backend) -> Option<Vec<Wait>> {
        let mut from: HashMap<Place, (Place, Option<Wait>)> = HashMap::new();
        let start = Place { backend: start, stepped: true };
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            let waits = self.waits.get(&at.backend).into_iter().flatten();
            let waits = waits.map(|w| (Place { backend: w.blocker, stepped: false }, Some(*w)));
            let steps = self.steps.get(&at.backend).filter(|_| !at.stepped).into_iter().flatten();
            let steps = steps.map(|b| (Place { backend: *b, stepped: true }, None));
            for (next, wait) in waits.chain(steps) {
                if next == start || from.contains_key(&next) {
                    continue;
                }
                from.insert(next, (at, wait));
                if next.backend == end && !next.stepped {
                    return Some(walk_back(&from, start, next));
                }
                queue.push_back(next);
            }
        }
        None
    }
}

/// Where a way has come to, and whether by a step within a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    backend: Backend,
    stepped: bool,
}

/// The waits on the way; `from` has for each place the one before and the wait between them.
fn walk_back(from: &HashMap<Place, (Place, Option<Wait>)>, start: Place, end: Place) -> Vec<Wait> {
    let mut waits = Vec::new();
    let mut at = end;
    while at != start {
        let Some((before, wait)) = from.get(&at) else { break };
        waits.extend(*wait);
        at = *before;
    }
    waits.reverse();
    waits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Backends of session s have process ids from 100 s to 100 s + 99; session s began at s.
    struct Plain {
        /// Backends that run a single statement.
        single: Vec<Backend>,
        /// Sessions that are no candidates.
        strangers: Vec<i32>,
    }

    const PLAIN: Plain = Plain { single: Vec::new(), strangers: Vec::new() };

    impl Sessions for Plain {
        type Id = i32;
        fn of(&self, (_, pid): Backend) -> i32 {
            pid / 100
        }
        fn holds(&self, backend: Backend) -> bool {
            !self.single.contains(&backend)
        }
        fn began(&self, session: i32) -> Option<i64> {
            (!self.strangers.contains(&session)).then_some(i64::from(session))
        }
    }

    fn wait(node: i32, waiter: i32, blocker: i32) -> Wait {
        Wait { waiter: (node, waiter), since: 1, blocker: (node, blocker) }
    }

    fn victims(waits: &[Wait], sessions: &Plain) -> Vec<i32> {
        deadlocks(waits, sessions).into_iter().map(|d| d.victim).collect()
    }

    #[test]
    fn circles_over_nodes() {
        // Session i waits for session i + 1 on node i % nodes.
        for sessions in 2..=8 {
            for nodes in 1..=3 {
                let pid = |s: i32, node: i32| (s + 1) * 100 + node;
                let waits: Vec<Wait> = (0..sessions)
                    .map(|s| {
                        let node = s % nodes;
                        wait(node, pid(s, node), pid((s + 1) % sessions, node))
                    })
                    .collect();
                let found = deadlocks(&waits, &PLAIN);
                if nodes == 1 {
                    // Each session has one backend: the node sees all of it.
                    assert!(found.is_empty());
                    continue;
                }
                assert_eq!(found.len(), 1, "{sessions} over {nodes}");
                assert_eq!(found[0].victim, sessions, "the youngest");
                assert_eq!(found[0].waits.len(), sessions as usize);
                for (a, b) in found[0].waits.iter().zip(found[0].waits.iter().cycle().skip(1)) {
                    assert_eq!(PLAIN.of(a.blocker), PLAIN.of(b.waiter));
                }
                // Without any one of the waits there is no circle.
                for left_out in 0..waits.len() {
                    let mut fewer = waits.clone();
                    fewer.remove(left_out);
                    assert!(victims(&fewer, &PLAIN).is_empty());
                }
            }
        }
    }

    #[test]
    fn waits_in_one_direction_are_fine() {
        // Everybody waits for everybody older, on every node.
        let mut waits = Vec::new();
        for node in 0..4 {
            for young in 2..10 {
                waits.extend((1..young).map(|old| wait(node, young * 100, old * 100)));
            }
        }
        assert!(victims(&waits, &PLAIN).is_empty());
    }

    #[test]
    fn a_session_that_blocks_itself() {
        // Two backends of one session on one node, as two users.
        let waits = [wait(1, 100, 101)];
        let found = deadlocks(&waits, &PLAIN);
        assert_eq!(found, vec![Deadlock { waits: waits.to_vec(), victim: 1 }]);
    }

    #[test]
    fn a_nodes_own_deadlock_is_left_to_it() {
        let local = [wait(1, 100, 200), wait(1, 200, 100)];
        assert!(victims(&local, &PLAIN).is_empty());
        // But it hides no other one of the same sessions.
        let both = [local[0], local[1], wait(2, 201, 102)];
        let found = deadlocks(&both, &PLAIN);
        assert_eq!(found.len(), 1);
        assert!(found[0].waits.contains(&both[2]));
    }

    #[test]
    fn two_circles_two_victims() {
        let waits = [
            wait(1, 100, 200),
            wait(2, 201, 101),
            wait(1, 300, 400),
            wait(3, 402, 302),
            // Somebody who waits for both is innocent.
            wait(1, 900, 100),
            wait(1, 900, 300),
        ];
        let mut found = victims(&waits, &PLAIN);
        found.sort_unstable();
        assert_eq!(found, vec![2, 4]);
    }

    #[test]
    fn one_victim_ends_two_circles() {
        // 3 is in both and the youngest of both.
        let waits = [wait(1, 100, 300), wait(2, 301, 101), wait(1, 200, 300), wait(2, 301, 201)];
        assert_eq!(victims(&waits, &PLAIN), vec![3]);
    }

    #[test]
    fn strangers_are_spared() {
        // 9 is a client of the node, which passes the wait on.
        let waits = [wait(1, 100, 900), wait(1, 900, 200), wait(2, 201, 101)];
        let spared = Plain { single: vec![], strangers: vec![9] };
        assert_eq!(victims(&waits, &spared), vec![2]);
        // Nobody to choose: nothing to do, and no endless loop.
        let nobody = Plain { single: vec![], strangers: vec![1, 2, 9] };
        assert!(victims(&waits, &nobody).is_empty());
    }

    #[test]
    fn a_running_statement_ends_by_itself() {
        // 1 reads on two nodes at once, each statement by itself: on node 2 it is still running
        // and will let 2 go on.
        let waits = [wait(1, 100, 200), wait(2, 201, 101)];
        let single = Plain { single: vec![(2, 101)], strangers: vec![] };
        assert!(victims(&waits, &single).is_empty());
        // A statement that waits itself does not.
        let waits = [wait(1, 100, 200), wait(2, 201, 300), wait(1, 300, 100)];
        let single = Plain { single: vec![(1, 100)], strangers: vec![] };
        assert_eq!(victims(&waits, &single), vec![3]);
    }

    #[test]
    fn the_shortest_circle_is_told() {
        let waits = [wait(1, 100, 200), wait(2, 201, 301), wait(3, 302, 102), wait(2, 201, 101)];
        let found = deadlocks(&waits, &PLAIN);
        assert_eq!(found[0].waits.len(), 2);
        assert_eq!(found[0].victim, 2);
        assert_eq!(found.len(), 1, "without session 2 nothing is left");
    }

    /// What the graph means, by trial: sessions end when none of their backends waits; whoever
    /// never can end is in, or waits for, a deadlock.
    fn stuck(waits: &[Wait]) -> HashSet<i32> {
        let mut alive: HashSet<i32> =
            waits.iter().flat_map(|w| [w.waiter, w.blocker]).map(|b| b.1 / 100).collect();
        loop {
            let free = alive.iter().copied().find(|s| {
                !waits
                    .iter()
                    .any(|w| w.waiter.1 / 100 == *s && alive.contains(&(w.blocker.1 / 100)))
            });
            match free {
                Some(s) => alive.remove(&s),
                None => return alive,
            };
        }
    }

    #[test]
    fn random_graphs_are_solved() {
        let mut state = 0x9e37_79b9_u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % n) as i32
        };
        let (mut with, mut without) = (0, 0);
        for _ in 0..3000 {
            let sessions = 2 + random(6);
            let waits: Vec<Wait> = (0..random(9))
                .filter_map(|_| {
                    let node = random(3);
                    let (a, b) = (1 + random(sessions as u64), 1 + random(sessions as u64));
                    // One backend for each session and node.
                    (a != b).then(|| wait(node, a * 100 + node, b * 100 + node))
                })
                .collect();
            let found = deadlocks(&waits, &PLAIN);
            let gone: HashSet<i32> = found.iter().map(|d| d.victim).collect();
            assert_eq!(gone.len(), found.len(), "nobody twice");
            // What remains stuck is for the nodes' own detection.
            let rest: Vec<Wait> = waits
                .iter()
                .filter(|w| !gone.contains(&(w.waiter.1 / 100)))
                .filter(|w| !gone.contains(&(w.blocker.1 / 100)))
                .copied()
                .collect();
            assert!(deadlocks(&rest, &PLAIN).is_empty());
            if stuck(&waits).is_empty() {
                assert!(found.is_empty(), "no victim without need");
                without += 1;
            } else {
                with += usize::from(!found.is_empty());
                let own = (0..3).any(|node| {
                    let here: Vec<Wait> =
                        rest.iter().filter(|w| w.waiter.0 == node).copied().collect();
                    !stuck(&here).is_empty()
                });
                assert!(own || stuck(&rest).is_empty(), "{waits:?}");
            }
        }
        assert!(with > 100 && without > 100, "{with} {without}");
    }
}
