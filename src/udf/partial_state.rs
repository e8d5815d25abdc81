//! Aggregates in parts: a built-in aggregate's state over a shard's rows, sent as bytes, and its
//! result from the states of all shards.
//!
//! A state is a version, the aggregate's OID and what its own functions make of the state.

use crate::error::{sqlstate, Error, Result};
use crate::pg::aggregate;
use crate::pg::aggregate_call::{self, Call};
use crate::pg::fmgr::Args;
use crate::pg_function;
use pgrx::pg_sys::Oid;

/// Version of the form of states.
const VERSION: u8 = 1;
/// Version and OID.
const HEADER: usize = 5;

/// The aggregate that argument 1 names, which must be the same for all rows.
fn named(call: &Call, args: Args) -> Result<Oid> {
    let oid = args.required(args.oid(1), "aggregate")?;
    if call.aggregate_of_state().is_some_and(|known| known != oid) {
        return Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            "the aggregate must be the same for all rows",
        ));
    }
    Ok(oid)
}

pg_function!(citus_partial_state_step, |args| {
    let call = Call::new(args)?;
    let a = call.aggregate(named(&call, args)?)?;
    call.add(a, 2)?;
    Ok(call.state())
});

pg_function!(citus_partial_state_final, |args| {
    let call = Call::new(args)?;
    let Some(oid) = call.aggregate_of_state() else { return args.null() };
    let Some(body) = call.write_state(call.aggregate(oid)?)? else { return args.null() };
    let mut bytes = vec![VERSION];
    bytes.extend(u32::from(oid).to_be_bytes());
    bytes.extend(body);
    Ok(aggregate_call::bytes_result(&bytes))
});

/// The state within the bytes of a part.
fn body(bytes: &[u8], oid: Oid) -> Result<&[u8]> {
    let Some((head, body)) = bytes.split_at_checked(HEADER) else {
        return Err(aggregate::malformed("It is too short."));
    };
    if head.first() != Some(&VERSION) {
        return Err(aggregate::malformed("It has an unknown version.")
            .hint("All nodes must run the same version of the extension."));
    }
    if head.get(1..) != Some(&u32::from(oid).to_be_bytes()[..]) {
        return Err(aggregate::malformed("It belongs to another aggregate."));
    }
    Ok(body)
}

pg_function!(citus_combine_state_step, |args| {
    let call = Call::new(args)?;
    let oid = named(&call, args)?;
    let a = call.aggregate(oid)?;
    if args.arg_type(3) != a.result {
        return Err(wrong_result());
    }
    match aggregate_call::bytes_argument(args, 2) {
        Some(bytes) => call.merge(a, Some(body(&bytes, oid)?))?,
        None => call.merge(a, None)?,
    }
    Ok(call.state())
});

fn wrong_result() -> Error {
    Error::new(
        sqlstate::DATATYPE_MISMATCH,
        "last argument does not have the type of the aggregate's result",
    )
}

pg_function!(citus_combine_state_final, |args| {
    let call = Call::new(args)?;
    // An empty input has no state; what it is about is a constant of the call.
    let Some(oid) = call.aggregate_of_state().or_else(|| call.constant_oid()) else {
        return args.null();
    };
    call.finish(call.aggregate(oid)?).unwrap_or_else(|| Err(wrong_result()))
});
