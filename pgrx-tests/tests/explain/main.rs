//! EXPLAIN of distributed queries: what it shows, and that it leaves nothing behind.

mod documents;
mod inserts;
mod options;
mod shapes;
mod traces;

use std::sync::OnceLock;

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

/// Options under which a plan is the same every time.
const BARE: &str = "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF";

fn cluster() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(2, Kind::FAST, ""))
}

/// A database with `ev` (four shards, 40 rows), `oth` (its own four shards) and the reference
/// table `ref`.
fn tables(stem: &str) -> Conn {
    let mut c = cluster().connect(&cluster().database(stem));
    fill(&mut c);
    c
}

fn fill(c: &mut Conn) {
    c.run(
        "CREATE TABLE ev (tenant int, id int, n int DEFAULT 0, v text); \
         CREATE TABLE oth (k int, id int); CREATE TABLE ref (id int PRIMARY KEY, n int)",
    );
    c.run("SELECT create_distributed_table('ev', 'tenant', shard_count := 4)");
    c.run("SELECT create_distributed_table('oth', 'k', shard_count := 4, colocate_with := 'none')");
    c.run("SELECT create_reference_table('ref')");
    c.run("INSERT INTO ev SELECT i % 10, i, 0, 'v' || i FROM generate_series(1, 40) i");
    c.run("INSERT INTO oth SELECT i, i FROM generate_series(1, 40) i");
    c.run("INSERT INTO ref SELECT i, 0 FROM generate_series(1, 10) i");
}

/// The lines of EXPLAIN.
#[track_caller]
fn explain(c: &mut Conn, options: &str, statement: &str) -> Vec<String> {
    let rows = c.rows(&format!("EXPLAIN ({options}) {statement}"));
    rows.into_iter().flatten().flatten().collect()
}

/// The lines of EXPLAIN without what depends on ports, names of databases and shard ids.
#[track_caller]
fn shape(c: &mut Conn, options: &str, statement: &str) -> String {
    let lines: Vec<String> = explain(c, options, statement).iter().map(|l| plain(l)).collect();
    lines.join("\n")
}

fn plain(line: &str) -> String {
    if let Some((head, _)) = line.split_once("Node: host=127.0.0.1 port=") {
        return format!("{head}Node: N");
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("_10") {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        out.push_str(&rest[..at + 1]);
        out.push_str(if digits == 6 { "S" } else { &rest[at + 1..at + 1 + digits] });
        rest = &rest[at + 1 + digits..];
    }
    out + rest
}

/// How many lines contain a text.
fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|l| l.contains(text)).count()
}

#[track_caller]
fn assert_lines(found: &str, expected: &str) {
    assert_eq!(found, expected, "\n--- found\n{found}\n--- expected\n{expected}\n");
}
