//! CREATE INDEX, DROP INDEX and REINDEX CONCURRENTLY: outside of transaction blocks, shard by
//! shard. What fails half way leaves an invalid index on the table, as it does in PostgreSQL; it
//! can be dropped, with all its parts, and made again.

use super::index::{definition, indexes, require_key};
use super::{maintain, plainly, Managed};
use crate::catalog;
use crate::ddl::apply::Batch;
use crate::ddl::dropped;
use crate::ddl::names::shard_name;
use crate::ddl::send::{self, Named};
use crate::error::{sqlstate, Error, Result};
use crate::hooks::utility::Call;
use crate::pg::fmgr::qualified;
use crate::pg::statement::Name;
use crate::pg::{relation, session, spi, xact};
use pgrx::pg_sys::{self, Oid};

/// CREATE INDEX CONCURRENTLY on a managed table.
pub fn create_index(call: Call, m: Managed) -> Result<()> {
    let relid = m.rel.oid;
    if session::require_owner(relid, &m.rel.name).is_err() {
        // The server refuses it.
        return plainly(&call);
    }
    // What no transaction holds from the first step to the last: shards are not copied meanwhile.
    let _held = relation::lock_for_session(relid, pg_sys::ShareUpdateExclusiveLock);
    let before = indexes(relid)?;
    plainly(&call)?;
    // The server has committed its part and begun a new transaction.
    let new: Vec<Oid> = indexes(relid)?.into_iter().filter(|i| !before.contains(i)).collect();
    let Some(&index) = new.first() else { return Ok(()) };
    let Some((schema, name)) = session::relation_name(index) else { return Ok(()) };
    if let Err(e) = require_key(&m) {
        // It holds no row yet: it goes as it came.
        let drop = format!("DROP INDEX {}", qualified(&schema, &name));
        dropped::ignoring(|| spi::execute(&drop, &[]).map(|_| ()))?;
        xact::commit_and_start();
        return Err(e);
    }
    let sql = definition(index)?;
    set_valid(index, false)?;
    xact::commit_and_start();
    let sql = concurrent_form(&sql)?;
    m.ensure_used()?;
    xact::commit_and_start();
    let on = [(schema, name)];
    on_shards(&m, &on, &sql)?;
    set_valid(index, true)
}

/// The statement with CONCURRENTLY.
fn concurrent_form(sql: &str) -> Result<String> {
    for start in ["CREATE UNIQUE INDEX ", "CREATE INDEX "] {
        if let Some(rest) = sql.strip_prefix(start) {
            return Ok(format!("{start}CONCURRENTLY IF NOT EXISTS {rest}"));
        }
    }
    Err(Error::internal("unexpected form of an index definition"))
}

fn set_valid(index: Oid, valid: bool) -> Result<()> {
    let sql = "UPDATE pg_catalog.pg_index SET indisvalid = $2 WHERE indexrelid = $1";
    spi::execute_as_owner(sql, &[spi::oid(index), spi::bool(valid)])?;
    relation::command_counter_increment();
    Ok(())
}

/// DROP INDEX CONCURRENTLY: the shards first, so that a failure can be repeated.
pub fn drop_index(call: Call) -> Result<()> {
    let statement = call.statement();
    let found = statement.dropped_relations().into_iter().find_map(Name::find);
    let table = found.and_then(relation::table_of_index).map_or(Ok(None), Managed::load)?;
    let (Some(index), Some(m)) = (found, table) else { return plainly(&call) };
    session::require_owner(m.rel.oid, &m.rel.name)?;
    if !call.is_top_level() || xact::in_block() {
        return Err(Error::new(
            sqlstate::ACTIVE_SQL_TRANSACTION,
            "DROP INDEX CONCURRENTLY cannot run inside a transaction block",
        ));
    }
    if crate::pg::object::constraint_of_index(index) {
        // The server refuses it.
        return plainly(&call);
    }
    let Some((schema, name)) = session::relation_name(index) else { return plainly(&call) };
    let _held = relation::lock_for_session(m.rel.oid, pg_sys::ShareUpdateExclusiveLock);
    let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {}", qualified(&schema, &name));
    on_shards(&m, &[(schema, name)], &sql)?;
    xact::ensure_snapshot();
    dropped::ignoring(|| call.proceed())
}

/// Runs a statement that manages transactions for each shard, one after the other on a node, the
/// nodes at the same time.
pub fn on_shards(m: &Managed, names: &[(String, String)], sql: &str) -> Result<()> {
    let mut all = vec![m.rel.pair()];
    all.extend(names.iter().cloned());
    let main = Named { table: &m.table, names: all };
    let commands = [sql.to_owned()];
    let batches = send::batches(&main, &[], &commands)?;
    let local = catalog::local_group()?;
    let mut remote = Vec::new();
    for (group, batch) in &batches {
        if *group != local {
            remote.push((*group, texts(batch)));
        }
    }
    maintain::apart(&remote)?;
    match batches.get(&local) {
        Some(batch) => batch.run_top_level(),
        None => Ok(()),
    }
}

/// The statement for each shard as text, with its names replaced. Only for statements whose names
/// are qualified and at known places: those that this module writes.
fn texts(batch: &Batch) -> Vec<String> {
    let mut list = Vec::new();
    for ids in &batch.ids {
        for c in &batch.commands {
            let mut sql = c.clone();
            for ((schema, name), id) in batch.relations.iter().zip(ids) {
                let new = qualified(schema, &shard_name(name, *id));
                sql = replace_name(&sql, &qualified(schema, name), &new);
            }
            // CREATE INDEX names its index without schema.
            if let (Some((_, name)), Some(id)) = (batch.relations.get(1), ids.first()) {
                if sql.starts_with("CREATE") {
                    let old = format!(" {} ON ", crate::pg::fmgr::quote_ident(name));
                    let new =
                        format!(" {} ON ", crate::pg::fmgr::quote_ident(&shard_name(name, *id)));
                    sql = sql.replacen(&old, &new, 1);
                }
            }
            list.push(sql);
        }
    }
    list
}

/// Replaces the first occurrence of a name that is followed by its end.
fn replace_name(sql: &str, old: &str, new: &str) -> String {
    let mut from = 0;
    while let Some(at) = sql.get(from..).and_then(|s| s.find(old)).map(|p| p + from) {
        let end = at + old.len();
        let next = sql.get(end..).and_then(|s| s.chars().next());
        if next.is_none_or(|c| c.is_whitespace() || c == '(') {
            return format!(
                "{}{new}{}",
                sql.get(..at).unwrap_or_default(),
                sql.get(end..).unwrap_or_default()
            );
        }
        from = end;
    }
    sql.to_owned()
}

#[cfg(test)]
mod tests {
    use super::replace_name;

    #[test]
    fn whole_names_only() {
        let sql = "CREATE INDEX i ON public.t USING btree (a) WHERE public.tx(a)";
        let got = replace_name(sql, "public.t", "public.t_1");
        assert_eq!(got, "CREATE INDEX i ON public.t_1 USING btree (a) WHERE public.tx(a)");
        assert_eq!(replace_name("X public.tx", "public.t", "n"), "X public.tx");
        assert_eq!(replace_name("X public.t", "public.t", "n"), "X n");
    }
}
