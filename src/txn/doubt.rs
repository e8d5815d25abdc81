//! What stays between the two phases of a commit, in shared memory, for those who read.
//!
//! A node is *settled* when nothing is left on it that was decided and is not yet visible. One
//! that nobody has asked since this server started is not: what a crash left there is not known.
//! A commit that could not reach a node before it left the gate makes it unsettled again.
//!
//! Local commits that go with commits on other nodes are remembered for a while, too: a
//! transaction's local snapshot may be older than its snapshots on other nodes.

use crate::pg::session;
use crate::pg::shmem::{Slot, Table};
use crate::pg::snapshot::Fixed;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Nodes of all databases that can be known to be settled; further ones are asked each time.
const NODES: usize = 4096;
/// Local commits that are remembered.
const COMMITS: usize = 1024;

/// Rows: database and group (0 while free); a version with the lowest bit set when settled;
/// commits that are still waiting for the node outside of the gate.
pub static TABLE: Table<3> = Table::new(c"citus_settled_nodes", || NODES);
/// The first row has the number of commits so far and the newest that was forgotten; then the
/// commits: id with epoch, and database. Those of other databases are nothing that a transaction
/// could read.
pub static RECENT: Table<2> = Table::new(c"citus_recent_commits", || COMMITS + 1);

fn row(group: i32) -> Option<&'static Slot<3>> {
    let key = (u64::from(session::database()) << 32) | u64::from(group as u32);
    let slots = TABLE.slots();
    let start = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52) as usize;
    (0..slots.len()).filter_map(|i| slots.get((start + i) % slots.len())).find(|[owner, ..]| {
        let now = owner.load(Relaxed);
        now == key
            || (now == 0
                && match owner.compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => true,
                    Err(taken) => taken == key,
                })
    })
}

/// Whether everything that was decided is visible on a group's primary. What cannot be known
/// counts as settled: it has just been asked.
pub(super) fn is_settled(group: i32) -> bool {
    match row(group) {
        Some([_, state, pending]) => state.load(Acquire) & 1 != 0 && pending.load(Acquire) == 0,
        None => true,
    }
}

/// Whether somebody who committed still waits for the node's answer.
pub(super) fn is_awaited(group: i32) -> bool {
    row(group).is_some_and(|[_, _, pending]| pending.load(Acquire) != 0)
}

/// What [`settle`] needs; to be read before the node is asked.
pub(super) fn token(group: i32) -> u64 {
    row(group).map_or(0, |[_, state, _]| state.load(Acquire))
}

/// The node was asked and has nothing left, unless something came up since the token was read.
pub(super) fn settle(group: i32, token: u64) {
    if let Some([_, state, _]) = row(group) {
        let _ = state.compare_exchange(token, token | 1, AcqRel, Relaxed);
    }
}

/// Something that was decided is not visible on the node yet.
pub(super) fn unsettle(group: i32) {
    if let Some([_, state, _]) = row(group) {
        let _ = state.fetch_update(AcqRel, Relaxed, |v| Some(((v >> 1) + 1) << 1));
    }
}

/// A commit goes on waiting for the node without keeping others from anything.
pub(super) fn await_answer(group: i32) {
    if let Some([_, _, pending]) = row(group) {
        pending.fetch_add(1, AcqRel);
    }
}

/// What [`await_answer`] announced is over; what failed goes to [`unsettle`] before.
pub(super) fn answered(group: i32) {
    if let Some([_, _, pending]) = row(group) {
        let _ = pending.fetch_update(AcqRel, Relaxed, |n| n.checked_sub(1));
    }
}

/// A local transaction is about to commit together with others on nodes; inside the gate.
pub(super) fn remember_commit(full_id: u64) {
    let Some(([head, forgotten], ids)) = RECENT.slots().split_first() else { return };
    let at = head.fetch_add(1, AcqRel) as usize % ids.len().max(1);
    if let Some([id, database]) = ids.get(at) {
        // Nobody of this database looks on meanwhile: whoever does is inside the gate, too.
        let old = id.swap(full_id, AcqRel);
        database.store(session::database().into(), Release);
        forgotten.fetch_max(old, AcqRel);
    }
}

/// Whether a snapshot may lack one of those local commits.
pub(super) fn lacks_commit(snapshot: &Fixed) -> bool {
    let Some(([_, forgotten], ids)) = RECENT.slots().split_first() else { return false };
    let unseen = |id: u64| id != 0 && !snapshot.sees(id);
    let here = u64::from(session::database());
    !snapshot.is_past(forgotten.load(Acquire).max(1)) && forgotten.load(Acquire) != 0
        || ids
            .iter()
            .any(|[id, database]| database.load(Acquire) == here && unseen(id.load(Acquire)))
}
