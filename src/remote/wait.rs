//! Waiting for sessions.

use super::session::SessionRef;
use crate::error::{Error, Result};

/// Waits until one of the sessions can be read (or its output written); the indexes of those
/// that are ready go to `ready`. Flushes pending output first. A timeout of -1 waits for ever;
/// `ready` is empty after a timeout. Interrupts are noticed and returned as an error.
pub fn wait_for(
    _sessions: &[&SessionRef],
    _timeout_ms: i64,
    _ready: &mut Vec<usize>,
) -> Result<()> {
    Err(Error::internal("not connected"))
}

/// Waits until the session has something to read; flushes pending output meanwhile.
pub fn wait_one(_session: &SessionRef) -> Result<()> {
    Err(Error::internal("not connected"))
}
