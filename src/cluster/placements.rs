//! Placements of a node that joins, leaves or changes.

use crate::catalog;
use crate::ddl::names;
use crate::error::{sqlstate, Error, Result};
use crate::pg::{fmgr, session, spi};
use pgrx::pg_sys::{self, Oid};

/// A placement of a group: its table and shard.
pub struct Held {
    /// The shell table.
    pub relid: Oid,
    /// The shard.
    pub shard: i64,
}

fn parse_held(rows: spi::TextRows) -> Vec<Held> {
    rows.into_iter()
        .filter_map(|r| {
            let mut r = r.into_iter().flatten();
            let relid = Oid::from(r.next()?.parse::<u32>().ok()?);
            Some(Held { relid, shard: r.next()?.parse().ok()? })
        })
        .collect()
}

/// A placement of the group whose shard has no other healthy placement on an active node.
fn only_copy(group: i32) -> Result<Option<Held>> {
    let sql = "SELECT s.logicalrelid::oid, s.shardid \
               FROM pg_catalog.pg_dist_placement p \
               JOIN pg_catalog.pg_dist_shard s USING (shardid) \
               WHERE p.groupid = $1 AND NOT EXISTS (\
                 SELECT FROM pg_catalog.pg_dist_placement o \
                 JOIN pg_catalog.pg_dist_node n ON n.groupid = o.groupid \
                 WHERE o.shardid = p.shardid AND o.groupid <> $1 AND o.shardstate = 1 \
                 AND n.isactive AND n.noderole = 'primary') \
               ORDER BY s.shardid LIMIT 1";
    Ok(parse_held(spi::query(sql, &[spi::i32(group)])?).into_iter().next())
}

/// Refuses to give up a node that holds the only healthy copy of a shard.
pub fn require_other_copies(node: &catalog::Node, what: &str) -> Result<()> {
    let Some(held) = only_copy(node.group)? else { return Ok(()) };
    let table = display_name(held.relid);
    Err(Error::new(
        sqlstate::OBJECT_IN_USE,
        format!(
            "cannot {what} node {}:{} because it holds the only copy of shards",
            node.name, node.port
        ),
    )
    .detail(format!("One of them is shard {} of table {table}.", held.shard))
    .hint(
        "Move the shards to other nodes first, or drop the tables, or turn them into local tables \
         with undistribute_table.",
    ))
}

/// A relation's name for messages.
pub fn display_name(relid: Oid) -> String {
    match session::relation_name(relid) {
        Some((schema, name)) if schema == "public" => fmgr::quote_ident(&name),
        Some((schema, name)) => fmgr::qualified(&schema, &name),
        None => u32::from(relid).to_string(),
    }
}

/// The tables with a placement on the group, in the order in which everybody locks them.
pub fn tables(group: i32) -> Result<Vec<Oid>> {
    let sql = "SELECT DISTINCT s.logicalrelid::oid FROM pg_catalog.pg_dist_placement p \
               JOIN pg_catalog.pg_dist_shard s USING (shardid) WHERE p.groupid = $1 ORDER BY 1";
    Ok(spi::query(sql, &[spi::i32(group)])?
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|oid| oid.parse::<u32>().ok().map(Oid::from))
        .collect())
}

/// Keeps writers away from all tables with a placement on the group until the end of the transaction;
/// readers go on. (LOCK TABLE takes no materialized views.)
pub fn lock_tables(group: i32) -> Result<()> {
    let lock = |t: Oid| session::lock_relation(t, pg_sys::ExclusiveLock);
    tables(group)?.into_iter().try_for_each(lock)
}

/// Forgets the placements of a group and gives back what they were.
pub fn forget(group: i32) -> Result<Vec<Held>> {
    let sql = "DELETE FROM pg_catalog.pg_dist_placement p USING pg_catalog.pg_dist_shard s \
               WHERE p.groupid = $1 AND s.shardid = p.shardid \
               RETURNING s.logicalrelid::oid, s.shardid";
    Ok(parse_held(spi::execute_as_owner(sql, &[spi::i32(group)])?.0))
}

/// The tables behind placements on their node.
pub fn names(held: &[Held]) -> Vec<String> {
    held.iter()
        .filter_map(|h| {
            let (schema, name) = session::relation_name(h.relid)?;
            Some(fmgr::qualified(&schema, &names::shard_name(&name, h.shard)))
        })
        .collect()
}
