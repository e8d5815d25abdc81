//! How many connections are kept, for how long, and who they have to make way for.

use std::time::Instant;

use super::{ground, within, SECOND};

#[test]
fn they_are_closed_in_time() {
    let g = ground();
    let sql = format!("ALTER DATABASE {} SET citus.kept_connection_time = '4s'", g.database);
    g.connect().run(&sql);
    let began = Instant::now();
    g.visit().expect("nothing was kept");
    assert!(within(20 * SECOND, || g.there(0).is_empty()), "still there: {:?}", g.there(0));
    let took = began.elapsed();
    assert!(took > 3 * SECOND && took < 20 * SECOND, "{took:?} instead of 4 s");
    let sql = format!("ALTER DATABASE {} SET citus.kept_connection_time = '300ms'", g.database);
    g.connect().run(&sql);
    // Who looks too late does not see it any more.
    (0..50).find_map(|_| g.visit()).expect("nothing was kept");
    assert!(within(20 * SECOND, || g.there(0).is_empty()), "still there: {:?}", g.there(0));
    assert!(g.kept().is_empty());
}

/// A node that is to be shut down must not wait for connections that go from hand to hand.
#[test]
fn they_are_not_kept_for_ever() {
    let g = ground();
    let sql = format!("ALTER DATABASE {} SET citus.kept_connection_time = '1s'", g.database);
    g.connect().run(&sql);
    let mut seen = std::collections::HashSet::new();
    let end = Instant::now() + 120 * SECOND;
    let (mut rounds, mut slow) = (0, false);
    while seen.len() < 2 && Instant::now() < end {
        let began = Instant::now();
        seen.extend(g.visit());
        rounds += 1;
        // One that nobody took in time has not changed hands: once more, from there.
        slow |= began.elapsed() > SECOND / 2;
        if seen.len() == 2 && rounds <= 4 && slow {
            (rounds, slow) = (0, false);
            seen.clear();
        }
    }
    assert!(seen.len() == 2 && rounds > 4, "{} in {rounds} rounds", seen.len());
}

#[test]
fn a_life_time_that_is_over_ends_them() {
    let g = ground();
    let sql =
        format!("ALTER DATABASE {} SET citus.max_cached_connection_lifetime = '700ms'", g.database);
    g.connect().run(&sql);
    // Who looks too late does not see it any more.
    let first = (0..50).find_map(|_| g.visit()).expect("nothing was kept");
    assert!(within(20 * SECOND, || g.there(0).is_empty()), "older than its life time");
    assert_ne!(g.visit(), Some(first));
}

#[test]
fn settings_turn_it_off() {
    let g = ground();
    for setting in ["citus.kept_connection_time = 0", "citus.max_cached_conns_per_worker = 0"] {
        g.connect().run(&format!("ALTER DATABASE {} SET {setting}", g.database));
        assert_eq!(g.visit(), None, "{setting}");
        assert!(within(20 * SECOND, || g.there(0).is_empty()), "{setting}");
        g.connect().run(&format!("ALTER DATABASE {} RESET ALL", g.database));
    }
    // Who does not want any does not take any.
    let pid = g.visit().expect("nothing was kept");
    let mut c = g.connect();
    c.run("SET citus.kept_connection_time = 0");
    g.ask(&mut c);
    assert_eq!(g.kept(), [pid]);
}

/// With two connections at most, kept ones make way at once, and all are counted exactly.
#[test]
fn they_make_way_where_connections_are_scarce() {
    let g = ground();
    for node in g.cluster.nodes() {
        node.connect(&g.database).run(
            "DO $$ BEGIN CREATE ROLE kept_poor LOGIN;
               EXCEPTION WHEN duplicate_object THEN END $$;
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO kept_poor",
        );
    }
    g.configure("SET citus.max_shared_pool_size = 2");
    for round in 0..3 {
        let pid = g.visit();
        assert!(pid.is_some(), "round {round}: nothing was kept");
        let began = Instant::now();
        let (mut a, mut b) = (g.connect_as("kept_poor"), g.connect_as("kept_poor"));
        a.run("BEGIN");
        g.ask(&mut a);
        assert_eq!(g.kept(), [pid.unwrap()], "round {round}");
        b.run("BEGIN");
        g.ask(&mut b);
        assert!(g.kept().is_empty(), "round {round}");
        assert!(began.elapsed() < 15 * SECOND, "round {round}: {:?}", began.elapsed());
        // No third one.
        let mut c = g.connect_as("kept_poor");
        c.run("SET citus.node_connection_timeout = '300ms'");
        let e = c.simple(&format!("SELECT v FROM t WHERE k = {}", g.key)).unwrap_err();
        assert_eq!(e.code(), "53300", "round {round}: {e}");
        drop((a, b, c));
        g.none_left();
    }
    g.configure("RESET citus.max_shared_pool_size");
}

#[test]
fn many_clients_at_once() {
    let g = ground();
    let began = Instant::now();
    std::thread::scope(|s| {
        for client in 0..20 {
            let g = &g;
            s.spawn(move || {
                for i in 0..15 {
                    let mut c = g.connect();
                    let k = client * 5 + i % 5 + 1;
                    assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {k}")), "v");
                    if i % 3 == 0 {
                        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
                    }
                }
            });
        }
    });
    println!("300 sessions in {:?}", began.elapsed());
    let there = [g.there(0).len(), g.there(1).len()];
    assert!(there.iter().all(|n| *n <= 64), "{there:?}");
    g.none_left();
}

#[test]
fn what_they_depend_on_changes() {
    let g = ground();
    let port = g.cluster.workers[1].port;
    let node = format!("'127.0.0.1', {port}, 'shouldhaveshards'");
    for change in [
        format!("SELECT citus_set_node_property({node}, false)"),
        format!("SELECT citus_set_node_property({node}, true)"),
        "CREATE ROLE kept_new; DROP ROLE kept_new".to_owned(),
        "ALTER ROLE postgres SET work_mem = '5MB'".to_owned(),
        "ALTER ROLE postgres RESET ALL".to_owned(),
        format!("ALTER DATABASE {} SET work_mem = '5MB'", g.database),
        format!("ALTER DATABASE {} RESET ALL", g.database),
    ] {
        g.visit().expect("nothing was kept");
        let mut c = g.connect();
        // Which would take the connection for itself.
        c.run("SET citus.enable_create_role_propagation = off");
        // Not before it has happened.
        c.run("BEGIN");
        c.run(&change);
        assert_eq!(g.kept().len(), 1, "{change}");
        c.run("ROLLBACK");
        assert_eq!(g.kept().len(), 1, "{change}");
        c.run(&change);
        assert!(g.kept().is_empty(), "{change}");
    }
}

#[test]
fn databases_can_be_dropped_and_renamed() {
    let g = ground();
    let name = &g.database;
    g.connect().run(&format!("ALTER DATABASE {name} SET citus.kept_connection_time = '2s'"));
    (0..50).find_map(|_| g.visit()).expect("nothing was kept");
    // On the worker the statement waits for five seconds at most, which is longer than they stay.
    let mut w = g.cluster.workers[0].connect("postgres");
    let began = Instant::now();
    w.run(&format!("DROP DATABASE {name}"));
    println!("on the worker after {:?}", began.elapsed());
    w.run(&format!("CREATE DATABASE {name} TEMPLATE citus_template"));
    let sql = format!("ALTER DATABASE {name} SET citus.kept_connection_time = '60s'");
    g.connect().run(&sql);
    let mut c = g.connect();
    // The node is not what it was; that it can be asked is enough here.
    assert_eq!(
        c.simple(&format!("SELECT v FROM t WHERE k = {}", g.key)).unwrap_err().code(),
        "42P01"
    );
    g.leave(c);
    assert_eq!(g.kept().len(), 1);
    let mut c = g.cluster.connect("postgres");
    let began = Instant::now();
    c.run(&format!("ALTER DATABASE {name} RENAME TO {name}_x"));
    c.run(&format!("DROP DATABASE {name}_x"));
    println!("on the coordinator after {:?}", began.elapsed());
    assert!(within(30 * SECOND, || g.there(0).is_empty()), "kept for a database that is gone");
}
