//! What runs on nodes beside the transaction, on connections of its own, is stopped with the
//! statement as well. Nodes notice by themselves that nobody is there any more, but only when they
//! look, every two seconds.

use std::time::{Duration, Instant};

use citus_tests::client::Conn;

use super::{Ground, ACTIVE};

/// Less than until a node looks; one of the tries has to be faster.
const AT_ONCE: Duration = Duration::from_secs(1);
const TRIES: usize = 5;

/// How long workers go on after a statement was stopped, a moment after it reached them.
fn goes_on(g: &Ground, sql: &str, terminate: bool) -> Duration {
    let mut workers: Vec<Conn> = g.cluster.workers.iter().map(|w| w.connect(&g.database)).collect();
    let mut active =
        || workers.iter_mut().any(|w| w.value(&format!("SELECT count(*) {ACTIVE}")) != "0");
    let (mut c, mut here) = (g.connect(), g.connect());
    c.send(sql).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !active() {
        assert!(Instant::now() < end, "{sql} does not reach the nodes");
        std::thread::sleep(Duration::from_millis(5));
    }
    let how = if terminate { "terminate" } else { "cancel" };
    here.run(&format!("SELECT pg_{how}_backend({})", c.pid));
    let e = c.receive().unwrap_err();
    assert_eq!(e.code(), if terminate { "57P01" } else { "57014" }, "{sql}: {e}");
    let began = Instant::now();
    while active() {
        assert!(began.elapsed() < Duration::from_secs(15), "{sql} does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

#[test]
fn what_runs_apart_is_stopped_too() {
    let g = Ground::small();
    for node in g.cluster.nodes() {
        node.connect(&g.database).run(
            "CREATE FUNCTION snail(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
                'BEGIN PERFORM pg_sleep(0.5); RETURN i; END'",
        );
    }
    for sql in [
        "SELECT run_command_on_workers('SELECT pg_sleep(20)')",
        "SELECT run_command_on_shards('t', 'SELECT pg_sleep(20) FROM %s LIMIT 1')",
        "CREATE INDEX CONCURRENTLY ON t (snail(k))",
    ] {
        for terminate in [false, true] {
            let mut tries = (0..TRIES).map(|_| goes_on(&g, sql, terminate));
            let fast = tries.any(|t| t < AT_ONCE);
            assert!(fast, "{sql}: nodes went on, terminate = {terminate}");
        }
    }
    g.clean("apart");
}
