//! What nodes are told, by whom, and what functions there get by it.

use citus_tests::client::Conn;
use citus_tests::server::Server;

use super::{change_on_workers, outcome, World};
use crate::{cluster, error, refused, session};

/// A function on every node that tries what the query that calls it may do.
const PEEK: &str =
    "CREATE OR REPLACE FUNCTION {o}.peek(int) RETURNS boolean LANGUAGE plpgsql AS $f$
    DECLARE got text;
    BEGIN
        BEGIN
            EXECUTE current_query();
            got := 'everything';
        EXCEPTION WHEN OTHERS THEN
            got := SQLSTATE;
        END;
        RAISE NOTICE 'peeked as %: %', current_user, got;
        RETURN true;
    END $f$";

#[test]
fn functions_on_the_nodes_run_as_the_caller() {
    let w = World::new("peek", false);
    for node in cluster().nodes() {
        let mut there = session(node, &w.role("o"), &w.db);
        there.run(&w.text("GRANT USAGE ON SCHEMA {o} TO PUBLIC", ""));
        // Here the query is the one with the view, which runs itself without an end.
        let here = "CREATE FUNCTION {o}.peek(int) RETURNS boolean LANGUAGE plpgsql
            AS 'BEGIN RETURN true; END'";
        let is_here = node.port == cluster().coordinator.port;
        there.run(&w.text(if is_here { here } else { PEEK }, ""));
    }
    let mut owner = w.session("o");
    // The table that the policy is about has an owner; others read it by his view.
    owner.run(&w.text(
        "ALTER TABLE dist.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON dist.t TO {v} USING ({o}.peek(v));
         GRANT SELECT ON dist.t TO {v}",
        "",
    ));
    change_on_workers(&w, "o", PEEK);
    let mut v = w.session("v");
    v.run(&w.text(
        "CREATE VIEW dist.some AS SELECT k, v FROM dist.t; GRANT SELECT ON dist.some TO {u}",
        "",
    ));
    let mut u = w.session("u");
    let told = |c: &mut Conn| -> Vec<String> {
        let mut all: Vec<String> = c.notices.drain(..).map(|n| n.message).collect();
        all.retain(|m| m.starts_with("peeked"));
        all.sort();
        all.dedup();
        all
    };
    assert_eq!(outcome(&mut u, "SELECT v FROM dist.some WHERE k = 1"), "SELECT 2 [1 2]");
    assert_eq!(told(&mut u), [format!("peeked as {}: 42501", w.role("u"))]);
    // A second task of the same node is still checked as the owner, after what the first one did.
    assert_eq!(outcome(&mut u, "SELECT count(*) FROM dist.some"), "SELECT 1 [5]");
    assert_eq!(told(&mut u), [format!("peeked as {}: 42501", w.role("u"))]);
    // The control: with rights of his own, what the function tries works.
    owner.run(
        &w.text("GRANT SELECT ON dist.t TO {u}; CREATE POLICY q ON dist.t TO {u} USING (true)", ""),
    );
    change_on_workers(&w, "o", PEEK);
    assert_eq!(outcome(&mut u, "SELECT v FROM dist.some WHERE k = 1"), "SELECT 2 [1 2]");
    assert_eq!(told(&mut u), [format!("peeked as {}: everything", w.role("u"))]);
}

#[test]
fn nodes_behind_a_pooler_are_told_as_well() {
    let w = World::new("views_pooled", false);
    let mut admin = w.session("admin");
    for node in &cluster().workers {
        admin.run(&format!(
            "INSERT INTO pg_dist_poolinfo SELECT nodeid, 'host=127.0.0.1 port={}'
             FROM pg_dist_node WHERE nodeport = {}",
            node.port, node.port
        ));
    }
    w.run(
        &mut w.session("o"),
        "CREATE VIEW {s}.some AS SELECT k, v FROM {s}.t; GRANT ALL ON {s}.some TO {u}",
    );
    let mut u = w.session("u");
    for sql in [
        "SELECT count(*) FROM {s}.some",
        "SELECT v FROM {s}.some WHERE k = 1",
        "UPDATE {s}.some SET v = v + 1 WHERE k = 1",
        "UPDATE {s}.some SET v = v + 1",
        "BEGIN; UPDATE {s}.some SET v = 9 WHERE k = 1; SELECT sum(v) FROM {s}.some; COMMIT",
    ] {
        let found = w.same(&mut u, sql);
        assert!(found.len() > 5, "{sql}: {found}");
    }
    let asked = "SELECT pg_catalog.citus_internal_ask_proof()";
    assert!(cluster().workers[0].log().contains(asked));
}

/// A shard of `dist.t` on a node.
fn shard(node: &Server, db: &str) -> String {
    node.connect(db).value("SELECT min(relname::text) FROM pg_class WHERE relname ~ '^t_[0-9]+$'")
}

fn tell(owner: &str, proof: &str) -> String {
    format!("SELECT citus_internal_check_as('{{dist,t,t,{owner}}}', {proof})")
}

#[test]
fn a_node_is_told_by_the_coordinator_only() {
    let w = World::new("told", false);
    w.run(
        &mut w.session("o"),
        "CREATE VIEW {s}.some AS SELECT k, v FROM {s}.t; GRANT SELECT ON {s}.some TO {u}",
    );
    let mut u = w.session("u");
    assert_eq!(outcome(&mut u, "SELECT count(*) FROM dist.some"), "SELECT 1 [5]");
    let owner = w.role("o");
    for node in &cluster().workers {
        let read = format!("SELECT count(*) >= 0 FROM dist.{} t", shard(node, &w.db));
        let mut thief = session(node, &w.role("u"), &w.db);
        for (proof, code) in [("NULL", "42501"), ("'1:00'", "28000")] {
            thief.run("BEGIN");
            refused(&mut thief, &tell(&owner, proof), code);
            thief.run("ROLLBACK");
            refused(&mut thief, &read, "42501");
        }
        // What the coordinator said, once more.
        let log = node.log();
        let calls: Vec<&str> = log
            .split("statement: ")
            .filter_map(|s| {
                s.find("SELECT pg_catalog.citus_internal_check_as(").and_then(|i| s.get(i..))
            })
            .map(|s| s.split("\n2").next().unwrap_or(s).trim_end())
            .filter(|s| s.contains(&owner) && s.ends_with("')"))
            .collect();
        assert!(!calls.is_empty(), "nothing was said to {}", node.name);
        for sql in calls {
            thief.run("BEGIN");
            refused(&mut thief, sql, "28000");
            thief.run("ROLLBACK");
        }
        what_a_node_was_told(node, &w);
    }
}

/// The control: a superuser may, and then it works, for as long as it should.
fn what_a_node_was_told(node: &Server, w: &World) {
    let (owner, user) = (w.role("o"), w.role("u"));
    let read = format!("SELECT count(*) >= 0 FROM dist.{} t", shard(node, &w.db));
    let tell = tell(&owner, "NULL");
    let mut admin = node.connect(&w.db);
    assert_eq!(error(&mut admin, &tell).code, "25P01");
    let start = format!("BEGIN; {}; SET LOCAL ROLE {}", tell, user);
    admin.run(&start);
    assert_eq!(admin.value(&read), "t");
    admin.run(&format!("EXPLAIN {read}"));
    admin.run(&format!("SAVEPOINT s; DO $$ BEGIN RAISE division_by_zero; EXCEPTION WHEN OTHERS THEN END $$; {read}"));
    // By another name, or inside of something else, it is another table.
    for other in [
        read.replace(" t", " other"),
        format!("DO $$ BEGIN PERFORM 1 FROM dist.{} t; END $$", shard(node, &w.db)),
        "SELECT * FROM dist.w t".to_owned(),
    ] {
        let e = error(&mut admin, &other);
        assert!(["42501", "42P01"].contains(&e.code.as_str()), "{other}\n{e}");
        admin.run("ROLLBACK TO s");
    }
    assert_eq!(admin.value(&read), "t");
    admin.run("SELECT citus_internal_check_as_self()");
    refused(&mut admin, &read, "42501");
    admin.run("ROLLBACK");
    for end in ["COMMIT; BEGIN", "ROLLBACK; BEGIN"] {
        admin.run(&start);
        admin.run(&format!("{end}; SET LOCAL ROLE {}", user));
        refused(&mut admin, &read, "42501");
        admin.run("ROLLBACK");
    }
    admin.run("BEGIN; SAVEPOINT s");
    admin.run(&format!("{}; ROLLBACK TO s; SET LOCAL ROLE {}", tell, user));
    refused(&mut admin, &read, "42501");
    admin.run("ROLLBACK");
    // A role that the node does not have.
    admin.run("BEGIN");
    let missing = tell.replace(&owner, "nobody_of_this_name");
    assert_eq!(error(&mut admin, &missing).code, "42704");
    admin.run("ROLLBACK");
}
