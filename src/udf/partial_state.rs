//! Aggregates in parts: a built-in aggregate's state over a shard's rows, sent as bytes, and its
//! result from the states of all shards.
//!
//! A state is a version, the aggregate's OID and what its own functions make of the state.

use crate::error::{sqlstate, Error, Result};
use crate::pg::aggregate::{self, Aggregate, State};
use crate::pg::fmgr::Args;
use crate::pg::{guard, nodes};
use crate::pg_function;
use pgrx::pg_sys::{self, Datum, MemoryContext, Oid};

/// Version of the form of states.
const VERSION: u8 = 1;
/// Version and OID.
const HEADER: usize = 5;

/// The memory of the aggregate that runs.
fn memory(args: Args) -> Result<MemoryContext> {
    let mut context: MemoryContext = std::ptr::null_mut();
    // SAFETY: valid frame.
    let kind = unsafe { pg_sys::AggCheckCallContext(args.fcinfo(), &mut context) };
    if kind == 0 || context.is_null() {
        return Err(Error::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "function called in a context that is not an aggregate's",
        ));
    }
    Ok(context)
}

/// The aggregate with this OID, remembered over the calls of the running function.
fn load(args: Args, oid: Oid) -> Result<&'static Aggregate> {
    // SAFETY: the function's own record of calls; what is remembered lives as long as it does,
    // which is longer than any call that uses it.
    unsafe {
        let info = (*args.fcinfo()).flinfo;
        let known = (*info).fn_extra as *const Aggregate;
        if let Some(a) = known.as_ref().filter(|a| a.oid == oid) {
            return Ok(a);
        }
        let context = (*info).fn_mcxt;
        let a: *mut Aggregate = guard::leak_into(context, Aggregate::load(oid, context)?);
        (*info).fn_extra = a.cast();
        Ok(&*a)
    }
}

fn state(args: Args) -> *mut State {
    // The functions take `internal`, so nobody else can have made the value.
    args.datum(0).map_or(std::ptr::null_mut(), |d| d.cast_mut_ptr::<State>())
}

/// Makes sure that all rows are about one aggregate.
fn check_same(s: *const State, oid: Oid) -> Result<()> {
    // SAFETY: null or a state made by this module.
    if unsafe { s.as_ref() }.is_some_and(|s| s.aggregate != oid) {
        return Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            "the aggregate must be the same for all rows",
        ));
    }
    Ok(())
}

pg_function!(citus_partial_state_step, |args| {
    let memory = memory(args)?;
    let oid = args.required(args.oid(1), "aggregate")?;
    let mut s = state(args);
    check_same(s, oid)?;
    let a = load(args, oid)?;
    let values: Vec<Option<Datum>> = (2..args.len()).map(|i| args.datum(i)).collect();
    // SAFETY: the types are checked before values are passed on; the state lives in `memory`.
    unsafe {
        if s.is_null() {
            let types: Vec<Oid> = (2..args.len()).map(|i| args.arg_type(i)).collect();
            if !a.accepts(&types) {
                return Err(Error::new(
                    sqlstate::DATATYPE_MISMATCH,
                    "arguments do not have the types that the aggregate takes",
                ));
            }
            s = a.start(memory, false);
        }
        a.add(args, memory, s, &values);
    }
    Ok(Datum::from(s))
});

pg_function!(citus_partial_state_final, |args| {
    memory(args)?;
    // SAFETY: null or a state made by the step function.
    unsafe {
        let Some(s) = state(args).as_ref() else { return args.null() };
        let Some(body) = load(args, s.aggregate)?.write_state(args, s)? else {
            return args.null();
        };
        let mut bytes = vec![VERSION];
        bytes.extend(u32::from(s.aggregate).to_be_bytes());
        bytes.extend(body);
        Ok(aggregate::bytea(&bytes))
    }
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
    let memory = memory(args)?;
    let oid = args.required(args.oid(1), "aggregate")?;
    let mut s = state(args);
    check_same(s, oid)?;
    let a = load(args, oid)?;
    if args.arg_type(3) != a.result {
        return Err(wrong_result());
    }
    // SAFETY: parts are read by the aggregate's own functions; the state lives in `memory`.
    unsafe {
        if s.is_null() {
            s = a.start(memory, true);
        }
        let part = match args.datum(2) {
            Some(d) => Some(a.read_state(args, body(&aggregate::bytes_of(d), oid)?)?),
            None => None,
        };
        a.merge(args, memory, s, part);
    }
    Ok(Datum::from(s))
});

fn wrong_result() -> Error {
    Error::new(
        sqlstate::DATATYPE_MISMATCH,
        "last argument does not have the type of the aggregate's result",
    )
}

/// The aggregate that an empty input is about: its OID is a constant of the call.
unsafe fn constant_aggregate(args: Args) -> Option<Oid> {
    // SAFETY: PostgreSQL answers null when the call is no aggregate's; nodes are the plan's own.
    unsafe {
        let agg = pg_sys::AggGetAggref(args.fcinfo()).cast::<pg_sys::Aggref>().as_ref()?;
        let first: *mut pg_sys::TargetEntry = nodes::nth(agg.args, 0);
        let k = first.as_ref()?.expr as *mut pg_sys::Node;
        let k = nodes::cast::<pg_sys::Const>(k, pg_sys::NodeTag::T_Const)?;
        (!(*k).constisnull && (*k).consttype == pg_sys::OIDOID)
            .then(|| Oid::from((*k).constvalue.value() as u32))
    }
}

pg_function!(citus_combine_state_final, |args| {
    memory(args)?;
    let s = state(args);
    // SAFETY: the state is null or made by the step function, for an aggregate whose result has
    // the type that is expected here.
    unsafe {
        let oid = match s.as_ref() {
            Some(s) => Some(s.aggregate),
            None => constant_aggregate(args),
        };
        let Some(oid) = oid else { return args.null() };
        let a = load(args, oid)?;
        if pg_sys::get_fn_expr_rettype((*args.fcinfo()).flinfo) != a.result {
            return Err(wrong_result());
        }
        args.ret(a.finish(args, s))
    }
});
