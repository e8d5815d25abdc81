//! Sessions to nodes and the transactions over them: what is kept together, what follows the
//! client, what ends in time, and that nothing leaks.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error, PgError};
use citus_tests::cluster::Cluster;
use citus_tests::forged;
use citus_tests::server::Kind;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

/// A database with `t(k int primary key, v text)` in four shards, rows 1 to 100.
fn database(stem: &str) -> (String, Conn) {
    let name = CLUSTER.database(stem);
    let mut c = CLUSTER.connect(&name);
    c.run(
        "CREATE TABLE t (k int PRIMARY KEY, v text);
         SELECT create_distributed_table('t', 'k', shard_count := 4);
         INSERT INTO t SELECT i, 'old' FROM generate_series(1, 100) i;",
    );
    (name, c)
}

#[track_caller]
fn server_error(result: Result<impl std::fmt::Debug, Error>) -> Box<PgError> {
    match result {
        Err(Error::Server(e)) => e,
        other => panic!("expected an error of the server, got {other:?}"),
    }
}

fn prepared(database: &str) -> usize {
    CLUSTER
        .workers
        .iter()
        .map(|w| {
            let sql = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
            w.connect(database).rows(sql).len()
        })
        .sum()
}

#[test]
fn a_block_is_all_or_nothing() {
    let (name, mut c) = database("block");
    c.run("BEGIN; UPDATE t SET v = 'new'; ROLLBACK");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'new'"), "0");
    c.run("BEGIN; UPDATE t SET v = 'new' WHERE k <= 50; UPDATE t SET v = 'newer' WHERE k = 7");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v LIKE 'new%'"), "50");
    c.run("COMMIT");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v LIKE 'new%'"), "50");
    assert_eq!(prepared(&name), 0);
}

#[test]
fn savepoints_reach_the_nodes() {
    let (_, mut c) = database("savepoints");
    c.run("BEGIN; UPDATE t SET v = 'a' WHERE k = 1; SAVEPOINT s");
    c.run("UPDATE t SET v = 'b' WHERE k IN (1, 2, 3, 4)");
    let e = server_error(c.simple("INSERT INTO t VALUES (1, 'again')"));
    assert_eq!((e.code.as_str(), e.table.as_deref()), ("23505", Some("t")));
    assert_eq!(e.constraint.as_deref(), Some("t_pkey"));
    c.run("ROLLBACK TO s; SAVEPOINT r; UPDATE t SET v = 'c' WHERE k = 2; RELEASE r");
    c.run("SAVEPOINT s; UPDATE t SET v = 'd' WHERE k = 3; ROLLBACK TO s; COMMIT");
    let rows = c.value("SELECT string_agg(v, ',' ORDER BY k) FROM t WHERE k < 5");
    assert_eq!(rows, "a,c,old,old");
}

#[test]
fn exceptions_in_loops_undo_their_part_only() {
    let (_, mut c) = database("exceptions");
    c.run(
        "DO $$ BEGIN FOR i IN 1..100 LOOP
             BEGIN
                 UPDATE t SET v = 'loop' WHERE k = i;
                 IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
             EXCEPTION WHEN raise_exception THEN NULL; END;
         END LOOP; END $$",
    );
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'loop'"), "67");
}

#[test]
fn a_function_is_one_transaction() {
    let (_, mut c) = database("functions");
    c.run(
        "CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS
         $$ BEGIN UPDATE t SET v = 'f' WHERE k = a; RETURN 1 / (a - 2); END $$",
    );
    assert_eq!(server_error(c.simple("SELECT f(2)")).code, "22012");
    assert_eq!(c.value("SELECT v FROM t WHERE k = 2"), "old");
    c.run("SELECT f(3)");
    assert_eq!(c.value("SELECT v FROM t WHERE k = 3"), "f");
    c.run(
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN
             UPDATE t SET v = 'kept'; COMMIT; UPDATE t SET v = 'gone'; RAISE 'end'; END $$",
    );
    assert_eq!(server_error(c.simple("CALL p()")).code, "P0001");
    assert_eq!(c.value("SELECT DISTINCT v FROM t"), "kept");
}

#[test]
fn two_cursors_share_the_sessions() {
    let (_, mut c) = database("cursors");
    c.run("BEGIN; DECLARE a CURSOR FOR SELECT k FROM t; DECLARE b CURSOR FOR SELECT k FROM t");
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    for round in 0..20 {
        for (name, seen) in ["a", "b"].iter().zip(&mut seen) {
            for row in c.rows(&format!("FETCH 5 FROM {name}")) {
                assert!(seen.insert(row[0].clone()));
            }
        }
        // A savepoint that is rolled back while both are open.
        c.run("SAVEPOINT s");
        c.run(&format!("UPDATE t SET v = 'x' WHERE k = {}", round + 1));
        c.run("ROLLBACK TO s");
    }
    assert_eq!((seen[0].len(), seen[1].len()), (100, 100));
    c.run("COMMIT");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'x'"), "0");
}

#[test]
fn deferred_constraints_are_checked_at_commit() {
    let (name, mut c) = database("deferred");
    c.run(
        "CREATE TABLE d (k int, n int, UNIQUE (k, n) DEFERRABLE INITIALLY DEFERRED);
         SELECT create_distributed_table('d', 'k', shard_count := 4);",
    );
    // One node, then several.
    for rows in ["(1, 1), (1, 1)", "(1, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)"] {
        c.run(&format!("BEGIN; INSERT INTO d VALUES {rows}"));
        assert_eq!(server_error(c.simple("COMMIT")).code, "23505");
        assert_eq!(c.value("SELECT count(*) FROM d"), "0");
    }
    assert_eq!(prepared(&name), 0);
}

#[test]
fn a_users_own_prepare_is_refused_after_remote_writes() {
    let (_, mut c) = database("prepare");
    c.run("BEGIN; UPDATE t SET v = 'p'");
    assert_eq!(server_error(c.simple("PREPARE TRANSACTION 'mine'")).code, "0A000");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'p'"), "0");
}

#[test]
fn writes_that_are_refused_say_why() {
    let (_, mut c) = database("refused");
    c.run(
        "CREATE TABLE other (id int PRIMARY KEY, v text);
         SELECT create_distributed_table('other', 'id', colocate_with := 'none');
         CREATE TABLE bare (v text);
         SELECT create_reference_table('bare');
         INSERT INTO bare VALUES ('one')",
    );
    let upsert = |set: &str| {
        format!("INSERT INTO t VALUES (1, 'new') ON CONFLICT (k) DO UPDATE SET v = ({set})")
    };
    for sql in [
        upsert("SELECT v FROM other WHERE id = excluded.k"),
        upsert("SELECT v FROM t o WHERE o.v = excluded.v LIMIT 1"),
    ] {
        let e = server_error(c.simple(&sql));
        assert_eq!(e.code, "0A000", "{sql}");
        let detail = e.detail.clone().unwrap_or_default();
        assert!(
            detail.contains("not correlated by the distribution column")
                || detail.contains("several shards"),
            "{detail}"
        );
        assert!(e.hint.is_some_and(|h| h.contains("co-located")), "{sql}");
    }
    let plain =
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH c; DELETE FROM t WHERE CURRENT OF c";
    let e = server_error(c.simple(plain));
    assert_eq!(e.code, "24000");
    assert!(e.hint.is_some_and(|h| h.contains("FOR UPDATE")));
    let copies = "ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT * FROM bare FOR UPDATE; FETCH c; \
                  DELETE FROM bare WHERE CURRENT OF c";
    let e = server_error(c.simple(copies));
    assert_eq!(e.code, "0A000");
    assert!(e.hint.is_some_and(|h| h.contains("primary key")));
    c.run("ROLLBACK");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'old'"), "100");
}

#[test]
fn settings_follow_the_client() {
    let (_, mut c) = database("settings");
    let ask = "SELECT current_setting('app.tenant', true) || '/' ||
                      current_setting('TimeZone') FROM t WHERE k = 1";
    c.run("SET app.tenant = 'it''s'; SET TimeZone = 'Asia/Tokyo'");
    assert_eq!(c.value(ask), "it's/Asia/Tokyo");
    c.run("BEGIN; SET LOCAL app.tenant = 'local'");
    assert_eq!(c.value(ask), "local/Asia/Tokyo");
    c.run("SAVEPOINT s; SET LOCAL TimeZone = 'UTC'");
    assert_eq!(c.value(ask), "local/UTC");
    c.run("ROLLBACK TO s");
    assert_eq!(c.value(ask), "local/Asia/Tokyo");
    c.run("ROLLBACK");
    assert_eq!(c.value(ask), "it's/Asia/Tokyo");
    c.run("RESET ALL; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    let ask = "SELECT current_setting('transaction_isolation') || '/' ||
                      current_setting('transaction_read_only') FROM t WHERE k = 1";
    assert_eq!(c.value(ask), "repeatable read/on");
    c.run("ROLLBACK");
}

#[test]
fn styles_of_text_lose_nothing() {
    let (_, mut c) = database("styles");
    c.run(
        "CREATE TABLE d (k int, d date, z timestamptz, i interval, f float8);
         SELECT create_distributed_table('d', 'k', shard_count := 4);
         SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard';
         SET TimeZone = 'Asia/Shanghai'; SET extra_float_digits = -10;
         INSERT INTO d VALUES (1, '03/04/2024', '03/04/2024 10:00', '-1 day +2 hours', 0.1 + 0.2);
         INSERT INTO d SELECT 2, d, z, i, f FROM d;
         INSERT INTO d VALUES (3, '03/04/2024'::text::date, '03/04/2024 10:00'::text::timestamptz,
                               '-1 day +2 hours', 0.1 + 0.2);",
    );
    let text = c.rows("SELECT DISTINCT d::text, z::text FROM d");
    assert_eq!(text.len(), 1);
    assert_eq!(text[0][0].as_deref(), Some("03/04/2024"));
    c.run("RESET ALL");
    let rows = c.rows("SELECT DISTINCT d, z AT TIME ZONE 'UTC', i, f FROM d");
    let want = ["2024-04-03", "2024-04-03 02:00:00", "-1 days +02:00:00", "0.3"];
    assert_eq!(rows.len(), 1);
    for (got, want) in rows[0].iter().zip(want) {
        assert_eq!(got.as_deref(), Some(want));
    }
}

/// Statements running on the workers in a database, other than the question itself.
fn running(database: &str, what: &str) -> usize {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
         AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{what}%'"
    );
    CLUSTER.workers.iter().map(|w| w.connect(database).rows(&sql).len()).sum()
}

#[test]
fn a_time_limit_ends_statements_on_nodes() {
    let (name, mut c) = database("timeout");
    c.run("BEGIN; UPDATE t SET v = 'kept' WHERE k = 1; SAVEPOINT s");
    c.run("SET LOCAL statement_timeout = '300ms'");
    let start = Instant::now();
    let e = server_error(c.simple("SELECT count(pg_sleep(60)) FROM t"));
    assert_eq!(e.code, "57014");
    assert!(start.elapsed() < Duration::from_secs(30));
    c.run("ROLLBACK TO s; SET LOCAL statement_timeout = 0");
    assert_eq!(running(&name, "pg_sleep"), 0);
    c.run("UPDATE t SET v = 'kept' WHERE k = 2; COMMIT");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'kept'"), "2");
}

#[test]
fn a_terminated_session_leaves_nothing_running() {
    let (name, mut c) = database("terminated");
    let pid = c.value("SELECT pg_backend_pid()");
    let waiting = std::thread::spawn(move || c.simple("SELECT count(pg_sleep(60)) FROM t"));
    let start = Instant::now();
    while running(&name, "pg_sleep") == 0 && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    CLUSTER.connect(&name).run(&format!("SELECT pg_terminate_backend({pid})"));
    assert!(waiting.join().unwrap().is_err());
    let start = Instant::now();
    while running(&name, "pg_sleep") > 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "still running on a worker");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends the workers' ends of all sessions from the coordinator in a database.
fn hang_up(database: &str) {
    for w in &CLUSTER.workers {
        w.connect(database).run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'citus_internal%'",
        );
    }
}

#[test]
fn lost_connections_are_replaced_between_transactions_only() {
    let (name, mut c) = database("lost");
    assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    hang_up(&name);
    assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    c.run("BEGIN; UPDATE t SET v = 'lost'");
    hang_up(&name);
    let e = server_error(c.simple("UPDATE t SET v = 'more'"));
    assert!(e.code.starts_with("08"), "{e}");
    c.run("ROLLBACK");
    c.run("BEGIN; UPDATE t SET v = 'lost'");
    hang_up(&name);
    let e = server_error(c.simple("COMMIT"));
    assert!(e.code.starts_with("08"), "{e}");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'old'"), "100");
    assert_eq!(prepared(&name), 0);
}

fn open_files(pid: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[test]
fn errors_leak_no_files() {
    let (_, mut c) = database("files");
    let pid = c.value("SELECT pg_backend_pid()");
    let provoke = |c: &mut Conn| {
        c.run("SET statement_timeout = '500ms'");
        let e = c.simple("SELECT count(pg_sleep(5)) FROM t").unwrap_err();
        assert_eq!(e.code(), "57014", "{e}");
        c.run("RESET statement_timeout");
        assert!(c.simple("SELECT count(1 / (k - 50)) FROM t").is_err());
        assert!(c.simple("INSERT INTO t VALUES (1), (2), (3), (4), (5)").is_err());
        c.run("BEGIN; DECLARE x CURSOR FOR SELECT * FROM t; FETCH 1 FROM x; ROLLBACK");
        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    };
    provoke(&mut c);
    let before = open_files(&pid);
    for _ in 0..5 {
        provoke(&mut c);
    }
    assert!(open_files(&pid) <= before + 1, "{} files instead of {before}", open_files(&pid));
}

#[test]
fn passwords_come_from_the_catalog() {
    let (name, mut c) = database("passwords");
    let worker = &CLUSTER.workers[0];
    for node in CLUSTER.nodes() {
        for (role, method) in [("r_scram", "scram-sha-256"), ("r_md5", "md5")] {
            node.connect(&name).run(&format!(
                "SET citus.enable_create_role_propagation = off; SET password_encryption = '{method}';
                 CREATE ROLE {role} LOGIN PASSWORD 'a''b c'"
            ));
        }
    }
    let file = worker.connect(&name).value("SHOW hba_file");
    let before = std::fs::read_to_string(&file).unwrap();
    let rules = "host all r_scram all scram-sha-256\nhost all r_md5 all md5\n";
    std::fs::write(&file, format!("{rules}{before}")).unwrap();
    worker.reload();
    for role in ["r_scram", "r_md5"] {
        c.run(&format!("GRANT SELECT ON t TO {role}; SET ROLE {role}"));
        assert!(server_error(c.simple("SELECT * FROM t")).message.contains("could not connect"));
        c.run("RESET ROLE");
        for (password, fits) in [("wrong", false), (r"\'a\'\'b c\'", true)] {
            let info = if fits { r"password='a\'b c'" } else { password };
            c.run(&format!(
                "DELETE FROM pg_dist_authinfo WHERE rolename = '{role}';
                 INSERT INTO pg_dist_authinfo VALUES (0, '{role}', $i$password={}$i$);",
                info.trim_start_matches("password=")
            ));
            c.run(&format!("SET ROLE {role}"));
            assert_eq!(c.simple("SELECT * FROM t").is_ok(), fits, "{role} {password}");
            c.run("RESET ROLE");
        }
    }
    std::fs::write(&file, before).unwrap();
    worker.connect(&name).run("SELECT pg_reload_conf()");
}

#[test]
fn a_silent_node_fails_in_time() {
    let (_, mut c) = database("silent");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    c.run("SET citus.node_connection_timeout = '400ms'");
    c.run(&format!(
        "UPDATE pg_dist_node SET nodeport = {port} WHERE nodeport = {}",
        CLUSTER.workers[1].port
    ));
    let start = Instant::now();
    let e = server_error(c.simple("SELECT count(*) FROM t"));
    assert!(e.code.starts_with("08"), "{e}");
    assert!(start.elapsed() < Duration::from_secs(20));
    c.run("RESET citus.node_connection_timeout");
    c.run(&format!(
        "UPDATE pg_dist_node SET nodeport = {} WHERE nodeport = {port}",
        CLUSTER.workers[1].port
    ));
    assert_eq!(c.value("SELECT count(*) FROM t"), "100");
}

#[test]
fn recovery_finishes_what_a_killed_session_left() {
    let (name, mut c) = database("recovery");
    c.run(
        "CREATE TABLE s (k int PRIMARY KEY);
         SELECT create_distributed_table('s', 'k', shard_count := 4);",
    );
    // Forged leftovers under a name of this cluster: undecided, hence to be rolled back; and one
    // of somebody else, not to be touched.
    let ours = format!("{}_aa_0", forged::base(&mut c));
    let other = ours.replacen("citus_0_", "citus_7_", 1);
    let w = &CLUSTER.workers[0];
    for gid in [&ours, &other] {
        let mut w = w.connect(&name);
        let table = if *gid == ours { "a" } else { "b" };
        w.run(&format!("BEGIN; CREATE TABLE left_{table} (k int); PREPARE TRANSACTION '{gid}'"));
    }
    assert_eq!(c.value("SELECT recover_prepared_transactions()"), "1");
    assert_eq!(prepared(&name), 1);
    w.connect(&name).run(&format!("ROLLBACK PREPARED '{other}'"));
    // A decision to commit that the node did not hear of.
    w.connect(&name)
        .run(&format!("BEGIN; CREATE TABLE left_c (k int); PREPARE TRANSACTION '{ours}'"));
    let group = c.value(&format!("SELECT groupid FROM pg_dist_node WHERE nodeport = {}", w.port));
    c.run(&format!("INSERT INTO pg_dist_transaction VALUES ({group}, '{ours}', '3')"));
    assert_eq!(c.value("SELECT recover_prepared_transactions()"), "1");
    assert_eq!(w.connect(&name).value("SELECT count(*) FROM left_c"), "0");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_transaction"), "0");
    // A running transaction's is left alone.
    c.run("UPDATE t SET v = 'done'");
    assert_eq!(c.value("SELECT recover_prepared_transactions()"), "0");
}

#[test]
fn kept_statements_survive_changes_of_types() {
    let (name, mut c) = database("types");
    c.run(
        "CREATE FUNCTION f(a int) RETURNS text LANGUAGE plpgsql AS
         $$ DECLARE r text; BEGIN SELECT v INTO r FROM t WHERE k = a; RETURN r; END $$",
    );
    for _ in 0..8 {
        assert_eq!(c.value("SELECT f(1)"), "old");
    }
    for (typ, expression, want) in [("int", "7", "7"), ("varchar(10)", "v::text", "7")] {
        CLUSTER
            .connect(&name)
            .run(&format!("ALTER TABLE t ALTER COLUMN v TYPE {typ} USING {expression}"));
        for _ in 0..8 {
            assert_eq!(c.value("SELECT f(1)"), want);
        }
    }
}

#[test]
fn roles_without_login_reach_the_nodes() {
    let (name, mut c) = database("roles");
    for node in CLUSTER.nodes() {
        node.connect(&name).run(
            "SET citus.enable_create_role_propagation = off;
             CREATE ROLE r_group NOLOGIN; CREATE ROLE r_member LOGIN; GRANT r_group TO r_member",
        );
    }
    c.run("GRANT SELECT ON t TO r_group; SET SESSION AUTHORIZATION r_member; SET ROLE r_group");
    assert_eq!(c.value("SELECT current_user || count(*) FROM t"), "r_group100");
    assert_eq!(server_error(c.simple("UPDATE t SET v = 'x'")).code, "42501");
}
