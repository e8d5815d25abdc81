//! What the other nodes have of the objects that a query names. Types, collations and functions come to
//! them with the tables that are made with them (`ddl::dependencies`); what extensions bring, and
//! configurations of text search, the nodes are asked for. Anything else is taken for missing there, and
//! what names it is evaluated here.

use super::extension;
use crate::catalog::{self, Memo};
use crate::error::Result;
use crate::pg::fmgr::quote_literal;
use crate::pg::{guard, lookup, spi};
use crate::txn::run;
use pgrx::pg_sys::{self, Oid};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

// Catalogs by OID.
const PG_TS_DICT: Oid = Oid::from_u32(3600);
const PG_TS_CONFIG: Oid = Oid::from_u32(3602);

/// How long what some node lacks is taken for missing.
const MISSING: Duration = Duration::from_secs(5);

/// What nodes were asked: when, which groups, and whether all of them have the object.
struct Asked {
    since: Instant,
    groups: Vec<i32>,
    everywhere: bool,
}

/// Catalog and OID of an object.
type Object = (u32, u32);

thread_local! {
    /// Whether tables are made with an object.
    static USED: Memo<Object, bool> = Memo::default();
    static ASKED: RefCell<HashMap<Object, Asked>> = RefCell::default();
}

fn is_builtin(oid: Oid) -> bool {
    u32::from(oid) < pg_sys::FirstNormalObjectId
}

/// Whether all nodes have a type, or there are no others.
pub fn has_type(typ: Oid) -> bool {
    if is_builtin(typ) {
        return true;
    }
    let mut typ = typ;
    // Types of arrays and multiranges come with those that they are made of.
    while let Some(inner) = lookup::array_element(typ).or_else(|| lookup::range_of_multirange(typ))
    {
        typ = inner;
    }
    is_builtin(typ) || has(pg_sys::TypeRelationId, typ)
}

/// Whether all nodes have a collation, or there are no others.
pub fn has_collation(collation: Oid) -> bool {
    is_builtin(collation) || has(pg_sys::CollationRelationId, collation)
}

/// Whether all nodes have a function, or there are no others.
pub fn has_function(function: Oid) -> bool {
    has(pg_sys::ProcedureRelationId, function)
}

fn has(class: Oid, object: Oid) -> bool {
    is_used(class, object) || is_alone() || extension::is_everywhere(class, object)
}

fn is_alone() -> bool {
    catalog::other_groups().is_ok_and(|g| g.is_empty())
}

/// [`catalog::is_used`], remembered.
fn is_used(class: Oid, object: Oid) -> bool {
    let id = (u32::from(class), u32::from(object));
    catalog::remembered(&USED, id, || catalog::is_used(class, object))
}

/// Whether all nodes have what a constant of a type of names (regclass and its kind) stands for, with the
/// same meaning.
pub fn has_named(typ: Oid, object: Oid) -> bool {
    match typ {
        pg_sys::REGTYPEOID => has_type(object),
        pg_sys::REGCOLLATIONOID => has_collation(object),
        _ if is_builtin(object) => true,
        pg_sys::REGCONFIGOID => has_in(PG_TS_CONFIG, object, "ts_config", "cfg"),
        pg_sys::REGDICTIONARYOID => has_in(PG_TS_DICT, object, "ts_dict", "dict"),
        _ => false,
    }
}

/// Whether all nodes have an object of a catalog (`pg_` and the name) with columns that begin so.
fn has_in(class: Oid, object: Oid, catalog: &str, columns: &str) -> bool {
    let ask = |groups: &[i32]| {
        let sql = format!(
            "SELECT n.nspname, o.{columns}name FROM pg_{catalog} o \
             JOIN pg_namespace n ON n.oid = o.{columns}namespace WHERE o.oid = $1"
        );
        let here = spi::query(&sql, &[spi::oid(object)])?;
        let Some([Some(schema), Some(name)]) = here.first().map(Vec::as_slice) else {
            return Ok(false);
        };
        let there = format!(
            "SELECT 1 FROM pg_catalog.pg_{catalog} o \
             JOIN pg_catalog.pg_namespace n ON n.oid = o.{columns}namespace \
             WHERE n.nspname = {} AND o.{columns}name = {}",
            quote_literal(schema),
            quote_literal(name)
        );
        all_find(groups, &there)
    };
    everywhere(class, object, ask)
}

/// Whether all nodes have an object: asked once, and after a while again when it was missing. The question
/// goes to the groups that it gets.
pub fn everywhere(class: Oid, object: Oid, ask: impl Fn(&[i32]) -> Result<bool>) -> bool {
    let Ok(groups) = catalog::other_groups() else { return false };
    let id = (u32::from(class), u32::from(object));
    let known = ASKED.with(|a| {
        a.borrow()
            .get(&id)
            .filter(|a| a.groups == groups && (a.everywhere || a.since.elapsed() < MISSING))
            .map(|a| a.everywhere)
    });
    if let Some(everywhere) = known {
        return everywhere;
    }
    let everywhere = groups.is_empty() || ask(&groups).unwrap_or_else(missing);
    let entry = Asked { since: Instant::now(), groups, everywhere };
    ASKED.with(|a| a.borrow_mut().insert(id, entry));
    everywhere
}

/// A node that cannot be asked may not be needed either.
fn missing(e: crate::error::Error) -> bool {
    if !guard::is_connection_error(&e) {
        e.raise()
    }
    false
}

/// Whether a query finds something on each group.
pub fn all_find(groups: &[i32], sql: &str) -> Result<bool> {
    let work: Vec<(i32, String)> = groups.iter().map(|g| (*g, sql.to_owned())).collect();
    Ok(run::on_groups(&work, false)?.iter().all(|r| !r.rows.is_empty()))
}
