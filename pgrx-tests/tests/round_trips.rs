//! How often transactions wait for nodes, and how often they ask them for an answer: one more than
//! stated fails. The result is a table in `docs/architecture.md`; `CITUS_TEST_WRITE_DOCS=1` writes
//! it.

use std::fmt::Write;
use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::counting::Counting;
use citus_tests::docs::check_section;
use citus_tests::server::Kind;

/// The way to a node, in one direction.
const WAY: Duration = Duration::from_millis(20);
/// Measured so often, the shortest time counts: the machine may have other things to do.
const RUNS: usize = 4;
/// How many more there are at most while it looks like more round trips than there should be.
const MORE_RUNS: usize = 40;

struct Case {
    what: &'static str,
    /// Statements as the client sends them, one after the other. `{a}` and `{b}` are keys on two
    /// nodes, `{a2}` another key on the first one's, `{rows}` new rows.
    statements: &'static [&'static str],
    /// Round trips that the client waits for.
    waits: u32,
    /// Messages that ask for an answer, to all nodes together.
    batches: u64,
}

const CASES: &[Case] = &[
    Case {
        what: "SELECT of one shard",
        statements: &["SELECT v FROM t WHERE k = {a}"],
        waits: 1,
        batches: 1,
    },
    Case {
        what: "UPDATE of one shard",
        statements: &["UPDATE t SET v = v + 1 WHERE k = {a}"],
        waits: 1,
        batches: 1,
    },
    Case {
        what: "INSERT of a row",
        statements: &["INSERT INTO t VALUES ({a}, 1) ON CONFLICT (k) DO UPDATE SET v = t.v"],
        waits: 1,
        batches: 1,
    },
    Case {
        what: "BEGIN, UPDATE of one shard, COMMIT",
        statements: &["BEGIN", "UPDATE t SET v = v + 1 WHERE k = {a}", "COMMIT"],
        waits: 2,
        batches: 2,
    },
    Case {
        what: "the same with three UPDATEs on one node",
        statements: &[
            "BEGIN",
            "UPDATE t SET v = v + 1 WHERE k = {a}",
            "UPDATE t SET v = v + 1 WHERE k = {a2}",
            "UPDATE t SET v = v + 1 WHERE k = {a}",
            "COMMIT",
        ],
        waits: 4,
        batches: 4,
    },
    Case {
        what: "BEGIN, SELECT of one shard, COMMIT",
        statements: &["BEGIN", "SELECT v FROM t WHERE k = {a}", "COMMIT"],
        waits: 1,
        batches: 2,
    },
    Case {
        what: "BEGIN, an UPDATE on each of two nodes, COMMIT",
        statements: &[
            "BEGIN",
            "UPDATE t SET v = v + 1 WHERE k = {a}",
            "UPDATE t SET v = v + 1 WHERE k = {b}",
            "COMMIT",
        ],
        waits: 4,
        batches: 6,
    },
    Case {
        what: "the same with a savepoint before each UPDATE",
        statements: &[
            "BEGIN",
            "SAVEPOINT s",
            "UPDATE t SET v = v + 1 WHERE k = {a}",
            "SAVEPOINT s",
            "UPDATE t SET v = v + 1 WHERE k = {b}",
            "COMMIT",
        ],
        waits: 4,
        batches: 10,
    },
    Case {
        what: "UPDATE of all shards of two nodes",
        statements: &["UPDATE t SET v = v + 1"],
        waits: 3,
        batches: 6,
    },
    Case {
        what: "INSERT of 100 rows into all shards",
        statements: &["INSERT INTO n VALUES {rows}"],
        waits: 3,
        batches: 6,
    },
    Case {
        what: "INSERT of a query's rows beside them, all shards of two nodes",
        statements: &["INSERT INTO n SELECT k, v FROM t"],
        waits: 3,
        batches: 6,
    },
    Case {
        what: "INSERT of a query's rows beside them, one shard",
        statements: &["INSERT INTO n SELECT k, v FROM t WHERE k = {a}"],
        waits: 1,
        batches: 1,
    },
    Case {
        what: "INSERT of a query's rows into other shards",
        statements: &["INSERT INTO n SELECT k + 1, v FROM t"],
        waits: 4,
        batches: 8,
    },
    Case {
        what: "SELECT of all shards",
        statements: &["SELECT k, v FROM t"],
        waits: 1,
        batches: 2,
    },
    Case {
        what: "a sub-query over all shards for each of 200 rows",
        statements: &[
            "SELECT i, (SELECT count(*) FROM t WHERE t.v > i) FROM generate_series(1, 200) i",
        ],
        waits: 12,
        batches: 24,
    },
    Case {
        what: "the same, where only whether it is asked at all depends on the row",
        statements: &[
            "SELECT i, (SELECT count(*) FROM t WHERE i % 3 = 1) FROM generate_series(1, 200) i",
        ],
        waits: 2,
        batches: 4,
    },
    Case {
        what: "aggregate over all shards",
        statements: &["SELECT count(*), sum(v) FROM t"],
        waits: 1,
        batches: 2,
    },
    Case {
        what: "UPDATE of a reference table on two nodes",
        statements: &["UPDATE r SET v = v + 1 WHERE k = 1"],
        waits: 3,
        batches: 6,
    },
];

struct Scene {
    c: Conn,
    proxies: Vec<Counting>,
    keys: [i32; 3],
    next: i32,
}

impl Scene {
    fn new(cluster: &Cluster) -> Scene {
        let database = cluster.bare_database("round_trips");
        let mut c = cluster.connect(&database);
        c.run(&format!(
            "SELECT citus_set_coordinator_host('127.0.0.1', {})",
            cluster.coordinator.port
        ));
        let proxies: Vec<Counting> =
            cluster.workers.iter().map(|w| Counting::start(w.port).unwrap()).collect();
        for p in &proxies {
            c.run(&format!("SELECT citus_add_node('127.0.0.1', {})", p.port));
        }
        c.run(
            "CREATE TABLE t (k int PRIMARY KEY, v int);
             CREATE TABLE n (k int, v int);
             CREATE TABLE r (k int PRIMARY KEY, v int);
             SELECT create_distributed_table('t', 'k', shard_count := 8);
             SELECT create_distributed_table('n', 'k', shard_count := 8);
             SELECT create_reference_table('r');
             INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i;
             INSERT INTO r VALUES (1, 0)",
        );
        let on = |c: &mut Conn, port: u16| -> Vec<i32> {
            let rows = c.rows(&format!(
                "SELECT k FROM t JOIN pg_dist_shard_placement s
                 ON s.shardid = get_shard_id_for_distribution_column('t', k)
                 WHERE s.nodeport = {port} ORDER BY k LIMIT 2"
            ));
            rows.iter().map(|r| r[0].as_deref().unwrap().parse().unwrap()).collect()
        };
        let first = on(&mut c, proxies[0].port);
        let second = on(&mut c, proxies[1].port);
        let keys = [first[0], first[1], second[0]];
        Scene { c, proxies, keys, next: 0 }
    }

    /// Runs the statements; how long they took.
    fn run(&mut self, case: &Case) -> Duration {
        let [a, a2, b] = self.keys;
        let rows: Vec<String> =
            (self.next..self.next + 100).map(|i| format!("({i}, {i})")).collect();
        self.next += 100;
        let texts: Vec<String> = case
            .statements
            .iter()
            .map(|s| {
                s.replace("{a}", &a.to_string())
                    .replace("{a2}", &a2.to_string())
                    .replace("{b}", &b.to_string())
                    .replace("{rows}", &rows.join(", "))
            })
            .collect();
        let start = Instant::now();
        texts.iter().for_each(|sql| self.c.run(sql));
        start.elapsed()
    }

    fn batches(&self) -> u64 {
        self.proxies.iter().map(Counting::batches).sum()
    }

    /// Waits until nothing is on its way.
    fn settle(&self) {
        std::thread::sleep(WAY * 3);
    }

    /// Round trips waited for, and messages.
    fn measure(&mut self, case: &Case) -> (u32, u64) {
        self.proxies.iter().for_each(|p| p.set_delay(Duration::ZERO));
        // What comes often is prepared on the nodes.
        for _ in 0..7 {
            self.run(case);
        }
        self.settle();
        let before = self.batches();
        self.run(case);
        self.settle();
        let batches = self.batches() - before;
        self.proxies.iter().for_each(|p| p.set_delay(WAY));
        let times = (0..RUNS).map(|_| {
            self.settle();
            self.run(case)
        });
        let mut shortest = times.min().unwrap_or_default();
        let trips = |time: Duration| (time.as_micros() / (2 * WAY).as_micros()) as u32;
        // A busy machine makes them longer, and not each time.
        for _ in 0..MORE_RUNS {
            if trips(shortest) > case.waits {
                self.settle();
                shortest = shortest.min(self.run(case));
            }
        }
        (trips(shortest), batches)
    }
}

#[test]
fn round_trips_are_those_stated() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let mut scene = Scene::new(&cluster);
    let mut wrong = Vec::new();
    let mut section = String::from(
        "## Round trips\n\nWhat a transaction costs on the way between coordinator and nodes, counted \
         by a proxy in front of two nodes\n(`pgrx-tests/tests/round_trips.rs`; the test fails when it \
         becomes more). *Round trips* are those that the client\nwaits for, one after the other. \
         *Messages* are those that ask a node for an answer, to all nodes together: most\nof them \
         travel at the same time as others. The sessions exist and the statements are known there.\n\n\
         | transaction | round trips | messages |\n|---|---|---|\n",
    );
    for case in CASES {
        let (waits, batches) = scene.measure(case);
        println!("{}: {waits} round trips, {batches} messages", case.what);
        if (waits, batches) != (case.waits, case.batches) {
            wrong.push(format!(
                "{}: {waits} round trips and {batches} messages instead of {} and {}",
                case.what, case.waits, case.batches
            ));
        }
        let _ = writeln!(section, "| {} | {waits} | {batches} |", case.what);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    check_section("architecture.md", &section);
}
