//! COPY of managed tables, as a `ProcessUtility_hook`.

use crate::copy;
use crate::pg::copy::Command;
use crate::pg::guard;
use pgrx::pg_sys;
use std::ffi::c_char;

static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;

extern "C-unwind" {
    #[link_name = "standard_ProcessUtility"]
    fn raw_process_utility(
        planned: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        env: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

#[allow(clippy::too_many_arguments)]
extern "C-unwind" fn process_utility(
    planned: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are PostgreSQL's own and live over the call. No Rust value is alive
    // in this frame when the next hook raises an error through it.
    unsafe {
        if let Some(command) = Command::new(planned, text) {
            let rows = guard::entry_result(|| copy::process_utility(&command));
            if let Some(rows) = rows {
                if !completion.is_null() {
                    (*completion).commandTag = pg_sys::CommandTag::CMDTAG_COPY;
                    (*completion).nprocessed = rows;
                }
                return;
            }
        }
        let next = match PREVIOUS {
            Some(hook) => hook,
            None => raw_process_utility,
        };
        next(planned, text, read_only, context, params, env, dest, completion);
    }
}

/// Takes the hook; once per process, from `_PG_init`.
pub fn register() {
    // SAFETY: set before any backend is forked, in a single thread.
    unsafe {
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}
