//! Functions that run as their owner, and changes of the role within a transaction: one transaction,
//! whoever acts in it, and nobody keeps more rights than he has.

use super::{World, SIDES};
use crate::{cluster, error, user};

/// A world whose `{u}` may use `t` and not `w`, and in each schema functions of `{o}`, `{v}` and the
/// superuser that run as their owners.
pub(super) fn world(stem: &'static str, here: bool) -> World {
    let w = World::new(stem, here);
    let function = |name: &str, result: &str, body: &str| {
        format!(
            "CREATE FUNCTION {{s}}.{name} RETURNS {result} LANGUAGE plpgsql SECURITY DEFINER
                SET search_path = pg_catalog AS $f$ {body} $f$;"
        )
    };
    let all = [
        function("total()", "bigint", "BEGIN RETURN (SELECT sum(v) FROM {s}.t); END"),
        function("add(k int, v int)", "void", "BEGIN INSERT INTO {s}.t VALUES ($1, 'f', $2); END"),
        function("raise(n int)", "void", "BEGIN UPDATE {s}.t SET v = v + $1; END"),
        function(
            "one(key int)",
            "bigint",
            "BEGIN RETURN (SELECT sum(v) FROM {s}.t WHERE k = $1); END",
        ),
        function(
            "careful(n int)",
            "text",
            "BEGIN
                BEGIN
                    UPDATE {s}.w SET n = 'careful' WHERE k = 1;
                    PERFORM 1 / $1;
                EXCEPTION WHEN division_by_zero THEN
                    RETURN 'caught ' || (SELECT n FROM {s}.w WHERE k = 1);
                END;
                RETURN 'done ' || (SELECT n FROM {s}.w WHERE k = 1);
            END",
        ),
        function(
            "secret()",
            "text",
            "BEGIN RETURN (SELECT string_agg(n, ' ' ORDER BY k) FROM {s}.w); END",
        ),
        function(
            "spread(text)",
            "void",
            "BEGIN INSERT INTO {s}.w SELECT k + 100, $1 FROM {s}.t ON CONFLICT DO NOTHING; END",
        ),
        function(
            "opened()",
            "refcursor",
            "DECLARE c refcursor := 'left_open';
            BEGIN OPEN c FOR SELECT k, n FROM {s}.w ORDER BY k; RETURN c; END",
        ),
        function(
            "slow()",
            "refcursor",
            "DECLARE c refcursor := 'left_open';
            BEGIN OPEN c FOR SELECT g, (SELECT count(*) FROM {s}.w WHERE n <> g::text)
                FROM generate_series(1, 3) g; RETURN c; END",
        ),
    ];
    w.run(&mut w.session("o"), &all.join(""));
    w.run(&mut w.session("o"), "GRANT ALL ON {s}.t TO {u}; GRANT SELECT ON {s}.t TO {v}");
    w
}

#[test]
fn all_users_of_a_transaction_see_what_it_did() {
    for (stem, here) in [("def_see", false), ("def_here", true)] {
        let w = world(stem, here);
        let mut u = w.session("u");
        for sql in [
            "BEGIN||INSERT INTO {s}.t VALUES (1, 'x', 100), (7, 'x', 1000)||SELECT {s}.total()||\
             SELECT {s}.add(8, 5)||SELECT count(*), sum(v) FROM {s}.t||SELECT {s}.one(7)||\
             UPDATE {s}.t SET v = v + 1||SELECT {s}.total()||DELETE FROM {s}.t WHERE v > 100||\
             SELECT {s}.total()",
            // Each waits for nobody: both change the same rows.
            "BEGIN||UPDATE {s}.t SET v = 10 WHERE k = 1||SELECT {s}.raise(1)||\
             UPDATE {s}.t SET v = v + 5||SELECT k, v FROM {s}.t||SELECT {s}.raise(1)||\
             SELECT sum(v) FROM {s}.t",
            // The function comes first, and in a single statement.
            "BEGIN||SELECT {s}.add(2, 50)||SELECT sum(v) FROM {s}.t||SELECT {s}.total()",
            "SELECT {s}.add(9, 9), {s}.one(9), {s}.total()",
            "SELECT k, v, {s}.one(k) FROM {s}.t WHERE v < 100",
            "SELECT {s}.add(k, v) FROM {s}.t WHERE k = 2",
            // Rows are on their way to the nodes while the functions use the same sessions.
            "BEGIN||INSERT INTO {s}.t SELECT i, repeat('y', 400), CASE WHEN i % 40 = 0 THEN
                {s}.one(1) + length({s}.secret()) ELSE i END FROM generate_series(100, 3000) i||\
             SELECT count(*), sum(v) FROM {s}.t||SELECT {s}.total()||SELECT count(*) FROM {s}.w",
            "SELECT count(*), sum(v) FROM {s}.t",
            // Savepoints on both sides of a change of the user.
            "BEGIN||SAVEPOINT a||INSERT INTO {s}.t VALUES (3, 'x', 7)||SELECT {s}.add(3, 8)||\
             SAVEPOINT b||SELECT {s}.raise(10)||ROLLBACK TO b||SELECT {s}.total()||\
             SELECT sum(v) FROM {s}.t||ROLLBACK TO a||SELECT {s}.total()||SELECT sum(v) FROM {s}.t",
            "BEGIN||SELECT {s}.careful(1)||SELECT {s}.careful(0)||SELECT {s}.secret()||\
             SELECT count(*) FROM {s}.t",
            "BEGIN||SAVEPOINT a||SELECT {s}.careful(0)||SELECT * FROM {s}.w||ROLLBACK TO a||\
             SELECT {s}.secret()||SELECT sum(v) FROM {s}.t",
            "BEGIN||SELECT {s}.spread('x')||SELECT {s}.secret()||SELECT n FROM {s}.w",
            "BEGIN ISOLATION LEVEL REPEATABLE READ||SELECT {s}.total()||INSERT INTO {s}.t VALUES (5, 'x', 3)\
             ||SELECT {s}.total()||SELECT {s}.raise(1)||SELECT sum(v) FROM {s}.t",
            "BEGIN ISOLATION LEVEL SERIALIZABLE||SELECT sum(v) FROM {s}.t||SELECT {s}.raise(1)||\
             SELECT {s}.total()||UPDATE {s}.t SET v = 0||SELECT {s}.total()",
            "SET citus.consistent_reads = on||BEGIN||INSERT INTO {s}.t VALUES (5, 'x', 3)||\
             SELECT {s}.total()||SELECT sum(v) FROM {s}.t||SELECT {s}.add(6, 1)||SELECT sum(v) FROM {s}.t",
        ] {
            let found = w.same(&mut u, sql);
            assert!(found.len() > 10, "{sql}: {found}");
        }
        // What was committed, by several users together.
        for s in SIDES {
            for sql in [
                "BEGIN; INSERT INTO {s}.t VALUES (20, 'x', 1), (21, 'x', 1); SELECT {s}.add(22, 1);
                 SELECT {s}.spread('more'); UPDATE {s}.t SET v = v + 1; COMMIT",
                "BEGIN; SELECT {s}.raise(3); COMMIT",
                "SELECT {s}.raise(4)",
            ] {
                u.run(&w.text(sql, s));
            }
        }
        w.same_content(&mut w.session("admin"));
        w.same(&mut u, "SELECT {s}.total(), {s}.secret()");
    }
}

/// The node has one session for each transaction, as whoever the client is.
#[test]
fn a_transaction_has_one_session_on_a_node() {
    let w = world("def_one", false);
    let mut u = w.session("u");
    u.run("BEGIN; SELECT sum(v) FROM dist.t; SELECT dist.raise(1); SELECT dist.secret()");
    for node in &cluster().workers {
        let seen = node.connect(&w.db).rows(
            "SELECT usename FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'idle in transaction'",
        );
        assert_eq!(seen, [[Some(w.role("u"))]], "{}", node.name);
    }
    u.run("COMMIT");
}

#[test]
fn rights_end_with_the_function() {
    let w = world("def_end", false);
    // What the superuser may, functions of his may.
    let superuser = "CREATE FUNCTION {s}.mighty() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog AS $f$ BEGIN RETURN (SELECT count(*) FROM {s}.w); END $f$;
         CREATE FUNCTION {s}.failing() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog AS
            $f$ BEGIN UPDATE {s}.w SET n = 'x'; RETURN (SELECT 1 / (count(*) - count(*)) FROM {s}.w); END $f$";
    w.run(&mut w.session("admin"), superuser);
    let mut u = w.session("u");
    w.answers(&mut u, "SELECT * FROM {s}.w", "42501");
    for sql in [
        "BEGIN||SELECT {s}.mighty()||SELECT * FROM {s}.w",
        "BEGIN||SELECT {s}.mighty()||UPDATE {s}.w SET n = 'mine'",
        "BEGIN||SELECT {s}.mighty()||SELECT count(*) FROM {s}.t||SELECT * FROM {s}.w WHERE k = 1",
        "BEGIN||SAVEPOINT a||SELECT {s}.failing()||ROLLBACK TO a||SELECT * FROM {s}.w",
        "BEGIN||SELECT sum(v) FROM {s}.t||SAVEPOINT a||SELECT {s}.failing()||ROLLBACK TO a||\
         SELECT sum(v) FROM {s}.t||DELETE FROM {s}.w",
        "BEGIN||SELECT {s}.mighty()||SAVEPOINT a||SELECT * FROM {s}.w||ROLLBACK TO a||\
         SELECT {s}.mighty()||SELECT * FROM {s}.w WHERE k = 2",
        "BEGIN||SELECT {s}.mighty()||COPY {s}.w TO STDOUT",
        "BEGIN||SELECT {s}.mighty()||TRUNCATE {s}.w",
        "BEGIN||SELECT {s}.mighty()||DROP TABLE {s}.w",
        "BEGIN||SELECT {s}.mighty()||ALTER TABLE {s}.t ADD x int",
        "SELECT {s}.mighty(), (SELECT count(*) FROM {s}.w)",
        "DO $$ BEGIN PERFORM {s}.failing(); EXCEPTION WHEN division_by_zero THEN
            PERFORM count(*) FROM {s}.w; END $$",
        "DO $$ BEGIN PERFORM {s}.mighty(); COMMIT; PERFORM count(*) FROM {s}.w; END $$",
    ] {
        let found = w.same(&mut u, sql);
        assert!(found.ends_with("42501"), "{sql}: {found}");
    }
    w.answers(&mut u, "SELECT {s}.mighty()", "SELECT 1 [3]");
    // Sessions that were used by both go on as one user's.
    for _ in 0..3 {
        u.run("BEGIN; SELECT dist.mighty(); COMMIT");
        w.answers(&mut u, "SELECT n FROM {s}.w WHERE k = 1", "42501");
        w.same(&mut u, "SELECT count(*), sum(v) FROM {s}.t");
    }
    // The other way: the superuser calls functions of others.
    let mut admin = w.session("admin");
    w.answers(
        &mut admin,
        "BEGIN||SELECT {s}.total()||SELECT count(*) FROM {s}.w",
        "BEGIN [] || SELECT 1 [15] || SELECT 1 [3]",
    );
    w.run(
        &mut w.session("v"),
        "CREATE FUNCTION {s}.greedy() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS
            $f$ BEGIN RETURN (SELECT count(*) FROM {s}.w); END $f$",
    );
    for sql in ["SELECT {s}.greedy()", "BEGIN||SELECT count(*) FROM {s}.w||SELECT {s}.greedy()"] {
        let found = w.same(&mut admin, sql);
        assert!(found.ends_with("42501"), "{sql}: {found}");
    }
}

/// The rights on a cursor's tables are those of whoever opened it, its functions run as who fetches.
#[test]
fn cursors_that_are_left_open() {
    let w = world("def_cursor", false);
    let mut u = w.session("u");
    for sql in [
        "BEGIN||SELECT {s}.opened()||FETCH 2 FROM left_open||SELECT * FROM {s}.w",
        "BEGIN||SELECT {s}.opened()||SELECT count(*) FROM {s}.t||FETCH ALL FROM left_open||\
         SELECT {s}.secret()||SELECT k FROM {s}.w",
        // Each row sends tasks of its own.
        "BEGIN||SELECT {s}.slow()||FETCH 1 FROM left_open||SELECT count(*) FROM {s}.t||\
         FETCH ALL FROM left_open||SELECT k FROM {s}.w",
        "BEGIN||DECLARE mine CURSOR FOR SELECT v FROM {s}.t ORDER BY v||SELECT {s}.raise(5)||\
         FETCH ALL FROM mine||SELECT {s}.total()",
        "BEGIN||DECLARE mine CURSOR FOR SELECT v FROM {s}.t ORDER BY v||FETCH 2 FROM mine||\
         SELECT {s}.secret()||FETCH ALL FROM mine||SELECT * FROM {s}.w",
    ] {
        let found = w.same(&mut u, sql);
        assert!(!found.contains("[] || 42501") && found.len() > 20, "{sql}: {found}");
    }
}

#[test]
fn changes_of_the_role_stay_in_the_transaction() {
    let w = world("def_role", false);
    let mut admin = w.session("admin");
    for change in ["SET LOCAL ROLE", "SET ROLE", "SET SESSION AUTHORIZATION"] {
        let reset =
            if change.contains("ROLE") { "RESET ROLE" } else { "RESET SESSION AUTHORIZATION" };
        for sql in [
            "BEGIN||INSERT INTO {s}.t VALUES (1, 'x', 100)||CHANGE {u}||SELECT sum(v) FROM {s}.t||\
             UPDATE {s}.t SET v = v + 1||RESET||SELECT sum(v) FROM {s}.t||UPDATE {s}.t SET v = 0 WHERE k = 1\
             ||CHANGE {v}||SELECT v FROM {s}.t||SELECT count(*) FROM {s}.w",
            "BEGIN||SAVEPOINT a||CHANGE {u}||INSERT INTO {s}.t VALUES (1, 'x', 100)||ROLLBACK TO a||\
             SELECT count(*) FROM {s}.w||CHANGE {u}||SELECT {s}.total()||SELECT count(*) FROM {s}.w",
            "BEGIN||CHANGE {u}||SELECT count(*) FROM {s}.t||SAVEPOINT a||RESET||SELECT count(*) FROM {s}.w||\
             ROLLBACK TO a||SELECT count(*) FROM {s}.w",
            "BEGIN||CHANGE {u}||COPY {s}.t FROM STDIN||ROLLBACK",
        ] {
            let sql = sql.replace("CHANGE", change).replace("RESET", reset);
            let found = w.same(&mut admin, &sql);
            assert!(found.len() > 10, "{sql}: {found}");
            admin.run("RESET ROLE; RESET SESSION AUTHORIZATION");
        }
        for s in SIDES {
            admin.run(&w.text(
                &format!(
                    "BEGIN; INSERT INTO {{s}}.t VALUES (30, 'a', 1), (31, 'a', 1); {change} {{u}};
                     INSERT INTO {{s}}.t VALUES (32, 'a', 1), (33, 'a', 1); UPDATE {{s}}.t SET v = v + 1; COMMIT;
                     RESET ROLE; RESET SESSION AUTHORIZATION"
                ),
                s,
            ));
        }
    }
    w.same_content(&mut admin);
}

#[test]
fn names_of_roles_are_data() {
    let w = world("def_names", false);
    let mut admin = w.session("admin");
    for (i, name) in
        ["def'; DROP TABLE x; --", "def \"q\" \\ \n\u{e9}", "def$$\\'"].iter().enumerate()
    {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        for node in cluster().nodes() {
            let alone = "SET citus.enable_create_role_propagation = off";
            node.connect(&w.db).run(&format!("{alone}; CREATE ROLE {quoted}"));
        }
        w.run(
            &mut admin,
            &format!(
                "GRANT USAGE ON SCHEMA {{s}} TO {quoted}; GRANT ALL ON {{s}}.w TO {quoted};
                 CREATE FUNCTION {{s}}.named{i}() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
                    AS $f$ BEGIN UPDATE {{s}}.w SET n = 'named'; RETURN (SELECT count(*) FROM {{s}}.w); END $f$;
                 GRANT CREATE ON SCHEMA {{s}} TO {quoted};
                 ALTER FUNCTION {{s}}.named{i}() OWNER TO {quoted}"
            ),
        );
        let sql = format!(
            "BEGIN||SELECT count(*) FROM {{s}}.t||SELECT {{s}}.named{i}()||SELECT * FROM {{s}}.w"
        );
        let found = w.same(&mut w.session("u"), &sql);
        assert!(found.ends_with("SELECT 1 [3] || 42501"), "{found}");
    }
}

/// Triggers that wait for the commit run as whoever commits.
#[test]
fn what_waits_for_the_commit() {
    let w = world("def_defer", false);
    let mut o = w.session("o");
    w.run(
        &mut o,
        "CREATE TABLE {s}.p (k int PRIMARY KEY, v int); CREATE TABLE {s}.c (k int PRIMARY KEY, v int)",
    );
    o.run("SELECT create_distributed_table('dist.p', 'k'); SELECT create_distributed_table('dist.c', 'k', colocate_with := 'dist.p')");
    w.run(
        &mut o,
        "ALTER TABLE {s}.c ADD FOREIGN KEY (k) REFERENCES {s}.p DEFERRABLE INITIALLY DEFERRED;
         GRANT ALL ON {s}.c, {s}.p TO {u};
         CREATE FUNCTION {s}.child(int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
            $f$ BEGIN INSERT INTO {s}.c VALUES ($1, 1); END $f$",
    );
    let mut u = w.session("u");
    for sql in [
        "BEGIN||SELECT {s}.child(1)||INSERT INTO {s}.p VALUES (1, 1)||COMMIT",
        "BEGIN||SELECT {s}.child(2)||COMMIT",
        "BEGIN||SELECT {s}.child(3)||INSERT INTO {s}.p VALUES (3, 1), (4, 1)||SET CONSTRAINTS ALL IMMEDIATE||COMMIT",
        "BEGIN||SELECT {s}.child(5)||SET CONSTRAINTS ALL IMMEDIATE",
        "SELECT {s}.child(6)",
        "SELECT k FROM {s}.c",
    ] {
        w.same(&mut u, sql);
    }
}

#[test]
fn a_role_that_a_node_does_not_have() {
    let w = world("def_missing", false);
    let mut admin = w.session("admin");
    user("def_only_here", &w.db);
    admin.run(
        "CREATE FUNCTION dist.away() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
            AS $f$ BEGIN RETURN (SELECT count(*) FROM dist.t); END $f$",
    );
    admin.run("ALTER FUNCTION dist.away() OWNER TO def_only_here");
    admin.run(
        "GRANT USAGE ON SCHEMA dist TO def_only_here; GRANT SELECT ON dist.t TO def_only_here",
    );
    for node in &cluster().workers {
        node.connect(&w.db).run("DROP OWNED BY def_only_here; DROP ROLE def_only_here");
    }
    let mut u = w.session("u");
    u.run("BEGIN; SAVEPOINT s");
    let e = error(&mut u, "SELECT dist.away()");
    assert_eq!(
        (e.code.as_str(), e.message.as_str()),
        ("42704", "role \"def_only_here\" does not exist on this node")
    );
    assert!(e.hint.as_deref().unwrap_or("").contains("Create the role on the node"), "{e}");
    assert!(
        e.context.as_deref().unwrap_or("").contains("while executing command on 127.0.0.1:"),
        "{e}"
    );
    // It is the function's failure alone.
    u.run("ROLLBACK TO s");
    assert_eq!(u.value("SELECT count(*) FROM dist.t"), "5");
    u.run("COMMIT");
}

#[test]
fn nodes_behind_a_pooler_act_as_others_too() {
    let w = world("def_pooled", false);
    let mut admin = w.session("admin");
    for node in &cluster().workers {
        admin.run(&format!(
            "INSERT INTO pg_dist_poolinfo SELECT nodeid, 'host=127.0.0.1 port={}'
             FROM pg_dist_node WHERE nodeport = {}",
            node.port, node.port
        ));
    }
    let mut u = w.session("u");
    for sql in [
        "BEGIN||INSERT INTO {s}.t VALUES (1, 'x', 100)||SELECT {s}.total()||SELECT sum(v) FROM {s}.t",
        "BEGIN||SELECT {s}.secret()||SELECT sum(v) FROM {s}.t||SELECT * FROM {s}.w",
        "SELECT k, {s}.one(k) FROM {s}.t",
        "BEGIN ISOLATION LEVEL REPEATABLE READ||SELECT {s}.secret()||SELECT {s}.raise(1)||SELECT {s}.total()",
    ] {
        let found = w.same(&mut u, sql);
        assert!(found.len() > 10, "{sql}: {found}");
    }
    for s in SIDES {
        u.run(&w.text(
            "BEGIN; SELECT {s}.raise(1); UPDATE {s}.t SET v = v + 1; SELECT {s}.total(); COMMIT",
            s,
        ));
    }
    w.same_content(&mut admin);
}
