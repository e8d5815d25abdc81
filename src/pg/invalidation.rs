//! Telling all backends that what they know of a relation is stale, and being told.

use super::{guard, relation, scan};
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys::{self, Datum, NodeTag, Oid};
use std::sync::OnceLock;

/// What is called.
struct Callbacks {
    /// With a stale relation, or `None` when all of them are.
    relation: fn(Option<Oid>),
    /// When schemas, functions, types or operators change.
    definitions: fn(),
}

static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();

extern "C-unwind" fn on_relcache(_arg: Datum, relid: Oid) {
    guard::entry(|| {
        if let Some(c) = CALLBACKS.get() {
            (c.relation)((relid != Oid::INVALID).then_some(relid));
        }
    })
}

extern "C-unwind" fn on_definition(_arg: Datum, _cache: i32, _hash: u32) {
    guard::entry(|| {
        if let Some(c) = CALLBACKS.get() {
            (c.definitions)();
        }
    })
}

/// Notices what other backends have changed. Taking a lock on a relation does that, too; after
/// waiting for any other lock it has to be asked for.
pub fn accept() {
    // SAFETY: inside a transaction; errors become panics.
    unsafe { guard::call(|| pg_sys::AcceptInvalidationMessages()) }
}

/// Registers what is called when relations become stale, and when other definitions do; once per
/// process, from `_PG_init`.
pub fn register(relation: fn(Option<Oid>), definitions: fn()) {
    if CALLBACKS.set(Callbacks { relation, definitions }).is_err() {
        return;
    }
    // SAFETY: the callbacks live as long as the process.
    unsafe {
        let none = Datum::from(0usize);
        pg_sys::CacheRegisterRelcacheCallback(Some(on_relcache), none);
        use pg_sys::SysCacheIdentifier as Cache;
        for cache in [Cache::NAMESPACEOID, Cache::PROCOID, Cache::TYPEOID, Cache::OPEROID] {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(on_definition), none);
        }
    }
}

/// Makes a relation stale for all backends, when this transaction commits and here at once after
/// the next command; `otherwise` where it does not exist (any more).
pub fn make_stale(relid: Option<Oid>, otherwise: Oid) {
    let relid = relid.filter(|r| relation::exists(*r)).unwrap_or(otherwise);
    // SAFETY: an invalidation message inside a transaction.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relid) }
}

/// Calls `each` for the rows that the running row trigger is about, with the table's name.
pub fn each_changed_row(args: super::fmgr::Args, each: fn(&str, &scan::Row)) -> Result<()> {
    // SAFETY: checked to be called by the trigger manager, which hands over tuples of the table.
    unsafe {
        let context = (*args.fcinfo()).context as *mut pg_sys::TriggerData;
        if context.is_null() || (*context).type_ != NodeTag::T_TriggerData {
            let message = "the function was not called by the trigger manager";
            return Err(Error::new(sqlstate::TRIGGER_PROTOCOL_VIOLATED, message)
                .hint("It is a trigger of the extension's own tables."));
        }
        let rel = (*context).tg_relation;
        let name = super::nodes::str_of((*(*rel).rd_rel).relname.data.as_ptr());
        for tuple in [(*context).tg_trigtuple, (*context).tg_newtuple] {
            if !tuple.is_null() {
                each(&name, &scan::Row::of_tuple(tuple, (*rel).rd_att));
            }
        }
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}
