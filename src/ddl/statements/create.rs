//! CREATE TABLE next to managed tables, REFRESH of distributed materialized views.

use super::{plainly, Managed};
use crate::catalog::{self, Kind};
use crate::ddl::checks::Target;
use crate::ddl::create::{self, Request};
use crate::ddl::{dropped, info, rows};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::relation;
use crate::pg::statement::Name;
use crate::settings;
use pgrx::pg_sys::{self, Oid};

/// CREATE TABLE: a table with a foreign key to a reference table becomes a managed local one, so
/// that the key can be enforced.
pub fn create_table(call: Call) -> Result<()> {
    let statement = call.statement();
    let parents = statement.relations();
    if parents.is_empty() && statement.referenced_tables().is_empty() {
        return plainly(&call);
    }
    if !parents.is_empty() {
        for parent in parents {
            if let Some(m) = Managed::named(Some(parent))? {
                return Err(super::refuse::not_supported("inheritance", &m.rel.name));
            }
        }
    }
    let existed = statement.relation().and_then(Name::find).is_some();
    plainly(&call)?;
    relation::command_counter_increment();
    match statement.relation().and_then(Name::find) {
        Some(relid) if !existed => manage_if_connected(relid),
        _ => Ok(()),
    }
}

/// Adds a local table to the metadata when a foreign key leads to a reference table.
pub fn manage_if_connected(relid: Oid) -> Result<()> {
    if !settings::enable_local_reference_table_foreign_keys()
        || relation::kind(relid) != b'r'
        || catalog::table(relid).is_some()
    {
        return Ok(());
    }
    let mut reference = false;
    for k in info::foreign_keys(relid)?.iter().filter(|k| k.from == relid) {
        match catalog::table(k.to).map(|t| t.kind) {
            Some(Kind::Reference) => reference = true,
            Some(Kind::Hash | Kind::Single) => return Ok(()),
            _ => {}
        }
    }
    if !reference || info::Relation::load(relid)?.persistence == b't' {
        return Ok(());
    }
    let mut request = Request::new(relid, Target::Local);
    request.automatic = true;
    create::convert(&request)
}

/// REFRESH MATERIALIZED VIEW: the server fills the view itself, then its rows go to the shards.
pub fn refresh(mut call: Call) -> Result<()> {
    let Some(m) = Managed::named(call.statement().relation())? else { return plainly(&call) };
    let statement = call.writable();
    // Concurrent readers see the shards, whose rows are replaced in one transaction.
    statement.clear_concurrent();
    dropped::following(|| call.proceed())?;
    relation::command_counter_increment();
    super::drop::truncate_shards(std::slice::from_ref(&m))?;
    if statement.skips_data() {
        return Ok(());
    }
    relation::lock(m.rel.oid, pg_sys::AccessExclusiveLock);
    let source = rows::Source::open(m.rel.oid)?;
    let columns = info::columns(m.rel.oid)?;
    if source.is_empty() {
        source.close();
        return Ok(());
    }
    rows::move_quietly(&m.rel, &columns, &m.table, source)?;
    relation::empty(m.rel.oid)
}
