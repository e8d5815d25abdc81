//! Limits on connections: those of ordinary users' clients, and sessions that wait for each other's.

use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::{Kind, Server};

/// Changes a setting of a server that a reload brings.
fn set(server: &Server, setting: &str, value: &str) {
    let mut c = server.connect("postgres");
    c.run(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
    c.run("SELECT pg_reload_conf()");
    let end = Instant::now() + Duration::from_secs(60);
    while server.connect("postgres").value(&format!("SHOW {setting}")) != value {
        assert!(Instant::now() < end, "{setting} is not reloaded");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn login(server: &Server, user: &str, database: &str) -> Conn {
    Conn::connect(server.port, user, database).unwrap()
}

#[track_caller]
fn refused(c: &mut Conn, sql: &str) {
    let e = c.simple(sql).unwrap_err();
    assert_eq!(e.code(), "53300", "{e}");
    assert!(e.to_string().contains("citus.max_client_connections"), "{e}");
    // The connection is gone.
    assert_eq!(c.simple("SELECT 1").unwrap_err().code(), "lost");
}

/// Waits until a session of this user can do something.
fn soon(server: &Server, user: &str, database: &str) -> Conn {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut c = login(server, user, database);
        match c.simple("SELECT 1") {
            Ok(_) => return c,
            Err(e) => assert!(Instant::now() < end, "{e}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn clients_of_a_node_are_limited_and_nodes_are_not() {
    let cluster = Cluster::start(1, Kind::FAST, "");
    let db = &cluster.database("clients");
    let (coordinator, worker) = (&cluster.coordinator, &cluster.workers[0]);
    for node in cluster.nodes() {
        node.connect("postgres").run("CREATE ROLE app LOGIN; CREATE ROLE boss LOGIN SUPERUSER");
    }
    let mut c = cluster.connect(db);
    c.run("CREATE TABLE t (k int); SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("INSERT INTO t SELECT generate_series(1, 100); GRANT SELECT ON t TO app");
    // Whatever the setting, all are counted.
    let mut first = login(worker, "app", db);
    first.run("SELECT 1");
    set(worker, "citus.max_client_connections", "2");
    let mut second = login(worker, "app", db);
    second.run("BEGIN");

    refused(&mut login(worker, "app", db), "SELECT 1");
    refused(&mut login(worker, "app", db), "BEGIN");
    // What a client says about itself counts for nothing.
    refused(&mut login(worker, "app", db), "SET application_name = 'citus_internal gpid=1'");
    let says = "SELECT pg_catalog.citus_internal_introduce('1:00')";
    let mut liar = login(worker, "app", db);
    assert_eq!(liar.value(says), "f");
    refused(&mut liar, says);
    refused(&mut login(worker, "app", db), &format!("{says}; SELECT 1"));
    // Somebody has to get in.
    assert_eq!(login(worker, "boss", db).value("SELECT 1"), "1");

    // Connections of the coordinator, for the same user, take part in nothing.
    let mut through: Vec<Conn> = (0..4).map(|_| login(coordinator, "app", db)).collect();
    for c in &mut through {
        c.run("BEGIN");
        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    }
    refused(&mut login(worker, "app", db), "SELECT 1");
    drop((through, first));
    let third = soon(worker, "app", db);
    refused(&mut login(worker, "app", db), "SELECT 1");

    // A coordinator that cannot prove what it is is a client like others.
    c.run("UPDATE citus_internal.node_secrets SET secret = repeat('0', 64)");
    c.run("SET citus.node_connection_timeout = '1s'; SELECT run_command_on_workers('SELECT 1')");
    let mut unproven = login(coordinator, "app", db);
    unproven.run("SET citus.node_connection_timeout = '1s'");
    let e = unproven.simple("SELECT count(*) FROM t").unwrap_err();
    assert!(e.to_string().contains("citus.max_client_connections"), "{e}");
    drop((second, third));
    drop(soon(worker, "app", db));
    set(worker, "citus.max_client_connections", "-1");
    let mut many: Vec<Conn> = (0..4).map(|_| login(worker, "app", db)).collect();
    many.iter_mut().for_each(|c| c.run("SELECT 1"));
}

/// Blocks that hold all of one node and want another one, and the other way round.
#[test]
fn blocks_that_hold_each_others_connections() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let db = cluster.database("stuck");
    let mut c = cluster.connect(&db);
    c.run("CREATE TABLE t (k int PRIMARY KEY, v int); SELECT create_distributed_table('t', 'k', shard_count := 8)");
    c.run("INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i");
    let keys: Vec<String> = cluster
        .workers
        .iter()
        .map(|w| {
            c.value(&format!(
                "SELECT min(k) FROM t, pg_dist_placement p, pg_dist_node n
                 WHERE p.shardid = get_shard_id_for_distribution_column('t', k)
                   AND n.groupid = p.groupid AND n.nodeport = {}",
                w.port
            ))
        })
        .collect();
    drop(c);
    set(&cluster.coordinator, "citus.max_shared_pool_size", "3");
    let mut blocks: Vec<Conn> = (0..6).map(|_| cluster.connect(&db)).collect();
    for (i, c) in blocks.iter_mut().enumerate() {
        c.run(&format!("BEGIN; SELECT v FROM t WHERE k = {}", keys[i % 2]));
    }
    let began = Instant::now();
    for (i, c) in blocks.iter_mut().enumerate() {
        c.send(&format!("SELECT v FROM t WHERE k = {}; COMMIT", keys[(i + 1) % 2])).unwrap();
    }
    let results: Vec<_> = blocks.iter_mut().map(|c| c.receive()).collect();
    // Who waits in vain waits for `citus.node_connection_timeout`, 30 s.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    let errors: Vec<String> =
        results.iter().filter_map(|r| r.as_ref().err()).map(|e| e.code().to_owned()).collect();
    // One gives way: the youngest. All others go on.
    assert_eq!(errors, ["40P01"], "{results:?}");
    let e = results[5].as_ref().unwrap_err().to_string();
    assert!(e.contains("wait for each other's connections"), "{e}");
    blocks[5].run("ROLLBACK");
    for c in &mut blocks {
        c.run(&format!("SELECT v FROM t WHERE k = {}", keys[0]));
    }
}
