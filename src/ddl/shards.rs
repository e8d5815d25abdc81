//! Relations that hold shards, as clients meet them by their own name.
//!
//! A single node holds all shards beside their tables, and every coordinator those of reference
//! tables. Tools that list tables would take them for tables of the user: migration tools propose
//! to drop what is not in their model. So clients do not see them ([`is_hidden`]) and cannot change
//! them by their name ([`refuse_statement`]). Only a node with metadata knows its shards for sure.

use super::names::shard_name;
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::qualified;
use crate::pg::statement::Name;
use crate::pg::tree::Tree;
use crate::pg::{lookup, relation, session, spi};
use crate::settings;
use pgrx::pg_sys::{NodeTag, ObjectType, Oid};

/// The shard id at the end of a name.
fn id_in(name: &str) -> Option<i64> {
    let (_, id) = name.rsplit_once('_')?;
    let plain = !id.starts_with('0') && id.bytes().all(|b| b.is_ascii_digit());
    id.parse().ok().filter(|_| plain)
}

/// The table whose shard a relation holds, or is an index of.
pub fn table_of_shard(relid: Oid) -> Option<Oid> {
    let holder = match relation::kind(relid) {
        b'i' | b'I' => relation::table_of_index(relid)?,
        b'r' | b'p' | b'f' | b'm' => relid,
        _ => return None,
    };
    let (schema, name) = lookup::relation_names(holder);
    let id = id_in(&name)?;
    let table = catalog::relation_of_shard(id).filter(|t| *t != holder)?;
    let (its_schema, its_name) = lookup::relation_names(table);
    (its_schema == schema && shard_name(&its_name, id) == name).then_some(table)
}

/// Whether a row of `pg_class` is not for this session's client.
pub fn is_hidden(relid: Oid, name: &str, kind: u8) -> bool {
    matches!(kind, b'r' | b'p' | b'f' | b'm' | b'i' | b'I')
        && id_in(name).is_some()
        && !sees_shards()
        && table_of_shard(relid).is_some()
}

/// Whether the client was told to see shards, by what it calls itself.
fn sees_shards() -> bool {
    let prefixes = settings::show_shards_for_app_name_prefixes();
    if prefixes.is_empty() {
        return false;
    }
    let client = session::application_name();
    is_among(&client, &prefixes)
}

/// Whether a name begins with one of a list, in which `*` stands for all.
fn is_among(name: &str, prefixes: &str) -> bool {
    let mut each = prefixes.split(',').map(|p| p.trim().trim_matches('"'));
    each.any(|p| p == "*" || !p.is_empty() && name.starts_with(p))
}

/// Refuses a statement of the client that changes a shard by its own name: the table's other
/// shards, and the metadata, would not follow.
pub fn refuse_statement(statement: Tree) -> Result<()> {
    let changed: Vec<Name> = match statement.tag() {
        NodeTag::T_DropStmt if drops_tables(statement) => statement.dropped_relations(),
        NodeTag::T_TruncateStmt => statement.relations(),
        NodeTag::T_AlterTableStmt
        | NodeTag::T_AlterObjectSchemaStmt
        | NodeTag::T_RenameStmt
        | NodeTag::T_IndexStmt
        | NodeTag::T_CreateTrigStmt
        | NodeTag::T_RuleStmt
        | NodeTag::T_CreatePolicyStmt
        | NodeTag::T_AlterPolicyStmt => statement.relation().into_iter().collect(),
        _ => return Ok(()),
    };
    if spi::is_internal() || settings::enable_manual_changes_to_shards() {
        return Ok(());
    }
    for name in changed.into_iter().filter(|n| id_in(&n.name()).is_some()) {
        if !catalog::any_tables() {
            return Ok(());
        }
        if let Some(table) = name.find().and_then(table_of_shard) {
            return Err(refused(&name.name(), table));
        }
    }
    Ok(())
}

/// Whether DROP names tables or indexes; what belongs to a table has the table's name within its own.
fn drops_tables(statement: Tree) -> bool {
    use ObjectType::{OBJECT_FOREIGN_TABLE, OBJECT_INDEX, OBJECT_MATVIEW, OBJECT_TABLE};
    let kinds = [OBJECT_TABLE, OBJECT_INDEX, OBJECT_MATVIEW, OBJECT_FOREIGN_TABLE];
    statement.drop_kind().is_some_and(|k| kinds.contains(&k))
}

fn refused(name: &str, table: Oid) -> Error {
    let (schema, table) = lookup::relation_names(table);
    let table = qualified(&schema, &table);
    let what = format!("cannot change \"{name}\": it belongs to a shard of table {table}");
    Error::new(sqlstate::WRONG_OBJECT_TYPE, what).hint(
        "Change the table, and its shards follow. To change the shard alone, set \
         citus.enable_manual_changes_to_shards to on.",
    )
}

#[cfg(test)]
mod tests {
    use super::{id_in, is_among};

    #[test]
    fn ids_are_at_the_end_of_names() {
        assert_eq!(id_in("events_102008"), Some(102_008));
        for name in
            ["events", "events_", "events_010", "events_10a", "_", "", "e_99999999999999999999"]
        {
            assert_eq!(id_in(name), None, "{name}");
        }
    }

    #[test]
    fn clients_are_known_by_prefixes() {
        assert!(is_among("psql", "*") && is_among("psql", "pg_dump, ps") && is_among("", "*"));
        assert!(is_among("pg amcheck", "\"pg am\""));
        assert!(
            !is_among("psql", "pg_dump,sql") && !is_among("psql", "") && !is_among("psql", ",")
        );
    }
}
