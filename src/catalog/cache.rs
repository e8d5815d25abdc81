//! Cache state and its invalidation.

use super::{nodes::NodeCache, tables::Table};
use crate::pg::{invalidation, scan, server};
use pgrx::pg_sys::{Datum, Oid};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::rc::Rc;
use std::thread::LocalKey;

thread_local! {
    pub(super) static TABLES: RefCell<FxHashMap<u32, Option<Rc<Table>>>> =
        RefCell::default();
    pub(super) static NODES: RefCell<Option<Rc<NodeCache>>> = const { RefCell::new(None) };
    static OIDS: Cell<Option<Oids>> = const { Cell::new(None) };
    static GENERATION: Cell<u64> = const { Cell::new(1) };
}

/// OIDs of the catalogs that the caches read.
#[derive(Clone, Copy)]
pub(super) struct Oids {
    pub partition: Oid,
    pub partition_index: Oid,
    pub shard: Oid,
    pub shard_index: Oid,
    pub placement: Oid,
    pub placement_index: Oid,
    pub node: Oid,
    pub local_group: Oid,
}

/// The catalogs' OIDs, or `None` where the extension is not installed in this database.
pub(super) fn oids() -> Option<Oids> {
    if let Some(o) = OIDS.with(Cell::get) {
        return Some(o);
    }
    let o = Oids {
        partition: scan::catalog_relation(c"pg_dist_partition")?,
        partition_index: scan::catalog_relation(c"pg_dist_partition_logical_relid_index")?,
        shard: scan::catalog_relation(c"pg_dist_shard")?,
        shard_index: scan::catalog_relation(c"pg_dist_shard_logical_relid_index")?,
        placement: scan::catalog_relation(c"pg_dist_placement")?,
        placement_index: scan::catalog_relation(c"pg_dist_placement_shardid_index")?,
        node: scan::catalog_relation(c"pg_dist_node")?,
        local_group: scan::catalog_relation(c"pg_dist_local_group")?,
    };
    OIDS.with(|c| c.set(Some(o)));
    Some(o)
}

/// Whether the extension is installed in this database and complete.
pub fn extension_ready() -> bool {
    if server::is_installing() {
        return false;
    }
    oids().is_some()
}

/// A number that changes with every invalidation of metadata and of definitions: what is derived
/// from them and kept (templates, plans) is stale when it differs.
pub fn generation() -> u64 {
    GENERATION.with(Cell::get)
}

/// What was found in the catalogs, as of a generation.
pub type Memo<K, V> = RefCell<(u64, FxHashMap<K, V>)>;

/// A value that is found in the catalogs once in a generation.
pub fn remembered<K: Eq + Hash, V: Copy>(
    memo: &'static LocalKey<Memo<K, V>>,
    key: K,
    find: impl FnOnce() -> V,
) -> V {
    let now = generation();
    let known = memo.with_borrow_mut(|m| {
        if m.0 != now {
            *m = (now, FxHashMap::default());
        }
        m.1.get(&key).copied()
    });
    known.unwrap_or_else(|| {
        let value = find();
        memo.with_borrow_mut(|m| {
            // Not what became stale while it was looked for.
            if m.0 == generation() && m.0 == now {
                m.1.insert(key, value);
            }
        });
        value
    })
}

/// How often something is read again that became stale meanwhile.
const ATTEMPTS: usize = 16;

/// What `read` finds in the catalogs, and whether it may be kept.
///
/// Opening a catalog accepts invalidations, also of what was read from another one just before: what is
/// kept then would stay. So it is read again until nothing became stale.
pub(super) fn steady<T>(mut read: impl FnMut() -> T) -> (T, bool) {
    let mut attempts = 0;
    loop {
        let before = generation();
        let found = read();
        let is_steady = generation() == before;
        attempts += 1;
        if is_steady || attempts == ATTEMPTS {
            return (found, is_steady);
        }
    }
}

/// Forgets what a stale relation makes stale; `None` stands for all relations.
fn forget(relid: Option<Oid>) {
    let o = OIDS.with(Cell::get);
    let stale = relid.filter(|r| o.is_none_or(|o| *r != o.partition));
    let is_nodes = |r: Oid| o.is_some_and(|o| r == o.node || r == o.local_group);
    match stale {
        None => {
            OIDS.with(|c| c.set(None));
            TABLES.with(|t| t.borrow_mut().clear());
        }
        Some(r) => {
            TABLES.with(|t| t.borrow_mut().remove(&u32::from(r)));
        }
    }
    if stale.is_none_or(is_nodes) {
        NODES.with(|n| *n.borrow_mut() = None);
    }
    GENERATION.with(|g| g.set(g.get() + 1));
}

/// What was made from definitions of schemas, functions, types or operators is stale.
fn definitions_are_stale() {
    GENERATION.with(|g| g.set(g.get() + 1));
}

/// Registers the invalidation callbacks; once per process, from `_PG_init`.
pub fn register() {
    invalidation::register(forget, definitions_are_stale);
}

/// What a changed catalog row makes stale; every table when it is unknown or being dropped.
fn invalidate_row(catalog: &str, row: &scan::Row) {
    let Some(o) = oids() else { return };
    match catalog {
        "pg_dist_partition" | "pg_dist_shard" => {
            let relid = row.get(1).map(|_| row.oid(1));
            invalidation::make_stale(relid, o.partition);
        }
        "pg_dist_placement" => {
            let relid = super::tables::relation_of_shard(row.i64(2));
            invalidation::make_stale(relid, o.partition);
        }
        _ => invalidation::make_stale(Some(o.node), o.node),
    }
}

crate::pg_function!(
    /// Row trigger on every `pg_dist_*` catalog: tells all backends what to forget.
    citus_cache_invalidate,
    |args| {
        invalidation::each_changed_row(args, invalidate_row)?;
        Ok(Datum::from(0usize))
    }
);
