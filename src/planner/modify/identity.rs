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

/// Finds rows whatever the search path is.
const EQUAL: &str = "OPERATOR(pg_catalog.=)";

/// Columns by which a row of the target is found again.
pub struct Identity {
    /// Output with the shard's number.
    pub shard: u32,
    /// Outputs with values to compare.
    pub parts: Vec<Sent>,
    /// Output with the row's place, where rows may be equal in all that is compared.
    pub place: Option<u32>,
    /// How they are compared: the column (and a cast) after the row's name, and the comparison.
    compared: Vec<(String, &'static str)>,
}

impl Identity {
    /// Adds what identifies rows of the target (range table entry `varno`) to the query: their
    /// place, or values where places differ between replicas.
    pub fn new(table: &Table, varno: i32, rows: &mut Rows) -> Self {
        let system = |attno: i16, typ: Oid| query::var(varno, attno, typ, -1, Oid::INVALID).node();
        let place = || system(pg_sys::SelfItemPointerAttributeNumber as i16, pg_sys::TIDOID);
        let shard = rows.add(system(SHARD_ATTRIBUTE, pg_sys::OIDOID));
        let mut id = Identity { shard, parts: Vec::new(), place: None, compared: Vec::new() };
        if !super::is_replicated(table) {
            id.parts.push(Sent { column: rows.add(place()), as_text: false });
            id.compared.push(("ctid".to_owned(), EQUAL));
            return id;
        }
        let all: Vec<Attribute> = lookup::attributes(table.relid).into_iter().flatten().collect();
        let key = key_of(table.relid, &all);
        for a in all.iter().filter(|a| key.is_empty() || key.contains(&a.attno)) {
            let as_text = !is_comparable(a.typ);
            let cast = if as_text { "::pg_catalog.text" } else { "" };
            // An index or a hash table finds what is equal. (Without a key a column that is being added
            // is among them, in which rows have no values yet, though they must have some.)
            let compared = if key.is_empty() { "IS NOT DISTINCT FROM" } else { EQUAL };
            id.compared.push((format!("{}{cast}", quote_ident(&a.name)), compared));
            id.parts.push(Sent { column: rows.add(a.var(varno)), as_text });
        }
        if key.is_empty() {
            id.place = Some(rows.add(place()));
        }
        id
    }

    /// The SQL that compares a row with given values, by the names of both.
    pub fn condition(&self, row: &str, given: &str) -> String {
        let theirs: Vec<String> = self.compared.iter().map(|(c, _)| format!("{row}.{c}")).collect();
        let values: Vec<String> = self.names().iter().map(|n| format!("{given}.{n}")).collect();
        let how = self.compared.iter().map(|(_, how)| how);
        let mut all: Vec<String> = theirs
            .iter()
            .zip(&values)
            .zip(how)
            .map(|((column, value), how)| format!("{column} {how} {value}"))
            .collect();
        if self.place.is_some() {
            // Finds rows by a hash table where all columns may be NULL, and tells values that are
            // equal but not the same (1.0 and 1.00).
            all.push(format!(
                "ROW({})::pg_catalog.text {EQUAL} ROW({})::pg_catalog.text",
                theirs.join(", "),
                values.join(", ")
            ));
        }
        all.join(" AND ")
    }

    /// Names of the values to compare.
    pub fn names(&self) -> Vec<String> {
        (1..=self.parts.len()).map(|i| format!("i{i}")).collect()
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
