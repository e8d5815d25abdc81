//! The SQL examples of the user's guide run as they are written, or differ as
//! `docs/guide-deviations.md` says.

use std::path::PathBuf;

use citus_tests::client::{Conn, Error, ResultSet};
use citus_tests::cluster::Cluster;
use citus_tests::corpus::{read_file, Statement};
use citus_tests::server::Kind;

/// What is wrong with the answer to an example, or None.
fn mistake(s: &Statement, answer: &Result<ResultSet, Error>) -> Option<String> {
    match (answer, &s.marks.error) {
        (Err(e), Some(codes)) if codes.split(',').any(|c| c == e.code()) => None,
        (Err(e), _) => Some(e.to_string()),
        (Ok(set), Some(codes)) => Some(format!("{} without the error {codes}", set.tag)),
        (Ok(set), None) => value_mistake(s, set),
    }
}

fn value_mistake(s: &Statement, set: &ResultSet) -> Option<String> {
    if let Some(expected) = &s.marks.expect {
        let first = set.rows.first().and_then(|r| r.first()).cloned().flatten();
        if first.as_ref() != Some(expected) {
            return Some(format!("expected {expected}, got {first:?}"));
        }
    }
    let text = s.marks.plan.as_ref()?;
    let lines: Vec<&str> = set.rows.iter().filter_map(|r| r.first()?.as_deref()).collect();
    let found = lines.iter().any(|l| l.contains(text.as_str()));
    (!found).then(|| format!("no line with \"{text}\":\n{}", lines.join("\n")))
}

fn run(c: &mut Conn, file: &str, config: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("guide").join(file);
    let mut failures = Vec::new();
    for s in read_file(&path) {
        let answer = c.copy_in(&s.sql, &s.copy_data).map(|mut r| r.pop().unwrap_or_default());
        let known = s.marks.known.iter().any(|(k, _)| k == "all" || k == config);
        match (mistake(&s, &answer), known) {
            (Some(text), false) => {
                failures.push(format!("{file}:{} [{config}]\n{}\n{text}", s.line, s.sql))
            }
            (None, true) => {
                failures.push(format!("{file}:{} works now: remove `-- @known`", s.line))
            }
            _ => {}
        }
        if c.status == b'E' {
            c.run("ROLLBACK");
        }
    }
    failures
}

fn on_cluster(workers: usize, config: &str) {
    let cluster = Cluster::start(workers, Kind::FAST, "");
    let database = cluster.database("guide");
    let failures = run(&mut cluster.connect(&database), "examples.sql", config);
    assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn examples_with_two_workers() {
    on_cluster(2, "w2");
}

/// The embedded default: one server, nothing added.
#[test]
fn examples_on_a_single_node() {
    on_cluster(0, "single");
}
