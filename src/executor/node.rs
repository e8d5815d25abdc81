//! The CustomScan node: PostgreSQL's executor on one side, [`Exec`] on the other.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::again::Again;
use super::analyze::Analysis;
use super::explain::{self as explained, Known};
use super::methods::{self, Functions, Table};
use super::prepared::Prepared;
use super::reads;
use super::run::Exec;
use super::tasks::Value;
use crate::error::Result;
use crate::pg::{guard, nodes, relation};
use crate::plan::Operation;
use pgrx::pg_sys::{
    self, CustomExecMethods, CustomScan, CustomScanMethods, CustomScanState, Datum, EState,
    ExplainState, List, Node, NodeTag, ScanState, TupleTableSlot,
};

/// Shown by EXPLAIN for plans with a single task.
pub const ROUTER_NAME: &std::ffi::CStr = c"Citus Router";
const PARALLEL_NAME: &std::ffi::CStr = c"Citus Real-Time";

static ROUTER: Table<CustomScanMethods> = methods::scan(ROUTER_NAME, create_state);
static PARALLEL: Table<CustomScanMethods> = methods::scan(PARALLEL_NAME, create_state);
static EXEC: Table<CustomExecMethods> =
    methods::exec(c"Citus", Functions { begin, exec, end, rescan, explain });

/// The methods of single-task or parallel scans.
pub fn scan_methods(single: bool) -> &'static CustomScanMethods {
    if single {
        &ROUTER.0
    } else {
        &PARALLEL.0
    }
}

/// Registers the node types; once per process.
pub fn register() {
    methods::register(&[&ROUTER, &PARALLEL]);
}

/// PostgreSQL's state node with ours behind it.
#[repr(C)]
pub struct State {
    css: CustomScanState,
    exec: *mut Exec,
    exprs: *mut List,
    /// Where the scan runs once for each row of something around it.
    again: *mut Again,
    /// The tables, which are in use.
    tables: *mut List,
}

extern "C-unwind" fn create_state(_scan: *mut CustomScan) -> *mut Node {
    // SAFETY: the scan state is its first field; null is valid for the others.
    unsafe { methods::new_state::<State>(&EXEC) }
}

extern "C-unwind" fn begin(node: *mut CustomScanState, estate: *mut EState, eflags: i32) {
    // SAFETY: PostgreSQL passes the state made above.
    guard::entry_result(|| unsafe { begin_inner(node as *mut State, estate, eflags) })
}

unsafe fn begin_inner(s: *mut State, estate: *mut EState, eflags: i32) -> Result<()> {
    let scan = (*s).css.ss.ps.plan as *mut CustomScan;
    let plan = Prepared::of_scan((*scan).custom_private)?;
    let exprs = pg_sys::ExecInitExprList((*scan).custom_exprs, &mut (*s).css.ss.ps);
    let states: Vec<*mut pg_sys::ExprState> = nodes::iter(exprs).collect();
    let (own, others) = states.split_at(plan.params.len().min(states.len()));
    (*s).exprs = nodes::list(own.iter().copied());
    if nodes::len((*scan).custom_private) > 1 {
        let all = Prepared::nth_of_scan((*scan).custom_private, 1)?;
        let again = Again::new(all, nodes::list(others.iter().copied()));
        (*s).again = guard::leak_into((*estate).es_query_cxt, again);
    }
    let desc = (*(*s).css.ss.ss_ScanTupleSlot).tts_tupleDescriptor;
    let context = (*estate).es_query_cxt;
    let exec = Exec::new(plan, desc, context);
    (*s).exec = guard::leak_into(context, exec);
    exec_of(s).reads_with((*estate).es_snapshot, reads::is_whole(&mut (*s).css.ss, estate));
    exec_of(s).analysis = Analysis::of(estate);
    let reads = exec_of(s).plan.operation != Operation::Modify;
    if !reads {
        exec_of(s).returned_by(&(*s).css.ss);
    }
    let runs = eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 == 0;
    if runs {
        (*s).tables = relation::hold(&exec_of(s).plan.tables);
    }
    if reads && runs && opens_cursor() {
        exec_of(s).belongs_to_cursor();
        if !waits_for_plan((*scan).custom_exprs) {
            start(s)?;
        }
    }
    Ok(())
}

/// The plan of a scan of ours; `None` for other custom scans.
pub unsafe fn plan_of(scan: *mut CustomScan) -> Result<Option<std::rc::Rc<Prepared>>> {
    let methods = (*scan).methods;
    if std::ptr::eq(methods, &ROUTER.0) || std::ptr::eq(methods, &PARALLEL.0) {
        return Prepared::of_scan((*scan).custom_private).map(Some);
    }
    Ok(None)
}

/// Whether a cursor is being opened: it shows what is there now, however late it is read.
unsafe fn opens_cursor() -> bool {
    let portal = pg_sys::ActivePortal;
    !portal.is_null()
        && !(*portal).name.is_null()
        && *(*portal).name != 0
        && (*portal).queryDesc.is_null()
}

/// Whether a value comes from another node of the plan, which has not run yet.
unsafe fn waits_for_plan(exprs: *mut List) -> bool {
    nodes::walk(exprs as *mut Node, &mut |n| {
        let inner = nodes::cast::<pg_sys::Param>(n, NodeTag::T_Param)
            .is_some_and(|p| (*p).paramkind == pg_sys::ParamKind::PARAM_EXEC);
        if inner {
            nodes::Visit::Stop
        } else {
            nodes::Visit::Descend
        }
    })
}

/// Evaluates the plan's parameters.
unsafe fn parameters(s: *mut State) -> Vec<Value> {
    evaluate((*s).exprs, &mut (*s).css.ss.ps)
}

/// Parameters as far as EXPLAIN may know them: a value of another node of the plan does not exist
/// yet, and a volatile function must not run.
unsafe fn known_parameters(s: *mut State) -> Vec<Known> {
    let scan = (*s).css.ss.ps.plan as *mut CustomScan;
    let unknown = |e: *mut Node| {
        waits_for_plan(nodes::list([e])) || guard::call(|| pg_sys::contain_volatile_functions(e))
    };
    let states = nodes::iter::<pg_sys::ExprState>((*s).exprs);
    nodes::iter::<Node>((*scan).custom_exprs)
        .zip(states)
        .map(|(e, state)| match unknown(e) {
            true => Known::No(pg_sys::exprType(e)),
            false => match evaluate(nodes::list([state]), &mut (*s).css.ss.ps).pop() {
                Some(value) => Known::Yes(value),
                None => Known::No(pg_sys::exprType(e)),
            },
        })
        .collect()
}

/// Evaluates expressions once for a whole execution.
pub unsafe fn evaluate(exprs: *mut List, ps: *mut pg_sys::PlanState) -> Vec<Value> {
    let econtext = (*ps).ps_ExprContext;
    let mut out = Vec::new();
    // The values have to outlive the tuples that are read with them.
    let old = pg_sys::MemoryContextSwitchTo((*(*ps).state).es_query_cxt);
    for e in nodes::iter::<pg_sys::ExprState>(exprs) {
        let typ = pg_sys::exprType((*e).expr as *const Node);
        let mut isnull = false;
        let null = &mut isnull as *mut bool;
        let eval = (*e).evalfunc;
        let d = guard::call(|| match eval {
            Some(f) => f(e, econtext, null),
            None => Datum::from(0usize),
        });
        out.push((typ, (!isnull).then_some(d)));
    }
    pg_sys::MemoryContextSwitchTo(old);
    out
}

/// Evaluates the parameters and sends the tasks.
pub unsafe fn start(s: *mut State) -> Result<()> {
    let exec = &mut *(*s).exec;
    let values = parameters(s);
    exec.start(&values)?;
    if exec.plan.operation == Operation::Modify {
        exec.complete()?;
        (*(*s).css.ss.ps.state).es_processed += exec.affected();
    }
    Ok(())
}

/// The state of a plan that is nothing but one of our scans.
pub unsafe fn state_of(ps: *mut pg_sys::PlanState) -> Option<*mut State> {
    if nodes::tag(ps) != NodeTag::T_CustomScanState {
        return None;
    }
    let css = ps as *mut CustomScanState;
    let plain = std::ptr::eq((*css).methods, &EXEC.0)
        && (*ps).qual.is_null()
        && (*ps).ps_ProjInfo.is_null();
    plain.then_some(ps as *mut State)
}

/// The execution behind a state.
pub unsafe fn exec_of<'a>(s: *mut State) -> &'a mut Exec {
    &mut *(*s).exec
}

/// The slot that rows are stored in.
pub unsafe fn slot(s: *mut State) -> *mut TupleTableSlot {
    (*s).css.ss.ss_ScanTupleSlot
}

/// Memory that lives as long as a row.
pub unsafe fn row_memory(s: *mut State) -> pg_sys::MemoryContext {
    (*(*s).css.ss.ps.ps_ExprContext).ecxt_per_tuple_memory
}

/// Reads all rows of a scan of ours ahead, when it waits for no values of other nodes.
pub unsafe fn prefetch(ps: *mut pg_sys::PlanState) -> Result<()> {
    if nodes::tag(ps as *mut Node) != NodeTag::T_CustomScanState
        || !std::ptr::eq((*(ps as *mut CustomScanState)).methods, &EXEC.0)
    {
        return Ok(());
    }
    let s = ps as *mut State;
    let scan = (*ps).plan as *mut CustomScan;
    let waits = nodes::walk((*scan).custom_exprs as *mut Node, &mut |n| match nodes::cast::<
        pg_sys::Param,
    >(
        n, NodeTag::T_Param
    ) {
        Some(p) if (*p).paramkind == pg_sys::ParamKind::PARAM_EXEC => nodes::Visit::Stop,
        _ => nodes::Visit::Descend,
    });
    if waits || exec_of(s).started() || exec_of(s).plan.operation == Operation::Modify {
        return Ok(());
    }
    start(s)?;
    (*(*s).exec).complete()
}

extern "C-unwind" fn access(ss: *mut ScanState) -> *mut TupleTableSlot {
    // SAFETY: the scan state is the head of ours; memory of a row is the per-tuple context's,
    // which PostgreSQL resets before it asks for the next row.
    guard::entry_result(|| unsafe {
        let s = ss as *mut State;
        let slot = (*ss).ss_ScanTupleSlot;
        if !(*(*s).exec).started() {
            if !(*s).again.is_null() && (*(*s).again).serves(s)? {
                super::run::clear(slot);
                (*(*s).again).next_row(slot);
                return Ok(slot);
            }
            start(s)?;
        }
        super::run::clear(slot);
        let old = pg_sys::MemoryContextSwitchTo((*(*ss).ps.ps_ExprContext).ecxt_per_tuple_memory);
        let more = (*(*s).exec).next_row(slot);
        pg_sys::MemoryContextSwitchTo(old);
        more?;
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
        if !(*s).exec.is_null() {
            (*(*s).exec).end();
        }
        if !(*s).again.is_null() {
            (*(*s).again).end();
        }
        relation::let_go((*s).tables);
    })
}

extern "C-unwind" fn rescan(node: *mut CustomScanState) {
    // SAFETY: as above.
    guard::entry(|| unsafe {
        let s = node as *mut State;
        pg_sys::ExecScanReScan(&mut (*s).css.ss);
        let exec = &mut *(*s).exec;
        let asked = exec.started();
        exec.reset();
        let steady = exec.plan.operation == Operation::Select && !exec.plan.volatile;
        if (*s).again.is_null() && steady {
            let again = Again::alike(exec.plan.clone(), (*s).exprs);
            (*s).again = guard::leak_into((*(*s).css.ss.ps.state).es_query_cxt, again);
        }
        if !(*s).again.is_null() {
            (*(*s).again).rescan(changes(s), asked);
        }
    })
}

/// Whether one of the values that go to nodes is another one than in the run before.
unsafe fn changes(s: *mut State) -> bool {
    let changed = (*s).css.ss.ps.chgParam;
    let scan = (*s).css.ss.ps.plan as *mut CustomScan;
    let visit = &mut |n| match nodes::cast::<pg_sys::Param>(n, NodeTag::T_Param) {
        Some(p) if (*p).paramkind == pg_sys::ParamKind::PARAM_EXEC => {
            match pg_sys::bms_is_member((*p).paramid, changed) {
                true => nodes::Visit::Stop,
                false => nodes::Visit::Descend,
            }
        }
        // Its plan may depend on more than can be seen here.
        _ if nodes::tag(n) == NodeTag::T_SubPlan => nodes::Visit::Stop,
        _ => nodes::Visit::Descend,
    };
    !changed.is_null() && nodes::walk((*scan).custom_exprs as *mut Node, visit)
}

extern "C-unwind" fn explain(
    node: *mut CustomScanState,
    _ancestors: *mut List,
    es: *mut ExplainState,
) {
    // SAFETY: as above.
    guard::entry_result(|| unsafe {
        let s = node as *mut State;
        explained::scan(&*(*s).exec, &|| known_parameters(s), es)?;
        let kept = (*s).again.as_ref().and_then(Again::kept);
        if let Some(rows) = kept.filter(|_| (*es).analyze) {
            explained::kept(rows, es);
        }
        Ok(())
    })
}
