//! Copies of shards for nodes that do not have them (yet): of reference tables, and of others when
//! `transfer` says so.

use super::apply::Batch;
use super::definition::{self, Definition};
use super::info::{self, Column, ForeignKey, Relation};
use super::names::shard_name;
use super::rows::{load_here, load_there, no_placement, stored, text_rows, FETCH, SHARD_CHUNK};
use super::send::{self, Named};
use super::{dependencies, leftovers, metadata, policies};
use crate::catalog::{self, Kind, Shard, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::{qualified, quote_ident, quote_literal};
use crate::pg::rows::{with_portable_text, TableScan};
use crate::pg::{guard, relation, spi};
use crate::txn::run;
use pgrx::pg_sys::{self, Oid};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A shard that a group misses.
pub(super) struct Missing {
    rel: Relation,
    columns: Vec<Column>,
    keys: Vec<ForeignKey>,
    /// The shard as it is elsewhere, without the new placement.
    source: Shard,
    definition: Definition,
}

/// Gives a group a copy of every reference table that it misses, in the running transaction.
/// Writers of these tables wait until its end; readers go on. The caller holds
/// [`catalog::lock_nodes`], so that no table is created meanwhile without the group in mind.
pub fn reference_tables_to(group: i32) -> Result<()> {
    let tables = missing_tables(group)?;
    if tables.is_empty() {
        return Ok(());
    }
    require_fresh_snapshots()?;
    for t in &tables {
        relation::lock(*t, pg_sys::ExclusiveLock);
    }
    let mut made = Vec::new();
    for t in tables {
        if let Some(m) = prepare(t, 0, group)? {
            guard::notice(format!("Replicating reference table \"{}\" to the node...", m.rel.name));
            let from = source_group(&m.source, catalog::local_group()?)?;
            copy(&m, from, group)?;
            made.push(m);
        }
    }
    // What refers from one table to another comes when all of them are there.
    for m in &made {
        finish(m, group)?;
    }
    Ok(())
}

/// With one snapshot for the whole transaction the copy could miss what others committed before
/// the lock was granted.
pub(super) fn require_fresh_snapshots() -> Result<()> {
    let isolation = spi::value("SELECT current_setting('transaction_isolation')", &[])?;
    if isolation.as_deref() == Some("read committed") {
        return Ok(());
    }
    Err(Error::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "shards can be copied in a READ COMMITTED transaction only",
    )
    .hint("Start the transaction with BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED."))
}

/// Reference tables without a healthy placement on the group, in the order of locking.
fn missing_tables(group: i32) -> Result<Vec<Oid>> {
    let sql = "SELECT t.logicalrelid::oid FROM pg_dist_partition t \
        JOIN pg_dist_shard s ON s.logicalrelid = t.logicalrelid \
        WHERE t.partmethod = 'n' AND t.repmodel = 't' AND NOT EXISTS (\
            SELECT FROM pg_dist_placement p \
            WHERE p.shardid = s.shardid AND p.groupid = $1 AND p.shardstate = 1) ORDER BY 1";
    Ok(info::rows(sql, &[spi::i32(group)])?.iter().map(|r| r.oid(0)).collect())
}

/// Registers the placement of a table's shard (by position) and makes the empty shard.
pub(super) fn prepare(relid: Oid, index: usize, group: i32) -> Result<Option<Missing>> {
    let Some(before) = catalog::table(relid) else { return Ok(None) };
    let Some(source) = before.shards.get(index).cloned() else { return Ok(None) };
    let rel = Relation::load(relid)?;
    let columns = info::columns(relid)?;
    let keys = info::foreign_keys(relid)?;
    let definition = definition::read(&rel, &keys)?;
    dependencies::ensure(&rel, &columns, &[group])?;
    let shard = shard_name(&rel.name, source.id);
    leftovers::forget(group, &qualified(&rel.schema, &shard))?;
    drop_leftover(&rel.schema, &shard, group)?;
    // One that is copied anew is another placement: see `txn::sight`.
    let back = "UPDATE pg_catalog.pg_dist_placement SET shardstate = 1, placementid = \
        nextval('pg_catalog.pg_dist_placement_placementid_seq'::regclass) \
        WHERE shardid = $1 AND groupid = $2";
    if spi::execute_as_owner(back, &[spi::i64(source.id), spi::i32(group)])?.1 == 0 {
        metadata::insert_placements(&[(source.id, group)])?;
    }
    relation::command_counter_increment();
    let m = Missing { rel, columns, keys, source, definition };
    to_group(&m, group, &m.definition.table)?;
    relation::command_counter_increment();
    Ok(Some(m))
}

/// Drops what an earlier membership of the node may have left behind.
fn drop_leftover(schema: &str, shard: &str, group: i32) -> Result<()> {
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {}",
        quote_literal(schema),
        quote_literal(shard)
    );
    if run::on_group(group, &sql, false)?.rows.is_empty() {
        return Ok(());
    }
    let drop = format!("DROP TABLE {} CASCADE", qualified(schema, shard));
    run::on_group(group, &drop, true).map(|_| ())
}

fn table_now(m: &Missing) -> Result<Rc<Table>> {
    catalog::table(m.rel.oid).ok_or_else(|| Error::internal("reference table is gone"))
}

/// Applies commands on the table's own name to the group's shard.
fn to_group(m: &Missing, group: i32, commands: &[String]) -> Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    let table = table_now(m)?;
    let mut names = vec![m.rel.pair()];
    names.extend(m.definition.dependents.iter().cloned());
    apply_to(m, group, send::batches(&Named { table: &table, names }, &[], commands)?)
}

/// Applies what the batches have for the group's shard.
fn apply_to(m: &Missing, group: i32, mut batches: BTreeMap<i32, Batch>) -> Result<()> {
    batches.retain(|g, _| *g == group);
    for b in batches.values_mut() {
        b.ids.retain(|ids| ids.first() == Some(&m.source.id));
    }
    send::apply(&batches)
}

/// Indexes and the rest of the definition, then foreign keys to reference and co-located tables.
pub(super) fn finish(m: &Missing, group: i32) -> Result<()> {
    to_group(m, group, &m.definition.rest)?;
    let table = table_now(m)?;
    apply_to(m, group, policies::batches(&m.rel, &table, None, &m.definition.policies)?)?;
    let outgoing = m.keys.iter().filter(|k| k.from == m.rel.oid);
    for (k, command) in outgoing.zip(&m.definition.foreign_keys) {
        let referenced = catalog::table(k.to);
        let mut others = Vec::new();
        match &referenced {
            Some(_) if k.to == m.rel.oid => {}
            Some(t) if t.kind == Kind::Reference || t.colocated_with(&table) => {
                others.push(Named { table: t, names: vec![Relation::load(k.to)?.pair()] });
            }
            _ => continue,
        }
        let main = Named { table: &table, names: vec![m.rel.pair()] };
        apply_to(m, group, send::batches(&main, &others, std::slice::from_ref(command))?)?;
    }
    Ok(())
}

/// Copies the rows from one group's placement to another's.
pub(super) fn copy(m: &Missing, from: i32, group: i32) -> Result<()> {
    let local = catalog::local_group()?;
    let names: Vec<String> = stored(&m.columns).iter().map(|c| c.name.clone()).collect();
    if names.is_empty() {
        return copy_rows_without_columns(m, from, group);
    }
    let shard = shard_name(&m.rel.name, m.source.id);
    let mut load = |data: &[u8]| match group == local {
        true => load_here(&m.rel.schema, &shard, &names, data),
        false => load_there(&[group], &m.rel.schema, &shard, &names, data),
    };
    with_portable_text(|| match from == local {
        true => read_here(&m.rel.schema, &shard, &names, &mut load),
        false => read_there(from, &m.rel.schema, &shard, &names, &mut load),
    })
}

/// This node's copy where there is one, else an active node's.
fn source_group(shard: &Shard, local: i32) -> Result<i32> {
    let nodes = catalog::nodes()?;
    let usable = |g: i32| nodes.iter().any(|n| n.group == g && n.is_primary() && n.active);
    let groups: Vec<i32> =
        shard.placements.iter().map(|p| p.group).filter(|g| usable(*g)).collect();
    match groups.first() {
        Some(_) if groups.contains(&local) => Ok(local),
        Some(g) => Ok(*g),
        None => Err(no_placement(shard)),
    }
}

/// Rows of a table without stored columns have no text to travel as; only their number counts.
fn copy_rows_without_columns(m: &Missing, from: i32, group: i32) -> Result<()> {
    let name = qualified(&m.rel.schema, &shard_name(&m.rel.name, m.source.id));
    let r = run::on_group(from, &format!("SELECT pg_catalog.count(*) FROM {name}"), false)?;
    let count: u64 =
        r.rows.into_iter().flatten().flatten().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    for _ in 0..count {
        run::on_group(group, &format!("INSERT INTO {name} DEFAULT VALUES"), true)?;
    }
    Ok(())
}

type Load<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

fn read_here(schema: &str, shard: &str, names: &[String], load: Load) -> Result<()> {
    let relid = relation::find(schema, shard).ok_or_else(|| {
        Error::new(sqlstate::UNDEFINED_TABLE, format!("shard \"{shard}\" does not exist"))
    })?;
    // The shard's own attribute numbers: they differ where columns were dropped.
    let theirs = info::columns(relid)?;
    let attnos: Option<Vec<i16>> =
        names.iter().map(|n| theirs.iter().find(|c| &c.name == n).map(|c| c.attno)).collect();
    let attnos = attnos.ok_or_else(|| {
        Error::internal(format!("shard \"{shard}\" has other columns than its table"))
    })?;
    let mut scan = TableScan::open(relid)?;
    let mut data = Vec::new();
    while scan.has_row() {
        scan.append_text(&attnos, &mut data);
        if data.len() >= SHARD_CHUNK {
            load(&data)?;
            data.clear();
        }
        scan.advance();
    }
    scan.close();
    if data.is_empty() {
        return Ok(());
    }
    load(&data)
}

fn read_there(group: i32, schema: &str, shard: &str, names: &[String], load: Load) -> Result<()> {
    let list: Vec<String> = names.iter().map(|n| quote_ident(n)).collect();
    let from = qualified(schema, shard);
    let declare = format!(
        "DECLARE citus_replicate NO SCROLL CURSOR FOR SELECT {} FROM {from}",
        list.join(", ")
    );
    run::on_group(group, &declare, false)?;
    let fetch = format!("FETCH {FETCH} FROM citus_replicate");
    loop {
        let rows = run::on_group(group, &fetch, false)?.rows;
        if !rows.is_empty() {
            load(&text_rows(&rows))?;
        }
        if rows.len() < FETCH {
            break;
        }
    }
    run::on_group(group, "CLOSE citus_replicate", false)?;
    Ok(())
}
