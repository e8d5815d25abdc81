//! kill -9 in the middle of transactions over several nodes: afterwards each transaction is there
//! on all nodes or on none, and what a client was told to be committed is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error};
use citus_tests::cluster::Cluster;
use citus_tests::process;
use citus_tests::server::{Kind, Server};

const CLIENTS: usize = 4;
const TRANSACTIONS: u64 = 240;
const ACCOUNTS: u64 = 40;
const KILLS: u64 = 3;

const SCHEMA: &str = "
CREATE TABLE accounts (k INT PRIMARY KEY, balance BIGINT);
SELECT create_distributed_table('accounts', 'k', shard_count := 4);
CREATE TABLE entries (k INT, tx BIGINT, what TEXT);
SELECT create_distributed_table('entries', 'k', colocate_with := 'accounts');
CREATE TABLE marks (tx BIGINT PRIMARY KEY);
SELECT create_reference_table('marks');
INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 40) i;
";

/// What a client knows about one of its transactions.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Committed,
    RolledBack,
    Unknown,
}

/// Errors that clients saw, with their number.
type Said = Mutex<BTreeMap<String, usize>>;

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
    list.push(format!("INSERT INTO marks VALUES ({tx})"));
    list
}

/// Runs a transaction; the texts of errors are counted in `said`.
fn transaction(c: &mut Conn, tx: u64, said: &Said) -> Fate {
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
    match c.simple("COMMIT") {
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
        let fate = transaction(c, tx, said);

        if fate != Fate::Committed {
            // The session may be lost, and a node may need its time.
            let end = Instant::now() + Duration::from_secs(10);
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

/// A process id of a backend that works for a client or for another node.
fn some_backend(server: &Server, database: &str) -> Option<i32> {
    let mut c = server.try_connect(database).ok()?;
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
               AND datname = current_database() ORDER BY state = 'active' DESC, random() LIMIT 1";
    let rows = c.simple(sql).ok()?.pop()?.rows;
    rows.first()?.first()?.as_ref()?.parse().ok()
}

type Kill = fn(&Cluster, &str);

fn kill_worker_backend(cluster: &Cluster, database: &str) {
    if let Some(pid) = some_backend(&cluster.workers[0], database) {
        process::signal(pid, libc::SIGKILL);
    }
}

fn kill_worker(cluster: &Cluster, _: &str) {
    cluster.workers[1].end(libc::SIGKILL);
    std::thread::sleep(Duration::from_millis(200));
    cluster.workers[1].start().unwrap();
}

fn kill_coordinator(cluster: &Cluster, _: &str) {
    cluster.coordinator.end(libc::SIGKILL);
    std::thread::sleep(Duration::from_millis(200));
    cluster.coordinator.start().unwrap();
}

fn kill_coordinator_backend(cluster: &Cluster, database: &str) {
    if let Some(pid) = some_backend(&cluster.coordinator, database) {
        process::signal(pid, libc::SIGKILL);
    }
}

/// Runs the transactions with `kill` in their midst and checks what is left.
fn torture(kill: Kill) {
    let cluster = Cluster::start(2, Kind::DURABLE, "deadlock_timeout = '200ms'");
    let database = cluster.database("crash");
    cluster.connect(&database).run(SCHEMA);
    let (next, done) = (AtomicU64::new(1), AtomicBool::new(false));
    let fates = Mutex::new(BTreeMap::new());
    let said = Said::default();
    let began = Instant::now();
    std::thread::scope(|s| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| s.spawn(|| client(&cluster, &database, &next, &fates, &said)))
            .collect();
        s.spawn(|| {
            for n in 1..=KILLS {
                while next.load(Ordering::SeqCst) < n * TRANSACTIONS / (KILLS + 1)
                    && !done.load(Ordering::SeqCst)
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                kill(&cluster, &database);
                // Recovery while transactions run must leave those alone.
                if cluster.nodes().all(|n| n.wait_ready().is_ok()) {
                    let recovery = "SELECT recover_prepared_transactions()";
                    let _ = cluster
                        .coordinator
                        .try_connect(&database)
                        .and_then(|mut c| c.simple(recovery));
                }
            }
        });
        clients.into_iter().for_each(|c| c.join().unwrap());
        done.store(true, Ordering::SeqCst);
    });
    for node in cluster.nodes() {
        node.wait_ready().unwrap();
    }
    println!("{:.1} s", began.elapsed().as_secs_f64());
    said.into_inner().unwrap().iter().for_each(|(text, n)| println!("{n} x {text}"));
    check(&cluster, &database, &fates.into_inner().unwrap());
}

fn check(cluster: &Cluster, database: &str, fates: &BTreeMap<u64, Fate>) {
    recover(cluster, database);
    let mut c = cluster.connect(database);
    for node in cluster.nodes() {
        let left = node.connect(database).value("SELECT count(*) FROM pg_prepared_xacts");
        assert_eq!(left, "0", "prepared transactions left on {}", node.name);
    }
    let count = |f: Fate| fates.values().filter(|&&x| x == f).count();
    let counts = (count(Fate::Committed), count(Fate::RolledBack), count(Fate::Unknown));
    println!("committed, rolled back, unknown: {counts:?}");
    assert_eq!(fates.len() as u64, TRANSACTIONS);
    assert!(counts.0 > TRANSACTIONS as usize / 3, "too few transactions went through: {counts:?}");
    let mut present: BTreeMap<u64, u64> = BTreeMap::new();
    for row in c.rows("SELECT tx, count(*) FROM entries GROUP BY tx") {
        let number = |i: usize| row[i].as_ref().and_then(|v: &String| v.parse().ok()).unwrap_or(0);
        present.insert(number(0), number(1));
    }
    let mut wrong = Vec::new();
    for (&tx, &fate) in fates {
        let rows = present.get(&tx).copied().unwrap_or(0);
        let whole = rows == ENTRIES && fate != Fate::RolledBack;
        let nothing = rows == 0 && fate != Fate::Committed;
        if !whole && !nothing {
            wrong.push(format!("{tx} {fate:?}: {rows} of {ENTRIES} rows"));
        }
    }
    assert!(wrong.is_empty(), "torn or lost transactions:\n{}", wrong.join("\n"));
    let total = c.value("SELECT sum(balance) FROM accounts");
    assert_eq!(total, (ACCOUNTS * 1000).to_string(), "money was made or lost");
    let expected: Vec<String> = present.keys().map(u64::to_string).collect();
    let sql = "SELECT result FROM run_command_on_placements('marks', 'SELECT string_agg(tx::text, '','' ORDER BY tx) FROM %s')";
    let replicas = c.rows(sql);
    assert!(replicas.len() >= 2, "{replicas:?}");
    for replica in replicas {
        assert_eq!(
            replica[0].clone().unwrap_or_default(),
            expected.join(","),
            "a replica of marks differs"
        );
    }
    // The cluster is as good as before.
    c.run("UPDATE accounts SET balance = balance + 1; INSERT INTO marks VALUES (-1)");
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
