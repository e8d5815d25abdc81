//! SQL functions that need no other node: what they answer, and how they refuse.

use std::sync::OnceLock;

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

fn connect(stem: &str) -> Conn {
    static IT: OnceLock<Cluster> = OnceLock::new();
    let cluster = IT.get_or_init(|| Cluster::start(0, Kind::FAST, ""));
    cluster.connect(&cluster.database(stem))
}

/// A hash-distributed table `t` with three shards, a reference table `r`, a local table `l`.
fn tables(stem: &str) -> Conn {
    let mut c = connect(stem);
    c.run(
        "CREATE TABLE t (k int, v text, j json); CREATE TABLE r (k int); CREATE TABLE l (k int); \
         CREATE VIEW w AS SELECT 1 AS k; CREATE TEMP TABLE tmp (k int); \
         CREATE TABLE \"T \"\"q\n\" (k int)",
    );
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 3)");
    c.run("SELECT create_reference_table('r')");
    c
}

/// Statements and the first value that they give, or the SQLSTATE that they fail with.
#[track_caller]
fn check(c: &mut Conn, cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let found = match c.simple(sql) {
            Ok(mut sets) => {
                let rows = sets.pop().map(|s| s.rows).unwrap_or_default();
                let first = rows.into_iter().next().and_then(|r| r.into_iter().next());
                first.flatten().unwrap_or_else(|| "<null>".into())
            }
            Err(e) => e.code().to_owned(),
        };
        if found != *expected {
            wrong.push(format!("{sql}\n  expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_and_shards() {
    let mut c = tables("keys");
    check(
        &mut c,
        &[
            ("SELECT worker_hash(1)", "-1905060026"),
            ("SELECT worker_hash(1::bigint)", "-1905060026"),
            ("SELECT worker_hash(NULL::int)", "<null>"),
            ("SELECT worker_hash('untyped')", "42883"),
            ("SELECT worker_hash('{}'::json)", "42883"),
            ("SELECT get_shard_id_for_distribution_column('t', 1) = min(shardid) FROM pg_dist_shard \
              WHERE logicalrelid = 't'::regclass", "t"),
            ("SELECT count(*) FROM generate_series(1, 99) i WHERE \
              get_shard_id_for_distribution_column('t', i) IS DISTINCT FROM (SELECT shardid \
              FROM pg_dist_shard WHERE logicalrelid = 't'::regclass AND worker_hash(i) \
              BETWEEN shardminvalue::int AND shardmaxvalue::int)", "0"),
            ("SELECT get_shard_id_for_distribution_column('t', '1') \
              = get_shard_id_for_distribution_column('t', 1::numeric)", "t"),
            ("SELECT get_shard_id_for_distribution_column('t', 'one')", "22P02"),
            ("SELECT get_shard_id_for_distribution_column('t', NULL)", "22004"),
            ("SELECT get_shard_id_for_distribution_column('t')", "22004"),
            ("SELECT get_shard_id_for_distribution_column('r') = shardid FROM pg_dist_shard \
              WHERE logicalrelid = 'r'::regclass", "t"),
            ("SELECT get_shard_id_for_distribution_column('l', 1)", "42809"),
            ("SELECT get_shard_id_for_distribution_column('w', 1)", "42809"),
            ("SELECT get_shard_id_for_distribution_column('tmp', 1)", "42809"),
            ("SELECT get_shard_id_for_distribution_column('pg_class', 1)", "42809"),
            ("SELECT get_shard_id_for_distribution_column(4242424::regclass, 1)", "42P01"),
            ("SELECT column_to_column_name(logicalrelid, partkey) FROM pg_dist_partition \
              WHERE logicalrelid = 't'::regclass", "k"),
            ("SELECT column_to_column_name('t', column_name_to_column('t', 'v'))", "v"),
            ("SELECT column_name_to_column('t', 'k') = partkey FROM pg_dist_partition \
              WHERE logicalrelid = 't'::regclass", "t"),
            ("SELECT column_name_to_column('t', 'no')", "42703"),
            ("SELECT column_name_to_column('t', 'ctid')", "42703"),
            ("SELECT column_name_to_column(NULL, 'k')", "<null>"),
            ("SELECT column_to_column_name('t', '{CONST :x')", "22023"),
            ("SELECT column_to_column_name('l', column_name_to_column('t', 'v'))", "42703"),
            ("SELECT distributed_tables_colocated('t', 't')", "t"),
            ("SELECT distributed_tables_colocated('t', 'r')", "f"),
            ("SELECT distributed_tables_colocated('t', 'l')", "<null>"),
            ("SELECT get_colocated_table_array('t')", "{t}"),
            ("SELECT get_colocated_table_array('l')", "42809"),
            ("SELECT get_colocated_shard_array(-1)", "42704"),
            ("SELECT shard_name('t', 7)", "t_7"),
            ("SELECT shard_name('t', 7, false)", "public.t_7"),
            ("SELECT shard_name('\"T \"\"q\n\"', 7)", "\"T \"\"q\n_7\""),
            ("SELECT shard_name('t', 0)", "22023"),
            ("SELECT length(shard_name('t', 9223372036854775807))", "21"),
        ],
    );
}

#[test]
fn identity() {
    let mut c = connect("identity");
    check(
        &mut c,
        &[
            ("SELECT citus_version() LIKE 'Citus 13.2.2 (citus-rs %) on PostgreSQL %'", "t"),
            ("SELECT citus_server_id()::text = metadata->>'server_id' FROM pg_dist_node_metadata", "t"),
            ("SELECT citus_is_coordinator()", "t"),
            ("SELECT citus_is_primary_node()", "t"),
            ("SELECT citus_calculate_gpid(3, 42)", "30000000042"),
            ("SELECT citus_nodeid_for_gpid(30000000042)", "3"),
            ("SELECT citus_pid_for_gpid(30000000042)", "42"),
            ("SELECT citus_pid_for_gpid(citus_backend_gpid()) = pg_backend_pid()", "t"),
            ("SELECT citus_nodename_for_nodeid(-5)", "<null>"),
            ("SELECT citus_nodeport_for_nodeid(-5)", "<null>"),
            ("SELECT get_nodeid_for_groupid(-5)", "<null>"),
            ("SELECT pg_cancel_backend(990000000005)", "42704"),
            ("SELECT pg_terminate_backend(-1::bigint)", "22023"),
            ("SELECT role_exists('no_such_role')", "f"),
            ("SELECT authinfo_valid('password=''a b'' sslcert=x')", "t"),
            ("SELECT authinfo_valid('host=elsewhere')", "f"),
            ("SELECT authinfo_valid('nonsense')", "f"),
            ("SELECT poolinfo_valid('host=a port=6432 dbname=d')", "t"),
            ("SELECT poolinfo_valid('port=70000')", "f"),
            ("INSERT INTO pg_dist_authinfo VALUES (0, 'r', 'host=elsewhere')", "23514"),
            ("SELECT citus_executor_name(1)", "adaptive"),
            ("SELECT citus_executor_name(0)", "22023"),
            ("SELECT lock_relation_if_exists('no_such_table', 'share')", "f"),
            ("SELECT lock_relation_if_exists('pg_dist_node', 'access share')", "t"),
            ("SELECT lock_relation_if_exists('pg_dist_node', 'share; DROP TABLE x')", "22023"),
            ("SELECT lock_relation_if_exists('a.b.c.d', 'share')", "42601"),
            ("SELECT available_disk_size < total_disk_size FROM citus_local_disk_space_stats()", "t"),
        ],
    );
}

#[test]
fn concatenating_aggregates() {
    let mut c = connect("aggregates");
    let over = |f: &str, values: &str| format!("SELECT {f}(x) FROM (VALUES {values}) v(x)");
    check(
        &mut c,
        &[
            (&over("any_value", "(NULL::int), (3), (3)"), "3"),
            (&over("array_cat_agg", "('{1,2}'::int[]), (NULL), ('{3}')"), "{1,2,3}"),
            (
                &over("json_cat_agg", "('[1, 2]'::json), ('[]'), (NULL), (' [ {\"a\":1} ] ')"),
                "[1, 2, {\"a\":1} ]",
            ),
            (
                &over("json_cat_agg", "('{\"a\":1}'::json), ('{ }'), ('{\"b\":[]}')"),
                "{\"a\":1, \"b\":[]}",
            ),
            (&over("json_cat_agg", "('[1]'::json), ('{}')"), "22023"),
            (&over("json_cat_agg", "(NULL::json)"), "<null>"),
            (&over("jsonb_cat_agg", "('[1, 2]'::jsonb), ('[]'), (NULL), ('[3]')"), "[1, 2, 3]"),
            (&over("jsonb_cat_agg", "('1'::jsonb), ('2')"), "22023"),
        ],
    );
}

#[test]
fn sizes_and_views() {
    let mut c = tables("sizes");
    c.run("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 3000) i");
    check(
        &mut c,
        &[
            ("SELECT citus_relation_size('t') > 300000", "t"),
            ("SELECT citus_relation_size('t') <= citus_table_size('t')", "t"),
            ("SELECT citus_total_relation_size('t') = sum(shard_size) FROM citus_shards \
              WHERE table_name = 't'::regclass", "t"),
            ("SELECT sum(citus_shard_size(shardid)) = citus_total_relation_size('t') \
              FROM pg_dist_shard WHERE logicalrelid = 't'::regclass", "t"),
            ("SELECT citus_total_relation_size('l')", "42809"),
            ("SELECT citus_total_relation_size('l', fail_on_error := false)", "<null>"),
            ("SELECT citus_total_relation_size('pg_class')", "42809"),
            ("SELECT citus_shard_size(-3)", "42704"),
            ("SELECT citus_update_shard_statistics(-3)", "42704"),
            ("SELECT citus_update_table_statistics('t')", ""),
            ("SELECT sum(shardlength) = citus_total_relation_size('t') FROM pg_dist_placement \
              JOIN pg_dist_shard USING (shardid) WHERE logicalrelid = 't'::regclass", "t"),
            ("SELECT string_agg(citus_table_type, ' ' ORDER BY table_name::text) FROM citus_tables",
             "reference distributed"),
            ("SELECT distribution_column FROM citus_tables WHERE table_name = 'r'::regclass", "<none>"),
            ("SELECT shard_count FROM citus_tables WHERE table_name = 't'::regclass", "3"),
            ("SELECT count(*) FROM citus_shards_on_worker", "4"),
            ("SELECT bool_and(relation_is_a_known_shard(\"Name\"::text::regclass)) \
              FROM citus_shards_on_worker", "t"),
            ("SELECT relation_is_a_known_shard('t') OR relation_is_a_known_shard('l')", "f"),
            ("SELECT bool_or(citus_table_is_visible(shard_name::regclass)) FROM citus_shards", "f"),
            ("SELECT citus_shard_cost_by_disk_size(shardid) > 100000000 FROM citus_shards LIMIT 1", "t"),
            ("SELECT role FROM citus_nodes", "coordinator"),
        ],
    );
    c.run("SELECT run_command_on_shards('t', 'ANALYZE %s')");
    let sql = "SELECT most_common_vals[1] = repeat('x', 100) FROM citus_stats \
               WHERE tablename = 't' AND attname = 'v'";
    assert_eq!(c.value(sql), "t");
}

#[test]
fn rebalance_strategies() {
    let mut c = connect("strategies");
    let default = "SELECT name FROM pg_dist_rebalance_strategy WHERE default_strategy";
    check(
        &mut c,
        &[
            (default, "by_disk_size"),
            ("SELECT citus_set_default_rebalance_strategy('by_shard_count')", ""),
            (default, "by_shard_count"),
            ("SELECT citus_set_default_rebalance_strategy('no such')", "42704"),
            (
                "SELECT citus_add_rebalance_strategy('x', 'citus_shard_cost_1', \
              'citus_node_capacity_1', 'citus_shard_allowed_on_node_true', 0.1)",
                "<null>",
            ),
            (
                "SELECT citus_add_rebalance_strategy('y', 'citus_node_capacity_1', \
              'citus_node_capacity_1', 'citus_shard_allowed_on_node_true', 0.1)",
                "42P13",
            ),
            (
                "SELECT citus_add_rebalance_strategy('z', 'citus_shard_cost_1', \
              'citus_node_capacity_1', 'citus_shard_allowed_on_node_true', 0.1, 0.2)",
                "23514",
            ),
            ("UPDATE pg_dist_rebalance_strategy SET default_strategy = true", "23514"),
        ],
    );
}

#[test]
fn time_partitions() {
    let mut c = connect("partitions");
    c.run(
        "CREATE TABLE p (d date) PARTITION BY RANGE (d); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2024-02-01'); \
         CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2024-01-01'); \
         CREATE TABLE pd PARTITION OF p DEFAULT; \
         CREATE TABLE q (d text) PARTITION BY RANGE (d); \
         CREATE TABLE q1 PARTITION OF q FOR VALUES FROM ('a,b''(c') TO ('x) TO (''y'); \
         CREATE TABLE h (d int) PARTITION BY HASH (d); \
         CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    );
    check(
        &mut c,
        &[
            ("SELECT count(*) FROM time_partitions", "4"),
            (
                "SELECT from_value FROM time_partitions WHERE partition = 'p1'::regclass",
                "2024-01-01",
            ),
            ("SELECT from_value FROM time_partitions WHERE partition = 'p0'::regclass", "<null>"),
            ("SELECT to_value FROM time_partitions WHERE partition = 'p0'::regclass", "2024-01-01"),
            ("SELECT to_value FROM time_partitions WHERE partition = 'pd'::regclass", "<null>"),
            ("SELECT from_value FROM time_partitions WHERE partition = 'q1'::regclass", "a,b'(c"),
            ("SELECT to_value FROM time_partitions WHERE partition = 'q1'::regclass", "x) TO ('y"),
            ("SELECT time_partition_range('h1')", "42809"),
            ("SELECT time_partition_range('p')", "42809"),
        ],
    );
}

#[test]
fn statistics() {
    let mut c = tables("statistics");
    c.run(
        "SET citus.enable_stat_counters = on; SET citus.stat_statements_track = 'all'; \
         SET citus.stat_tenants_track = 'all'; SET compute_query_id = on",
    );
    c.run("SELECT citus_stat_counters_reset()");
    c.run("INSERT INTO t VALUES (5, 'x')");
    for _ in 0..3 {
        c.run("SELECT * FROM t WHERE k = 5");
    }
    c.run("SELECT count(*) FROM t");
    check(
        &mut c,
        &[
            ("SELECT query_execution_single_shard FROM citus_stat_counters \
              WHERE name = current_database()", "4"),
            ("SELECT query_execution_multi_shard FROM citus_stat_counters \
              WHERE name = current_database()", "1"),
            ("SELECT stats_reset IS NOT NULL FROM citus_stat_counters \
              WHERE name = current_database()", "t"),
            ("SELECT max(calls) FROM citus_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
              WHERE datname = current_database() AND partition_key = '5'", "3"),
            ("SELECT min_exec_time <= mean_exec_time AND mean_exec_time <= max_exec_time \
              FROM citus_stat_statements LIMIT 1", "t"),
            ("SELECT query_count_in_this_period + query_count_in_last_period \
              FROM citus_stat_tenants WHERE tenant_attribute = '5'", "4"),
            ("SELECT read_count_in_this_period + read_count_in_last_period \
              FROM citus_stat_tenants_local WHERE tenant_attribute = '5'", "3"),
            ("SELECT citus_stat_tenants_reset()", "<null>"),
            ("SELECT count(*) FROM citus_stat_tenants", "0"),
            ("SELECT count(*) FROM citus_dist_stat_activity WHERE pid = pg_backend_pid()", "1"),
        ],
    );
}

/// A plan written by hand could claim result types that its rows do not have: only the planner
/// makes sources.
#[test]
fn sources_are_made_by_the_planner_only() {
    let mut c = tables("sources");
    check(
        &mut c,
        &[
            (r"SELECT * FROM citus_source('\x0001'::bytea, false) AS s(a text)", "0A000"),
            (r"SELECT * FROM citus_source('\x0001'::bytea, 1::bigint) AS s(a text)", "0A000"),
            ("SELECT count(*) FROM t", "0"),
        ],
    );
}

/// A table with one shard is no schema's for that.
#[test]
fn tables_without_distribution_column_are_distributed() {
    let mut c = connect("kinds");
    c.run("CREATE TABLE one (k int); SELECT create_distributed_table('one', NULL)");
    let role = format!("kinds_{}", c.pid);
    c.run(&format!("CREATE ROLE {role}; GRANT SELECT ON one TO {role}; SET ROLE {role}"));
    for from in ["citus_tables", "citus_shards"] {
        let kinds = format!("SELECT string_agg(DISTINCT citus_table_type, ' ') FROM {from}");
        assert_eq!(c.value(&kinds), "distributed");
    }
}
