//! Distributed deadlocks: sessions that wait for each other in a circle over several nodes, of
//! which no node sees the whole. One of them is cancelled, nobody else is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::LazyLock;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error, ResultSet};
use citus_tests::cluster::Cluster;
use citus_tests::process;
use citus_tests::server::Kind;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(3, Kind::FAST, ""));

type Outcome = Result<Vec<ResultSet>, Error>;

/// A database with `t(k, v)` in 12 shards, rows 1 to 200, and the reference table `r`.
fn database(stem: &str) -> String {
    let name = CLUSTER.database(stem);
    CLUSTER.connect(&name).run(
        "CREATE TABLE t (k int PRIMARY KEY, v int);
         SELECT create_distributed_table('t', 'k', shard_count := 12);
         INSERT INTO t SELECT i, 0 FROM generate_series(1, 200) i;
         CREATE TABLE r (k int PRIMARY KEY, v int);
         SELECT create_reference_table('r');
         INSERT INTO r SELECT i, 0 FROM generate_series(1, 10) i",
    );
    name
}

/// Keys of `t` by the port of their node.
fn keys(c: &mut Conn) -> Vec<Vec<i32>> {
    let mut found: HashMap<String, Vec<i32>> = HashMap::new();
    let sql = "SELECT k, nodeport FROM t JOIN pg_dist_shard_placement p \
               ON p.shardid = get_shard_id_for_distribution_column('t', k) ORDER BY k";
    // A function of the coordinator over all rows.
    for row in c.rows(sql) {
        let (Some(k), Some(port)) = (&row[0], &row[1]) else { continue };
        found.entry(port.clone()).or_default().push(k.parse().unwrap());
    }
    let mut ports: Vec<_> = found.into_iter().collect();
    ports.sort();
    ports.into_iter().map(|p| p.1).collect()
}

fn update(k: i32) -> String {
    format!("UPDATE t SET v = v + 1 WHERE k = {k}")
}

/// Calls the detection until it is stopped; how many rounds ended a deadlock.
fn detect(database: &str, stop: &AtomicBool) -> usize {
    let mut c = CLUSTER.connect(database);
    let mut found = 0;
    while !stop.load(Ordering::Relaxed) {
        found += usize::from(c.value("SELECT check_distributed_deadlocks()") == "t");
        sleep(Duration::from_millis(100));
    }
    found
}

/// Runs each session's first statement in a transaction, then all second statements at the same
/// time, each followed by the end of the transaction as soon as it is through.
fn run(database: &str, sessions: &[(String, String)]) -> Vec<Outcome> {
    let mut conns: Vec<Conn> = Vec::new();
    for (first, _) in sessions {
        let mut c = CLUSTER.connect(database);
        c.run("BEGIN");
        c.run(first);
        conns.push(c);
        // The order in which they began is certain.
        sleep(Duration::from_millis(2));
    }
    let stop = AtomicBool::new(false);
    scope(|s| {
        s.spawn(|| detect(database, &stop));
        let running: Vec<_> = conns
            .iter_mut()
            .zip(sessions)
            .map(|(c, (_, second))| {
                s.spawn(move || {
                    let outcome = c.simple(second);
                    c.run(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" });
                    outcome
                })
            })
            .collect();
        let outcomes = running.into_iter().map(|r| r.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        outcomes
    })
}

/// The last session is the victim, as the youngest, and all others went through.
#[track_caller]
fn only_the_youngest(outcomes: &[Outcome], what: &str) {
    for (i, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(_) if i + 1 < outcomes.len() => {}
            Err(Error::Server(e)) if i + 1 == outcomes.len() => {
                assert_eq!(e.code, "40P01", "{what}: {e}");
                assert_eq!(
                    e.message,
                    "canceling the transaction since it was involved in a distributed deadlock"
                );
                let detail = e.detail.clone().unwrap_or_default();
                assert!(detail.lines().count() >= 1 && detail.contains(" waits for "), "{detail}");
            }
            other => panic!("{what}: session {i} of {}: {other:?}", outcomes.len()),
        }
    }
}

#[test]
fn circles_of_two_to_five_sessions() {
    let name = database("deadlock_circles");
    let keys = keys(&mut CLUSTER.connect(&name));
    assert_eq!(keys.len(), 3);
    let mut used = 0;
    let mut committed = 0;
    for nodes in 1..=3 {
        for sessions in 2..=5 {
            // Everybody holds a row and wants that of the next one; rows lie on the nodes by turns.
            let rows: Vec<i32> = (0..sessions).map(|s| keys[s % nodes][used + s]).collect();
            used += sessions;
            let work: Vec<(String, String)> = (0..sessions)
                .map(|s| (update(rows[s]), update(rows[(s + 1) % sessions])))
                .collect();
            let outcomes = run(&name, &work);
            if nodes == 1 {
                // The node finds it by itself, and chooses whom it likes.
                let failed: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
                assert_eq!(failed.len(), 1, "{outcomes:?}");
                assert_eq!(failed[0].code(), "40P01");
            } else {
                only_the_youngest(&outcomes, &format!("{sessions} over {nodes}"));
            }
            committed += 2 * (sessions - 1);
        }
    }
    let sum = CLUSTER.connect(&name).value("SELECT sum(v) FROM t");
    assert_eq!(sum, committed.to_string(), "the victims left nothing, the others everything");
}

#[test]
fn reference_tables_and_advisory_locks() {
    let name = database("deadlock_kinds");
    let mut c = CLUSTER.connect(&name);
    let keys = keys(&mut c);
    let reference = |k: i32| format!("UPDATE r SET v = v + 1 WHERE k = {k}");
    let outcomes =
        run(&name, &[(reference(1), update(keys[1][0])), (update(keys[1][0]), reference(1))]);
    only_the_youngest(&outcomes, "reference table");
    // Locks that functions take on the nodes: here, of a trigger on the shards.
    for w in &CLUSTER.workers {
        w.connect(&name).run(
            r"CREATE FUNCTION lock_it() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN PERFORM pg_advisory_xact_lock(NEW.v); RETURN NEW; END $$;
              DO $$ DECLARE shard regclass; BEGIN
                  FOR shard IN SELECT oid FROM pg_class WHERE relname ~ '^t_\d+$' LOOP
                      EXECUTE format('CREATE TRIGGER lock_it BEFORE UPDATE ON %s FOR EACH ROW
                          WHEN (NEW.v > 1000) EXECUTE FUNCTION lock_it()', shard);
                  END LOOP; END $$",
        );
    }
    let lock = |k: i32, key: i32| format!("UPDATE t SET v = {key} WHERE k = {k}");
    let (a, b) = (&keys[0], &keys[2]);
    let work = [(lock(a[2], 1007), lock(b[2], 1008)), (lock(b[3], 1008), lock(a[3], 1007))];
    only_the_youngest(&run(&name, &work), "advisory locks");
    // A multi-shard statement against two single rows.
    let all = "UPDATE t SET v = v + 1".to_owned();
    let (a, b) = (keys[0][1], keys[1][1]);
    let outcomes = run(&name, &[(update(a), update(b)), (update(b), all)]);
    only_the_youngest(&outcomes, "all shards");
}

#[test]
fn locks_of_the_coordinator_count() {
    let name = database("deadlock_local");
    let mut c = CLUSTER.connect(&name);
    let keys = keys(&mut c);
    c.run("CREATE TABLE plain (k int PRIMARY KEY); INSERT INTO plain VALUES (1)");
    let plain = "SELECT * FROM plain FOR UPDATE".to_owned();
    // The youngest waits for the coordinator's lock, in the executor.
    let k = keys[0][0];
    let outcomes = run(&name, &[(plain.clone(), update(k)), (update(k), plain.clone())]);
    only_the_youngest(&outcomes, "local row");
    // The youngest waits while its statement is analyzed.
    let lock = "LOCK TABLE plain".to_owned();
    let outcomes = run(&name, &[(lock.clone(), update(k)), (update(k), plain.clone())]);
    only_the_youngest(&outcomes, "local table");
    // In a block of PL/pgSQL the error can be handled like PostgreSQL's own.
    let handled = "DO $$ BEGIN PERFORM * FROM plain FOR UPDATE; EXCEPTION WHEN deadlock_detected \
                   THEN RAISE division_by_zero USING message = 'handled'; END $$";
    let outcomes = run(&name, &[(plain, update(k)), (update(k), handled.to_owned())]);
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert_eq!(outcomes[1].as_ref().map_err(Error::code).err(), Some("22012"));
}

#[test]
fn clients_of_a_worker_pass_waits_on() {
    let name = database("deadlock_stranger");
    let mut c = CLUSTER.connect(&name);
    let keys = keys(&mut c);
    let (a, b) = (keys[0][0], keys[1][0]);
    let place = |k: i32| format!("get_shard_id_for_distribution_column('t', {k})");
    let port = c.value(&format!(
        "SELECT nodeport FROM pg_dist_shard_placement WHERE shardid = {}",
        place(a)
    ));
    let node = CLUSTER.workers.iter().find(|w| w.port.to_string() == port).unwrap();
    let mut shard = |k: i32| c.value(&format!("SELECT shard_name('t', {})", place(k)));
    let d = keys[0][1];
    let (shard_a, shard_d) = (shard(a), shard(d));
    let mut stranger = node.connect(&name);
    let mut older = CLUSTER.connect(&name);
    let mut younger = CLUSTER.connect(&name);
    // It calls itself a session of somebody else, which changes nothing.
    let forged = older.value("SELECT citus_backend_gpid()");
    stranger.run(&format!("SET application_name = 'citus_internal gpid={forged}'"));
    // The older waits for the client of the worker, that one for the younger, which waits for the
    // older.
    older.run(&format!("BEGIN; {}", update(b)));
    stranger.run(&format!("BEGIN; SELECT k FROM {shard_a} WHERE k = {a} FOR UPDATE"));
    sleep(Duration::from_millis(2));
    younger.run(&format!("BEGIN; {}", update(d)));
    let stop = AtomicBool::new(false);
    scope(|s| {
        s.spawn(|| detect(&name, &stop));
        let first = s.spawn(|| older.simple(&update(a)).map(|_| older.run("COMMIT")));
        let second = s.spawn(|| {
            stranger.simple(&format!("UPDATE {shard_d} SET v = v WHERE k = {d}; COMMIT"))
        });
        let third = s.spawn(|| {
            let outcome = younger.simple(&update(b));
            younger.run("ROLLBACK");
            outcome
        });
        assert!(matches!(third.join().unwrap(), Err(Error::Server(e)) if e.code == "40P01"));
        assert!(second.join().unwrap().is_ok());
        assert!(first.join().unwrap().is_ok());
        stop.store(true, Ordering::Relaxed);
    });
    // What it called itself was not believed by the views either.
    let mut stranger = node.connect(&name);
    stranger.run(&format!("SET application_name = 'citus_internal gpid={forged}'"));
    let shown = c.rows(&format!(
        "SELECT is_worker_query, citus_pid_for_gpid(global_pid) FROM citus_stat_activity \
         WHERE pid = {} AND citus_nodeport_for_nodeid(nodeid) = {}",
        stranger.pid, node.port
    ));
    assert_eq!(shown, [[Some("f".to_owned()), Some(stranger.pid.to_string())]]);
}

#[test]
fn users_of_a_transaction_do_not_wait_for_each_other() {
    let name = database("deadlock_itself");
    let mut c = CLUSTER.connect(&name);
    let user = format!("{name}_user");
    c.run(&format!("CREATE ROLE {user} LOGIN"));
    for node in CLUSTER.workers.iter() {
        node.connect(&name).run(&format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}')
             THEN CREATE ROLE {user} LOGIN; END IF; END $$"
        ));
    }
    c.run(&format!("GRANT SELECT, UPDATE ON t TO {user}"));
    c.run(&format!("BEGIN; {}; SET LOCAL ROLE {user}", update(1)));
    c.run(&format!("{}; RESET ROLE; {}; COMMIT", update(1), update(1)));
    assert_eq!(c.value("SELECT v FROM t WHERE k = 1"), "3");
    for node in CLUSTER.nodes() {
        node.connect(&name).run(&format!("DROP OWNED BY {user}"));
    }
}

#[test]
fn what_is_prepared_belongs_to_its_session() {
    let name = database("deadlock_prepared");
    let keys = keys(&mut CLUSTER.connect(&name));
    for w in &CLUSTER.workers {
        w.connect(&name).run(
            r"CREATE FUNCTION lock_it() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN PERFORM pg_advisory_xact_lock(abs(NEW.v)); RETURN NEW; END $$;
              DO $$ DECLARE shard regclass; BEGIN
                  FOR shard IN SELECT oid FROM pg_class WHERE relname ~ '^t_\d+$' LOOP
                      EXECUTE format('CREATE TRIGGER now BEFORE UPDATE ON %s FOR EACH ROW
                          WHEN (NEW.v > 1000) EXECUTE FUNCTION lock_it()', shard);
                      EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON %s
                          DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                          WHEN (NEW.v < -1000) EXECUTE FUNCTION lock_it()', shard);
                  END LOOP; END $$",
        );
    }
    let set = |k: i32, v: i32| format!("UPDATE t SET v = {v} WHERE k = {k}");
    // One has prepared on a node, and on another its triggers wait for the other session.
    for (round, prepared_first) in [true, false].into_iter().enumerate() {
        let (a, b, c) = (keys[0][round], keys[1][round], keys[1][round + 10]);
        let committing = (format!("{}; {}", set(a, 1), set(b, -2001)), "COMMIT".to_owned());
        let other = (set(c, 2001), set(a, 2));
        let work = if prepared_first { [committing, other] } else { [other, committing] };
        only_the_youngest(&run(&name, &work), if prepared_first { "other" } else { "committing" });
        let v = CLUSTER.connect(&name).value(&format!("SELECT v FROM t WHERE k = {a}"));
        assert_eq!(v, if prepared_first { "1" } else { "2" });
    }
}

#[test]
fn what_a_node_is_still_rolling_back_is_in_no_circle() {
    let name = database("deadlock_rollback");
    let keys = keys(&mut CLUSTER.connect(&name));
    let mut ports: Vec<String> = CLUSTER.workers.iter().map(|w| w.port.to_string()).collect();
    ports.sort();
    let second = CLUSTER.workers.iter().find(|w| w.port.to_string() == ports[1]).unwrap();
    let (mut a, mut b) = (CLUSTER.connect(&name), CLUSTER.connect(&name));
    a.run(&format!("BEGIN; {}", update(keys[1][0])));
    let at_work = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                   AND state = 'idle in transaction'";
    let backend: i32 = second.connect(&name).value(at_work).parse().unwrap();
    assert!(process::signal(backend, libc::SIGSTOP));
    // Nobody waits for the node to have done that.
    a.run("ROLLBACK");
    b.run(&format!("BEGIN; {}", update(keys[0][0])));
    scope(|s| {
        let first = s.spawn(|| a.run(&format!("BEGIN; {}; COMMIT", update(keys[0][0]))));
        let other = s.spawn(|| b.run(&format!("{}; COMMIT", update(keys[1][0]))));
        let mut d = CLUSTER.connect(&name);
        let end = Instant::now() + Duration::from_secs(2);
        let mut found = false;
        while Instant::now() < end {
            found |= d.value("SELECT check_distributed_deadlocks()") == "t";
        }
        assert!(process::signal(backend, libc::SIGCONT));
        assert!(!found);
        first.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_node_that_hangs_does_not_stop_the_detection() {
    let cluster = Cluster::start(3, Kind::FAST, "");
    let name = cluster.database("deadlock_hanging");
    let mut c = cluster.connect(&name);
    c.run(
        "CREATE TABLE t (k int PRIMARY KEY, v int);
         SELECT create_distributed_table('t', 'k', shard_count := 12);
         INSERT INTO t SELECT i, 0 FROM generate_series(1, 200) i",
    );
    let keys = keys(&mut c);
    let mut ports: Vec<String> = cluster.workers.iter().map(|w| w.port.to_string()).collect();
    ports.sort();
    let hanging = cluster.workers.iter().find(|w| w.port.to_string() == ports[2]).unwrap();
    let (mut a, mut b) = (cluster.connect(&name), cluster.connect(&name));
    a.run(&format!("BEGIN; {}", update(keys[0][0])));
    sleep(Duration::from_millis(2));
    b.run(&format!("BEGIN; {}", update(keys[1][0])));
    // A connection that is made now waits for its answer until the end of days.
    let pid = hanging.pid().unwrap();
    assert!(process::signal(pid, libc::SIGSTOP));
    let outcome = scope(|s| {
        let first = s.spawn(|| a.simple(&update(keys[1][0])).map(|_| a.run("COMMIT")));
        let second = s.spawn(|| b.simple(&update(keys[0][0])));
        let mut d = cluster.connect(&name);
        let end = Instant::now() + Duration::from_secs(60);
        let mut longest = Duration::ZERO;
        loop {
            let start = Instant::now();
            let found = d.value("SELECT check_distributed_deadlocks()") == "t";
            longest = longest.max(start.elapsed());
            if found || Instant::now() > end {
                break;
            }
        }
        let outcome = (first.join().unwrap(), second.join().unwrap(), longest);
        assert!(process::signal(pid, libc::SIGCONT));
        outcome
    });
    assert!(outcome.0.is_ok(), "{outcome:?}");
    assert!(matches!(&outcome.1, Err(Error::Server(e)) if e.code == "40P01"), "{outcome:?}");
    assert!(outcome.2 < Duration::from_secs(20), "{outcome:?}");
}

#[test]
fn contention_without_circles_has_no_victims() {
    let name = database("deadlock_contention");
    let seconds = std::env::var("CONTENTION_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(4));
    let (done, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enough = || done.load(Ordering::Relaxed) > 20 && rounds.load(Ordering::Relaxed) > 20;
    // A slow machine gets more time.
    let last = end + Duration::from_secs(60);
    let go_on = || Instant::now() < end || (!enough() && Instant::now() < last);
    let stop = AtomicBool::new(false);
    scope(|s| {
        let detection = s.spawn(|| {
            let mut c = CLUSTER.connect(&name);
            let mut found = 0;
            while !stop.load(Ordering::Relaxed) {
                found += usize::from(c.value("SELECT check_distributed_deadlocks()") == "t");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            found
        });
        let clients: Vec<_> = (0..6)
            .map(|client| {
                let (name, done, go_on) = (&name, &done, &go_on);
                s.spawn(move || {
                    let mut c = CLUSTER.connect(name);
                    let mut turn = client;
                    while go_on() {
                        // Rows in ascending order: everybody waits for everybody, in one direction.
                        c.run("BEGIN");
                        for k in (1..=6).filter(|k| (turn + k) % 3 != 0) {
                            c.run(&update(k));
                        }
                        c.run("UPDATE r SET v = v + 1 WHERE k = 1");
                        c.run(if turn % 5 == 0 { "ROLLBACK" } else { "COMMIT" });
                        turn += 1;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = clients.into_iter().map(|c| c.join()).collect();
        stop.store(true, Ordering::Relaxed);
        let found = detection.join().unwrap();
        assert!(ended.iter().all(Result::is_ok), "a client failed");
        println!("{done:?} transactions, {rounds:?} looks, {found} victims");
        assert_eq!(found, 0);
        assert!(enough());
    });
}

#[test]
fn numbers_can_be_assigned() {
    let name = CLUSTER.database("deadlock_assign");
    let mut c = CLUSTER.connect(&name);
    let assign = "SELECT assign_distributed_transaction_id(50, 1234567, '2020-01-02 03:04:05+00')";
    c.run(&format!("BEGIN; {assign}; SET LOCAL timezone = 'UTC'"));
    let shown = "SELECT initiator_node_identifier, transaction_number, transaction_stamp \
                 FROM get_current_transaction_id()";
    let row: Vec<_> = c.rows(shown).remove(0).into_iter().flatten().collect();
    assert_eq!(row, ["50", "1234567", "2020-01-02 03:04:05+00"]);
    match c.simple(assign) {
        Err(Error::Server(e)) => assert_eq!(e.code, "55000"),
        other => panic!("{other:?}"),
    }
    c.run("ROLLBACK");
    assert_ne!(c.value("SELECT transaction_number FROM get_current_transaction_id()"), "1234567");
    for bad in ["-1, 1", "1, 0", "1, -1"] {
        let sql = format!("SELECT assign_distributed_transaction_id({bad}, now())");
        match c.simple(&sql) {
            Err(Error::Server(e)) => assert_eq!(e.code, "22023"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert_eq!(c.value("SELECT check_distributed_deadlocks()"), "f");
}

#[test]
fn sessions_are_shown_with_their_node() {
    let name = database("deadlock_views");
    let mut busy = CLUSTER.connect(&name);
    busy.run("BEGIN; SELECT count(*) FROM t");
    let mut c = CLUSTER.connect(&name);
    let gpid = busy.value("SELECT citus_backend_gpid()");
    assert_eq!(c.value(&format!("SELECT citus_pid_for_gpid({gpid})")), busy.pid.to_string());
    let ports = c.value(&format!(
        "SELECT string_agg(nodename || ':' || nodeport, ' ' ORDER BY nodeport) \
         FROM citus_worker_stat_activity WHERE global_pid = {gpid} AND state LIKE 'idle in%'"
    ));
    let mut expected: Vec<u16> = CLUSTER.workers.iter().map(|w| w.port).collect();
    expected.sort_unstable();
    let expected: Vec<_> = expected.iter().map(|p| format!("127.0.0.1:{p}")).collect();
    assert_eq!(ports, expected.join(" "));
    let clients = format!(
        "SELECT count(*) FROM citus_dist_stat_activity WHERE global_pid = {gpid} AND pid = {}",
        busy.pid
    );
    assert_eq!(c.value(&clients), "1");
    // The sessions with which a view asks are no clients either.
    let own = "SELECT count(*) FROM citus_dist_stat_activity \
               WHERE application_name LIKE 'citus_internal%'";
    assert_eq!(c.value(own), "0");
    let there = format!(
        "SELECT count(*) FROM get_global_active_transactions() \
         WHERE global_pid = {gpid} AND worker_query AND transaction_number = \
         (SELECT transaction_number FROM get_all_active_transactions() WHERE process_id = {})",
        busy.pid
    );
    assert_eq!(c.value(&there), "3");
}
