//! Statements with small results on several nodes at once: inside the running transaction, or
//! apart from it on connections of their own.

use super::{mark_modified, sessions, Mode};
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::{command, session, spi};
use crate::remote::proof::Call;
use crate::remote::simple::{self, TextResult};
use crate::remote::{pool, NodeAddr, SessionRef};

/// Runs a statement on each group inside the running transaction, all at the same time; one
/// result per entry, in order. Name each group once: several statements can be one text. The
/// local group's statement runs in this backend.
///
/// The first error ends the wait: the transaction has failed on that node, and others may be
/// running still. Raise it, or have called this within `pg::subxact::attempt`; the rollback stops
/// them.
pub fn on_groups(work: &[(i32, String)], write: bool) -> Result<Vec<TextResult>> {
    let groups: Vec<i32> = work.iter().map(|w| w.0).collect();
    run(&groups, write, &|i, _| Ok(work.get(i).map(|w| w.1.clone()).unwrap_or_default()))
}

/// Calls functions on groups other than this node's that run for other nodes only, inside the
/// running transaction; as [`on_groups`].
pub fn calls(work: &[(i32, Call)]) -> Result<Vec<TextResult>> {
    let groups: Vec<i32> = work.iter().map(|w| w.0).collect();
    run(&groups, true, &|i, session| match (work.get(i), session) {
        (Some(w), Some(s)) => w.1.statement(s),
        _ => Err(Error::internal("a node calls itself")),
    })
}

/// Runs on each group the statement that `text` gives for its place in the list and its session,
/// which is none for this node.
fn run(
    groups: &[i32],
    write: bool,
    text: &dyn Fn(usize, Option<&SessionRef>) -> Result<String>,
) -> Result<Vec<TextResult>> {
    let local = catalog::local_group()?;
    let remote: Vec<i32> = groups.iter().copied().filter(|g| *g != local).collect();
    let mut results = Vec::new();
    if !remote.is_empty() {
        let sessions = sessions(&remote, Mode::InTransaction)?;
        if write {
            mark_modified(&remote);
        }
        let _claim = Claim::new(&sessions)?;
        let places = groups.iter().enumerate().filter(|g| *g.1 != local).map(|g| g.0);
        let jobs: Vec<(SessionRef, String)> = sessions
            .iter()
            .zip(places)
            .map(|(s, i)| Ok((s.clone(), text(i, Some(s))?)))
            .collect::<Result<_>>()?;
        simple::start_all(&jobs)?;
        results = simple::collect_successes(&sessions)?;
    }
    let mut results = results.into_iter();
    let missing = || Err(Error::internal("no answer from a node"));
    groups
        .iter()
        .enumerate()
        .map(|(i, g)| match *g == local {
            // What it names without a schema is PostgreSQL's, as on the other nodes.
            true => text(i, None).and_then(|sql| spi::pinned(|| here(&sql))),
            false => results.next().map_or_else(missing, Ok),
        })
        .collect()
}

/// [`on_groups`] for one group.
pub fn on_group(group: i32, sql: &str, write: bool) -> Result<TextResult> {
    let results = on_groups(&[(group, sql.to_owned())], write)?;
    results.into_iter().next().ok_or_else(|| Error::internal("no answer from a node"))
}

/// Runs a statement in this backend, with the session's own search path.
pub fn here(sql: &str) -> Result<TextResult> {
    let outcome = command::run(sql)?;
    Ok(TextResult { columns: outcome.columns, rows: outcome.rows, tag: outcome.tag })
}

/// Keeps sessions for one small statement; what streams on them is read to its end first.
struct Claim<'a> {
    owner: super::OwnerId,
    sessions: &'a [SessionRef],
}

impl<'a> Claim<'a> {
    fn new(sessions: &'a [SessionRef]) -> Result<Self> {
        let claim = Claim { owner: super::register_owner(Box::new(|| Ok(()))), sessions };
        sessions.iter().try_for_each(|s| super::claim(s, claim.owner))?;
        Ok(claim)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.sessions.iter().for_each(|s| super::release(s, self.owner));
        super::unregister_owner(self.owner);
    }
}

/// Opens connections of their own to nodes as the current user, one result per node. They see
/// nothing of the running transaction, every statement on them commits by itself, and they are
/// closed when they are dropped.
pub fn connect_apart(nodes: &[NodeAddr]) -> Result<Vec<Result<SessionRef>>> {
    let user = session::user_name();
    pool::connect_all(nodes, &user)
}

/// Runs lists of statements apart from the running transaction: each list in order on a
/// connection of its own, all lists at the same time. A statement's failure does not stop its
/// list; a lost connection fails the rest of it.
pub fn apart(work: &[(NodeAddr, Vec<String>)]) -> Result<Vec<Vec<Result<TextResult>>>> {
    let nodes: Vec<NodeAddr> = work.iter().map(|w| w.0.clone()).collect();
    let sessions = connect_apart(&nodes)?;
    let mut results: Vec<Vec<Result<TextResult>>> = work.iter().map(|_| Vec::new()).collect();
    let rounds = work.iter().map(|w| w.1.len()).max().unwrap_or(0);
    for round in 0..rounds {
        let mut jobs = Vec::new();
        let mut places = Vec::new();
        for (i, (w, s)) in work.iter().zip(&sessions).enumerate() {
            let Some(sql) = w.1.get(round) else { continue };
            match s {
                Ok(s) => {
                    jobs.push((s.clone(), sql.clone()));
                    places.push(i);
                }
                Err(e) => results[i].push(Err(e.clone())),
            }
        }
        for (i, r) in places.into_iter().zip(simple::query_all_apart(&jobs)?) {
            results[i].push(r);
        }
    }
    Ok(results)
}
