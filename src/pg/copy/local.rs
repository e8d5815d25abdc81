//! COPY data into a table of this server, without leaving the backend.

use super::layout::raw;
use super::new_context;
use crate::error::{Error, Result};
use crate::pg::{guard, spi};
use pgrx::pg_sys::{self, Oid};
use std::cell::Cell;
use std::ffi::{c_int, c_void};

/// Data on its way into a table: pieces that are read one after the other.
struct Feed<'a> {
    pieces: &'a [&'a [u8]],
    piece: usize,
    at: usize,
}

thread_local! {
    /// What the running COPY reads; a trigger may start another one, which puts it back.
    static FEED: Cell<*mut c_void> = const { Cell::new(std::ptr::null_mut()) };
}

/// Puts the outer feed back, on errors too.
struct Restore(*mut c_void);

impl Drop for Restore {
    fn drop(&mut self) {
        FEED.with(|f| f.set(self.0));
    }
}

/// PostgreSQL's data source callback.
unsafe extern "C-unwind" fn supply(out: *mut c_void, _min: c_int, max: c_int) -> c_int {
    let feed = FEED.with(Cell::get) as *mut Feed<'_>;
    if feed.is_null() {
        return 0;
    }
    // SAFETY: `load` keeps the feed alive while the copy runs; at most `max` bytes are written.
    unsafe {
        let feed = &mut *feed;
        let room = max.max(0) as usize;
        let mut done = 0;
        while done < room {
            let Some(piece) = feed.pieces.get(feed.piece) else { break };
            let rest = piece.get(feed.at..).unwrap_or_default();
            let n = rest.len().min(room - done);
            std::ptr::copy_nonoverlapping(rest.as_ptr(), (out as *mut u8).add(done), n);
            done += n;
            feed.at += n;
            if n == rest.len() {
                feed.piece += 1;
                feed.at = 0;
            }
        }
        done as c_int
    }
}

/// Runs `f` with a data source for COPY that gives `pieces`.
pub(super) fn feeding<R>(
    pieces: &[&[u8]],
    f: impl FnOnce(unsafe extern "C-unwind" fn(*mut c_void, c_int, c_int) -> c_int) -> R,
) -> R {
    let mut feed = Feed { pieces, piece: 0, at: 0 };
    let _restore = Restore(FEED.with(Cell::get));
    FEED.with(|c| c.set(&raw mut feed as *mut c_void));
    f(supply)
}

/// Loads `pieces`, together the input of `command` (a complete COPY FROM STDIN statement), into
/// the table `relid`; answers the number of rows. Privileges are the caller's business.
pub fn load(relid: Oid, command: &str, pieces: &[&[u8]]) -> Result<u64> {
    let command = spi::cstring(command)?;
    let text = command.as_ptr();
    // SAFETY: relation, parse state and copy state are closed below, or by the abort of the
    // (sub)transaction. The feed outlives the copy.
    unsafe {
        let context = new_context(c"COPY into a local shard");
        let old = pg_sys::MemoryContextSwitchTo(context);
        let list = guard::call(|| raw::pg_parse_query(text));
        let stmt = first_copy(list)?;
        let lock = pg_sys::RowExclusiveLock as c_int;
        let rel = guard::call(|| raw::table_open(relid, lock));
        let (attlist, options) = ((*stmt).attlist, (*stmt).options);
        let rows = feeding(pieces, |supply| {
            guard::call(|| {
                let nothing = std::ptr::null_mut();
                let pstate = raw::make_parsestate(nothing);
                (*pstate).p_sourcetext = text;
                let alias = std::ptr::null_mut();
                let item =
                    raw::addRangeTableEntryForRelation(pstate, rel, lock, alias, false, false);
                (*(*item).p_rte).requiredPerms = pg_sys::ACL_INSERT as pg_sys::AclMode;
                let (none, file) = (std::ptr::null_mut(), std::ptr::null());
                let source = Some(supply as _);
                let state =
                    raw::BeginCopyFrom(pstate, rel, none, file, false, source, attlist, options);
                let rows = raw::CopyFrom(state);
                raw::EndCopyFrom(state);
                rows
            })
        });
        pg_sys::table_close(rel, pg_sys::NoLock as c_int);
        pg_sys::MemoryContextSwitchTo(old);
        pg_sys::MemoryContextDelete(context);
        Ok(rows)
    }
}

/// The statement of a parsed command.
pub(super) unsafe fn first_copy(list: *mut pg_sys::List) -> Result<*mut pg_sys::CopyStmt> {
    // SAFETY: the parser's result, a list of RawStmt.
    unsafe {
        if !list.is_null() && (*list).length == 1 {
            let stmt = (*((*(*list).elements).ptr_value as *mut pg_sys::RawStmt)).stmt;
            if (*stmt).type_ == pg_sys::NodeTag::T_CopyStmt {
                return Ok(stmt as *mut pg_sys::CopyStmt);
            }
        }
    }
    Err(Error::internal("not a COPY statement"))
}
