//! Which anomalies each isolation level prevents, with the rows in one shard, in two shards of a
//! node and on two nodes, beside PostgreSQL itself. The result is the table under "Anomalies" in
//! `docs/isolation.md`; `CITUS_TEST_WRITE_DOCS=1` writes it.

mod run;
mod schedules;
mod table;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::counting::Counting;
use citus_tests::docs::check_section;
use citus_tests::server::{Kind, Server};

use run::{run, Place, Trace};
use schedules::SCHEDULES;
use table::{CONSISTENT, DIFFERENCES, LEVELS, NODES, SHARDS};

static PLAIN: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(0, Kind::PLAIN, ""));
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

const SCHEMA: &str = "CREATE TABLE t (k int PRIMARY KEY, v int)";

fn plain() -> Place {
    let database = PLAIN.bare_database("isolation");
    PLAIN.connect(&database).run(SCHEMA);
    Place {
        title: "PostgreSQL",
        database,
        servers: vec![&PLAIN.coordinator],
        keys: [1, 2, 3, 4],
        proxies: Vec::new(),
        settings: "",
    }
}

/// Keys in the order of their nodes and shards: for each node its shards, for each of these keys.
fn keys(c: &mut Conn) -> Vec<Vec<Vec<i32>>> {
    let mut found: BTreeMap<String, BTreeMap<String, Vec<i32>>> = BTreeMap::new();
    let rows = c.rows(
        "SELECT i, s.shardid, s.nodeport FROM generate_series(1, 400) i
         JOIN pg_dist_shard_placement s
           ON s.shardid = get_shard_id_for_distribution_column('t', i)",
    );
    for row in rows {
        let of = |i: usize| row[i].clone().unwrap_or_default();
        let shards = found.entry(of(2)).or_default();
        shards.entry(of(1)).or_default().push(of(0).parse().unwrap());
    }
    found.into_values().map(|shards| shards.into_values().collect()).collect()
}

/// A database with the table, and the keys that `choose` picks.
fn distributed(
    title: &'static str,
    choose: fn(&[Vec<Vec<i32>>]) -> [i32; 4],
    settings: &'static str,
) -> Place {
    let database = CLUSTER.bare_database("isolation");
    let mut c = CLUSTER.connect(&database);
    c.run(&format!("SELECT citus_set_coordinator_host('127.0.0.1', {})", CLUSTER.coordinator.port));
    // Places run at the same time: what one of them holds back is nothing to the others.
    let proxies: Vec<Counting> =
        CLUSTER.workers.iter().map(|w| Counting::start(w.port).unwrap()).collect();
    for p in &proxies {
        c.run(&format!("SELECT citus_add_node('127.0.0.1', {})", p.port));
    }
    c.run(SCHEMA);
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 8)");
    let keys = keys(&mut c);
    assert_eq!(keys.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
    let servers: Vec<&'static Server> = CLUSTER.nodes().collect();
    let keys = choose(&keys);
    Place { title, database, servers, keys, proxies, settings }
}

/// The columns of the table. The first is the oracle.
fn places() -> Vec<Place> {
    vec![
        plain(),
        distributed("same shard", |k| std::array::from_fn(|i| k[0][0][i]), ""),
        distributed(SHARDS, |k| std::array::from_fn(|i| k[0][i % 2][i]), ""),
        distributed(NODES, |k| std::array::from_fn(|i| k[i % 2][0][i]), ""),
        distributed(
            CONSISTENT,
            |k| std::array::from_fn(|i| k[i % 2][0][i]),
            "SET citus.consistent_reads = on",
        ),
    ]
}

/// The traces of a place: for each level, for each schedule.
fn traces(place: &Place) -> Vec<Vec<Trace>> {
    let mut watchers: Vec<Conn> =
        place.servers.iter().map(|s| s.connect(&place.database)).collect();
    LEVELS
        .iter()
        .map(|level| SCHEDULES.iter().map(|s| run(s, place, level, &mut watchers)).collect())
        .collect()
}

#[test]
fn anomalies_are_those_of_the_table() {
    let places = places();
    let traces: Vec<Vec<Vec<Trace>>> = std::thread::scope(|s| {
        let running: Vec<_> = places.iter().map(|p| s.spawn(|| traces(p))).collect();
        running.into_iter().map(|r| r.join().unwrap()).collect()
    });
    let mut wrong = Vec::new();
    for (l, level) in LEVELS.iter().enumerate() {
        for (s, schedule) in SCHEDULES.iter().enumerate() {
            let plain = &traces[0][l][s];
            for (place, traces) in places.iter().zip(&traces).skip(1) {
                let got = &traces[l][s];
                let expected = DIFFERENCES.iter().find(|d| {
                    d.level == *level
                        && d.places.contains(&place.title)
                        && d.schedules.contains(&schedule.name)
                });
                let verdict = got.verdict(schedule);
                let fits = match expected {
                    Some(d) => verdict == d.verdict && plain.verdict(schedule) != d.verdict,
                    None => got == plain,
                };
                if !fits {
                    wrong.push(format!(
                        "{level}, {}, {}: {} instead of {}\n  got\n{got}  PostgreSQL\n{plain}",
                        schedule.name,
                        place.title,
                        verdict,
                        plain.verdict(schedule),
                    ));
                }
            }
        }
    }
    let shown = table::table(&places, &traces);
    println!("{shown}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    check_section("isolation.md", &shown);
}
