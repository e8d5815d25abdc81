//! kill -9 in the middle of transactions over several nodes: afterwards each transaction is there
//! on all nodes or on none, and what a client was told to be committed is there.
//!
//! Most of a transaction's time is not its commit, so the kills are aimed: each follows the moment
//! when a client sends COMMIT by a random part of the time that commits take. What they hit is
//! printed: transactions that a node had prepared, with and without a recorded decision.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error};
use citus_tests::cluster::Cluster;
use citus_tests::process;
use citus_tests::server::{Kind, Server};

const CLIENTS: usize = 4;
const TRANSACTIONS: u64 = 240;
const ACCOUNTS: u64 = 40;
const KILLS: u64 = 10;

const SCHEMA: &str = include_str!("crash.sql");

/// What a client knows about one of its transactions.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Committed,
    RolledBack,
    Unknown,
}

/// Errors that clients saw, with their number.
type Said = Mutex<BTreeMap<String, usize>>;

/// Who is committing, for the one who kills.
#[derive(Default)]
struct Aim {
    /// Backends of the coordinator that were told to commit and did not answer yet.
    committing: Mutex<Vec<i32>>,
    another: Condvar,
    /// How long the last commit that went well took, in microseconds.
    takes: AtomicU64,
    hits: AtomicU64,
    taken: AtomicU64,
}

impl Aim {
    /// Runs a COMMIT under the eyes of the killer.
    fn commit<T>(&self, pid: i32, commit: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.committing.lock().unwrap().push(pid);
        self.another.notify_all();
        let began = Instant::now();
        let result = commit();
        self.committing.lock().unwrap().retain(|p| *p != pid);
        if result.is_ok() {
            self.takes.store(began.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        result
    }

    /// Waits until somebody begins to commit and then for a part of a commit's time; gives back a
    /// backend that is committing still, or was the one waited for. Aims again while half have missed.
    fn take(&self, part: f64) -> Option<i32> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        for again in (0..5).rev() {
            let list = self.committing.lock().unwrap();
            let (list, _) = self.another.wait_timeout(list, Duration::from_secs(2)).unwrap();
            let pid = list.last().copied();
            drop(list);
            let micros = self.takes.load(Ordering::Relaxed).clamp(500, 50_000);
            std::thread::sleep(Duration::from_micros((micros as f64 * part) as u64));
            let hit = !self.committing.lock().unwrap().is_empty();
            let hits = self.hits.fetch_add(u64::from(hit), Ordering::Relaxed) + u64::from(hit);
            if hit || again == 0 || hits * 2 >= taken {
                return pid;
            }
        }
        None
    }
}

/// How many rows of `entries` each kind of transaction leaves.
const ENTRIES: u64 = 6;

/// The statements of transaction `tx`; every kind writes on both nodes.
fn statements(tx: u64) -> Vec<String> {
    let (a, b) = (1 + tx * 7 % ACCOUNTS, 1 + (tx * 13 + 5) % ACCOUNTS);
    let (low, high) = (a.min(b), a.max(b));
    let values = |from: u64, to: u64| {
        (from..to)
            .map(|i| format!("({}, {tx}, 'v')", tx * ENTRIES + i))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut list = vec![
        "SET LOCAL lock_timeout = '1s'".to_owned(),
        "SET LOCAL statement_timeout = '20s'".to_owned(),
        format!("UPDATE accounts SET balance = balance - 10 WHERE k = {low}"),
        format!("UPDATE accounts SET balance = balance + 10 WHERE k = {high}"),
    ];
    match tx % 4 {
        0 => list.push(format!("INSERT INTO entries VALUES {}", values(0, ENTRIES))),
        1 => {
            list.push(format!("INSERT INTO entries VALUES {}", values(0, 3)));
            list.push("SAVEPOINT s".to_owned());
            list.push(format!(
                "INSERT INTO entries VALUES (1, {tx}, 'undone'), (2, {tx}, 'undone')"
            ));
            list.push(format!("UPDATE accounts SET balance = 0 WHERE k = {low}"));
            list.push("ROLLBACK TO s".to_owned());
            list.push(format!("INSERT INTO entries VALUES {}", values(3, ENTRIES)));
        }
        2 => list.push(format!(
            "INSERT INTO entries SELECT {} + i, {tx}, 's' FROM generate_series(0, {}) i",
            tx * ENTRIES,
            ENTRIES - 1
        )),
        _ => {
            list.push(format!("INSERT INTO entries VALUES {}", values(0, ENTRIES)));
            list.push(format!("UPDATE entries SET what = 'changed' WHERE tx = {tx}"));
        }
    }
    if marked(tx) {
        list.push(format!("INSERT INTO marks VALUES ({tx})"));
    }
    list
}

/// Whether a transaction writes to the reference table, which has a copy on the coordinator: then
/// the coordinator's commit decides. Otherwise the nodes decide together.
fn marked(tx: u64) -> bool {
    !tx.is_multiple_of(3)
}

/// Runs a transaction; the texts of errors are counted in `said`.
fn transaction(c: &mut Conn, tx: u64, aim: &Aim, said: &Said) -> Fate {
    let mut attempt = || {
        c.simple("BEGIN")?;
        for sql in statements(tx) {
            c.simple(&sql)?;
        }
        Ok::<(), Error>(())
    };
    if let Err(e) = attempt() {
        *said.lock().unwrap().entry(e.to_string()).or_default() += 1;
        let _ = c.simple("ROLLBACK");
        // Nothing was asked to commit, so nothing may be there.
        return Fate::RolledBack;
    }
    if tx.is_multiple_of(11) {
        let _ = c.simple("ROLLBACK");
        return Fate::RolledBack;
    }
    match aim.commit(c.pid, || c.simple("COMMIT")) {
        // The tag tells a COMMIT from a COMMIT that became a ROLLBACK.
        Ok(r) if r.first().is_some_and(|r| r.tag == "COMMIT") => Fate::Committed,
        Ok(_) => Fate::RolledBack,
        Err(e) => {
            *said.lock().unwrap().entry(format!("COMMIT: {e}")).or_default() += 1;
            Fate::Unknown
        }
    }
}

/// Runs transactions until all are done; reconnects when the server went away.
fn client(
    cluster: &Cluster,
    database: &str,
    next: &AtomicU64,
    fates: &Mutex<BTreeMap<u64, Fate>>,
    aim: &Aim,
    said: &Said,
) {
    let mut conn: Option<Conn> = None;
    loop {
        let tx = next.fetch_add(1, Ordering::SeqCst);
        if tx > TRANSACTIONS {
            return;
        }
        let end = Instant::now() + Duration::from_secs(60);
        while conn.is_none() && Instant::now() < end {
            conn = cluster.coordinator.try_connect(database).ok();
            if conn.is_none() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let Some(c) = conn.as_mut() else { return };
        let fate = transaction(c, tx, aim, said);

        if fate != Fate::Committed {
            // The session may be lost, and a node may need its time.
            let end = Instant::now() + Duration::from_secs(60);
            while c
                .simple("SELECT count(*) FROM entries WHERE k < 0")
                .is_err_and(|e| e.code() != "lost")
                && Instant::now() < end
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            if c.simple("SELECT 1").is_err() {
                conn = None;
            }
        }
        fates.lock().unwrap().insert(tx, fate);
    }
}

/// Process ids of the backends that work for another node on a server.
fn node_sessions(server: &Server, database: &str) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
               AND pid <> pg_backend_pid() AND datname = current_database()
               AND application_name LIKE 'citus\\_%'";
    let rows = server.try_connect(database).and_then(|mut c| c.simple(sql)).unwrap_or_default();
    let pids = rows.into_iter().flat_map(|r| r.rows).flatten().flatten();
    pids.filter_map(|p| p.parse().ok()).collect()
}

/// Kills at the moment that `take` gives.
type Kill = fn(&Cluster, &str, &mut dyn FnMut() -> Option<i32>);

fn kill_worker_backend(cluster: &Cluster, database: &str, take: &mut dyn FnMut() -> Option<i32>) {
    let sessions = node_sessions(&cluster.workers[0], database);
    let at = take().map_or(0, |pid| pid as usize);
    if !sessions.is_empty() {
        process::crash(sessions[at % sessions.len()]);
    }
}

/// Kills a server and starts it again.
fn crash(server: &Server) {
    server.end(libc::SIGKILL);
    std::thread::sleep(Duration::from_millis(200));
    server.start().unwrap();
}

fn kill_worker(cluster: &Cluster, _: &str, take: &mut dyn FnMut() -> Option<i32>) {
    take();
    crash(&cluster.workers[1]);
}

fn kill_coordinator(cluster: &Cluster, _: &str, take: &mut dyn FnMut() -> Option<i32>) {
    take();
    crash(&cluster.coordinator);
}

fn kill_coordinator_backend(_: &Cluster, _: &str, take: &mut dyn FnMut() -> Option<i32>) {
    if let Some(pid) = take() {
        process::crash(pid);
    }
}

/// What a kill left, or a client that goes on has just now: how many transactions nodes have
/// prepared for which the coordinator has recorded a decision, and for which it has not.
fn between_phases(cluster: &Cluster, database: &str) -> (usize, usize) {
    let read = |server: &Server, sql: &str| -> Vec<String> {
        let rows = server.try_connect(database).and_then(|mut c| c.simple(sql)).unwrap_or_default();
        rows.into_iter().flat_map(|r| r.rows).flatten().flatten().collect()
    };
    let decided = read(&cluster.coordinator, "SELECT gid FROM pg_dist_transaction");
    let prepared = cluster.workers.iter().flat_map(|w| {
        read(w, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
    });
    let (yes, no): (Vec<_>, Vec<_>) = prepared.partition(|gid| decided.contains(gid));
    (yes.len(), no.len())
}

/// Random parts of 1: the moments differ from run to run.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Dice(now.as_nanos() as u64 | 1)
    }

    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % 1000) as f64 / 1000.0
    }
}

/// Runs the transactions with `kill` in their midst and checks what is left.
fn torture(kill: Kill) {
    // Recovery goes on all the time, also while transactions commit.
    let conf = "deadlock_timeout = '200ms'\ncitus.recover_2pc_interval = '300ms'";
    let cluster = Cluster::start(2, Kind::DURABLE, conf);
    let database = cluster.database("crash");
    cluster.connect(&database).run(SCHEMA);
    let (next, done) = (AtomicU64::new(1), AtomicBool::new(false));
    let fates = Mutex::new(BTreeMap::new());
    let (aim, said) = (Aim::default(), Said::default());
    let began = Instant::now();
    let left = std::thread::scope(|s| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| s.spawn(|| client(&cluster, &database, &next, &fates, &aim, &said)))
            .collect();
        let killer = s.spawn(|| kills(kill, &cluster, &database, &next, &done, &aim));
        clients.into_iter().for_each(|c| c.join().unwrap());
        done.store(true, Ordering::SeqCst);
        killer.join().unwrap()
    });
    for node in cluster.nodes() {
        node.wait_ready().unwrap();
    }
    println!("{:.1} s", began.elapsed().as_secs_f64());
    said.into_inner().unwrap().iter().for_each(|(text, n)| println!("{n} x {text}"));
    let hits = aim.hits.into_inner();
    println!("{hits} of {KILLS} kills hit a commit; prepared and decided, prepared only: {left:?}");
    assert!(hits >= KILLS / 2, "only {hits} of {KILLS} kills hit a commit");
    let fates = fates.into_inner().unwrap();
    let count = |f: Fate| fates.values().filter(|&&x| x == f).count();
    let counts = (count(Fate::Committed), count(Fate::RolledBack), count(Fate::Unknown));
    println!("committed, rolled back, unknown: {counts:?}");
    assert_eq!(fates.len() as u64, TRANSACTIONS);
    assert!(counts.0 > TRANSACTIONS as usize / 3, "too few transactions went through: {counts:?}");
    recover(&cluster, &database);
    let wrong = findings(&cluster, &database, &fates);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The cluster is as good as before.
    let mut c = cluster.connect(&database);
    c.run("UPDATE accounts SET balance = balance + 1; INSERT INTO marks VALUES (-1)");
}

/// Kills again and again, and counts what was between the two phases then.
fn kills(
    kill: Kill,
    cluster: &Cluster,
    database: &str,
    next: &AtomicU64,
    done: &AtomicBool,
    aim: &Aim,
) -> (usize, usize) {
    let (mut dice, mut left) = (Dice::new(), (0, 0));
    for n in 1..=KILLS {
        while next.load(Ordering::SeqCst) < n * TRANSACTIONS / (KILLS + 1)
            && !done.load(Ordering::SeqCst)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(cluster, database, &mut || aim.take(dice.roll()));
        if cluster.nodes().all(|n| n.wait_ready().is_ok()) {
            let (decided, undecided) = between_phases(cluster, database);
            left = (left.0 + decided, left.1 + undecided);
            // Recovery while transactions run must leave those alone.
            let recovery = "SELECT recover_prepared_transactions()";
            let connected = cluster.coordinator.try_connect(database);
            let _ = connected.and_then(|mut c| c.simple(recovery));
        }
    }
    left
}

/// What is wrong with the cluster, given what the clients know.
fn findings(cluster: &Cluster, database: &str, fates: &BTreeMap<u64, Fate>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut c = cluster.connect(database);
    for node in cluster.nodes() {
        let left = node.connect(database).value("SELECT count(*) FROM pg_prepared_xacts");
        if left != "0" {
            wrong.push(format!("{left} prepared transactions left on {}", node.name));
        }
    }
    let mut present: BTreeMap<u64, u64> = BTreeMap::new();
    for row in c.rows("SELECT tx, count(*) FROM entries GROUP BY tx") {
        let number = |i: usize| row[i].as_ref().and_then(|v: &String| v.parse().ok()).unwrap_or(0);
        present.insert(number(0), number(1));
    }
    for (&tx, &fate) in fates {
        let rows = present.get(&tx).copied().unwrap_or(0);
        let whole = rows == ENTRIES && fate != Fate::RolledBack;
        let nothing = rows == 0 && fate != Fate::Committed;
        if !whole && !nothing {
            wrong.push(format!("transaction {tx}, {fate:?}: {rows} of {ENTRIES} rows"));
        }
    }
    let total = c.value("SELECT sum(balance) FROM accounts");
    if total != (ACCOUNTS * 1000).to_string() {
        wrong.push(format!("money was made or lost: {total}"));
    }
    let expected: Vec<String> =
        present.keys().filter(|tx| marked(**tx)).map(u64::to_string).collect();
    let sql = "SELECT result FROM run_command_on_placements('marks', 'SELECT string_agg(tx::text, '','' ORDER BY tx) FROM %s')";
    let replicas = c.rows(sql);
    if replicas.len() < 2 {
        wrong.push(format!("too few replicas of marks: {replicas:?}"));
    }
    for replica in replicas {
        let found = replica[0].clone().unwrap_or_default();
        if found != expected.join(",") {
            wrong.push(format!("a replica of marks differs: {found}"));
        }
    }
    wrong
}

/// Finishes what the crashes interrupted; sessions that still end may need a second call.
fn recover(cluster: &Cluster, database: &str) {
    let left = || -> usize {
        let count =
            |n: &Server| n.connect(database).value("SELECT count(*) FROM pg_prepared_xacts");
        cluster.nodes().map(|n| count(n).parse().unwrap_or(1)).sum()
    };
    for _ in 0..20 {
        cluster.connect(database).run("SELECT recover_prepared_transactions()");
        if left() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn worker_backends_are_killed() {
    torture(kill_worker_backend);
}

#[test]
fn a_worker_is_killed() {
    torture(kill_worker);
}

#[test]
fn the_coordinator_is_killed() {
    torture(kill_coordinator);
}

#[test]
fn coordinator_backends_are_killed() {
    torture(kill_coordinator_backend);
}

/// The check itself: it must see every kind of torn transaction.
#[test]
fn torn_transactions_are_seen() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let database = cluster.database("torn");
    let mut c = cluster.connect(&database);
    c.run(SCHEMA);
    let (aim, said) = (Aim::default(), Said::default());
    let mut fates = BTreeMap::new();
    for tx in 1..=12 {
        fates.insert(tx, transaction(&mut c, tx, &aim, &said));
    }
    assert_eq!(said.into_inner().unwrap().len(), 0);
    assert_eq!(fates[&1], Fate::Committed);
    assert_eq!(fates[&11], Fate::RolledBack);
    assert_eq!(findings(&cluster, &database, &fates), Vec::<String>::new());

    // The shards of a table on a worker, as one would find them if that node alone had lost or
    // kept its part.
    let mut worker = cluster.workers[0].connect(&database);
    let mut shard = |like: &str| {
        let sql = format!("SELECT relname FROM pg_class WHERE relname ~ '^{like}_[0-9]+$' AND relkind = 'r' ORDER BY 1 LIMIT 1");
        worker.value(&sql)
    };
    let (entries, accounts, marks) = (shard("entries"), shard("accounts"), shard("marks"));
    let tx = worker.value(&format!("SELECT max(tx) FROM {entries}"));
    let k = worker.value(&format!("SELECT max(k) FROM {accounts}"));
    let mut planted = |plant: &str, undo: &str, expected: &str| {
        worker.run(plant);
        let wrong = findings(&cluster, &database, &fates);
        assert!(wrong.iter().any(|w| w.contains(expected)), "{plant}: {wrong:?}");
        worker.run(undo);
        assert_eq!(findings(&cluster, &database, &fates), Vec::<String>::new(), "{undo}");
    };
    planted(
        &format!("CREATE TABLE lost AS SELECT * FROM {entries} WHERE tx = {tx}; DELETE FROM {entries} WHERE tx = {tx}"),
        &format!("INSERT INTO {entries} SELECT * FROM lost"),
        &format!("transaction {tx}, Committed"),
    );
    planted(
        &format!("INSERT INTO {entries} VALUES (1, 11, 'kept')"),
        &format!("DELETE FROM {entries} WHERE tx = 11"),
        "transaction 11, RolledBack: 1 of 6",
    );
    planted(
        &format!("UPDATE {accounts} SET balance = balance - 10 WHERE k = {k}"),
        &format!("UPDATE {accounts} SET balance = balance + 10 WHERE k = {k}"),
        "money",
    );
    planted(
        &format!("DELETE FROM {marks} WHERE tx = 1"),
        &format!("INSERT INTO {marks} VALUES (1)"),
        "a replica of marks differs",
    );
    planted(
        &format!("BEGIN; DELETE FROM {marks} WHERE tx = 1; PREPARE TRANSACTION 'left'"),
        "ROLLBACK PREPARED 'left'",
        "1 prepared transactions left on worker1",
    );
    // What a client believes is compared too.
    for (tx, fate) in [(1, Fate::RolledBack), (11, Fate::Committed)] {
        let before = fates.insert(tx, fate).unwrap();
        assert_eq!(findings(&cluster, &database, &fates).len(), 1);
        fates.insert(tx, before);
    }
}
