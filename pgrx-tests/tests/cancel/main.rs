//! Cancel, termination and timeouts are noticed at once wherever a statement is, and leave nothing
//! behind.
//!
//! Each stage brings a statement to a place where a backend waits or works, stops it there, and
//! measures from the request to the moment when the client has the error. The times contain what
//! PostgreSQL itself needs (a request to cancel is a connection and a process of its own), which
//! the first stage shows; the table is printed. The bounds are for a debug build on a busy machine.

mod again;
mod apart;
mod crash;
mod limits;
mod shutdown;
mod stages;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error};
use citus_tests::cluster::Cluster;
use citus_tests::server::{Kind, Server};
use stages::STAGES;

/// What half of the tries of a stage must not exceed, and what none may; on a busy machine more, by
/// what PostgreSQL itself takes there.
const MEDIAN: Duration = Duration::from_millis(100);
const WORST: Duration = Duration::from_millis(1000);
const TRIES: usize = 3;
/// Rounds of tries until one is within the bounds.
const ROUNDS: usize = 3;
/// Time for everything to come to rest; less than what the statements would take.
const REST: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_millis(200);

const SCHEMA: &str = "
CREATE TABLE t (k int PRIMARY KEY, v text);
SELECT create_distributed_table('t', 'k', shard_count := 8);
INSERT INTO t SELECT i, 'v' FROM generate_series(1, 400) i;
CREATE TABLE checked (k int CHECK (slow(k) > 0));
SELECT create_distributed_table('checked', 'k', colocate_with := 't');
CREATE TABLE into_here (k int, v int);
SELECT create_distributed_table('into_here', 'k', colocate_with := 't');
CREATE TABLE late (k int);
SELECT create_distributed_table('late', 'k', colocate_with := 't');
";

/// More than fits into the buffers on its way.
const FAT: &str = "
CREATE TABLE fat (k int, v text);
SELECT create_distributed_table('fat', 'k', shard_count := 8);
INSERT INTO fat SELECT i, repeat('x', 1000) FROM generate_series(1, 60000) i;
";

const SLOW: &str = "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql STABLE AS
    'BEGIN PERFORM pg_sleep(0.3); RETURN i; END'";

/// Makes the commit of a row in `late` last, on the node where it is.
const LATE: &str = "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(20); RETURN NULL; END';
    DO $$ DECLARE shard regclass; BEGIN
        FOR shard IN SELECT oid FROM pg_class WHERE relname ~ '^late_[0-9]+$' LOOP
            EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER INSERT ON %s
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()', shard);
        END LOOP;
    END $$";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Cancel,
    Terminate,
    Timeout,
}

#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// The client takes what comes.
    On,
    /// It is slower than the server, so that data is waiting for it everywhere.
    Slow,
    /// It takes nothing before the statement was stopped.
    Off,
}

#[derive(Clone, Copy, PartialEq)]
enum Reached {
    /// After a moment.
    Soon,
    /// When a node runs something for the statement.
    Remote,
    /// When the client has got rows.
    Rows,
}

/// What has to be undone when a try is over.
type Finish = Box<dyn FnOnce()>;

struct Stage {
    name: &'static str,
    /// Sends the statement, after it set the scene with other sessions.
    begin: fn(&Ground, &mut Conn, &mut Instant) -> Finish,
    reading: Reading,
    /// When it is reached.
    reached: Reached,
}

struct Ground {
    cluster: Cluster,
    database: String,
}

impl Ground {
    fn new() -> Ground {
        let g = Ground::small();
        g.connect().run(FAT);
        g
    }

    /// Without the large table.
    fn small() -> Ground {
        let cluster = Cluster::start(2, Kind::FAST, "");
        let database = cluster.database("cancel");
        for node in cluster.nodes() {
            node.connect(&database).run(SLOW);
        }
        cluster.connect(&database).run(SCHEMA);
        for worker in &cluster.workers {
            worker.connect(&database).run(LATE);
        }
        Ground { cluster, database }
    }

    /// What statements have written to temporary files.
    fn files(&self) -> Vec<String> {
        let read = |s: &Server| std::fs::read_dir(s.dir.join("data/base/pgsql_tmp"));
        let lists = self.cluster.nodes().filter_map(|s| read(s).ok());
        lists.flatten().flatten().map(|e| e.path().display().to_string()).collect()
    }

    /// Nothing may be left on any node that the statements of a try have used.
    #[track_caller]
    fn clean(&self, label: &str) {
        for node in self.cluster.nodes() {
            let mut c = node.connect(&self.database);
            for (what, from) in [("left", BUSY), ("locks", LOCKS), ("prepared", PREPARED)] {
                none(node, &mut c, &format!("{label}: {what}"), from);
            }
        }
        let end = Instant::now() + REST;
        while !self.files().is_empty() {
            assert!(Instant::now() < end, "{label}: files {:?}", self.files());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The data is what it was before.
    #[track_caller]
    fn unchanged(&self, c: &mut Conn, label: &str) {
        assert_eq!(c.value("SELECT count(*) FROM t WHERE v = 'v'"), "400", "{label}");
        for table in ["checked", "into_here", "late"] {
            let rows = c.value(&format!("SELECT count(*) FROM {table}"));
            assert_eq!(rows, "0", "{label}: {table}");
        }
    }

    fn connect(&self) -> Conn {
        self.cluster.connect(&self.database)
    }

    /// Waits until a query gives 0 on every server.
    #[track_caller]
    fn none<'a>(&self, nodes: impl Iterator<Item = &'a Server>, what: &str, sql: &str) {
        for node in nodes {
            none(node, &mut node.connect(&self.database), what, sql);
        }
    }
}

/// Waits until a query gives 0.
#[track_caller]
fn none(node: &Server, c: &mut Conn, what: &str, sql: &str) {
    let end = Instant::now() + REST;
    while c.value(&format!("SELECT count(*) {sql}")) != "0" {
        if Instant::now() > end {
            panic!("{what} on {}: {:?}", node.name, c.rows(&format!("SELECT * {sql}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

const ACTIVE: &str = "FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state = 'active'";
const BUSY: &str = "FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'";
const LOCKS: &str = "FROM pg_locks WHERE pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const PREPARED: &str = "FROM pg_prepared_xacts WHERE database = current_database()";

/// Waits until the statement is where it should be, stops it, and says when that was.
fn stop(g: &Ground, c: Target, stage: &Stage, how: Stop, flags: &Flags) -> Instant {
    if how == Stop::Timeout {
        return flags.sent + TIMEOUT;
    }
    let mut here = g.connect();
    let mut workers: Vec<Conn> = g.cluster.workers.iter().map(|w| w.connect(&g.database)).collect();
    let end = Instant::now() + Duration::from_secs(60);
    let mut active =
        || workers.iter_mut().any(|w| w.value(&format!("SELECT count(*) {ACTIVE}")) != "0");
    while !match stage.reached {
        Reached::Soon => true,
        Reached::Remote => active(),
        Reached::Rows => flags.rows.load(Ordering::Relaxed),
    } {
        assert!(Instant::now() < end, "{} is not reached", stage.name);
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(40));
    let now = Instant::now();
    match how {
        Stop::Cancel => c.canceller.fire().unwrap(),
        _ => here.run(&format!("SELECT pg_terminate_backend({})", c.pid)),
    }
    now
}

/// How to reach the session that is to be stopped.
#[derive(Clone, Copy)]
struct Target {
    canceller: citus_tests::client::Canceller,
    pid: i32,
}

/// What the threads of a try tell each other.
struct Flags {
    sent: Instant,
    rows: AtomicBool,
    fired: AtomicBool,
}

impl Flags {
    fn new(sent: Instant) -> Flags {
        Flags { sent, rows: AtomicBool::new(false), fired: AtomicBool::new(false) }
    }
}

/// Reads the answer until the error, and says what it was and when it came.
fn read(c: &mut Conn, reading: Reading, flags: &Flags) -> (Error, Instant) {
    let fired = || flags.fired.load(Ordering::Relaxed);
    while reading == Reading::Off && !fired() {
        std::thread::sleep(Duration::from_micros(200));
    }
    loop {
        let slow = reading == Reading::Slow && !fired();
        match c.skip(if slow { 50 } else { 1000 }) {
            Err(e) => return (e, c.error_at.unwrap_or_else(Instant::now)),
            Ok((rows, true)) => panic!("the statement ended before it was stopped, {rows} rows"),
            Ok(_) => flags.rows.store(true, Ordering::Relaxed),
        }
        if slow {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// One try: the time from the request to the error.
fn attempt(g: &Ground, stage: &Stage, how: Stop) -> Duration {
    let mut c = g.connect();
    assert_eq!(c.value("SELECT count(*) FROM t"), "400");
    if how == Stop::Timeout {
        c.run(&format!("SET statement_timeout = {}", TIMEOUT.as_millis()));
    }
    let target = Target { canceller: c.canceller(), pid: c.pid };
    let mut sent = Instant::now();
    let finish = (stage.begin)(g, &mut c, &mut sent);
    let flags = Flags::new(sent);
    let (at, (e, came)) = std::thread::scope(|s| {
        let stopper = s.spawn(|| {
            let at = stop(g, target, stage, how, &flags);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            flags.fired.store(true, Ordering::Relaxed);
            at
        });
        let outcome = read(&mut c, stage.reading, &flags);
        (stopper.join().unwrap(), outcome)
    });
    // A client that does not read gets the end of the connection instead of the last words.
    let expected = match how {
        Stop::Terminate if stage.reading != Reading::On => &["57P01", "lost"][..],
        Stop::Terminate => &["57P01"],
        _ => &["57014"],
    };
    assert!(expected.contains(&e.code()), "{} {how:?}: {e}", stage.name);
    let label = format!("{} {how:?}", stage.name);
    g.none(g.cluster.workers.iter(), &format!("{label}: still active"), ACTIVE);
    finish();
    if how != Stop::Terminate {
        if c.status != b'I' {
            c.run("ROLLBACK");
        }
        c.run("SET statement_timeout = 0");
        g.unchanged(&mut c, &label);
        c.run("UPDATE t SET v = 'v' WHERE k < 100");
    }
    g.clean(&label);
    came.saturating_duration_since(at)
}

fn millis(d: Duration) -> String {
    format!("{:.1}", d.as_secs_f64() * 1000.0)
}

/// Median and longest time of some tries.
fn round(g: &Ground, stage: &Stage, how: Stop) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..TRIES).map(|_| attempt(g, stage, how)).collect();
    times.sort_unstable();
    (times[TRIES / 2], times[TRIES - 1])
}

/// The limits for a machine that is as busy as this one is now.
fn limits_now(g: &Ground, how: Stop) -> (Duration, Duration) {
    let (median, worst) = round(g, &STAGES[0], how);
    (MEDIAN + median * 5, WORST + worst * 5)
}

/// Tries a stage in all ways; a line of the table, and what is wrong with it.
fn judge(g: &Ground, stage: &Stage) -> (String, Vec<String>) {
    let (mut line, mut wrong) = (format!("{:34}", stage.name), Vec::new());
    for how in [Stop::Cancel, Stop::Terminate, Stop::Timeout] {
        // PostgreSQL ends a statement's time before it commits.
        if how == Stop::Timeout && stage.name.starts_with("COMMIT") {
            continue;
        }
        let (mut median, mut worst) = round(g, stage, how);
        let mut limits = (MEDIAN, WORST);
        for _ in 1..ROUNDS {
            if median <= limits.0 && worst <= limits.1 {
                break;
            }
            // Other processes may have the processors: PostgreSQL is slower then, too.
            limits = limits_now(g, how);
            (median, worst) = round(g, stage, how);
        }
        line.push_str(&format!(" {:>7} {:>7}", millis(median), millis(worst)));
        if median > limits.0 || worst > limits.1 {
            wrong.push(format!("{} {how:?}: median {median:?}, worst {worst:?}", stage.name));
        }
    }
    (line, wrong)
}

#[test]
fn statements_stop_at_once() {
    let g = Ground::new();
    let only = std::env::var("CITUS_TEST_STAGE").unwrap_or_default();
    let mut wrong = Vec::new();
    println!("{:34} {:>15} {:>15} {:>15}", "ms: median, worst", "cancel", "terminate", "timeout");
    for stage in STAGES.iter().filter(|s| s.name.contains(&only)) {
        let (line, found) = judge(&g, stage);
        println!("{line}");
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A node that takes the connection and never says anything.
#[test]
fn connecting_stops_at_once() {
    let g = Ground::new();
    let mut limits = vec![limits_now(&g, Stop::Cancel)];
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let sql = format!(
        "UPDATE pg_dist_node SET nodeport = {port} WHERE nodeport = {}",
        g.cluster.workers[0].port
    );
    let back = format!(
        "UPDATE pg_dist_node SET nodeport = {} WHERE nodeport = {port}",
        g.cluster.workers[0].port
    );
    g.connect().run(&sql);
    let mut all = Vec::new();
    loop {
        let times = connecting(&g);
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("connecting: median {}, worst {} ms", millis(median), millis(worst));
        if limits.iter().any(|l| median < l.0 && worst < l.1) {
            break;
        }
        all.push((median, worst));
        assert!(all.len() < ROUNDS, "{all:?}, limits {limits:?}");
        // Other processes may have the processors: PostgreSQL is slower then, too.
        g.connect().run(&back);
        limits.push(limits_now(&g, Stop::Cancel));
        g.connect().run(&sql);
    }

    // Without any of them its own limit ends it, and the error names the node.
    let mut c = g.connect();
    c.run("SET citus.node_connection_timeout = '300ms'");
    let began = Instant::now();
    let e = c.simple("SELECT count(*) FROM t").unwrap_err();
    let took = began.elapsed();
    assert_eq!(e.code(), "08006", "{e}");
    assert!(e.to_string().contains(&format!("127.0.0.1:{port}")), "{e}");
    assert!(took > Duration::from_millis(290) && took < Duration::from_secs(15), "{took:?}");
    assert_eq!(c.value("SELECT 1"), "1");
}

/// How long it takes, sorted, until a session that connects to a silent node has stopped.
fn connecting(g: &Ground) -> Vec<Duration> {
    let mut times = Vec::new();
    for how in [Stop::Cancel, Stop::Terminate, Stop::Timeout].repeat(3) {
        let mut c = g.connect();
        if how == Stop::Timeout {
            c.run(&format!("SET statement_timeout = {}", TIMEOUT.as_millis()));
        }
        let target = Target { canceller: c.canceller(), pid: c.pid };
        let flags = Flags::new(Instant::now());
        c.send("SELECT count(*) FROM t").unwrap();
        let at = std::thread::scope(|s| {
            let stopper = s.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                stop(g, target, &STAGES[0], how, &flags)
            });
            let (e, came) = read(&mut c, Reading::On, &flags);
            let expected = if how == Stop::Terminate { "57P01" } else { "57014" };
            assert_eq!(e.code(), expected, "{e}");
            came.saturating_duration_since(stopper.join().unwrap())
        });
        times.push(at);
        if how != Stop::Terminate {
            assert_eq!(c.value("SELECT 1"), "1");
        }
    }
    times.sort_unstable();
    times
}
