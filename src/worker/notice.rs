//! What a session tells the maintenance processes: that they stand in its way, and that databases
//! or the extension came or went.

use super::board::{self, Request};
use crate::error::Result;
use crate::pg::database::{self, Exclusive};
use crate::pg::tree::Tree;
use crate::pg::wait::{check_for_interrupts, WaitSet};
use crate::pg::{process, session};
use crate::remote::kept;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Time that a maintenance process has to leave; the server itself waits for five seconds more.
const LEAVE: Duration = Duration::from_secs(5);

thread_local! {
    static DATABASES: Cell<bool> = const { Cell::new(false) };
    static EXTENSION: Cell<bool> = const { Cell::new(false) };
}

/// A statement is about to run; what it needs for itself is left by our processes until its
/// transaction ends.
pub fn statement(statement: Tree) -> Result<()> {
    if database::changes_databases(statement.tag()) {
        DATABASES.with(|d| d.set(true));
    }
    if database::changes_access(statement) {
        kept::outdate();
    }
    for wanted in database::exclusive(statement) {
        let found = match wanted {
            // Who may not do it must not disturb anybody.
            Exclusive::Database(name) => database::find(&name).filter(|d| database::may_manage(*d)),
            Exclusive::Extension(name) => {
                (name == "citus" && database::may_drop_extension()).then(session::database)
            }
        };
        if let Some(database) = found {
            clear(database)?;
        }
    }
    Ok(())
}

fn clear(database: u32) -> Result<()> {
    kept::close_database(database);
    let Some(pid) = board::pause(database) else { return Ok(()) };
    process::wake(pid);
    let end = Instant::now() + LEAVE;
    while process::exists(pid) && Instant::now() < end {
        WaitSet::new(0).wait(2, |_| ())?;
        check_for_interrupts()?;
    }
    Ok(())
}

/// An extension is created or dropped.
pub fn extension_changed() {
    EXTENSION.with(|e| e.set(true));
}

/// The transaction has ended.
pub fn transaction_ended(committed: bool) {
    // First what has changed: no process shall be started for a database that is gone.
    if DATABASES.with(|d| d.replace(false)) && committed {
        board::wake_launcher(true);
    }
    if EXTENSION.with(|e| e.replace(false)) && committed {
        board::request(session::database(), Request::Check);
    }
    board::release();
    kept::transaction_ended(committed);
}
