//! Every internal function, called by an ordinary user on every node.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use citus_tests::client::Conn;
use citus_tests::server::Server;

use crate::{cluster, refused, session, user};

/// Functions in pg_catalog that nodes call, and that everybody may call: with the reason.
const HARMLESS: &[(&str, &str)] = &[
    ("worker_hash", "a pure function"),
    ("worker_save_query_explain_analyze", "runs a query of the caller as the caller"),
    ("worker_last_saved_explain_analyze", "shows what this session kept"),
    ("citus_explain_next", "keeps the plan of this session's next statement"),
    ("citus_internal_ask_proof", "gives out a random text"),
    ("citus_internal_introduce", "changes nothing without a proof"),
    ("citus_internal_local_blocked_processes", "who waits for whom, as in pg_locks"),
    ("citus_internal_global_blocked_processes", "the same of all nodes, asked as the caller"),
    ("citus_internal_hold_snapshot", "keeps a snapshot until the transaction's end"),
    ("citus_internal_read_with_snapshot", "reads as of it, as REPEATABLE READ would"),
    ("citus_internal_drop_snapshot", "ends that"),
    ("citus_internal_check_as_self", "takes back what a node was told about rights"),
    ("citus_internal_transaction_id", "as pg_current_xact_id"),
    ("citus_internal_lost_transaction", "compares numbers with those of the server's starts"),
    ("citus_source", "always an error: the planner replaces it"),
];

/// Functions in pg_catalog that only nodes and superusers get done.
const PROVEN: &[&str] = &[
    "citus_internal_act_as",
    "citus_internal_apply_shard_ddl",
    "citus_internal_check_as",
    "citus_internal_ensure_objects",
];

/// Name, schema, and a call with a NULL of its type for each argument.
fn internal_functions(c: &mut Conn) -> Vec<(String, String, String)> {
    let rows = c.rows(
        "SELECT n.nspname, p.proname, format('SELECT %I.%I(%s)', n.nspname, p.proname,
            (SELECT string_agg('NULL::' || format_type(
                CASE t WHEN 'anyelement'::regtype THEN 'int'::regtype
                    WHEN '\"any\"'::regtype THEN 'int'::regtype ELSE t::regtype END, NULL), ', ')
             FROM unnest(p.proargtypes) t))
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
            AND d.deptype = 'e'
         JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'citus'
         WHERE p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype)
            AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
            AND (n.nspname = 'citus_internal' OR p.proname ~ '^(worker_|citus_internal)'
                OR p.proname IN ('citus_source', 'citus_explain_next'))
         ORDER BY 1, 2",
    );
    let cell = |v: &Option<String>| v.clone().unwrap_or_default();
    rows.iter().map(|r| (cell(&r[0]), cell(&r[1]), cell(&r[2]))).collect()
}

/// Calls a function by its number, as the protocol allows without SQL: the SQLSTATE, or `ok`.
fn fast_path(c: Conn, oid: u32) -> String {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend([0; 6]);
    let mut message = vec![b'F'];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    let mut socket = c.socket().unwrap();
    socket.write_all(&message).unwrap();
    let mut answer = [0; 4096];
    let n = socket.read(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer[..n]).into_owned();
    match answer[0] {
        b'V' => "ok".to_owned(),
        _ => text.split('\0').find_map(|f| f.strip_prefix('C')).unwrap_or(&text).to_owned(),
    }
}

fn on(node: &Server, database: &str, ordinary: &str) {
    let mut admin = node.connect(database);
    let all = internal_functions(&mut admin);
    assert!(all.len() >= 20, "only {} functions", all.len());
    let mut c = session(node, ordinary, database);
    let mut seen = BTreeSet::new();
    for (schema, name, call) in &all {
        seen.insert(name.as_str());
        if schema == "citus_internal" {
            let e = refused(&mut c, call, "42501");
            assert!(e.message.contains("schema citus_internal"), "{e}");
        } else if PROVEN.contains(&name.as_str()) {
            // Arguments that a superuser gets through, so that nothing but the proof is missing.
            let good = match name.as_str() {
                "citus_internal_apply_shard_ddl" => {
                    format!("SELECT {name}('{{s}}', '{{t}}', '{{1}}', '{{SELECT 1}}', NULL)")
                }
                "citus_internal_act_as" => {
                    format!("SELECT pg_catalog.{name}('postgres', false, NULL)")
                }
                _ => format!("SELECT {name}('{{}}', NULL)"),
            };
            let e = refused(&mut c, &good, "42501");
            assert!(e.message.contains(name.as_str()), "{e}");
            let works = good.replace("SELECT 1", "CREATE TEMP TABLE x ()");
            for sql in ["BEGIN", &works, "COMMIT"] {
                admin.run(sql);
            }
            admin.run("DROP TABLE IF EXISTS x");
            refused(&mut c, &good.replace("NULL)", "'1:00')"), "28000");
        } else {
            let known = HARMLESS.iter().any(|h| h.0 == name);
            assert!(known, "{name} is new: is it harmless, or does it need a proof?");
        }
    }
    for (name, _) in HARMLESS {
        assert!(seen.contains(name), "{name} is gone");
    }
    // By number instead of by name. A superuser can, so it is the schema that protects.
    let oid = admin.value("SELECT 'citus_internal.local_nodeid()'::regprocedure::oid");
    let oid: u32 = oid.parse().unwrap();
    assert_eq!(fast_path(session(node, ordinary, database), oid), "42501");
    assert_eq!(fast_path(admin, oid), "ok");
    // As part of something else.
    for sql in [
        "CREATE FUNCTION pg_temp.f(text) RETURNS void LANGUAGE internal AS 'citus_query_nodes'",
        "CREATE FUNCTION pg_temp.f(text) RETURNS void LANGUAGE c AS 'citus', 'citus_query_nodes'",
        "CREATE AGGREGATE pg_temp.a(name) (sfunc = citus_internal.shard_id_of_name, stype = bigint)",
        "SELECT 'citus_internal.node_secrets'::regclass",
        "SELECT * FROM citus_internal.node_secrets",
        "ALTER FUNCTION citus_internal_ensure_objects(text[], text) OWNER TO CURRENT_USER",
        "CREATE OR REPLACE FUNCTION pg_catalog.citus_internal_ask_proof() RETURNS text
            LANGUAGE sql AS 'SELECT 1'",
    ] {
        refused(&mut c, sql, "42501");
    }
}

#[test]
fn internal_functions_refuse_ordinary_users() {
    let cl = cluster();
    let db = &cl.database("functions");
    user("functions", db);
    for node in cl.nodes() {
        on(node, db, "functions");
    }
}

#[test]
fn no_function_of_ours_runs_as_its_owner() {
    let sql = "SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p \
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid \
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'citus' WHERE p.prosecdef";
    let mut c = cluster().coordinator.connect("citus_template");
    assert_eq!(c.value(sql), "");
    // The control.
    c.run(
        "BEGIN; CREATE FUNCTION public.x() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    );
    c.run("ALTER EXTENSION citus ADD FUNCTION public.x()");
    assert_eq!(c.value(sql), "x()");
    c.run("ROLLBACK");
}

/// A user cannot have a query of his run what only the coordinator may call, where the coordinator
/// sends queries.
#[test]
fn queries_do_not_carry_calls_to_nodes() {
    let cl = cluster();
    let db = &cl.database("carried");
    user("carried", db);
    let mut c = session(&cl.coordinator, "carried", db);
    c.run("CREATE TABLE carried.t (k int); SELECT create_distributed_table('carried.t', 'k')");
    c.run("ALTER TABLE carried.t ADD COLUMN a int; INSERT INTO carried.t VALUES (1, 1)");
    for call in [
        "citus_internal_ensure_objects(ARRAY['CREATE TABLE carried.x ()'], NULL)",
        "citus_internal_apply_shard_ddl('{carried}', '{t}', '{1}', '{SELECT 1}', NULL)",
    ] {
        refused(&mut c, &format!("SELECT {call} FROM carried.t WHERE k = 1"), "42501");
        refused(&mut c, &format!("SELECT {call} FROM carried.t"), "42501");
        refused(&mut c, &format!("UPDATE carried.t SET a = 2 WHERE {call} IS NULL"), "42501");
        for runs in ["workers", "all_nodes"] {
            let sql = format!(
                "SELECT string_agg(result, ' ') FROM run_command_on_{runs}($$SELECT {call}$$)
                 WHERE success"
            );
            assert_eq!(c.value(&sql), "", "{sql}");
        }
    }
    assert_eq!(
        c.value("SELECT string_agg(result, ' ') FROM run_command_on_workers('SELECT 7')"),
        "7 7"
    );
}
