//! More clients than nodes have room for: they wait for each other's connections and do not fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error};
use citus_tests::cluster::Cluster;
use citus_tests::forged;
use citus_tests::server::Kind;

const CLIENTS: usize = 500;
const ROWS: usize = 2000;

/// Workers with room for 100 connections and a coordinator with room for all clients. One test at a
/// time: a storm takes all processors.
fn narrow(clients: usize, room: usize) -> (Cluster, String, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let conf = format!("max_connections = {room}\nmax_locks_per_transaction = 64");
    let cluster = Cluster::start(2, Kind::FAST, &conf);
    let mut c = cluster.connect("postgres");
    c.run(&format!("ALTER SYSTEM SET max_connections = {}", clients + 50));
    drop(c);
    cluster.coordinator.restart().unwrap();
    let name = cluster.database("storm");
    let mut c = cluster.connect(&name);
    c.run("CREATE TABLE t (k int PRIMARY KEY, v int); SELECT create_distributed_table('t', 'k', shard_count := 8)");
    c.run(&format!("INSERT INTO t SELECT i, 0 FROM generate_series(1, {ROWS}) i"));
    (cluster, name, turn)
}

/// Changes a setting of the coordinator that a reload brings.
fn set(cluster: &Cluster, setting: &str, value: &str) {
    let mut c = cluster.connect("postgres");
    c.run(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
    c.run("SELECT pg_reload_conf()");
    let end = Instant::now() + Duration::from_secs(60);
    while cluster.connect("postgres").value(&format!("SHOW {setting}")) != value {
        assert!(Instant::now() < end, "{setting} is not reloaded");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What one client does in a turn: mostly one row, sometimes all shards, sometimes a block.
fn turn(c: &mut Conn, client: usize, n: usize) -> Result<(), Error> {
    let k = 1 + (client * 4 + n % 4) % ROWS;
    let sql = match n % 10 {
        3 | 7 => "SELECT count(*) FROM t WHERE k > 0".to_owned(),
        5 => format!("UPDATE t SET v = v + 1 WHERE k = {k}"),
        9 => format!(
            "BEGIN; SELECT v FROM t WHERE k = {k}; SELECT count(*) FROM t WHERE k > 0; COMMIT"
        ),
        _ => format!("SELECT v FROM t WHERE k = {k}"),
    };
    let answer = c.simple(&sql)?;
    if matches!(n % 10, 3 | 7) {
        assert_eq!(answer[0].rows[0][0].as_deref(), Some(ROWS.to_string().as_str()));
    }
    Ok(())
}

/// What a storm was like.
struct Storm {
    errors: BTreeMap<String, usize>,
    /// What each turn would take if all clients came equally often.
    fair: Duration,
    most: Duration,
    longest: Duration,
}

impl Storm {
    /// Nobody is passed over: most turns take a few times what is fair. How long that is, is measured
    /// as well, so a slow machine moves both.
    fn unfair(&self) -> Option<String> {
        let bound = Duration::from_secs(2) + self.fair * 4;
        let what = format!("99 % of turns took up to {:?}, over {bound:?}", self.most);
        (self.most >= bound).then_some(what)
    }

    /// The same for each of the turns. It does not hold while the nodes' room is being found out:
    /// who makes the connection that is one more waits for a process on a node without time for it.
    fn unfair_to_any(&self) -> Option<String> {
        let bound = Duration::from_secs(8) + self.fair * 8;
        let what = format!("a turn took {:?}, over {bound:?}", self.longest);
        self.unfair().or_else(|| (self.longest >= bound).then_some(what))
    }
}

/// A storm without an error that is fair. What else runs on this machine delays some turns and not
/// others, but hardly in three storms one after the other; who is passed over is so in each.
#[track_caller]
fn fair_storm(mut storm: impl FnMut() -> Storm, cluster: &Cluster, judge: Judge) {
    let mut unfair = Vec::new();
    for _ in 0..3 {
        let storm = storm();
        assert_eq!(storm.errors, BTreeMap::new(), "{}", cluster.workers[0].log_tail(5));
        let Some(what) = judge(&storm) else { return };
        println!("unfair: {what}");
        unfair.push(what);
    }
    panic!("three times: {unfair:?}");
}

type Judge = fn(&Storm) -> Option<String>;

/// Lets so many clients work at the same time.
fn storm(cluster: &Cluster, name: &str, clients: usize, time: Duration) -> Storm {
    let (errors, times) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    let (start, stop) = (Barrier::new(clients + 1), AtomicBool::new(false));
    let done = AtomicUsize::new(0);
    let took = std::thread::scope(|s| {
        for client in 0..clients {
            let (errors, times, start, stop, done) = (&errors, &times, &start, &stop, &done);
            let body = move || {
                let mut c = cluster.connect(name);
                // A session's first statements cost it much more than the later ones.
                let warm = [0, 3, 5, 9].into_iter().find_map(|n| turn(&mut c, client, n).err());
                if let Some(e) = warm {
                    *errors.lock().unwrap().entry(e.to_string()).or_default() += 1;
                    let _ = c.simple("ROLLBACK");
                }
                start.wait();
                let (first, mut mine) = (Instant::now(), Vec::new());
                for n in client.. {
                    let began = Instant::now();
                    if let Err(e) = turn(&mut c, client, n) {
                        *errors.lock().unwrap().entry(e.to_string()).or_default() += 1;
                        if e.code() == "lost" {
                            break;
                        }
                        let _ = c.simple("ROLLBACK");
                    }
                    mine.push((began.elapsed(), n % 10, began - first));
                    done.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                times.lock().unwrap().extend(mine);
            };
            std::thread::Builder::new().stack_size(512 * 1024).spawn_scoped(s, body).unwrap();
        }
        let began = Instant::now();
        start.wait();
        println!("{:.1} s until all are warm", began.elapsed().as_secs_f64());
        let began = Instant::now();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let turns = done.load(Ordering::Relaxed);
        (turns, began.elapsed())
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].0;
    let errors: BTreeMap<String, usize> = errors.into_inner().unwrap();
    let rate = took.0 as f64 / took.1.as_secs_f64();
    println!(
        "{clients} clients: {rate:.0} turns/s; median {:?}, 99 % {:?}, longest {:?}; {} errors",
        at(0.5),
        at(0.99),
        at(1.0),
        errors.values().sum::<usize>()
    );
    println!("the longest, with what was done (n % 10) and when it began: {:?}", last(&times, 5));
    let fair = Duration::from_secs_f64(clients as f64 / rate.max(0.01));
    Storm { errors, fair, most: at(0.99), longest: at(1.0) }
}

fn last<T>(all: &[T], n: usize) -> &[T] {
    &all[all.len().saturating_sub(n)..]
}

fn seconds() -> Duration {
    let given = std::env::var("CITUS_TEST_STORM_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(given.unwrap_or(4))
}

#[test]
fn five_hundred_clients_and_a_hundred_connections() {
    let (cluster, name, _turn) = narrow(CLIENTS, 100);
    // On a slow machine the last of them waits for longer than the usual limit.
    let patience = format!("ALTER DATABASE {name} SET citus.node_connection_timeout = '100s'");
    cluster.connect("postgres").run(&patience);
    // Nobody has said how many connections the nodes take: that is found out, in each storm.
    let mut found_out = false;
    let unprepared = || {
        if std::mem::replace(&mut found_out, true) {
            cluster.coordinator.restart().unwrap();
        }
        storm(&cluster, &name, CLIENTS, seconds())
    };
    fair_storm(unprepared, &cluster, Storm::unfair);
    set(&cluster, "citus.max_shared_pool_size", "80");
    // For comparison, no more clients than there is room for.
    for clients in [CLIENTS / 2, 80] {
        let storm = || storm(&cluster, &name, clients, seconds());
        fair_storm(storm, &cluster, Storm::unfair_to_any);
    }
}

/// Who waits in vain waits for `citus.node_connection_timeout`, 30 s.
const SOON: Duration = Duration::from_secs(15);

/// Runs a statement that must succeed soon.
#[track_caller]
fn soon(c: &mut Conn, sql: &str) {
    let began = Instant::now();
    c.run(sql);
    assert!(began.elapsed() < SOON, "{sql}: {:?}", began.elapsed());
}

/// Waits until it is so: a process whose connection was closed needs its time to end.
#[track_caller]
fn soon_true(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_idles_gives_way() {
    let (cluster, name, _turn) = narrow(100, 100);
    set(&cluster, "citus.max_shared_pool_size", "4");
    let mut idle: Vec<Conn> = (0..4).map(|_| cluster.connect(&name)).collect();
    for c in &mut idle {
        soon(c, "SELECT count(*) FROM t");
    }
    // They keep what they have while nobody wants it.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'citus\\_internal%'";
    let mut w = cluster.workers[0].connect(&name);
    soon_true("four sessions", || w.value(sessions) == "4");
    let mut others: Vec<Conn> = (0..6).map(|_| cluster.connect(&name)).collect();
    for c in &mut others {
        soon(c, "SELECT count(*) FROM t");
    }
    for c in &mut idle {
        soon(c, "SELECT count(*) FROM t");
    }
    soon_true("no more sessions", || w.value(sessions).parse::<usize>().unwrap() <= 4);
}

#[test]
fn who_works_is_waited_for() {
    let (cluster, name, _turn) = narrow(100, 100);
    set(&cluster, "citus.max_shared_pool_size", "2");
    let mut busy: Vec<Conn> = (0..2).map(|_| cluster.connect(&name)).collect();
    for c in &mut busy {
        soon(c, "BEGIN; SELECT count(*) FROM t");
    }
    // The limit of time holds, and the error says what to do.
    let mut other = cluster.connect(&name);
    other.run("SET citus.node_connection_timeout = '500ms'");
    let began = Instant::now();
    let e = other.simple("SELECT count(*) FROM t").unwrap_err();
    assert_eq!(e.code(), "53300", "{e}");
    assert!(e.to_string().contains("citus.max_shared_pool_size"), "{e}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // One that is waited for in vain, in all the ways that a wait can end, counts for nobody.
    other.run("SET citus.node_connection_timeout = '30s'; SET statement_timeout = '300ms'");
    assert_eq!(other.simple("SELECT count(*) FROM t").unwrap_err().code(), "57014");
    let mut third = cluster.connect(&name);
    third.send("SELECT count(*) FROM t").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    busy[0].run(&format!("SELECT pg_terminate_backend({})", third.pid));
    assert_eq!(third.receive().unwrap_err().code(), "57P01");
    // The next one waits until there is room.
    let mut next = cluster.connect(&name);
    next.send("SELECT count(*) FROM t").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    busy[0].run("COMMIT");
    next.receive().unwrap();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    drop((busy, other, next));
    // All of it is there again.
    let mut again: Vec<Conn> = (0..2).map(|_| cluster.connect(&name)).collect();
    for c in &mut again {
        soon(c, "BEGIN; SELECT count(*) FROM t");
    }
}

/// A session that holds connections already is not left waiting behind those that hold none.
#[test]
fn blocks_in_any_order_of_nodes() {
    let (cluster, name, _turn) = narrow(100, 100);
    set(&cluster, "citus.max_shared_pool_size", "8");
    let mut c = cluster.connect(&name);
    let key = |c: &mut Conn, n: usize| {
        c.value(&format!(
            "SELECT min(k) FROM t, pg_dist_placement p, pg_dist_node n
             WHERE p.shardid = get_shard_id_for_distribution_column('t', k)
               AND n.groupid = p.groupid AND n.nodeport = {}",
            cluster.workers[n].port
        ))
    };
    let keys = [key(&mut c, 0), key(&mut c, 1)];
    drop(c);
    let done = AtomicUsize::new(0);
    std::thread::scope(|s| {
        for client in 0..40 {
            let (keys, done, cluster, name) = (&keys, &done, &cluster, &name);
            s.spawn(move || {
                let mut c = cluster.connect(name);
                for n in 0..6 {
                    let (a, b) = (&keys[(client + n) % 2], &keys[(client + n + 1) % 2]);
                    c.run(&format!("BEGIN; SELECT v FROM t WHERE k = {a}"));
                    std::thread::sleep(Duration::from_millis(5));
                    c.run(&format!("SELECT v FROM t WHERE k = {b}; COMMIT"));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 240);
}

/// Another user in the same block needs a second connection to the same node: waiting for it would
/// be waiting for oneself.
#[test]
fn nobody_waits_for_himself() {
    let (cluster, name, _turn) = narrow(100, 100);
    for node in cluster.nodes() {
        node.connect("postgres").run("CREATE ROLE other LOGIN");
    }
    let mut c = cluster.connect(&name);
    c.run("GRANT SELECT ON t TO other");
    set(&cluster, "citus.max_shared_pool_size", "1");
    soon(&mut c, "BEGIN; SELECT count(*) FROM t");
    soon(&mut c, "SET LOCAL ROLE other; SELECT count(*) FROM t; COMMIT");
    soon(&mut c, "SELECT count(*) FROM t");
}

#[test]
fn connections_grow_old() {
    let (cluster, name, _turn) = narrow(100, 100);
    let mut c = cluster.connect(&name);
    let mut w = cluster.workers[0].connect(&name);
    let mut there = || {
        w.value(
            "SELECT string_agg(pid::text, ',') FROM pg_stat_activity
             WHERE application_name LIKE 'citus\\_internal%' AND datname = current_database()",
        )
    };
    let ask = "SELECT count(*) FROM t";
    let mut pid = |c: &mut Conn| {
        c.run(ask);
        let mut seen = String::new();
        soon_true("one session at most", || {
            seen = there();
            !seen.contains(',')
        });
        seen
    };
    let first = pid(&mut c);
    assert_ne!(first, "");
    assert_eq!(pid(&mut c), first);
    c.run("SET citus.max_cached_connection_lifetime = '2s'");
    std::thread::sleep(Duration::from_millis(2200));
    let mut second = pid(&mut c);
    // A new one that has become too old while it was used for the first time is not kept.
    for _ in 0..20 {
        if second.is_empty() {
            second = pid(&mut c);
        }
    }
    assert_ne!(second, first);
    assert_ne!(second, "");
    c.run("SET citus.max_cached_connection_lifetime = '-1'");
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(pid(&mut c), second);
    // None is kept.
    c.run("SET citus.max_cached_conns_per_worker = 0");
    c.run(ask);
    soon_true("none is kept", || there().is_empty());
}

/// What a node has prepared and nobody waits for any more holds locks that others may wait for, with
/// connections: recovery does not wait behind them.
#[test]
fn recovery_needs_no_room() {
    let (cluster, name, _turn) = narrow(100, 100);
    set(&cluster, "citus.max_shared_pool_size", "1");
    let mut busy = cluster.connect(&name);
    soon(&mut busy, "BEGIN; SELECT count(*) FROM t");
    let base = forged::base(&mut busy);
    let mut w = cluster.workers[0].connect(&name);
    w.run(&format!("BEGIN; CREATE TABLE orphan (k int); PREPARE TRANSACTION '{base}_aa_0'"));
    set(&cluster, "citus.recover_2pc_interval", "200ms");
    let end = Instant::now() + Duration::from_secs(60);
    while w.value("SELECT count(*) FROM pg_prepared_xacts") != "0" {
        assert!(Instant::now() < end, "{}", cluster.coordinator.log_tail(5));
        std::thread::sleep(Duration::from_millis(20));
    }
    busy.run("COMMIT");
}
