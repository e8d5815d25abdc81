//! Objects that belong to tables, by OID, from the catalogs.

use super::scan::{self, Key};
use super::{guard, session, tree};
use pgrx::pg_sys::{self, Datum, Oid};

// Catalogs by OID.
const PG_ATTRDEF: u32 = 2604;
const PG_CONSTRAINT: u32 = 2606;
const PG_DEPEND: u32 = 2608;
const PG_POLICY: u32 = 3256;
const PG_STATISTIC_EXT: u32 = 3381;
/// Index of pg_attrdef on oid.
const ATTRDEF_OID_INDEX: u32 = 2657;
/// Index of pg_constraint on oid.
const CONSTRAINT_OID_INDEX: u32 = 2667;
/// Index of pg_depend on refclassid, refobjid, refobjsubid.
const DEPEND_REFERENCE_INDEX: u32 = 2674;
/// Index of pg_policy on oid.
const POLICY_OID_INDEX: u32 = 3257;

fn by_oid(oid: Oid) -> [Key; 1] {
    [Key { attno: 1, equal: pg_sys::F_OIDEQ, value: Datum::from(oid) }]
}

/// What depends on an object: the catalogs of these objects, and their OIDs.
pub fn dependents(catalog: Oid, object: Oid) -> Vec<(Oid, Oid)> {
    let key = |attno, value: Oid| Key { attno, equal: pg_sys::F_OIDEQ, value: Datum::from(value) };
    let keys = [key(4, catalog), key(5, object)];
    let mut found = Vec::new();
    let index = Some(Oid::from(DEPEND_REFERENCE_INDEX));
    scan::rows(Oid::from(PG_DEPEND), index, &keys, |r| found.push((r.oid(1), r.oid(2))));
    found
}

/// A table's constraint: the table and the constraint's name.
pub fn constraint(oid: Oid) -> Option<(Oid, String)> {
    let mut found = None;
    let index = Some(Oid::from(CONSTRAINT_OID_INDEX));
    scan::rows(Oid::from(PG_CONSTRAINT), index, &by_oid(oid), |r| {
        found = r.name(2).map(|name| (r.oid(8), name));
    });
    found.filter(|(relid, _)| *relid != Oid::INVALID)
}

/// What a constraint belongs to: a table or a domain, the other one invalid.
pub fn constrained(oid: Oid) -> Option<(Oid, Oid)> {
    let mut found = None;
    let index = Some(Oid::from(CONSTRAINT_OID_INDEX));
    scan::rows(Oid::from(PG_CONSTRAINT), index, &by_oid(oid), |r| {
        found = Some((r.oid(8), r.oid(9)))
    });
    found
}

/// The table and column of a default or of a generated column's expression.
pub fn default_of(oid: Oid) -> Option<(Oid, i16)> {
    let mut found = None;
    let index = Some(Oid::from(ATTRDEF_OID_INDEX));
    scan::rows(Oid::from(PG_ATTRDEF), index, &by_oid(oid), |r| {
        found = Some((r.oid(2), r.i32(3) as i16));
    });
    found
}

/// A row-level security policy: its table and name.
pub fn policy(oid: Oid) -> Option<(Oid, String)> {
    let mut found = None;
    let index = Some(Oid::from(POLICY_OID_INDEX));
    scan::rows(Oid::from(PG_POLICY), index, &by_oid(oid), |r| {
        found = r.name(2).map(|name| (r.oid(3), name));
    });
    found
}

/// An extended statistics object: its table, schema and name.
pub fn statistics(oid: Oid) -> Option<(Oid, String, String)> {
    let mut found = None;
    let index = Some(Oid::from(pg_sys::StatisticExtOidIndexId));
    scan::rows(Oid::from(PG_STATISTIC_EXT), index, &by_oid(oid), |r| {
        found = r.name(3).map(|name| (r.oid(2), r.oid(4), name));
    });
    let (relid, namespace, name) = found?;
    Some((relid, namespace_name(namespace)?, name))
}

/// Name of a schema.
pub fn namespace_name(oid: Oid) -> Option<String> {
    // SAFETY: null or a palloc'd string comes back.
    unsafe {
        let name = guard::call(|| pg_sys::get_namespace_name(oid));
        (!name.is_null()).then(|| tree::text(name))
    }
}

/// Name of a column.
pub fn column_name(relid: Oid, attno: i16) -> Option<String> {
    // SAFETY: null or a palloc'd string comes back.
    unsafe {
        let name = guard::call(|| pg_sys::get_attname(relid, attno, true));
        (!name.is_null()).then(|| tree::text(name))
    }
}

/// Whether an index belongs to a constraint.
pub fn constraint_of_index(index: Oid) -> bool {
    // SAFETY: scans pg_depend.
    unsafe { guard::call(|| pg_sys::get_index_constraint(index)) != Oid::INVALID }
}

/// Schema and name of a statistics object named in a statement with the session's search path.
pub fn find_statistics(parts: &[String]) -> Option<(Oid, String, String)> {
    let (name, schema) = parts.split_last().map(|(n, s)| (n, s.last()))?;
    let sql = "SELECT s.oid FROM pg_catalog.pg_statistic_ext s \
        JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxname = $1 \
        AND CASE WHEN $2 IS NULL THEN pg_catalog.pg_statistics_obj_is_visible(s.oid) \
            ELSE n.nspname = $2 END";
    let params = [super::spi::text(name), super::spi::opt_text(schema.map(String::as_str))];
    let (rows, _) = super::spi::execute_unpinned(sql, &params).ok()?;
    let oid = rows.into_iter().flatten().flatten().next()?.parse::<u32>().ok()?;
    statistics(Oid::from(oid))
}

/// Schema and name of a relation, as pairs for shard commands.
pub fn pair(relid: Oid) -> Option<(String, String)> {
    session::relation_name(relid)
}
