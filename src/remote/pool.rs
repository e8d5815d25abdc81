//! Sessions that are kept between transactions.

use super::session::{NodeAddr, SessionRef};
use crate::error::{Error, Result};

/// Sessions to nodes as a user, kept ones where possible; missing ones are connected in parallel.
pub fn acquire(_nodes: &[NodeAddr], _user: &str) -> Result<Vec<SessionRef>> {
    Err(Error::internal("not connected"))
}

/// A new session outside of any transaction (for probing nodes that are not in the catalog yet).
pub fn connect(_node: &NodeAddr, _user: &str) -> Result<SessionRef> {
    Err(Error::internal("not connected"))
}

/// Gives a session back: kept within the limits, else closed.
pub fn give_back(_session: SessionRef) {}
