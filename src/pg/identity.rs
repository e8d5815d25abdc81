//! Acting as another role to the end of the transaction, in the way of a function that runs as its
//! owner: nothing that runs meanwhile can change the role.

use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys::{self, Oid};
use std::cell::Cell;
use std::ffi::c_int;

const LOCAL: c_int = pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int;
const RESTRICTED: c_int = pg_sys::SECURITY_RESTRICTED_OPERATION as c_int;

thread_local! {
    /// Who the session was before the transaction's first call of [`act_as`].
    static BASE: Cell<Option<Oid>> = const { Cell::new(None) };
}

fn current() -> (Oid, c_int) {
    let (mut user, mut context) = (Oid::INVALID, 0);
    // SAFETY: fills the two variables.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut context) };
    (user, context)
}

/// From now on statements run as `role`, to the end of the transaction at the latest; with the
/// session's own role everything is as it was before. A rollback, also to a savepoint, takes it back
/// by PostgreSQL's own means. With `restricted` they must leave nothing behind that runs later, as
/// what PostgreSQL runs for the owner of a materialized view or an index.
pub fn act_as(role: Oid, restricted: bool) -> Result<()> {
    let (user, context) = current();
    let expected = if BASE.get().is_some() { context & (LOCAL | RESTRICTED) } else { 0 };
    if context != expected {
        let message = "the role cannot be changed within a function that runs as its owner";
        return Err(Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    }
    let base = BASE.get().unwrap_or(user);
    BASE.set(Some(base));
    let context = match (role == base, restricted) {
        (_, true) => LOCAL | RESTRICTED,
        (false, false) => LOCAL,
        (true, false) => 0,
    };
    // SAFETY: changes variables of the backend; the role exists.
    unsafe { pg_sys::SetUserIdAndSecContext(role, context) };
    Ok(())
}

/// The transaction is about to commit or to be prepared, and all statements and triggers have run.
pub fn before_commit() {
    if let Some(base) = BASE.take() {
        // SAFETY: as above.
        unsafe { pg_sys::SetUserIdAndSecContext(base, 0) };
    }
}

/// The transaction was rolled back, and PostgreSQL has put back who the session was at its start.
pub fn after_abort() {
    BASE.set(None);
}
