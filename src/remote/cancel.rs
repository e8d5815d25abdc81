//! Cancelling what nodes run, and bringing sessions to rest, without raising.

use super::connect::PATIENCE;
use super::session::{Session, SessionRef};
use super::wire;
use crate::pg::net::{poll, Address, Interest, KeepAlive, Socket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Time that a node has to take a request to cancel.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// A request on its way: the socket, the message and what is written of it.
struct Request {
    socket: Socket,
    message: Vec<u8>,
    written: usize,
    /// Whether to see that the signal is sent.
    waits: bool,
}

impl Request {
    fn start(s: &Session, waits: bool) -> Option<Request> {
        let address: &Address = s.address.as_ref()?;
        let socket = Socket::connect(address, KeepAlive::default()).ok()?;
        let mut message = Vec::new();
        wire::cancel_request(&mut message, s.backend.0, s.backend.1);
        Some(Request { socket, message, written: 0, waits })
    }

    /// Goes on; true when all is written, and the node has closed the connection where that is
    /// waited for, which it does once the signal is sent (or something went wrong).
    fn step(&mut self) -> bool {
        while let Some(rest) = self.message.get(self.written..).filter(|r| !r.is_empty()) {
            match self.socket.write(rest) {
                Ok(n) => self.written += n,
                Err(e) => return !waits(&e),
            }
        }
        if !self.waits {
            return true;
        }
        let mut byte = [0u8; 1];
        match self.socket.read(&mut byte) {
            Ok(_) => true,
            Err(e) => !waits(&e),
        }
    }
}

fn waits(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINPROGRESS | libc::ENOTCONN))
}

/// Asks the nodes to cancel what these sessions run, all at the same time; takes at most a
/// second. Gives back the sessions of nodes that did not take the request in this time: such a
/// node stands still, and waiting for its answer makes no sense. Never raises.
pub fn cancel_all(sessions: &[SessionRef]) -> Vec<SessionRef> {
    request_all(sessions, true)
}

/// [`cancel_all`] for a process on its way out, which nobody should have to wait for: the requests
/// are sent, what comes of them is not waited for.
pub fn cancel_and_leave(sessions: &[SessionRef]) {
    drop(request_all(sessions, false));
}

fn request_all(sessions: &[SessionRef], waits: bool) -> Vec<SessionRef> {
    let start = |session: &SessionRef| {
        let request = session.try_borrow().ok().and_then(|s| Request::start(&s, waits))?;
        Some((session.clone(), request))
    };
    let mut requests: Vec<(SessionRef, Request)> = sessions.iter().filter_map(start).collect();
    let deadline = Instant::now() + CANCEL_TIMEOUT;
    while !requests.is_empty() && Instant::now() < deadline {
        let mut interests: Vec<Interest> = requests
            .iter()
            .map(|(_, r)| Interest {
                fd: r.socket.as_raw_fd(),
                write: r.written < r.message.len(),
                ready: false,
            })
            .collect();
        poll(&mut interests, deadline, || false);
        let mut ready = interests.iter().map(|i| i.ready);
        requests.retain_mut(|(_, r)| !(ready.next().unwrap_or(false) && r.step()));
    }
    requests.into_iter().map(|(session, _)| session).collect()
}

impl Session {
    /// Asks the node to cancel what this session runs; takes at most a second.
    pub fn cancel(&self) {
        let Some(mut request) = Request::start(self, true) else { return };
        let deadline = Instant::now() + CANCEL_TIMEOUT;
        while Instant::now() < deadline {
            let write = request.written < request.message.len();
            let mut i = [Interest { fd: request.socket.as_raw_fd(), write, ready: false }];
            poll(&mut i, deadline, || false);
            if request.step() {
                return;
            }
        }
    }
}

/// Reads what the sessions still have to say, without looking at interrupts, until all are at
/// rest, `stop` says so, or the time is over; gives back those that are not at rest. `each` sees
/// every message that is not thrown away.
pub(crate) fn rest(
    sessions: &[SessionRef],
    timeout: Duration,
    stop: impl Fn() -> bool,
    mut each: impl FnMut(usize, &super::Message<'_>),
) -> Vec<SessionRef> {
    let deadline = Instant::now() + timeout;
    let mut soon = timeout >= PATIENCE;
    loop {
        let mut at = Vec::new();
        let mut interests = Vec::new();
        for (i, session) in sessions.iter().enumerate() {
            let Ok(mut s) = session.try_borrow_mut() else { continue };
            if pump(&mut s, |m| each(i, m)) {
                at.push(i);
                interests.push(Interest { fd: s.fd(), write: s.wants_write(), ready: false });
            }
        }
        if interests.is_empty() || Instant::now() >= deadline || stop() {
            return at.into_iter().filter_map(|i| sessions.get(i).cloned()).collect();
        }
        if std::mem::take(&mut soon) {
            // The one that was told last is likely to answer last; meanwhile the answers of the
            // others wake nobody. The first that keeps silent for long is awaited with the others.
            let awaited = at.iter().rev().filter_map(|i| sessions.get(*i));
            let answers = |s: &SessionRef| s.try_borrow_mut().is_ok_and(|mut s| hears(&mut s));
            let _ = awaited.take_while(|s| answers(s)).count();
            continue;
        }
        poll(&mut interests, deadline, &stop);
        for (i, _) in at.iter().zip(&interests).filter(|(_, r)| r.ready) {
            if let Some(Ok(mut s)) = sessions.get(*i).map(|s| s.try_borrow_mut()) {
                let _ = s.fill();
            }
        }
    }
}

/// [`rest`]; sessions that do not come to rest cannot be used any more.
pub(crate) fn settle(
    sessions: &[SessionRef],
    timeout: Duration,
    stop: impl Fn() -> bool,
    each: impl FnMut(usize, &super::Message<'_>),
) {
    for session in rest(sessions, timeout, stop, each) {
        if let Ok(mut s) = session.try_borrow_mut() {
            s.poison();
        }
    }
}

/// Whether something came from a session soon.
fn hears(s: &mut Session) -> bool {
    s.hear().unwrap_or(false)
}

/// Handles what is in the buffer; true when more has to come.
fn pump(s: &mut Session, mut each: impl FnMut(&super::Message<'_>)) -> bool {
    if s.is_broken() || s.flush().is_err() {
        return false;
    }
    loop {
        match s.next() {
            Ok(Some(m)) => each(&m),
            Ok(None) => {
                // Answers to what was read (a refused COPY) may be waiting.
                let _ = s.flush();
                return !s.is_broken() && s.outstanding() > 0;
            }
            Err(_) => return false,
        }
    }
}
