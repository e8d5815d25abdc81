//! Turning managed tables back into ordinary ones.

use super::info::{self, Relation};
use super::send;
use super::{leftovers, metadata, policies, replicate, rows};
use crate::catalog::{self, Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::session::require_owner;
use crate::pg::{guard, relation};
use pgrx::pg_sys::{self, Oid};

/// `undistribute_table`: the rows come back, the shards go.
pub fn undistribute(relid: Oid, cascade: bool) -> Result<()> {
    if !relation::exists(relid) {
        return Relation::load(relid).map(|_| ());
    }
    catalog::require_coordinator()?;
    let rel = Relation::load(relid)?;
    require_owner(relid, &rel.name)?;
    replicate::require_fresh_snapshots()?;
    relation::lock(relid, pg_sys::AccessExclusiveLock);
    if catalog::table(relid).is_none() {
        let message = format!("table \"{}\" is not distributed", rel.name);
        return Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    let tables = connected(relid)?;
    if tables.len() > 1 && !cascade {
        let others: Vec<String> = tables.iter().skip(1).map(|t| info::name_of(*t)).collect();
        let message = format!("table \"{}\" has foreign keys to or from managed tables", rel.name);
        return Err(Error::unsupported(message)
            .detail(format!("Connected with it: {}.", others.join(", ")))
            .hint(
                "Use cascade_via_foreign_keys => true to undistribute all of them, or drop the \
                   foreign keys.",
            ));
    }
    for t in &tables {
        let rel = Relation::load(*t)?;
        require_owner(*t, &rel.name)?;
        relation::lock(*t, pg_sys::AccessExclusiveLock);
    }
    for t in &tables {
        guard::notice(format!("Moving the rows of \"{}\" back", info::name_of(*t)));
        to_plain(*t)?;
    }
    Ok(())
}

/// The table and all managed ones that foreign keys connect with it.
pub fn connected(relid: Oid) -> Result<Vec<Oid>> {
    let mut found = vec![relid];
    let mut at = 0;
    while let Some(t) = found.get(at).copied() {
        for k in info::foreign_keys(t)? {
            for other in [k.from, k.to] {
                if !found.contains(&other) && catalog::table(other).is_some() {
                    found.push(other);
                }
            }
        }
        at += 1;
    }
    Ok(found)
}

/// Brings one table's rows back, forgets its metadata and drops its shards. The caller has
/// checked privileges and locked the table.
pub fn to_plain(relid: Oid) -> Result<()> {
    let Some(table) = catalog::table(relid) else { return Ok(()) };
    let rel = Relation::load(relid)?;
    policies::require_unread(&rel)?;
    let columns = info::columns(relid)?;
    relation::empty(relid)?;
    rows::move_from_shards(&rel, &columns, &table)?;
    leftovers::record_stale(relid, &rel.schema, &rel.name)?;
    metadata::delete(&table)?;
    drop_shards(&table, &rel.schema, &rel.name)
}

/// Drops all shards of a table.
pub fn drop_shards(table: &Table, schema: &str, name: &str) -> Result<()> {
    let qualified = crate::pg::fmgr::qualified(schema, name);
    let command = format!("DROP TABLE IF EXISTS {qualified} CASCADE");
    send::to_shards(table, vec![(schema.to_owned(), name.to_owned())], &[command])
}

/// `remove_local_tables_from_metadata`: local tables that were added along with others and are
/// not connected with a reference table any more become ordinary ones.
pub fn remove_local_tables() -> Result<()> {
    catalog::require_coordinator()?;
    let sql = "SELECT logicalrelid::oid FROM pg_dist_partition \
        WHERE partmethod = 'n' AND repmodel = 's' AND colocationid = 0 ORDER BY 1";
    for row in info::rows(sql, &[])? {
        let relid = row.oid(0);
        if catalog::table(relid).is_none() {
            continue;
        }
        let group = connected(relid)?;
        let only_local =
            group.iter().all(|t| catalog::table(*t).is_some_and(|t| t.kind == Kind::Local));
        if only_local {
            for t in group {
                let rel = Relation::load(t)?;
                require_owner(t, &rel.name)?;
                relation::lock(t, pg_sys::AccessExclusiveLock);
                to_plain(t)?;
            }
        }
    }
    Ok(())
}
