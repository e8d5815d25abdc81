//! Distributed, reference and managed local tables with their shards and placements.

use super::cache::{oids, steady, Oids, TABLES};
use crate::model::ranges;
use crate::pg::hash::Hasher;
use crate::pg::query::{self, Var};
use crate::pg::snapshot::Fixed;
use crate::pg::{scan, session, xact};
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::Cell;
use std::rc::Rc;

/// How the rows of a table are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// By the hash of the distribution column.
    Hash,
    /// One shard on every node.
    Reference,
    /// A single shard on one node, without distribution column (tenant schemas).
    Single,
    /// A local table known to the metadata, one shard on the coordinator.
    Local,
}

/// A copy of a shard on a group of nodes.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Placement id.
    pub id: i64,
    /// Node group.
    pub group: i32,
    /// 1 is healthy; 3 missed a write and must not be read.
    pub state: i32,
    /// The transaction that wrote its row, by id with epoch; 0 for a row that all see.
    pub since: u64,
}

/// A shard and its healthy placements.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Shard id.
    pub id: i64,
    /// Inclusive range of hashes; the whole range where there is no distribution column.
    pub range: (i32, i32),
    /// Healthy placements, by placement id.
    pub placements: Vec<Placement>,
}

/// The distribution column.
#[derive(Clone, Debug)]
pub struct Key {
    /// Attribute number in the shell table.
    pub attno: i16,
    /// Type.
    pub typ: Oid,
    /// Type modifier.
    pub typmod: i32,
    /// Collation.
    pub collation: Oid,
    hash: Hasher,
}

impl Key {
    /// Hash of a value of exactly the column's type, by the type's default hash operator class.
    pub fn hash(&self, value: Datum) -> i32 {
        self.hash.hash_datum(self.collation, value)
    }
}

/// A table under our management.
#[derive(Debug)]
pub struct Table {
    /// OID of the shell table.
    pub relid: Oid,
    /// How rows are spread.
    pub kind: Kind,
    /// Co-location group.
    pub colocation: i32,
    /// Replication model: `s`treaming, `c`oordinator or `t` (2PC, reference tables).
    pub replication: u8,
    /// Distribution column of hash-distributed tables.
    pub key: Option<Key>,
    /// Shards by range.
    pub shards: Vec<Shard>,
    /// Whether any shard has more than one healthy placement.
    pub replicated: bool,
    uniform: bool,
}

impl Table {
    /// Index of the shard that holds rows whose key hashes to `hash`.
    pub fn shard_index(&self, hash: i32) -> Option<usize> {
        if self.uniform {
            return Some(ranges::uniform_index(hash, self.shards.len() as u32));
        }
        let i = self.shards.partition_point(|s| s.range.0 <= hash).checked_sub(1)?;
        (hash <= self.shards[i].range.1).then_some(i)
    }

    /// Whether two tables are cut at the same places and live on the same nodes.
    pub fn colocated_with(&self, other: &Table) -> bool {
        self.kind == other.kind
            && self.colocation != 0
            && self.colocation == other.colocation
            && self.shards.len() == other.shards.len()
    }
}

/// The table's metadata, or `None` for a table that is not ours. Costs a hash probe when cached.
pub fn table(relid: Oid) -> Option<Rc<Table>> {
    let hit = TABLES.with(|t| t.borrow().get(&u32::from(relid)).cloned());
    if let Some(found) = hit {
        return found;
    }
    if u32::from(relid) < pg_sys::FirstNormalObjectId || !super::extension_ready() {
        return None;
    }
    let (loaded, may_be_kept) = steady(|| oids().and_then(|o| load(o, relid)).map(Rc::new));
    if may_be_kept {
        TABLES.with(|t| t.borrow_mut().insert(u32::from(relid), loaded.clone()));
    }
    loaded
}

fn load(o: Oids, relid: Oid) -> Option<Table> {
    let by_relid = |attno| scan::Key { attno, equal: pg_sys::F_OIDEQ, value: Datum::from(relid) };
    let mut row = None;
    scan::rows(o.partition, Some(o.partition_index), &[by_relid(1)], |r| {
        row = Some((r.char(2), r.text(3), r.i32(4), r.char(5)));
    });
    let (method, key, colocation, replication) = row?;
    let kind = match (method, replication) {
        (b'h', _) => Kind::Hash,
        (_, b't') => Kind::Reference,
        _ if colocation != 0 => Kind::Single,
        _ => Kind::Local,
    };
    let mut shards = Vec::new();
    scan::rows(o.shard, Some(o.shard_index), &[by_relid(1)], |r| {
        let bound = |n, default| r.text(n).and_then(|t| t.parse().ok()).unwrap_or(default);
        shards.push(Shard {
            id: r.i64(2),
            range: (bound(5, i32::MIN), bound(6, i32::MAX)),
            placements: Vec::new(),
        });
    });
    shards.sort_by_key(|s| (s.range.0, s.id));
    load_placements(o, &mut shards);
    let cut: Vec<(i32, i32)> = shards.iter().map(|s| s.range).collect();
    Some(Table {
        relid,
        kind,
        colocation,
        replication,
        key: if kind == Kind::Hash { key.and_then(|k| load_key(&k)) } else { None },
        replicated: shards.iter().any(|s| s.placements.len() > 1),
        uniform: kind == Kind::Hash && ranges::is_uniform(&cut),
        shards,
    })
}

/// Above this many ranges of shards one scan of all placements is cheaper than a probe for each.
const PROBE_LIMIT: usize = 2000;

/// Shard ids that are further from each other are read by probes of their own; what belongs to
/// other tables in between is read in vain.
const MAX_GAP: i64 = 8;

fn load_placements(o: Oids, shards: &mut [Shard]) {
    let full = xact::full_ids();
    let mut by_id: Vec<(i64, usize)> = shards.iter().enumerate().map(|(i, s)| (s.id, i)).collect();
    by_id.sort_unstable();
    let mut found = |r: &scan::Row| {
        let id = r.i64(2);
        let Ok(at) = by_id.binary_search_by_key(&id, |x| x.0) else { return };
        // Healthy ones only.
        if r.i32(3) == 1 {
            let since = full(r.creator());
            let p = Placement { id: r.i64(1), group: r.i32(5), state: 1, since };
            shards[by_id[at].1].placements.push(p);
        }
    };
    let ranges: Vec<(i64, i64)> =
        by_id.chunk_by(|a, b| b.0.saturating_sub(a.0) <= MAX_GAP).filter_map(ends).collect();
    if ranges.len() <= PROBE_LIMIT {
        for range in ranges {
            scan::rows_between(o.placement, o.placement_index, 2, range, &mut found);
        }
    } else {
        scan::rows(o.placement, None, &[], &mut found);
    }
    for s in shards.iter_mut() {
        s.placements.sort_by_key(|p| p.id);
    }
}

/// The first and last id of some.
fn ends(ids: &[(i64, usize)]) -> Option<(i64, i64)> {
    Some((ids.first()?.0, ids.last()?.0))
}

/// Whether a placement was there, and healthy, in a snapshot.
pub fn was_placed(at: &Fixed, shard: i64, placement: i64) -> bool {
    let Some(o) = oids() else { return false };
    let key = scan::Key { attno: 2, equal: pg_sys::F_INT8EQ, value: Datum::from(shard) };
    let mut found = false;
    at.rows(o.placement, Some(o.placement_index), &[key], |r| {
        found |= r.i64(1) == placement && r.i32(3) == 1;
    });
    found
}

/// Whether a table was under our management in a snapshot.
pub fn was_managed(at: &Fixed, relid: Oid) -> bool {
    let Some(o) = oids() else { return false };
    let key = scan::Key { attno: 1, equal: pg_sys::F_OIDEQ, value: Datum::from(relid) };
    let mut found = false;
    at.rows(o.partition, Some(o.partition_index), &[key], |_| found = true);
    found
}

/// The distribution column from its stored form, a `Var` as PostgreSQL writes nodes.
fn load_key(stored: &str) -> Option<Key> {
    let var = query::parse(stored)?.cast::<Var>()?;
    Some(Key {
        attno: var.varattno(),
        typ: var.vartype(),
        typmod: var.vartypmod(),
        collation: var.varcollid(),
        hash: Hasher::of_type(var.vartype())?,
    })
}

thread_local! {
    static ANY: Cell<(u64, bool)> = const { Cell::new((0, false)) };
}

/// Whether this server knows of any table with shards.
pub fn any_tables() -> bool {
    let now = super::generation();
    let (then, known) = ANY.with(Cell::get);
    if then == now {
        return known;
    }
    let Some(o) = oids() else { return false };
    let mut any = false;
    scan::rows(o.partition, None, &[], |_| any = true);
    ANY.with(|c| c.set((now, any)));
    any
}

/// Whether `pg_dist_partition`, by its OID, has rows of tables that exist.
pub fn has_tables(partition: Oid) -> bool {
    let mut any = false;
    scan::rows(partition, None, &[], |r| any |= session::relation_name(r.oid(1)).is_some());
    any
}

/// The table that a shard belongs to, read from the catalog.
pub fn relation_of_shard(shard: i64) -> Option<Oid> {
    let o = oids()?;
    let index = scan::catalog_relation(c"pg_dist_shard_shardid_index")?;
    let key = scan::Key { attno: 2, equal: pg_sys::F_INT8EQ, value: Datum::from(shard) };
    let mut found = None;
    scan::rows(o.shard, Some(index), &[key], |r| found = Some(r.oid(1)));
    found
}
