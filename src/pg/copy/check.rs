//! Which of some rows is the first that a table refuses, found out without storing any.

use super::layout::{raw, EOL_NL};
use super::local::{feeding, first_copy};
use super::{in_context, new_context};
use crate::error::{Error, Result};
use crate::pg::{guard, spi};
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::Cell;
use std::ffi::c_int;

/// Rows of text or CSV format to be checked.
pub struct Rows<'a> {
    /// A COPY FROM STDIN statement for the table whose input the rows are.
    pub command: &'a str,
    /// The rows, one after the other.
    pub data: &'a [u8],
    /// For each row the number of lines before it, for the error's context.
    pub before: &'a [u64],
    /// Whether NOT NULL and CHECK are looked at too.
    pub constraints: bool,
}

/// The first row of `rows` that the table `relid` refuses: its place and PostgreSQL's error.
pub fn first_refused(relid: Oid, rows: &Rows<'_>) -> Option<(usize, Error)> {
    let at = Cell::new(0);
    match guard::catch_result(|| check(relid, rows, &at)) {
        Ok(()) => None,
        Err(e) => Some((at.get(), e)),
    }
}

fn check(relid: Oid, rows: &Rows<'_>, at: &Cell<usize>) -> Result<()> {
    let command = spi::cstring(rows.command)?;
    let text = command.as_ptr();
    // SAFETY: as for a local load, but rows are only converted and checked. An error leaves
    // everything to the abort that the caller is about to cause.
    unsafe {
        let context = new_context(c"COPY check");
        let old = pg_sys::MemoryContextSwitchTo(context);
        let list = guard::call(|| raw::pg_parse_query(text));
        let stmt = first_copy(list)?;
        let rel = guard::call(|| raw::table_open(relid, pg_sys::AccessShareLock as c_int));
        let (attlist, options) = ((*stmt).attlist, (*stmt).options);
        feeding(&[rows.data], |supply| {
            let nothing = std::ptr::null_mut();
            let state = guard::call(|| {
                let file = std::ptr::null();
                raw::BeginCopyFrom(
                    std::ptr::null_mut(),
                    rel,
                    nothing,
                    file,
                    false,
                    Some(supply),
                    attlist,
                    options,
                )
            });
            (*state).eol_type = EOL_NL;
            let estate = pg_sys::CreateExecutorState();
            let econtext = pg_sys::MakePerTupleExprContext(estate);
            let slot =
                pg_sys::MakeSingleTupleTableSlot((*rel).rd_att, &raw const pg_sys::TTSOpsVirtual);
            let size = std::mem::size_of::<pg_sys::ResultRelInfo>();
            let info = pg_sys::palloc0(size) as *mut pg_sys::ResultRelInfo;
            (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            guard::call(|| raw::InitResultRelInfo(info, rel, 1, std::ptr::null_mut(), 0));
            let constraints = rows.constraints && !(*(*rel).rd_att).constr.is_null();
            for (i, before) in rows.before.iter().enumerate() {
                at.set(i);
                super::check_interrupts();
                (*state).cur_lineno = *before;
                let (values, nulls): (*mut Datum, *mut bool) =
                    ((*slot).tts_values, (*slot).tts_isnull);
                pg_sys::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
                let outer = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
                let more = in_context(state, || raw::NextCopyFrom(state, econtext, values, nulls));
                if more && constraints {
                    if let Some(clear) = (*(*slot).tts_ops).clear {
                        clear(slot);
                    }
                    pg_sys::ExecStoreVirtualTuple(slot);
                    in_context(state, || raw::ExecConstraints(info, slot, estate));
                }
                pg_sys::MemoryContextSwitchTo(outer);
                if !more {
                    break;
                }
            }
            guard::call(|| raw::EndCopyFrom(state));
            Ok::<(), Error>(())
        })?;
        pg_sys::table_close(rel, pg_sys::NoLock as c_int);
        pg_sys::MemoryContextSwitchTo(old);
        pg_sys::MemoryContextDelete(context);
    }
    Ok(())
}
