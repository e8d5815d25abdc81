//! A coordinator and its workers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;

use crate::client::Conn;
use crate::server::{Kind, Server};
use crate::template::DATABASE as TEMPLATE;

/// A coordinator with any number of workers; none means that shards live on the coordinator.
pub struct Cluster {
    pub coordinator: Server,
    pub workers: Vec<Server>,
    /// CREATE DATABASE takes a lock on its template: one at a time.
    making: Mutex<()>,
}

impl Cluster {
    /// Starts the servers, which have the template database.
    pub fn start(workers: usize, kind: Kind, conf: &str) -> Cluster {
        let mut names = vec!["coordinator".to_owned()];
        names.extend((1..=workers).map(|n| format!("worker{n}")));
        let mut servers = start_all(&names, kind, conf);
        let coordinator = servers.remove(0);
        let cluster = Cluster { coordinator, workers: servers, making: Mutex::new(()) };
        for node in cluster.nodes() {
            if kind.citus {
                // It was made once for all of them, and servers have different ones.
                node.connect(TEMPLATE).run(
                    "UPDATE pg_dist_node_metadata SET metadata
                       = jsonb_set(metadata, '{server_id}', to_jsonb(gen_random_uuid()::text))",
                );
            }
        }
        cluster
    }

    /// The coordinator, then the workers.
    pub fn nodes(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.coordinator).chain(&self.workers)
    }

    /// The workers, then the coordinator: an order for roles. What the coordinator has, another test
    /// that adds a node to its database may bring to the workers meanwhile.
    pub fn workers_first(&self) -> impl Iterator<Item = &Server> {
        self.workers.iter().chain(std::iter::once(&self.coordinator))
    }

    /// Makes a database on every node, with the extension, and adds the workers to it.
    pub fn database(&self, stem: &str) -> String {
        let name = self.bare_database(stem);
        let mut c = self.coordinator.connect(&name);
        if !self.workers.is_empty() {
            c.run(&format!(
                "SELECT citus_set_coordinator_host('127.0.0.1', {})",
                self.coordinator.port
            ));
        }
        for w in &self.workers {
            c.run(&format!("SELECT citus_add_node('127.0.0.1', {})", w.port));
        }
        name
    }

    /// Makes a database on every node, with the extension, that knows no other node.
    pub fn bare_database(&self, stem: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{stem}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let _guard = self.making.lock().unwrap_or_else(|e| e.into_inner());
        for node in self.nodes() {
            node.connect("postgres").run(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"));
        }
        name
    }

    /// A session with the coordinator.
    #[track_caller]
    pub fn connect(&self, database: &str) -> Conn {
        self.coordinator.connect(database)
    }
}

fn start_all(names: &[String], kind: Kind, conf: &str) -> Vec<Server> {
    std::thread::scope(|s| {
        let started: Vec<_> =
            names.iter().map(|n| s.spawn(move || Server::with_template(n, kind, conf))).collect();
        started
            .into_iter()
            .map(|t| match t.join() {
                Ok(Ok(server)) => server,
                Ok(Err(e)) => panic!("{e}"),
                Err(e) => std::panic::resume_unwind(e),
            })
            .collect()
    })
}
