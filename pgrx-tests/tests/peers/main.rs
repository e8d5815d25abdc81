//! Transactions over several nodes whose participants decide together: what recovery makes of
//! every state in which a crash can leave them, and that the coordinator's log is not needed.

mod crash;

use std::sync::LazyLock;
use std::time::Duration;

use citus_tests::client::{Conn, Error};
use citus_tests::cluster::Cluster;
use citus_tests::forged;
use citus_tests::server::Kind;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));
/// What a node's part has come to when the coordinator is gone.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Left {
    /// PREPARE TRANSACTION has succeeded.
    Prepared,
    /// COMMIT PREPARED, too.
    Committed,
    /// The part was rolled back before it was prepared.
    Aborted,
    /// The session is still there and has not prepared yet.
    Running,
}

/// A part under way, by its node's number.
struct Part {
    node: usize,
    session: Conn,
}

struct Scene<'a> {
    cluster: &'a Cluster,
    database: String,
    coordinator: Conn,
    base: String,
}

impl Scene<'static> {
    fn new(stem: &str) -> Scene<'static> {
        Scene::on(&CLUSTER, stem)
    }
}

impl<'a> Scene<'a> {
    fn on(cluster: &'a Cluster, stem: &str) -> Scene<'a> {
        let database = cluster.database(stem);
        let mut c = cluster.connect(&database);
        for w in &cluster.workers {
            w.connect(&database).run("CREATE TABLE ledger (entry text)");
        }
        let base = forged::base(&mut c);
        Scene { cluster, database, coordinator: c, base }
    }

    fn group(&mut self, node: usize) -> String {
        let port = self.cluster.workers[node].port;
        let sql = format!("SELECT groupid FROM pg_dist_node WHERE nodeport = {port}");
        self.coordinator.value(&sql)
    }

    /// Leaves a transaction behind whose parts are in these states.
    fn leave(&mut self, entry: &str, random: u32, states: [Left; 2]) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut peers = Vec::new();
        for node in 0..2 {
            let mut session = self.cluster.workers[node].connect(&self.database);
            session.run(&format!("BEGIN; INSERT INTO ledger VALUES ('{entry}')"));
            peers.push(forged::peer(&self.group(node), &mut session));
            parts.push(Part { node, session });
        }
        let list = peers.join(".");
        for (part, state) in parts.iter_mut().zip(states) {
            let gid = format!("{}_{random}_{}_{list}", self.base, part.node);
            match state {
                Left::Prepared => part.session.run(&format!("PREPARE TRANSACTION '{gid}'")),
                Left::Committed => {
                    part.session.run(&format!("PREPARE TRANSACTION '{gid}'"));
                    part.session.run(&format!("COMMIT PREPARED '{gid}'"));
                }
                Left::Aborted => part.session.run("ROLLBACK"),
                Left::Running => {}
            }
            // A session that waits to be told is left alone for a while.
            if state != Left::Running {
                part.session.run("SELECT 1");
            }
        }
        parts
    }

    fn recover(&mut self) -> String {
        self.coordinator.value("SELECT recover_prepared_transactions()")
    }

    /// On how many nodes the entry is, and how many transactions are prepared.
    fn seen(&self, entry: &str) -> (usize, usize) {
        let sum = |sql: &str| -> usize {
            let each = self.cluster.workers.iter();
            each.map(|w| w.connect(&self.database).value(sql).parse::<usize>().expect("a count"))
                .sum()
        };
        (
            sum(&format!("SELECT count(*) FROM ledger WHERE entry = '{entry}'")),
            sum("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"),
        )
    }
}

#[test]
fn every_state_is_decided_the_same_way_on_all_nodes() {
    use Left::{Aborted, Committed, Prepared};
    let mut scene = Scene::new("peers");
    let cases = [
        ([Prepared, Prepared], 2),
        ([Committed, Prepared], 2),
        ([Prepared, Committed], 2),
        ([Aborted, Prepared], 0),
        ([Prepared, Aborted], 0),
    ];
    for (i, (states, expected)) in cases.into_iter().enumerate() {
        let entry = format!("case {i}");
        drop(scene.leave(&entry, i as u32, states));
        let open = states.iter().filter(|s| **s == Prepared).count();
        assert_eq!(scene.seen(&entry).1, open, "{states:?}");
        assert_eq!(scene.recover(), open.to_string(), "{states:?}");
        assert_eq!(scene.seen(&entry), (expected, 0), "{states:?}");
    }
}

#[test]
fn a_part_that_still_runs_is_waited_for() {
    let mut scene = Scene::new("peers_wait");
    let mut parts = scene.leave("slow", 7, [Left::Prepared, Left::Running]);
    assert_eq!(scene.recover(), "0");
    assert_eq!(scene.seen("slow"), (0, 1));
    parts[1].session.run("ROLLBACK");
    assert_eq!(scene.recover(), "1");
    assert_eq!(scene.seen("slow"), (0, 0));

    let parts = scene.leave("lost", 8, [Left::Running, Left::Prepared]);
    assert_eq!(scene.recover(), "0");
    // Its session ends without having prepared.
    drop(parts);
    for _ in 0..1500 {
        if scene.recover() == "1" {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(scene.seen("lost"), (0, 0));
}

/// A session that is taking a part back, as one whose coordinator gave up while it waited: that all are
/// prepared decides nothing while it is there. One that is idle is ended.
#[test]
fn sessions_that_hold_a_part_are_waited_for_or_ended() {
    let mut scene = Scene::new("peers_held");
    let worker = &CLUSTER.workers[1];
    let names = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
    drop(scene.leave("held", 5, [Left::Prepared, Left::Prepared]));
    let gid = worker.connect(&scene.database).value(names);
    // Its rollback waits for a standby that is not there.
    let mut holder = worker.connect(&scene.database);
    let mut look = worker.connect("postgres");
    let mut set = |name: &str, value: &str| {
        look.run(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        look.run("SELECT pg_reload_conf()");
        while look.value(&format!("SHOW {name}")) != value {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // Not those of other tests.
    set("synchronous_commit", "off");
    holder.run("SET synchronous_commit = on");
    set("synchronous_standby_names", "nobody");
    worker.wait_sync();
    holder.send(&format!("ROLLBACK PREPARED '{gid}'")).expect("it is sent");
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = {}",
        holder.pid
    );
    while look.value(&waits) == "0" {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(scene.recover(), "0");
    assert_eq!(scene.seen("held").0, 0);
    look.run("ALTER SYSTEM RESET synchronous_standby_names");
    look.run("SELECT pg_reload_conf()");
    holder.receive().expect("it is taken back");
    assert_eq!(scene.recover(), "1");
    assert_eq!(scene.seen("held"), (0, 0));

    // Nobody waits for a session that does nothing. (That of a process which is not of this server would
    // be left alone for a while.)
    let pid = scene.coordinator.value("SELECT pg_backend_pid()");
    scene.base = scene.base.replace("_1_3", &format!("_{pid}_3"));
    drop(scene.leave("idle", 6, [Left::Prepared, Left::Prepared]));
    let gid = worker.connect(&scene.database).value(names);
    let mut holder = worker.connect(&scene.database);
    let _ = holder.simple(&format!("PREPARE TRANSACTION '{gid}'"));
    assert_eq!(scene.recover(), "2");
    assert_eq!(scene.seen("idle"), (2, 0));
    assert!(holder.simple("SELECT 1").is_err());
}

/// The same on a node that does not tell what its sessions do.
#[test]
fn sessions_may_hold_a_part_where_nothing_is_told() {
    let mut scene = Scene::new("peers_silent");
    let mut session = CLUSTER.workers[1].connect("postgres");
    session.run(&format!("ALTER DATABASE {} SET track_activities = off", scene.database));
    let mut parts = scene.leave("silent", 5, [Left::Prepared, Left::Prepared]);
    // Clients prepare nothing that other nodes take part in.
    assert_eq!(scene.recover(), "2");
    assert_eq!(scene.seen("silent"), (2, 0));
    drop(parts);
    parts = scene.leave("of a node", 6, [Left::Prepared, Left::Prepared]);
    parts[1].session.run("SET application_name = 'citus_internal gpid=1'");
    assert_eq!(scene.recover(), "0");
    assert_eq!(scene.seen("of a node"), (0, 2));
    drop(parts.remove(1));
    // The session of another that began later has nothing to do with it.
    let mut later = CLUSTER.workers[1].connect(&scene.database);
    later.run("SELECT 1");
    for _ in 0..1500 {
        if scene.recover() == "2" {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(scene.seen("of a node"), (2, 0));
}

/// Who decides is named by process and by number of its transaction since the server's start.
#[test]
fn a_coordinator_at_work_is_waited_for() {
    let mut scene = Scene::new("peers_work");
    let mut work = CLUSTER.connect(&scene.database);
    work.run("BEGIN");
    let pid = work.value("SELECT pg_backend_pid()");
    let of_old = scene.base.clone();
    let named = |pid: &str, number: &str| {
        of_old.replace("_1_3", &format!("_{pid}_{}", forged::short(number)))
    };
    // An earlier transaction of the same process, and the same number after another start.
    let number = "SELECT (
                (floor(extract(epoch FROM pg_postmaster_start_time()))::bigint - 946684800 + OTHER)
                << 32)
            + split_part(virtualtransaction, '/', 2)::bigint + LATER
        FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'virtualxid' AND granted";
    let mut number = |other: &str, later: &str| {
        work.value(&number.replace("OTHER", other).replace("LATER", later))
    };
    let (own, earlier, before) = (number("0", "0"), number("0", "-1"), number("-7", "0"));
    let others = [(pid.as_str(), &earlier), (pid.as_str(), &before), ("1", &own)];
    for (i, (pid, number)) in others.into_iter().enumerate() {
        scene.base = named(pid, number);
        let entry = format!("other {i}");
        drop(scene.leave(&entry, i as u32, [Left::Prepared, Left::Prepared]));
        assert_eq!(scene.recover(), "2");
        assert_eq!(scene.seen(&entry), (2, 0));
    }
    scene.base = named(&pid, &own);
    drop(scene.leave("own", 9, [Left::Prepared, Left::Prepared]));
    assert_eq!(scene.recover(), "0");
    assert_eq!(scene.seen("own"), (0, 2));
    work.run("COMMIT");
    assert_eq!(scene.recover(), "2");
    assert_eq!(scene.seen("own"), (2, 0));
}

/// Ids are scarce (a server has to look at all its rows before they come round), and each costs a
/// record of the commit.
#[test]
fn a_commit_over_nodes_takes_no_id_here() {
    let mut c = table(&CLUSTER.database("peers_id"));
    let (a, b) = two_nodes(&mut c);
    let commit = format!(
        "BEGIN; UPDATE t SET v = 1 WHERE k = {a}; UPDATE t SET v = 1 WHERE k = {b}; COMMIT"
    );
    let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    // Others on this server take ids, too, but not all the time.
    let none = (0..100).any(|_| {
        let before = c.value(next);
        c.run(&commit);
        c.value(next) == before
    });
    assert!(none, "every commit has taken an id");
}

#[test]
fn a_node_that_leaves_is_asked_before() {
    use Left::{Aborted, Committed, Prepared};
    let states = [([Committed, Prepared], 2), ([Aborted, Prepared], 0), ([Prepared, Prepared], 2)];
    for (i, (states, expected)) in states.into_iter().enumerate() {
        let mut scene = Scene::new(&format!("peers_leave{i}"));
        drop(scene.leave("left", i as u32, states));
        let port = CLUSTER.workers[0].port;
        scene.coordinator.run(&format!("SELECT citus_remove_node('127.0.0.1', {port})"));
        assert_eq!(scene.seen("left"), (expected, 0), "{states:?}");
    }
}

/// Rows of `t` on both nodes under keys that lie on different nodes.
fn two_nodes(c: &mut Conn) -> (String, String) {
    let key = |c: &mut Conn, n: usize| {
        let port = CLUSTER.workers[n].port;
        c.value(&format!(
            "SELECT min(k) FROM generate_series(1, 100) k JOIN pg_dist_shard_placement p
             ON p.shardid = get_shard_id_for_distribution_column('t', k) WHERE nodeport = {port}"
        ))
    };
    (key(c, 0), key(c, 1))
}

fn table(database: &str) -> Conn {
    let mut c = CLUSTER.connect(database);
    c.run(
        "CREATE TABLE t (k int PRIMARY KEY, v int);
         SELECT create_distributed_table('t', 'k', shard_count := 4);
         INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i;",
    );
    c
}

#[test]
fn a_commit_over_nodes_leaves_no_decision_in_the_log() {
    let name = CLUSTER.database("peers_log");
    let mut c = table(&name);
    let (a, b) = two_nodes(&mut c);
    // The table was made with changes here, too.
    c.run("SELECT recover_prepared_transactions()");
    c.run(&format!(
        "BEGIN; UPDATE t SET v = 1 WHERE k = {a}; UPDATE t SET v = 1 WHERE k = {b}; COMMIT"
    ));
    c.run("UPDATE t SET v = v + 1");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_transaction"), "0");
    assert_eq!(c.value("SELECT sum(v) FROM t"), "102");
    // With a change of its own the coordinator decides, and its log tells.
    c.run("CREATE TABLE here (i int)");
    c.run("BEGIN; INSERT INTO here VALUES (1); UPDATE t SET v = 0; COMMIT");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_transaction"), "2");
    c.run("SELECT recover_prepared_transactions()");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_transaction"), "0");
    assert_eq!(c.value("SELECT sum(v) FROM t"), "0");
}

/// A node tells the id of its transaction when it writes; one that found nothing to write is asked.
#[test]
fn a_node_that_has_written_nothing_is_asked_for_its_id() {
    let name = CLUSTER.database("peers_nothing");
    let mut c = table(&name);
    let (a, b) = two_nodes(&mut c);
    c.run("SELECT recover_prepared_transactions()");
    for _ in 0..3 {
        c.run(&format!(
            "BEGIN; UPDATE t SET v = v + 1 WHERE k = {a} AND v < 0;
             UPDATE t SET v = v + 1 WHERE k = {b}; COMMIT"
        ));
        // The id of a transaction that was taken back is not the next one's.
        c.run(&format!(
            "BEGIN; UPDATE t SET v = v + 1 WHERE k = {a}; UPDATE t SET v = v + 1 WHERE k = {b};
             ROLLBACK"
        ));
        c.run(&format!(
            "BEGIN; SAVEPOINT s; UPDATE t SET v = v + 1 WHERE k = {b}; ROLLBACK TO s;
             UPDATE t SET v = v + 1 WHERE k = {a}; COMMIT"
        ));
    }
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {a}")), "3");
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {b}")), "3");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_transaction"), "0");
    for w in &CLUSTER.workers {
        let sql = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        assert_eq!(w.connect(&name).value(sql), "0");
    }
}

#[test]
fn a_part_that_fails_to_prepare_takes_all_back() {
    let name = CLUSTER.database("peers_fail");
    let mut c = CLUSTER.connect(&name);
    c.run(
        "CREATE TABLE t (k int, v int, UNIQUE (k, v) DEFERRABLE INITIALLY DEFERRED);
         SELECT create_distributed_table('t', 'k', shard_count := 4);",
    );
    let (a, b) = two_nodes(&mut c);
    c.run(&format!("INSERT INTO t VALUES ({b}, 1)"));
    c.run(&format!("BEGIN; INSERT INTO t VALUES ({a}, 1); INSERT INTO t VALUES ({b}, 1)"));
    match c.simple("COMMIT") {
        Err(Error::Server(e)) => assert_eq!(e.code, "23505", "{e:?}"),
        other => panic!("the constraint should have failed: {other:?}"),
    }
    assert_eq!(c.value("SELECT count(*) FROM t"), "1");
    let left: usize = CLUSTER
        .workers
        .iter()
        .map(|w| {
            let sql = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
            w.connect(&name).value(sql).parse::<usize>().expect("a count")
        })
        .sum();
    assert_eq!(left, 0);
    c.run(&format!("INSERT INTO t VALUES ({a}, 2)"));
}
