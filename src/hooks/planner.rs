//! Planner hooks.

use crate::error::{Error, OrRaise};
use crate::executor::capture;
use crate::pg::query::{List, Ref};
use crate::pg::{guard, nodes};
use crate::planner;
use pgrx::pg_sys::{
    self, CustomPath, CustomPathMethods, Index, NodeTag, ParamListInfo, Path, Plan, PlannedStmt,
    PlannerInfo, Query, RangeTblEntry, RelOptInfo,
};
use std::ffi::{c_char, c_int, CStr};

static mut NEXT_PLANNER: pg_sys::planner_hook_type = None;
static mut NEXT_PATHLIST: pg_sys::set_rel_pathlist_hook_type = None;

extern "C-unwind" {
    #[link_name = "standard_planner"]
    fn raw_standard_planner(
        q: *mut Query,
        text: *const c_char,
        options: c_int,
        params: ParamListInfo,
    ) -> *mut PlannedStmt;
}

extern "C-unwind" fn plan(
    q: *mut Query,
    text: *const c_char,
    options: c_int,
    params: ParamListInfo,
) -> *mut PlannedStmt {
    // Nothing here needs dropping: an error of the planner passes through.
    let since = capture::planning();
    let planned = plan_query(q, text, options, params);
    capture::planned(since);
    planned
}

fn plan_query(
    q: *mut Query,
    text: *const c_char,
    options: c_int,
    params: ParamListInfo,
) -> *mut PlannedStmt {
    // SAFETY: no Rust value lives in this frame when PostgreSQL's planner raises an error through
    // it; our own part runs inside the guard.
    // The handle is used within this call only, to which the query belongs.
    unsafe {
        let query = Ref::from_raw(q);
        let ours = guard::entry(|| {
            if let Some(q) = query {
                planner::hiding::hide_shards(q);
            }
            query.filter(|q| planner::concerns_us(*q))
        });
        let Some(query) = ours else { return next(q, text, options, params) };
        let source = (params.is_null() && !text.is_null()).then(|| CStr::from_ptr(text).to_bytes());
        guard::entry(|| {
            let _during = planner::locks::During::earnest();
            let mut standard = |q: Ref<Query>| {
                let stmt = guard::call(|| next(q.as_ptr(), text, options, params));
                Ref::from_raw(stmt).ok_or_else(|| Error::internal("no plan was made")).or_raise()
            };
            // DECLARE, and the cursors of functions.
            let planned = if options as u32 & pg_sys::CURSOR_OPT_FAST_PLAN != 0 {
                planner::plan_cursor(query, &mut standard)
            } else {
                planner::plan(query, source, &mut standard)
            };
            let stmt = planned.or_raise().as_ptr();
            if options as u32 & pg_sys::CURSOR_OPT_SCROLL != 0 {
                make_scrollable(stmt);
            }
            stmt
        })
    }
}

/// Keeps the rows of a scrollable cursor that its plan cannot give again backwards. PostgreSQL does so for
/// the plans that it makes by itself, and then takes the plan for one that runs in both directions.
///
/// # Safety
/// The statement must have been planned completely, and not be executed yet.
unsafe fn make_scrollable(stmt: *mut PlannedStmt) {
    // SAFETY: the caller's promise.
    unsafe {
        let plan = (*stmt).planTree;
        guard::call(|| {
            if plan.is_null() || pg_sys::ExecSupportsBackwardScan(plan) {
                return;
            }
            let material = pg_sys::materialize_finished_plan(plan);
            // Outputs of a finished plan are called by their numbers above it.
            let mut outputs = std::ptr::null_mut();
            for output in nodes::iter::<pg_sys::TargetEntry>((*plan).targetlist) {
                let own = pg_sys::flatCopyTargetEntry(output);
                (*own).expr = pg_sys::makeVarFromTargetEntry(pg_sys::OUTER_VAR, output).cast();
                outputs = pg_sys::lappend(outputs, own.cast());
            }
            (*material).targetlist = outputs;
            (*stmt).planTree = material;
        });
    }
}

unsafe fn next(
    q: *mut Query,
    text: *const c_char,
    options: c_int,
    params: ParamListInfo,
) -> *mut PlannedStmt {
    // SAFETY: the pointer was set by another extension's _PG_init, or is null.
    unsafe {
        match NEXT_PLANNER {
            Some(f) => f(q, text, options, params),
            None => raw_standard_planner(q, text, options, params),
        }
    }
}

extern "C-unwind" fn pathlist(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    rti: Index,
    rte: *mut RangeTblEntry,
) {
    // SAFETY: as above.
    unsafe {
        if let Some(f) = NEXT_PATHLIST {
            f(root, rel, rti, rte);
        }
        guard::entry(|| {
            let (Some(r), Some(e)) = (Ref::from_raw(rel), Ref::from_raw(rte)) else { return };
            if pg_sys::is_dummy_rel(rel) {
                // Proved to be empty; the condition that proves it may be nowhere else.
                return;
            }
            if let Some(rows) = planner::scan::expected_rows(r, e) {
                set_only_path(root, rel, rows);
            }
        });
    }
}

struct Shared<T>(T);
// SAFETY: an immutable table of function pointers.
unsafe impl<T> Sync for Shared<T> {}

static PATH: Shared<CustomPathMethods> = Shared(CustomPathMethods {
    CustomName: c"Citus Scan".as_ptr(),
    PlanCustomPath: Some(plan_path),
    ReparameterizeCustomPathByChild: None,
});

/// Makes a scan of ours the only path of a base relation.
///
/// # Safety
/// The relation must be one that the planner is about to choose a path for.
unsafe fn set_only_path(root: *mut PlannerInfo, rel: *mut RelOptInfo, rows: f64) {
    // SAFETY: the caller's promise; a complete path as PostgreSQL's own functions make it.
    unsafe {
        let path: *mut CustomPath = nodes::make(NodeTag::T_CustomPath);
        (*path).path.pathtype = NodeTag::T_CustomScan;
        (*path).path.parent = rel;
        (*path).path.pathtarget = (*rel).reltarget;
        (*path).path.param_info =
            pg_sys::get_baserel_parampathinfo(root, rel, (*rel).lateral_relids);
        (*path).path.rows = rows;
        (*path).path.startup_cost = 100.0;
        (*path).path.total_cost = 100.0 + rows * 0.05;
        (*path).methods = &PATH.0;
        (*rel).rows = rows;
        (*rel).pathlist = std::ptr::null_mut();
        (*rel).partial_pathlist = std::ptr::null_mut();
        (*rel).consider_parallel = false;
        pg_sys::add_path(rel, path as *mut Path);
    }
}

extern "C-unwind" fn plan_path(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    best: *mut CustomPath,
    tlist: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    _custom_plans: *mut pg_sys::List,
) -> *mut Plan {
    // SAFETY: PostgreSQL hands over the relation and path that we made, a list of target entries
    // and one of restrictions; they outlive the call.
    guard::entry_result(|| unsafe {
        let rows = (*best).path.rows;
        let (tlist, clauses) = (List::from_raw(tlist), List::from_raw(clauses));
        let (Some(root), Some(rel)) = (Ref::from_raw(root), Ref::from_raw(rel)) else {
            return Err(Error::internal("a path without its relation"));
        };
        planner::scan::plan(root, rel, rows, tlist, clauses).map(|s| s.plan().as_ptr())
    })
}

/// Installs the hooks; once per process.
pub fn register() {
    // SAFETY: called from _PG_init, before any backend runs.
    unsafe {
        NEXT_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
        NEXT_PATHLIST = pg_sys::set_rel_pathlist_hook;
        pg_sys::set_rel_pathlist_hook = Some(pathlist);
    }
}
