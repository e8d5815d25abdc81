//! As whom statements run on nodes: always as the current user here, whosever session it is.
//!
//! A node's session in a transaction is opened for the user that the client is. Statements of a
//! function that runs as its owner, or those after a change of the role, run in the same session, so
//! that all see what the transaction has done. Before them the node is told to act as that role, with
//! a proof (`citus_internal_act_as`), and before the next statement of another user as that one. The
//! node puts the session's own user back at the end of the transaction, and at the rollback to a
//! savepoint whoever it was before.
//!
//! Functions that one user's statements call there could leave traps behind for another's: settings
//! have their first values again with each change and are sent anew, no statement has a name from
//! then on, and after the transaction the session forgets everything.

use super::owners::vacate;
use super::parts::{await_internal, position, Part, PARTS};
use super::reach::connect_missing;
use super::settings::wanted;
use super::Mode;
use crate::error::{Error, Result};
use crate::pg::{session as local, xact};
use crate::remote::{backends, proof, Session, SessionRef};
use std::rc::Rc;

/// As whom statements run on a node.
#[derive(Clone, Debug)]
pub(super) struct Acting {
    pub user: u32,
    /// What runs must leave nothing behind.
    pub restricted: bool,
    /// Its name where it is not the session's own user.
    pub role: Option<Rc<str>>,
}

impl Acting {
    /// As the session's own user.
    pub fn own(user: u32) -> Acting {
        Acting { user, restricted: false, role: None }
    }

    /// Whether it is what the coordinator does now.
    pub fn is_current(&self) -> bool {
        self.user == u32::from(local::user()) && self.restricted == local::is_restricted()
    }
}

/// Whether a session can be used.
#[must_use]
pub(super) enum Ready {
    Yes,
    /// What was queued may fail.
    WhenAnswered,
    /// The backend behind a pooler has to be asked for a text.
    WhenAsked,
}

/// [`sessions`] for statements after which no other node can be read in this transaction.
pub fn join(groups: &[i32], mode: Mode) -> Result<Vec<SessionRef>> {
    if xact::in_parallel_worker() {
        return Err(Error::internal("a parallel worker cannot use connections to nodes"));
    }
    let user = u32::from(local::outer_user());
    connect_missing(groups, user)?;
    backends::joined();
    let want = wanted();
    let nest = xact::nest_level();
    let mut found = Vec::with_capacity(groups.len());
    for group in groups {
        if let Some(session) = guarded(*group, user) {
            vacate(&session, None)?;
        }
        loop {
            let (session, ready) = with_part(*group, user, |part| {
                Ok((part.session.clone(), part.prepare_use(mode, nest, &want)?))
            })?;
            match ready {
                Ready::Yes => {}
                Ready::WhenAnswered => await_internal(&session, |_| false)?,
                Ready::WhenAsked => {
                    vacate(&session, None)?;
                    let asked = proof::ask(&session)?;
                    let asked = asked.ok_or_else(|| Error::internal("a node gave no text"))?;
                    with_part(*group, user, |part| {
                        part.asked = Some(asked);
                        Ok(())
                    })?;
                    continue;
                }
            }
            found.push(session);
            break;
        }
    }
    Ok(found)
}

/// The group's session, when what streams on it has to end before anything else is said there.
fn guarded(group: i32, user: u32) -> Option<SessionRef> {
    PARTS.with(|p| {
        let parts = p.borrow();
        let part = parts.get(position(&parts, group, user)?)?;
        part.guarded.then(|| part.session.clone())
    })
}

/// Does something to a group's part.
fn with_part<R>(group: i32, user: u32, f: impl FnOnce(&mut Part) -> Result<R>) -> Result<R> {
    PARTS.with(|p| {
        let mut parts = p.borrow_mut();
        let at = position(&parts, group, user);
        let part = at.and_then(|at| parts.get_mut(at));
        f(part.ok_or_else(|| Error::internal("no session"))?)
    })
}

/// Lets all nodes act as the current user: deferred triggers run as whoever commits, and with his
/// settings. What was only read may have run functions that write, and what another user's functions
/// have left open there must not run as the last one. Where only one user's statements ran, and wrote
/// nothing, there is nothing left to run.
pub(super) fn act_as_current() -> Result<()> {
    let matters = |p: &Part, s: &Session| {
        let wrote = p.modified || s.transaction_id.is_some() || s.is_pooled();
        !s.is_broken() && (wrote || s.is_shared())
    };
    let matters = |p: &Part| p.session.try_borrow().is_ok_and(|s| matters(p, &s));
    let other = |p: &&Part| p.began && !p.acting.is_current() && matters(p);
    let groups: Vec<i32> =
        PARTS.with(|p| p.borrow().iter().filter(other).map(|p| p.group).collect());
    if groups.is_empty() {
        return Ok(());
    }
    join(&groups, Mode::InTransaction).map(|_| ())
}
