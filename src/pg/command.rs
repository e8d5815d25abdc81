//! Running a user's command text in this backend, with what a client would see of it.

use super::fmgr::Args;
use super::{guard, spi};
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys;
use std::ffi::CStr;

/// What a command gave.
pub struct Outcome {
    /// Names of the columns; none for a command without result rows.
    pub columns: Vec<String>,
    /// Rows as text.
    pub rows: spi::TextRows,
    /// The command tag, as a client would get it.
    pub tag: String,
}

/// Runs one or more statements with the session's search path; the result is the last one's.
pub fn run(sql: &str) -> Result<Outcome> {
    let _own = spi::Internal::begin();
    let text = spi::cstring(sql)?;
    // SAFETY: SPI is closed below or by the abort of the (sub)transaction.
    unsafe {
        let name = last_command_name(&text)?;
        guard::call(|| pg_sys::SPI_connect());
        let c = text.as_ptr();
        let rc = guard::call(|| pg_sys::SPI_execute(c, false, 0));
        if rc < 0 {
            let why = CStr::from_ptr(pg_sys::SPI_result_code_string(rc)).to_string_lossy();
            pg_sys::SPI_finish();
            return Err(refused(rc, &name, &why));
        }
        let processed = pg_sys::SPI_processed;
        let table = pg_sys::SPI_tuptable;
        let columns = if table.is_null() { Vec::new() } else { names((*table).tupdesc) };
        let rows = spi::read_rows();
        pg_sys::SPI_finish();
        Ok(Outcome { columns, rows, tag: tag(&name, processed) })
    }
}

/// Names of the columns of a result.
unsafe fn names(desc: pg_sys::TupleDesc) -> Vec<String> {
    // SAFETY: attribute access is bounded by natts; names are zero-terminated.
    unsafe {
        (0..(*desc).natts.max(0) as usize)
            .map(|i| {
                let a = (*desc).attrs.as_ptr().add(i);
                CStr::from_ptr((*a).attname.data.as_ptr()).to_string_lossy().into_owned()
            })
            .collect()
    }
}

/// SPI's own refusals.
fn refused(rc: i32, name: &str, why: &str) -> Error {
    match rc {
        pg_sys::SPI_ERROR_TRANSACTION | pg_sys::SPI_ERROR_COPY => Error::unsupported(format!(
            "command \"{name}\" cannot be run on this node from within a function"
        )),
        _ => Error::internal(format!("could not run command: {why}")),
    }
}

/// The tag's words for the last statement of the text, empty when there is none.
unsafe fn last_command_name(text: &CStr) -> Result<String> {
    // SAFETY: the parser's list is valid until the memory context is reset.
    unsafe {
        let c = text.as_ptr();
        let list = guard::call(|| pg_sys::pg_parse_query(c));
        if list.is_null() || (*list).length <= 0 {
            return Ok(String::new());
        }
        let cell = (*list).elements.add((*list).length as usize - 1);
        let raw = (*cell).ptr_value as *mut pg_sys::RawStmt;
        let stmt = (*raw).stmt;
        let name = guard::call(|| pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(stmt)));
        Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Tags of commands that count rows carry the number.
fn tag(name: &str, processed: u64) -> String {
    match name {
        "INSERT" => format!("INSERT 0 {processed}"),
        "SELECT" | "UPDATE" | "DELETE" | "MERGE" | "FETCH" | "MOVE" | "COPY"
        | "CREATE TABLE AS" | "SELECT INTO" => {
            let name = if name.ends_with("AS") || name.ends_with("INTO") { "SELECT" } else { name };
            format!("{name} {processed}")
        }
        _ => name.to_owned(),
    }
}

extern "C-unwind" {
    fn CreateTuplestoreDestReceiver() -> *mut pg_sys::DestReceiver;
    fn SetTuplestoreDestReceiverParams(
        dest: *mut pg_sys::DestReceiver,
        store: *mut pg_sys::Tuplestorestate,
        context: pg_sys::MemoryContext,
        detoast: bool,
        target: pg_sys::TupleDesc,
        map_failure: *const std::ffi::c_char,
    );
    #[link_name = "SPI_execute_extended"]
    fn raw_execute(src: *const std::ffi::c_char, options: *const pg_sys::SPIExecuteOptions) -> i32;
}

/// Runs one statement; its rows, which must fit, become the result of the function `args` is the
/// call of. `before` is called right before the statement is planned.
pub fn run_into(sql: &str, before: impl FnOnce(), args: Args) -> Result<()> {
    let text = spi::cstring(sql)?;
    if super::tree::parse(sql)?.len() != 1 {
        return Err(Error::new(sqlstate::SYNTAX_ERROR, "a single statement is expected"));
    }
    let rows = args.scalar_rows()?;
    // SAFETY: the store lives in the memory named here, and as long as the function's result; SPI
    // is closed below or by the abort of the (sub)transaction.
    unsafe {
        let name = last_command_name(&text)?;
        let rsi = (*args.fcinfo()).resultinfo as *mut pg_sys::ReturnSetInfo;
        let context = (*(*rsi).econtext).ecxt_per_query_memory;
        let (store, desc) = (rows.store(), rows.desc());
        guard::call(|| pg_sys::SPI_connect());
        let dest = CreateTuplestoreDestReceiver();
        let options = pg_sys::SPIExecuteOptions { dest, ..Default::default() };
        let mismatch = c"the query's columns are not those that are asked for".as_ptr();
        SetTuplestoreDestReceiverParams(dest, store, context, true, desc, mismatch);
        before();
        let (c, options) = (text.as_ptr(), &options as *const _);
        let rc = guard::call(|| raw_execute(c, options));
        guard::call(|| pg_sys::SPI_finish());
        if rc < 0 {
            let why = CStr::from_ptr(pg_sys::SPI_result_code_string(rc)).to_string_lossy();
            return Err(refused(rc, &name, &why));
        }
    }
    Ok(())
}
