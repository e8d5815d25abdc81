//! By what a row of a target is found again on its node.

use super::place::SHARD_ATTRIBUTE;
use super::wanted::Rows;
use crate::catalog::Table;
use crate::pg::fmgr::quote_ident;
use crate::pg::lookup::{self, Attribute};
use crate::pg::query;
use crate::plan::Sent;
use crate::planner::ship;
use pgrx::pg_sys::{self, Oid};

/// Columns by which a row of the target is found again.
pub struct Identity {
    /// Output with the shard's number.
    pub shard: u32,
    /// Outputs with values to compare.
    pub parts: Vec<Sent>,
    /// The SQL that compares them, as `v.i1` and so on, with the row `t`.
    pub condition: String,
}

impl Identity {
    /// Adds what identifies rows of the target (range table entry `varno`) to the query: their
    /// place, or values where places differ between replicas.
    pub fn new(table: &Table, varno: i32, rows: &mut Rows) -> Self {
        let system = |attno: i16, typ: Oid| query::var(varno, attno, typ, -1, Oid::INVALID).node();
        let shard = rows.add(system(SHARD_ATTRIBUTE, pg_sys::OIDOID));
        if !super::is_replicated(table) {
            let ctid = system(pg_sys::SelfItemPointerAttributeNumber as i16, pg_sys::TIDOID);
            let parts = vec![Sent { column: rows.add(ctid), as_text: false }];
            let condition = "t.ctid OPERATOR(pg_catalog.=) v.i1".to_owned();
            return Identity { shard, parts, condition };
        }
        let all: Vec<Attribute> = lookup::attributes(table.relid).into_iter().flatten().collect();
        let key = key_of(table.relid, &all);
        let (mut parts, mut conditions) = (Vec::new(), Vec::new());
        let (mut theirs, mut given) = (Vec::new(), Vec::new());
        for a in all.iter().filter(|a| key.is_empty() || key.contains(&a.attno)) {
            let as_text = !is_comparable(a.typ);
            let cast = if as_text { "::pg_catalog.text" } else { "" };
            let column = format!("t.{}{cast}", quote_ident(&a.name));
            let value = format!("v.i{}", parts.len() + 1);
            // An index or a hash table finds what is equal, and nothing that is not distinct.
            let compared = match lookup::is_not_null(table.relid, a.attno) {
                true => "OPERATOR(pg_catalog.=)",
                false => "IS NOT DISTINCT FROM",
            };
            conditions.push(format!("{column} {compared} {value}"));
            theirs.push(column);
            given.push(value);
            parts.push(Sent { column: rows.add(a.var(varno)), as_text });
        }
        if key.is_empty() {
            // Finds rows by a hash table where all columns may be NULL, and tells values that are
            // equal but not the same (1.0 and 1.00).
            conditions.push(format!(
                "ROW({})::pg_catalog.text OPERATOR(pg_catalog.=) ROW({})::pg_catalog.text",
                theirs.join(", "),
                given.join(", ")
            ));
        }
        Identity { shard, parts, condition: conditions.join(" AND ") }
    }

    /// Outputs that are the same for the same row.
    pub fn columns(&self) -> Vec<u32> {
        let mut out = vec![self.shard];
        out.extend(self.parts.iter().map(|s| s.column));
        out
    }
}

/// Columns that no two rows have the same values in; none when rows may be equal.
fn key_of(relid: Oid, all: &[Attribute]) -> Vec<i16> {
    let primary = lookup::primary_key(relid);
    if !primary.is_empty() {
        return primary;
    }
    // An index may have another collation than the column, which tells more values from each other.
    let exact =
        |a: &Attribute| a.collation == Oid::INVALID || lookup::is_deterministic(a.collation);
    let fits = |n: &i16| {
        let column = all.iter().find(|a| a.attno == *n);
        column.is_some_and(|a| exact(a) && lookup::is_not_null(relid, *n))
    };
    let mut keys = lookup::unique_keys(relid).into_iter();
    keys.find(|key| key.iter().all(fits)).unwrap_or_default()
}

/// Whether the type's equality is known to any node.
fn is_comparable(typ: Oid) -> bool {
    ship::is_plain_type(typ) && lookup::has_equality(typ)
}
