//! Tasks on shards of this very node: run in this backend, in this transaction.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::lists::values_for;
use super::rights::{self, Others};
use super::tasks::{Task, Value};
use crate::ddl::unshard::unshard_local_error;
use crate::error::{Error, Result};
use crate::pg::transmit::{output, standard_strings};
use crate::pg::{fmgr, guard, spi};
use crate::plan::{DistPlan, Operation};
use pgrx::pg_sys::{self, Datum, Oid};

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

/// Parameters as SPI wants them; a value of a type that travels as text is text here, too.
unsafe fn params(plan: &DistPlan, values: &[Value]) -> pg_sys::ParamListInfo {
    if values.is_empty() {
        return std::ptr::null_mut();
    }
    let list = pg_sys::makeParamList(values.len() as i32);
    for (i, ((typ, value), spec)) in values.iter().zip(&plan.params).enumerate() {
        let p = (*list).params.as_mut_ptr().add(i);
        let remote = Oid::from(spec.remote);
        let datum = match value {
            Some(v) if remote != *typ => Some(fmgr::text_datum(&output(*typ, *v))),
            v => *v,
        };
        (*p).ptype = remote;
        (*p).isnull = datum.is_none();
        (*p).value = datum.unwrap_or(Datum::from(0usize));
        (*p).pflags = pg_sys::PARAM_FLAG_CONST as u16;
    }
    list
}

/// Runs a task; its rows go to `store`. Answers the number of rows processed. Its tables may be
/// checked as others, and a task that only reads can be given a snapshot.
pub unsafe fn run(
    plan: &DistPlan,
    task: &Task,
    values: &[Value],
    store: *mut pg_sys::Tuplestorestate,
    context: pg_sys::MemoryContext,
    (others, snapshot): (Option<&Others>, Option<pg_sys::Snapshot>),
) -> Result<u64> {
    let run = |fixed| run_here(plan, task, values, (store, context), fixed, others);
    let run = || match snapshot {
        Some(snapshot) => crate::pg::snapshot::with_active(snapshot, || run(true)),
        None => run(false),
    };
    guard::catch_result(|| standard_strings(run))
        .map_err(|e| unshard_local_error(without_statement(e, &task.sql), task.shard))
}

/// The error without the task's text, which is not the user's.
fn without_statement(mut e: Error, sql: &str) -> Error {
    if e.internal.as_ref().is_some_and(|(_, q)| q == sql) {
        e.internal = None;
    }
    let line = format!("SQL statement \"{sql}\"");
    e.context = e
        .context
        .take()
        .map(|c| c.replacen(&line, "", 1).replace("\n\n", "\n").trim_matches('\n').to_owned())
        .filter(|c| !c.is_empty());
    e
}

unsafe fn run_here(
    plan: &DistPlan,
    task: &Task,
    values: &[Value],
    (store, context): (*mut pg_sys::Tuplestorestate, pg_sys::MemoryContext),
    fixed: bool,
    others: Option<&Others>,
) -> Result<u64> {
    let sql = spi::cstring(&task.sql)?;
    let params = params(plan, &values_for(task, values));
    guard::call(|| pg_sys::SPI_connect());
    let mut options = pg_sys::SPIExecuteOptions { params, read_only: fixed, ..Default::default() };
    let returns = plan.returns_rows();
    if returns && !task.mute {
        let dest = CreateTuplestoreDestReceiver();
        SetTuplestoreDestReceiverParams(
            dest,
            store,
            context,
            true,
            std::ptr::null_mut(),
            std::ptr::null(),
        );
        options.dest = dest;
    }
    let text = sql.as_ptr();
    let options = &options as *const _;
    let rc = rights::here(others, &sql, || guard::call(|| raw_execute(text, options)));
    let processed = pg_sys::SPI_processed;
    guard::call(|| pg_sys::SPI_finish());
    if rc < 0 {
        return Err(Error::internal(format!("SPI error {rc}")));
    }
    Ok(if plan.operation == Operation::Modify { processed } else { 0 })
}
