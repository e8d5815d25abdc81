//! Locks on numbers (shards, tables, co-location groups) in this server's lock manager.
//!
//! They are of the kind of advisory locks, in classes of their own, so that no advisory lock of a
//! user is ever the same. Waiting for one reacts to cancel, `lock_timeout` and `statement_timeout`,
//! is seen in `pg_locks` and takes part in the detection of deadlocks, here and over nodes.

use super::{guard, guc, wait};
use crate::error::Result;
use pgrx::pg_sys;
use std::time::{Duration, Instant};

/// Between two attempts of [`try_lock`].
const PAUSE_MS: i64 = 5;

/// What a number stands for. The values are `objsubid` in `pg_locks`; PostgreSQL's own functions
/// use 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// All shards of a table, by its OID.
    Table = 21,
    /// A shard, by its id.
    Shard = 22,
    /// The states of placements of a co-location group.
    Placements = 23,
}

/// Who may go on at the same time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something is added to a part.
    PartShared,
    /// A part is changed.
    Part,
    /// Something is added to any part: others may add, too.
    Shared,
    /// Everything is changed: nobody else.
    Exclusive,
}

impl Level {
    /// PostgreSQL's lock mode with the same conflicts.
    fn mode(self) -> u32 {
        match self {
            Level::PartShared => pg_sys::RowShareLock,
            Level::Part => pg_sys::RowExclusiveLock,
            Level::Shared => pg_sys::ShareLock,
            Level::Exclusive => pg_sys::ExclusiveLock,
        }
    }
}

/// Takes a lock until the end of the transaction.
pub fn lock(class: Class, number: u64, level: Level) {
    acquire(class, number, level, false);
}

/// Until when a statement that shall not wait waits for locks: longer than transactions that get on with
/// their work have them (`deadlock_timeout`).
pub fn deadline() -> Instant {
    Instant::now() + Duration::from_millis(guc::deadlock_timeout().max(0) as u64)
}

/// Takes a lock until the end of the transaction. False when others have it until the deadline.
pub fn try_lock(class: Class, number: u64, level: Level, deadline: Instant) -> Result<bool> {
    if acquire(class, number, level, true) {
        return Ok(true);
    }
    let pause = wait::WaitSet::new(0);
    while Instant::now() < deadline {
        pause.wait(PAUSE_MS, |_| {})?;
        wait::check_for_interrupts()?;
        if acquire(class, number, level, true) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn acquire(class: Class, number: u64, level: Level, nowait: bool) -> bool {
    // SAFETY: reads a global that is set since the connection was made.
    let database = unsafe { pg_sys::MyDatabaseId };
    let tag = pg_sys::LOCKTAG {
        locktag_field1: u32::from(database),
        locktag_field2: (number >> 32) as u32,
        locktag_field3: number as u32,
        locktag_field4: class as u16,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    };
    let mode = level.mode() as i32;
    // SAFETY: waits for the lock; errors become panics. The lock is the transaction's.
    let result = unsafe { guard::call(|| pg_sys::LockAcquire(&tag, mode, false, nowait)) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}
