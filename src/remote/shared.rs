//! Connections of all backends together, by node (`citus.max_shared_pool_size`).
//!
//! Who finds no room waits in line ([`line`]). Meanwhile those who have had a connection for a while
//! pass it on, and those who keep one and do nothing are asked for it (`pool::make_room`). A part of
//! the room is kept for sessions that hold connections already, so that they are not held up by
//! those that hold none. When a node itself says that it has no room, what it took so far is the
//! limit for a while, and then a little more.

use super::limits;
use super::line;
use super::session::NodeAddr;
use crate::error::{sqlstate, Error};
use crate::pg::guc;
use crate::pg::shmem::{Slot, Table};
use crate::pg::xact;
use crate::settings;
use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nodes that can be counted; connections to further ones are not limited.
pub(super) const NODES: usize = 1024;
/// Milliseconds for which a node's refusal counts, and after which one connection more is tried
/// each time.
const REFUSED: u64 = 5000;
const RETRY: u64 = 500;
/// Connections of a node that are made anew for others in a second while many wait.
const PACE: u64 = 50;
/// Milliseconds between two requests to idle sessions to give way.
const NUDGE: u64 = 5;
/// Milliseconds for which a connection is kept, at least, and at most where it can be passed on.
const LEAST_LEASE: u64 = 20;
const LEASE: u64 = 500;
/// Milliseconds in which all that wait have their turn where connections can be passed on; anyway
/// within one in so many of the time that they wait for.
const ROUND: u64 = 1000;
const ROUNDS: u64 = 6;
/// The part of the room that is kept for those who hold connections already is one in so many.
const KEPT: u64 = 8;

/// Hash of name and port, 0 while the row is free.
const KEY: usize = 0;
/// Connections.
const COUNT: usize = 1;
/// Sessions that wait for one.
const WAITERS: usize = 2;
/// Connections that the node had taken when it refused one, and when that was.
const CAP: usize = 3;
const CAP_TIME: usize = 4;
/// When an idle session was asked to give way.
const NUDGED: usize = 5;
/// Connections that nobody holds: they have been left for whoever comes (`kept`).
const LEFT: usize = 6;
/// Set for this server itself.
const LOCAL: usize = 7;
const WORDS: usize = 8;

type Row = Slot<WORDS>;

/// A row for each node, taken for good.
pub static TABLE: Table<WORDS> = Table::new(c"citus_shared_pool", || NODES);

/// What this process has in a row.
struct Mine {
    row: &'static Row,
    permits: u64,
    waits: u64,
}

thread_local! {
    static MINE: RefCell<Vec<Mine>> = const { RefCell::new(Vec::new()) };
}

/// Changes what this process has in a row.
fn mine<R>(row: &'static Row, f: impl FnOnce(&mut Mine) -> R) -> Option<R> {
    MINE.with(|m| {
        let mut all = m.try_borrow_mut().ok()?;
        if all.is_empty() {
            xact::at_exit(leave);
        }
        let at = match all.iter().position(|m| std::ptr::eq(m.row, row)) {
            Some(at) => at,
            None => {
                all.push(Mine { row, permits: 0, waits: 0 });
                all.len() - 1
            }
        };
        all.get_mut(at).map(f)
    })
}

/// Takes one back of what this process has in a row; false after [`leave`], which has done it.
fn less(row: &'static Row, what: fn(&mut Mine) -> &mut u64) -> bool {
    MINE.with(|m| {
        let Ok(mut all) = m.try_borrow_mut() else { return false };
        let found = all.iter_mut().find(|m| std::ptr::eq(m.row, row)).map(what);
        found.filter(|n| **n > 0).map(|n| *n -= 1).is_some()
    })
}

/// The process ends, from wherever it is: what it has is given back, though nothing that holds it
/// is dropped any more.
fn leave() {
    let all = MINE.with(|m| m.try_borrow_mut().map(|mut m| std::mem::take(&mut *m)));
    for m in all.into_iter().flatten() {
        subtract(m.row, COUNT, m.permits);
        subtract(m.row, WAITERS, m.waits);
        line::wake(index_of(m.row));
    }
}

fn subtract(row: &Row, word: usize, n: u64) {
    if let Some(word) = row.get(word) {
        let _ = word.fetch_update(Relaxed, Relaxed, |now| Some(now.saturating_sub(n)));
    }
}

/// The right to hold a connection, given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Permit(Option<&'static Row>);

impl Permit {
    /// How long the connection may be kept although others wait for one; `None` while nobody does.
    ///
    /// Passing a connection on costs a few statements, and making another one instead (where
    /// `again` is true) as much as many. So it is kept for a while, the longer the dearer that is,
    /// but never so long that those who wait would wait too long.
    pub fn lease(&self, again: bool) -> Option<Duration> {
        let row = self.0?;
        let waiters = row[WAITERS].load(Relaxed);
        if waiters <= mine(row, |m| m.waits).unwrap_or(0) {
            return None;
        }
        let all = limit(row).min(row[COUNT].load(Relaxed)).max(1);
        let patience = u64::try_from(limits::connect_timeout().as_millis()).unwrap_or(u64::MAX);
        let longest = patience / ROUNDS;
        let (dear, round) = if again {
            (all.saturating_mul(1000) / PACE, longest)
        } else {
            (LEASE, longest.min(ROUND))
        };
        let fair = round.saturating_mul(all) / waiters;
        Some(Duration::from_millis(dear.min(fair).max(LEAST_LEASE)))
    }
}

impl Permit {
    /// Leaves the permit, and the connection with it, to whoever calls [`Permit::resume`].
    pub fn leave(self) -> u64 {
        // What the process has given back already is not left a second time.
        let counts = self.0.is_some_and(|row| less(row, |m| &mut m.permits));
        let place = if counts { self.place() } else { 0 };
        if let Some(row) = self.0.filter(|_| counts) {
            row[LEFT].fetch_add(1, Relaxed);
        }
        std::mem::forget(self);
        place
    }

    /// Goes on with a permit that was left.
    pub fn resume(place: u64) -> Permit {
        let index = usize::try_from(place).ok().and_then(|p| p.checked_sub(1));
        let row = index.and_then(|i| TABLE.slots().get(i));
        if let Some(row) = row {
            subtract(row, LEFT, 1);
            mine(row, |m| m.permits += 1);
        }
        Permit(row)
    }

    /// Which node it is for; 0 when that is not counted.
    pub fn place(&self) -> u64 {
        self.0.and_then(index_of).map_or(0, |i| i as u64 + 1)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(row) = self.0.filter(|row| less(row, |m| &mut m.permits)) {
            subtract(row, COUNT, 1);
            line::wake(index_of(row));
        }
    }
}

/// One that waits for connections to a node, until it is dropped.
pub(super) struct Waiting(Option<&'static Row>);

impl Waiting {
    pub fn begin(node: &NodeAddr) -> Waiting {
        let row = row(node);
        if let Some(row) = row {
            mine(row, |m| m.waits += 1);
            row[WAITERS].fetch_add(1, Relaxed);
        }
        Waiting(row)
    }

    /// A number that differs from one look to the next.
    pub fn chance(&self) -> usize {
        (now() / NUDGE) as usize
    }

    /// Whether it is time to ask another idle session to give way; true for one of all waiters.
    pub fn may_nudge(&self) -> bool {
        let (Some(row), now) = (self.0, now()) else { return false };
        let due = |last: u64| (now.saturating_sub(last) >= NUDGE).then_some(now);
        row[NUDGED].fetch_update(Relaxed, Relaxed, due).is_ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(row) = self.0.filter(|row| less(row, |m| &mut m.waits)) {
            subtract(row, WAITERS, 1);
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Connections that all backends together may have to one node.
fn limit(row: &Row) -> u64 {
    let set = match settings::max_shared_pool_size() {
        _ if row[LOCAL].load(Relaxed) != 0 => match settings::local_shared_pool_size() {
            0 => u64::try_from(guc::max_connections() / 2).ok(),
            n => u64::try_from(n).ok(),
        },
        0 => u64::try_from(guc::max_connections()).ok(),
        n => u64::try_from(n).ok(),
    };
    let set = set.unwrap_or(u64::MAX);
    let refused = row[CAP_TIME].load(Relaxed);
    if refused == 0 {
        return set;
    }
    // What the node takes may be more by now. That is found out by one at a time: each that is
    // refused costs the node a process.
    let more = now().saturating_sub(refused).saturating_sub(REFUSED) / RETRY;
    set.min(row[CAP].load(Relaxed).max(1).saturating_add(more))
}

/// Connections to a node that one who asks can have, those among them that nobody holds.
pub(super) fn room(index: usize, who: Asks) -> u64 {
    TABLE.slots().get(index).map_or(u64::MAX, |row| allowed(row, who).saturating_sub(in_use(row)))
}

/// Connections to a node that sessions hold, when there are no others and no more may be made.
pub(super) fn all_in_use(index: usize) -> Option<u64> {
    let row = TABLE.slots().get(index)?;
    Some(in_use(row)).filter(|n| *n >= limit(row))
}

fn in_use(row: &Row) -> u64 {
    row[COUNT].load(Relaxed).saturating_sub(row[LEFT].load(Relaxed))
}

fn allowed(row: &Row, who: Asks) -> u64 {
    let all = limit(row);
    match who {
        Asks::Comes => all - all / KEPT,
        Asks::Holds => all,
        Asks::Must => u64::MAX,
    }
}

fn index_of(row: &Row) -> Option<usize> {
    TABLE.slots().iter().position(|r| std::ptr::eq(r, row))
}

/// This server itself: `citus.local_shared_pool_size` is its limit.
pub(super) fn is_local(node: &NodeAddr) {
    if let Some(row) = row(node) {
        row[LOCAL].store(1, Relaxed);
    }
}

/// A node's place in the table.
pub(super) fn index(node: &NodeAddr) -> Option<usize> {
    row(node).and_then(index_of)
}

/// Whether sessions wait for connections to a node.
pub(super) fn is_wanted(index: usize) -> bool {
    TABLE.slots().get(index).is_some_and(|row| row[WAITERS].load(Relaxed) > 0)
}

fn row(node: &NodeAddr) -> Option<&'static Row> {
    let mut hasher = DefaultHasher::new();
    (node.name.as_str(), node.port).hash(&mut hasher);
    let key = hasher.finish().max(1);
    TABLE.slots().iter().find(|row| {
        let now = row[KEY].load(Relaxed);
        now == key
            || (now == 0
                && match row[KEY].compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => true,
                    Err(taken) => taken == key,
                })
    })
}

/// Who asks for a permit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asks {
    /// One that holds no connection.
    Comes,
    /// One that holds connections in its transaction.
    Holds,
    /// One that cannot wait: it would wait for itself.
    Must,
}

/// A permit, or `None` while the limit is reached.
pub(super) fn permit(node: &NodeAddr, who: Asks) -> Option<Permit> {
    let Some(row) = row(node) else { return Some(Permit(None)) };
    let limit = allowed(row, who);
    let more = |n: u64| (n < limit).then(|| n.saturating_add(1));
    row[COUNT].fetch_update(Relaxed, Relaxed, more).ok()?;
    mine(row, |m| m.permits += 1);
    Some(Permit(Some(row)))
}

/// What this process has: places of nodes, and how many connections to each, kept ones among them.
pub(super) fn holdings() -> Vec<(usize, u64)> {
    let held = |m: &Mine| Some((index_of(m.row)?, m.permits)).filter(|h| h.1 > 0);
    MINE.with(|m| {
        m.try_borrow().map_or_else(|_| Vec::new(), |m| m.iter().filter_map(held).collect())
    })
}

/// The node has refused a connection for want of room.
pub(super) fn refused(node: &NodeAddr) {
    if let Some(row) = row(node) {
        row[CAP].store(row[COUNT].load(Relaxed), Relaxed);
        row[CAP_TIME].store(now(), Relaxed);
    }
}

/// [`Permit::place`] of a node's permits.
pub(super) fn place(node: &NodeAddr) -> u64 {
    // Not a permit: nothing is to be given back.
    std::mem::ManuallyDrop::new(Permit(row(node))).place()
}

/// How many of a node's connections may be kept for sessions to come: others need some, too.
pub(super) fn keepable(node: &NodeAddr) -> usize {
    row(node).map_or(usize::MAX, |r| usize::try_from(limit(r) / 2).unwrap_or(usize::MAX))
}

/// Whether there is no room for one more connection, or somebody waits for it.
pub(super) fn is_full(node: &NodeAddr) -> bool {
    row(node).is_some_and(|r| r[WAITERS].load(Relaxed) > 0 || r[COUNT].load(Relaxed) >= limit(r))
}

/// The error of waiting too long for a permit.
pub(super) fn exhausted(node: &NodeAddr) -> Error {
    let message = format!("too many connections to node {node}");
    Error::new(sqlstate::TOO_MANY_CONNECTIONS, message)
        .detail("All sessions together use the number that citus.max_shared_pool_size or the node's max_connections allows.")
        .hint("Try again later, or raise these settings.")
}
