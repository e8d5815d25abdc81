//! Values known before a statement runs: constants and expressions over parameters.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::ship;
use crate::catalog::{Key, Table};
use crate::pg::{guard, nodes};
use crate::plan::Prune;
use crate::stats::query;
use pgrx::pg_sys::{self, Datum, Node, NodeTag, Oid};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// The expressions that the executor evaluates before it runs a distributed plan, in order.
#[derive(Default)]
pub struct Values {
    exprs: Vec<*mut Node>,
}

impl Values {
    /// Number of an expression, added when it is new.
    pub unsafe fn add(&mut self, e: *mut Node) -> u32 {
        // A volatile expression is evaluated as often as it is written.
        if !ship::classify(e).volatile {
            if let Some(i) = self.exprs.iter().position(|x| nodes::equal(*x, e)) {
                return i as u32;
            }
        }
        self.exprs.push(nodes::copy(e));
        self.exprs.len() as u32 - 1
    }

    /// Expressions by number.
    pub fn exprs(&self) -> &[*mut Node] {
        &self.exprs
    }
}

thread_local! {
    /// Hash functions by (key type, value type): the value's type may be another member of the
    /// key's hash operator family (int4 for an int8 key).
    static HASHERS: RefCell<FxHashMap<(u32, u32), Option<*mut pg_sys::FmgrInfo>>> =
        RefCell::default();
}

/// Support function number of the 32-bit hash (access/hash.h).
const HASH_PROC: i16 = 1;

/// Hash operator family of the distribution column's type.
pub unsafe fn hash_family(key: &Key) -> Oid {
    let entry = pg_sys::lookup_type_cache(key.typ, pg_sys::TYPECACHE_HASH_OPFAMILY as i32);
    (*entry).hash_opf
}

/// The type of values of `typ` for operator families: domains are their base type, and what is
/// binary-coercible to text counts as text.
unsafe fn family_type(family: Oid, typ: Oid) -> Option<Oid> {
    let base = pg_sys::getBaseType(typ);
    let has = |t| pg_sys::get_opfamily_proc(family, t, t, HASH_PROC) != Oid::INVALID;
    if has(base) {
        return Some(base);
    }
    let entry = pg_sys::lookup_type_cache(base, pg_sys::TYPECACHE_HASH_OPFAMILY as i32);
    ((*entry).hash_opf == family && has((*entry).hash_opintype)).then_some((*entry).hash_opintype)
}

unsafe fn hasher(key: &Key, typ: Oid) -> Option<*mut pg_sys::FmgrInfo> {
    let id = (u32::from(key.typ), u32::from(typ));
    if let Some(h) = HASHERS.with(|h| h.borrow().get(&id).copied()) {
        return h;
    }
    let family = hash_family(key);
    let found = family_type(family, typ).map(|t| {
        let f = pg_sys::get_opfamily_proc(family, t, t, HASH_PROC);
        let info = Box::into_raw(Box::<pg_sys::FmgrInfo>::default());
        pg_sys::fmgr_info_cxt(f, info, pg_sys::TopMemoryContext);
        info
    });
    HASHERS.with(|h| h.borrow_mut().insert(id, found));
    found
}

/// Whether values of `typ` can be hashed as the distribution column's are.
pub unsafe fn hashable(key: &Key, typ: Oid) -> bool {
    hasher(key, typ).is_some()
}

/// Hash of a value of type `typ` as the distribution column would hash its equal.
pub unsafe fn hash(key: &Key, typ: Oid, value: Datum) -> Option<i32> {
    let info = hasher(key, typ)?;
    let collation = key.collation;
    Some(guard::call(|| pg_sys::FunctionCall1Coll(info, collation, value)).value() as i32)
}

/// Shard of a value, as a pruned set.
pub unsafe fn shard_of(table: &Table, typ: Oid, value: Option<Datum>) -> Option<Vec<u32>> {
    let key = table.key.as_ref()?;
    match value {
        None => Some(Vec::new()),
        Some(v) => {
            let h = hash(key, typ, v)?;
            if query::wants_tenant() {
                query::note_tenant(Some(crate::pg::fmgr::output(typ, v)));
            }
            Some(table.shard_index(h).map(|i| i as u32).into_iter().collect())
        }
    }
}

/// Shards of the elements of an array.
pub unsafe fn shards_of_array(table: &Table, array: Oid, value: Option<Datum>) -> Option<Vec<u32>> {
    let Some(v) = value else { return Some(Vec::new()) };
    let element = pg_sys::get_element_type(pg_sys::getBaseType(array));
    if element == Oid::INVALID {
        return None;
    }
    let mut out = Vec::new();
    for e in crate::pg::fmgr::array_elements(v, element).into_iter().flatten() {
        out.extend(shard_of(table, element, Some(e))?);
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

/// What equality of the key with `value` says about shards.
pub unsafe fn prune_value(table: &Table, value: *mut Node, values: &mut Values) -> Prune {
    let typ = pg_sys::exprType(value);
    let Some(key) = table.key.as_ref() else { return Prune::All };
    if !hashable(key, typ) {
        return Prune::All;
    }
    if let Some(c) = nodes::cast::<pg_sys::Const>(value, NodeTag::T_Const) {
        let d = (!(*c).constisnull).then_some((*c).constvalue);
        return shard_of(table, typ, d).map_or(Prune::All, Prune::Fixed);
    }
    Prune::Param(values.add(value))
}

/// What `key = ANY (array)` says about shards.
pub unsafe fn prune_array(table: &Table, array: *mut Node, values: &mut Values) -> Prune {
    let typ = pg_sys::exprType(array);
    let element = pg_sys::get_element_type(pg_sys::getBaseType(typ));
    let Some(key) = table.key.as_ref() else { return Prune::All };
    if element == Oid::INVALID || !hashable(key, element) {
        return Prune::All;
    }
    if let Some(c) = nodes::cast::<pg_sys::Const>(array, NodeTag::T_Const) {
        let d = (!(*c).constisnull).then_some((*c).constvalue);
        return shards_of_array(table, typ, d).map_or(Prune::All, Prune::Fixed);
    }
    Prune::ArrayParam(values.add(array))
}
