//! Columns of a relation.

use crate::error::{sqlstate, Error, Result};
use crate::pg::guard;
use pgrx::pg_sys::{self, Oid};
use std::ffi::{c_int, CStr};

/// A column that exists.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Attribute number.
    pub attno: i16,
    /// Name.
    pub name: String,
    /// Type.
    pub typ: Oid,
    /// Type modifier.
    pub typmod: i32,
    /// Whether its value is computed from other columns.
    pub generated: bool,
}

/// Columns of a relation, without dropped ones.
pub fn attributes(relid: Oid) -> Result<Vec<Attribute>> {
    // SAFETY: opened, copied and closed; attribute access is bounded by natts.
    unsafe {
        let lock = pg_sys::AccessShareLock as c_int;
        let rel = pg_sys::try_relation_open(relid, lock);
        if rel.is_null() {
            return Err(Error::new(sqlstate::UNDEFINED_TABLE, "table does not exist"));
        }
        let desc = (*rel).rd_att;
        let list = (0..(*desc).natts.max(0) as usize)
            .map(|i| &*(*desc).attrs.as_ptr().add(i))
            .filter(|a| !a.attisdropped)
            .map(|a| Attribute {
                attno: a.attnum,
                name: CStr::from_ptr(a.attname.data.as_ptr()).to_string_lossy().into_owned(),
                typ: a.atttypid,
                typmod: a.atttypmod,
                generated: a.attgenerated != 0,
            })
            .collect();
        guard::call(|| relation_close(rel, pg_sys::NoLock as c_int));
        Ok(list)
    }
}

/// Whether a foreign key of the table refers to the table itself.
pub fn references_itself(relid: Oid) -> bool {
    // SAFETY: opened, read and closed; the list belongs to the open relation.
    unsafe {
        let lock = pg_sys::AccessShareLock as c_int;
        let rel = pg_sys::try_relation_open(relid, lock);
        if rel.is_null() {
            return false;
        }
        let list = pg_sys::RelationGetFKeyList(rel);
        let count = if list.is_null() { 0 } else { (*list).length.max(0) as usize };
        let found = (0..count).any(|i| {
            let key = (*(*list).elements.add(i)).ptr_value as *mut pg_sys::ForeignKeyCacheInfo;
            (*key).confrelid == relid
        });
        guard::call(|| relation_close(rel, pg_sys::NoLock as c_int));
        found
    }
}

extern "C-unwind" {
    fn relation_close(rel: pg_sys::Relation, lock: c_int);
}
