//! What EXPLAIN does and leaves: rows, locks, transactions, rights; and plans in the log.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn writes_write_once() {
    let mut c = tables("once");
    for sql in [
        "UPDATE ev SET n = n + 1",
        "UPDATE ev SET n = n + 1 WHERE tenant = 3 RETURNING n",
        "UPDATE ref SET n = n + 1",
        "UPDATE ref SET n = n + 1 WHERE id = 1 RETURNING *",
        "INSERT INTO ev VALUES (50, 50), (51, 51), (52, 52)",
        "INSERT INTO ref VALUES (50, 50)",
        "INSERT INTO ev SELECT k, id FROM oth WHERE k > 35",
        "DELETE FROM ev WHERE tenant = 4",
        "DELETE FROM oth WHERE id = 40 RETURNING *",
        "MERGE INTO ev USING oth ON ev.tenant = oth.k AND ev.id = oth.id \
         WHEN MATCHED THEN UPDATE SET n = n + 100",
    ] {
        c.run(&format!("EXPLAIN {sql}"));
        c.run(&format!("EXPLAIN ANALYZE {sql}"));
    }
    let ev = "SELECT count(*), sum(n), count(*) FILTER (WHERE id >= 50) FROM ev";
    // 36 of the first 40 are left, three and five were inserted. Once 1 was added to each of the 40,
    // again to the four of tenant 3, and the four of tenant 4 went; twelve were merged.
    let found: Vec<String> = c.rows(ev).remove(0).into_iter().flatten().collect();
    assert_eq!(found, ["44", "1240", "3"]);
    assert_eq!(c.value("SELECT count(*) FROM oth"), "39");
    for node in cluster().nodes() {
        let mut n = node.connect(&c.value("SELECT current_database()"));
        let name = c.value(
            "SELECT 'ref_' || shardid FROM pg_dist_shard WHERE logicalrelid = 'ref'::regclass",
        );
        assert_eq!(n.value(&format!("SELECT sum(n) || ',' || count(*) FROM {name}")), "61,11");
    }
}

#[test]
fn plans_run_nothing() {
    let mut c = tables("nothing");
    c.run("CREATE SEQUENCE s; CREATE TABLE keyed (k bigint DEFAULT nextval('s'), v int)");
    c.run("SELECT create_distributed_table('keyed', 'k')");
    for _ in 0..3 {
        let lines = explain(&mut c, "COSTS OFF", "INSERT INTO keyed (v) VALUES (1)");
        assert_eq!(count(&lines, "Insert on keyed_"), 1, "{lines:#?}");
    }
    assert_eq!(c.value("SELECT nextval('s')"), "1");
    assert_eq!(c.value("SELECT count(*) FROM keyed"), "0");
    c.run("EXPLAIN ANALYZE INSERT INTO keyed (v) VALUES (1)");
    assert_eq!(c.value("SELECT nextval('s')"), "3");
    assert_eq!(c.value("SELECT k FROM keyed"), "2");
}

/// Locks and transactions of other sessions on the shards of all nodes.
fn left(c: &mut Conn) -> usize {
    let database = c.value("SELECT current_database()");
    let mut found = 0;
    for node in &cluster().workers {
        let mut n = node.connect(&database);
        let sql = "SELECT (SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() \
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
                   + (SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
                    AND datname = current_database() AND state LIKE 'idle in%')";
        found += n.value(sql).parse::<usize>().unwrap();
    }
    found
}

/// The end of a transaction that has only read is not waited for: the nodes may be a little later.
#[track_caller]
fn none_left(c: &mut Conn, sql: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while left(c) > 0 {
        assert!(Instant::now() < end, "{sql}: {} are left", left(c));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_is_left() {
    let mut c = tables("left");
    for sql in [
        "EXPLAIN SELECT * FROM ev",
        "EXPLAIN UPDATE ev SET n = 1",
        "EXPLAIN ANALYZE SELECT * FROM ev",
        "EXPLAIN ANALYZE SELECT * FROM ev FOR UPDATE",
        "EXPLAIN ANALYZE UPDATE ev SET n = 1",
        "BEGIN; EXPLAIN ANALYZE UPDATE ev SET n = 1; ROLLBACK",
        "BEGIN; EXPLAIN SELECT * FROM ev; COMMIT",
    ] {
        c.run(sql);
        none_left(&mut c, sql);
    }
    for sql in [
        "EXPLAIN ANALYZE SELECT 1 / (id - 3) FROM ev",
        "EXPLAIN ANALYZE UPDATE ev SET n = 1 / (id - 3)",
        "EXPLAIN ANALYZE INSERT INTO ref VALUES (1, 1)",
    ] {
        let code = c.simple(sql).expect_err(sql).code().to_owned();
        assert!(["22012", "23505"].contains(&code.as_str()), "{sql}: {code}");
        none_left(&mut c, sql);
    }
    // A task that failed leaves no request to measure what comes next.
    c.run("BEGIN; SAVEPOINT s");
    assert!(c.simple("EXPLAIN ANALYZE UPDATE ev SET n = 1 / (id - 3)").is_err());
    c.run("ROLLBACK TO s");
    assert_eq!(c.value("SELECT count(*) FROM ev"), "40");
    let lines = explain(&mut c, BARE, "SELECT count(*) FROM ev");
    assert_eq!(count(&lines, "Seq Scan on ev_"), 1, "{lines:#?}");
    c.run("COMMIT");
    assert_eq!(c.value("SELECT sum(n) FROM ev"), "40");
}

#[test]
fn rights_are_the_statements_own() {
    let mut c = tables("rights");
    let user = format!("explain_{}", std::process::id());
    for node in cluster().nodes() {
        node.connect("postgres").run(&format!("CREATE ROLE {user} LOGIN"));
    }
    c.run(&format!("GRANT SELECT ON ev, ref TO {user}"));
    let database = c.value("SELECT current_database()");
    let mut u = Conn::connect(cluster().coordinator.port, &user, &database).unwrap();
    let lines = explain(&mut u, BARE, "SELECT count(*) FROM ev JOIN ref ON ev.tenant = ref.id");
    assert_eq!(count(&lines, "Seq Scan on ev_"), 1, "{lines:#?}");
    u.run("EXPLAIN SELECT count(*) FROM ev");
    for sql in ["EXPLAIN SELECT * FROM oth", "EXPLAIN ANALYZE UPDATE ev SET n = 1"] {
        assert_eq!(u.simple(sql).expect_err(sql).code(), "42501", "{sql}");
    }
    drop(u);
    c.run(&format!("REVOKE ALL ON ev, ref FROM {user}"));
}

#[test]
fn plans_in_the_log() {
    let mut c = tables("log");
    c.run(
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; \
         SET auto_explain.log_level = notice; SET auto_explain.log_nested_statements = on",
    );
    c.run(
        "CREATE FUNCTION f(int) RETURNS bigint LANGUAGE plpgsql VOLATILE AS \
           'BEGIN RETURN (SELECT count(*) FROM ev WHERE tenant = $1); END'",
    );
    for analyze in ["on", "off"] {
        c.run(&format!("SET auto_explain.log_analyze = {analyze}"));
        for format in ["text", "json", "xml", "yaml"] {
            c.run(&format!("SET auto_explain.log_format = {format}"));
            for sql in [
                "SELECT * FROM ev WHERE tenant = 3",
                "SELECT count(*) FROM ev",
                "SELECT f(3)",
                "SELECT (SELECT max(id) FROM oth WHERE oth.id = ev.id) FROM ev WHERE id < 5",
                "INSERT INTO ev SELECT k, id FROM oth",
                "UPDATE ref SET n = n + 1 RETURNING *",
                "WITH gone AS (DELETE FROM ev WHERE tenant = 5 RETURNING *), \
                      more AS (UPDATE ref SET n = 0 RETURNING *) SELECT count(*) FROM gone, more",
                "EXPLAIN ANALYZE SELECT count(*) FROM ev",
                "EXPLAIN SELECT count(*) FROM ev",
            ] {
                c.run(sql);
                let text: Vec<&str> = c.notices.iter().map(|n| n.message.as_str()).collect();
                let text = text.join("\n");
                assert!(text.contains("Citus"), "{sql}: {text}");
                let counts = text.contains("Task Count") || text.contains("Task-Count");
                assert!(counts, "{sql}: {text}");
            }
        }
    }
    // Nobody contacts nodes for the log.
    c.run("SET auto_explain.log_format = text; SET auto_explain.log_analyze = on");
    c.run("SELECT count(*) FROM ev");
    let text = &c.notices[0].message;
    assert!(text.contains("Task Count: 4\n") && text.contains("Tasks Shown: None"), "{text}");
}

#[test]
fn functions_of_the_nodes() {
    let mut c = tables("functions");
    let save = |query: &str, options: &str, columns: &str| {
        format!(
            "SELECT * FROM worker_save_query_explain_analyze($q${query}$q$, '{options}') \
             AS ({columns})"
        )
    };
    assert_eq!(c.rows("SELECT * FROM worker_last_saved_explain_analyze()").len(), 0);
    let sql = save("SELECT g, 'x' || g FROM generate_series(1, 3) g", "{}", "a int, b text");
    let rows: Vec<String> = c.rows(&sql).into_iter().flatten().flatten().collect();
    assert_eq!(rows, ["1", "x1", "2", "x2", "3", "x3"]);
    let last = "SELECT explain_analyze_output, execution_duration > 0, execution_ntuples, \
                execution_nloops FROM worker_last_saved_explain_analyze()";
    let row: Vec<String> = c.rows(last).remove(0).into_iter().flatten().collect();
    let plan = &row[0];
    assert!(plan.starts_with("Function Scan on generate_series g  (cost="), "{plan}");
    assert!(plan.contains("rows=3 loops=1)\nPlanning Time: "), "{plan}");
    assert!(plan.contains("\nExecution Time: "), "{plan}");
    assert_eq!(row[1..], ["t", "3", "1"]);
    let options = r#"{"format": "json", "costs": false, "timing": false, "summary": false}"#;
    c.run(&save("SELECT 1", options, "a int"));
    let sql = "SELECT (explain_analyze_output::json)->0->>'Plan' \
               FROM worker_last_saved_explain_analyze()";
    assert!(c.value(sql).contains("\"Actual Rows\": 1"));
    for (query, columns, code) in [
        ("SELECT 1; SELECT 2", "a int", "42601"),
        ("", "a int", "42601"),
        ("CHECKPOINT", "a int", "0A000"),
        ("SELECT 1", "a text", "42804"),
        ("SELECT 1 / 0", "a int", "22012"),
        ("SELECT nonsense", "a int", "42703"),
    ] {
        let sql = save(query, "{}", columns);
        assert_eq!(c.simple(&sql).expect_err(&sql).code(), code, "{sql}");
    }
    c.run("CREATE TABLE plain (a int)");
    assert_eq!(c.rows(&save("INSERT INTO plain VALUES (1), (2)", "{}", "a int")).len(), 0);
    assert_eq!(c.value("SELECT count(*) FROM plain"), "2");
    // What is asked for is the next statement of the same transaction, and nothing else.
    c.run("SELECT citus_explain_next('{}')");
    c.run("SELECT 1");
    assert_eq!(c.rows("SELECT * FROM worker_last_saved_explain_analyze()").len(), 0);
    c.run("BEGIN; SELECT citus_explain_next('{\"costs\": false}'); SELECT count(*) FROM plain");
    assert!(c.value(last).starts_with("Aggregate (actual time="));
    c.run("COMMIT");
}
