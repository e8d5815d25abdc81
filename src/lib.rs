//! Distributed tables for PostgreSQL.
use pgrx::prelude::*;
pgrx::pg_module_magic!(name, version);

#[pg_extern(sql = false)]
fn citus_version() -> &'static str { "x" }

#[allow(non_snake_case)]
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {}
