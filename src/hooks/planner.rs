//! Planner hooks.

use crate::error::OrRaise;
use crate::executor::capture;
use crate::pg::guard;
use crate::planner;
use pgrx::pg_sys::{
    self, Index, ParamListInfo, PlannedStmt, PlannerInfo, Query, RangeTblEntry, RelOptInfo,
};
use std::ffi::{c_char, c_int};

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
    unsafe {
        let ours = guard::entry(|| planner::concerns_us(q));
        if !ours {
            return next(q, text, options, params);
        }
        guard::entry(|| {
            planner::plan(q, params, &mut |q| guard::call(|| next(q, text, options, params)))
                .or_raise()
        })
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
        guard::entry(|| planner::rest::set_rel_pathlist(root, rel, rte));
    }
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
