//! Aggregates taken apart: what the catalogs say about one and calls of its support functions.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::fmgr::Args;
use super::{guard, nodes};
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys::{self, Datum, FmgrInfo, MemoryContext, NullableDatum, Oid};
use std::ffi::{c_char, c_int};

extern "C-unwind" {
    fn datumCopy(value: Datum, by_value: bool, len: c_int) -> Datum;
    #[link_name = "OidInputFunctionCall"]
    fn raw_input(func: Oid, s: *mut c_char, ioparam: Oid, typmod: i32) -> Datum;
}

// Columns of pg_aggregate.
const KIND: i16 = 2;
const TRANSITION: i16 = 4;
const FINAL: i16 = 5;
const COMBINE: i16 = 6;
const SERIAL: i16 = 7;
const DESERIAL: i16 = 8;
const FINAL_EXTRA: i16 = 12;
const STATE_TYPE: i16 = 17;
const INITIAL: i16 = 21;

/// Functions that read a state of type `internal` and whose format [`check_serialized`] knows.
const NUMERIC_AVG: u32 = pg_sys::F_NUMERIC_AVG_DESERIALIZE;
const NUMERIC: u32 = pg_sys::F_NUMERIC_DESERIALIZE;
const NUMERIC_POLY: u32 = pg_sys::F_NUMERIC_POLY_DESERIALIZE;
const INT8_AVG: u32 = pg_sys::F_INT8_AVG_DESERIALIZE;

/// A support function ready to be called.
pub struct Function {
    info: *mut FmgrInfo,
}

impl Function {
    unsafe fn new(oid: Oid, context: MemoryContext) -> Option<Function> {
        if oid == Oid::INVALID {
            return None;
        }
        let info = pg_sys::MemoryContextAllocZero(context, std::mem::size_of::<FmgrInfo>())
            as *mut FmgrInfo;
        guard::call(|| pg_sys::fmgr_info_cxt(oid, info, context));
        Some(Function { info })
    }

    fn strict(&self) -> bool {
        // SAFETY: filled by fmgr_info_cxt in the same context as this.
        unsafe { (*self.info).fn_strict }
    }

    /// Calls the function on behalf of the aggregate that `outer` is a support function of. A
    /// strict function is not called for NULL and answers NULL.
    unsafe fn call(&self, outer: Args, args: &[Option<Datum>]) -> Option<Datum> {
        if self.strict() && args.iter().any(Option::is_none) {
            return None;
        }
        let size = std::mem::size_of::<pg_sys::FunctionCallInfoBaseData>()
            + std::mem::size_of_val(args).max(args.len() * std::mem::size_of::<NullableDatum>());
        let frame = pg_sys::palloc0(size) as pg_sys::FunctionCallInfo;
        (*frame).flinfo = self.info;
        // Support functions ask the context for the memory their state may live in.
        (*frame).context = (*outer.fcinfo()).context;
        (*frame).fncollation = outer.collation();
        (*frame).nargs = args.len() as i16;
        let slots = (*frame).args.as_mut_ptr();
        for (i, a) in args.iter().enumerate() {
            *slots.add(i) =
                NullableDatum { value: a.unwrap_or(Datum::from(0usize)), isnull: a.is_none() };
        }
        let code = (*self.info).fn_addr?;
        let value = guard::call(|| code(frame));
        let null = (*frame).isnull;
        pg_sys::pfree(frame.cast());
        (!null).then_some(value)
    }
}

/// An aggregate that can be computed in parts.
pub struct Aggregate {
    /// The aggregate.
    pub oid: Oid,
    /// Type of its result.
    pub result: Oid,
    arguments: Vec<Oid>,
    state_type: Oid,
    by_value: bool,
    len: c_int,
    initial: Option<Datum>,
    transition: Function,
    combine: Function,
    serial: Option<Function>,
    deserial: Option<Function>,
    deserial_oid: u32,
    last: Option<Function>,
    last_extra: bool,
}

/// The state of one group; lives in the aggregate's memory.
pub struct State {
    /// The aggregate the state belongs to.
    pub aggregate: Oid,
    value: Option<Datum>,
    /// A strict function with no initial value has not seen a value yet.
    fresh: bool,
}

/// Row of pg_aggregate, released by the reader.
struct Row(pg_sys::HeapTuple);

impl Row {
    unsafe fn get(&self, column: i16) -> Option<Datum> {
        let mut null = true;
        let cache = pg_sys::SysCacheIdentifier::AGGFNOID as c_int;
        let d = pg_sys::SysCacheGetAttr(cache, self.0, column, &mut null);
        (!null).then_some(d)
    }

    unsafe fn oid(&self, column: i16) -> Oid {
        self.get(column).map_or(Oid::INVALID, |d| Oid::from(d.value() as u32))
    }
}

impl Aggregate {
    /// Reads an aggregate of PostgreSQL's own. What is found stays valid as long as `context`.
    pub unsafe fn load(oid: Oid, context: MemoryContext) -> Result<Aggregate> {
        let cache = pg_sys::SysCacheIdentifier::AGGFNOID as c_int;
        let row = Row(pg_sys::SearchSysCache1(cache, Datum::from(oid)));
        if row.0.is_null() {
            return Err(Error::new(
                sqlstate::WRONG_OBJECT_TYPE,
                format!("function with OID {} is not an aggregate", u32::from(oid)),
            ));
        }
        let found = Self::read(oid, &row, context);
        pg_sys::ReleaseSysCache(row.0);
        found
    }

    unsafe fn read(oid: Oid, row: &Row, context: MemoryContext) -> Result<Aggregate> {
        let name = nodes::str_of(pg_sys::get_func_name(oid));
        let refuse = |why: &str| {
            Error::unsupported(format!("aggregate {name} cannot be computed in parts")).detail(why)
        };
        if pg_sys::pg_proc_aclcheck(oid, pg_sys::GetUserId(), pg_sys::ACL_EXECUTE)
            != pg_sys::AclResult::ACLCHECK_OK
        {
            return Err(Error::new(
                sqlstate::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for function {name}"),
            ));
        }
        if u32::from(oid) >= pg_sys::FirstNormalObjectId {
            return Err(refuse("It is not one of PostgreSQL's own."));
        }
        let (arguments, result) = signature(oid);
        let plain = |t: &Oid| pg_sys::get_typtype(*t) as u8 != pg_sys::TYPTYPE_PSEUDO;
        if row.get(KIND).is_none_or(|k| k.value() as u8 != b'n') || !arguments.iter().all(plain) {
            return Err(refuse("It takes arguments of any type or an order."));
        }
        let state_type = row.oid(STATE_TYPE);
        let deserial_oid = u32::from(row.oid(DESERIAL));
        let readable = if state_type == pg_sys::INTERNALOID {
            matches!(deserial_oid, NUMERIC_AVG | NUMERIC | NUMERIC_POLY | INT8_AVG)
        } else {
            plain(&state_type)
        };
        if !readable {
            return Err(refuse("Its state cannot be sent to another node."));
        }
        let (Some(transition), Some(combine)) =
            (Function::new(row.oid(TRANSITION), context), Function::new(row.oid(COMBINE), context))
        else {
            return Err(refuse("It has no combine function."));
        };
        let (mut len, mut by_value) = (0i16, false);
        pg_sys::get_typlenbyval(state_type, &mut len, &mut by_value);
        Ok(Aggregate {
            oid,
            result,
            arguments,
            state_type,
            by_value,
            len: c_int::from(len),
            initial: initial(row, state_type, context),
            transition,
            combine,
            serial: Function::new(row.oid(SERIAL), context),
            deserial: Function::new(Oid::from(deserial_oid), context),
            deserial_oid,
            last: Function::new(row.oid(FINAL), context),
            last_extra: row.get(FINAL_EXTRA).is_some_and(|d| d.value() & 1 != 0),
        })
    }

    /// Whether arguments of these types can be passed as they are.
    pub unsafe fn accepts(&self, types: &[Oid]) -> bool {
        types.len() == self.arguments.len()
            && types
                .iter()
                .zip(&self.arguments)
                .all(|(have, want)| pg_sys::IsBinaryCoercible(*have, *want))
    }

    /// A new state in the aggregate's memory. `combining` says by which function it will grow.
    pub unsafe fn start(&self, memory: MemoryContext, combining: bool) -> *mut State {
        let grows = if combining { &self.combine } else { &self.transition };
        let state = pg_sys::MemoryContextAlloc(memory, std::mem::size_of::<State>()) as *mut State;
        state.write(State {
            aggregate: self.oid,
            value: self.initial.map(|v| self.keep(memory, v)),
            fresh: grows.strict() && self.initial.is_none(),
        });
        state
    }

    /// Takes one row of arguments into the state.
    pub unsafe fn add(
        &self,
        outer: Args,
        memory: MemoryContext,
        s: *mut State,
        args: &[Option<Datum>],
    ) {
        self.grow(&self.transition, outer, memory, s, args);
    }

    /// Takes the state of a part into the state; nothing for a part without one.
    pub unsafe fn merge(
        &self,
        outer: Args,
        memory: MemoryContext,
        s: *mut State,
        part: Option<Datum>,
    ) {
        if (*s).fresh && part.is_none() {
            return;
        }
        self.grow(&self.combine, outer, memory, s, &[part]);
    }

    unsafe fn grow(
        &self,
        f: &Function,
        outer: Args,
        memory: MemoryContext,
        s: *mut State,
        args: &[Option<Datum>],
    ) {
        if f.strict() {
            if args.iter().any(Option::is_none) {
                return;
            }
            if (*s).fresh {
                // The first value is the state; the catalogs promise that the types agree.
                (*s).value = args.first().copied().flatten().map(|v| self.keep(memory, v));
                (*s).fresh = false;
                return;
            }
        }
        let mut all = Vec::with_capacity(args.len() + 1);
        all.push((*s).value);
        all.extend_from_slice(args);
        let new = f.call(outer, &all);
        if self.by_value || new.map(|d| d.value()) == (*s).value.map(|d| d.value()) {
            (*s).value = new;
            return;
        }
        let old = std::mem::replace(&mut (*s).value, new.map(|v| self.keep(memory, v)));
        if let Some(old) = old {
            pg_sys::pfree(old.cast_mut_ptr());
        }
    }

    /// A copy of a state's value in the aggregate's memory.
    unsafe fn keep(&self, memory: MemoryContext, v: Datum) -> Datum {
        let before = pg_sys::MemoryContextSwitchTo(memory);
        let (by_value, len) = (self.by_value, self.len);
        let copy = guard::call(|| datumCopy(v, by_value, len));
        pg_sys::MemoryContextSwitchTo(before);
        copy
    }

    /// The state as bytes that [`Aggregate::read_state`] understands on any node.
    pub unsafe fn write_state(&self, outer: Args, s: &State) -> Result<Option<Vec<u8>>> {
        let Some(value) = s.value else { return Ok(None) };
        let bytes = if let Some(f) = &self.serial {
            match f.call(outer, &[Some(value)]) {
                Some(d) => d,
                None => return Ok(None),
            }
        } else {
            let (mut f, mut varlena) = (Oid::INVALID, false);
            let t = self.state_type;
            guard::call(|| pg_sys::getTypeBinaryOutputInfo(t, &mut f, &mut varlena));
            Datum::from(guard::call(|| pg_sys::OidSendFunctionCall(f, value)))
        };
        Ok(Some(bytes_of(bytes)))
    }

    /// Reads what [`Aggregate::write_state`] wrote.
    pub unsafe fn read_state(&self, outer: Args, bytes: &[u8]) -> Result<Datum> {
        let Some(f) = &self.deserial else { return self.receive(bytes) };
        check_serialized(self.deserial_oid, bytes)?;
        // A dummy stands for the argument that only makes the function uncallable from SQL.
        let d = f.call(outer, &[Some(bytea(bytes)), Some(Datum::from(0usize))]);
        d.ok_or_else(|| malformed("The state is empty."))
    }

    unsafe fn receive(&self, bytes: &[u8]) -> Result<Datum> {
        let (mut f, mut ioparam) = (Oid::INVALID, Oid::INVALID);
        let t = self.state_type;
        guard::call(|| pg_sys::getTypeBinaryInputInfo(t, &mut f, &mut ioparam));
        let mut buffer = pg_sys::StringInfoData::default();
        let buf: *mut pg_sys::StringInfoData = &mut buffer;
        let (data, len) = (bytes.as_ptr() as *const c_char, bytes.len() as c_int);
        let d = guard::call(|| {
            pg_sys::initStringInfo(buf);
            pg_sys::appendBinaryStringInfo(buf, data, len);
            pg_sys::OidReceiveFunctionCall(f, buf, ioparam, -1)
        });
        if buffer.cursor != buffer.len {
            return Err(malformed("There are bytes behind its end."));
        }
        Ok(d)
    }

    /// The aggregate's result; `s` is null when there was no input at all.
    pub unsafe fn finish(&self, outer: Args, s: *mut State) -> Option<Datum> {
        let value = if s.is_null() { self.initial } else { (*s).value };
        let Some(f) = &self.last else { return value };
        let mut args = vec![value];
        if self.last_extra {
            args.extend(self.arguments.iter().map(|_| None));
        }
        f.call(outer, &args)
    }
}

unsafe fn signature(oid: Oid) -> (Vec<Oid>, Oid) {
    let (mut types, mut n) = (std::ptr::null_mut(), 0);
    let result = pg_sys::get_func_signature(oid, &mut types, &mut n);
    ((0..n.max(0) as usize).map(|i| *types.add(i)).collect(), result)
}

unsafe fn initial(row: &Row, typ: Oid, context: MemoryContext) -> Option<Datum> {
    let text = row.get(INITIAL)?;
    let (mut f, mut ioparam) = (Oid::INVALID, Oid::INVALID);
    pg_sys::getTypeInputInfo(typ, &mut f, &mut ioparam);
    let before = pg_sys::MemoryContextSwitchTo(context);
    let value =
        guard::call(|| raw_input(f, pg_sys::text_to_cstring(text.cast_mut_ptr()), ioparam, -1));
    pg_sys::MemoryContextSwitchTo(before);
    Some(value)
}

/// Bytes of a bytea.
pub unsafe fn bytes_of(d: Datum) -> Vec<u8> {
    let p = guard::call(|| pg_sys::pg_detoast_datum_packed(d.cast_mut_ptr()));
    pgrx::varlena_to_byte_slice(p).to_vec()
}

/// A bytea in the current memory context.
pub unsafe fn bytea(bytes: &[u8]) -> Datum {
    // text and bytea have the same form.
    let p = pg_sys::cstring_to_text_with_len(bytes.as_ptr() as *const c_char, bytes.len() as c_int);
    Datum::from(p)
}

/// The error for bytes that are not a state.
pub fn malformed(detail: &str) -> Error {
    Error::new(sqlstate::INVALID_PARAMETER_VALUE, "malformed state of an aggregate").detail(detail)
}

/// PostgreSQL's functions for states of numbers trust what they read, since nobody can call them.
/// Here anybody can bring the bytes, so that they are looked at first.
fn check_serialized(function: u32, bytes: &[u8]) -> Result<()> {
    let mut r = Reader(bytes);
    let ok = match function {
        // Counts: of values, of values with the largest scale, of NaN and of both infinities.
        NUMERIC_AVG => r.skip(8) && r.number() && r.skip(4 + 4 * 8),
        NUMERIC => r.skip(8) && r.number() && r.number() && r.skip(4 + 4 * 8),
        NUMERIC_POLY => r.skip(8) && r.number() && r.number(),
        INT8_AVG => r.skip(8) && r.number(),
        _ => false,
    };
    if ok && r.0.is_empty() {
        return Ok(());
    }
    Err(malformed("It is not what a node sends."))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn skip(&mut self, n: usize) -> bool {
        self.take(n).is_some()
    }

    fn int(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    /// A number: how many digits, weight, sign, scale and the digits to base 10000.
    fn number(&mut self) -> bool {
        let (Some(n), Some(weight), Some(sign), Some(scale)) =
            (self.int(), self.int(), self.int(), self.int())
        else {
            return false;
        };
        let Some(digits) = usize::try_from(n).ok().filter(|n| *n <= self.0.len()) else {
            return false;
        };
        let Some(digits) = self.take(2 * digits) else { return false };
        // Sums may exceed what a numeric holds by a few digits.
        (-0x8000..0x10000).contains(&weight)
            && matches!(sign, 0 | 0x4000)
            && (0..0x4000).contains(&scale)
            && digits.chunks(2).all(|d| d.try_into().is_ok_and(|d| u16::from_be_bytes(d) < 10_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int8_state(digits: &[u16]) -> Vec<u8> {
        let mut b = 1u64.to_be_bytes().to_vec();
        for i in [digits.len() as i32, 0, 0, 0] {
            b.extend(i.to_be_bytes());
        }
        b.extend(digits.iter().flat_map(|d| d.to_be_bytes()));
        b
    }

    #[test]
    fn only_well_formed_states_pass() {
        assert!(check_serialized(INT8_AVG, &int8_state(&[])).is_ok());
        let good = int8_state(&[1, 9999]);
        assert!(check_serialized(INT8_AVG, &good).is_ok());
        for n in 0..good.len() {
            assert!(check_serialized(INT8_AVG, &good[..n]).is_err());
        }
        assert!(check_serialized(INT8_AVG, &int8_state(&[10_000])).is_err());
        assert!(check_serialized(NUMERIC_POLY, &good).is_err());
        let mut long = good;
        long.push(0);
        assert!(check_serialized(INT8_AVG, &long).is_err());
    }
}
