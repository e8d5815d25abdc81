//! Waiting for sessions.

use super::session::{Session, SessionRef};
use super::silence::{knock, Patience};
use crate::error::Result;
use crate::pg::wait::{check_for_interrupts, Ready, WaitSet};
use std::cell::RefCell;

thread_local! {
    /// The set of the last wait for several sessions: the next one is mostly for the same.
    static LAST: RefCell<Option<Several>> = const { RefCell::new(None) };
}

struct Several {
    ids: Vec<u64>,
    first: i32,
    set: WaitSet,
}

/// Writes what can be written; true when the session still wants to write.
fn push(session: &SessionRef) -> Result<bool> {
    let mut s = session.borrow_mut();
    s.flush()?;
    Ok(s.wants_write())
}

/// Waits until one of the sessions can be read (or its output was written); the indexes of those
/// that are ready go to `ready`. Flushes pending output first. A timeout of -1 waits for ever;
/// `ready` is empty after a timeout. A session whose node stands still is ready too: reading from
/// it gives the error. Interrupts are noticed and returned as an error.
///
/// None of the sessions may be borrowed.
pub fn wait_for(sessions: &[&SessionRef], timeout_ms: i64, ready: &mut Vec<usize>) -> Result<()> {
    ready.clear();
    check_for_interrupts()?;
    if timeout_ms >= 0 {
        return wait_round(sessions, timeout_ms, ready);
    }
    let mut patience = Patience::new();
    loop {
        wait_round(sessions, patience.left(), ready)?;
        if !ready.is_empty() || !patience.is_over() {
            return Ok(());
        }
        *ready = knock(sessions)?;
        if !ready.is_empty() {
            return Ok(());
        }
        patience.again();
    }
}

/// One wait; `ready` may be empty after an early end.
fn wait_round(sessions: &[&SessionRef], timeout_ms: i64, ready: &mut Vec<usize>) -> Result<()> {
    if let [one] = sessions {
        if wait_single(one, timeout_ms)? {
            ready.push(0);
        }
        return Ok(());
    }
    let several = prepare(sessions)?;
    let first = several.first;
    several.set.wait(timeout_ms, |r: Ready| {
        let index = (r.position - first) as usize;
        if r.read || r.write {
            ready.push(index);
        }
    })?;
    LAST.with(|l| *l.borrow_mut() = Some(several));
    for i in ready.iter() {
        if let Some(s) = sessions.get(*i) {
            push(s)?;
        }
    }
    Ok(())
}

/// The set for these sessions, with what each of them wants.
fn prepare(sessions: &[&SessionRef]) -> Result<Several> {
    let kept = LAST.with(|l| l.borrow_mut().take());
    let same = |k: &Several| {
        k.ids.len() == sessions.len()
            && k.ids.iter().zip(sessions).all(|(id, s)| *id == s.borrow().id())
    };
    if let Some(mut kept) = kept.filter(same) {
        for (i, s) in sessions.iter().enumerate() {
            kept.set.modify(kept.first + i as i32, push(s)?);
        }
        return Ok(kept);
    }
    let mut set = WaitSet::new(sessions.len());
    let mut first = 0;
    for (i, s) in sessions.iter().enumerate() {
        let write = push(s)?;
        let position = set.add(s.borrow().fd(), write);
        if i == 0 {
            first = position;
        }
    }
    let ids = sessions.iter().map(|s| s.borrow().id()).collect();
    Ok(Several { ids, first, set })
}

/// One round of waiting for one session; true when it is ready.
fn wait_single(session: &SessionRef, timeout_ms: i64) -> Result<bool> {
    let write = push(session)?;
    let mut s = session.borrow_mut();
    let (mut set, position) = take_set(&mut s, write);
    drop(s);
    set.modify(position, write);
    let mut ready = false;
    set.wait(timeout_ms, |r| ready |= r.read || r.write)?;
    session.borrow_mut().wait_set = Some((set, position));
    if ready && write {
        push(session)?;
    }
    Ok(ready)
}

/// The session's own set; making one costs system calls, so it is kept.
fn take_set(session: &mut Session, write: bool) -> (WaitSet, i32) {
    match session.wait_set.take() {
        Some(kept) => kept,
        None => {
            let mut set = WaitSet::new(1);
            let position = set.add(session.fd(), write);
            (set, position)
        }
    }
}

/// Waits until something came from the session; flushes pending output meanwhile.
pub fn wait_one(session: &SessionRef) -> Result<()> {
    if wait_soon(session)? {
        return Ok(());
    }
    let mut ready = Vec::new();
    loop {
        wait_for(&[session], -1, &mut ready)?;
        if session.borrow_mut().fill()? {
            return Ok(());
        }
    }
}

/// Waits a few milliseconds for something to come from the session; true when it was read. Most
/// answers come within them, and cost less here than where everything else is awaited as well.
pub fn wait_soon(session: &SessionRef) -> Result<bool> {
    check_for_interrupts()?;
    session.borrow_mut().hear()
}
