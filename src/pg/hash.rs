//! Hash functions of operator families.

use super::value::Typed;
use super::{column, guard};
use pgrx::pg_sys::{self, Datum, Oid};

/// Support function number of the 32-bit hash (access/hash.h).
const HASH_PROC: i16 = 1;

/// A hash function for values of one type (or what is stored like it); lives as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    typ: Oid,
    function: *mut pg_sys::FmgrInfo,
}

/// Default hash operator family of a type.
pub fn family(typ: Oid) -> Oid {
    // SAFETY: type cache entries live as long as the process.
    unsafe { (*pg_sys::lookup_type_cache(typ, pg_sys::TYPECACHE_HASH_OPFAMILY as i32)).hash_opf }
}

/// The type of values of `typ` for operator families: domains are their base type, and what is
/// binary-coercible to text counts as text.
fn family_type(family: Oid, typ: Oid) -> Option<Oid> {
    // SAFETY: syscache and type cache look-ups.
    unsafe {
        let base = column::base_type(typ);
        let has = |t| pg_sys::get_opfamily_proc(family, t, t, HASH_PROC) != Oid::INVALID;
        if has(base) {
            return Some(base);
        }
        let entry = pg_sys::lookup_type_cache(base, pg_sys::TYPECACHE_HASH_OPFAMILY as i32);
        let input = (*entry).hash_opintype;
        ((*entry).hash_opf == family && has(input)).then_some(input)
    }
}

impl Hasher {
    /// The hash function that an operator family has for a type.
    pub fn in_family(family: Oid, typ: Oid) -> Option<Hasher> {
        let t = family_type(family, typ)?;
        // SAFETY: the function exists; its record is never freed.
        unsafe {
            let f = pg_sys::get_opfamily_proc(family, t, t, HASH_PROC);
            let function = Box::into_raw(Box::<pg_sys::FmgrInfo>::default());
            pg_sys::fmgr_info_cxt(f, function, pg_sys::TopMemoryContext);
            Some(Hasher { typ, function })
        }
    }

    /// The hash function of a type's default hash operator class.
    pub fn of_type(typ: Oid) -> Option<Hasher> {
        // SAFETY: type cache entries stay where they are for the life of the process.
        unsafe {
            let flags = pg_sys::TYPECACHE_HASH_PROC_FINFO as i32;
            let entry = pg_sys::lookup_type_cache(typ, flags);
            let function = &raw mut (*entry).hash_proc_finfo;
            ((*function).fn_oid != Oid::INVALID).then_some(Hasher { typ, function })
        }
    }

    /// Hash of a value that is known to be of the hasher's type.
    pub fn hash_datum(self, collation: Oid, value: Datum) -> i32 {
        let function = self.function;
        // SAFETY: the function takes values of the type.
        unsafe {
            guard::call(|| pg_sys::FunctionCall1Coll(function, collation, value)).value() as i32
        }
    }

    /// Hash of a value; `None` when it is not of the hasher's type.
    pub fn hash(self, collation: Oid, value: Typed) -> Option<i32> {
        (value.typ() == self.typ).then(|| self.hash_datum(collation, value.datum()))
    }
}
