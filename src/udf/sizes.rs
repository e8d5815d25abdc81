//! Sizes of tables and shards on disk.

use super::keys::not_managed;
use crate::catalog;
use crate::ddl::names;
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::{quote_ident, quote_literal, Args};
use crate::pg::{guard, server, session, spi, subxact};
use crate::pg_function;
use crate::txn::run;
use pgrx::pg_sys::{Datum, Oid};
use std::collections::BTreeMap;

/// Which of PostgreSQL's sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Measure {
    /// The rows alone.
    Main,
    /// With TOAST, without indexes.
    Table,
    /// With everything.
    Total,
}

impl Measure {
    fn function(self) -> &'static str {
        match self {
            Measure::Main => "pg_catalog.pg_relation_size",
            Measure::Table => "pg_catalog.pg_table_size",
            Measure::Total => "pg_catalog.pg_total_relation_size",
        }
    }
}

/// A shard as a node knows it.
#[derive(Clone, Debug)]
struct Target {
    shard: i64,
    schema: String,
    name: String,
}

/// Shards by the group that has to measure them.
type Work = BTreeMap<i32, Vec<Target>>;

/// Size of one placement.
struct Size {
    shard: i64,
    group: i32,
    bytes: i64,
}

/// The query that measures shards on their node. It looks names up in the catalogs, which needs
/// no privilege on schemas; a shard that is not there gives no row.
fn measuring_query(targets: &[Target], measure: Measure, with_partitions: bool) -> String {
    let f = measure.function();
    let values: Vec<String> = targets
        .iter()
        .map(|t| {
            format!("({}::bigint,{},{})", t.shard, quote_literal(&t.schema), quote_literal(&t.name))
        })
        .collect();
    let size = if with_partitions {
        // The size of a partitioned table is that of its partitions.
        format!(
            "CASE c.relkind WHEN 'p' THEN (SELECT pg_catalog.sum({f}(p.relid)) FROM \
             pg_catalog.pg_partition_tree(c.oid) p) ELSE {f}(c.oid) END"
        )
    } else {
        format!("{f}(c.oid)")
    };
    format!(
        "SELECT s.id, {size} FROM (VALUES {}) s(id, nsp, rel) \
         JOIN pg_catalog.pg_namespace n ON n.nspname = s.nsp::name \
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.rel::name",
        values.join(",")
    )
}

/// Measures all placements; an unreachable node is an error.
fn measure(work: &Work, measure: Measure, with_partitions: bool) -> Result<Vec<Size>> {
    let jobs: Vec<(i32, String)> =
        work.iter().map(|(g, t)| (*g, measuring_query(t, measure, with_partitions))).collect();
    let mut sizes = Vec::new();
    for ((group, _), result) in jobs.iter().zip(run::on_groups(&jobs, false)?) {
        for row in result.rows {
            let mut row = row.into_iter().map(|v| v.and_then(|v| v.parse::<i64>().ok()));
            if let (Some(Some(shard)), Some(Some(bytes))) = (row.next(), row.next()) {
                sizes.push(Size { shard, group: *group, bytes });
            }
        }
    }
    Ok(sizes)
}

/// [`measure`] where nodes that fail are left out with a warning.
fn measure_what_answers(work: &Work, m: Measure) -> Result<Vec<Size>> {
    if let Ok(sizes) = subxact::attempt(|| measure(work, m, false))? {
        return Ok(sizes);
    }
    let mut sizes = Vec::new();
    for (group, targets) in work {
        let one = Work::from([(*group, targets.clone())]);
        match subxact::attempt(|| measure(&one, m, false))? {
            Ok(s) => sizes.extend(s),
            Err(e) => guard::warning(
                &Error::new(e.code, format!("no sizes of the shards on group {group}"))
                    .detail(e.message.clone()),
            ),
        }
    }
    Ok(sizes)
}

/// All placements of one table, or of one of its shards.
fn work_of_table(relid: Oid, only: Option<i64>) -> Result<Work> {
    let table = catalog::table(relid).ok_or_else(|| not_managed(relid))?;
    let (schema, name) = session::relation_name(relid).ok_or_else(|| not_managed(relid))?;
    let mut work = Work::new();
    for shard in table.shards.iter().filter(|s| only.is_none_or(|id| id == s.id)) {
        for placement in &shard.placements {
            work.entry(placement.group).or_default().push(Target {
                shard: shard.id,
                schema: schema.clone(),
                name: names::shard_name(&name, shard.id),
            });
        }
    }
    Ok(work)
}

/// All placements of all tables.
fn work_of_everything() -> Result<Work> {
    let rows = spi::query(
        "SELECT p.groupid, s.shardid, n.nspname, c.relname \
         FROM pg_dist_placement p JOIN pg_dist_shard s ON s.shardid = p.shardid \
         JOIN pg_class c ON c.oid = s.logicalrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE p.shardstate = 1",
        &[],
    )?;
    let mut work = Work::new();
    for row in rows {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (group, shard, schema, name) = (next(), next(), next(), next());
        let number = |_| Error::internal("unreadable row of pg_dist_placement");
        let shard = shard.parse::<i64>().map_err(number)?;
        let name = names::shard_name(&name, shard);
        let group = group.parse::<i32>().map_err(number)?;
        work.entry(group).or_default().push(Target { shard, schema, name });
    }
    Ok(work)
}

fn table_size(args: Args, m: Measure) -> Result<i64> {
    let relid = args.required(args.oid(0), "logicalrelid")?;
    let sizes = measure(&work_of_table(relid, None)?, m, true)?;
    Ok(sizes.iter().map(|s| s.bytes).sum())
}

pg_function!(
    /// `citus_relation_size(regclass)`
    citus_relation_size,
    |args| Ok(Datum::from(table_size(args, Measure::Main)?))
);

pg_function!(
    /// `citus_table_size(regclass)`
    citus_table_size,
    |args| Ok(Datum::from(table_size(args, Measure::Table)?))
);

pg_function!(
    /// `citus_total_relation_size(regclass, fail_on_error boolean)`
    citus_total_relation_size,
    |args| {
        if args.bool(1).unwrap_or(true) {
            return Ok(Datum::from(table_size(args, Measure::Total)?));
        }
        match subxact::attempt(|| table_size(args, Measure::Total))? {
            Ok(size) => Ok(Datum::from(size)),
            Err(e) => {
                guard::warning(&e);
                args.null()
            }
        }
    }
);

/// The table of a shard, or an error that tells its number.
fn table_of_shard(shard: i64) -> Result<Oid> {
    catalog::relation_of_shard(shard).ok_or_else(|| {
        Error::new(sqlstate::UNDEFINED_OBJECT, format!("shard {shard} does not exist"))
            .hint("The shards are listed in pg_dist_shard.")
    })
}

pg_function!(
    /// `citus_shard_size(bigint)`
    citus_shard_size,
    |args| {
        let shard = args.required(args.i64(0), "shard_id")?;
        let mut work = work_of_table(table_of_shard(shard)?, Some(shard))?;
        // One placement is enough, and this node's needs no connection.
        let local = catalog::local_group()?;
        let group = if work.contains_key(&local) { Some(local) } else { work.keys().next().copied() };
        work.retain(|g, _| Some(*g) == group);
        let sizes = measure(&work, Measure::Total, true)?;
        args.ret(sizes.first().map(|s| Datum::from(s.bytes)))
    }
);

pg_function!(
    /// `citus_internal.shard_sizes()`
    citus_all_shard_sizes,
    |args| {
        let rows = args.rows()?;
        for s in measure_what_answers(&work_of_everything()?, Measure::Total)? {
            rows.push(&[
                Some(Datum::from(s.shard)),
                Some(Datum::from(s.group)),
                Some(Datum::from(s.bytes)),
            ])?;
        }
        rows.done(args)
    }
);

/// Writes measured sizes into `pg_dist_placement`; the caller has checked for ownership.
fn store(sizes: &[Size]) -> Result<()> {
    if sizes.is_empty() {
        return Ok(());
    }
    let values: Vec<String> = sizes
        .iter()
        .map(|s| format!("({}::bigint,{},{}::bigint)", s.shard, s.group, s.bytes))
        .collect();
    let sql = format!(
        "UPDATE pg_dist_placement p SET shardlength = v.size FROM (VALUES {}) v(shard, grp, size) \
         WHERE p.shardid = v.shard AND p.groupid = v.grp AND p.shardlength <> v.size",
        values.join(",")
    );
    spi::execute_as_owner(&sql, &[]).map(|_| ())
}

fn update_statistics(relid: Oid, only: Option<i64>) -> Result<Vec<Size>> {
    let (_, name) = session::relation_name(relid).ok_or_else(|| not_managed(relid))?;
    session::require_owner(relid, &quote_ident(&name))?;
    let sizes = measure(&work_of_table(relid, only)?, Measure::Total, true)?;
    store(&sizes)?;
    Ok(sizes)
}

pg_function!(
    /// `citus_update_shard_statistics(bigint)`
    citus_update_shard_statistics,
    |args| {
        let shard = args.required(args.i64(0), "shard_id")?;
        let sizes = update_statistics(table_of_shard(shard)?, Some(shard))?;
        args.ret(sizes.first().map(|s| Datum::from(s.bytes)))
    }
);

pg_function!(
    /// `citus_update_table_statistics(regclass)`
    citus_update_table_statistics,
    |args| {
        update_statistics(args.required(args.oid(0), "relation")?, None)?;
        args.void()
    }
);

pg_function!(
    /// `shard_name(regclass, bigint, boolean)`
    citus_shard_name,
    |args| {
        let relid = args.required(args.oid(0), "object_name")?;
        let shard = args.required(args.i64(1), "shard_id")?;
        if shard <= 0 {
            return Err(Error::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("shard_id must be positive, not {shard}"),
            ));
        }
        // Catalog views ask for tables that may have been dropped a moment ago.
        let Some((schema, name)) = session::relation_name(relid) else { return args.null() };
        let name = quote_ident(&names::shard_name(&name, shard));
        if schema == "public" && args.bool(2).unwrap_or(true) {
            return args.ret_text(&name);
        }
        args.ret_text(&format!("{}.{name}", quote_ident(&schema)))
    }
);

pg_function!(
    /// `citus_local_disk_space_stats()`
    citus_local_disk_space_stats,
    |args| {
        let (free, total) = server::disk_space()?;
        args.ret_row(&[Some(Datum::from(free)), Some(Datum::from(total))])
    }
);
