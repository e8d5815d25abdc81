//! Rows to COPY's binary format, or to the text of their values.

use super::layout::raw;
use super::new_context;
use crate::error::Result;
use crate::pg::guard;
use crate::pg::transmit::transmit;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{c_char, CStr};

/// How a value becomes bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// 1, 2, 4 or 8 bytes of the datum itself, big-endian.
    Fixed(u8),
    /// The bytes of a variable-length value.
    Varlena,
    /// The type's send or output function.
    Function,
}

struct Column {
    index: usize,
    way: Way,
    function: pg_sys::FmgrInfo,
}

/// Encodes rows given by attribute (index 0 is attribute 1).
pub struct RowEncoder {
    columns: Box<[Column]>,
    binary: bool,
    scratch: pg_sys::MemoryContext,
}

/// Whether values of a type mean the same in binary form on every node: built-in types that do
/// not carry object identifiers.
pub fn binary_transfer(typ: Oid) -> bool {
    let id = u32::from(typ);
    if id >= pg_sys::FirstGenbkiObjectId || names_an_object(typ) {
        return false;
    }
    // SAFETY: syscache look-ups; a missing function raises only in the call that is not made.
    unsafe {
        let element = pg_sys::get_element_type(typ);
        if element != Oid::INVALID && (names_an_object(element) || element == pg_sys::RECORDOID) {
            return false;
        }
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::TYPEOID as i32, Datum::from(typ));
        if tuple.is_null() {
            return false;
        }
        let form = pg_sys::GETSTRUCT(tuple) as *mut pg_sys::FormData_pg_type;
        let both = (*form).typsend != Oid::INVALID && (*form).typreceive != Oid::INVALID;
        let pseudo = (*form).typtype == pg_sys::TYPTYPE_PSEUDO as c_char;
        pg_sys::ReleaseSysCache(tuple);
        both && !pseudo
    }
}

/// Types whose binary form is an identifier that differs between nodes.
fn names_an_object(typ: Oid) -> bool {
    [
        pg_sys::REGPROCOID,
        pg_sys::REGPROCEDUREOID,
        pg_sys::REGOPEROID,
        pg_sys::REGOPERATOROID,
        pg_sys::REGCLASSOID,
        pg_sys::REGCOLLATIONOID,
        pg_sys::REGTYPEOID,
        pg_sys::REGROLEOID,
        pg_sys::REGNAMESPACEOID,
        pg_sys::REGCONFIGOID,
        pg_sys::REGDICTIONARYOID,
    ]
    .contains(&typ)
}

fn binary_way(typ: Oid) -> Way {
    match typ {
        pg_sys::BOOLOID => Way::Fixed(1),
        pg_sys::INT2OID => Way::Fixed(2),
        pg_sys::INT4OID | pg_sys::FLOAT4OID | pg_sys::DATEOID => Way::Fixed(4),
        pg_sys::INT8OID
        | pg_sys::FLOAT8OID
        | pg_sys::TIMESTAMPOID
        | pg_sys::TIMESTAMPTZOID
        | pg_sys::TIMEOID => Way::Fixed(8),
        pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::BYTEAOID => Way::Varlena,
        _ => Way::Function,
    }
}

impl RowEncoder {
    /// For columns given by attribute number and type. `binary` must only be set when every type
    /// allows it ([`binary_transfer`]).
    pub fn new(columns: &[(i32, Oid)], binary: bool) -> RowEncoder {
        // SAFETY: catalog look-ups; function information lives in the encoder's parent context.
        unsafe {
            let scratch = new_context(c"distributed COPY encoding");
            let columns = columns
                .iter()
                .map(|(attno, typ)| {
                    let (mut function, mut varlena) = (Oid::INVALID, false);
                    if binary {
                        pg_sys::getTypeBinaryOutputInfo(*typ, &mut function, &mut varlena);
                    } else {
                        pg_sys::getTypeOutputInfo(*typ, &mut function, &mut varlena);
                    }
                    let mut info = pg_sys::FmgrInfo::default();
                    pg_sys::fmgr_info(function, &mut info);
                    let way = if binary { binary_way(*typ) } else { Way::Function };
                    Column { index: (attno - 1).max(0) as usize, way, function: info }
                })
                .collect();
            RowEncoder { columns, binary, scratch }
        }
    }

    /// Appends a row in COPY's binary format.
    pub fn binary(&mut self, values: &[Datum], nulls: &[bool], out: &mut Vec<u8>) -> Result<()> {
        debug_assert!(self.binary);
        out.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
        // SAFETY: values are of the columns' types; what functions allocate goes with `scratch`.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo(self.scratch);
            for c in self.columns.iter_mut() {
                match (nulls.get(c.index), values.get(c.index)) {
                    (Some(false), Some(v)) => append_binary(c, *v, out),
                    _ => out.extend_from_slice(&(-1i32).to_be_bytes()),
                }
            }
            pg_sys::MemoryContextSwitchTo(old);
            pg_sys::MemoryContextReset(self.scratch);
        }
        Ok(())
    }

    /// Calls `each` with the text of every column of a row, in order.
    pub fn text(
        &mut self,
        values: &[Datum],
        nulls: &[bool],
        mut each: impl FnMut(Option<&[u8]>),
    ) -> Result<()> {
        debug_assert!(!self.binary);
        // SAFETY: as above; output functions give zero-terminated text.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo(self.scratch);
            for c in self.columns.iter_mut() {
                match (nulls.get(c.index), values.get(c.index)) {
                    (Some(false), Some(v)) => {
                        let (function, v) = (&raw mut c.function, *v);
                        let text =
                            transmit(|| Ok(guard::call(|| raw::OutputFunctionCall(function, v))))?;
                        each(Some(CStr::from_ptr(text).to_bytes()));
                    }
                    _ => each(None),
                }
            }
            pg_sys::MemoryContextSwitchTo(old);
            pg_sys::MemoryContextReset(self.scratch);
        }
        Ok(())
    }
}

/// Appends length and bytes of a value.
unsafe fn append_binary(c: &mut Column, value: Datum, out: &mut Vec<u8>) {
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    // SAFETY: the value is of the column's type.
    unsafe {
        match c.way {
            Way::Fixed(n) => {
                let all = (value.value() as u64).to_be_bytes();
                put(all.get(8 - usize::from(n.min(8))..).unwrap_or_default());
            }
            Way::Varlena => {
                let p = guard::call(|| pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr()));
                put(varlena_bytes(p));
            }
            Way::Function => {
                let function = &raw mut c.function;
                let p = guard::call(|| raw::SendFunctionCall(function, value));
                put(varlena_bytes(p));
            }
        }
    }
}

/// The payload of a detoasted value.
unsafe fn varlena_bytes<'a>(p: *mut pg_sys::varlena) -> &'a [u8] {
    // SAFETY: the caller passes a valid value that is neither compressed nor out of line.
    unsafe {
        let data = pgrx::varlena::vardata_any(p) as *const u8;
        std::slice::from_raw_parts(data, pgrx::varlena::varsize_any_exhdr(p))
    }
}
