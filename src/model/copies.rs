//! How many copies shards have: which to make and which to give up.

use std::collections::BTreeMap;

/// A node that has shards, or may have them.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Its group.
    pub group: i32,
    /// It may have shards.
    pub wanted: bool,
    /// It can be connected now.
    pub reachable: bool,
}

/// The groups that have placements of a shard.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    /// Those that are healthy.
    pub healthy: Vec<i32>,
    /// Those that missed a write.
    pub stale: Vec<i32>,
}

/// What is done with a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Copies to make: from a group to a group.
    pub copies: Vec<(i32, i32)>,
    /// Groups whose placements go.
    pub drops: Vec<i32>,
}

/// What keeps a shard from having as many copies as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// None of its healthy placements can be read.
    NoSource(usize),
    /// There are too few nodes that can be reached and have none.
    NoTarget(usize),
}

/// Gives each shard exactly `factor` healthy placements. Kept are those on nodes that can be
/// reached and may have shards, so that nodes have about as many as others; new ones come first
/// where a stale one is.
pub fn plan(shards: &[Shard], nodes: &[Node], factor: usize) -> Result<Vec<Change>, Trouble> {
    let node = |g: i32| nodes.iter().find(|n| n.group == g);
    let reachable = |g: i32| node(g).is_some_and(|n| n.reachable);
    let wanted = |g: i32| node(g).is_some_and(|n| n.wanted);
    let place = |g: i32, i: usize| turn(nodes, g, i);
    let mut load: BTreeMap<i32, usize> = BTreeMap::new();
    let mut kept: Vec<Vec<i32>> = Vec::new();
    for (i, s) in shards.iter().enumerate() {
        let mut order = s.healthy.clone();
        let busy = |g: i32| load.get(&g).copied().unwrap_or(0);
        order.sort_by_key(|g| (!reachable(*g), !wanted(*g), busy(*g), place(*g, i)));
        order.truncate(factor);
        order.iter().for_each(|g| *load.entry(*g).or_default() += 1);
        kept.push(order);
    }
    let mut changes = Vec::new();
    for (i, (s, keep)) in shards.iter().zip(&kept).enumerate() {
        let missing = factor.saturating_sub(keep.len());
        let busy = |g: i32| load.get(&g).copied().unwrap_or(0);
        let mut targets: Vec<i32> = nodes
            .iter()
            .filter(|n| n.wanted && n.reachable && !s.healthy.contains(&n.group))
            .map(|n| n.group)
            .collect();
        targets.sort_by_key(|g| (!s.stale.contains(g), busy(*g), place(*g, i)));
        if targets.len() < missing {
            return Err(Trouble::NoTarget(i));
        }
        targets.truncate(missing);
        targets.iter().for_each(|g| *load.entry(*g).or_default() += 1);
        let source = keep.iter().copied().find(|g| reachable(*g));
        let copies = match (source, missing) {
            (_, 0) => Vec::new(),
            (Some(from), _) => targets.iter().map(|to| (from, *to)).collect(),
            (None, _) => return Err(Trouble::NoSource(i)),
        };
        let gone = |g: &&i32| !keep.contains(g) && !targets.contains(g);
        let drops = s.healthy.iter().chain(&s.stale).filter(gone).copied().collect();
        changes.push(Change { copies, drops });
    }
    Ok(changes)
}

/// Nodes in turn, beginning with another one for each shard.
fn turn(nodes: &[Node], group: i32, shard: usize) -> usize {
    let n = nodes.len().max(1);
    let at = nodes.iter().position(|x| x.group == group).unwrap_or(0);
    (at + n - shard % n) % n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(n: i32) -> Vec<Node> {
        (1..=n).map(|group| Node { group, wanted: true, reachable: true }).collect()
    }

    /// A plan that there is.
    fn planned(shards: &[Shard], nodes: &[Node], factor: usize) -> Vec<Change> {
        let p = plan(shards, nodes, factor);
        assert!(p.is_ok(), "{p:?}");
        p.unwrap_or_default()
    }

    fn shards(healthy: &[&[i32]]) -> Vec<Shard> {
        let shard = |h: &&[i32]| Shard { healthy: h.to_vec(), stale: Vec::new() };
        healthy.iter().map(shard).collect()
    }

    /// Placements by group after the changes.
    fn after(shards: &[Shard], changes: &[Change], n: i32) -> Vec<usize> {
        let has = |g: i32| {
            let one = |(s, c): (&Shard, &Change)| {
                (s.healthy.contains(&g) && !c.drops.contains(&g))
                    || c.copies.iter().any(|x| x.1 == g)
            };
            shards.iter().zip(changes).filter(|x| one(*x)).count()
        };
        (1..=n).map(has).collect()
    }

    #[test]
    fn copies_are_spread() {
        let s = shards(&[&[1], &[2], &[3], &[1], &[2], &[3]]);
        let c = planned(&s, &nodes(3), 2);
        assert_eq!(after(&s, &c, 3), [4, 4, 4]);
        assert!(c.iter().all(|c| c.copies.len() == 1 && c.drops.is_empty()));
        let c = planned(&s, &nodes(3), 3);
        assert_eq!(after(&s, &c, 3), [6, 6, 6]);
        assert_eq!(c[0].copies, [(1, 2), (1, 3)]);
    }

    #[test]
    fn what_is_kept_is_spread() {
        let s = shards(&[&[1, 2], &[1, 2], &[1, 2], &[1, 2]]);
        let c = planned(&s, &nodes(2), 1);
        assert_eq!(after(&s, &c, 2), [2, 2]);
        let s = shards(&[&[1, 2], &[2, 3], &[3, 1]]);
        let c = planned(&s, &nodes(3), 1);
        assert_eq!(after(&s, &c, 3), [1, 1, 1]);
        assert_eq!(planned(&s, &nodes(3), 2), vec![Change::default(); 3]);
    }

    #[test]
    fn stale_ones_are_replaced_or_go() {
        let one = |healthy: &[i32], stale: &[i32]| {
            vec![Shard { healthy: healthy.to_vec(), stale: stale.to_vec() }]
        };
        let c = planned(&one(&[1], &[3]), &nodes(3), 2);
        assert_eq!(c, [Change { copies: vec![(1, 3)], drops: vec![] }]);
        let c = planned(&one(&[1, 2], &[3]), &nodes(3), 2);
        assert_eq!(c, [Change { copies: vec![], drops: vec![3] }]);
        let c = planned(&one(&[1], &[2, 3]), &nodes(3), 1);
        assert_eq!(c, [Change { copies: vec![], drops: vec![2, 3] }]);
    }

    #[test]
    fn nodes_that_are_away() {
        let mut n = nodes(3);
        n[0].reachable = false;
        let s = shards(&[&[1, 2]]);
        assert_eq!(planned(&s, &n, 1)[0].drops, [1]);
        assert_eq!(planned(&s, &n, 3)[0].copies, [(2, 3)]);
        assert_eq!(plan(&shards(&[&[2], &[1]]), &n, 2), Err(Trouble::NoSource(1)));
        assert_eq!(plan(&shards(&[&[2]]), &n, 3), Err(Trouble::NoTarget(0)));
        n[1].wanted = false;
        assert_eq!(planned(&shards(&[&[2, 3]]), &n, 1)[0].drops, [2]);
    }
}
