//! Rolling back. Nothing here may raise, and everything is bounded in time: a session that does
//! not come to rest is closed, which rolls back on the node as well.

use super::owners::forget_all;
use super::parts::{give_back_all, select, PARTS};
use super::{consistent, gate};
use crate::error::sqlstate;
use crate::pg::{guard, wait, xact};
use crate::remote::{
    cancel_all, cancel_and_leave, rest, settle, simple, Answers, Message, SessionRef, TxStatus,
};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Statements that are about to end by themselves need no cancel.
const GRACE: Duration = Duration::from_millis(2);
/// Time between two requests to cancel.
const RETRY: Duration = Duration::from_millis(250);
/// Time after which a session is given up.
const LIMIT: Duration = Duration::from_secs(3);
/// Time for a node to say that its locks are free.
const RELEASE: Duration = Duration::from_secs(1);
/// The same after something was cut short, for those of which nothing was heard since.
const RELEASE_SHORT: Duration = Duration::from_millis(5);
/// Time for rolling back what was prepared.
const ROLLBACK_PREPARED: Duration = Duration::from_secs(10);

/// Ends whatever the sessions run and throws its results away.
fn bring_to_rest(sessions: &[SessionRef]) {
    for session in sessions {
        if let Ok(mut s) = session.try_borrow_mut() {
            s.quiet = true;
            s.discard_pending(Answers::Discard);
        }
    }
    if xact::exiting() {
        let busy = rest(sessions, Duration::ZERO, || true, |_, _| ());
        cancel_and_leave(&busy);
        return;
    }
    let deadline = Instant::now() + LIMIT;
    let mut busy = rest(sessions, GRACE, || false, |_, _| ());
    while !busy.is_empty() && Instant::now() < deadline {
        let lost = cancel_all(&busy);
        busy = rest(&busy, RETRY, || false, |_, _| ());
        // A node that stands still does not get another chance, and nobody waits for it again.
        settle(&lost, Duration::ZERO, || true, |_, _| ());
        busy.retain(|s| s.try_borrow().is_ok_and(|s| !s.is_broken()));
    }
    settle(&busy, Duration::ZERO, || true, |_, _| ());
    for session in sessions {
        if let Ok(mut s) = session.try_borrow_mut() {
            s.quiet = false;
        }
    }
}

fn busy(session: &SessionRef) -> bool {
    session.try_borrow().is_ok_and(|s| !s.is_broken() && s.is_running())
}

/// The subtransaction of this level was rolled back.
pub(super) fn sub_aborted(level: i32) {
    let done = guard::catch(|| {
        let (mut running, mut holders) = (Vec::new(), Vec::new());
        PARTS.with(|p| {
            let Ok(mut parts) = p.try_borrow_mut() else { return };
            for part in parts.iter_mut() {
                // An execution outside of the subtransaction goes on streaming.
                if part.owner.is_some_and(|(_, at)| at < level) {
                    continue;
                }
                part.owner = None;
                if busy(&part.session) {
                    running.push(part.session.clone());
                }
            }
        });
        if !running.is_empty() {
            bring_to_rest(&running);
        }
        PARTS.with(|p| {
            let Ok(mut parts) = p.try_borrow_mut() else { return };
            // A node that joined inside of the subtransaction and was lost may join again.
            parts.retain(|p| !(p.joined >= level && p.session.borrow().is_broken()));
            for part in parts.iter_mut() {
                let holds = part.modified || part.keeps_locks();
                let tell = part.sub_aborted(level) && part.owner.is_none();
                if let (true, Ok(mut s)) = (tell, part.session.clone().try_borrow_mut()) {
                    let mut sql = String::new();
                    part.undo_savepoints(&mut sql);
                    s.queue_internal(&sql, Answers::Essential);
                    let _ = s.flush();
                    if holds {
                        holders.push(part.session.clone());
                    }
                }
            }
        });
        // Otherwise the answer is read with the next use.
        if !xact::is_within_statement() && !xact::exiting() {
            await_release(holders, &running);
        }
    });
    if done.is_err() {
        // The state is not known any more: what the nodes did cannot be kept.
        for session in select(|p| p.level >= level) {
            if let Ok(mut s) = session.try_borrow_mut() {
                s.poison();
            }
        }
    }
}

/// The local transaction was rolled back.
pub(super) fn after_abort() {
    // PostgreSQL may have noticed the request to cancel by itself.
    wait::cancel_answered();
    end_nodes();
    wait::cancel_over();
}

fn end_nodes() {
    // What is rolled back was never visible: nobody has to wait for it.
    gate::leave();
    consistent::forget();
    if xact::exiting() {
        simple::leave_apart();
    }
    if PARTS.with(|p| p.try_borrow().is_ok_and(|p| p.is_empty())) {
        forget_all();
        return;
    }
    let _ = guard::catch(|| {
        let running = select(|p| busy(&p.session));
        if !running.is_empty() {
            bring_to_rest(&running);
        }
        if xact::exiting() {
            return;
        }
        let (prepared, holders) = roll_back_parts();
        if !prepared.is_empty() {
            settle(&prepared, ROLLBACK_PREPARED, || false, |_, _| ());
        }
        await_release(holders, &running);
    });
    forget_all();
    give_back_all();
}

/// Takes back what nodes have prepared or are about to prepare, while the local transaction still
/// runs. True when at least one of them has said that it rolled back: then no other can commit.
pub(super) fn withdraw(sessions: &[SessionRef]) -> bool {
    let running: Vec<SessionRef> = sessions.iter().filter(|s| busy(s)).cloned().collect();
    if !running.is_empty() {
        bring_to_rest(&running);
    }
    let mut told = Vec::new();
    let mut certain = false;
    PARTS.with(|p| {
        let Ok(mut parts) = p.try_borrow_mut() else { return };
        for part in parts.iter_mut().filter(|p| p.began) {
            let Some(gid) = &part.prepared else { continue };
            let Ok(mut s) = part.session.try_borrow_mut() else { continue };
            if s.is_broken() {
                continue;
            }
            if s.status() == TxStatus::Idle {
                s.queue_query(&format!("ROLLBACK PREPARED '{gid}'"));
            } else {
                s.queue_query("ROLLBACK");
            }
            let _ = s.flush();
            told.push(part.session.clone());
        }
        parts.iter_mut().filter(|p| p.prepared.is_some()).for_each(|p| p.began = false);
    });
    settle(
        &told,
        ROLLBACK_PREPARED,
        || false,
        |_, m| match m {
            Message::CommandComplete(_) => certain = true,
            // Not prepared: it failed before.
            Message::Error(e) => certain |= e.code == sqlstate::UNDEFINED_OBJECT,
            _ => {}
        },
    );
    certain
}

/// Who hears of the end may take the locks that the transaction had. A node that stands still does
/// not hold up a session that was cancelled: only those that were `stopped` have just answered.
fn await_release(holders: Vec<SessionRef>, stopped: &[SessionRef]) {
    let answered = |s: &SessionRef| stopped.is_empty() || stopped.iter().any(|o| Rc::ptr_eq(o, s));
    let (alive, unknown): (Vec<_>, Vec<_>) = holders.into_iter().partition(answered);
    rest(&alive, RELEASE, wait::stop_requested, |_, _| ());
    rest(&unknown, RELEASE_SHORT, wait::stop_requested, |_, _| ());
}

/// Queues and sends the rollback of every part; gives back those that were prepared, and others
/// that have locks.
fn roll_back_parts() -> (Vec<SessionRef>, Vec<SessionRef>) {
    let (mut prepared, mut holders) = (Vec::new(), Vec::new());
    PARTS.with(|p| {
        let Ok(mut parts) = p.try_borrow_mut() else { return };
        for part in parts.iter_mut().filter(|p| p.began) {
            let holds = part.modified || part.keeps_locks();
            let Ok(mut s) = part.session.try_borrow_mut() else { continue };
            // A failed COMMIT or PREPARE has ended the transaction already.
            let idle = s.status() == TxStatus::Idle && s.outstanding() == 0;
            if s.is_broken() || (idle && part.prepared.is_none()) {
                part.began = false;
                continue;
            }
            match &part.prepared {
                // The node says whether it was prepared; when it was not, it is rolled back
                // already. A lost one is rolled back by recovery.
                Some(gid) if s.status() == TxStatus::Idle => {
                    s.queue_internal(&format!("ROLLBACK PREPARED '{gid}'"), Answers::Discard);
                    prepared.push(part.session.clone());
                }
                _ => {
                    s.forgive_transaction();
                    s.queue_internal("ROLLBACK", Answers::Essential);
                    if holds {
                        holders.push(part.session.clone());
                    }
                }
            }
            let _ = s.flush();
            part.began = false;
        }
    });
    (prepared, holders)
}
