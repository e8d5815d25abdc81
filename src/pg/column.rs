//! Columns of tables and how the catalogs store a distribution column.

use super::guard;
use crate::error::{sqlstate, Error, Result};
use crate::pg::spi::cstring;
use pgrx::pg_sys::{self, AttrNumber, Datum, Oid};
use std::ffi::CStr;

/// Attribute number of a column by name; system columns are not found.
pub fn number(relid: Oid, name: &str) -> Result<Option<AttrNumber>> {
    let name = cstring(name)?;
    // SAFETY: syscache look-up.
    let attno = unsafe { pg_sys::get_attnum(relid, name.as_ptr()) };
    Ok((attno > 0).then_some(attno))
}

/// Name of a table without its schema.
pub fn relation_name(relid: Oid) -> Result<String> {
    // SAFETY: syscache look-up that answers null or a zero-terminated copy.
    unsafe {
        let name = pg_sys::get_rel_name(relid);
        if name.is_null() {
            return Err(Error::new(
                sqlstate::UNDEFINED_TABLE,
                format!("relation with OID {} does not exist", u32::from(relid)),
            ));
        }
        Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// A column as `pg_dist_partition.partkey` stores it: a `Var` as PostgreSQL writes nodes.
pub fn stored_form(relid: Oid, attno: AttrNumber) -> Result<String> {
    let (mut typ, mut typmod, mut collation) = (Oid::INVALID, -1, Oid::INVALID);
    // SAFETY: the column exists; the node is freed with its memory context.
    unsafe {
        pg_sys::get_atttypetypmodcoll(relid, attno, &mut typ, &mut typmod, &mut collation);
        let var = guard::call(|| pg_sys::makeVar(1, attno, typ, typmod, collation, 0));
        let text = guard::call(|| pg_sys::nodeToString(var.cast()));
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// Hash of a value by the default hash operator class of its type.
pub fn hash_value(typ: Oid, collation: Oid, value: Datum) -> Result<i32> {
    // SAFETY: type cache entries live as long as the process.
    unsafe {
        let entry = pg_sys::lookup_type_cache(typ, pg_sys::TYPECACHE_HASH_PROC_FINFO as i32);
        if (*entry).hash_proc_finfo.fn_oid == Oid::INVALID {
            return Err(Error::new(
                sqlstate::UNDEFINED_FUNCTION,
                format!("could not identify a hash function for type {}", type_name(typ)),
            )
            .hint("Cast the value to a type that has a default hash operator class."));
        }
        let finfo = &mut (*entry).hash_proc_finfo as *mut pg_sys::FmgrInfo;
        let hash = guard::call(|| pg_sys::FunctionCall1Coll(finfo, collation, value));
        Ok(hash.value() as i32)
    }
}

/// A type's name as SQL writes it.
pub fn type_name(typ: Oid) -> String {
    // SAFETY: answers a zero-terminated string also for types that do not exist.
    unsafe { CStr::from_ptr(pg_sys::format_type_be(typ)).to_string_lossy().into_owned() }
}

/// Default collation of a type.
pub fn type_collation(typ: Oid) -> Oid {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::get_typcollation(typ) }
}

/// A value of one type as value of another, through its text form; equal types cost nothing.
pub fn convert(from: Oid, value: Datum, to: Oid) -> Datum {
    if from == to {
        return value;
    }
    let text = super::fmgr::output(from, value);
    super::fmgr::input(to, -1, &text)
}

/// The type under a domain, or the type itself.
pub fn base_type(typ: Oid) -> Oid {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::getBaseType(typ) }
}
