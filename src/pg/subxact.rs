//! Work whose failure is survived: it runs in a subtransaction.

use super::guard;
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys;

/// Runs `f` in a subtransaction. An error of `f` rolls the subtransaction back and comes as the
/// inner result; what must not be survived (cancel, shutdown) comes as the outer error.
pub fn attempt<R>(f: impl FnOnce() -> Result<R>) -> Result<Result<R>> {
    // SAFETY: the state that the server does not restore by itself is put back below.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        guard::call(|| pg_sys::BeginInternalSubTransaction(std::ptr::null()));
        pg_sys::CurrentMemoryContext = context;
        let result = guard::catch_result(f);
        pg_sys::CurrentMemoryContext = context;
        match &result {
            Ok(_) => guard::call(|| pg_sys::ReleaseCurrentSubTransaction()),
            Err(_) => guard::call(|| pg_sys::RollbackAndReleaseCurrentSubTransaction()),
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
        match result {
            Err(e) if is_final(&e) => Err(e),
            other => Ok(other),
        }
    }
}

/// Errors that end the statement whatever the code wants.
pub fn is_final(e: &Error) -> bool {
    e.level != 0
        || [sqlstate::QUERY_CANCELED, sqlstate::ADMIN_SHUTDOWN, sqlstate::OUT_OF_MEMORY]
            .contains(&e.code)
}
