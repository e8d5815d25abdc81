//! The border between Rust and C.
//!
//! PostgreSQL raises errors with `longjmp`, Rust with panics, and neither may cross the other's
//! frames. [`call`] stops a `longjmp` and turns it into a panic with an [`Error`] as payload that
//! keeps every field of the report; [`entry`] stops a panic and turns it into a report. pgrx's own
//! guard does the same but drops constraint names, positions and contexts, which is why hooks,
//! callbacks and SQL functions of this crate are shims around [`entry`].

use crate::error::{sqlstate, Error, Fields, Result, SqlState};
use pgrx::pg_sys;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, CStr};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

extern "C-unwind" {
    fn ReThrowError(edata: *mut pg_sys::ErrorData);
    fn ThrowErrorData(edata: *mut pg_sys::ErrorData);
    fn pg_re_throw() -> !;
}

/// Severity ERROR (pgrx keeps this constant for itself).
const ERROR: c_int = 21;

/// What the guarded closure of [`call`] answers for a panic; errors of the server answer 1.
const PANICKED: c_int = 2;

thread_local! {
    /// Where the last panic that is not an [`Error`] came from.
    static PANIC_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs the process-wide panic hook: nothing is printed, the place is remembered.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
        PANIC_AT.with(|p| *p.borrow_mut() = at);
    }));
}

/// Runs `f`, the Rust side of a call from C; a panic becomes a PostgreSQL error report.
///
/// Must be the outermost frame of an `extern "C-unwind"` function.
pub fn entry<R>(f: impl FnOnce() -> R) -> R {
    let error = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => return value,
        Err(payload) => {
            // The report is built in PostgreSQL's memory, and nothing of Rust's is alive when it
            // is thrown: the longjmp skips only frames without destructors.
            let error = from_panic(payload);
            to_report(error)
        }
    };
    throw(error)
}

/// Like [`entry`] for fallible code.
pub fn entry_result<R>(f: impl FnOnce() -> Result<R>) -> R {
    entry(|| match f() {
        Ok(v) => v,
        Err(e) => e.raise(),
    })
}

/// Runs C code that may raise an error, which becomes a panic carrying an [`Error`].
///
/// # Safety
/// `f` must only call C code and own nothing that needs dropping: its frames may be skipped.
pub unsafe fn call<R>(f: impl FnOnce() -> R) -> R {
    let mut result = std::mem::MaybeUninit::<R>::uninit();
    // SAFETY: single backend thread; the saved handlers are restored on both ways out.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let exception_stack = pg_sys::PG_exception_stack;
        let context_stack = pg_sys::error_context_stack;
        let slot = result.as_mut_ptr();
        let mut panicked: Option<Box<dyn Any + Send>> = None;
        let panic_slot: *mut Option<Box<dyn Any + Send>> = &mut panicked;
        let jumped = cee_scape::call_with_sigsetjmp(false, |env| {
            pg_sys::PG_exception_stack = std::mem::transmute::<
                *const cee_scape::SigJmpBufFields,
                *mut _,
            >(env as *const cee_scape::SigJmpBufFields);
            // pgrx's own wrappers panic on an error; that must not unwind past the jump buffer
            // while PostgreSQL still knows it.
            match catch_unwind(AssertUnwindSafe(f)) {
                Ok(value) => {
                    slot.write(value);
                    0
                }
                Err(payload) => {
                    *panic_slot = Some(payload);
                    PANICKED
                }
            }
        });
        pg_sys::PG_exception_stack = exception_stack;
        pg_sys::error_context_stack = context_stack;
        if jumped == 0 {
            return result.assume_init();
        }
        if jumped == PANICKED {
            if let Some(payload) = panicked.take() {
                resume_unwind(payload);
            }
        }
        pg_sys::CurrentMemoryContext = context;
        let data = pg_sys::CopyErrorData();
        let error = from_report(&*data);
        pg_sys::FreeErrorData(data);
        pg_sys::FlushErrorState();
        error.raise()
    }
}

/// Runs C code and `after` it, also when it raises an error. That goes on unchanged, except that a
/// cancel becomes the error which it announces, see [`super::wait::verdict`].
///
/// # Safety
/// As for [`call`], for `f` and for the frame that calls this: the error passes through it.
pub unsafe fn finally<R>(f: impl FnOnce() -> R, after: fn()) -> R {
    let mut result = std::mem::MaybeUninit::<R>::uninit();
    // SAFETY: as in `call`; after the jump nothing of Rust's is alive here.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let exception_stack = pg_sys::PG_exception_stack;
        let context_stack = pg_sys::error_context_stack;
        let slot = result.as_mut_ptr();
        let jumped = cee_scape::call_with_sigsetjmp(false, |env| {
            pg_sys::PG_exception_stack = std::mem::transmute::<
                *const cee_scape::SigJmpBufFields,
                *mut _,
            >(env as *const cee_scape::SigJmpBufFields);
            slot.write(f());
            0
        });
        pg_sys::PG_exception_stack = exception_stack;
        pg_sys::error_context_stack = context_stack;
        after();
        if jumped != 0 {
            if pg_sys::geterrcode() == sqlstate::QUERY_CANCELED.0 {
                if let Some(e) = super::wait::verdict() {
                    pg_sys::CurrentMemoryContext = context;
                    pg_sys::FlushErrorState();
                    throw(to_report(e));
                }
            }
            pg_re_throw();
        }
        result.assume_init()
    }
}

/// Runs `f` and gives back its error, of whichever origin, instead of unwinding further.
///
/// The caller has to restore PostgreSQL's state by itself (a sub-transaction, usually) before it
/// goes on as if nothing had happened.
pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(f)).map_err(from_panic)
}

/// Like [`catch`] for fallible code.
pub fn catch_result<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    catch(f).and_then(|r| r)
}

fn from_panic(payload: Box<dyn Any + Send>) -> Error {
    let payload = match payload.downcast::<Error>() {
        Ok(e) => return *e,
        Err(p) => p,
    };
    let payload = match payload.downcast::<pg_sys::panic::CaughtError>() {
        Ok(caught) => {
            use pg_sys::panic::CaughtError::{ErrorReport, PostgresError, RustPanic};
            return match *caught {
                PostgresError(r) | ErrorReport(r) => from_pgrx(&r),
                RustPanic { ereport, .. } => from_pgrx(&ereport),
            };
        }
        Err(p) => p,
    };
    if payload.is::<pg_sys::panic::ErrorReportWithLevel>()
        || payload.is::<pg_sys::panic::ErrorReport>()
    {
        // pgrx knows how to read its own payloads.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pgrx::PgTryBuilder::new(AssertUnwindSafe(|| resume_unwind(payload)))
                .catch_others(|e| match e {
                    pg_sys::panic::CaughtError::PostgresError(r)
                    | pg_sys::panic::CaughtError::ErrorReport(r) => from_pgrx(&r),
                    pg_sys::panic::CaughtError::RustPanic { ereport, .. } => from_pgrx(&ereport),
                })
                .execute()
        }));
        return caught.unwrap_or_else(|_| Error::internal("unreadable error report"));
    }
    let at = PANIC_AT.with(|p| p.borrow_mut().take()).unwrap_or_else(|| "unknown place".into());
    Error::internal(format!("internal error in citus ({at})"))
        .hint("This is a bug in the extension; the transaction was rolled back.")
}

fn from_pgrx(r: &pg_sys::panic::ErrorReportWithLevel) -> Error {
    let mut e = Error::new(SqlState(r.sql_error_code() as i32), r.message());
    e.detail = r.detail().map(str::to_owned);
    e.hint = r.hint().map(str::to_owned);
    e.level = match r.level() {
        pgrx::PgLogLevel::FATAL => pg_sys::FATAL as i32,
        pgrx::PgLogLevel::PANIC => pg_sys::PANIC as i32,
        _ => 0,
    };
    e
}

/// Reads a report of the server.
///
/// # Safety
/// All strings of `data` must be valid or null.
unsafe fn from_report(data: &pg_sys::ErrorData) -> Error {
    let text = |p: *const c_char| {
        // SAFETY: the caller promised valid strings.
        (!p.is_null()).then(|| unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned())
    };
    Error::from(Fields {
        code: SqlState(data.sqlerrcode),
        message: text(data.message).unwrap_or_default(),
        detail: text(data.detail),
        hint: text(data.hint),
        context: text(data.context),
        schema: text(data.schema_name),
        table: text(data.table_name),
        column: text(data.column_name),
        datatype: text(data.datatype_name),
        constraint: text(data.constraint_name),
        position: data.cursorpos,
        internal: text(data.internalquery).map(|q| (data.internalpos, q)),
        rethrow: true,
        level: if data.elevel > ERROR { data.elevel } else { 0 },
    })
}

/// A report on its way to PostgreSQL; plain data without destructors.
#[derive(Clone, Copy)]
struct Report {
    data: *mut pg_sys::ErrorData,
    rethrow: bool,
}

fn to_report(e: Error) -> Report {
    let rethrow = e.rethrow;
    Report { data: build_report(&e, ERROR), rethrow }
}

fn build_report(e: &Error, level: c_int) -> *mut pg_sys::ErrorData {
    // Allocation in ErrorContext cannot fail for lack of memory in the usual way: PostgreSQL
    // keeps a reserve there.
    // SAFETY: plain allocations; the structure is zeroed before its fields are set.
    unsafe {
        let old = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = pg_sys::ErrorContext;
        let d = pg_sys::palloc0(std::mem::size_of::<pg_sys::ErrorData>()) as *mut pg_sys::ErrorData;
        let copy = |s: &str| -> *mut c_char {
            let clean: Vec<u8> = s.bytes().filter(|b| *b != 0).collect();
            pg_sys::pnstrdup(clean.as_ptr() as *const c_char, clean.len())
        };
        let opt = |s: &Option<String>| s.as_deref().map_or(std::ptr::null_mut(), copy);
        (*d).elevel = if e.level > level { e.level } else { level };
        (*d).output_to_server = true;
        (*d).output_to_client = true;
        (*d).filename = c"citus".as_ptr();
        (*d).funcname = c"citus".as_ptr();
        (*d).sqlerrcode = e.code.0;
        (*d).message = copy(&e.message);
        (*d).detail = opt(&e.detail);
        (*d).hint = opt(&e.hint);
        (*d).context = opt(&e.context);
        (*d).schema_name = opt(&e.schema);
        (*d).table_name = opt(&e.table);
        (*d).column_name = opt(&e.column);
        (*d).datatype_name = opt(&e.datatype);
        (*d).constraint_name = opt(&e.constraint);
        (*d).cursorpos = e.position;
        if let Some((pos, query)) = &e.internal {
            (*d).internalpos = *pos;
            (*d).internalquery = copy(query);
        }
        (*d).assoc_context = pg_sys::ErrorContext;
        pg_sys::CurrentMemoryContext = old;
        d
    }
}

fn throw(r: Report) -> ! {
    // SAFETY: the report is complete; both functions leave by longjmp for ERROR and above.
    unsafe {
        if r.rethrow {
            ReThrowError(r.data);
        } else {
            ThrowErrorData(r.data);
        }
    }
    std::process::abort()
}

/// Sends a report below ERROR (NOTICE, WARNING, LOG, DEBUGn) to client and log as configured.
pub fn report(e: &Error, level: u32) {
    let data = build_report(e, level as c_int);
    // SAFETY: a report below ERROR returns normally; `call` guards against the exception.
    unsafe { call(|| ThrowErrorData(data)) }
}

/// A WARNING.
pub fn warning(e: &Error) {
    report(e, pg_sys::WARNING);
}

/// An error for the server's log, and nobody else, as LOG.
pub fn log(e: &Error) {
    report(e, pg_sys::LOG_SERVER_ONLY);
}

/// A NOTICE with the given text.
pub fn notice(text: impl Into<String>) {
    report(&Error::new(SqlState(0), text), pg_sys::NOTICE);
}

/// Before a report goes to client and log: a cancel that nobody has turned into the error which it
/// announces (it came while a statement was analyzed) is turned now.
unsafe extern "C-unwind" fn before_report(data: *mut pg_sys::ErrorData) {
    // SAFETY: the report is complete and is being sent; strings replaced here live as long as it.
    unsafe {
        if (*data).sqlerrcode == sqlstate::QUERY_CANCELED.0 && (*data).elevel == ERROR {
            if let Some(e) = super::wait::verdict() {
                let new = build_report(&e, ERROR);
                (*data).sqlerrcode = (*new).sqlerrcode;
                (*data).message = (*new).message;
                (*data).detail = (*new).detail;
                (*data).hint = (*new).hint;
            }
        }
        if let Some(next) = NEXT_REPORT {
            next(data);
        }
    }
}

static mut NEXT_REPORT: pg_sys::emit_log_hook_type = None;

/// Takes the hook that sees reports; once per process, from `_PG_init`.
pub fn watch_reports() {
    // SAFETY: set before any backend is forked, in a single thread.
    unsafe {
        NEXT_REPORT = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(before_report);
    }
}

/// Makes sure a Rust value is dropped when its memory context goes away, on any path.
///
/// Returns a raw pointer that stays valid until the context is reset or deleted.
///
/// # Safety
/// `context` must be a live memory context that outlives every use of the pointer.
pub unsafe fn leak_into<T>(context: pg_sys::MemoryContext, value: T) -> *mut T {
    extern "C-unwind" fn drop_it<T>(arg: *mut std::ffi::c_void) {
        // SAFETY: `arg` came from Box::into_raw below and the callback runs once.
        let value = unsafe { Box::from_raw(arg as *mut T) };
        // A destructor must not unwind into the memory manager.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
    }
    let raw = Box::into_raw(Box::new(value));
    // SAFETY: allocated in the context itself, so callback record and context die together.
    unsafe {
        let cb = pg_sys::MemoryContextAllocZero(
            context,
            std::mem::size_of::<pg_sys::MemoryContextCallback>(),
        ) as *mut pg_sys::MemoryContextCallback;
        (*cb).func = Some(drop_it::<T>);
        (*cb).arg = raw as *mut std::ffi::c_void;
        pg_sys::MemoryContextRegisterResetCallback(context, cb);
    }
    raw
}

/// The SQLSTATE class of connection problems, used to decide whether a node was unreachable.
pub fn is_connection_error(e: &Error) -> bool {
    e.code.class() == sqlstate::CONNECTION_FAILURE.class()
}
