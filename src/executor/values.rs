//! Values of new rows: where they come from, and as literals.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::batch::Elements;
use crate::error::OrRaise;
use crate::pg::transmit::transmit;
use crate::pg::{guard, nodes};
use pgrx::pg_sys::{self, Datum, List, Node, NodeTag, Oid, PlanState, TupleTableSlot};
use std::ffi::{c_char, CStr};

extern "C-unwind" {
    #[link_name = "OutputFunctionCall"]
    fn raw_output(info: *mut pg_sys::FmgrInfo, d: Datum) -> *mut c_char;
}

/// Rows of constants: what a scan of VALUES would give, without an expression to be prepared and
/// run for each row.
pub struct Constants {
    rows: *mut List,
    next: usize,
    slot: *mut TupleTableSlot,
}

impl Constants {
    /// The rows of a plan that is a scan of constants and nothing else. A scan that is measured
    /// has to run.
    pub unsafe fn of(state: *mut PlanState) -> Option<Constants> {
        let scan =
            nodes::cast::<pg_sys::ValuesScan>((*state).plan as *mut Node, NodeTag::T_ValuesScan)?;
        let slot = (*(state as *mut pg_sys::ScanState)).ss_ScanTupleSlot;
        let (plan, rows) = (&(*scan).scan.plan, (*scan).values_lists);
        let width = (*(*slot).tts_tupleDescriptor).natts as usize;
        let fits = plan.qual.is_null()
            && (*state).instrument.is_null()
            && nodes::len(plan.targetlist) == width
            && nodes::iter::<pg_sys::TargetEntry>(plan.targetlist)
                .enumerate()
                .all(|(i, t)| is_column(t, (*scan).scan.scanrelid, i + 1))
            && nodes::iter::<List>(rows).all(|row| {
                nodes::len(row) == width
                    && nodes::iter::<Node>(row).all(|e| nodes::tag(e) == NodeTag::T_Const)
            });
        fits.then_some(Constants { rows, next: 0, slot })
    }

    /// The next row, or null.
    pub unsafe fn next(&mut self) -> *mut TupleTableSlot {
        let row = nodes::nth::<List>(self.rows, self.next);
        if row.is_null() {
            return std::ptr::null_mut();
        }
        self.next += 1;
        let slot = self.slot;
        super::run::clear(slot);
        for (i, c) in nodes::iter::<pg_sys::Const>(row).enumerate() {
            *(*slot).tts_values.add(i) = (*c).constvalue;
            *(*slot).tts_isnull.add(i) = (*c).constisnull;
        }
        pg_sys::ExecStoreVirtualTuple(slot)
    }
}

/// Whether an output is column `n` of the scan as it is.
unsafe fn is_column(t: *mut pg_sys::TargetEntry, rel: pg_sys::Index, n: usize) -> bool {
    let var = nodes::cast::<pg_sys::Var>((*t).expr as *mut Node, NodeTag::T_Var);
    !(*t).resjunk && var.is_some_and(|v| (*v).varno == rel as i32 && (*v).varattno == n as i16)
}

/// Output function of a column of the new rows.
pub struct Output {
    /// Its type.
    pub typ: Oid,
    info: Box<pg_sys::FmgrInfo>,
    /// The type's name behind a cast.
    pub cast: String,
    /// How its values travel in an array.
    pub elements: Option<Elements>,
}

impl Output {
    /// The outputs of a plan.
    pub unsafe fn of_list(tlist: *mut List) -> Vec<Output> {
        nodes::iter::<pg_sys::TargetEntry>(tlist)
            .filter(|t| !(**t).resjunk)
            .map(|t| {
                let typ = pg_sys::exprType((*t).expr as *mut Node);
                let (mut f, mut varlena) = (Oid::INVALID, false);
                let mut info = Box::<pg_sys::FmgrInfo>::default();
                pg_sys::getTypeOutputInfo(typ, &mut f, &mut varlena);
                pg_sys::fmgr_info(f, &mut *info);
                let typmod = pg_sys::exprTypmod((*t).expr as *mut Node);
                let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY;
                let cast = nodes::str_of(pg_sys::format_type_extended(typ, typmod, flags as u16));
                Output { typ, info, cast, elements: Elements::of(typ) }
            })
            .collect()
    }

    /// Adds a value as a literal. A *bare* one stands alone where its column decides its type.
    pub unsafe fn literal(&mut self, text: &mut String, d: Datum, bare: bool) {
        match u32::from(self.typ) {
            21 => push_int(text, i64::from(d.value() as i16), false),
            // What a number means without quotes, when it has no sign.
            23 => push_int(text, i64::from(d.value() as i32), bare),
            20 => push_int(text, d.value() as i64, false),
            25 | 1043 => quote(text, &String::from_utf8_lossy(bytes_of(d))),
            _ => quote(text, &self.text(d).to_string_lossy()),
        }
    }

    /// A value as text, in the current memory context.
    pub unsafe fn text<'a>(&mut self, d: Datum) -> &'a CStr {
        let info = &mut *self.info as *mut pg_sys::FmgrInfo;
        let c = transmit(|| Ok(guard::call(|| raw_output(info, d)))).or_raise();
        CStr::from_ptr(c)
    }

    /// The type's name, whatever its modifier.
    pub fn plain_type(&self) -> String {
        let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY;
        // SAFETY: a look-up of a type that exists; the text is copied.
        unsafe { nodes::str_of(pg_sys::format_type_extended(self.typ, -1, flags as u16)) }
    }
}

/// What is in a value of variable length; in the current memory context where it has to be
/// fetched.
pub unsafe fn bytes_of<'a>(d: Datum) -> &'a [u8] {
    let plain = guard::call(|| pg_sys::pg_detoast_datum_packed(d.cast_mut_ptr()));
    std::slice::from_raw_parts(
        pgrx::vardata_any(plain).cast::<u8>(),
        pgrx::varsize_any_exhdr(plain),
    )
}

/// A quoted literal, whatever the setting `standard_conforming_strings` is.
fn quote(text: &mut String, s: &str) {
    if memchr::memchr2(b'\'', b'\\', s.as_bytes()).is_none() {
        text.push('\'');
        text.push_str(s);
        text.push('\'');
        return;
    }
    if s.contains('\\') {
        text.push_str(" E");
    }
    text.push('\'');
    for ch in s.chars() {
        if ch == '\'' || ch == '\\' {
            text.push(ch);
        }
        text.push(ch);
    }
    text.push('\'');
}

fn push_int(text: &mut String, v: i64, bare: bool) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(v);
    if bare && v >= 0 {
        text.push_str(digits);
    } else {
        text.push('\'');
        text.push_str(digits);
        text.push('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::{push_int, quote};

    fn text(f: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        f(&mut out);
        out
    }

    #[test]
    fn literals() {
        assert_eq!(text(|o| push_int(o, 7, true)), "7");
        assert_eq!(text(|o| push_int(o, -7, true)), "'-7'");
        assert_eq!(text(|o| push_int(o, i64::MIN, false)), "'-9223372036854775808'");
        assert_eq!(text(|o| quote(o, "it")), "'it'");
        assert_eq!(text(|o| quote(o, "it's")), r"'it''s'");
        assert_eq!(text(|o| quote(o, r"a\'")), r" E'a\\'''");
    }
}
