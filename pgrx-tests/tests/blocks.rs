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

/// Waits until none is: the end of one that has only read is not waited for.
#[track_caller]
fn none_open(database: &str) {
    until("transactions are open on nodes", || open(database) == 0);
}

#[track_caller]
fn until(otherwise: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "{otherwise}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a session works for this database on a worker, and sleeps.
fn sleeps(worker: usize, database: &str) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event = 'PgSleep'";
    CLUSTER.workers[worker].connect(database).value(sql) != "0"
}

#[test]
fn an_idle_transaction_ends_on_all_nodes() {
    let (name, mut c) = database("idle");
    c.run("BEGIN; UPDATE t SET v = 'new'");
    assert_eq!(open(&name), 2);
    c.run("SET idle_in_transaction_session_timeout = '400ms'");
    none_open(&name);
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
    none_open(&name);
}

fn code(c: &mut Conn, sql: &str) -> String {
    c.simple(sql).err().map_or("none".into(), |e| e.code().to_owned())
}

#[test]
fn an_error_of_a_cursor_is_its_own() {
    let (name, mut c) = database("cursors");
    let count = |c: &mut Conn, v: &str| c.value(&format!("SELECT count(*) FROM t WHERE v = '{v}'"));
    let open_cursor = "DECLARE c CURSOR FOR SELECT k / (k - 20) FROM t";
    // Caught by a savepoint that began after the cursor: what was done before goes on.
    c.run(&format!("BEGIN; UPDATE t SET v = 'a' WHERE k <= 50; {open_cursor}; SAVEPOINT s"));
    assert_eq!(code(&mut c, "FETCH ALL FROM c"), "22012");
    c.run("ROLLBACK TO s; UPDATE t SET v = 'b' WHERE k > 90; COMMIT");
    assert_eq!([count(&mut c, "a"), count(&mut c, "b")], ["50", "10"]);
    // Others need its sessions: they go on, and it fails when it is read that far.
    c.run(&format!("BEGIN; {open_cursor}; FETCH 1 FROM c; SAVEPOINT s"));
    c.run("UPDATE t SET v = 'c' WHERE k <= 4; ROLLBACK TO s");
    c.run("SAVEPOINT s2; UPDATE t SET v = 'd' WHERE k <= 5; RELEASE s2; SAVEPOINT s3");
    assert_eq!(code(&mut c, "FETCH ALL FROM c"), "22012");
    c.run("ROLLBACK TO s3; COMMIT");
    assert_eq!([count(&mut c, "c"), count(&mut c, "d")], ["0", "5"]);
    // Closed before it gets there, its sessions used or not.
    c.run(&format!("BEGIN; {open_cursor}; FETCH 1 FROM c; UPDATE t SET v = 'e' WHERE k <= 6"));
    c.run("CLOSE c; COMMIT");
    c.run(&format!("BEGIN; UPDATE t SET v = 'f' WHERE k = 7; {open_cursor}; FETCH 1 FROM c"));
    c.run("CLOSE c; UPDATE t SET v = 'f' WHERE k = 8; COMMIT");
    assert_eq!([count(&mut c, "e"), count(&mut c, "f")], ["6", "2"]);
    // In a block of PL/pgSQL, which has not begun a transaction there.
    c.run(
        "DO $$ DECLARE c refcursor; x int; BEGIN
             OPEN c FOR SELECT k / (k - 20) FROM t;
             BEGIN LOOP FETCH c INTO x; EXIT WHEN NOT FOUND; END LOOP; RAISE 'not failed';
             EXCEPTION WHEN division_by_zero THEN NULL; END;
             IF (SELECT count(*) FROM t) <> 100 THEN RAISE 'rows are missing'; END IF;
         END $$",
    );
    // Savepoints around, between and after two cursors that stream at the same time.
    c.run("BEGIN; DECLARE one CURSOR FOR SELECT k FROM t; FETCH 1 FROM one; SAVEPOINT s");
    c.run("DECLARE two CURSOR FOR SELECT k FROM t; FETCH 1 FROM two; RELEASE s; SAVEPOINT s4");
    c.run("FETCH 1 FROM one; UPDATE t SET v = 'g' WHERE k <= 9; ROLLBACK TO s4");
    c.run("UPDATE t SET v = 'h' WHERE k <= 10");
    let left = |c: &mut Conn, name: &str| c.rows(&format!("FETCH ALL FROM {name}")).len();
    assert_eq!([left(&mut c, "one"), left(&mut c, "two")], [98, 99]);
    c.run("COMMIT");
    assert_eq!([count(&mut c, "g"), count(&mut c, "h")], ["0", "10"]);
    none_open(&name);
}

/// A key for each worker whose row is there.
fn apart(c: &mut Conn) -> [String; 2] {
    [0, 1].map(|w| {
        c.value(&format!(
            "SELECT min(k) FROM generate_series(1, 100) k JOIN pg_dist_shard_placement p
             ON p.shardid = get_shard_id_for_distribution_column('t', k)
             WHERE nodeport = {}",
            CLUSTER.workers[w].port
        ))
    })
}

/// The second worker takes so many seconds for the commit of what changes this row.
fn slow_down(c: &mut Conn, database: &str, key: &str, seconds: u32) {
    let shard = c.value(&format!("SELECT get_shard_id_for_distribution_column('t', {key})"));
    CLUSTER.workers[1].connect(database).run(&format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON t_{shard}
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
    ));
}

#[test]
fn what_a_lost_node_has_done_by_itself_is_not_known() {
    let (name, mut c) = database("unknown");
    let [_, key] = apart(&mut c);
    slow_down(&mut c, &name, &key, 60);
    let sql = format!("UPDATE t SET v = 'new' WHERE k = {key}");
    for sql in [&sql, &format!("BEGIN; {sql}; COMMIT")] {
        let (mut c, sql) = (CLUSTER.connect(&name), sql.clone());
        let waiting = std::thread::spawn(move || c.simple(&sql).unwrap_err());
        until("the node does not commit", || sleeps(1, &name));
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND state = 'active'
                    AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        assert_eq!(CLUSTER.workers[1].connect(&name).value(kill), "1");
        let e = waiting.join().unwrap();
        assert_eq!(e.code(), "08007", "{e}");
        let node = format!("127.0.0.1:{}", CLUSTER.workers[1].port);
        assert!(e.to_string().contains(&node), "{e}");
    }
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {key}")), "old");
}

#[test]
fn locks_last_until_what_was_written_is_visible() {
    let (name, mut c) = database("locks");
    let [lock, write] = apart(&mut c);
    c.run("CREATE TABLE here (k int)");
    slow_down(&mut c, &name, &write, 3);
    let mut other = CLUSTER.connect(&name);
    let take = format!("SELECT v FROM t WHERE k = {lock} FOR UPDATE NOWAIT");
    // One node decides; the commit here decides; all take part in what decides.
    for (level, also) in [
        ("READ COMMITTED", ""),
        ("READ COMMITTED", "INSERT INTO here VALUES (1)"),
        ("SERIALIZABLE", "INSERT INTO here VALUES (1)"),
    ] {
        let mut c = CLUSTER.connect(&name);
        c.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        c.run(&format!("SELECT FROM t WHERE k = {lock} FOR UPDATE"));
        c.run(&format!("UPDATE t SET v = v || '+' WHERE k = {write}; {also}"));
        let committing = std::thread::spawn(move || c.run("COMMIT"));
        until("the node does not commit", || sleeps(1, &name));
        assert_eq!(code(&mut other, &take), "55P03", "{level} {also}");
        committing.join().unwrap();
        assert_eq!(code(&mut other, &take), "none", "{level} {also}");
    }
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {write}")), "old+++");
    // A lock that is lost has protected nothing.
    c.run(&format!(
        "BEGIN; SELECT FROM t WHERE k = {lock} FOR UPDATE; INSERT INTO here VALUES (2)"
    ));
    let kill = "SELECT bool_and(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
                WHERE datname = current_database() AND state = 'idle in transaction'";
    assert_eq!(CLUSTER.workers[0].connect(&name).value(kill), "t");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(code(&mut c, "COMMIT"), "08006");
    assert_eq!(c.value("SELECT count(*) FROM here WHERE k = 2"), "0");
    // Nor would it last until COMMIT PREPARED.
    c.run(&format!("BEGIN; SELECT FROM t WHERE k = {lock} FOR UPDATE"));
    assert_eq!(code(&mut c, "PREPARE TRANSACTION 'locks'"), "0A000");
    assert_eq!(code(&mut other, &take), "none");
}

/// Who was told of the end of a transaction may take its locks at once.
#[test]
fn locks_are_free_when_a_rollback_is_told() {
    let (name, mut c) = database("free");
    let mut other = CLUSTER.connect(&name);
    other.run("SELECT count(*) FROM t");
    let all = "SELECT FROM t WHERE k <= 20 FOR UPDATE";
    let take = "SELECT v FROM t WHERE k = 7 FOR UPDATE NOWAIT";
    let mut early = std::collections::BTreeMap::new();
    for (held, end, told) in [
        (all, "ROLLBACK", "none"),
        ("UPDATE t SET v = 'x' WHERE k <= 20", "ROLLBACK", "none"),
        (all, "PREPARE TRANSACTION 'free'", "0A000"),
        (all, "SELECT 1 / 0", "22012"),
        (all, "INSERT INTO t VALUES (7)", "23505"),
        (all, "UPDATE t SET v = 1 / (k - 9)", "22012"),
        (all, "SELECT 1 / (k - 9) FROM t", "22012"),
        (&format!("SAVEPOINT s; {all}"), "ROLLBACK TO s", "none"),
        (&format!("SAVEPOINT s; {all}"), "INSERT INTO t VALUES (7)", "23505"),
    ] {
        for _ in 0..60 {
            c.run(&format!("BEGIN; {held}"));
            assert_eq!(code(&mut c, end), told, "{end}");
            match code(&mut other, take).as_str() {
                "none" => {}
                "55P03" => *early.entry(end).or_insert(0) += 1,
                e => panic!("{e}"),
            }
            c.run("ROLLBACK");
        }
    }
    assert!(early.is_empty(), "too early: {early:?}");
}

/// What one node refuses is told while another is busy, whose work is stopped.
#[test]
fn the_first_failure_of_a_node_is_told() {
    let (name, mut c) = database("first");
    let [bad, slow] = apart(&mut c);
    let f = format!(
        "CREATE FUNCTION f(k int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF k = {bad} THEN RAISE division_by_zero; END IF;
             IF k = {slow} THEN PERFORM pg_sleep(20); END IF;
             RETURN k;
         END $$"
    );
    c.run(&f);
    CLUSTER.workers.iter().for_each(|w| w.connect(&name).run(&f));
    for sql in [
        "CREATE INDEX ON t (f(k))",
        "ALTER TABLE t ADD CHECK (f(k) > 0)",
        "ALTER TABLE t ALTER v TYPE int USING f(k)",
    ] {
        for block in ["", "BEGIN; SAVEPOINT s; "] {
            let start = Instant::now();
            assert_eq!(code(&mut c, &format!("{block}{sql}")), "22012", "{block}{sql}");
            assert!(start.elapsed() < Duration::from_secs(10), "{block}{sql}");
            if !block.is_empty() {
                c.run("ROLLBACK TO s; UPDATE t SET v = 'x'; COMMIT");
            }
        }
    }
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'x'"), "100");
    let asleep = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event = 'PgSleep'";
    assert_eq!(CLUSTER.workers[1].connect(&name).value(asleep), "0");
}
