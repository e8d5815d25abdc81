//! Reading our catalogs without SQL, through their indexes.

use super::guard;
use pgrx::pg_sys::{self, Datum, Oid};

/// One row: its values by attribute number.
pub struct Row {
    values: Vec<Datum>,
    nulls: Vec<bool>,
    creator: u32,
}

impl Row {
    /// A row of a table.
    ///
    /// # Safety
    /// The tuple must fit the descriptor; the row is valid as long as the tuple is.
    pub(super) unsafe fn of_tuple(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Row {
        // SAFETY: both arrays have an element for each attribute.
        unsafe {
            let natts = (*desc).natts.max(0) as usize;
            let mut row = Row::empty(natts);
            row.take(tuple, desc);
            row
        }
    }

    fn empty(natts: usize) -> Row {
        Row { values: vec![Datum::from(0usize); natts], nulls: vec![true; natts], creator: 0 }
    }

    /// # Safety
    /// The tuple must fit the descriptor, and the row.
    unsafe fn take(&mut self, tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) {
        // SAFETY: the caller's promise; both arrays have an element for each attribute.
        unsafe {
            let header = (*tuple).t_data;
            let frozen = pg_sys::HEAP_XMIN_FROZEN as u16;
            self.creator = match (*header).t_infomask & frozen == frozen {
                true => 0,
                false => u32::from((*header).t_choice.t_heap.t_xmin),
            };
            let (values, nulls) = (self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
            pg_sys::heap_deform_tuple(tuple, desc, values, nulls);
        }
    }

    /// Id of the transaction that wrote this version of the row; 0 when it is visible to all.
    pub fn creator(&self) -> u32 {
        self.creator
    }

    /// The value of attribute `attno` (one-based), `None` when NULL.
    pub fn get(&self, attno: usize) -> Option<Datum> {
        match self.nulls.get(attno.wrapping_sub(1)) {
            Some(false) => self.values.get(attno - 1).copied(),
            _ => None,
        }
    }
    /// An integer attribute; 0 when NULL.
    pub fn i32(&self, attno: usize) -> i32 {
        self.get(attno).map_or(0, |d| d.value() as i32)
    }
    /// A bigint attribute; 0 when NULL.
    pub fn i64(&self, attno: usize) -> i64 {
        self.get(attno).map_or(0, |d| d.value() as i64)
    }
    /// A boolean attribute; false when NULL.
    pub fn bool(&self, attno: usize) -> bool {
        self.get(attno).is_some_and(|d| d.value() & 1 != 0)
    }
    /// A "char" attribute; 0 when NULL.
    pub fn char(&self, attno: usize) -> u8 {
        self.get(attno).map_or(0, |d| d.value() as u8)
    }
    /// An oid attribute; invalid when NULL.
    pub fn oid(&self, attno: usize) -> Oid {
        self.get(attno).map_or(Oid::INVALID, |d| Oid::from(d.value() as u32))
    }
    /// A text attribute.
    pub fn text(&self, attno: usize) -> Option<String> {
        // SAFETY: callers ask this of text columns of our own catalogs only.
        self.get(attno).map(|d| unsafe { super::fmgr::text_of(d) })
    }
    /// A name attribute.
    pub fn name(&self, attno: usize) -> Option<String> {
        // SAFETY: callers ask this of name columns of our own catalogs only.
        self.get(attno).map(|d| unsafe {
            std::ffi::CStr::from_ptr(d.cast_mut_ptr()).to_string_lossy().into_owned()
        })
    }
}

/// OID of a relation in pg_catalog by name, from the syscache.
pub fn catalog_relation(name: &std::ffi::CStr) -> Option<Oid> {
    // SAFETY: syscache look-up inside a transaction.
    let oid = unsafe {
        pg_sys::get_relname_relid(name.as_ptr(), Oid::from(pg_sys::PG_CATALOG_NAMESPACE))
    };
    (oid != Oid::INVALID).then_some(oid)
}

/// OID of a relation in another schema by name, from the syscache.
pub fn relation_in(schema: &std::ffi::CStr, name: &std::ffi::CStr) -> Option<Oid> {
    // SAFETY: syscache look-ups inside a transaction.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if schema == Oid::INVALID {
            return None;
        }
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    (oid != Oid::INVALID).then_some(oid)
}

/// Label of an enum's value.
pub fn enum_label(value: Oid) -> Option<String> {
    // SAFETY: the syscache entry is copied before it is released.
    unsafe {
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::ENUMOID as i32, Datum::from(value));
        if tuple.is_null() {
            return None;
        }
        let form = pg_sys::GETSTRUCT(tuple) as *mut pg_sys::FormData_pg_enum;
        let label = std::ffi::CStr::from_ptr((*form).enumlabel.data.as_ptr())
            .to_string_lossy()
            .into_owned();
        pg_sys::ReleaseSysCache(tuple);
        Some(label)
    }
}

/// An equality condition on a catalog column.
pub struct Key {
    /// Attribute number in the table.
    pub attno: i16,
    /// Equality function (for example `F_OIDEQ`).
    pub equal: u32,
    /// The value.
    pub value: Datum,
}

/// The keys as the scan functions want them.
///
/// # Safety
/// The equality functions must exist.
pub(super) unsafe fn scan_keys(keys: &[Key]) -> Vec<pg_sys::ScanKeyData> {
    keys.iter()
        .map(|k| {
            let mut s = pg_sys::ScanKeyData::default();
            // SAFETY: fills the structure; the caller promised the function.
            unsafe {
                pg_sys::ScanKeyInit(
                    &mut s,
                    k.attno,
                    pg_sys::BTEqualStrategyNumber as u16,
                    pg_sys::Oid::from(k.equal),
                    k.value,
                );
            }
            s
        })
        .collect()
}

/// Rows of `table` with the given keys, read with the newest catalog snapshot. `index` has to be
/// an index whose leading columns are the keys, in order.
pub fn rows(table: Oid, index: Option<Oid>, keys: &[Key], each: impl FnMut(&Row)) {
    // SAFETY: null stands for the newest catalog snapshot.
    unsafe { rows_as_of(std::ptr::null_mut(), table, index, keys, each) }
}

/// Rows of `table` whose bigint column `attno`, the first of `index`, is between two values.
pub fn rows_between(
    table: Oid,
    index: Oid,
    attno: i16,
    (from, to): (i64, i64),
    each: impl FnMut(&Row),
) {
    let bounds = [
        (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_INT8GE, from),
        (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_INT8LE, to),
    ];
    let keys = bounds.map(|(strategy, function, value)| {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: fills the structure; the functions exist.
        unsafe {
            let function = Oid::from(function);
            pg_sys::ScanKeyInit(&mut key, attno, strategy as u16, function, Datum::from(value));
        }
        key
    });
    // SAFETY: null stands for the newest catalog snapshot.
    unsafe { scan(std::ptr::null_mut(), table, Some(index), keys.into(), each) }
}

/// Whether a snapshot sees the version of a row that is in a slot.
///
/// # Safety
/// The slot must hold a tuple of the relation, with its buffer.
unsafe fn satisfies(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: what PostgreSQL's `table_tuple_satisfies_snapshot` does; the caller's promise.
    unsafe {
        let am = (*rel).rd_tableam;
        am.as_ref()
            .and_then(|am| am.tuple_satisfies_snapshot)
            .is_some_and(|f| guard::call(|| f(rel, slot, snapshot)))
    }
}

/// [`rows`] as a snapshot sees them. In a SERIALIZABLE transaction that leaves no predicate locks
/// behind, as what is looked for is not what the user reads: all versions are scanned.
///
/// # Safety
/// The snapshot must be registered, or null for the newest catalog snapshot.
pub(super) unsafe fn rows_as_of(
    snapshot: pg_sys::Snapshot,
    table: Oid,
    index: Option<Oid>,
    keys: &[Key],
    each: impl FnMut(&Row),
) {
    // SAFETY: the caller's promise.
    unsafe { scan(snapshot, table, index, scan_keys(keys), each) }
}

/// # Safety
/// See [`rows_as_of`].
unsafe fn scan(
    snapshot: pg_sys::Snapshot,
    table: Oid,
    index: Option<Oid>,
    mut keys: Vec<pg_sys::ScanKeyData>,
    mut each: impl FnMut(&Row),
) {
    // SAFETY: opens and closes what it scans; an error releases both through the resource owner.
    // The rows handed out are valid during the call of `each` only.
    unsafe {
        let rel = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        let desc = (*rel).rd_att;
        let natts = (*desc).natts as usize;
        let scan = pg_sys::systable_beginscan(
            rel,
            index.unwrap_or(Oid::INVALID),
            index.is_some(),
            if snapshot.is_null() { snapshot } else { &raw mut pg_sys::SnapshotAnyData },
            keys.len() as i32,
            keys.as_mut_ptr(),
        );
        let mut row = Row::empty(natts);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            if !snapshot.is_null() && !satisfies(rel, (*scan).slot, snapshot) {
                continue;
            }
            row.take(tuple, desc);
            each(&row);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(rel, pg_sys::AccessShareLock as i32);
    }
}
