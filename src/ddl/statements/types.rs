//! Changes of types that columns of managed tables have: other nodes have the types too.

use super::{hold_copies, plainly};
use crate::catalog;
use crate::ddl::objects::Objects;
use crate::ddl::{dependencies, info, roles, room, send};
use crate::error::{Error, Result};
use crate::hooks::utility::Call;
use crate::pg::fmgr::{quote_ident, quote_literal};
use crate::pg::statement::TypeChange;
use crate::pg::{guard, relation, spi};
use pgrx::pg_sys::Oid;

/// ALTER TYPE and ALTER DOMAIN on enums and domains, and changes of the name of any type: done on
/// the other nodes, when some hold shards with columns of the type.
pub fn alter_type(call: Call) -> Result<()> {
    let Some((typ, change)) = call.statement().type_change() else { return plainly(&call) };
    let tables = tables_using(typ)?;
    let ids: Vec<i64> = tables
        .iter()
        .filter_map(|t| catalog::table(*t))
        .flat_map(|t| t.shards.iter().map(|s| s.id).collect::<Vec<_>>())
        .collect();
    hold_copies(tables);
    // A value that a new constraint refuses is told with the name of its table.
    guard::catch_result(|| change_type(&call, typ, change))
        .map_err(|e| send::about_tables(e, &|id| ids.contains(&id)))
}

fn change_type(call: &Call, typ: Oid, change: TypeChange) -> Result<()> {
    let groups = groups_using(typ)?;
    let name = spi::value("SELECT format_type($1, NULL)", &[spi::oid(typ)])?.unwrap_or_default();
    let before = constraints(typ)?;
    plainly(call)?;
    if groups.is_empty() {
        return Ok(());
    }
    relation::command_counter_increment();
    let after = constraints(typ)?;
    if matches!(change, TypeChange::Rename(_) | TypeChange::SetSchema(_)) {
        let sql = "SELECT format('DROP TYPE %I.%I', n.nspname, t.typname) \
            FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = $1";
        let old = info::rows(sql, &[spi::oid(typ)])?;
        room::drop_unused(&groups, &old.iter().map(|r| r.text(0)).collect::<Vec<_>>())?;
    }
    let commands: Vec<String> = match change {
        TypeChange::SetSchema(schema) => {
            dependencies::ensure_schema(&schema, &groups)?;
            vec![format!("ALTER TYPE {name} SET SCHEMA {}", quote_ident(&schema))]
        }
        TypeChange::Owner => vec![owned(typ, &name, &groups)?],
        TypeChange::AddConstraint => {
            let mut objects = Objects::default();
            objects.checks(typ)?;
            dependencies::make(&groups, objects)?;
            let new = after.iter().filter(|c| !before.contains(c));
            let add = |(n, def): &(String, String)| {
                format!("ALTER DOMAIN {name} ADD CONSTRAINT {} {def}", quote_ident(n))
            };
            new.map(add).collect()
        }
        other => command(&name, &other).into_iter().collect(),
    };
    for sql in commands {
        let work: Vec<(i32, String)> = groups.iter().map(|g| (*g, sql.clone())).collect();
        send::on_nodes(&work)?;
    }
    Ok(())
}

/// The command that gives a type to its owner here, whom the nodes have then.
fn owned(typ: Oid, name: &str, groups: &[i32]) -> Result<String> {
    let sql = "SELECT pg_get_userbyid(typowner) FROM pg_type WHERE oid = $1";
    let owner = spi::value(sql, &[spi::oid(typ)])?.unwrap_or_default();
    dependencies::make_roles(groups, &roles::named(std::slice::from_ref(&owner))?)?;
    Ok(format!("ALTER TYPE {name} OWNER TO {}", quote_ident(&owner)))
}

fn command(name: &str, change: &TypeChange) -> Option<String> {
    Some(match change {
        TypeChange::AddValue { value, neighbour, if_not_exists } => {
            let exists = if *if_not_exists { "IF NOT EXISTS " } else { "" };
            let place = neighbour.as_ref().map(|(n, after)| {
                let word = if *after { "AFTER" } else { "BEFORE" };
                format!(" {word} {}", quote_literal(n))
            });
            format!(
                "ALTER TYPE {name} ADD VALUE {exists}{}{}",
                quote_literal(value),
                place.unwrap_or_default()
            )
        }
        TypeChange::RenameValue(old, new) => format!(
            "ALTER TYPE {name} RENAME VALUE {} TO {}",
            quote_literal(old),
            quote_literal(new)
        ),
        TypeChange::Rename(new) => format!("ALTER TYPE {name} RENAME TO {}", quote_ident(new)),
        TypeChange::RenameConstraint(old, new) => format!(
            "ALTER DOMAIN {name} RENAME CONSTRAINT {} TO {}",
            quote_ident(old),
            quote_ident(new)
        ),
        TypeChange::NotNull(true) => format!("ALTER DOMAIN {name} SET NOT NULL"),
        TypeChange::NotNull(false) => format!("ALTER DOMAIN {name} DROP NOT NULL"),
        TypeChange::DropConstraint(c) => {
            format!("ALTER DOMAIN {name} DROP CONSTRAINT IF EXISTS {}", quote_ident(c))
        }
        TypeChange::ValidateConstraint(c) => {
            format!("ALTER DOMAIN {name} VALIDATE CONSTRAINT {}", quote_ident(c))
        }
        TypeChange::Default
        | TypeChange::AddConstraint
        | TypeChange::SetSchema(_)
        | TypeChange::Owner => return None,
    })
}

/// Constraints of a domain: name and definition.
fn constraints(typ: Oid) -> Result<Vec<(String, String)>> {
    let sql = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid = $1 \
        ORDER BY 1";
    Ok(info::rows(sql, &[spi::oid(typ)])?.iter().map(|r| (r.text(0), r.text(1))).collect())
}

/// Refuses a change of a composite type's attributes while other nodes have the type.
pub fn refuse_composite(relid: Oid) -> Result<()> {
    let sql = "SELECT reltype, relname FROM pg_class WHERE oid = $1 AND relkind = 'c'";
    for r in info::rows(sql, &[spi::oid(relid)])? {
        if !groups_using(r.oid(0))?.is_empty() {
            return Err(Error::unsupported(format!(
                "cannot change the attributes of type {}: distributed tables have columns of it",
                quote_ident(&r.text(1))
            ))
            .hint("Run undistribute_table on them first."));
        }
    }
    Ok(())
}

/// The types that are made of a type: itself, arrays, domains and composite types.
const MADE_OF: &str = "WITH RECURSIVE t(oid) AS ( \
        SELECT $1::oid UNION \
        SELECT made.oid FROM t CROSS JOIN LATERAL ( \
            SELECT y.oid FROM pg_type y \
            WHERE y.typelem = t.oid AND y.typcategory = 'A' OR y.typbasetype = t.oid \
            UNION ALL \
            SELECT c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
            WHERE a.atttypid = t.oid AND c.reltype <> 0) made) ";

/// Managed tables that have a column of the type, or of one made of it.
fn tables_using(typ: Oid) -> Result<Vec<Oid>> {
    let sql = format!(
        "{MADE_OF} SELECT DISTINCT p.logicalrelid::oid FROM t JOIN pg_attribute a \
            ON a.atttypid = t.oid AND NOT a.attisdropped \
         JOIN pg_dist_partition p ON p.logicalrelid = a.attrelid ORDER BY 1"
    );
    Ok(info::rows(&sql, &[spi::oid(typ)])?.iter().map(|r| r.oid(0)).collect())
}

/// The other nodes' groups, when some have shards with a column of the type, or of one made of it, or
/// that are made with it in another way.
fn groups_using(typ: Oid) -> Result<Vec<i32>> {
    let sql = format!(
        "{MADE_OF} SELECT DISTINCT l.groupid FROM t JOIN pg_attribute a ON a.atttypid = t.oid \
            AND NOT a.attisdropped \
         JOIN pg_dist_shard s ON s.logicalrelid = a.attrelid \
         JOIN pg_dist_placement l ON l.shardid = s.shardid ORDER BY 1"
    );
    let local = catalog::local_group()?;
    let groups = info::rows(&sql, &[spi::oid(typ)])?;
    let groups: Vec<i32> = groups.iter().map(|r| r.num(0)).filter(|g| *g != local).collect();
    match groups.is_empty() && !catalog::is_used(pgrx::pg_sys::TypeRelationId, typ) {
        true => Ok(groups),
        false => dependencies::everywhere(&groups),
    }
}
