//! SET CONSTRAINTS.

use super::plainly;
use crate::catalog::{self, Table};
use crate::ddl::info;
use crate::ddl::names::shard_name;
use crate::ddl::unshard::{unshard_error, unshard_local_error};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::qualified;
use crate::pg::{command, guard, spi, xact};
use crate::txn::constraints::{set, Timing};
use std::collections::BTreeMap;

/// SET CONSTRAINTS: also for the constraints of the shards.
pub fn set_constraints(call: Call) -> Result<()> {
    // A check that was put off comes now; shards may lie here.
    guard::catch_result(|| plainly(&call)).map_err(|e| unshard_local_error(e, 1))?;
    // Without a transaction block there is nothing that it could be for.
    if call.is_top_level() && !xact::in_block() {
        return Ok(());
    }
    let Some((names, deferred)) = call.statement().constraints() else { return Ok(()) };
    let when = if deferred { "DEFERRED" } else { "IMMEDIATE" };
    let timing = if names.is_empty() {
        Timing::All(format!("SET CONSTRAINTS ALL {when}"))
    } else {
        let mut of: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for c in &names {
            find(c.schema.as_deref(), &c.name, &mut of)?;
        }
        if of.is_empty() {
            return Ok(());
        }
        let sql = |names: Vec<String>| format!("SET CONSTRAINTS {} {when}", names.join(", "));
        Timing::Named(of.into_iter().map(|(g, names)| (g, sql(names))).collect())
    };
    set(timing, |e| unshard_error(e, 1))
}

/// The names that the shards' constraints have, by group. As in PostgreSQL, the first schema of the
/// search path counts that has one of that name.
fn find(schema: Option<&str>, name: &str, of: &mut BTreeMap<i32, Vec<String>>) -> Result<()> {
    let sql = "SELECT n.nspname, c.conrelid, c.contype FROM pg_constraint c \
        JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.conname = $1 AND c.condeferrable \
        AND CASE WHEN $2 = '' THEN n.nspname = (SELECT s FROM \
            unnest($3::name[]) WITH ORDINALITY AS x (s, i) \
            WHERE EXISTS (SELECT FROM pg_constraint o JOIN pg_namespace m \
                ON m.oid = o.connamespace WHERE o.conname = $1 AND m.nspname = s) \
            ORDER BY i LIMIT 1) ELSE n.nspname = $2 END";
    // The catalogs are read with another search path than the user's.
    let path = command::run("SELECT pg_catalog.current_schemas(true)")?;
    let path = path.rows.into_iter().flatten().next().flatten().unwrap_or_default();
    let schema = schema.unwrap_or_default();
    for r in info::rows(sql, &[spi::text(name), spi::text(schema), spi::text(&path)])? {
        if let Some(table) = catalog::table(r.oid(1)) {
            // Foreign keys have the same name on all shards, others are also the names of indexes.
            add(&table, &r.text(0), name, r.char(2) == b'f', of)?;
        }
    }
    Ok(())
}

fn add(
    table: &Table,
    schema: &str,
    name: &str,
    same: bool,
    of: &mut BTreeMap<i32, Vec<String>>,
) -> Result<()> {
    let local = catalog::local_group()?;
    for shard in &table.shards {
        let name = if same { name.to_owned() } else { shard_name(name, shard.id) };
        // Those of the same name here are what the statement itself was about.
        for p in shard.placements.iter().filter(|p| !same || p.group != local) {
            let names = of.entry(p.group).or_default();
            let full = qualified(schema, &name);
            if !names.contains(&full) {
                names.push(full);
            }
        }
    }
    Ok(())
}
