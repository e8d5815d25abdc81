//! Facts about this session and its user.

use super::guard;
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// The port that this server listens on.
pub fn server_port() -> i32 {
    // SAFETY: a plain integer set at server start.
    unsafe { pg_sys::PostPortNumber }
}

/// Process id of this backend.
pub fn backend_pid() -> i32 {
    // SAFETY: a plain integer set at backend start.
    unsafe { pg_sys::MyProcPid }
}

/// What the client of this session knows of it since it connected.
pub struct Connected {
    /// Process id and key for requests to cancel, which nobody else was told.
    pub key: (i32, i32),
    /// Who logged in, whatever the session has become since.
    pub login: String,
    /// The database.
    pub database: String,
}

/// How this session's client connected; `None` in a process that has no client.
pub fn connected() -> Option<Connected> {
    // SAFETY: plain variables set at backend start.
    let (key, login) = unsafe {
        if pg_sys::MyProcPort.is_null() {
            return None;
        }
        ((pg_sys::MyProcPid, pg_sys::MyCancelKey), pg_sys::GetAuthenticatedUserId())
    };
    Some(Connected { key, login: role_name(login), database: database_name() })
}

/// Name of a role; empty when there is none.
fn role_name(role: Oid) -> String {
    // SAFETY: null when the role does not exist, else a palloc'd string.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return String::new();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Name of a role, `None` when it does not exist.
pub fn name_of_role(role: Oid) -> Option<String> {
    Some(role_name(role)).filter(|n| !n.is_empty())
}

/// What the client has sent and this session is doing; `None` when it is not known as text.
pub fn statement() -> Option<String> {
    // SAFETY: null or a zero-terminated string that lives as long as the command.
    unsafe {
        let text = pg_sys::debug_query_string;
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// Name of a role, or what the server shows for one that is gone.
pub fn name_or_number(role: u32) -> String {
    name_of_role(Oid::from(role)).unwrap_or_else(|| format!("unknown (OID={role})"))
}

/// OID of the current user.
pub fn user() -> Oid {
    // SAFETY: reads a variable.
    unsafe { pg_sys::GetUserId() }
}

/// What the client calls itself.
pub fn application_name() -> String {
    // SAFETY: null or a zero-terminated string that lives until the setting changes.
    unsafe {
        let name = pg_sys::application_name;
        if name.is_null() {
            return String::new();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether this process works for a client.
pub fn has_client() -> bool {
    // SAFETY: reads a variable that is set at backend start.
    unsafe { !pg_sys::MyProcPort.is_null() }
}

/// Who the session acts as outside of functions that run as their owner: the session's user, or
/// what SET ROLE made of it.
pub fn outer_user() -> Oid {
    // SAFETY: reads a variable.
    unsafe { pg_sys::GetOuterUserId() }
}

/// Whether something runs for the owner of a materialized view, an index or the like, which must
/// not leave anything behind that others would run.
pub fn is_restricted() -> bool {
    // SAFETY: reads a variable.
    unsafe { pg_sys::InSecurityRestrictedOperation() }
}

/// Name of the current user.
pub fn user_name() -> String {
    // SAFETY: the user exists, so a name comes back; it lives in the current context.
    unsafe {
        let id = pg_sys::GetUserId();
        let name = guard::call(|| pg_sys::GetUserNameFromId(id, false));
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether the current user is a superuser.
pub fn is_superuser() -> bool {
    // SAFETY: syscache look-up inside a transaction.
    unsafe { pg_sys::superuser() }
}

/// Whether this session belongs to a client that did not log in as a superuser.
pub fn is_of_ordinary_client() -> bool {
    // SAFETY: plain variables set at backend start; a syscache look-up inside a transaction.
    unsafe {
        !pg_sys::MyProcPort.is_null() && !pg_sys::superuser_arg(pg_sys::GetAuthenticatedUserId())
    }
}

/// Whether a role, by its name, is a superuser.
pub fn is_superuser_role(name: &str) -> bool {
    // SAFETY: a syscache look-up inside a transaction.
    role_oid(name).is_some_and(|role| unsafe { pg_sys::superuser_arg(Oid::from(role)) })
}

/// Whether the current user has the privileges of a role.
pub fn has_privileges_of(role: Oid) -> bool {
    // SAFETY: syscache look-ups inside a transaction.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), role) }
}

/// Refuses unless the current user owns the relation or is a superuser.
pub fn require_owner(relid: Oid, name: &str) -> Result<()> {
    // SAFETY: syscache look-ups inside a transaction.
    if unsafe { pg_sys::pg_class_ownercheck(relid, pg_sys::GetUserId()) } {
        return Ok(());
    }
    Err(Error::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("must be owner of table {name}")))
}

/// Schema and name of a relation, `None` when it does not exist.
pub fn relation_name(relid: Oid) -> Option<(String, String)> {
    // SAFETY: both functions answer null for what is not there, else a palloc'd string.
    unsafe {
        let name = pg_sys::get_rel_name(relid);
        if name.is_null() {
            return None;
        }
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relid));
        if schema.is_null() {
            return None;
        }
        let text = |p| CStr::from_ptr(p).to_string_lossy().into_owned();
        Some((text(schema), text(name)))
    }
}

/// Name of the current database.
pub fn database_name() -> String {
    // SAFETY: the database exists while we are connected to it.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        if name.is_null() {
            return String::new();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// OID of the current database.
pub fn database() -> u32 {
    // SAFETY: a plain integer.
    unsafe { u32::from(pg_sys::MyDatabaseId) }
}

/// Name of the server's encoding.
pub fn encoding_name() -> String {
    // SAFETY: a static string.
    unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()).to_string_lossy().into_owned() }
}

/// Identifier that initdb gave to this server.
pub fn system_identifier() -> u64 {
    // SAFETY: reads shared memory set at server start.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// A number that cannot be guessed.
pub fn random() -> Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: fills the buffer.
    if unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        return Ok(u64::from_ne_bytes(bytes));
    }
    Err(Error::internal("could not generate a random number"))
}

extern "C-unwind" {
    #[link_name = "LockRelationOid"]
    fn raw_lock_relation(relid: Oid, mode: pg_sys::LOCKMODE);
}

/// Locks a relation until the end of the transaction.
pub fn lock_relation(relid: Oid, mode: u32) -> Result<()> {
    // SAFETY: waits for the lock; an error (cancel, deadlock) is caught.
    guard::catch(|| unsafe { guard::call(|| raw_lock_relation(relid, mode as i32)) })
}

/// [`lock_relation`] without waiting; false when somebody holds a conflicting lock.
pub fn try_lock_relation(relid: Oid, mode: u32) -> bool {
    // SAFETY: inside a transaction, at whose end the lock is released.
    unsafe { guard::call(|| pg_sys::ConditionalLockRelationOid(relid, mode as i32)) }
}

/// Whether a role of this server may log in.
pub fn can_login(role: &str) -> bool {
    let Ok(name) = std::ffi::CString::new(role) else { return false };
    // SAFETY: syscache look-up inside a transaction; the entry is released after its use.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::AUTHNAME as i32,
            pg_sys::Datum::from(name.as_ptr()),
        );
        if tuple.is_null() {
            return false;
        }
        let form = pg_sys::GETSTRUCT(tuple) as *mut pg_sys::FormData_pg_authid;
        let can = (*form).rolcanlogin;
        pg_sys::ReleaseSysCache(tuple);
        can
    }
}

/// OID of a role, `None` when there is none of that name.
pub fn role_oid(role: &str) -> Option<u32> {
    let name = std::ffi::CString::new(role).ok()?;
    // SAFETY: syscache look-up inside a transaction; missing roles do not raise.
    let oid = unsafe { guard::call(|| pg_sys::get_role_oid(name.as_ptr(), true)) };
    (oid != Oid::INVALID).then(|| u32::from(oid))
}

/// Name of the user who logged in, or became by SET SESSION AUTHORIZATION.
pub fn session_user_name() -> String {
    // SAFETY: reads a variable.
    role_name(unsafe { pg_sys::GetSessionUserId() })
}
