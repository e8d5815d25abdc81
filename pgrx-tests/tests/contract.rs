//! The extension's interface is the one in `contract/*.tsv`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

fn server() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(0, Kind::FAST, ""))
}

fn connect() -> Conn {
    server().connect(&server().bare_database("contract"))
}

type Rows = BTreeSet<Vec<String>>;

/// The rows of a contract file without its header, lines padded to the header's width.
fn contract(text: &str) -> Rows {
    let width = text.lines().next().unwrap_or_default().split('\t').count();
    text.lines()
        .skip(1)
        .map(|l| {
            let mut row: Vec<String> = l.split('\t').map(str::to_owned).collect();
            row.resize(width, String::new());
            row
        })
        .collect()
}

fn query(conn: &mut Conn, sql: &str) -> Rows {
    let rows = conn.rows(sql);
    rows.into_iter().map(|r| r.into_iter().map(Option::unwrap_or_default).collect()).collect()
}

/// Fails when something is missing; `extra` says of what is not in the contract whether it may be.
#[track_caller]
fn compare(expected: &Rows, found: &Rows, extra: impl Fn(&[String]) -> bool) {
    let missing: Vec<_> = expected.difference(found).collect();
    let surplus: Vec<_> = found.difference(expected).filter(|r| !extra(r)).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:#?}\nnot in the contract: {surplus:#?}"
    );
}

/// Objects of a system catalog that belong to the extension.
fn members(catalog: &str) -> String {
    format!(
        "(SELECT objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
         WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = '{catalog}'::regclass \
         AND d.deptype = 'e' AND e.extname = 'citus')"
    )
}

#[test]
fn relations() {
    let sql = format!(
        "SELECT n.nspname, c.relname, \
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' END, \
           a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
           pg_get_expr(d.adbin, d.adrelid) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
         WHERE c.relkind IN ('r', 'v', 'S') AND c.oid IN {}",
        members("pg_class")
    );
    let found = query(&mut connect(), &sql);
    compare(&contract(include_str!("../contract/relations.tsv")), &found, |r| {
        // What is internal is ours; the guide has a view more, and times in another.
        r[0] == "citus_internal"
            || r[1] == "citus_worker_stat_activity"
            || (r[1] == "citus_stat_statements" && r[4].ends_with("_exec_time"))
    });
}

#[test]
fn indexes() {
    let sql = "SELECT tablename, indexdef FROM pg_indexes \
               WHERE schemaname = 'pg_catalog' AND tablename LIKE 'pg\\_dist\\_%'";
    let found = query(&mut connect(), sql);
    compare(&contract(include_str!("../contract/indexes.tsv")), &found, |_| false);
}

#[test]
fn types() {
    let sql = format!(
        "SELECT typname, nspname, coalesce( \
           (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum \
            WHERE enumtypid = t.oid), \
           (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' \
            ORDER BY attnum) FROM pg_attribute WHERE attrelid = typrelid)) \
         FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace \
         WHERE typtype IN ('e', 'c') AND t.oid IN {}",
        members("pg_type")
    );
    let found = query(&mut connect(), &sql);
    compare(&contract(include_str!("../contract/types.tsv")), &found, |_| false);
}

#[test]
fn settings() {
    let mut conn = connect();
    let sql = "SELECT name, vartype, unit, boot_val, min_val, max_val, \
               array_to_string(enumvals, ','), context FROM pg_settings WHERE name LIKE 'citus.%'";
    let mut found = query(&mut conn, sql);
    let mut expected = contract(include_str!("../contract/settings.tsv"));
    // This bound follows max_connections.
    let bound = conn.value("SHOW max_connections");
    let name = "citus.max_client_connections";
    let at = |rows: &Rows| rows.iter().find(|r| r[0] == name).cloned();
    if let (Some(e), Some(f)) = (at(&expected), at(&found)) {
        assert_eq!(f[5], bound);
        expected.remove(&e);
        found.remove(&f);
    }
    compare(&expected, &found, |r| r[0] == "citus.consistent_reads");
}

#[test]
fn hidden_settings() {
    let mut conn = connect();
    for row in contract(include_str!("../contract/settings_hidden.tsv")) {
        let name = &row[0];
        assert_eq!(conn.value(&format!("SHOW {name}")), row[2], "{name}");
        let listed = format!("SELECT count(*) FROM pg_settings WHERE name = '{name}'");
        assert_eq!(conn.value(&listed), "0", "{name} is listed");
    }
}

#[test]
fn settings_refuse_bad_values() {
    let mut conn = connect();
    for (sql, code) in [
        ("SET citus.shard_count = 0", "22023"),
        ("SET citus.shard_count = 'many'", "22023"),
        ("SET citus.multi_shard_modify_mode = 'sideways'", "22023"),
        ("SET citus.no_such_setting = 1", "42602"),
        ("SET citus.version = '1'", "55P02"),
        ("SET citus.stat_tenants_limit = 5", "55P02"),
        ("ALTER SYSTEM SET citus.node_conninfo = 'password=secret'", "22023"),
        ("ALTER SYSTEM SET citus.node_conninfo = 'sslmode=perhaps'", "22023"),
    ] {
        let result = conn.simple(sql);
        let error = result.expect_err(sql);
        assert_eq!(error.code(), code, "{sql}: {error}");
    }
}

#[test]
fn functions() {
    let sql = format!(
        "SELECT n.nspname, p.proname, \
           CASE p.prokind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure' ELSE 'aggregate' END, \
           pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), \
           CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' \
             ELSE 'immutable' END \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE p.oid IN {} AND n.nspname = 'pg_catalog'",
        members("pg_proc")
    );
    let found = query(&mut connect(), &sql);
    let mut names: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for mut row in contract(include_str!("../contract/functions.tsv")) {
        row.truncate(6);
        names.entry(row[1].clone()).or_default().push(row);
    }
    let wrong: Vec<_> = found
        .iter()
        .filter(|f| names.get(&f[1]).is_some_and(|known| !known.contains(f)))
        // The guide passes replication_factor and excluded_shard_list as well.
        .filter(|f| !f[3].contains("replication_factor") && !f[3].contains("excluded_shard_list"))
        .collect();
    assert!(wrong.is_empty(), "other than in the contract: {wrong:#?}");
}

#[test]
fn everything_is_commented() {
    let mut conn = connect();
    for catalog in ["pg_proc", "pg_class", "pg_type"] {
        let sql = format!(
            "SELECT pg_describe_object('{catalog}'::regclass, o, 0) FROM {} m(o) \
             WHERE obj_description(o, '{catalog}') IS NULL \
             AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid \
               WHERE '{catalog}' = 'pg_type' AND t.oid = o \
               AND (t.typelem <> 0 OR c.relkind <> 'c')) \
             AND NOT EXISTS (SELECT FROM pg_class c WHERE '{catalog}' = 'pg_class' \
               AND c.oid = o AND c.relkind = 'c')",
            members(catalog)
        );
        let bare = query(&mut conn, &sql);
        assert!(bare.is_empty(), "without a comment: {bare:#?}");
    }
}

#[test]
fn the_extension_comes_and_goes() {
    let mut conn = connect();
    for _ in 0..2 {
        conn.run("DROP EXTENSION citus");
        let sql = "SELECT count(*) FROM pg_proc WHERE probin LIKE '%citus'";
        assert_eq!(conn.value(sql), "0");
        assert_eq!(conn.value("SELECT to_regnamespace('citus_internal') IS NULL"), "t");
        conn.run("CREATE EXTENSION citus");
        assert_eq!(conn.value("SELECT groupid FROM pg_dist_local_group"), "0");
        let next = "SELECT nextval('pg_dist_shardid_seq'), nextval('pg_dist_groupid_seq')";
        assert_eq!(conn.rows(next), [[Some("102008".to_owned()), Some("1".to_owned())]]);
    }
}

#[test]
fn ordinary_users_see_what_they_may() {
    let mut conn = connect();
    let user = format!("contract_{}", std::process::id());
    conn.run(&format!("CREATE ROLE {user}"));
    conn.run(&format!("SET ROLE {user}"));
    let views = "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'v') \
                 AND (relname LIKE 'citus\\_%' OR relname LIKE 'pg\\_dist\\_%' \
                      OR relname = 'time_partitions') \
                 AND relname NOT IN ('pg_dist_authinfo', 'pg_dist_poolinfo', \
                                     'citus_stat_tenants', 'citus_stat_tenants_local')";
    for row in query(&mut conn, views) {
        conn.run(&format!("SELECT * FROM {}", row[0]));
    }
    for sql in [
        "SELECT * FROM pg_dist_authinfo",
        "SELECT * FROM pg_dist_poolinfo",
        "SELECT * FROM citus_stat_tenants",
        "SELECT * FROM citus_internal.query_nodes('SELECT 1')",
        "SELECT citus_stat_statements_reset()",
        "SELECT citus_stat_counters_reset()",
        "SELECT citus_add_node('127.0.0.1', 1)",
        "INSERT INTO pg_dist_node (nodename) VALUES ('x')",
        "DELETE FROM pg_dist_partition",
        "SELECT citus_set_default_rebalance_strategy('by_shard_count')",
        "SELECT master_get_new_shardid()",
    ] {
        let error = conn.simple(sql).expect_err(sql);
        assert_eq!(error.code(), "42501", "{sql}: {error}");
    }
    conn.run("RESET ROLE");
    conn.run(&format!("DROP ROLE {user}"));
}
