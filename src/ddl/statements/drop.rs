//! DROP, TRUNCATE, DROP OWNED, REASSIGN OWNED.

use super::{concurrently, hold_copies, plainly, Managed};
use crate::catalog;
use crate::ddl::info::{self, Relation};
use crate::ddl::names::shard_name;
use crate::ddl::{dependencies, extension, room, send};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::statement::{truncated_along, Name};
use crate::pg::{spi, xact};
use pgrx::pg_sys::{ObjectType, Oid};
use std::collections::BTreeMap;

/// DROP of any kind of object.
pub fn drop(call: Call) -> Result<()> {
    let statement = call.statement();
    if statement.concurrent() {
        return concurrently::drop_index(call);
    }
    if statement.drop_kind() == Some(ObjectType::OBJECT_EXTENSION)
        && statement.dropped_names().iter().any(|n| n == "citus")
    {
        let alone = call.is_top_level() && !xact::in_block();
        extension::drop_managed_tables(statement.cascades(), alone)?;
    }
    if statement.drop_kind() != Some(ObjectType::OBJECT_SCHEMA) {
        return plainly(&call);
    }
    let mut schemas = Vec::new();
    for name in statement.dropped_names() {
        let groups = remote_groups_of_schema(&name)?;
        extension::leave_schema(&name)?;
        schemas.push((name, groups));
    }
    plainly(&call)?;
    // The one that each database begins with stays on other nodes: they do not make it anew.
    for (name, groups) in schemas.into_iter().filter(|s| s.0 != "public") {
        room::drop_unused(&groups, &[format!("DROP SCHEMA {}", quote_ident(&name))])?;
    }
    Ok(())
}

/// Other nodes' groups that hold shards of tables of a schema, or all when tables are made with what is in
/// it.
pub fn remote_groups_of_schema(schema: &str) -> Result<Vec<i32>> {
    let sql = "SELECT DISTINCT l.groupid FROM pg_dist_shard s \
        JOIN pg_dist_placement l ON l.shardid = s.shardid \
        JOIN pg_class c ON c.oid = s.logicalrelid \
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 ORDER BY 1";
    let local = catalog::local_group()?;
    let groups = info::rows(sql, &[spi::text(schema)])?;
    let groups: Vec<i32> = groups.iter().map(|r| r.num(0)).filter(|g| *g != local).collect();
    match dependencies::is_schema_used(schema)? {
        true => dependencies::everywhere(&groups),
        false => Ok(groups),
    }
}

/// TRUNCATE.
pub fn truncate(call: Call) -> Result<()> {
    let statement = call.statement();
    let mut tables: Vec<Oid> = statement.relations().into_iter().filter_map(Name::find).collect();
    if statement.cascades() {
        tables.extend(truncated_along(&tables));
    }
    let mut managed = Vec::new();
    for t in tables {
        managed.extend(Managed::load(t)?);
    }
    plainly(&call)?;
    truncate_shards(&managed)
}

/// Empties the shards of tables: one statement for each node, so that foreign keys between them
/// do not matter.
pub fn truncate_shards(tables: &[Managed]) -> Result<()> {
    let mut by_group: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for m in tables {
        // The statement may have waited for a lock, and a copy have become healthy meanwhile.
        let table = catalog::table(m.rel.oid).unwrap_or_else(|| m.table.clone());
        for s in &table.shards {
            let name = qualified(&m.rel.schema, &shard_name(&m.rel.name, s.id));
            for p in &s.placements {
                by_group.entry(p.group).or_default().push(name.clone());
            }
        }
    }
    let work: Vec<(i32, String)> = by_group
        .into_iter()
        .map(|(g, names)| (g, format!("TRUNCATE TABLE {}", names.join(", "))))
        .collect();
    send::on_nodes(&work)
}

/// Managed tables that satisfy a condition on `pg_class c` with the roles as `$1`.
fn tables_of_roles(condition: &str, roles: &[String]) -> Result<Vec<Oid>> {
    let sql = format!(
        "SELECT c.oid FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid \
         WHERE {condition} ORDER BY 1"
    );
    let quoted: Vec<String> = roles
        .iter()
        .map(|r| format!("\"{}\"", r.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    let array = format!("{{{}}}", quoted.join(","));
    Ok(info::rows(&sql, &[spi::text(&array)])?.iter().map(|r| r.oid(0)).collect())
}

/// DROP OWNED: tables go with their shards; privileges are revoked on shards too.
pub fn drop_owned(call: Call) -> Result<()> {
    let roles = call.statement().owned_roles();
    let granted = tables_of_roles(
        "EXISTS (SELECT FROM aclexplode(c.relacl) a \
            WHERE pg_get_userbyid(a.grantee)::text = ANY ($1::text[])) \
         OR EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = c.oid \
            AND pg_get_userbyid(a.grantee)::text = ANY ($1::text[]))",
        &roles,
    )?;
    hold_copies(granted.clone());
    plainly(&call)?;
    for relid in granted {
        if !crate::pg::relation::exists(relid) {
            continue;
        }
        if let Some(m) = Managed::load(relid)? {
            let list: Vec<String> = roles.iter().map(|r| quote_ident(r)).collect();
            let sql = format!("REVOKE ALL ON TABLE {} FROM {}", m.rel.qualified(), list.join(", "));
            m.apply(&[sql])?;
        }
    }
    Ok(())
}

/// REASSIGN OWNED.
pub fn reassign_owned(call: Call) -> Result<()> {
    let roles = call.statement().owned_roles();
    let owned = tables_of_roles("pg_get_userbyid(c.relowner)::text = ANY ($1::text[])", &roles)?;
    plainly(&call)?;
    crate::pg::relation::command_counter_increment();
    for relid in owned {
        if let Some(m) = Managed::load(relid)? {
            let owner = Relation::load(relid)?.owner;
            change_owner(&m, &owner)?;
        }
    }
    Ok(())
}

/// Gives the shards of a table a new owner.
pub fn change_owner(m: &Managed, owner: &str) -> Result<()> {
    dependencies::ensure_roles(&[owner.to_owned()], &send::groups_of(&m.table))?;
    m.apply(&[format!("ALTER TABLE {} OWNER TO {}", m.rel.qualified(), quote_ident(owner))])
}
