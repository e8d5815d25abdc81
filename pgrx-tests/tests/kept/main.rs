//! Connections to nodes that sessions leave for those that come: they are used again, only by
//! who may, with nothing of the former session in them, and are in nobody's way.

mod faults;
mod limits;
mod privacy;

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

/// Kept longer than usual, so that a test on a busy machine finds them; those about time set their
/// own.
const LONG: &str = "citus.kept_connection_time = '30s'";

/// The cluster and a database in it. Changes of roles and databases close what is kept everywhere,
/// so tests take turns.
struct Ground {
    cluster: &'static Cluster,
    database: String,
    /// A key whose shard is on the first worker.
    key: u32,
    _turn: MutexGuard<'static, ()>,
}

fn ground() -> Ground {
    static IT: OnceLock<Cluster> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let cluster = IT.get_or_init(|| Cluster::start(2, Kind::DURABLE, LONG));
    // What a test that failed has left.
    cluster.connect("postgres").run("ALTER SYSTEM RESET ALL");
    cluster.coordinator.reload();
    let database = cluster.database("kept");
    let mut c = cluster.connect(&database);
    c.run(
        "CREATE TABLE t (k int PRIMARY KEY, v text);
         SELECT create_distributed_table('t', 'k', shard_count := 8);
         INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i",
    );
    let sql = format!(
        "SELECT min(k) FROM generate_series(1, 100) k, pg_dist_placement p, pg_dist_node n
         WHERE p.shardid = get_shard_id_for_distribution_column('t', k)
           AND n.groupid = p.groupid AND n.nodeport = {}",
        cluster.workers[0].port
    );
    let key = c.value(&sql).parse().unwrap();
    drop(c);
    let g = Ground { cluster, database, key, _turn: turn };
    g.none_left();
    g
}

impl Ground {
    fn connect(&self) -> Conn {
        self.cluster.connect(&self.database)
    }

    /// A session as a role.
    fn connect_as(&self, role: &str) -> Conn {
        Conn::connect(self.cluster.coordinator.port, role, &self.database).unwrap()
    }

    /// Uses the first worker.
    #[track_caller]
    fn ask(&self, c: &mut Conn) {
        assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {}", self.key)), "v");
    }

    /// A session that uses the first worker and ends; what it leaves is given back.
    #[track_caller]
    fn visit(&self) -> Option<i32> {
        let mut c = self.connect();
        self.ask(&mut c);
        self.leave(c)
    }

    /// Ends a session that used the first worker, and perhaps the others; the process there that is
    /// kept.
    #[track_caller]
    fn leave(&self, c: Conn) -> Option<i32> {
        let (mut look, pid) = (self.connect(), c.pid);
        drop(c);
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        assert!(within(60 * SECOND, || look.value(&sql) == "0"), "the session stays");
        for (worker, node) in self.cluster.workers.iter().enumerate() {
            let Some(pid) = self.kept_to(worker).pop() else { continue };
            // Who takes it waits for a moment only until the node has forgotten everything.
            let sql = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state <> 'idle'"
            );
            let mut w = node.connect("postgres");
            assert!(within(60 * SECOND, || w.value(&sql) == "0"), "the node does not forget");
        }
        self.kept().pop()
    }

    /// Kept connections to the first worker, the newest last.
    fn kept(&self) -> Vec<i32> {
        self.kept_to(0)
    }

    fn kept_to(&self, worker: usize) -> Vec<i32> {
        let sql = format!(
            "SELECT pid FROM citus_internal.kept_connections()
             JOIN pg_dist_node USING (nodeid)
             WHERE nodeport = {}
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
             ORDER BY kept_since",
            self.cluster.workers[worker].port
        );
        self.connect()
            .rows(&sql)
            .into_iter()
            .flatten()
            .flatten()
            .map(|p| p.parse().unwrap())
            .collect()
    }

    /// Processes of the coordinator's sessions on a worker.
    fn there(&self, worker: usize) -> Vec<i32> {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{}'
             AND application_name LIKE 'citus_internal%'",
            self.database
        );
        let mut w = self.cluster.workers[worker].connect("postgres");
        w.rows(&sql).into_iter().flatten().flatten().map(|p| p.parse().unwrap()).collect()
    }

    /// Closes what is kept; nothing else may be there.
    #[track_caller]
    fn none_left(&self) {
        self.connect().run("ALTER ROLE postgres RESET ALL");
        let none = within(60 * SECOND, || {
            self.kept().is_empty() && self.there(0).is_empty() && self.there(1).is_empty()
        });
        assert!(none, "kept: {:?}, there: {:?} {:?}", self.kept(), self.there(0), self.there(1));
    }

    /// Changes the coordinator's configuration.
    fn configure(&self, settings: &str) {
        let mut c = self.cluster.connect("postgres");
        for setting in settings.split(';') {
            c.run(&format!("ALTER SYSTEM {setting}"));
        }
        self.cluster.coordinator.reload();
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Waits until `done` says so; false when it does not in time.
fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

#[test]
fn the_next_session_goes_on_with_the_same_process() {
    let g = ground();
    let first = g.visit().expect("nothing was kept");
    for _ in 0..5 {
        assert_eq!(g.visit(), Some(first));
    }
    assert_eq!(g.there(0), [first]);
    // While it is in use nobody else has it.
    let (mut a, mut b) = (g.connect(), g.connect());
    g.ask(&mut a);
    assert!(g.kept().is_empty());
    g.ask(&mut b);
    assert_eq!(g.there(0).len(), 2);
    g.leave(a);
    g.leave(b);
    let both = g.kept();
    assert!(both.len() == 2 && both.contains(&first), "{both:?}");
    // Both workers at once.
    let mut c = g.connect();
    assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    assert_eq!(g.there(1).len(), 1);
    let second = g.there(1);
    g.leave(c);
    let mut c = g.connect();
    assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    assert_eq!(g.there(1), second);
    drop(c);
    g.none_left();
}

#[test]
fn transactions_over_nodes_work_on_them() {
    let g = ground();
    for round in 0..5 {
        let mut c = g.connect();
        c.run(&format!("BEGIN; UPDATE t SET v = '{round}'; COMMIT"));
        drop(c);
        let mut c = g.connect();
        assert_eq!(
            c.value(&format!("SELECT count(*) FROM t WHERE v = '{round}'")),
            "100",
            "round {round}"
        );
        c.run("BEGIN; DELETE FROM t");
        // The client is gone in the middle of its transaction: that connection is not for others.
        let before = g.there(0);
        g.leave(c);
        assert!(g.kept().iter().all(|p| !before.contains(p)), "{before:?} {:?}", g.kept());
    }
    let prepared = "SELECT count(*) FROM pg_prepared_xacts";
    assert_eq!(g.cluster.workers[0].connect("postgres").value(prepared), "0");
}

/// The session that works for this one can be cancelled like any other.
#[test]
fn a_statement_on_a_kept_connection_is_cancelled() {
    let g = ground();
    let pid = g.visit().expect("nothing was kept");
    let mut c = g.connect();
    c.run("SET statement_timeout = '200ms'");
    let began = Instant::now();
    let e = c.simple("SELECT count(*) FROM t WHERE pg_sleep(0.3 + k * 0) IS NOT NULL").unwrap_err();
    assert_eq!(e.code(), "57014");
    // To its end it would take nearly four seconds.
    assert!(began.elapsed() < Duration::from_millis(3500), "{:?}", began.elapsed());
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'
                   AND query LIKE '%pg_sleep(%' AND pid <> pg_backend_pid()";
    let mut w = g.cluster.workers[0].connect("postgres");
    assert!(within(20 * SECOND, || w.value(running) == "0"));
    c.run("RESET statement_timeout");
    g.ask(&mut c);
    assert!(g.there(0).contains(&pid));
}

#[test]
fn an_operator_sees_them() {
    let g = ground();
    let pid = g.visit().expect("nothing was kept");
    let mut c = g.connect();
    let sql = format!(
        "SELECT is_worker_query, global_pid % 10000000000 FROM citus_stat_activity
         WHERE pid = {pid} AND nodeid = (SELECT nodeid FROM pg_dist_node WHERE nodeport = {})",
        g.cluster.workers[0].port
    );
    // Nobody's session.
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(c.rows(&sql), [[text("t"), text("0")]]);
    // Once it is used, it is the session's.
    g.ask(&mut c);
    assert_eq!(c.rows(&sql), [[text("t"), Some(c.pid.to_string())]]);
    let mut w = g.cluster.workers[0].connect("postgres");
    let name = w.value(&format!("SELECT application_name FROM pg_stat_activity WHERE pid = {pid}"));
    assert!(name.ends_with(&format!("{:010}", c.pid)), "{name} is not {}", c.pid);
}
