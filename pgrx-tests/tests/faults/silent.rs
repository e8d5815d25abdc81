//! A node that vanishes without hanging up.

use std::time::{Duration, Instant};

use citus_tests::server::Kind;

use super::ground::Ground;

/// What a slow machine needs besides; whoever waits for the silent node waits for ever.
const SLACK: Duration = Duration::from_secs(20);
/// How long a node may be silent, twice: until it is asked, and for the answer.
const SILENCE: Duration = Duration::from_secs(2);

#[test]
fn a_hole_is_an_error_within_a_time() {
    let g = Ground::new(Kind::FAST);
    let lost = g.proxies[0].port;
    let connect = || {
        let mut c = g.connect().unwrap();
        c.run(&format!("SET citus.node_connection_timeout = {}", SILENCE.as_millis()));
        c.run("SELECT count(*) FROM entries");
        c
    };
    let one = |n: usize| format!("SELECT n FROM counters WHERE k = {}", g.key(n));
    let update = |n: usize| format!("UPDATE counters SET n = n + 1 WHERE k = {}", g.key(n));
    let (mut first, mut other, mut block, mut commit) =
        (connect(), connect(), connect(), connect());
    block.run(&format!("BEGIN; {}", update(1)));
    commit.run(&format!("BEGIN; {}; {}", update(0), update(2)));
    let mut new = g.connect().unwrap();
    new.run(&format!("SET citus.node_connection_timeout = {}", SILENCE.as_millis()));
    g.proxies[0].hold_all();
    let fails = |c: &mut citus_tests::client::Conn, sql: &str| {
        let began = Instant::now();
        let e = c.simple(sql).unwrap_err();
        let took = began.elapsed();
        println!("{took:?}: {sql}: {e}");
        assert!(["08006", "08007"].contains(&e.code()), "{sql}: {e}");
        assert!(e.to_string().contains(&format!("127.0.0.1:{lost}")), "{sql}: {e}");
        assert!(took < SILENCE * 2 + SLACK, "{sql}: {took:?}");
        e
    };
    let e = fails(&mut first, "SELECT count(*) FROM entries");
    assert!(e.to_string().contains("does not answer"), "{e}");
    fails(&mut new, &one(0));
    fails(&mut block, &update(0));
    block.run("ROLLBACK");
    // Nothing was decided: the others have rolled back.
    fails(&mut commit, "COMMIT");
    assert_eq!(commit.status, b'I');
    for c in [&mut first, &mut other, &mut block, &mut new, &mut commit] {
        // Nobody needs the silent node here, and the others may be slow.
        c.run("RESET citus.node_connection_timeout");
    }
    for c in [&mut first, &mut other, &mut block, &mut new, &mut commit] {
        let began = Instant::now();
        c.run(&one(1));
        c.run(&update(2));
        assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    }
    g.proxies[0].release();
    for c in [&mut first, &mut other, &mut block, &mut new, &mut commit] {
        c.run("SELECT count(*) FROM entries");
    }
    let sum = "SELECT sum(n) FROM counters";
    assert_eq!(first.value(sum), "5");
    drop((first, other, block, new, commit));
    assert_eq!(g.leaks(), Vec::<String>::new());
    assert_eq!(g.counted(), Vec::<String>::new());
}

/// A long statement is not silence: the node answers others.
#[test]
fn who_works_long_is_not_given_up() {
    let g = Ground::new(Kind::FAST);
    for node in g.cluster.nodes() {
        node.connect(&g.database).run(
            "CREATE FUNCTION slow(i bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS
             'BEGIN PERFORM pg_sleep(4); RETURN i; END'",
        );
    }
    let mut c = g.connect().unwrap();
    c.run("SET citus.node_connection_timeout = '1s'");
    let sql = format!("SELECT slow(n) FROM counters WHERE k = {}", g.key(0));
    assert_eq!(c.value(&sql), "0");
    let all = format!("SELECT max(slow(n)) FROM counters WHERE k IN ({}, {})", g.key(0), g.key(1));
    assert_eq!(c.value(&all), "0");
}
