//! Writes that are transactions of their own, and are interrupted.
//!
//! The node may have committed when the request to cancel comes, or do so in spite of it. An error would
//! say that nothing has happened. So the node is asked to stop, and its answer is what counts: the write
//! has failed if the node says so, and has succeeded otherwise. Where it says nothing nobody knows, and
//! that is what the client is told.

use super::Exec;
use crate::error::{sqlstate, Error, Result};
use crate::pg::net::{poll, Interest};
use crate::pg::wait::stop_requested;
use crate::remote::cancel_all;
use std::time::{Duration, Instant};

/// Time for the node's answer.
const OUTCOME: Duration = Duration::from_secs(3);
/// Time between two requests to cancel: one that comes before the statement does nothing.
const RETRY: Duration = Duration::from_millis(250);

/// The error of a statement: of a node that was asked to stop, why it was asked.
pub(super) fn of_whom(error: Error, interrupted: &Option<(Error, Instant)>) -> Error {
    match interrupted {
        Some((why, _)) if error.code == sqlstate::QUERY_CANCELED => why.clone(),
        _ => error,
    }
}

impl Exec {
    /// Waiting has ended with an error, which may be an interrupt.
    pub(super) fn interrupt(&mut self, e: Error) -> Result<()> {
        let awaited = self.conns.first().is_some_and(|c| {
            c.session.try_borrow().is_ok_and(|s| !s.is_broken() && s.outstanding() > 0)
        });
        if !self.decides || !awaited || stop_requested() {
            return Err(e);
        }
        let session = self.conns.first().map(|c| c.session.clone());
        let lost = cancel_all(session.as_slice());
        // A node that stands still does not answer, either.
        let time = if lost.is_empty() { OUTCOME } else { Duration::ZERO };
        self.interrupted = Some((e, Instant::now() + time));
        self.await_outcome()
    }

    /// Waits until the interrupted node says something more, and reads it.
    pub(super) fn await_outcome(&mut self) -> Result<()> {
        let (Some((why, until)), Some(conn)) = (self.interrupted.clone(), self.conns.first())
        else {
            return Ok(());
        };
        let session = conn.session.clone();
        loop {
            let fd = session.borrow().fd();
            let mut interests = [Interest { fd, write: false, ready: false }];
            poll(&mut interests, until.min(Instant::now() + RETRY), stop_requested);
            if interests.iter().any(|i| i.ready) {
                return session.borrow_mut().fill().map(|_| ());
            }
            if Instant::now() >= until || stop_requested() {
                session.borrow_mut().poison();
                return Err(why);
            }
            cancel_all(std::slice::from_ref(&session));
        }
    }
}
