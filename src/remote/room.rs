//! Sessions to nodes where there may be no room for them: kept ones, those that others have left,
//! new ones; all that are needed at once.

use super::backends;
use super::connect::{Connecting, Target};
use super::kept;
use super::limits;
use super::line::{self, Place, Stuck};
use super::pool::{self, Moment};
use super::session::{NodeAddr, SessionRef};
use super::shared::{self, Asks, Permit, Waiting};
use super::target::target;
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::pg::guc;
use crate::pg::wait::{check_for_interrupts, WaitSet};
use crate::stats::counters::{count, Counter};
use std::time::{Duration, Instant};

/// Time between two looks of one that waits, though nobody has woken it: room can come from a
/// changed setting, or from a node that takes more.
const LOOK: Duration = Duration::from_millis(100);
/// One with so many before it looks half as often, with twice as many a third as often, and so on,
/// but not more seldom than one in so many times.
const CLOSE: usize = 16;
const SELDOM: u32 = 10;
/// Time for which one that holds connections waits for another to be passed on to it, before it makes
/// one of those that are kept for such as it.
const RESERVE: Duration = LOOK;
/// Time after which a node that has refused a connection is asked again.
const AGAIN: Duration = Duration::from_millis(100);
/// Time for the answer of a connection that was waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where sessions come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// Kept and left ones as well.
    Any,
    /// Connections made now.
    New,
}

/// What a node is used by: a session, or the right to make one.
enum Have {
    Session(SessionRef),
    Permit(Permit),
}

impl Have {
    /// It is not used after all.
    fn put_back(self) {
        if let Have::Session(s) = self {
            pool::keep_idle(s);
        }
    }
}

/// Somebody who asks for sessions.
struct Seeker<'a> {
    user: &'a str,
    source: Source,
    deadline: Instant,
    /// Its number in line, once it has one.
    number: Option<u64>,
}

/// Sessions to nodes as a user, within a limit of time if there is one; one result for each. The
/// outer error is an interrupt, or ends a wait of sessions for each other.
pub(super) fn sessions(
    nodes: &[NodeAddr],
    user: &str,
    limit: Option<Duration>,
    source: Source,
) -> Result<Vec<Result<SessionRef>>> {
    // Before the permits' own: what is left at the end takes its permit along.
    pool::leave_at_exit();
    let limit = limit.unwrap_or(Duration::MAX).min(limits::connect_timeout());
    let mut seeker = Seeker { user, source, deadline: Instant::now() + limit, number: None };
    let here = catalog::local_group().unwrap_or(-1);
    nodes.iter().filter(|n| n.group >= 0 && n.group == here).for_each(shared::is_local);
    let mut done: Vec<Option<Result<SessionRef>>> = nodes.iter().map(|_| None).collect();
    let mut open: Vec<(usize, NodeAddr)> = nodes.iter().cloned().enumerate().collect();
    loop {
        let addresses: Vec<NodeAddr> = open.iter().map(|(_, n)| n.clone()).collect();
        let Some(have) = seeker.gather(&addresses)? else {
            for (i, node) in open {
                pool::put(&mut done, i, Err(shared::exhausted(&node)));
            }
            break;
        };
        open = seeker.connect(open, have, &mut done)?;
        if open.is_empty() {
            break;
        }
        pause(AGAIN)?;
    }
    Ok(done.into_iter().flatten().collect())
}

impl Seeker<'_> {
    /// Turns rights into sessions; the nodes that have refused.
    fn connect(
        &self,
        open: Vec<(usize, NodeAddr)>,
        have: Vec<Have>,
        done: &mut [Option<Result<SessionRef>>],
    ) -> Result<Vec<(usize, NodeAddr)>> {
        let (mut missing, mut permits) = (Vec::new(), Vec::new());
        for ((i, node), have) in open.into_iter().zip(have) {
            match have {
                Have::Session(s) => pool::put(done, i, Ok(s)),
                Have::Permit(permit) => {
                    missing.push((i, node));
                    permits.push(permit);
                }
            }
        }
        if missing.is_empty() {
            return Ok(missing);
        }
        let addresses: Vec<NodeAddr> = missing.iter().map(|(_, n)| n.clone()).collect();
        let mut permits = permits.into_iter();
        let made = pool::connect_with(&addresses, |node| {
            let permit = permits.next().unwrap_or_default();
            let mut target = target(node, self.user)?;
            target.deadline = self.deadline;
            Connecting::start(target, permit)
        })?;
        let mut again = Vec::new();
        for ((i, node), result) in missing.into_iter().zip(made) {
            match result {
                // Others than we take the node's room, or what we gave up is not free yet.
                Err(e)
                    if e.code == sqlstate::TOO_MANY_CONNECTIONS
                        && Instant::now() < self.deadline =>
                {
                    if !kept::give_up(&node) {
                        shared::refused(&node);
                    }
                    again.push((i, node));
                }
                other => pool::put(done, i, other),
            }
        }
        Ok(again)
    }

    /// Something for each node, `None` when there is no room in time.
    fn gather(&mut self, nodes: &[NodeAddr]) -> Result<Option<Vec<Have>>> {
        let indexes: Vec<usize> = nodes.iter().filter_map(shared::index).collect();
        // Who waits already is not overtaken.
        if self.number.is_none() && !indexes.iter().any(|i| shared::is_wanted(*i)) {
            if let Some(all) = self.take_all(nodes, None, transaction_holds()) {
                return Ok(Some(all));
            }
        } else if let Some(all) = self.idle(nodes) {
            return Ok(Some(all));
        }
        pool::make_way(Moment::Waiting);
        let number = *self.number.get_or_insert_with(line::number);
        let waits: Vec<Waiting> = nodes.iter().map(Waiting::begin).collect();
        let held = held();
        let who = if held.is_empty() { Asks::Comes } else { Asks::Holds };
        let place = Place::enter(number, indexes, who, &held);
        self.wait(nodes, &place, &waits)
    }

    /// Waits for its turn.
    fn wait(
        &self,
        nodes: &[NodeAddr],
        place: &Place,
        waits: &[Waiting],
    ) -> Result<Option<Vec<Have>>> {
        let began = Instant::now();
        let patience = Duration::from_millis(guc::deadlock_timeout().max(1) as u64);
        let mut stuck: Option<Stuck> = None;
        let set = WaitSet::new(0);
        loop {
            if let Some(all) = self.take_all(nodes, Some(place), place.who) {
                return Ok(Some(all));
            }
            let now = Instant::now();
            if now >= self.deadline {
                return Ok(None);
            }
            pool::make_way(Moment::Waiting);
            for (node, waiting) in nodes.iter().zip(waits).filter(|(_, w)| w.may_nudge()) {
                backends::nudge(node.id, waiting.chance());
            }
            if place.who == Asks::Holds && now - began >= patience {
                let found = line::stuck();
                match found {
                    Some(found) if found.is_mine() && stuck.as_ref() == Some(&found) => {
                        return Err(deadlock(nodes));
                    }
                    found => stuck = found,
                }
            }
            doze(&set, look_again(place).min(self.deadline - now))?;
        }
    }

    /// Kept sessions to all nodes, if this session has them.
    fn idle(&self, nodes: &[NodeAddr]) -> Option<Vec<Have>> {
        if self.source == Source::New {
            return None;
        }
        self.all(nodes, |node| pool::take_idle(node, self.user).map(Have::Session))
    }

    /// Something for each node, or nothing at all.
    fn take_all(&self, nodes: &[NodeAddr], place: Option<&Place>, who: Asks) -> Option<Vec<Have>> {
        // What is taken and given back has cost a node something, and others their time.
        let hopeless = |n: &NodeAddr| !may_take(n, place, who);
        if nodes.iter().any(hopeless) {
            return None;
        }
        self.all(nodes, |node| self.take(node, place, who))
    }

    fn all(
        &self,
        nodes: &[NodeAddr],
        take: impl Fn(&NodeAddr) -> Option<Have>,
    ) -> Option<Vec<Have>> {
        let mut all = Vec::with_capacity(nodes.len());
        for node in nodes {
            match take(node) {
                Some(have) => all.push(have),
                None => {
                    all.into_iter().for_each(Have::put_back);
                    return None;
                }
            }
        }
        Some(all)
    }

    fn take(&self, node: &NodeAddr, place: Option<&Place>, who: Asks) -> Option<Have> {
        if self.source == Source::Any {
            if let Some(s) = pool::take_idle(node, self.user) {
                return Some(Have::Session(s));
            }
        }
        let index = shared::index(node);
        let itself = index.is_some_and(|i| held().iter().any(|h| h.0 == i));
        let who = if itself { Asks::Must } else { who };
        let turn = || index.zip(place).is_none_or(|(i, place)| place.is_next(i));
        if who != Asks::Must && !turn() {
            return None;
        }
        if self.source == Source::Any {
            let patience = if place.is_some() { PATIENCE } else { kept::PATIENCE };
            let left = |t: Target| kept::take(&t, patience);
            if let Some(s) = target(node, self.user).ok().and_then(left) {
                count(Counter::ConnectionReused);
                return Some(Have::Session(pool::share(s)));
            }
        }
        // Where many wait, somebody passes a connection on sooner than a busy node starts a process.
        if place.is_some_and(|p| who == Asks::Holds && p.since.elapsed() < RESERVE) {
            return shared::permit(node, Asks::Comes).map(Have::Permit);
        }
        loop {
            if let Some(permit) = shared::permit(node, who) {
                return Some(Have::Permit(permit));
            }
            // What nobody uses, and what other users have used this session for.
            if !kept::give_up(node) && !pool::close_others(node, self.user) {
                return None;
            }
        }
    }
}

/// Whether there may be something for this session at a node.
fn may_take(node: &NodeAddr, place: Option<&Place>, who: Asks) -> bool {
    let Some((index, place)) = shared::index(node).zip(place) else { return true };
    who == Asks::Must
        || place.is_next(index)
        || held().iter().any(|h| h.0 == index)
        || pool::idle_places().contains(&(index as u64 + 1))
}

/// What the transaction holds: places of nodes, and numbers of connections.
fn held() -> Vec<(usize, u64)> {
    let idle = pool::idle_places();
    let own = shared::holdings().into_iter().map(|(node, n)| {
        let kept = idle.iter().filter(|place| **place == node as u64 + 1).count();
        (node, n.saturating_sub(kept as u64))
    });
    own.filter(|h| h.1 > 0).collect()
}

fn transaction_holds() -> Asks {
    if held().is_empty() {
        Asks::Comes
    } else {
        Asks::Holds
    }
}

/// When one that waits looks again: the later the more stand before it, since it is woken when its
/// turn has come, and hundreds that look take the time of those that work.
fn look_again(place: &Place) -> Duration {
    if place.who == Asks::Holds {
        return LOOK;
    }
    let times = u32::try_from(1 + place.rank() / CLOSE).unwrap_or(u32::MAX);
    LOOK.saturating_mul(times.min(SELDOM))
}

/// Waits for a while.
fn pause(time: Duration) -> Result<()> {
    doze(&WaitSet::new(0), time)
}

/// Waits for a while, or until somebody wakes this session.
fn doze(set: &WaitSet, time: Duration) -> Result<()> {
    check_for_interrupts()?;
    set.wait(time.as_millis().max(1) as i64, |_| ())
}

/// The error that ends a wait of sessions for each other.
fn deadlock(nodes: &[NodeAddr]) -> Error {
    let names: Vec<String> = nodes.iter().map(NodeAddr::to_string).collect();
    let message = "canceling the transaction since sessions wait for each other's connections";
    Error::new(sqlstate::DEADLOCK_DETECTED, message)
        .detail(format!(
            "This one waits for node {}, to which all connections are held by transactions that \
             wait for connections to other nodes as well.",
            names.join(", ")
        ))
        .hint(
            "Roll back and run the transaction again. More room (citus.max_shared_pool_size, \
             max_connections of the nodes) makes this rarer.",
        )
}
