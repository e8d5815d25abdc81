//! Connections that sessions leave behind for those that come.
//!
//! A client that connects for each request would pay for two processes, this server's and the
//! node's. So a session that ends in peace does not close its connections: it tells the node to
//! forget everything (`DISCARD ALL`) and leaves the descriptor, with what must be known of it, in
//! one of the server's places ([`handover`]). A session that would now make the very same
//! connection takes it from there; what it reads first is the node's answer. No process stands
//! between the two, and neither waits for the other.
//!
//! What may be taken by whom is decided by the code of both sides, by the identity that
//! `target::identity` writes down: database, role and everything that the connection was made with.
//!
//! The launcher closes what nobody has taken in time. Whoever needs one of a node's last
//! connections, changes roles, databases or nodes, closes what is kept as well.

use super::backends::Connection;
use super::connect::Target;
use super::limits;
use super::line;
use super::message::TxStatus;
use super::session::{Answers, NodeAddr, Session, SessionRef, Settings};
use super::shared::{self, Permit};
use super::target;
use super::transport::Transport;
use super::wire;
use crate::pg::fmgr::quote_literal;
use crate::pg::net::{poll, Address, Interest, Socket};
use crate::pg::shmem::{Slot, Table};
use crate::pg::wait::stop_requested;
use crate::pg::{handover, server, session};
use crate::settings;
use crate::worker::board;
use note::Note;
use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::time::{Duration, Instant};

mod note;

/// Time that the answer to `DISCARD ALL` may be waited for: less than a new connection takes.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);
/// A connection is kept again and again, but not for ever: a node that is to be shut down waits
/// until its sessions have left. In units of the time for which it is kept.
const LIFE: u32 = 10;

/// Words of a row.
const STATE: usize = 0;
/// Hash of the identity.
const KEY: usize = 1;
/// OID of the database here.
const DATABASE: usize = 2;
/// Node id and process id there.
const BACKEND: usize = 3;
/// When it was left, in microseconds.
const SINCE: usize = 4;
/// When it is to be closed.
const ENDS: usize = 5;
/// [`Permit::place`].
const PERMIT: usize = 6;
const WORDS: usize = 7;

/// States of a row. Whoever brings it to `BUSY` owns row and place until he sets another one.
mod state {
    pub const FREE: u64 = 0;
    pub const BUSY: u64 = 1;
    pub const FULL: u64 = 2;
}

type Row = Slot<WORDS>;

/// What lies in the places.
pub static TABLE: Table<WORDS> = Table::new(c"citus_kept_connections", handover::places);
/// When the launcher looks for what has to be closed, 0 when it does not intend to.
/// And when something was left last.
pub static WATCH: Table<2> = Table::new(c"citus_kept_watch", || 1);

/// Makes the places; from `_PG_init`.
pub fn register() {
    handover::prepare(usize::try_from(settings::max_kept_connections()).unwrap_or(0));
}

fn now() -> u64 {
    u64::try_from(server::now_micros()).unwrap_or(0)
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

fn hash(identity: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish()
}

/// A row and its place while they are ours. They are free again when it is dropped.
struct Claim {
    place: usize,
    row: &'static Row,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.row[STATE].store(state::FREE, Release);
    }
}

impl Claim {
    fn new(place: usize, row: &'static Row, from: u64) -> Option<Claim> {
        row[STATE].compare_exchange(from, state::BUSY, AcqRel, Relaxed).ok()?;
        Some(Claim { place, row })
    }

    fn free() -> Option<Claim> {
        let mut rows = TABLE.slots().iter().enumerate();
        rows.find_map(|(place, row)| Claim::new(place, row, state::FREE))
    }

    /// Others may have it as it is.
    fn publish(self) {
        self.row[STATE].store(state::FULL, SeqCst);
        std::mem::forget(self);
    }

    /// Takes out what lies there.
    fn empty(self) -> Option<(OwnedFd, Note, Permit)> {
        let permit = Permit::resume(self.word(PERMIT));
        let (fd, note) = handover::fetch(self.place)?;
        let note = Note::read(&note)?;
        (note.since == self.word(SINCE)).then_some((fd, note, permit))
    }

    /// Closes what lies there.
    fn close(self) {
        let Some((fd, _, permit)) = self.empty() else { return };
        if let Ok(socket) = Socket::adopt(fd) {
            let mut bye = Vec::new();
            wire::terminate(&mut bye);
            let _ = socket.write(&bye);
        }
        drop(permit);
    }

    fn word(&self, word: usize) -> u64 {
        self.row[word].load(Relaxed)
    }
}

/// Rows that are full, with their places. They can be anything else the next moment.
fn full() -> impl Iterator<Item = (usize, &'static Row)> {
    TABLE.slots().iter().enumerate().filter(|(_, r)| r[STATE].load(Acquire) == state::FULL)
}

/// Closes what is kept and meets the condition; how many there were.
fn close_where(condition: impl Fn(&Row) -> bool) -> usize {
    let found = full().filter(|(_, row)| condition(row));
    let claims = found.filter_map(|(place, row)| Claim::new(place, row, state::FULL));
    claims
        .map(|claim| {
            if condition(claim.row) {
                claim.close();
                1
            } else {
                // Another one, that came in between.
                claim.publish();
                0
            }
        })
        .sum()
}

/// Closes everything that is kept.
pub fn close_all() {
    close_where(|_| true);
}

/// Closes what sessions of a database have left.
pub fn close_database(database: u32) {
    close_where(|row| row[DATABASE].load(Relaxed) == u64::from(database));
}

/// Closes one kept connection to a node, since somebody needs one; false when there is none.
pub(super) fn give_up(node: &NodeAddr) -> bool {
    let place = shared::place(node);
    let oldest = full()
        .filter(|(_, row)| row[PERMIT].load(Relaxed) == place)
        .min_by_key(|(_, row)| row[SINCE].load(Relaxed));
    let Some((_, row)) = oldest else { return false };
    let since = row[SINCE].load(Relaxed);
    close_where(|r| std::ptr::eq(r, row) && r[SINCE].load(Relaxed) == since) > 0
}

/// Closes what has been kept long enough; the time until there is more. The launcher calls it
/// before it sleeps, and does not sleep longer than that.
pub fn watch() -> Option<Duration> {
    let [[watch, last]] = WATCH.slots() else { return None };
    // Who leaves something from here on wakes us.
    watch.store(0, SeqCst);
    let now = now();
    close_where(|row| row[ENDS].load(Relaxed) <= now);
    let next = full().map(|(_, row)| row[ENDS].load(Relaxed)).min();
    // Where many are left and taken at once, not each of them wakes us.
    let soon = limits::kept_time().map(|time| last.load(Relaxed).saturating_add(micros(time)));
    let next = next.or(soon.filter(|soon| *soon > now))?;
    watch.store(next, SeqCst);
    // A little late rather than twice.
    Some(Duration::from_micros(next.saturating_sub(now)) + Duration::from_millis(2))
}

/// Sees to it that the launcher looks in time.
fn announce(ends: u64) {
    let [[watch, last]] = WATCH.slots() else { return };
    last.store(now(), Relaxed);
    let next = watch.load(SeqCst);
    if next == 0 || next > ends {
        board::wake_launcher(false);
    }
}

/// When a connection is to be closed that is left now; `None` when it is not to be kept at all.
///
/// One that somebody waits for is in use, and grows as old as if one session had kept it.
fn ends(s: &Session, now: u64, wanted: bool) -> Option<u64> {
    let time = limits::kept_time()?;
    let idle = if wanted { Duration::MAX } else { time.saturating_mul(LIFE) };
    let life = idle.min(limits::max_lifetime().unwrap_or(Duration::MAX));
    let left = life.checked_sub(s.created.elapsed())?.min(time);
    Some(now.saturating_add(micros(left)))
}

/// Whether nothing on the connection is under way but the end of a transaction, and `DISCARD ALL`
/// leaves nothing behind.
///
/// The answer to COMMIT or ROLLBACK of a transaction that has only read is not waited for. It has
/// mostly not come yet when the connection is passed on: whoever takes it reads it.
fn is_clean(s: &Session) -> bool {
    !s.is_broken()
        && !s.marked
        && !s.settings_unknown
        && (s.status == TxStatus::Idle || s.outstanding() > 0)
        && s.only_ends()
        && s.opening.0.is_empty()
        && s.input.len() == 0
        && matches!(s.transport, Transport::Plain(_))
}

/// Reads the answers that have come meanwhile; false when there is anything else.
fn settle(s: &mut Session) -> bool {
    s.quiet = true;
    while !s.is_broken() && s.outstanding() > 0 && matches!(s.fill(), Ok(true)) {
        if !matches!(s.next(), Ok(None)) {
            s.poison();
        }
    }
    s.quiet = false;
    !s.is_broken()
}

impl Session {
    /// The node gets these settings.
    pub(crate) fn note_settings(&mut self, settings: &Settings) {
        self.marked |= settings.iter().any(|(name, _)| name.contains('.'));
    }
}

/// Leaves the connection of a session that is not needed any more to one that comes; otherwise the
/// session stays as it was, or has been told to forget everything. Never waits, never raises.
pub(super) fn offer(session: &SessionRef) {
    let place = session.try_borrow().ok().and_then(|s| shared::index(&s.node));
    if place.is_some_and(shared::is_wanted) {
        pass_on(session);
        return;
    }
    let Ok(mut s) = session.try_borrow_mut() else { return };
    let there = || {
        let place = shared::place(&s.node);
        full().filter(|(_, row)| row[PERMIT].load(Relaxed) == place).count()
    };
    if !shared::is_full(&s.node) && there() < shared::keepable(&s.node) {
        leave(&mut s, false);
    }
}

/// Leaves the connection to a session that waits for one; whether it could be. Otherwise as
/// [`offer`].
pub(super) fn pass_on(session: &SessionRef) -> bool {
    let Ok(mut s) = session.try_borrow_mut() else { return false };
    let left = leave(&mut s, true);
    let node = shared::index(&s.node);
    drop(s);
    if left {
        line::wake(node);
    }
    left
}

fn leave(s: &mut Session, wanted: bool) -> bool {
    let now = now();
    let (Some(identity), Some(ends)) = (s.identity.clone(), ends(s, now, wanted)) else {
        return false;
    };
    // Without the launcher nobody would close it.
    if !settle(s) || !is_clean(s) || !board::launcher_works() {
        return false;
    }
    let Some(claim) = Claim::free() else { return false };
    s.queue_internal("DISCARD ALL", Answers::Essential);
    let left = matches!(s.flush(), Ok(true)) && !s.is_broken() && hand_over(s, &claim, now);
    // Left or not: no word of ours, nor an end of it, comes after that.
    s.poison();
    if !left {
        return false;
    }
    let row = claim.row;
    row[KEY].store(hash(&identity), Relaxed);
    row[DATABASE].store(u64::from(session::database()), Relaxed);
    row[BACKEND].store(pack(s.node.id, s.backend.0), Relaxed);
    row[SINCE].store(now, Relaxed);
    row[ENDS].store(ends, Relaxed);
    row[PERMIT].store(s.permit.take().unwrap_or_default().leave(), Relaxed);
    claim.publish();
    announce(ends);
    true
}

/// Puts the descriptor into a place, with what the next session has to know.
fn hand_over(s: &Session, claim: &Claim, now: u64) -> bool {
    let Some(identity) = s.identity.as_ref() else { return false };
    let note = Note {
        since: now,
        created: now.saturating_sub(micros(s.created.elapsed())),
        backend: s.backend,
        address: s.address.clone(),
        proofs: s.proofs,
        answers: s.outstanding() as u64,
        identity: identity.to_string(),
    };
    handover::leave(claim.place, s.fd(), &note.write())
}

fn pack(node: i32, pid: i32) -> u64 {
    (u64::from(node as u32) << 32) | u64::from(pid as u32)
}

/// A connection that some session has left, and that this one would otherwise make.
///
/// `patience` is how long the node's answer is waited for.
pub(super) fn take(target: &Target, patience: Duration) -> Option<Session> {
    let identity = target.identity.as_ref()?;
    limits::kept_time()?;
    let key = hash(identity);
    let deadline = Instant::now() + patience;
    while let Some(claim) = newest(key) {
        let revived = claim.empty().and_then(|c| revive(target, identity, c, deadline));
        if revived.is_some() {
            return revived;
        }
        if Instant::now() >= deadline {
            return None;
        }
    }
    None
}

/// The connection with this key that was left last: what is too many is never used again, and
/// closed when its time is over.
fn newest(key: u64) -> Option<Claim> {
    loop {
        let now = now();
        let fits = |row: &Row| row[KEY].load(Relaxed) == key && row[ENDS].load(Relaxed) > now;
        let (place, row) =
            full().filter(|(_, row)| fits(row)).max_by_key(|(_, row)| row[SINCE].load(Relaxed))?;
        match Claim::new(place, row, state::FULL) {
            Some(claim) if fits(claim.row) => return Some(claim),
            Some(claim) => claim.publish(),
            None => {}
        }
    }
}

/// A session over a connection that was left, if it is what it should be and the node has
/// forgotten what was before.
fn revive(
    target: &Target,
    identity: &Rc<str>,
    (fd, note, permit): (OwnedFd, Note, Permit),
    deadline: Instant,
) -> Option<Session> {
    let age = Duration::from_micros(now().saturating_sub(note.created));
    if *note.identity != **identity || limits::max_lifetime().is_some_and(|limit| age > limit) {
        return None;
    }
    let transport = Transport::Plain(Rc::new(Socket::adopt(fd).ok()?));
    let mut s = Session::new(target.node.clone(), target.user.clone(), transport);
    s.address = note.address;
    s.backend = note.backend;
    s.login = Some(target.login());
    s.proofs = note.proofs;
    s.permit = Some(permit);
    s.created = Instant::now().checked_sub(age)?;
    s.identity = Some(identity.clone());
    s.quiet = true;
    // Somebody else has asked.
    (0..note.answers).for_each(|_| s.end_batch(Answers::Essential));
    if !forgets(&mut s, deadline) {
        return None;
    }
    s.quiet = false;
    s.entry = Connection::enter(s.node.id, s.backend.0);
    // Travels with the first statement.
    let name = quote_literal(&target::application_name());
    s.queue_internal(&format!("SET application_name TO {name}"), Answers::Discard);
    Some(s)
}

/// Reads the answers up to that of `DISCARD ALL`; whether they are the right ones and the node is
/// still there.
fn forgets(s: &mut Session, deadline: Instant) -> bool {
    loop {
        match s.fill() {
            Ok(true) => {
                if !matches!(s.next(), Ok(None)) || s.is_broken() {
                    return false;
                }
            }
            // Nothing more is there, not even an end.
            Ok(false) if s.outstanding() == 0 => {
                return s.status == TxStatus::Idle && s.input.len() == 0;
            }
            Ok(false) => {
                let mut i = [Interest { fd: s.fd(), write: false, ready: false }];
                poll(&mut i, deadline, stop_requested);
                if !i.iter().any(|i| i.ready) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

thread_local! {
    static OUTDATED: Cell<bool> = const { Cell::new(false) };
}

/// The running transaction changes what connections depend on: roles, databases or nodes.
pub fn outdate() {
    OUTDATED.with(|o| o.set(true));
}

/// The transaction has ended; what was kept before it is closed if need be.
pub fn transaction_ended(committed: bool) {
    if OUTDATED.with(|o| o.replace(false)) && committed {
        close_all();
    }
}

/// A kept connection, to be looked at.
#[derive(Clone, Debug)]
pub struct Kept {
    /// OID of the database here.
    pub database: u32,
    /// Node id.
    pub node: i32,
    /// Process id of its backend there.
    pub pid: i32,
    /// When it was left, in microseconds of PostgreSQL's epoch.
    pub since: i64,
    /// When it will be closed.
    pub ends: i64,
}

/// All of them.
pub fn list() -> Vec<Kept> {
    full()
        .map(|(_, row)| {
            let word = |w: usize| row[w].load(Relaxed);
            Kept {
                database: word(DATABASE) as u32,
                node: (word(BACKEND) >> 32) as u32 as i32,
                pid: word(BACKEND) as u32 as i32,
                since: word(SINCE) as i64,
                ends: word(ENDS) as i64,
            }
        })
        .collect()
}
