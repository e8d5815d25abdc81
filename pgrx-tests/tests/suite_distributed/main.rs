//! The statements of PostgreSQL's own regression suite give the same rows on distributed tables as
//! on plain ones, or the same SQLSTATE.
//!
//! Each script runs on plain PostgreSQL and on a cluster of two workers, statement by statement, in
//! two passes (in three threads):
//!
//! * `shared`: the tables of `test_setup` are distributed by their first column;
//! * `own`: so is every table that a script makes, where that is possible.
//!
//! [`script`] says which statements are left out, [`pair`] how two sessions stay together, and
//! [`known`] how `known.txt` lists what differs, with a reason for each. A lost session always fails.
//!
//! Rows are compared as multisets and with the names and types of their columns, violated
//! constraints with their names. `CITUS_TEST_SUITE=join,with` runs only these scripts.

mod known;
mod pair;
mod script;

use std::path::Path;

use citus_tests::cluster::Cluster;
use citus_tests::postgres_source::regression_suite;
use citus_tests::server::Kind;

use known::{flat, Known};
use pair::Pair;

/// Tables of `test_setup`, and the column by which they are distributed.
const SHARED: [(&str, &str); 11] = [
    ("onek", "unique1"),
    ("onek2", "unique1"),
    ("tenk1", "unique1"),
    ("tenk2", "unique1"),
    ("int2_tbl", "f1"),
    ("int4_tbl", "f1"),
    ("int8_tbl", "q1"),
    ("float8_tbl", "f1"),
    ("text_tbl", "f1"),
    ("varchar_tbl", "f1"),
    ("char_tbl", "f1"),
];

/// Indexes that scripts take for granted; in the suite `create_index` makes them.
const INDEXES: [&str; 8] = [
    "CREATE UNIQUE INDEX onek_unique1 ON onek (unique1)",
    "CREATE INDEX onek_unique2 ON onek (unique2)",
    "CREATE INDEX onek_hundred ON onek (hundred)",
    "CREATE INDEX onek_stringu1 ON onek (stringu1)",
    "CREATE INDEX tenk1_unique1 ON tenk1 (unique1)",
    "CREATE INDEX tenk1_unique2 ON tenk1 (unique2)",
    "CREATE INDEX tenk1_hundred ON tenk1 (hundred)",
    "CREATE INDEX tenk1_thous_tenthous ON tenk1 (thousand, tenthous)",
];

/// Scripts that read the tables of `test_setup`, in the order of the suite.
const READERS: &str = "select_into select_distinct select_distinct_on select_implicit select_having \
    subselect union case join aggregates groupingsets tsrf rangefuncs equivclass expressions window \
    with limit prepare plancache random";

/// Scripts whose tables are distributed too, in two parts that run at the same time.
const WRITERS: [&str; 2] = [
    "boolean char varchar text int2 int4 int8 float4 float8 bit numeric uuid enum money date time \
     timestamp timestamptz interval inet jsonb rangetypes multirangetypes arrays domain tsearch \
     identity sequence polymorphism rowtypes returning rangefuncs temp",
    "insert insert_conflict updatable_views union case join transactions update delete groupingsets \
     merge namespace truncate tsrf prepare plancache with",
];

/// Statements that take too long on a debug build: a script and how its statement begins.
const SLOW: [(&str, &str); 1] =
    [("aggregates", "select (select max((select i.unique2 from tenk1 i")];

/// What one pass found.
#[derive(Default)]
struct Findings {
    statements: usize,
    failures: Vec<String>,
}

#[test]
fn statements_of_the_suite_on_distributed_tables() {
    let Some(suite) = regression_suite(env!("CARGO_TARGET_TMPDIR")) else { return };
    let passes = std::thread::scope(|s| {
        let shared = s.spawn(|| run_pass(&suite, "shared", READERS));
        let [types, rows] = WRITERS.map(|scripts| {
            let suite = &suite;
            s.spawn(move || run_pass(suite, "own", scripts))
        });
        [shared, types, rows].map(|pass| pass.join().unwrap())
    });
    let failures: Vec<String> = passes.iter().flat_map(|p| p.failures.clone()).collect();
    let all: usize = passes.iter().map(|p| p.statements).sum();
    println!("suite on distributed tables: {all} statements, {} failures", failures.len());
    assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n\n"));
    assert!(all > 1000 || std::env::var_os("CITUS_TEST_SUITE").is_some(), "{all} statements ran");
}

fn run_pass(suite: &Path, pass: &str, scripts: &str) -> Findings {
    let plain = Cluster::start(0, Kind::PLAIN, "");
    let cluster = Cluster::start(2, Kind::FAST, "");
    let database = cluster.database("suite");
    // Scripts show the name: it must be the same.
    let make = format!("CREATE DATABASE {database} TEMPLATE {}", citus_tests::template::DATABASE);
    plain.connect("postgres").run(&make);
    let databases = [database.clone(), database];
    let servers = [&plain, &cluster];
    let known = Known::read(include_str!("known.txt"));
    let wanted = std::env::var("CITUS_TEST_SUITE").unwrap_or_default();
    let mut findings = Findings::default();
    make_tables(suite, &mut Pair::connect(servers, &databases));
    for name in scripts.split_whitespace() {
        if !wanted.is_empty() && !wanted.split(',').any(|w| w == name) {
            continue;
        }
        // A session of its own, as in the suite.
        let mut pair = Pair::connect(servers, &databases);
        run_script(suite, pass, name, &mut pair, &known, &mut findings);
    }
    findings
}

fn make_tables(suite: &Path, pair: &mut Pair<'_>) {
    let check = |pair: &mut Pair<'_>, s: &script::Statement| {
        if let Some(found) = pair.run(s) {
            panic!("test_setup: {}\n{}", s.sql, found.text);
        }
    };
    for s in script::read(suite, "test_setup") {
        check(pair, &s);
    }
    for (table, column) in SHARED {
        let sql = format!("SELECT create_distributed_table('{table}', '{column}')");
        pair.on_cluster(&sql).unwrap_or_else(|e| panic!("{table}: {e}"));
    }
    for sql in INDEXES {
        check(pair, &script::Statement { sql: sql.to_owned(), data: Vec::new() });
    }
}

fn run_script(
    suite: &Path,
    pass: &str,
    name: &str,
    pair: &mut Pair<'_>,
    known: &Known,
    findings: &mut Findings,
) {
    let began = std::time::Instant::now();
    let (mut differ, mut listed, mut distributed) = (0, 0, 0);
    let mut statements = script::read(suite, name);
    let slow = |sql: &str| SLOW.iter().any(|(n, start)| *n == name && flat(sql).starts_with(start));
    statements.retain(|s| !slow(&s.sql));
    for (n, s) in statements.iter().enumerate() {
        let found = pair.run(s);
        if pass == "own" && pair.distribute_created(s) {
            distributed += 1;
        }
        let Some(found) = found else { continue };
        differ += 1;
        if !found.lost && known.excuses(pass, name, &s.sql) {
            listed += 1;
        } else {
            let head = format!("{pass} {name} statement {}: {}", n + 1, flat(&s.sql));
            findings.failures.push(format!("{head}\n{}", found.text));
        }
    }
    findings.failures.extend(known.stale(pass, name));
    findings.statements += statements.len();
    println!(
        "{pass} {name}: {} statements, {differ} differ ({listed} known), {distributed} tables, {:.1} s",
        statements.len(),
        began.elapsed().as_secs_f64()
    );
}
