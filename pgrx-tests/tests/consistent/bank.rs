//! A bank: transfers between accounts on all shards, and readers that add them up.
//!
//! `CITUS_TEST_BANK_SECONDS=60` makes each part as long; `--nocapture` shows the numbers.

use super::CLUSTER;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ACCOUNTS: u64 = 1000;
const CLIENTS: u64 = 8;
const READERS: u64 = 4;

struct Result {
    transfers: u64,
    sums: u64,
    wrong: u64,
    retried: u64,
}

fn length() -> Duration {
    let given = std::env::var("CITUS_TEST_BANK_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(given.unwrap_or(2))
}

/// Transfers for some time while readers add up.
fn run(database: &str, readers: u64, setup: &str, begin: Option<&str>) -> Result {
    let (stop, end) = (AtomicBool::new(false), Instant::now() + length());
    let [transfers, sums, wrong, retried] = [const { AtomicU64::new(0) }; 4];
    std::thread::scope(|s| {
        for client in 0..CLIENTS {
            let (stop, transfers) = (&stop, &transfers);
            s.spawn(move || {
                let mut c = CLUSTER.connect(database);
                let mut random = client + 1;
                let mut next = || {
                    random =
                        random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    random >> 33
                };
                while !stop.load(Relaxed) {
                    let (a, b) = (next() % ACCOUNTS, next() % ACCOUNTS);
                    // In one order, so that nobody waits in a circle.
                    let (low, high) = (a.min(b), a.max(b));
                    if low == high {
                        continue;
                    }
                    let by = next() % 100;
                    c.run(&format!(
                        "BEGIN; UPDATE account SET balance = balance - {by} WHERE id = {low};
                         UPDATE account SET balance = balance + {by} WHERE id = {high}; COMMIT"
                    ));
                    transfers.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..readers {
            let (stop, sums, wrong, retried) = (&stop, &sums, &wrong, &retried);
            s.spawn(move || {
                let mut c = CLUSTER.connect(database);
                c.run(setup);
                let expected = (ACCOUNTS * 1000).to_string();
                let sql = "SELECT sum(balance) FROM account";
                while !stop.load(Relaxed) {
                    if let Some(begin) = begin {
                        c.run(begin);
                    }
                    match c.simple(sql) {
                        Ok(r) => {
                            sums.fetch_add(1, Relaxed);
                            let sum = r[0].rows[0][0].clone().unwrap_or_default();
                            wrong.fetch_add(u64::from(sum != expected), Relaxed);
                        }
                        Err(e) if e.code() == "40001" => {
                            retried.fetch_add(1, Relaxed);
                        }
                        Err(e) => panic!("{e}"),
                    }
                    if begin.is_some() {
                        c.run("COMMIT");
                    }
                }
            });
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        stop.store(true, Relaxed);
    });
    Result {
        transfers: transfers.into_inner(),
        sums: sums.into_inner(),
        wrong: wrong.into_inner(),
        retried: retried.into_inner(),
    }
}

#[test]
fn every_sum_is_right() {
    let database = CLUSTER.database("bank");
    let mut c = CLUSTER.connect(&database);
    c.run(&format!(
        "CREATE TABLE account (id int PRIMARY KEY, balance bigint);
         SELECT create_distributed_table('account', 'id', shard_count := 32);
         INSERT INTO account SELECT i, 1000 FROM generate_series(0, {ACCOUNTS} - 1) i"
    ));
    let rr = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    let serializable = "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY";
    let modes = [
        ("no readers", 0, "", None, true),
        ("read committed", READERS, "", None, false),
        ("repeatable read, off", READERS, "SET citus.consistent_reads = off", Some(rr), false),
        ("repeatable read", READERS, "", Some(rr), true),
        ("serializable", READERS, "", Some(serializable), true),
        ("read committed, on", READERS, "SET citus.consistent_reads = on", None, true),
    ];
    let mut torn = 0;
    for (name, readers, setup, begin, right) in modes {
        let r = run(&database, readers, setup, begin);
        println!(
            "{name}: {} transfers, {} sums, {} wrong, {} retried",
            r.transfers, r.sums, r.wrong, r.retried
        );
        assert!(r.transfers > 0 && (readers == 0 || r.sums > 0), "{name}");
        if right {
            assert_eq!(r.wrong, 0, "{name}");
        } else {
            torn += r.wrong;
        }
    }
    // Positive control: without, halves are seen; where sums are few it takes longer.
    for _ in 0..20 {
        if torn == 0 {
            torn = run(&database, READERS, "", None).wrong;
        }
    }
    assert!(torn > 0, "no torn read in the modes that allow it");
}
