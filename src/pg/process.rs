//! Background processes: how they are registered, wait, and run transactions of their own.

use super::{guard, wait};
use crate::error::Result;
use pgrx::pg_sys::{self, BackgroundWorker, Oid};
use std::ffi::{c_char, c_int, CStr, CString};
use std::time::Duration;

extern "C-unwind" {
    #[link_name = "die"]
    fn raw_die(signal: c_int);
    #[link_name = "StatementCancelHandler"]
    fn raw_cancel(signal: c_int);
    #[link_name = "SignalHandlerForConfigReload"]
    fn raw_reload(signal: c_int);
}

/// What to start.
pub struct Process<'a> {
    /// Name in the log.
    pub name: &'a str,
    /// What `pg_stat_activity.backend_type` shows.
    pub kind: &'a str,
    /// Exported function of this library that is its body.
    pub function: &'a str,
    /// A number for the body, see [`argument`].
    pub argument: u32,
    /// Time after which the server starts it again when it fails; `None` for never.
    pub restart: Option<Duration>,
}

impl Process<'_> {
    /// The registration as the server wants it: not before recovery has ended, so never on a
    /// standby.
    fn raw(&self) -> BackgroundWorker {
        let mut w = BackgroundWorker {
            bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS
                | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as c_int,
            bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
            bgw_restart_time: match self.restart {
                Some(d) => c_int::try_from(d.as_secs()).unwrap_or(c_int::MAX),
                None => pg_sys::BGW_NEVER_RESTART,
            },
            bgw_main_arg: pg_sys::Datum::from(self.argument),
            ..Default::default()
        };
        put(&mut w.bgw_name, self.name);
        put(&mut w.bgw_type, self.kind);
        put(&mut w.bgw_library_name, "citus");
        put(&mut w.bgw_function_name, self.function);
        w
    }

    /// Lets the server start it whenever it runs; while preloading only.
    pub fn register(&self) {
        // SAFETY: reads a flag, and registers a copy of a complete description.
        unsafe {
            if !pg_sys::IsBinaryUpgrade {
                pg_sys::RegisterBackgroundWorker(&mut self.raw());
            }
        }
    }

    /// Asks the server to start it now; false when all slots for background processes are taken.
    pub fn start(&self) -> bool {
        let mut raw = self.raw();
        let description: *mut BackgroundWorker = &mut raw;
        // SAFETY: the description is copied; no handle is asked for.
        unsafe {
            guard::call(|| {
                pg_sys::RegisterDynamicBackgroundWorker(description, std::ptr::null_mut())
            })
        }
    }
}

/// Writes a text into a field, cut to its size.
fn put<const N: usize>(field: &mut [c_char; N], text: &str) {
    for (to, from) in field.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = from as c_char;
    }
}

/// The body's number: what it was registered with.
pub fn argument(raw: pg_sys::Datum) -> u32 {
    raw.value() as u32
}

/// First step of a body: signals are taken from now on. SIGTERM ends the process, SIGINT cancels
/// what it does, SIGHUP lets it read its configuration.
pub fn begin() {
    // SAFETY: handlers of the server, installed before signals are let in.
    unsafe {
        pg_sys::pqsignal(libc::SIGTERM, Some(raw_die));
        pg_sys::pqsignal(libc::SIGINT, Some(raw_cancel));
        pg_sys::pqsignal(libc::SIGHUP, Some(raw_reload));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Connects to a database as a superuser; without one, only to what all databases share. The
/// process ends when that is not possible.
pub fn connect(database: Option<u32>) {
    let database = database.map_or(Oid::INVALID, Oid::from);
    // SAFETY: called once, in a background process that asked for a connection.
    unsafe {
        guard::call(|| pg_sys::BackgroundWorkerInitializeConnectionByOid(database, Oid::INVALID, 0))
    }
}

/// Gives a setting a value that neither the configuration nor the database's owner can change.
pub fn pin(name: &CStr, value: &CStr) {
    // SAFETY: zero-terminated strings, copied by the server.
    unsafe {
        guard::call(|| {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            )
        })
    }
}

/// Whether the process was asked to end.
pub fn terminating() -> bool {
    // SAFETY: a flag set by the signal handler.
    unsafe { (&raw const pg_sys::ProcDiePending).read_volatile() != 0 }
}

/// Ends the process. Code 0 tells the server not to start it again.
pub fn exit(code: i32) -> ! {
    // SAFETY: runs the server's callbacks and ends the process.
    unsafe { pg_sys::proc_exit(code) }
}

/// Sleeps until the time is over or somebody wakes the process. A cancel has nothing to cancel
/// here and is forgotten.
pub fn sleep(time: Duration) -> Result<()> {
    let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).min(i64::from(i32::MAX));
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: our own latch; the flag belongs to this process.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as c_int, ms, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
        (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
    }
    if terminating() {
        return Ok(());
    }
    wait::check_for_interrupts()
}

/// Reads the configuration again when the server was told to.
pub fn reload() {
    // SAFETY: a flag set by the signal handler; files are read between transactions only.
    unsafe {
        let pending = &raw mut pg_sys::ConfigReloadPending;
        if pending.read_volatile() != 0 {
            pending.write_volatile(0);
            guard::call(|| pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP));
        }
    }
}

/// Wakes another process of this server from its sleep. Never raises.
pub fn wake(pid: i32) {
    // SAFETY: a process' entry in shared memory outlives the process; a latch that is set for
    // nothing does no harm.
    unsafe {
        let process = if pid > 0 { pg_sys::BackendPidGetProc(pid) } else { std::ptr::null_mut() };
        if !process.is_null() {
            pg_sys::SetLatch(&mut (*process).procLatch);
        }
    }
}

/// Cancels what a process of this server does. The caller knows that it still exists.
pub fn cancel(pid: i32) {
    if pid > 1 {
        // SAFETY: sends a signal.
        unsafe { libc::kill(pid, libc::SIGINT) };
    }
}

/// Whether a process of this server is connected.
pub fn exists(pid: i32) -> bool {
    // SAFETY: looks at shared memory.
    pid > 0 && unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Runs `f` in a transaction of its own, rolled back when it fails.
pub fn transaction<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    let done = guard::catch_result(|| {
        // SAFETY: between transactions; what `f` keeps is not in the transaction's memory.
        unsafe {
            guard::call(|| {
                pg_sys::SetCurrentStatementStartTimestamp();
                pg_sys::StartTransactionCommand();
            });
        }
        let value = f()?;
        // SAFETY: ends the transaction.
        unsafe { guard::call(|| pg_sys::CommitTransactionCommand()) };
        Ok(value)
    });
    // SAFETY: rolls back what is open; numbers go to shared memory between transactions.
    unsafe {
        if done.is_err() {
            let _ = guard::catch(|| guard::call(|| pg_sys::AbortCurrentTransaction()));
        }
        let _ = guard::catch(|| guard::call(|| pg_sys::pgstat_report_stat(false)));
    }
    done
}

/// Shows in `pg_stat_activity` what the process does; `None` when it sleeps.
pub fn show(activity: Option<&str>) {
    let text = activity.and_then(|a| CString::new(a).ok());
    let (state, text) = match &text {
        Some(text) => (pg_sys::BackendState::STATE_RUNNING, text.as_ptr()),
        None => (pg_sys::BackendState::STATE_IDLE, std::ptr::null()),
    };
    // SAFETY: the text is copied.
    unsafe { pg_sys::pgstat_report_activity(state, text) }
}

/// Slots for background processes of all kinds.
pub fn slots() -> i32 {
    // SAFETY: a plain integer set at server start.
    unsafe { pg_sys::max_worker_processes }
}
