//! A commit that is held between its nodes, and those who read meanwhile.

use super::{server_error, Late, Scene, CLUSTER, SUM};
use citus_tests::client::Conn;
use std::time::{Duration, Instant};

/// What begins a read as of one moment, and what ends it.
const WAYS: [(&str, &str); 3] = [
    ("BEGIN ISOLATION LEVEL REPEATABLE READ", "COMMIT"),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "COMMIT"),
    ("SET citus.consistent_reads = on", "RESET citus.consistent_reads"),
];

fn ended(scene: &Scene) -> Conn {
    let mut c = scene.connect();
    for w in &CLUSTER.workers {
        let sql = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        assert_eq!(w.connect(&scene.name).value(sql), "0");
    }
    assert_eq!(c.value(SUM), "4");
    c
}

#[test]
fn readers_wait_for_the_second_node() {
    let scene = Scene::new("gate_wait");
    let mut old = scene.connect();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    // One node's row is enough: the snapshot is on all.
    assert_eq!(old.value(&format!("SELECT v FROM t WHERE k = {}", scene.keys[0][0])), "0");
    let commit = scene.half_commit();
    // Positive control: without, half of it is seen.
    let mut torn = scene.connect();
    assert_eq!(torn.value(SUM), "2");
    torn.run("SET citus.consistent_reads = off; BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(torn.value(SUM), "2");
    let mut waiting = Vec::new();
    for (begin, end) in WAYS {
        let mut c = scene.connect();
        waiting.push(Late::start(move || {
            c.run(begin);
            let sum = c.value(SUM);
            c.run(end);
            sum
        }));
    }
    waiting.iter().for_each(|w| w.still_runs(700));
    assert_eq!(old.value(SUM), "0");
    scene.way.hold(None);
    assert!(commit.end().is_ok());
    for w in waiting {
        assert_eq!(w.end(), "4");
    }
    assert_eq!(old.value(SUM), "0");
    old.run("COMMIT");
    ended(&scene);
}

/// A key on the first node that no test changes.
fn first_free(scene: &Scene) -> String {
    let taken = &scene.keys[0];
    let sql = format!(
        "SELECT min(k) FROM generate_series(1, 1000) k WHERE k NOT IN ({}, {}) AND
         get_shard_id_for_distribution_column('t', k)
             = get_shard_id_for_distribution_column('t', {0})",
        taken[0], taken[1]
    );
    scene.connect().value(&sql)
}

#[test]
fn commits_go_on_while_one_waits_for_its_node() {
    let scene = Scene::new("gate_slow");
    let commit = scene.half_commit();
    let mut other = scene.connect();
    other.run("CREATE TABLE here (v int)");
    let reader = {
        let mut c = scene.connect();
        Late::start(move || {
            c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
            c.value(SUM)
        })
    };
    reader.still_runs(300);
    // The one inside the gate leaves it after a second: others pass, though a reader waits.
    let began = Instant::now();
    for _ in 0..5 {
        other.run("BEGIN; INSERT INTO here VALUES (1)");
        other.run("INSERT INTO t SELECT 100000 + i, 0 FROM generate_series(1, 20) i");
        other.run("DELETE FROM t WHERE k > 100000; ROLLBACK");
        other.run("BEGIN; INSERT INTO here VALUES (1)");
        let free = format!("UPDATE t SET v = v WHERE k = {}", first_free(&scene));
        other.run(&format!("{free}; COMMIT"));
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    reader.still_runs(100);
    scene.way.hold(None);
    assert!(commit.end().is_ok());
    assert_eq!(reader.end(), "4");
    ended(&scene);
}

#[test]
fn a_cancelled_reader_leaves_the_gate() {
    let scene = Scene::new("gate_cancel");
    let commit = scene.half_commit();
    let mut c = scene.connect();
    let canceller = c.canceller();
    let began = Instant::now();
    let reader = Late::start(move || {
        c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        (server_error(c.simple(SUM)).code, c)
    });
    reader.still_runs(200);
    canceller.fire().expect("a request to cancel");
    let (code, mut c) = reader.end();
    assert_eq!(code, "57014");
    assert!(began.elapsed() < Duration::from_secs(30));
    c.run("ROLLBACK");
    for (setting, code) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        let began = Instant::now();
        c.run(&format!("SET {setting} = '200ms'; BEGIN ISOLATION LEVEL REPEATABLE READ"));
        assert_eq!(server_error(c.simple(SUM)).code, code);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        c.run(&format!("ROLLBACK; RESET {setting}"));
    }
    // A savepoint keeps the transaction, which begins on the nodes with its next statement.
    c.run("SET lock_timeout = '200ms'; BEGIN ISOLATION LEVEL REPEATABLE READ; SAVEPOINT s");
    assert_eq!(server_error(c.simple(SUM)).code, "55P03");
    c.run("ROLLBACK TO s");
    scene.way.hold(None);
    assert!(commit.end().is_ok());
    assert_eq!(c.value(SUM), "4");
    c.run("COMMIT");
    ended(&scene);
}

#[test]
fn those_who_are_killed_leave_the_gate() {
    let scene = Scene::new("gate_kill");
    // A reader that waits.
    let commit = scene.half_commit();
    let mut c = scene.connect();
    let pid = c.pid;
    let reader = Late::start(move || {
        c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        c.simple(SUM).map(|_| ())
    });
    reader.still_runs(200);
    let mut admin = scene.connect();
    admin.run(&format!("SELECT pg_terminate_backend({pid})"));
    assert_eq!(server_error(reader.end()).code, "57P01");
    scene.way.hold(None);
    assert!(commit.end().is_ok());
    // A committer inside, whose node does not answer: readers wait until it is asked again.
    let mut c = scene.connect();
    let pid = c.pid;
    scene.change(&mut c);
    scene.way.hold(Some("COMMIT PREPARED"));
    let commit = Late::start(move || c.simple("COMMIT").map(|_| ()));
    scene.way.await_held(1);
    admin.run(&format!("SELECT pg_terminate_backend({pid})"));
    let _ = commit.end();
    let mut c = scene.connect();
    let reader = Late::start(move || {
        c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        c.value(SUM)
    });
    reader.still_runs(300);
    scene.way.hold(None);
    admin.run("SELECT recover_prepared_transactions()");
    assert_eq!(reader.end(), "8");
}

#[test]
fn a_reader_inside_keeps_commits_for_a_second_only() {
    let scene = Scene::new("gate_taker");
    // The second node is slow to take its snapshot.
    scene.way.hold(Some("SELECT 1"));
    let mut c = scene.connect();
    let began = Instant::now();
    let reader = Late::start(move || {
        c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        c.value(SUM)
    });
    scene.way.await_held(1);
    let mut w = scene.connect();
    scene.change(&mut w);
    w.run("COMMIT");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    reader.still_runs(100);
    scene.way.hold(None);
    // It has begun again, after the commit.
    assert_eq!(reader.end(), "4");
}
