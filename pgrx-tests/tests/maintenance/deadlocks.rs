//! The maintenance process looks for distributed deadlocks by itself.

use citus_tests::client::Error;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;
use std::thread::scope;
use std::time::{Duration, Instant};

#[test]
fn a_circle_is_broken_without_being_asked() {
    let conf = "deadlock_timeout = '200ms'\ncitus.distributed_deadlock_detection_factor = 2";
    let cluster = Cluster::start(2, Kind::FAST, conf);
    let name = cluster.database("deadlocks");
    let mut c = cluster.connect(&name);
    c.run(
        "CREATE TABLE t (k int PRIMARY KEY, v int);
         SELECT create_distributed_table('t', 'k', shard_count := 4);
         INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i",
    );
    let mut key = |n: usize| {
        let port = cluster.workers[n].port;
        c.value(&format!(
            "SELECT min(k) FROM generate_series(1, 100) k JOIN pg_dist_shard_placement p
             ON p.shardid = get_shard_id_for_distribution_column('t', k) WHERE nodeport = {port}"
        ))
    };
    let (one, other) = (key(0), key(1));
    let update = |k: &str| format!("UPDATE t SET v = v + 1 WHERE k = {k}");
    let (mut a, mut b) = (cluster.connect(&name), cluster.connect(&name));
    a.run(&format!("BEGIN; {}", update(&one)));
    std::thread::sleep(Duration::from_millis(20));
    b.run(&format!("BEGIN; {}", update(&other)));
    let start = Instant::now();
    let (first, second) = scope(|s| {
        let first = s.spawn(|| {
            let outcome = a.simple(&update(&other));
            a.run(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" });
            outcome
        });
        let second = s.spawn(|| {
            let outcome = b.simple(&update(&one));
            b.run(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" });
            outcome
        });
        (first.join().expect("the first session"), second.join().expect("the second session"))
    });
    assert!(first.is_ok(), "{first:?}");
    match second {
        Err(Error::Server(e)) => assert_eq!(e.code, "40P01", "{e}"),
        other => panic!("the younger transaction should have been cancelled: {other:?}"),
    }
    // Twice the timeout, and room for a busy machine: else it would last for ever.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(c.value("SELECT sum(v) FROM t"), "2");
}
