//! Transactions over several nodes.
//!
//! There is one session for each node in a transaction. It joins when it is first
//! needed: [`session`] queues BEGIN, changed settings and savepoints, which travel together with
//! the caller's first statement. At the end of the local transaction the nodes that were modified
//! are committed in two phases, unless only one was and nothing was written here (`commit`).
//! What is interrupted between the phases is finished by [`recovery`].

mod acting;
mod commit;
pub mod consistent;
pub mod constraints;
pub mod deadlock;
pub mod doubt;
pub mod gate;
mod gid;
mod owners;
mod parts;
mod peers;
mod reach;
pub mod recovery;
mod rollback;
pub mod run;
mod settings;
pub mod sight;
mod taking;

pub use acting::join;
pub use commit::lost_while_committing;
pub use owners::{claim, guard, register_owner, release, unguard, unregister_owner, OwnerId};
pub use parts::{in_transaction, mark_locked, mark_modified, session, sessions};
pub use reach::connect;

use crate::error::OrRaise;
use crate::pg::xact::{self, Callbacks, Event, SubEvent};
use crate::pg::{identity, snapshot, starts};
use std::cell::Cell;
use std::sync::OnceLock;

/// How a statement uses a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The statement is the whole remote transaction: no BEGIN. A session that is in a
    /// transaction already runs it inside of that.
    Once,
    /// The session takes part in the running transaction.
    InTransaction,
}

thread_local! {
    static DEPTH: Cell<i32> = const { Cell::new(0) };
}

/// An executor begins to run, or a command that may execute statements of its own. Statements
/// that start inside of another one are never alone.
pub fn enter() {
    DEPTH.with(|d| d.set(d.get() + 1));
}

/// What began with [`enter`] has ended, in whichever way.
pub fn leave() {
    DEPTH.with(|d| d.set((d.get() - 1).max(0)));
}

/// Whether something runs around the statement that is starting.
pub fn is_nested() -> bool {
    DEPTH.with(Cell::get) > 0
}

/// Whether what runs was started by another statement.
pub fn is_inside_of_another() -> bool {
    DEPTH.with(Cell::get) > 1
}

/// Whether a statement starting now must run inside a remote transaction: whenever it may not be
/// the only one of its local transaction, or needs more than a single statement's guarantees.
/// To be asked while the statement's own executor runs.
pub fn must_use_transaction() -> bool {
    !xact::characteristics().is_plain() || has_company()
}

/// Whether a statement starting now may not be the only one of its local transaction; to be asked
/// while its own executor runs.
pub fn has_company() -> bool {
    xact::in_block()
        || xact::nest_level() > 1
        || DEPTH.with(Cell::get) > 1
        || parts::any_began()
        || xact::has_written()
        || !xact::statement_is_alone()
}

/// Whether the running statement is one of several of a transaction, or may be: in a block, or
/// inside of another statement.
pub fn in_longer_transaction() -> bool {
    xact::in_block() || xact::nest_level() > 1 || DEPTH.with(Cell::get) > 1
}

static ON_END: OnceLock<fn(i32)> = OnceLock::new();

/// Calls `f` when a transaction has ended, with 1, and when a subtransaction was rolled back, with
/// its level; once per process.
pub fn on_end(f: fn(i32)) {
    ON_END.get_or_init(|| f);
}

fn ended(level: i32) {
    if let Some(f) = ON_END.get() {
        f(level);
    }
}

/// Registers the transaction callbacks; once per process, from `_PG_init`.
pub fn register() {
    fn top(event: Event) {
        if matches!(event, Event::Commit | Event::Abort | Event::Prepare) {
            constraints::forget();
            xact::may_notify(false);
        }
        match event {
            Event::PreCommit => {
                starts::before_commit().or_raise();
                identity::before_commit();
                snapshot::before_commit();
                commit::pre_commit();
            }
            Event::Commit => {
                ended(1);
                commit::after_commit();
            }
            Event::Abort => {
                identity::after_abort();
                snapshot::after_abort();
                ended(1);
                rollback::after_abort();
            }
            Event::PrePrepare => {
                starts::before_commit().or_raise();
                identity::before_commit();
                snapshot::before_commit();
                commit::pre_prepare();
            }
            Event::Prepare => {
                ended(1);
                commit::after_prepare();
            }
        }
    }
    fn sub(event: SubEvent, level: i32) {
        match event {
            SubEvent::Commit => {
                constraints::sub_committed(level);
                parts::sub_committed(level);
            }
            SubEvent::Abort => {
                snapshot::sub_aborted(level);
                ended(level);
                constraints::sub_aborted(level);
                rollback::sub_aborted(level);
            }
        }
    }
    xact::register(Callbacks { top, sub });
    crate::pg::wait::set_verdict(crate::remote::backends::verdict);
}
