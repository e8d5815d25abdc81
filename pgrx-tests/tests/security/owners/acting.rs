//! A node's session that acts for several users: none of them gets out of his role, or into another's.

use citus_tests::client::Conn;

use super::definers::world;
use super::{change_on_workers, World};
use crate::{cluster, error, refused, session};

/// A function on every node that writes down who it runs as, and tries to become somebody else.
const TRY: &str = "CREATE OR REPLACE FUNCTION {o}.try(int) RETURNS boolean LANGUAGE plpgsql AS $f$
    DECLARE how text; got text;
    BEGIN
        FOREACH how IN ARRAY ARRAY['SET ROLE postgres', 'SET LOCAL ROLE postgres', 'RESET ROLE',
            'SET SESSION AUTHORIZATION postgres', 'RESET SESSION AUTHORIZATION',
            'SELECT set_config(''role'', ''postgres'', true)',
            'SELECT set_config(''session_authorization'', ''postgres'', false)',
            'SELECT pg_catalog.citus_internal_act_as(''postgres'', false, NULL)',
            'SELECT pg_catalog.citus_internal_act_as(''postgres'', false, ''99999:00'')',
            'COMMIT', 'ROLLBACK', 'DISCARD ALL', 'PREPARE TRANSACTION ''x'''] LOOP
            BEGIN
                EXECUTE how;
                got := 'done';
            EXCEPTION WHEN OTHERS THEN
                got := SQLSTATE;
            END;
            RAISE NOTICE 'tried as %: % %', current_user, how, got;
        END LOOP;
        RETURN true;
    END $f$";

fn told(c: &mut Conn, prefix: &str) -> Vec<String> {
    let mut all: Vec<String> = c.notices.drain(..).map(|n| n.message).collect();
    all.retain(|m| m.starts_with(prefix));
    all.sort();
    all.dedup();
    all
}

#[test]
fn nothing_that_runs_on_a_node_gets_out_of_its_role() {
    let w = world("def_out", false);
    for node in cluster().nodes() {
        let mut there = session(node, &w.role("o"), &w.db);
        there.run(&w.text("GRANT USAGE ON SCHEMA {o} TO PUBLIC", ""));
        let here = "CREATE FUNCTION {o}.try(int) RETURNS boolean LANGUAGE plpgsql
            AS 'BEGIN RETURN true; END'";
        let is_here = node.port == cluster().coordinator.port;
        there.run(&w.text(if is_here { here } else { TRY }, ""));
    }
    let mut o = w.session("o");
    o.run(&w.text(
        "ALTER TABLE dist.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON dist.t USING ({o}.try(v));
         ALTER TABLE dist.t FORCE ROW LEVEL SECURITY",
        "",
    ));
    change_on_workers(&w, "o", TRY);
    // The superuser's session acts as the function's owner.
    let mut admin = w.session("admin");
    admin.run("BEGIN");
    assert_eq!(admin.value("SELECT count(*) FROM dist.w"), "3");
    admin.notices.clear();
    assert_eq!(admin.value("SELECT dist.total()"), "15");
    let tries = told(&mut admin, "tried");
    assert_eq!(tries.len(), 13, "{tries:?}");
    for t in &tries {
        let as_owner = format!("tried as {}: ", w.role("o"));
        assert!(t.starts_with(&as_owner) && !t.ends_with("done"), "{t}");
    }
    admin.run("COMMIT");
    // The user's session acts as the superuser, and then as the user again.
    w.run(
        &mut admin,
        "CREATE FUNCTION {s}.mighty() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog AS $f$ BEGIN RETURN (SELECT count(*) FROM {s}.w); END $f$",
    );
    let mut u = w.session("u");
    u.run("BEGIN");
    assert_eq!(u.value("SELECT dist.mighty()"), "3");
    u.notices.clear();
    assert_eq!(u.value("SELECT count(*) FROM dist.t"), "5");
    let tries = told(&mut u, "tried");
    assert_eq!(tries.len(), 13, "{tries:?}");
    let harmless = ["RESET ROLE", "RESET SESSION AUTHORIZATION"];
    for t in &tries {
        assert!(t.starts_with(&format!("tried as {}: ", w.role("u"))), "{t}");
        let may = harmless.iter().any(|h| t.contains(&format!(": {h} ")));
        assert_eq!(t.ends_with("done"), may, "{t}");
    }
    refused(&mut u, "SELECT * FROM dist.w", "42501");
    u.run("ROLLBACK");
}

/// Lays out on a node what `{u}.sprung` catches.
const SET_IT: &str =
    "CREATE OR REPLACE FUNCTION {u}.set_it(int) RETURNS boolean LANGUAGE plpgsql AS $f$
            BEGIN
                PERFORM set_config('search_path', '{u}, pg_catalog', false);
                EXECUTE 'DEALLOCATE ALL';
                FOR i IN 1..60 LOOP
                    EXECUTE format('PREPARE c%s AS SELECT {u}.sprung(1, 1)', i);
                END LOOP;
                RETURN true;
            EXCEPTION WHEN duplicate_prepared_statement THEN RETURN true;
            END $f$";

/// Functions of `{u}`: one tells whom it has caught, another one lays it out on the nodes.
fn lay_traps(w: &World) {
    let trap = "CREATE FUNCTION {u}.sprung(int, int) RETURNS boolean LANGUAGE plpgsql AS
            $f$ BEGIN RAISE NOTICE 'sprung as %', current_user; RETURN $1 OPERATOR(pg_catalog.=) $2; END $f$;
        CREATE OPERATOR {u}.= (LEFTARG = int, RIGHTARG = int, FUNCTION = {u}.sprung);
        GRANT USAGE ON SCHEMA {u} TO PUBLIC";
    for node in cluster().nodes() {
        let is_here = node.port == cluster().coordinator.port;
        let mut there = session(node, &w.role("u"), &w.db);
        there.run(&w.text(trap, ""));
        let harmless = "CREATE FUNCTION {u}.set_it(int) RETURNS boolean LANGUAGE plpgsql
            AS 'BEGIN RETURN true; END'";
        there.run(&w.text(if is_here { harmless } else { SET_IT }, ""));
    }
}

/// What one user's functions leave behind on a node does not meet another user's statements.
#[test]
fn traps_on_a_node_catch_nobody() {
    let w = world("def_trap", false);
    lay_traps(&w);
    let mut o = w.session("o");
    o.run(&w.text(
        "ALTER TABLE dist.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON dist.t TO {u} USING ({u}.set_it(v)); CREATE POLICY q ON dist.t TO {o} USING (true)",
        "",
    ));
    change_on_workers(&w, "u", SET_IT);
    let mut admin = w.session("admin");
    let asks = "SELECT count(NULLIF(k, 2)) FROM dist.w WHERE k = 2 OR CASE k WHEN 3 THEN true ELSE false END";
    admin.run(&format!(
        "CREATE FUNCTION dist.mighty() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog AS $f$ BEGIN RETURN ({asks}); END $f$;
         CREATE FUNCTION dist.single(int) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = pg_catalog AS $f$ BEGIN RETURN (SELECT n FROM dist.w WHERE k = $1); END $f$"
    ));
    let mut u = w.session("u");
    u.run("SET search_path = pg_catalog");
    for round in 0..3 {
        u.run("BEGIN");
        // Statements that come again have names on the nodes.
        for k in 1..4 {
            u.run(&format!("SELECT dist.single({k})"));
        }
        u.notices.clear();
        assert_eq!(u.value("SELECT count(*) FROM dist.t"), "5");
        assert_eq!(u.value("SELECT dist.mighty()"), "1", "round {round}");
        for k in 1..4 {
            assert!(!u.value(&format!("SELECT dist.single({k})")).is_empty());
        }
        assert_eq!(told(&mut u, "sprung"), [""; 0]);
        u.run("COMMIT");
    }
    // The control: a session that nobody shares meets its own.
    for node in &cluster().workers {
        let mut there = session(node, &w.role("u"), &w.db);
        there.run(&w.text("BEGIN; SELECT {u}.set_it(1)", ""));
        there.run("SELECT NULLIF(1, 2); EXECUTE c1");
        assert!(!told(&mut there, "sprung as").is_empty());
    }
    // The superuser, whose session runs the user's function, is not caught either, then and later.
    w.session("u").run(&w.text(
        "CREATE FUNCTION {u}.lure() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
            AS $f$ BEGIN RETURN (SELECT count(*) FROM dist.t); END $f$",
        "",
    ));
    admin.run("SET search_path = pg_catalog");
    for _ in 0..3 {
        admin.run("BEGIN");
        for k in 1..4 {
            admin.run(&format!("SELECT n FROM dist.w WHERE k = {k}"));
        }
        assert_eq!(admin.value(&w.text("SELECT {u}.lure()", "")), "5");
        assert_eq!(admin.value(asks), "1");
        admin.run("COMMIT");
        assert_eq!(admin.value(asks), "1");
        for k in 1..4 {
            admin.run(&format!("SELECT n FROM dist.w WHERE k = {k}"));
        }
        assert_eq!(told(&mut admin, "sprung"), [""; 0]);
    }
}

/// What is said while statements run one after the other.
fn all_told(c: &mut Conn, sql: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in sql.split("||") {
        c.run(part);
        all.extend(told(c, "la"));
    }
    all.dedup();
    all
}

/// What runs for the owner of a materialized view leaves nothing behind that another user runs.
#[test]
fn refreshing_lays_no_traps() {
    let w = world("def_fresh", false);
    let trap = "CREATE OR REPLACE FUNCTION {v}.late() RETURNS int LANGUAGE plpgsql AS
            $f$ BEGIN RAISE NOTICE 'late as %', current_user; RETURN 1; END $f$;
        CREATE OR REPLACE FUNCTION {v}.lay(int) RETURNS boolean LANGUAGE plpgsql AS $f$
            DECLARE got text := 'done';
            BEGIN
                BEGIN
                    EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT {v}.late()';
                EXCEPTION WHEN duplicate_cursor THEN NULL; WHEN OTHERS THEN got := SQLSTATE;
                END;
                RAISE NOTICE 'laid as %: %', current_user, got;
                RETURN true;
            END $f$";
    for node in cluster().nodes() {
        let mut there = session(node, &w.role("v"), &w.db);
        there.run(&w.text(trap, ""));
        there.run(&w.text("GRANT USAGE ON SCHEMA {v} TO PUBLIC", ""));
        if node.port == cluster().coordinator.port {
            there.run(&w.text(
                "CREATE OR REPLACE FUNCTION {v}.lay(int) RETURNS boolean LANGUAGE plpgsql
                 AS 'BEGIN RETURN true; END'",
                "",
            ));
        }
    }
    w.session("o").run(&w.text(
        "ALTER TABLE dist.t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON dist.t TO {v} USING ({v}.lay(v))",
        "",
    ));
    change_on_workers(&w, "v", trap);
    let mut v = w.session("v");
    v.run("CREATE MATERIALIZED VIEW dist.fresh AS SELECT count(*) AS n FROM dist.t WITH NO DATA");
    let mut admin = w.session("admin");
    let owner = w.role("v");
    for sql in [
        "REFRESH MATERIALIZED VIEW dist.fresh",
        "BEGIN||REFRESH MATERIALIZED VIEW dist.fresh||COMMIT",
        "BEGIN||SELECT count(*) FROM dist.w||REFRESH MATERIALIZED VIEW dist.fresh||COMMIT",
    ] {
        let heard = all_told(&mut admin, sql);
        assert_eq!(heard, [format!("laid as {owner}: 42501")], "{sql}");
        assert_eq!(admin.value("SELECT n FROM dist.fresh"), "5");
    }
    // The control: elsewhere it can be laid, and runs as its own user.
    assert_eq!(
        all_told(&mut v, "BEGIN||SELECT count(*) FROM dist.t||COMMIT"),
        [format!("laid as {owner}: done")]
    );
}

/// The calls that stand in a node's log are of no use to anybody.
#[test]
fn a_node_is_told_by_the_coordinator_only() {
    let w = world("def_told", false);
    let mut u = w.session("u");
    u.run("BEGIN; SELECT count(*) FROM dist.t; SELECT dist.secret(); SELECT count(*) FROM dist.t; COMMIT");
    let owner = w.role("o");
    for node in &cluster().workers {
        let name = "SELECT pg_catalog.citus_internal_act_as(";
        let log = node.log();
        let calls: Vec<&str> = log
            .split("statement: ")
            .filter_map(|s| s.find(name).and_then(|i| s.get(i..)))
            .map(|s| s.split("\n2").next().unwrap_or(s).trim_end())
            .filter(|s| s.contains(&owner) && s.ends_with("')"))
            .collect();
        assert!(!calls.is_empty(), "nothing was said to {}", node.name);
        let mut thief = session(node, &w.role("u"), &w.db);
        let mut tries: Vec<(String, &str)> =
            calls.iter().map(|c| ((*c).to_owned(), "28000")).collect();
        tries.push((format!("{name}'{owner}', false, NULL)"), "42501"));
        tries.push((format!("{name}'{owner}', false, '1:00')"), "28000"));
        for (sql, code) in tries {
            thief.run("BEGIN");
            refused(&mut thief, &sql, code);
            thief.run("ROLLBACK");
            refused(&mut thief, &sql, code);
            assert_eq!(thief.value("SELECT current_user"), w.role("u"));
        }
        what_a_superuser_can(&mut node.connect(&w.db), &owner, name);
    }
}

/// The control: a superuser may call it, and then it works, for as long as it should.
fn what_a_superuser_can(admin: &mut Conn, owner: &str, name: &str) {
    let call = format!("{name}'{owner}', false, NULL)");
    let who = |c: &mut Conn| c.value("SELECT current_user || ' ' || session_user");
    let acting = format!("{owner} postgres");
    assert_eq!(error(admin, &call).code, "25P01");
    for other in [
        format!("DO $$ BEGIN PERFORM pg_catalog.citus_internal_act_as('{owner}', false, NULL); END $$"),
        format!("{call} WHERE true"),
        format!("SELECT ({})", call),
        format!("DO $$ DECLARE x text; BEGIN x := pg_catalog.citus_internal_act_as('{owner}', false, NULL); END $$"),
    ] {
        admin.run("BEGIN");
        assert_eq!(error(admin, &other).code, "55000", "{other}");
        admin.run("ROLLBACK");
    }
    admin.run(&format!("BEGIN; {call}"));
    assert_eq!(who(admin), acting);
    for sql in [
        "SET ROLE postgres",
        "RESET ROLE",
        "RESET SESSION AUTHORIZATION",
        "SET LOCAL ROLE pg_monitor",
    ] {
        admin.run("SAVEPOINT s");
        refused(admin, sql, "42501");
        admin.run("ROLLBACK TO s");
    }
    admin.run("RESET ALL");
    assert_eq!(who(admin), acting);
    admin.run("RELEASE s");
    refused(admin, &call, "42501");
    admin.run("ROLLBACK");
    for end in ["COMMIT", "ROLLBACK", "PREPARE TRANSACTION 'def_told'; COMMIT PREPARED 'def_told'"]
    {
        admin.run(&format!("BEGIN; SAVEPOINT s; {call}"));
        assert_eq!(who(admin), acting);
        end.split("; ").for_each(|sql| admin.run(sql));
        assert_eq!(who(admin), "postgres postgres", "{end}");
    }
    admin.run(&format!("BEGIN; SAVEPOINT s; {call}"));
    admin.run("ROLLBACK TO s");
    assert_eq!(who(admin), "postgres postgres");
    admin.run(&format!("SAVEPOINT t; {call}"));
    admin.run("SAVEPOINT u");
    assert_eq!(error(admin, "SELECT 1 / 0").code, "22012");
    admin.run("ROLLBACK TO u");
    assert_eq!(who(admin), acting);
    admin.run("ROLLBACK TO t");
    assert_eq!(who(admin), "postgres postgres");
    // Settings are those with which the session began.
    admin.run("SET search_path = nowhere; SET work_mem = '1MB'; SET def.nothing = 'x'");
    admin.run(&call);
    assert_eq!(admin.value("SHOW search_path"), "\"$user\", public");
    assert_ne!(admin.value("SHOW work_mem"), "1MB");
    admin.run("COMMIT");
    assert_eq!(admin.value("SHOW search_path"), "nowhere");
}
