//! Shared memory at server start.

use crate::pg::shmem::{with_init_lock, Shared};
use crate::pg::{guard, handover};
use pgrx::pg_sys;
use std::sync::OnceLock;

/// All tables of the extension.
fn tables() -> [&'static dyn Shared; 17] {
    use crate::cluster::clients;
    use crate::pg::starts;
    use crate::remote::{backends, kept, line, shared};
    use crate::stats::{counters, statements, tenants};
    use crate::txn::{doubt, gate};
    use crate::worker::board;
    [
        &counters::TABLE,
        &clients::TABLE,
        &statements::TABLE,
        &tenants::TABLE,
        &shared::TABLE,
        &line::TABLE,
        &line::NUMBERS,
        &backends::TABLE,
        &kept::TABLE,
        &kept::WATCH,
        &board::TABLE,
        &board::LAUNCHER,
        &gate::TABLE,
        &gate::WAITERS,
        &doubt::TABLE,
        &doubt::RECENT,
        &starts::TABLE,
    ]
}

static PREVIOUS_REQUEST: OnceLock<pg_sys::shmem_request_hook_type> = OnceLock::new();
static PREVIOUS_STARTUP: OnceLock<pg_sys::shmem_startup_hook_type> = OnceLock::new();

/// Installs the hooks; from `_PG_init`.
pub fn register() {
    // SAFETY: hook variables are plain pointers, written once while the library is loaded.
    unsafe {
        PREVIOUS_REQUEST.get_or_init(|| pg_sys::shmem_request_hook);
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP.get_or_init(|| pg_sys::shmem_startup_hook);
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

extern "C-unwind" fn request() {
    guard::entry(|| {
        if let Some(Some(previous)) = PREVIOUS_REQUEST.get() {
            // SAFETY: another library's hook of the same type.
            unsafe { guard::call(|| previous()) };
        }
        tables().iter().for_each(|a| a.request());
    })
}

extern "C-unwind" fn startup() {
    guard::entry(|| {
        if let Some(Some(previous)) = PREVIOUS_STARTUP.get() {
            // SAFETY: another library's hook of the same type.
            unsafe { guard::call(|| previous()) };
        }
        with_init_lock(|| tables().iter().for_each(|a| a.attach()));
        // After a crash of a process all memory is new, and nobody knows of these any more.
        handover::clear();
    })
}
