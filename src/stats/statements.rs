//! `citus_stat_statements`: calls and times per query, user, database, executor and tenant.

use crate::pg::shmem::{Slot, Table};
use crate::settings::{self, Track};
use std::sync::atomic::Ordering::Relaxed;

/// How a query was executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Executor {
    /// Tasks on shards.
    Adaptive = 1,
    /// INSERT ... SELECT whose rows went through this node.
    InsertSelect = 2,
}

impl Executor {
    /// The name that users see for a number.
    pub fn name(number: i64) -> Option<&'static str> {
        match number {
            1 => Some("adaptive"),
            2 => Some("insert-select"),
            _ => None,
        }
    }
}

/// Words of a key: query id, user and database, executor, then the tenant.
const KEY: usize = 3 + TENANT;
/// Words of the tenant's value; a longer one is cut.
const TENANT: usize = 8;
/// Words after the key: calls, then sums in nanoseconds resp. bits of doubles in milliseconds.
const CALLS: usize = KEY;
const MIN: usize = KEY + 1;
const MAX: usize = KEY + 2;
const MEAN: usize = KEY + 3;
const SQUARES: usize = KEY + 4;
const WORDS: usize = KEY + 5;

/// A slot is free while its calls are zero.
type Row = Slot<WORDS>;

/// Share of the slots that are used before the rarest entries are dropped.
const FULL: f64 = 0.8;

/// The table in shared memory: open addressing, guarded by its lock.
pub static TABLE: Table<WORDS> = Table::new(c"citus_stat_statements", || {
    (f64::from(settings::stat_statements_max()) / FULL) as usize + 1
});

/// What one entry knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// PostgreSQL's query id.
    pub query: u64,
    /// Who ran it.
    pub user: u32,
    /// Where.
    pub database: u32,
    /// Number of an [`Executor`].
    pub executor: i64,
    /// The tenant's value; empty for queries on many shards.
    pub tenant: String,
    /// Number of executions.
    pub calls: u64,
    /// Shortest, longest and mean time in milliseconds.
    pub times: [f64; 3],
    /// Standard deviation of the times in milliseconds.
    pub stddev: f64,
}

/// Records an execution, when `citus.stat_statements_track` says so and the query has an id.
pub fn record(query: u64, executor: Executor, tenant: Option<&str>, milliseconds: f64) {
    if query == 0 || settings::stat_statements_track() == Track::None {
        return;
    }
    let key = key(query, executor, tenant.unwrap_or_default());
    let slots = TABLE.slots();
    TABLE.locked(true, || {
        let slot = match find(slots, &key) {
            Some(slot) => slot,
            None => {
                drop_rarest(slots);
                match find(slots, &key) {
                    Some(slot) => slot,
                    None => return,
                }
            }
        };
        add(slot, &key, milliseconds);
    });
}

fn key(query: u64, executor: Executor, tenant: &str) -> [u64; KEY] {
    let who = (u64::from(u32::from(crate::pg::session::user())) << 32)
        | u64::from(crate::pg::session::database());
    let tenant = super::pack::<TENANT>(tenant);
    let mut head = [query, who, executor as u64].into_iter().chain(tenant);
    std::array::from_fn(|_| head.next().unwrap_or_default())
}

/// The slot of a key, or the free one where it belongs; `None` when the table is full.
fn find<'a>(slots: &'a [Row], key: &[u64; KEY]) -> Option<&'a Row> {
    let start = key.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, w| {
        (h ^ w).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    });
    let len = slots.len().max(1);
    let start = (start % len as u64) as usize;
    // A long search means a crowded table: it is thinned out then.
    (0..len.min(64)).map(|i| (start + i) % len).filter_map(|i| slots.get(i)).find(|slot| {
        slot[CALLS].load(Relaxed) == 0 || slot.iter().zip(key).all(|(a, b)| a.load(Relaxed) == *b)
    })
}

/// Counts one execution by Welford's method.
fn add(slot: &Row, key: &[u64; KEY], ms: f64) {
    let mut words = super::read(slot);
    let get = |w: &[u64; WORDS], i: usize| f64::from_bits(w[i]);
    let calls = words[CALLS] + 1;
    if calls == 1 {
        words = [0; WORDS];
        words.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        (words[MIN], words[MAX], words[MEAN]) = (ms.to_bits(), ms.to_bits(), ms.to_bits());
    } else {
        let mean = get(&words, MEAN);
        let new_mean = mean + (ms - mean) / calls as f64;
        words[SQUARES] = (get(&words, SQUARES) + (ms - mean) * (ms - new_mean)).to_bits();
        words[MEAN] = new_mean.to_bits();
        words[MIN] = get(&words, MIN).min(ms).to_bits();
        words[MAX] = get(&words, MAX).max(ms).to_bits();
    }
    words[CALLS] = calls;
    super::write(slot, &words);
}

/// Makes room: drops the tenth of the entries that was called least, and puts the others where
/// they belong now. The caller holds the lock.
fn drop_rarest(slots: &[Row]) {
    let mut entries: Vec<[u64; WORDS]> =
        slots.iter().map(super::read).filter(|w| w[CALLS] != 0).collect();
    entries.sort_unstable_by_key(|w| std::cmp::Reverse(w[CALLS]));
    entries.truncate(entries.len() - entries.len() / 10 - usize::from(!entries.is_empty()));
    slots.iter().for_each(|s| s[CALLS].store(0, Relaxed));
    for words in entries {
        let key: [u64; KEY] = std::array::from_fn(|i| words[i]);
        if let Some(slot) = find(slots, &key) {
            super::write(slot, &words);
        }
    }
}

/// All entries.
pub fn all() -> Vec<Entry> {
    let slots = TABLE.slots();
    let rows = TABLE.locked(false, || {
        slots.iter().map(super::read).filter(|w| w[CALLS] != 0).collect::<Vec<_>>()
    });
    rows.unwrap_or_default()
        .into_iter()
        .map(|w| Entry {
            query: w[0],
            user: (w[1] >> 32) as u32,
            database: w[1] as u32,
            executor: w[2] as i64,
            tenant: super::unpack(&w[3..KEY]),
            calls: w[CALLS],
            times: [MIN, MAX, MEAN].map(|i| f64::from_bits(w[i])),
            stddev: (f64::from_bits(w[SQUARES]) / w[CALLS] as f64).max(0.0).sqrt(),
        })
        .collect()
}

/// Forgets everything.
pub fn reset() {
    let slots = TABLE.slots();
    TABLE.locked(true, || slots.iter().for_each(|s| s[CALLS].store(0, Relaxed)));
}
