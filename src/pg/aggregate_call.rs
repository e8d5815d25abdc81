//! A running call of one of the functions of an aggregate whose states are those of `aggregate`.

use super::aggregate::{self, Aggregate, State};
use super::fmgr::Args;
use super::guard;
use super::query::{Const, List, Node};
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys::{self, Datum, MemoryContext, Oid};
use std::cell::Cell;

/// The call; its first argument is the state.
pub struct Call {
    args: Args,
    memory: MemoryContext,
    state: Cell<*mut State>,
}

impl Call {
    /// The running call, which must be an aggregate's.
    pub fn new(args: Args) -> Result<Call> {
        let mut memory: MemoryContext = std::ptr::null_mut();
        // SAFETY: valid frame.
        let kind = unsafe { pg_sys::AggCheckCallContext(args.fcinfo(), &mut memory) };
        if kind == 0 || memory.is_null() {
            return Err(Error::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "function called in a context that is not an aggregate's",
            ));
        }
        // The functions take `internal`, so nobody else can have made the value.
        let state = args.datum(0).map_or(std::ptr::null_mut(), |d| d.cast_mut_ptr::<State>());
        Ok(Call { args, memory, state: Cell::new(state) })
    }

    /// The aggregate that the state belongs to, if there is a state.
    pub fn aggregate_of_state(&self) -> Option<Oid> {
        // SAFETY: null or a state made by `start`.
        unsafe { self.state.get().as_ref() }.map(|s| s.aggregate)
    }

    /// The aggregate with this OID, remembered over the calls of the running function.
    pub fn aggregate(&self, oid: Oid) -> Result<&Aggregate> {
        // SAFETY: the function's own record of calls; what is remembered lives as long as it does,
        // which is longer than any call that uses it.
        unsafe {
            let info = (*self.args.fcinfo()).flinfo;
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

    /// The state, made by the first row.
    fn start(&self, a: &Aggregate, combining: bool) -> *mut State {
        if self.state.get().is_null() {
            // SAFETY: the state lives in the aggregate's memory.
            self.state.set(unsafe { a.start(self.memory, combining) });
        }
        self.state.get()
    }

    /// Takes arguments from number `first` on into the state.
    pub fn add(&self, a: &Aggregate, first: usize) -> Result<()> {
        let numbers = first..self.args.len();
        if self.state.get().is_null() {
            let types: Vec<Oid> = numbers.clone().map(|i| self.args.arg_type(i)).collect();
            // SAFETY: type look-ups.
            if !unsafe { a.accepts(&types) } {
                return Err(Error::new(
                    sqlstate::DATATYPE_MISMATCH,
                    "arguments do not have the types that the aggregate takes",
                ));
            }
        }
        let values: Vec<Option<Datum>> = numbers.map(|i| self.args.datum(i)).collect();
        let state = self.start(a, false);
        // SAFETY: all rows of a call have the types that were checked at the first; the state
        // lives in the aggregate's memory.
        unsafe { a.add(self.args, self.memory, state, &values) };
        Ok(())
    }

    /// Takes the state of a part, as bytes, into the state; `None` for a part without one.
    pub fn merge(&self, a: &Aggregate, part: Option<&[u8]>) -> Result<()> {
        let state = self.start(a, true);
        // SAFETY: parts are read by the aggregate's own functions; the state lives in the
        // aggregate's memory.
        unsafe {
            let part = part.map(|bytes| a.read_state(self.args, bytes)).transpose()?;
            a.merge(self.args, self.memory, state, part);
        }
        Ok(())
    }

    /// The state as bytes; `None` when there is nothing in it.
    pub fn write_state(&self, a: &Aggregate) -> Result<Option<Vec<u8>>> {
        // SAFETY: null or a state made by `start`.
        match unsafe { self.state.get().as_ref() } {
            // SAFETY: the aggregate's own functions on its state.
            Some(s) => unsafe { a.write_state(self.args, s) },
            None => Ok(None),
        }
    }

    /// The aggregate's result, where the call's result has its type; `None` otherwise.
    pub fn finish(&self, a: &Aggregate) -> Option<Result<Datum>> {
        // SAFETY: the state is null or of an aggregate whose result has the expected type.
        unsafe {
            let expected = pg_sys::get_fn_expr_rettype((*self.args.fcinfo()).flinfo);
            (expected == a.result).then(|| self.args.ret(a.finish(self.args, self.state.get())))
        }
    }

    /// The state as the result of a call that grows it.
    pub fn state(&self) -> Datum {
        Datum::from(self.state.get())
    }

    /// The value of the aggregate's first argument where it is a constant OID.
    pub fn constant_oid(&self) -> Option<Oid> {
        // SAFETY: PostgreSQL answers null when the call is no aggregate's; nodes are the plan's
        // own.
        unsafe {
            let agg = pg_sys::AggGetAggref(self.args.fcinfo()).cast::<pg_sys::Aggref>().as_ref()?;
            let first = List::<Node>::from_raw(agg.args).at(0);
            first.cast::<super::query::TargetEntry>()?.expr().cast::<Const>()?.oid()
        }
    }
}

/// The bytes of argument `i`, which must be a bytea.
pub fn bytes_argument(args: Args, i: usize) -> Option<Vec<u8>> {
    // SAFETY: the functions are declared with a bytea there.
    args.datum(i).map(|d| unsafe { aggregate::bytes_of(d) })
}

/// Bytes as a result.
pub fn bytes_result(bytes: &[u8]) -> Datum {
    // SAFETY: allocates.
    unsafe { aggregate::bytea(bytes) }
}
