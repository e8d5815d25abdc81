//! What a node tells the coordinator without being asked.

use super::{guard, starts};
use crate::settings;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{c_char, CStr};

/// The name under which a transaction block's id travels, in a message of the kind that tells
/// values of settings (ParameterStatus): it may come at any time, needs no answer, and clients
/// ignore names that they do not know.
pub const TRANSACTION_ID: &CStr = c"citus.transaction_id";

extern "C-unwind" {
    #[link_name = "pq_beginmessage"]
    fn raw_begin(buf: *mut pg_sys::StringInfoData, kind: c_char);
    #[link_name = "pq_sendstring"]
    fn raw_text(buf: *mut pg_sys::StringInfoData, text: *const c_char);
    #[link_name = "pq_endmessage"]
    fn raw_end(buf: *mut pg_sys::StringInfoData);
}

thread_local! {
    static TOLD: Cell<u64> = const { Cell::new(0) };
}

/// Tells the client the id of its transaction block and the start of the server since which it holds
/// (see [`super::starts`]), once for each block that writes, if
/// `citus.report_transaction_id` is on. To be called when a statement of the client has run.
///
/// # Safety
/// An error of the server may pass through the caller's frames: they own nothing.
pub unsafe fn transaction_id() {
    if !settings::report_transaction_id() {
        return;
    }
    // SAFETY: plain state of this backend and its transaction.
    let id = unsafe {
        if pg_sys::whereToSendOutput != pg_sys::CommandDest::DestRemote
            || pg_sys::ParallelWorkerNumber >= 0
            || !pg_sys::IsTransactionBlock()
        {
            return;
        }
        pg_sys::GetTopFullTransactionIdIfAny().value
    };
    if id == 0 || TOLD.replace(id) == id {
        return;
    }
    // Where that fails the client asks, and hears why.
    let Some(start) = guard::entry(|| starts::current().ok()) else { return };
    let mut text = [0u8; 42];
    {
        use std::io::Write;
        // Leaves a zero behind: two times 20 digits and a hyphen are the most.
        let _ = write!(text.as_mut_slice(), "{}", starts::TransactionId { id, start });
    }
    // SAFETY: the texts end with a zero; nothing here needs dropping when an error passes.
    unsafe {
        let mut message = std::mem::zeroed::<pg_sys::StringInfoData>();
        raw_begin(&mut message, b'S' as c_char);
        raw_text(&mut message, TRANSACTION_ID.as_ptr());
        raw_text(&mut message, text.as_ptr().cast());
        raw_end(&mut message);
    }
}
