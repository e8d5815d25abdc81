//! Which objects of the user's the tables on other nodes are made with.

use super::{local_group, table, Kind};
use crate::pg::{lookup, object, relation};
use pgrx::pg_sys::{self, Oid};

// Catalogs by OID.
const PG_ATTRDEF: Oid = Oid::from_u32(2604);
const PG_CONSTRAINT: Oid = Oid::from_u32(2606);
const PG_POLICY: Oid = Oid::from_u32(3256);
const PG_STATISTIC_EXT: Oid = Oid::from_u32(3381);

/// Whether a table with shards on other nodes has a column of a type (or of something made of it) or with a
/// collation, or an index, a constraint, a generated column, a policy or statistics with it or with a
/// function. Such objects are on all nodes: `ddl::dependencies` brings them there.
pub fn is_used(class: Oid, object: Oid) -> bool {
    let mut todo = vec![(class, object)];
    let mut at = 0;
    while let Some(next) = todo.get(at).copied() {
        at += 1;
        for (class, object) in object::dependents(next.0, next.1) {
            match user(class, object) {
                Some(User::Table(t)) if is_on_other_nodes(t) => return true,
                Some(User::Object(o)) if !todo.contains(&o) => todo.push(o),
                _ => {}
            }
        }
    }
    false
}

/// What a dependent object makes use another.
enum User {
    Table(Oid),
    Object((Oid, Oid)),
}

fn user(class: Oid, object: Oid) -> Option<User> {
    let typ = |t| User::Object((pg_sys::TypeRelationId, t));
    match class {
        pg_sys::TypeRelationId => Some(typ(object)),
        pg_sys::ProcedureRelationId => Some(User::Object((class, object))),
        pg_sys::RelationRelationId => lookup::composite_type(object)
            .map(typ)
            .or_else(|| Some(User::Table(relation::table_of_index(object).unwrap_or(object)))),
        PG_CONSTRAINT => match object::constrained(object)? {
            (table, Oid::INVALID) => Some(User::Table(table)),
            (_, domain) => Some(typ(domain)),
        },
        PG_ATTRDEF => {
            let (table, attno) = object::default_of(object)?;
            // Other defaults are computed here.
            lookup::is_generated(table, attno).then_some(User::Table(table))
        }
        PG_POLICY => object::policy(object).map(|p| User::Table(p.0)),
        PG_STATISTIC_EXT => object::statistics(object).map(|s| User::Table(s.0)),
        _ => None,
    }
}

/// Whether a table is one whose shards are not all on this node.
fn is_on_other_nodes(relid: Oid) -> bool {
    let Some(table) = table(relid) else { return false };
    let Ok(local) = local_group() else { return false };
    table.kind != Kind::Local
        && table.shards.iter().flat_map(|s| &s.placements).any(|p| p.group != local)
}
