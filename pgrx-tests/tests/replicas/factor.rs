//! The number of copies that shards have is changed, and shards are moved.

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{contents, equal_copies, refused};

/// The co-located tables `t` and `u` of six shards with one placement each, reference table `r`.
struct Ground {
    cluster: Cluster,
    database: String,
}

impl Ground {
    fn new(workers: usize, conf: &str) -> Ground {
        let cluster = Cluster::start(workers, Kind::DURABLE, conf);
        let database = cluster.database("factor");
        cluster.connect(&database).run(
            "CREATE TABLE t (k int PRIMARY KEY, v int, w text);
             CREATE TABLE u (k int, n int, PRIMARY KEY (k, n));
             CREATE TABLE r (k int PRIMARY KEY, v int);
             SELECT create_reference_table('r');
             SELECT create_distributed_table('t', 'k', shard_count := 6, replication_factor := 1);
             SELECT create_distributed_table('u', 'k', colocate_with := 't');
             ALTER TABLE u ADD FOREIGN KEY (k) REFERENCES t ON DELETE CASCADE;
             ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES r;
             CREATE INDEX t_w ON t (w);
             INSERT INTO r SELECT i, i FROM generate_series(0, 9) i;
             INSERT INTO t SELECT i, i % 10, 'w' || i FROM generate_series(1, 200) i;
             INSERT INTO u SELECT i, j FROM generate_series(1, 200) i, generate_series(1, 2) j;
             CREATE TABLE plain (k int)",
        );
        Ground { cluster, database }
    }

    fn connect(&self) -> Conn {
        self.cluster.connect(&self.database)
    }

    /// Healthy placements of a table by node, in the order of ports, and all placements.
    fn spread(&self, table: &str) -> (Vec<i64>, i64) {
        let found = contents(&self.cluster, &self.database, table);
        let ports = self.cluster.workers.iter().map(|w| w.port);
        let by_node = ports.map(|p| found.iter().filter(|f| f.1 == p).count() as i64).collect();
        let all = self.connect().value(&format!(
            "SELECT count(*) FROM pg_dist_placement JOIN pg_dist_shard USING (shardid) \
             WHERE logicalrelid = '{table}'::regclass"
        ));
        (by_node, all.parse().unwrap())
    }

    /// Tables of shards that the workers have, whatever the metadata says.
    fn tables(&self) -> Vec<i64> {
        let sql = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^[tu]_[0-9]+$'";
        let workers = &self.cluster.workers;
        workers.iter().map(|w| w.connect(&self.database).value(sql).parse().unwrap()).collect()
    }

    /// The model and the factor that the catalogs tell.
    fn told(&self) -> String {
        self.connect().value(
            "SELECT string_agg(DISTINCT format('%s %s', repmodel, replicationfactor), ',') \
             FROM pg_dist_partition JOIN pg_dist_colocation USING (colocationid) \
             WHERE logicalrelid IN ('t'::regclass, 'u'::regclass)",
        )
    }

    /// Every copy of each shard is read by itself: with any one worker down, all is there.
    fn readable_without_each(&self) {
        for w in &self.cluster.workers {
            w.end(libc::SIGQUIT);
            let mut c = self.connect();
            assert_eq!(c.value("SELECT count(*) || ' ' || sum(v) FROM t"), "200 900");
            assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k)"), "400");
            drop(c);
            w.start().unwrap();
            w.wait_ready().unwrap();
        }
    }

    /// The shard of a key's row, the port of its worker, and that of the next one.
    fn place_of(&self, c: &mut Conn, k: i32) -> (String, u16, u16) {
        let sql = format!(
            "SELECT shardid, nodeport FROM pg_dist_shard_placement \
             WHERE shardid = get_shard_id_for_distribution_column('t', {k}) LIMIT 1"
        );
        let row: Vec<String> = c.rows(&sql).remove(0).into_iter().flatten().collect();
        let from: u16 = row[1].parse().unwrap();
        let at = self.cluster.workers.iter().position(|w| w.port == from).unwrap();
        let to = self.cluster.workers[(at + 1) % self.cluster.workers.len()].port;
        (row[0].clone(), from, to)
    }

    /// The statement that moves the shard of a key's row to the next worker.
    fn move_of(&self, c: &mut Conn, k: i32) -> String {
        let (shard, from, to) = self.place_of(c, k);
        moving(&shard, from, to)
    }
}

fn moving(shard: &str, from: u16, to: u16) -> String {
    format!(
        "SELECT citus_move_shard_placement({shard}, '127.0.0.1', {from}, '127.0.0.1', {to}, \
         shard_transfer_mode := 'block_writes')"
    )
}

/// Tells the writers to stop, also when the test has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "still not: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_factor_goes_up_and_down() {
    let g = Ground::new(3, "");
    let mut c = g.connect();
    assert_eq!(g.told(), "s 1");
    assert_eq!(g.spread("t"), (vec![2, 2, 2], 6));
    // As the guide has it.
    c.run("SELECT citus_set_table_replication_model('t', 'streaming')");
    c.run("SELECT citus_update_table_replication_factor('t', 2)");
    assert_eq!(g.told(), "c 2");
    for table in ["t", "u"] {
        assert_eq!(g.spread(table), (vec![4, 4, 4], 12));
        assert_eq!(equal_copies(&g.cluster, &g.database, table), 6);
    }
    g.readable_without_each();
    let mut c = g.connect();
    c.run(
        "UPDATE t SET w = w || 'x'; DELETE FROM t WHERE k > 190; INSERT INTO t VALUES (191, 0, '')",
    );
    c.run("SELECT citus_update_table_replication_factor('u', 3)");
    assert_eq!(g.told(), "c 3");
    for table in ["t", "u"] {
        assert_eq!(g.spread(table), (vec![6, 6, 6], 18));
        assert_eq!(equal_copies(&g.cluster, &g.database, table), 12);
    }
    c.run("SELECT citus_update_table_replication_factor('t', 3)");
    assert_eq!(g.tables(), [12, 12, 12]);
    // What is rolled back did nothing.
    c.run("BEGIN; SELECT citus_update_table_replication_factor('t', 1); ROLLBACK");
    assert_eq!(g.tables(), [12, 12, 12]);
    assert_eq!(g.told(), "c 3");
    c.run("SELECT citus_update_table_replication_factor('t', 1)");
    assert_eq!(g.told(), "s 1");
    assert_eq!(g.tables(), [4, 4, 4]);
    for table in ["t", "u"] {
        assert_eq!(g.spread(table), (vec![2, 2, 2], 6));
    }
    assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k)"), "380");
    assert_eq!(c.value("SELECT count(*) FROM t WHERE w LIKE '%x'"), "190");
    // A new table of the former shape is co-located again, with one copy.
    c.run(
        "CREATE TABLE v (k int); SELECT create_distributed_table('v', 'k', colocate_with := 't')",
    );
    assert_eq!(g.spread("v"), (vec![2, 2, 2], 6));
}

#[test]
fn models_have_names() {
    let g = Ground::new(2, "");
    let mut c = g.connect();
    for (name, want) in [
        ("coordinator", "c 1"),
        ("streaming", "s 1"),
        ("Statement", "c 1"),
        ("s", "s 1"),
        ("c", "c 1"),
    ] {
        c.run(&format!("SELECT citus_set_table_replication_model('t', '{name}')"));
        assert_eq!(g.told(), want, "{name}");
    }
    c.run("SELECT citus_update_table_replication_factor('t', 2)");
    c.notices.clear();
    c.run("SELECT citus_set_table_replication_model('t', 'streaming')");
    assert_eq!(g.told(), "c 2");
    assert!(
        c.notices.iter().any(|n| n.message.contains("several copies")),
        "{:?}",
        c.notices.len()
    );
    for (sql, code) in [
        ("citus_set_table_replication_model('t', '2pc')", "22023"),
        ("citus_set_table_replication_model('t', 'x')", "22023"),
        ("citus_set_table_replication_model('t', NULL)", "22004"),
        ("citus_set_table_replication_model(NULL, 's')", "22004"),
        ("citus_set_table_replication_model('r', 's')", "42809"),
        ("citus_set_table_replication_model('plain', 's')", "42809"),
        ("citus_update_table_replication_factor('t', 0)", "22023"),
        ("citus_update_table_replication_factor('t', 101)", "22023"),
        ("citus_update_table_replication_factor('t', 3)", "22023"),
        ("citus_update_table_replication_factor('t', NULL)", "22004"),
        ("citus_update_table_replication_factor('r', 2)", "42809"),
        ("citus_update_table_replication_factor('plain', 2)", "42809"),
        ("citus_update_table_replication_factor(0, 2)", "42P01"),
    ] {
        refused(&mut c, &format!("SELECT {sql}"), code);
    }
    let e = refused(&mut c, "SELECT citus_update_table_replication_factor('t', 3)", "22023");
    assert!(e.contains("exceeds the number of nodes that may have shards (2)"), "{e}");
    c.run("CREATE ROLE factor_stranger; SET ROLE factor_stranger");
    refused(&mut c, "SELECT citus_update_table_replication_factor('t', 1)", "42501");
    refused(&mut c, "SELECT citus_set_table_replication_model('t', 's')", "42501");
    c.run("RESET ROLE; DROP ROLE factor_stranger");
    let level =
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT citus_update_table_replication_factor('t', 1)";
    refused(&mut c, level, "55000");
    c.run("ROLLBACK");
    assert_eq!(g.told(), "c 2");
}

#[test]
fn the_factor_with_a_node_away() {
    let g = Ground::new(3, "citus.defer_shard_delete_interval = 300ms\n");
    let mut c = g.connect();
    c.run("SELECT citus_update_table_replication_factor('t', 2)");
    g.cluster.workers[2].end(libc::SIGQUIT);
    // What misses a write is replaced on the nodes that are there.
    c.run("UPDATE t SET w = 'y'");
    c.run("SELECT citus_update_table_replication_factor('t', 2)");
    assert_eq!(equal_copies(&g.cluster, &g.database, "t"), 6);
    assert_eq!(g.spread("t"), (vec![6, 6, 0], 12));
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_cleanup"), "8");
    refused(&mut c, "SELECT citus_update_table_replication_factor('t', 3)", "55000");
    g.cluster.workers[2].start().unwrap();
    g.cluster.workers[2].wait_ready().unwrap();
    c.run("SELECT citus_update_table_replication_factor('t', 3)");
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_cleanup"), "0");
    assert_eq!(g.tables(), [12, 12, 12]);
    assert_eq!(equal_copies(&g.cluster, &g.database, "u"), 12);
    // Those on a node that is away go first, also when nobody has missed them yet.
    g.cluster.workers[1].end(libc::SIGQUIT);
    c.run("SELECT citus_update_table_replication_factor('t', 2)");
    assert_eq!(g.spread("t"), (vec![6, 0, 6], 12));
    g.cluster.workers[1].start().unwrap();
    g.cluster.workers[1].wait_ready().unwrap();
    // The maintenance process may be at some of them.
    wait_until("the third copies are gone", || {
        c.run("CALL citus_cleanup_orphaned_resources()");
        g.tables() == [12, 0, 12]
    });
    assert_eq!(c.value("SELECT count(*) FROM t WHERE w = 'y'"), "200");
}

#[test]
fn writers_go_on_while_the_factor_changes() {
    let g = Ground::new(3, "");
    let stop = AtomicBool::new(false);
    g.connect().run("UPDATE t SET w = '0'");
    let done: i64 = std::thread::scope(|s| {
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let (g, stop) = (&g, &stop);
                s.spawn(move || {
                    let (mut c, mut done) = (g.connect(), 0i64);
                    while !stop.load(Ordering::Relaxed) {
                        let k = (done * 7 + n) % 200 + 1;
                        c.run(&format!("UPDATE t SET w = w::int + 1 WHERE k = {k}"));
                        assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k)"), "400");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let (stopping, mut c) = (Stop(&stop), g.connect());
        for factor in [2, 3, 1, 3, 2] {
            c.run(&format!("SELECT citus_update_table_replication_factor('t', {factor})"));
        }
        drop(stopping);
        writers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    println!("{done} writes");
    assert!(done > 0);
    assert_eq!(g.connect().value("SELECT sum(w::int) FROM t"), done.to_string());
    assert_eq!(equal_copies(&g.cluster, &g.database, "t"), 6);
}

#[test]
fn shards_move() {
    let g = Ground::new(2, "citus.defer_shard_delete_interval = -1\n");
    let mut c = g.connect();
    let (shard, from, to) = g.place_of(&mut c, 7);
    let sql = moving(&shard, from, to);
    refused(&mut c, &sql.replace("block_writes", "force_logical"), "0A000");
    refused(&mut c, &moving(&shard, to, from), "55000");
    refused(&mut c, &moving(&shard, from, from), "55000");
    refused(&mut c, &moving("1", from, to), "42704");
    let at = |c: &mut Conn| {
        c.value(
            "SELECT string_agg(DISTINCT nodeport::text, ',') FROM pg_dist_shard_placement \
             WHERE shardid = get_shard_id_for_distribution_column('t', 7) \
             OR shardid = get_shard_id_for_distribution_column('u', 7)",
        )
    };
    c.run(&format!("BEGIN; {sql}; ROLLBACK"));
    assert_eq!(at(&mut c), from.to_string());
    assert_eq!(g.tables(), [6, 6]);
    // A reader that began before finds what it read.
    let mut reader = g.connect();
    reader.run("BEGIN ISOLATION LEVEL READ COMMITTED; DECLARE c CURSOR FOR SELECT * FROM t");
    reader.run("FETCH 1 FROM c");
    c.run(&sql);
    assert_eq!(at(&mut c), to.to_string());
    assert_eq!(g.told(), "s 1");
    assert_eq!(g.tables().iter().sum::<i64>(), 14);
    c.run("CALL citus_cleanup_orphaned_resources()");
    assert_eq!(g.tables().iter().sum::<i64>(), 14);
    assert_eq!(reader.rows("FETCH ALL FROM c").len(), 199);
    reader.run("COMMIT");
    wait_until("old placements are gone", || {
        c.run("CALL citus_cleanup_orphaned_resources()");
        g.tables().iter().sum::<i64>() == 12
    });
    assert_eq!(c.value("SELECT count(*) FROM pg_dist_cleanup"), "0");
    assert_eq!(c.value("SELECT count(*) || ' ' || sum(v) FROM t"), "200 900");
    assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k) JOIN r ON r.k = t.v"), "400");
    refused(&mut c, "INSERT INTO u VALUES (1000, 1)", "23503");
    c.run("DELETE FROM t WHERE k = 7");
    assert_eq!(c.value("SELECT count(*) FROM u WHERE k = 7"), "0");
    // At once, and back to where it was: the name is the same.
    c.run("SET citus.defer_drop_after_shard_move = off");
    let sql = g.move_of(&mut c, 8);
    c.run(&sql);
    assert_eq!(g.tables().iter().sum::<i64>(), 12);
    c.run("RESET citus.defer_drop_after_shard_move");
    for _ in 0..3 {
        let sql = g.move_of(&mut c, 8);
        c.run(&sql);
        assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k) WHERE k = 8"), "2");
        c.run("CALL citus_cleanup_orphaned_shards()");
        assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k)"), "398");
    }
    let sql = g.move_of(&mut c, 8);
    c.run("CREATE ROLE move_stranger; SET ROLE move_stranger");
    refused(&mut c, &sql, "42501");
    c.run("RESET ROLE; DROP ROLE move_stranger");
}

#[test]
fn writers_go_on_while_shards_move() {
    let g = Ground::new(2, "citus.defer_shard_delete_interval = 100ms\n");
    let stop = AtomicBool::new(false);
    g.connect().run("UPDATE t SET w = '0'");
    let done: i64 = std::thread::scope(|s| {
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let (g, stop) = (&g, &stop);
                s.spawn(move || {
                    let (mut c, mut done) = (g.connect(), 0i64);
                    c.prepare("p", "UPDATE t SET w = w::int + 1 WHERE k = $1").unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        let k = (done * 7 + n) % 200 + 1;
                        match n {
                            0 => c.run(&format!("UPDATE t SET w = w::int + 1 WHERE k = {k}")),
                            1 => c.run(&format!(
                                "BEGIN; UPDATE t SET w = w::int + 1 WHERE k = {k}; \
                             UPDATE u SET n = n WHERE k = {k}; COMMIT"
                            )),
                            2 => c.run(&format!("UPDATE t SET w = w::int + 1 WHERE k IN ({k}, 0)")),
                            _ => drop(c.execute("p", &[Some(k.to_string())]).unwrap()),
                        }
                        assert_eq!(c.value("SELECT count(*) FROM t JOIN u USING (k)"), "400");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let (stopping, mut c) = (Stop(&stop), g.connect());
        for i in 0..12 {
            let sql = g.move_of(&mut c, i);
            c.run(&sql);
        }
        drop(stopping);
        writers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    println!("{done} writes");
    assert!(done > 0);
    assert_eq!(g.connect().value("SELECT sum(w::int) FROM t"), done.to_string());
    wait_until("old placements are gone", || g.tables().iter().sum::<i64>() == 12);
    assert_eq!(g.connect().value("SELECT count(*) FROM t JOIN u USING (k)"), "400");
}
