//! Start and end of executions, for plans that are kept ([`capture`]) and statements that read as
//! of one moment ([`reads`]).

use crate::cluster::clients;
use crate::executor::{capture, reads};
use crate::pg::guard;
use pgrx::pg_sys::{self, QueryDesc};
use std::ffi::{c_char, c_int, CStr};

static mut NEXT_START: pg_sys::ExecutorStart_hook_type = None;
static mut NEXT_END: pg_sys::ExecutorEnd_hook_type = None;

extern "C-unwind" {
    #[link_name = "standard_ExecutorStart"]
    fn raw_start(q: *mut QueryDesc, eflags: c_int);
    #[link_name = "standard_ExecutorEnd"]
    fn raw_end(q: *mut QueryDesc);
}

/// The text of a statement; empty where there is none.
pub(super) unsafe fn text<'a>(source: *const c_char) -> &'a [u8] {
    if source.is_null() {
        return &[];
    }
    // SAFETY: the server's texts end with a zero and live as long as the statement.
    unsafe { CStr::from_ptr(source) }.to_bytes()
}

unsafe extern "C-unwind" fn start(q: *mut QueryDesc, eflags: c_int) {
    // SAFETY: the next hook or the standard function, with what we were given; nothing in this
    // frame needs dropping when an error passes through it.
    unsafe {
        if clients::is_unknown() {
            guard::entry(|| clients::judge(text((*q).sourceText)));
        }
        let since = capture::starting(q, eflags);
        if reads::may_concern() {
            guard::entry_result(|| reads::starting(q, eflags));
        }
        match NEXT_START {
            Some(f) => f(q, eflags),
            None => raw_start(q, eflags),
        }
        if let Some(since) = since {
            guard::entry(|| capture::started(q, since));
        }
    }
}

unsafe extern "C-unwind" fn end(q: *mut QueryDesc) {
    // SAFETY: as above.
    unsafe {
        if capture::is_captured(q) {
            guard::entry_result(|| capture::ending(q));
        }
        match NEXT_END {
            Some(f) => f(q),
            None => raw_end(q),
        }
        if reads::any() {
            guard::entry(|| reads::ending(q));
        }
    }
}

/// Installs the hooks; once per process.
pub fn register() {
    // SAFETY: called from _PG_init, before any backend runs.
    unsafe {
        NEXT_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(start);
        NEXT_END = pg_sys::ExecutorEnd_hook;
        pg_sys::ExecutorEnd_hook = Some(end);
    }
}
