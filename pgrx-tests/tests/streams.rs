//! A result of any size passes through the coordinator without staying there.
//!
//! `CITUS_TEST_STREAM_ROWS` sets the number of rows (10000000 takes minutes in a debug build).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

/// Growth of the backend's own memory that is allowed, in kB: buffers of sessions and of the
/// client. The rows of the smallest run are fifty times as large.
const GROWTH: u64 = 8 * 1024;
const KEYS: u64 = 1000;

fn rows() -> u64 {
    let given = std::env::var("CITUS_TEST_STREAM_ROWS").ok().and_then(|v| v.parse().ok());
    given.unwrap_or(2_000_000)
}

fn ground() -> (Cluster, String) {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let name = cluster.database("streams");
    cluster.connect(&name).run(&format!(
        "CREATE TABLE t (k int PRIMARY KEY, v text);
         SELECT create_distributed_table('t', 'k', shard_count := 32);
         INSERT INTO t SELECT i, 'v' FROM generate_series(1, {KEYS}) i"
    ));
    (cluster, name)
}

/// `rows()` narrow rows, made where the shards are.
fn query() -> String {
    format!("SELECT t.k, g FROM t, generate_series(1, {}) g", rows() / KEYS)
}

#[test]
fn rows_that_make_room_for_another_query_are_not_lost() {
    let (cluster, name) = ground();
    let mut c = cluster.connect(&name);
    c.run(&format!(
        "SELECT citus_set_node_property('127.0.0.1', {}, 'shouldhaveshards', true);
         CREATE TABLE h (k int);
         SELECT create_distributed_table('h', 'k', shard_count := 6, colocate_with := 'none');
         INSERT INTO h SELECT generate_series(1, 60)",
        cluster.coordinator.port
    ));
    // The rows of shards here come first, and are at their end before the others stream.
    let here = "SELECT count(*) FROM pg_dist_shard JOIN pg_dist_placement USING (shardid)
        WHERE logicalrelid = 'h'::regclass AND groupid = 0";
    assert_eq!(c.value(here), "2");
    for first in [10, 40, 59] {
        c.run("BEGIN; DECLARE c CURSOR FOR SELECT k FROM h");
        let mut all = c.rows(&format!("FETCH {first} FROM c"));
        assert_eq!(c.value("SELECT count(*) FROM h"), "60");
        all.extend(c.rows("FETCH ALL FROM c"));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 60, "after {first} rows");
        c.run("COMMIT");
    }
}

/// Anonymous memory of a process in kB.
fn memory(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Does something while the memory of a process is looked at; the most that it grew, in kB.
fn growth(pid: i32, work: impl FnOnce()) -> u64 {
    let (before, over) = (memory(pid), AtomicBool::new(false));
    assert!(before > 0, "/proc tells nothing about process {pid}");
    std::thread::scope(|s| {
        let watcher = s.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(memory(pid));
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        work();
        over.store(true, Ordering::Relaxed);
        watcher.join().unwrap().saturating_sub(before)
    })
}

/// A session that has connections to all nodes and has run what it will run once.
fn warm(cluster: &Cluster, name: &str) -> Conn {
    let mut c = cluster.connect(name);
    c.run("SELECT t.k, g FROM t, generate_series(1, 100) g");
    c
}

#[test]
fn rows_do_not_stay() {
    let (cluster, name) = ground();
    let mut said = Vec::new();
    let mut check = |what: &str, grown: u64, began: Instant| {
        said.push((what.to_owned(), grown));
        println!("{what}: {} rows, +{grown} kB, {:.1} s", rows(), began.elapsed().as_secs_f64());
    };

    let (mut c, began) = (warm(&cluster, &name), Instant::now());
    let grown = growth(c.pid, || {
        c.send(&query()).unwrap();
        assert_eq!(c.skip(u64::MAX).unwrap(), (rows(), true));
    });
    check("simple protocol", grown, began);

    let (mut c, began) = (warm(&cluster, &name), Instant::now());
    c.prepare("q", &query()).unwrap();
    let grown = growth(c.pid, || {
        c.send_execute("q", 0).unwrap();
        assert_eq!(c.skip(u64::MAX).unwrap(), (rows(), true));
    });
    check("extended protocol", grown, began);

    let (mut c, began) = (warm(&cluster, &name), Instant::now());
    c.run(&format!("BEGIN; DECLARE x CURSOR FOR {}", query()));
    let grown = growth(c.pid, || {
        let mut seen = 0;
        loop {
            c.send("FETCH 10000 FROM x").unwrap();
            match c.skip(u64::MAX).unwrap() {
                (0, true) => break,
                (n, _) => seen += n,
            }
        }
        assert_eq!(seen, rows());
    });
    c.run("COMMIT");
    check("cursor", grown, began);

    // A client that takes its time makes the nodes wait, not the coordinator collect.
    let (mut c, began) = (warm(&cluster, &name), Instant::now());
    let grown = growth(c.pid, || {
        c.send(&query()).unwrap();
        let mut seen = c.skip(1000).unwrap().0;
        std::thread::sleep(Duration::from_secs(1));
        seen += c.skip(u64::MAX).unwrap().0;
        assert_eq!(seen, rows());
    });
    check("client that pauses", grown, began);
    assert!(said.iter().all(|(_, grown)| *grown < GROWTH), "{said:?}");
}

#[test]
fn a_cancel_in_the_middle_frees_everything() {
    let (cluster, name) = ground();
    let mut c = warm(&cluster, &name);
    let descriptors = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let (before, mut open) = (memory(c.pid), 0);
    for round in 0..10 {
        c.send(&query()).unwrap();
        assert!(!c.skip(rows() / 10).unwrap().1);
        c.canceller().fire().unwrap();
        assert_eq!(c.skip(u64::MAX).unwrap_err().code(), "57014");
        assert_eq!(c.value("SELECT count(*) FROM t"), KEYS.to_string());
        // The first round opens what later ones use again.
        if round == 0 {
            open = descriptors(c.pid);
        }
    }
    let after = memory(c.pid);
    println!("memory before {before} kB, after ten cancels {after} kB");
    assert!(after < before + GROWTH, "{before} kB became {after} kB");
    // A file more may be open by chance; a leak would have left one in each round.
    let left = descriptors(c.pid);
    assert!(left < open + 5, "descriptors were left open: {open}, then {left}");
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'";
    for node in cluster.nodes() {
        let mut n = node.connect(&name);
        let end = Instant::now() + Duration::from_secs(60);
        while n.value(busy) != "0" {
            assert!(Instant::now() < end, "{} still works", node.name);
            std::thread::sleep(Duration::from_millis(10));
        }
        // The sessions were kept: a cancel is no reason to connect again.
        let kept = busy.replace("state <> 'idle'", "application_name LIKE 'citus\\_%'");
        let expected = if node.port == cluster.coordinator.port { "0" } else { "1" };
        // Others, which were closed, need their time to end.
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let found = n.value(&kept);
            if found == expected {
                break;
            }
            assert!(Instant::now() < end, "{found} sessions on {}", node.name);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
