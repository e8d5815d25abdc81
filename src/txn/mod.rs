//! Transactions over several nodes.

pub mod run;

use crate::error::{Error, Result};
use crate::remote::SessionRef;

/// How a statement uses a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The statement is the whole remote transaction: no BEGIN.
    Once,
    /// The session takes part in the running transaction.
    InTransaction,
}

/// The session to a group's primary for this transaction; queues BEGIN, changed settings and
/// savepoints in front of what the caller queues, without a round trip of their own.
pub fn session(_group: i32, _mode: Mode) -> Result<SessionRef> {
    Err(Error::internal("not connected"))
}

/// [`session`] for many groups; missing connections are made in parallel.
pub fn sessions(_groups: &[i32], _mode: Mode) -> Result<Vec<SessionRef>> {
    Err(Error::internal("not connected"))
}

/// The node was modified in this transaction: it takes part in two-phase commit.
pub fn mark_modified(_group: i32) {}

/// Whether a statement starting now must run inside a remote transaction.
pub fn must_use_transaction() -> bool {
    true
}

/// Running statements nested in another one: made by [`enter`], ends with its drop.
pub struct Depth(());

/// To be held while an executor (or a CALL, DO, EXECUTE of procedural code) runs.
pub fn enter() -> Depth {
    Depth(())
}

/// An execution that streams rows from sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnerId(pub u64);

/// Registers an execution; `drain` reads the rest of its rows from its sessions into memory and
/// releases them. It is called when another execution needs one of the sessions.
pub fn register_owner(_drain: Box<dyn FnMut() -> Result<()>>) -> OwnerId {
    OwnerId(0)
}

/// Forgets an execution; sessions still claimed by it are released.
pub fn unregister_owner(_owner: OwnerId) {}

/// Makes `owner` the one that streams on the session; another owner is drained first.
pub fn claim(_session: &SessionRef, _owner: OwnerId) -> Result<()> {
    Ok(())
}

/// The owner is done with the session. Results it did not read are thrown away later.
pub fn release(_session: &SessionRef, _owner: OwnerId) {}

/// Registers the transaction callbacks; once per process, from `_PG_init`.
pub fn register() {}
