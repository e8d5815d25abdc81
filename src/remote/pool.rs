//! Sessions that are kept between transactions.

use super::backends;
use super::connect::{Connecting, Step};
use super::kept;
use super::limits;
use super::session::{NodeAddr, Session, SessionRef};
use super::shared::{self, Asks, Permit};
use super::target::target;
use crate::error::{sqlstate, Error, Result};
use crate::pg::memory;
use crate::pg::wait::{check_for_interrupts, WaitSet};
use crate::pg::xact;
use crate::stats::counters::{count, Counter};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A session that was used so shortly ago is not asked whether it is alive: whoever hangs up now
/// could as well have done it a moment later, in the middle of the statement.
const FRESH: Duration = Duration::from_millis(1);

/// Milliseconds between two looks for room, at least and at most. The more wait, the less often
/// each looks: room is found as fast, and the processors are not kept busy by looking.
const LOOK: (u64, u64) = (2, 100);

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
    let found: Vec<Option<SessionRef>> = nodes.iter().map(|n| take_idle(n, user)).collect();
    let missing: Vec<NodeAddr> =
        nodes.iter().zip(&found).filter(|(_, s)| s.is_none()).map(|(n, _)| n.clone()).collect();
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().map(Ok).collect());
    }
    let mut made = take_or_connect(&missing, user, limit)?.into_iter();
    let none = || Err(Error::internal("no connection was made"));
    Ok(found.into_iter().map(|s| s.map_or_else(|| made.next().unwrap_or_else(none), Ok)).collect())
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
fn take_idle(node: &NodeAddr, user: &str) -> Option<SessionRef> {
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

/// Whether a kept session still works: not too old, and the node did not hang up.
fn usable(s: &mut Session) -> bool {
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
            if s.input.shrink() {
                // What was streamed has left holes behind.
                memory::trim();
            }
            // Others may be waiting: what nobody uses makes way first.
            let others = lease(&s).is_some_and(|lease| s.created.elapsed() >= lease);
            let may = !s.is_broken() && !expired(&s) && s.only_internal();
            may && (!others || kept::give_up(&s.node))
        }
        Err(_) => false,
    };
    if !keep {
        return;
    }
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

/// How long after it was made a session's connection may be kept although others wait for one;
/// `None` while nobody does.
fn lease(s: &Session) -> Option<Duration> {
    s.permit.as_ref().and_then(Permit::lease)
}

/// Closes kept sessions that others need more. An idle session comes here when it is woken by one
/// that waits. Never raises.
pub fn make_room() {
    let closed: Vec<SessionRef> = IDLE.with(|idle| {
        let Ok(mut idle) = idle.try_borrow_mut() else { return Vec::new() };
        let gives = |s: &mut SessionRef| {
            let s = s.borrow();
            lease(&s).is_some_and(|l| s.created.elapsed() >= l || s.used.elapsed() >= l / 4)
        };
        idle.extract_if(.., gives).collect()
    });
    drop(closed);
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
    let kept: Vec<Option<SessionRef>> = nodes.iter().map(|n| take_idle(n, user)).collect();
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
/// Waits while there is no room for a connection, in all sessions in the same order of nodes, and
/// without holding anything that it does not need.
pub fn connect_all(nodes: &[NodeAddr], user: &str) -> Result<Vec<Result<SessionRef>>> {
    connect_within(nodes, user, limits::connect_timeout())
}

/// [`connect_all`] within a limit of time.
fn connect_within(
    nodes: &[NodeAddr],
    user: &str,
    limit: Duration,
) -> Result<Vec<Result<SessionRef>>> {
    // Before the permits' own: what is left at the end takes its permit along.
    leave_at_exit();
    let deadline = Instant::now() + limit.min(limits::connect_timeout());
    let mut done: Vec<Option<Result<SessionRef>>> = nodes.iter().map(|_| None).collect();
    let kept = IDLE.with(|idle| {
        let counted = |s: &&SessionRef| s.borrow().permit.as_ref().is_some_and(Permit::is_counted);
        idle.borrow().iter().filter(counted).count() as u64
    });
    let who = if shared::held() > kept { Asks::Holds } else { Asks::Comes };
    let mut open: Vec<(usize, &NodeAddr)> = nodes.iter().enumerate().collect();
    open.sort_by(|a, b| (&a.1.name, a.1.port).cmp(&(&b.1.name, b.1.port)));
    while !open.is_empty() {
        let mut permits = Vec::with_capacity(open.len());
        for (_, node) in &open {
            permits.push(await_permit(node, who, deadline)?);
        }
        let addresses: Vec<NodeAddr> = open.iter().map(|(_, n)| (*n).clone()).collect();
        let mut permits = permits.into_iter();
        let made = connect_with(&addresses, |node| {
            let permit = permits.next().unwrap_or_else(|| Err(shared::exhausted(node)))?;
            let mut target = target(node, user)?;
            target.deadline = deadline;
            Connecting::start(target, permit)
        })?;
        let mut again = Vec::new();
        for ((i, node), result) in open.into_iter().zip(made) {
            match result {
                // Others than we take the node's room, or what we gave up is not free yet.
                Err(e) if e.code == sqlstate::TOO_MANY_CONNECTIONS && Instant::now() < deadline => {
                    if !kept::give_up(node) {
                        shared::refused(node);
                    }
                    again.push((i, node));
                }
                other => put(&mut done, i, other),
            }
        }
        open = again;
        if !open.is_empty() {
            pause(LOOK.1)?;
        }
    }
    Ok(done.into_iter().flatten().collect())
}

/// [`connect_all`] with connections that former sessions have left, where there are any.
fn take_or_connect(
    nodes: &[NodeAddr],
    user: &str,
    limit: Option<Duration>,
) -> Result<Vec<Result<SessionRef>>> {
    leave_at_exit();
    let mut done: Vec<Option<Result<SessionRef>>> = nodes.iter().map(|_| None).collect();
    let mut missing = Vec::new();
    for (slot, node) in done.iter_mut().zip(nodes) {
        match target(node, user).map(|t| kept::take(&t)) {
            Ok(None) => missing.push(node.clone()),
            Ok(Some(session)) => {
                count(Counter::ConnectionReused);
                *slot = Some(Ok(share(session)));
            }
            Err(e) => *slot = Some(Err(e)),
        }
    }
    if !missing.is_empty() {
        let made = connect_within(&missing, user, limit.unwrap_or(Duration::MAX))?;
        for (slot, result) in done.iter_mut().filter(|s| s.is_none()).zip(made) {
            *slot = Some(result);
        }
    }
    Ok(done.into_iter().flatten().collect())
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

fn leave_at_exit() {
    if !EXIT_HOOK.with(|h| h.replace(true)) {
        xact::at_exit(leave);
    }
}

/// [`connect_all`] for what others may be waiting for: it takes no part in the limit.
pub fn connect_urgently(nodes: &[NodeAddr], user: &str) -> Result<Vec<Result<SessionRef>>> {
    connect_with(nodes, |node| Connecting::start(target(node, user)?, Permit::default()))
}

/// Waits for the right to connect. The outer error is an interrupt.
fn await_permit(node: &NodeAddr, who: Asks, deadline: Instant) -> Result<Result<Permit>> {
    if let Some(permit) = shared::permit(node, who) {
        return Ok(Ok(permit));
    }
    // What nobody uses, and what other users have used this session for.
    while kept::give_up(node) {
        if let Some(permit) = shared::permit(node, who) {
            return Ok(Ok(permit));
        }
    }
    close_idle(Some((&node.name, node.port)));
    let waiting = shared::Waiting::begin(node);
    let who = match who {
        _ if shared::held_at(node) > 0 => Asks::Must,
        Asks::Comes => Asks::Waits,
        other => other,
    };
    loop {
        if let Some(permit) = shared::permit(node, who) {
            return Ok(Ok(permit));
        }
        if Instant::now() >= deadline {
            return Ok(Err(shared::exhausted(node)));
        }
        make_room();
        if waiting.may_nudge() {
            backends::nudge(node.id, waiting.chance());
        }
        pause((waiting.all() / 4).clamp(LOOK.0, LOOK.1))?;
    }
}

/// Waits for some milliseconds.
fn pause(millis: u64) -> Result<()> {
    check_for_interrupts()?;
    WaitSet::new(0).wait(millis as i64, |_| ())
}

fn connect_with(
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

fn share(s: Session) -> SessionRef {
    Rc::new(RefCell::new(s))
}

fn fail(done: &mut [Option<Result<SessionRef>>], i: usize, e: Error) {
    count(Counter::ConnectionFailed);
    put(done, i, Err(e));
}

fn put(done: &mut [Option<Result<SessionRef>>], i: usize, result: Result<SessionRef>) {
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
