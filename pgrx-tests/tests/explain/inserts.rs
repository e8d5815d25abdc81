//! Which INSERTs of a query's rows run on the shards that have them, and which do not.

use super::*;

/// What the plan of a statement is.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Plan {
    /// So many tasks, each on a shard group that has all it needs.
    Pushed(usize),
    /// Rows are read here and routed to their shards.
    Routed,
}
use Plan::{Pushed, Routed};

const PLANS: &[(&str, Plan)] = &[
    ("INSERT INTO cp SELECT * FROM ev", Pushed(4)),
    ("INSERT INTO cp (v, tenant) SELECT v, tenant FROM ev WHERE id > 3 RETURNING *", Pushed(4)),
    ("INSERT INTO cp SELECT * FROM ev ON CONFLICT DO NOTHING", Pushed(4)),
    ("INSERT INTO cp SELECT * FROM cp ON CONFLICT (tenant, id) DO UPDATE SET n = excluded.n + 1", Pushed(4)),
    ("INSERT INTO cp (tenant, id) SELECT tenant, count(*) FROM ev GROUP BY tenant", Pushed(4)),
    ("INSERT INTO cp (tenant, id) SELECT b.tenant, a.id FROM ev a JOIN cp b USING (tenant)", Pushed(4)),
    ("INSERT INTO cp (tenant, id) SELECT b.tenant, a.id FROM ev a JOIN cp b ON b.tenant = a.tenant JOIN ref ON ref.id = a.n", Pushed(4)),
    ("INSERT INTO cp (tenant, id) SELECT a.tenant, b.id FROM ev a LEFT JOIN cp b ON a.tenant = b.tenant", Pushed(4)),
    ("INSERT INTO cp (tenant, id) SELECT tenant, 1 FROM ev UNION SELECT tenant, 2 FROM cp", Pushed(4)),
    ("WITH c AS (SELECT * FROM ev) INSERT INTO cp SELECT * FROM c", Pushed(4)),
    ("INSERT INTO cp (tenant, id, v) SELECT tenant, id, random()::text FROM ev", Pushed(4)),
    ("INSERT INTO uu (tenant) SELECT tenant FROM ev", Pushed(4)),
    ("INSERT INTO cp SELECT * FROM ev WHERE tenant = 3", Pushed(1)),
    ("INSERT INTO cp SELECT * FROM ev WHERE tenant IN (1, 2, 3, 4) AND tenant = 2", Pushed(1)),
    ("INSERT INTO cp SELECT * FROM ev WHERE tenant = 3 ORDER BY id LIMIT 1", Pushed(1)),
    ("INSERT INTO cp (tenant, id) SELECT 3, count(*) FROM ev WHERE tenant = 3", Pushed(1)),
    ("INSERT INTO cp (tenant, id) SELECT 3, id FROM ref", Pushed(1)),
    ("INSERT INTO cv SELECT tenant, id FROM ev", Pushed(4)),
    // Another value for the distribution column.
    ("INSERT INTO cp SELECT tenant + 0, id, n, v FROM ev", Routed),
    ("INSERT INTO cp SELECT id, tenant, n, v FROM ev", Routed),
    ("INSERT INTO cp SELECT tenant::bigint, id, n, v FROM ev", Routed),
    ("INSERT INTO cp SELECT {other}, id, n, v FROM ev WHERE tenant = 3", Routed),
    ("INSERT INTO cp (tenant, id) SELECT b.tenant, a.id FROM ev a LEFT JOIN cp b ON a.tenant = b.tenant", Routed),
    ("INSERT INTO cp (tenant, id) SELECT b.tenant, a.id FROM ev a FULL JOIN cp b ON a.tenant = b.tenant", Routed),
    ("INSERT INTO cp (tenant, id) SELECT tenant, 1 FROM ev UNION ALL SELECT id, 2 FROM cp", Routed),
    ("INSERT INTO cp (tenant, id) SELECT tenant, id FROM (SELECT tenant, id FROM ev WHERE tenant = 3 GROUP BY GROUPING SETS (tenant, id)) q", Routed),
    // Rows that are somewhere else, or known only here.
    ("INSERT INTO cp (tenant, id) SELECT k, id FROM oth", Routed),
    ("INSERT INTO cp (tenant, id) SELECT tenant, o.id FROM ev JOIN oth o ON o.k = ev.tenant", Routed),
    ("INSERT INTO cp (tenant, id) SELECT g, g FROM generate_series(1, 3) g", Routed),
    ("INSERT INTO oth SELECT tenant, id FROM ev", Routed),
    ("INSERT INTO cb SELECT tenant, id FROM ev", Routed),
    // Only all shards together have the answer.
    ("INSERT INTO cp SELECT * FROM ev ORDER BY id LIMIT 3", Routed),
    ("INSERT INTO cp (tenant, id) SELECT max(tenant), count(*) FROM ev", Routed),
    ("INSERT INTO cp (tenant, id) SELECT tenant, rank() OVER (ORDER BY id) FROM ev", Routed),
    ("INSERT INTO cp (tenant, id) SELECT DISTINCT ON (id) tenant, id FROM ev", Routed),
    ("INSERT INTO cp (tenant, id, v) SELECT tenant, id, r::text FROM ev, (SELECT random() AS r) one", Routed),
    // What only this server computes.
    ("INSERT INTO sq (tenant) SELECT tenant FROM ev", Routed),
    ("INSERT INTO cp (tenant, id) SELECT tenant, twice(id) FROM ev", Routed),
    // Conditions on new rows, and copies that must stay alike.
    ("INSERT INTO chk SELECT tenant, id FROM ev", Routed),
    ("INSERT INTO ref SELECT id + 100, n FROM ref", Routed),
];

#[test]
fn inserts_run_where_their_rows_are() {
    let mut c = tables("inserts");
    c.run(
        "CREATE TABLE cp (tenant int, id int, n int DEFAULT 0, v text, PRIMARY KEY (tenant, id));
         CREATE TABLE uu (tenant int, id uuid DEFAULT gen_random_uuid());
         CREATE TABLE sq (tenant int, id serial);
         CREATE TABLE cb (tenant bigint, id int);
         CREATE VIEW cv AS SELECT tenant, id FROM cp;
         CREATE VIEW chk AS SELECT tenant, id FROM cp WHERE id < 1000 WITH CHECK OPTION;
         CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1 * 2; END';
         SELECT create_distributed_table('cp', 'tenant', colocate_with := 'ev');
         SELECT create_distributed_table('uu', 'tenant', colocate_with := 'ev');
         SELECT create_distributed_table('sq', 'tenant', colocate_with := 'ev');
         SELECT create_distributed_table('cb', 'tenant', shard_count := 4, colocate_with := 'none')",
    );
    let other = c.value(
        "SELECT min(i) FROM generate_series(1, 100) i
         WHERE get_shard_id_for_distribution_column('ev', i) <> get_shard_id_for_distribution_column('ev', 3)",
    );
    let mut wrong = Vec::new();
    for (sql, expected) in PLANS {
        let sql = sql.replace("{other}", &other);
        let lines = explain(&mut c, "COSTS OFF", &sql);
        let first = lines.first().map(String::as_str).unwrap_or_default();
        let tasks = || lines.get(1)?.trim().strip_prefix("Task Count: ")?.parse().ok();
        let found = match first {
            "Custom Scan (Citus Insert)" => Some(Routed),
            "Custom Scan (Citus Router)" | "Custom Scan (Citus Real-Time)" => tasks().map(Pushed),
            _ => None,
        };
        let shown = found == Some(Routed)
            || count(&lines, "Insert on cp_") + count(&lines, "Insert on uu_") == 1;
        if found != Some(*expected) || !shown {
            wrong.push(format!("{sql}\nexpected {expected:?}, found\n{}", lines.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn pushed_inserts_in_full() {
    let mut c = tables("pushed_inserts");
    c.run("CREATE TABLE cp (LIKE ev); SELECT create_distributed_table('cp', 'tenant', colocate_with := 'ev')");
    let expected = "Custom Scan (Citus Router) (actual rows=4 loops=1)
  Task Count: 1
  Tuple data received from nodes: 40 bytes
  Tasks Shown: All
  ->  Task
        Tuple data received from node: 40 bytes
        Node: N
        ->  Insert on cp_S (actual rows=4 loops=1)
              ->  Seq Scan on ev_S ev (actual rows=4 loops=1)
                    Filter: (tenant = 3)
                    Rows Removed by Filter: 12";
    let sql = "INSERT INTO cp SELECT * FROM ev WHERE tenant = 3 RETURNING id";
    assert_lines(&shape(&mut c, BARE, sql).replace("cp_S cp ", "cp_S "), expected);
    c.run("SET citus.explain_all_tasks = on");
    let lines = explain(&mut c, BARE, "INSERT INTO cp SELECT tenant, id FROM ev");
    assert_eq!(count(&lines, "Task Count: 4"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "->  Insert on cp_"), 4, "{lines:#?}");
    for format in ["JSON", "XML", "YAML"] {
        let text = explain(
            &mut c,
            &format!("ANALYZE, FORMAT {format}"),
            "INSERT INTO cp SELECT * FROM ev",
        )
        .join("\n");
        let shown =
            text.lines().filter(|l| l.contains("Operation") && l.contains("Insert")).count();
        assert_eq!(shown, 4, "{text}");
    }
    assert_eq!(c.value("SELECT count(*) FROM cp"), "164");
}
