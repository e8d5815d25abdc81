//! Hash functions of operator families.

use super::value::Typed;
use super::{column, guard};
use pgrx::pg_sys::{self, Datum, Oid};
use std::cell::RefCell;

/// Support function number of the 32-bit hash (access/hash.h).
const HASH_PROC: i16 = 1;

/// Types that most distribution columns have, and the functions of their default hash operator
/// classes.
const WELL_KNOWN: [(Oid, u32); 5] = [
    (pg_sys::INT4OID, pg_sys::F_HASHINT4),
    (pg_sys::INT8OID, pg_sys::F_HASHINT8),
    (pg_sys::TEXTOID, pg_sys::F_HASHTEXT),
    (pg_sys::UUIDOID, pg_sys::F_UUID_HASH),
    (pg_sys::INT2OID, pg_sys::F_HASHINT2),
];

thread_local! {
    /// Records of [`WELL_KNOWN`] that were made already.
    static KNOWN: RefCell<[Option<*mut pg_sys::FmgrInfo>; 5]> = const { RefCell::new([None; 5]) };
}

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
        Self::well_known(typ).or_else(|| Self::in_catalog(typ))
    }

    /// The functions of common types: to look for them takes a dozen probes of the catalogs.
    fn well_known(typ: Oid) -> Option<Hasher> {
        let i = WELL_KNOWN.iter().position(|(t, _)| *t == typ)?;
        let made = KNOWN.with(|k| k.borrow()[i]);
        if let Some(function) = made {
            return Some(Hasher { typ, function });
        }
        let function = Box::into_raw(Box::<pg_sys::FmgrInfo>::default());
        // SAFETY: a built-in function; its record is never freed.
        unsafe {
            let f = Oid::from(WELL_KNOWN[i].1);
            pg_sys::fmgr_info_cxt(f, function, pg_sys::TopMemoryContext);
        }
        KNOWN.with(|k| k.borrow_mut()[i] = Some(function));
        Some(Hasher { typ, function })
    }

    fn in_catalog(typ: Oid) -> Option<Hasher> {
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
