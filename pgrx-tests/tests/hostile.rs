//! Bad arguments to every SQL function give a fitting error, change nothing and break nothing.

use std::collections::BTreeSet;

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

/// Cases that do not give what they should yet: the beginning of the statement.
const KNOWN: &[&str] = &[];

struct Case {
    line: usize,
    allowed: BTreeSet<String>,
    sql: String,
}

fn cases(ports: [(&str, u16); 3]) -> Vec<Case> {
    let text = include_str!("../hostile/cases.tsv");
    let lines = text.lines().enumerate().filter(|(_, l)| !l.starts_with('#') && !l.is_empty());
    lines
        .map(|(n, line)| {
            let (codes, sql) =
                line.split_once('\t').unwrap_or_else(|| panic!("line {}: no tab", n + 1));
            let mut sql = sql.to_owned();
            for (name, port) in ports {
                sql = sql.replace(name, &port.to_string());
            }
            Case { line: n + 1, allowed: codes.split(',').map(str::to_owned).collect(), sql }
        })
        .collect()
}

/// Everything the extension knows, as one text; and the time at which the server started.
fn state(c: &mut Conn) -> (String, String) {
    let catalogs = c.rows(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname LIKE 'pg\\_dist\\_%' AND c.relkind = 'r'
           AND c.relname NOT IN ('pg_dist_transaction', 'pg_dist_cleanup') ORDER BY 1",
    );
    let mut text = String::new();
    for name in catalogs.into_iter().flatten().flatten() {
        let rows =
            c.value(&format!("SELECT string_agg(t::text, ';' ORDER BY t::text) FROM {name} t"));
        text.push_str(&format!("{name}: {rows}\n"));
    }
    (text, c.value("SELECT pg_postmaster_start_time()::text"))
}

/// Runs a case in a session of its own, as in a transaction that never commits by accident.
fn outcome(cluster: &Cluster, database: &str, case: &Case) -> Result<(), String> {
    let mut c = cluster.connect(database);
    c.run("SET statement_timeout = '30s'");
    let (result, message) = match c.simple(&case.sql) {
        Ok(_) => ("ok".to_owned(), String::new()),
        Err(e) => (e.code().to_owned(), e.to_string()),
    };
    if !case.allowed.contains(&result) {
        return Err(format!("expected {:?}, got {result} {message}", case.allowed));
    }
    if message.contains(".rs:") || message.contains("panicked") || message.contains("backtrace") {
        return Err(format!("the message shows internals: {message}"));
    }
    Ok(())
}

#[test]
fn bad_arguments_change_nothing() {
    let plain = Cluster::start(0, Kind::PLAIN, "");
    let cluster = Cluster::start(2, Kind::FAST, "");
    let database = cluster.database("hostile");
    let mut c = cluster.connect(&database);
    c.run(include_str!("../hostile/setup.sql"));
    let ports = [
        ("{port}", cluster.coordinator.port),
        ("{worker}", cluster.workers[0].port),
        ("{plain}", plain.coordinator.port),
    ];
    let cases = cases(ports);
    assert!(cases.len() >= 100, "only {} cases", cases.len());
    let mut before = state(&mut c);
    let mut failures = Vec::new();
    for case in &cases {
        let mut found = outcome(&cluster, &database, case).err();
        cluster.coordinator.wait_ready().unwrap();
        match cluster.coordinator.try_connect(&database) {
            Ok(mut again) => {
                let after = state(&mut again);
                if after.1 != before.1 {
                    found = Some("the server restarted".to_owned());
                } else if after.0 != before.0 {
                    found =
                        Some(format!("metadata changed\nbefore:\n{}after:\n{}", before.0, after.0));
                }
                before = after;
            }
            Err(e) => found = Some(format!("the server is gone: {e}")),
        }
        let known = KNOWN.iter().any(|k| case.sql.starts_with(k));
        match (found, known) {
            (Some(text), false) => {
                failures.push(format!("cases.tsv:{} {}\n  {text}", case.line, case.sql))
            }
            (None, true) => failures.push(format!("works now, remove it from KNOWN: {}", case.sql)),
            _ => {}
        }
    }
    for node in cluster.nodes() {
        let log = node.log();
        for sign in ["was terminated by signal", "PANIC:", "panicked at"] {
            if log.contains(sign) {
                failures.push(format!(
                    "the log of {} has \"{sign}\"\n{}",
                    node.name,
                    node.log_tail(20)
                ));
            }
        }
    }
    println!("{} cases", cases.len());
    assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n\n"));
}
