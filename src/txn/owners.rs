//! Who streams on a session.
//!
//! A session runs one statement after the other. An execution that hands its rows up as they come
//! claims its sessions; when another execution of the same transaction needs one of them (a
//! function called for each row, two cursors), the first reads the rest of its rows into memory.

use super::parts::PARTS;
use crate::error::Result;
use crate::pg::xact;
use crate::remote::{cancel_all, rest, Answers, SessionRef};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// An execution that streams rows from sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct OwnerId(u64);

/// Reads the rest of an execution's rows.
type Drain = Box<dyn FnMut() -> Result<()>>;

thread_local! {
    static NEXT: Cell<u64> = const { Cell::new(1) };
    /// The executions at work, few at a time. The callback is `None` while it runs.
    static DRAINS: RefCell<Vec<(OwnerId, Option<Drain>)>> = const { RefCell::new(Vec::new()) };
}

/// Registers an execution; `drain` reads the rest of its rows from its sessions into memory and
/// releases them. It is called when another execution needs one of the sessions. Reading ends
/// with the execution's own last `Message::Ready`, not with `outstanding() == 0`: more may be
/// queued behind.
pub fn register_owner(drain: Drain) -> OwnerId {
    let id = OwnerId(NEXT.with(|n| n.replace(n.get() + 1)));
    DRAINS.with(|d| d.borrow_mut().push((id, Some(drain))));
    id
}

/// Forgets an execution; sessions still claimed by it are released.
pub fn unregister_owner(owner: OwnerId) {
    let callback = DRAINS.with(|d| {
        let mut drains = d.borrow_mut();
        let at = drains.iter().rposition(|(id, _)| *id == owner)?;
        Some(drains.swap_remove(at))
    });
    drop(callback);
    for session in super::parts::select(|p| p.owner.is_some_and(|(o, _)| o == owner)) {
        release(&session, owner);
    }
}

/// The callback of an execution that is still at work.
fn with_drain<R>(owner: OwnerId, f: impl FnOnce(&mut Option<Drain>) -> R) -> Option<R> {
    DRAINS.with(|d| {
        let mut drains = d.borrow_mut();
        drains.iter_mut().rev().find(|(id, _)| *id == owner).map(|(_, slot)| f(slot))
    })
}

/// The owner of a session.
fn owner_of(session: &SessionRef) -> Option<OwnerId> {
    PARTS.with(|p| {
        let parts = p.borrow();
        let part = parts.iter().find(|p| Rc::ptr_eq(&p.session, session))?;
        part.owner.map(|(o, _)| o)
    })
}

fn set_owner(session: &SessionRef, owner: Option<OwnerId>) {
    let level = xact::nest_level();
    PARTS.with(|p| {
        let mut parts = p.borrow_mut();
        if let Some(p) = parts.iter_mut().find(|p| Rc::ptr_eq(&p.session, session)) {
            p.guarded = false;
            p.owner = owner.map(|o| (o, level));
        }
    });
}

/// Makes `owner` the one that streams on the session; another owner is drained first.
pub fn claim(session: &SessionRef, owner: OwnerId) -> Result<()> {
    vacate(session, Some(owner))?;
    set_owner(session, Some(owner));
    Ok(())
}

/// Makes sure that nobody but `except` streams on the session.
pub(super) fn vacate(session: &SessionRef, except: Option<OwnerId>) -> Result<()> {
    let Some(other) = owner_of(session).filter(|o| Some(*o) != except) else { return Ok(()) };
    let drain = with_drain(other, Option::take).flatten();
    if let Some(mut drain) = drain {
        let result = drain();
        with_drain(other, |slot| *slot = Some(drain));
        result?;
    }
    if owner_of(session) == Some(other) {
        release(session, other);
    }
    Ok(())
}

/// Puts a savepoint in front of what the owner is about to send, which only reads: when that fails,
/// the transaction there goes on.
pub fn guard(session: &SessionRef) {
    if let Ok(mut s) = session.try_borrow_mut() {
        s.open_with("SAVEPOINT citus_cursor;", 1);
    }
    set_guarded(session, true);
}

/// The savepoint of [`guard`] is not needed any more. When not all of the answers were read, they
/// may end in an error, so it goes back.
pub fn unguard(session: &SessionRef, owner: OwnerId, complete: bool) {
    if owner_of(session) != Some(owner) {
        return;
    }
    set_guarded(session, false);
    let Ok(mut s) = session.try_borrow_mut() else { return };
    if s.is_broken() {
        return;
    }
    if !complete {
        s.discard_pending(Answers::Discard);
        s.queue_internal("ROLLBACK TO SAVEPOINT citus_cursor", Answers::Essential);
    }
    s.queue_internal("RELEASE SAVEPOINT citus_cursor", Answers::Essential);
}

fn set_guarded(session: &SessionRef, yes: bool) {
    PARTS.with(|p| {
        let mut parts = p.borrow_mut();
        let of_session = parts.iter_mut().filter(|p| Rc::ptr_eq(&p.session, session));
        of_session.for_each(|p| p.guarded = yes);
    });
}

/// Time for what was abandoned to end by itself. To cancel it takes longer, since that needs a
/// connection of its own, and a sub-query of which one row is enough is abandoned again and again.
const GRACE: Duration = Duration::from_millis(3);

/// The owner is done with the session. Results it did not read are thrown away; a statement that
/// still runs is cancelled where that does no harm, outside of transactions.
pub fn release(session: &SessionRef, owner: OwnerId) {
    if owner_of(session) != Some(owner) {
        return;
    }
    set_owner(session, None);
    let began = super::parts::in_transaction(session);
    let idle = session.try_borrow().map_or(true, |s| s.is_broken() || s.only_internal());
    if idle {
        return;
    }
    if let Ok(mut s) = session.try_borrow_mut() {
        s.discard_pending(if began { Answers::Internal } else { Answers::Discard });
    }
    if began {
        return;
    }
    let grace = if xact::exiting() { Duration::ZERO } else { GRACE };
    let busy = rest(std::slice::from_ref(session), grace, xact::exiting, |_, _| ());
    for lost in cancel_all(&busy) {
        if let Ok(mut s) = lost.try_borrow_mut() {
            s.poison();
        }
    }
}

/// Executions of a transaction that is gone: their callbacks must not run any more.
pub(super) fn forget_all() {
    while let Some(callback) = DRAINS.with(|d| d.try_borrow_mut().ok()?.pop()) {
        drop(callback);
    }
}
