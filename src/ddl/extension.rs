//! The end of the extension itself: it must not go while rows are in shards, whatever takes it along.

use super::info;
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::pg::{session, spi, xact};
use pgrx::pg_sys::Oid;

fn needed() -> Error {
    let message = "cannot drop extension citus because other objects depend on it";
    Error::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
}

/// Before the extension goes: tables whose rows are in shards depend on it.
///
/// They are dropped in a transaction of their own: one that has changed several nodes needs the
/// extension's catalogs to commit.
pub fn drop_managed_tables(cascade: bool, alone: bool) -> Result<()> {
    let sql = "SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'm' \
        FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid \
        JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 1";
    let tables = info::rows(sql, &[])?;
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.iter().map(|r| r.text(0)).collect();
    if !cascade || !alone {
        let hint = match cascade {
            false => "Run undistribute_table for them, or use DROP ... CASCADE to drop them too.",
            true => "Drop them first, or do not use a transaction block.",
        };
        return Err(needed()
            .detail(format!("Tables that it manages: {}.", names.join(", ")))
            .hint(hint));
    }
    for r in &tables {
        let kind = if r.bool(1) { "MATERIALIZED VIEW" } else { "TABLE" };
        spi::execute(&format!("DROP {kind} IF EXISTS {} CASCADE", r.text(0)), &[])?;
    }
    xact::commit_and_start();
    xact::ensure_snapshot();
    Ok(())
}

/// Before a schema is dropped: views of ours that users expect there move to `pg_catalog`.
///
/// Otherwise the cascade would take the extension along, which is not what `DROP SCHEMA public CASCADE` says.
pub fn leave_schema(schema: &str) -> Result<()> {
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_extension e \
        JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid \
            AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' \
        JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'v' \
        JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE e.extname = 'citus' AND n.nspname = $1 \
            AND n.nspname NOT IN ('pg_catalog', 'citus', 'citus_internal') \
            AND pg_has_role(n.nspowner, 'USAGE')";
    for r in info::rows(sql, &[spi::text(schema)])? {
        let sql = format!("ALTER VIEW {} SET SCHEMA pg_catalog", r.text(0));
        spi::execute_as_owner(&sql, &[])?;
    }
    Ok(())
}

/// Called just before a relation is dropped: the metadata does not go while it says where rows are.
///
/// Statements that name the extension have been looked at before. Here it goes by a cascade (DROP OWNED,
/// say), which would leave the tables behind, empty.
pub fn refuse_without_metadata(relid: Oid) {
    let ours = |r: (String, String)| r.0 == "pg_catalog" && r.1 == "pg_dist_partition";
    if session::relation_name(relid).is_some_and(ours) && catalog::has_tables(relid) {
        let hint = "Run undistribute_table for the tables that it manages, or drop them first.";
        needed().hint(hint).raise();
    }
}
