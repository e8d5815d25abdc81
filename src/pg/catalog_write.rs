//! Writing rows of our own catalogs without SQL, where a statement would cost too much or could
//! not run (at commit).

use super::scan::Key;
use pgrx::pg_sys::{self, Datum, Oid};

/// Inserts a row; the values are those of the table's columns, in order.
pub fn insert(table: Oid, values: &[Option<Datum>]) {
    let mut v: Vec<Datum> = values.iter().map(|v| v.unwrap_or(Datum::from(0usize))).collect();
    let mut n: Vec<bool> = values.iter().map(Option::is_none).collect();
    // SAFETY: the arrays are checked against the descriptor's width; what is opened is closed,
    // or released by the resource owner after an error.
    unsafe {
        let rel = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
        let desc = (*rel).rd_att;
        if v.len() == (*desc).natts as usize {
            let tuple = pg_sys::heap_form_tuple(desc, v.as_mut_ptr(), n.as_mut_ptr());
            pg_sys::CatalogTupleInsert(rel, tuple);
            pg_sys::heap_freetuple(tuple);
        }
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
    }
}

/// Deletes the rows with these keys, found with the newest snapshot. `index` has to be an index
/// whose leading columns are the keys, in order.
pub fn delete(table: Oid, index: Oid, keys: &[Key]) -> u64 {
    let mut deleted = 0;
    // SAFETY: as above; a deleted tuple's identifier is read while the scan holds it.
    unsafe {
        let rel = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
        let mut scan_keys = super::scan::scan_keys(keys);
        let scan = pg_sys::systable_beginscan(
            rel,
            index,
            true,
            std::ptr::null_mut(),
            scan_keys.len() as i32,
            scan_keys.as_mut_ptr(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            pg_sys::CatalogTupleDelete(rel, &mut (*tuple).t_self);
            deleted += 1;
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
    }
    deleted
}
