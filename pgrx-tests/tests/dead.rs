//! A worker that is dead, or that does not answer, ends the statements that need it in bounded
//! time with an error that names it, and nothing else.

use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error};
use citus_tests::cluster::Cluster;
use citus_tests::process;
use citus_tests::server::{Kind, Server};

struct Ground {
    cluster: Cluster,
    database: String,
    /// A key on each worker.
    keys: [u32; 2],
}

fn ground() -> Ground {
    let cluster = Cluster::start(2, Kind::DURABLE, "");
    let database = cluster.database("dead");
    let mut c = cluster.connect(&database);
    c.run(
        "CREATE TABLE t (k int PRIMARY KEY, v text);
         SELECT create_distributed_table('t', 'k', shard_count := 8);
         INSERT INTO t SELECT i, 'v' FROM generate_series(1, 400) i",
    );
    let key = |c: &mut Conn, port: u16| {
        let sql = format!(
            "SELECT min(k) FROM generate_series(1, 400) k, pg_dist_placement p, pg_dist_node n
             WHERE p.shardid = get_shard_id_for_distribution_column('t', k)
               AND n.groupid = p.groupid AND n.nodeport = {port}"
        );
        c.value(&sql).parse().unwrap()
    };
    let keys = [key(&mut c, cluster.workers[0].port), key(&mut c, cluster.workers[1].port)];
    Ground { cluster, database, keys }
}

impl Ground {
    fn connect(&self) -> Conn {
        let mut c = self.cluster.connect(&self.database);
        assert_eq!(c.value("SELECT count(*) FROM t"), "400");
        c
    }

    /// The statement must fail within the time, with an error that names the second worker.
    #[track_caller]
    fn fails(&self, c: &mut Conn, sql: &str, limit: Duration) {
        let began = Instant::now();
        let lines: String = (1000..1100).map(|k| format!("{k}\tx\n")).collect();
        let Err(Error::Server(e)) = c.copy_in(sql, lines.as_bytes()) else {
            panic!("{sql} did not fail")
        };
        let took = began.elapsed();
        println!("{:.0} ms: {sql}: {e}", took.as_secs_f64() * 1000.0);
        assert!(took < limit, "{sql}: {took:?}: {e}");
        let node = format!("127.0.0.1:{}", self.cluster.workers[1].port);
        assert!(e.to_string().contains(&node), "{sql}: {e} does not name {node}");
        // Whether a COMMIT reached the node cannot be known.
        let expected = if sql == "COMMIT" { "08007" } else { "08006" };
        assert_eq!(e.code, expected, "{sql}: {e}");
    }

    /// What does not need the second worker goes on.
    #[track_caller]
    fn others_work(&self, c: &mut Conn) {
        let began = Instant::now();
        let k = self.keys[0];
        assert_eq!(c.value(&format!("SELECT v FROM t WHERE k = {k}")), "v");
        c.run(&format!("UPDATE t SET v = 'v' WHERE k = {k}"));
        assert_eq!(c.value("SELECT 1"), "1");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}

/// A postmaster and its processes.
fn family(server: &Server) -> Vec<i32> {
    let postmaster = server.pid().unwrap();
    let mut all = vec![postmaster];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|s| s.split_whitespace().nth(1));
        if parent.and_then(|p| p.parse().ok()) == Some(postmaster) {
            all.push(pid);
        }
    }
    all
}

/// Kills the postmaster, as a crash of the machine would end all of it.
fn kill(server: &Server) {
    let all = family(server);
    server.end(libc::SIGKILL);
    // Its backends may be in the middle of something: a dead machine has none either.
    all.into_iter().skip(1).for_each(|p| {
        process::signal(p, libc::SIGKILL);
    });
}

/// A machine that has other things to do needs its time; one that waits for a dead node waits longer,
/// as long as `citus.node_connection_timeout` at least.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_dead_worker_is_an_error_and_no_more() {
    let g = ground();
    let dead = &g.cluster.workers[1];
    let (mut idle, mut block) = (g.connect(), g.connect());
    block.run("BEGIN");
    block.run(&format!("UPDATE t SET v = 'lost' WHERE k = {}", g.keys[1]));
    // One statement runs while the worker dies.
    let mut running = g.connect();
    running.send("SELECT count(*) FROM t, generate_series(1, 9999) a, generate_series(1, 9999) b WHERE a * b + k < 0").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    kill(dead);
    let e = running.receive().unwrap_err();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    println!("{:.0} ms after the kill: {e}", began.elapsed().as_secs_f64() * 1000.0);
    let node = format!("127.0.0.1:{}", dead.port);
    assert!(e.to_string().contains(&node), "{e}");

    let one = format!("SELECT v FROM t WHERE k = {}", g.keys[1]);
    for c in [&mut idle, &mut running] {
        g.fails(c, &one, SOON);
        g.fails(c, "SELECT count(*) FROM t", SOON);
        g.fails(c, "UPDATE t SET v = 'w'", SOON);
        g.fails(c, "COPY t FROM STDIN", SOON);
        g.others_work(c);
    }
    // The block is lost as a whole, and the session is not.
    g.fails(&mut block, "COMMIT", SOON);
    assert_eq!(block.status, b'I');
    g.others_work(&mut block);
    // Sessions of clients that come now are as good.
    let mut new = g.cluster.connect(&g.database);
    g.fails(&mut new, &one, SOON);
    g.others_work(&mut new);

    dead.start().unwrap();
    for c in [&mut idle, &mut running, &mut block, &mut new] {
        assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'v'"), "400");
        c.run("UPDATE t SET v = 'v'");
    }
}

#[test]
fn a_restarted_worker_is_not_noticed_between_statements() {
    let g = ground();
    let mut c = g.connect();
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGKILL] {
        g.cluster.workers[1].end(signal);
        g.cluster.workers[1].start().unwrap();
        assert_eq!(c.value("SELECT count(*) FROM t"), "400");
        c.run("BEGIN; UPDATE t SET v = 'v'; COMMIT");
    }
}

/// Goes on however the test ends: a stopped server could not be shut down.
struct Stopped(Vec<i32>);

impl Stopped {
    fn new(server: &Server) -> Stopped {
        let all = family(server);
        all.iter().for_each(|&p| {
            process::signal(p, libc::SIGSTOP);
        });
        Stopped(all)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.iter().for_each(|&p| {
            process::signal(p, libc::SIGCONT);
        });
    }
}

#[test]
fn a_worker_that_stands_still_is_left_by_timeout() {
    let g = ground();
    let (mut idle, mut other, mut block) = (g.connect(), g.connect(), g.connect());
    block.run(&format!("BEGIN; UPDATE t SET v = 'lost' WHERE k = {}", g.keys[1]));
    let stopped = Stopped::new(&g.cluster.workers[1]);
    let one = format!("SELECT v FROM t WHERE k = {}", g.keys[1]);
    let timed = |c: &mut Conn, sql: &str| {
        c.run("SET statement_timeout = '500ms'");
        let began = Instant::now();
        let e = c.simple(sql).unwrap_err();
        let took = began.elapsed();
        println!("{:.0} ms: {sql}: {e}", took.as_secs_f64() * 1000.0);
        assert_eq!(e.code(), "57014", "{sql}: {e}");
        // The node cannot take the request to cancel: that has a second.
        assert!(took > Duration::from_millis(490) && took < SOON, "{took:?}");
        c.run("SET statement_timeout = 0");
    };
    timed(&mut idle, &one);
    g.others_work(&mut idle);
    timed(&mut other, "SELECT count(*) FROM t");
    g.others_work(&mut other);
    // A new connection has a limit of its own.
    let mut new = g.cluster.connect(&g.database);
    new.run("SET citus.node_connection_timeout = '500ms'");
    g.fails(&mut new, &one, SOON);
    // Those that work may need longer on a busy machine.
    new.run("RESET citus.node_connection_timeout");
    g.others_work(&mut new);
    // A block that the client gives up does not wait for the node for long.
    let began = Instant::now();
    block.run("ROLLBACK");
    println!("ROLLBACK: {:.0} ms", began.elapsed().as_secs_f64() * 1000.0);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    g.others_work(&mut block);
    drop(stopped);
    for c in [&mut idle, &mut other, &mut new, &mut block] {
        assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'v'"), "400");
    }
}
