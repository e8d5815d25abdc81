//! Snapshots that outlive the statement that took them, and what a snapshot sees.
//!
//! A node that runs several statements for one statement of the coordinator reads with one
//! snapshot in all of them: it is held under a number, and statements that only read use it as
//! long as [`read_with`] says so.

use super::{guard, scan, xact};
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys::{self, CmdType, Oid, QueryDesc, Snapshot};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Snapshots that a session can hold.
const MAX_HELD: usize = 1000;

/// A snapshot that is held until it is dropped or its (sub)transaction ends.
struct Held {
    id: i32,
    level: i32,
    snapshot: Snapshot,
}

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
    /// The one that statements read with, 0 for none.
    static READS_WITH: Cell<i32> = const { Cell::new(0) };
    /// The nesting level at which that was said.
    static SAID_AT: Cell<i32> = const { Cell::new(0) };
    /// Those that are kept to the end of the transaction.
    static MOMENTS: RefCell<Vec<Rc<Moment>>> = const { RefCell::new(Vec::new()) };
}

fn missing(id: i32) -> Error {
    let message = format!("this session does not hold a snapshot with number {id}");
    Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

/// Holds the snapshot of the running statement under a number, instead of an older one.
pub fn hold(id: i32) -> Result<()> {
    if id <= 0 {
        let message = "the number of a snapshot must be positive";
        return Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    drop_held(id);
    if HELD.with(|h| h.borrow().len()) >= MAX_HELD {
        let message = format!("a session cannot hold more than {MAX_HELD} snapshots");
        return Err(Error::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    // SAFETY: a function runs with an active snapshot; the owner lives as long as the transaction,
    // and `at_end` gives the snapshot back before it goes.
    let snapshot = guard::catch(|| unsafe {
        guard::call(|| {
            pg_sys::RegisterSnapshotOnOwner(
                pg_sys::GetActiveSnapshot(),
                pg_sys::TopTransactionResourceOwner,
            )
        })
    })?;
    HELD.with(|h| h.borrow_mut().push(Held { id, level: xact::nest_level(), snapshot }));
    Ok(())
}

/// Statements that only read use this snapshot from now on; 0 for their own again.
pub fn read_with(id: i32) -> Result<()> {
    if id != 0 && !HELD.with(|h| h.borrow().iter().any(|h| h.id == id)) {
        return Err(missing(id));
    }
    READS_WITH.with(|r| r.set(id));
    SAID_AT.with(|l| l.set(xact::nest_level()));
    Ok(())
}

/// Drops a snapshot; nothing happens when it is not held.
pub fn drop_held(id: i32) {
    drop_where(|h| h.id == id);
}

fn drop_where(f: impl Fn(&Held) -> bool) {
    let dropped: Vec<Held> = HELD.with(|h| {
        let mut held = h.borrow_mut();
        let (drop, keep) = std::mem::take(&mut *held).into_iter().partition(&f);
        *held = keep;
        drop
    });
    for h in dropped {
        if READS_WITH.with(Cell::get) == h.id {
            READS_WITH.with(|r| r.set(0));
        }
        // SAFETY: registered by `hold` with the same owner, which still exists.
        unsafe {
            pg_sys::UnregisterSnapshotFromOwner(h.snapshot, pg_sys::TopTransactionResourceOwner)
        }
    }
}

/// The transaction is about to commit: nothing is held any more.
pub fn before_commit() {
    if !HELD.with(|h| h.borrow().is_empty()) {
        drop_where(|_| true);
    }
    for moment in MOMENTS.with(|m| std::mem::take(&mut *m.borrow_mut())) {
        let snapshot = moment.0.replace(None);
        // SAFETY: registered by `Moment::now` with the same owner, which still exists.
        snapshot.into_iter().for_each(|s| unsafe {
            pg_sys::UnregisterSnapshotFromOwner(s.snapshot, pg_sys::TopTransactionResourceOwner)
        });
    }
}

/// The transaction was rolled back: the server lets the snapshots go.
pub fn after_abort() {
    READS_WITH.with(|r| r.set(0));
    HELD.with(|h| h.borrow_mut().clear());
    for moment in MOMENTS.with(|m| std::mem::take(&mut *m.borrow_mut())) {
        moment.0.set(None);
    }
}

/// The subtransaction of this level was rolled back: what was said within it is forgotten. One that
/// a statement makes for itself, as a function that catches an error does, changes nothing.
pub fn sub_aborted(level: i32) {
    if SAID_AT.with(Cell::get) >= level {
        READS_WITH.with(|r| r.set(0));
    }
    if !HELD.with(|h| h.borrow().is_empty()) {
        drop_where(|h| h.level >= level);
    }
}

/// Whether statements read with a held snapshot now.
pub fn is_reading() -> bool {
    READS_WITH.with(Cell::get) != 0
}

/// Gives a statement that only reads the snapshot that was chosen by [`read_with`].
///
/// # Safety
/// The statement must be about to start.
pub unsafe fn use_held(q: *mut QueryDesc) -> Result<()> {
    // SAFETY: the caller's promise; CreateQueryDesc has registered the snapshot with the owner
    // that is still the current one.
    unsafe {
        let stmt = (*q).plannedstmt;
        let reads = (*q).operation == CmdType::CMD_SELECT
            && !(*stmt).hasModifyingCTE
            && (*stmt).rowMarks.is_null();
        if !reads || (*q).snapshot.is_null() {
            return Ok(());
        }
        let id = READS_WITH.with(Cell::get);
        let held = HELD.with(|h| h.borrow().iter().find(|h| h.id == id).map(|h| h.snapshot));
        let held = held.ok_or_else(|| missing(id))?;
        replace(q, held);
    }
    Ok(())
}

/// Gives a statement another snapshot.
unsafe fn replace(q: *mut QueryDesc, snapshot: Snapshot) {
    // SAFETY: the statement is about to start; both are registered with the current owner.
    unsafe {
        guard::call(|| {
            let new = pg_sys::RegisterSnapshot(snapshot);
            pg_sys::UnregisterSnapshot((*q).snapshot);
            (*q).snapshot = new;
        })
    }
}

/// Gives a statement a snapshot of this moment. It still does not see what its own transaction has
/// done since the statement began.
///
/// # Safety
/// The statement must be about to start.
pub unsafe fn renew(q: *mut QueryDesc) {
    // SAFETY: the caller's promise; the new snapshot is a copy of its own.
    unsafe {
        let command = (*(*q).snapshot).curcid;
        let latest = guard::call(|| pg_sys::GetLatestSnapshot());
        replace(q, latest);
        (*(*q).snapshot).curcid = command;
    }
}

/// Runs `f` with a snapshot of the caller's as the active one.
///
/// # Safety
/// The snapshot must be registered.
pub unsafe fn with_active<R>(snapshot: Snapshot, f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: the caller's promise. After an error the (sub)transaction's end pops it.
    unsafe {
        guard::call(|| pg_sys::PushActiveSnapshot(snapshot));
        let result = f()?;
        guard::call(|| pg_sys::PopActiveSnapshot());
        Ok(result)
    }
}

/// A moment of the running transaction: what this server's transactions had done by then.
pub struct Moment(Cell<Option<Fixed>>);

impl Moment {
    /// This one.
    pub fn now() -> Result<Rc<Moment>> {
        // SAFETY: inside a transaction; `before_commit` gives the snapshot back before its owner
        // goes, and after an abort the owner does.
        let snapshot = guard::catch(|| unsafe {
            guard::call(|| {
                let latest = pg_sys::GetLatestSnapshot();
                pg_sys::RegisterSnapshotOnOwner(latest, pg_sys::TopTransactionResourceOwner)
            })
        })?;
        let moment = Rc::new(Moment(Cell::new(Some(Fixed::new(snapshot)))));
        MOMENTS.with(|m| m.borrow_mut().push(moment.clone()));
        Ok(moment)
    }

    /// Its snapshot; `None` when the transaction is over.
    pub fn snapshot(&self) -> Option<Fixed> {
        self.0.get()
    }
}

/// The snapshot of a transaction that has only one, or of a moment.
#[derive(Clone, Copy)]
pub struct Fixed {
    snapshot: Snapshot,
    xmin: u64,
}

impl Fixed {
    /// The running transaction's; it has to be REPEATABLE READ or SERIALIZABLE.
    pub fn of_transaction() -> Result<Fixed> {
        // SAFETY: inside a transaction; such a transaction's snapshot stays to its end.
        let snapshot = guard::catch(|| unsafe { guard::call(|| pg_sys::GetTransactionSnapshot()) });
        Ok(Fixed::new(snapshot?))
    }

    /// A statement's.
    ///
    /// # Safety
    /// The snapshot must stay registered as long as this is used.
    pub unsafe fn of_statement(snapshot: Snapshot) -> Fixed {
        Fixed::new(snapshot)
    }

    fn new(snapshot: Snapshot) -> Fixed {
        // SAFETY: it was just made, or the caller's promise.
        let (xmin, next) = unsafe { ((*snapshot).xmin, pg_sys::ReadNextFullTransactionId().value) };
        let low = u64::from(u32::from(xmin));
        let epoch = next & !0xFFFF_FFFF;
        let xmin = if low <= next & 0xFFFF_FFFF {
            epoch | low
        } else {
            (epoch | low).wrapping_sub(1 << 32)
        };
        Fixed { snapshot, xmin }
    }

    /// Rows of a catalog as they were then; see [`scan::rows`].
    pub fn rows(
        &self,
        table: Oid,
        index: Option<Oid>,
        keys: &[scan::Key],
        each: impl FnMut(&scan::Row),
    ) {
        // SAFETY: the snapshot is the transaction's, or registered.
        unsafe { scan::rows_as_of(self.snapshot, table, index, keys, each) }
    }

    /// Whether everything before this id (with its epoch) is visible, if it has committed.
    pub fn is_past(&self, full_id: u64) -> bool {
        full_id < self.xmin
    }

    /// Whether a transaction that has committed, by its id with epoch, is visible.
    pub fn sees(&self, full_id: u64) -> bool {
        let id = pg_sys::TransactionId::from(full_id as u32);
        // SAFETY: looks at the snapshot and, for subtransactions, at pg_subtrans, which is kept
        // for everything from its xmin on.
        self.is_past(full_id) || !unsafe { pg_sys::XidInMVCCSnapshot(id, self.snapshot) }
    }
}
