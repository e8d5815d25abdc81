//! The harness itself: servers end with their owner, and the engine sees every kind of difference.

use std::path::Path;

use citus_tests::cluster::Cluster;
use citus_tests::corpus::{Marks, Statement, Step, Unit};
use citus_tests::oracle::{Duel, Mode, Report, Side};
use citus_tests::server::{Kind, Server};

fn statement(line: usize, sql: &str) -> Statement {
    let marks = Marks { ordered: sql.contains("ORDER BY"), ..Marks::default() };
    Statement { file: "planted".into(), line, sql: sql.into(), copy_data: Vec::new(), marks }
}

/// Runs statements on two databases that one statement has made different.
fn planted(cluster: &Cluster, difference: &str, statements: &[&str]) -> Report {
    let schema =
        "CREATE TABLE t (k INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');";
    let databases = [cluster.bare_database("planted"), cluster.bare_database("planted")];
    for d in &databases {
        cluster.connect(d).run(schema);
    }
    cluster.connect(&databases[1]).run(difference);
    let file = statements.iter().enumerate().map(|(n, sql)| statement(n, sql)).collect();
    let unit = Unit {
        name: "planted".into(),
        schema: vec![Step::Both(statement(0, "SELECT 1"))],
        tables: vec!["t".into()],
        files: vec![file],
    };
    let side = |d: &str| Side::new(&cluster.coordinator, d);
    Duel::new(
        "test",
        &unit,
        side(&databases[0]),
        side(&databases[1]),
        Mode { distributed: false, filled: false, twice: true },
    )
    .run()
}

#[test]
fn differences_are_seen() {
    let cluster = Cluster::start(0, Kind::PLAIN, "");
    let other_row = "UPDATE t SET v = 'c' WHERE k = 2";
    let cases: [(&str, &str, &str); 8] = [
        ("SELECT 1", "SELECT * FROM t", ""),
        (other_row, "SELECT * FROM t", "missing"),
        (other_row, "SELECT k FROM t ORDER BY v, k", ""),
        ("UPDATE t SET v = 'z' WHERE k = 1", "SELECT k FROM t ORDER BY v, k", "the order of rows"),
        (other_row, "INSERT INTO t VALUES (3, 'd')", "content of t"),
        ("DELETE FROM t WHERE k = 2", "UPDATE t SET v = 'same'", "tag"),
        ("ALTER TABLE t ALTER v TYPE VARCHAR", "SELECT v FROM t", "types"),
        ("ALTER TABLE t RENAME v TO w", "SELECT v FROM t", "42703"),
    ];
    for (difference, sql, expected) in cases {
        let report = planted(&cluster, difference, &[sql]);
        let text = report.failures.join("\n");
        assert_eq!(report.failures.is_empty(), expected.is_empty(), "{difference} / {sql}: {text}");
        assert!(text.contains(expected), "{difference} / {sql}: {text}");
    }
    // After a difference the tables are made equal, so that it is reported once.
    let report = planted(
        &cluster,
        other_row,
        &["UPDATE t SET k = k", "UPDATE t SET k = k", "SELECT * FROM t"],
    );
    assert_eq!(report.failures.len(), 1, "{}", report.failures.join("\n"));
}

#[test]
fn servers_end_with_their_owner() {
    let cluster = Cluster::start(0, Kind::PLAIN, "");
    let pid = cluster.coordinator.pid().unwrap();
    let dir = cluster.coordinator.dir.clone();
    assert!(dir.exists());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _owned = cluster;
        std::panic::panic_any("a failing test");
    }));
    assert!(panicked.is_err());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!dir.exists());
}

/// They are copies of one directory, and the extension must not take them for one server.
#[test]
fn servers_are_told_apart() {
    let cluster = Cluster::start(1, Kind::FAST, "");
    let facts = |server: &Server| {
        let mut c = server.connect("citus_template");
        let system = c.value("SELECT system_identifier FROM pg_control_system()");
        (system, c.value("SELECT metadata ->> 'server_id' FROM pg_dist_node_metadata"))
    };
    let (one, other) = (facts(&cluster.coordinator), facts(&cluster.workers[0]));
    assert!(one.0 != other.0 && one.1 != other.1, "{one:?} {other:?}");
    assert!(!one.0.is_empty() && one.1.len() == 36, "{one:?}");
}
