//! COPY data to the client, message by message.

use crate::pg::guard;
use pgrx::pg_sys;
use std::ffi::{c_char, c_int};

/// How messages leave the server (`libpq/libpq.h`).
#[repr(C)]
struct Methods {
    comm_reset: unsafe extern "C-unwind" fn(),
    flush: unsafe extern "C-unwind" fn() -> c_int,
    flush_if_writable: unsafe extern "C-unwind" fn() -> c_int,
    is_send_pending: unsafe extern "C-unwind" fn() -> bool,
    putmessage: unsafe extern "C-unwind" fn(c_char, *const c_char, usize) -> c_int,
    putmessage_noblock: unsafe extern "C-unwind" fn(c_char, *const c_char, usize),
}

extern "C" {
    static PqCommMethods: *const Methods;
}

fn put(tag: u8, body: &[u8]) {
    let (data, len) = (body.as_ptr() as *const c_char, body.len());
    // SAFETY: the methods are set for the life of the process; data is copied before the return.
    // A client that is gone is noticed by the next read, as everywhere in the server.
    unsafe {
        guard::call(|| ((*PqCommMethods).putmessage)(tag as c_char, data, len));
    }
}

/// Whether there is a client that takes COPY data.
pub fn connected() -> bool {
    // SAFETY: reads a variable.
    unsafe { pg_sys::whereToSendOutput == pg_sys::CommandDest::DestRemote }
}

/// Announces COPY data with this number of columns.
pub fn begin(columns: usize, binary: bool) {
    let format = i16::from(binary);
    let columns = columns.min(i16::MAX as usize);
    let mut body = vec![format as u8];
    body.extend_from_slice(&(columns as i16).to_be_bytes());
    for _ in 0..columns {
        body.extend_from_slice(&format.to_be_bytes());
    }
    put(b'H', &body);
}

/// A row.
pub fn row(data: &[u8]) {
    put(b'd', data);
}

/// Ends the data.
pub fn end() {
    put(b'c', b"");
}
