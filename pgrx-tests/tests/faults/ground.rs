//! A cluster whose nodes are reached through proxies, the transactions that run on it, and what has
//! to be true of them afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error};
use citus_tests::cluster::Cluster;
use citus_tests::proxy::Proxy;
use citus_tests::server::{Kind, Server};

pub const NODES: usize = 3;
/// Sessions that run transactions at the same time, each with rows of its own to update.
pub const LANES: usize = 3;
/// Time for everything to come to rest by itself.
const REST: Duration = Duration::from_secs(60);

const CONF: &str = "
citus.recover_2pc_interval = '200ms'
deadlock_timeout = '200ms'
max_connections = 60
shared_buffers = 16MB
";

const SCHEMA: &str = "
CREATE TABLE entries (k int, tx bigint, PRIMARY KEY (k, tx));
SELECT create_distributed_table('entries', 'k', shard_count := 6);
CREATE TABLE counters (k int PRIMARY KEY, n bigint);
SELECT create_distributed_table('counters', 'k', colocate_with := 'entries');
CREATE TABLE marks (tx bigint PRIMARY KEY);
SELECT create_reference_table('marks');
CREATE TABLE here (tx bigint PRIMARY KEY);
INSERT INTO counters SELECT i, 0 FROM generate_series(1, 300) i;
";

/// What a client knows about one of its transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Committed,
    RolledBack,
    Unknown,
}

/// What a transaction writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    pub nodes: Vec<usize>,
    /// A row of a plain table of the coordinator: its commit decides.
    pub here: bool,
    /// A row of a reference table, which is on all nodes.
    pub mark: bool,
}

/// A transaction in the ledger.
pub struct Entry {
    pub lane: usize,
    pub shape: Shape,
    pub fate: Fate,
}

pub type Ledger = BTreeMap<u64, Entry>;

pub struct Ground {
    pub cluster: Cluster,
    pub proxies: Vec<Proxy>,
    pub database: String,
    /// Keys by node: one for entries (and lane 0), and others.
    keys: Vec<Vec<u32>>,
}

/// Waits until `done` says so; false when it does not in time.
pub fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    true
}

impl Ground {
    pub fn new(kind: Kind) -> Ground {
        let cluster = Cluster::start(NODES, kind, CONF);
        let database = cluster.bare_database("faults");
        let proxies: Vec<Proxy> =
            cluster.workers.iter().map(|w| Proxy::start(w.port).unwrap()).collect();
        let mut c = cluster.connect(&database);
        let here = cluster.coordinator.port;
        c.run(&format!("SELECT citus_set_coordinator_host('127.0.0.1', {here})"));
        for p in &proxies {
            c.run(&format!("SELECT citus_add_node('127.0.0.1', {})", p.port));
        }
        c.run(SCHEMA);
        let keys = proxies.iter().map(|p| {
            let sql = format!(
                "SELECT k FROM generate_series(1, 300) k, pg_dist_placement p, pg_dist_node n
                 WHERE p.shardid = get_shard_id_for_distribution_column('entries', k)
                   AND n.groupid = p.groupid AND n.nodeport = {} ORDER BY k LIMIT {LANES}",
                p.port
            );
            c.rows(&sql).iter().map(|r| r[0].as_ref().unwrap().parse().unwrap()).collect()
        });
        let keys = keys.collect();
        Ground { cluster, proxies, database, keys }
    }

    /// A key on a node.
    pub fn key(&self, node: usize) -> u32 {
        self.keys[node][0]
    }

    pub fn connect(&self) -> Result<Conn, Error> {
        self.cluster.coordinator.try_connect(&self.database)
    }

    /// Process id of the database's maintenance process.
    pub fn maintenance(&self) -> Option<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'citus maintenance'
                   AND datname = current_database()";
        let mut found = None;
        within(Duration::from_secs(60), || {
            let rows = self.connect().and_then(|mut c| c.simple(sql)).unwrap_or_default();
            let pid = rows.into_iter().flat_map(|r| r.rows).flatten().flatten().next();
            found = pid.and_then(|p| p.parse().ok());
            found.is_some()
        });
        found
    }

    /// The statements of a transaction, COMMIT excluded.
    fn statements(&self, tx: u64, lane: usize, shape: &Shape) -> Vec<String> {
        let mut list = Vec::new();
        let key = |n: &usize| self.keys[*n][0];
        if tx.is_multiple_of(2) {
            let rows: Vec<_> = shape.nodes.iter().map(|n| format!("({}, {tx})", key(n))).collect();
            list.push(format!("INSERT INTO entries VALUES {}", rows.join(", ")));
        } else {
            let one = |n| format!("INSERT INTO entries VALUES ({}, {tx})", key(n));
            list.extend(shape.nodes.iter().map(one));
        }
        for n in &shape.nodes {
            let k = self.keys[*n][lane];
            list.push(format!("UPDATE counters SET n = n + 1 WHERE k = {k}"));
        }
        if shape.here {
            list.push(format!("INSERT INTO here VALUES ({tx})"));
        }
        if shape.mark {
            list.push(format!("INSERT INTO marks VALUES ({tx})"));
        }
        list
    }

    /// Runs a transaction; also says what went wrong, if something did.
    pub fn run(&self, c: &mut Conn, tx: u64, lane: usize, shape: &Shape) -> (Fate, String) {
        let mut attempt = || {
            c.simple("BEGIN")?;
            for sql in self.statements(tx, lane, shape) {
                c.simple(&sql)?;
            }
            Ok::<(), Error>(())
        };
        if let Err(e) = attempt() {
            let _ = c.simple("ROLLBACK");
            // Nothing was asked to commit, so nothing may be there.
            return (Fate::RolledBack, e.to_string());
        }
        match c.simple("COMMIT") {
            Ok(r) if r.first().is_some_and(|r| r.tag == "COMMIT") => {
                (Fate::Committed, c.notices.iter().map(|n| n.message.as_str()).collect())
            }
            Ok(_) => (Fate::RolledBack, "COMMIT became ROLLBACK".to_owned()),
            Err(e) => {
                let known = !matches!(e.code(), "lost" | "08007" | "57P01" | "57P02" | "57P03");
                (if known { Fate::RolledBack } else { Fate::Unknown }, format!("COMMIT: {e}"))
            }
        }
    }

    /// Waits for the end of recovery and says what is wrong then: with the transactions from
    /// `first` on, and with the sums of all.
    pub fn findings(
        &self,
        ledger: &Ledger,
        first: u64,
        present: &mut BTreeSet<u64>,
    ) -> Vec<String> {
        let mut wrong = self.prepared_left();
        if !wrong.is_empty() {
            return wrong;
        }
        let mut c = match self.connect() {
            Ok(c) => c,
            Err(e) => return vec![format!("the coordinator cannot be used: {e}")],
        };
        let found = match self.found(&mut c, first) {
            Ok(found) => found,
            Err(e) => return vec![format!("the tables cannot be read: {e}")],
        };
        let none = BTreeSet::new();
        for (tx, e) in ledger.range(first..) {
            let expected = self.expected(&e.shape);
            let there = found.get(tx).unwrap_or(&none);
            let whole = *there == expected && e.fate != Fate::RolledBack;
            let nothing = there.is_empty() && e.fate != Fate::Committed;
            if whole {
                present.insert(*tx);
            } else if !nothing {
                wrong.push(format!("{tx} {:?} {:?}: only {there:?}", e.fate, e.shape));
            }
        }
        let strange = found.keys().filter(|tx| !ledger.contains_key(tx));
        wrong.extend(strange.map(|tx| format!("{tx} was never run")));
        if wrong.is_empty() {
            wrong.extend(self.sums(&mut c, ledger, present));
        }
        wrong
    }

    /// Where a whole transaction has left something.
    fn expected(&self, shape: &Shape) -> BTreeSet<String> {
        let mut places: BTreeSet<String> =
            shape.nodes.iter().map(|n| format!("k {}", self.keys[*n][0])).collect();
        if shape.here {
            places.insert("here".to_owned());
        }
        if shape.mark {
            places.extend((0..=NODES).map(|n| format!("mark {n}")));
        }
        places
    }

    /// Where each transaction has left something; read on the nodes themselves.
    fn found(&self, c: &mut Conn, first: u64) -> Result<BTreeMap<u64, BTreeSet<String>>, Error> {
        let mut found: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        let mut put = |rows: Vec<Vec<Option<String>>>| {
            for row in rows {
                let text = |i: usize| row[i].clone().unwrap_or_default();
                found.entry(text(0).parse().unwrap()).or_default().insert(text(1));
            }
        };
        let last = |r: Vec<citus_tests::client::ResultSet>| {
            r.into_iter().next_back().map(|r| r.rows).unwrap_or_default()
        };
        put(last(c.simple(&format!("SELECT tx, 'k ' || k FROM entries WHERE tx >= {first}"))?));
        put(last(c.simple(&format!("SELECT tx, 'here' FROM here WHERE tx >= {first}"))?));
        let marks = c.value(
            "SELECT 'marks_' || shardid FROM pg_dist_shard WHERE logicalrelid = 'marks'::regclass",
        );
        for (n, node) in self.cluster.nodes().enumerate() {
            let mut c = node.try_connect(&self.database)?;
            put(last(
                c.simple(&format!("SELECT tx, 'mark {n}' FROM {marks} WHERE tx >= {first}"))?,
            ));
        }
        Ok(found)
    }

    /// Counters that do not agree with the transactions that are present.
    fn sums(&self, c: &mut Conn, ledger: &Ledger, present: &BTreeSet<u64>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (n, keys) in self.keys.iter().enumerate() {
            for (lane, k) in keys.iter().enumerate() {
                let counts = |tx: &&u64| {
                    ledger.get(tx).is_some_and(|e| e.lane == lane && e.shape.nodes.contains(&n))
                };
                let expected = present.iter().filter(counts).count();
                let found = c.value(&format!("SELECT n FROM counters WHERE k = {k}"));
                if found != expected.to_string() {
                    wrong.push(format!("lane {lane} on node {n}: {found} and not {expected}"));
                }
            }
        }
        wrong
    }

    /// Prepared transactions that recovery does not finish.
    fn prepared_left(&self) -> Vec<String> {
        let sql = "FROM pg_prepared_xacts WHERE database = current_database()";
        self.cluster.nodes().filter_map(|n| self.stays(n, "prepared", sql, "gid")).collect()
    }

    /// What stays on a node although it should go.
    fn stays(&self, node: &Server, what: &str, from: &str, show: &str) -> Option<String> {
        let mut last = String::new();
        let gone = within(REST, || {
            let sql = format!("SELECT count(*), string_agg(({show})::text, E'\\n') {from}");
            match node.try_connect(&self.database).and_then(|mut c| c.simple(&sql)) {
                Ok(r) => {
                    let row = r.into_iter().next_back().and_then(|r| r.rows.into_iter().next());
                    let row = row.unwrap_or_default();
                    last = row.get(1).cloned().flatten().unwrap_or_default();
                    row.first().cloned().flatten().as_deref() == Some("0")
                }
                Err(e) => {
                    last = e.to_string();
                    false
                }
            }
        });
        (!gone).then(|| format!("{what} left on {}: {last}", node.name))
    }

    /// What is left behind once no client is connected any more.
    pub fn leaks(&self) -> Vec<String> {
        let sessions = "FROM pg_stat_activity WHERE datname = current_database()
            AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let locks = "FROM pg_locks l WHERE pid IS DISTINCT FROM pg_backend_pid() AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        let mut wrong = self.prepared_left();
        for node in self.cluster.nodes() {
            let show = "concat(pid, ' ', application_name, ' ', state, ' ', query)";
            wrong.extend(self.stays(node, "sessions", sessions, show));
            wrong.extend(self.stays(node, "locks", locks, "l"));
        }
        let log = "FROM pg_dist_transaction";
        wrong.extend(self.stays(&self.cluster.coordinator, "decisions", log, "gid"));
        for (n, p) in self.proxies.iter().enumerate() {
            if !within(REST, || p.open() == 0) {
                wrong.push(format!("{} connections to node {n} left", p.open()));
            }
        }
        wrong
    }

    /// The number of connections that all sessions hold is right if, when one is allowed, it can be
    /// had: what counts for nobody would be in its way.
    pub fn counted(&self) -> Vec<String> {
        let set = |value: &str| -> Result<(), Error> {
            let mut c = self.connect()?;
            c.simple(&format!("ALTER SYSTEM SET citus.max_shared_pool_size = {value}"))?;
            c.simple("SELECT pg_reload_conf()").map(|_| ())
        };
        let look = || -> Result<(), Error> {
            set("1")?;
            let reloaded = within(Duration::from_secs(60), || {
                let shown =
                    self.connect().and_then(|mut c| c.simple("SHOW citus.max_shared_pool_size"));
                shown.is_ok_and(|r| r[0].rows[0][0].as_deref() == Some("1"))
            });
            assert!(reloaded);
            let mut c = self.connect()?;
            c.simple("SET citus.node_connection_timeout = '20s'")?;
            c.simple("SELECT count(*) FROM counters").map(|_| ())
        };
        let seen = look();
        let _ = set("0");
        seen.err()
            .map(|e| format!("connections are counted that nobody has: {e}"))
            .into_iter()
            .collect()
    }
}
