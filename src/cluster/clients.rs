//! Connections of ordinary users to this node (`citus.max_client_connections`).
//!
//! What a node connects for is not counted, and it proves that it is a node with its first message
//! (`model::proof`). So a connection can be judged when its first statement is something else, and
//! not before: until then it does nothing. All are counted whatever the setting, so that it can be
//! changed at any time. Superusers are neither counted nor refused: somebody has to get in.

use crate::error::{sqlstate, Error};
use crate::model::proof::INTRODUCTION;
use crate::pg::shmem::Table;
use crate::pg::{guard, session, xact};
use crate::settings;
use pgrx::pg_sys;
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

/// How many there are.
pub static TABLE: Table<1> = Table::new(c"citus_clients", || 1);

/// What is known of this session's client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Unknown,
    /// It says that it is a node.
    Claims,
    /// It is counted.
    Counted,
    /// It is not: a node, a superuser, or no client at all.
    Free,
}

thread_local! {
    static CLIENT: Cell<Client> = const { Cell::new(Client::Unknown) };
}

/// Whether [`judge`] has something to do.
#[inline]
pub fn is_unknown() -> bool {
    matches!(CLIENT.get(), Client::Unknown | Client::Claims)
}

/// The client has proven to be a node.
pub fn is_node() {
    if is_unknown() {
        CLIENT.set(Client::Free);
    }
}

/// A statement begins, one of this text. Ends the session when it is one too many.
pub fn judge(text: &[u8]) {
    let prefix = ["SELECT pg_catalog.", INTRODUCTION, "("].concat();
    // Once: what comes after it has the same text when it was sent together with it.
    if CLIENT.get() == Client::Unknown && text.starts_with(prefix.as_bytes()) {
        CLIENT.set(Client::Claims);
        return;
    }
    if !session::is_of_ordinary_client() {
        CLIENT.set(Client::Free);
        return;
    }
    let limit = u64::try_from(settings::max_client_connections()).unwrap_or(u64::MAX);
    let Some([count]) = TABLE.slots().first() else { return };
    let more = |n: u64| (n < limit).then(|| n.saturating_add(1));
    if count.fetch_update(Relaxed, Relaxed, more).is_err() {
        guard::report(&too_many(limit), pg_sys::FATAL);
        return;
    }
    CLIENT.set(Client::Counted);
    xact::at_exit(leave);
}

fn leave() {
    if CLIENT.replace(Client::Free) == Client::Counted {
        if let Some([count]) = TABLE.slots().first() {
            let _ = count.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }
}

fn too_many(limit: u64) -> Error {
    let message =
        format!("sorry, too many client connections: citus.max_client_connections allows {limit}");
    Error::new(sqlstate::TOO_MANY_CONNECTIONS, message)
        .detail("Connections of other nodes and of superusers are not counted.")
        .hint("Close connections that are not needed, or raise citus.max_client_connections.")
}
