//! Runs a schedule: a thread for each transaction, one step at a time. A step ends with its answer,
//! or when it waits for another transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread::spawn;
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error, ResultSet};
use citus_tests::counting::Counting;
use citus_tests::server::Server;

use super::schedules::{Schedule, END, HOLD, LET_GO};

/// A step that has no answer after this time waits, for whatever it may be.
const PATIENCE: Duration = Duration::from_secs(10);
/// No step takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What happened in a step.
#[derive(Debug, Clone)]
pub struct Entry {
    pub session: usize,
    pub name: &'static str,
    pub sql: &'static str,
    /// It had to wait for another transaction.
    pub waited: bool,
    /// Rows, the command tag, or the SQLSTATE; a dash when it was skipped.
    pub outcome: String,
}

impl Entry {
    /// Whether it waited for what another transaction has locked. The commit that is held back
    /// waits for nobody else, and a read at most for that commit.
    fn waits(&self) -> bool {
        self.waited && self.sql != "COMMIT" && !self.sql.starts_with("SELECT")
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        let what = |e: &Entry| (e.session, e.name, e.sql, e.waits(), e.outcome.clone());
        what(self) == what(other)
    }
}

/// What happened in a schedule.
#[derive(Debug, PartialEq)]
pub struct Trace(pub Vec<Entry>);

impl Trace {
    /// The outcome of the step with a name.
    pub fn read(&self, name: &str) -> &str {
        self.0.iter().find(|e| e.name == name).map_or("", |e| &e.outcome)
    }

    /// Whether a transaction was committed.
    pub fn committed(&self, session: usize) -> bool {
        self.0.iter().any(|e| e.session == session && e.outcome == "COMMIT")
    }

    /// What the table says about it.
    pub fn verdict(&self, schedule: &Schedule) -> &'static str {
        if (schedule.anomaly)(self) {
            return super::table::POSSIBLE;
        }
        let failed = |code: &str| self.0.iter().any(|e| e.outcome == code);
        match (failed("40001"), self.0.iter().any(Entry::waits)) {
            (true, _) => "error 40001",
            (false, true) => "waits",
            (false, false) => "not seen",
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for e in &self.0 {
            let waited = if e.waited { "waits, " } else { "" };
            writeln!(f, "    {} {} -> {waited}{}", e.session, e.sql, e.outcome)?;
        }
        Ok(())
    }
}

/// Where the rows of a schedule lie.
pub struct Place {
    /// The name of its column in the table.
    pub title: &'static str,
    pub database: String,
    /// The server that the clients use, and the others.
    pub servers: Vec<&'static Server>,
    /// Keys for the letters a to d.
    pub keys: [i32; 4],
    /// In front of each node; of no node where there is none.
    pub proxies: Vec<Counting>,
    /// For each session of the schedules.
    pub settings: &'static str,
}

type Answer = Result<Vec<ResultSet>, Error>;

/// A transaction's session.
struct Client {
    work: Sender<String>,
    answers: Receiver<(Answer, u8)>,
    pid: i32,
    /// What names its sessions on the nodes.
    tag: String,
    /// The step whose answer is awaited.
    busy: Option<usize>,
    failed: bool,
}

impl Client {
    fn start(place: &Place, level: &str) -> Client {
        let mut c = place.servers[0].connect(&place.database);
        c.run(place.settings);
        let distributed = place.servers.len() > 1;
        let tag = if distributed { c.value("SELECT citus_backend_gpid()") } else { String::new() };
        c.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        let pid = c.pid;
        let (work, orders) = channel::<String>();
        let (tx, answers) = channel();
        spawn(move || {
            for sql in orders {
                let answer = c.simple(&sql);
                if tx.send((answer, c.status)).is_err() {
                    return;
                }
            }
        });
        Client { work, answers, pid, tag, busy: None, failed: false }
    }
}

struct Runner<'a> {
    place: &'a Place,
    watchers: &'a mut [Conn],
    clients: BTreeMap<usize, Client>,
    trace: Vec<Entry>,
}

/// Runs a schedule; `watchers` are sessions with the servers of the place.
pub fn run(schedule: &Schedule, place: &Place, level: &str, watchers: &mut [Conn]) -> Trace {
    let [a, b, ..] = place.keys;
    watchers[0].run(&format!("DELETE FROM t; INSERT INTO t VALUES ({a}, 10), ({b}, 20)"));
    let mut sessions: Vec<usize> = schedule.steps.iter().map(|s| s.0).filter(|s| *s > 0).collect();
    sessions.sort_unstable();
    sessions.dedup();
    let clients = sessions.iter().map(|s| (*s, Client::start(place, level))).collect();
    let mut r = Runner { place, watchers, clients, trace: Vec::new() };
    for step in schedule.steps {
        match (step.2, place.proxies.first()) {
            (HOLD, Some(p)) => p.hold("COMMIT PREPARED"),
            (LET_GO, Some(p)) => p.let_go(),
            (HOLD | LET_GO, None) => {}
            _ => r.step(step.0, step.1, step.2),
        }
        let busy: Vec<usize> =
            r.clients.iter().filter(|c| c.1.busy.is_some()).map(|c| *c.0).collect();
        busy.into_iter().for_each(|s| r.wait(s, true));
    }
    sessions.into_iter().for_each(|s| r.wait(s, false));
    let end = r.watchers[0].rows("SELECT k, v FROM t");
    r.trace.push(Entry {
        session: 0,
        name: END,
        sql: "",
        waited: false,
        outcome: shown(&end, &place.keys),
    });
    Trace(r.trace)
}

impl Runner<'_> {
    fn step(&mut self, session: usize, name: &'static str, sql: &'static str) {
        self.wait(session, false);
        let ends = ["COMMIT", "ROLLBACK"].contains(&sql);
        let at = self.trace.len();
        let client = self.clients.get_mut(&session).unwrap();
        let skipped = client.failed && !ends;
        let outcome = if skipped { "-" } else { "" }.to_owned();
        self.trace.push(Entry { session, name, sql, waited: false, outcome });
        if skipped {
            return;
        }
        let mut text = sql.to_owned();
        for (letter, key) in ["{a}", "{b}", "{c}", "{d}"].iter().zip(self.place.keys) {
            text = text.replace(letter, &key.to_string());
        }
        client.busy = Some(at);
        client.work.send(text).unwrap();
    }

    /// Until the session's step has its answer or, if that may be, waits for another one.
    fn wait(&mut self, session: usize, may_wait: bool) {
        let start = Instant::now();
        let mut seen = 0;
        loop {
            let client = self.clients.get_mut(&session).unwrap();
            let Some(at) = client.busy else { return };
            match client.answers.recv_timeout(Duration::from_millis(4)) {
                Ok((answer, status)) => {
                    client.busy = None;
                    client.failed = status == b'E';
                    self.trace[at].outcome = outcome(&answer, &self.place.keys);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the session has ended"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            assert!(start.elapsed() < LIMIT, "no answer: {:?}", self.trace);
            if may_wait {
                seen = if self.waits_now(session, at) { seen + 1 } else { 0 };
                // It waits still when one looks again.
                if seen > 2 || start.elapsed() > PATIENCE {
                    self.trace[at].waited = true;
                    return;
                }
            }
        }
    }

    /// Whether the session, or one of its own on another node, waits for a lock; or its commit is
    /// held back.
    fn waits_now(&mut self, session: usize, at: usize) -> bool {
        let held = self.place.proxies.first().is_some_and(|p| p.holds() > 0);
        if self.trace[at].sql == "COMMIT" {
            // The other node has to be through.
            let left: usize = self.watchers.iter_mut().map(prepared).sum();
            return held && left == 1;
        }
        let client = &self.clients[&session];
        self.watchers.iter_mut().enumerate().any(|(n, w)| {
            let whose = match n {
                0 => format!("pid = {}", client.pid),
                _ => format!("application_name = 'citus_internal gpid={}'", client.tag),
            };
            w.value(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {whose}"
            )) != "0"
        })
    }
}

fn prepared(c: &mut Conn) -> usize {
    c.rows("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").len()
}

fn outcome(answer: &Answer, keys: &[i32; 4]) -> String {
    match answer {
        Err(e) => e.code().to_owned(),
        Ok(sets) => match sets.last() {
            Some(set) if !set.columns.is_empty() => shown(&set.rows, keys),
            Some(set) => set.tag.clone(),
            None => String::new(),
        },
    }
}

/// Rows as `a=10 b=20`.
fn shown(rows: &[Vec<Option<String>>], keys: &[i32; 4]) -> String {
    let mut found: Vec<String> = rows
        .iter()
        .map(|r| {
            let of = |i: usize| r[i].clone().unwrap_or_default();
            let letter = keys.iter().position(|k| k.to_string() == of(0));
            let letter = letter.map_or('?', |i| (b'a' + i as u8) as char);
            format!("{letter}={}", of(1))
        })
        .collect();
    found.sort();
    if found.is_empty() {
        return "none".into();
    }
    found.join(" ")
}
