//! The launcher: one process per server that keeps a maintenance process in each database with
//! the extension.
//!
//! It cannot look into databases. So for each database that it does not know it starts a
//! maintenance process, which ends at once where the extension is missing; afterwards sessions
//! tell (see [`super::notice`]) when an extension or a database comes or goes.

use super::{board, KIND};
use crate::error::{sqlstate, Error, Result};
use crate::pg::database::connectable;
use crate::pg::guard;
use crate::pg::process::{self, Process};
use crate::remote::kept;
use pgrx::pg_sys::Datum;
use std::time::{Duration, Instant};

/// Time between two looks for databases that nobody told about.
const LOOK: Duration = Duration::from_secs(10);
/// Processes on their way at the same time: the slots are needed by others too.
const AT_ONCE: usize = 2;
/// Refusals in a row that are worth a warning; short ones are parallel queries at work.
const WORTH_A_WARNING: u64 = 5;
/// Time between two warnings of the same kind.
const WARN_AGAIN: Duration = Duration::from_secs(600);

/// Lets the server start the launcher; from `_PG_init`.
pub fn register() {
    Process {
        name: "citus maintenance launcher",
        kind: "citus maintenance launcher",
        function: "citus_maintenance_launcher",
        argument: 0,
        restart: Some(Duration::from_secs(1)),
    }
    .register();
}

/// Body of the launcher.
#[no_mangle]
pub extern "C-unwind" fn citus_maintenance_launcher(_argument: Datum) {
    guard::entry_result(run)
}

fn run() -> Result<()> {
    process::begin();
    process::connect(None);
    board::launcher_starts();
    let mut looked: Option<Instant> = None;
    let mut warned = Warned::default();
    while !process::terminating() {
        process::reload();
        let mut worked = false;
        if board::take_look() || looked.is_none_or(|l| l.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            worked = true;
            if !board::reconcile(&process::transaction(|| Ok(connectable()))?) {
                warned.too_many_databases();
            }
        }
        // One look for both: what becomes due after it is due within `next`.
        let (due, next) = board::due();
        for database in due {
            if board::starting() >= AT_ONCE {
                // The next one that comes to work, or ends, wakes us.
                break;
            }
            start(database, &mut warned);
            worked = true;
        }
        if worked {
            // What somebody woke us for meanwhile may have been taken for something else.
            continue;
        }
        let times = [next, kept::watch(), Some(LOOK)];
        process::sleep(times.into_iter().flatten().min().unwrap_or(LOOK))?;
    }
    kept::close_all();
    // With another code the server would not start it again.
    process::exit(1)
}

fn start(database: u32, warned: &mut Warned) {
    if !board::starts(database) {
        return;
    }
    let accepted = Process {
        name: &format!("citus maintenance of database {database}"),
        kind: KIND,
        function: "citus_maintenance",
        argument: database,
        restart: None,
    }
    .start();
    if accepted {
        board::accepted(database);
    } else if board::refused(database) >= WORTH_A_WARNING {
        warned.no_slot(database);
    }
}

/// When warnings were given.
#[derive(Default)]
struct Warned {
    databases: Option<Instant>,
    slot: Option<Instant>,
}

impl Warned {
    fn too_many_databases(&mut self) {
        if is_time(&mut self.databases) {
            guard::warning(
                &Error::new(
                    sqlstate::PROGRAM_LIMIT_EXCEEDED,
                    format!(
                        "citus looks after {} databases of this server and no more",
                        board::DATABASES
                    ),
                )
                .hint("In the other ones, call recover_prepared_transactions() yourself."),
            );
        }
    }

    fn no_slot(&mut self, database: u32) {
        if is_time(&mut self.slot) {
            guard::warning(
                &Error::new(
                    sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                    format!(
                        "the maintenance process of the database with OID {database} cannot be started"
                    ),
                )
                .detail("All slots for background processes are taken; it is tried again.")
                .hint(format!(
                    "Raise max_worker_processes (now {}): citus needs one slot, and one more for \
                     each database with the extension, besides those of parallel queries and \
                     replication.",
                    process::slots()
                )),
            );
        }
    }
}

fn is_time(last: &mut Option<Instant>) -> bool {
    let yes = last.is_none_or(|l| l.elapsed() >= WARN_AGAIN);
    if yes {
        *last = Some(Instant::now());
    }
    yes
}
