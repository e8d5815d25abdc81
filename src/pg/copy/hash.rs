//! Hashes of the default operator classes of common types, without a function call per value.

use pgrx::pg_sys::Oid;
use std::ffi::c_int;

extern "C" {
    // Pure functions that raise no errors (common/hashfn.h).
    fn hash_bytes(bytes: *const u8, len: c_int) -> u32;
    fn hash_bytes_uint32(value: u32) -> u32;
}

/// `hashint4`, and `hashint2` of a value that was widened.
pub fn hash_int4(value: i32) -> i32 {
    // SAFETY: pure function.
    unsafe { hash_bytes_uint32(value as u32) as i32 }
}

/// `hashint8`: values that fit four bytes hash as `hashint4` does.
pub fn hash_int8(value: i64) -> i32 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    hash_int4((low ^ if value >= 0 { high } else { !high }) as i32)
}

/// `uuid_hash`, and `hashtext` under a deterministic collation.
pub fn hash_data(bytes: &[u8]) -> i32 {
    // SAFETY: pure function of the slice.
    unsafe { hash_bytes(bytes.as_ptr(), bytes.len() as c_int) as i32 }
}

/// Whether equal text means equal bytes.
pub fn is_deterministic(collation: Oid) -> bool {
    // SAFETY: syscache look-up.
    collation == Oid::INVALID || unsafe { pgrx::pg_sys::get_collation_isdeterministic(collation) }
}
