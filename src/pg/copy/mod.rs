//! PostgreSQL's COPY machinery as safe Rust: the statement and its checks, the reader of input,
//! the writer into a local table, and the encoding of rows.

mod attributes;
mod check;
pub mod client;
mod encode;
mod hash;
mod layout;
mod local;
mod out;
mod reader;
mod statement;

pub use attributes::{attributes, references_itself};
pub use check::{first_refused, Rows};
pub use encode::{binary_transfer, RowEncoder};
pub use hash::{hash_data, hash_int4, hash_int8, is_deterministic};
pub use local::load;
pub use out::Source;
pub use reader::{Options, Reader};
pub use statement::{Command, Target};

use super::guard;
use pgrx::pg_sys;
use std::ffi::{c_char, CStr};

/// Lets cancel, terminate and timeouts act.
pub fn check_interrupts() {
    // SAFETY: reads a flag; what the handler raises comes back as a panic with an `Error`.
    unsafe {
        if pg_sys::InterruptPending != 0 {
            guard::call(|| layout::raw::ProcessInterrupts());
        }
    }
}

/// The context that PostgreSQL's COPY FROM adds to errors about a line.
pub fn line_context(table: &str, line: u64, text: Option<&[u8]>) -> String {
    match text {
        Some(t) => format!("COPY {table}, line {line}: \"{}\"", printable(t)),
        None => format!("COPY {table}, line {line}"),
    }
}

/// Data as error messages show it: at most 100 bytes, cut between characters.
fn printable(text: &[u8]) -> String {
    const MOST: usize = 100;
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    if text.len() <= MOST {
        return String::from_utf8_lossy(text).into_owned();
    }
    // SAFETY: pointer and length describe the slice.
    let keep = unsafe {
        pg_sys::pg_mbcliplen(text.as_ptr() as *const c_char, text.len() as i32, MOST as i32)
    };
    let kept = text.get(..keep.max(0) as usize).unwrap_or(text);
    format!("{}...", String::from_utf8_lossy(kept))
}

/// Name of the database's encoding.
pub fn server_encoding() -> String {
    // SAFETY: answers a constant string.
    unsafe {
        let name = pg_sys::GetDatabaseEncodingName();
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether the client speaks the database's encoding.
pub fn client_speaks_server_encoding() -> bool {
    // SAFETY: both read a variable.
    unsafe { pg_sys::pg_get_client_encoding() == pg_sys::GetDatabaseEncoding() }
}

/// A memory context below the current one.
///
/// # Safety
/// It goes with its parent: keep nothing that points into it longer.
unsafe fn new_context(name: &'static CStr) -> pg_sys::MemoryContext {
    // SAFETY: the parent is the live current context, the name is a constant.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            pg_sys::CurrentMemoryContext,
            name.as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}

/// Runs C code with PostgreSQL's error context of a copy's current line.
///
/// # Safety
/// As for [`guard::call`]; the state must be alive.
unsafe fn in_context<R>(state: *mut layout::State, f: impl FnOnce() -> R) -> R {
    // SAFETY: the callback record lives on the stack while it is linked; an error restores the
    // list in `guard::call`.
    unsafe {
        guard::call(|| {
            let mut record = pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(layout::raw::CopyFromErrorCallback),
                arg: state as *mut std::ffi::c_void,
            };
            pg_sys::error_context_stack = &mut record;
            let r = f();
            pg_sys::error_context_stack = record.previous;
            r
        })
    }
}
