//! Nobody becomes somebody else: what clients say about themselves, internal functions, shadowing
//! objects, hostile names, and secrets that must not show. Every attack has a control beside it
//! that shows that it would be seen if it worked.

mod functions;
mod moves;
mod names;
mod owners;
mod passwords;
mod policies;
mod proofs;
mod rights;
mod roles;
mod settings;
mod shadows;
mod tls;

use std::sync::OnceLock;

use citus_tests::client::{Conn, Error, PgError};
use citus_tests::cluster::Cluster;
use citus_tests::server::{Kind, Server};

/// Everything that the servers are asked to do stands in their logs.
const LOUD: &str = "log_statement = all\nlog_min_messages = debug1\nlog_min_duration_statement = 0";

fn cluster() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(2, Kind::FAST, LOUD))
}

/// A session of a user.
#[track_caller]
fn session(node: &Server, user: &str, database: &str) -> Conn {
    Conn::connect(node.port, user, database).unwrap_or_else(|e| panic!("{}: {e}", node.name))
}

/// The error that a statement must give.
#[track_caller]
fn error(c: &mut Conn, sql: &str) -> PgError {
    match c.simple(sql) {
        Ok(r) => panic!("{sql}\nsucceeded: {r:?}"),
        Err(Error::Server(e)) => *e,
        Err(e) => panic!("{sql}\n{e}"),
    }
}

/// The statement must fail with this SQLSTATE.
#[track_caller]
fn refused(c: &mut Conn, sql: &str, code: &str) -> PgError {
    let e = error(c, sql);
    assert_eq!(e.code, code, "{sql}\n{e}");
    e
}

/// Makes an ordinary role on every node, with a schema of its own everywhere.
fn user(name: &str, database: &str) {
    for node in cluster().workers_first() {
        let mut c = node.connect(database);
        c.run("SET citus.enable_create_role_propagation = off");
        c.run(&format!("CREATE ROLE {name} LOGIN; CREATE SCHEMA {name} AUTHORIZATION {name}"));
    }
}
