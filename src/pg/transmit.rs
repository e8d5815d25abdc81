//! Values as text on their way to another node.

use super::spi::with_setting;
use crate::error::{OrRaise, Result};
use pgrx::pg_sys::{self, Datum, Oid};

extern "C" {
    /// The setting (parser/parser.h).
    static mut standard_conforming_strings: bool;
    /// The setting (utils/builtins.h).
    static mut quote_all_identifiers: bool;
}

/// Runs `f` with output settings whose text means the same to every session and loses nothing:
/// ISO dates, unambiguous intervals, exact floating point numbers, literals as the standard has
/// them. Sessions on nodes follow the client's own settings, under which such text is read alike.
pub fn transmit<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: plain variables of settings.
    let (dates, intervals, floats, strings) = unsafe {
        (
            pg_sys::DateStyle as u32 == pg_sys::USE_ISO_DATES,
            pg_sys::IntervalStyle as u32 == pg_sys::INTSTYLE_POSTGRES,
            pg_sys::extra_float_digits > 0,
            standard_conforming_strings,
        )
    };
    if dates && intervals && floats && strings {
        return f();
    }
    with_setting("datestyle", "ISO", || {
        with_setting("intervalstyle", "postgres", || {
            with_setting("extra_float_digits", "3", || standard_strings(f))
        })
    })
}

/// Runs `f` with literals as the standard has them, which is how sessions on nodes read them.
pub fn standard_strings<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: plain variable of a setting.
    if unsafe { standard_conforming_strings } {
        return f();
    }
    with_setting("standard_conforming_strings", "on", f)
}

/// Runs `f` with names quoted only where they have to be, so that its texts can be compared.
pub fn plain_names<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: plain variable of a setting.
    if unsafe { !quote_all_identifiers } {
        return f();
    }
    with_setting("quote_all_identifiers", "off", f)
}

/// Runs `f` with literals and arrays read as the text of other sessions has them, whatever the client set.
pub fn usual_reading<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: plain variable of a setting.
    if unsafe { pg_sys::Array_nulls } {
        return standard_strings(f);
    }
    with_setting("array_nulls", "on", || standard_strings(f))
}

/// A value's text form for another node.
pub fn output(typ: Oid, value: Datum) -> String {
    transmit(|| Ok(super::fmgr::output(typ, value))).or_raise()
}
