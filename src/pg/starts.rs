//! Since when the ids of transactions hold.
//!
//! PostgreSQL hands out the id of a transaction that a crash has taken from the disk once more: what is
//! known of an id afterwards may be another transaction's. So every start of the server (after a crash or
//! a promotion, too) is told from the others by a number, goes with each id that others are told, and the
//! first id that was handed out since it is kept in the file [`FILE`]. An id of an earlier start that is
//! not below that was never on disk.
//!
//! Both are found out when the first transaction since the start commits, or before an id is told: so
//! every id below the first one is of an earlier start, or of a transaction that has not committed.
//! The number is the time, which tells also the starts of servers that were copied from each other: of
//! a standby and its primary, of a backup and what it was made of.

use super::shmem::Table;
use super::{guard, procs, server};
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::Ordering;

/// In the data directory, which is where processes of the server run.
const FILE: &str = "pg_citus_starts";
const NEW_FILE: &str = "pg_citus_starts.tmp";
/// Starts that are kept. What asks for one is a transaction that somebody has yet to finish.
const KEPT: usize = 1000;

/// The number of this start, once it is known, and the first id that was handed out since.
pub(crate) static TABLE: Table<2> = Table::new(c"citus_starts", || 1);

/// A transaction of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionId {
    /// Its id with epoch.
    pub id: u64,
    /// The start of the server that handed it out.
    pub start: u64,
}

impl std::fmt::Display for TransactionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.id, self.start)
    }
}

impl std::str::FromStr for TransactionId {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (id, start) = text.split_once('-').ok_or(())?;
        let number = |t: &str| t.parse().map_err(|_| ());
        Ok(TransactionId { id: number(id)?, start: number(start)? })
    }
}

/// A start, and the first id that was handed out since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Start {
    number: u64,
    first: u64,
}

/// The number of this start of the server; found out and kept when nobody has done so.
///
/// # Errors
/// The server is in recovery, where there are no ids.
pub fn current() -> Result<u64> {
    this().map(|s| s.number)
}

/// To be called before a transaction commits or is prepared, whatever it has done.
pub fn before_commit() -> Result<()> {
    // SAFETY: looks at shared memory.
    if known().is_some() || unsafe { pg_sys::RecoveryInProgress() } {
        return Ok(());
    }
    this().map(|_| ())
}

fn this() -> Result<Start> {
    if let Some(known) = known() {
        return Ok(known);
    }
    // SAFETY: looks at shared memory.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Err(Error::new(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the server is in recovery and has no transactions of its own",
        ));
    }
    let begun = TABLE.locked(true, || known().map_or_else(begin, |known| (known, Ok(()))));
    let (start, kept) = begun.ok_or_else(|| Error::internal("there is no shared memory"))?;
    if let Err(e) = kept {
        // Nobody can do without commits, even less on a full disk. Without this start in the file only an
        // id is mistaken that a crash has taken before it and that is asked for after the next one.
        let message = format!("could not write file \"{FILE}\": {e}");
        guard::warning(&Error::new(sqlstate::IO_ERROR, message));
    }
    Ok(start)
}

fn known() -> Option<Start> {
    let [number, first] = TABLE.slots().first()?;
    let number = Some(number.load(Ordering::Acquire)).filter(|number| *number != 0)?;
    Some(Start { number, first: first.load(Ordering::Relaxed) })
}

/// The first transaction since the start is about to commit; and whether that is on disk.
fn begin() -> (Start, io::Result<()>) {
    let starts = read();
    let last = starts.as_ref().ok().and_then(|s| s.last()).map_or(0, |s| s.number);
    let number = server::now_seconds().max(last + 1);
    let start = Start { number, first: procs::first_running_id() };
    let kept = starts.and_then(|mut all| {
        all.push(start);
        write(all.get(all.len().saturating_sub(KEPT)..).unwrap_or_default())
    });
    if let Some([number, first]) = TABLE.slots().first() {
        first.store(start.first, Ordering::Relaxed);
        number.store(start.number, Ordering::Release);
    }
    (start, kept)
}

fn read() -> io::Result<Vec<Start>> {
    match fs::read_to_string(FILE) {
        Ok(text) => Ok(parse(&text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn parse(text: &str) -> Vec<Start> {
    let one = |line: &str| {
        let (number, first) = line.split_once(' ')?;
        Some(Start { number: number.parse().ok()?, first: first.parse().ok()? })
    };
    text.lines().filter_map(one).collect()
}

/// Replaces the file, so that it is on disk or as it was.
fn write(starts: &[Start]) -> io::Result<()> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for s in starts {
        let _ = writeln!(text, "{} {}", s.number, s.first);
    }
    extern "C" {
        /// What the owner, and perhaps the group, may do with files of the server.
        #[link_name = "pg_file_create_mode"]
        static MODE: libc::c_int;
    }
    // SAFETY: a plain integer, set when the server started.
    let mode = unsafe { MODE };
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode as u32);
    let mut file = options.open(NEW_FILE)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(NEW_FILE, FILE)?;
    fs::File::open(".")?.sync_all()
}

/// Whether a crash has taken a transaction of this server, and its id may be another one's; `None` when
/// that cannot be told: the server is a copy of an earlier time than the one that handed out the id.
pub fn is_lost(transaction: TransactionId) -> Result<Option<bool>> {
    let now = this()?;
    if transaction.start == now.number {
        return Ok(Some(false));
    }
    let mut starts = read().map_err(|e| {
        Error::new(sqlstate::IO_ERROR, format!("could not read file \"{FILE}\": {e}"))
    })?;
    if !starts.contains(&now) {
        starts.push(now);
    }
    Ok(judge(&starts, transaction, now.number))
}

fn judge(starts: &[Start], transaction: TransactionId, now: u64) -> Option<bool> {
    let TransactionId { id, start } = transaction;
    let later = |s: &&Start| s.number > start;
    if start >= now {
        (start == now).then_some(false)
    } else if starts.iter().filter(later).any(|s| s.first <= id) {
        Some(true)
    } else {
        // Starts that are not kept any more may have been between.
        let forgotten = starts.len() >= KEPT && starts.iter().all(|s| s.number > start);
        (!forgotten).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64, start: u64) -> TransactionId {
        TransactionId { id, start }
    }

    #[test]
    fn lost_is_what_a_later_start_hands_out() {
        let starts = parse("100 10\n200 50\n300 90\n");
        assert_eq!(starts.len(), 3);
        // Its own start.
        assert_eq!(judge(&starts, id(1000, 300), 300), Some(false));
        // On disk before the next one, or not.
        assert_eq!(judge(&starts, id(89, 200), 300), Some(false));
        assert_eq!(judge(&starts, id(90, 200), 300), Some(true));
        assert_eq!(judge(&starts, id(49, 100), 300), Some(false));
        // Handed out again by the second start, and on disk before the third.
        assert_eq!(judge(&starts, id(50, 100), 300), Some(true));
        // Of a primary that was started after the copy was made.
        assert_eq!(judge(&starts, id(60, 250), 300), Some(false));
        assert_eq!(judge(&starts, id(95, 250), 300), Some(true));
        // Of a later time than this server is.
        assert_eq!(judge(&starts, id(60, 301), 300), None);
    }

    #[test]
    fn what_is_not_kept_is_not_known() {
        let starts: Vec<_> =
            (0..KEPT as u64).map(|n| Start { number: 1000 + n, first: 50 + n }).collect();
        let now = 999 + KEPT as u64;
        assert_eq!(judge(&starts, id(40, 900), now), None);
        assert_eq!(judge(&starts, id(50, 900), now), Some(true));
        assert_eq!(judge(&starts, id(40, 1000), now), Some(false));
        assert_eq!(judge(&starts[1..], id(40, 900), now), Some(false));
    }

    #[test]
    fn there_and_back() {
        let one = id(u64::MAX, 848_000_000);
        assert_eq!(one.to_string().parse(), Ok(one));
        for bad in ["", "1", "-", "1-", "-1", "1-2-3", "x-1"] {
            assert_eq!(bad.parse::<TransactionId>(), Err(()), "{bad}");
        }
        assert_eq!(
            parse("1 2\n\nnonsense\n3\n3 4"),
            [Start { number: 1, first: 2 }, Start { number: 3, first: 4 },]
        );
    }
}
