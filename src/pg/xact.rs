//! The local transaction, as the layer above remote transactions needs to see it.

use super::guard;
use pgrx::pg_sys::{self, Datum};
use std::cell::{Cell, RefCell};

/// What happens to the transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// About to commit; errors are still possible.
    PreCommit,
    /// Committed; errors are not possible any more.
    Commit,
    /// Rolled back; errors are not possible.
    Abort,
    /// About to be prepared by the user; errors are still possible.
    PrePrepare,
    /// Prepared.
    Prepare,
}

/// What happens to a subtransaction; the nesting level is still that of the subtransaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubEvent {
    /// Its work belongs to its parent from now on.
    Commit,
    /// It was rolled back.
    Abort,
}

/// Functions to call on events.
#[derive(Clone, Copy)]
pub struct Callbacks {
    /// For transactions.
    pub top: fn(Event),
    /// For subtransactions, with their nesting level.
    pub sub: fn(SubEvent, i32),
}

static CALLBACKS: std::sync::OnceLock<Callbacks> = std::sync::OnceLock::new();

/// Registers the callbacks; once per process.
pub fn register(callbacks: Callbacks) {
    if CALLBACKS.set(callbacks).is_ok() {
        // SAFETY: the callbacks live as long as the process.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_top), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_sub), std::ptr::null_mut());
        }
    }
}

unsafe extern "C-unwind" fn on_top(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    use pg_sys::XactEvent as E;
    let event = match event {
        E::XACT_EVENT_PRE_COMMIT => Event::PreCommit,
        E::XACT_EVENT_COMMIT => Event::Commit,
        E::XACT_EVENT_ABORT => Event::Abort,
        E::XACT_EVENT_PRE_PREPARE => Event::PrePrepare,
        E::XACT_EVENT_PREPARE => Event::Prepare,
        // Parallel workers have no sessions.
        _ => return,
    };
    guard::entry(|| {
        if let Some(c) = CALLBACKS.get() {
            (c.top)(event);
        }
    })
}

unsafe extern "C-unwind" fn on_sub(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent as E;
    let event = match event {
        E::SUBXACT_EVENT_COMMIT_SUB => SubEvent::Commit,
        E::SUBXACT_EVENT_ABORT_SUB => SubEvent::Abort,
        _ => return,
    };
    guard::entry(|| {
        if let Some(c) = CALLBACKS.get() {
            (c.sub)(event, nest_level());
        }
    })
}

static AT_END: std::sync::OnceLock<fn(bool)> = std::sync::OnceLock::new();

/// Calls `f` after each transaction, with whether it was committed; it must not raise. One
/// function per process can be registered.
pub fn at_end(f: fn(bool)) {
    unsafe extern "C-unwind" fn run(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
        let committed = match event {
            pg_sys::XactEvent::XACT_EVENT_COMMIT => true,
            pg_sys::XactEvent::XACT_EVENT_ABORT | pg_sys::XactEvent::XACT_EVENT_PREPARE => false,
            _ => return,
        };
        guard::entry(|| {
            if let Some(f) = AT_END.get() {
                f(committed);
            }
        })
    }
    if AT_END.set(f).is_ok() {
        // SAFETY: the callback lives as long as the process.
        unsafe { pg_sys::RegisterXactCallback(Some(run), std::ptr::null_mut()) };
    }
}

/// The commit of the running transaction waits until it is on disk, whatever
/// `synchronous_commit` says: others will act on it.
pub fn force_durable() {
    // SAFETY: sets a flag of the transaction.
    unsafe { pg_sys::ForceSyncCommit() }
}

thread_local! {
    static AT_EXIT: RefCell<Vec<fn()>> = const { RefCell::new(Vec::new()) };
    static EXIT_CODE: Cell<i32> = const { Cell::new(0) };
}

/// Runs `f` when the process ends in an orderly way, before it leaves shared memory.
pub fn at_exit(f: fn()) {
    extern "C-unwind" fn run(code: std::ffi::c_int, _arg: Datum) {
        guard::entry(|| {
            EXIT_CODE.with(|c| c.set(code));
            for f in AT_EXIT.with(|a| a.take()) {
                f();
            }
        })
    }
    let first = AT_EXIT.with(|a| {
        let mut a = a.borrow_mut();
        a.push(f);
        a.len() == 1
    });
    if first {
        // SAFETY: the callback lives as long as the process.
        unsafe { pg_sys::before_shmem_exit(Some(run), Datum::from(0usize)) };
    }
}

/// Whether the process ends because its client has left, and not because of an error or because it
/// was told to; for what [`at_exit`] runs.
pub fn ends_normally() -> bool {
    EXIT_CODE.with(Cell::get) == 0
}

/// 1 in a transaction, 2 in its first savepoint and so on; 0 outside.
pub fn nest_level() -> i32 {
    // SAFETY: reads the transaction state.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

/// In a transaction block, explicit or implicit: statements that a client sends one behind the other
/// without a Sync between them are one transaction, too.
pub fn in_block() -> bool {
    // SAFETY: reads the transaction state.
    unsafe { pg_sys::IsTransactionBlock() || is_pipelined() }
}

/// The statement follows another one without a Sync between them.
fn is_pipelined() -> bool {
    // SAFETY: a plain variable of the transaction state.
    unsafe { (pg_sys::MyXactFlags as u32) & pg_sys::XACT_FLAGS_PIPELINING != 0 }
}

/// Whether the transaction has written locally (it has an id).
pub fn has_written() -> bool {
    // SAFETY: reads the transaction state.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

thread_local! {
    static NOTIFIES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The transaction may send notifications with its commit.
pub fn may_notify(yes: bool) {
    NOTIFIES.set(yes);
}

/// Gives a transaction that may send notifications an id. They are queued late in its commit, for
/// which it waits for others and can fail: so it must not be somebody else who decides about it.
pub fn count_notifications() {
    if NOTIFIES.get() {
        full_id();
    }
}

/// The transaction's id with its epoch; assigns one when there is none.
pub fn full_id() -> u64 {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::GetTopFullTransactionId().value }
}

/// Whether a transaction of this server, by its id with epoch, is still running.
pub fn is_running(full_id: u64) -> bool {
    // SAFETY: looks at shared memory only; ids of another epoch are not running.
    unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        let recent = full_id < next && next - full_id < 1 << 31;
        recent && pg_sys::TransactionIdIsInProgress(pg_sys::TransactionId::from(full_id as u32))
    }
}

/// Turns ids of transactions that have begun into ids with their epoch; 0 for those that are too
/// old to have one.
pub fn full_ids() -> impl Fn(u32) -> u64 {
    // SAFETY: reads shared memory.
    let next = unsafe { pg_sys::ReadNextFullTransactionId().value };
    move |id| {
        // The ids before the first of a transaction have meanings of their own.
        if id < 3 {
            return 0;
        }
        let same = (next & !0xFFFF_FFFF) | u64::from(id);
        // What is ahead of the newest is from the epoch before.
        if same < next {
            same
        } else {
            same.wrapping_sub(1 << 32)
        }
    }
}

/// Whether an id, with its epoch, is the running transaction's own.
pub fn is_own(full_id: u64) -> bool {
    // SAFETY: reads the transaction state.
    unsafe {
        let id = pg_sys::TransactionId::from(full_id as u32);
        pg_sys::TransactionIdIsCurrentTransactionId(id)
    }
}

/// Whether a parallel worker runs this.
pub fn in_parallel_worker() -> bool {
    // SAFETY: a plain integer; -1 outside of parallel workers.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}

/// Whether the process is on its way out.
pub fn exiting() -> bool {
    // SAFETY: a plain flag.
    unsafe { pg_sys::proc_exit_inprogress }
}

/// Whether a statement goes on after what ends now: an EXCEPTION block, a procedure.
pub fn is_within_statement() -> bool {
    // SAFETY: a plain pointer that is only compared.
    unsafe { !pg_sys::ActivePortal.is_null() }
}

/// How the transaction runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Characteristics {
    /// SQL name of the isolation level.
    pub isolation: &'static str,
    /// Read only.
    pub read_only: bool,
    /// Deferrable.
    pub deferrable: bool,
}

impl Characteristics {
    /// Whether all statements are on their own: READ COMMITTED, READ WRITE.
    pub fn is_plain(&self) -> bool {
        self.isolation == "READ COMMITTED" && !self.read_only
    }
}

/// How the running transaction runs.
pub fn characteristics() -> Characteristics {
    // SAFETY: plain variables of the transaction state.
    unsafe {
        Characteristics {
            isolation: match pg_sys::XactIsoLevel as u32 {
                pg_sys::XACT_READ_UNCOMMITTED => "READ UNCOMMITTED",
                pg_sys::XACT_REPEATABLE_READ => "REPEATABLE READ",
                pg_sys::XACT_SERIALIZABLE => "SERIALIZABLE",
                _ => "READ COMMITTED",
            },
            read_only: pg_sys::XactReadOnly,
            deferrable: pg_sys::XactDeferrable,
        }
    }
}

/// Whether all statements of the transaction read with the same snapshot.
pub fn has_one_snapshot() -> bool {
    // SAFETY: a plain variable of the transaction state.
    unsafe { pg_sys::XactIsoLevel as u32 >= pg_sys::XACT_REPEATABLE_READ }
}

extern "C-unwind" {
    fn pq_buffer_has_data() -> bool;
    fn pq_peekbyte() -> std::ffi::c_int;
}

/// Whether the client can no longer make the running statement part of something bigger: it came
/// as a simple query, or the next message is its Sync.
pub fn statement_is_alone() -> bool {
    // SAFETY: looks at the list of portals; peeking at a byte that is already in the buffer
    // does not wait.
    unsafe {
        if pg_sys::whereToSendOutput != pg_sys::CommandDest::DestRemote || is_pipelined() {
            return false;
        }
        // Only the simple protocol makes an unnamed portal that is not visible.
        let unnamed = pg_sys::GetPortalByName(c"".as_ptr());
        if !unnamed.is_null() && !(*unnamed).visible {
            return true;
        }
        pq_buffer_has_data() && pq_peekbyte() == i32::from(b'S')
    }
}

/// Commits the running transaction and begins a new one. Only for statements that run outside of
/// transaction blocks and manage transactions themselves.
pub fn commit_and_start() {
    // SAFETY: what the caller keeps lives outside of the transaction's memory.
    unsafe {
        guard::call(|| {
            while pg_sys::ActiveSnapshotSet() {
                pg_sys::PopActiveSnapshot();
            }
            pg_sys::CommitTransactionCommand();
            pg_sys::StartTransactionCommand();
            // As the server has it when it starts a statement: memory that outlives transactions.
            if !pg_sys::PortalContext.is_null() {
                pg_sys::CurrentMemoryContext = pg_sys::PortalContext;
            }
        })
    }
}

/// Makes sure that there is an active snapshot, as a statement finds one when the server starts it.
pub fn ensure_snapshot() {
    // SAFETY: inside a transaction; the portal pops what is left.
    unsafe {
        guard::call(|| {
            if !pg_sys::ActiveSnapshotSet() {
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            }
        })
    }
}
