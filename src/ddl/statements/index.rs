//! CREATE INDEX, REINDEX, CREATE and ALTER STATISTICS.

use super::{concurrently, hold_copies, plainly, Managed};
use crate::ddl::checks;
use crate::ddl::{info, send};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::qualified;
use crate::pg::statement::{is_on, Name};
use crate::pg::tree::Tree;
use crate::pg::{object, relation, session, spi};
use pgrx::pg_sys::{Oid, ReindexObjectType as Kind};

/// Indexes of a table.
pub fn indexes(table: Oid) -> Result<Vec<Oid>> {
    let sql = "SELECT indexrelid FROM pg_index WHERE indrelid = $1 ORDER BY 1";
    Ok(info::rows(sql, &[spi::oid(table)])?.iter().map(|r| r.oid(0)).collect())
}

/// The CREATE INDEX statement of an index, with its name.
pub fn definition(index: Oid) -> Result<String> {
    let sql = "SELECT pg_get_indexdef($1)";
    Ok(info::rows(sql, &[spi::oid(index)])?.first().map(|r| r.text(0)).unwrap_or_default())
}

/// CREATE INDEX.
pub fn create_index(call: Call) -> Result<()> {
    let statement = call.statement();
    let Some(m) = Managed::named(statement.relation())? else { return plainly(&call) };
    if statement.concurrent() {
        return concurrently::create_index(call, m);
    }
    // Which index is new is told by comparison: nobody else makes one meanwhile.
    let mode = pgrx::pg_sys::ShareRowExclusiveLock;
    let Some(m) = m.locked(mode)? else { return plainly(&call) };
    let before = indexes(m.rel.oid)?;
    plainly(&call)?;
    relation::command_counter_increment();
    require_key(&m)?;
    for index in indexes(m.rel.oid)?.into_iter().filter(|i| !before.contains(i)) {
        let (schema, name) = session::relation_name(index).unwrap_or_default();
        m.apply_with((schema, name), &[definition(index)?])?;
    }
    Ok(())
}

/// Refuses unique indexes without the distribution column.
pub fn require_key(m: &Managed) -> Result<()> {
    let key = m.table.key.as_ref().map(|k| k.attno);
    checks::uniqueness(&m.rel, &info::columns(m.rel.oid)?, key)
}

/// Options in parentheses, without CONCURRENTLY.
fn reindex_options(statement: Tree) -> String {
    let list: Vec<String> = statement
        .options()
        .iter()
        .filter(|o| o.name != "concurrently")
        .map(|o| {
            let value = o.value.as_ref().map(|v| format!(" {v}"));
            format!("{}{}", o.name, value.unwrap_or_default())
        })
        .filter(|o| !o.is_empty())
        .collect();
    if list.is_empty() {
        String::new()
    } else {
        format!("({}) ", list.join(", "))
    }
}

/// REINDEX.
pub fn reindex(call: Call) -> Result<()> {
    let statement = call.statement();
    let kind = statement.reindex_kind();
    if !matches!(kind, Some(Kind::REINDEX_OBJECT_INDEX | Kind::REINDEX_OBJECT_TABLE)) {
        return reindex_many(call);
    }
    let target = statement.relation().and_then(Name::find);
    let Some(m) = Managed::named(statement.relation())? else { return plainly(&call) };
    let (schema, name) = target.and_then(session::relation_name).unwrap_or_default();
    let what = if kind == Some(Kind::REINDEX_OBJECT_INDEX) { "INDEX" } else { "TABLE" };
    let options = reindex_options(statement);
    let object = qualified(&schema, &name);
    if statement.concurrent() {
        let sql = format!("REINDEX {options}{what} CONCURRENTLY {object}");
        plainly(&call)?;
        return concurrently::on_shards(&m, &[(schema, name)], &sql);
    }
    plainly(&call)?;
    m.apply_with((schema, name), &[format!("REINDEX {options}{what} {object}")])
}

/// REINDEX SCHEMA, SYSTEM, DATABASE: shards here are tables like others; other nodes get the same
/// statement.
fn reindex_many(call: Call) -> Result<()> {
    let statement = call.statement();
    let name = statement.object_name();
    let options = reindex_options(statement);
    let concurrently = if statement.concurrent() { "CONCURRENTLY " } else { "" };
    let groups = match statement.reindex_kind() {
        Some(Kind::REINDEX_OBJECT_SCHEMA) => {
            super::drop::remote_groups_of_schema(name.as_deref().unwrap_or_default())?
        }
        Some(Kind::REINDEX_OBJECT_DATABASE) => super::maintain::remote_groups()?,
        _ => Vec::new(),
    };
    let what = match statement.reindex_kind() {
        Some(Kind::REINDEX_OBJECT_SCHEMA) => "SCHEMA",
        _ => "DATABASE",
    };
    plainly(&call)?;
    let object = crate::pg::fmgr::quote_ident(&name.unwrap_or_default());
    let sql = format!("REINDEX {options}{what} {concurrently}{object}");
    super::maintain::apart(&groups.iter().map(|g| (*g, vec![sql.clone()])).collect::<Vec<_>>())
}

/// CREATE STATISTICS.
pub fn create_statistics(call: Call) -> Result<()> {
    let statement = call.statement();
    let Some(m) = Managed::named(statement.relations().into_iter().next())? else {
        return plainly(&call);
    };
    let list = || -> Result<Vec<Oid>> {
        let sql = "SELECT oid FROM pg_statistic_ext WHERE stxrelid = $1 ORDER BY 1";
        Ok(info::rows(sql, &[spi::oid(m.rel.oid)])?.iter().map(|r| r.oid(0)).collect())
    };
    let before = list()?;
    plainly(&call)?;
    relation::command_counter_increment();
    for oid in list()?.into_iter().filter(|o| !before.contains(o)) {
        let Some((_, schema, name)) = object::statistics(oid) else { continue };
        let sql = "SELECT pg_get_statisticsobjdef($1)";
        let text = info::rows(sql, &[spi::oid(oid)])?.first().map(|r| r.text(0));
        m.apply_with((schema, name), &[text.unwrap_or_default()])?;
    }
    Ok(())
}

/// ALTER STATISTICS ... SET STATISTICS.
pub fn alter_statistics(call: Call) -> Result<()> {
    let Some((names, target)) = call.statement().alter_statistics() else {
        return plainly(&call);
    };
    let found = object::find_statistics(&names);
    hold_copies(found.iter().map(|f| f.0).collect());
    plainly(&call)?;
    let Some((relid, schema, name)) = found else { return Ok(()) };
    let Some(m) = Managed::load(relid)? else { return Ok(()) };
    let sql = format!("ALTER STATISTICS {} SET STATISTICS {target}", qualified(&schema, &name));
    send::to_shards(&m.table, vec![(schema, name)], &[sql])
}

/// Whether a boolean option is on.
pub fn has_option(statement: Tree, name: &str) -> bool {
    statement.options().iter().any(|o| o.name == name && is_on(o.value.as_deref()))
}
