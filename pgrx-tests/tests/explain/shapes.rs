//! The form of plans.

use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

use super::*;

#[test]
fn router() {
    let mut c = tables("router");
    let sql = "SELECT * FROM ev WHERE tenant = 3";
    let plan = "Custom Scan (Citus Router)
  Task Count: 1
  Tasks Shown: All
  ->  Task
        Node: N
        ->  Seq Scan on ev_S ev
              Filter: (tenant = 3)";
    assert_lines(&shape(&mut c, "COSTS OFF", sql), plan);
    let analyzed = "Custom Scan (Citus Router) (actual rows=4 loops=1)
  Task Count: 1
  Tuple data received from nodes: 131 bytes
  Tasks Shown: All
  ->  Task
        Tuple data received from node: 131 bytes
        Node: N
        ->  Seq Scan on ev_S ev (actual rows=4 loops=1)
              Filter: (tenant = 3)
              Rows Removed by Filter: 12";
    assert_lines(&shape(&mut c, BARE, sql), analyzed);
    let timed = explain(&mut c, "ANALYZE", sql);
    assert!(timed[7].contains("(cost=") && timed[7].contains("(actual time="), "{timed:?}");
    for name in ["Planning Time: ", "Execution Time: "] {
        let times: Vec<&String> = timed.iter().filter(|l| l.contains(name)).collect();
        assert_eq!(times.len(), 2, "{timed:?}");
        assert!(times[0].starts_with(&format!("            {name}")), "{timed:?}");
        let number = times[0].trim().trim_start_matches(name).trim_end_matches(" ms");
        assert!(number.parse::<f64>().is_ok_and(|t| t > 0.0), "{timed:?}");
    }
}

#[test]
fn aggregate_in_two_phases() {
    let mut c = tables("phases");
    let expected = "Aggregate (actual rows=1 loops=1)
  ->  Custom Scan (Citus Real-Time) (actual rows=4 loops=1)
        Task Count: 4
        Tuple data received from nodes: 56 bytes
        Tasks Shown: One of 4
        ->  Task
              Tuple data received from node: 14 bytes
              Node: N
              ->  Aggregate (actual rows=1 loops=1)
                    ->  Seq Scan on ev_S ev (actual rows=N loops=1)";
    let found = shape(&mut c, BARE, "SELECT count(*) FROM ev");
    // Which shard is slowest is not known.
    let last = found.rfind("rows=").unwrap_or(0) + 5;
    let loops = found.rfind(" loops").unwrap_or(0);
    assert_lines(&format!("{}N{}", &found[..last], &found[loops..]), expected);
    let statement = "SELECT count(*) FROM ev";
    c.run("SET citus.explain_distributed_queries = off");
    let short = explain(&mut c, BARE, statement);
    assert_eq!(count(&short, "Task Count: 4"), 1, "{short:?}");
    assert_eq!(count(&short, "Tasks Shown: None"), 1, "{short:?}");
    assert_eq!(count(&short, "->  Task"), 0, "{short:?}");
}

#[test]
fn all_tasks_in_order() {
    let mut c = tables("order");
    c.run("SET citus.explain_all_tasks = on");
    // The work differs with the shard, so that the order is not that of the shards.
    let sql = "SELECT count(*) FROM ev, generate_series(1, 3000 * (tenant % 7)) g WHERE id > g";
    let slowest = explain(&mut c, "ANALYZE, COSTS OFF", sql);
    assert_eq!(count(&slowest, "Tasks Shown: All"), 1);
    assert_eq!(count(&slowest, "->  Task"), 4);
    let times: Vec<f64> = slowest
        .iter()
        .filter(|l| l.starts_with("                  Execution Time: "))
        .map(|l| l.trim().trim_start_matches("Execution Time: ").trim_end_matches(" ms"))
        .map(|t| t.parse().unwrap())
        .collect();
    assert_eq!(times.len(), 4, "{slowest:?}");
    assert!(times.windows(2).all(|w| w[0] >= w[1]), "{times:?}");
    c.run("SET citus.explain_analyze_sort_method = 'taskId'");
    let lines = explain(&mut c, BARE, "SELECT count(*) FROM ev");
    let shards: Vec<&str> = lines.iter().filter_map(|l| l.split("ev_").nth(1)).collect();
    let shards: Vec<&str> = shards.iter().filter_map(|s| s.get(..6)).collect();
    assert_eq!(shards.len(), 4);
    assert!(shards.windows(2).all(|w| w[0] < w[1]), "{shards:?}");
    c.run("SET citus.explain_all_tasks = off");
    let first = explain(&mut c, BARE, "SELECT count(*) FROM ev");
    assert_eq!(count(&first, &format!("ev_{}", shards[0])), 1, "{first:?}");
    assert_eq!(count(&first, "Tasks Shown: One of 4"), 1);
}

#[test]
fn scans_that_run_again() {
    let mut c = tables("again");
    let sql = "SELECT (SELECT max(id) FROM oth WHERE oth.id = ev.id) FROM ev \
               WHERE tenant = 1 AND id < 25";
    let lines = explain(&mut c, BARE, sql);
    let at = lines.iter().position(|l| l.contains("Citus") && l.contains("loops=3"));
    let inner = &lines[at.expect("a scan that ran three times")..];
    assert!(inner[1].ends_with("Filter: (id = ev.id)"), "{lines:#?}");
    assert!(inner[2].ends_with("Task Count: 4"), "{lines:#?}");
    assert_eq!(count(inner, "Rows Kept"), 0, "{lines:#?}");
    assert_eq!(count(inner, "Seq Scan on oth_"), 1, "{lines:#?}");
    // Nobody asks the inner side.
    let never = "SELECT (SELECT max(id) FROM oth WHERE oth.id = ev.id) FROM ev \
                 WHERE tenant = 1 AND id < 0";
    let lines = explain(&mut c, BARE, never);
    let at = lines.iter().position(|l| l.contains("Citus") && l.contains("never executed"));
    let inner = &lines[at.expect("a scan that never ran")..];
    assert!(inner[2].ends_with("Task Count: 4"), "{lines:#?}");
    // The node plans for a value that it does not know.
    assert_eq!(count(inner, "(id = $0)"), 1, "{lines:#?}");
    // After some runs its rows are kept: all of the table's.
    let rows = c.value("SELECT count(*) FROM oth");
    let lines =
        explain(&mut c, BARE, "SELECT (SELECT max(id) FROM oth WHERE oth.id = ev.id) FROM ev");
    assert_eq!(count(&lines, &format!("Rows Kept: {rows}")), 1, "{lines:#?}");
    // Where each run would bring the same rows, from the second one on.
    let alike = |n: &str| {
        format!("SELECT (SELECT max(id) FROM oth WHERE i <> 7) FROM generate_series(1, {n}) i")
    };
    let lines = explain(&mut c, BARE, &alike("1"));
    assert_eq!(count(&lines, "Rows Kept"), 0, "{lines:#?}");
    let lines = explain(&mut c, BARE, &alike("2"));
    assert_eq!(count(&lines, &format!("Rows Kept: {rows}")), 1, "{lines:#?}");
    // Details of the run that asked nodes.
    assert_eq!(count(&lines, "Seq Scan on oth_"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "Tuple data received from nodes: 0 bytes"), 0, "{lines:#?}");
}

#[test]
fn writes_are_shown() {
    let mut c = tables("shown");
    let expected = "Custom Scan (Citus Router) (actual rows=1 loops=1)
  Task Count: 1
  Tuple data received from nodes: 10 bytes
  Tasks Shown: All
  ->  Task
        Tuple data received from node: 10 bytes
        Node: N
        ->  Insert on ev_S (actual rows=1 loops=1)
              ->  Result (actual rows=1 loops=1)";
    let sql = "INSERT INTO ev VALUES (3, 100) RETURNING id";
    assert_lines(&shape(&mut c, BARE, sql).replace("ev_S ev ", "ev_S "), expected);
    let lines = explain(&mut c, BARE, "INSERT INTO ev SELECT k, id FROM oth WHERE k < 20");
    assert!(lines[0].starts_with("Custom Scan (Citus Insert)"), "{lines:#?}");
    assert_eq!(count(&lines, "Rows Affected: 19"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "->  Insert on ev_"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "Seq Scan on oth_"), 1, "{lines:#?}");
    let lines = explain(
        &mut c,
        BARE,
        "WITH gone AS (DELETE FROM ev WHERE tenant = 5 RETURNING *) SELECT count(*) FROM gone, oth",
    );
    assert_eq!(count(&lines, "Delete on ev_"), 1, "{lines:#?}");
    let sql = "WITH gone AS (DELETE FROM ev WHERE tenant = 6 RETURNING *), \
                    more AS (INSERT INTO ref SELECT 60, 0 RETURNING *) \
               SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM more)";
    for options in ["COSTS OFF", BARE] {
        let lines = explain(&mut c, options, sql);
        assert_eq!(count(&lines, "Delete on ev_"), 1, "{lines:#?}");
        // Where rows go is known when they are there.
        let written = usize::from(options == BARE);
        assert_eq!(count(&lines, "Citus Insert"), 1, "{lines:#?}");
        assert_eq!(count(&lines, "Insert on ref_"), written, "{lines:#?}");
    }
    assert_eq!(c.value("SELECT count(*) FROM ev WHERE tenant = 6"), "0");
    assert_eq!(c.value("SELECT count(*) FROM ref WHERE id = 60"), "1");
}

#[test]
fn statements_around_queries() {
    let mut c = tables("around");
    c.run("PREPARE p (int, text) AS SELECT n FROM ev WHERE tenant = $1 AND v <> $2 || '$1'");
    for mode in ["auto", "force_generic_plan"] {
        c.run(&format!("SET plan_cache_mode = {mode}"));
        let sql = "EXECUTE p(3, 'it''s')";
        let lines = explain(&mut c, BARE, sql);
        let text = lines.join("\n");
        assert!(lines[0].contains("Citus Router) (actual rows=4"), "{text}");
        assert!(text.contains("Rows Removed by Filter: 12"), "{text}");
        let lines = explain(&mut c, "COSTS OFF", sql).join("\n");
        assert!(lines.contains("it''s"), "{lines}");
        assert!(lines.contains("$1'"), "{lines}");
    }
    let lines = explain(&mut c, BARE, "CREATE TABLE made AS SELECT * FROM ev WHERE tenant = 3");
    assert_eq!(count(&lines, "->  Seq Scan on ev_"), 1, "{lines:#?}");
    assert_eq!(c.value("SELECT count(*) FROM made"), "4");
    let lines = explain(&mut c, "COSTS OFF", "CREATE TABLE other AS SELECT * FROM ev");
    assert_eq!(count(&lines, "->  Seq Scan on ev_"), 1, "{lines:#?}");
    assert_eq!(c.value("SELECT to_regclass('other') IS NULL"), "t");
    let lines = explain(&mut c, "COSTS OFF", "DECLARE c CURSOR FOR SELECT * FROM ev");
    assert_eq!(count(&lines, "->  Seq Scan on ev_"), 1, "{lines:#?}");
    // Through the extended protocol, with a parameter of EXPLAIN itself.
    c.prepare("e", &format!("EXPLAIN ({BARE}) SELECT * FROM ev WHERE tenant = $1")).unwrap();
    for (tenant, rows) in [("3", 4), ("77", 0)] {
        let result = c.execute("e", &[Some(tenant.to_owned())]).unwrap();
        let first = result.rows[0][0].clone().unwrap();
        assert!(first.contains(&format!("actual rows={rows} ")), "{first}");
    }
}

/// Each shard gets the elements of a list that can be its own, unless the list is something else, too.
#[test]
fn lists_of_parameters() {
    let mut c = tables("lists");
    c.run("SET citus.explain_all_tasks = on; SET plan_cache_mode = force_generic_plan");
    c.run("PREPARE p (int[]) AS SELECT n FROM ev WHERE tenant = ANY ($1)");
    c.run("PREPARE q (int[]) AS SELECT n FROM ev WHERE tenant = ANY ($1) AND id = ANY ($1)");
    let list = (1..=40).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    for (name, expected) in [("p", 40), ("q", 4 * 40 * 2)] {
        let lines = explain(&mut c, "COSTS OFF", &format!("EXECUTE {name} ('{{{list}}}')"));
        let text = lines.join(" ");
        let found = text.split("ANY ('{").skip(1).map(|s| {
            let list = s.split('}').next().unwrap();
            list.split(',').filter(|e| !e.is_empty()).count()
        });
        assert_eq!(found.sum::<usize>(), expected, "{text}");
    }
    assert_eq!(c.rows(&format!("EXECUTE p ('{{{list}}}')")).len(), 36);
}

/// Conditions that tell nothing go through a security barrier, and so find the shards.
#[test]
fn barriers() {
    let mut c = tables("barriers");
    c.run("CREATE VIEW b WITH (security_barrier) AS SELECT id, tenant AS k, n + 1 AS m, v FROM ev WHERE v <> 'v3'");
    c.run("CREATE VIEW bb WITH (security_barrier) AS SELECT k, id FROM b WHERE id > 2");
    c.run(
        "CREATE VIEW s WITH (security_barrier) AS SELECT tenant AS k, count(*) FROM ev GROUP BY 1",
    );
    for (sql, tasks, rows) in [
        ("SELECT * FROM b WHERE k = 3", 1, 3),
        ("SELECT * FROM b WHERE k = 3 AND v ~ '1'", 1, 1),
        ("SELECT * FROM bb WHERE k = 3", 1, 3),
        ("SELECT * FROM ref LEFT JOIN b ON true WHERE b.k = 3", 4, 30),
        ("SELECT * FROM b LEFT JOIN ref ON ref.id = b.k WHERE k = 3", 1, 3),
        ("SELECT * FROM (SELECT * FROM b WHERE k IN (3, 3)) s", 1, 3),
        ("SELECT * FROM b WHERE m = 1", 4, 39),
        ("SELECT * FROM s WHERE k = 3", 4, 1),
    ] {
        let lines = explain(&mut c, "COSTS OFF", sql);
        let all = lines.iter().any(|l| l.contains("Task Count: 4"));
        assert_eq!(all, tasks == 4, "{sql} {lines:#?}");
        assert_eq!(c.rows(sql).len(), rows, "{sql}");
    }
}

#[test]
fn a_single_server() {
    static IT: OnceLock<Cluster> = OnceLock::new();
    let cluster = IT.get_or_init(|| Cluster::start(0, Kind::FAST, ""));
    let mut c = cluster.connect(&cluster.database("single"));
    fill(&mut c);
    c.run("SET citus.explain_all_tasks = on");
    let lines = explain(&mut c, "ANALYZE, BUFFERS", "SELECT count(*) FROM ev");
    assert_eq!(count(&lines, "->  Task"), 4, "{lines:#?}");
    assert_eq!(count(&lines, "Tuple data received from node: 0 bytes"), 4, "{lines:#?}");
    assert_eq!(count(&lines, "Execution Time: "), 5, "{lines:#?}");
    assert!(count(&lines, "Buffers: shared") >= 8, "{lines:#?}");
    c.run("EXPLAIN ANALYZE UPDATE ev SET n = n + 1");
    assert_eq!(c.value("SELECT sum(n) FROM ev"), "40");
    for format in ["JSON", "XML", "YAML"] {
        let sql = "SELECT * FROM ev WHERE tenant = 2";
        let found = explain(&mut c, &format!("ANALYZE, FORMAT {format}"), sql).join("\n");
        assert_eq!(found.matches("Seq Scan").count(), 1, "{found}");
    }
}

/// What names an object that all nodes have runs beside the shards, and what names another one here.
#[test]
fn objects_of_the_user() {
    let mut c = tables("objects");
    c.run("CREATE TYPE used AS ENUM ('a', 'b'); CREATE TYPE unused AS ENUM ('a', 'b')");
    c.run("CREATE TEXT SEARCH CONFIGURATION everywhere (COPY = simple)");
    c.run("CREATE TEXT SEARCH CONFIGURATION here (COPY = simple)");
    let lines = |c: &mut Conn, sql: &str| explain(c, "COSTS OFF", sql);
    let by_type = |t: &str| format!("SELECT id FROM ev WHERE (v || '')::{t} > 'a'");
    assert_eq!(count(&lines(&mut c, &by_type("used")), "  Filter: ("), 1);
    let here = lines(&mut c, &by_type("used"));
    assert!(here[1].starts_with("  Filter: "), "{here:#?}");
    c.run("ALTER TABLE oth ADD COLUMN us used[]");
    let there = lines(&mut c, &by_type("used"));
    assert!(!there[1].contains("Filter: "), "{there:#?}");
    let grouped = "SELECT 'b'::used, max(v) FROM ev GROUP BY id, ARRAY['a', 'b']::used[]";
    assert_eq!(count(&lines(&mut c, grouped), "Task Count: 4"), 1);
    let here = lines(&mut c, &by_type("unused"));
    assert!(here[1].starts_with("  Filter: "), "{here:#?}");

    // Casts of texts to types of PostgreSQL's, whose functions get the type's OID.
    for typ in ["timestamptz", "timestamp", "interval", "time", "int[]", "int4range"] {
        let there = lines(&mut c, &format!("SELECT id FROM ev WHERE (v || '')::{typ} IS NULL"));
        assert!(!there[1].contains("Filter: "), "{there:#?}");
    }

    let by_config = |name: &str| {
        format!("SELECT id FROM ev WHERE to_tsvector('{name}', v) @@ to_tsquery('{name}', 'v1')")
    };
    let make = "CREATE TEXT SEARCH CONFIGURATION everywhere (COPY = simple)";
    c.run(&format!("SELECT run_command_on_workers('{make}')"));
    let there = lines(&mut c, &by_config("everywhere"));
    assert!(!there[1].contains("Filter: "), "{there:#?}");
    let here = lines(&mut c, &by_config("here"));
    assert!(here[1].starts_with("  Filter: "), "{here:#?}");
}
