//! kill -9 at every stage: what the others were doing for the dead one ends, and leaves nothing.

use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::process;

use super::stages::STAGES;
use super::{Ground, Reached, Stage, ACTIVE};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Victim {
    /// The backend of the client's session.
    Session,
    /// A node's backend that runs something for it.
    NodeBackend,
}

/// Time until the client knows; what the stages wait for takes 20 s and more.
const KNOWN: Duration = Duration::from_secs(15);

/// Waits until the statement is where it should be.
fn arrive(g: &Ground, c: &mut Conn, stage: &Stage) {
    let mut workers: Vec<Conn> = g.cluster.workers.iter().map(|w| w.connect(&g.database)).collect();
    let end = Instant::now() + Duration::from_secs(60);
    match stage.reached {
        Reached::Soon => {}
        Reached::Rows => drop(c.skip(10)),
        Reached::Remote => {
            let sql = format!("SELECT count(*) {ACTIVE}");
            while workers.iter_mut().all(|w| w.value(&sql) == "0") {
                assert!(Instant::now() < end, "{} is not reached", stage.name);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    std::thread::sleep(Duration::from_millis(40));
}

/// A backend that runs something for the session, on one of the nodes.
fn node_backend(g: &Ground) -> Option<i32> {
    let find = |c: &mut Conn| {
        let row = c.rows(&format!("SELECT pid {ACTIVE} AND application_name LIKE 'citus%'"));
        row.first()?.first()?.as_ref()?.parse().ok()
    };
    g.cluster.workers.iter().find_map(|w| find(&mut w.connect(&g.database)))
}

fn attempt(g: &Ground, stage: &Stage, victim: Victim) {
    let label = format!("{} {victim:?}", stage.name);
    let mut c = g.connect();
    let finish = (stage.begin)(g, &mut c, &mut Instant::now());
    arrive(g, &mut c, stage);
    let pid = match victim {
        Victim::Session => Some(c.pid),
        Victim::NodeBackend => node_backend(g),
    };
    let Some(pid) = pid else {
        // It is between two statements there: the session is ended instead.
        process::signal(c.pid, libc::SIGTERM);
        finish();
        return;
    };
    assert!(process::crash(pid));
    let began = Instant::now();
    let e = loop {
        match c.skip(100_000) {
            Ok((_, ended)) => assert!(!ended, "{label}: the statement ended"),
            Err(e) => break e,
        }
    };
    assert!(began.elapsed() < KNOWN, "{label}: {:?}", began.elapsed());
    let expected = match victim {
        Victim::Session => &["lost"][..],
        // The outcome of a statement that is a transaction of its own there is not known.
        Victim::NodeBackend => &["08006", "08007", "57P02"],
    };
    assert!(expected.contains(&e.code()), "{label}: {e}");
    finish();
    drop(c);
    g.cluster.nodes().for_each(|n| n.wait_ready().unwrap());
    g.clean(&label);
    let mut c = g.connect();
    // What one node had been told as a whole, it may have done: nobody was told of the outcome.
    c.run("UPDATE t SET v = 'v' WHERE v = 'z'");
    g.unchanged(&mut c, &label);
}

#[test]
fn crashes_leave_nothing_behind() {
    let g = Ground::new();
    let only = std::env::var("CITUS_TEST_STAGE").unwrap_or_default();
    for stage in STAGES.iter().skip(1).filter(|s| s.name.contains(&only)) {
        let began = Instant::now();
        attempt(&g, stage, Victim::Session);
        if stage.reached != Reached::Soon {
            attempt(&g, stage, Victim::NodeBackend);
        }
        println!("{:34} {:.1} s", stage.name, began.elapsed().as_secs_f64());
    }
}
