//! Data-modifying statements in WITH: the node that runs them, and scans of their rows.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::analyze;
use super::methods::{self, Functions, Table};
use crate::error::{Error, Result};
use crate::pg::{guard, nodes, query};
use crate::plan::Target;
use crate::planner::whole;
use pgrx::pg_sys::{
    self, CustomExecMethods, CustomScan, CustomScanMethods, CustomScanState, EState, ExplainState,
    List, Node, PlanState, PlannedStmt, QueryDesc, TupleTableSlot, Tuplestorestate,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_void};

static WITH: Table<CustomScanMethods> = methods::scan(c"Citus With", create_with);
static WITH_EXEC: Table<CustomExecMethods> =
    methods::exec(c"Citus With", Functions { begin, exec, end, rescan, explain });
static ROWS: Table<CustomScanMethods> = methods::scan(c"Citus With Rows", create_rows);
static ROWS_EXEC: Table<CustomExecMethods> = methods::exec(
    c"Citus With Rows",
    Functions {
        begin: rows_begin,
        exec: rows_exec,
        end: rows_end,
        rescan: rows_rescan,
        explain: explain_rows,
    },
);

/// The methods of the node that runs statements.
pub fn with_methods() -> &'static CustomScanMethods {
    &WITH.0
}

/// The methods of the scan of a statement's rows.
pub fn rows_methods() -> &'static CustomScanMethods {
    &ROWS.0
}

/// Registers the node types.
pub fn register() {
    methods::register(&[&WITH, &ROWS]);
}

thread_local! {
    /// Rows of running statements; a plan that runs inside itself has several.
    static RESULTS: RefCell<HashMap<u64, Vec<*mut Tuplestorestate>>> =
        RefCell::new(HashMap::new());
}

extern "C-unwind" {
    fn CreateTuplestoreDestReceiver() -> *mut pg_sys::DestReceiver;
    fn SetTuplestoreDestReceiverParams(
        dest: *mut pg_sys::DestReceiver,
        store: *mut Tuplestorestate,
        context: pg_sys::MemoryContext,
        detoast: bool,
        target: pg_sys::TupleDesc,
        map_failure: *const c_char,
    );
    // Without pgrx's guard: errors of constraints keep the names that they tell.
    #[link_name = "ExecutorRun"]
    fn raw_run(desc: *mut QueryDesc, way: pg_sys::ScanDirection::Type, count: u64, once: bool);
    #[link_name = "ExecutorFinish"]
    fn raw_finish(desc: *mut QueryDesc);
    #[link_name = "planstate_tree_walker"]
    fn raw_walker(
        ps: *mut PlanState,
        walker: extern "C-unwind" fn(*mut PlanState, *mut c_void) -> bool,
        context: *mut c_void,
    ) -> bool;
}

// ---- the node that runs statements ------------------------------------------------------------

#[repr(C)]
struct State {
    css: CustomScanState,
    inner: *mut Inner,
}

struct Inner {
    child: *mut PlanState,
    statements: Vec<(u64, *mut PlannedStmt)>,
    stores: Vec<*mut Tuplestorestate>,
    announced: Vec<u64>,
    /// Statements that have run, while EXPLAIN may still want to know how.
    ran: Vec<*mut QueryDesc>,
    done: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Inner {
    fn forget(&mut self) {
        RESULTS.with(|r| {
            let mut r = r.borrow_mut();
            for n in self.announced.drain(..) {
                if let Some(v) = r.get_mut(&n) {
                    v.pop();
                }
            }
        });
    }

    /// Runs all statements, after everything that reads has read.
    unsafe fn run(&mut self, estate: *mut EState) -> Result<()> {
        let context = (*estate).es_query_cxt;
        let old = pg_sys::MemoryContextSwitchTo(context);
        let mut running = Vec::new();
        for (number, stmt) in self.statements.clone() {
            let store = pg_sys::tuplestore_begin_heap(true, false, pg_sys::work_mem);
            self.stores.push(store);
            RESULTS.with(|r| r.borrow_mut().entry(number).or_default().push(store));
            self.announced.push(number);
            running.push(start(stmt, store, estate));
        }
        for desc in &running {
            prefetch((**desc).planstate)?;
        }
        prefetch(self.child)?;
        for desc in running {
            guard::call(|| raw_run(desc, pg_sys::ScanDirection::ForwardScanDirection, 0, true));
            guard::call(|| raw_finish(desc));
            if (*(*desc).plannedstmt).canSetTag {
                // The statement itself, whose RETURNING is the query above.
                (*estate).es_processed += (*(*desc).estate).es_processed;
            }
            if (*estate).es_instrument != 0 {
                self.ran.push(desc);
            } else {
                finish(desc);
            }
        }
        pg_sys::MemoryContextSwitchTo(old);
        self.done = true;
        Ok(())
    }
}

unsafe fn finish(desc: *mut QueryDesc) {
    guard::call(|| pg_sys::ExecutorEnd(desc));
    pg_sys::FreeQueryDesc(desc);
}

unsafe fn start(
    stmt: *mut PlannedStmt,
    store: *mut Tuplestorestate,
    estate: *mut EState,
) -> *mut QueryDesc {
    let dest = CreateTuplestoreDestReceiver();
    let context = (*estate).es_query_cxt;
    let (none, text) = (std::ptr::null_mut(), std::ptr::null());
    SetTuplestoreDestReceiverParams(dest, store, context, true, none, text);
    start_into(stmt, dest, estate, 0)
}

unsafe fn start_into(
    stmt: *mut PlannedStmt,
    dest: *mut pg_sys::DestReceiver,
    estate: *mut EState,
    eflags: i32,
) -> *mut QueryDesc {
    let desc = pg_sys::CreateQueryDesc(
        stmt,
        (*estate).es_sourceText,
        (*estate).es_snapshot,
        std::ptr::null_mut(),
        dest,
        (*estate).es_param_list_info,
        std::ptr::null_mut(),
        (*estate).es_instrument,
    );
    guard::call(|| pg_sys::ExecutorStart(desc, eflags));
    desc
}

extern "C-unwind" fn collect(ps: *mut PlanState, context: *mut c_void) -> bool {
    // SAFETY: the context is the list of the running `prefetch`.
    unsafe {
        (*(context as *mut Vec<*mut PlanState>)).push(ps);
        raw_walker(ps, collect, context)
    }
}

/// Starts all scans of ours below a node that wait for nothing, and reads their rows.
unsafe fn prefetch(top: *mut PlanState) -> Result<()> {
    let mut all: Vec<*mut PlanState> = Vec::new();
    let context = &mut all as *mut Vec<*mut PlanState> as *mut c_void;
    guard::call(|| collect(top, context));
    for ps in all {
        super::node::prefetch(ps)?;
    }
    Ok(())
}

extern "C-unwind" fn create_with(_scan: *mut CustomScan) -> *mut Node {
    // SAFETY: the scan state is its first field; null and zero are valid for the others.
    unsafe { methods::new_state::<State>(&WITH_EXEC) }
}

extern "C-unwind" fn begin(node: *mut CustomScanState, estate: *mut EState, eflags: i32) {
    // SAFETY: PostgreSQL passes the state made above.
    guard::entry_result(|| unsafe {
        let s = node as *mut State;
        let scan = (*node).ss.ps.plan as *mut CustomScan;
        let below: *mut pg_sys::Plan = nodes::nth((*scan).custom_plans, 0);
        let child = guard::call(|| pg_sys::ExecInitNode(below, estate, eflags));
        (*node).custom_ps = nodes::list([child]);
        let mut statements = Vec::new();
        for i in (0..nodes::len((*scan).custom_private)).step_by(2) {
            let private = query::List::from_raw((*scan).custom_private);
            let number = query::read_bytes(private, i, |b| b.try_into().ok())
                .flatten()
                .map(u64::from_ne_bytes)
                .ok_or_else(|| Error::internal("unreadable statement number"))?;
            statements.push((number, nodes::nth((*scan).custom_private, i + 1)));
        }
        let inner = Inner {
            child,
            statements,
            stores: vec![],
            announced: vec![],
            ran: vec![],
            done: false,
        };
        (*s).inner = guard::leak_into((*estate).es_query_cxt, inner);
        Ok(())
    })
}

extern "C-unwind" fn exec(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: the state made above.
    guard::entry_result(|| unsafe {
        let inner = &mut *(*(node as *mut State)).inner;
        if !inner.done {
            inner.run((*node).ss.ps.state)?;
        }
        let child = inner.child;
        Ok(guard::call(|| match (*child).ExecProcNode {
            Some(f) => f(child),
            None => std::ptr::null_mut(),
        }))
    })
}

extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: the state made above; called once.
    guard::entry(|| unsafe {
        let inner = (*(node as *mut State)).inner;
        if inner.is_null() {
            return;
        }
        let child = (*inner).child;
        guard::call(|| pg_sys::ExecEndNode(child));
        for desc in std::mem::take(&mut (*inner).ran) {
            finish(desc);
        }
        (*inner).forget();
        for s in std::mem::take(&mut (*inner).stores) {
            pg_sys::tuplestore_end(s);
        }
    })
}

extern "C-unwind" fn rescan(_node: *mut CustomScanState) {
    guard::entry_result(|| -> Result<()> {
        Err(Error::internal("a modification cannot run twice in one plan"))
    })
}

extern "C-unwind" fn explain(node: *mut CustomScanState, _: *mut List, es: *mut ExplainState) {
    // SAFETY: the state made above.
    guard::entry_result(|| unsafe {
        let inner = &*(*(node as *mut State)).inner;
        let estate = (*node).ss.ps.state;
        let mut plans = Vec::new();
        for (i, (_, stmt)) in inner.statements.iter().enumerate() {
            if let Some(desc) = inner.ran.get(i) {
                plans.push(super::explain::document(*desc, es));
            } else if analyze::statement().is_some() {
                let none = pg_sys::None_Receiver;
                let flags = pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32;
                let desc = start_into(*stmt, none, estate, flags);
                plans.push(super::explain::document(desc, es));
                finish(desc);
            }
        }
        super::explain::statements(&plans, es);
        Ok(())
    })
}

extern "C-unwind" fn explain_rows(_: *mut CustomScanState, _: *mut List, _: *mut ExplainState) {}

// ---- scans of a statement's rows --------------------------------------------------------------

#[repr(C)]
struct RowsState {
    css: CustomScanState,
    number: u64,
    store: *mut Tuplestorestate,
    pointer: i32,
    slot: *mut TupleTableSlot,
}

extern "C-unwind" fn create_rows(_scan: *mut CustomScan) -> *mut Node {
    // SAFETY: the scan state is its first field; null and zero are valid for the others.
    unsafe { methods::new_state::<RowsState>(&ROWS_EXEC) }
}

extern "C-unwind" fn rows_begin(node: *mut CustomScanState, _: *mut EState, _: i32) {
    // SAFETY: PostgreSQL passes the state made above.
    guard::entry_result(|| unsafe {
        let s = node as *mut RowsState;
        let scan = (*node).ss.ps.plan as *mut CustomScan;
        match whole::decode(query::List::from_raw((*scan).custom_private)).map(|p| p.target) {
            Some(Target::Statement { number }) => (*s).number = number,
            _ => return Err(Error::internal("unreadable distributed plan")),
        }
        Ok(())
    })
}

extern "C-unwind" fn rows_access(ss: *mut pg_sys::ScanState) -> *mut TupleTableSlot {
    // SAFETY: the scan state is the head of ours.
    guard::entry_result(|| unsafe {
        let s = ss as *mut RowsState;
        if (*s).store.is_null() {
            let number = (*s).number;
            (*s).store = RESULTS
                .with(|r| r.borrow().get(&number).and_then(|v| v.last().copied()))
                .ok_or_else(|| Error::internal("a statement in WITH has not run"))?;
            (*s).pointer =
                pg_sys::tuplestore_alloc_read_pointer((*s).store, pg_sys::EXEC_FLAG_REWIND as i32);
            let context = (*(*ss).ps.state).es_query_cxt;
            let old = pg_sys::MemoryContextSwitchTo(context);
            let desc = (*(*ss).ss_ScanTupleSlot).tts_tupleDescriptor;
            (*s).slot = pg_sys::MakeSingleTupleTableSlot(desc, &pg_sys::TTSOpsMinimalTuple);
            pg_sys::tuplestore_select_read_pointer((*s).store, (*s).pointer);
            pg_sys::tuplestore_rescan((*s).store);
            pg_sys::MemoryContextSwitchTo(old);
        }
        let out = (*ss).ss_ScanTupleSlot;
        super::run::clear(out);
        pg_sys::tuplestore_select_read_pointer((*s).store, (*s).pointer);
        let (store, slot) = ((*s).store, (*s).slot);
        if guard::call(|| pg_sys::tuplestore_gettupleslot(store, true, true, slot)) {
            if let Some(copy) = (*(*out).tts_ops).copyslot {
                guard::call(|| copy(out, slot));
            }
        }
        Ok(out)
    })
}

extern "C-unwind" fn rows_exec(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: no Rust value is alive in this frame, an error may pass through it.
    unsafe { methods::next_row(node, rows_access) }
}

extern "C-unwind" fn rows_end(node: *mut CustomScanState) {
    // SAFETY: the state made above; called once.
    guard::entry(|| unsafe {
        let s = node as *mut RowsState;
        if !(*s).slot.is_null() {
            pg_sys::ExecDropSingleTupleTableSlot((*s).slot);
        }
    })
}

extern "C-unwind" fn rows_rescan(node: *mut CustomScanState) {
    // SAFETY: as above.
    guard::entry(|| unsafe {
        let s = node as *mut RowsState;
        pg_sys::ExecScanReScan(&mut (*node).ss);
        if !(*s).store.is_null() {
            pg_sys::tuplestore_select_read_pointer((*s).store, (*s).pointer);
            pg_sys::tuplestore_rescan((*s).store);
        }
    })
}
