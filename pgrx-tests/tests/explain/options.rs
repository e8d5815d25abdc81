//! Options of EXPLAIN, which are the nodes', too.

use super::*;

/// Lines of a task's plan, which stand deeper than the task itself.
fn remote(lines: &[String]) -> Vec<String> {
    let at = lines.iter().position(|l| l.contains("Node: host=")).expect("a task");
    lines[at + 1..].to_vec()
}

#[test]
fn each_option_reaches_the_nodes() {
    let mut c = tables("options");
    let select = "SELECT id FROM ev WHERE tenant = 3";
    let mut on = |options: &str, sql: &str| remote(&explain(&mut c, options, sql)).join("\n");
    assert!(on("COSTS ON", select).contains("(cost="));
    assert!(!on("COSTS OFF", select).contains("(cost="));
    assert!(on("VERBOSE", select).contains("Output: id"));
    assert!(!on("VERBOSE OFF", select).contains("Output: id"));
    assert!(on("ANALYZE, BUFFERS", select).contains("Buffers: shared hit="));
    assert!(!on("ANALYZE", select).contains("Buffers"));
    assert!(on("ANALYZE, TIMING", select).contains("actual time="));
    assert!(!on("ANALYZE, TIMING OFF", select).contains("actual time="));
    assert!(on("ANALYZE, WAL", "INSERT INTO ev VALUES (3, 3)").contains("WAL: records=1"));
    // The last line is the coordinator's own.
    assert_eq!(on("ANALYZE", select).matches("Planning Time").count(), 2);
    assert_eq!(on("ANALYZE, SUMMARY OFF", select).matches("Time: ").count(), 0);
    assert_eq!(on("SUMMARY", select).matches("Planning Time").count(), 2);
    assert_eq!(on("SUMMARY OFF", select).matches("Time: ").count(), 0);
    c.run("SET enable_hashagg = off");
    for options in ["SETTINGS", "ANALYZE, SETTINGS"] {
        let lines = remote(&explain(&mut c, options, "SELECT id FROM ev WHERE tenant = 3"));
        assert_eq!(count(&lines, "Settings: enable_hashagg = 'off'"), 2, "{lines:#?}");
    }
}

#[test]
fn verbose_shows_statements() {
    let mut c = tables("verbose");
    let sql = "SELECT id,   v FROM ev WHERE tenant = 3 AND v <> 'a  b'";
    for options in ["VERBOSE", "ANALYZE, VERBOSE"] {
        let lines = explain(&mut c, options, sql);
        let query = lines.iter().find(|l| l.contains("Query: ")).expect("the statement");
        assert!(query.starts_with("        Query: SELECT id, v FROM public.ev_10"), "{query}");
        assert!(query.ends_with("'a  b'::pg_catalog.text))"), "{query}");
    }
    // Rows that are routed travel in the statement's text.
    let sql = "INSERT INTO ev SELECT 3, g FROM generate_series(1, 5000) g, oth WHERE oth.k = 1";
    let lines = explain(&mut c, "ANALYZE, VERBOSE", sql);
    let query = lines.iter().find(|l| l.contains("Query: INSERT")).expect("the statement");
    assert!(query.len() < 20000 && query.ends_with(" ..."), "{}", query.len());
    assert_eq!(c.value("SELECT count(*) FROM ev WHERE tenant = 3"), "5004");
}

#[test]
fn wrong_options_are_refused() {
    let mut c = tables("wrong");
    for (options, code) in [
        ("ANALYZE maybe", "42601"),
        ("FORMAT html", "22023"),
        ("NONSENSE", "42601"),
        ("WAL", "22023"),
        ("TIMING", "22023"),
    ] {
        let sql = format!("EXPLAIN ({options}) SELECT * FROM ev");
        assert_eq!(c.simple(&sql).expect_err(&sql).code(), code, "{sql}");
    }
    // Options are read where they stand: a later one wins.
    let lines = explain(&mut c, "ANALYZE, ANALYZE off, COSTS OFF", "DELETE FROM ev");
    assert_eq!(count(&lines, "Delete on ev_"), 1, "{lines:#?}");
    assert_eq!(c.value("SELECT count(*) FROM ev"), "40");
}

#[test]
fn statements_say_collations_where_they_must() {
    let mut c = tables("collations");
    c.run(
        "CREATE TABLE coll (k int, v varchar(9), e text COLLATE \"en-US-x-icu\");
         SELECT create_distributed_table('coll', 'k')",
    );
    let mut said = |condition: &str| {
        let lines = explain(&mut c, "VERBOSE", &format!("SELECT k FROM coll WHERE {condition}"));
        let query = lines.iter().find(|l| l.contains("Query: ")).expect("the statement");
        query.matches(" COLLATE ").count()
    };
    for condition in ["v = 'a'", "v::text < 'b'", "e = 'a'", "e || v < upper('x')", "e = v"] {
        assert_eq!(said(condition), 0, "{condition}");
    }
    for condition in ["v COLLATE \"C\" < 'b'", "e COLLATE \"default\" < v", "e < 'b' COLLATE \"C\""]
    {
        assert_eq!(said(condition), 1, "{condition}");
    }
}
