//! Shards that could not be dropped are dropped when their node is there again.

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;
use std::time::{Duration, Instant};

use super::{equal_copies, refused};

struct Ground {
    cluster: Cluster,
    database: String,
}

impl Ground {
    /// The tables `a`, `b`, `c`, and `d`, each of two shards with two copies.
    fn new(conf: &str) -> Ground {
        let cluster = Cluster::start(2, Kind::DURABLE, conf);
        let database = cluster.database("leftovers");
        let mut c = cluster.connect(&database);
        c.run("CREATE SCHEMA other");
        for table in ["a", "b", "c", "d"] {
            c.run(&format!(
                "CREATE TABLE {table} (k int PRIMARY KEY, v int);
                 SELECT create_distributed_table('{table}', 'k', shard_count := 2, \
                    replication_factor := 2, colocate_with := 'none');
                 INSERT INTO {table} SELECT i, i FROM generate_series(1, 50) i"
            ));
        }
        Ground { cluster, database }
    }

    fn connect(&self) -> Conn {
        self.cluster.connect(&self.database)
    }

    fn away(&self) {
        self.cluster.workers[1].end(libc::SIGQUIT);
    }

    fn back(&self) {
        self.cluster.workers[1].start().unwrap();
        self.cluster.workers[1].wait_ready().unwrap();
    }

    /// Shards on the second worker.
    fn tables(&self) -> String {
        self.cluster.workers[1].connect(&self.database).value(
            "SELECT coalesce(string_agg(DISTINCT regexp_replace(oid::regclass::text, '_[0-9]+$', ''), \
             ' '), '') FROM pg_class WHERE relkind = 'r' AND relname ~ '^[a-z]+_[0-9]{6,}$'",
        )
    }
}

/// Rows of `pg_dist_cleanup`.
fn recorded(c: &mut Conn) -> String {
    c.value(
        "SELECT coalesce(string_agg(DISTINCT regexp_replace(object_name, '_[0-9]+$', ''), ' '), '') \
         FROM pg_dist_cleanup",
    )
}

#[test]
fn shards_of_dropped_tables_go() {
    let g = Ground::new("citus.defer_shard_delete_interval = 300ms\n");
    let mut c = g.connect();
    g.away();
    c.run("UPDATE a SET v = 0; UPDATE b SET v = 0; UPDATE c SET v = 0");
    c.run("BEGIN; DROP TABLE a; ROLLBACK");
    assert_eq!(recorded(&mut c), "");
    c.run("DROP TABLE a; SELECT undistribute_table('b')");
    assert_eq!(recorded(&mut c), "public.a public.b");
    assert_eq!(c.value("SELECT count(*) FROM b"), "50");
    // The maintenance process has tried.
    let start = Instant::now();
    while !g.cluster.coordinator.log().contains("removal of tables that shards left behind") {
        assert!(start.elapsed() < Duration::from_secs(60), "nobody tries to remove them");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_cleanup"), "4");
    g.back();
    assert_eq!(g.tables(), "a b c d");
    // By hand it does not wait until the node is tried again.
    let start = Instant::now();
    while !recorded(&mut c).is_empty() {
        c.run("CALL citus_cleanup_orphaned_resources()");
        assert!(start.elapsed() < Duration::from_secs(30), "{}", recorded(&mut c));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(g.tables(), "c d");
    // Nobody has to ask for it; the maintenance process tries the node again after a while.
    c.run("DROP TABLE c");
    let start = Instant::now();
    while g.tables() != "d" {
        assert!(start.elapsed() < Duration::from_secs(90), "{}", g.tables());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(c.value("SELECT count(*) FROM d"), "50");
}

#[test]
fn names_that_are_used_again_stay() {
    let g = Ground::new("citus.defer_shard_delete_interval = -1\n");
    let mut c = g.connect();
    g.away();
    c.run("UPDATE a SET v = 0; UPDATE b SET v = 0; UPDATE c SET v = 0; UPDATE d SET v = 0");
    c.run("ALTER TABLE a RENAME TO z; ALTER TABLE z RENAME TO a");
    c.run("ALTER TABLE b RENAME TO y; ALTER TABLE c SET SCHEMA other");
    g.back();
    assert_eq!(recorded(&mut c), "public.a public.b public.c public.z");
    // Who repairs at the same time keeps its record from being worked on.
    let mut other = g.connect();
    other.run("BEGIN; SELECT replicate_table_shards('a', 2)");
    c.run("CALL citus_cleanup_orphaned_resources()");
    other.run("COMMIT");
    c.run("SELECT replicate_table_shards('y', 2); SELECT replicate_table_shards('other.c', 2)");
    c.run("CALL citus_cleanup_orphaned_resources()");
    assert_eq!(recorded(&mut c), "");
    assert_eq!(g.tables(), "a d other.c y");
    for table in ["a", "y", "other.c"] {
        assert_eq!(equal_copies(&g.cluster, &g.database, table), 2, "{table}");
    }
    // A wrong row does not cost a placement.
    c.run(
        "INSERT INTO pg_dist_cleanup SELECT 1000 + row_number() OVER (), 1, 1, \
            format('public.a_%s', shardid), groupid, 0 \
         FROM pg_dist_placement JOIN pg_dist_shard USING (shardid) \
         WHERE logicalrelid = 'a'::regclass",
    );
    c.run("CALL citus_cleanup_orphaned_resources()");
    assert_eq!(recorded(&mut c), "");
    assert_eq!(equal_copies(&g.cluster, &g.database, "a"), 2);
}

#[test]
fn a_node_that_is_disabled_or_removed() {
    let g = Ground::new("citus.defer_shard_delete_interval = -1\n");
    let mut c = g.connect();
    let port = g.cluster.workers[1].port;
    g.away();
    c.run(&format!("SELECT citus_disable_node('127.0.0.1', {port})"));
    assert_eq!(recorded(&mut c), "public.a public.b public.c public.d");
    g.back();
    // Nothing is done to a disabled node.
    c.run("CALL citus_cleanup_orphaned_resources()");
    assert_eq!(g.tables(), "a b c d");
    c.run("DROP TABLE a");
    c.run(&format!("SELECT citus_activate_node('127.0.0.1', {port})"));
    c.run("SELECT replicate_table_shards('b', 2); CALL citus_cleanup_orphaned_resources()");
    assert_eq!(recorded(&mut c), "");
    assert_eq!(g.tables(), "b");
    assert_eq!(equal_copies(&g.cluster, &g.database, "b"), 2);
    g.away();
    c.run("UPDATE b SET v = 1; DROP TABLE b");
    assert_eq!(recorded(&mut c), "public.b");
    g.back();
    c.run(&format!("SELECT citus_remove_node('127.0.0.1', {port})"));
    assert_eq!(recorded(&mut c), "");
    assert_eq!(g.tables(), "");
    c.run("CREATE ROLE leftovers_user; SET ROLE leftovers_user");
    c.run("CALL citus_cleanup_orphaned_resources()");
    refused(&mut c, "DELETE FROM pg_dist_cleanup", "42501");
    c.run("RESET ROLE; DROP ROLE leftovers_user");
}
