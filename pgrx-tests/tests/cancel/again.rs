//! A request to cancel is two signals, which may come one after the other; a second request is another
//! thing: who asks again does not want to wait for the node any more.

use std::time::{Duration, Instant};

use citus_tests::process::signal;

use super::{Ground, ACTIVE};

const UPDATE: &str = "UPDATE t SET v = 'z' WHERE k = 7";

#[test]
fn signals_of_one_request_are_one() {
    let g = Ground::small();
    let mut other = g.connect();
    other.run("BEGIN; UPDATE t SET v = 'w' WHERE k = 7");
    let (mut judged, end) = (0, Instant::now() + Duration::from_secs(60));
    while judged < 10 {
        assert!(Instant::now() < end, "this machine is too busy to send signals quickly");
        let mut c = g.connect();
        c.send(UPDATE).unwrap();
        reached(&g);
        let began = Instant::now();
        for _ in 0..40 {
            signal(c.pid, libc::SIGINT);
            std::thread::sleep(Duration::from_micros(200));
        }
        // Signals that come much later than the first one are another request.
        let at_once = began.elapsed() < Duration::from_millis(50);
        let e = c.receive().unwrap_err();
        assert!(e.code() == "57014" || !at_once, "{e}");
        judged += usize::from(at_once);
        g.none(g.cluster.workers.iter(), "still active", ACTIVE);
        assert_eq!(c.value("SELECT v FROM t WHERE k = 7"), "v");
    }
    other.run("ROLLBACK");
    g.clean("signals of one request");
}

#[test]
fn who_asks_again_does_not_wait_for_a_node() {
    let g = Ground::small();
    let mut other = g.connect();
    other.run("BEGIN; UPDATE t SET v = 'w' WHERE k = 7");
    let mut c = g.connect();
    c.send(UPDATE).unwrap();
    let (worker, pid) = reached(&g);
    // It says nothing any more.
    signal(pid, libc::SIGSTOP);
    signal(c.pid, libc::SIGINT);
    // What comes soon after the first one was noticed is the same request.
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    signal(c.pid, libc::SIGINT);
    let e = c.receive().unwrap_err();
    let took = began.elapsed();
    signal(pid, libc::SIGCONT);
    assert_eq!(e.code(), "08007", "{e}");
    assert!(e.to_string().contains(&format!("127.0.0.1:{worker}")), "{e}");
    // Who does not ask again waits for ten seconds.
    assert!(took < Duration::from_secs(5), "{took:?}");
    other.run("ROLLBACK");
    g.none(g.cluster.workers.iter(), "still active", ACTIVE);
    assert_eq!(c.value("SELECT v FROM t WHERE k = 7"), "v");
    g.clean("asked again");
}

/// Waits until a node waits for the row; its port and the process there.
fn reached(g: &Ground) -> (u16, i32) {
    let sql = "SELECT min(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        for worker in &g.cluster.workers {
            if let Ok(pid) = worker.connect(&g.database).value(sql).parse() {
                return (worker.port, pid);
            }
        }
        assert!(Instant::now() < end, "the nodes are not reached");
    }
}
