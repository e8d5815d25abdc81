//! Many sessions write the same rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    Duration::from_secs(given.unwrap_or(3))
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
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let done = &done;
    // A slow machine gets more time.
    let few =
        || done.load(Ordering::Relaxed) <= 50 && Instant::now() < end + Duration::from_secs(60);
    let few = &few;
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
                    while Instant::now() < end || few() {
                        let sql = make(&mut random);
                        let what = match c.simple(&sql) {
                            Ok(_) => {
                                done.fetch_add(1, Ordering::Relaxed);
                                "ok".to_owned()
                            }
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
    // As on one server: rows move, so that two statements meet those of a shard in another order.
    all_went_well(&seen, &["40P01"]);
}

#[test]
fn writers_of_tables_with_foreign_keys() {
    let name = CLUSTER.database("stress_keys");
    CLUSTER.connect(&name).run(
        "CREATE TABLE p (k int PRIMARY KEY, v int);
         CREATE TABLE c (k int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, v int);
         SELECT create_reference_table('p');
         SELECT create_reference_table('c');
         INSERT INTO p SELECT i, 0 FROM generate_series(1, 10) i",
    );
    let seen = run(&name, |r| {
        let (k, p) = (r.below(100) + 1, r.below(10) + 1);
        match r.below(7) {
            0 => format!("DELETE FROM p WHERE k = {p}"),
            1 => format!("INSERT INTO p VALUES ({p}, 0)"),
            2 | 3 => format!("INSERT INTO c VALUES ({k}, {p}, 0)"),
            4 => format!("UPDATE c SET v = v + 1, p = {p} WHERE k % 10 = {p}"),
            5 => format!(
                "UPDATE p SET v = v + (SELECT count(*) FROM c WHERE c.p = p.k) WHERE k <= {p}"
            ),
            _ => format!("DELETE FROM c WHERE k = {k}"),
        }
    });
    assert_eq!(equal_copies(&CLUSTER, &name, "p"), 2);
    assert_eq!(equal_copies(&CLUSTER, &name, "c"), 2);
    all_went_well(&seen, &["23505", "23503"]);
}

#[test]
fn writers_and_changes_of_the_table() {
    let name = database("stress_ddl", "SELECT create_reference_table('r')");
    let seen = run(&name, |r| {
        let k = r.below(20) + 1;
        match r.below(16) {
            0 => "ALTER TABLE r ADD COLUMN IF NOT EXISTS x int DEFAULT 3".to_owned(),
            1 => "ALTER TABLE r DROP COLUMN IF EXISTS x".to_owned(),
            2 => "CREATE INDEX IF NOT EXISTS r_v ON r (v)".to_owned(),
            3 => "DROP INDEX IF EXISTS r_v".to_owned(),
            4 => format!("BEGIN; TRUNCATE r; {ROWS}; COMMIT"),
            5 => "SELECT count(*) FROM r".to_owned(),
            6 => format!("COPY r (k) FROM PROGRAM 'echo {}'", k + 100),
            _ => any(r),
        }
    });
    assert_eq!(equal_copies(&CLUSTER, &name, "r"), 2);
    all_went_well(&seen, &["23505"]);
}

/// Writers that say that their order does not matter run side by side, and hold a point of the
/// order all the same: the first copy decides.
#[test]
fn commutative_writers() {
    let name = database("stress_commutative", "SELECT create_reference_table('r')");
    let seen = run(&name, |r| {
        let k = r.below(5) + 1;
        format!(
            "SET citus.all_modifications_commutative = on; UPDATE r SET v = v * 3 % 1000 + {k} WHERE k = {k}"
        )
    });
    assert_eq!(equal_copies(&CLUSTER, &name, "r"), 2);
    all_went_well(&seen, &[]);
}

#[test]
fn waits_for_the_order_can_be_ended() {
    let name = database("stress_waits", "SELECT create_reference_table('r')");
    let (mut a, mut b) = (CLUSTER.connect(&name), CLUSTER.connect(&name));
    a.run("BEGIN; UPDATE r SET v = 1 WHERE k = 1");
    b.run("SET lock_timeout = '200ms'");
    let e = b.simple("UPDATE r SET v = 2 WHERE k = 2").unwrap_err();
    assert_eq!(e.code(), "55P03", "{e}");
    b.run("SET lock_timeout = 0; SET statement_timeout = '200ms'");
    let e = b.simple("DELETE FROM r WHERE k = 2").unwrap_err();
    assert_eq!(e.code(), "57014", "{e}");
    b.run("SET statement_timeout = 0");
    a.run("ROLLBACK");
    b.run("INSERT INTO r VALUES (100, 1, '')");
    // A user's advisory locks are others.
    a.run("BEGIN; UPDATE r SET v = 1 WHERE k = 1");
    let shard = a.value("SELECT shardid FROM pg_dist_shard WHERE logicalrelid = 'r'::regclass");
    assert_eq!(b.value(&format!("SELECT pg_try_advisory_lock({shard})")), "t");
    // Two sessions in a circle of two tables' locks: one is ended, here or over nodes.
    b.run("CREATE TABLE s (LIKE r INCLUDING ALL)");
    b.run("SELECT create_reference_table('s'); BEGIN; UPDATE s SET v = 1");
    b.send("UPDATE r SET v = 3 WHERE k = 3").unwrap();
    let first = a.simple("UPDATE s SET v = 3 WHERE k = 3");
    let second = b.receive();
    let codes: Vec<String> = [first, second]
        .iter()
        .map(|o| o.as_ref().map_or_else(|e| e.code().to_owned(), |_| "ok".to_owned()))
        .collect();
    assert!(codes.contains(&"40P01".to_owned()) && codes.contains(&"ok".to_owned()), "{codes:?}");
}
