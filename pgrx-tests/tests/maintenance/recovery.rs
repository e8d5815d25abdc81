//! Prepared transactions that were left behind are finished without anybody asking.

use super::{wait_process, within, SECOND};
use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::forged;
use citus_tests::process as os;
use citus_tests::server::{Kind, Server};
use std::net::TcpListener;
use std::time::Duration;

/// A database whose names of prepared transactions can be forged.
struct Forge {
    name: String,
    c: Conn,
    base: String,
}

impl Forge {
    fn new(cluster: &Cluster, stem: &str) -> Forge {
        let name = cluster.database(stem);
        let mut c = cluster.connect(&name);
        wait_process(&cluster.coordinator, &mut c, &name);
        let base = forged::base(&mut c);
        Forge { name, c, base }
    }

    /// A name of this coordinator's.
    fn gid(&self, number: u64) -> String {
        format!("{}_{number}_0", self.base)
    }

    /// Leaves a prepared transaction on a node, which makes a table.
    fn leave(&self, node: &Server, table: &str, gid: &str) {
        let sql = format!("BEGIN; CREATE TABLE {table} (k int); PREPARE TRANSACTION '{gid}'");
        node.connect(&self.name).run(&sql);
    }

    /// Records the decision to commit.
    fn decide(&mut self, node: &Server, gid: &str) {
        let group = format!("SELECT groupid FROM pg_dist_node WHERE nodeport = {}", node.port);
        let group = self.c.value(&group);
        self.c.run(&format!("INSERT INTO pg_dist_transaction VALUES ({group}, '{gid}', '3')"));
    }

    /// Leaves a prepared transaction and the decision to commit it. Recovery has to see both or
    /// none: it forgets a decision that no node waits for.
    fn leave_decided(&mut self, node: &Server, table: &str, gid: &str) {
        self.c.run("BEGIN; LOCK TABLE pg_dist_transaction IN SHARE UPDATE EXCLUSIVE MODE");
        self.leave(node, table, gid);
        self.decide(node, gid);
        self.c.run("COMMIT");
    }

    /// Prepared transactions on a node.
    fn prepared(&self, node: &Server) -> Vec<String> {
        let sql =
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY 1";
        node.connect(&self.name).rows(sql).into_iter().flatten().flatten().collect()
    }

    fn has(&self, node: &Server, table: &str) -> bool {
        let sql = format!("SELECT to_regclass('public.{table}') IS NOT NULL");
        node.connect(&self.name).value(&sql) == "t"
    }
}

#[test]
fn orphans_are_finished_and_others_left_alone() {
    let cluster = Cluster::start(2, Kind::FAST, "citus.recover_2pc_interval = '500ms'");
    let mut f = Forge::new(&cluster, "orphans");
    let [w1, w2] = [&cluster.workers[0], &cluster.workers[1]];
    let mut words = f.base.split('_').skip(1);
    let [group, system, oid] = std::array::from_fn(|_| words.next().expect("a part of the name"));
    // Of another database, another server, another group, another program.
    let others = [
        format!("citus_{group}_{system}_99999_1_3_aa_0"),
        format!("citus_{group}_77_{oid}_1_3_aa_0"),
        format!("citus_7_{system}_{oid}_1_3_aa_0"),
        "somebody else".to_owned(),
    ];
    for (n, gid) in others.iter().enumerate() {
        f.leave(w1, &format!("other_{n}"), gid);
    }
    let (decided, undecided) = (f.gid(1), f.gid(2));
    f.leave_decided(w1, "decided", &decided);
    f.leave(w2, "undecided", &undecided);
    // Decisions that nobody waits for: of a node that is done, and of a group that is gone.
    let done = f.gid(3);
    f.decide(w2, &done);
    f.c.run("INSERT INTO pg_dist_transaction VALUES (4711, 'citus_0_1_1_1_1_1_1', '3')");
    assert!(within(60 * SECOND, || f.prepared(w2).is_empty()));
    assert!(within(60 * SECOND, || f.prepared(w1).len() == others.len()));
    assert!(within(60 * SECOND, || f.c.value("SELECT count(*) FROM pg_dist_transaction") == "0"));
    assert!(f.has(w1, "decided"));
    assert!(!f.has(w2, "undecided"));
    std::thread::sleep(2 * SECOND);
    let mut left = f.prepared(w1);
    left.sort();
    let mut wanted = others.to_vec();
    wanted.sort();
    assert_eq!(left, wanted);
    // Transactions that run are left alone too: many commits under constant recovery.
    f.c.run("CREATE TABLE t (k int); SELECT create_distributed_table('t', 'k')");
    for n in 0..200 {
        f.c.run(&format!("INSERT INTO t VALUES ({n}), ({n} + 1), ({n} + 2), ({n} + 3)"));
    }
    assert_eq!(f.c.value("SELECT count(*) FROM t"), "800");
    for gid in &others {
        w1.connect(&f.name).run(&format!("ROLLBACK PREPARED '{gid}'"));
    }
}

#[test]
fn a_reload_changes_the_interval() {
    let cluster = Cluster::start(1, Kind::FAST, "");
    let f = Forge::new(&cluster, "reload");
    let w = &cluster.workers[0];
    let set = |value: &str| {
        let mut c = cluster.connect("postgres");
        c.run(&format!("ALTER SYSTEM SET citus.recover_2pc_interval = '{value}'"));
        c.run("SELECT pg_reload_conf()");
    };
    f.leave(w, "a", &f.gid(1));
    std::thread::sleep(3 * SECOND);
    assert_eq!(f.prepared(w), [f.gid(1)], "-1 means never");
    set("300ms");
    assert!(within(60 * SECOND, || f.prepared(w).is_empty()));
    set("-1");
    std::thread::sleep(SECOND);
    f.leave(w, "b", &f.gid(2));
    std::thread::sleep(3 * SECOND);
    assert_eq!(f.prepared(w), [f.gid(2)]);
}

#[test]
fn a_dead_node_does_not_keep_the_others_waiting() {
    let cluster = Cluster::start(3, Kind::FAST, "citus.recover_2pc_interval = '500ms'");
    let mut f = Forge::new(&cluster, "dead");
    let [w1, w2, w3] = [0, 1, 2].map(|i| &cluster.workers[i]);
    let decided = f.gid(1);
    f.leave_decided(w2, "decided", &decided);
    // (It may have been committed already.)
    w2.end(libc::SIGINT);
    // Accepts connections and never answers.
    let mute = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = mute.local_addr().unwrap().port();
    let swap = |c: &mut Conn, from: u16, to: u16| {
        c.run(&format!("UPDATE pg_dist_node SET nodeport = {to} WHERE nodeport = {from}"));
    };
    swap(&mut f.c, w3.port, port);
    for n in 2..5 {
        f.leave(w1, &format!("t{n}"), &f.gid(n));
        let done = within(60 * SECOND, || f.prepared(w1).is_empty());
        assert!(done, "round {n}\n{}", cluster.coordinator.log_tail(30));
    }
    let log = cluster.coordinator.log();
    let complaint = format!("could not connect to node 127.0.0.1:{}", w2.port);
    // Once for each reason, which is in the line after it: it shuts down, it closes the connection,
    // it is gone. A slow machine sees more of them.
    let lines: Vec<&str> = log.lines().collect();
    let text = |line: &str, word: &str| line.find(word).map(|at| line[at..].to_owned());
    let reasons: Vec<String> = lines
        .windows(2)
        .filter_map(|w| Some(text(w[0], &complaint)? + &text(w[1], "DETAIL").unwrap_or_default()))
        .collect();
    let distinct: std::collections::BTreeSet<&String> = reasons.iter().collect();
    assert!(!reasons.is_empty() && reasons.len() == distinct.len(), "{reasons:?}\n{log}");
    assert!(log.contains(&format!("could not connect to node 127.0.0.1:{port}")), "{log}");
    assert!(log.contains(&format!("in database \"{}\"", f.name)), "{log}");
    // Both come back.
    swap(&mut f.c, port, w3.port);
    w2.start().unwrap();
    f.leave(w3, "late", &f.gid(9));
    assert!(within(60 * SECOND, || f.prepared(w2).is_empty() && f.prepared(w3).is_empty()));
    assert!(f.has(w2, "decided"));
    assert!(within(60 * SECOND, || f.c.value("SELECT count(*) FROM pg_dist_transaction") == "0"));
}

/// How many sessions wait for a standby.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

/// A transaction over both workers whose decision is written, and which waits for a standby that
/// does not exist: between the phases. `meanwhile` runs then; what COMMIT said comes back.
fn between_the_phases(
    cluster: &Cluster,
    name: &str,
    meanwhile: impl FnOnce(),
) -> (Result<String, String>, Vec<String>) {
    let mut c = cluster.connect(name);
    c.run("CREATE TABLE t (k int PRIMARY KEY); SELECT create_distributed_table('t', 'k')");
    // A local write, so that the local commit is the decision.
    c.run("CREATE TABLE here (k int)");
    c.run("BEGIN; INSERT INTO here VALUES (1); INSERT INTO t SELECT generate_series(1, 100)");
    set_standby(cluster, "nobody");
    cluster.coordinator.wait_sync();
    let committing = std::thread::spawn(move || {
        let said = match c.simple("COMMIT") {
            Ok(r) => Ok(r.first().map(|r| r.tag.clone()).unwrap_or_default()),
            Err(e) => Err(e.to_string()),
        };
        let notices = c.notices.iter().map(|n| format!("{n}")).collect();
        (said, notices)
    });
    let stuck = within(60 * SECOND, || cluster.connect("postgres").value(WAITING) == "1");
    assert!(stuck, "{}", cluster.coordinator.log_tail(30));
    for w in &cluster.workers {
        assert_eq!(w.connect(name).value("SELECT count(*) FROM pg_prepared_xacts"), "1");
    }
    meanwhile();
    if cluster.coordinator.pid().is_some() {
        set_standby(cluster, "");
    }
    committing.join().unwrap()
}

/// The standby for which commits on the coordinator wait.
fn set_standby(cluster: &Cluster, name: &str) {
    let mut c = cluster.connect("postgres");
    c.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
    c.run("SELECT pg_reload_conf()");
}

fn prepared_anywhere(cluster: &Cluster) -> usize {
    let count = |w: &Server| w.connect("postgres").rows("SELECT gid FROM pg_prepared_xacts").len();
    cluster.workers.iter().map(count).sum()
}

#[test]
fn a_failed_second_phase_is_told_and_retried_at_once() {
    let cluster = Cluster::start(2, Kind::DURABLE, "citus.recover_2pc_interval = '1h'");
    let name = cluster.database("second");
    wait_process(&cluster.coordinator, &mut cluster.connect("postgres"), &name);
    // The rounds after the start are over.
    std::thread::sleep(7 * SECOND);
    let w = &cluster.workers[1];
    let (said, notices) = between_the_phases(&cluster, &name, || {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                    AND application_name LIKE 'citus_internal%'";
        assert_eq!(w.connect(&name).value(kill), "1");
        std::thread::sleep(SECOND);
        assert_eq!(prepared_anywhere(&cluster), 2);
    });
    assert_eq!(said.as_deref(), Ok("COMMIT"));
    let warned = notices
        .iter()
        .any(|n| n.starts_with("WARNING") && n.contains(&format!("on node 127.0.0.1:{}", w.port)));
    assert!(warned, "{notices:?}");
    assert!(within(60 * SECOND, || prepared_anywhere(&cluster) == 0), "not retried at once");
    assert_eq!(cluster.connect(&name).value("SELECT count(*) FROM t"), "100");
}

#[test]
fn recovery_follows_a_crash_without_a_client() {
    let cluster = Cluster::start(2, Kind::DURABLE, "citus.recover_2pc_interval = '1h'");
    let name = cluster.database("crashed");
    let (said, _) = between_the_phases(&cluster, &name, || {
        let waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let backend = cluster.connect("postgres").value(waits).parse().unwrap();
        // When the postmaster dies the session would stop waiting and go on.
        os::signal(backend, libc::SIGSTOP);
        cluster.coordinator.end(libc::SIGKILL);
        os::signal(backend, libc::SIGKILL);
        std::thread::sleep(SECOND);
        assert_eq!(prepared_anywhere(&cluster), 2);
    });
    assert!(said.is_err(), "{said:?}");
    // The harness connects to another database only.
    cluster.coordinator.start().unwrap();
    let done = within(60 * SECOND, || prepared_anywhere(&cluster) == 0);
    assert!(done, "{}", cluster.coordinator.log_tail(30));
    // The decision was written: nothing of it is lost.
    assert_eq!(cluster.connect(&name).value("SELECT count(*) FROM t"), "100");
    let log = "SELECT count(*) FROM pg_dist_transaction";
    assert!(within(60 * SECOND, || cluster.connect(&name).value(log) == "0"));
}

#[test]
fn a_copy_of_the_coordinator_leaves_its_transactions_alone() {
    let cluster = Cluster::start(2, Kind::DURABLE, "citus.recover_2pc_interval = '1h'");
    let name = cluster.database("copied");
    let copy = cluster.coordinator.standby("copy").unwrap();
    copy.connect("postgres").run("SELECT pg_promote()");
    // It has the identity, the nodes and the secrets of its original, and works by itself.
    wait_process(&copy, &mut copy.connect("postgres"), &name);
    let (said, notices) = between_the_phases(&cluster, &name, || {
        let recover = "SELECT recover_prepared_transactions()";
        assert_eq!(copy.connect(&name).value(recover), "0");
        assert_eq!(prepared_anywhere(&cluster), 2);
    });
    assert_eq!((said.as_deref(), notices.len()), (Ok("COMMIT"), 0), "{notices:?}");
    assert_eq!(cluster.connect(&name).value("SELECT count(*) FROM t"), "100");
    // What nobody is about to complete any more is its business as its original's.
    let forged = Forge::new(&cluster, "forged");
    forged.leave(&cluster.workers[0], "orphan", &forged.gid(1));
    let recover = "SELECT recover_prepared_transactions()";
    assert_eq!(cluster.connect(&forged.name).value(recover), "1");
}

#[test]
fn a_commit_that_fails_over_its_notifications_is_none_on_nodes() {
    let cluster = Cluster::start(2, Kind::DURABLE, "");
    let name = cluster.database("notified");
    let mut c = cluster.connect(&name);
    c.run("CREATE TABLE t (k int PRIMARY KEY, v int); SELECT create_distributed_table('t', 'k')");
    c.run("INSERT INTO t SELECT generate_series(1, 20), 0; CREATE TABLE here (k int)");
    // Whoever commits notifications has the server's only lock for that, while he waits, too.
    set_standby(&cluster, "nobody");
    cluster.coordinator.wait_sync();
    let mut first = cluster.connect(&name);
    let committing = std::thread::spawn(move || {
        first.run("BEGIN; NOTIFY one; INSERT INTO here VALUES (1); COMMIT");
    });
    assert!(within(60 * SECOND, || cluster.connect("postgres").value(WAITING) == "1"));
    for notify in ["NOTIFY two", "SELECT pg_notify('two', '')", "DO 'BEGIN NOTIFY two; END'"] {
        for rows in ["k = 1", "k > 1"] {
            c.run(&format!("SET lock_timeout = '500ms'; BEGIN; {notify}"));
            c.run(&format!("UPDATE t SET v = v + 1 WHERE {rows}"));
            let code = c.simple("COMMIT").err().map(|e| e.code().to_owned());
            assert_eq!(code.as_deref(), Some("55P03"), "{notify} {rows}");
            assert_eq!(c.value("SELECT sum(v) FROM t"), "0", "{notify} {rows}");
        }
    }
    set_standby(&cluster, "");
    committing.join().unwrap();
    assert_eq!(prepared_anywhere(&cluster), 0);
    // One that succeeds tells both.
    c.run("LISTEN two; BEGIN; NOTIFY two, 'seen'; UPDATE t SET v = v + 1; COMMIT");
    assert_eq!(c.value("SELECT sum(v) FROM t"), "20");
}

#[test]
fn every_database_is_recovered_by_its_own_process() {
    let cluster = Cluster::start(1, Kind::FAST, "citus.recover_2pc_interval = '500ms'");
    let w = &cluster.workers[0];
    let forges: Vec<Forge> = (0..3).map(|n| Forge::new(&cluster, &format!("several{n}"))).collect();
    for (n, f) in forges.iter().enumerate() {
        f.leave(w, "t", &f.gid(n as u64));
    }
    for f in &forges {
        assert!(within(60 * SECOND, || f.prepared(w).is_empty()), "{}", f.name);
        assert!(!f.has(w, "t"));
    }
    // Their sessions are closed after each round: the node can be shut down, and its database
    // be dropped.
    std::thread::sleep(Duration::from_millis(1500));
    let mut c = w.connect("postgres");
    super::at_once(&mut c, &format!("DROP DATABASE {}", forges[0].name));
    drop(c);
    let start = std::time::Instant::now();
    w.end(libc::SIGTERM);
    assert!(start.elapsed() < 15 * SECOND, "{:?}", start.elapsed());
}
