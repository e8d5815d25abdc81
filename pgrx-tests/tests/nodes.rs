//! Nodes: joining, leaving, changing, and commands on all of them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use citus_tests::client::{refused, Conn};
use citus_tests::cluster::Cluster;
use citus_tests::forged;
use citus_tests::server::{Kind, Server};

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

/// The group that a node thinks it is, and whether it knows a coordinator.
#[track_caller]
fn identity(s: &Server, db: &str) -> (String, bool) {
    let mut c = s.connect(db);
    let group = c.value("SELECT groupid FROM pg_dist_local_group");
    let marked = c.value("SELECT metadata ? 'coordinator_id' FROM pg_dist_node_metadata");
    (group, marked == "t")
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
fn a_node_joins_and_leaves() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    let (w1, w2) = (&cl.workers[0], &cl.workers[1]);

    c.run("BEGIN");
    c.run(&add(w1.port));
    c.run("ROLLBACK");
    assert_eq!(identity(w1, &db), ("0".into(), false));
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_node"), "0");

    let id = c.value(&add(w1.port));
    assert_eq!(c.value(&add(w1.port)), id, "adding again gives the same id");
    let group = c.value("SELECT groupid FROM pg_dist_node");
    assert_eq!(identity(w1, &db), (group, true));
    assert_eq!(w1.connect(&db).value("SELECT metadata->>'node_id' FROM pg_dist_node_metadata"), id);

    let again = format!("SELECT citus_add_node('localhost', {})", w1.port);
    let e = refused(&mut c, &again, "55000");
    assert!(e.message.contains("under another name"), "{e}");
    let itself = format!("SELECT citus_add_node('localhost', {})", cl.coordinator.port);
    let e = refused(&mut c, &itself, "55000");
    assert!(e.message.contains("the coordinator itself"), "{e}");
    refused(&mut w1.connect(&db), &add(w2.port), "55000");

    c.run(&format!("SELECT citus_add_inactive_node('127.0.0.1', {})", w2.port));
    let active = "SELECT node_port FROM citus_get_active_worker_nodes()";
    assert_eq!(list(&mut c, active), w1.port.to_string());
    c.run(&format!("SELECT citus_activate_node('127.0.0.1', {})", w2.port));
    assert_eq!(list(&mut c, active), format!("{} {}", w1.port, w2.port));
    c.run(&format!("SELECT citus_disable_node('127.0.0.1', {})", w2.port));
    assert_eq!(list(&mut c, active), w1.port.to_string());

    c.run("BEGIN");
    c.run(&remove(w1.port));
    c.run("ROLLBACK");
    assert!(identity(w1, &db).1, "a removal that was rolled back left the node as it was");
    c.run(&remove(w1.port));
    c.run(&remove(w2.port));
    assert_eq!(identity(w1, &db), ("0".into(), false));
    assert_eq!(identity(w2, &db), ("0".into(), false));
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_node"), "0");
    assert_ne!(c.value(&add(w1.port)), id, "ids are not used twice");
}

#[test]
fn a_member_of_another_cluster_is_refused() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let (w1, w2) = (&cl.workers[0], &cl.workers[1]);
    // Identities come from the template database here; real servers have their own.
    let own = "UPDATE pg_dist_node_metadata SET metadata = \
               metadata || jsonb_build_object('server_id', gen_random_uuid()::text)";
    for n in cl.nodes() {
        n.connect(&db).run(own);
    }
    cl.connect(&db).run(&add(w2.port));

    let mut other = w1.connect(&db);
    let e = refused(&mut other, &add(w2.port), "55000");
    assert!(e.message.contains("another cluster"), "{e}");

    other.run(&format!("SELECT citus_set_coordinator_host('127.0.0.1', {})", w1.port));
    let e = refused(&mut cl.connect(&db), &add(w1.port), "55000");
    assert!(e.message.contains("cluster of its own"), "{e}");
    assert_eq!(cl.connect(&db).value("SELECT count(*) FROM pg_dist_node"), "1");
}

#[test]
fn a_server_that_does_not_fit_is_refused() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    let (w1, w2) = (&cl.workers[0], &cl.workers[1]);
    w1.connect(&db).run("DROP EXTENSION citus");
    let e = refused(&mut c, &add(w1.port), "55000");
    assert!(e.message.contains("not installed"), "{e}");
    assert!(e.hint.is_some_and(|h| h.contains("CREATE EXTENSION")));

    w2.connect("postgres").run(&format!("DROP DATABASE {db}"));
    let e = refused(&mut c, &add(w2.port), "3D000");
    assert!(e.detail.as_ref().is_some_and(|d| d.contains("does not exist")), "{e}");
    w2.connect("postgres").run(&format!(
        "CREATE DATABASE {db} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    ));
    w2.connect(&db).run("CREATE EXTENSION citus");
    let e = refused(&mut c, &add(w2.port), "55000");
    assert!(e.message.contains("encoding"), "{e}");
    let old = cl.bare_database("nodes");
    let mut c = cl.connect(&old);
    w1.connect(&old).run("UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'citus'");
    let e = refused(&mut c, &add(w1.port), "55000");
    assert!(e.message.contains("another version"), "{e}");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_node"), "0");
}

/// What a coordinator that crashed between the two phases leaves on a node.
#[test]
fn a_half_done_joining_is_finished_first() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    let w = &cl.workers[0];
    let name = format!("{}_aa_0", forged::base(&mut c));
    let half = |change: &str| {
        let mut there = w.connect(&db);
        there.run("BEGIN");
        there.run(change);
        there.run(&format!("PREPARE TRANSACTION '{name}'"));
        // Not one that waits for what its coordinator says.
        there.run("SELECT 1");
    };
    // Not decided: undone.
    half("UPDATE pg_dist_local_group SET groupid = 77");
    c.run(&add(w.port));
    assert_ne!(identity(w, &db).0, "77");
    // Decided: done. The coordinator has forgotten the node already.
    half(
        "UPDATE pg_dist_node_metadata SET metadata = metadata - 'coordinator_id' - 'node_id';
          UPDATE pg_dist_local_group SET groupid = 0",
    );
    c.run(&format!(
        "INSERT INTO pg_dist_transaction VALUES (1, '{name}'); DELETE FROM pg_dist_node"
    ));
    c.run(&add(w.port));
    let decided = format!("SELECT count(*) FROM pg_dist_transaction WHERE gid = '{name}'");
    assert_eq!(c.value(&decided), "0");
    let prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
    assert_eq!(w.connect(&db).value(prepared), "0");
    half("SELECT 1");
    c.run(&remove(w.port));
    assert_eq!(identity(w, &db), ("0".into(), false));
    assert_eq!(w.connect(&db).value(prepared), "0");
}

#[test]
fn a_standby_joins_its_primary() {
    let cl = Cluster::start(1, Kind::FAST, "");
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    let w = &cl.workers[0];
    let standby = match w.standby("standby") {
        Ok(s) => s,
        Err(e) => panic!("{e}"),
    };
    let e = refused(&mut c, &add(standby.port), "55000");
    assert!(e.message.contains("standby"), "{e}");
    let wrong = format!(
        "SELECT citus_add_secondary_node('127.0.0.1', {}, '127.0.0.1', {})",
        standby.port, cl.coordinator.port
    );
    refused(&mut c, &wrong, "55000");
    c.run(&format!(
        "SELECT citus_add_secondary_node('127.0.0.1', {}, '127.0.0.1', {})",
        standby.port, w.port
    ));
    let row = format!(
        "SELECT n.noderole::text || (n.groupid = p.groupid) FROM pg_dist_node n, pg_dist_node p \
         WHERE n.nodeport = {} AND p.nodeport = {}",
        standby.port, w.port
    );
    assert_eq!(c.value(&row), "secondarytrue");
    assert_eq!(c.rows("SELECT * FROM citus_get_active_worker_nodes()").len(), 1);
    refused(&mut c, &remove(w.port), "55006");
    // The standby takes over under its own address.
    c.run(&remove(standby.port));
    w.end(libc::SIGKILL);
    standby.connect("postgres").run("SELECT pg_promote()");
    c.run(&format!(
        "SELECT citus_update_node((SELECT nodeid FROM pg_dist_node WHERE nodeport = {}), \
         '127.0.0.1', {})",
        w.port, standby.port
    ));
    assert_eq!(list(&mut c, "SELECT result FROM run_command_on_workers('SHOW port')"), {
        standby.port.to_string()
    });
    c.run("CREATE TABLE t (k int); SELECT create_distributed_table('t', 'k'); INSERT INTO t VALUES (1)");
    assert_eq!(c.value("SELECT count(*) FROM t"), "1");
}

#[test]
fn two_sessions_add_nodes_at_once() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let ports = [cl.workers[0].port, cl.workers[1].port, cl.workers[0].port];
    std::thread::scope(|s| {
        for port in ports {
            let db = &db;
            s.spawn(move || cl.connect(db).run(&add(port)));
        }
    });
    let mut c = cl.connect(&db);
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_node"), "2");
    assert_eq!(c.value("SELECT count(DISTINCT groupid) FROM pg_dist_node"), "2");
}

const REFERENCE: &str = "
    CREATE SCHEMA \"Odd schema\";
    CREATE TYPE \"Odd schema\".color AS ENUM ('red', 'green');
    CREATE TABLE \"Odd schema\".kinds (id int PRIMARY KEY, c \"Odd schema\".color, n text);
    INSERT INTO \"Odd schema\".kinds
        SELECT i, 'green', repeat('x', i % 50) FROM generate_series(1, 12000) i;
    CREATE TABLE items (id serial PRIMARY KEY, kind int REFERENCES \"Odd schema\".kinds,
        tags text[], at timestamptz DEFAULT now(), twice int GENERATED ALWAYS AS (kind * 2) STORED);
    ALTER TABLE items ADD COLUMN gone int;
    ALTER TABLE items DROP COLUMN gone;
    ALTER TABLE items ADD COLUMN note text;
    INSERT INTO items (kind, tags, note)
        VALUES (1, ARRAY['a,b', 'c\"d', NULL, '\\'], E'tab\\tand\\nline'), (2, NULL, NULL);
    CREATE INDEX items_note ON items (note);
    SELECT create_reference_table('\"Odd schema\".kinds');
    SELECT create_reference_table('items');";

/// Number of different contents of a reference table over its placements, and of placements.
fn copies(c: &mut Conn, table: &str) -> String {
    list(
        c,
        &format!(
            "SELECT count(DISTINCT result), count(*) FROM run_command_on_placements('{table}', \
             'SELECT md5(string_agg(t::text, chr(10) ORDER BY id)) FROM %s t') WHERE success"
        ),
    )
}

#[test]
fn reference_tables_come_with_the_node() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    let (w1, w2) = (cl.workers[0].port, cl.workers[1].port);
    c.run(&add(w1));
    c.run(REFERENCE);
    // The foreign key made a managed local table for a moment: the coordinator is registered.
    for table in ["items", "\"Odd schema\".kinds"] {
        assert_eq!(copies(&mut c, table), "1,2", "{table}");
    }
    c.run(&format!("SELECT citus_remove_node('localhost', {})", cl.coordinator.port));
    assert_eq!(copies(&mut c, "items"), "1,1");
    c.run(&add(w2));
    c.run(&format!("SELECT citus_set_coordinator_host('127.0.0.1', {})", cl.coordinator.port));
    for table in ["items", "\"Odd schema\".kinds"] {
        assert_eq!(copies(&mut c, table), "1,3", "{table}");
    }
    // Indexes and foreign keys come along.
    let checks = "SELECT count(*) FROM run_command_on_placements('items', $$
        SELECT (SELECT count(*) FROM pg_index WHERE indrelid = '%1$s'::regclass) || '/' ||
            (SELECT count(*) FROM pg_constraint WHERE conrelid = '%1$s'::regclass
                AND contype = 'f') $$) WHERE result = '2/1'";
    assert_eq!(c.value(checks), "3");

    c.run(&format!("SELECT citus_disable_node('127.0.0.1', {w2})"));
    assert_eq!(copies(&mut c, "items"), "1,2");
    c.run("INSERT INTO items (kind, note) VALUES (3, 'while it was away')");
    c.run(&format!("SELECT citus_activate_node('127.0.0.1', {w2})"));
    assert_eq!(copies(&mut c, "items"), "1,3");
    c.run("INSERT INTO items (kind, note) VALUES (4, 'afterwards')");
    assert_eq!(copies(&mut c, "items"), "1,3");

    c.run(&remove(w1));
    assert_eq!(copies(&mut c, "items"), "1,2");
    let left = cl.workers[0].connect(&db).value(
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'items%' OR relname LIKE 'kinds%'",
    );
    assert_eq!(left, "0", "a node that left keeps nothing");
}

#[test]
fn reference_tables_are_copied_while_others_write() {
    let cl = cluster();
    let db = cl.bare_database("nodes");
    let mut c = cl.connect(&db);
    let (w1, w2) = (cl.workers[0].port, cl.workers[1].port);
    c.run(&add(w1));
    c.run("CREATE TABLE r (id int PRIMARY KEY, v int)");
    c.run("SELECT create_reference_table('r')");
    let until = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|s| {
        for writer in 0..2 {
            let db = &db;
            s.spawn(move || {
                let mut c = cl.connect(db);
                for i in 0.. {
                    if Instant::now() > until {
                        break;
                    }
                    c.run(&format!("INSERT INTO r VALUES ({}, {i})", i * 2 + writer));
                }
            });
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(200));
            c.run(&add(w2));
            std::thread::sleep(Duration::from_millis(200));
            c.run(&remove(w2));
        }
        c.run(&add(w2));
    });
    assert_eq!(copies(&mut c, "r"), "1,2");
    assert_ne!(c.value("SELECT count(*) FROM r"), "0");
}

#[test]
fn a_node_with_the_only_copies_stays() {
    let cl = cluster();
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE t (k int, v text)");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    let w1 = cl.workers[0].port;
    let e = refused(&mut c, &remove(w1), "55006");
    assert!(e.detail.is_some_and(|d| d.contains("table t")));
    refused(&mut c, &format!("SELECT citus_disable_node('127.0.0.1', {w1})"), "55006");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_placement"), "4");
    c.run("DROP TABLE t");
    c.run(&remove(w1));
}

#[test]
fn a_node_does_not_leave_while_it_gets_shards() {
    let cl = cluster();
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE t (k int)");
    c.run("BEGIN");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    std::thread::scope(|s| {
        let leaving = s.spawn(|| {
            refused(&mut cl.connect(&db), &remove(cl.workers[0].port), "55006");
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!leaving.is_finished());
        c.run("COMMIT");
        assert!(leaving.join().is_ok());
    });
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_placement"), "4");
}

#[test]
fn a_dead_node_can_be_removed_and_comes_back() {
    let cl = Cluster::start(2, Kind::FAST, "citus.node_connection_timeout = '2s'");
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE r (id int PRIMARY KEY)");
    c.run("INSERT INTO r SELECT generate_series(1, 100)");
    c.run("SELECT create_reference_table('r')");
    let dead = &cl.workers[1];
    dead.end(libc::SIGKILL);

    let health = "SELECT from_nodeport, to_nodeport, result FROM citus_check_cluster_node_health()";
    let rows = c.rows(health);
    let d = Some(dead.port.to_string());
    assert_eq!(rows.len(), 9);
    for r in rows {
        let expected = match (r[0] == d, r[1] == d) {
            (true, _) => None,
            (false, true) => Some("f".to_owned()),
            _ => Some("t".to_owned()),
        };
        assert_eq!(r[2], expected, "{r:?}");
    }
    let check = format!("SELECT citus_check_connection_to_node('127.0.0.1', {})", dead.port);
    assert_eq!(c.value(&check), "f");
    assert_eq!(
        list(
            &mut c,
            "SELECT success FROM run_command_on_workers('SELECT 1') ORDER BY nodeport DESC"
        ),
        if dead.port > cl.workers[0].port { "f t" } else { "t f" }
    );
    refused(&mut c, "SELECT * FROM run_command_on_all_nodes('SELECT 1')", "08006");
    let warn = "SELECT * FROM run_command_on_all_nodes('SELECT 1', true, true)";
    assert_eq!(c.rows(warn).len(), 3);
    assert!(c.notices.iter().any(|n| n.severity == "WARNING"));
    assert_eq!(c.value("SELECT count(*) > 0 FROM citus_stat_activity"), "t");

    c.run(&remove(dead.port));
    assert!(c.notices.iter().any(|n| n.message.contains("cannot be reached")), "{:?}", c.notices);
    c.run("INSERT INTO r VALUES (101)");
    assert_eq!(copies(&mut c, "r"), "1,2");
    assert!(dead.start().is_ok());
    c.run(&add(dead.port));
    assert_eq!(copies(&mut c, "r"), "1,3");
}

#[test]
fn an_address_changes_when_writers_are_done() {
    let cl = cluster();
    let db = cl.database("nodes");
    let mut c = cl.connect(&db);
    c.run("CREATE TABLE t (k int PRIMARY KEY, v int)");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("INSERT INTO t SELECT i, i FROM generate_series(1, 20) i");
    let port = cl.workers[0].port;
    let id = c.value(&format!("SELECT nodeid FROM pg_dist_node WHERE nodeport = {port}"));
    let rename =
        |to: &str, more: &str| format!("SELECT citus_update_node({id}, '{to}', {port}{more})");

    let mut writer = cl.connect(&db);
    writer.run("BEGIN");
    writer.run("UPDATE t SET v = v + 1");
    c.run("SET lock_timeout = '300ms'");
    refused(&mut c, &rename("localhost", ""), "55P03");
    c.run("RESET lock_timeout");
    c.run(&rename("localhost", ", force := true, lock_cooldown := 100"));
    assert!(writer.simple("COMMIT").is_err(), "the writer was ended");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE k = v"), "20");

    let mut writer = cl.connect(&db);
    writer.run("BEGIN");
    writer.run("UPDATE t SET v = v + 1");
    std::thread::scope(|s| {
        let waiting = s.spawn(|| cl.connect(&db).run(&rename("127.0.0.1", "")));
        std::thread::sleep(Duration::from_millis(300));
        writer.run("COMMIT");
        assert!(waiting.join().is_ok());
    });
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = k + 1"), "20");
    c.run("BEGIN");
    c.run(&format!("SELECT citus_pause_node_within_txn({id})"));
    let mut other = cl.connect(&db);
    other.run("SET lock_timeout = '200ms'");
    refused(&mut other, "UPDATE t SET v = 0", "55P03");
    assert_eq!(other.value("SELECT count(*) FROM t"), "20", "reading goes on");
    c.run("ROLLBACK");
    // Nothing is checked about the new address: it may not be up yet.
    c.run(&rename("does-not-exist.invalid", ""));
    assert!(c.simple("SELECT count(*) FROM t").is_err());
    c.run(&rename("127.0.0.1", ""));
    assert_eq!(c.value("SELECT count(*) FROM t"), "20");
}
