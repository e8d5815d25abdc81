//! Background processes: a launcher for the server, and for each database with the extension a
//! maintenance process that does what is due there ([`duties`]).
//!
//! Both come with the server, also after a crash and without any client, and on a standby only
//! after its promotion. [`board`] is what they and the sessions know of each other; it lies below
//! the other modules, so that those can ask for work.

pub mod board;
mod duties;
mod launcher;
mod maintenance;
pub mod notice;

/// What `pg_stat_activity.backend_type` shows for maintenance processes.
const KIND: &str = "citus maintenance";

/// Lets the server start the launcher; from `_PG_init`.
pub fn register() {
    launcher::register();
}
