//! What the system catalogs say about types, operators, functions and columns.

use super::{guard, hash, nodes, query};
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::CStr;

/// An OID that stands for something.
fn valid(oid: Oid) -> Option<Oid> {
    (oid != Oid::INVALID).then_some(oid)
}

// ---- types ------------------------------------------------------------------------------------

/// The kind of a type: `b`ase, `c`omposite, `d`omain, `e`num, `p`seudo, `r`ange, `m`ultirange.
pub fn type_kind(typ: Oid) -> u8 {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::get_typtype(typ) as u8 }
}

/// The type of an array's elements.
pub fn element_type(array: Oid) -> Option<Oid> {
    // SAFETY: syscache look-ups.
    valid(unsafe { pg_sys::get_element_type(pg_sys::getBaseType(array)) })
}

/// The type of the elements, of a type of arrays itself.
pub fn array_element(typ: Oid) -> Option<Oid> {
    // SAFETY: syscache look-up.
    valid(unsafe { pg_sys::get_element_type(typ) })
}

/// The type of ranges that a multirange is made of.
pub fn range_of_multirange(typ: Oid) -> Option<Oid> {
    // SAFETY: syscache look-up.
    valid(unsafe { pg_sys::get_multirange_range(typ) })
}

/// The type of the rows of a composite type, by its entry in pg_class.
pub fn composite_type(relid: Oid) -> Option<Oid> {
    // SAFETY: syscache look-ups.
    unsafe {
        let composite = pg_sys::get_rel_relkind(relid) as u8 == pg_sys::RELKIND_COMPOSITE_TYPE;
        composite.then(|| pg_sys::get_rel_type_id(relid)).and_then(valid)
    }
}

/// Whether there is a type of arrays of the type's values.
pub fn has_array(typ: Oid) -> bool {
    // SAFETY: a syscache look-up.
    unsafe { pg_sys::get_array_type(typ) != Oid::INVALID }
}

/// The collation of a type's values; invalid for types without.
pub fn type_collation(typ: Oid) -> Oid {
    // SAFETY: a syscache look-up.
    unsafe { pg_sys::get_typcollation(typ) }
}

/// Whether values of the type have a collation.
pub fn is_collatable(typ: Oid) -> bool {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::type_is_collatable(typ) }
}

/// The type's own equality.
pub fn equality(typ: Oid) -> Option<Oid> {
    // SAFETY: type cache entries live as long as the process.
    unsafe {
        let entry = pg_sys::lookup_type_cache(typ, pg_sys::TYPECACHE_EQ_OPR as i32);
        valid((*entry).eq_opr)
    }
}

/// Whether the type has an equality of its own.
pub fn has_equality(typ: Oid) -> bool {
    equality(typ).is_some()
}

// ---- operators and functions ------------------------------------------------------------------

/// Whether an operator is the equality by which values of its type are hashed when nobody says otherwise.
/// Another operator class may take more values for equal, whose hashes differ.
pub fn is_hash_operator(op: Oid) -> bool {
    let (mut left, mut right) = (Oid::INVALID, Oid::INVALID);
    // SAFETY: syscache look-ups.
    unsafe {
        pg_sys::get_op_hash_functions(op, &mut left, &mut right) && {
            pg_sys::op_input_types(op, &mut left, &mut right);
            pg_sys::op_in_opfamily(op, hash::family(left))
        }
    }
}

/// Whether equal values under a collation are equal byte by byte.
pub fn is_deterministic(collation: Oid) -> bool {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::get_collation_isdeterministic(collation) }
}

/// The name of a function, empty when there is none.
pub fn function_name(f: Oid) -> String {
    // SAFETY: null or a zero-terminated string.
    unsafe { nodes::str_of(pg_sys::get_func_name(f)) }
}

/// The name of an operator, empty when there is none.
pub fn operator_name(op: Oid) -> String {
    // SAFETY: null or a zero-terminated string.
    unsafe { nodes::str_of(pg_sys::get_opname(op)) }
}

/// The type of a function's result.
pub fn result_type(f: Oid) -> Oid {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::get_func_rettype(f) }
}

/// Whether a function takes its last arguments as an array.
pub fn is_variadic(f: Oid) -> bool {
    // SAFETY: syscache look-up.
    let element = unsafe { pg_sys::get_func_variadictype(f) };
    element != Oid::INVALID && element != pg_sys::ANYOID
}

/// Types of a function's result and arguments.
pub fn signature(f: Oid) -> (Oid, Vec<Oid>) {
    let mut n = 0;
    let mut types: *mut Oid = std::ptr::null_mut();
    // SAFETY: the array has as many elements as the look-up says.
    unsafe {
        let result = pg_sys::get_func_signature(f, &mut types, &mut n);
        (result, (0..n.max(0) as usize).map(|i| *types.add(i)).collect())
    }
}

/// Volatility of a function: `i`mmutable, `s`table or `v`olatile.
pub fn volatility(f: Oid) -> u8 {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::func_volatile(f) as u8 }
}

/// Whether a function's result is NULL when an argument is.
pub fn is_strict(f: Oid) -> bool {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::func_strict(f) }
}

/// The function of a name in `pg_catalog`, when there is exactly one.
pub fn function(name: &str) -> Option<Oid> {
    let names = query::List::from(["pg_catalog", name].map(query::string));
    // SAFETY: a list of names.
    valid(unsafe { pg_sys::LookupFuncName(names.as_ptr(), -1, std::ptr::null(), true) })
}

/// The function of `citus_internal` with a name and argument types, whatever the user may name.
pub fn internal_function(name: &CStr, types: &[Oid]) -> Option<Oid> {
    // SAFETY: syscache look-ups with a name and as many types as said.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"citus_internal".as_ptr(), true);
        let types = pg_sys::buildoidvector(types.as_ptr(), types.len() as i32);
        valid(pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            Datum::from(name.as_ptr()),
            Datum::from(types),
            Datum::from(schema),
            Datum::from(0usize),
        ))
    }
}

/// The function of `pg_catalog` with a name and argument types, or PostgreSQL's error.
pub fn function_with(name: &str, types: &[Oid]) -> Oid {
    let names = query::List::from(["pg_catalog", name].map(query::string));
    // SAFETY: a list of names, and as many types as said.
    unsafe { pg_sys::LookupFuncName(names.as_ptr(), types.len() as i32, types.as_ptr(), false) }
}

/// The extension that an object of a catalog belongs to.
pub fn extension_of(catalog: Oid, object: Oid) -> Option<Oid> {
    // SAFETY: catalog look-up.
    valid(unsafe { guard::call(|| pg_sys::getExtensionOfObject(catalog, object)) })
}

/// The name of an extension.
pub fn extension_name(extension: Oid) -> String {
    // SAFETY: null or a zero-terminated string.
    unsafe { nodes::str_of(pg_sys::get_extension_name(extension)) }
}

// ---- tables -----------------------------------------------------------------------------------

/// The name of a column, empty when there is none.
pub fn column_name(relid: Oid, attno: i16) -> String {
    // SAFETY: null or a zero-terminated string.
    unsafe { nodes::str_of(pg_sys::get_attname(relid, attno, true)) }
}

/// The name of a system column.
pub fn system_column(attno: i16) -> Option<String> {
    // SAFETY: a static definition, of a number that there is.
    let of = |n| unsafe {
        let a = pg_sys::SystemAttributeDefinition(n);
        std::ffi::CStr::from_ptr((*a).attname.data.as_ptr()).to_string_lossy().into_owned()
    };
    let known = pg_sys::FirstLowInvalidHeapAttributeNumber < i32::from(attno) && attno < 0;
    known.then(|| of(attno))
}

/// Whether a column is generated.
pub fn is_generated(relid: Oid, attno: i16) -> bool {
    // SAFETY: syscache look-up; a column that does not exist raises an error.
    unsafe { pg_sys::get_attgenerated(relid, attno) != 0 }
}

/// A column of a table as a variable of a range table entry.
pub fn column(relid: Oid, attno: i16, varno: i32) -> query::Var {
    let (mut typ, mut typmod, mut collation) = (Oid::INVALID, 0, Oid::INVALID);
    // SAFETY: syscache look-up; a column that does not exist raises an error.
    unsafe {
        pg_sys::get_atttypetypmodcoll(relid, attno, &mut typ, &mut typmod, &mut collation);
    }
    query::var(varno, attno, typ, typmod, collation)
}

/// Schema and name of a relation.
pub fn relation_names(relid: Oid) -> (String, String) {
    // SAFETY: null or zero-terminated strings.
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relid));
        (nodes::str_of(schema), nodes::str_of(pg_sys::get_rel_name(relid)))
    }
}

/// A column of a table.
pub struct Attribute {
    /// Number.
    pub attno: i16,
    /// Name.
    pub name: String,
    /// Type.
    pub typ: Oid,
    /// Type modifier.
    pub typmod: i32,
    /// Collation.
    pub collation: Oid,
    /// Whether it is computed from others.
    pub generated: bool,
}

impl Attribute {
    /// The column as a variable of an entry.
    pub fn var(&self, varno: i32) -> query::Node {
        query::var(varno, self.attno, self.typ, self.typmod, self.collation).node()
    }
}

/// Closes a relation that somebody else has locked.
struct Open(pg_sys::Relation);

impl Open {
    fn new(relid: Oid) -> Open {
        // SAFETY: raises an error when the table does not exist.
        Open(unsafe { pg_sys::table_open(relid, pg_sys::NoLock as i32) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened above; after an error the transaction's end closes it.
            unsafe { pg_sys::table_close(self.0, pg_sys::NoLock as i32) }
        }
    }
}

/// Which fields of a row type are dropped columns, from 0.
pub fn dropped_fields(row_type: Oid) -> Vec<usize> {
    // SAFETY: a copy of the type's descriptor, with as many attributes as it says.
    unsafe {
        let desc = pg_sys::lookup_rowtype_tupdesc_copy(row_type, -1);
        let all = (*desc).attrs.as_slice((*desc).natts.max(0) as usize);
        all.iter().enumerate().filter(|(_, a)| a.attisdropped).map(|(i, _)| i).collect()
    }
}

/// All columns of a table that the running statement has locked, in order; dropped ones are
/// `None`.
pub fn attributes(relid: Oid) -> Vec<Option<Attribute>> {
    let rel = Open::new(relid);
    // SAFETY: the descriptor has as many attributes as it says.
    unsafe {
        let desc = (*rel.0).rd_att;
        let attribute = |i: usize| {
            let a = (*desc).attrs.as_ptr().add(i);
            (!(*a).attisdropped).then(|| Attribute {
                attno: (*a).attnum,
                name: nodes::str_of((*a).attname.data.as_ptr()),
                typ: (*a).atttypid,
                typmod: (*a).atttypmod,
                collation: (*a).attcollation,
                generated: (*a).attgenerated != 0,
            })
        };
        (0..(*desc).natts.max(0) as usize).map(attribute).collect()
    }
}

/// Whether a column is NOT NULL.
pub fn is_not_null(relid: Oid, attno: i16) -> bool {
    let rel = Open::new(relid);
    // SAFETY: the descriptor has as many attributes as it says.
    unsafe {
        let desc = (*rel.0).rd_att;
        let exists = attno > 0 && i32::from(attno) <= (*desc).natts;
        exists && (*(*desc).attrs.as_ptr().add(attno as usize - 1)).attnotnull
    }
}

/// The default or generating expression of a column, over variables of entry 1.
pub fn column_default(relid: Oid, attno: i16) -> query::Node {
    let rel = Open::new(relid);
    // SAFETY: null or a new expression.
    unsafe { query::Node::from_raw(pg_sys::build_column_default(rel.0, i32::from(attno))) }
}

/// Columns of the primary key.
pub fn primary_key(relid: Oid) -> Vec<i16> {
    let rel = Open::new(relid);
    let mut out = Vec::new();
    // SAFETY: null or a set.
    unsafe {
        let kind = pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_PRIMARY_KEY;
        let set = pg_sys::RelationGetIndexAttrBitmap(rel.0, kind);
        let mut i = pg_sys::bms_next_member(set, -1);
        while i >= 0 {
            out.push((i + pg_sys::FirstLowInvalidHeapAttributeNumber) as i16);
            i = pg_sys::bms_next_member(set, i);
        }
    }
    out
}

/// Columns of each unique index that holds for all rows and at any time.
pub fn unique_keys(relid: Oid) -> Vec<Vec<i16>> {
    let rel = Open::new(relid);
    let mut out = Vec::new();
    // SAFETY: an open relation; each index has as many key columns as it says and is closed again.
    unsafe {
        let indexes = query::List::<Oid>::from_raw(pg_sys::RelationGetIndexList(rel.0));
        for index in indexes.iter() {
            let i = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
            let form = (*i).rd_index;
            let is_key = (*form).indisunique
                && (*form).indimmediate
                && (*form).indisvalid
                && pg_sys::RelationGetIndexPredicate(i).is_null()
                && pg_sys::RelationGetIndexExpressions(i).is_null();
            if is_key {
                let n = (*form).indnkeyatts.max(0) as usize;
                out.push((0..n).map(|k| *(*form).indkey.values.as_ptr().add(k)).collect());
            }
            pg_sys::index_close(i, pg_sys::AccessShareLock as i32);
        }
    }
    out
}

/// The index of a constraint: whether it is unique, and its columns.
pub fn constraint_columns(constraint: Oid) -> Option<(bool, Vec<i16>)> {
    // SAFETY: the index has as many key columns as it says.
    unsafe {
        let index = valid(pg_sys::get_constraint_index(constraint))?;
        let rel = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
        let form = (*rel).rd_index;
        let key = |i: usize| *(*form).indkey.values.as_ptr().add(i);
        let columns = (0..(*form).indnkeyatts.max(0) as usize).map(key).collect();
        let unique = (*form).indisunique;
        pg_sys::index_close(rel, pg_sys::AccessShareLock as i32);
        Some((unique, columns))
    }
}

/// A foreign key of rows that ON DELETE would delete or change.
pub struct Referring {
    /// The constraint's name.
    pub constraint: String,
    /// The table with these rows.
    pub table: Oid,
    /// Their columns, those that they refer to, and the operators (qualified) that compare them.
    pub columns: Vec<(i16, i16, String)>,
}

/// Foreign keys to a table that do something to other rows ON DELETE.
pub fn referring_with_action(relid: Oid) -> Vec<Referring> {
    let actions = [
        pg_sys::F_RI_FKEY_CASCADE_DEL,
        pg_sys::F_RI_FKEY_SETNULL_DEL,
        pg_sys::F_RI_FKEY_SETDEFAULT_DEL,
    ];
    let rel = Open::new(relid);
    let mut found = Vec::new();
    // SAFETY: null, or as many triggers as it says.
    unsafe {
        let all = (*rel.0).trigdesc;
        let n = if all.is_null() { 0 } else { (*all).numtriggers.max(0) as usize };
        for t in (0..n).map(|i| (*all).triggers.add(i)) {
            if actions.contains(&u32::from((*t).tgfoid)) {
                found.push(((*t).tgconstrrelid, (*t).tgconstraint));
            }
        }
    }
    found.into_iter().filter_map(|(table, constraint)| foreign_key(table, constraint)).collect()
}

fn foreign_key(table: Oid, constraint: Oid) -> Option<Referring> {
    // SAFETY: the list is the relation's own, and has as many columns as it says; the relation is
    // closed again, its lock stays.
    unsafe {
        let rel = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        let list = pg_sys::RelationGetFKeyList(rel);
        let n = if list.is_null() { 0 } else { (*list).length.max(0) as usize };
        let key = (0..n)
            .map(|i| (*(*list).elements.add(i)).ptr_value as *mut pg_sys::ForeignKeyCacheInfo)
            .find(|k| (**k).conoid == constraint);
        let columns = key.map(|k| {
            let column =
                |i: usize| ((*k).conkey[i], (*k).confkey[i], qualified_operator((*k).conpfeqop[i]));
            (0..(*k).nkeys.clamp(0, 32) as usize).map(column).collect()
        });
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
        let constraint = nodes::str_of(pg_sys::get_constraint_name(constraint));
        Some(Referring { constraint, table, columns: columns? })
    }
}

/// Schema and name of an operator, as `OPERATOR()` takes them.
fn qualified_operator(op: Oid) -> String {
    // SAFETY: a zero-terminated string: the name and the types of arguments.
    let all = unsafe { nodes::str_of(pg_sys::format_operator_qualified(op)) };
    all.rsplit_once('(').map_or(all.clone(), |(name, _)| name.to_owned())
}

/// The owner of a relation.
pub fn owner(relid: Oid) -> Oid {
    let rel = Open::new(relid);
    // SAFETY: an open relation.
    unsafe { (*(*rel.0).rd_rel).relowner }
}

/// Whether row-level security is on for a table.
pub fn has_policies(relid: Oid) -> bool {
    let rel = Open::new(relid);
    // SAFETY: an open relation.
    unsafe { (*(*rel.0).rd_rel).relrowsecurity }
}
