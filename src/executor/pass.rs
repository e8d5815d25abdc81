//! Rows that go to the client as they come from the node.
//!
//! When the plan is nothing but a distributed scan and its rows are sent to the client, decoding
//! and encoding every column would be work for nothing: the node is asked for the client's own
//! formats, and the bodies of its DataRow messages are the client's messages.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::decode;
use super::node::{self, State};
use crate::error::Result;
use crate::pg::guard;
use crate::planner::ship;
use pgrx::pg_sys::{self, CmdType, CommandDest, QueryDesc, ScanDirection};
use std::ffi::{c_char, c_int};

/// libpq/libpq.h: how messages leave the server.
#[repr(C)]
struct PqCommMethodsTable {
    comm_reset: unsafe extern "C-unwind" fn(),
    flush: unsafe extern "C-unwind" fn() -> c_int,
    flush_if_writable: unsafe extern "C-unwind" fn() -> c_int,
    is_send_pending: unsafe extern "C-unwind" fn() -> bool,
    putmessage: unsafe extern "C-unwind" fn(c_char, *const c_char, usize) -> c_int,
    putmessage_noblock: unsafe extern "C-unwind" fn(c_char, *const c_char, usize),
}

extern "C" {
    static PqCommMethods: *const PqCommMethodsTable;
}

/// Whether it is worth asking [`applies`]: most plans have another node on top.
pub unsafe fn may_apply(q: *mut QueryDesc) -> bool {
    let state = (*q).planstate;
    !state.is_null() && (*state).type_ == pg_sys::NodeTag::T_CustomScanState
}

/// The scan whose rows can be passed through, with the client's formats.
pub unsafe fn applies(
    q: *mut QueryDesc,
    direction: ScanDirection::Type,
    count: u64,
) -> Option<(*mut State, Vec<i16>)> {
    if (*q).operation != CmdType::CMD_SELECT
        || direction != ScanDirection::ForwardScanDirection
        || count != 0
        || (*q).instrument_options != 0
    {
        return None;
    }
    let dest = (*(*q).dest).mydest;
    if dest != CommandDest::DestRemote && dest != CommandDest::DestRemoteExecute {
        return None;
    }
    let state = node::state_of((*q).planstate)?;
    let exec = node::exec_of(state);
    let natts = (*(*q).tupDesc).natts as usize;
    let portal = pg_sys::ActivePortal;
    if exec.started()
        || natts != exec.plan.columns.len()
        || natts == 0
        || portal.is_null()
        || pg_sys::pg_get_client_encoding() != pg_sys::GetDatabaseEncoding()
    {
        return None;
    }
    let formats: Vec<i16> = (0..natts)
        .map(|i| if (*portal).formats.is_null() { 0 } else { *(*portal).formats.add(i) })
        .collect();
    let same = exec.plan.columns.iter().zip(&formats).all(|(c, f)| match f {
        0 => ship::is_plain_type(pg_sys::Oid::from(c.typ)),
        _ => decode::has_plain_binary(c.typ),
    });
    same.then_some((state, formats))
}

/// What ExecutorRun does, for a scan that [`applies`].
pub unsafe fn run(q: *mut QueryDesc, state: *mut State, formats: &[i16]) -> Result<()> {
    let dest = (*q).dest;
    let operation = (*q).operation as c_int;
    let desc = (*q).tupDesc;
    let exec = node::exec_of(state);
    exec.use_formats(formats);
    (*(*q).estate).es_processed = 0;
    if let Some(f) = (*dest).rStartup {
        guard::call(|| f(dest, operation, desc));
    }
    node::start(state)?;
    let slot = node::slot(state);
    let context = node::row_memory(state);
    loop {
        pg_sys::MemoryContextReset(context);
        let row = exec.next_raw(slot, context, &mut |body| {
            let (p, n) = (body.as_ptr() as *const c_char, body.len());
            // SAFETY: the server's own table of functions; the body lives over the call.
            unsafe {
                let put = (*PqCommMethods).putmessage;
                guard::call(|| put(b'D' as c_char, p, n));
            }
        })?;
        match row {
            super::run::Raw::End => break,
            super::run::Raw::Sent(n) => (*(*q).estate).es_processed += n,
            super::run::Raw::Slot => {
                if let Some(f) = (*dest).receiveSlot {
                    guard::call(|| f(slot, dest));
                }
                (*(*q).estate).es_processed += 1;
            }
        }
        if pg_sys::InterruptPending != 0 {
            guard::call(|| pg_sys::ProcessInterrupts());
        }
    }
    if let Some(f) = (*dest).rShutdown {
        guard::call(|| f(dest));
    }
    Ok(())
}
