//! Finishing what was interrupted between the two phases of a commit.
//!
//! For each node: the list of its prepared transactions that this server decides about; those
//! whose local transaction still runs are left alone; for the others the decision is final and
//! can be read: the participants tell where they decide together (see `peers`), the others are
//! committed if and only if `pg_dist_transaction` has the name. Then the list is
//! read again, and decisions that no node waits for any more are forgotten. A decision is only
//! recorded after the node has prepared, so one that is missing from the second list was
//! completed.

use super::gid::{Decider, Gid};
use super::peers::{undecided, Peers, Verdict};
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::text_datum;
use crate::pg::{catalog_write, guard, scan, session as local, xact};
use crate::remote::{pool, simple, NodeAddr, SessionRef};
use pgrx::pg_sys::{self, Datum, Oid};

/// The node's prepared transactions of this extension, in this database.
const LIST: &str = "SELECT gid FROM pg_catalog.pg_prepared_xacts \
                    WHERE database = pg_catalog.current_database() AND gid LIKE 'citus\\_%'";

crate::pg_function!(
    /// `recover_prepared_transactions()`: the number of transactions that were finished.
    recover_prepared_transactions,
    |_args| Ok(Datum::from(recover()?))
);

/// Finishes interrupted transactions on one server, whatever group it had when they were prepared:
/// one that joins (again), or is about to leave.
pub fn recover_at(node: &NodeAddr) -> Result<i32> {
    let log = Log::open()?;
    let session = pool::connect(node, &local::user_name())?;
    let mut peers = Peers::new(&local::user_name());
    if node.group >= 0 {
        peers.add(node.group, session.clone());
    }
    let mut finished = 0;
    for (name, gid) in prepared(&session, this_decider()?)? {
        if xact::is_running(gid.xid) {
            continue;
        }
        let decided = log.group_of(&name);
        let Some(verb) = verb(&gid, &mut peers, || decided.is_some())? else {
            return Err(undecided(&name, node.group));
        };
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

/// Finishes interrupted transactions on all nodes; how many there were. A node that cannot be
/// reached is reported and left for later.
pub fn recover() -> Result<i32> {
    let decider = this_decider()?;
    let group = decider.group;
    let log = Log::open()?;
    let nodes: Vec<NodeAddr> = catalog::nodes()?
        .iter()
        .filter(|n| n.is_primary() && n.group != group)
        .map(|n| NodeAddr { id: n.id, group: n.group, name: n.name.clone(), port: n.port })
        .collect();
    let mut finished = 0;
    let sessions = pool::connect_all(&nodes, &local::user_name())?;
    let mut peers = Peers::new(&local::user_name());
    for (node, session) in nodes.iter().zip(&sessions) {
        if let Ok(session) = session {
            peers.add(node.group, session.clone());
        }
    }
    for (node, session) in nodes.iter().zip(sessions) {
        match session.and_then(|s| recover_node(node, &s, &mut peers, &log)) {
            Ok(n) => finished += n,
            Err(e) if guard::is_connection_error(&e) => guard::warning(&e),
            Err(e) => return Err(e),
        }
    }
    Ok(finished)
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
        Verdict::Commit => Some("COMMIT"),
        Verdict::Rollback => Some("ROLLBACK"),
        Verdict::Wait => None,
    })
}

fn recover_node(
    node: &NodeAddr,
    session: &SessionRef,
    peers: &mut Peers,
    log: &Log,
) -> Result<i32> {
    let decider = this_decider()?;
    let mut finished = 0;
    for (name, gid) in prepared(session, decider)? {
        // In this order: what does not run any more has made its decision visible.
        if xact::is_running(gid.xid) {
            continue;
        }
        let Some(verb) = verb(&gid, peers, || log.contains(node.group, &name))? else {
            guard::warning(&undecided(&name, node.group));
            continue;
        };
        match simple::query(session, &format!("{verb} PREPARED '{name}'")) {
            Ok(_) => finished += 1,
            // Its own session, still at work, was faster or is just doing it.
            Err(e) if e.code == sqlstate::UNDEFINED_OBJECT => {}
            Err(e) if e.code == sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE => {}
            Err(e) => return Err(e),
        }
    }
    let decided = log.names(node.group);
    if decided.is_empty() {
        return Ok(finished);
    }
    let waiting: Vec<String> = prepared(session, decider)?.into_iter().map(|p| p.0).collect();
    for name in decided.iter().filter(|d| !waiting.contains(d)) {
        log.forget(node.group, name);
    }
    Ok(finished)
}

/// Prepared transactions on a node that this server decides about.
fn prepared(session: &SessionRef, decider: Decider) -> Result<Vec<(String, Gid)>> {
    let rows = simple::query(session, LIST)?.rows;
    let names = rows.into_iter().filter_map(|r| r.into_iter().next().flatten());
    Ok(names
        .filter_map(|n| Gid::parse(&n).map(|g| (n, g)))
        .filter(|(_, g)| g.decider == decider)
        .collect())
}

/// The decision log, always read with the newest snapshot whatever the isolation level is.
struct Log {
    table: Oid,
    index: Oid,
}

impl Log {
    /// Opens the log; only one recovery works with it at a time.
    fn open() -> Result<Log> {
        let missing = || Error::internal("pg_dist_transaction does not exist");
        let log = Log {
            table: scan::catalog_relation(c"pg_dist_transaction").ok_or_else(missing)?,
            index: scan::catalog_relation(c"pg_dist_transaction_unique_constraint")
                .ok_or_else(missing)?,
        };
        local::lock_relation(log.table, pg_sys::ShareUpdateExclusiveLock)?;
        Ok(log)
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
