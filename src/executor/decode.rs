//! Rows from the wire into tuple slots.

use crate::error::{sqlstate, Error, Result};
use crate::pg::guard;
use crate::plan::Column;
use pgrx::pg_sys::{self, Datum, Oid};
use std::collections::hash_map::DefaultHasher;
use std::ffi::c_char;
use std::hash::{Hash, Hasher};

/// How a column is turned into a datum.
enum How {
    Bool,
    I16,
    I32,
    I64,
    F32,
    F64,
    /// Bytes behind a varlena header (text and what looks like it).
    Bytes,
    Uuid,
    /// The type's binary receive function.
    Receive(Box<pg_sys::FmgrInfo>, Oid),
    /// The type's text input function.
    Input(Box<pg_sys::FmgrInfo>, Oid),
}

/// Decoder of a row.
pub struct Decoder {
    /// Made for the first row: rows that are passed on undecoded need none.
    columns: Vec<(How, i32)>,
    formats: Vec<i16>,
    scratch: Vec<u8>,
}

/// Built-in types whose binary form is the same everywhere and carries no OID.
pub fn has_plain_binary(t: u32) -> bool {
    matches!(
        t,
        16 | 17
            | 18
            | 19
            | 20
            | 21
            | 23
            | 25
            | 700
            | 701
            | 1042
            | 1043
            | 1082
            | 1083
            | 1114
            | 1184
            | 1186
            | 1266
            | 1700
            | 2950
            | 114
            | 3802
            | 869
            | 650
            | 600
            | 601
            | 603
            | 718
            | 1000
            | 1005
            | 1007
            | 1016
            | 1009
            | 1015
            | 1021
            | 1022
            | 1231
            | 1115
            | 1185
            | 1182
            | 2951
            | 3807
            | 199
            | 1001
            | 1560
            | 1562
            // arrays of times and intervals, ranges, multiranges
            | 1183
            | 1187
            | 1270
            | 3904
            | 3906
            | 3908
            | 3910
            | 3912
            | 3926
            | 4451
            | 4532
            | 4533
            | 4534
            | 4535
            | 4536
    )
}

/// A number that differs with the types of columns.
pub fn shape(columns: &[Column]) -> u64 {
    let mut hasher = DefaultHasher::new();
    columns.iter().for_each(|c| (c.typ, c.typmod).hash(&mut hasher));
    hasher.finish()
}

/// The formats in which columns cost least: binary where it is the same everywhere.
pub fn formats(columns: &[Column]) -> Vec<i16> {
    columns.iter().map(|c| i16::from(has_plain_binary(c.typ))).collect()
}

impl Decoder {
    /// A decoder of rows that come in these formats.
    pub fn new(formats: Vec<i16>) -> Self {
        Decoder { columns: Vec::new(), formats, scratch: Vec::new() }
    }

    /// Result formats to ask for in Bind.
    pub fn formats(&self) -> &[i16] {
        &self.formats
    }

    /// Decodes a DataRow body into arrays of values; memory comes from the current context, that
    /// of functions from `context`.
    ///
    /// # Safety
    /// `values` and `nulls` must have room for all columns, `context` must live as long as the
    /// decoder is used, and `columns` must be the same in every call.
    pub unsafe fn row(
        &mut self,
        columns: &[Column],
        context: pg_sys::MemoryContext,
        body: &[u8],
        values: *mut Datum,
        nulls: *mut bool,
    ) -> Result<()> {
        if self.columns.len() != columns.len() {
            // SAFETY: the caller's promise.
            let how = |(c, f): (&Column, &i16)| unsafe { (column(c, *f, context), c.typmod) };
            self.columns = columns.iter().zip(&self.formats).map(how).collect();
        }
        let mut rest = body.get(2..).ok_or_else(broken)?;
        let count = u16::from_be_bytes([body[0], body[1]]) as usize;
        if count != self.columns.len() {
            return Err(
                broken().detail(format!("{count} columns instead of {}", self.columns.len()))
            );
        }
        let scratch = &mut self.scratch;
        for (i, (how, typmod)) in self.columns.iter_mut().enumerate() {
            let (head, tail) = rest.split_at_checked(4).ok_or_else(broken)?;
            let len = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            // SAFETY: the caller gave room for all columns.
            unsafe {
                if len < 0 {
                    *nulls.add(i) = true;
                    *values.add(i) = Datum::from(0usize);
                    rest = tail;
                    continue;
                }
                let (bytes, next) = tail.split_at_checked(len as usize).ok_or_else(broken)?;
                *nulls.add(i) = false;
                *values.add(i) = datum(how, *typmod, bytes, scratch)?;
                rest = next;
            }
        }
        Ok(())
    }
}

fn broken() -> Error {
    Error::new(sqlstate::PROTOCOL_VIOLATION, "malformed row received from a node")
}

/// How a column in a format is decoded.
///
/// # Safety
/// `context` must live as long as the result is used.
unsafe fn column(c: &Column, format: i16, context: pg_sys::MemoryContext) -> How {
    let t = Oid::from(c.typ);
    // A date's binary form is days since 2000 and a timestamp's microseconds: the datum itself.
    match (format, c.typ) {
        (1, 16) => How::Bool,
        (1, 21) => How::I16,
        (1, 23 | 1082) => How::I32,
        (1, 20 | 1083 | 1114 | 1184) => How::I64,
        (1, 700) => How::F32,
        (1, 701) => How::F64,
        (1, 25 | 17 | 1043 | 1042 | 114) => How::Bytes,
        (1, 2950) => How::Uuid,
        // SAFETY: the caller's promise.
        (1, _) => unsafe { receive(t, context) },
        // SAFETY: as above.
        _ => unsafe { input(t, context) },
    }
}

unsafe fn receive(t: Oid, context: pg_sys::MemoryContext) -> How {
    let (mut f, mut io) = (Oid::INVALID, Oid::INVALID);
    let mut info = Box::<pg_sys::FmgrInfo>::default();
    // SAFETY: catalog look-ups; what the function keeps lives in the context.
    unsafe {
        pg_sys::getTypeBinaryInputInfo(t, &mut f, &mut io);
        pg_sys::fmgr_info_cxt(f, &mut *info, context);
    }
    How::Receive(info, io)
}

unsafe fn input(t: Oid, context: pg_sys::MemoryContext) -> How {
    let (mut f, mut io) = (Oid::INVALID, Oid::INVALID);
    let mut info = Box::<pg_sys::FmgrInfo>::default();
    // SAFETY: as above.
    unsafe {
        pg_sys::getTypeInputInfo(t, &mut f, &mut io);
        pg_sys::fmgr_info_cxt(f, &mut *info, context);
    }
    How::Input(info, io)
}

extern "C-unwind" {
    #[link_name = "ReceiveFunctionCall"]
    fn raw_receive(
        info: *mut pg_sys::FmgrInfo,
        buf: *mut pg_sys::StringInfoData,
        io: Oid,
        typmod: i32,
    ) -> Datum;
    #[link_name = "InputFunctionCall"]
    fn raw_input(info: *mut pg_sys::FmgrInfo, s: *mut c_char, io: Oid, typmod: i32) -> Datum;
}

fn fixed<const N: usize>(b: &[u8]) -> Result<[u8; N]> {
    b.try_into().map_err(|_| broken())
}

unsafe fn datum(how: &mut How, typmod: i32, b: &[u8], scratch: &mut Vec<u8>) -> Result<Datum> {
    Ok(match how {
        How::Bool => Datum::from(b.first().is_some_and(|x| *x != 0)),
        How::I16 => Datum::from(i16::from_be_bytes(fixed(b)?)),
        How::I32 => Datum::from(i32::from_be_bytes(fixed(b)?)),
        How::I64 => Datum::from(i64::from_be_bytes(fixed(b)?)),
        How::F32 => Datum::from(u32::from_be_bytes(fixed(b)?) as usize),
        How::F64 => Datum::from(u64::from_be_bytes(fixed(b)?) as usize),
        How::Bytes => {
            let size = b.len() + pg_sys::VARHDRSZ;
            // SAFETY: room for header and bytes.
            unsafe {
                let p = pg_sys::palloc(size) as *mut u8;
                (p as *mut u32).write((size as u32) << 2);
                std::ptr::copy_nonoverlapping(b.as_ptr(), p.add(4), b.len());
                Datum::from(p as usize)
            }
        }
        How::Uuid => {
            let bytes: [u8; 16] = fixed(b)?;
            // SAFETY: sixteen bytes.
            unsafe {
                let p = pg_sys::palloc(16) as *mut u8;
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), p, 16);
                Datum::from(p as usize)
            }
        }
        How::Receive(info, io) => {
            scratch.clear();
            scratch.extend_from_slice(b);
            scratch.push(0);
            let mut buf = pg_sys::StringInfoData {
                data: scratch.as_mut_ptr() as *mut c_char,
                len: b.len() as i32,
                maxlen: scratch.len() as i32,
                cursor: 0,
            };
            let (info, io, buf) = (&mut **info as *mut _, *io, &mut buf as *mut _);
            // SAFETY: the buffer is zero-terminated and ours.
            unsafe { guard::call(|| raw_receive(info, buf, io, typmod)) }
        }
        How::Input(info, io) => {
            scratch.clear();
            scratch.extend_from_slice(b);
            scratch.push(0);
            let (info, io) = (&mut **info as *mut _, *io);
            let s = scratch.as_mut_ptr() as *mut c_char;
            // SAFETY: zero-terminated.
            unsafe { guard::call(|| raw_input(info, s, io, typmod)) }
        }
    })
}
