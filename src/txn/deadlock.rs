//! Finding distributed deadlocks and ending them.
//!
//! The coordinator knows which backends of other nodes work for its sessions, because it opened
//! those connections ([`crate::remote::backends`]); each node knows which of its backends wait for
//! which. Put together, that is the graph of [`crate::model::deadlock`].
//!
//! Nodes are looked at one moment after the other, so that a circle may be put together from waits
//! that never were at the same time. Therefore nothing happens before a second look has found the
//! very same waits again, in the same transactions: each of them lasted from the first look at it
//! to the second, and the first look was over before the second began, so all of them were there
//! in the moment between.
//!
//! Nothing here waits for a lock, and nodes that do not answer soon are left out.

use super::gid::{Decider, Gid};
use crate::catalog;
use crate::error::{Error, Result};
use crate::model::deadlock::{deadlocks, Backend, Deadlock, Sessions, Wait};
use crate::pg::procs::{self, LockWait};
use crate::pg::{guard, session as local};
use crate::remote::backends::{self, Step, Worker};
use crate::remote::simple::{self, TextResult};
use crate::remote::{pool, NodeAddr, SessionRef};
use crate::settings;
use pgrx::pg_sys;
use std::collections::HashMap;
use std::time::Duration;

/// Time that connecting to the nodes may take, and each look at their waits.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks a node who waits for whom.
const LOOK: &str = "SELECT waiting_pid, waiting_since, blocking_pid, blocking_gid \
                    FROM citus_internal.local_lock_waits()";

/// A session: a backend of this node by its process id, or of another one that works for nobody
/// here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Session {
    Ours(i32),
    Stranger(Backend),
}

/// The sessions of this node, as seen at one moment.
struct Known {
    node: i32,
    /// By process id.
    sessions: HashMap<i32, Worker>,
    /// From a backend of another node to the process id of its session.
    owners: HashMap<Backend, i32>,
}

impl Known {
    fn now(node: i32) -> Known {
        let mut known = Known { node, sessions: HashMap::new(), owners: HashMap::new() };
        for worker in backends::all() {
            known.owners.extend(worker.connections.iter().map(|c| (*c, worker.pid)));
            known.sessions.insert(worker.pid, worker);
        }
        known
    }

    /// Whether a deadlock is possible: a session in a transaction over nodes waits for something.
    fn is_suspicious(&self) -> bool {
        self.sessions.values().any(|w| w.number != 0 && w.waits && !w.connections.is_empty())
    }

    /// A session in a transaction over nodes.
    fn taking_part(&self, session: Session) -> Option<&Worker> {
        match session {
            Session::Ours(pid) => self.sessions.get(&pid).filter(|w| w.number != 0),
            Session::Stranger(_) => None,
        }
    }

    fn global_pid(&self, backend: Backend) -> i64 {
        let (node, pid) = match self.of(backend) {
            Session::Ours(pid) => (self.node, pid),
            Session::Stranger(backend) => backend,
        };
        i64::from(node) * backends::GPID_NODE_FACTOR + i64::from(pid)
    }
}

impl Sessions for Known {
    type Id = Session;

    fn of(&self, backend: Backend) -> Session {
        let (node, pid) = backend;
        // What a session has prepared belongs to it until it is committed everywhere.
        if pid < 0 || node == self.node {
            return Session::Ours(pid.saturating_abs());
        }
        self.owners.get(&backend).map_or(Session::Stranger(backend), |o| Session::Ours(*o))
    }

    fn holds(&self, backend: Backend) -> bool {
        // A backend may still be rolling back an earlier transaction of its session, that one's locks
        // are given up whatever the session waits for now.
        let here = backend.0 == self.node;
        let began = |w: &Worker| here || w.begun.contains(&backend) || (backend.1 < 0 && w.began);
        self.taking_part(self.of(backend)).is_some_and(began)
    }

    fn began(&self, session: Session) -> Option<i64> {
        self.taking_part(session).map(|w| w.start)
    }
}

/// Looks for distributed deadlocks and cancels the youngest transaction of each; whether there
/// was one. Does nothing on nodes that are not the coordinator.
///
/// Takes a look at shared memory while no session waits for a node, else a message to each node,
/// and is bounded in time.
pub fn check() -> Result<bool> {
    if catalog::local_group()? != 0 {
        return Ok(false);
    }
    let node = catalog::local_node_id()?;
    let before = Known::now(node);
    if !before.is_suspicious() {
        return Ok(false);
    }
    let sessions = connect()?;
    let result = check_with(&before, &sessions);
    sessions.into_iter().for_each(pool::give_back);
    result
}

fn check_with(before: &Known, sessions: &[SessionRef]) -> Result<bool> {
    let found = deadlocks(&look(before.node, sessions)?, before);
    if found.is_empty() {
        return Ok(false);
    }
    let again = look(before.node, sessions)?;
    let after = Known::now(before.node);
    let mut cancelled = false;
    for deadlock in found {
        let lasts = deadlock.waits.iter().all(|w| again.contains(w) && is_same(w, before, &after));
        if lasts {
            cancelled |= end(&deadlock, before);
        }
    }
    Ok(cancelled)
}

/// Whether both ends of a wait are what they were, in the transactions in which they were.
fn is_same(wait: &Wait, before: &Known, after: &Known) -> bool {
    [wait.waiter, wait.blocker].into_iter().all(|backend| {
        let (then, now) = (before.of(backend), after.of(backend));
        let number = |k: &Known, s| k.taking_part(s).map(|w| w.number);
        then == now && number(before, then) == number(after, now)
    })
}

/// Cancels the victim.
fn end(deadlock: &Deadlock<Session>, known: &Known) -> bool {
    let Some(victim) = known.taking_part(deadlock.victim) else { return false };
    let story: Vec<Step> = deadlock
        .waits
        .iter()
        .map(|w| (w.waiter.0, known.global_pid(w.waiter), known.global_pid(w.blocker)))
        .collect();
    if settings::log_distributed_deadlock_detection() {
        log(&story, known.global_pid((known.node, victim.pid)));
    }
    backends::condemn(victim.place, victim.number, &story);
    procs::wake(victim.place);
    // Waiting for a lock of this node, it does not look around when it is woken.
    let here = (known.node, victim.pid);
    if deadlock.waits.iter().any(|w| w.waiter == here) {
        procs::interrupt(victim.pid);
    }
    true
}

fn log(story: &[Step], victim: i64) {
    let steps = story.iter().map(|(node, waiter, blocker)| {
        format!("node {node}: global process id {waiter} waits for {blocker}")
    });
    let message = format!("distributed deadlock found, canceling global process id {victim}");
    let e = Error::new(crate::error::sqlstate::DEADLOCK_DETECTED, message)
        .detail(steps.collect::<Vec<_>>().join("\n"));
    guard::report(&e, pg_sys::LOG);
}

/// Sessions with the other active nodes that can be reached.
fn connect() -> Result<Vec<SessionRef>> {
    let group = catalog::local_group()?;
    let nodes: Vec<NodeAddr> = catalog::nodes()?
        .iter()
        .filter(|n| n.group != group && n.active && n.is_primary())
        .map(|n| NodeAddr { id: n.id, group: n.group, name: n.name.clone(), port: n.port })
        .collect();
    let sessions = pool::acquire_promptly(&nodes, &local::user_name(), LIMIT)?;
    let mut reached = Vec::new();
    for session in sessions {
        match session {
            Ok(s) => reached.push(s),
            Err(e) => left_out(&e),
        }
    }
    Ok(reached)
}

fn left_out(e: &Error) {
    if settings::log_distributed_deadlock_detection() {
        guard::report(e, pg_sys::LOG);
    }
}

/// The waits on all nodes; those of nodes that do not answer are left out.
fn look(node: i32, sessions: &[SessionRef]) -> Result<Vec<Wait>> {
    let alive: Vec<SessionRef> =
        sessions.iter().filter(|s| !s.borrow().is_broken()).cloned().collect();
    let work: Vec<_> = alive.iter().map(|s| (s.clone(), LOOK.to_owned())).collect();
    let decider = super::recovery::this_decider()?;
    let mut waits: Vec<Wait> =
        procs::lock_waits()?.iter().filter_map(|w| wait_on(node, w, decider)).collect();
    for (session, result) in alive.iter().zip(simple::query_all_within(&work, LIMIT)?) {
        let node = session.borrow().node().id;
        match result {
            Ok(rows) => waits.extend(read(&rows).filter_map(|w| wait_on(node, &w, decider))),
            Err(e) => left_out(&e),
        }
    }
    Ok(waits)
}

/// The rows of a node's answer.
fn read(result: &TextResult) -> impl Iterator<Item = LockWait> + '_ {
    result.rows.iter().filter_map(|row| {
        let value = |i: usize| row.get(i).and_then(Option::as_deref);
        Some(LockWait {
            waiter: value(0)?.parse().ok()?,
            since: value(1)?.parse().ok()?,
            blocker: value(2)?.parse().ok()?,
            prepared: value(3).map(str::to_owned),
        })
    })
}

/// A wait with the node it is on. Prepared transactions count as backends of the session that is
/// about to commit them, with a negative process id; any other will be ended by somebody else.
fn wait_on(node: i32, wait: &LockWait, decider: Decider) -> Option<Wait> {
    let blocker = match &wait.prepared {
        None if wait.blocker == 0 => return None,
        None => wait.blocker,
        Some(name) => {
            let gid = Gid::parse(name)?;
            let ours = gid.decider == decider && gid.is_running();
            ours.then(|| gid.pid.checked_neg()).flatten()?
        }
    };
    Some(Wait { waiter: (node, wait.waiter), since: wait.since, blocker: (node, blocker) })
}
