//! Committing: plainly where one node is concerned, in two phases where several are.

use super::gid::{Decider, Gid, Names, Peer};
use super::owners::forget_all;
use super::parts::{give_back_all, lost, select, transaction_ids, Part, PARTS};
use super::rollback::withdraw;
use super::{acting, consistent, doubt, gate};
use crate::catalog;
use crate::ddl::unshard::unshard_error;
use crate::error::{sqlstate, Error, OrRaise, Result};
use crate::model::gate::Class;
use crate::pg::fmgr::text_datum;
use crate::pg::{catalog_write, guard, procs, scan, session as local, wait, xact};
use crate::remote::{cancel_all, pool, rest, settle, simple, Answers, Message, SessionRef};
use crate::worker::board::{self, Request};
use pgrx::pg_sys::Datum;
use std::cell::Cell;
use std::time::Duration;

/// Time for the second phase; recovery does what is not done by then.
const COMMIT_PREPARED: Duration = Duration::from_secs(60);
/// Time of it that those who take snapshots are kept waiting. Who reads a node that is slower
/// waits for that node.
const INSIDE_GATE: Duration = Duration::from_secs(1);
/// Time for the outcome of a commit that was interrupted.
const OUTCOME: Duration = Duration::from_secs(10);

/// The local transaction is about to commit.
pub(super) fn pre_commit() {
    // Deferred constraints are checked there only now.
    commit_nodes().map_err(|e| unshard_error(e, 1)).or_raise();
}

fn commit_nodes() -> Result<()> {
    let began = select(|p| p.began);
    if began.is_empty() {
        return Ok(());
    }
    end_statements(&began)?;
    xact::count_notifications();
    // Deferred triggers run as who commits, and with his settings.
    acting::act_as_current()?;
    commit_readers(&readers())?;
    let writers = select(|p| p.began && p.modified);
    match writers.as_slice() {
        [] => Ok(()),
        [one] if !xact::has_written() => {
            commit_one(one)?;
            ended(&writers);
            // It is committed, although the local transaction has yet to end.
            wait::forget_cancel();
            Ok(())
        }
        _ if xact::has_written() || xact::characteristics().isolation == "SERIALIZABLE" => {
            prepare(&writers)
        }
        _ => match together(&writers)? {
            true => Ok(()),
            false => prepare(&writers),
        },
    }
}

/// What still streams is thrown away, and savepoints are brought up to date.
fn end_statements(sessions: &[SessionRef]) -> Result<()> {
    PARTS.with(|p| {
        for part in p.borrow_mut().iter_mut().filter(|p| p.began) {
            let mut sql = String::new();
            part.owner = None;
            part.guarded = false;
            part.undo_savepoints(&mut sql);
            let locked = part.keeps_locks();
            let mut s = part.session.borrow_mut();
            s.discard_pending(Answers::Internal);
            if locked && s.outstanding() == 0 && s.fill().is_ok() {
                // A node that is lost has let go of its locks; it has not been asked since.
                let _ = s.next();
            }
            if s.is_broken() {
                drop(s);
                if part.modified || locked {
                    return Err(lost(part));
                }
            } else if !sql.is_empty() {
                s.queue_internal(&sql, Answers::Internal);
            }
        }
        Ok(())
    })?;
    for session in sessions {
        if !session.borrow().is_broken() {
            session.borrow_mut().flush()?;
        }
    }
    Ok(())
}

/// Who gets a lock of this transaction must see what it has written, on all nodes. So where rows were
/// only locked, the commit comes last ([`release_locks`]), when nothing depends on its success. In
/// SERIALIZABLE something does: there they take part in the decision. Gives those that are ended now.
fn readers() -> Vec<SessionRef> {
    let serializable = xact::characteristics().isolation == "SERIALIZABLE";
    if serializable {
        PARTS.with(|p| {
            let mut parts = p.borrow_mut();
            let writes = parts.iter().any(|p| p.began && p.modified) || xact::has_written();
            parts.iter_mut().for_each(|p| p.modified |= writes && p.keeps_locks());
        });
    }
    select(|p| p.began && !p.modified && (serializable || !p.keeps_locks()))
}

/// The transaction is committed: rows that were only locked are free.
fn release_locks() {
    let lockers = select(Part::keeps_locks);
    for session in &lockers {
        let Ok(mut s) = session.try_borrow_mut() else { continue };
        if !s.is_broken() {
            s.queue_internal("COMMIT", Answers::Essential);
            let _ = s.flush();
        }
    }
    rest(&lockers, INSIDE_GATE, wait::stop_requested, |_, _| ());
    ended(&lockers);
}

/// Nodes that were only read end their transactions without being waited for, except where the
/// isolation level makes even that a question.
fn commit_readers(readers: &[SessionRef]) -> Result<()> {
    if readers.is_empty() {
        return Ok(());
    }
    if xact::characteristics().isolation == "SERIALIZABLE" {
        let work: Vec<_> = readers.iter().map(|s| (s.clone(), "COMMIT".to_owned())).collect();
        simple::query_all(&work)?.into_iter().collect::<Result<Vec<_>>>()?;
    } else {
        for session in readers {
            let mut s = session.borrow_mut();
            if !s.is_broken() {
                s.queue_internal("COMMIT", Answers::Essential);
                let _ = s.flush();
            }
        }
    }
    ended(readers);
    Ok(())
}

fn ended(sessions: &[SessionRef]) {
    PARTS.with(|p| {
        for part in p.borrow_mut().iter_mut() {
            if sessions.iter().any(|s| std::rc::Rc::ptr_eq(s, &part.session)) {
                part.began = false;
                part.modified = false;
                part.locked = false;
                part.prepared = None;
            }
        }
    });
}

/// The error when a node is lost that was told to commit, or to do something by itself.
pub fn lost_while_committing(session: &SessionRef, e: &Error) -> Error {
    let node = session.borrow().node().to_string();
    Error::new(
        sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("connection to node {node} was lost while it was committing"),
    )
    .detail(e.detail.as_ref().unwrap_or(&e.message))
    .hint("Check whether the changes are there before trying again.")
}

/// One node was modified and nothing was written here: its commit decides.
fn commit_one(session: &SessionRef) -> Result<()> {
    let result = simple::query(session, "COMMIT");
    let result = match result {
        Err(e) if session.borrow().is_broken() => {
            return Err(lost_while_committing(session, &e));
        }
        // Interrupted: the node is asked to stop, but what it has done counts.
        Err(e) if session.borrow().outstanding() > 0 => {
            let (mut tag, mut failure) = (None, None);
            cancel_all(std::slice::from_ref(session));
            settle(
                std::slice::from_ref(session),
                OUTCOME,
                || false,
                |_, m| match m {
                    Message::CommandComplete(t) => tag = Some((*t).to_owned()),
                    Message::Error(e) => failure = Some(e.clone()),
                    _ => {}
                },
            );
            if session.borrow().is_broken() {
                return Err(lost_while_committing(session, &failure.unwrap_or(e)));
            }
            tag.ok_or(failure.unwrap_or(e))
        }
        other => other.map(|r| r.tag),
    };
    expect_tag(session, &result?, "COMMIT")
}

/// A failed transaction answers COMMIT and PREPARE with ROLLBACK.
fn expect_tag(session: &SessionRef, tag: &str, expected: &str) -> Result<()> {
    if tag == expected {
        return Ok(());
    }
    let message = format!("node {} rolled the transaction back", session.borrow().node());
    Err(Error::new(sqlstate::IN_FAILED_SQL_TRANSACTION, message))
}

/// A number that no other transaction has: chance once for each session, which is expensive, and
/// counted on from there.
fn random() -> Result<u64> {
    thread_local! {
        static LAST: Cell<Option<u64>> = const { Cell::new(None) };
    }
    let next = match LAST.with(Cell::get) {
        Some(last) => last.wrapping_add(1),
        None => local::random()?,
    };
    LAST.with(|l| l.set(Some(next)));
    Ok(next)
}

/// The name for the first of the nodes that prepare now.
fn name(peers: Vec<Peer>) -> Result<Gid> {
    let decider = Decider {
        group: catalog::local_group()?,
        system: local::system_identifier(),
        database: local::database(),
    };
    let number = if peers.is_empty() { xact::full_id() } else { procs::my_run() };
    Ok(Gid { decider, pid: local::backend_pid(), number, random: random()?, part: 0, peers })
}

/// Statements for sessions.
type Work = Vec<(SessionRef, String)>;

/// Names the parts that were modified; the commands that prepare them.
fn name_parts(names: &Names) -> Work {
    let mut work = Vec::new();
    PARTS.with(|p| {
        let mut parts = p.borrow_mut();
        for (n, part) in parts.iter_mut().filter(|p| p.began && p.modified).enumerate() {
            let name = names.of(n as u32);
            work.push((part.session.clone(), format!("PREPARE TRANSACTION '{name}'")));
            part.prepared = Some(name);
        }
    });
    work
}

/// Nothing was written here: the nodes decide together, by having prepared all (see `peers`).
/// False when they cannot, and nothing has happened.
fn together(writers: &[SessionRef]) -> Result<bool> {
    let Some(ids) = transaction_ids()? else { return Ok(false) };
    let gid = name(ids)?;
    let names = gid.names();
    if !names.fit(writers.len()) {
        return Ok(false);
    }
    let work = name_parts(&names);
    let prepared = simple::start_all(&work).and_then(|()| {
        for (session, result) in writers.iter().zip(simple::collect_successes(writers)?) {
            expect_tag(session, &result.tag, "PREPARE TRANSACTION")?;
        }
        gate::enter(Class::Committer, None)
    });
    if let Err(e) = prepared {
        // While the local transaction runs nobody else decides.
        if withdraw(writers) {
            return Err(e);
        }
        gid.peers.iter().for_each(|p| doubt::unsettle(p.group));
        return Err(unknown(e));
    }
    second_phase();
    ended(writers);
    // It is committed, although the local transaction has yet to end.
    wait::forget_cancel();
    Ok(true)
}

/// No node has said that it rolled back: what was decided will be known when one answers.
fn unknown(e: Error) -> Error {
    Error::new(
        sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
        "the nodes were lost while the transaction was committing",
    )
    .detail(e.message.clone())
    .hint("Check whether the changes are there before trying again.")
}

/// First phase: all nodes prepare, and the decision is recorded with the local transaction.
fn prepare(writers: &[SessionRef]) -> Result<()> {
    let gid = name(Vec::new())?;
    let work = name_parts(&gid.names());
    simple::start_all(&work)?;
    // The nodes work while the decision is written.
    xact::force_durable();
    record(gid.number)?;
    for (session, result) in writers.iter().zip(simple::collect_successes(writers)?) {
        expect_tag(session, &result.tag, "PREPARE TRANSACTION")?;
    }
    gate::enter(Class::Committer, None)?;
    doubt::remember_commit(gid.number);
    Ok(())
}

/// Writes the decision to commit; it holds when the local transaction does.
fn record(xid: u64) -> Result<()> {
    let table = scan::catalog_relation(c"pg_dist_transaction")
        .ok_or_else(|| Error::internal("pg_dist_transaction does not exist"))?;
    let name = |p: &Part| Some((p.group, p.prepared.clone()?));
    let names: Vec<_> = PARTS.with(|p| p.borrow().iter().filter_map(name).collect());
    for (group, name) in names {
        let row = [Some(Datum::from(group)), Some(text_datum(&name)), Some(Datum::from(xid))];
        catalog_write::insert(table, &row);
    }
    Ok(())
}

/// The local transaction is committed: so will be what was prepared.
pub(super) fn after_commit() {
    consistent::forget();
    if PARTS.with(|p| p.try_borrow().is_ok_and(|p| p.is_empty())) {
        forget_all();
        // It may be an empty transaction, run for the sake of others that wait.
        pool::make_room();
        return;
    }
    let _ = guard::catch(second_phase);
    gate::leave();
    let _ = guard::catch(release_locks);
    forget_all();
    give_back_all();
}

/// What became of COMMIT PREPARED on a node.
struct Outcome {
    group: i32,
    session: SessionRef,
    result: Option<Result<()>>,
}

impl Outcome {
    fn hear(&mut self, m: &Message<'_>) {
        match m {
            Message::CommandComplete(_) => self.result = Some(Ok(())),
            // Recovery was faster.
            Message::Error(e) if e.code == sqlstate::UNDEFINED_OBJECT => self.result = Some(Ok(())),
            Message::Error(e) => self.result = Some(Err(e.clone())),
            _ => {}
        }
    }

    /// What went wrong; `None` when nothing did.
    fn failure(&self) -> Option<String> {
        match &self.result {
            Some(Ok(())) => None,
            Some(Err(e)) => Some(e.message.clone()),
            None => Some("The node did not answer.".to_owned()),
        }
    }

    /// Where it failed, readers wait for recovery.
    fn note(&self) {
        if self.failure().is_some() {
            doubt::unsettle(self.group);
            board::request(local::database(), Request::Recover);
        }
    }

    /// Tells the client. A session that is to be terminated ends here.
    fn report(&self) {
        let Some(why) = self.failure() else { return };
        let node = self.session.borrow().node().to_string();
        guard::warning(
            &Error::new(
                sqlstate::CONNECTION_FAILURE,
                format!("the transaction is committed but not yet visible on node {node}"),
            )
            .detail(why)
            .hint("Recovery of prepared transactions will complete it there."),
        );
    }
}

/// Inside the gate, and out of it.
fn second_phase() {
    let prepared: Vec<(i32, SessionRef, String)> = PARTS.with(|p| {
        let parts = p.borrow();
        let gid = |p: &super::parts::Part| Some((p.group, p.session.clone(), p.prepared.clone()?));
        parts.iter().filter_map(gid).collect()
    });
    let mut outcomes = Vec::new();
    for (group, session, gid) in prepared {
        let mut s = session.borrow_mut();
        if !s.is_broken() {
            s.queue_query(&format!("COMMIT PREPARED '{gid}'"));
            let _ = s.flush();
        }
        drop(s);
        outcomes.push(Outcome { group, session, result: None });
    }
    let late = hear(&mut outcomes, |sessions, each| {
        rest(sessions, INSIDE_GATE, wait::stop_requested, each)
    });
    let (mut late, done): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|o| late.iter().any(|s| std::rc::Rc::ptr_eq(s, &o.session)));
    done.iter().for_each(Outcome::note);
    late.iter().for_each(|o| doubt::await_answer(o.group));
    gate::leave();
    hear(&mut late, |sessions, each| {
        settle(sessions, COMMIT_PREPARED, wait::stop_requested, each);
        Vec::new()
    });
    late.iter().for_each(|o| {
        o.note();
        doubt::answered(o.group);
    });
    done.iter().chain(&late).for_each(Outcome::report);
}

/// Lets `read` read the answers of the nodes.
fn hear(
    outcomes: &mut [Outcome],
    read: impl FnOnce(&[SessionRef], &mut dyn FnMut(usize, &Message<'_>)) -> Vec<SessionRef>,
) -> Vec<SessionRef> {
    if outcomes.is_empty() {
        return Vec::new();
    }
    let sessions: Vec<SessionRef> = outcomes.iter().map(|o| o.session.clone()).collect();
    read(&sessions, &mut |i, m| {
        if let Some(o) = outcomes.get_mut(i) {
            o.hear(m);
        }
    })
}

/// The user prepares the transaction himself.
pub(super) fn pre_prepare() {
    let result = if !select(Part::keeps_locks).is_empty() {
        Err(Error::unsupported("cannot PREPARE a transaction that has locked rows on other nodes")
            .detail("The locks would have to be kept until COMMIT PREPARED."))
    } else if select(|p| p.began && p.modified).is_empty() {
        commit_nodes()
    } else {
        Err(Error::unsupported(
            "cannot PREPARE a transaction that has modified data on other nodes",
        )
        .hint("Use COMMIT: it prepares and commits on all nodes by itself."))
    };
    result.or_raise();
}

/// The local transaction is prepared.
pub(super) fn after_prepare() {
    consistent::forget();
    forget_all();
    give_back_all();
}
