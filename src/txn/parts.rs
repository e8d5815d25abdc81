//! The nodes that take part in the running transaction.

use super::acting::{join, Acting, Ready};
use super::constraints;
use super::gid::Peer;
use super::settings::{change, wanted};
use super::{consistent, owners::OwnerId, Mode};
use crate::error::{sqlstate, Error, Result};
use crate::pg::snapshot::Moment;
use crate::pg::{session as local, xact};
use crate::remote::{backends, pool, wait_one, Answers, Session, SessionRef, Settings};
use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

/// One node in the running transaction.
pub(super) struct Part {
    pub group: i32,
    /// Whose session it is.
    pub user: u32,
    pub session: SessionRef,
    /// As whom statements run there.
    pub acting: Acting,
    /// What a backend behind a pooler was asked for, to be told another role.
    pub asked: Option<String>,
    /// BEGIN was sent (or queued).
    pub began: bool,
    /// Takes part in two-phase commit.
    pub modified: bool,
    /// Rows were locked there.
    pub locked: bool,
    /// Nesting level reached there: 1 after BEGIN, one more for every savepoint.
    pub level: i32,
    /// Nesting level at which the node joined the transaction.
    pub joined: i32,
    /// Savepoints from this level on are to be released with the next use.
    released: Option<i32>,
    /// The savepoint of this level is to be rolled back with the next use.
    pub rollback_to: Option<i32>,
    /// Settings of the session inside the transaction, and as they were at each savepoint.
    settings: Rc<Settings>,
    /// The transaction there is read only now.
    read_only: bool,
    saved: Vec<Saved>,
    /// The execution that streams on the session, and the nesting level where it claimed it.
    pub owner: Option<(OwnerId, i32)>,
    /// What streams has a savepoint of its own there: savepoints of the transaction have to wait.
    pub guarded: bool,
    /// PREPARE TRANSACTION was sent under this name.
    pub prepared: Option<String>,
    /// When the node took its snapshot, or a bit before, in a transaction that has only one.
    pub moment: Option<Rc<Moment>>,
}

/// What a savepoint gives back when it is rolled back; READ ONLY also when it is released.
struct Saved {
    level: i32,
    acting: Acting,
    settings: Rc<Settings>,
    read_only: bool,
}

thread_local! {
    pub(super) static PARTS: RefCell<Vec<Part>> = const { RefCell::new(Vec::new()) };
}

/// Whether any node is in a transaction.
pub(super) fn any_began() -> bool {
    PARTS.with(|p| p.borrow().iter().any(|p| p.began))
}

/// The place of a group's part: the one that is in the transaction, whosever session it is, or else
/// the user's, which runs one statement at a time.
pub(super) fn position(parts: &[Part], group: i32, user: u32) -> Option<usize> {
    let began = parts.iter().position(|p| p.group == group && p.began);
    began.or_else(|| parts.iter().position(|p| p.group == group && p.user == user))
}

/// The session of a group's part, for questions of our own.
pub(super) fn session_of(group: i32, user: u32) -> Option<SessionRef> {
    PARTS.with(|p| {
        let parts = p.borrow();
        let part = parts.get(position(&parts, group, user)?)?;
        if !part.began {
            part.session.try_borrow_mut().ok()?.runs_for(part.user, false);
        }
        Some(part.session.clone())
    })
}

/// The groups whose nodes are in a transaction.
pub(super) fn groups_in_transaction() -> Vec<i32> {
    PARTS.with(|p| p.borrow().iter().filter(|p| p.began).map(|p| p.group).collect())
}

/// When nodes took their snapshots for the running transaction, which has only one.
pub(super) fn moments() -> Vec<(i32, Rc<Moment>)> {
    let moment = |p: &Part| Some((p.group, p.moment.clone()?));
    PARTS.with(|p| p.borrow().iter().filter(|p| p.began).filter_map(moment).collect())
}

/// The nodes took their snapshots later than when they were told to begin.
pub(super) fn set_moment(moment: &Rc<Moment>) {
    PARTS.with(|p| {
        let mut parts = p.borrow_mut();
        parts.iter_mut().filter(|p| p.began).for_each(|p| p.moment = Some(moment.clone()));
    });
}

/// The nodes are modified in this transaction: they take part in two-phase commit. Nothing happens
/// where the statement was a transaction of its own.
pub fn mark_modified(groups: &[i32]) {
    let named = |p: &Part| groups.contains(&p.group) && p.began;
    PARTS.with(|p| p.borrow_mut().iter_mut().filter(|p| named(p)).for_each(|p| p.modified = true));
}

/// Rows are locked on the nodes: they have to stay so until what the transaction writes is visible.
pub fn mark_locked(groups: &[i32]) {
    let named = |p: &Part| groups.contains(&p.group) && p.began;
    PARTS.with(|p| p.borrow_mut().iter_mut().filter(|p| named(p)).for_each(|p| p.locked = true));
}

/// The nodes that were modified, with the ids of their transactions; `None` when one is not known.
pub(super) fn transaction_ids() -> Result<Option<Vec<Peer>>> {
    let silent = select(|p| {
        let knows = |s: &Session| s.transaction_id.is_some();
        p.began && p.modified && p.session.try_borrow().is_ok_and(|s| !knows(&s))
    });
    // A node tells when it has written something. What was written may still be on its way, or be
    // nothing; and not every connection lets it tell.
    for session in &silent {
        let mut s = session.borrow_mut();
        s.queue_transaction_id();
        s.flush()?;
    }
    for session in &silent {
        await_internal(session, |s| s.transaction_id.is_some())?;
    }
    PARTS.with(|p| {
        let parts = p.borrow();
        let modified = parts.iter().filter(|p| p.began && p.modified);
        Ok(modified
            .map(|p| {
                let transaction = p.session.try_borrow().ok()?.transaction_id?;
                Some(Peer { group: p.group, transaction })
            })
            .collect())
    })
}

/// Queues BEGIN and something that takes the transaction's snapshot, on groups that have a part.
pub(super) fn begin_with_snapshot(user: u32, groups: &[i32]) -> Result<Vec<SessionRef>> {
    let (want, nest) = (wanted(), xact::nest_level());
    let mut found = Vec::new();
    PARTS.with(|p| {
        let mut parts = p.borrow_mut();
        for part in parts.iter_mut().filter(|p| p.user == user && groups.contains(&p.group)) {
            // Where a pooler has to be asked first, the next use does it.
            let _ = part.prepare_use(Mode::InTransaction, nest, &want)?;
            part.session.borrow_mut().queue_internal("SELECT 1", Answers::Internal);
            found.push(part.session.clone());
        }
        Ok(found)
    })
}

/// Takes parts out of the transaction and closes their connections: what was asked there is not
/// known to be undone.
pub(super) fn discard(f: impl Fn(&Part) -> bool) {
    let discarded: Vec<Part> = PARTS.with(|p| {
        let Ok(mut parts) = p.try_borrow_mut() else { return Vec::new() };
        let (discard, keep) = std::mem::take(&mut *parts).into_iter().partition(&f);
        *parts = keep;
        discard
    });
    for part in discarded {
        if part.began {
            if let Ok(mut s) = part.session.try_borrow_mut() {
                s.poison();
            }
        } else {
            pool::give_back(part.session);
        }
    }
}

/// Whether the session is in the running transaction (as opposed to one statement at a time).
pub fn in_transaction(session: &SessionRef) -> bool {
    PARTS.with(|p| p.borrow().iter().any(|p| p.began && Rc::ptr_eq(&p.session, session)))
}

/// The session to a group's primary for this transaction; queues BEGIN, changed settings and
/// savepoints in front of what the caller queues, without a round trip of their own.
///
/// The session must be claimed before anything is queued whose results are read piecemeal.
pub fn session(group: i32, mode: Mode) -> Result<SessionRef> {
    sessions(&[group], mode)?.pop().ok_or_else(|| Error::internal("no session"))
}

/// [`session`] for many groups; missing connections are made in parallel. A transaction that has
/// one snapshot takes it on all nodes now, see [`super::consistent`].
pub fn sessions(groups: &[i32], mode: Mode) -> Result<Vec<SessionRef>> {
    if mode == Mode::InTransaction {
        consistent::open(groups)?;
    }
    join(groups, mode)
}

pub(super) fn lost(part: &Part) -> Error {
    let message = format!(
        "connection to node {} was lost during the transaction",
        part.session.borrow().node()
    );
    Error::new(sqlstate::CONNECTION_FAILURE, message)
        .hint("Roll back and run the transaction again.")
}

/// Waits for the answers to our own commands, or for as many of them as are enough.
pub(super) fn await_internal(
    session: &SessionRef,
    enough: impl Fn(&Session) -> bool,
) -> Result<()> {
    loop {
        let failed = match session.borrow_mut().next()? {
            Some(crate::remote::Message::Error(e)) => Some(e),
            _ => None,
        };
        if let Some(e) = failed {
            return Err(e);
        }
        if session.borrow().outstanding() == 0 || enough(&session.borrow()) {
            return Ok(());
        }
        wait_one(session)?;
    }
}

impl Part {
    /// Whether it has locks that others must not get before the transaction has ended.
    pub fn keeps_locks(&self) -> bool {
        // What was called there may have written something, whatever the statement was.
        let wrote = || self.session.try_borrow().is_ok_and(|s| s.transaction_id.is_some());
        self.began && !self.modified && (self.locked || wrote())
    }

    pub fn new(group: i32, user: u32, session: SessionRef) -> Part {
        Part {
            group,
            user,
            session,
            acting: Acting::own(user),
            asked: None,
            began: false,
            modified: false,
            locked: false,
            level: 0,
            joined: 0,
            released: None,
            rollback_to: None,
            settings: Rc::default(),
            read_only: false,
            saved: Vec::new(),
            owner: None,
            guarded: false,
            prepared: None,
            moment: None,
        }
    }

    /// Queues what has to be said before a statement.
    pub fn prepare_use(&mut self, mode: Mode, nest: i32, want: &Rc<Settings>) -> Result<Ready> {
        let session = self.session.clone();
        let mut s = session
            .try_borrow_mut()
            .map_err(|_| Error::internal("session is used while it is waiting"))?;
        if self.owner.is_none() {
            let rest = if self.began { Answers::Internal } else { Answers::Discard };
            s.discard_pending(rest);
        }
        if self.began {
            return self.continue_transaction(&mut s, nest, want);
        }
        let foreign = !Acting::own(self.user).is_current();
        if foreign && mode == Mode::Once {
            return Err(Error::internal("a role can be taken on in a transaction only"));
        }
        s.runs_for(u32::from(local::user()), false);
        // Between transactions settings are changed for good, so that it happens rarely. Those of a
        // function that runs as its owner are its own.
        let risky = !foreign && sync_settings(&mut s, want);
        if mode == Mode::Once {
            return Ok(match risky && self.owner.is_none() {
                true => Ready::WhenAnswered,
                false => Ready::Yes,
            });
        }
        if xact::has_one_snapshot() {
            self.moment = Some(Moment::now()?);
        }
        // Savepoints may end before it does: what was said within them is said within them there.
        let read_only = xact::characteristics().read_only;
        self.read_only = read_only && nest == 1;
        let mut sql = begin_command(self.read_only);
        let mut commands = 1 + constraints::on_joining(&mut sql, self.group, 1);
        self.began = true;
        self.acting = Acting::own(self.user);
        s.acting = None;
        s.note_begun();
        self.level = 1;
        self.joined = nest;
        self.settings = s.settings.clone();
        commands += self.savepoints(&mut sql, nest, true);
        commands += self.become_read_only(&mut sql, read_only);
        s.open_with(&sql, commands);
        s.transaction_begins();
        match foreign {
            true => self.continue_transaction(&mut s, nest, want),
            false => Ok(Ready::Yes),
        }
    }

    fn continue_transaction(
        &mut self,
        s: &mut Session,
        nest: i32,
        want: &Rc<Settings>,
    ) -> Result<Ready> {
        let mut sql = String::new();
        self.undo_savepoints(&mut sql);
        self.savepoints(&mut sql, nest, false);
        s.acting = self.acting.role.clone();
        if !self.acting.is_current() {
            if !sql.is_empty() {
                s.queue_internal(&sql, Answers::Internal);
                sql.clear();
            }
            if s.is_pooled() && self.asked.is_none() {
                return Ok(Ready::WhenAsked);
            }
            let (user, restricted) = (u32::from(local::user()), local::is_restricted());
            s.act_as(&local::user_name(), restricted, self.asked.take());
            s.runs_for(user, true);
            self.acting = Acting { user, restricted, role: s.acting.clone() };
            // The node has put them back.
            self.settings = Rc::default();
        }
        self.become_read_only(&mut sql, xact::characteristics().read_only);
        let c = change(&self.settings, want, true);
        if !c.sql.is_empty() {
            s.note_settings(want);
            sql.push_str(&c.sql);
            self.settings = want.clone();
        }
        if !sql.is_empty() {
            s.queue_internal(&sql, Answers::Internal);
        }
        Ok(Ready::Yes)
    }

    /// Commands for savepoints that ended here but not there.
    pub fn undo_savepoints(&mut self, sql: &mut String) {
        if let Some(level) = self.rollback_to.take() {
            let _ =
                write!(sql, "ROLLBACK TO SAVEPOINT citus_{level};RELEASE SAVEPOINT citus_{level};");
        } else if let Some(level) = self.released {
            let _ = write!(sql, "RELEASE SAVEPOINT citus_{level};");
        }
        self.released = None;
    }

    /// Commands for savepoints that began here but not there; how many commands.
    fn savepoints(&mut self, sql: &mut String, nest: i32, joining: bool) -> u32 {
        let mut commands = 0;
        while self.level < nest {
            self.level += 1;
            let _ = write!(sql, "SAVEPOINT citus_{};", self.level);
            let (level, settings) = (self.level, self.settings.clone());
            let (acting, read_only) = (self.acting.clone(), self.read_only);
            self.saved.push(Saved { level, acting, settings, read_only });
            commands += 1;
            if joining {
                commands += constraints::on_joining(sql, self.group, self.level);
            }
        }
        commands
    }

    /// A transaction or savepoint that was not read only from its start can become so; how many
    /// commands that takes.
    fn become_read_only(&mut self, sql: &mut String, read_only: bool) -> u32 {
        let becomes = read_only && !self.read_only;
        if becomes {
            sql.push_str("SET TRANSACTION READ ONLY;");
            self.read_only = true;
        }
        u32::from(becomes)
    }

    /// The subtransaction of this level has become part of its parent.
    fn sub_committed(&mut self, level: i32) {
        if let Some((_, at)) = &mut self.owner {
            *at = (*at).min(level - 1);
        }
        self.joined = self.joined.min(level - 1);
        if self.level >= level {
            self.level = level - 1;
            self.released = Some(self.released.map_or(level, |l| l.min(level)));
            if let Some(saved) = self.saved.iter().find(|s| s.level == level) {
                self.read_only = saved.read_only;
            }
            self.saved.retain(|s| s.level < level);
        }
    }

    /// The subtransaction of this level was rolled back; true when the node has to be told.
    pub fn sub_aborted(&mut self, level: i32) -> bool {
        if !self.began || self.level < level {
            return false;
        }
        if let Some(saved) = self.saved.iter().find(|s| s.level == level) {
            self.acting = saved.acting.clone();
            self.settings = saved.settings.clone();
            self.read_only = saved.read_only;
        }
        self.saved.retain(|s| s.level < level);
        self.level = level - 1;
        self.released = None;
        self.rollback_to = Some(self.rollback_to.map_or(level, |l| l.min(level)));
        true
    }
}

/// Brings the session's settings up to date; true when a node could refuse one of them.
fn sync_settings(s: &mut Session, want: &Rc<Settings>) -> bool {
    if s.settings_unknown {
        s.queue_internal("RESET ALL", Answers::Essential);
        s.settings = Rc::default();
        s.settings_unknown = false;
    }
    let c = change(&s.settings, want, false);
    if c.sql.is_empty() {
        return false;
    }
    s.note_settings(want);
    s.queue_internal(&c.sql, Answers::Internal);
    s.settings = want.clone();
    c.risky
}

/// BEGIN with the characteristics of the local transaction; sessions have the plain ones as
/// their default.
fn begin_command(read_only: bool) -> String {
    let c = xact::characteristics();
    if c.isolation == "READ COMMITTED" && !read_only {
        return "BEGIN;".into();
    }
    format!(
        "BEGIN ISOLATION LEVEL {}{}{};",
        c.isolation,
        if read_only { " READ ONLY" } else { "" },
        // What waits for a safe moment cannot be made to wait for it on all nodes at once.
        if c.deferrable && !consistent::applies() { " DEFERRABLE" } else { "" },
    )
}

/// The subtransaction of this level has become part of its parent.
pub(super) fn sub_committed(level: i32) {
    PARTS.with(|p| {
        if let Ok(mut parts) = p.try_borrow_mut() {
            for part in parts.iter_mut() {
                part.sub_committed(level);
            }
        }
    });
}

/// Ends the participation of all sessions and gives them back to the pool.
pub(super) fn give_back_all() {
    backends::left();
    while let Some(part) = PARTS.with(|p| p.try_borrow_mut().ok()?.pop()) {
        pool::give_back(part.session);
    }
}

/// Parts selected by `f`, as sessions.
pub(super) fn select(f: impl Fn(&Part) -> bool) -> Vec<SessionRef> {
    PARTS.with(|p| {
        p.try_borrow()
            .map(|p| p.iter().filter(|p| f(p)).map(|p| p.session.clone()).collect())
            .unwrap_or_default()
    })
}
