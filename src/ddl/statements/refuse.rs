//! Statements that cannot be applied to shards.

use super::{plainly, Managed};
use crate::ddl::info;
use crate::error::{Error, Result};
use crate::hooks::utility::Call;
use crate::pg::spi;
use crate::pg::tree::Tree;

/// The error for a statement that is not propagated.
pub fn not_supported(statement: &str, table: &str) -> Error {
    Error::unsupported(format!("{statement} is not supported on distributed table \"{table}\""))
        .hint("Run undistribute_table first, or do without.")
}

/// Refuses a statement that names a managed table, runs others.
pub fn refuse(call: Call) -> Result<()> {
    let statement = call.statement();
    refuse_managed(statement)?;
    plainly(&call)
}

/// Refuses a statement that names a managed table.
pub fn refuse_managed(statement: Tree) -> Result<()> {
    let named = statement.relation().into_iter().chain(statement.relations());
    for name in named {
        if let Some(m) = Managed::named(Some(name))? {
            return Err(not_supported(&statement.command_name(), &m.rel.name));
        }
    }
    Ok(())
}

/// ALTER TABLE ALL IN TABLESPACE.
pub fn move_all(call: Call) -> Result<()> {
    let sql =
        "SELECT c.relname FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid \
        WHERE c.reltablespace = (SELECT oid FROM pg_tablespace WHERE spcname = $1) \
        ORDER BY 1 LIMIT 1";
    let tablespace = call.statement().object_name().unwrap_or_default();
    if let Some(r) = info::rows(sql, &[spi::text(&tablespace)])?.first() {
        return Err(not_supported(&call.statement().command_name(), &r.text(0)));
    }
    plainly(&call)
}
