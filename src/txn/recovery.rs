//! Finishing what was interrupted between the two phases of a commit.
//!
//! For each node: the list of its prepared transactions that this server decides about; those
//! whose local transaction still runs are left alone; for the others the decision is final and
//! can be read: the participants tell where they decide together (see `peers`), the others are
//! committed if and only if `pg_dist_transaction` has the name. Then the list is
//! read again, and decisions that no node waits for any more are forgotten. A decision is only
//! recorded after the node has prepared, so one that is missing from the second list was
//! completed.
//!
//! A copy of this server has its identity: one that was promoted while this one still works, or
//! restored beside it for a test. It knows nothing of this one's transactions, and would take those
//! that are between the phases for dead ones. So a server leaves alone what a session on the node
//! has just prepared for a process that is not one of its own.
//!
//! All nodes are asked at the same time and none is waited for longer than [`ANSWER`], so that one
//! that hangs does not keep the others waiting.

use super::gid::{Decider, Gid};
use super::peers::{undecided, Peers, Verdict};
use super::{doubt, gate};
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::model::gate::Class;
use crate::pg::fmgr::text_datum;
use crate::pg::{catalog_write, guard, process, scan, session as local, spi};
use crate::remote::simple::{self, TextResult};
use crate::remote::{pool, NodeAddr, SessionRef};
use crate::settings;
use pgrx::pg_sys::{self, Datum, Oid};
use std::time::Duration;

/// The node's prepared transactions of this extension, in this database, and whether the session that
/// prepared them is there and waits for what its coordinator says. Not for long, since the connection
/// of a machine that has vanished stays for a while.
pub(super) const LIST: &str = "SELECT gid, prepared > pg_catalog.now() - INTERVAL '10 s' \
     AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.state = 'idle' \
     AND a.query = 'PREPARE TRANSACTION ' || pg_catalog.quote_literal(gid)) \
     FROM pg_catalog.pg_prepared_xacts \
     WHERE database = pg_catalog.current_database() AND gid LIKE 'citus\\_%'";

crate::pg_function!(
    /// `recover_prepared_transactions()`: the number of transactions that were finished.
    recover_prepared_transactions,
    |_args| Ok(Datum::from(recover()?))
);

/// Finishes interrupted transactions on one server, whatever group it had when they were prepared:
/// one that joins (again), or is about to leave.
pub fn recover_at(node: &NodeAddr) -> Result<i32> {
    let log = Log::find()?;
    log.lock()?;
    let session = pool::connect(node, &local::user_name())?;
    let mut peers = Peers::new(&local::user_name());
    if node.group >= 0 {
        peers.add(node.group, session.clone());
    }
    let mut finished = 0;
    for Waiting { name, gid, held } in prepared(&session, this_decider()?)? {
        if gid.is_running() || of_another(&gid, held) {
            continue;
        }
        let decided = log.group_of(&name);
        let Some(verb) = verb(&gid, &mut peers, || decided.is_some())? else {
            return Err(undecided(&name, node.group));
        };
        if verb == COMMIT {
            unsettle(node.group, &gid);
            pass_gate()?;
        }
        simple::query(&session, &format!("{verb} PREPARED '{name}'"))?;
        finished += 1;
        if let Some(group) = decided {
            log.forget(group, &name);
        }
    }
    Ok(finished)
}

pub(super) fn this_decider() -> Result<Decider> {
    let group = catalog::local_group()?;
    Ok(Decider { group, system: local::system_identifier(), database: local::database() })
}

/// What to do with a prepared transaction whose local transaction has ended: the first word of the
/// command, or `None` where it cannot be told yet. `logged` looks for a recorded decision.
fn verb(
    gid: &Gid,
    peers: &mut Peers,
    logged: impl FnOnce() -> bool,
) -> Result<Option<&'static str>> {
    let verdict = if !gid.peers.is_empty() {
        peers.verdict(gid)?
    } else if logged() {
        Verdict::Commit
    } else {
        Verdict::Rollback
    };
    Ok(match verdict {
        Verdict::Commit => Some(COMMIT),
        Verdict::Rollback => Some("ROLLBACK"),
        Verdict::Wait => None,
    })
}

/// The first word of the command that completes a transaction.
const COMMIT: &str = "COMMIT";

/// A transaction is about to become visible on one node after the other: until all have been asked
/// again, nobody reads some of them as of before and some as of after it.
fn unsettle(group: i32, gid: &Gid) {
    doubt::unsettle(group);
    gid.peers.iter().for_each(|p| doubt::unsettle(p.group));
}

/// Waits until everybody who takes snapshots knows what is not settled any more.
fn pass_gate() -> Result<()> {
    gate::enter(Class::Committer, None)?;
    gate::leave();
    Ok(())
}

/// Time that a node has for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// Time in milliseconds that connecting may take when nobody waits for the result.
const CONNECT: i32 = 5000;

/// What a recovery did.
#[derive(Default)]
pub struct Report {
    /// Transactions that were finished.
    pub finished: i32,
    /// Why some could not be.
    pub problems: Vec<Error>,
    /// Something is left that may be finished soon.
    pub unfinished: bool,
}

/// Finishes interrupted transactions on all nodes; how many there were. A node that cannot be
/// reached is reported and left for later.
pub fn recover() -> Result<i32> {
    let report = recover_as(&local::user_name(), true)?;
    report.problems.iter().for_each(guard::warning);
    Ok(report.finished)
}

/// A round of the maintenance process: [`recover`] as `citus.superuser` or the extension's owner.
/// Problems are not reported but handed over.
pub fn round() -> Result<Report> {
    let user = maintainer()?;
    let report = if settings::node_connection_timeout() > CONNECT {
        let limit = CONNECT.to_string();
        spi::with_setting("citus.node_connection_timeout", &limit, || recover_as(&user, false))?
    } else {
        recover_as(&user, false)?
    };
    Ok(report)
}

/// As whom the maintenance process connects to nodes: `citus.superuser` or the extension's owner.
pub fn maintainer() -> Result<String> {
    match settings::superuser() {
        name if name.is_empty() => spi::as_owner(|| Ok(local::user_name())),
        name => Ok(name),
    }
}

/// A node that can be reached.
struct Reached {
    group: i32,
    session: SessionRef,
    /// What it has to be told.
    work: Vec<String>,
    /// It was told everything.
    done: bool,
    /// Whether nothing is left, as of [`doubt::token`].
    settled: Option<u64>,
}

/// Recovers with connections of a user; when others do, it waits for them or leaves it to them.
fn recover_as(user: &str, wait: bool) -> Result<Report> {
    let decider = this_decider()?;
    let mut report = Report::default();
    let nodes: Vec<NodeAddr> = catalog::nodes()?
        .iter()
        .filter(|n| n.is_primary() && n.group != decider.group)
        .map(|n| NodeAddr { id: n.id, group: n.group, name: n.name.clone(), port: n.port })
        .collect();
    let mut reached = Vec::new();
    for (node, session) in nodes.iter().zip(pool::connect_urgently(&nodes, user)?) {
        match session {
            Ok(session) => {
                let settled = Some(doubt::token(node.group));
                let (group, work) = (node.group, Vec::new());
                reached.push(Reached { group, session, work, done: true, settled })
            }
            Err(e) => report.problems.push(e),
        }
    }
    let listed = lists(reached, decider, &mut report)?;
    let log = Log::find()?;
    if wait {
        log.lock()?;
    } else if !log.try_lock() {
        // Somebody else recovers, or takes a node in; that may last.
        report.unfinished = true;
        return Ok(report);
    }
    let mut peers = Peers::new(user);
    listed.iter().for_each(|(r, _)| peers.add(r.group, r.session.clone()));
    let mut reached = Vec::new();
    for (node, prepared) in listed {
        reached.push(decide(node, prepared, &log, &mut peers, &mut report)?);
    }
    tell(&mut reached, &mut report)?;
    for node in &reached {
        match node.settled {
            Some(token) => doubt::settle(node.group, token),
            // The next round, or a reader, finds out.
            None => report.unfinished = true,
        }
    }
    // Read before the second list: what is decided later is not judged by it.
    let decided: Vec<Vec<String>> = reached.iter().map(|r| log.names(r.group)).collect();
    let (ask, decided): (Vec<_>, Vec<_>) =
        reached.into_iter().zip(decided).filter(|(r, d)| r.done && !d.is_empty()).unzip();
    let groups: Vec<i32> = ask.iter().map(|r| r.group).collect();
    for (node, waiting) in lists(ask, decider, &mut report)? {
        let Some(at) = groups.iter().position(|g| *g == node.group) else { continue };
        let names = decided.get(at).map(Vec::as_slice).unwrap_or_default();
        let heard = names.iter().filter(|n| !waiting.iter().any(|w| w.name == **n));
        heard.for_each(|name| log.forget(node.group, name));
    }
    log.forget_lost_groups()?;
    report.unfinished |=
        !report.problems.is_empty() && nodes.iter().any(|n| !log.names(n.group).is_empty());
    Ok(report)
}

/// A prepared transaction on a node.
struct Waiting {
    name: String,
    gid: Gid,
    /// The session that prepared it is there.
    held: bool,
}

type Prepared = Vec<Waiting>;

/// Whether another server with this one's identity is about to complete it.
fn of_another(gid: &Gid, held: bool) -> bool {
    held && !process::exists(gid.pid)
}

/// The prepared transactions of all nodes; nodes that do not tell become problems.
fn lists(
    nodes: Vec<Reached>,
    decider: Decider,
    report: &mut Report,
) -> Result<Vec<(Reached, Prepared)>> {
    let work: Vec<_> = nodes.iter().map(|n| (n.session.clone(), LIST.to_owned())).collect();
    let answers = simple::query_all_within(&work, ANSWER)?;
    let mut lists = Vec::new();
    for (node, answer) in nodes.into_iter().zip(answers) {
        match answer {
            Ok(answer) => lists.push((node, ours(answer, decider))),
            Err(e) => report.problems.push(e),
        }
    }
    Ok(lists)
}

/// Finds out what a node has to be told about its prepared transactions.
fn decide(
    mut node: Reached,
    prepared: Prepared,
    log: &Log,
    peers: &mut Peers,
    report: &mut Report,
) -> Result<Reached> {
    for Waiting { name, gid, held } in prepared {
        // In this order: what does not run any more has made its decision visible.
        if gid.is_running() {
            // It may be about to end without being able to tell the node.
            report.unfinished = true;
            continue;
        }
        if of_another(&gid, held) {
            // Or one of ours that has ended while its connection has not: it may be committed.
            node.settled = None;
            report.unfinished = true;
            continue;
        }
        match verb(&gid, peers, || log.contains(node.group, &name))? {
            Some(verb) => {
                if verb == COMMIT {
                    unsettle(node.group, &gid);
                    node.settled = None;
                }
                node.work.push(format!("{verb} PREPARED '{name}'"));
            }
            None => {
                node.settled = None;
                report.problems.push(undecided(&name, node.group));
                report.unfinished = true;
            }
        }
    }
    Ok(node)
}

/// Tells the nodes what was decided, one transaction of each at a time.
fn tell(nodes: &mut [Reached], report: &mut Report) -> Result<()> {
    if nodes.iter().any(|n| !n.work.is_empty()) {
        pass_gate()?;
    }
    for step in 0.. {
        let (mut at, mut work) = (Vec::new(), Vec::new());
        for (i, node) in nodes.iter().enumerate().filter(|(_, n)| !n.session.borrow().is_broken()) {
            if let Some(sql) = node.work.get(step) {
                at.push(i);
                work.push((node.session.clone(), sql.clone()));
            }
        }
        if work.is_empty() {
            return Ok(());
        }
        for (i, answer) in at.into_iter().zip(simple::query_all_within(&work, ANSWER)?) {
            match answer {
                Ok(_) => report.finished += 1,
                // Its own session, still at work, was faster ...
                Err(e) if e.code == sqlstate::UNDEFINED_OBJECT => {}
                // ... or is just doing it, with what success is not known.
                Err(e) if e.code == sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE => {
                    report.unfinished = true;
                    if let Some(node) = nodes.get_mut(i) {
                        node.settled = None;
                    }
                }
                Err(e) => {
                    report.problems.push(e);
                    if let Some(node) = nodes.get_mut(i) {
                        node.settled = None;
                        node.done = !node.session.borrow().is_broken();
                    }
                }
            }
        }
    }
    Ok(())
}

/// Prepared transactions on a node that this server decides about.
fn prepared(session: &SessionRef, decider: Decider) -> Result<Prepared> {
    Ok(ours(simple::query(session, LIST)?, decider))
}

/// Those in an answer to [`LIST`] that this server decides about.
fn ours(answer: TextResult, decider: Decider) -> Prepared {
    let waiting = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        let (name, held) = (row.next().flatten()?, row.next().flatten());
        let gid = Gid::parse(&name).filter(|g| g.decider == decider)?;
        Some(Waiting { name, gid, held: held.as_deref() == Some("t") })
    };
    answer.rows.into_iter().filter_map(waiting).collect()
}

/// The decision log, always read with the newest snapshot whatever the isolation level is.
struct Log {
    table: Oid,
    index: Oid,
}

impl Log {
    fn find() -> Result<Log> {
        let missing = || Error::internal("pg_dist_transaction does not exist");
        Ok(Log {
            table: scan::catalog_relation(c"pg_dist_transaction").ok_or_else(missing)?,
            index: scan::catalog_relation(c"pg_dist_transaction_unique_constraint")
                .ok_or_else(missing)?,
        })
    }

    /// Waits until no other recovery works with the log.
    fn lock(&self) -> Result<()> {
        local::lock_relation(self.table, pg_sys::ShareUpdateExclusiveLock)
    }

    /// [`Log::lock`] without waiting; false when another recovery works with the log.
    fn try_lock(&self) -> bool {
        local::try_lock_relation(self.table, pg_sys::ShareUpdateExclusiveLock)
    }

    /// Forgets decisions about groups that are no groups of the cluster any more. The groups are
    /// read after the decisions: a new one is there before the first decision about it.
    fn forget_lost_groups(&self) -> Result<()> {
        let mut groups = Vec::new();
        scan::rows(self.table, None, &[], |r| groups.push(r.i32(1)));
        groups.sort_unstable();
        groups.dedup();
        if groups.is_empty() {
            return Ok(());
        }
        let nodes = scan::catalog_relation(c"pg_dist_node")
            .ok_or_else(|| Error::internal("pg_dist_node does not exist"))?;
        scan::rows(nodes, None, &[], |r| groups.retain(|g| *g != r.i32(2)));
        for group in groups {
            catalog_write::delete(self.table, self.index, &Self::keys(group, None));
        }
        Ok(())
    }

    fn keys(group: i32, name: Option<&str>) -> Vec<scan::Key> {
        let mut keys =
            vec![scan::Key { attno: 1, equal: pg_sys::F_INT4EQ, value: Datum::from(group) }];
        if let Some(name) = name {
            let value = text_datum(name);
            keys.push(scan::Key { attno: 2, equal: pg_sys::F_TEXTEQ, value });
        }
        keys
    }

    fn names(&self, group: i32) -> Vec<String> {
        let mut names = Vec::new();
        scan::rows(self.table, Some(self.index), &Self::keys(group, None), |r| {
            names.extend(r.text(2));
        });
        names
    }

    /// The group for which a decision to commit was recorded.
    fn group_of(&self, name: &str) -> Option<i32> {
        let mut group = None;
        scan::rows(self.table, None, &[], |r| {
            if r.text(2).as_deref() == Some(name) {
                group = Some(r.i32(1));
            }
        });
        group
    }

    fn contains(&self, group: i32, name: &str) -> bool {
        let mut found = false;
        let keys = Self::keys(group, Some(name));
        scan::rows(self.table, Some(self.index), &keys, |_| found = true);
        found
    }

    fn forget(&self, group: i32, name: &str) {
        catalog_write::delete(self.table, self.index, &Self::keys(group, Some(name)));
    }
}
