//! What is kept when something dies or stands still.

use std::time::{Duration, Instant};

use super::{ground, within, Ground, SECOND};
use citus_tests::process;

impl Ground {
    fn launcher(&self) -> i32 {
        let mut pid = String::new();
        let sql = "SELECT pid FROM pg_stat_activity
                   WHERE backend_type = 'citus maintenance launcher'";
        within(60 * SECOND, || {
            pid = self.cluster.connect("postgres").value(sql);
            !pid.is_empty()
        });
        pid.parse().expect("no launcher")
    }
}

#[test]
fn the_node_hung_up() {
    let g = ground();
    let first = g.visit().expect("nothing was kept");
    let mut w = g.cluster.workers[0].connect("postgres");
    w.run(&format!("SELECT pg_terminate_backend({first}, 5000)"));
    let mut c = g.connect();
    g.ask(&mut c);
    assert_ne!(g.leave(c), Some(first));
    // The whole node, in the middle of a keep.
    let second = g.visit().expect("nothing was kept");
    g.cluster.workers[0].restart().unwrap();
    let third = g.visit().expect("nothing was kept");
    assert_ne!(second, third);
    // And dead without a word.
    process::crash(third);
    g.cluster.workers[0].wait_ready().unwrap();
    assert_ne!(g.visit(), Some(third));
    g.none_left();
}

#[test]
fn the_node_stands_still() {
    let g = ground();
    let pid = g.visit().expect("nothing was kept");
    // It has answered already, and is found to be silent with the first statement: so it is let go
    // on in time. One that has not answered is not taken.
    let mut c = g.connect();
    g.ask(&mut c);
    process::signal(pid, libc::SIGSTOP);
    g.leave(c);
    let began = Instant::now();
    let mut c = g.connect();
    g.ask(&mut c);
    let took = began.elapsed();
    process::signal(pid, libc::SIGCONT);
    assert!(took < 10 * SECOND, "waited for the silent process: {took:?}");
    assert!(g.there(0).len() <= 2);
    drop(c);
    g.none_left();
}

#[test]
fn a_session_that_is_ended_leaves_nothing() {
    let g = ground();
    let mut c = g.connect();
    g.ask(&mut c);
    let pid = c.pid;
    g.cluster.connect("postgres").run(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
    assert!(g.kept().is_empty());
    assert!(within(60 * SECOND, || g.there(0).is_empty()));
    // After a statement that failed it ends in peace.
    let mut c = g.connect();
    g.ask(&mut c);
    c.simple(&format!("SELECT 1 / (k - {0}) FROM t WHERE k = {0}", g.key)).unwrap_err();
    assert!(g.leave(c).is_some());
    g.none_left();
}

#[test]
fn a_session_is_killed() {
    let g = ground();
    g.visit().expect("nothing was kept");
    let mut c = g.connect();
    c.run("SELECT 1");
    let mut d = g.connect();
    assert_eq!(d.value("SELECT count(*) FROM t"), "100");
    process::crash(c.pid);
    // All processes begin anew, and what was kept is closed with the memory that told of it.
    assert!(within(60 * SECOND, || g.there(0).is_empty() && g.there(1).is_empty()));
    g.cluster.coordinator.wait_ready().unwrap();
    assert!(g.kept().is_empty());
    g.launcher();
    assert!(within(60 * SECOND, || g.visit().is_some()), "nothing is kept any more");
    g.none_left();
}

#[test]
fn the_launcher_is_gone() {
    let g = ground();
    g.visit().expect("nothing was kept");
    let launcher = g.launcher();
    g.cluster.connect("postgres").run(&format!("SELECT pg_terminate_backend({launcher}, 5000)"));
    assert!(within(15 * SECOND, || g.there(0).is_empty()), "kept by nobody");
    let mut c = g.connect();
    g.ask(&mut c);
    drop(c);
    g.launcher();
    assert!(within(60 * SECOND, || g.visit().is_some()), "nothing is kept any more");
    g.none_left();
}

#[test]
fn the_launcher_stands_still() {
    let g = ground();
    let sql = format!("ALTER DATABASE {} SET citus.kept_connection_time = '5s'", g.database);
    g.connect().run(&sql);
    let launcher = g.launcher();
    let first = g.visit().expect("nothing was kept");
    process::signal(launcher, libc::SIGSTOP);
    let began = Instant::now();
    assert_eq!(g.visit(), Some(first));
    let took = began.elapsed();
    // Nobody closes it, but nobody takes it either when its time is over.
    std::thread::sleep(Duration::from_millis(5500));
    let began = Instant::now();
    let other = g.visit();
    let later = began.elapsed();
    process::signal(launcher, libc::SIGCONT);
    assert!(took < 10 * SECOND && later < 10 * SECOND, "{took:?} {later:?}");
    assert!(other.is_some() && other != Some(first), "{other:?} {first}");
    g.none_left();
}

#[test]
fn the_coordinator_is_shut_down() {
    let g = ground();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGKILL] {
        assert!(within(60 * SECOND, || g.visit().is_some()), "nothing was kept");
        let began = Instant::now();
        g.cluster.coordinator.end(signal);
        let took = began.elapsed();
        let mut w = g.cluster.workers[0].connect("postgres");
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'
             AND application_name LIKE 'citus_internal%'",
            g.database
        );
        assert!(within(60 * SECOND, || w.value(&sql) == "0"), "signal {signal}: still there");
        assert!(took < 15 * SECOND, "signal {signal}: {took:?}");
        g.cluster.coordinator.start().unwrap();
        g.launcher();
    }
}
