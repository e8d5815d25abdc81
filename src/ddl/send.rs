//! Bringing statements to the shards of tables, wherever they are.

use super::apply::Batch;
use super::names::without_ids;
use super::unshard::unshard_local_error;
use crate::catalog::{self, Kind, Table};
use crate::error::{Error, Result};
use crate::pg::guard;
use crate::pg::transmit::usual_reading;
use crate::remote::proof::Call;
use crate::txn::run;
use std::collections::BTreeMap;

/// A table whose shards a command names.
pub struct Named<'a> {
    /// The table.
    pub table: &'a Table,
    /// Schema and name of the table, its indexes and whatever else carries its shards' ids.
    pub names: Vec<(String, String)>,
}

/// The batches, by group, that apply commands to all placements of the main table. Other tables
/// that the commands name are co-located with it or have a single shard.
pub fn batches(
    main: &Named,
    others: &[Named],
    commands: &[String],
) -> Result<BTreeMap<i32, Batch>> {
    let relations: Vec<(String, String)> =
        main.names.iter().chain(others.iter().flat_map(|o| &o.names)).cloned().collect();
    let mut by_group: BTreeMap<i32, Batch> = BTreeMap::new();
    // The statement may have waited for a lock, and a copy have become healthy meanwhile.
    let now = catalog::table(main.table.relid);
    let table = now.as_deref().unwrap_or(main.table);
    for (i, shard) in table.shards.iter().enumerate() {
        let mut ids = vec![shard.id; main.names.len()];
        for o in others {
            let at = if o.table.kind == Kind::Hash { i } else { 0 };
            let other = o.table.shards.get(at).ok_or_else(|| {
                Error::internal("co-located tables have different numbers of shards")
            })?;
            ids.extend(std::iter::repeat_n(other.id, o.names.len()));
        }
        for p in &shard.placements {
            let batch = by_group.entry(p.group).or_insert_with(|| Batch {
                relations: relations.clone(),
                ids: Vec::new(),
                commands: commands.to_vec(),
            });
            batch.ids.push(ids.clone());
        }
    }
    Ok(by_group)
}

/// Applies batches on their nodes, all nodes at the same time, in the running transaction.
pub fn apply(batches: &BTreeMap<i32, Batch>) -> Result<()> {
    guard::catch_result(|| run_all(batches)).map_err(|e| {
        let is_id =
            |id: i64| batches.values().flat_map(|b| b.ids.iter().flatten()).any(|i| *i == id);
        about_tables(unshard_local_error(e, 1), &is_id)
    })
}

/// The error with the names of tables in place of those of shards.
pub fn about_tables(mut e: Error, is_id: &dyn Fn(i64) -> bool) -> Error {
    e.message = without_ids(&e.message, is_id);
    let restored = |field: Option<String>| field.map(|text| without_ids(&text, is_id));
    e.detail = restored(e.detail.take());
    e.hint = restored(e.hint.take());
    e.table = restored(e.table.take());
    e.constraint = restored(e.constraint.take());
    e
}

fn run_all(batches: &BTreeMap<i32, Batch>) -> Result<()> {
    let local = catalog::local_group()?;
    let remote: Vec<(i32, Call)> = batches
        .iter()
        .filter(|(g, b)| **g != local && !b.commands.is_empty())
        .map(|(g, b)| (*g, b.to_call()))
        .collect();
    call_on_nodes(&remote)?;
    match batches.get(&local) {
        Some(b) if !b.commands.is_empty() => b.run(),
        _ => Ok(()),
    }
}

/// Runs a statement on each of the groups in the running transaction and raises any error.
pub fn on_nodes(work: &[(i32, String)]) -> Result<()> {
    if work.is_empty() {
        return Ok(());
    }
    usual_reading(|| run::on_groups(work, true).map(|_| ()))
}

/// Calls a function on each of the groups in the running transaction and raises any error.
pub fn call_on_nodes(work: &[(i32, Call)]) -> Result<()> {
    if work.is_empty() {
        return Ok(());
    }
    run::calls(work).map(|_| ())
}

/// Applies commands to all placements of a table that name no other table.
pub fn to_shards(table: &Table, names: Vec<(String, String)>, commands: &[String]) -> Result<()> {
    apply(&batches(&Named { table, names }, &[], commands)?)
}

/// Groups that hold shards of a table.
pub fn groups_of(table: &Table) -> Vec<i32> {
    // As for `batches`: what was read before a lock was waited for is old.
    let now = catalog::table(table.relid);
    let table = now.as_deref().unwrap_or(table);
    let mut groups: Vec<i32> =
        table.shards.iter().flat_map(|s| &s.placements).map(|p| p.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
