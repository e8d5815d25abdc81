//! Transactions whose snapshots are older than placements: what is not in the snapshot is refused or
//! read elsewhere, and never taken for empty.

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;
use std::sync::LazyLock;

use super::refused;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

/// All combinations of a level with one snapshot and a way to take it on nodes.
const WAYS: [(&str, &str); 4] = [
    ("REPEATABLE READ", "repeatable_read"),
    ("SERIALIZABLE", "repeatable_read"),
    ("REPEATABLE READ", "off"),
    ("SERIALIZABLE", "off"),
];

/// `used`, with which readers begin, and `t`, apart from it: four shards on two workers, 100 rows.
struct Ground {
    database: String,
}

impl Ground {
    fn new(stem: &str) -> Ground {
        let database = CLUSTER.database(stem);
        CLUSTER.connect(&database).run(
            "CREATE TABLE used (k int PRIMARY KEY, v int);
             SELECT create_distributed_table('used', 'k', shard_count := 4);
             CREATE TABLE t (k int PRIMARY KEY, v int);
             SELECT create_distributed_table('t', 'k', shard_count := 4, colocate_with := 'none');
             INSERT INTO t SELECT i, i FROM generate_series(1, 100) i",
        );
        Ground { database }
    }

    fn connect(&self) -> Conn {
        CLUSTER.connect(&self.database)
    }

    /// A transaction that has its snapshot, everywhere.
    fn reader(&self, (level, reads): (&str, &str)) -> Conn {
        let mut c = self.connect();
        c.run(&format!("SET citus.consistent_reads = {reads}; SET citus.task_assignment_policy = 'round-robin'"));
        c.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        assert_eq!(c.value("SELECT count(*) FROM used"), "0");
        c
    }

    /// Shard, port where it is, port where it is not.
    fn shard(&self, table: &str) -> (String, u16, u16) {
        let row = self.connect().rows(&format!(
            "SELECT shardid, nodeport FROM pg_dist_shard_placement JOIN pg_dist_shard USING (shardid)
             WHERE logicalrelid = '{table}'::regclass ORDER BY 1 LIMIT 1"
        ));
        let at: u16 = row[0][1].clone().unwrap().parse().unwrap();
        let other = CLUSTER.workers.iter().map(|w| w.port).find(|p| *p != at).unwrap();
        (row[0][0].clone().unwrap(), at, other)
    }

    fn transfer(&self, what: &str, table: &str) {
        let (shard, from, to) = self.shard(table);
        self.connect().run(&format!(
            "SELECT citus_{what}_shard_placement({shard}, '127.0.0.1', {from}, '127.0.0.1', {to}, \
             'block_writes')"
        ));
    }
}

#[test]
fn a_moved_shard_is_not_empty() {
    let g = Ground::new("snapshots_move");
    for way in WAYS {
        for statement in [
            "SELECT count(*) FROM t",
            "SELECT count(*) FROM t JOIN used USING (v)",
            "WITH x AS (SELECT * FROM t) SELECT count(*) FROM x a JOIN x b ON a.k = b.v",
            "UPDATE t SET v = v + 1",
            "DELETE FROM t",
            "SELECT k FROM t FOR UPDATE",
            "INSERT INTO used SELECT * FROM t",
            "COPY t TO STDOUT",
            "COPY (SELECT * FROM t) TO STDOUT",
        ] {
            let mut c = g.reader(way);
            g.transfer("move", "t");
            let e = refused(&mut c, statement, "40001");
            assert!(e.contains("of table \"t\" was placed on node 127.0.0.1:"), "{statement}: {e}");
            c.run("ROLLBACK");
            // A new transaction reads everything, and so does one whose snapshot is newer.
            assert_eq!(c.value("SELECT count(*) FROM t"), "100");
            let mut c = g.reader(way);
            assert_eq!(c.value("SELECT count(*), sum(v - k) FROM t"), "100", "{statement}");
            c.run("UPDATE t SET v = v + 1; ROLLBACK");
        }
    }
}

#[test]
fn one_that_has_used_no_node_reads_well() {
    let g = Ground::new("snapshots_late");
    for (level, reads) in WAYS {
        let mut c = g.connect();
        c.run(&format!("SET citus.consistent_reads = {reads}"));
        c.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        assert_eq!(c.value("SELECT count(*) > 0 FROM pg_class"), "t");
        g.transfer("move", "t");
        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
        c.run("UPDATE t SET v = v; COMMIT");
    }
}

#[test]
fn an_older_copy_is_read() {
    let g = Ground::new("snapshots_copy");
    let mut readers: Vec<Conn> = WAYS.iter().map(|w| g.reader(*w)).collect();
    // Readers of the table do not keep copies from being made.
    for c in &mut readers {
        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    }
    g.transfer("copy", "t");
    for c in &mut readers {
        for _ in 0..4 {
            assert_eq!(c.value("SELECT count(*) FROM t"), "100");
        }
        c.run("SAVEPOINT s");
        refused(c, "UPDATE t SET v = 0", "40001");
        c.run("ROLLBACK TO s");
        refused(c, "SELECT * FROM t FOR UPDATE", "40001");
        c.run("ROLLBACK TO s");
        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
        c.run("ROLLBACK");
        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
    }
}

/// A copy that was repaired holds other rows than before, although it is where it was.
#[test]
fn a_repaired_copy_is_another_one() {
    let g = Ground::new("snapshots_repair");
    g.transfer("copy", "t");
    let (shard, ..) = g.shard("t");
    let mut readers: Vec<Conn> = WAYS.iter().map(|w| g.reader(*w)).collect();
    let mut c = g.connect();
    let row = c.rows(&format!(
        "SELECT nodeport FROM pg_dist_shard_placement WHERE shardid = {shard} ORDER BY placementid"
    ));
    let port = |i: usize| row[i][0].clone().unwrap();
    c.run(&format!(
        "UPDATE pg_dist_placement SET shardstate = 3 WHERE placementid =
            (SELECT min(placementid) FROM pg_dist_placement WHERE shardid = {shard});
         SELECT citus_copy_shard_placement({shard}, '127.0.0.1', {}, '127.0.0.1', {})",
        port(1),
        port(0)
    ));
    for c in &mut readers {
        for _ in 0..4 {
            assert_eq!(c.value("SELECT count(*) FROM t"), "100");
        }
        refused(c, "UPDATE t SET v = 0", "40001");
    }
}

#[test]
fn what_only_touches_the_catalog_refuses_nothing() {
    let g = Ground::new("snapshots_sizes");
    for way in WAYS {
        let mut c = g.reader(way);
        g.connect().run("SELECT citus_update_table_statistics('t')");
        assert_eq!(c.value("SELECT count(*) FROM t"), "100");
        c.run("UPDATE t SET v = v; COMMIT");
    }
}

#[test]
fn own_tables_are_seen() {
    let g = Ground::new("snapshots_own");
    for (n, way) in WAYS.into_iter().enumerate() {
        let mut c = g.reader(way);
        c.run(&format!(
            "SAVEPOINT s; CREATE TABLE own{n} (k int); INSERT INTO own{n} SELECT generate_series(1, 9);
             SELECT create_distributed_table('own{n}', 'k', colocate_with := 'none'); RELEASE s"
        ));
        assert_eq!(c.value(&format!("SELECT count(*) FROM own{n}")), "9");
        c.run("COMMIT");
        assert_eq!(c.value(&format!("SELECT count(*) FROM own{n}")), "9");
    }
}

#[test]
fn tables_that_were_distributed_or_came_back() {
    let g = Ground::new("snapshots_kinds");
    g.connect().run("CREATE TABLE p AS SELECT i AS k, i AS v FROM generate_series(1, 50) i");
    for make in [
        "create_distributed_table('p', 'k', colocate_with := 'none')",
        "create_reference_table('p')",
        "citus_add_local_table_to_metadata('p')",
    ] {
        for way in WAYS {
            let mut c = g.reader(way);
            g.connect().run(&format!("SELECT {make}"));
            refused(&mut c, "SELECT count(*) FROM p", "40001");
            c.run("ROLLBACK");
            assert_eq!(c.value("SELECT count(*) FROM p"), "50");
            for statement in ["SELECT count(*) FROM p", "UPDATE p SET v = 1", "COPY p TO STDOUT"] {
                let mut c = g.reader(way);
                g.connect().run("SELECT undistribute_table('p')");
                let e = refused(&mut c, statement, "40001");
                assert!(e.contains("rows of table \"p\" came here"), "{e}");
                c.run("ROLLBACK");
                assert_eq!(c.value("SELECT count(*) FROM p"), "50");
                g.connect().run(&format!("SELECT {make}"));
            }
            g.connect().run("SELECT undistribute_table('p')");
        }
    }
    // One that brings rows back itself has to see all of them.
    let mut c = g.connect();
    c.run("SELECT create_distributed_table('p', 'k')");
    c.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(c.value("SELECT count(*) FROM used"), "0");
    g.connect().run("INSERT INTO p VALUES (1000, 1)");
    refused(&mut c, "SELECT undistribute_table('p')", "55000");
    c.run("ROLLBACK");
    c.run("SELECT undistribute_table('p')");
    assert_eq!(c.value("SELECT count(*) FROM p"), "51");
}

/// A statement that reads as of one moment keeps it while its rows are fetched.
#[test]
fn statements_with_a_moment_of_their_own() {
    let g = Ground::new("snapshots_hold");
    for copies in 0..2 {
        let mut c = g.connect();
        c.run("SET citus.consistent_reads = on; SET citus.task_assignment_policy = 'round-robin'; BEGIN");
        for i in 0..4 {
            // Its tasks are sent for each row that is fetched.
            c.run(&format!(
                "DECLARE c{i} CURSOR FOR SELECT (SELECT count(*) FROM t WHERE v <> g)
                 FROM generate_series(1001, 1004) g"
            ));
        }
        if copies == 0 {
            g.transfer("copy", "t");
        }
        // The copies are known from here on.
        c.run("SELECT count(*) FROM used");
        for i in 0..4 {
            let rows = c.rows(&format!("FETCH ALL FROM c{i}"));
            let counts: Vec<String> = rows.into_iter().flatten().flatten().collect();
            assert_eq!(counts, ["100"; 4], "{i}");
        }
        for _ in 0..4 {
            assert_eq!(c.value("SELECT count(*) FROM t"), "100");
        }
        c.run("COMMIT");
    }
}
