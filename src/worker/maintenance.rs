//! The maintenance process of one database.

use super::board::{self, Request};
use super::duties::{Duty, Schedule, DUTIES, RECOVERY};
use crate::error::{sqlstate, Result};
use crate::pg::{database, guard, process, session, xact};
use pgrx::pg_sys::Datum;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Time between two looks at what is due when nothing is.
const IDLE: Duration = Duration::from_secs(60);
/// Time after which a problem that persists is logged again.
const LOG_AGAIN: Duration = Duration::from_secs(600);

/// Settings that a database's owner or the configuration must not change for this process. Its
/// own commits need not wait for standbys, as those of autovacuum do not: what they forget would
/// only be found and forgotten again.
const PINNED: &[(&std::ffi::CStr, &std::ffi::CStr)] = &[
    (c"application_name", c"citus maintenance"),
    (c"search_path", c"pg_catalog"),
    (c"statement_timeout", c"0"),
    // A lock that somebody holds for long must not keep the other duties from being done.
    (c"lock_timeout", c"5s"),
    (c"idle_in_transaction_session_timeout", c"0"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"synchronous_commit", c"local"),
    (c"citus.max_cached_conns_per_worker", c"0"),
];

/// Body of the process.
#[no_mangle]
pub extern "C-unwind" fn citus_maintenance(argument: Datum) {
    guard::entry_result(|| run(process::argument(argument)))
}

fn run(database: u32) -> Result<()> {
    process::begin();
    if !board::claim(database) {
        process::exit(0);
    }
    SERVED.with(|s| s.set(database));
    xact::at_exit(|| board::leaves(SERVED.with(Cell::get)));
    process::connect(Some(database));
    if board::is_paused(database) {
        process::exit(0);
    }
    PINNED.iter().for_each(|(name, value)| process::pin(name, value));
    leave_without_extension(database)?;
    board::works(database);
    let name = process::transaction(|| Ok(session::database_name()))?;
    let mut states: Vec<State> = DUTIES.iter().map(|_| State::default()).collect();
    while !process::terminating() && !board::is_paused(database) {
        process::reload();
        let asked = board::take_requests(database);
        if asked(Request::Check) {
            leave_without_extension(database)?;
        }
        let mut worked = false;
        for (duty, state) in DUTIES.iter().zip(&mut states) {
            if duty.name == RECOVERY && asked(Request::Recover) {
                state.schedule.ask();
            }
            if state.schedule.left(duty, Instant::now()) == Some(Duration::ZERO) {
                state.round(database, &name, duty);
                worked = true;
            }
        }
        if worked {
            // A request that came meanwhile does not wake us any more.
            continue;
        }
        let now = Instant::now();
        let left = DUTIES.iter().zip(&states).filter_map(|(d, s)| s.schedule.left(d, now)).min();
        process::show(None);
        process::sleep(left.unwrap_or(IDLE).min(IDLE))?;
    }
    process::exit(0)
}

thread_local! {
    /// The database that this process serves.
    static SERVED: Cell<u32> = const { Cell::new(0) };
}

/// Ends the process when there is nothing to look after (any more).
fn leave_without_extension(database: u32) -> Result<()> {
    if !process::transaction(|| Ok(database::has_extension()))? {
        board::not_needed(database);
        process::exit(0);
    }
    Ok(())
}

/// What is known of a duty.
#[derive(Default)]
struct State {
    schedule: Schedule,
    /// Its problems and when they were logged.
    logged: Vec<(String, Instant)>,
}

impl State {
    /// Does the duty once; an error is logged, and the process goes on.
    fn round(&mut self, database: u32, name: &str, duty: &Duty) {
        process::show(Some(duty.name));
        self.schedule.begins();
        let done = process::transaction(duty.run);
        let (unfinished, problems) = match done {
            Ok(round) => (round.unfinished, round.problems),
            // Whoever cancelled it to have the database for himself knows why.
            Err(_) if board::is_paused(database) => (true, Vec::new()),
            Err(e) => (true, vec![e]),
        };
        self.schedule.ended(unfinished);
        self.logged.retain(|(_, when)| when.elapsed() < LOG_AGAIN);
        for e in problems {
            let text = format!("{} {}", e.message, e.detail.as_deref().unwrap_or_default());
            let cancelled = e.code == sqlstate::QUERY_CANCELED;
            if cancelled || !self.logged.iter().any(|(known, _)| *known == text) {
                self.logged.push((text, Instant::now()));
                guard::warning(&e.context(format!("{} in database \"{name}\"", duty.name)));
            }
        }
    }
}
