//! The gate between commits over several nodes and those who take snapshots on several nodes.
//!
//! A commit over several nodes becomes visible node by node. Whoever is inside as a committer is
//! between the first and the last node; whoever is inside as a taker takes snapshots. The classes
//! exclude each other, so no set of snapshots has a half of a commit. A gate that nobody waits at
//! costs an atomic operation to enter and one to leave. There is one for each database.

use crate::error::{sqlstate, Error, Result};
use crate::model::gate::{Class, Word};
use crate::pg::shmem::{Slot, Table};
use crate::pg::wait::{check_for_interrupts, WaitSet};
use crate::pg::{procs, session, xact};
use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// Databases with a gate of their own; further ones share the first row.
const DATABASES: usize = 512;

/// Rows: OID of the database (0 while free), [`Word`]. The lock protects what concerns waiters.
pub static TABLE: Table<2> = Table::new(c"citus_commit_gate", || DATABASES + 1);
/// For each backend whether and where it waits, see [`wait_word`].
pub static WAITERS: Table<1> = Table::new(c"citus_commit_gate_waiters", procs::max_backends);

thread_local! {
    /// Row of this database's gate.
    static ROW: Cell<Option<usize>> = const { Cell::new(None) };
    /// Inside, and as what.
    static INSIDE: Cell<Option<Class>> = const { Cell::new(None) };
    /// Waiting, and as what.
    static WAITING: Cell<Option<Class>> = const { Cell::new(None) };
    static EXIT_HOOK: Cell<bool> = const { Cell::new(false) };
}

const GRANTED: u64 = u64::MAX;

/// What stands in [`WAITERS`] for somebody who waits.
fn wait_word(row: usize, class: Class) -> u64 {
    (row as u64 + 1) * 2 + u64::from(class == Class::Taker)
}

/// This database's gate: number and row.
fn gate() -> Option<(usize, &'static Slot<2>)> {
    let slots = TABLE.slots();
    if let Some(row) = ROW.with(Cell::get) {
        return slots.get(row).map(|s| (row, s));
    }
    let database = u64::from(session::database());
    let own = slots.iter().enumerate().skip(1).find(|(_, [owner, _])| {
        let now = owner.load(Relaxed);
        now == database
            || (now == 0
                && match owner.compare_exchange(0, database, Relaxed, Relaxed) {
                    Ok(_) => true,
                    Err(taken) => taken == database,
                })
    });
    let (row, slot) = own.or_else(|| slots.first().map(|s| (0, s)))?;
    ROW.with(|r| r.set(Some(row)));
    Some((row, slot))
}

fn word(slot: &Slot<2>) -> Word {
    Word(slot[1].load(Acquire))
}

/// Puts `new` in the place of `old`; false when somebody else was faster.
fn change(slot: &Slot<2>, old: Word, new: Word) -> bool {
    slot[1].compare_exchange(old.0, new.0, AcqRel, Acquire).is_ok()
}

/// Changes the word while nobody but us does who looks at waiters.
fn update(slot: &Slot<2>, f: impl Fn(Word) -> Word) -> Word {
    loop {
        let old = word(slot);
        if change(slot, old, f(old)) {
            return f(old);
        }
    }
}

/// Enters the gate. Waits for the other class at most `limit`; cancel and termination end the wait.
/// Nothing happens when this session is inside already.
pub(super) fn enter(class: Class, limit: Option<Duration>) -> Result<()> {
    if INSIDE.with(Cell::get).is_some() {
        return Ok(());
    }
    let Some((row, slot)) = gate() else { return Ok(()) };
    if !EXIT_HOOK.with(|h| h.replace(true)) {
        xact::at_exit(leave);
    }
    loop {
        let now = word(slot);
        let Some(new) = now.entered(class) else { break };
        if change(slot, now, new) {
            INSIDE.with(|i| i.set(Some(class)));
            return Ok(());
        }
    }
    wait(row, slot, class, limit)
}

/// Stands in the queue until somebody who leaves lets us in.
fn wait(row: usize, slot: &'static Slot<2>, class: Class, limit: Option<Duration>) -> Result<()> {
    let mine = procs::my_place().and_then(|p| WAITERS.slots().get(p));
    let Some([mine]) = mine else {
        return Err(Error::internal("this process has no place among the backends"));
    };
    WAITING.with(|w| w.set(Some(class)));
    let entered = TABLE.locked(true, || loop {
        let now = word(slot);
        if let Some(new) = now.entered(class) {
            if change(slot, now, new) {
                break true;
            }
        } else if change(slot, now, now.waited_for(true)) {
            // Whoever leaves from now on looks for us.
            mine.store(wait_word(row, class), Release);
            break false;
        }
    });
    if entered != Some(false) {
        WAITING.with(|w| w.set(None));
        INSIDE.with(|i| i.set(Some(class)));
        return Ok(());
    }
    let result = until_granted(mine, limit);
    if result.is_err() {
        leave();
        return result;
    }
    mine.store(0, Release);
    WAITING.with(|w| w.set(None));
    INSIDE.with(|i| i.set(Some(class)));
    Ok(())
}

fn until_granted(mine: &std::sync::atomic::AtomicU64, limit: Option<Duration>) -> Result<()> {
    let since = Instant::now();
    let set = WaitSet::new(0);
    while mine.load(Acquire) != GRANTED {
        check_for_interrupts()?;
        let left = match limit {
            Some(limit) => limit.saturating_sub(since.elapsed()),
            None => Duration::from_secs(1),
        };
        if left.is_zero() {
            let message = "canceling statement due to lock timeout";
            return Err(Error::new(sqlstate::LOCK_NOT_AVAILABLE, message).detail(
                "The statement waited for transactions that were committing on several nodes.",
            ));
        }
        // Granting sets the latch; the rest is for safety.
        set.wait((left.as_millis() as i64 + 1).min(1000), |_| ())?;
    }
    Ok(())
}

/// Leaves the gate, or stops waiting for it. Never raises; costs nothing outside.
pub(super) fn leave() {
    let (inside, waiting) = (INSIDE.with(Cell::take), WAITING.with(Cell::take));
    let Some(class) = inside.or(waiting) else { return };
    let Some((row, slot)) = gate() else { return };
    if inside.is_some() {
        loop {
            let now = word(slot);
            if now.is_waited_for() {
                break;
            }
            if change(slot, now, now.minus(class)) {
                return;
            }
        }
    }
    let mine = procs::my_place().and_then(|p| WAITERS.slots().get(p));
    let woken = TABLE.locked(true, || {
        let granted = mine.is_some_and(|[w]| w.swap(0, AcqRel) == GRANTED);
        if inside.is_some() || granted {
            update(slot, |w| w.minus(class));
        }
        admit(row, slot, class.other())
    });
    woken.unwrap_or_default().into_iter().for_each(procs::wake);
}

/// Lets in those whose turn it is; their places. Under the lock only.
fn admit(row: usize, slot: &Slot<2>, turn: Class) -> Vec<usize> {
    let of = |class: Class| {
        let wanted = wait_word(row, class);
        let all = WAITERS.slots().iter().enumerate();
        all.filter(|(_, [w])| w.load(Acquire) == wanted).map(|(i, _)| i).collect::<Vec<_>>()
    };
    let (committers, takers) = (of(Class::Committer), of(Class::Taker));
    let list = |class| if class == Class::Committer { &committers } else { &takers };
    let class = word(slot).admits(|c| !list(c).is_empty(), turn);
    let admitted = class.map(|c| list(c).clone()).unwrap_or_default();
    let left = committers.len() + takers.len() - admitted.len();
    update(slot, |w| {
        let w = w.waited_for(left > 0);
        class.map_or(w, |c| w.plus(c, admitted.len() as u64))
    });
    for place in &admitted {
        if let Some([w]) = WAITERS.slots().get(*place) {
            w.store(GRANTED, Release);
        }
    }
    admitted
}
