//! Scans that run again and again.
//!
//! A correlated sub-query scans its table once for each row around it, with other values in its
//! conditions each time, and each time nodes have to be asked. After [`RUNS`] of these all rows that
//! the other conditions leave are read once and kept here; from then on PostgreSQL finds the right
//! ones by the conditions, which it checks in any case. When there are more than [`MOST`], or more
//! than `work_mem` holds, the scan goes on asking nodes.
//!
//! A scan that runs again with the same values would bring the same rows, unless it calls volatile
//! functions. They are kept when that happens for the first time, as far as `work_mem` holds them.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::node::{self, State};
use super::prepared::Prepared;
use super::run::{self, Exec};
use crate::error::Result;
use crate::pg::guard;
use pgrx::pg_sys::{self, List, PlanState, TupleTableSlot, Tuplestorestate};
use std::rc::Rc;

/// So many runs ask nodes before all rows are read. The time of some of these runs is about what
/// it may cost to read rows that turn out to be too many.
const RUNS: u32 = 12;

/// More rows than this are not kept. The planner asks for one more of each shard.
pub const MOST: u32 = 20_000;

extern "C-unwind" {
    fn tuplestore_in_memory(store: *mut Tuplestorestate) -> bool;
}

/// What a scan knows beyond its current run.
pub struct Again {
    /// All rows of the table that the conditions without outer values leave.
    plan: Rc<Prepared>,
    exprs: *mut List,
    /// Every run brings the same rows, until a value changes.
    alike: bool,
    runs: u32,
    store: *mut Tuplestorestate,
    slot: *mut TupleTableSlot,
    /// Rows in the store.
    rows: usize,
    given_up: bool,
}

impl Again {
    /// For a scan that also has a plan for all rows; `exprs` are the parameters of that.
    pub fn new(plan: Rc<Prepared>, exprs: *mut List) -> Again {
        let (store, slot) = (std::ptr::null_mut(), std::ptr::null_mut());
        Again { plan, exprs, alike: false, runs: 0, store, slot, rows: 0, given_up: false }
    }

    /// For any other scan, once it has to run again: with its own plan and parameters.
    pub fn alike(plan: Rc<Prepared>, exprs: *mut List) -> Again {
        Again { alike: true, ..Again::new(plan, exprs) }
    }

    /// The scan is about to run once more; `changed` when one of its own values is another one.
    /// The first run of a sub-query begins with this as well: then it has not `asked` nodes yet.
    pub unsafe fn rescan(&mut self, changed: bool, asked: bool) {
        if self.alike && changed {
            self.forget();
            self.runs = 0;
            self.given_up = false;
            return;
        }
        if self.alike && !asked && self.store.is_null() {
            return;
        }
        self.runs = self.runs.saturating_add(1);
        if !self.store.is_null() {
            pg_sys::tuplestore_rescan(self.store);
        }
    }

    unsafe fn forget(&mut self) {
        if !self.store.is_null() {
            run::clear(self.slot);
            pg_sys::tuplestore_end(self.store);
            self.store = std::ptr::null_mut();
        }
        self.rows = 0;
    }

    /// Whether rows come from here; looks at it when a run begins.
    pub unsafe fn serves(&mut self, s: *mut State) -> Result<bool> {
        let runs = if self.alike { 1 } else { RUNS };
        if self.store.is_null() && self.runs >= runs && !self.given_up {
            self.given_up = !self.read_all(s)?;
        }
        Ok(!self.store.is_null())
    }

    /// The next row into the scan's slot, which stays empty at the end.
    pub unsafe fn next_row(&mut self, to: *mut TupleTableSlot) {
        if pg_sys::tuplestore_gettupleslot(self.store, true, false, self.slot) {
            run::copy_row(self.slot, to);
        }
    }

    /// Reads all rows; false when they are too many.
    unsafe fn read_all(&mut self, s: *mut State) -> Result<bool> {
        let ps = s.cast::<PlanState>();
        let context = (*(*ps).state).es_query_cxt;
        let slot = node::slot(s);
        let desc = (*slot).tts_tupleDescriptor;
        let mut exec = Box::new(Exec::new(self.plan.clone(), desc, context).uncounted());
        exec.reads_with((*(*ps).state).es_snapshot, false);
        exec.start(&node::evaluate(self.exprs, ps))?;
        let old = pg_sys::MemoryContextSwitchTo(context);
        let store = pg_sys::tuplestore_begin_heap(true, false, pg_sys::work_mem);
        if self.slot.is_null() {
            self.slot = pg_sys::MakeSingleTupleTableSlot(desc, &pg_sys::TTSOpsMinimalTuple);
        }
        pg_sys::MemoryContextSwitchTo(old);
        let most = if self.alike { usize::MAX } else { MOST as usize };
        let mut fits = true;
        while fits && read_one(&mut exec, s)? {
            pg_sys::tuplestore_puttupleslot(store, slot);
            self.rows += 1;
            fits = self.rows <= most && tuplestore_in_memory(store);
        }
        exec.end();
        node::exec_of(s).traffic.bytes += exec.traffic.bytes;
        run::clear(slot);
        if fits {
            self.store = store;
        } else {
            pg_sys::tuplestore_end(store);
        }
        Ok(fits)
    }

    /// Rows kept, once they are.
    pub fn kept(&self) -> Option<usize> {
        (!self.store.is_null()).then_some(self.rows)
    }

    /// The scan ends.
    pub unsafe fn end(&mut self) {
        self.forget();
        if !self.slot.is_null() {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            self.slot = std::ptr::null_mut();
        }
    }
}

/// One row into the scan's slot.
unsafe fn read_one(exec: &mut Exec, s: *mut State) -> Result<bool> {
    let (slot, memory) = (node::slot(s), node::row_memory(s));
    run::clear(slot);
    guard::call(|| pg_sys::MemoryContextReset(memory));
    let old = pg_sys::MemoryContextSwitchTo(memory);
    let more = exec.next_row(slot);
    pg_sys::MemoryContextSwitchTo(old);
    more
}
