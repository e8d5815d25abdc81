//! SQL inside the server, for catalog work that is not on a hot path.

use super::{guard, transmit};
use crate::error::{Error, Result};
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, CStr, CString};

extern "C-unwind" {
    #[link_name = "SPI_execute_with_args"]
    fn raw_execute(
        sql: *const c_char,
        nargs: c_int,
        types: *mut Oid,
        values: *mut Datum,
        nulls: *const c_char,
        read_only: bool,
        count: c_long,
    ) -> c_int;
}

thread_local! {
    static INTERNAL: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, what this session does is the extension's own work and not its client's.
pub struct Internal(());

impl Internal {
    /// Begins own work; it may be nested.
    pub fn begin() -> Self {
        INTERNAL.with(|i| i.set(i.get() + 1));
        Internal(())
    }
}

impl Drop for Internal {
    fn drop(&mut self) {
        INTERNAL.with(|i| i.set(i.get().saturating_sub(1)));
    }
}

/// Whether the extension is at its own work.
pub fn is_internal() -> bool {
    INTERNAL.with(Cell::get) > 0
}

/// A parameter: its type and value, `None` for NULL.
pub type Param = (Oid, Option<Datum>);

/// A text parameter.
pub fn text(s: &str) -> Param {
    (pg_sys::TEXTOID, Some(super::fmgr::text_datum(s)))
}
/// An optional text parameter.
pub fn opt_text(s: Option<&str>) -> Param {
    (pg_sys::TEXTOID, s.map(super::fmgr::text_datum))
}
/// A bigint parameter.
pub fn i64(v: i64) -> Param {
    (pg_sys::INT8OID, Some(Datum::from(v)))
}
/// An integer parameter.
pub fn i32(v: i32) -> Param {
    (pg_sys::INT4OID, Some(Datum::from(v)))
}
/// A boolean parameter.
pub fn bool(v: bool) -> Param {
    (pg_sys::BOOLOID, Some(Datum::from(v)))
}
/// An oid parameter (also for regclass after a cast in the statement).
pub fn oid(v: Oid) -> Param {
    (pg_sys::OIDOID, Some(Datum::from(v)))
}

/// Rows in text form.
pub type TextRows = Vec<Vec<Option<String>>>;

/// Runs a statement and gives back its rows as text and the number of rows it processed.
///
/// The search path is pinned to `pg_catalog, pg_temp`; names of user objects must be qualified.
pub fn execute(sql: &str, params: &[Param]) -> Result<(TextRows, u64)> {
    pinned(|| execute_unpinned(sql, params))
}

/// [`execute`] for its rows only.
pub fn query(sql: &str, params: &[Param]) -> Result<TextRows> {
    execute(sql, params).map(|r| r.0)
}

/// [`execute`] for a single optional value.
pub fn value(sql: &str, params: &[Param]) -> Result<Option<String>> {
    Ok(query(sql, params)?.into_iter().next().and_then(|r| r.into_iter().next()).flatten())
}

/// Like [`execute`] but as the extension's owner, for catalogs that ordinary users cannot write.
/// The caller has checked the user's privileges.
pub fn execute_as_owner(sql: &str, params: &[Param]) -> Result<(TextRows, u64)> {
    as_owner(|| execute(sql, params))
}

/// Runs `f` as the owner of the extension (a superuser), with a security-restricted context.
pub fn as_owner<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: plain state switch; an error resets it at the end of the (sub)transaction.
    let (user, context) = unsafe {
        let (mut user, mut context) = (Oid::INVALID, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let ext = pg_sys::get_extension_oid(c"citus".as_ptr(), true);
        let owner =
            if ext == Oid::INVALID { pg_sys::Oid::from(10u32) } else { extension_owner(ext)? };
        pg_sys::SetUserIdAndSecContext(
            owner,
            context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int,
        );
        (user, context)
    };
    let r = f();
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
    r
}

fn extension_owner(ext: Oid) -> Result<Oid> {
    use std::cell::Cell;
    thread_local! { static OWNER: Cell<(u32, u32)> = const { Cell::new((0, 0)) }; }
    let (e, o) = OWNER.with(Cell::get);
    if e == u32::from(ext) {
        return Ok(Oid::from(o));
    }
    let sql = "SELECT extowner FROM pg_catalog.pg_extension WHERE oid = $1";
    let owner = value(sql, &[oid(ext)])?
        .and_then(|s| s.parse::<u32>().ok())
        .ok_or_else(|| Error::internal("extension citus has no owner"))?;
    OWNER.with(|c| c.set((u32::from(ext), owner)));
    Ok(Oid::from(owner))
}

/// Runs `f` with search_path = pg_catalog, pg_temp, and literals and arrays read as usual.
pub fn pinned<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    with_setting("search_path", "pg_catalog, pg_temp", || transmit::usual_reading(f))
}

/// Runs `f` with a setting changed for its duration.
pub fn with_setting<R>(name: &str, value: &str, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let (name, value) = (cstring(name)?, cstring(value)?);
    // SAFETY: the nest level is closed below, or by the abort of the (sub)transaction.
    let level = unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        level
    };
    let r = f();
    // SAFETY: closes the level opened above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    r
}

/// A C string; text from SQL never holds a zero byte, so the error is not reachable by users.
pub fn cstring(s: &str) -> Result<CString> {
    CString::new(s).map_err(|_| Error::internal("string contains a zero byte"))
}

/// [`execute`] with the session's own search path.
pub fn execute_unpinned(sql: &str, params: &[Param]) -> Result<(TextRows, u64)> {
    let _own = Internal::begin();
    let sql_c = cstring(sql)?;
    let mut types: Vec<Oid> = params.iter().map(|p| p.0).collect();
    let mut values: Vec<Datum> =
        params.iter().map(|p| p.1.unwrap_or(Datum::from(0usize))).collect();
    let nulls: Vec<c_char> = params
        .iter()
        .map(|p| if p.1.is_some() { b' ' as c_char } else { b'n' as c_char })
        .collect();
    // SAFETY: arrays live over the call; SPI state is closed below or by (sub)transaction abort.
    unsafe {
        let pushed = ensure_snapshot();
        guard::call(|| pg_sys::SPI_connect());
        let (t, v, n, len) =
            (types.as_mut_ptr(), values.as_mut_ptr(), nulls.as_ptr(), params.len());
        let text = sql_c.as_ptr();
        let rc = guard::call(|| raw_execute(text, len as c_int, t, v, n, false, 0));
        if rc < 0 {
            pg_sys::SPI_finish();
            return Err(Error::internal(format!("SPI error {rc} for: {sql}")));
        }
        let processed = pg_sys::SPI_processed;
        let rows = read_rows();
        pg_sys::SPI_finish();
        if pushed {
            pg_sys::PopActiveSnapshot();
        }
        Ok((rows, processed))
    }
}

/// Makes sure there is an active snapshot; true when one was pushed.
unsafe fn ensure_snapshot() -> bool {
    // SAFETY: called inside a transaction.
    unsafe {
        if pg_sys::ActiveSnapshotSet() {
            return false;
        }
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        true
    }
}

/// The result of the last SPI call as text.
pub(super) unsafe fn read_rows() -> TextRows {
    // SAFETY: SPI_tuptable belongs to the call just made; column numbers are within natts.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() {
            return Vec::new();
        }
        let desc = (*table).tupdesc;
        let natts = (*desc).natts;
        (0..(*table).numvals as usize)
            .map(|r| {
                let tuple = *(*table).vals.add(r);
                (1..=natts)
                    .map(|c| {
                        let v = guard::call(|| pg_sys::SPI_getvalue(tuple, desc, c));
                        (!v.is_null()).then(|| CStr::from_ptr(v).to_string_lossy().into_owned())
                    })
                    .collect()
            })
            .collect()
    }
}
