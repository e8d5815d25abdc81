//! The 22 queries of TPC-H at scale 0.1 give the rows that plain PostgreSQL gives.
//!
//! `orders` and `lineitem` are distributed by order key. In the layout `reference` all other
//! tables are reference tables; in the layout `distributed`, `customer` is distributed by its key
//! and `part` and `partsupp` by part key.

use std::fmt::{Display, Write};
use std::path::PathBuf;

use citus_tests::client::{Conn, ResultSet};
use citus_tests::cluster::Cluster;
use citus_tests::compare::rows_difference;
use citus_tests::server::Kind;
use tpchgen::csv;
use tpchgen::generators as gen;

const SCALE: f64 = 0.1;

/// Tables that both layouts share, in the schema `base`.
const BASE: [(&str, Option<&str>); 5] = [
    ("region", None),
    ("nation", None),
    ("supplier", None),
    ("orders", Some("o_orderkey")),
    ("lineitem", Some("l_orderkey")),
];

/// Tables that each layout has of its own, with the key of the layout `distributed`.
const OWN: [(&str, &str); 3] =
    [("customer", "c_custkey"), ("part", "p_partkey"), ("partsupp", "ps_partkey")];

const INDEXES: [&str; 3] =
    ["lineitem (l_partkey, l_suppkey)", "orders (o_custkey)", "partsupp (ps_suppkey)"];

/// Queries that do not work yet, by layout.
const KNOWN: &[(&str, usize)] = &[];

fn lines<T: Display>(rows: impl Iterator<Item = T>) -> Vec<u8> {
    let mut text = String::new();
    for row in rows {
        writeln!(text, "{row}").unwrap();
    }
    text.into_bytes()
}

fn data(table: &str) -> Vec<u8> {
    match table {
        "region" => lines(gen::RegionGenerator::new(SCALE, 1, 1).iter().map(csv::RegionCsv::new)),
        "nation" => lines(gen::NationGenerator::new(SCALE, 1, 1).iter().map(csv::NationCsv::new)),
        "supplier" => {
            lines(gen::SupplierGenerator::new(SCALE, 1, 1).iter().map(csv::SupplierCsv::new))
        }
        "customer" => {
            lines(gen::CustomerGenerator::new(SCALE, 1, 1).iter().map(csv::CustomerCsv::new))
        }
        "part" => lines(gen::PartGenerator::new(SCALE, 1, 1).iter().map(csv::PartCsv::new)),
        "partsupp" => {
            lines(gen::PartSuppGenerator::new(SCALE, 1, 1).iter().map(csv::PartSuppCsv::new))
        }
        "orders" => lines(gen::OrderGenerator::new(SCALE, 1, 1).iter().map(csv::OrderCsv::new)),
        "lineitem" => {
            lines(gen::LineItemGenerator::new(SCALE, 1, 1).iter().map(csv::LineItemCsv::new))
        }
        other => panic!("no such table: {other}"),
    }
}

/// The statements of the schema file, by table.
fn definition(table: &str) -> String {
    let text = include_str!("../tpch/schema.sql");
    let wanted = format!("CREATE TABLE {table} ");
    text.lines().find(|l| l.starts_with(&wanted)).unwrap_or_default().to_owned()
}

fn queries() -> Vec<String> {
    let text = include_str!("../tpch/queries.sql");
    text.split("-- Q")
        .skip(1)
        .map(|q| q.split_once('\n').unwrap_or_default().1.to_owned())
        .collect()
}

/// Makes a table, spreads it as told and fills it.
fn make(c: &mut Conn, schema: &str, table: &str, spread: Option<String>, rows: &[u8]) {
    c.run(&format!("SET search_path = {schema}"));
    c.run(&definition(table));
    if let Some(sql) = spread {
        c.run(&sql);
    }
    c.copy_in(&format!("COPY {table} FROM STDIN WITH (FORMAT csv)"), rows)
        .unwrap_or_else(|e| panic!("{table}: {e}"));
    for index in INDEXES.iter().filter(|i| i.starts_with(&format!("{table} "))) {
        c.run(&format!("CREATE INDEX ON {index}"));
    }
    c.run(&format!("ANALYZE {table}"));
}

/// Fills a database; without `citus` all tables are plain and the layouts are the same.
fn load(c: &mut Conn, citus: bool, data: &dyn Fn(&str) -> &'static [u8]) {
    let spread = |table: &str, key: Option<&str>| {
        citus.then(|| match (key, table) {
            (None, _) => format!("SELECT create_reference_table('{table}')"),
            (Some(k), "lineitem") => {
                format!(
                    "SELECT create_distributed_table('lineitem', '{k}', colocate_with := 'orders')"
                )
            }
            (Some(k), "partsupp") => {
                format!(
                    "SELECT create_distributed_table('partsupp', '{k}', colocate_with := 'part')"
                )
            }
            (Some(k), _) => {
                format!("SELECT create_distributed_table('{table}', '{k}', shard_count := 8)")
            }
        })
    };
    c.run("CREATE SCHEMA base; CREATE SCHEMA reference; CREATE SCHEMA distributed");
    for (table, key) in BASE {
        make(c, "base", table, spread(table, key), data(table));
    }
    for (table, key) in OWN {
        make(c, "reference", table, spread(table, None), data(table));
        if citus {
            make(c, "distributed", table, spread(table, Some(key)), data(table));
        }
    }
}

fn answer(c: &mut Conn, query: &str) -> Result<ResultSet, String> {
    c.simple(query).map(|mut sets| sets.pop().unwrap_or_default()).map_err(|e| e.to_string())
}

#[test]
fn all_queries_in_both_layouts() {
    let tables: Vec<&str> = BASE.iter().map(|t| t.0).chain(OWN.iter().map(|t| t.0)).collect();
    let made: Vec<(&str, &'static [u8])> = std::thread::scope(|s| {
        let threads: Vec<_> =
            tables.iter().map(|&t| s.spawn(move || (t, &*data(t).leak()))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let find = |table: &str| made.iter().find(|m| m.0 == table).unwrap().1;
    let memory = "shared_buffers = 128MB\nwork_mem = 32MB";
    let plain = Cluster::start(0, Kind::PLAIN, memory);
    let plain_db = plain.bare_database("tpch");
    let mut oracle = plain.connect(&plain_db);
    load(&mut oracle, false, &find);
    let cluster = Cluster::start(2, Kind::FAST, memory);
    let database = cluster.database("tpch");
    let mut c = cluster.connect(&database);
    load(&mut c, true, &find);
    oracle.run("SET search_path = reference, base");
    let mut failures = Vec::new();
    for (n, query) in queries().iter().enumerate() {
        let expected = answer(&mut oracle, query).unwrap_or_else(|e| panic!("Q{}: {e}", n + 1));
        for layout in ["reference", "distributed"] {
            let settings =
                format!("SET search_path = {layout}, base; SET statement_timeout = '30s'");
            if c.simple(&settings).is_err() {
                cluster.coordinator.wait_ready().unwrap();
                c = cluster.connect(&database);
                c.run(&settings);
            }
            let began = std::time::Instant::now();
            let got = answer(&mut c, query);
            println!("Q{} {layout}: {:.2} s", n + 1, began.elapsed().as_secs_f64());
            let found = match got {
                Ok(set) => rows_difference(&expected.rows, &set.rows, false),
                Err(e) => Some(e),
            };
            let known = KNOWN.contains(&(layout, n + 1));
            match (found, known) {
                (Some(text), false) => failures.push(format!("Q{} {layout}: {text}", n + 1)),
                (None, true) => {
                    failures.push(format!("Q{} {layout} works now: remove it from KNOWN", n + 1))
                }
                _ => {}
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n\n"));
}

/// The files are complete.
#[test]
fn files_are_complete() {
    assert_eq!(queries().len(), 22);
    assert!(BASE
        .iter()
        .map(|t| t.0)
        .chain(OWN.iter().map(|t| t.0))
        .all(|t| !definition(t).is_empty()));
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    assert!(dir.join("tpch/queries.sql").is_file());
}
