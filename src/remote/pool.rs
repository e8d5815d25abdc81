//! Sessions that are kept between transactions.

use super::connect::{Connecting, Step};
use super::kept;
use super::limits;
use super::room::{self, Source};
use super::session::{Answers, NodeAddr, Session, SessionRef};
use super::shared::Permit;
use super::target::{application_name, target};
use crate::error::{Error, Result};
use crate::pg::fmgr::quote_literal;
use crate::pg::wait::{check_for_interrupts, WaitSet};
use crate::pg::xact;
use crate::pg::{memory, session as local};
use crate::stats::counters::{count, Counter};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A session that was used so shortly ago is not asked whether it is alive: whoever hangs up now
/// could as well have done it a moment later, in the middle of the statement.
const FRESH: Duration = Duration::from_millis(1);

thread_local! {
    static IDLE: RefCell<Vec<SessionRef>> = const { RefCell::new(Vec::new()) };
    static EXIT_HOOK: Cell<bool> = const { Cell::new(false) };
    static CLOSING: Cell<bool> = const { Cell::new(false) };
}

/// Sessions to nodes as a user, kept ones where possible; missing ones are connected in parallel,
/// within a limit of time if there is one. One result for each; the outer error is an interrupt.
pub fn acquire_each(
    nodes: &[NodeAddr],
    user: &str,
    limit: Option<Duration>,
) -> Result<Vec<Result<SessionRef>>> {
    room::sessions(nodes, user, limit, Source::Any)
}

/// A new session that is not taken from, nor counted by, the pool.
pub fn connect(node: &NodeAddr, user: &str) -> Result<SessionRef> {
    match connect_all(std::slice::from_ref(node), user)?.pop() {
        Some(result) => result,
        None => Err(Error::internal("no connection was made")),
    }
}

/// What a kept session is found by without looking at names: group, user and the state of the
/// metadata when its node was the primary of that group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// Node group.
    pub group: i32,
    /// OID of the user.
    pub user: u32,
    /// `catalog::generation`.
    pub generation: u64,
}

/// A kept session with this tag that is alive.
pub fn take_tagged(tag: Tag) -> Option<SessionRef> {
    let session = IDLE.with(|idle| {
        let mut idle = idle.borrow_mut();
        let at = idle.iter().position(|s| s.borrow().tag == Some(tag))?;
        Some(idle.swap_remove(at))
    })?;
    let works = usable(&mut session.borrow_mut());
    works.then(|| {
        count(Counter::ConnectionReused);
        session
    })
}

/// Gives a session a tag by which it is found when it is kept.
pub fn set_tag(session: &SessionRef, tag: Tag) {
    session.borrow_mut().tag = Some(tag);
}

/// A kept session that is alive.
pub(super) fn take_idle(node: &NodeAddr, user: &str) -> Option<SessionRef> {
    loop {
        let session = IDLE.with(|idle| {
            let mut idle = idle.borrow_mut();
            let at = idle.iter().position(|s| {
                let s = s.borrow();
                s.node.name == node.name && s.node.port == node.port && s.user == user
            })?;
            Some(idle.swap_remove(at))
        })?;
        let mut s = session.borrow_mut();
        if usable(&mut s) {
            if let Some(entry) = s.entry.as_ref().filter(|_| s.node.id != node.id) {
                entry.rename(node.id);
            }
            s.node = node.clone();
            drop(s);
            count(Counter::ConnectionReused);
            return Some(session);
        }
    }
}

/// [`take_idle`] for statements of our own, for which nobody else's may have laid anything.
fn take_clean(node: &NodeAddr, user: &str) -> Option<SessionRef> {
    let session = take_idle(node, user)?;
    let clean = {
        let mut s = session.borrow_mut();
        let own = s.runs_for == 0 || local::role_oid(user) == Some(s.runs_for);
        own || s.forget_users()
    };
    clean.then_some(session)
}

/// Whether a kept session can be used by another transaction. One that was several users' forgets
/// them before that.
fn usable(s: &mut Session) -> bool {
    works(s) && (!s.shared || s.forget_users())
}

/// Whether a kept session still works: not too old, and the node did not hang up.
fn works(s: &mut Session) -> bool {
    if s.is_broken() {
        return false;
    }
    if s.outstanding() == 0 && s.used.elapsed() < FRESH {
        return true;
    }
    if expired(s) {
        return false;
    }
    let mut byte = [0u8; 1];
    match s.transport.socket().peek(&mut byte) {
        Ok(0) => false,
        Ok(_) => {
            // Late answers to our own commands, or the reason for a hang-up.
            s.quiet = true;
            while matches!(s.fill(), Ok(true)) {
                if !matches!(s.next(), Ok(None)) {
                    return false;
                }
            }
            s.quiet = false;
            !s.is_broken()
        }
        Err(e) => e.kind() == std::io::ErrorKind::WouldBlock,
    }
}

fn expired(s: &Session) -> bool {
    limits::max_lifetime().is_some_and(|limit| s.created.elapsed() > limit)
}

/// Gives a session back: kept within the limits, else closed.
pub fn give_back(session: SessionRef) {
    if CLOSING.with(Cell::get) || limits::max_cached() == 0 {
        return;
    }
    let keep = match session.try_borrow_mut() {
        Ok(mut s) => {
            s.quiet = false;
            s.used = Instant::now();
            s.acting = None;
            if s.input.shrink() {
                // What was streamed has left holes behind.
                memory::trim();
            }
            !s.is_broken() && !expired(&s) && s.only_internal()
        }
        Err(_) => false,
    };
    if !keep {
        return;
    }
    keep_idle(session);
    // Others may be waiting.
    make_way(Moment::Used);
}

impl Session {
    /// A statement of a user is about to run. Outside of a transaction the session forgets everything
    /// when it was another's last; inside, whoever acts as another user sees to the settings.
    pub(crate) fn runs_for(&mut self, user: u32, in_transaction: bool) {
        if self.runs_for == user {
            return;
        }
        if self.runs_for != 0 {
            self.shared |= in_transaction || !self.forget_users();
        }
        self.runs_for = user;
    }

    /// Whether several users' statements ran in it since it has forgotten everything last.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Nothing of what one user's statements may have left behind (settings, prepared statements,
    /// temporary tables) is there for another's. False when the connection has to be closed for that.
    fn forget_users(&mut self) -> bool {
        // Through a pooler, or as a role that cannot log in, it is not certain what the session is
        // after that.
        if self.identity.is_none() {
            return false;
        }
        self.shared = false;
        self.runs_for = 0;
        self.statements.are_gone();
        self.settings = Rc::default();
        self.settings_unknown = false;
        self.queue_internal("DISCARD ALL", Answers::Essential);
        let name = quote_literal(&application_name());
        self.queue_internal(&format!("SET application_name TO {name}"), Answers::Discard);
        true
    }
}

/// Keeps a session, unless there are enough.
pub(crate) fn keep_idle(session: SessionRef) {
    IDLE.with(|idle| {
        let mut idle = idle.borrow_mut();
        let new = session.borrow();
        let same = |s: &&SessionRef| {
            let s = s.borrow();
            s.node.name == new.node.name && s.node.port == new.node.port
        };
        let full = idle.iter().filter(same).count() >= limits::max_cached();
        drop(new);
        if !full {
            idle.push(session);
        }
    });
}

/// Passes on kept sessions that others need more. An idle session comes here when it is woken by
/// one that waits. Never raises.
pub fn make_room() {
    make_way(Moment::Idle);
}

/// When kept sessions are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// After they were used.
    Used,
    /// While the client does nothing.
    Idle,
    /// Before this session waits.
    Waiting,
}

/// Passes on, or closes, kept sessions that others wait for.
pub(super) fn make_way(moment: Moment) {
    let wanted: Vec<SessionRef> = IDLE.with(|idle| {
        let Ok(mut idle) = idle.try_borrow_mut() else { return Vec::new() };
        idle.extract_if(.., |s| is_due(&s.borrow(), moment)).collect()
    });
    for session in wanted {
        if !kept::pass_on(&session) && may_close(&session.borrow(), moment) {
            continue;
        }
        if !session.borrow().is_broken() {
            keep_idle(session);
        }
    }
}

/// Whether others wait for a session that has been used for long enough.
fn is_due(s: &Session, moment: Moment) -> bool {
    let Some(lease) = s.permit.as_ref().and_then(|p| p.lease(false)) else { return false };
    match moment {
        Moment::Used => s.taken.elapsed() >= lease,
        Moment::Idle => s.taken.elapsed() >= lease || s.used.elapsed() >= lease / 4,
        Moment::Waiting => true,
    }
}

/// Whether one that cannot be passed on is to be closed for the sake of others.
fn may_close(s: &Session, moment: Moment) -> bool {
    let Some(lease) = s.permit.as_ref().and_then(|p| p.lease(true)) else { return false };
    match moment {
        Moment::Used => s.taken.elapsed() >= lease,
        _ => s.taken.elapsed() >= lease || s.used.elapsed() >= lease / 4,
    }
}

/// Connections that sessions kept here have, by the places of their nodes.
pub(super) fn idle_places() -> Vec<u64> {
    let place = |s: &SessionRef| s.borrow().permit.as_ref().map_or(0, Permit::place);
    IDLE.with(|idle| idle.borrow().iter().map(place).collect())
}

/// Closes a session to a node that is kept for another user; false when there is none.
pub(super) fn close_others(node: &NodeAddr, user: &str) -> bool {
    let other = IDLE.with(|idle| {
        let mut idle = idle.borrow_mut();
        let at = idle.iter().position(|s| {
            let s = s.borrow();
            s.node.name == node.name && s.node.port == node.port && s.user != user
        })?;
        Some(idle.swap_remove(at))
    });
    other.is_some()
}

/// Closes the kept sessions to a node, or all of them.
pub fn close_idle(node: Option<(&str, i32)>) {
    let closed: Vec<SessionRef> = IDLE.with(|idle| {
        let mut idle = idle.borrow_mut();
        let (close, keep) = std::mem::take(&mut *idle).into_iter().partition(|s| {
            let s = s.borrow();
            node.is_none_or(|(name, port)| s.node.name == name && s.node.port == port)
        });
        *idle = keep;
        close
    });
    drop(closed);
}

/// Sessions to nodes as a user within a limit of time, kept ones where possible; one result for
/// each. They are for short work that must get through: the limit of connections does not hold
/// for them. The outer error is an interrupt.
pub fn acquire_promptly(
    nodes: &[NodeAddr],
    user: &str,
    limit: Duration,
) -> Result<Vec<Result<SessionRef>>> {
    let kept: Vec<Option<SessionRef>> = nodes.iter().map(|n| take_clean(n, user)).collect();
    let missing: Vec<NodeAddr> =
        nodes.iter().zip(&kept).filter(|(_, s)| s.is_none()).map(|(n, _)| n.clone()).collect();
    let mut made = connect_with(&missing, |node| {
        let mut target = target(node, user)?;
        target.deadline = target.deadline.min(Instant::now() + limit);
        Connecting::start(target, Permit::default())
    })?
    .into_iter();
    let missed = || Err(Error::internal("no connection was made"));
    Ok(kept.into_iter().map(|k| k.map_or_else(|| made.next().unwrap_or_else(missed), Ok)).collect())
}

/// Connects to all nodes at the same time; one result for each. The outer error is an interrupt.
///
/// Waits while there is no room for a connection.
pub fn connect_all(nodes: &[NodeAddr], user: &str) -> Result<Vec<Result<SessionRef>>> {
    room::sessions(nodes, user, None, Source::New)
}

/// The end of the process: what it does not need any more is left to sessions to come.
fn leave() {
    CLOSING.with(|c| c.set(true));
    if xact::ends_normally() {
        let idle = IDLE.with(|idle| std::mem::take(&mut *idle.borrow_mut()));
        idle.iter().for_each(kept::offer);
    }
    close_idle(None);
}

pub(super) fn leave_at_exit() {
    if !EXIT_HOOK.with(|h| h.replace(true)) {
        xact::at_exit(leave);
    }
}

/// [`connect_all`] for what others may be waiting for: it takes no part in the limit.
pub fn connect_urgently(nodes: &[NodeAddr], user: &str) -> Result<Vec<Result<SessionRef>>> {
    connect_with(nodes, |node| Connecting::start(target(node, user)?, Permit::default()))
}

pub(super) fn connect_with(
    nodes: &[NodeAddr],
    mut begin: impl FnMut(&NodeAddr) -> Result<Connecting>,
) -> Result<Vec<Result<SessionRef>>> {
    leave_at_exit();
    let mut done: Vec<Option<Result<SessionRef>>> = nodes.iter().map(|_| None).collect();
    let mut pending: Vec<(usize, Connecting, bool)> = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        match begin(node) {
            Ok(c) => pending.push((i, c, true)),
            Err(e) => fail(&mut done, i, e),
        }
    }
    while !pending.is_empty() {
        let ready = wait_round(&pending)?;
        let now = Instant::now();
        let mut next = Vec::new();
        for (at, (i, mut c, write)) in pending.into_iter().enumerate() {
            if ready.contains(&at) {
                match c.step() {
                    Ok(Step::Done) => {
                        count(Counter::ConnectionSucceeded);
                        put(&mut done, i, c.finish().map(share));
                    }
                    Ok(step) => next.push((i, c, step == Step::Write)),
                    Err(e) => fail(&mut done, i, e),
                }
            } else if now >= c.deadline() {
                fail(&mut done, i, c.timed_out());
            } else {
                next.push((i, c, write));
            }
        }
        pending = next;
    }
    Ok(done.into_iter().flatten().collect())
}

pub(super) fn share(s: Session) -> SessionRef {
    Rc::new(RefCell::new(s))
}

fn fail(done: &mut [Option<Result<SessionRef>>], i: usize, e: Error) {
    count(Counter::ConnectionFailed);
    put(done, i, Err(e));
}

pub(super) fn put(done: &mut [Option<Result<SessionRef>>], i: usize, result: Result<SessionRef>) {
    if let Some(slot) = done.get_mut(i) {
        *slot = Some(result);
    }
}

/// Waits for the connections on their way; positions of those that can go on.
fn wait_round(pending: &[(usize, Connecting, bool)]) -> Result<Vec<usize>> {
    check_for_interrupts()?;
    let mut set = WaitSet::new(pending.len());
    let mut first = 0;
    let mut deadline = None::<Instant>;
    for (at, (_, c, write)) in pending.iter().enumerate() {
        let position = set.add(c.fd(), *write);
        if at == 0 {
            first = position;
        }
        deadline = Some(deadline.map_or(c.deadline(), |d| d.min(c.deadline())));
    }
    let left =
        deadline.map_or(0, |d| d.saturating_duration_since(Instant::now()).as_millis() as i64 + 1);
    let mut ready = Vec::new();
    set.wait(left, |r| ready.push((r.position - first) as usize))?;
    Ok(ready)
}
