//! Reads of several nodes that never see a transaction on one node and not on another.
//!
//! A transaction with one snapshot (REPEATABLE READ, SERIALIZABLE) takes it on all nodes at its
//! first use of any: [`open`]. A READ COMMITTED statement that asks for it does the same for
//! itself: [`hold`]. Both happen inside the [`gate`](super::gate), where no commit is between its
//! nodes, and only on nodes that are settled (see [`doubt`](super::doubt)).

use super::parts::{self, PARTS};
use super::reach;
use super::taking::Taking;
use super::{acting, doubt, Mode};
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::pg::snapshot::{Fixed, Moment};
use crate::pg::{session as local, xact};
use crate::remote::{backends, Answers, SessionRef};
use crate::settings::{self, ConsistentReads};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Time to connect to a node that the statement does not need.
pub(super) const REACH: Duration = Duration::from_secs(1);

/// What the sessions of a transaction with one snapshot have in common.
struct Opened {
    /// Groups that have the transaction's snapshot.
    groups: Vec<i32>,
    /// Groups that could not take it, and why.
    skipped: Vec<(i32, Error)>,
}

thread_local! {
    static OPENED: RefCell<Option<Opened>> = const { RefCell::new(None) };
    /// A table of this server was read in this transaction.
    static READ_HERE: Cell<bool> = const { Cell::new(false) };
    /// The local snapshot lacks a commit that the snapshots of other nodes may have.
    static STALE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the running transaction takes its snapshot on all nodes at once.
pub(super) fn applies() -> bool {
    xact::has_one_snapshot() && settings::consistent_reads() != ConsistentReads::Off
}

/// The transaction has ended.
pub(super) fn forget() {
    OPENED.with(|o| {
        if let Ok(mut o) = o.try_borrow_mut() {
            *o = None;
        }
    });
    READ_HERE.with(|r| r.set(false));
    STALE.with(|s| s.set(false));
}

/// Primaries of other groups that may hold shards.
fn other_groups() -> Result<Vec<i32>> {
    let here = catalog::local_group()?;
    let nodes = catalog::nodes()?;
    let others = nodes.iter().filter(|n| n.is_primary() && n.active && n.group != here);
    Ok(others.map(|n| n.group).collect())
}

/// Takes the snapshot of the running transaction on all nodes, if it has only one and this has not
/// been done. A node that cannot take part is left out, unless it is one of `needed`.
pub(super) fn open(needed: &[i32]) -> Result<()> {
    if !applies() || needed.is_empty() || xact::in_parallel_worker() {
        return Ok(());
    }
    let user = u32::from(local::outer_user());
    let known = OPENED.with(|o| o.borrow().is_some());
    // With the setting changed in the middle of a transaction it is too late.
    if known || parts::any_began() {
        return Ok(());
    }
    let mut attempt = Attempt { user, done: false };
    for (_, result) in reach::connect_each(needed, user, None)? {
        result?;
    }
    let mut others = other_groups()?;
    others.retain(|g| !needed.contains(g));
    let mut skipped = Vec::new();
    for (group, result) in reach::connect_each(&others, user, Some(REACH))? {
        if let Err(e) = result {
            others.retain(|g| *g != group);
            skipped.push((group, e));
        }
    }
    backends::joined();
    let mut groups = needed.to_vec();
    groups.append(&mut others);
    let begin = Begin { moment: RefCell::new(None) };
    let mut taking = Taking { user, groups, needed: needed.to_vec(), skipped, steps: &begin };
    let stale = taking.run()?;
    attempt.done = true;
    if let Some(moment) = begin.moment.borrow().as_ref() {
        parts::set_moment(moment);
    }
    OPENED.with(|o| {
        let Taking { groups, skipped, .. } = taking;
        *o.borrow_mut() = Some(Opened { groups, skipped });
    });
    if stale {
        STALE.with(|s| s.set(true));
    }
    check_local()
}

/// How snapshots are taken.
pub(super) trait Steps {
    /// Queues what takes the snapshot on each group; nothing of it may wait for a lock.
    fn queue(&self, user: u32, groups: &[i32]) -> Result<Vec<SessionRef>>;
    /// Takes back what was queued, so that it can be done again.
    fn undo(&self, user: u32);
    /// A group does not take part any more; nothing is kept of what it was asked.
    fn leave_out(&self, user: u32, group: i32);
    /// Inside the gate: whether the local snapshot is too old.
    fn is_stale(&self) -> Result<bool>;
}

/// Begins the transaction on nodes that have no part in it yet.
struct Begin {
    /// When it was inside the gate.
    moment: RefCell<Option<Rc<Moment>>>,
}

impl Steps for Begin {
    fn queue(&self, user: u32, groups: &[i32]) -> Result<Vec<SessionRef>> {
        parts::begin_with_snapshot(user, groups)
    }

    fn undo(&self, user: u32) {
        PARTS.with(|p| {
            for part in p.borrow_mut().iter_mut().filter(|p| p.user == user && p.began) {
                part.began = false;
                if let Ok(mut s) = part.session.try_borrow_mut() {
                    s.queue_internal("ROLLBACK", Answers::Essential);
                }
            }
        });
    }

    fn leave_out(&self, user: u32, group: i32) {
        parts::discard(|p| p.user == user && p.group == group);
    }

    fn is_stale(&self) -> Result<bool> {
        *self.moment.borrow_mut() = Some(Moment::now()?);
        Ok(doubt::lacks_commit(&Fixed::of_transaction()?))
    }
}

/// Undoes an opening that fails: a savepoint may keep the transaction alive.
struct Attempt {
    user: u32,
    done: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.done {
            parts::discard(|p| p.user == self.user);
        }
    }
}

/// Why a group without a part must not join the transaction; `None` when it may.
pub(super) fn why_missing(group: i32) -> Option<Error> {
    OPENED.with(|o| {
        let opened = o.borrow();
        let opened = opened.as_ref()?;
        let name = match catalog::node_of_group(group) {
            Ok(n) => format!("node {}:{}", n.name, n.port),
            Err(_) => format!("group {group}"),
        };
        let reason = if let Some((_, e)) = opened.skipped.iter().find(|s| s.0 == group) {
            Some(e.message.clone())
        } else if opened.groups.contains(&group) {
            Some("The connection was lost.".to_owned())
        } else if xact::has_written() {
            // Whoever adds a node goes on to work with it.
            return None;
        } else {
            None
        };
        let message = format!("{name} does not have the snapshot of this transaction");
        let e = Error::new(sqlstate::SERIALIZATION_FAILURE, message);
        let reason = reason.unwrap_or_else(|| "It has joined the cluster since.".to_owned());
        Some(e.detail(reason).hint("Roll back and run the transaction again."))
    })
}

/// A statement of a transaction with one snapshot reads tables of this server.
pub fn reads_here() -> Result<()> {
    READ_HERE.with(|r| r.set(true));
    check_local()
}

fn check_local() -> Result<()> {
    if !(READ_HERE.with(Cell::get) && STALE.with(Cell::get)) {
        return Ok(());
    }
    Err(Error::new(
        sqlstate::SERIALIZATION_FAILURE,
        "could not read tables of this server and of other nodes as of the same moment",
    )
    .detail("A transaction that changed both was committed while this one began.")
    .hint("Roll back and run the transaction again."))
}

/// Whether the running statement wants consistent reads for itself.
pub fn by_statement() -> bool {
    settings::consistent_reads() == ConsistentReads::On
        && !xact::has_one_snapshot()
        && !xact::in_parallel_worker()
}

/// Snapshots that nodes hold for a statement.
pub struct Hold {
    /// Their number.
    pub id: i32,
    groups: Vec<i32>,
    skipped: Vec<(i32, Error)>,
}

impl Hold {
    /// Refuses to read from nodes that do not hold the snapshot.
    pub fn covers(&self, groups: &[i32]) -> Result<()> {
        let Some(group) = groups.iter().find(|g| !self.groups.contains(g)) else { return Ok(()) };
        if let Some((_, e)) = self.skipped.iter().find(|s| s.0 == *group) {
            return Err(e.clone());
        }
        Err(Error::new(
            sqlstate::SERIALIZATION_FAILURE,
            format!("group {group} does not have the snapshot of this statement"),
        )
        .hint("Run the statement again."))
    }

    /// The command after which a node reads with the snapshot.
    pub fn reading(&self) -> String {
        format!("SELECT pg_catalog.citus_internal_read_with_snapshot({})", self.id)
    }

    /// The command after which it does not any more.
    pub fn read(&self) -> &'static str {
        "SELECT pg_catalog.citus_internal_read_with_snapshot(0)"
    }

    /// The nodes may drop the snapshot; said with what they are told next.
    pub fn drop_later(&self) {
        let sql = format!("SELECT pg_catalog.citus_internal_drop_snapshot({})", self.id);
        PARTS.with(|p| {
            let Ok(parts) = p.try_borrow() else { return };
            for part in parts.iter().filter(|p| p.began && self.groups.contains(&p.group)) {
                if let Ok(mut s) = part.session.try_borrow_mut() {
                    if !s.is_broken() {
                        s.queue_internal(&sql, Answers::Discard);
                    }
                }
            }
        });
    }
}

/// Lets nodes hold a snapshot for the statement that is about to start. `here` runs inside the
/// gate, for what this server reads.
pub fn hold(groups: &[i32], here: &dyn Fn()) -> Result<Hold> {
    thread_local! {
        static LAST: Cell<i32> = const { Cell::new(0) };
    }
    let id = LAST.with(|l| {
        l.set(l.get() % i32::MAX + 1);
        l.get()
    });
    let user = u32::from(local::outer_user());
    let (mut found, mut skipped) = (groups.to_vec(), Vec::new());
    for (group, result) in reach::connect_each(groups, user, None)? {
        if let Err(e) = result {
            found.retain(|g| *g != group);
            skipped.push((group, e));
        }
    }
    let sessions = acting::join(&found, Mode::InTransaction)?;
    let owner = super::register_owner(Box::new(|| Ok(())));
    let _claim = Claim { owner, sessions: &sessions };
    sessions.iter().try_for_each(|s| super::claim(s, owner))?;
    let steps = Keep { id, here };
    let needed = found.clone();
    let mut taking = Taking { user, groups: found, needed, skipped, steps: &steps };
    taking.run()?;
    let Taking { groups, skipped, .. } = taking;
    Ok(Hold { id, groups, skipped })
}

struct Claim<'a> {
    owner: super::OwnerId,
    sessions: &'a [SessionRef],
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.sessions.iter().for_each(|s| super::release(s, self.owner));
        super::unregister_owner(self.owner);
    }
}

/// Keeps a snapshot in nodes' sessions that are in the transaction.
struct Keep<'a> {
    id: i32,
    here: &'a dyn Fn(),
}

impl Steps for Keep<'_> {
    fn queue(&self, _user: u32, groups: &[i32]) -> Result<Vec<SessionRef>> {
        let sql = format!("SELECT pg_catalog.citus_internal_hold_snapshot({})", self.id);
        let sessions = parts::select(|p| p.began && groups.contains(&p.group));
        for session in &sessions {
            session.borrow_mut().queue_internal(&sql, Answers::Internal);
        }
        Ok(sessions)
    }

    // The next one takes its place.
    fn undo(&self, _user: u32) {}

    fn leave_out(&self, _user: u32, _group: i32) {}

    fn is_stale(&self) -> Result<bool> {
        (self.here)();
        Ok(false)
    }
}
