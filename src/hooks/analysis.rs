//! Statements that were analyzed and not yet rewritten, for [`rights`].

use crate::executor::rights;
use crate::pg::guard;
use pgrx::pg_sys::{self, JumbleState, ParseState, Query};

static mut NEXT: pg_sys::post_parse_analyze_hook_type = None;

unsafe extern "C-unwind" fn analyzed(
    state: *mut ParseState,
    query: *mut Query,
    jumble: *mut JumbleState,
) {
    // SAFETY: what PostgreSQL hands over, to the next hook as it came; this frame owns nothing.
    unsafe {
        if let Some(f) = NEXT {
            f(state, query, jumble);
        }
        if rights::may_concern() {
            guard::entry(|| rights::analyzed(state, query));
        }
    }
}

/// Installs the hook; once per process.
pub fn register() {
    // SAFETY: called from _PG_init, before any backend runs.
    unsafe {
        NEXT = pg_sys::post_parse_analyze_hook;
        pg_sys::post_parse_analyze_hook = Some(analyzed);
    }
}
