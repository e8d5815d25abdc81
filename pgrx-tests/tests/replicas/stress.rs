//! Many sessions write the same rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::LazyLock;
use std::thread::scope;
use std::time::{Duration, Instant};

use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

use super::equal_copies;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

const SESSIONS: u64 = 8;

/// How long a stress lasts; `CITUS_TEST_STRESS_SECONDS` makes it longer.
fn duration() -> Duration {
    let given = std::env::var("CITUS_TEST_STRESS_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(given.unwrap_or(4))
}

/// Numbers that differ by seed, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

/// Runs statements that `make` thinks of in all sessions; what happened how often, by SQLSTATE
/// (`ok` when nothing did).
fn run(database: &str, make: impl Fn(&mut Random) -> String + Sync) -> BTreeMap<String, usize> {
    let end = Instant::now() + duration();
    let mut all = BTreeMap::new();
    let make = &make;
    let stop = AtomicBool::new(false);
    scope(|s| {
        // A deadlock over nodes ends at once, and is seen.
        s.spawn(|| {
            let mut c = CLUSTER.connect(database);
            while !stop.load(Ordering::Relaxed) {
                c.run("SELECT check_distributed_deadlocks()");
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let running: Vec<_> = (0..SESSIONS)
            .map(|n| {
                s.spawn(move || {
                    let (mut c, mut random) = (CLUSTER.connect(database), Random(n + 1));
                    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
                    while Instant::now() < end {
                        let sql = make(&mut random);
                        let what = match c.simple(&sql) {
                            Ok(_) => "ok".to_owned(),
                            Err(e) => {
                                if e.code() != "23505" {
                                    println!("{sql}: {e}");
                                }
                                if c.status != b'I' {
                                    c.run("ROLLBACK");
                                }
                                e.code().to_owned()
                            }
                        };
                        *seen.entry(what).or_default() += 1;
                    }
                    seen
                })
            })
            .collect();
        for r in running {
            for (what, n) in r.join().unwrap_or_default() {
                *all.entry(what).or_default() += n;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{database}: {all:?}");
    all
}

#[track_caller]
fn all_went_well(seen: &BTreeMap<String, usize>, allowed: &[&str]) {
    let bad: Vec<_> = seen
        .iter()
        .filter(|(what, _)| *what != "ok" && !allowed.contains(&what.as_str()))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert!(seen.get("ok").is_some_and(|n| *n > 50), "{seen:?}");
}

const TABLE: &str = "CREATE TABLE r (k int PRIMARY KEY, v int, w text)";
const ROWS: &str = "INSERT INTO r SELECT i, 0, '' FROM generate_series(1, 20) i";

/// A database with table `r` as made by the statement.
fn database(stem: &str, distribute: &str) -> String {
    let name = CLUSTER.database(stem);
    let mut c = CLUSTER.connect(&name);
    c.run(TABLE);
    c.run(distribute);
    c.run(ROWS);
    name
}

/// Statements of all kinds on the same few rows.
fn any(r: &mut Random) -> String {
    let k = r.below(20) + 1;
    match r.below(10) {
        0 => format!("UPDATE r SET v = v + {k}"),
        1 => format!("UPDATE r SET v = v * 2 % 1000, w = w || 'x' WHERE v % 3 = {}", k % 3),
        2 => format!("UPDATE r SET w = left(w || '{k}', 20) WHERE k IN ({k}, {})", 21 - k),
        3 => format!("DELETE FROM r WHERE k = {k}"),
        4 | 5 => format!(
            "INSERT INTO r VALUES ({k}, {k}, 'i') ON CONFLICT (k) DO UPDATE SET v = r.v + excluded.v"
        ),
        6 => format!(
            "INSERT INTO r SELECT i, i, 's' FROM generate_series({k}, {k} + 3) i ON CONFLICT DO NOTHING"
        ),
        7 => format!("INSERT INTO r VALUES ({k}, 0, 'one')"),
        8 => format!("UPDATE r SET v = (random() * 100)::int WHERE k <= {k}"),
        _ => format!(
            "BEGIN; SELECT v FROM r WHERE k = {k} FOR UPDATE; UPDATE r SET v = v + 1 WHERE k = {k}; COMMIT"
        ),
    }
}

#[test]
fn writers_of_a_reference_table() {
    let name = database("stress_reference", "SELECT create_reference_table('r')");
    let seen = run(&name, any);
    let copies = equal_copies(&CLUSTER, &name, "r");
    assert_eq!(copies, 2);
    all_went_well(&seen, &["23505"]);
}

#[test]
fn writers_of_a_replicated_table() {
    let name = database(
        "stress_replicated",
        "SELECT create_distributed_table('r', 'k', shard_count := 4, replication_factor := 2)",
    );
    let seen = run(&name, any);
    assert_eq!(equal_copies(&CLUSTER, &name, "r"), 4);
    all_went_well(&seen, &["23505"]);
}

#[test]
fn writers_of_many_shards() {
    let name =
        database("stress_shards", "SELECT create_distributed_table('r', 'k', shard_count := 8)");
    let seen = run(&name, |r| {
        let k = r.below(20) + 1;
        match r.below(4) {
            0 => format!("UPDATE r SET v = v + {k}"),
            1 => format!("UPDATE r SET w = left(w || '{k}', 20) WHERE k IN ({k}, {}, 7)", 21 - k),
            2 => "UPDATE r SET v = s.v FROM (SELECT avg(v)::int AS v FROM r) s".to_owned(),
            _ => "BEGIN; SELECT v FROM r ORDER BY k FOR UPDATE; UPDATE r SET v = v + 1; COMMIT"
                .to_owned(),
        }
    });
    all_went_well(&seen, &[]);
}
