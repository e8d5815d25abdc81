//! VACUUM, ANALYZE and CLUSTER.

use super::{plainly, Managed};
use crate::catalog;
use crate::ddl::info;
use crate::ddl::names::shard_name;
use crate::error::{Error, Result};
use crate::hooks::utility::Call;
use crate::pg::fmgr::{qualified, quote_ident, quote_literal};
use crate::pg::tree::Tree;
use crate::pg::{guc_scan, relation, session, spi, xact};
use crate::remote::NodeAddr;
use crate::txn::run;
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;

/// Groups of other nodes that hold shards.
pub fn remote_groups() -> Result<Vec<i32>> {
    let local = catalog::local_group()?;
    let sql = "SELECT DISTINCT groupid FROM pg_dist_placement ORDER BY 1";
    let groups = info::rows(sql, &[])?;
    Ok(groups.iter().map(|r| r.num(0)).filter(|g| *g != local).collect())
}

/// Settings of the session that statements apart follow: what limits them, and what they need.
const FOLLOWED: [&str; 6] = [
    "default_statistics_target",
    "lock_timeout",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
];

/// Commands that give another session these settings.
fn settings() -> Option<String> {
    let mine = guc_scan::followed().into_iter().filter(|s| FOLLOWED.contains(&s.0.as_str()));
    let commands: Vec<String> =
        mine.map(|(name, value)| format!("SET {name} TO {value}")).collect();
    (!commands.is_empty()).then(|| commands.join(";"))
}

/// Runs lists of statements on other nodes apart from the running transaction; the first error is
/// raised after all of them have run.
pub fn apart(work: &[(i32, Vec<String>)]) -> Result<()> {
    let settings = settings();
    let mut jobs = Vec::new();
    for (group, list) in work {
        let node = catalog::node_of_group(*group)?;
        let addr =
            NodeAddr { id: node.id, group: node.group, name: node.name.clone(), port: node.port };
        jobs.push((addr, settings.iter().chain(list).cloned().collect()));
    }
    if jobs.is_empty() {
        return Ok(());
    }
    run::apart(&jobs)?.into_iter().flatten().try_for_each(|r| r.map(|_| ()))
}

/// VACUUM and ANALYZE.
pub fn vacuum(mut call: Call) -> Result<()> {
    let statement = call.statement();
    let named = statement.vacuum_relations();
    let mut targets = Vec::new();
    for (name, columns) in &named {
        if let Some(m) = name.find().map_or(Ok(None), Managed::load)? {
            targets.push((m, columns.clone()));
        }
    }
    if !named.is_empty() && targets.is_empty() {
        return plainly(&call);
    }
    let everything = named.is_empty();
    if everything && !has_tables()? {
        return plainly(&call);
    }
    let in_block = xact::in_block() || !call.is_top_level();
    let statement = call.writable();
    if !everything {
        statement.add_vacuum_relations(&local_shards(&targets)?);
    }
    plainly(&call)?;
    // VACUUM has committed and begun a new transaction.
    on_other_nodes(statement, &targets, everything, in_block)?;
    if analyzes(statement) {
        let tables = match everything {
            true => all_tables()?,
            false => targets.iter().map(|(m, _)| m.rel.oid).collect(),
        };
        update_statistics(&tables)?;
    }
    Ok(())
}

fn has_tables() -> Result<bool> {
    Ok(!info::rows("SELECT 1 FROM pg_dist_partition LIMIT 1", &[])?.is_empty())
}

fn all_tables() -> Result<Vec<Oid>> {
    let sql = "SELECT logicalrelid::oid FROM pg_dist_partition ORDER BY 1";
    Ok(info::rows(sql, &[])?.iter().map(|r| r.oid(0)).collect())
}

/// Both VACUUM and ANALYZE count rows.
fn analyzes(statement: Tree) -> bool {
    !statement.is_vacuum() || !super::index::has_option(statement, "only_database_stats")
}

fn local_shards(targets: &[(Managed, Vec<String>)]) -> Result<Vec<(Oid, Vec<String>)>> {
    let local = catalog::local_group()?;
    let mut list = Vec::new();
    for (m, columns) in targets {
        for s in &m.table.shards {
            if s.placements.iter().any(|p| p.group == local) {
                let name = shard_name(&m.rel.name, s.id);
                list.extend(relation::find(&m.rel.schema, &name).map(|o| (o, columns.clone())));
            }
        }
    }
    Ok(list)
}

fn head(statement: Tree) -> String {
    let word = if statement.is_vacuum() { "VACUUM" } else { "ANALYZE" };
    let options: Vec<String> = statement
        .options()
        .iter()
        .map(|o| match &o.value {
            Some(v) => format!("{} {v}", o.name),
            None => o.name.clone(),
        })
        .collect();
    if options.is_empty() {
        word.to_owned()
    } else {
        format!("{word} ({})", options.join(", "))
    }
}

fn on_other_nodes(
    statement: Tree,
    targets: &[(Managed, Vec<String>)],
    everything: bool,
    in_block: bool,
) -> Result<()> {
    let local = catalog::local_group()?;
    let head = head(statement);
    let mut work: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    if everything {
        for g in remote_groups()? {
            work.insert(g, Vec::new());
        }
    }
    for (m, columns) in targets {
        let list: Vec<String> = columns.iter().map(|c| quote_ident(c)).collect();
        let columns =
            if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) };
        for s in &m.table.shards {
            for p in s.placements.iter().filter(|p| p.group != local) {
                let name = qualified(&m.rel.schema, &shard_name(&m.rel.name, s.id));
                work.entry(p.group).or_default().push(format!("{name}{columns}"));
            }
        }
    }
    let statements: Vec<(i32, String)> =
        work.into_iter().map(|(g, names)| (g, format!("{head} {}", names.join(", ")))).collect();
    if in_block && !statement.is_vacuum() {
        return run::on_groups(&statements, true).map(|_| ());
    }
    apart(&statements.into_iter().map(|(g, s)| (g, vec![s])).collect::<Vec<_>>())
}

/// Numbers of rows and pages of the tables themselves, from their shards: the planner's estimates
/// start from them.
pub fn update_statistics(tables: &[Oid]) -> Result<()> {
    let local = catalog::local_group()?;
    // Names of one placement of each shard, by group.
    let mut by_group: BTreeMap<i32, Vec<(Oid, String, String)>> = BTreeMap::new();
    for t in tables {
        let (Some(table), Some((schema, name))) = (catalog::table(*t), session::relation_name(*t))
        else {
            continue;
        };
        for s in &table.shards {
            let here = s.placements.iter().find(|p| p.group == local);
            if let Some(p) = here.or_else(|| s.placements.first()) {
                let shard = shard_name(&name, s.id);
                by_group.entry(p.group).or_default().push((*t, schema.clone(), shard));
            }
        }
    }
    let work: Vec<(i32, String)> = by_group.iter().map(|(g, l)| (*g, count_query(l))).collect();
    let mut sums: BTreeMap<u32, (f64, f64, f64)> = BTreeMap::new();
    for result in run::on_groups(&work, false)? {
        for row in result.rows {
            let number = |i: usize| -> f64 {
                row.get(i).and_then(|v| v.as_deref()).and_then(|v| v.parse().ok()).unwrap_or(0.0)
            };
            let sum = sums.entry(number(0) as u32).or_default();
            sum.0 += number(1).max(0.0);
            sum.1 += number(2);
            sum.2 += number(3);
        }
    }
    for (oid, (rows, pages, visible)) in sums {
        let sql = "UPDATE pg_catalog.pg_class SET reltuples = $2::float4, relpages = $3, \
            relallvisible = $4 WHERE oid = $1 AND (reltuples, relpages, relallvisible) \
            IS DISTINCT FROM ($2::float4, $3, $4)";
        let params = [
            spi::oid(Oid::from(oid)),
            spi::text(&rows.to_string()),
            spi::i32(pages.min(f64::from(i32::MAX)) as i32),
            spi::i32(visible.min(f64::from(i32::MAX)) as i32),
        ];
        spi::execute_as_owner(sql, &params)?;
    }
    Ok(())
}

fn count_query(list: &[(Oid, String, String)]) -> String {
    let values: Vec<String> = list
        .iter()
        .map(|(t, schema, name)| {
            format!("({}, {}, {})", u32::from(*t), quote_literal(schema), quote_literal(name))
        })
        .collect();
    format!(
        "SELECT v.t, pg_catalog.sum(GREATEST(c.reltuples, 0)), pg_catalog.sum(c.relpages), \
         pg_catalog.sum(c.relallvisible) FROM (VALUES {}) v(t, s, n) \
         JOIN pg_catalog.pg_namespace n ON n.nspname = v.s \
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = v.n GROUP BY v.t",
        values.join(", ")
    )
}

/// CLUSTER.
pub fn cluster(call: Call) -> Result<()> {
    let statement = call.statement();
    let Some(m) = Managed::named(statement.relation())? else { return plainly(&call) };
    let index = match statement.object_name() {
        Some(name) => name,
        None => clustered_index(&m)?,
    };
    plainly(&call)?;
    m.apply(&[format!("CLUSTER {} USING {}", m.rel.qualified(), quote_ident(&index))])
}

fn clustered_index(m: &Managed) -> Result<String> {
    let sql = "SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid \
        WHERE x.indrelid = $1 AND x.indisclustered";
    spi::value(sql, &[spi::oid(m.rel.oid)])?.ok_or_else(|| {
        let message =
            format!("there is no previously clustered index for table \"{}\"", m.rel.name);
        Error::new(crate::error::sqlstate::UNDEFINED_OBJECT, message)
    })
}
