//! A node with copies of shards dies: reads and writes go on, what it missed is not read when it is
//! back, and its copies can be repaired.

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

use super::{contents, equal_copies, refused};

/// Two workers; `t` and `u`, co-located, with two copies of each of four shards; reference table `r`.
struct Ground {
    cluster: Cluster,
    database: String,
}

impl Ground {
    fn new() -> Ground {
        let cluster = Cluster::start(2, Kind::DURABLE, "");
        let database = cluster.database("replicas");
        cluster.connect(&database).run(
            "CREATE TABLE t (k int PRIMARY KEY, v int CHECK (v < 1000000), w text);
             CREATE TABLE u (k int, n int, PRIMARY KEY (k, n));
             SET citus.shard_replication_factor = 2;
             SELECT create_distributed_table('t', 'k', shard_count := 4);
             SELECT create_distributed_table('u', 'k', colocate_with := 't');
             CREATE TABLE r (k int PRIMARY KEY, v int);
             SELECT create_reference_table('r');
             ALTER TABLE u ADD FOREIGN KEY (k) REFERENCES t ON DELETE CASCADE;
             CREATE INDEX t_v ON t (v);
             CREATE ROLE reader_of_copies;
             GRANT SELECT ON t TO reader_of_copies;
             INSERT INTO t SELECT i, i, 'w' || i FROM generate_series(1, 200) i;
             INSERT INTO u SELECT i, j FROM generate_series(1, 200) i, generate_series(1, 2) j;
             INSERT INTO r SELECT i, i FROM generate_series(1, 10) i",
        );
        let g = Ground { cluster, database };
        g.equal();
        g
    }

    fn connect(&self) -> Conn {
        self.cluster.connect(&self.database)
    }

    #[track_caller]
    fn equal(&self) {
        assert_eq!(equal_copies(&self.cluster, &self.database, "t"), 4);
        assert_eq!(equal_copies(&self.cluster, &self.database, "u"), 4);
    }

    /// Ends the second worker at once.
    fn kill(&self) {
        self.cluster.workers[1].end(libc::SIGQUIT);
    }

    fn back(&self) {
        self.cluster.workers[1].start().unwrap();
        self.cluster.workers[1].wait_ready().unwrap();
    }

    /// Placements that are not healthy, by table; all of them are on the second worker.
    fn marked(&self) -> String {
        let sql = format!(
            "SELECT coalesce(string_agg(x, ' ' ORDER BY x), '') FROM (SELECT logicalrelid || ':' || count(*) AS x \
             FROM pg_dist_shard_placement JOIN pg_dist_shard USING (shardid) \
             WHERE shardstate = 3 AND nodeport = {} GROUP BY logicalrelid) y",
            self.cluster.workers[1].port
        );
        self.connect().value(&sql)
    }

    /// Copies all marked placements from the first worker to the second.
    fn repair(&self, c: &mut Conn) {
        let (from, to) = (self.cluster.workers[0].port, self.cluster.workers[1].port);
        let sql = "SELECT min(shardid) FROM pg_dist_placement WHERE shardstate = 3";
        loop {
            let shard = c.rows(sql).remove(0).remove(0);
            let Some(shard) = shard else { return };
            c.run(&format!(
                "SELECT citus_copy_shard_placement({shard}, '127.0.0.1', {from}, '127.0.0.1', {to})"
            ));
        }
    }
}

fn warnings(c: &mut Conn, sql: &str) -> Vec<String> {
    c.notices.clear();
    c.run(sql);
    c.notices.iter().filter(|n| n.severity == "WARNING").map(|n| n.to_string()).collect()
}

#[test]
fn reads_use_the_other_copy() {
    let g = Ground::new();
    let mut idle = g.connect();
    idle.run("SELECT count(*) FROM t");
    g.kill();
    let dead = format!("127.0.0.1:{}", g.cluster.workers[1].port);
    for policy in ["greedy", "round-robin", "first-replica"] {
        let mut c = g.connect();
        c.run(&format!("SET citus.task_assignment_policy = '{policy}'"));
        let seen = warnings(&mut c, "SELECT count(*) FROM t");
        assert!(seen.len() == 1 && seen[0].contains(&dead), "{policy}: {seen:?}");
        // For a while it is not tried again.
        assert!(warnings(&mut c, "SELECT count(*) FROM t").is_empty());
        assert_eq!(c.value("SELECT sum(v) FROM t"), "20100");
        assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k) JOIN r ON r.k = t.k"), "20");
        assert_eq!(c.value("SELECT count(*) FROM t a JOIN t b ON a.k = b.v"), "200");
        for k in 1..20 {
            assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {k}")), k.to_string());
        }
        c.run("BEGIN");
        assert_eq!(c.rows("SELECT * FROM t ORDER BY k FOR UPDATE").len(), 200);
        c.run("COMMIT");
        assert_eq!(c.value("SELECT count(*) FROM r"), "10");
    }
    assert_eq!(idle.value("SELECT count(*) FROM t"), "200");
    assert_eq!(g.marked(), "");
    g.back();
    g.equal();
}

#[test]
fn writes_go_on_and_mark_what_missed_them() {
    let g = Ground::new();
    g.kill();
    let mut c = g.connect();
    // What is rolled back has marked nothing.
    c.run("BEGIN; UPDATE t SET v = v + 1");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_placement WHERE shardstate = 3"), "8");
    assert_eq!(c.value("SELECT sum(v) FROM t"), "20300");
    c.run("ROLLBACK");
    assert_eq!(g.marked(), "");
    // A write to one shard marks that one, with the co-located one.
    let seen = warnings(&mut c, "UPDATE t SET v = -1 WHERE k = 7");
    assert!(seen.len() == 1 && seen[0].contains("2 placements are marked"), "{seen:?}");
    assert_eq!(g.marked(), "t:1 u:1");
    // All nodes need a reference table.
    let e = refused(&mut c, "UPDATE r SET v = v + 1", "08006");
    assert!(e.contains("citus_disable_node"), "{e}");
    assert_eq!(c.value("SELECT sum(v) FROM r"), "55");
    // No new session knows a way to the stale copy.
    g.back();
    let mut stale = g.cluster.workers[1].connect(&g.database);
    let shard = c.value("SELECT get_shard_id_for_distribution_column('t', 7)");
    assert_eq!(stale.value(&format!("SELECT v FROM t_{shard} WHERE k = 7")), "7");
    for policy in ["greedy", "round-robin", "first-replica"] {
        let mut c = g.connect();
        c.run(&format!("SET citus.task_assignment_policy = '{policy}'"));
        for _ in 0..4 {
            assert_eq!(c.value("SELECT v FROM t WHERE k = 7"), "-1", "{policy}");
            assert_eq!(c.value("SELECT sum(v) FROM t"), "20092", "{policy}");
        }
    }
    // It is not written either.
    assert!(warnings(&mut c, "UPDATE t SET v = -2 WHERE k = 7").is_empty());
    assert_eq!(stale.value(&format!("SELECT v FROM t_{shard} WHERE k = 7")), "7");
    g.repair(&mut c);
    g.equal();
    c.run("UPDATE t SET v = -3 WHERE k = 7");
    assert_eq!(stale.value(&format!("SELECT v FROM t_{shard} WHERE k = 7")), "-3");
    g.equal();
}

#[test]
fn every_kind_of_write_goes_on() {
    let g = Ground::new();
    g.kill();
    let writes: &[(&str, &str)] = &[
        ("INSERT INTO t VALUES (1001, 1, 'x')", "t:1 u:1"),
        ("INSERT INTO t SELECT i, 0, '' FROM generate_series(2000, 2100) i", "t:4 u:4"),
        ("DELETE FROM u WHERE n = 2", "t:4 u:4"),
        ("UPDATE t SET v = (random() * 10)::int", "t:4 u:4"),
        (
            "INSERT INTO t VALUES (3, 0, '') ON CONFLICT (k) DO UPDATE SET v = 0 RETURNING *",
            "t:1 u:1",
        ),
    ];
    let mut c = g.connect();
    for (sql, marked) in writes {
        c.run(sql);
        assert_eq!(g.marked(), *marked, "{sql}");
        c.run("UPDATE pg_dist_placement SET shardstate = 1");
    }
    let lines: String = (3000..3100).map(|k| format!("{k}\t1\tx\n")).collect();
    c.copy_in("COPY t FROM STDIN", lines.as_bytes()).unwrap();
    assert_eq!(g.marked(), "t:4 u:4");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE k BETWEEN 3000 AND 3099"), "100");
    c.run("UPDATE t SET v = 5 WHERE k = 5");
    g.back();
    // The copies on the second worker are those from before.
    c.run("UPDATE pg_dist_placement SET shardstate = 1");
    let found = contents(&g.cluster, &g.database, "t");
    assert!(found.windows(2).any(|p| p[0].0 == p[1].0 && p[0].2 != p[1].2), "{found:?}");
    // A write that tells the difference does not pass.
    refused(&mut c, "UPDATE t SET w = 'y' WHERE k >= 3000", "XX001");
    c.run(
        "UPDATE pg_dist_placement SET shardstate = 3 WHERE groupid = \
           (SELECT groupid FROM pg_dist_node ORDER BY nodeid DESC LIMIT 1)
           AND shardid IN (SELECT shardid FROM pg_dist_shard WHERE logicalrelid <> 'r'::regclass)",
    );
    g.repair(&mut c);
    g.equal();
}

#[test]
fn a_write_that_reaches_no_copy_fails() {
    let g = Ground::new();
    let mut c = g.connect();
    g.cluster.workers[0].end(libc::SIGQUIT);
    c.run("UPDATE t SET v = 0");
    g.cluster.workers[0].start().unwrap();
    g.kill();
    // The first worker is there, but does not have the last state.
    refused(&mut c, "UPDATE t SET v = 1", "08006");
    refused(&mut c, "SELECT count(*) FROM t", "08006");
    g.back();
    assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 0"), "200");
}

#[test]
fn repair_copies_everything_of_the_table() {
    let g = Ground::new();
    let (from, to) = (g.cluster.workers[0].port, g.cluster.workers[1].port);
    let mut c = g.connect();
    let copy = |shard: &str, rest: &str| {
        format!("SELECT citus_copy_shard_placement({shard}, '127.0.0.1', {from}, '127.0.0.1', {to}{rest})")
    };
    let shard = c.value("SELECT get_shard_id_for_distribution_column('t', 7)");
    refused(&mut c, &copy(&shard, ""), "55000");
    g.kill();
    c.run(
        "UPDATE t SET v = v + 1000; ALTER TABLE t ADD x int; INSERT INTO t VALUES (5001, 1, '', 9)",
    );
    g.back();
    refused(&mut c, &copy("1", ""), "42704");
    refused(&mut c, &copy(&shard, ", 'force_logical'"), "0A000");
    let reverse = format!(
        "SELECT citus_copy_shard_placement({shard}, '127.0.0.1', {to}, '127.0.0.1', {from})"
    );
    refused(&mut c, &reverse, "55000");
    refused(
        &mut c,
        &format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {}", copy(&shard, "")),
        "55000",
    );
    c.run("ROLLBACK");
    c.run("SET ROLE reader_of_copies");
    refused(&mut c, &copy(&shard, ""), "42501");
    c.run("RESET ROLE");
    // Nothing happened so far, and nothing happens when it is rolled back.
    assert_eq!(g.marked(), "t:4 u:4");
    c.run(&format!("BEGIN; {}; ROLLBACK", copy(&shard, ", 'block_writes'")));
    assert_eq!(g.marked(), "t:4 u:4");
    c.run(&format!(
        "SELECT master_copy_shard_placement({shard}, '127.0.0.1', {from}, '127.0.0.1', {to}, do_repair := true)"
    ));
    assert_eq!(g.marked(), "t:3 u:3");
    g.repair(&mut c);
    g.equal();
    let mut w = g.cluster.workers[1].connect(&g.database);
    let about = format!(
        "SELECT (SELECT count(*) FROM pg_index WHERE indrelid = '{0}'::regclass AND indisvalid), \
         (SELECT string_agg(contype, '' ORDER BY contype) FROM pg_constraint WHERE conrelid = '{0}'::regclass), \
         has_table_privilege('reader_of_copies', '{0}', 'SELECT'), \
         (SELECT count(*) FROM pg_attribute WHERE attrelid = '{0}'::regclass AND attname = 'x'), \
         (SELECT count(*) FROM pg_constraint WHERE confrelid = '{0}'::regclass)",
        format_args!("t_{shard}")
    );
    let row: Vec<String> = w.rows(&about).remove(0).into_iter().flatten().collect();
    assert_eq!(row, ["2", "cp", "t", "1", "1"]);
    // The foreign key between the copies works.
    c.run("DELETE FROM t WHERE k = 7");
    assert_eq!(c.value("SELECT count(*) FROM u WHERE k = 7"), "0");
    g.equal();
}

#[test]
fn writers_go_on_while_copies_are_repaired() {
    let g = Ground::new();
    g.kill();
    g.connect().run("UPDATE t SET v = 0");
    g.back();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let done: i64 = std::thread::scope(|s| {
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let (g, stop) = (&g, &stop);
                s.spawn(move || {
                    let (mut c, mut done) = (g.connect(), 0i64);
                    while !stop.load(relaxed) {
                        let k = (done * 7 + n) % 200 + 1;
                        c.run(&format!("UPDATE t SET v = v + 1 WHERE k = {k}"));
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        g.repair(&mut g.connect());
        std::thread::sleep(std::time::Duration::from_millis(500));
        stop.store(true, relaxed);
        writers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    println!("{done} writes");
    assert_eq!(g.connect().value("SELECT sum(v) FROM t"), done.to_string());
    g.equal();
}

#[test]
fn tables_get_more_copies() {
    let g = Ground::new();
    let mut c = g.connect();
    c.run(
        "CREATE TABLE one (k int PRIMARY KEY, v int);
         SELECT create_distributed_table('one', 'k', shard_count := 3, colocate_with := 'none', replication_factor := 1);
         INSERT INTO one SELECT i, i FROM generate_series(1, 100) i",
    );
    assert_eq!(equal_copies(&g.cluster, &g.database, "one"), 0);
    refused(&mut c, "SELECT replicate_table_shards('one', 3)", "22023");
    refused(&mut c, "SELECT replicate_table_shards('r', 2)", "42809");
    c.run("SELECT replicate_table_shards('one', 2, max_shard_copies := 1)");
    assert_eq!(equal_copies(&g.cluster, &g.database, "one"), 1);
    c.run("SELECT replicate_table_shards('one', 2)");
    assert_eq!(equal_copies(&g.cluster, &g.database, "one"), 3);
    c.run("UPDATE one SET v = random() * 1000; DELETE FROM one WHERE v % 2 = 0");
    assert_eq!(equal_copies(&g.cluster, &g.database, "one"), 3);
    // A node that was given up for a while has lost its copies, and gets them back.
    let port = g.cluster.workers[1].port;
    c.run(&format!("SELECT citus_disable_node('127.0.0.1', {port})"));
    c.run("UPDATE one SET v = v + 1; UPDATE t SET v = 1; UPDATE r SET v = 1");
    c.run(&format!("SELECT citus_activate_node('127.0.0.1', {port})"));
    assert_eq!(equal_copies(&g.cluster, &g.database, "one"), 0);
    c.run("SELECT replicate_table_shards('one', 2); SELECT replicate_table_shards('t', 2)");
    assert_eq!(equal_copies(&g.cluster, &g.database, "one"), 3);
    g.equal();
}
