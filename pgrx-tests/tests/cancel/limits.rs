//! Limits of time that a session sets itself.

use std::time::{Duration, Instant};

use super::{Ground, BUSY};

#[test]
fn lock_timeout_holds_here_and_there() {
    let g = Ground::small();
    let mut other = g.connect();
    for (blocker, sql) in [
        ("BEGIN; UPDATE t SET v = 'w' WHERE k = 7", "UPDATE t SET v = 'z' WHERE k = 7"),
        ("BEGIN; UPDATE t SET v = 'w'", "UPDATE t SET v = 'z'"),
        ("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "SELECT count(*) FROM t"),
    ] {
        other.run(blocker);
        let mut c = g.connect();
        c.run("SET lock_timeout = '200ms'");
        let began = Instant::now();
        let e = c.simple(sql).unwrap_err();
        let took = began.elapsed();
        assert_eq!(e.code(), "55P03", "{sql}: {e}");
        assert!(took >= Duration::from_millis(195) && took < Duration::from_secs(30), "{took:?}");
        // A statement that works long is not concerned.
        c.run("SELECT slow(2)");
        other.run("ROLLBACK");
        assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'v'"), "400", "{sql}");
        g.clean(sql);
    }
}

/// Also for statements that no transaction block holds.
#[test]
fn lock_timeout_holds_for_maintenance() {
    let g = Ground::small();
    let mut w = g.cluster.workers[0].connect(&g.database);
    let shard = w.value("SELECT min(relname) FROM pg_class WHERE relname ~ '^t_[0-9]+$'");
    w.run(&format!("BEGIN; LOCK TABLE {shard} IN ACCESS EXCLUSIVE MODE"));
    for sql in ["VACUUM t", "ANALYZE t", "CREATE INDEX CONCURRENTLY here_and_there ON t (v)"] {
        let mut c = g.connect();
        // Without the first limit the second ends it, with another error.
        c.run("SET lock_timeout = '200ms'; SET statement_timeout = '30s'");
        let e = c.simple(sql).unwrap_err();
        assert_eq!(e.code(), "55P03", "{sql}: {e}");
    }
    w.run("ROLLBACK");
    g.connect().run("VACUUM t");
    g.clean("maintenance");
}

#[test]
fn idle_in_transaction_session_timeout_ends_all_of_it() {
    let g = Ground::small();
    let mut c = g.connect();
    c.run("BEGIN; UPDATE t SET v = 'lost'; INSERT INTO into_here SELECT i, i FROM generate_series(1, 50) i");
    let began = Instant::now();
    c.run("SET idle_in_transaction_session_timeout = '300ms'");
    let end = Duration::from_secs(60);
    let mut w = g.cluster.workers[0].connect(&g.database);
    while w.value(&format!("SELECT count(*) {BUSY}")) != "0" {
        assert!(began.elapsed() < end, "the node still waits for it");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    let e = c.receive().unwrap_err();
    assert_eq!(e.code(), "25P03", "{e}");
    drop(c);
    g.clean("idle in transaction");
    g.unchanged(&mut g.connect(), "idle in transaction");
}

/// A write that is a transaction of its own: what the node has done counts, whatever interrupts it.
#[test]
fn a_write_that_is_done_is_not_said_to_be_cancelled() {
    let g = Ground::small();
    let mut c = g.connect();
    let port = g.cluster.workers[0].port;
    let key = c.value(&format!(
        "SELECT min(k) FROM generate_series(1, 400) k, pg_dist_placement p, pg_dist_node n
         WHERE p.shardid = get_shard_id_for_distribution_column('t', k)
           AND n.groupid = p.groupid AND n.nodeport = {port}"
    ));
    // The connection is there, and what a first statement takes is not part of the limit.
    c.run(&format!("UPDATE t SET v = 'first' WHERE k = {key}"));
    c.run(&format!("UPDATE t SET v = 'first' WHERE k = {key} RETURNING v"));
    let mut look = g.cluster.workers[0].connect("postgres");
    look.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    look.run("SELECT pg_reload_conf()");
    g.cluster.workers[0].wait_sync();
    c.run("SET statement_timeout = '1s'");
    // Committed there; the standby that is waited for does not exist.
    let began = Instant::now();
    let done = c.simple(&format!("UPDATE t SET v = 'done' WHERE k = {key}")).unwrap();
    assert_eq!(done[0].tag, "UPDATE 1");
    assert!(began.elapsed() >= Duration::from_secs(1), "nothing is waited for");
    let done = c.simple(&format!("UPDATE t SET v = 'again' WHERE k = {key} RETURNING v")).unwrap();
    assert_eq!(done[0].rows, [[Some("again".to_owned())]]);
    look.run("ALTER SYSTEM RESET synchronous_standby_names");
    look.run("SELECT pg_reload_conf()");
    c.run("SET statement_timeout = 0");
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {key}")), "again");
    // A statement that has to wait is cancelled, and has done nothing.
    let mut other = g.connect();
    other.run(&format!("BEGIN; SELECT FROM t WHERE k = {key} FOR UPDATE"));
    c.run("SET statement_timeout = '1s'");
    let e = c.simple(&format!("UPDATE t SET v = 'never' WHERE k = {key}")).unwrap_err();
    assert_eq!(e.code(), "57014", "{e}");
    assert!(e.to_string().contains("statement timeout"), "{e}");
    other.run("ROLLBACK");
    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {key}")), "again");
    // Of one that stands still nothing is known.
    let pid = look.value(&format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{}'
         AND application_name LIKE 'citus_internal%' ORDER BY state_change DESC LIMIT 1",
        g.database
    ));
    let pid: i32 = pid.parse().unwrap();
    assert!(citus_tests::process::signal(pid, libc::SIGSTOP));
    let e = c.simple(&format!("UPDATE t SET v = 'who knows' WHERE k = {key}")).unwrap_err();
    assert!(citus_tests::process::signal(pid, libc::SIGCONT));
    assert_eq!(e.code(), "08007", "{e}");
    c.run("SET statement_timeout = 0");
    c.run(&format!("UPDATE t SET v = 'v' WHERE k = {key}"));
    g.clean("writes of their own");
}
