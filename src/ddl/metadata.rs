//! Writing the catalogs of tables, shards and placements. Privileges are checked by the callers.

use super::layout::NewShard;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::{relation, spi};
use pgrx::pg_sys::Oid;

/// A row of pg_dist_partition.
pub struct NewTable<'a> {
    /// The table.
    pub relid: Oid,
    /// `h` or `n`.
    pub method: char,
    /// Stored form of the distribution column.
    pub key: Option<&'a str>,
    /// Co-location group.
    pub colocation: i32,
    /// Replication model.
    pub replication: char,
    /// Converted without having been asked for.
    pub automatic: bool,
}

/// Registers a table with its shards; gives back the shards' ids, in order.
pub fn insert(table: &NewTable, shards: &[NewShard]) -> Result<Vec<i64>> {
    let sql = "INSERT INTO pg_catalog.pg_dist_partition \
        (logicalrelid, partmethod, partkey, colocationid, repmodel, autoconverted) \
        VALUES ($1, $2::\"char\", $3, $4, $5::\"char\", $6)";
    spi::execute_as_owner(
        sql,
        &[
            spi::oid(table.relid),
            spi::text(&table.method.to_string()),
            spi::opt_text(table.key),
            spi::i32(table.colocation),
            spi::text(&table.replication.to_string()),
            spi::bool(table.automatic),
        ],
    )?;
    insert_shards(table.relid, shards)
}

/// Registers shards of a table with their placements.
pub fn insert_shards(relid: Oid, shards: &[NewShard]) -> Result<Vec<i64>> {
    let array = |items: Vec<String>| format!("{{{}}}", items.join(","));
    let bound = |b: Option<i32>| b.map_or("NULL".to_owned(), |v| v.to_string());
    let mins = array(shards.iter().map(|s| bound(s.range.map(|r| r.0))).collect());
    let maxs = array(shards.iter().map(|s| bound(s.range.map(|r| r.1))).collect());
    // Numbers are drawn in the order of the rows: the subquery is not reordered.
    let sql = "INSERT INTO pg_catalog.pg_dist_shard \
        (logicalrelid, shardid, shardstorage, shardminvalue, shardmaxvalue) \
        SELECT $1, x.id, 't', x.min, x.max FROM \
            (SELECT nextval('pg_catalog.pg_dist_shardid_seq'::regclass) AS id, u.min, u.max \
             FROM unnest($2::text[], $3::text[]) WITH ORDINALITY u(min, max, n) ORDER BY u.n) x \
        RETURNING shardid";
    let params = [spi::oid(relid), spi::text(&mins), spi::text(&maxs)];
    let (rows, _) = spi::execute_as_owner(sql, &params)?;
    let mut ids: Vec<i64> =
        rows.into_iter().flatten().flatten().filter_map(|v| v.parse().ok()).collect();
    ids.sort_unstable();
    if ids.len() != shards.len() {
        return Err(Error::internal("wrong number of shard ids"));
    }
    let pairs: Vec<(i64, i32)> = ids
        .iter()
        .zip(shards)
        .flat_map(|(id, s)| s.groups.iter().map(move |g| (*id, *g)))
        .collect();
    insert_placements(&pairs)?;
    relation::command_counter_increment();
    Ok(ids)
}

/// Registers placements: shard and group.
pub fn insert_placements(pairs: &[(i64, i32)]) -> Result<()> {
    let array = |items: Vec<String>| format!("{{{}}}", items.join(","));
    let shards = array(pairs.iter().map(|p| p.0.to_string()).collect());
    let groups = array(pairs.iter().map(|p| p.1.to_string()).collect());
    let sql = "INSERT INTO pg_catalog.pg_dist_placement \
        (placementid, shardid, shardstate, shardlength, groupid) \
        SELECT nextval('pg_catalog.pg_dist_placement_placementid_seq'::regclass), \
            x.shard, 1, 0, x.grp FROM \
            (SELECT u.shard, u.grp FROM unnest($1::int8[], $2::int4[]) WITH ORDINALITY \
             u(shard, grp, n) ORDER BY u.n) x";
    spi::execute_as_owner(sql, &[spi::text(&shards), spi::text(&groups)]).map(|_| ())
}

/// Forgets a table, its shards and placements, and its co-location group if that is empty then.
pub fn delete(table: &Table) -> Result<()> {
    let relid = spi::oid(table.relid);
    for sql in [
        "DELETE FROM pg_catalog.pg_dist_placement p USING pg_catalog.pg_dist_shard s \
         WHERE s.shardid = p.shardid AND s.logicalrelid = $1",
        "DELETE FROM pg_catalog.pg_dist_shard WHERE logicalrelid = $1",
        "DELETE FROM pg_catalog.pg_dist_partition WHERE logicalrelid = $1",
    ] {
        spi::execute_as_owner(sql, &[relid])?;
    }
    if table.colocation != 0 {
        super::layout::drop_group_if_empty(table.colocation)?;
    }
    relation::command_counter_increment();
    Ok(())
}
