//! COPY of tables under our management.
//!
//! COPY FROM reads the client, the file or the program with PostgreSQL's own code, looks only for
//! the distribution column in a line, and passes the line on to its shard as it is. COPY TO STDOUT
//! passes the nodes' own COPY data to the client; other destinations and shards of this server are
//! read by a query.

mod chunk;
mod errors;
mod format;
mod from;
mod key;
mod router;
mod scan;
mod sink;
mod streams;
mod to;

pub use sink::RowSink;

use crate::catalog;
use crate::error::Result;
use crate::pg::copy::Command;
use crate::pg::xact;
use crate::txn::{consistent, sight};

/// Runs a COPY statement that names a table under our management; answers the number of rows.
/// `None` means that the statement is PostgreSQL's to run.
pub fn process_utility(command: &Command) -> Result<Option<u64>> {
    let Some(relid) = command.relation() else { return Ok(None) };
    let Some(table) = catalog::table(relid) else {
        if !command.is_from() && xact::has_one_snapshot() {
            consistent::reads_here()?;
            sight::check_plain(relid)?;
        }
        return Ok(None);
    };
    if command.is_from() {
        return from::run(command).map(Some);
    }
    to::run(command, &table).map(Some)
}
