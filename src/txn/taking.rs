//! Taking snapshots on several nodes at a moment when no commit is between its nodes.

use super::consistent::{Steps, REACH};
use super::gid::Gid;
use super::parts::session_of;
use super::recovery::{this_decider, ANSWER, LIST};
use super::{doubt, gate};
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::model::gate::Class;
use crate::pg::wait::{check_for_interrupts, WaitSet};
use crate::pg::{guc, session as local};
use crate::remote::{simple, wait_for, Message, SessionRef};
use crate::worker::board::{self, Request};
use std::time::{Duration, Instant};

/// Time that commits are kept waiting for nodes to take their snapshots.
const INSIDE_GATE: Duration = Duration::from_secs(1);
/// Time for all attempts, and for a node to be settled, when no lock_timeout is set.
const LIMIT: Duration = Duration::from_secs(30);
/// Time between two looks at a node that is not settled.
const PAUSE: Duration = Duration::from_millis(20);
/// Time after which recovery is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Snapshots to be taken on groups whose sessions are connected.
pub(super) struct Taking<'a> {
    pub user: u32,
    /// The groups; those that are left out are removed.
    pub groups: Vec<i32>,
    /// Those that must not be left out.
    pub needed: Vec<i32>,
    /// Those that were left out, and why.
    pub skipped: Vec<(i32, Error)>,
    pub steps: &'a dyn Steps,
}

/// What a session answered.
enum Answer {
    Done,
    Late,
    Failed(Error),
}

/// Leaves the gate in whichever way a function ends.
struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        gate::leave();
    }
}

fn lock_timeout() -> Option<Duration> {
    u64::try_from(guc::lock_timeout()).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

impl Taking<'_> {
    /// Takes the snapshots; whether the local one is too old.
    pub fn run(&mut self) -> Result<bool> {
        let end = Instant::now() + LIMIT;
        loop {
            self.settle()?;
            let sessions = self.steps.queue(self.user, &self.groups)?;
            match self.attempt(&sessions)? {
                Ok(stale) => return Ok(stale),
                Err(slow) if Instant::now() > end => return Err(slow),
                Err(_) => self.steps.undo(self.user),
            }
        }
    }

    /// One attempt inside the gate; the inner error says why there has to be another.
    fn attempt(&mut self, sessions: &[SessionRef]) -> Result<std::result::Result<bool, Error>> {
        gate::enter(Class::Taker, lock_timeout())?;
        let inside = Inside;
        // A commit may have left the gate, and a node behind, since we looked.
        if let Some(group) = self.groups.iter().find(|g| !doubt::is_settled(**g)) {
            return Ok(Err(in_doubt(*group)));
        }
        for s in sessions {
            // What is lost is found out when the answer is read.
            let _ = s.borrow_mut().flush();
        }
        let answers = answers(sessions, Some(INSIDE_GATE))?;
        let stale = self.steps.is_stale()?;
        drop(inside);
        let mut slow = Vec::new();
        for (session, answer) in sessions.iter().zip(answers) {
            let group = session.borrow().node().group;
            let needed = self.needed.contains(&group);
            if matches!(answer, Answer::Late) {
                // The next one asks it outside of the gate first.
                doubt::unsettle(group);
            }
            match answer {
                Answer::Done => {}
                Answer::Failed(e) if needed => return Err(e),
                Answer::Late if needed => slow.push(session.clone()),
                Answer::Failed(e) => self.leave_out(group, e),
                Answer::Late => self.leave_out(group, late(session)),
            }
        }
        let Some(first) = slow.first() else { return Ok(Ok(stale)) };
        let why = late(first);
        // Outside of the gate its answer is waited for as for any other.
        for answer in self::answers(&slow, None)? {
            if let Answer::Failed(e) = answer {
                return Err(e);
            }
        }
        Ok(Err(why))
    }

    fn leave_out(&mut self, group: i32, why: Error) {
        self.steps.leave_out(self.user, group);
        self.groups.retain(|g| *g != group);
        self.skipped.push((group, why));
    }

    /// Waits until all nodes are settled; leaves out those that are not and are not needed.
    fn settle(&mut self) -> Result<()> {
        let limit = lock_timeout().unwrap_or(LIMIT);
        let since = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let doubtful: Vec<i32> =
                self.groups.iter().copied().filter(|g| !doubt::is_settled(*g)).collect();
            if doubtful.is_empty() {
                return Ok(());
            }
            let (needed, others): (Vec<i32>, Vec<i32>) =
                doubtful.iter().partition(|g| self.needed.contains(g));
            self.ask(&needed, ANSWER)?;
            self.ask(&others, REACH)?;
            let left = |g: &&i32| self.groups.contains(*g) && !doubt::is_settled(**g);
            let left: Vec<i32> = doubtful.iter().filter(left).copied().collect();
            let (needed, others): (Vec<i32>, Vec<i32>) =
                left.into_iter().partition(|g| self.needed.contains(g));
            others.into_iter().for_each(|g| self.leave_out(g, in_doubt(g)));
            let Some(group) = needed.first() else { continue };
            if since.elapsed() >= limit {
                return Err(in_doubt(*group));
            }
            if asked.is_none_or(|a| a.elapsed() > ASK_AGAIN) {
                asked = Some(Instant::now());
                board::request(local::database(), Request::Recover);
            }
            check_for_interrupts()?;
            WaitSet::new(0).wait(PAUSE.as_millis() as i64, |_| ())?;
        }
    }

    /// Asks nodes what is left on them.
    fn ask(&mut self, groups: &[i32], limit: Duration) -> Result<()> {
        let decider = this_decider()?;
        let (user, mut work, mut about) = (self.user, Vec::new(), Vec::new());
        for group in groups {
            let Some(session) = session_of(*group, user) else { continue };
            about.push((*group, doubt::token(*group)));
            work.push((session, LIST.to_owned()));
        }
        for ((group, token), answer) in
            about.into_iter().zip(simple::query_all_within(&work, limit)?)
        {
            let rows = match answer {
                Ok(answer) => answer.rows,
                Err(e) if self.needed.contains(&group) => return Err(e),
                Err(e) => {
                    self.leave_out(group, e);
                    continue;
                }
            };
            let mut names = rows.into_iter().filter_map(|r| r.into_iter().next().flatten());
            let left = names
                .any(|n| Gid::parse(&n).is_some_and(|g| g.decider == decider && !g.is_running()));
            if !left && !doubt::is_awaited(group) {
                doubt::settle(group, token);
            }
        }
        Ok(())
    }
}

fn late(session: &SessionRef) -> Error {
    let message = format!("node {} did not take a snapshot in time", session.borrow().node());
    Error::new(sqlstate::SERIALIZATION_FAILURE, message)
        .detail("Commits are not kept waiting for longer than a second.")
        .hint("Try again when the node is less busy.")
}

fn in_doubt(group: i32) -> Error {
    let node = match catalog::node_of_group(group) {
        Ok(n) => format!("{}:{}", n.name, n.port),
        Err(_) => format!("of group {group}"),
    };
    Error::new(
        sqlstate::LOCK_NOT_AVAILABLE,
        format!("node {node} has transactions that are committed but not yet visible there"),
    )
    .detail("A consistent read has to wait until recovery has completed them.")
    .hint(
        "Try again, or call recover_prepared_transactions(). With citus.consistent_reads off, \
         reads do not wait.",
    )
}

/// Reads the answers to our own commands, within a limit of time if there is one. The outer error
/// is an interrupt.
fn answers(sessions: &[SessionRef], limit: Option<Duration>) -> Result<Vec<Answer>> {
    let since = Instant::now();
    let mut found: Vec<Answer> = sessions.iter().map(read).collect();
    let mut ready = Vec::new();
    loop {
        let open: Vec<usize> = found
            .iter()
            .enumerate()
            .filter(|(_, a)| matches!(a, Answer::Late))
            .map(|(i, _)| i)
            .collect();
        let waiting: Vec<&SessionRef> = open.iter().filter_map(|i| sessions.get(*i)).collect();
        let left = limit.map(|l| l.saturating_sub(since.elapsed()));
        if waiting.is_empty() || left.is_some_and(|l| l.is_zero()) {
            return Ok(found);
        }
        let timeout = left.map_or(-1, |l| i64::try_from(l.as_millis()).unwrap_or(-1) + 1);
        wait_for(&waiting, timeout, &mut ready)?;
        for i in ready.iter().filter_map(|r| open.get(*r)) {
            let (Some(session), Some(slot)) = (sessions.get(*i), found.get_mut(*i)) else {
                continue;
            };
            let filled = session.borrow_mut().fill();
            *slot = filled.map_or_else(Answer::Failed, |_| read(session));
        }
    }
}

/// Takes what is there.
fn read(session: &SessionRef) -> Answer {
    let mut s = session.borrow_mut();
    loop {
        match s.next() {
            Ok(Some(Message::Error(e))) => return Answer::Failed(e),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(e) => return Answer::Failed(e),
        }
    }
    if s.outstanding() == 0 {
        Answer::Done
    } else {
        Answer::Late
    }
}
