//! Rows of RETURNING in the order of the new rows.
//!
//! PostgreSQL returns the rows of an INSERT as they were given, and clients rely on it: Django's
//! bulk_create gives the keys that come back to its objects one by one. Each shard keeps the order
//! of its own rows, so that of all is known where every row's shard is.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::{clear, Exec};
use crate::pg::guard;
use pgrx::pg_sys::{self, Tuplestorestate};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

impl Exec {
    /// Has the shards of rows remembered, for [`Exec::arrange`]; before tasks are sent.
    pub fn remember_origins(&mut self) {
        self.origins = Some(Vec::new());
    }

    /// So many rows of a shard on this server are in the store.
    pub(super) fn came_from(&mut self, shard: i64, rows: u64) {
        if let (Some(origins), true) = (&mut self.origins, self.plan.returns_rows()) {
            origins.extend((0..rows).map(|_| shard));
        }
    }

    /// Moves the rows that have come to `into`, in the order of the rows that were sent to `shards`,
    /// one by one. A row that nothing came back for (ON CONFLICT) makes the order that of the other
    /// rows of its shard.
    pub unsafe fn arrange(&mut self, shards: &[i64], into: *mut Tuplestorestate) {
        let origins = self.origins.replace(Vec::new()).unwrap_or_default();
        if self.store.is_null() {
            return;
        }
        let scratch = pg_sys::AllocSetContextCreateInternal(
            self.context,
            c"citus arranged rows".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let old = pg_sys::MemoryContextSwitchTo(scratch);
        let mut rows: FxHashMap<i64, VecDeque<pg_sys::MinimalTuple>> = FxHashMap::default();
        let mut origins = origins.into_iter();
        let slot = self.store_slot;
        while pg_sys::tuplestore_gettupleslot(self.store, true, false, slot) {
            let Some(copy) = (*(*slot).tts_ops).copy_minimal_tuple else { break };
            rows.entry(origins.next().unwrap_or(0)).or_default().push_back(copy(slot));
        }
        self.exhausted = true;
        let put = |row: pg_sys::MinimalTuple| {
            guard::call(|| {
                pg_sys::ExecStoreMinimalTuple(row, slot, false);
                pg_sys::tuplestore_puttupleslot(into, slot);
            });
        };
        shards.iter().filter_map(|s| rows.get_mut(s)?.pop_front()).for_each(put);
        rows.into_values().flatten().for_each(put);
        clear(slot);
        pg_sys::MemoryContextSwitchTo(old);
        pg_sys::MemoryContextDelete(scratch);
    }
}
