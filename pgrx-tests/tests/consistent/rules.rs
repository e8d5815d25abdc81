//! What a session may do around its consistent reads, and what it sees of itself.

use super::{server_error, Late, Scene, CLUSTER, SUM};
use citus_tests::client::Conn;

/// Another session adds 1 everywhere.
fn another(scene: &Scene) {
    let mut c = scene.connect();
    scene.change(&mut c);
    c.run("COMMIT");
}

#[test]
fn a_transaction_has_one_snapshot_everywhere() {
    let scene = Scene::new("rules_rr");
    let mut c = scene.connect();
    let second = format!("SELECT v FROM t WHERE k = {}", scene.keys[1][0]);
    c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {}", scene.keys[0][0])), "0");
    another(&scene);
    assert_eq!((c.value(&second), c.value(SUM)), ("0".into(), "0".into()));
    // Its own changes are seen, before and after savepoints.
    c.run("INSERT INTO t SELECT 100000 + i, 10 FROM generate_series(1, 20) i");
    assert_eq!(c.value(SUM), "200");
    c.run("SAVEPOINT s; UPDATE t SET v = 11 WHERE k > 100000");
    assert_eq!(c.value(SUM), "220");
    c.run("ROLLBACK TO s");
    assert_eq!(c.value(SUM), "200");
    // A row that another one has changed.
    let e = server_error(c.simple(&format!("UPDATE t SET v = 5 WHERE k = {}", scene.keys[1][0])));
    assert_eq!(e.code, "40001");
    c.run("ROLLBACK TO s; COMMIT");
    assert_eq!(c.value(SUM), "204");
    // Positive control.
    c.run("SET citus.consistent_reads = off; BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {}", scene.keys[0][0])), "1");
    another(&scene);
    assert_eq!(c.value(&second), "2");
}

#[test]
fn a_single_read_of_one_node_asks_no_other() {
    let scene = Scene::new("rules_once");
    let mut c = scene.connect();
    c.run("SET default_transaction_isolation = 'repeatable read'");
    let first = format!("SELECT v FROM t WHERE k = {}", scene.keys[0][0]);
    assert_eq!(c.value(SUM), "0");
    // Were the second node asked, it would not answer.
    scene.way.hold(Some("SELECT 1"));
    assert_eq!(c.value(&first), "0");
    let reader = Late::start(move || c.value(SUM));
    reader.still_runs(200);
    scene.way.hold(None);
    assert_eq!(reader.end(), "0");
}

/// With the setting, a statement reads its tasks as of one moment, also on one node.
#[test]
fn tasks_of_a_statement_share_a_snapshot() {
    let scene = Scene::new("rules_tasks");
    let [a, b] = &scene.keys[0];
    let [x, y] = &scene.keys[1];
    for keys in [format!("{a}, {b}"), format!("{a}, {b}, {x}, {y}")] {
        // The first task of a node takes some time, in which another one changes both shards.
        let torn = |setting: &str| {
            let mut c = scene.connect();
            c.run(&format!("SET citus.consistent_reads = {setting}"));
            c.value(SUM);
            let sql = format!(
                "SELECT v, length(md5(repeat(v::text, 80000000))) FROM t WHERE k IN ({keys})"
            );
            let reader = Late::start(move || c.rows(&sql));
            std::thread::sleep(std::time::Duration::from_millis(80));
            another(&scene);
            let mut seen: Vec<_> = reader.end().into_iter().map(|r| r[0].clone()).collect();
            seen.sort();
            seen.dedup();
            seen.len() > 1
        };
        assert!((0..40).any(|_| torn("repeatable_read")), "positive control: {keys}");
        assert!(!(0..3).any(|_| torn("on")), "{keys}");
    }
}

#[test]
fn a_statement_sees_its_own_transaction() {
    let scene = Scene::new("rules_own");
    let mut c = scene.connect();
    c.run("SET citus.consistent_reads = on; BEGIN; UPDATE t SET v = 10");
    assert_eq!(c.value(SUM), "40");
    c.run("SAVEPOINT s; UPDATE t SET v = 20");
    assert_eq!(c.value(SUM), "80");
    c.run("ROLLBACK TO s");
    assert_eq!(c.value(SUM), "40");
    c.run(&format!("UPDATE t SET v = 11 WHERE k = {}", scene.keys[1][1]));
    // A single shard reads what is there now, not what was held.
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {}", scene.keys[1][1])), "11");
    assert_eq!(c.value(SUM), "41");
    c.run("COMMIT");
    // Each statement sees what was committed before it.
    c.run("BEGIN");
    assert_eq!(c.value(SUM), "41");
    another(&scene);
    assert_eq!(c.value(SUM), "45");
    // After an error in a subtransaction nothing of the old snapshot is left.
    c.run("SAVEPOINT s");
    assert_eq!(server_error(c.simple("SELECT sum(1 / (v - v)) FROM t")).code, "22012");
    c.run("ROLLBACK TO s");
    another(&scene);
    assert_eq!(c.value(SUM), "49");
    c.run("COMMIT");
}

#[test]
fn cursors_keep_what_they_began_with() {
    let scene = Scene::new("rules_cursor");
    let mut c = scene.connect();
    c.run("SET citus.consistent_reads = on; BEGIN; DECLARE a CURSOR FOR SELECT v FROM t");
    another(&scene);
    c.run("DECLARE b CURSOR FOR SELECT v FROM t");
    another(&scene);
    let all = |c: &mut Conn, name: &str| {
        let rows = c.rows(&format!("FETCH ALL FROM {name}"));
        rows.into_iter().map(|r| r[0].clone().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(c.value(SUM), "8");
    assert_eq!(all(&mut c, "a"), ["0"; 4]);
    assert_eq!(all(&mut c, "b"), ["1"; 4]);
    assert_eq!(c.value(SUM), "8");
    c.run("CLOSE a; COMMIT");
}

#[test]
fn other_statements_that_read() {
    let scene = Scene::new("rules_forms");
    let mut c = scene.connect();
    c.run(
        "CREATE TABLE copy_of (k int, v int); SELECT create_distributed_table('copy_of', 'k');
         CREATE TABLE beside (k int, v int);
         SELECT create_distributed_table('beside', 'k', colocate_with := 't');
         CREATE TABLE here (k int, v int);",
    );
    another(&scene);
    let commit = scene.half_commit();
    let forms = [
        ("INSERT INTO copy_of SELECT v, k FROM t", "SELECT sum(k) FROM copy_of"),
        ("INSERT INTO beside SELECT k, v FROM t", "SELECT sum(v) FROM beside"),
        ("INSERT INTO here SELECT k, v FROM t", "SELECT sum(v) FROM here"),
        ("CREATE TABLE made AS SELECT k, v FROM t", "SELECT sum(v) FROM made"),
        ("SELECT 1", "SELECT (SELECT sum(v) FROM t a) + 0 * (SELECT sum(v) FROM t b)"),
    ];
    let mut waiting = Vec::new();
    for (sql, check) in forms {
        let mut c = scene.connect();
        waiting.push(Late::start(move || {
            c.run("SET citus.consistent_reads = on");
            c.run(sql);
            c.value(check)
        }));
    }
    let mut c = scene.connect();
    let copy = Late::start(move || {
        c.run("SET citus.consistent_reads = on");
        let results = c.simple("COPY t (v) TO STDOUT").expect("rows");
        String::from_utf8_lossy(&results[0].copied).replace('\n', "")
    });
    copy.still_runs(300);
    waiting.iter().for_each(|w| w.still_runs(10));
    scene.way.hold(None);
    assert!(commit.end().is_ok());
    for (w, form) in waiting.into_iter().zip(forms) {
        assert_eq!(w.end(), "8", "{form:?}");
    }
    assert_eq!(copy.end(), "2222");
}

/// Tables of the coordinator are part of the moment.
#[test]
fn local_tables_agree() {
    let scene = Scene::new("rules_local");
    let mut c = scene.connect();
    c.run("CREATE TABLE total (v int); INSERT INTO total VALUES (0)");
    let both = "SELECT (SELECT sum(v) FROM t) - 4 * (SELECT v FROM total)";
    let mut w = scene.connect();
    scene.change(&mut w);
    w.run("UPDATE total SET v = v + 1");
    scene.way.hold(Some("COMMIT PREPARED"));
    let commit = Late::start(move || w.simple("COMMIT").map(|_| ()));
    scene.way.await_held(1);
    assert_ne!(c.value(both), "0");
    let mut on = scene.connect();
    let read = Late::start(move || {
        on.run("SET citus.consistent_reads = on");
        on.value(both)
    });
    // Its snapshot here is taken before it waits: it does not fit to the nodes' afterwards, unless
    // it was taken after the commit.
    let mut rr = scene.connect();
    let repeatable = Late::start(move || {
        rr.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let result = rr.simple(both);
        result.map(|r| r[0].rows[0][0].clone().unwrap_or_default())
    });
    read.still_runs(300);
    scene.way.hold(None);
    assert!(commit.end().is_ok());
    assert_eq!(read.end(), "0");
    match repeatable.end() {
        Ok(difference) => assert_eq!(difference, "0"),
        Err(e) => assert_eq!(e.code(), "40001"),
    }
}

#[test]
fn a_local_snapshot_that_is_too_old_is_refused() {
    let scene = Scene::new("rules_stale");
    let mut c = scene.connect();
    c.run("CREATE TABLE total (v int); INSERT INTO total VALUES (0)");
    for reads_before in [true, false] {
        let mut rr = scene.connect();
        rr.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        rr.run(if reads_before { "SELECT v FROM total" } else { "SELECT 1" });
        let mut w = scene.connect();
        scene.change(&mut w);
        w.run("UPDATE total SET v = v + 1; COMMIT");
        if reads_before {
            assert_eq!(server_error(rr.simple(SUM)).code, "40001");
        } else {
            // The nodes agree with each other; only the local table does not.
            let sum: i32 = rr.value(SUM).parse().expect("a sum");
            assert_eq!(sum % 4, 0);
            for reads in ["SELECT v FROM total", "COPY total TO STDOUT"] {
                rr.run("SAVEPOINT s");
                assert_eq!(server_error(rr.simple(reads)).code, "40001", "{reads}");
                rr.run("ROLLBACK TO s");
            }
        }
        rr.run("ROLLBACK");
    }
}

#[test]
fn snapshots_are_held_by_number() {
    let scene = Scene::new("rules_held");
    let mut w = CLUSTER.workers[0].connect(&scene.name);
    w.run("CREATE TABLE p (v int); INSERT INTO p VALUES (1)");
    let other = || CLUSTER.workers[0].connect(&scene.name);
    assert_eq!(server_error(w.simple("SELECT citus_internal_hold_snapshot(1)")).code, "25P01");
    w.run("BEGIN; SELECT citus_internal_hold_snapshot(1)");
    other().run("UPDATE p SET v = 2");
    assert_eq!(w.value("SELECT v FROM p"), "2");
    w.run("SELECT citus_internal_hold_snapshot(2)");
    other().run("UPDATE p SET v = 3");
    for (number, seen) in [(1, "1"), (2, "2"), (0, "3"), (1, "1")] {
        w.run(&format!("SELECT citus_internal_read_with_snapshot({number})"));
        assert_eq!(w.value("SELECT v FROM p"), seen, "{number}");
    }
    // An error that a function catches takes back what the function did, and no more.
    w.run("DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$");
    assert_eq!(w.value("SELECT v FROM p"), "1");
    // Writes and locks are of this moment.
    assert_eq!(w.value("SELECT v FROM p FOR UPDATE"), "3");
    w.run("UPDATE p SET v = v + 1; SELECT citus_internal_drop_snapshot(1)");
    assert_eq!(w.value("SELECT v FROM p"), "4");
    w.run("SAVEPOINT s; SELECT citus_internal_hold_snapshot(3)");
    w.run("SELECT citus_internal_read_with_snapshot(3); ROLLBACK TO s");
    let e = server_error(w.simple("SELECT citus_internal_read_with_snapshot(3)"));
    assert_eq!(e.code, "55000");
    w.run("ROLLBACK TO s; SELECT citus_internal_read_with_snapshot(2); COMMIT");
    assert_eq!(w.value("SELECT v FROM p"), "4");
    for bad in ["0", "-1"] {
        w.run("BEGIN");
        let e = server_error(w.simple(&format!("SELECT citus_internal_hold_snapshot({bad})")));
        assert_eq!(e.code, "22023");
        w.run("ROLLBACK");
    }
    assert!(w.notices.is_empty(), "{:?}", w.notices);
    assert!(!CLUSTER.workers[0].log().contains("snapshot reference leak"));
}
