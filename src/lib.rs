//! Citus for PostgreSQL, in Rust: sharded and replicated tables over many nodes.
//!
//! The way of a query is told in `docs/architecture.md`.
#![warn(missing_docs)]

pub mod catalog;
pub mod cluster;
pub mod copy;
pub mod ddl;
pub mod error;
pub mod executor;
pub mod hooks;
pub mod model;
pub mod pg;
pub mod plan;
pub mod planner;
pub mod remote;
pub mod settings;
pub mod stats;
pub mod txn;
pub mod udf;
pub mod worker;

pgrx::pg_module_magic!(name, version);

/// Called by PostgreSQL when it loads the library.
#[allow(non_snake_case)]
#[no_mangle]
pub extern "C-unwind" fn _PG_init() {
    pg::guard::install_panic_hook();
    pg::guard::entry_result(settings::require_preload);
    pg::guard::entry(settings::register);
    remote::kept::register();
    hooks::shmem::register();
    catalog::register();
    txn::register();
    pg::guard::watch_reports();
    executor::register();
    hooks::copy::register();
    hooks::analysis::register();
    hooks::planner::register();
    hooks::execution::register();
    hooks::utility::register();
    hooks::database::register();
    worker::register();
    // The last to be installed is the first to be called: around everything else.
    hooks::nesting::register();
}
