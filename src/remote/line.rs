//! The line of sessions that wait for connections to nodes: who comes first is served first.
//!
//! A session that waits has a number, and stands in line for all nodes that it needs at the same
//! time. It may take a connection to each of them as soon as there is more room than sessions
//! stand before it, and takes all or none: so nobody holds what he cannot use yet, and the first of
//! all is the first everywhere. Those that hold connections in their transaction stand before all
//! others. Whoever gives something back wakes those that it is for.
//!
//! Only the latter can wait for each other. Everything that is known about it is here, so that it
//! is seen at once ([`stuck`]): every connection to some nodes is held by sessions that wait for one
//! of those nodes. Then the youngest of them is the one to give way.

use super::shared::{self, Asks, NODES};
use crate::pg::shmem::{Slot, Table};
use crate::pg::{procs, xact};
use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Instant;

/// The number of a session that waits, 0 for one that does not.
const NUMBER: usize = 0;
/// When its transaction began.
const START: usize = 1;
/// One bit for each node that it waits for.
const WANTED: usize = 2;
/// What it holds meanwhile: node and number of connections.
const HELD: usize = WANTED + NODES / 64;
/// Nodes whose connections can be told; who holds more is taken for one that can go on.
const HOLDINGS: usize = 16;
const WORDS: usize = HELD + HOLDINGS;

/// Set in the number of who holds nothing: others go first.
const LATER: u64 = 1 << 63;
/// Sessions to wake at a time at most: each wakes the next.
const WAKE: usize = 4;

type Row = Slot<WORDS>;

/// A row for each backend, written by itself.
pub static TABLE: Table<WORDS> = Table::new(c"citus_line", procs::max_backends);
/// The last number.
pub static NUMBERS: Table<1> = Table::new(c"citus_line_numbers", || 1);

thread_local! {
    static EXIT_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// A place in line, given up when it is dropped.
pub(super) struct Place {
    row: Option<&'static Row>,
    nodes: Vec<usize>,
    pub who: Asks,
    /// When it was entered.
    pub since: Instant,
    number: u64,
}

/// The next number.
pub(super) fn number() -> u64 {
    NUMBERS.slots().first().map_or(1, |[n]| n.fetch_add(1, AcqRel) + 1)
}

impl Place {
    /// Stands in line for connections to nodes, by their places in the table of nodes; `held` is
    /// what the transaction holds meanwhile.
    pub fn enter(number: u64, nodes: Vec<usize>, who: Asks, held: &[(usize, u64)]) -> Place {
        let row = procs::my_place().and_then(|place| TABLE.slots().get(place));
        let number = if who == Asks::Comes { number | LATER } else { number };
        if let Some(row) = row {
            row[START].store(procs::my_transaction_start() as u64, Relaxed);
            for (at, word) in row[WANTED..HELD].iter().enumerate() {
                let bits = nodes.iter().filter(|n| *n / 64 == at).fold(0, |b, n| b | 1 << (n % 64));
                word.store(bits, Relaxed);
            }
            let held = if held.len() > HOLDINGS { &[] } else { held };
            let all = held.iter().map(|(node, n)| (*node as u64) << 32 | n);
            let words = row[HELD..].iter();
            words.zip(all.chain(std::iter::repeat(0))).for_each(|(w, h)| w.store(h, Relaxed));
            if !EXIT_HOOK.with(|h| h.replace(true)) {
                xact::at_exit(leave);
            }
            row[NUMBER].store(number, Release);
        }
        Place { row, nodes, who, since: Instant::now(), number }
    }

    /// Whether it is this session's turn at a node.
    pub fn is_next(&self, node: usize) -> bool {
        if self.row.is_none() {
            return true;
        }
        let room = shared::room(node, self.who);
        room > 0 && (self.before().filter(|row| wants(row, node)).count() as u64) < room
    }

    /// Sessions that stand before this one.
    fn before(&self) -> impl Iterator<Item = &'static Row> + '_ {
        TABLE.slots().iter().filter(|row| {
            let number = row[NUMBER].load(Acquire);
            number != 0 && number < self.number
        })
    }

    /// How many stand before this one at any of its nodes.
    pub fn rank(&self) -> usize {
        self.before().filter(|row| self.nodes.iter().any(|n| wants(row, *n))).count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(row) = self.row {
            row[NUMBER].store(0, Release);
            // It stood before others.
            self.nodes.iter().for_each(|node| wake(Some(*node)));
        }
    }
}

/// The process ends, from wherever it is.
fn leave() {
    if let Some(row) = procs::my_place().and_then(|place| TABLE.slots().get(place)) {
        row[NUMBER].store(0, Release);
    }
}

fn wants(row: &Row, node: usize) -> bool {
    row.get(WANTED + node / 64).is_some_and(|w| w.load(Relaxed) >> (node % 64) & 1 != 0)
}

/// Wakes those whose turn it may be at a node. Never raises.
pub(super) fn wake(node: Option<usize>) {
    let Some(node) = node.filter(|n| shared::is_wanted(*n)) else { return };
    let room = shared::room(node, Asks::Holds);
    if room == 0 {
        return;
    }
    let rows = TABLE.slots().iter().enumerate();
    let waiting = rows.filter_map(|(place, row)| {
        let number = row[NUMBER].load(Acquire);
        (number != 0 && wants(row, node)).then_some((number, place))
    });
    let mut waiting: Vec<_> = waiting.collect();
    waiting.sort_unstable();
    let first = usize::try_from(room).unwrap_or(WAKE).min(WAKE);
    waiting.iter().take(first).for_each(|(_, place)| procs::wake(*place));
}

/// A session that waits and holds something.
struct Waiter {
    place: usize,
    number: u64,
    start: u64,
    wanted: Vec<u64>,
    held: Vec<(usize, u64)>,
}

impl Waiter {
    fn read(place: usize, row: &Row) -> Option<Waiter> {
        let number = row[NUMBER].load(Acquire);
        let word = |w: &std::sync::atomic::AtomicU64| w.load(Relaxed);
        let held = row[HELD..].iter().map(word).filter(|h| *h != 0);
        let waiter = Waiter {
            place,
            number,
            start: row[START].load(Relaxed),
            wanted: row[WANTED..HELD].iter().map(word).collect(),
            held: held.map(|h| ((h >> 32) as usize, h & u64::from(u32::MAX))).collect(),
        };
        let waits = number != 0 && number & LATER == 0 && row[NUMBER].load(Acquire) == number;
        (waits && !waiter.held.is_empty()).then_some(waiter)
    }

    fn wants(&self, node: usize) -> bool {
        self.wanted.get(node / 64).is_some_and(|bits| bits >> (node % 64) & 1 != 0)
    }

    fn holds(&self, node: usize) -> u64 {
        self.held.iter().filter(|h| h.0 == node).map(|h| h.1).sum()
    }
}

/// Sessions that wait for each other's connections.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Stuck {
    /// The nodes, by their places in the table of nodes.
    pub nodes: Vec<usize>,
    /// The numbers of those who wait.
    numbers: Vec<u64>,
    /// The youngest one's place among the backends.
    youngest: usize,
}

impl Stuck {
    /// Whether this session is the one to give way.
    pub fn is_mine(&self) -> bool {
        procs::my_place() == Some(self.youngest)
    }
}

/// Looks for sessions that wait for each other. What two looks in a row find is so: none of them
/// has come any further in between, so that all that the first look counted were there together.
pub(super) fn stuck() -> Option<Stuck> {
    let rows = TABLE.slots().iter().enumerate();
    let waiters: Vec<Waiter> = rows.filter_map(|(place, row)| Waiter::read(place, row)).collect();
    let full = |n: &usize| waiters.iter().any(|w| w.wants(*n)) && shared::all_in_use(*n).is_some();
    let mut nodes: Vec<usize> = (0..NODES).filter(full).collect();
    loop {
        let blocked = || waiters.iter().filter(|w| nodes.iter().any(|n| w.wants(*n)));
        let is_held = |n: &usize| {
            let held: u64 = blocked().map(|w| w.holds(*n)).sum();
            shared::all_in_use(*n).is_some_and(|all| held >= all)
        };
        let left: Vec<usize> = nodes.iter().copied().filter(is_held).collect();
        if left.len() == nodes.len() {
            let part = || blocked().filter(|w| nodes.iter().any(|n| w.holds(*n) > 0));
            let youngest = part().max_by_key(|w| (w.start, w.place))?.place;
            let numbers = part().map(|w| w.number).collect();
            return Some(Stuck { nodes, numbers, youngest });
        }
        nodes = left;
    }
}
