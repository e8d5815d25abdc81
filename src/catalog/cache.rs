//! Cache state and its invalidation.

use super::{nodes::NodeCache, tables::Table};
use crate::pg::{guard, scan};
use pgrx::pg_sys::{self, Datum, Oid};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

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
    // SAFETY: reads two server variables.
    if unsafe { pg_sys::creating_extension || pg_sys::IsBinaryUpgrade } {
        return false;
    }
    oids().is_some()
}

/// A number that changes with every invalidation of table or node metadata: what is derived from
/// metadata and kept (templates, plans) is stale when it differs.
pub fn generation() -> u64 {
    GENERATION.with(Cell::get)
}

extern "C-unwind" fn on_relcache(_arg: Datum, relid: Oid) {
    guard::entry(|| {
        let o = OIDS.with(Cell::get);
        let all = relid == Oid::INVALID || o.is_some_and(|o| relid == o.partition);
        let nodes = all || o.is_some_and(|o| relid == o.node || relid == o.local_group);
        if all {
            OIDS.with(|c| c.set(None));
            TABLES.with(|t| t.borrow_mut().clear());
        } else {
            TABLES.with(|t| t.borrow_mut().remove(&u32::from(relid)));
        }
        if nodes {
            NODES.with(|n| *n.borrow_mut() = None);
        }
        GENERATION.with(|g| g.set(g.get() + 1));
    })
}

/// Texts with names of schemas are stale.
extern "C-unwind" fn on_namespace(_arg: Datum, _cache: i32, _hash: u32) {
    guard::entry(|| GENERATION.with(|g| g.set(g.get() + 1)))
}

/// Registers the invalidation callbacks; once per process, from `_PG_init`.
pub fn register() {
    // SAFETY: the callbacks live as long as the process.
    unsafe {
        let none = Datum::from(0usize);
        pg_sys::CacheRegisterRelcacheCallback(Some(on_relcache), none);
        let namespaces = pg_sys::SysCacheIdentifier::NAMESPACEOID as i32;
        pg_sys::CacheRegisterSyscacheCallback(namespaces, Some(on_namespace), none);
    }
}

/// Makes a table stale, or all of them when it is unknown or being dropped.
unsafe fn invalidate_table(o: Oids, relid: Option<Oid>) {
    let none = Datum::from(0usize);
    // SAFETY: syscache look-up and invalidation messages inside a transaction.
    unsafe {
        let exists = |r: &Oid| {
            let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
            pg_sys::SearchSysCacheExists(cache, Datum::from(*r), none, none, none)
        };
        pg_sys::CacheInvalidateRelcacheByRelid(relid.filter(exists).unwrap_or(o.partition));
    }
}

/// What a changed catalog row makes stale.
fn invalidate_row(catalog: &str, tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) {
    let Some(o) = oids() else { return };
    let mut isnull = false;
    // SAFETY: the trigger manager hands over a tuple that fits the descriptor; attribute 1 or 2
    // exist in the catalogs named.
    unsafe {
        let attr = |n: i32, isnull: &mut bool| pg_sys::heap_getattr(tuple, n, desc, isnull);
        match catalog {
            "pg_dist_partition" | "pg_dist_shard" => {
                let d = attr(1, &mut isnull);
                let relid = (!isnull).then(|| Oid::from(d.value() as u32));
                invalidate_table(o, relid);
            }
            "pg_dist_placement" => {
                let d = attr(2, &mut isnull);
                invalidate_table(o, super::tables::relation_of_shard(d.value() as i64));
            }
            _ => pg_sys::CacheInvalidateRelcacheByRelid(o.node),
        }
    }
}

crate::pg_function!(
    /// Row trigger on every `pg_dist_*` catalog: tells all backends what to forget.
    citus_cache_invalidate,
    |args| {
        // SAFETY: checked to be called by the trigger manager.
        unsafe {
            let context = (*args.fcinfo()).context as *mut pg_sys::TriggerData;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(crate::error::Error::internal("not called by the trigger manager"));
            }
            let rel = (*context).tg_relation;
            let name = std::ffi::CStr::from_ptr((*(*rel).rd_rel).relname.data.as_ptr())
                .to_string_lossy()
                .into_owned();
            for t in [(*context).tg_trigtuple, (*context).tg_newtuple] {
                if !t.is_null() {
                    invalidate_row(&name, t, (*rel).rd_att);
                }
            }
            pg_sys::CommandCounterIncrement();
        }
        Ok(Datum::from(0usize))
    }
);
