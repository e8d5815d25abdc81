//! `citus_stat_counters`: connections and queries per database since the last reset.

use crate::pg::shmem::{Slot, Table};
use crate::settings;
use std::sync::atomic::Ordering::Relaxed;

/// What is counted; the number is the word in the slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// A connection to a node was opened.
    ConnectionSucceeded = 1,
    /// A connection to a node could not be opened.
    ConnectionFailed = 2,
    /// A kept connection was used again.
    ConnectionReused = 3,
    /// A query ran on one shard.
    QuerySingleShard = 4,
    /// A query ran on more than one shard.
    QueryMultiShard = 5,
}

/// Word of the time of the last reset (microseconds of PostgreSQL's epoch, 0 for never).
const RESET: usize = 6;

/// A slot: OID of the database (0 while free), the counters, the time of the reset.
type Row = Slot<7>;

/// Databases that can be counted; further ones are not.
const DATABASES: usize = 1024;

/// The table in shared memory. Slots are taken for good, so it needs no lock.
pub static TABLE: Table<7> = Table::new(c"citus_stat_counters", || DATABASES);

/// Counts, when `citus.enable_stat_counters` is on.
pub fn count(what: Counter) {
    if !settings::enable_stat_counters() {
        return;
    }
    if let Some(slot) = slot_of(crate::pg::session::database()) {
        slot[what as usize].fetch_add(1, Relaxed);
    }
}

/// The slot of a database, taken now if it has none.
fn slot_of(database: u32) -> Option<&'static Row> {
    let database = u64::from(database);
    TABLE.slots().iter().find(|slot| {
        let owner = slot[0].load(Relaxed);
        owner == database
            || (owner == 0
                && match slot[0].compare_exchange(0, database, Relaxed, Relaxed) {
                    Ok(_) => true,
                    // Another process took it, perhaps for the same database.
                    Err(now) => now == database,
                })
    })
}

/// Counters of one database.
pub struct Counts {
    /// OID of the database.
    pub database: u32,
    /// The counters in the order of [`Counter`].
    pub values: [u64; 5],
    /// When they were reset, in microseconds of PostgreSQL's epoch; 0 for never.
    pub reset: i64,
}

/// Counters of one database, or of all with 0.
pub fn all(database: u32) -> Vec<Counts> {
    TABLE
        .slots()
        .iter()
        .map(super::read)
        .take_while(|w| w[0] != 0)
        .filter(|w| database == 0 || w[0] == u64::from(database))
        .map(|[db, a, b, c, d, e, reset]| Counts {
            database: db as u32,
            values: [a, b, c, d, e],
            reset: reset as i64,
        })
        .collect()
}

/// Sets the counters of a database to zero.
pub fn reset(database: u32, now: i64) {
    if let Some(slot) = slot_of(database) {
        slot[1..RESET].iter().for_each(|w| w.store(0, Relaxed));
        slot[RESET].store(now as u64, Relaxed);
    }
}
