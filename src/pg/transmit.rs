//! Values as text on their way to another node.

use super::spi::with_setting;
use crate::error::{OrRaise, Result};
use pgrx::pg_sys::{self, Datum, Oid};

/// Runs `f` with output settings whose text means the same to every session and loses nothing:
/// ISO dates, unambiguous intervals, exact floating point numbers. Sessions on nodes follow the
/// client's own settings, under which such text is read alike.
pub fn transmit<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: plain variables of settings.
    let (dates, intervals, floats) = unsafe {
        (
            pg_sys::DateStyle as u32 == pg_sys::USE_ISO_DATES,
            pg_sys::IntervalStyle as u32 == pg_sys::INTSTYLE_POSTGRES,
            pg_sys::extra_float_digits > 0,
        )
    };
    if dates && intervals && floats {
        return f();
    }
    with_setting("datestyle", "ISO", || {
        with_setting("intervalstyle", "postgres", || with_setting("extra_float_digits", "3", f))
    })
}

/// A value's text form for another node.
pub fn output(typ: Oid, value: Datum) -> String {
    transmit(|| Ok(super::fmgr::output(typ, value))).or_raise()
}
