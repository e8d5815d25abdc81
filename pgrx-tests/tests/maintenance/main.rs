//! The maintenance processes: when they are there, what they recover, and that they are in
//! nobody's way.

mod deadlocks;
mod presence;
mod recovery;

use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::server::Server;

/// Waits until `done` says so; false when it does not in time.
fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Process id of a database's maintenance process.
fn process(c: &mut Conn, database: &str) -> Option<i32> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity
         WHERE backend_type = 'citus maintenance' AND datname = '{database}'"
    );
    let rows = c.rows(&sql);
    assert!(rows.len() <= 1, "more than one: {rows:?}");
    rows.first().and_then(|r| r.first()?.as_ref()?.parse().ok())
}

/// Process id of a database's maintenance process, which must come soon.
#[track_caller]
fn wait_process(server: &Server, c: &mut Conn, database: &str) -> i32 {
    let mut found = None;
    within(60 * SECOND, || {
        found = process(c, database);
        found.is_some()
    });
    match found {
        Some(pid) => pid,
        None => panic!("no process for {database}\n{}", server.log_tail(30)),
    }
}

/// The process must have gone soon.
#[track_caller]
fn wait_none(server: &Server, c: &mut Conn, database: &str) {
    let gone = within(60 * SECOND, || process(c, database).is_none());
    assert!(gone, "the process of {database} stays\n{}", server.log_tail(30));
}

/// Runs a statement that must succeed and must not have waited for anybody.
#[track_caller]
fn at_once(c: &mut Conn, sql: &str) {
    let start = Instant::now();
    c.run(sql);
    let took = start.elapsed();
    // PostgreSQL waits for five seconds for those who are in the way.
    if took > Duration::from_millis(4500) {
        // Then PostgreSQL's own work must have taken long.
        let start = Instant::now();
        c.run("CREATE DATABASE base_line TEMPLATE template0");
        c.run("DROP DATABASE base_line");
        let own = start.elapsed();
        assert!(took < 2 * SECOND + own * 3, "{sql} took {took:?}, PostgreSQL's own {own:?}");
    }
}
