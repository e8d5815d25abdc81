//! Keeps count of executions inside of each other, for [`crate::txn::must_use_transaction`]: a
//! statement that a function or procedure runs is a part of something bigger.

use crate::cluster::clients;
use crate::executor::{analyze, pass};
use crate::pg::{guard, report};
use crate::txn;
use pgrx::pg_sys::{
    self, DestReceiver, ParamListInfo, PlannedStmt, ProcessUtilityContext, QueryCompletion,
    QueryDesc, QueryEnvironment, ScanDirection,
};
use std::ffi::c_char;

static mut NEXT_RUN: pg_sys::ExecutorRun_hook_type = None;
static mut NEXT_UTILITY: pg_sys::ProcessUtility_hook_type = None;

extern "C-unwind" {
    #[link_name = "standard_ExecutorRun"]
    fn raw_executor_run(q: *mut QueryDesc, direction: ScanDirection::Type, count: u64, once: bool);
    #[link_name = "standard_ProcessUtility"]
    fn raw_process_utility(
        pstmt: *mut PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: ProcessUtilityContext::Type,
        params: ParamListInfo,
        env: *mut QueryEnvironment,
        dest: *mut DestReceiver,
        qc: *mut QueryCompletion,
    );
}

unsafe extern "C-unwind" fn run(
    q: *mut QueryDesc,
    direction: ScanDirection::Type,
    count: u64,
    once: bool,
) {
    txn::enter();
    // SAFETY: the next hook or the standard function, with what we were given; this frame owns
    // nothing.
    unsafe {
        let run = || match NEXT_RUN {
            Some(f) => f(q, direction, count, once),
            None if pass::may_apply(q) && passed(q, direction, count) => {}
            None => raw_executor_run(q, direction, count, once),
        };
        guard::finally(run, txn::leave);
        tell();
    }
}

/// Runs a plan whose rows can go to the client as they come; false when it is not such a plan.
unsafe fn passed(q: *mut QueryDesc, direction: ScanDirection::Type, count: u64) -> bool {
    // SAFETY: the query is being executed.
    guard::entry_result(|| unsafe {
        match pass::applies(q, direction, count) {
            Some((state, formats)) => pass::run(q, state, &formats).map(|()| true),
            None => Ok(false),
        }
    })
}

#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn utility(
    pstmt: *mut PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: ProcessUtilityContext::Type,
    params: ParamListInfo,
    env: *mut QueryEnvironment,
    dest: *mut DestReceiver,
    qc: *mut QueryCompletion,
) {
    if clients::is_unknown() {
        // SAFETY: the text is that of the statement.
        guard::entry(|| clients::judge(unsafe { super::execution::text(text) }));
    }
    // SAFETY: the next hook or the standard function, with what we were given.
    let next = || unsafe {
        match NEXT_UTILITY {
            Some(f) => f(pstmt, text, read_only_tree, context, params, env, dest, qc),
            None => {
                raw_process_utility(pstmt, text, read_only_tree, context, params, env, dest, qc)
            }
        }
    };
    // SAFETY: the statement is valid as long as it is executed.
    let tag = unsafe { (*(*pstmt).utilityStmt).type_ };
    // These run exactly the statement that they wrap.
    if tag == pg_sys::NodeTag::T_ExecuteStmt {
        return next();
    }
    if tag == pg_sys::NodeTag::T_ExplainStmt {
        // SAFETY: `next` calls C only; this frame owns nothing.
        return unsafe {
            guard::entry(|| analyze::enter(pstmt));
            guard::finally(next, analyze::leave)
        };
    }
    txn::enter();
    // SAFETY: `next` calls C only; this frame owns nothing.
    unsafe {
        guard::finally(next, txn::leave);
        tell();
    }
}

/// A statement has run: when it was the client's own, the client may want to know what it did.
unsafe fn tell() {
    if !txn::is_nested() {
        // SAFETY: the caller's frame owns nothing.
        unsafe { report::transaction_id() }
    }
}

/// Installs the hooks; once per process.
pub fn register() {
    // SAFETY: called from _PG_init, before any backend runs.
    unsafe {
        NEXT_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(run);
        NEXT_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(utility);
    }
}
