//! Safe wrappers of PostgreSQL: the only place, with `hooks` and the CustomScan adapter, where
//! `unsafe` is at home, and the only place that knows server versions.

pub mod aggregate;
pub mod aggregate_call;
pub mod catalog_write;
pub mod column;
pub mod command;
pub mod copy;
pub mod database;
pub mod fmgr;
pub mod guard;
pub mod guc;
pub mod guc_scan;
pub mod hash;
pub mod invalidation;
pub mod lookup;
pub mod memory;
pub mod net;
pub mod nodes;
pub mod object;
pub mod process;
pub mod procs;
pub mod query;
pub mod relation;
pub mod rows;
pub mod scan;
pub mod server;
pub mod session;
pub mod shmem;
pub mod spi;
pub mod statement;
pub mod subxact;
pub mod transmit;
pub mod tree;
pub mod value;
pub mod wait;
pub mod xact;
