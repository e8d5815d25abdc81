//! Nodes on which something decided is not visible yet, or that cannot be reached.

use super::{server_error, Late, Scene, SUM};
use citus_tests::cluster::Cluster;
use citus_tests::forged;
use citus_tests::server::Kind;
use std::time::{Duration, Instant};

#[test]
fn what_a_crash_left_is_waited_for() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let scene = Scene::on(&cluster, "doubt_crash");
    let connect = || cluster.connect(&scene.name);
    let mut c = connect();
    let base = forged::base(&mut c);
    // A commit that reached the first node only; its coordinator is gone.
    let (mut sessions, mut peers) = (Vec::new(), Vec::new());
    for (w, keys) in cluster.workers.iter().zip(&scene.keys) {
        let mut s = w.connect(&scene.name);
        let shards = "SELECT relname FROM pg_class WHERE relname LIKE 't\\_1%' AND relkind = 'r'";
        s.run("BEGIN");
        for row in s.rows(shards) {
            let shard = row[0].clone().expect("a name");
            s.run(&format!("UPDATE {shard} SET v = v + 1"));
        }
        let _ = keys;
        peers.push(forged::peer(&(peers.len() + 1).to_string(), &mut s));
        sessions.push(s);
    }
    let list = peers.join(".");
    let name = |part: usize| format!("{base}_5_{part}_{list}");
    sessions[0].run(&format!("PREPARE TRANSACTION '{0}'", name(0)));
    sessions[1].run(&format!("PREPARE TRANSACTION '{0}'", name(1)));
    sessions[0].run(&format!("COMMIT PREPARED '{0}'", name(0)));
    // Not one that waits for what its coordinator says.
    sessions[1].run("SELECT 1");
    drop(sessions);
    cluster.coordinator.end(libc::SIGQUIT);
    cluster.coordinator.start().expect("a restart");
    let mut c = connect();
    assert_eq!(c.value(SUM), "2");
    // Nobody recovers here by itself.
    c.run("SET lock_timeout = '300ms'; BEGIN ISOLATION LEVEL REPEATABLE READ");
    let e = server_error(c.simple(SUM));
    assert_eq!(e.code, "55P03");
    assert!(e.message.contains(&scene.way.port.to_string()), "{e}");
    c.run("ROLLBACK; RESET lock_timeout; BEGIN ISOLATION LEVEL REPEATABLE READ");
    // A node in doubt that is not needed is left out.
    let first = format!("SELECT v FROM t WHERE k = {}", scene.keys[0][0]);
    assert_eq!(c.value(&first), "1");
    let e = server_error(c.simple(SUM));
    assert_eq!(e.code, "40001");
    assert!(e.hint.is_some(), "{e}");
    c.run("ROLLBACK");
    let reader = Late::start(move || {
        c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        c.value(SUM)
    });
    reader.still_runs(300);
    assert_eq!(connect().value("SELECT recover_prepared_transactions()"), "1");
    assert_eq!(reader.end(), "4");
}

#[test]
fn the_maintenance_process_is_woken() {
    let cluster = Cluster::start(2, Kind::FAST, "citus.recover_2pc_interval = '60s'");
    let scene = Scene::on(&cluster, "doubt_wake");
    // Recovery is not yet due again when the commit loses its node.
    std::thread::sleep(Duration::from_millis(500));
    let mut c = cluster.connect(&scene.name);
    let pid = c.pid;
    scene.change(&mut c);
    scene.way.hold(Some("COMMIT PREPARED"));
    let commit = Late::start(move || c.simple("COMMIT").map(|_| ()));
    scene.way.await_held(1);
    cluster.connect(&scene.name).run(&format!("SELECT pg_terminate_backend({pid})"));
    let _ = commit.end();
    let mut c = cluster.connect(&scene.name);
    c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let began = Instant::now();
    let reader = Late::start(move || c.value(SUM));
    reader.still_runs(100);
    scene.way.hold(None);
    assert_eq!(reader.end(), "4");
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
}

#[test]
fn a_node_that_is_down_is_left_out() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let scene = Scene::on(&cluster, "doubt_down");
    let mut c = cluster.connect(&scene.name);
    let first = format!("SELECT v FROM t WHERE k = {}", scene.keys[0][0]);
    cluster.workers[1].end(libc::SIGQUIT);
    for begin in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SET citus.consistent_reads = on; BEGIN"]
    {
        c.run(begin);
        assert_eq!(c.value(&first), "0");
        c.run("SAVEPOINT s");
        let e = server_error(c.simple(SUM));
        let repeatable = begin.contains("REPEATABLE");
        assert_eq!(e.code == "40001", repeatable, "{e}");
        assert!(e.message.contains(&scene.way.port.to_string()), "{e}");
        c.run("ROLLBACK TO s");
        assert_eq!(c.value(&first), "0");
        c.run("COMMIT");
    }
    c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let e = server_error(c.simple(SUM));
    assert!(e.code.starts_with("08"), "{e}");
    c.run("ROLLBACK");
    cluster.workers[1].start().expect("a restart");
    c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(c.value(SUM), "0");
}
