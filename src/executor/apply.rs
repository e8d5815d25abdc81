//! Nodes that write the rows of the plan below them: routed INSERT, UPDATE and DELETE by place.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::apply_rows::Inner;
use super::methods::{self, Functions, Table};
use crate::error::{Error, Result};
use crate::pg::{guard, nodes, query};
use crate::plan::Apply;
use pgrx::pg_sys::{
    self, CustomExecMethods, CustomScan, CustomScanMethods, CustomScanState, EState, ExplainState,
    List, Node, ScanState, TupleTableSlot,
};

static INSERT: Table<CustomScanMethods> = methods::scan(c"Citus Insert", create_state);
static PLACE: Table<CustomScanMethods> = methods::scan(c"Citus Modify", create_state);
static EXEC: Table<CustomExecMethods> =
    methods::exec(c"Citus Apply", Functions { begin, exec, end, rescan, explain });

/// The methods of an applying node.
pub fn apply_methods(apply: &Apply) -> &'static CustomScanMethods {
    if apply.identity.is_empty() {
        &INSERT.0
    } else {
        &PLACE.0
    }
}

/// Registers the node types.
pub fn register() {
    methods::register(&[&INSERT, &PLACE]);
}

/// PostgreSQL's state node with ours behind it.
#[repr(C)]
struct State {
    css: CustomScanState,
    inner: *mut Inner,
}

extern "C-unwind" fn create_state(_scan: *mut CustomScan) -> *mut Node {
    // SAFETY: the scan state is its first field; null is valid for the other.
    unsafe { methods::new_state::<State>(&EXEC) }
}

extern "C-unwind" fn begin(node: *mut CustomScanState, estate: *mut EState, eflags: i32) {
    // SAFETY: PostgreSQL passes the state made above.
    guard::entry_result(|| unsafe { begin_inner(node as *mut State, estate, eflags) })
}

unsafe fn begin_inner(s: *mut State, estate: *mut EState, eflags: i32) -> Result<()> {
    let scan = (*s).css.ss.ps.plan as *mut CustomScan;
    let unreadable = || Error::internal("unreadable distributed plan");
    let private = query::List::from_raw((*scan).custom_private);
    let apply = query::read_bytes(private, 1, Apply::decode).flatten().ok_or_else(unreadable)?;
    let below: *mut pg_sys::Plan = nodes::nth((*scan).custom_plans, 0);
    let child = guard::call(|| pg_sys::ExecInitNode(below, estate, eflags));
    (*s).css.custom_ps = nodes::list([child]);
    let desc = (*(*s).css.ss.ss_ScanTupleSlot).tts_tupleDescriptor;
    let context = (*estate).es_query_cxt;
    let exprs = pg_sys::ExecInitExprList((*scan).custom_exprs, &mut (*s).css.ss.ps);
    let mut inner = Inner::new(apply, exprs, child, desc, context);
    inner.analyze(estate);
    (*s).inner = guard::leak_into(context, inner);
    Ok(())
}

extern "C-unwind" fn access(ss: *mut ScanState) -> *mut TupleTableSlot {
    // SAFETY: the scan state is the head of ours.
    guard::entry_result(|| unsafe {
        let s = ss as *mut State;
        let inner = &mut *(*s).inner;
        if !inner.done {
            inner.run(ss)?;
        }
        let slot = (*ss).ss_ScanTupleSlot;
        super::run::clear(slot);
        inner.result(slot)?;
        Ok(slot)
    })
}

extern "C-unwind" fn exec(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: no Rust value is alive in this frame, an error may pass through it.
    unsafe { methods::next_row(node, access) }
}

extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: the state made above; called once.
    guard::entry(|| unsafe {
        let s = node as *mut State;
        if !(*s).inner.is_null() {
            (*(*s).inner).end();
        }
    })
}

extern "C-unwind" fn rescan(_node: *mut CustomScanState) {
    guard::entry_result(|| -> Result<()> {
        Err(Error::internal("a modification cannot run twice in one plan"))
    })
}

extern "C-unwind" fn explain(
    node: *mut CustomScanState,
    _ancestors: *mut List,
    es: *mut ExplainState,
) {
    // SAFETY: as above; PostgreSQL itself prints the plan below.
    guard::entry_result(|| unsafe {
        let s = node as *mut State;
        let inner = &*(*s).inner;
        super::explain::applied(&inner.analyses(), inner.affected(), es)
    })
}
