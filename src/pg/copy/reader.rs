//! The input of COPY FROM, read by PostgreSQL's own code: client, file or program, encoding,
//! header, line ends, quoting, protocol and every complaint about them.
//!
//! [`Reader::next_line`] splits one line as PostgreSQL does. [`Reader::window`] shows whole lines
//! that already lie in PostgreSQL's buffer, so that a quick scanner can take the plain ones
//! ([`Reader::consume`]) and leave the others to `next_line`.

use super::layout::{integers, raw, strings, State, EOL_NL};
use super::statement::Target;
use super::{in_context, line_context, new_context};
use crate::error::{Error, Result};
use crate::pg::guard;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{c_char, c_int, CStr};

/// What the options of the statement say about the format.
#[derive(Clone, Debug)]
pub struct Options {
    /// Binary format.
    pub binary: bool,
    /// CSV format.
    pub csv: bool,
    /// Field delimiter.
    pub delimiter: u8,
    /// Quote character of CSV.
    pub quote: u8,
    /// Escape character of CSV.
    pub escape: u8,
    /// NULL marker.
    pub null: Vec<u8>,
    /// Columns of FORCE_NOT_NULL.
    pub force_not_null: Vec<String>,
    /// Columns of FORCE_NULL.
    pub force_null: Vec<String>,
    /// FREEZE.
    pub freeze: bool,
}

/// Reads the rows of one COPY FROM.
pub struct Reader {
    state: *mut State,
    rel: pg_sys::Relation,
    attnums: Vec<i32>,
    fields: *mut *mut c_char,
    nfields: c_int,
    estate: *mut pg_sys::EState,
    econtext: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
    filter: *mut pg_sys::ExprState,
    scratch: pg_sys::MemoryContext,
    excluded: i64,
}

impl Reader {
    /// Starts reading: asks the client for data, or opens the file or program.
    pub fn begin(target: &Target) -> Result<Reader> {
        let stmt = target.command.stmt;
        // SAFETY: arguments as DoCopy passes them. WHERE is evaluated here, not by CopyFrom.
        unsafe {
            let state = guard::call(|| {
                raw::BeginCopyFrom(
                    target.pstate,
                    target.rel,
                    std::ptr::null_mut(),
                    (*stmt).filename,
                    (*stmt).is_program,
                    None,
                    (*stmt).attlist,
                    (*stmt).options,
                )
            });
            if (*state).rel != target.rel || (*state).input_buf_len < 0 {
                return Err(Error::internal("COPY of this server version is not known"));
            }
            let estate = pg_sys::CreateExecutorState();
            let econtext = pg_sys::MakePerTupleExprContext(estate);
            let desc = (*target.rel).rd_att;
            let slot = pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsVirtual);
            let filter = target.filter;
            let filter = guard::call(|| raw::ExecInitQual(filter, std::ptr::null_mut()));
            Ok(Reader {
                state,
                rel: target.rel,
                attnums: integers((*state).attnumlist),
                fields: std::ptr::null_mut(),
                nfields: 0,
                estate,
                econtext,
                slot,
                filter,
                scratch: new_context(c"distributed COPY row"),
                excluded: 0,
            })
        }
    }

    /// The format of the input.
    pub fn options(&self) -> Options {
        // SAFETY: strings of the options are zero-terminated or null.
        unsafe {
            let o = &(*self.state).opts;
            let byte = |p: *mut c_char| if p.is_null() { 0 } else { *p as u8 };
            let text = |p: *mut c_char| {
                if p.is_null() {
                    Vec::new()
                } else {
                    CStr::from_ptr(p).to_bytes().to_vec()
                }
            };
            Options {
                binary: o.binary,
                csv: o.csv_mode,
                delimiter: byte(o.delim),
                quote: byte(o.quote),
                escape: byte(o.escape),
                null: text(o.null_print),
                force_not_null: strings(o.force_notnull),
                force_null: strings(o.force_null),
                freeze: o.freeze,
            }
        }
    }

    /// Attribute numbers of the input's fields, in order.
    pub fn attnums(&self) -> &[i32] {
        &self.attnums
    }

    /// Attribute numbers of the columns that are not in the input and have a default.
    pub fn defaults(&self) -> Vec<i32> {
        // SAFETY: `defmap` has `num_defaults` entries.
        unsafe {
            (0..(*self.state).num_defaults.max(0) as usize)
                .map(|i| *(*self.state).defmap.add(i) + 1)
                .collect()
        }
    }

    /// Number of attributes of the table, dropped ones included.
    pub fn natts(&self) -> usize {
        // SAFETY: the relation is open.
        unsafe { (*(*self.rel).rd_att).natts.max(0) as usize }
    }

    fn attribute(&self, attno: i32) -> &pg_sys::FormData_pg_attribute {
        let at = (attno - 1).clamp(0, self.natts() as i32 - 1) as usize;
        // SAFETY: clamped to the descriptor's attributes.
        unsafe { &*(*(*self.rel).rd_att).attrs.as_ptr().add(at) }
    }

    /// Name of a column.
    pub fn column_name(&self, attno: i32) -> String {
        // SAFETY: names are zero-terminated.
        unsafe {
            CStr::from_ptr(self.attribute(attno).attname.data.as_ptr())
                .to_string_lossy()
                .into_owned()
        }
    }

    /// Type of a column.
    pub fn column_type(&self, attno: i32) -> Oid {
        self.attribute(attno).atttypid
    }

    /// Runs C code with PostgreSQL's error context of the current line.
    unsafe fn with_context<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: the state is alive; the caller promises the rest.
        unsafe { in_context(self.state, f) }
    }

    /// Reads the next line and splits it into fields; false at the end.
    pub fn next_line(&mut self) -> bool {
        let (mut fields, mut nfields) = (std::ptr::null_mut(), 0);
        let (state, f, n) = (self.state, &raw mut fields, &raw mut nfields);
        // SAFETY: valid state and out parameters; fields stay valid until the next call.
        let more = unsafe {
            pg_sys::MemoryContextReset(self.scratch);
            self.with_context(|| raw::NextCopyFromRawFields(state, f, n))
        };
        (self.fields, self.nfields) = (fields, if more { nfields } else { 0 });
        more
    }

    /// The current line without its end, in the server's encoding.
    pub fn line(&self) -> &[u8] {
        // SAFETY: `line_buf` holds `len` bytes.
        unsafe {
            let b = &(*self.state).line_buf;
            std::slice::from_raw_parts(b.data as *const u8, b.len.max(0) as usize)
        }
    }

    /// Number of the current line.
    pub fn line_number(&self) -> u64 {
        // SAFETY: valid state.
        unsafe { (*self.state).cur_lineno }
    }

    /// Whether the current line has exactly the expected number of fields.
    pub fn is_complete(&self) -> bool {
        self.nfields as usize == self.attnums.len()
    }

    /// A field of the current line as a value of its column, `None` for NULL. It lives until the
    /// next line is read.
    pub fn value(&mut self, field: usize) -> Option<Datum> {
        if field >= self.nfields.max(0) as usize {
            return None;
        }
        let attno = *self.attnums.get(field)?;
        // SAFETY: `field` is below the number of fields; arrays of the state have an entry per
        // attribute. The string forced by FORCE_NOT_NULL is the NULL marker, as in PostgreSQL.
        unsafe {
            let s = &mut *self.state;
            let at = (attno - 1).max(0) as usize;
            let mut text = *self.fields.add(field);
            if s.opts.csv_mode {
                if text.is_null() {
                    if *s.opts.force_notnull_flags.add(at) {
                        text = s.opts.null_print;
                    }
                } else if *s.opts.force_null_flags.add(at)
                    && CStr::from_ptr(text) == CStr::from_ptr(s.opts.null_print)
                {
                    text = std::ptr::null_mut();
                }
            }
            let attribute = self.attribute(attno) as *const pg_sys::FormData_pg_attribute;
            let (function, param) = (s.in_functions.add(at), *s.typioparams.add(at));
            let typmod = (*attribute).atttypmod;
            s.cur_attname = (*attribute).attname.data.as_ptr();
            s.cur_attval = text;
            let old = pg_sys::MemoryContextSwitchTo(self.scratch);
            let value = self.with_context(|| raw::InputFunctionCall(function, text, param, typmod));
            pg_sys::MemoryContextSwitchTo(old);
            let s = &mut *self.state;
            s.cur_attname = std::ptr::null();
            s.cur_attval = std::ptr::null();
            (!text.is_null()).then_some(value)
        }
    }

    /// A field of the current line as text, `None` for the NULL marker.
    pub fn field(&self, field: usize) -> Option<&[u8]> {
        if field >= self.nfields.max(0) as usize {
            return None;
        }
        // SAFETY: below the number of fields, which are zero-terminated or null.
        unsafe {
            let text = *self.fields.add(field);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_bytes())
        }
    }

    /// Converts every field of the current line, for the error that PostgreSQL would raise.
    pub fn check_line(&mut self) -> Result<()> {
        use crate::error::sqlstate::BAD_COPY_FILE_FORMAT;
        let (have, want) = (self.nfields.max(0) as usize, self.attnums.len());
        if want > 0 && have > want {
            let e = Error::new(BAD_COPY_FILE_FORMAT, "extra data after last expected column");
            return Err(self.at_line(e));
        }
        for field in 0..want {
            if field >= have {
                let attno = self.attnums.get(field).copied().unwrap_or(1);
                let what = format!("missing data for column \"{}\"", self.column_name(attno));
                return Err(self.at_line(Error::new(BAD_COPY_FILE_FORMAT, what)));
            }
            self.value(field);
        }
        Ok(())
    }

    /// Adds the context of the current line to an error of our own.
    pub fn at_line(&self, e: Error) -> Error {
        // SAFETY: valid state; the relation's name is zero-terminated.
        let context = unsafe {
            let name = CStr::from_ptr((*self.state).cur_relname).to_string_lossy();
            let shown = (*self.state).line_buf_valid && !(*self.state).opts.binary;
            line_context(&name, self.line_number(), shown.then(|| self.line()))
        };
        let mut e = e.context(context);
        e.rethrow = true;
        e
    }

    /// Reads the next row that passes WHERE, with defaults filled in; `None` at the end. Values
    /// live until the next call.
    pub fn next_row(&mut self) -> Option<(&[Datum], &[bool])> {
        loop {
            super::check_interrupts();
            // SAFETY: slot arrays have an entry per attribute; the per-tuple context is current
            // during the call as PostgreSQL demands.
            unsafe {
                let (state, econtext, slot) = (self.state, self.econtext, self.slot);
                pg_sys::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
                if let Some(clear) = (*(*slot).tts_ops).clear {
                    clear(slot);
                }
                let (values, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
                let old = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
                let more = self.with_context(|| raw::NextCopyFrom(state, econtext, values, nulls));
                pg_sys::MemoryContextSwitchTo(old);
                if !more {
                    return None;
                }
                pg_sys::ExecStoreVirtualTuple(slot);
                (*slot).tts_tableOid = (*self.rel).rd_id;
                if self.passes() {
                    let n = self.natts();
                    return Some((
                        std::slice::from_raw_parts(values, n),
                        std::slice::from_raw_parts(nulls, n),
                    ));
                }
                self.excluded += 1;
                let excluded = self.excluded;
                let index = pg_sys::PROGRESS_COPY_TUPLES_EXCLUDED as c_int;
                pg_sys::pgstat_progress_update_param(index, excluded);
            }
        }
    }

    /// Whether the row in the slot passes WHERE.
    unsafe fn passes(&self) -> bool {
        let (filter, econtext) = (self.filter, self.econtext);
        if filter.is_null() {
            return true;
        }
        // SAFETY: filter and context belong together; evaluated in the per-tuple context.
        unsafe {
            (*econtext).ecxt_scantuple = self.slot;
            let old = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
            let mut isnull = false;
            let null = &raw mut isnull;
            let Some(eval) = (*filter).evalfunc else { return true };
            let value = self.with_context(|| eval(filter, econtext, null));
            pg_sys::MemoryContextSwitchTo(old);
            !isnull && value.value() & 1 != 0
        }
    }

    /// Computes the defaults of the columns that are not in the input, by attribute number.
    pub fn default_values(&mut self) -> Vec<(i32, Option<Datum>)> {
        let columns = self.defaults();
        let mut out = Vec::with_capacity(columns.len());
        // SAFETY: `defexprs` has `num_defaults` entries; evaluated in the per-tuple context, which
        // is reset at the next call.
        unsafe {
            let econtext = self.econtext;
            pg_sys::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
            for (i, attno) in columns.into_iter().enumerate() {
                let expr = *(*self.state).defexprs.add(i);
                let Some(eval) = (*expr).evalfunc else { continue };
                let mut isnull = false;
                let null = &raw mut isnull;
                let old = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
                let value = self.with_context(|| eval(expr, econtext, null));
                pg_sys::MemoryContextSwitchTo(old);
                out.push((attno, (!isnull).then_some(value)));
            }
        }
        out
    }

    /// Whether a default may differ from row to row.
    pub fn has_volatile_defaults(&self) -> bool {
        // SAFETY: expressions of the state are alive.
        unsafe {
            (0..(*self.state).num_defaults.max(0) as usize).any(|i| {
                let expr = (**(*self.state).defexprs.add(i)).expr;
                expr.is_null() || pg_sys::contain_volatile_functions(expr as *mut pg_sys::Node)
            })
        }
    }

    /// The unread bytes in PostgreSQL's buffer: checked, in the server's encoding, perhaps with
    /// an incomplete line at their end. `None` unless lines end with `\n` alone.
    pub fn window(&self) -> Option<&[u8]> {
        // SAFETY: index and length bound the verified part of the buffer.
        unsafe {
            let s = &*self.state;
            if s.eol_type != EOL_NL || s.opts.binary || s.input_buf.is_null() {
                return None;
            }
            let len = usize::try_from(s.input_buf_len - s.input_buf_index).ok()?;
            let at = usize::try_from(s.input_buf_index).ok()?;
            Some(std::slice::from_raw_parts(s.input_buf.add(at) as *const u8, len))
        }
    }

    /// Takes `bytes` of [`Reader::window`], which are whole lines that count as `lines`.
    pub fn consume(&mut self, bytes: usize, lines: u64) {
        let have = self.window().map_or(0, <[u8]>::len);
        // SAFETY: not beyond the verified bytes.
        unsafe {
            (*self.state).input_buf_index += bytes.min(have) as c_int;
            (*self.state).cur_lineno += lines;
        }
    }

    /// Shows the number of rows in `pg_stat_progress_copy`; also after another COPY of this
    /// backend took the entry.
    pub fn report_progress(&self, rows: u64) {
        // SAFETY: updates this backend's own status entry.
        unsafe {
            let entry = pg_sys::MyBEEntry;
            let command = pg_sys::ProgressCommandType::PROGRESS_COMMAND_COPY;
            if !entry.is_null() && (*entry).st_progress_command != command {
                pg_sys::pgstat_progress_start_command(command, (*self.rel).rd_id);
                let set = |i: u32, v: i64| pg_sys::pgstat_progress_update_param(i as c_int, v);
                let bytes = (*self.state).bytes_processed as i64;
                set(pg_sys::PROGRESS_COPY_COMMAND, pg_sys::PROGRESS_COPY_COMMAND_FROM.into());
                set(pg_sys::PROGRESS_COPY_BYTES_PROCESSED, bytes);
            }
            let index = pg_sys::PROGRESS_COPY_TUPLES_PROCESSED as c_int;
            pg_sys::pgstat_progress_update_param(index, rows as i64);
        }
    }

    /// Ends the reading: closes the file, waits for the program.
    pub fn end(self) {
        let state = self.state;
        // SAFETY: everything was made in `begin`; nothing is used afterwards. The lock on the
        // table stays until the end of the transaction.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.estate);
            guard::call(|| raw::EndCopyFrom(state));
            pg_sys::MemoryContextDelete(self.scratch);
            pg_sys::table_close(self.rel, pg_sys::NoLock as c_int);
        }
    }
}
