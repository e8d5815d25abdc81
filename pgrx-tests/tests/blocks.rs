//! What a client cannot see by itself of its transaction's end, on the nodes.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

fn database(stem: &str) -> (String, Conn) {
    let name = CLUSTER.database(stem);
    let mut c = CLUSTER.connect(&name);
    c.run(
        "CREATE TABLE t (k int PRIMARY KEY, v text);
         SELECT create_distributed_table('t', 'k', shard_count := 4);
         INSERT INTO t SELECT i, 'old' FROM generate_series(1, 100) i;",
    );
    (name, c)
}

/// Transactions that are open on the workers in a database.
fn open(database: &str) -> usize {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
               AND backend_type = 'client backend' AND xact_start IS NOT NULL
               AND pid <> pg_backend_pid()";
    CLUSTER.workers.iter().map(|w| w.connect(database).rows(sql).len()).sum()
}

#[test]
fn an_idle_transaction_ends_on_all_nodes() {
    let (name, mut c) = database("idle");
    c.run("SET idle_in_transaction_session_timeout = '400ms'; BEGIN; UPDATE t SET v = 'new'");
    assert_eq!(open(&name), 2);
    let end = Instant::now() + Duration::from_secs(60);
    while open(&name) > 0 {
        assert!(Instant::now() < end, "transactions are open on nodes");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        c.simple("SELECT 1").map(|_| ()).map_err(|e| e.code().to_owned()),
        Err("25P03".into())
    );
    // The locks are gone, too.
    let mut other = CLUSTER.connect(&name);
    other.run("SET lock_timeout = '5s'; UPDATE t SET v = v || '!'");
    assert_eq!(other.value("SELECT DISTINCT v FROM t"), "old!");
}

#[test]
fn locks_of_applications_are_taken_here() {
    let (name, mut c) = database("advisory");
    let mut other = CLUSTER.connect(&name);
    // One row of one shard, some rows of several.
    c.run("SELECT pg_advisory_lock(1) FROM t WHERE k = 1");
    c.run("BEGIN; SELECT pg_advisory_xact_lock(k) FROM t WHERE k IN (2, 3, 4)");
    c.run("UPDATE t SET v = 'locked' WHERE k = 5 RETURNING pg_advisory_xact_lock(k)");
    let free = "SELECT string_agg(i::text, ',' ORDER BY i) FROM generate_series(1, 6) i
                WHERE pg_try_advisory_xact_lock(i)";
    assert_eq!(other.value(free), "6");
    for w in &CLUSTER.workers {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
                    (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(w.connect(&name).value(held), "0");
    }
    c.run("ROLLBACK");
    assert_eq!(other.value(free), "2,3,4,5,6");
    assert_eq!(c.value("SELECT pg_advisory_unlock(1) FROM t WHERE k = 77"), "t");
    assert_eq!(other.value(free), "1,2,3,4,5,6");
}

#[test]
fn a_hundred_savepoints_are_not_left_on_nodes() {
    let (name, mut c) = database("savepoints");
    c.run("BEGIN");
    for i in 1..=100 {
        c.run(&format!("SAVEPOINT s{i}; UPDATE t SET v = 's{i}' WHERE k = {i}"));
    }
    c.run("ROLLBACK TO s51; RELEASE s1; UPDATE t SET v = 'end' WHERE k = 100; COMMIT");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v LIKE 's%'"), "50");
    assert_eq!(c.value("SELECT v FROM t WHERE k = 100"), "end");
    // A procedure of many short blocks keeps nothing from one to the next.
    c.run(
        "DO $$ BEGIN FOR i IN 1..300 LOOP
             BEGIN
                 UPDATE t SET v = 'loop' WHERE k = i % 100 + 1;
                 IF i % 2 = 0 THEN RAISE division_by_zero; END IF;
             EXCEPTION WHEN division_by_zero THEN NULL; END;
         END LOOP; END $$",
    );
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'loop'"), "50");
    assert_eq!(open(&name), 0);
}
