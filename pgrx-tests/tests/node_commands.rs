//! Commands and questions to all nodes, users' rights, and hostile arguments.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use citus_tests::client::{refused, Conn};
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

fn cluster() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(2, Kind::FAST, ""))
}

/// The error that a statement must give.
fn add(port: u16) -> String {
    format!("SELECT citus_add_node('127.0.0.1', {port})")
}

fn remove(port: u16) -> String {
    format!("SELECT citus_remove_node('127.0.0.1', {port})")
}

/// Values of the first column, joined.
#[track_caller]
fn list(c: &mut Conn, sql: &str) -> String {
    let rows = c.rows(sql);
    let cells: Vec<String> =
        rows.into_iter().map(|r| r.into_iter().flatten().collect::<Vec<_>>().join(",")).collect();
    cells.join(" ")
}

#[test]
fn commands_run_on_nodes_and_shards() {
    let cl = cluster();
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE t (k int, v text); CREATE TABLE u (k int, v text)");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("SELECT create_distributed_table('u', 'k', colocate_with := 't')");
    c.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i");
    let result = |c: &mut Conn, command: &str| {
        list(
            c,
            &format!(
                "SELECT DISTINCT success, result FROM run_command_on_workers($cmd${command}$cmd$)"
            ),
        )
    };
    assert_eq!(result(&mut c, "SELECT 1"), "t,1");
    assert_eq!(result(&mut c, "CREATE TABLE z (a int)"), "t,CREATE TABLE");
    assert_eq!(result(&mut c, "INSERT INTO z VALUES (1), (2)"), "t,INSERT 0 2");
    assert_eq!(result(&mut c, "VACUUM z"), "t,VACUUM");
    assert_eq!(result(&mut c, "SELECT a FROM z WHERE false"), "t,");
    assert_eq!(result(&mut c, "SELECT NULL"), "t,");
    assert_eq!(result(&mut c, "SELECT a FROM z"), "f,expected a single row in query result");
    assert_eq!(result(&mut c, "SELECT 1, 2"), "f,expected a single column in query result");
    assert_eq!(result(&mut c, "SELECT 1/0"), "f,ERROR:  division by zero");
    assert!(result(&mut c, "nonsense").starts_with("f,ERROR:  syntax error"));
    assert_eq!(result(&mut c, "BEGIN; SELECT 7; COMMIT"), "t,7");
    assert_eq!(result(&mut c, "SET statement_timeout = 50; SELECT pg_sleep(5)"), {
        "f,ERROR:  canceling statement due to statement timeout"
    });
    for parallel in ["true", "false"] {
        let sum = format!(
            "SELECT sum(result::int) FROM run_command_on_shards('t', 'SELECT count(*) FROM %s', \
             {parallel})"
        );
        assert_eq!(c.value(&sum), "100");
        let names = format!(
            "SELECT count(*) FROM run_command_on_colocated_placements('t', 'u', \
             $$SELECT '%1$s/%2$s'$$, {parallel}) WHERE success \
             AND result = format('t_%s/u_%s', shardid1, shardid2)"
        );
        assert_eq!(c.value(&names), "4");
    }
    c.run("SELECT run_command_on_placements('t', $$UPDATE %s SET v = 'y' WHERE v LIKE 'x%%'$$)");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'y'"), "100");
    assert_eq!(
        list(&mut c, "SELECT success, result FROM run_command_on_coordinator('SELECT 5')"),
        "t,5"
    );
    assert_eq!(c.rows("SELECT * FROM run_command_on_all_nodes('SELECT 1')").len(), 3);
    let w = cl.workers[0].port;
    let direct = format!(
        "SELECT success, result FROM master_run_on_worker(ARRAY['127.0.0.1', '127.0.0.1'], \
         ARRAY[{w}, {w}], ARRAY['SELECT 1', 'SELECT 2'], true)"
    );
    assert_eq!(list(&mut c, &direct), "t,1 t,2");
    c.run("SELECT citus_run_local_command('CREATE TABLE only_here (a int)')");
    assert_eq!(c.value("SELECT count(*) FROM only_here"), "0");
    c.run("CREATE TABLE d (a int DEFAULT 7 CHECK (a > 1), b text NOT NULL); CREATE INDEX ON d (b)");
    let ddl = "SELECT string_agg(e, '; ') FROM master_get_table_ddl_events('d') e";
    let ddl = c.value(ddl);
    for part in ["CREATE TABLE public.d", "DEFAULT 7", "NOT NULL", "CHECK", "CREATE INDEX"] {
        assert!(ddl.contains(part), "{ddl}");
    }
    refused(&mut c, "SELECT master_get_table_ddl_events('no such')", "42602");
    refused(&mut c, "SELECT master_get_table_ddl_events('nosuch')", "42P01");
    refused(&mut c, "SELECT master_get_table_ddl_events('citus_nodes')", "42809");
    refused(&mut c, "SELECT run_command_on_shards('only_here', 'SELECT 1')", "42809");
    refused(&mut c, "SELECT run_command_on_colocated_placements('t', 'only_here', '')", "42809");
}

#[test]
fn a_pooler_stands_in_for_a_node() {
    let cl = cluster();
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    let port = cl.workers[0].port;
    c.run(&remove(cl.workers[1].port));
    c.run("SELECT citus_update_node(nodeid, 'elsewhere.invalid', 1) FROM pg_dist_node WHERE groupid > 0");
    let ask = "SELECT success, result FROM run_command_on_workers('SHOW port')";
    assert!(list(&mut c, ask).starts_with("f,"));
    c.run(&format!(
        "INSERT INTO pg_dist_poolinfo SELECT nodeid, 'host=127.0.0.1 port={port}' \
         FROM pg_dist_node WHERE groupid > 0"
    ));
    assert_eq!(list(&mut c, ask), format!("t,{port}"));
    c.run("SELECT citus_remove_node('elsewhere.invalid', 1)");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_poolinfo"), "0");
}

#[test]
fn a_single_node_needs_no_network() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE t (k int, v text)");
    c.run("BEGIN");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i");
    let sum = "SELECT sum(result::int) FROM run_command_on_shards('t', 'SELECT count(*) FROM %s')";
    assert_eq!(c.value(sum), "10", "commands on local shards are part of the transaction");
    let broken = "SELECT count(*) FROM run_command_on_shards('t', 'SELECT 1/0') WHERE NOT success";
    assert_eq!(c.value(broken), "4");
    c.run("COMMIT");
    assert_eq!(c.value("SELECT count(*) FROM t"), "10");
    assert_eq!(c.value("SELECT groupid || nodename FROM pg_dist_node"), "0localhost");
    assert_eq!(c.rows("SELECT * FROM run_command_on_workers('SELECT 1')").len(), 0);
    assert_eq!(c.rows("SELECT * FROM run_command_on_all_nodes('SELECT 1')").len(), 1);
    assert_eq!(c.rows("SELECT * FROM citus_check_cluster_node_health()").len(), 1);
}

#[test]
fn waits_and_sessions_are_seen_everywhere() {
    let cl = cluster();
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE t (k int PRIMARY KEY, v int)");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("INSERT INTO t VALUES (1, 1)");
    let mut holder = cl.connect(&db);
    holder.run("BEGIN");
    holder.run("UPDATE t SET v = 2 WHERE k = 1");
    let holder_gpid = holder.value("SELECT citus_backend_gpid()");
    let mut waiter = cl.connect(&db);
    let waiter_gpid = waiter.value("SELECT citus_backend_gpid()");
    std::thread::scope(|s| {
        let blocked = s.spawn(move || waiter.simple("UPDATE t SET v = 3 WHERE k = 1").is_err());
        let waits = "SELECT waiting_gpid, blocking_gpid FROM citus_lock_waits";
        let expected = format!("{waiter_gpid},{holder_gpid}");
        let end = Instant::now() + Duration::from_secs(60);
        while list(&mut c, waits) != expected {
            assert!(Instant::now() < end, "the wait is not seen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let edges = format!(
            "SELECT count(*) FROM dump_global_wait_edges() WHERE waiting_transaction_num <> 0 \
             AND blocking_transaction_num <> 0 AND waiting_node_id = {0} AND blocking_node_id = {0}",
            "(SELECT nodeid FROM pg_dist_node WHERE groupid = 0)"
        );
        assert_eq!(c.value(&edges), "1");
        let locks =
            format!("SELECT count(*) > 0 FROM citus_locks WHERE global_pid = {waiter_gpid}");
        assert_eq!(c.value(&locks), "t");
        let there = format!(
            "SELECT count(*) FROM get_global_active_transactions() g WHERE worker_query \
             AND global_pid = {waiter_gpid} AND transaction_number <> 0"
        );
        assert_eq!(c.value(&there), "1");
        let pids = format!("SELECT citus_blocking_pids(citus_pid_for_gpid({waiter_gpid}))");
        assert_eq!(c.value(&pids), format!("{{{}}}", holder.pid));
        assert_eq!(c.value(&format!("SELECT pg_cancel_backend({waiter_gpid})")), "t");
        assert!(blocked.join().is_ok_and(|failed| failed), "the waiting statement was cancelled");
    });
    // A session on a worker is reached by its global process id.
    let w = &cl.workers[0];
    let mut there = w.connect(&db);
    let gpid = there.value("SELECT citus_backend_gpid()");
    assert_eq!(c.value(&format!("SELECT citus_nodeid_for_gpid({gpid})")), {
        c.value(&format!("SELECT nodeid FROM pg_dist_node WHERE nodeport = {}", w.port))
    });
    assert_eq!(c.value(&format!("SELECT pg_terminate_backend({gpid}, 5000)")), "t");
    assert!(there.simple("SELECT 1").is_err());
    assert_ne!(c.value("SELECT count(*) FROM citus_remote_connection_stats()"), "0");
}

#[test]
fn ordinary_users_get_what_they_may_do() {
    let cl = cluster();
    let db = cl.database("nodes");
    let user = format!("u_{db}");
    for n in cl.nodes() {
        n.connect(&db).run(&format!("CREATE ROLE {user} LOGIN"));
    }
    let own = cl.coordinator.port;
    let w = cl.workers[0].port;
    let mut c = match Conn::connect(own, &user, &db) {
        Ok(c) => c,
        Err(e) => panic!("{e}"),
    };
    for sql in [
        add(w),
        remove(w),
        format!("SELECT master_add_node('127.0.0.1', {w})"),
        format!("SELECT citus_add_inactive_node('127.0.0.1', {w})"),
        format!("SELECT citus_add_secondary_node('h', 1, '127.0.0.1', {w})"),
        format!("SELECT citus_disable_node('127.0.0.1', {w})"),
        format!("SELECT citus_activate_node('127.0.0.1', {w})"),
        format!("SELECT citus_update_node(1, '127.0.0.1', {w})"),
        format!("SELECT citus_set_node_property('127.0.0.1', {w}, 'shouldhaveshards', false)"),
        format!("SELECT citus_set_coordinator_host('127.0.0.1', {own})"),
        "SELECT replicate_reference_tables()".into(),
        "SELECT * FROM citus_remote_connection_stats()".into(),
        "SELECT citus_check_connection_to_node('192.0.2.1', 5432)".into(),
        format!("SELECT * FROM master_run_on_worker('{{localhost}}', '{{{w}}}', '{{x}}', true)"),
        "INSERT INTO pg_dist_node (nodename) VALUES ('x')".into(),
        "UPDATE pg_dist_local_group SET groupid = 1".into(),
        "SELECT * FROM pg_dist_authinfo".into(),
        "SELECT citus_internal.local_nodeid()".into(),
    ] {
        refused(&mut c, &sql, "42501");
    }
    assert_eq!(c.value(&format!("SELECT citus_check_connection_to_node('127.0.0.1', {w})")), "t");
    let who = "SELECT DISTINCT result FROM run_command_on_workers('SELECT current_user')";
    assert_eq!(list(&mut c, who), user, "commands run as the user himself");
    assert_eq!(c.value("SELECT count(*) FROM citus_get_active_worker_nodes()"), "2");
    for view in ["citus_stat_activity", "citus_locks", "citus_lock_waits"] {
        c.run(&format!("SELECT * FROM {view}"));
    }
    // What the superuser does stays hidden from others.
    let mut busy = cl.connect(&db);
    busy.run("BEGIN; SELECT 1");
    for from in ["citus_stat_activity", "pg_stat_activity"] {
        let query = format!("SELECT query FROM {from} WHERE pid = {} LIMIT 1", busy.pid);
        assert_eq!(c.value(&query), "<insufficient privilege>", "{from}");
    }
    // The right to call is enough for what happens on the coordinator.
    cl.connect(&db).run(&format!(
        "GRANT EXECUTE ON FUNCTION citus_set_node_property(text, int, text, bool) TO {user}"
    ));
    c.run(&format!("SELECT citus_set_node_property('127.0.0.1', {w}, 'shouldhaveshards', false)"));
    for n in cl.nodes() {
        let mut s = n.connect(&db);
        s.run(&format!("DROP OWNED BY {user}"));
        drop(s);
    }
}

/// Statements about nodes that must fail, with their SQLSTATE; `w` is a worker's port.
fn hostile(w: u16) -> Vec<(String, &'static str)> {
    let long = "x".repeat(300);
    let mut cases = vec![
        ("SELECT citus_add_node('', 5432)".to_owned(), "22023"),
        ("SELECT citus_add_node(E'a\\nb', 5432)".into(), "22023"),
        ("SELECT citus_add_node('a b', 5432)".into(), "22023"),
        ("SELECT citus_add_node('a,b', 5432)".into(), "22023"),
        (format!("SELECT citus_add_node('{long}', 5432)"), "22023"),
        ("SELECT citus_add_node('127.0.0.1', 0)".into(), "22023"),
        ("SELECT citus_add_node('127.0.0.1', -1)".into(), "22023"),
        ("SELECT citus_add_node('127.0.0.1', 65536)".into(), "22023"),
        ("SELECT citus_add_node('127.0.0.1', 2147483647)".into(), "22023"),
        ("SELECT citus_add_node('no-such-host.invalid', 5432)".into(), "08006"),
        ("SELECT citus_add_node('o''x\"; DROP TABLE pg_dist_node; --', 5432)".into(), "22023"),
        ("SELECT citus_add_node('127.0.0.1', 1)".into(), "08006"),
        ("SELECT citus_add_node('127.0.0.1', 1, groupid := -7)".into(), "22023"),
        ("SELECT citus_add_node('127.0.0.1', 1, groupid := 77)".into(), "42704"),
        ("SELECT citus_add_node('127.0.0.1', 1, noderole := 'secondary')".into(), "22023"),
        ("SELECT citus_add_node('127.0.0.1', 1, noderole := 'king')".into(), "22P02"),
        ("SELECT citus_add_node('127.0.0.1', 1, nodecluster := '')".into(), "22023"),
        ("SELECT citus_add_secondary_node('127.0.0.1', 1, 'nobody', 1)".into(), "42704"),
        (format!("SELECT citus_add_secondary_node('127.0.0.1', 1, '127.0.0.1', {w})"), "08006"),
        ("SELECT citus_remove_node('nobody', 1)".into(), "42704"),
        ("SELECT citus_remove_node('nobody', 0)".into(), "22023"),
        ("SELECT citus_disable_node('nobody', 1)".into(), "42704"),
        ("SELECT citus_activate_node('nobody', 1)".into(), "42704"),
        ("SELECT citus_update_node(-1, 'x', 1)".into(), "42704"),
        ("SELECT citus_update_node(1, '', 1)".into(), "22023"),
        ("SELECT citus_update_node(1, 'x', 0)".into(), "22023"),
        ("SELECT citus_update_node(1, 'x', 1, true, -1)".into(), "22023"),
        (format!("SELECT citus_update_node(1, '127.0.0.1', {w})"), "42710"),
        (format!("SELECT citus_set_node_property('127.0.0.1', {w}, 'x', true)"), "22023"),
        ("SELECT citus_set_node_property('nobody', 1, 'shouldhaveshards', true)".into(), "42704"),
    ];
    cases.extend(hostile_commands(w));
    cases
}

/// The same about the coordinator, connections and commands.
fn hostile_commands(w: u16) -> Vec<(String, &'static str)> {
    vec![
        ("SELECT citus_set_coordinator_host('')".into(), "22023"),
        ("SELECT citus_set_coordinator_host('x', 0)".into(), "22023"),
        (format!("SELECT citus_set_coordinator_host('127.0.0.1', {w})"), "42710"),
        ("SELECT citus_check_connection_to_node('', 1)".into(), "22023"),
        ("SELECT citus_check_connection_to_node('x', 0)".into(), "22023"),
        ("SELECT run_command_on_workers(NULL)".into(), "22004"),
        ("SELECT run_command_on_workers('SELECT 1', NULL)".into(), "22004"),
        ("SELECT run_command_on_all_nodes(NULL)".into(), "22004"),
        ("SELECT run_command_on_coordinator(NULL)".into(), "22004"),
        ("SELECT run_command_on_shards(NULL, 'x')".into(), "22004"),
        ("SELECT run_command_on_shards('pg_class', 'SELECT 1')".into(), "42809"),
        ("SELECT run_command_on_shards(0, 'SELECT 1')".into(), "42P01"),
        ("SELECT run_command_on_placements('pg_dist_node', '%s')".into(), "42809"),
        ("SELECT * FROM master_run_on_worker('{a}', '{}', '{}', true)".into(), "22023"),
        ("SELECT * FROM master_run_on_worker('{a}', '{1}', '{NULL}', true)".into(), "22004"),
        ("SELECT * FROM master_run_on_worker('{a}', '{0}', '{x}', true)".into(), "22023"),
        ("SELECT pg_cancel_backend((-1)::bigint)".into(), "22023"),
        ("SELECT pg_cancel_backend(9990000000001)".into(), "42704"),
        ("SELECT citus_run_local_command('nonsense')".into(), "42601"),
    ]
}

#[test]
fn hostile_arguments() {
    let cl = cluster();
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    let before = list(&mut c, "SELECT n::text FROM pg_dist_node n ORDER BY nodeid");
    for (sql, code) in &hostile(cl.workers[0].port) {
        refused(&mut c, sql, code);
    }
    // Strict functions answer NULL with NULL.
    for sql in [
        "SELECT citus_add_node(NULL, 5432) IS NULL",
        "SELECT citus_add_node('x', NULL) IS NULL",
        "SELECT citus_check_connection_to_node(NULL) IS NULL",
        "SELECT citus_shard_size(NULL) IS NULL",
        "SELECT pg_cancel_backend(NULL::bigint) IS NULL",
    ] {
        assert_eq!(c.value(sql), "t", "{sql}");
    }
    let after = list(&mut c, "SELECT n::text FROM pg_dist_node n ORDER BY nodeid");
    assert_eq!(after, before, "no metadata changed");
}

#[test]
fn an_unreachable_host_costs_bounded_time() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    c.run("SET citus.node_connection_timeout = 300");
    // A listener that never answers.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0));
    let port = silent.as_ref().ok().and_then(|l| l.local_addr().ok()).map_or(0, |a| a.port());
    let start = Instant::now();
    assert!(c.simple(&add(port)).is_err());
    assert_eq!(
        c.value(&format!("SELECT citus_check_connection_to_node('127.0.0.1', {port})")),
        "f"
    );
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // And can be cancelled long before.
    c.run("SET citus.node_connection_timeout = '1min'; SET statement_timeout = 200");
    let start = Instant::now();
    refused(&mut c, &add(port), "57014");
    let check = format!("SELECT citus_check_connection_to_node('127.0.0.1', {port})");
    refused(&mut c, &check, "57014");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn properties_and_the_coordinator() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    let own = cl.coordinator.port;
    let shards = "SELECT string_agg(groupid || ':' || shouldhaveshards, ' ' ORDER BY groupid) \
                  FROM pg_dist_node";
    c.run("SELECT citus_set_coordinator_host('127.0.0.1')");
    assert_eq!(c.value("SELECT nodeport FROM pg_dist_node"), own.to_string());
    assert_eq!(c.value(shards), "0:true", "alone it holds the shards");
    c.run(&format!("SELECT citus_set_coordinator_host('localhost', {own})"));
    assert_eq!(c.value("SELECT nodename FROM pg_dist_node"), "localhost");
    c.run(&add(cl.workers[0].port));
    assert_eq!(c.value(shards), "0:false 1:true");
    c.run(&format!("SELECT citus_set_node_property('localhost', {own}, 'shouldhaveshards', true)"));
    assert_eq!(c.value(shards), "0:true 1:true");
    c.run(&format!("SELECT citus_remove_node('localhost', {own})"));
    assert_eq!(c.value(shards), "1:true");
    c.run(&format!("SELECT citus_add_node('localhost', {own}, groupid := 0)"));
    assert_eq!(c.value(shards), "0:false 1:true");
    let second = format!("SELECT citus_add_node('otherhost', {own}, groupid := 0)");
    refused(&mut c, &second, "42710");
    refused(&mut c, &format!("SELECT citus_disable_node('localhost', {own})"), "55000");
}

/// What LOCK TABLE does not take is locked as well when a node changes.
#[test]
fn materialized_views_are_kept_from_writers() {
    let cl = cluster();
    let db = cl.database("views");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE t (k int); SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run(
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM t; SELECT create_distributed_table('v', 'k')",
    );
    let node = c.value("SELECT min(nodeid) FROM pg_dist_node WHERE groupid > 0");
    let locked = "SELECT string_agg(relation::regclass::text, ' ' ORDER BY relation) FROM pg_locks
        WHERE pid = pg_backend_pid() AND mode = 'ExclusiveLock' AND relation IN ('t'::regclass, 'v'::regclass)";
    for force in [false, true] {
        c.run("BEGIN");
        c.run(&format!("SELECT citus_update_node({node}, '127.0.0.1', 1, {force}, 100)"));
        assert_eq!(c.value(locked), "t v");
        c.run("ROLLBACK");
    }
}
