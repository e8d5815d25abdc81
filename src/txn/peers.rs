//! Transactions whose participants decide together.
//!
//! Where nothing was written on the coordinator, a transaction over several nodes is committed if
//! and only if all of them have prepared it. So there is no decision to be written down between
//! the two phases: a commit waits for two flushes to disk and not for three. What the decision was
//! can be told afterwards by anybody, since the name of each prepared transaction lists all
//! participants with their transaction ids, and PostgreSQL remembers what became of an id:
//!
//! - one has committed: all had prepared, so the others commit;
//! - one has aborted: it had not prepared, or the coordinator has taken it back before anybody
//!   committed, so the others roll back;
//! - all are prepared: that is the decision to commit;
//! - one is still running: it may yet prepare or abort, so the others wait;
//! - one was lost with a crash before it was on disk, and others may have its id now: it had not
//!   prepared, so the others roll back. (See [`crate::pg::starts`].)
//!
//! The coordinator takes back only while its own transaction still runs (`commit::together`), and
//! nobody decides about the transaction of a coordinator that is still at work. What it has asked for
//! may still be under way when it gives up, however, or lie unread before a session that stands still. So
//! that all are prepared counts only when the sessions that have prepared are gone: idle ones are
//! ended, others are waited for.

use super::gid::{Gid, Peer};
use super::recovery::ANSWER;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::starts::TransactionId;
use crate::pg::wait::{check_for_interrupts, WaitSet};
use crate::remote::{pool, simple, NodeAddr, SessionRef};
use std::collections::HashMap;

/// How often sessions that hold a part are looked for again, and the time between, in milliseconds.
const ATTEMPTS: usize = 20;
const PAUSE: i64 = 25;

/// What becomes of a prepared transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is committed.
    Commit,
    /// It is rolled back.
    Rollback,
    /// It cannot be told yet.
    Wait,
}

/// What a participant says about its part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Prepared,
    /// Prepared, and a session is there that may yet take it back.
    Held,
    Committed,
    Aborted,
    /// A crash has taken it, or a backup was restored that is older.
    Lost,
    /// Still running, or out of reach.
    Unknown,
}

/// The participants of transactions, as a user.
pub(super) struct Peers {
    user: String,
    /// Connections by group; `None` where there was none to be had.
    sessions: HashMap<i32, Option<SessionRef>>,
}

impl Peers {
    /// Nodes that will be asked as a user.
    pub fn new(user: &str) -> Self {
        Peers { user: user.to_owned(), sessions: HashMap::new() }
    }

    /// Uses a connection that exists.
    pub fn add(&mut self, group: i32, session: SessionRef) {
        self.sessions.insert(group, Some(session));
    }

    /// What becomes of a transaction that its participants decide about.
    pub fn verdict(&mut self, gid: &Gid) -> Result<Verdict> {
        let names = gid.names();
        for attempt in 0.. {
            let mut parts = Vec::with_capacity(gid.peers.len());
            for (number, peer) in gid.peers.iter().enumerate() {
                let part = self.part(peer, &names.of(number as u32))?;
                if matches!(part, Part::Committed | Part::Aborted) {
                    return Ok(decide(&[part]));
                }
                parts.push(part);
            }
            let held = parts.contains(&Part::Held) && !parts.contains(&Part::Unknown);
            if !held || attempt == ATTEMPTS {
                return Ok(decide(&parts));
            }
            for (number, peer) in gid.peers.iter().enumerate() {
                if parts.get(number) == Some(&Part::Held) {
                    self.end_sessions(peer.group, &names.of(number as u32))?;
                }
            }
            check_for_interrupts()?;
            WaitSet::new(0).wait(PAUSE, |_| ())?;
        }
        Ok(Verdict::Wait)
    }

    /// Ends idle sessions that have prepared a part: their coordinator does not need them any more.
    fn end_sessions(&mut self, group: i32, name: &str) -> Result<()> {
        let Some(session) = self.session(group)? else { return Ok(()) };
        let sql = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM {} AND state = 'idle'",
            sessions_of(name)
        );
        // Whatever comes of it is seen with the next look.
        simple::query_all_within(&[(session, sql)], ANSWER).map(|_| ())
    }

    fn session(&mut self, group: i32) -> Result<Option<SessionRef>> {
        if let Some(known) = self.sessions.get(&group) {
            return Ok(known.clone().filter(|s| !s.borrow().is_broken()));
        }
        let found = match catalog::node_of_group(group) {
            Ok(n) => {
                let node = NodeAddr { id: n.id, group, name: n.name.clone(), port: n.port };
                pool::connect_urgently(&[node], &self.user)?.pop().and_then(Result::ok)
            }
            Err(_) => None,
        };
        self.sessions.insert(group, found.clone());
        Ok(found)
    }

    fn part(&mut self, peer: &Peer, name: &str) -> Result<Part> {
        let Some(session) = self.session(peer.group)? else { return Ok(Part::Unknown) };
        // In this order: where no session is left nobody ends it, what is prepared is in progress, and
        // stays prepared until it is ended.
        let TransactionId { id, start } = peer.transaction;
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {}), \
             CASE pg_catalog.citus_internal_lost_transaction('{id}', '{start}') \
             WHEN true THEN 'lost' \
             WHEN false THEN pg_catalog.pg_xact_status('{id}'::pg_catalog.xid8) END, \
             EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts WHERE gid = '{name}')",
            sessions_of(name)
        );
        let mut answers = simple::query_all_within(&[(session, sql)], ANSWER)?;
        match answers.pop().unwrap_or_else(|| Err(Error::internal("no answer from a node"))) {
            Ok(result) => Ok(result.rows.first().map_or(Part::Unknown, |row| read(row))),
            // Out of reach.
            Err(_) => Ok(Part::Unknown),
        }
    }
}

/// What a row of the answer means.
fn read(row: &[Option<String>]) -> Part {
    let text = |i: usize| row.get(i).and_then(Option::as_deref);
    match (text(0), text(1), text(2)) {
        (_, Some("committed"), _) => Part::Committed,
        (_, Some("aborted"), _) => Part::Aborted,
        (_, Some("lost"), _) => Part::Lost,
        (Some("f"), Some("in progress"), Some("t")) => Part::Prepared,
        (_, Some("in progress"), Some("t")) => Part::Held,
        _ => Part::Unknown,
    }
}

/// FROM and WHERE for the sessions that have prepared a part, or are taking it back. Where the node does
/// not tell what sessions do (`track_activities`), any of another node that is older than the part may be one.
fn sessions_of(name: &str) -> String {
    format!(
        "pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid() AND (query IN \
         ('PREPARE TRANSACTION ''{name}''', 'ROLLBACK PREPARED ''{name}''') OR state = 'disabled' \
         AND datname = pg_catalog.current_database() AND application_name LIKE 'citus\\_internal%' \
         AND backend_start <= (SELECT prepared FROM pg_catalog.pg_prepared_xacts \
         WHERE gid = '{name}'))"
    )
}

fn decide(parts: &[Part]) -> Verdict {
    if parts.contains(&Part::Committed) {
        Verdict::Commit
    } else if parts.contains(&Part::Aborted) {
        Verdict::Rollback
    } else if parts.iter().any(|p| matches!(p, Part::Unknown | Part::Held)) {
        // Also where a part is lost: with an older backup others may find what they have committed
        // together with it, or are about to commit.
        Verdict::Wait
    } else if parts.contains(&Part::Lost) {
        Verdict::Rollback
    } else if parts.is_empty() || parts.iter().any(|p| *p != Part::Prepared) {
        Verdict::Wait
    } else {
        Verdict::Commit
    }
}

/// The error for a transaction that has to wait.
pub(super) fn undecided(name: &str, group: i32) -> Error {
    Error::new(
        crate::error::sqlstate::OBJECT_IN_USE,
        format!("prepared transaction {name} of group {group} cannot be decided yet"),
    )
    .hint(
        "It will be when the other nodes that take part in it answer. If one of them has left the \
         cluster, look there what it did, and use COMMIT PREPARED or ROLLBACK PREPARED here.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cases_of_three() {
        use Part::{Aborted, Committed, Held, Lost, Prepared, Unknown};
        let kinds = [Prepared, Held, Committed, Aborted, Lost, Unknown];
        for a in kinds {
            for b in kinds {
                for c in kinds {
                    let parts = [a, b, c];
                    let any = |p| parts.contains(&p);
                    let expected = match (any(Part::Committed), any(Part::Aborted)) {
                        (true, _) => Verdict::Commit,
                        (_, true) => Verdict::Rollback,
                        _ if any(Part::Unknown) || any(Part::Held) => Verdict::Wait,
                        _ if any(Part::Lost) => Verdict::Rollback,
                        _ => Verdict::Commit,
                    };
                    assert_eq!(decide(&parts), expected, "{parts:?}");
                }
            }
        }
        assert_eq!(decide(&[]), Verdict::Wait);
    }

    #[test]
    fn answers() {
        let row = |held: &str, a: Option<&str>, b: &str| {
            [Some(held.to_owned()), a.map(str::to_owned), Some(b.to_owned())]
        };
        for held in ["t", "f"] {
            assert_eq!(read(&row(held, Some("committed"), "f")), Part::Committed);
            assert_eq!(read(&row(held, Some("aborted"), "f")), Part::Aborted);
            assert_eq!(read(&row(held, Some("lost"), "f")), Part::Lost);
            assert_eq!(read(&row(held, Some("in progress"), "f")), Part::Unknown);
            assert_eq!(read(&row(held, None, "t")), Part::Unknown);
        }
        assert_eq!(read(&row("f", Some("in progress"), "t")), Part::Prepared);
        assert_eq!(read(&row("t", Some("in progress"), "t")), Part::Held);
        assert_eq!(read(&[]), Part::Unknown);
    }
}
