//! The coordinator is shut down in all three ways while statements are at different stages.

use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::process;

use super::{Ground, ACTIVE};

/// A stage: what is sent, and whether it is a node that is waited for.
struct Case {
    name: &'static str,
    before: &'static str,
    sql: &'static str,
    /// What it takes when nobody disturbs it is short enough to be waited for.
    ends: bool,
}

const CASES: &[Case] = &[
    Case { name: "idle in a block", before: "BEGIN; UPDATE t SET v = 'x'", sql: "", ends: true },
    Case { name: "waiting", before: "", sql: "SELECT max(slow(k)) FROM t WHERE k = 3", ends: true },
    Case {
        name: "calculating",
        before: "",
        sql: "SELECT max(k + a * b) FROM t, generate_series(1, 9999) a, generate_series(1, 9999) b",
        ends: false,
    },
    Case {
        name: "streaming",
        before: "",
        sql: "SELECT t.k, g FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h",
        ends: false,
    },
    Case {
        name: "committing",
        before: "BEGIN; INSERT INTO late VALUES (1), (2), (3), (4), (5), (6), (7), (8)",
        sql: "COMMIT",
        ends: false,
    },
    Case { name: "connecting", before: "mute", sql: "SELECT count(*) FROM t", ends: false },
];

/// What a shutdown may take on a slow machine; the statements would go on for longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Puts a node that takes connections and says nothing in the place of a worker, or back.
fn swap(g: &Ground, from: u16, to: u16) {
    let sql = format!("UPDATE pg_dist_node SET nodeport = {to} WHERE nodeport = {from}");
    g.connect().run(&sql);
}

fn shut_down(g: &Ground, case: &Case, signal: i32) {
    let label = format!("{}, signal {signal}", case.name);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = case.before == "mute";
    let ports = (g.cluster.workers[0].port, silent.local_addr().unwrap().port());
    if mute {
        swap(g, ports.0, ports.1);
    }
    let mut c = g.connect();
    if !case.before.is_empty() && !mute {
        c.run(case.before);
    }
    if !case.sql.is_empty() {
        c.send(case.sql).unwrap();
    }
    std::thread::sleep(Duration::from_millis(150));
    let server = &g.cluster.coordinator;
    assert!(process::signal(server.pid().unwrap(), signal));
    let began = Instant::now();
    if signal == libc::SIGTERM {
        // Smart: whoever is connected goes on until he leaves.
        let end = Instant::now() + PATIENCE;
        while server.try_connect(&g.database).is_ok() {
            assert!(Instant::now() < end, "{label}: still open");
            std::thread::sleep(Duration::from_millis(50));
        }
        if case.ends && !case.sql.is_empty() {
            c.receive().unwrap();
        }
        if case.ends {
            c.run("COMMIT");
            c.run("UPDATE t SET v = 'v'");
        } else {
            c.canceller().fire().ok();
            process::signal(c.pid, libc::SIGTERM);
        }
    } else {
        told(&mut c, case, signal, &label);
    }
    drop(c);
    g.none(g.cluster.workers.iter(), &format!("{label}: still active"), ACTIVE);
    server.end(signal);
    let took = began.elapsed();
    println!("{label}: {:.0} ms", took.as_secs_f64() * 1000.0);
    assert!(took < PATIENCE, "{label}: {took:?}");
    server.start().unwrap();
    if mute {
        swap(g, ports.1, ports.0);
    }
    g.clean(&label);
    g.unchanged(&mut g.connect(), &label);
}

/// Fast and immediate shutdown end the session at once, and say so where anybody listens.
fn told(c: &mut Conn, case: &Case, signal: i32, label: &str) {
    let began = Instant::now();
    let e = loop {
        match c.skip(100_000) {
            Ok((_, ended)) => assert!(!ended, "{label}: the statement ended"),
            Err(e) => break e,
        }
    };
    assert!(began.elapsed() < PATIENCE, "{label}: {:?}", began.elapsed());
    let expected = if signal == libc::SIGINT { "57P01" } else { "57P02" };
    let quiet = case.name == "streaming" || signal == libc::SIGQUIT;
    assert!(e.code() == expected || (quiet && e.code() == "lost"), "{label}: {e}");
}

#[test]
fn shutdowns_wait_for_nobody() {
    let g = Ground::small();
    for case in CASES {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
            shut_down(&g, case, signal);
        }
    }
}

/// What is done when a worker is shut down: before, and what is sent then.
const WORK: &[(&str, &str, &str)] = &[
    ("a session that did something", "SELECT count(*) FROM t", ""),
    ("idle in a block", "BEGIN; UPDATE t SET v = 'x'", ""),
    ("writing", "", "INSERT INTO checked SELECT k FROM t"),
    (
        "calculating",
        "",
        "SELECT max(k + a * b) FROM t, generate_series(1, 9999) a, generate_series(1, 9999) b",
    ),
    (
        "streaming",
        "",
        "SELECT t.k, g FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h",
    ),
    ("apart", "", "SELECT run_command_on_shards('t', 'SELECT pg_sleep(60) FROM %s LIMIT 1')"),
    (
        "committing",
        "BEGIN; INSERT INTO late VALUES (1), (2), (3), (4), (5), (6), (7), (8)",
        "COMMIT",
    ),
];

fn shut_down_worker(g: &Ground, (name, before, sql): (&str, &str, &str), signal: i32) {
    let label = format!("{name}, signal {signal} to a worker");
    let worker = &g.cluster.workers[0];
    let mut c = g.connect();
    if !before.is_empty() {
        c.run(before);
    }
    if !sql.is_empty() {
        c.send(sql).unwrap();
    }
    std::thread::sleep(Duration::from_millis(150));
    let began = Instant::now();
    worker.end(signal);
    let mut told = None;
    if name == "apart" {
        // Its failure is an answer; the other worker goes on, until that is stopped as well.
        c.canceller().fire().unwrap();
        assert_eq!(c.receive().unwrap_err().code(), "57014", "{label}");
    } else if !sql.is_empty() {
        told = loop {
            match c.skip(100_000) {
                Ok((_, ended)) => assert!(!ended, "{label}: the statement ended"),
                Err(e) => break Some(e),
            }
        };
    } else if before.starts_with("BEGIN") {
        told = c.simple("UPDATE t SET v = 'y'").err();
        assert!(told.is_some(), "{label}: a block went on without a node");
    }
    assert!(began.elapsed() < PATIENCE, "{label}: {:?}", began.elapsed());
    if let Some(e) = told {
        let text = e.to_string();
        assert!(e.code() == "08006" && text.contains(&worker.port.to_string()), "{label}: {text}");
    }
    worker.start().unwrap();
    // The session itself goes on, without an error where it had nothing open there.
    if c.status != b'I' {
        c.run("ROLLBACK");
    }
    g.unchanged(&mut c, &label);
    g.clean(&label);
}

#[test]
fn sessions_outlive_a_shutdown_of_a_worker() {
    let g = Ground::small();
    for work in WORK {
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            shut_down_worker(&g, *work, signal);
        }
    }
}
