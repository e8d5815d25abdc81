//! What all CustomScan nodes of ours have in common: tables of functions, states, and the loop of a
//! scan.

use crate::pg::{guard, nodes};
use pgrx::pg_sys::{
    self, CustomExecMethods, CustomScan, CustomScanMethods, CustomScanState, EState, ExplainState,
    List, Node, NodeTag, ScanState, TupleTableSlot,
};
use std::ffi::CStr;

/// An immutable table of function pointers.
pub struct Table<T>(pub T);

// SAFETY: immutable, and the names in it are static.
unsafe impl<T> Sync for Table<T> {}

/// What a node's functions are, as PostgreSQL calls them.
pub struct Functions {
    pub begin: extern "C-unwind" fn(*mut CustomScanState, *mut EState, i32),
    pub exec: extern "C-unwind" fn(*mut CustomScanState) -> *mut TupleTableSlot,
    pub end: extern "C-unwind" fn(*mut CustomScanState),
    pub rescan: extern "C-unwind" fn(*mut CustomScanState),
    pub explain: extern "C-unwind" fn(*mut CustomScanState, *mut List, *mut ExplainState),
}

/// A kind of plan nodes: the name that EXPLAIN shows, and what makes a state.
pub const fn scan(
    name: &'static CStr,
    create: extern "C-unwind" fn(*mut CustomScan) -> *mut Node,
) -> Table<CustomScanMethods> {
    Table(CustomScanMethods { CustomName: name.as_ptr(), CreateCustomScanState: Some(create) })
}

/// The functions of a kind of states. None of ours can mark places or run in parallel workers.
pub const fn exec(name: &'static CStr, f: Functions) -> Table<CustomExecMethods> {
    Table(CustomExecMethods {
        CustomName: name.as_ptr(),
        BeginCustomScan: Some(f.begin),
        ExecCustomScan: Some(f.exec),
        EndCustomScan: Some(f.end),
        ReScanCustomScan: Some(f.rescan),
        MarkPosCustomScan: None,
        RestrPosCustomScan: None,
        EstimateDSMCustomScan: None,
        InitializeDSMCustomScan: None,
        ReInitializeDSMCustomScan: None,
        InitializeWorkerCustomScan: None,
        ShutdownCustomScan: None,
        ExplainCustomScan: Some(f.explain),
    })
}

/// Makes kinds of plan nodes known; once per process.
pub fn register(kinds: &[&'static Table<CustomScanMethods>]) {
    // SAFETY: the tables are static.
    kinds.iter().for_each(|k| unsafe { pg_sys::RegisterCustomScanMethods(&k.0) });
}

/// A new state, zeroed but for its tag and methods.
///
/// # Safety
/// The first field of `S` is a [`CustomScanState`], and zeros are a valid `S`.
pub unsafe fn new_state<S>(methods: &'static Table<CustomExecMethods>) -> *mut Node {
    guard::entry(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let s: *mut S = nodes::make(NodeTag::T_CustomScanState);
            (*s.cast::<CustomScanState>()).methods = &methods.0;
            s.cast()
        }
    })
}

/// Gives the next row of a scan into its slot.
pub type Access = extern "C-unwind" fn(*mut ScanState) -> *mut TupleTableSlot;

extern "C-unwind" {
    #[link_name = "ExecScan"]
    fn raw_scan(
        node: *mut ScanState,
        access: Access,
        recheck: extern "C-unwind" fn(*mut ScanState, *mut TupleTableSlot) -> bool,
    ) -> *mut TupleTableSlot;
}

extern "C-unwind" fn recheck(_: *mut ScanState, _: *mut TupleTableSlot) -> bool {
    true
}

/// ExecScan: resets the memory of a row, calls `access`, and applies conditions and projection.
///
/// # Safety
/// A state of ours that is being executed; the caller's frame owns nothing, an error may pass
/// through it.
pub unsafe fn next_row(node: *mut CustomScanState, access: Access) -> *mut TupleTableSlot {
    // SAFETY: the caller's promise.
    unsafe { raw_scan(&mut (*node).ss, access, recheck) }
}
