//! ALTER ... RENAME, ALTER ... SET SCHEMA, and ALTER ... OWNER TO of what is no table.

use super::{hold_copies, plainly, tables_of_schema, types, Managed};
use crate::ddl::{dependencies, functions, leftovers, room, send};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::statement::{Name, RenameView};
use crate::pg::{object, relation, session};
use pgrx::pg_sys::ObjectType;

/// ALTER ... RENAME.
pub fn rename(call: Call) -> Result<()> {
    let Some(view) = call.statement().rename_view() else { return plainly(&call) };
    match view.kind {
        ObjectType::OBJECT_SCHEMA => rename_schema(call, &view),
        ObjectType::OBJECT_ROLE => super::change_role(call),
        ObjectType::OBJECT_COLLATION => super::change_collation(call),
        ObjectType::OBJECT_STATISTIC_EXT => rename_statistics(call, &view),
        ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN | ObjectType::OBJECT_DOMCONSTRAINT => {
            types::alter_type(call)
        }
        kind if functions::is_kind(kind) => functions::change(call),
        _ => rename_in_relation(call, &view),
    }
}

fn rename_in_relation(call: Call, view: &RenameView) -> Result<()> {
    let oid = view.relation.and_then(Name::find);
    let (Some(oid), Some(m)) = (oid, Managed::named(view.relation)?) else {
        return plainly(&call);
    };
    let table = m.rel.qualified();
    let (old, new) = (quote_ident(&view.old), quote_ident(&view.new));
    let named = session::relation_name(oid);
    if oid != m.rel.oid {
        hold_copies(vec![m.rel.oid]);
    }
    plainly(&call)?;
    match view.kind {
        ObjectType::OBJECT_COLUMN => {
            m.apply(&[format!("ALTER TABLE {table} RENAME COLUMN {old} TO {new}")])
        }
        ObjectType::OBJECT_TABCONSTRAINT => {
            m.apply(&[format!("ALTER TABLE {table} RENAME CONSTRAINT {old} TO {new}")])
        }
        ObjectType::OBJECT_POLICY => {
            m.apply(&[format!("ALTER POLICY {old} ON {table} RENAME TO {new}")])
        }
        ObjectType::OBJECT_TABLE | ObjectType::OBJECT_MATVIEW | ObjectType::OBJECT_INDEX => {
            match named {
                Some((schema, index)) if oid != m.rel.oid => {
                    let name = qualified(&schema, &index);
                    let sql = format!("ALTER INDEX {name} RENAME TO {new}");
                    m.apply_with((schema, index), &[sql])
                }
                _ => {
                    leftovers::record_stale(m.rel.oid, &m.rel.schema, &m.rel.name)?;
                    m.apply(&[format!("ALTER TABLE {table} RENAME TO {new}")])
                }
            }
        }
        _ => Ok(()),
    }
}

fn rename_statistics(call: Call, view: &RenameView) -> Result<()> {
    let found = object::find_statistics(&view.object);
    hold_copies(found.iter().map(|f| f.0).collect());
    plainly(&call)?;
    let Some((relid, schema, name)) = found else { return Ok(()) };
    let Some(m) = Managed::load(relid)? else { return Ok(()) };
    let sql = format!(
        "ALTER STATISTICS {} RENAME TO {}",
        qualified(&schema, &name),
        quote_ident(&view.new)
    );
    send::to_shards(&m.table, vec![(schema, name)], &[sql])
}

fn rename_schema(call: Call, view: &RenameView) -> Result<()> {
    hold_copies(tables_of_schema(&view.old)?);
    let groups = super::drop::remote_groups_of_schema(&view.old)?;
    plainly(&call)?;
    // What nodes have in that one was not made for tables that are not there any more.
    if view.new != "public" {
        room::drop_unused_schema(&groups, &view.new)?;
    }
    let sql =
        format!("ALTER SCHEMA {} RENAME TO {}", quote_ident(&view.old), quote_ident(&view.new));
    let work: Vec<(i32, String)> = groups.iter().map(|g| (*g, sql.clone())).collect();
    send::on_nodes(&work)
}

/// ALTER ... SET SCHEMA.
pub fn set_schema(call: Call) -> Result<()> {
    let statement = call.statement();
    let new = statement.object_name().unwrap_or_default();
    let kind = statement.schema_change_kind();
    if matches!(kind, Some(ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN)) {
        return types::alter_type(call);
    }
    if kind.is_some_and(functions::is_kind) {
        return functions::change(call);
    }
    if kind == Some(ObjectType::OBJECT_COLLATION) {
        return super::change_collation(call);
    }
    let Some(m) = Managed::named(statement.relation())? else { return plainly(&call) };
    plainly(&call)?;
    relation::command_counter_increment();
    if m.rel.schema == new {
        return Ok(());
    }
    leftovers::record_stale(m.rel.oid, &m.rel.schema, &m.rel.name)?;
    dependencies::ensure_schema(&new, &send::groups_of(&m.table))?;
    m.apply(&[format!("ALTER TABLE {} SET SCHEMA {}", m.rel.qualified(), quote_ident(&new))])
}

/// ALTER ... OWNER TO of what nodes may have, apart from tables.
pub fn change_owner(call: Call) -> Result<()> {
    match call.statement().given_away() {
        Some(ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN) => types::alter_type(call),
        Some(ObjectType::OBJECT_COLLATION) => super::change_collation(call),
        _ => functions::change(call),
    }
}
