//! What becomes of transactions when a node crashes.

use super::{Left, Scene};
use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::process;
use citus_tests::server::Kind;
use std::sync::{LazyLock, Mutex};

/// Of tests that crash its workers, one at a time. What a transaction writes stays in memory for as long
/// as it can.
static CRASHING: LazyLock<Mutex<Cluster>> = LazyLock::new(|| {
    Mutex::new(Cluster::start(2, Kind::FAST, "wal_writer_delay = 10s\nautovacuum = off"))
});

/// A part that a crash of its node has taken from the disk before it was prepared, and whose id another
/// transaction there has now: the others are not committed with that one.
#[test]
fn an_id_that_is_handed_out_again_is_another_transaction() {
    let cluster = CRASHING.lock().unwrap_or_else(|e| e.into_inner());
    let mut scene = Scene::on(&cluster, "peers_lost");
    let worker = &cluster.workers[1];
    let next = |c: &mut Conn| -> u64 {
        c.value("SELECT pg_snapshot_xmax(pg_current_snapshot())").parse().expect("an id")
    };
    // What is written by chance, by another process at the same time, is on disk: once more.
    let id = (0..10u32).find_map(|attempt| {
        let mut c = worker.connect(&scene.database);
        c.run("CHECKPOINT");
        let id = next(&mut c);
        let entry = format!("lost {attempt}");
        let parts = scene.leave(&entry, attempt, [Left::Prepared, Left::Running]);
        worker.end(libc::SIGKILL);
        drop(parts);
        worker.start().expect("it starts");
        let mut c = worker.connect(&scene.database);
        let again = next(&mut c) <= id;
        if !again {
            assert_eq!(scene.recover(), "1");
            assert_eq!(scene.seen(&entry), (0, 0));
        }
        again.then_some(id)
    });
    let id = id.expect("every id was on disk");
    let mut c = worker.connect(&scene.database);
    while next(&mut c) <= id {
        c.run("INSERT INTO ledger VALUES ('another')");
    }
    assert_eq!(c.value(&format!("SELECT pg_xact_status('{id}')")), "committed");
    // Starts that come later do not forget it.
    worker.restart().expect("it starts");
    assert_eq!(scene.recover(), "1");
    let mut first = cluster.workers[0].connect(&scene.database);
    assert_eq!(first.value("SELECT count(*) FROM ledger"), "0");
    assert_eq!(first.value("SELECT count(*) FROM pg_prepared_xacts"), "0");
}

/// What was on disk before a crash counts after it.
#[test]
fn parts_outlive_a_crash() {
    use Left::{Aborted, Committed, Prepared, Running};
    let cluster = CRASHING.lock().unwrap_or_else(|e| e.into_inner());
    let mut scene = Scene::on(&cluster, "peers_crash");
    let cases = [
        ([Prepared, Prepared], 2, 2),
        ([Prepared, Committed], 2, 1),
        ([Committed, Prepared], 2, 1),
        ([Prepared, Running], 0, 1),
        ([Prepared, Aborted], 0, 1),
    ];
    for (i, (states, ..)) in cases.iter().enumerate() {
        let parts = scene.leave(&format!("case {i}"), i as u32, *states);
        cluster.workers[1].end(libc::SIGKILL);
        drop(parts);
        cluster.workers[1].start().expect("it starts");
        let mut c = cluster.workers[1].connect(&scene.database);
        c.run("CREATE TABLE IF NOT EXISTS more (i int); INSERT INTO more VALUES (1)");
    }
    let all: usize = cases.iter().map(|c| c.2).sum();
    assert_eq!(scene.recover(), all.to_string());
    for (i, (states, expected, _)) in cases.iter().enumerate() {
        assert_eq!(scene.seen(&format!("case {i}")), (*expected, 0), "{states:?}");
    }
}

/// The number of a start is the same for all of its sessions, and larger with each start.
#[test]
fn starts_are_told_apart() {
    let cluster = CRASHING.lock().unwrap_or_else(|e| e.into_inner());
    let database = cluster.database("peers_starts");
    let worker = &cluster.workers[0];
    let start = || -> u64 {
        let told = worker.connect(&database).value("SELECT citus_internal_transaction_id()");
        told.split_once('-').and_then(|(_, start)| start.parse().ok()).expect("a start")
    };
    let told = |id: i64, start: u64| {
        let sql = format!("SELECT citus_internal_lost_transaction('{id}', {start})");
        let mut rows = worker.connect(&database).rows(&sql);
        rows.pop().and_then(|mut r| r.pop()).expect("a value")
    };
    let first = start();
    assert_eq!(start(), first);
    let past = told(3, first - 1);
    // A process that crashes takes all others with it: memory is new.
    let mut victim = worker.connect(&database);
    let pid: i32 = victim.value("SELECT pg_backend_pid()").parse().expect("a process");
    assert!(process::crash(pid));
    assert!(victim.simple("SELECT 1").is_err());
    worker.wait_ready().expect("it comes back");
    let second = start();
    assert!(second > first);
    worker.restart().expect("it starts");
    let third = start();
    assert!(third > second);
    let text = |t: &str| Some(t.to_owned());
    assert_eq!(past, text("f"));
    assert_eq!(told(3, first), text("f"));
    assert_eq!(told(1 << 40, first), text("t"));
    assert_eq!(told(1 << 40, second), text("t"));
    assert_eq!(told(1 << 40, third), text("f"));
    assert_eq!(told(3, third + 1), None);
    let file = std::fs::read_to_string(worker.dir.join("data/pg_citus_starts")).expect("a file");
    let numbers: Vec<u64> = file
        .lines()
        .map(|l| l.split_once(' ').and_then(|(n, _)| n.parse().ok()).expect("a number"))
        .collect();
    assert!(numbers.ends_with(&[first, second, third]), "{file}");
}
