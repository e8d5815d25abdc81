//! What sessions, the launcher and the maintenance processes know of each other: a table in
//! shared memory with a row for each database, and the launcher's own row.
//!
//! Nothing here raises, so that it can be used when a transaction has already ended.

use crate::pg::shmem::{Slot, Table};
use crate::pg::{process, server, session};
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Databases that can have a maintenance process, or are known not to need one.
pub const DATABASES: usize = 512;

/// Words of a row.
const DATABASE: usize = 0;
const STATE: usize = 1;
const PID: usize = 2;
/// When the state was entered, in microseconds.
const SINCE: usize = 3;
/// Process that wants the database for itself.
const PAUSED_BY: usize = 4;
/// Bits of [`Request`].
const REQUESTS: usize = 5;
/// Time in microseconds before which no process is started.
const NOT_BEFORE: usize = 6;
/// Attempts to start a process that found no free slot, since the last that did.
const REFUSED: usize = 7;

type Row = Slot<8>;

/// The databases.
pub static TABLE: Table<8> = Table::new(c"citus_maintenance", || DATABASES);
/// The launcher: its process id, and whether it shall look for new databases.
pub static LAUNCHER: Table<2> = Table::new(c"citus_maintenance_launcher", || 1);

/// States of a row.
mod state {
    /// A process is to be started, if only to see whether the extension is there.
    pub const WANTED: u64 = 0;
    /// The server was asked to start one.
    pub const STARTING: u64 = 1;
    /// It works.
    pub const RUNNING: u64 = 2;
    /// The database does not have the extension.
    pub const ABSENT: u64 = 3;
}

/// Time until a process that ended is started again.
const RESTART: i64 = 1_000_000;
/// The same for one that did not come to work: its database cannot be connected to.
const RETRY: i64 = 30_000_000;
/// Time after which a process that was asked for is given up; the server could not fork, say.
const LOST: i64 = 5_000_000;

/// What a maintenance process is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Recovery, at once.
    Recover = 1,
    /// A look at whether the extension is still there.
    Check = 2,
    /// To leave the database to somebody else for a while.
    Leave = 4,
}

fn now() -> u64 {
    u64::try_from(server::now_micros()).unwrap_or(0)
}

fn after(micros: i64) -> u64 {
    now().saturating_add(micros.unsigned_abs())
}

/// The row of a database; under the lock only.
fn row(database: u32) -> Option<&'static Row> {
    TABLE.slots().iter().find(|r| r[DATABASE].load(Relaxed) == u64::from(database))
}

fn get(row: &Row, word: usize) -> u64 {
    row.get(word).map_or(0, |w| w.load(Relaxed))
}

fn set(row: &Row, word: usize, value: u64) {
    if let Some(w) = row.get(word) {
        w.store(value, Relaxed);
    }
}

fn enter(row: &Row, state: u64) {
    set(row, STATE, state);
    set(row, SINCE, now());
}

fn pid_of(word: u64) -> i32 {
    i32::try_from(word).unwrap_or(0)
}

fn own_pid() -> u64 {
    u64::from(session::backend_pid().unsigned_abs())
}

fn locked<R: Default>(f: impl FnOnce() -> R) -> R {
    TABLE.locked(true, f).unwrap_or_default()
}

/// Wakes the launcher; with `look`, it looks for databases that came or went.
pub fn wake_launcher(look: bool) {
    if let [launcher] = LAUNCHER.slots() {
        if look {
            launcher[1].store(1, Relaxed);
        }
        process::wake(pid_of(launcher[0].load(Relaxed)));
    }
}

/// The launcher introduces itself.
pub fn launcher_starts() {
    if let [launcher] = LAUNCHER.slots() {
        launcher[0].store(own_pid(), Relaxed);
        launcher[1].store(1, Relaxed);
    }
}

/// Whether the launcher is there.
pub fn launcher_works() -> bool {
    LAUNCHER.slots().first().is_some_and(|l| process::exists(pid_of(l[0].load(Relaxed))))
}

/// Whether to look for databases; asking forgets it.
pub fn take_look() -> bool {
    LAUNCHER.slots().first().is_some_and(|l| l[1].swap(0, Relaxed) != 0)
}

/// Asks the maintenance process of a database for something.
pub fn request(database: u32, what: Request) {
    let pid = locked(|| {
        let row = row(database)?;
        let waits = [state::ABSENT, state::WANTED].contains(&get(row, STATE));
        if waits && what == Request::Check {
            enter(row, state::WANTED);
            set(row, NOT_BEFORE, 0);
        } else {
            set(row, REQUESTS, get(row, REQUESTS) | what as u64);
        }
        Some(pid_of(get(row, PID)))
    });
    match pid {
        Some(pid) if pid > 0 => process::wake(pid),
        known => wake_launcher(known.is_none()),
    }
}

/// What this process was asked for; asking forgets it.
pub fn take_requests(database: u32) -> impl Fn(Request) -> bool {
    let bits = locked(|| {
        let row = row(database)?;
        let bits = get(row, REQUESTS);
        set(row, REQUESTS, 0);
        Some(bits)
    });
    let bits = bits.unwrap_or(0);
    move |what| bits & what as u64 != 0
}

/// A maintenance process begins; false when it is not wanted (any more).
pub fn claim(database: u32) -> bool {
    locked(|| {
        let Some(row) = row(database) else { return false };
        if get(row, STATE) != state::STARTING || get(row, PID) != 0 {
            return false;
        }
        let paused = get(row, PAUSED_BY) != 0;
        if paused {
            enter(row, state::WANTED);
        } else {
            set(row, PID, own_pid());
        }
        !paused
    })
}

/// The maintenance process has found the extension.
pub fn works(database: u32) {
    locked(|| {
        if let Some(row) = row(database) {
            enter(row, state::RUNNING);
        }
    });
    wake_launcher(false);
}

/// The maintenance process has not found the extension.
pub fn not_needed(database: u32) {
    locked(|| {
        let Some(row) = row(database) else { return };
        // Created meanwhile?
        let again = get(row, REQUESTS) & Request::Check as u64 != 0;
        set(row, REQUESTS, 0);
        enter(row, if again { state::WANTED } else { state::ABSENT });
    });
}

/// A maintenance process ends, whatever the reason.
pub fn leaves(database: u32) {
    locked(|| {
        let Some(row) = row(database).filter(|r| get(r, PID) == own_pid()) else { return };
        set(row, PID, 0);
        let asked = get(row, REQUESTS);
        let told_to = asked & Request::Leave as u64 != 0;
        set(row, REQUESTS, asked & !(Request::Leave as u64));
        let delay = match get(row, STATE) {
            state::STARTING if !told_to => RETRY,
            state::STARTING | state::RUNNING => RESTART,
            // It was the last to know that it is not needed, or is needed again.
            _ => return,
        };
        enter(row, state::WANTED);
        set(row, NOT_BEFORE, after(delay));
    });
    wake_launcher(false);
}

/// Whether somebody wants the database for himself.
pub fn is_paused(database: u32) -> bool {
    locked(|| row(database).is_some_and(|r| get(r, PAUSED_BY) != 0))
}

thread_local! {
    /// Whether this process has paused a database.
    static PAUSING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps maintenance processes away from a database until [`release`]. Gives back the process
/// that is still there: it was told to leave.
pub fn pause(database: u32) -> Option<i32> {
    PAUSING.with(|p| p.set(true));
    let pid = locked(|| {
        // The launcher, too, may be about to learn of the database.
        let row = row(database).or_else(|| {
            let free = row(0)?;
            set(free, DATABASE, u64::from(database));
            Some(free)
        })?;
        set(row, PAUSED_BY, own_pid());
        let pid = pid_of(get(row, PID));
        if pid > 0 {
            set(row, REQUESTS, get(row, REQUESTS) | Request::Leave as u64);
            // Under the lock the process cannot have gone.
            process::cancel(pid);
        }
        Some(pid)
    });
    pid.filter(|p| *p > 0)
}

/// Ends what [`pause`] began, for all databases. Costs nothing when there are none.
pub fn release() {
    if !PAUSING.with(|p| p.replace(false)) {
        return;
    }
    locked(|| {
        for row in TABLE.slots().iter().filter(|r| get(r, PAUSED_BY) == own_pid()) {
            set(row, PAUSED_BY, 0);
        }
    });
    wake_launcher(false);
}

/// Makes the rows those of the databases that exist; false when there are too many.
pub fn reconcile(databases: &[u32]) -> bool {
    locked(|| {
        for row in TABLE.slots() {
            let known = get(row, DATABASE);
            let exists = databases.iter().any(|d| u64::from(*d) == known);
            if known != 0 && !exists && get(row, PID) == 0 {
                (DATABASE..=REFUSED).for_each(|word| set(row, word, 0));
            }
        }
        let missing: Vec<u32> = databases.iter().copied().filter(|d| row(*d).is_none()).collect();
        let mut free = TABLE.slots().iter().filter(|r| get(r, DATABASE) == 0);
        missing.iter().all(|database| match free.next() {
            Some(row) => {
                set(row, DATABASE, u64::from(*database));
                true
            }
            None => false,
        })
    })
}

/// Forgets who paused a database and is gone without having released it.
fn release_for_the_dead() {
    for row in TABLE.slots() {
        let pauser = get(row, PAUSED_BY);
        if pauser != 0 && !process::exists(pid_of(pauser)) {
            locked(|| {
                if get(row, PAUSED_BY) == pauser {
                    set(row, PAUSED_BY, 0);
                }
            });
        }
    }
}

/// Databases whose process is to be started now, and the time until there may be more of them.
pub fn due() -> (Vec<u32>, Option<Duration>) {
    release_for_the_dead();
    let now = now();
    let (mut due, mut next) = (Vec::new(), None::<u64>);
    let mut later = |at: u64| {
        let left = at.saturating_sub(now);
        next = Some(next.map_or(left, |n| n.min(left)));
    };
    locked(|| {
        for row in TABLE.slots().iter().filter(|r| get(r, DATABASE) != 0 && get(r, PID) == 0) {
            if get(row, PAUSED_BY) != 0 {
                later(after(RESTART));
                continue;
            }
            if get(row, STATE) == state::STARTING {
                let end = get(row, SINCE).saturating_add(LOST.unsigned_abs());
                if now < end {
                    later(end);
                    continue;
                }
                enter(row, state::WANTED);
            }
            if get(row, STATE) == state::WANTED {
                match get(row, NOT_BEFORE) {
                    at if at > now => later(at),
                    _ => due.push(u32::try_from(get(row, DATABASE)).unwrap_or(0)),
                }
            }
        }
    });
    (due, next.map(Duration::from_micros))
}

/// Processes that were asked for and have not come to work yet.
pub fn starting() -> usize {
    locked(|| TABLE.slots().iter().filter(|r| get(r, STATE) == state::STARTING).count())
}

/// The server is about to be asked for a process; false when it is not wanted any more.
pub fn starts(database: u32) -> bool {
    locked(|| {
        let Some(row) = row(database).filter(|r| get(r, STATE) == state::WANTED) else {
            return false;
        };
        enter(row, state::STARTING);
        true
    })
}

/// The server had no free slot; how many times in a row. The next attempt comes in a second, later
/// in ten.
pub fn refused(database: u32) -> u64 {
    locked(|| {
        let Some(row) = row(database) else { return 0 };
        let times = get(row, REFUSED) + 1;
        enter(row, state::WANTED);
        set(row, REFUSED, times);
        set(row, NOT_BEFORE, after(if times < 5 { 1_000_000 } else { 10_000_000 }));
        times
    })
}

/// The server will start the process.
pub fn accepted(database: u32) {
    locked(|| {
        if let Some(row) = row(database) {
            set(row, REFUSED, 0);
        }
    });
}
