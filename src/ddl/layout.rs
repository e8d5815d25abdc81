//! Co-location groups, and where the shards of a table lie.

use super::info;
use crate::catalog::{self, Kind, Node, Table};
use crate::error::{sqlstate, Error, Result};
use crate::model::ranges;
use crate::pg::shard_lock::{self, Class, Level};
use crate::pg::{invalidation, spi};
use pgrx::pg_sys::Oid;
use std::rc::Rc;

/// What tables must have in common to be co-located.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Number of shards.
    pub shards: i32,
    /// Copies of each shard; -1 for reference tables (one on every node).
    pub replicas: i32,
    /// Type of the distribution column, invalid when there is none.
    pub typ: Oid,
    /// Its collation.
    pub collation: Oid,
}

/// A shard that is to be.
#[derive(Clone, Debug)]
pub struct NewShard {
    /// Range of hashes, `None` without distribution column.
    pub range: Option<(i32, i32)>,
    /// Groups that get a copy.
    pub groups: Vec<i32>,
}

/// A co-location group with the places of its shards.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Id of the group.
    pub colocation: i32,
    /// Shards in order.
    pub shards: Vec<NewShard>,
}

/// Serializes the creation of co-location groups.
pub fn lock() -> Result<()> {
    let sql = "LOCK TABLE pg_catalog.pg_dist_colocation IN SHARE ROW EXCLUSIVE MODE";
    spi::execute_as_owner(sql, &[]).map(|_| ())
}

/// Keeps the placements of a group's shards as they are until the end of the transaction: `Shared`
/// for who puts another table where they are, `Exclusive` for who changes them. What was read of
/// them before is read again.
pub fn lock_places(colocation: i32, level: Level) {
    if colocation != 0 {
        shard_lock::lock(Class::Placements, u64::from(colocation as u32), level);
        invalidation::accept();
    }
}

/// Reads a group's shape.
pub fn shape_of(colocation: i32) -> Result<Option<Shape>> {
    let sql = "SELECT shardcount, replicationfactor, distributioncolumntype, \
        distributioncolumncollation FROM pg_dist_colocation WHERE colocationid = $1";
    Ok(info::rows(sql, &[spi::i32(colocation)])?.first().map(|r| Shape {
        shards: r.num(0),
        replicas: r.num(1),
        typ: r.oid(2),
        collation: r.oid(3),
    }))
}

/// The group that tables of a shape share by default.
pub fn default_group(shape: Shape) -> Result<Option<i32>> {
    let sql = "SELECT min(colocationid) FROM pg_dist_colocation WHERE shardcount = $1 \
        AND replicationfactor = $2 AND distributioncolumntype = $3 \
        AND distributioncolumncollation = $4";
    let found = spi::value(
        sql,
        &[
            spi::i32(shape.shards),
            spi::i32(shape.replicas),
            spi::oid(shape.typ),
            spi::oid(shape.collation),
        ],
    )?;
    Ok(found.and_then(|v| v.parse().ok()))
}

/// Makes a new group.
pub fn create_group(shape: Shape) -> Result<i32> {
    let sql = "INSERT INTO pg_catalog.pg_dist_colocation \
        (colocationid, shardcount, replicationfactor, distributioncolumntype, \
         distributioncolumncollation) \
        SELECT nextval('pg_catalog.pg_dist_colocationid_seq'::regclass), $1, $2, $3, $4 \
        RETURNING colocationid";
    let (rows, _) = spi::execute_as_owner(
        sql,
        &[
            spi::i32(shape.shards),
            spi::i32(shape.replicas),
            spi::oid(shape.typ),
            spi::oid(shape.collation),
        ],
    )?;
    let id = rows.into_iter().flatten().flatten().next().and_then(|v| v.parse().ok());
    id.ok_or_else(|| Error::internal("no id of the new co-location group"))
}

/// A table of a group, other than `except`.
pub fn table_of_group(colocation: i32, except: Oid) -> Result<Option<Rc<Table>>> {
    let sql = "SELECT logicalrelid::oid FROM pg_dist_partition \
        WHERE colocationid = $1 AND logicalrelid <> $2 ORDER BY 1 LIMIT 1";
    let oid = spi::value(sql, &[spi::i32(colocation), spi::oid(except)])?;
    Ok(oid.and_then(|o| o.parse::<u32>().ok()).and_then(|o| catalog::table(Oid::from(o))))
}

/// Removes a group that no table belongs to any more.
pub fn drop_group_if_empty(colocation: i32) -> Result<()> {
    let sql = "DELETE FROM pg_catalog.pg_dist_colocation c WHERE colocationid = $1 \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p \
            WHERE p.colocationid = c.colocationid) \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_schema s \
            WHERE s.colocationid = c.colocationid)";
    spi::execute_as_owner(sql, &[spi::i32(colocation)]).map(|_| ())
}

/// Primaries that may get shards, in the order in which they get them.
pub fn shard_nodes() -> Result<Vec<Rc<Node>>> {
    let mut nodes: Vec<Rc<Node>> = catalog::nodes()?
        .into_iter()
        .filter(|n| n.is_primary() && n.active && n.should_have_shards)
        .collect();
    nodes.sort_by(|a, b| (&a.name, a.port, a.group).cmp(&(&b.name, b.port, b.group)));
    if nodes.is_empty() {
        return Err(Error::new(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "no active node may have shards",
        )
        .hint(
            "Add a node with citus_add_node, or let the coordinator have shards: \
               SELECT citus_set_node_property(host, port, 'shouldhaveshards', true).",
        ));
    }
    Ok(nodes)
}

/// Groups of all active primaries: where reference tables are.
pub fn all_groups() -> Result<Vec<i32>> {
    let mut groups: Vec<i32> =
        catalog::nodes()?.iter().filter(|n| n.is_primary() && n.active).map(|n| n.group).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// Places new shards round-robin.
pub fn place(count: i32, replicas: i32) -> Result<Vec<NewShard>> {
    let nodes = shard_nodes()?;
    let n = nodes.len();
    if replicas < 1 || replicas as usize > n {
        return Err(Error::new(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "replication factor {replicas} exceeds the number of nodes that may have \
                     shards ({n})"
            ),
        )
        .hint("Add nodes, or use a lower replication_factor."));
    }
    let groups = |i: usize| {
        (0..replicas as usize).filter_map(|r| nodes.get((i + r) % n)).map(|n| n.group).collect()
    };
    Ok(ranges::ranges(count as u32)
        .into_iter()
        .enumerate()
        .map(|(i, range)| NewShard { range: Some(range), groups: groups(i) })
        .collect())
}

/// The places of an existing table's shards.
pub fn same_places(t: &Table) -> Vec<NewShard> {
    t.shards
        .iter()
        .map(|s| NewShard {
            range: (t.kind == Kind::Hash).then_some(s.range),
            groups: s.placements.iter().map(|p| p.group).collect(),
        })
        .collect()
}

/// The group that new tables of a shape join by default, made where there is none.
pub fn default_layout(shape: Shape, table: Oid) -> Result<Layout> {
    lock()?;
    match default_group(shape)? {
        Some(colocation) => {
            lock_places(colocation, Level::Shared);
            let shards = match table_of_group(colocation, table)? {
                Some(t) => same_places(&t),
                None => place_shape(shape, colocation)?,
            };
            Ok(Layout { colocation, shards })
        }
        None => new_layout(shape),
    }
}

/// A group of its own.
pub fn new_layout(shape: Shape) -> Result<Layout> {
    // The shards first: a group that cannot be placed is not made.
    let mut shards = place_shape(shape, 0)?;
    let colocation = create_group(shape)?;
    if shape.typ == Oid::INVALID && shape.replicas > 0 {
        shards = place_shape(shape, colocation)?;
    }
    Ok(Layout { colocation, shards })
}

fn place_shape(shape: Shape, colocation: i32) -> Result<Vec<NewShard>> {
    if shape.replicas < 0 {
        return Ok(vec![NewShard { range: None, groups: all_groups()? }]);
    }
    if shape.typ == Oid::INVALID {
        // Tables of one shard are spread by their group's id.
        let nodes = shard_nodes()?;
        let node = nodes.get(colocation.unsigned_abs() as usize % nodes.len());
        return Ok(vec![NewShard { range: None, groups: node.iter().map(|n| n.group).collect() }]);
    }
    place(shape.shards, shape.replicas)
}
