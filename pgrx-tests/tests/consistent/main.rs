//! Reads of several nodes never see a half of a transaction, in the isolation levels and with the
//! setting that promise it; that they do without is the positive control of each test.

mod bank;
mod doubt;
mod gate;
mod hold;
mod rules;

use std::sync::mpsc::{channel, Receiver};
use std::sync::LazyLock;
use std::time::Duration;

use citus_tests::client::{Conn, Error, PgError};
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;
use hold::Way;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

/// A database whose second worker is behind a way on which messages can be held back, with
/// `t(k int primary key, v int)` in eight shards and a row, with 0, on each shard.
pub struct Scene {
    ports: Vec<u16>,
    pub name: String,
    pub way: Way,
    /// Keys on the first and on the second worker, two on different shards of each.
    pub keys: [[String; 2]; 2],
}

impl Scene {
    pub fn new(stem: &str) -> Scene {
        Scene::on(&CLUSTER, stem)
    }

    pub fn on(cluster: &Cluster, stem: &str) -> Scene {
        let name = cluster.bare_database(stem);
        let [first, second] = cluster.workers.as_slice() else { panic!("two workers") };
        let way = Way::to(second.port);
        let mut c = cluster.connect(&name);
        let port = cluster.coordinator.port;
        c.run(&format!("SELECT citus_set_coordinator_host('127.0.0.1', {port})"));
        for port in [first.port, way.port] {
            c.run(&format!("SELECT citus_add_node('127.0.0.1', {port})"));
        }
        c.run(
            "CREATE TABLE t (k int PRIMARY KEY, v int);
             SELECT create_distributed_table('t', 'k', shard_count := 8)",
        );
        let mut keys = |port: u16| -> [String; 2] {
            let sql = format!(
                "SELECT min(k) FROM generate_series(1, 1000) k
                 JOIN pg_dist_shard_placement p
                   ON p.shardid = get_shard_id_for_distribution_column('t', k)
                 WHERE nodeport = {port} GROUP BY p.shardid ORDER BY 1"
            );
            let rows = c.rows(&sql);
            let key = |i: usize| rows[i][0].clone().expect("a key");
            [key(0), key(1)]
        };
        let keys = [keys(first.port), keys(way.port)];
        for k in keys.iter().flatten() {
            c.run(&format!("INSERT INTO t VALUES ({k}, 0)"));
        }
        let ports = cluster.nodes().map(|n| n.port).collect();
        Scene { ports, name, way, keys }
    }

    pub fn connect(&self) -> Conn {
        self.connect_to(0)
    }

    /// A session with a node: 0 is the coordinator.
    #[track_caller]
    pub fn connect_to(&self, node: usize) -> Conn {
        Conn::connect(self.ports[node], "postgres", &self.name).expect("a session")
    }

    /// A transaction that adds 1 on both workers, up to its COMMIT.
    pub fn change(&self, c: &mut Conn) {
        c.run("BEGIN");
        for k in self.keys.iter().flatten() {
            c.run(&format!("UPDATE t SET v = v + 1 WHERE k = {k}"));
        }
    }

    /// Commits a change and stops between the two nodes: it is visible on the first only.
    pub fn half_commit(&self) -> Late<Result<(), Error>> {
        let mut c = self.connect();
        self.change(&mut c);
        self.way.hold(Some("COMMIT PREPARED"));
        let late = Late::start(move || c.simple("COMMIT").map(|_| ()));
        self.way.await_held(1);
        let mut first = self.connect_to(1);
        let sql = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        for _ in 0..3000 {
            if first.value(sql) == "0" {
                return late;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the first node does not commit");
    }
}

/// Something that runs in the background.
pub struct Late<T>(Receiver<T>);

impl<T: Send + 'static> Late<T> {
    pub fn start(f: impl FnOnce() -> T + Send + 'static) -> Late<T> {
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let _ = send.send(f());
        });
        Late(receive)
    }

    /// It does not end within this time.
    #[track_caller]
    pub fn still_runs(&self, millis: u64) {
        let ended = self.0.recv_timeout(Duration::from_millis(millis)).is_ok();
        assert!(!ended, "it did not wait");
    }

    #[track_caller]
    pub fn end(self) -> T {
        self.0.recv_timeout(Duration::from_secs(60)).expect("it ends")
    }
}

#[track_caller]
pub fn server_error(result: Result<impl std::fmt::Debug, Error>) -> Box<PgError> {
    match result {
        Err(Error::Server(e)) => e,
        other => panic!("expected an error of the server, got {other:?}"),
    }
}

pub const SUM: &str = "SELECT sum(v) FROM t";
