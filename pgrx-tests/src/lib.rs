//! Cluster harness and differential tests of the `citus` extension.
//!
//! * [`server`] starts and stops PostgreSQL servers in temporary directories;
//! * [`template`] makes their data directories;
//! * [`cluster`] makes a coordinator and its workers out of them;
//! * [`client`] is a small blocking client that keeps everything a test wants to compare:
//!   command tags, transaction status, every field of an error, results as text;
//! * [`forged`] gives prepared transactions names;
//! * [`proxy`] makes connections between nodes fail at a chosen message;
//! * [`counting`] is a proxy that counts round trips and holds messages back;
//! * [`postgres_source`] has the statements of PostgreSQL's own regression suite;
//! * [`docs`] keeps sections of the documentation true;
//! * [`corpus`] reads statement files, [`oracle`] runs them on plain PostgreSQL and on a
//!   cluster and reports every difference.
//!
//! The format of the statement files is described in [`corpus`].

pub mod client;
pub mod cluster;
pub mod compare;
pub mod corpus;
pub mod counting;
pub mod docs;
pub mod forged;
pub mod oracle;
pub mod postgres_source;
pub mod process;
pub mod proxy;
pub mod server;
pub mod split;
pub mod template;
