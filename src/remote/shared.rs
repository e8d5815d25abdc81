//! Connections of all backends together, by node (`citus.max_shared_pool_size`).

use super::session::NodeAddr;
use crate::error::{sqlstate, Error, Result};
use crate::pg::guc;
use crate::pg::shmem::{Slot, Table};
use crate::settings;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering::Relaxed;

/// Nodes that can be counted; connections to further ones are not limited.
const NODES: usize = 1024;

/// Rows: hash of name and port (0 while free), connections. Rows are taken for good.
pub static TABLE: Table<2> = Table::new(c"citus_shared_pool", || NODES);

/// The right to hold a connection, given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Permit(Option<&'static Slot<2>>);

impl Permit {
    /// Leaves the permit, and the connection with it, to whoever calls [`Permit::resume`].
    pub fn leave(self) -> u64 {
        let place = self.place();
        std::mem::forget(self);
        place
    }

    /// Goes on with a permit that was left.
    pub fn resume(place: u64) -> Permit {
        let index = usize::try_from(place).ok().and_then(|p| p.checked_sub(1));
        Permit(index.and_then(|i| TABLE.slots().get(i)))
    }

    /// Which node it is for; 0 when that is not counted.
    pub fn place(&self) -> u64 {
        let mut rows = TABLE.slots().iter();
        let index = self.0.and_then(|mine| rows.position(|row| std::ptr::eq(row, mine)));
        index.map_or(0, |i| i as u64 + 1)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some([_, count]) = self.0 {
            let _ = count.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }
}

/// Connections that all backends together may have to one node.
fn limit() -> Option<u64> {
    match settings::max_shared_pool_size() {
        0 => u64::try_from(guc::max_connections()).ok(),
        n => u64::try_from(n).ok(),
    }
}

fn row(node: &NodeAddr) -> Option<&'static Slot<2>> {
    let mut hasher = DefaultHasher::new();
    (node.name.as_str(), node.port).hash(&mut hasher);
    let key = hasher.finish().max(1);
    TABLE.slots().iter().find(|[owner, _]| {
        let now = owner.load(Relaxed);
        now == key
            || (now == 0
                && match owner.compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => true,
                    Err(taken) => taken == key,
                })
    })
}

/// A permit, or `None` while the limit is reached.
pub(super) fn permit(node: &NodeAddr) -> Option<Permit> {
    let Some(slot) = row(node) else { return Some(Permit(None)) };
    let [_, count] = slot;
    let limit = limit().unwrap_or(u64::MAX);
    let more = |n: u64| (n < limit).then_some(n + 1);
    count.fetch_update(Relaxed, Relaxed, more).ok().map(|_| Permit(Some(slot)))
}

/// Whether others may be waiting for a connection to the node.
pub(super) fn is_full(node: &NodeAddr) -> bool {
    match (row(node), limit()) {
        (Some([_, count]), Some(limit)) => count.load(Relaxed) >= limit,
        _ => false,
    }
}

/// [`Permit::place`] of a node's permits.
pub(super) fn place(node: &NodeAddr) -> u64 {
    // Not a permit: nothing is to be given back.
    std::mem::ManuallyDrop::new(Permit(row(node))).place()
}

/// How many of a node's connections may be kept for sessions to come: others need some, too.
pub(super) fn keepable() -> usize {
    limit().map_or(usize::MAX, |l| usize::try_from(l / 2).unwrap_or(usize::MAX))
}

/// The error of waiting too long for a permit.
pub(super) fn exhausted(node: &NodeAddr) -> Error {
    let message = format!("too many connections to node {node}");
    Error::new(sqlstate::TOO_MANY_CONNECTIONS, message)
        .detail("All sessions together use the number that citus.max_shared_pool_size allows.")
        .hint("Try again later, or raise citus.max_shared_pool_size.")
}

/// Waits for a permit as long as `wait` agrees.
pub(super) fn await_permit(
    node: &NodeAddr,
    mut wait: impl FnMut() -> Result<bool>,
) -> Result<Permit> {
    loop {
        if let Some(p) = permit(node) {
            return Ok(p);
        }
        if !wait()? {
            return Err(exhausted(node));
        }
    }
}
