//! Waiting the way PostgreSQL waits: latch, postmaster death and sockets at once.

use super::guard;
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

extern "C-unwind" {
    #[link_name = "ProcessInterrupts"]
    fn raw_process_interrupts();
}

/// `CHECK_FOR_INTERRUPTS()`: cancel, timeouts and the like come back as an error.
///
/// Must not be called while a session or other shared state is borrowed: a termination runs the
/// abort callbacks from inside.
#[inline]
pub fn check_for_interrupts() -> Result<()> {
    // SAFETY: a flag set by signal handlers.
    if unsafe { (&raw const pg_sys::InterruptPending).read_volatile() } == 0 {
        // SAFETY: counters of this process.
        let held = unsafe { pg_sys::InterruptHoldoffCount > 0 || pg_sys::CritSectionCount > 0 };
        return if held { Ok(()) } else { verdict().map_or(Ok(()), Err) };
    }
    // SAFETY: called in a backend, outside of critical sections.
    let result = guard::catch(|| unsafe { guard::call(|| raw_process_interrupts()) });
    result.map_err(|e| match e.code == sqlstate::QUERY_CANCELED {
        true => {
            cancel_answered();
            verdict().unwrap_or(e)
        }
        false => e,
    })
}

/// One request to cancel is two signals: PostgreSQL sends them to the process and to its group. When the
/// first is handled quickly, the second looks like another request. Nobody asks twice within this time.
const ECHO: Duration = Duration::from_millis(100);

thread_local! {
    /// When a request to cancel was answered.
    static ANSWERED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A request to cancel ends the statement: another that comes at once is the same one.
pub fn cancel_answered() {
    ANSWERED.set(Some(Instant::now()));
}

/// Tells why the running transaction has to be given up, if it has to.
type Verdict = fn() -> Option<Error>;

static VERDICT: OnceLock<Verdict> = OnceLock::new();

/// Sets what else ends a wait: it is asked whenever interrupts are looked at, so it has to be
/// quick, and gives an error at most once for each reason.
pub fn set_verdict(f: Verdict) {
    VERDICT.get_or_init(|| f);
}

/// The error that the running transaction has to end with, which a cancel only announces.
pub fn verdict() -> Option<Error> {
    VERDICT.get().and_then(|f| f())
}

/// The statement that was cancelled is over: whatever comes now is about another.
pub fn cancel_over() {
    ANSWERED.set(None);
}

/// Whether the backend was asked to stop what it does, while interrupts are held off; again, where a
/// request to cancel was answered.
pub fn stop_requested() -> bool {
    // SAFETY: flags set by signal handlers.
    let (ends, cancels) = unsafe {
        (
            (&raw const pg_sys::ProcDiePending).read_volatile() != 0,
            (&raw const pg_sys::QueryCancelPending).read_volatile() != 0,
        )
    };
    if cancels && ANSWERED.get().is_some_and(|at| at.elapsed() < ECHO) {
        forget_cancel();
        return ends;
    }
    ends || cancels
}

/// Forgets a request to cancel that came too late: what it was about has been decided. A request
/// to end the session stays.
pub fn forget_cancel() {
    // SAFETY: a flag that signal handlers set; nothing else is behind it.
    unsafe { (&raw mut pg_sys::QueryCancelPending).write_volatile(0) }
}

/// Readiness of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Position given by [`WaitSet::add`].
    pub position: i32,
    /// Data, end of file or an error is there.
    pub read: bool,
    /// The socket takes data.
    pub write: bool,
}

/// A PostgreSQL wait event set with the latch and postmaster death in it.
#[derive(Debug)]
pub struct WaitSet {
    raw: *mut pg_sys::WaitEventSet,
    sockets: usize,
}

fn mask(write: bool) -> u32 {
    pg_sys::WL_SOCKET_READABLE | if write { pg_sys::WL_SOCKET_WRITEABLE } else { 0 }
}

const MAX_READY: usize = 64;

impl WaitSet {
    /// A set for up to `capacity` sockets.
    pub fn new(capacity: usize) -> WaitSet {
        // SAFETY: the set lives in TopMemoryContext until it is dropped.
        unsafe {
            let raw = pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, (capacity + 2) as i32);
            let set = WaitSet { raw, sockets: 0 };
            let none = std::ptr::null_mut();
            pg_sys::AddWaitEventToSet(raw, pg_sys::WL_LATCH_SET, -1, pg_sys::MyLatch, none);
            if pg_sys::IsUnderPostmaster {
                let death = pg_sys::WL_EXIT_ON_PM_DEATH;
                pg_sys::AddWaitEventToSet(raw, death, -1, std::ptr::null_mut(), none);
            }
            set
        }
    }

    /// Adds a socket and gives back its position.
    pub fn add(&mut self, fd: i32, write: bool) -> i32 {
        self.sockets += 1;
        let none = std::ptr::null_mut();
        // SAFETY: the set has room as promised to `new`.
        unsafe { pg_sys::AddWaitEventToSet(self.raw, mask(write), fd, std::ptr::null_mut(), none) }
    }

    /// Changes what to wait for; costs nothing when it does not change.
    pub fn modify(&mut self, position: i32, write: bool) {
        // SAFETY: the position came from `add`.
        unsafe {
            pg_sys::ModifyWaitEvent(self.raw, position, mask(write), std::ptr::null_mut());
        }
    }

    /// Waits for sockets (timeout in milliseconds, -1 for none) and hands over those that are
    /// ready. Returns early, with nothing ready, when the latch was set without an interrupt
    /// that ends the statement.
    pub fn wait(&self, timeout_ms: i64, mut each: impl FnMut(Ready)) -> Result<()> {
        let mut events = [const { MaybeUninit::<pg_sys::WaitEvent>::uninit() }; MAX_READY];
        let room = self.sockets.saturating_add(1).min(MAX_READY) as i32;
        // SAFETY: the array has room for the events asked for.
        let n = unsafe {
            pg_sys::WaitEventSetWait(
                self.raw,
                timeout_ms,
                events.as_mut_ptr().cast(),
                room,
                pg_sys::PG_WAIT_EXTENSION,
            )
        };
        for e in events.iter().take(n.max(0) as usize) {
            // SAFETY: the server has filled in this many.
            let e = unsafe { e.assume_init_ref() };
            if e.events & pg_sys::WL_LATCH_SET != 0 {
                // SAFETY: our own latch.
                unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
                check_for_interrupts()?;
            } else {
                each(Ready {
                    position: e.pos,
                    read: e.events & pg_sys::WL_SOCKET_READABLE != 0,
                    write: e.events & pg_sys::WL_SOCKET_WRITEABLE != 0,
                });
            }
        }
        check_for_interrupts()
    }
}

impl Drop for WaitSet {
    fn drop(&mut self) {
        // SAFETY: freed once; the set came from CreateWaitEventSet.
        unsafe { pg_sys::FreeWaitEventSet(self.raw) }
    }
}
