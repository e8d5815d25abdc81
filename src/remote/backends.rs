//! What the sessions of this server do on other nodes, in shared memory: the transaction, and the
//! process ids of their backends there.
//!
//! This is how a backend of another node is known to work for a session of this one: by what this
//! node itself was told when it opened the connection. Nothing that a client says or sets takes
//! part in it, and it costs no message and no statement.

use crate::error::{sqlstate, Error};
use crate::pg::shmem::{Slot, Table};
use crate::pg::{procs, session, xact};
use std::cell::Cell;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// A global process id is the node's id times this, plus the process id.
pub const GPID_NODE_FACTOR: i64 = 10_000_000_000;

/// Connections of one session that can be entered; further ones are not seen by the detection of
/// deadlocks.
const CONNECTIONS: usize = 64;
/// Waits of a deadlock that its victim can tell about.
const STORY: usize = 8;

/// Process id, 0 while the row is free.
const PID: usize = 0;
/// OID of the database.
const DATABASE: usize = 1;
/// Number of the transaction in which nodes take part.
const NUMBER: usize = 2;
/// When it began.
const START: usize = 3;
/// Whether it has begun on a node, as opposed to a single statement there.
const BEGAN: usize = 4;
/// Number of the transaction that has to be given up.
const VERDICT: usize = 5;
/// What `assign_distributed_transaction_id` was told: for which transaction, node, number, time.
const ASSIGNED: usize = 6;
/// Length of the story, then for each wait the node and the global process ids.
const TOLD: usize = ASSIGNED + 4;
const FIRST_CONNECTION: usize = TOLD + 1 + 3 * STORY;
/// For each connection the number of the transaction that was begun on it last.
const FIRST_BEGUN: usize = FIRST_CONNECTION + CONNECTIONS;
const WORDS: usize = FIRST_BEGUN + CONNECTIONS;

type Row = Slot<WORDS>;

/// A row for each backend, written by the backend itself, except for the verdict. So it needs no
/// lock; readers compare what they see with a second look before they act.
pub static TABLE: Table<WORDS> = Table::new(c"citus_backends", procs::max_backends);

thread_local! {
    static MINE: Cell<Option<&'static Row>> = const { Cell::new(None) };
}

/// This backend's row, entered with its first use.
fn mine() -> Option<&'static Row> {
    if let Some(row) = MINE.with(Cell::get) {
        return Some(row);
    }
    let row = TABLE.slots().get(procs::my_place()?)?;
    clear(row);
    row[DATABASE].store(u64::from(session::database()), Relaxed);
    row[PID].store(session::backend_pid() as u64, Release);
    MINE.with(|m| m.set(Some(row)));
    xact::at_exit(|| {
        if let Some(row) = MINE.with(Cell::take) {
            clear(row);
        }
    });
    Some(row)
}

fn clear(row: &Row) {
    row.iter().for_each(|w| w.store(0, Release));
}

/// Nodes take part in the running transaction.
pub(crate) fn joined() {
    let Some(row) = mine() else { return };
    let number = procs::my_transaction();
    if row[NUMBER].load(Relaxed) != number {
        row[START].store(procs::my_transaction_start() as u64, Relaxed);
        row[BEGAN].store(0, Relaxed);
        row[NUMBER].store(number, Release);
    }
}

/// The running transaction was begun on a connection: what is locked there stays so until its end.
pub(super) fn began(connection: Option<&Connection>) {
    let Some(row) = MINE.with(Cell::get) else { return };
    row[BEGAN].store(1, Release);
    if let Some(c) = connection {
        c.begun.store(row[NUMBER].load(Relaxed), Release);
    }
}

/// No node takes part any more.
pub(crate) fn left() {
    if let Some(row) = MINE.with(Cell::get) {
        row[NUMBER].store(0, Release);
    }
}

/// A connection's entry, taken back when it is dropped.
#[derive(Debug)]
pub struct Connection {
    backend: &'static AtomicU64,
    begun: &'static AtomicU64,
}

impl Connection {
    /// Enters a backend of another node that works for this session from now on.
    pub fn enter(node: i32, pid: i32) -> Option<Connection> {
        let (backends, begun) = mine()?[FIRST_CONNECTION..].split_at(CONNECTIONS);
        let mut places = backends.iter().zip(begun);
        let (backend, begun) = places.find(|(b, _)| b.load(Relaxed) == 0)?;
        begun.store(0, Relaxed);
        backend.store(pack(node, pid), Release);
        Some(Connection { backend, begun })
    }

    /// The node is known by another id now.
    pub fn rename(&self, node: i32) {
        let pid = self.backend.load(Relaxed) as u32 as i32;
        self.backend.store(pack(node, pid), Release);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // At exit the row is cleared as a whole, and may be somebody else's already.
        if MINE.with(Cell::get).is_some() {
            self.backend.store(0, Release);
        }
    }
}

/// Wakes an idle session that keeps a connection to a node, so that it looks whether somebody else
/// needs it (see [`super::pool::make_room`]). Sessions of other databases know the node by another
/// id: one of them is woken when this one has none.
pub(super) fn nudge(node: i32, chance: usize) {
    let database = u64::from(session::database());
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for row in TABLE.slots() {
        let pid = row[PID].load(Acquire) as i32;
        if pid == 0 || pid == session::backend_pid() || row[NUMBER].load(Relaxed) != 0 {
            continue;
        }
        let mut connections = row[FIRST_CONNECTION..FIRST_BEGUN].iter().map(|w| w.load(Relaxed));
        if row[DATABASE].load(Relaxed) != database {
            if connections.any(|w| w != 0) {
                elsewhere.push(pid);
            }
        } else if connections.any(|w| w != 0 && (w >> 32) as u32 as i32 == node) {
            here.push(pid);
        }
    }
    let from = if here.is_empty() { elsewhere } else { here };
    if let Some(pid) = from.get(chance % from.len().max(1)) {
        procs::wake_idle(*pid);
    }
}

fn pack(node: i32, pid: i32) -> u64 {
    (u64::from(node as u32) << 32) | u64::from(pid as u32)
}

/// A session of this server that has been at work on other nodes.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its place among the backends of this server.
    pub place: usize,
    /// Its process id.
    pub pid: i32,
    /// Number of the running transaction in which nodes take part, 0 without one.
    pub number: u64,
    /// When that began.
    pub start: i64,
    /// Whether it has begun on a node.
    pub began: bool,
    /// It waits for a lock, or for a node.
    pub waits: bool,
    /// Its backends on other nodes: node id and process id.
    pub connections: Vec<(i32, i32)>,
    /// Those of them on which the running transaction has begun. Others may still be at the end of an
    /// earlier one, which nobody waits for.
    pub begun: Vec<(i32, i32)>,
    /// What `assign_distributed_transaction_id` said about the running transaction: node, number,
    /// time.
    pub assigned: Option<(i32, i64, i64)>,
}

/// All such sessions in this database.
pub fn all() -> Vec<Worker> {
    let database = u64::from(session::database());
    let rows = TABLE.slots().iter().enumerate();
    rows.filter_map(|(place, row)| worker(place, row, database)).collect()
}

fn worker(place: usize, row: &Row, database: u64) -> Option<Worker> {
    let pid = row[PID].load(Acquire) as i32;
    if pid == 0 || row[DATABASE].load(Relaxed) != database {
        return None;
    }
    let backend = procs::at_place(place).filter(|b| b.pid == pid)?;
    let current = |n: u64| n != 0 && n == backend.transaction;
    let number = Some(row[NUMBER].load(Acquire)).filter(|n| current(*n)).unwrap_or(0);
    let word = |i: usize| row[i].load(Relaxed);
    let assigned = current(word(ASSIGNED))
        .then(|| (word(ASSIGNED + 1) as i32, word(ASSIGNED + 2) as i64, word(ASSIGNED + 3) as i64));
    let (backends, begun) = row[FIRST_CONNECTION..].split_at(CONNECTIONS);
    let backends = backends.iter().zip(begun).map(|(b, n)| (b.load(Acquire), n.load(Acquire)));
    let (mut connections, mut begun) = (Vec::new(), Vec::new());
    for (word, of) in backends.filter(|b| b.0 != 0) {
        let backend = ((word >> 32) as u32 as i32, word as u32 as i32);
        connections.push(backend);
        if number != 0 && of == number {
            begun.push(backend);
        }
    }
    Some(Worker {
        place,
        pid,
        number,
        start: word(START) as i64,
        began: word(BEGAN) != 0,
        waits: backend.waits,
        connections,
        begun,
        assigned,
    })
}

/// A step of a deadlock as it is told: on a node, one session waits for another.
pub type Step = (i32, i64, i64);

/// Asks a session to give up its transaction, if it still is in that one, because of a deadlock.
pub(crate) fn condemn(place: usize, number: u64, story: &[Step]) {
    let Some(row) = TABLE.slots().get(place) else { return };
    let story = story.get(..STORY).unwrap_or(story);
    row[TOLD].store(story.len() as u64, Relaxed);
    for ((node, waiter, blocker), words) in story.iter().zip(row[TOLD + 1..].chunks_exact(3)) {
        for (word, value) in words.iter().zip([*node as i64, *waiter, *blocker]) {
            word.store(value as u64, Relaxed);
        }
    }
    row[VERDICT].store(number, Release);
}

/// Whether [`verdict`] may have something to say; costs nothing.
fn is_condemned(row: &Row) -> bool {
    let verdict = row[VERDICT].load(Acquire);
    verdict != 0 && verdict == row[NUMBER].load(Relaxed)
}

/// The error that ends this session's transaction because of a deadlock, once.
pub(crate) fn verdict() -> Option<Error> {
    let row = MINE.with(Cell::get)?;
    if !is_condemned(row) {
        return None;
    }
    row[VERDICT].store(0, Relaxed);
    let told = row[TOLD].load(Relaxed).min(STORY as u64) as usize;
    let steps = row[TOLD + 1..].chunks_exact(3).take(told).map(|words| {
        let mut words = words.iter().map(|w| w.load(Relaxed));
        let mut next = || words.next().unwrap_or_default() as i64;
        format!(
            "On node {}, the session with global process id {} waits for {}.",
            next(),
            next(),
            next()
        )
    });
    let detail = steps.collect::<Vec<_>>().join("\n");
    Some(
        Error::new(
            sqlstate::DEADLOCK_DETECTED,
            "canceling the transaction since it was involved in a distributed deadlock",
        )
        .detail(detail)
        .hint("Roll back and run the transaction again."),
    )
}

/// Remembers a number given to the running transaction from outside; false when it has one.
pub fn assign(node: i32, number: i64, time: i64) -> bool {
    let Some(row) = mine() else { return true };
    let current = procs::my_transaction();
    if row[ASSIGNED].load(Relaxed) == current {
        return false;
    }
    let words = row[ASSIGNED + 1..].iter();
    for (word, value) in words.zip([i64::from(node), number, time]) {
        word.store(value as u64, Relaxed);
    }
    row[ASSIGNED].store(current, Release);
    true
}
