//! Statements that want a database for themselves, and what comes and goes: for the maintenance
//! processes, and for connections that are kept. A `ProcessUtility_hook` and an `object_access_hook`, since an extension can be
//! created or dropped by a statement that names another object.

use crate::pg::database::is_of_interest;
use crate::pg::tree::Tree;
use crate::pg::{guard, xact};
use crate::worker::notice;
use pgrx::pg_sys::{self, ObjectAccessType, Oid};
use std::ffi::{c_char, c_int, c_void};

static mut NEXT_UTILITY: pg_sys::ProcessUtility_hook_type = None;
static mut NEXT_ACCESS: pg_sys::object_access_hook_type = None;

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
extern "C-unwind" fn utility(
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
        let node = (*planned).utilityStmt;
        if is_of_interest((*node).type_) {
            guard::entry_result(|| notice::statement(Tree::from_node(node)));
        }
        let next = match NEXT_UTILITY {
            Some(hook) => hook,
            None => raw_process_utility,
        };
        next(planned, text, read_only, context, params, env, dest, completion);
    }
}

extern "C-unwind" fn access(
    access: ObjectAccessType::Type,
    class: Oid,
    object: Oid,
    sub: c_int,
    arg: *mut c_void,
) {
    // SAFETY: the next hook gets what we were called with.
    unsafe {
        if let Some(next) = NEXT_ACCESS {
            next(access, class, object, sub, arg);
        }
    }
    if class == pg_sys::ExtensionRelationId
        && matches!(access, ObjectAccessType::OAT_POST_CREATE | ObjectAccessType::OAT_DROP)
    {
        notice::extension_changed();
    }
}

/// Takes the hooks; once per process, from `_PG_init`.
pub fn register() {
    // SAFETY: set before any backend is forked, in a single thread.
    unsafe {
        NEXT_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(utility);
        NEXT_ACCESS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(access);
    }
    xact::at_end(notice::transaction_ended);
}
