//! Rows of tables without queries: scanning one, and loading text rows into one.

use super::{guard, spi, tree};
use crate::error::{Error, OrRaise, Result};
use crate::pg::transmit::transmit;
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::Cell;
use std::ffi::{c_int, c_void, CStr};

/// A scan of a table with a snapshot of its own, of everything committed until now.
pub struct TableScan {
    rel: pg_sys::Relation,
    scan: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
    outputs: Vec<Option<pg_sys::FmgrInfo>>,
    row_context: pg_sys::MemoryContext,
    has_row: bool,
}

impl TableScan {
    /// Starts a scan; the table is locked by the caller. Positions itself on the first row.
    pub fn open(relid: Oid) -> Result<Self> {
        // SAFETY: what is opened is closed by close(), or by the abort of the transaction.
        unsafe {
            let mut this = guard::call(|| {
                let rel = pg_sys::table_open(relid, pg_sys::AccessShareLock as i32);
                let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
                let slot = pg_sys::table_slot_create(rel, std::ptr::null_mut());
                let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
                    | pg_sys::ScanOptions::SO_ALLOW_STRAT
                    | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
                let scan = match (*(*rel).rd_tableam).scan_begin {
                    Some(begin) => {
                        begin(rel, snapshot, 0, std::ptr::null_mut(), std::ptr::null_mut(), flags)
                    }
                    None => std::ptr::null_mut(),
                };
                let row_context = pg_sys::AllocSetContextCreateInternal(
                    pg_sys::CurrentMemoryContext,
                    c"citus row".as_ptr(),
                    pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
                );
                TableScan {
                    rel,
                    scan,
                    slot,
                    snapshot,
                    outputs: vec![],
                    row_context,
                    has_row: false,
                }
            });
            if this.scan.is_null() {
                return Err(Error::internal("table access method cannot scan"));
            }
            this.outputs = this.output_functions();
            this.advance();
            Ok(this)
        }
    }

    unsafe fn output_functions(&self) -> Vec<Option<pg_sys::FmgrInfo>> {
        // SAFETY: attributes up to natts are valid.
        unsafe {
            let desc = (*self.rel).rd_att;
            (0..(*desc).natts.max(0) as usize)
                .map(|i| {
                    let a = (*desc).attrs.as_ptr().add(i);
                    if (*a).attisdropped {
                        return None;
                    }
                    let (mut func, mut varlena) = (Oid::INVALID, false);
                    let mut info = pg_sys::FmgrInfo::default();
                    pg_sys::getTypeOutputInfo((*a).atttypid, &mut func, &mut varlena);
                    pg_sys::fmgr_info(func, &mut info);
                    Some(info)
                })
                .collect()
        }
    }

    /// Whether the scan stands on a row.
    pub fn has_row(&self) -> bool {
        self.has_row
    }

    /// Goes to the next row.
    pub fn advance(&mut self) {
        let (rel, scan, slot) = (self.rel, self.scan, self.slot);
        // SAFETY: an open scan; the row's text forms live in the context reset here.
        self.has_row = unsafe {
            pg_sys::MemoryContextReset(self.row_context);
            guard::call(|| {
                let found = match (*(*rel).rd_tableam).scan_getnextslot {
                    Some(next) => next(scan, pg_sys::ScanDirection::ForwardScanDirection, slot),
                    None => false,
                };
                if found {
                    pg_sys::slot_getsomeattrs_int(slot, (*(*rel).rd_att).natts);
                }
                found
            })
        };
    }

    /// The value of a column in the current row, `None` when NULL.
    pub fn value(&self, attno: i16) -> Option<Datum> {
        // SAFETY: all attributes were deformed; the number is checked.
        unsafe {
            let i = usize::try_from(attno).ok()?.checked_sub(1)?;
            if !self.has_row || i >= (*self.slot).tts_nvalid as usize {
                return None;
            }
            (!*(*self.slot).tts_isnull.add(i)).then(|| *(*self.slot).tts_values.add(i))
        }
    }

    /// Appends the current row in COPY's text format.
    pub fn append_text(&mut self, attnos: &[i16], out: &mut Vec<u8>) {
        for (n, attno) in attnos.iter().enumerate() {
            if n > 0 {
                out.push(b'\t');
            }
            let value = self.value(*attno);
            let i = usize::try_from(*attno).unwrap_or(0).wrapping_sub(1);
            match (value, self.outputs.get_mut(i)) {
                (Some(d), Some(Some(output))) => {
                    // SAFETY: the type's own output function; its result is zero-terminated.
                    let text = unsafe {
                        let old = pg_sys::CurrentMemoryContext;
                        pg_sys::CurrentMemoryContext = self.row_context;
                        let output: *mut pg_sys::FmgrInfo = output;
                        let c =
                            transmit(|| Ok(guard::call(|| pg_sys::OutputFunctionCall(output, d))))
                                .or_raise();
                        pg_sys::CurrentMemoryContext = old;
                        CStr::from_ptr(c).to_bytes()
                    };
                    append_field(Some(text), out);
                }
                _ => append_field(None, out),
            }
        }
        out.push(b'\n');
    }

    /// Ends the scan.
    pub fn close(self) {
        // SAFETY: closes what open() opened, once.
        unsafe {
            guard::call(|| {
                if let Some(end) = (*(*self.rel).rd_tableam).scan_end {
                    end(self.scan);
                }
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::UnregisterSnapshot(self.snapshot);
                pg_sys::MemoryContextDelete(self.row_context);
                pg_sys::table_close(self.rel, pg_sys::NoLock as i32);
            })
        }
    }
}

/// Appends a field in COPY's text format.
pub fn append_field(text: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(text) = text else {
        out.extend_from_slice(b"\\N");
        return;
    };
    for b in text {
        match b {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0b => out.extend_from_slice(b"\\v"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => out.push(*b),
        }
    }
}

extern "C-unwind" {
    // Without the binding's own guard, which loses fields of errors.
    #[allow(clashing_extern_declarations)]
    #[link_name = "CopyFrom"]
    fn raw_copy_from(state: *mut c_void) -> u64;
}

thread_local! {
    /// What is left of the data being loaded.
    static DATA: Cell<(*const u8, usize)> = const { Cell::new((std::ptr::null(), 0)) };
}

unsafe extern "C-unwind" fn next_data(out: *mut c_void, _min: c_int, max: c_int) -> c_int {
    let (data, len) = DATA.with(Cell::get);
    let n = len.min(max.max(0) as usize);
    // SAFETY: `data` has `len` bytes, `out` takes `max`.
    unsafe {
        std::ptr::copy_nonoverlapping(data, out as *mut u8, n);
        DATA.with(|d| d.set((data.add(n), len - n)));
    }
    n as c_int
}

/// Loads rows in COPY's text format into columns of a table here; gives back their number.
pub fn load_text(relid: Oid, columns: &[String], data: &[u8]) -> Result<u64> {
    DATA.with(|d| d.set((data.as_ptr(), data.len())));
    let names: Vec<_> = columns.iter().map(|c| tree::palloc_str(c)).collect();
    // SAFETY: the server's own COPY with its usual set-up; `data` outlives the call.
    unsafe {
        Ok(guard::call(|| {
            let rel = pg_sys::table_open(relid, pg_sys::RowExclusiveLock as i32);
            let pstate = pg_sys::make_parsestate(std::ptr::null_mut());
            let item = pg_sys::addRangeTableEntryForRelation(
                pstate,
                rel,
                pg_sys::RowExclusiveLock as i32,
                std::ptr::null_mut(),
                false,
                false,
            );
            pg_sys::addNSItemToQuery(pstate, item, true, true, true);
            let mut list: *mut pg_sys::List = std::ptr::null_mut();
            for n in &names {
                list = pg_sys::lappend(list, pg_sys::makeString(*n) as *mut c_void);
            }
            let encoding = pg_sys::makeDefElem(
                c"encoding".as_ptr().cast_mut(),
                pg_sys::makeString(pg_sys::GetDatabaseEncodingName().cast_mut())
                    as *mut pg_sys::Node,
                -1,
            );
            let options = pg_sys::lappend(std::ptr::null_mut(), encoding as *mut c_void);
            let state = pg_sys::BeginCopyFrom(
                pstate,
                rel,
                std::ptr::null_mut(),
                std::ptr::null(),
                false,
                Some(next_data),
                list,
                options,
            );
            let n = raw_copy_from(state as *mut c_void);
            pg_sys::EndCopyFrom(state);
            pg_sys::free_parsestate(pstate);
            pg_sys::table_close(rel, pg_sys::NoLock as i32);
            pg_sys::CommandCounterIncrement();
            n
        }))
    }
}

/// Runs `f` with the settings under which values in text form mean the same everywhere.
pub fn with_portable_text<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    spi::with_setting("datestyle", "ISO, YMD", || {
        spi::with_setting("intervalstyle", "postgres", || {
            spi::with_setting("extra_float_digits", "1", || {
                spi::with_setting("bytea_output", "hex", f)
            })
        })
    })
}

/// Runs `f` with triggers and foreign-key checks off: rows are moved, not changed. The privileges
/// of the user were checked by the caller.
pub fn without_triggers<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: the level is closed below or by the abort of the transaction. The setting belongs
    // to superusers, which the context passed here stands for.
    let level = unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"session_replication_role".as_ptr(),
            c"replica".as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        level
    };
    let r = f();
    // SAFETY: closes the level opened above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    r
}
