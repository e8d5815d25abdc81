//! The proof by which a node knows that a call comes from the coordinator. What a right one is is
//! written here a second time, so that the two programs check each other.

use std::fmt::Write;
use std::process::Command;

use citus_tests::client::Conn;
use citus_tests::server::{pg_config_value, Server};
use hmac::{Hmac, KeyInit, Mac};

use crate::{cluster, refused, session, user};

const ENSURE: &str = "citus_internal_ensure_objects";

/// The secret that a node shares with the coordinator.
fn secret(node: &Server, database: &str) -> String {
    node.connect(database).value("SELECT secret FROM citus_internal.node_secrets")
}

fn put(all: &mut Vec<u8>, list: &[&str]) {
    all.extend((list.len() as u64).to_be_bytes());
    for text in list {
        all.extend((text.len() as u64).to_be_bytes());
        all.extend(text.as_bytes());
    }
}

/// The proof for a call of [`ENSURE`].
fn proof(secret: &str, who: [&str; 4], number: u64, commands: &[&str]) -> String {
    let [connection, login, database, role] = who;
    let mut all = Vec::new();
    put(&mut all, &["citus proof 1", connection, login, database, role, ENSURE]);
    all.extend(number.to_be_bytes());
    put(&mut all, commands);
    let mut hash = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    hash.update(&all);
    hash.finalize().into_bytes().iter().fold(format!("{number}:"), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

fn call(command: &str, proof: &str) -> String {
    format!("SELECT {ENSURE}(ARRAY['{command}'], '{proof}')")
}

fn direct(c: &Conn) -> String {
    format!("backend {} {}", c.key().0, c.key().1)
}

/// How often the log says that something of this session was no request of the coordinator.
fn refusals(node: &Server, c: &Conn) -> usize {
    let (log, own) = (node.log(), format!("[{}]", c.pid));
    let refusal = |l: &&str| l.contains(&own) && l.contains("did not come from the coordinator");
    log.lines().filter(refusal).count()
}

#[test]
fn a_proof_is_good_for_one_call() {
    let cl = cluster();
    let db = &cl.database("proof");
    user("proof_a", db);
    user("proof_b", db);
    let worker = &cl.workers[0];
    worker.connect(db).run("GRANT proof_b TO proof_a");
    let key = &secret(worker, db);
    assert_eq!(key.len(), 64);
    let mut c = session(worker, "proof_a", db);
    let me = direct(&c);
    let who = [me.as_str(), "proof_a", db, "proof_a"];
    let (create, drop) = ("CREATE TABLE proof_a.t ()", "DROP TABLE proof_a.t");
    let there = |c: &mut Conn| c.value("SELECT to_regclass('proof_a.t') IS NOT NULL") == "t";

    // Whoever knows the secret can: else nothing below would mean anything.
    let right = call(create, &proof(key, who, 5, &[create]));
    c.run(&right);
    assert!(there(&mut c));
    c.run(&call(drop, &proof(key, who, 6, &[drop])));
    assert!(!there(&mut c));

    // The same once more, and with an older number.
    refused(&mut c, &right, "28000");
    refused(&mut c, &call(create, &proof(key, who, 6, &[create])), "28000");
    // Other arguments, another function's arguments, another secret, none.
    refused(&mut c, &call(create, &proof(key, who, 7, &[drop])), "28000");
    refused(&mut c, &call(create, &proof(key, who, 7, &[create, ""])), "28000");
    refused(&mut c, &call(create, &proof(&"0".repeat(64), who, 7, &[create])), "28000");
    refused(&mut c, &call(create, &proof("", who, 7, &[create])), "28000");
    for wrong in ["", "7", ":", "7:", "7:00", "x:00", "-1:00", "7:é", "99999999999999999999:00"] {
        refused(&mut c, &call(create, wrong), "28000");
    }
    refused(&mut c, &format!("SELECT {ENSURE}(ARRAY['{create}'], NULL)"), "42501");
    // Another user's, another database's, another login's, another backend's.
    for other in [
        [me.as_str(), "proof_a", db, "proof_b"],
        [me.as_str(), "proof_b", db, "proof_a"],
        [me.as_str(), "proof_a", "postgres", "proof_a"],
        ["backend 1 1", "proof_a", db, "proof_a"],
        ["asked x", "proof_a", db, "proof_a"],
    ] {
        refused(&mut c, &call(create, &proof(key, other, 8, &[create])), "28000");
    }
    let seven = call(create, &proof(key, who, 7, &[create]));
    let mut elsewhere = session(worker, "proof_a", db);
    refused(&mut elsewhere, &seven, "28000");
    refused(&mut session(&cl.coordinator, "proof_a", db), &seven, "28000");
    refused(&mut session(&cl.workers[1], "proof_a", db), &seven, "28000");
    // The role is that of the call.
    c.run("SET ROLE proof_b");
    refused(&mut c, &seven, "28000");
    // What a pooler does between its clients changes nothing.
    c.run("RESET ROLE");
    c.run("RESET ALL");
    c.run("DISCARD ALL");
    assert!(!there(&mut c));
    c.run(&seven);
    assert!(there(&mut c));
    // What was tried stands in the log, also where the caller caught the error.
    let before = refusals(worker, &c);
    c.run(&format!(
        "DO $do$ BEGIN PERFORM {ENSURE}('{{}}', '9:00'); EXCEPTION WHEN others THEN END $do$"
    ));
    assert_eq!(refusals(worker, &c), before + 1);
}

#[test]
fn what_is_read_in_logs_is_of_no_use() {
    let cl = cluster();
    let db = &cl.database("overheard");
    user("overheard", db);
    let mut c = session(&cl.coordinator, "overheard", db);
    c.run("CREATE TABLE overheard.t (k int); SELECT create_distributed_table('overheard.t', 'k')");
    c.run("ALTER TABLE overheard.t ADD COLUMN heard int");
    for worker in &cl.workers {
        let log = worker.log();
        let calls: Vec<&str> = log
            .split("statement: ")
            // In one message with BEGIN.
            .filter_map(|s| {
                s.find("SELECT pg_catalog.citus_internal_apply_shard_ddl").map(|at| &s[at..])
            })
            .map(|s| s.split("\n2").next().unwrap_or(s))
            .filter(|s| s.contains("heard int") && s.contains("overheard"))
            .collect();
        assert!(!calls.is_empty(), "no call in the log of {}", worker.name);
        let mut thief = session(worker, "overheard", db);
        for sql in calls {
            assert!(sql.trim_end().ends_with("')") && !sql.contains("NULL)"), "{sql}");
            refused(&mut thief, sql, "28000");
        }
    }
    // The session that made it is still there, and goes on.
    c.run("ALTER TABLE overheard.t DROP COLUMN heard");
}

#[test]
fn secrets_are_for_superusers() {
    let cl = cluster();
    let db = &cl.database("secrets");
    user("secrets_all", db);
    for node in cl.workers_first() {
        node.connect(db).run(
            "GRANT pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend,
                pg_read_all_settings, pg_read_all_stats TO secrets_all",
        );
    }
    let mut c = cl.connect(db);
    c.run("CREATE TABLE t (k int); SELECT create_distributed_table('t', 'k')");
    c.run("ALTER TABLE t ADD COLUMN a int");
    c.run("INSERT INTO pg_dist_authinfo VALUES (0, 'nobody', 'password=visible')");
    let secrets: Vec<String> = c
        .rows("SELECT secret FROM citus_internal.node_secrets ORDER BY groupid")
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert_eq!(secrets.len(), 2);
    assert_ne!(secrets[0], secrets[1], "each node has its own");
    for (secret_there, worker) in secrets.iter().zip(&cl.workers) {
        assert_eq!(*secret_there, secret(worker, db));
    }
    for node in cl.nodes() {
        node.connect(db).run("ANALYZE citus_internal.node_secrets");
        let mut c = session(node, "secrets_all", db);
        let seen = |c: &mut Conn, table: &str| c.value(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(seen(&mut c, "citus_internal.node_secrets"), "0");
        assert_eq!(seen(&mut c, "pg_dist_authinfo"), "0");
        refused(&mut c, "INSERT INTO citus_internal.node_secrets VALUES (9, 'mine')", "42501");
        refused(&mut c, "INSERT INTO pg_dist_authinfo VALUES (0, 'x', 'password=x')", "42501");
        c.run("UPDATE citus_internal.node_secrets SET secret = 'mine'");
        // The control: such a role does read what others own.
        assert_ne!(seen(&mut c, "pg_catalog.pg_authid"), "0");
        refused(&mut c, "SELECT citus_internal.make_secret(1)", "42501");
        let views = c.value("SELECT string_agg(s::text, '') FROM pg_stats s; ")
            + &c.value("SELECT string_agg(s::text, '') FROM pg_stat_activity s");
        assert!(views.contains("citus_internal") || views.contains("pg_catalog"));
        let log = node.log();
        assert!(log.contains("statement: "), "{} logs statements", node.name);
        for s in &secrets {
            assert!(!views.contains(s.as_str()), "a view of {} shows a secret", node.name);
            assert!(!log.contains(s.as_str()), "the log of {} has a secret", node.name);
        }
        let dump = Command::new(pg_config_value("--bindir").join("pg_dump"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &node.port.to_string(), db])
            .output()
            .unwrap();
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        assert!(dump.contains("CREATE EXTENSION IF NOT EXISTS citus"), "{dump}");
        assert!(!secrets.iter().any(|s| dump.contains(s.as_str())), "pg_dump has a secret");
    }
    assert!(cl.workers[0].log().contains("citus_internal.make_secret("));
    assert_eq!(secrets[0], secret(&cl.workers[0], db), "nobody changed it");
}

#[test]
fn secrets_come_and_go_with_nodes() {
    let cl = cluster();
    let db = &cl.database("members");
    user("members", db);
    let mut c = cl.connect(db);
    let node = format!("'127.0.0.1', {}", cl.workers[1].port);
    let old = secret(&cl.workers[1], db);
    c.run(&format!("SELECT citus_remove_node({node})"));
    assert_eq!(secret(&cl.workers[1], db), "");
    assert_eq!(c.value("SELECT count(*) FROM citus_internal.node_secrets"), "1");
    c.run(&format!("SELECT citus_add_node({node})"));
    let new = secret(&cl.workers[1], db);
    assert!(new.len() == 64 && new != old);
    assert_eq!(
        c.value(&format!(
            "SELECT count(*) FROM citus_internal.node_secrets WHERE secret = '{new}'"
        )),
        "1"
    );
    // An addition that is rolled back leaves nothing.
    c.run(&format!("SELECT citus_remove_node({node})"));
    c.run("BEGIN");
    c.run(&format!("SELECT citus_add_node({node})"));
    c.run("ROLLBACK");
    assert_eq!(secret(&cl.workers[1], db), "");
    c.run(&format!("SELECT citus_add_inactive_node({node})"));
    let inactive = secret(&cl.workers[1], db);
    c.run(&format!("SELECT citus_activate_node({node})"));
    assert_ne!(inactive, secret(&cl.workers[1], db), "activation makes a new one");
}

#[test]
fn a_node_with_another_secret_says_what_to_do() {
    let cl = cluster();
    let db = &cl.database("restored");
    user("restored", db);
    let mut c = session(&cl.coordinator, "restored", db);
    c.run("CREATE TABLE restored.t (k int); SELECT create_distributed_table('restored.t', 'k')");
    let worker = &cl.workers[0];
    for (change, code) in [
        ("UPDATE citus_internal.node_secrets SET secret = 'as of yesterday'", "28000"),
        ("DELETE FROM citus_internal.node_secrets", "28000"),
    ] {
        worker.connect(db).run(change);
        let e = refused(&mut c, "ALTER TABLE restored.t ADD COLUMN a int", code);
        assert!(e.hint.as_deref().unwrap_or("").contains("citus_activate_node"), "{e}");
        // Queries go on, and so does whoever may do everything anyway.
        assert_eq!(c.value("SELECT count(*) FROM restored.t"), "0");
        let mut admin = cl.connect(db);
        admin.run("ALTER TABLE restored.t ADD COLUMN b int; ALTER TABLE restored.t DROP COLUMN b");
        let node = format!("'127.0.0.1', {}", worker.port);
        admin.run(&format!("SELECT citus_activate_node({node})"));
        c.run("ALTER TABLE restored.t ADD COLUMN a int; ALTER TABLE restored.t DROP COLUMN a");
    }
}

#[test]
fn calls_through_a_pooler_are_proven_too() {
    let cl = cluster();
    let db = &cl.database("pooled");
    user("pooled", db);
    let mut admin = cl.connect(db);
    for w in &cl.workers {
        admin.run(&format!(
            "INSERT INTO pg_dist_poolinfo SELECT nodeid, 'host=127.0.0.1 port={}'
             FROM pg_dist_node WHERE nodeport = {}",
            w.port, w.port
        ));
    }
    let mut c = session(&cl.coordinator, "pooled", db);
    c.run("CREATE TABLE pooled.t (k int); SELECT create_distributed_table('pooled.t', 'k')");
    c.run("ALTER TABLE pooled.t ADD COLUMN a int");
    assert!(cl.workers[0].log().contains("SELECT pg_catalog.citus_internal_ask_proof()"));
    // The text is good for one call, in the session that asked.
    let worker = &cl.workers[0];
    let key = &secret(worker, db);
    let mut c = session(worker, "pooled", db);
    let create = "CREATE TABLE pooled.x ()";
    let asked = format!("asked {}", c.value("SELECT citus_internal_ask_proof()"));
    let right = call(create, &proof(key, [&asked, "pooled", db, "pooled"], 1, &[create]));
    refused(&mut session(worker, "pooled", db), &right, "28000");
    c.run(&right);
    refused(&mut c, &right, "28000");
}
