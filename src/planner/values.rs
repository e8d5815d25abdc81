//! Values known before a statement runs: constants and expressions over parameters.

use super::distinct::Distinct;
use super::ship;
use crate::catalog::{Key, Table};
use crate::pg::hash::{self, Hasher};
use crate::pg::lookup;
use crate::pg::query::{Kind, Node};
use crate::pg::value::Typed;
use crate::plan::Prune;
use crate::stats::query;
use pgrx::pg_sys::Oid;
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// The expressions that the executor evaluates before it runs a distributed plan, in order.
#[derive(Default)]
pub struct Values {
    exprs: Distinct,
}

impl Values {
    /// Number of an expression, added when it is new.
    pub fn add(&mut self, e: Node) -> u32 {
        // A volatile expression is evaluated as often as it is written.
        let known = if ship::classify(e).volatile { None } else { self.exprs.find(e) };
        known.unwrap_or_else(|| self.exprs.push(e.copy())) as u32
    }

    /// Expressions by number.
    pub fn exprs(&self) -> &[Node] {
        self.exprs.nodes()
    }
}

thread_local! {
    /// Hash functions by (key type, value type): the value's type may be another member of the
    /// key's hash operator family (int4 for an int8 key).
    static HASHERS: RefCell<FxHashMap<(u32, u32), Option<Hasher>>> = RefCell::default();
}

fn hasher(key: &Key, typ: Oid) -> Option<Hasher> {
    let id = (u32::from(key.typ), u32::from(typ));
    if let Some(h) = HASHERS.with(|h| h.borrow().get(&id).copied()) {
        return h;
    }
    let found = Hasher::in_family(hash::family(key.typ), typ);
    HASHERS.with(|h| h.borrow_mut().insert(id, found));
    found
}

/// Whether values of `typ` can be hashed as the distribution column's are.
fn hashable(key: &Key, typ: Oid) -> bool {
    hasher(key, typ).is_some()
}

/// Shard of a value (`None` for NULL), as a pruned set.
pub fn shard_of(table: &Table, value: Option<Typed>) -> Option<Vec<u32>> {
    let key = table.key.as_ref()?;
    let Some(v) = value else { return Some(Vec::new()) };
    // Hashed as the distribution column would hash its equal.
    let h = hasher(key, v.typ())?.hash(key.collation, v)?;
    if query::wants_tenant() {
        query::note_tenant(Some(v.text()));
    }
    Some(table.shard_index(h).map(|i| i as u32).into_iter().collect())
}

/// Shards of the elements of an array (`None` for NULL).
pub fn shards_of_array(table: &Table, value: Option<Typed>) -> Option<Vec<u32>> {
    let Some(v) = value else { return Some(Vec::new()) };
    let mut out = Vec::new();
    for e in v.elements()? {
        out.extend(shard_of(table, Some(e))?);
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

/// What equality of the key with `value` says about shards.
pub fn prune_value(table: &Table, value: Node, values: &mut Values) -> Prune {
    let Some(key) = table.key.as_ref() else { return Prune::All };
    if !hashable(key, value.typ()) {
        return Prune::All;
    }
    match value.kind() {
        Kind::Const(c) => shard_of(table, c.value()).map_or(Prune::All, Prune::Fixed),
        _ => Prune::Param(values.add(value)),
    }
}

/// What `key = ANY (array)` says about shards.
pub fn prune_array(table: &Table, array: Node, values: &mut Values) -> Prune {
    let Some(key) = table.key.as_ref() else { return Prune::All };
    if !lookup::element_type(array.typ()).is_some_and(|element| hashable(key, element)) {
        return Prune::All;
    }
    match array.kind() {
        Kind::Const(c) => shards_of_array(table, c.value()).map_or(Prune::All, Prune::Fixed),
        _ => Prune::ArrayParam(values.add(array)),
    }
}
