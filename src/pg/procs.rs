//! Backends of this server as its shared memory knows them, and who waits for whose locks.

use super::fmgr::array_elements;
use super::{guard, spi};
use crate::error::Result;
use pgrx::pg_sys::{self, Datum, PGPROC};
use std::ptr::addr_of_mut;

/// A backend waits for another one's lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockWait {
    /// Who waits; for a parallel worker, its leader.
    pub waiter: i32,
    /// When that began: tells this wait from a later one of the same backend.
    pub since: i64,
    /// For whom; 0 for a prepared transaction.
    pub blocker: i32,
    /// Name of the prepared transaction.
    pub prepared: Option<String>,
}

/// Number of backends that this server can have.
pub fn max_backends() -> usize {
    // SAFETY: a plain integer, set before shared memory is asked for.
    usize::try_from(unsafe { pg_sys::MaxBackends }).unwrap_or(0)
}

/// Place of this backend among all, below [`max_backends`].
pub fn my_place() -> Option<usize> {
    // SAFETY: null outside of backends, else this process's entry.
    unsafe { pg_sys::MyProc.as_ref() }.and_then(|p| usize::try_from(p.pgprocno).ok())
}

/// Lets a backend that waits for its client run an empty transaction, with the callbacks of its
/// commit; one that is busy does so when it waits next. This is what PostgreSQL does to a backend
/// that is late in reading invalidations.
pub fn wake_idle(pid: i32) {
    // SAFETY: sends a signal to a backend of this server, found by its process id.
    unsafe {
        pg_sys::SendProcSignal(
            pid,
            pg_sys::ProcSignalReason::PROCSIG_CATCHUP_INTERRUPT,
            pg_sys::InvalidBackendId,
        );
    }
}

fn transaction(proc: &PGPROC) -> u64 {
    let lxid = u64::from(proc.lxid);
    let backend = u64::try_from(proc.backendId).unwrap_or(0);
    if lxid == 0 {
        return 0;
    }
    (backend << 32) | lxid
}

/// Number of this backend's transaction: its place and a counter, as in a virtual transaction id.
pub fn my_transaction() -> u64 {
    // SAFETY: null outside of backends, else this process's entry.
    unsafe { pg_sys::MyProc.as_ref() }.map_or(0, transaction)
}

/// Number of this backend's transaction that no other of the same process has had: a counter, and
/// when the server started, since both count anew then. Other than an id of the transaction it
/// costs nothing, neither now nor when it ends.
pub fn my_run() -> u64 {
    // SAFETY: null outside of backends, else this process's entry.
    run_number(unsafe { pg_sys::MyProc.as_ref() }.map_or(0, |p| p.lxid))
}

fn run_number(lxid: u32) -> u64 {
    // SAFETY: a plain integer, set when the server started. Seconds of it will do.
    let started = unsafe { pg_sys::PgStartTime } / 1_000_000;
    (u64::from(started as u32) << 32) | u64::from(lxid)
}

/// Whether a process is still in the transaction whose number [`my_run`] was.
pub fn runs(pid: i32, number: u64) -> bool {
    let same = |place| {
        let Some(proc) = place_of(place) else { return false };
        // SAFETY: shared memory that stays. The transaction's number goes before the process does.
        unsafe {
            let lxid = addr_of_mut!((*proc).lxid).read_volatile();
            let owner = addr_of_mut!((*proc).pid).read_volatile();
            owner == pid && lxid != 0 && run_number(lxid) == number
        }
    };
    (0..max_backends()).any(same)
}

/// The lowest id, with its epoch, of those that running transactions have and of those that are not
/// handed out yet. Prepared transactions do not count.
pub fn first_running_id() -> u64 {
    // SAFETY: reads shared memory. What has an id below this one now had it already then.
    let next = unsafe { pg_sys::ReadNextFullTransactionId().value };
    let distance = |place| {
        // SAFETY: shared memory that stays.
        let id = place_of(place).map(|p| unsafe { addr_of_mut!((*p).xid).read_volatile() })?;
        let before = (next as u32).wrapping_sub(u32::from(id));
        // What is ahead was handed out just now.
        (u32::from(id) >= 3 && before < 1 << 31).then_some(u64::from(before))
    };
    next.saturating_sub((0..max_backends()).filter_map(distance).max().unwrap_or(0))
}

/// When this backend's transaction began, in microseconds of PostgreSQL's epoch.
pub fn my_transaction_start() -> i64 {
    // SAFETY: reads the transaction state.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// What is in a backend's place now.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Process id.
    pub pid: i32,
    /// Number of its transaction, 0 outside of one.
    pub transaction: u64,
    /// It waits for a lock, or in an extension (as for another node).
    pub waits: bool,
}

/// The backend in a place; `None` when there is none.
pub fn at_place(place: usize) -> Option<Backend> {
    let proc = place_of(place)?;
    // SAFETY: shared memory that stays; a torn look is corrected by the next one.
    let (copy, info) = unsafe {
        let info = addr_of_mut!((*proc).wait_event_info).read_volatile();
        (&*proc, info)
    };
    let class = info & 0xFF00_0000;
    (copy.pid != 0).then(|| Backend {
        pid: copy.pid,
        transaction: transaction(copy),
        waits: class == pg_sys::PG_WAIT_LOCK || class == pg_sys::PG_WAIT_EXTENSION,
    })
}

fn place_of(place: usize) -> Option<*mut PGPROC> {
    // SAFETY: the header is set in every process; the place is below the number of entries.
    unsafe {
        let all = pg_sys::ProcGlobal.as_ref()?;
        (place < max_backends()).then(|| all.allProcs.add(place))
    }
}

/// Wakes a backend, so that it looks around.
pub fn wake(place: usize) {
    if let Some(proc) = place_of(place) {
        // SAFETY: latches of backends may be set by anybody at any time.
        unsafe { pg_sys::SetLatch(addr_of_mut!((*proc).procLatch)) }
    }
}

/// Cancels what a backend does, as `pg_cancel_backend`.
pub fn interrupt(pid: i32) {
    // SAFETY: a signal to a process of this server.
    unsafe {
        libc::kill(pid, libc::SIGINT);
    }
}

/// Waits for locks that cannot be part of a deadlock: they are held for moments only.
fn is_momentary(info: u32) -> bool {
    let kind = info & 0x00FF_FFFF;
    kind == pg_sys::LockTagType::LOCKTAG_RELATION_EXTEND
        || kind == pg_sys::LockTagType::LOCKTAG_DATABASE_FROZEN_IDS
        || kind == pg_sys::LockTagType::LOCKTAG_PAGE
}

/// The process to ask about, its leader, and since when it waits.
fn waiting(place: usize) -> Option<(i32, i32, i64)> {
    let proc = place_of(place)?;
    // SAFETY: shared memory that stays; what changes meanwhile is noticed by `since`.
    unsafe {
        let since = addr_of_mut!((*proc).waitStart.value).read_volatile();
        let info = addr_of_mut!((*proc).wait_event_info).read_volatile();
        let pid = (*proc).pid;
        if since == 0
            || pid == 0
            || (*proc).databaseId != pg_sys::MyDatabaseId
            || info & 0xFF00_0000 != pg_sys::PG_WAIT_LOCK
            || is_momentary(info)
        {
            return None;
        }
        let leader = addr_of_mut!((*proc).lockGroupLeader).read_volatile();
        let leader = if leader.is_null() { pid } else { (*leader).pid };
        Some((pid, leader, i64::try_from(since).unwrap_or(i64::MAX)))
    }
}

/// Who waits for whom in this database. Costs a look at each backend's entry while nobody waits,
/// and never waits itself.
pub fn lock_waits() -> Result<Vec<LockWait>> {
    let mut waits = Vec::new();
    for place in 0..max_backends() {
        let Some((pid, leader, since)) = waiting(place) else { continue };
        let blockers = blocking(pid)?;
        // Not a mixture of two waits.
        if waiting(place) != Some((pid, leader, since)) {
            continue;
        }
        for blocker in blockers {
            let names = if blocker == 0 { prepared_blocking(pid)? } else { vec![None] };
            for prepared in names {
                let wait = LockWait { waiter: leader, since, blocker, prepared };
                if !waits.contains(&wait) {
                    waits.push(wait);
                }
            }
        }
    }
    Ok(waits)
}

/// `pg_blocking_pids`: who holds a conflicting lock or stands before it in the queue.
fn blocking(pid: i32) -> Result<Vec<i32>> {
    let call = || {
        let function = pg_sys::Oid::from(pg_sys::F_PG_BLOCKING_PIDS);
        // SAFETY: a built-in function of one integer; its errors come back as errors.
        let pids = unsafe {
            guard::call(|| {
                pg_sys::OidFunctionCall1Coll(function, pg_sys::Oid::INVALID, Datum::from(pid))
            })
        };
        array_elements(pids, pg_sys::INT4OID)
    };
    let pids = guard::catch(call)?;
    Ok(pids.into_iter().flatten().map(|d| d.value() as i32).collect())
}

/// Names of the prepared transactions whose locks a backend waits for.
fn prepared_blocking(pid: i32) -> Result<Vec<Option<String>>> {
    let sql = "SELECT DISTINCT p.gid FROM pg_catalog.pg_locks w \
        JOIN pg_catalog.pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype \
            AND ROW(h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid::text, \
                h.classid, h.objid, h.objsubid) IS NOT DISTINCT FROM \
                ROW(w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid::text, \
                w.classid, w.objid, w.objsubid) \
        JOIN pg_catalog.pg_locks x ON x.virtualtransaction = h.virtualtransaction \
            AND x.locktype = 'transactionid' AND x.granted AND x.pid IS NULL \
        JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid \
        WHERE w.pid = $1 AND NOT w.granted";
    let rows = spi::query(sql, &[spi::i32(pid)])?;
    Ok(rows.into_iter().filter_map(|r| r.into_iter().next()).collect())
}
