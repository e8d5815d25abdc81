//! Rows that are kept for later.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use pgrx::pg_sys::{self, TupleTableSlot};

/// A tuple store that exists when it is needed.
pub(super) struct Store {
    /// The rows.
    pub(super) store: *mut pg_sys::Tuplestorestate,
    /// The row that was read last.
    pub(super) slot: *mut TupleTableSlot,
}

impl Store {
    /// None yet.
    pub(super) const fn none() -> Self {
        Store { store: std::ptr::null_mut(), slot: std::ptr::null_mut() }
    }

    /// Memory of the store is the current context's.
    pub(super) unsafe fn open(desc: pg_sys::TupleDesc) -> Self {
        Store {
            store: pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem),
            slot: pg_sys::MakeSingleTupleTableSlot(desc, &pg_sys::TTSOpsMinimalTuple),
        }
    }

    /// The next row, or null.
    pub(super) unsafe fn next(&self) -> *mut TupleTableSlot {
        if !self.store.is_null()
            && pg_sys::tuplestore_gettupleslot(self.store, true, false, self.slot)
        {
            return self.slot;
        }
        std::ptr::null_mut()
    }

    /// Frees it.
    pub(super) unsafe fn close(&mut self) {
        if !self.store.is_null() {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::tuplestore_end(self.store);
            self.store = std::ptr::null_mut();
        }
    }
}
