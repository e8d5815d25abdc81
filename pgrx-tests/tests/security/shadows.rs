//! Functions, operators and tables that somebody put where a search path finds them first.

use citus_tests::client::Conn;
use citus_tests::server::Server;

use crate::{cluster, error, session, user};

/// Name, arguments and result of the functions.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("format", "text, varchar", "text"),
    ("format", "text, text", "text"),
    ("format", "text, integer", "text"),
    ("array_length", "int[], int", "int"),
    ("jsonb_build_object", "text, int", "jsonb"),
    ("greatest_of", "int", "int"),
    ("lower", "varchar", "text"),
    ("lower", "text", "text"),
    ("length", "varchar", "int"),
    ("length", "text", "int"),
    ("now", "", "timestamptz"),
    ("abs", "int", "int"),
    ("nextval", "regclass", "bigint"),
    ("current_setting", "text", "text"),
    ("pg_backend_pid", "", "int"),
    ("quote_ident", "text", "text"),
    ("quote_literal", "text", "text"),
    ("substring", "text, text", "text"),
    ("pg_table_is_visible", "oid", "boolean"),
    ("worker_hash", "int", "int"),
    ("get_shard_id_for_distribution_column", "regclass, int", "bigint"),
    ("hashint4", "int", "int"),
    ("pg_get_userbyid", "oid", "name"),
    ("shard_name", "regclass, bigint", "text"),
    ("citus_version", "", "text"),
];

/// Traps in schema `shadow_trap`: each raises an error when it is run. Those on exact types are
/// found where the schema comes before pg_catalog, the others everywhere, because they fit better
/// than what takes any type.
fn traps() -> String {
    let mut sql = String::from(
        "CREATE FUNCTION shadow_trap.spring(text) RETURNS boolean LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'trapped by %', $1 USING ERRCODE = 'T0000'; END $$;",
    );
    let body = |name: &str| {
        format!("LANGUAGE plpgsql AS $$ BEGIN PERFORM shadow_trap.spring('{name}'); RETURN NULL; END $$;")
    };
    for (name, args, result) in FUNCTIONS {
        sql +=
            &format!("CREATE FUNCTION shadow_trap.{name}({args}) RETURNS {result} {}", body(name));
    }
    for t in [
        "int",
        "bigint",
        "text",
        "name",
        "oid",
        "varchar",
        "boolean",
        "int[]",
        "tid",
        "\"char\"",
        "shadow_app.mood",
    ] {
        sql += &format!(
            "CREATE FUNCTION shadow_trap.cmp({t}, {t}) RETURNS boolean {}",
            body(&format!("operator on {t}"))
        );
        for op in ["=", "<>", "<", ">", "<=", ">="] {
            sql += &format!(
                "CREATE OPERATOR shadow_trap.{op}
                    (leftarg = {t}, rightarg = {t}, procedure = shadow_trap.cmp);"
            );
        }
    }
    sql += &format!("CREATE FUNCTION shadow_trap.add(int, int) RETURNS int {}", body("+"));
    sql += "CREATE OPERATOR shadow_trap.+
        (leftarg = int, rightarg = int, procedure = shadow_trap.add);";
    sql += &format!("CREATE FUNCTION shadow_trap.cat(text, text) RETURNS text {}", body("||"));
    sql += "CREATE OPERATOR shadow_trap.||
        (leftarg = text, rightarg = text, procedure = shadow_trap.cat);";
    for table in [
        "pg_class",
        "pg_namespace",
        "pg_proc",
        "pg_type",
        "pg_dist_node",
        "pg_dist_partition",
        "pg_dist_shard",
        "pg_dist_placement",
        "pg_dist_local_group",
        "pg_extension",
        "pg_roles",
        "pg_constraint",
        "pg_index",
        "pg_attribute",
    ] {
        sql += &format!("CREATE TABLE shadow_trap.{table} (trapped int);");
    }
    sql
}

/// Queries that say exactly what they mean. `v` is a view that was made with a safe path.
const QUERIES: &[&str] = &[
    "SELECT pg_catalog.format('%s', name) FROM shadow_app.t WHERE k OPERATOR(pg_catalog.=) 1",
    "SELECT pg_catalog.format('%s', k) FROM shadow_app.t ORDER BY 1",
    "SELECT pg_catalog.lower(name), pg_catalog.length(name) FROM shadow_app.t ORDER BY 1",
    "SELECT pg_catalog.array_length(a, 1) FROM shadow_app.t ORDER BY k",
    "SELECT pg_catalog.jsonb_build_object('k'::text, k) FROM shadow_app.t ORDER BY k",
    "SELECT k FROM shadow_app.t WHERE m OPERATOR(pg_catalog.=) 'sad'::shadow_app.mood",
    "SELECT k FROM shadow_app.t WHERE a OPERATOR(pg_catalog.=) '{2}'::int[] ORDER BY k",
    "SELECT k FROM shadow_app.t WHERE name OPERATOR(pg_catalog.>) 'A' ORDER BY k",
    "SELECT m, pg_catalog.count(*), pg_catalog.max(m), pg_catalog.max(name) FROM shadow_app.t
        GROUP BY m ORDER BY m",
    "SELECT pg_catalog.sum(k OPERATOR(pg_catalog.+) 1), pg_catalog.avg(k) FROM shadow_app.t",
    "SELECT x.k FROM shadow_app.t x JOIN shadow_app.t y ON x.k OPERATOR(pg_catalog.=) y.k
        AND x.name OPERATOR(pg_catalog.=) y.name ORDER BY 1",
    "SELECT k FROM shadow_app.t WHERE k OPERATOR(pg_catalog.=) ANY (ARRAY[1, 3]) ORDER BY k",
    "SELECT DISTINCT m, name FROM shadow_app.t ORDER BY 1, 2",
    "SELECT * FROM shadow_app.v ORDER BY 1",
    "SELECT * FROM shadow_app.v WHERE k OPERATOR(pg_catalog.=) 2",
    "SELECT pg_catalog.count(*) FROM shadow_app.v",
    "UPDATE shadow_app.t SET name = pg_catalog.format('%s', k) WHERE k OPERATOR(pg_catalog.=) 1
        RETURNING name",
    "UPDATE shadow_app.t SET a = '{9}' WHERE m OPERATOR(pg_catalog.=) 'sad'::shadow_app.mood
        RETURNING a",
    "INSERT INTO shadow_app.t SELECT k OPERATOR(pg_catalog.+) 10, name, m, a FROM shadow_app.t",
    "INSERT INTO shadow_app.t VALUES (1, 'x', 'sad', '{1}'), (2, 'y', 'sad', NULL)
        ON CONFLICT (k) DO UPDATE SET name = pg_catalog.format('%s', EXCLUDED.name)",
    "DELETE FROM shadow_app.t WHERE name OPERATOR(pg_catalog.=) '1'",
    "SELECT k, name, m, a FROM shadow_app.t ORDER BY k",
    "SELECT r.k FROM shadow_app.r r JOIN shadow_app.t t ON t.k OPERATOR(pg_catalog.=) r.k
        ORDER BY 1",
];

fn run_all(c: &mut Conn) -> Vec<String> {
    c.run("TRUNCATE shadow_app.t");
    c.run(
        "INSERT INTO shadow_app.t VALUES (1, 'Ab', 'sad', '{1}'), (2, 'b', 'ok', '{2}'),
            (3, 'C', 'ok', '{3, 3}'), (4, NULL, NULL, NULL)",
    );
    let answer = |sql: &&str| match c.simple(sql) {
        Ok(r) => format!("{sql}\n{:?}", r.last().map(|r| (&r.rows, &r.tag))),
        Err(e) => format!("{sql}\n{e}"),
    };
    QUERIES.iter().map(answer).collect()
}

fn set_traps(node: &Server, database: &str) {
    // Whoever may make objects somewhere may do so on workers, too, without asking.
    session(node, "shadow_trap", database).run(&traps());
}

#[test]
fn shadows_change_no_answer() {
    let cl = cluster();
    let db = &cl.database("shadows");
    user("shadow_app", db);
    user("shadow_trap", db);
    let mut c = session(&cl.coordinator, "shadow_app", db);
    c.run("CREATE TYPE shadow_app.mood AS ENUM ('sad', 'ok')");
    c.run("GRANT USAGE ON SCHEMA shadow_app TO shadow_trap");
    c.run(
        "CREATE TABLE shadow_app.t
            (k int PRIMARY KEY, name varchar(20), m shadow_app.mood, a int[]);
         SELECT create_distributed_table('shadow_app.t', 'k', shard_count := 4);
         CREATE TABLE shadow_app.r (k int); SELECT create_reference_table('shadow_app.r');
         INSERT INTO shadow_app.r VALUES (1), (2);
         CREATE VIEW shadow_app.v AS SELECT k, format('%s', name) AS f, array_length(a, 1) AS l,
            m = 'ok' AS fine, lower(name) AS n FROM shadow_app.t WHERE a <> '{3,3}'",
    );
    let before = run_all(&mut c);
    assert!(!before.iter().any(|a| a.contains("ERROR")), "{before:#?}");
    for node in cl.nodes() {
        if node.port != cl.coordinator.port {
            node.connect(db).run("GRANT USAGE ON SCHEMA shadow_app TO shadow_trap");
        }
        set_traps(node, db);
        node.connect(db).run("GRANT USAGE ON SCHEMA shadow_trap TO PUBLIC");
    }
    for path in [
        "shadow_trap",
        "shadow_trap, pg_catalog",
        "pg_catalog, shadow_trap, shadow_app",
        "shadow_trap, shadow_app, pg_catalog, pg_temp",
    ] {
        c.run(&format!("SET search_path = {path}"));
        for (safe, now) in before.iter().zip(run_all(&mut c)) {
            assert_eq!(*safe, now, "with search_path = {path}");
        }
        // The control: a query that leaves it to the path is trapped, here and on a worker.
        for node in [&cl.coordinator, &cl.workers[0]] {
            let mut naive = session(node, "shadow_app", db);
            naive.run(&format!("SET search_path = {path}"));
            let sql = "SELECT format('%s', name) FROM (SELECT 'x'::varchar AS name) t";
            assert_eq!(error(&mut naive, sql).code, "T0000", "with search_path = {path}");
        }
    }
}

/// Our own SQL, run for a superuser whose path leads into the trap.
#[test]
fn internal_sql_names_what_it_means() {
    let cl = cluster();
    let db = &cl.database("internals");
    for node in cl.nodes() {
        let mut c = node.connect(db);
        c.run("CREATE SCHEMA shadow_app; CREATE TYPE shadow_app.mood AS ENUM ('sad'); CREATE SCHEMA shadow_trap");
        c.run(&traps());
    }
    let mut c = cl.connect(db);
    c.run("CREATE SCHEMA s; CREATE SEQUENCE s.q; CREATE TABLE s.p (k int PRIMARY KEY); \
           CREATE TABLE s.f (k int PRIMARY KEY, n text DEFAULT 'x' CHECK (n > ''), p int REFERENCES s.p)");
    c.run("INSERT INTO s.f SELECT i FROM generate_series(1, 20) i");
    c.run("SET search_path = shadow_trap, pg_catalog");
    assert_eq!(error(&mut c, "SELECT 1 WHERE 1 = 1").code, "T0000", "the traps are set");
    let worker = cl.workers[1].port;
    for sql in [
        "SELECT create_reference_table('s.p')",
        "SELECT create_distributed_table('s.f', 'k', shard_count => 4)",
        "SELECT pg_catalog.count(*) FROM public.citus_tables",
        "SELECT pg_catalog.count(*) FROM citus_shards",
        "SELECT pg_catalog.count(*) FROM pg_dist_shard_placement",
        "SELECT citus_total_relation_size('s.f'), citus_relation_size('s.f'), citus_table_size('s.f')",
        "SELECT pg_catalog.count(*) FROM citus_stat_activity",
        "SELECT pg_catalog.count(*) FROM citus_locks",
        "SELECT pg_catalog.count(*) FROM citus_lock_waits",
        "SELECT pg_catalog.count(*) FROM citus_stat_statements",
        "SELECT pg_catalog.count(*) FROM citus_stat_counters",
        "SELECT * FROM get_all_active_transactions()",
        "SELECT * FROM get_global_active_transactions()",
        "SELECT * FROM citus_shards_on_worker()",
        "SELECT citus_backend_gpid(), citus_is_coordinator(), citus_coordinator_nodeid()",
        "SELECT citus_nodeid_for_gpid(10000000001), citus_pid_for_gpid(10000000001)",
        "SELECT pg_catalog.get_shard_id_for_distribution_column('s.f', 5)",
        "SELECT * FROM run_command_on_shards('s.f', 'SELECT 1 FROM %s')",
        "SELECT * FROM run_command_on_all_nodes('SELECT 1')",
        "SELECT * FROM master_get_table_ddl_events('s.f')",
        "SELECT get_colocated_table_array('s.f')",
        "SELECT get_colocated_shard_array((SELECT pg_catalog.min(shardid) FROM pg_catalog.pg_dist_shard))",
        "SELECT column_to_column_name('s.f', column_name_to_column('s.f', 'k'))",
        "SELECT citus_check_cluster_node_health()",
        "SELECT recover_prepared_transactions()",
        "SELECT check_distributed_deadlocks()",
        "SELECT citus_set_node_property('127.0.0.1', {worker}, 'shouldhaveshards', true)",
        "ALTER TABLE s.f ADD COLUMN b int DEFAULT 1",
        "ALTER TABLE s.f ADD CONSTRAINT c CHECK (b OPERATOR(pg_catalog.>) 0)",
        "CREATE INDEX i ON s.f (b)",
        "ALTER TABLE s.f RENAME COLUMN b TO c",
        "CREATE POLICY y ON s.f USING (true)",
        "COMMENT ON TABLE s.f IS 'x'",
        "GRANT SELECT ON s.f TO PUBLIC",
        "VACUUM (ANALYZE) s.f",
        "UPDATE s.f SET n = 'y'",
        "DELETE FROM s.f WHERE k OPERATOR(pg_catalog.=) 3",
        "COPY s.f TO STDOUT",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM s.f",
        "SELECT citus_remove_node('127.0.0.1', 1)",
        "TRUNCATE s.f",
        "SELECT undistribute_table('s.f', true)",
        "SELECT create_reference_table('s.p')",
        "SELECT create_distributed_table('s.f', 'k', colocate_with => 'none')",
        "ALTER TABLE s.f SET SCHEMA public",
        "DROP TABLE public.f",
        "DROP SCHEMA s CASCADE",
    ] {
        let sql = sql.replace("{worker}", &worker.to_string());
        if let Err(e) = c.simple(&sql) {
            assert!(sql.contains("127.0.0.1', 1)") && e.code() != "T0000", "{sql}\n{e}");
        }
    }
}

/// Temporary tables come first for every name of a table.
#[test]
fn temporary_tables_stand_in_for_nothing() {
    let cl = cluster();
    let db = &cl.database("temporary");
    user("temporary", db);
    let mut c = session(&cl.coordinator, "temporary", db);
    c.run("CREATE TABLE temporary.t (k int, v int)");
    c.run("SELECT create_distributed_table('temporary.t', 'k', shard_count := 4)");
    c.run("INSERT INTO temporary.t SELECT i, i FROM generate_series(1, 10) i");
    let shard = c.value(
        "SELECT min(shardid) FROM pg_dist_shard WHERE logicalrelid = 'temporary.t'::regclass",
    );
    let tables = c.rows(
        "SELECT format('CREATE TEMP TABLE %I (trapped int)', relname)
         FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
            AND relname ~ '^pg_(dist_|class|attr|type|namesp|proc|index|constr|roles|depend|exten)'",
    );
    assert!(tables.len() > 15, "{} tables", tables.len());
    for sql in tables.into_iter().flatten().flatten() {
        c.run(&sql);
    }
    c.run(&format!("CREATE TEMP TABLE t_{shard} (k int, v int); CREATE TEMP TABLE f (k int)"));
    // The control: unqualified, it is the temporary table.
    assert_eq!(c.value("SELECT count(*) FROM pg_class"), "0");
    c.run("SET search_path = pg_temp, temporary, pg_catalog");
    assert_eq!(c.value("SELECT count(*), sum(v) FROM temporary.t"), "10");
    c.run("UPDATE temporary.t SET v = v + 1; DELETE FROM temporary.t WHERE k = 1");
    c.run("ALTER TABLE temporary.t ADD COLUMN x int DEFAULT 7; CREATE INDEX ON temporary.t (x)");
    c.run("CREATE TABLE temporary.u (k int); SELECT create_distributed_table('temporary.u', 'k')");
    c.run("SELECT create_reference_table('temporary.u') WHERE false");
    assert_eq!(
        c.value("SELECT string_agg(sum, ' ') FROM (SELECT sum(v + x)::text FROM temporary.t) s"),
        "126"
    );
    c.run("SELECT undistribute_table('temporary.u'); DROP TABLE temporary.u, temporary.t");
}

/// Rows name their types on the way to a node only where the user may, whatever he may insert.
#[test]
fn rows_need_no_right_on_the_schema_of_their_types() {
    let cl = cluster();
    let db = &cl.database("kinds_of_rows");
    user("rows_app", db);
    let mut c = cl.connect(db);
    c.run(
        "CREATE SCHEMA kinds; CREATE TYPE kinds.mood AS ENUM ('sad', 'ok'); \
           CREATE DOMAIN kinds.word AS text; \
           CREATE TABLE public.moods (k int, m kinds.mood, w kinds.word)",
    );
    c.run("SELECT create_distributed_table('public.moods', 'k', shard_count := 4)");
    c.run("GRANT SELECT, INSERT ON public.moods TO rows_app");
    let mut app = session(&cl.coordinator, "rows_app", db);
    let rows = "(1, 'sad', 'a'), (2, 'ok', 'b'), (3, NULL, NULL), (4, 'sad', 'd')";
    for _ in 0..2 {
        app.run(&format!("INSERT INTO public.moods VALUES {rows}"));
    }
    let sum = "SELECT count(*), count(m), min(w::text), max(w::text) FROM public.moods";
    let found = app.simple(sum).ok().and_then(|r| r.last().map(|r| format!("{:?}", r.rows)));
    assert_eq!(found.as_deref(), Some("[[Some(\"8\"), Some(\"6\"), Some(\"a\"), Some(\"d\")]]"));
    // The control: he may not name them himself.
    assert_eq!(error(&mut app, "SELECT 'sad'::kinds.mood").code, "42501");
}
