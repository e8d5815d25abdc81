//! What policies of row-level security read besides their table. Nodes apply a policy beside each
//! shard, so what it reads has to be there, all of it.

use super::apply::Batch;
use super::info::{self, Relation};
use super::send::{self, Named};
use crate::catalog::{self, Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{query, spi};
use crate::planner::analyze::Analyzer;
use crate::planner::values::Values;
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A policy that reads another table.
struct Reads {
    policy: String,
    other: Oid,
    /// Its conditions as catalogs have them.
    conditions: Vec<String>,
}

fn reads(relid: Oid, only: Option<&str>) -> Result<Vec<Reads>> {
    let sql = "SELECT DISTINCT p.polname, d.refobjid, p.polqual::text, p.polwithcheck::text \
        FROM pg_policy p JOIN pg_depend d \
        ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid \
        AND d.refclassid = 'pg_class'::regclass \
        WHERE p.polrelid = $1 AND ($2 IS NULL OR p.polname = $2) AND d.refobjid <> $1 ORDER BY 1, 2";
    let found = info::rows(sql, &[spi::oid(relid), spi::opt_text(only)])?;
    let read = |r: &info::Row| Reads {
        policy: r.text(0),
        other: r.oid(1),
        conditions: [r.opt(2), r.opt(3)].into_iter().flatten().collect(),
    };
    Ok(found.iter().map(read).collect())
}

/// Refuses policies (one, or all) of a managed table that would not find beside a shard what they
/// are to find.
pub fn check(rel: &Relation, table: &Rc<Table>, only: Option<&str>) -> Result<()> {
    for r in reads(rel.oid, only)? {
        let other = catalog::table(r.other);
        match other.as_ref().map(|o| (table.kind, o.kind, o.colocated_with(table))) {
            Some((_, Kind::Reference, _))
            | Some((Kind::Single, Kind::Single, true))
            | Some((Kind::Local, Kind::Local, _)) => {}
            Some((Kind::Hash, Kind::Hash, true)) => compared_by_key(rel, table, &r)?,
            _ => {
                let name = info::name_of(r.other);
                return Err(Error::unsupported(format!(
                    "policy \"{}\" of \"{}\" reads \"{name}\", which is neither a reference table \
                     nor co-located with it",
                    r.policy, rel.name
                ))
                .hint(format!(
                    "Run create_reference_table('{name}') first (and undistribute_table before \
                     that, if it is distributed)."
                )));
            }
        }
    }
    Ok(())
}

fn compared_by_key(rel: &Relation, table: &Rc<Table>, r: &Reads) -> Result<()> {
    for stored in &r.conditions {
        let Some(condition) = query::parse(stored) else { continue };
        let mut values = Values::default();
        if let Err(why) = Analyzer::new(&mut values, false).policy(condition, table) {
            let name = info::name_of(r.other);
            return Err(Error::unsupported(format!(
                "policy \"{}\" of \"{}\" reads rows of \"{name}\" that may be on other nodes",
                r.policy, rel.name
            ))
            .detail(format!("Nodes apply policies beside each shard: {}.", why.0))
            .hint(format!(
                "Compare the distribution columns of \"{name}\" and \"{}\" in the WHERE of the \
                 sub-query, or make \"{name}\" a reference table.",
                rel.name
            )));
        }
    }
    Ok(())
}

/// The batches that apply statements about policies to all placements of the table.
pub fn batches(
    rel: &Relation,
    table: &Table,
    only: Option<&str>,
    commands: &[String],
) -> Result<BTreeMap<i32, Batch>> {
    let mut others: Vec<(Rc<Table>, (String, String))> = Vec::new();
    for r in reads(rel.oid, only)? {
        if others.iter().any(|(o, _)| o.relid == r.other) {
            continue;
        }
        if let Some(o) = catalog::table(r.other) {
            others.push((o, Relation::load(r.other)?.pair()));
        }
    }
    let named: Vec<Named> =
        others.iter().map(|(o, pair)| Named { table: o, names: vec![pair.clone()] }).collect();
    send::batches(&Named { table, names: vec![rel.pair()] }, &named, commands)
}

/// Policies of other managed tables that read a table: name and table.
fn readers(relid: Oid) -> Result<Vec<(String, Oid)>> {
    let sql = "SELECT DISTINCT p.polname, p.polrelid::oid FROM pg_depend d \
        JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid \
        JOIN pg_dist_partition m ON m.logicalrelid = p.polrelid \
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND p.polrelid <> $1 ORDER BY 1, 2";
    Ok(info::rows(sql, &[spi::oid(relid)])?.iter().map(|r| (r.text(0), r.oid(1))).collect())
}

/// Shards of a table stay while policies on shards of other tables read them.
pub fn require_unread(rel: &Relation) -> Result<()> {
    let Some((policy, table)) = readers(rel.oid)?.into_iter().next() else { return Ok(()) };
    let table = info::name_of(table);
    let message = format!("policy \"{policy}\" of \"{table}\" reads shards of \"{}\"", rel.name);
    Err(Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .hint(format!("Drop the policy, or run undistribute_table('{table}') first.")))
}

/// A hash-distributed table stays beside those that its policies read, and whose policies read it.
pub fn require_apart(rel: &Relation) -> Result<()> {
    let mut all = readers(rel.oid)?;
    all.extend(reads(rel.oid, None)?.into_iter().map(|r| (r.policy, r.other)));
    let is_hash = |o: Oid| catalog::table(o).is_some_and(|t| t.kind == Kind::Hash);
    let Some((policy, _)) = all.into_iter().find(|(_, o)| is_hash(*o)) else { return Ok(()) };
    let message = format!("policy \"{policy}\" needs \"{}\" to stay co-located", rel.name);
    Err(Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .hint("Drop the policy first."))
}
