//! `citus_stat_tenants`: queries and CPU time of the busiest tenants in this and the last period.
//!
//! A tenant is a value of a distribution column in a colocation group. More tenants are tracked
//! than shown, so that one that becomes busy is known before it is.

use crate::pg::shmem::{Slot, Table};
use crate::settings::{self, Track};
use std::sync::atomic::Ordering::Relaxed;

/// Words of the tenant's value; a longer one is cut.
const VALUE: usize = 13;
/// Words of a key: database and colocation group, then the value.
const KEY: usize = 1 + VALUE;
/// Number of the period that the counters belong to; 0 marks a free slot.
const PERIOD: usize = KEY;
const READS: usize = KEY + 1;
const LAST_READS: usize = KEY + 2;
const QUERIES: usize = KEY + 3;
const LAST_QUERIES: usize = KEY + 4;
/// CPU time in microseconds.
const CPU: usize = KEY + 5;
const LAST_CPU: usize = KEY + 6;
/// How busy the tenant is: grows with every query, halves with every period.
const SCORE: usize = KEY + 7;
const WORDS: usize = KEY + 8;

/// What a query adds to the score.
const ONE_QUERY: u64 = 1_000_000_000;
/// Tracked tenants for each one that is shown.
const SPARE: usize = 3;

/// The table in shared memory, guarded by its lock.
pub static TABLE: Table<WORDS> = Table::new(c"citus_stat_tenants", || {
    usize::try_from(settings::stat_tenants_limit()).unwrap_or(0) * SPARE
});

/// What is known of a tenant; pairs are this and the last period.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Colocation group.
    pub colocation: i32,
    /// Value of the distribution column.
    pub value: String,
    /// SELECTs.
    pub reads: (i64, i64),
    /// All queries.
    pub queries: (i64, i64),
    /// CPU seconds.
    pub cpu: (f64, f64),
    /// How busy it is.
    pub score: i64,
}

/// Whether queries are to be recorded at all.
pub fn tracking() -> bool {
    settings::stat_tenants_track() != Track::None
}

/// Records a query of a tenant. `now` is in seconds of any epoch.
pub fn record(colocation: i32, value: &str, read: bool, cpu_micros: u64, now: u64, random: f64) {
    if !tracking() {
        return;
    }
    let key = key(crate::pg::session::database(), colocation, value);
    let period = current_period(now);
    let slots = TABLE.slots();
    TABLE.locked(true, || {
        let known = slots.iter().find(|s| s[PERIOD].load(Relaxed) != 0 && has_key(s, &key));
        let slot = match known {
            Some(slot) => slot,
            None => {
                if random >= settings::stat_tenants_untracked_sample_rate() {
                    return;
                }
                let Some(slot) = slot_for_new(slots, period) else { return };
                let mut words = [0; WORDS];
                words.iter_mut().zip(key).for_each(|(to, from)| *to = from);
                words[PERIOD] = period;
                super::write(slot, &words);
                slot
            }
        };
        let mut words = turned(super::read(slot), period);
        words[READS] += u64::from(read);
        words[QUERIES] += 1;
        words[CPU] += cpu_micros;
        words[SCORE] = words[SCORE].saturating_add(ONE_QUERY);
        super::write(slot, &words);
    });
}

fn key(database: u32, colocation: i32, value: &str) -> [u64; KEY] {
    let place = (u64::from(database) << 32) | u64::from(colocation as u32);
    let mut words = std::iter::once(place).chain(super::pack::<VALUE>(value));
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

fn has_key(slot: &Slot<WORDS>, key: &[u64; KEY]) -> bool {
    slot.iter().zip(key).all(|(a, b)| a.load(Relaxed) == *b)
}

/// Number of the period of a time; never 0.
fn current_period(now: u64) -> u64 {
    now / u64::from(settings::stat_tenants_period().max(1).unsigned_abs()) + 1
}

/// A free slot, or that of the least busy tenant.
fn slot_for_new(slots: &'static [Slot<WORDS>], period: u64) -> Option<&'static Slot<WORDS>> {
    slots.iter().min_by_key(|s| match s[PERIOD].load(Relaxed) {
        0 => (false, 0),
        _ => (true, turned(super::read(s), period)[SCORE]),
    })
}

/// The counters as they are in `period`: what is older than the last period is gone.
fn turned(mut words: [u64; WORDS], period: u64) -> [u64; WORDS] {
    let passed = period.saturating_sub(words[PERIOD]);
    for (this, last) in [(READS, LAST_READS), (QUERIES, LAST_QUERIES), (CPU, LAST_CPU)] {
        match passed {
            0 => {}
            1 => (words[last], words[this]) = (words[this], 0),
            _ => (words[last], words[this]) = (0, 0),
        }
    }
    words[SCORE] = words[SCORE].checked_shr(u32::try_from(passed).unwrap_or(64)).unwrap_or(0);
    words[PERIOD] = words[PERIOD].max(period);
    words
}

/// The tenants of this database, busiest first: those that are shown, or all that are tracked.
pub fn all(everything: bool, now: u64) -> Vec<Tenant> {
    let (slots, period) = (TABLE.slots(), current_period(now));
    let rows = TABLE.locked(false, || {
        slots.iter().map(super::read).filter(|w| w[PERIOD] != 0).collect::<Vec<_>>()
    });
    let database = crate::pg::session::database();
    let pair = |w: &[u64; WORDS], i: usize| (w[i] as i64, w[i + 1] as i64);
    let mut tenants: Vec<Tenant> = rows
        .unwrap_or_default()
        .into_iter()
        .filter(|w| w[0] >> 32 == u64::from(database))
        .map(|w| turned(w, period))
        .map(|w| Tenant {
            colocation: w[0] as u32 as i32,
            value: super::unpack(&w[1..KEY]),
            reads: pair(&w, READS),
            queries: pair(&w, QUERIES),
            cpu: (w[CPU] as f64 / 1e6, w[LAST_CPU] as f64 / 1e6),
            score: i64::try_from(w[SCORE]).unwrap_or(i64::MAX),
        })
        .collect();
    tenants.sort_by_key(|t| std::cmp::Reverse(t.score));
    if !everything {
        tenants.truncate(usize::try_from(settings::stat_tenants_limit()).unwrap_or(0));
    }
    tenants
}

/// Forgets the tenants of all databases.
pub fn reset() {
    let slots = TABLE.slots();
    TABLE.locked(true, || slots.iter().for_each(|s| s[PERIOD].store(0, Relaxed)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_turn() {
        let mut w = [0u64; WORDS];
        (w[PERIOD], w[READS], w[QUERIES], w[CPU], w[SCORE]) = (5, 1, 2, 3, 16);
        assert_eq!(turned(w, 5), w);
        let t = turned(w, 6);
        assert_eq!((t[READS], t[LAST_READS], t[QUERIES], t[LAST_QUERIES]), (0, 1, 0, 2));
        assert_eq!((t[LAST_CPU], t[SCORE], t[PERIOD]), (3, 8, 6));
        let t = turned(w, 8);
        assert_eq!((t[LAST_READS], t[LAST_QUERIES], t[SCORE]), (0, 0, 2));
        assert_eq!(turned(w, 500)[SCORE], 0);
    }
}
