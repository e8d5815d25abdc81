//! Nodes that do not answer any more without hanging up.
//!
//! TCP notices by itself when nobody is at the other end (keepalive, see `pg::net`). It does not
//! notice a server that stands still, since the system acknowledges for it. A statement may take
//! any time, so waiting long for its answer says nothing; but a node that works also answers one
//! who knocks. After a time of silence we do: a connection with nothing but the question whether
//! the node speaks TLS, which each server and pooler answers with a byte before it asks who is
//! there, and even when it has no room for another session.

use super::limits;
use super::session::SessionRef;
use super::wire;
use crate::error::Result;
use crate::pg::net::{KeepAlive, Socket};
use crate::pg::wait::WaitSet;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// The longest silence before the first question; each one after it waits twice as long,
const SILENCE: Duration = Duration::from_secs(20);
/// up to this.
const LONGEST: Duration = Duration::from_secs(300);

/// When silence is too long.
pub(super) struct Patience {
    since: Instant,
    limit: Duration,
}

impl Patience {
    /// The wait begins.
    pub fn new() -> Patience {
        Patience { since: Instant::now(), limit: limits::connect_timeout().min(SILENCE) }
    }

    /// Milliseconds until it ends.
    pub fn left(&self) -> i64 {
        let left = self.limit.saturating_sub(self.since.elapsed());
        i64::try_from(left.as_millis()).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.since.elapsed() >= self.limit
    }

    /// The nodes have answered: the next time it lasts longer.
    pub fn again(&mut self) {
        self.since = Instant::now();
        self.limit = (self.limit * 2).min(LONGEST);
    }
}

/// One who knocks.
struct Knock {
    /// Position of the session.
    at: usize,
    socket: Socket,
    message: Vec<u8>,
}

impl Knock {
    fn start(at: usize, session: &SessionRef) -> Option<Knock> {
        let s = session.try_borrow().ok()?;
        let socket = Socket::connect(s.address.as_ref()?, KeepAlive::default()).ok()?;
        let mut message = Vec::new();
        wire::ssl_request(&mut message);
        Some(Knock { at, socket, message })
    }

    /// Goes on; true when somebody has answered, and be it with a refusal. A connection that fails
    /// for want of an answer is none.
    fn answered(&mut self) -> bool {
        use std::io::ErrorKind::{NotConnected, TimedOut, WouldBlock};
        let waits = |e: &std::io::Error| matches!(e.kind(), WouldBlock | NotConnected | TimedOut);
        if !self.message.is_empty() {
            match self.socket.write(&self.message) {
                Ok(n) => drop(self.message.drain(..n)),
                Err(e) => return !waits(&e),
            }
        }
        match self.socket.read(&mut [0u8; 1]) {
            Ok(_) => true,
            Err(e) => !waits(&e),
        }
    }
}

/// Knocks at the nodes of sessions that are silent. Positions of those that did not answer within
/// the time for a connection; their sessions are given up. Ends early when one of the sessions has
/// something to say. The error is an interrupt.
pub(super) fn knock(sessions: &[&SessionRef]) -> Result<Vec<usize>> {
    let limit = limits::connect_timeout();
    let deadline = Instant::now() + limit;
    let mut knocks: Vec<Knock> =
        sessions.iter().enumerate().filter_map(|(at, s)| Knock::start(at, s)).collect();
    while !knocks.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let mut set = WaitSet::new(knocks.len() + sessions.len());
        let mut first = None;
        for k in &knocks {
            let position = set.add(k.socket.as_raw_fd(), !k.message.is_empty());
            first.get_or_insert(position);
        }
        for s in sessions {
            set.add(s.borrow().fd(), false);
        }
        let first = first.unwrap_or(0);
        let mut ready = Vec::new();
        set.wait(left.as_millis() as i64 + 1, |r| ready.push((r.position - first) as usize))?;
        if ready.iter().any(|r| *r >= knocks.len()) {
            return Ok(Vec::new());
        }
        let mut at = 0..;
        knocks.retain_mut(|k| !(at.next().is_some_and(|i| ready.contains(&i)) && k.answered()));
    }
    let silent: Vec<usize> = knocks.iter().map(|k| k.at).collect();
    for s in silent.iter().filter_map(|at| sessions.get(*at)) {
        s.borrow_mut().give_up(format!(
            "The node does not answer: not this session, and no new connection within {} s.",
            limit.as_secs_f32()
        ));
    }
    Ok(silent)
}
