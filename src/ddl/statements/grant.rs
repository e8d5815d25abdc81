//! GRANT and REVOKE on tables and schemas.

use super::{hold_copies, plainly, tables_of_schema, Managed};
use crate::catalog;
use crate::ddl::{dependencies, functions, send};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::quote_ident;
use crate::pg::relation::command_counter_increment;
use crate::pg::statement::{GrantView, Name};
use pgrx::pg_sys::{ObjectType, Oid};

/// GRANT and REVOKE.
pub fn grant(call: Call) -> Result<()> {
    let view = call.statement().grant();
    if view.as_ref().is_some_and(|g| functions::is_kind(g.objects)) {
        return functions::change(call);
    }
    if let Some(g) = &view {
        hold_copies(tables_of(g)?);
    }
    plainly(&call)?;
    let Some(g) = view else { return Ok(()) };
    match g.objects {
        ObjectType::OBJECT_TABLE => on_tables(&g),
        ObjectType::OBJECT_SCHEMA => on_schemas(&g),
        _ => Ok(()),
    }
}

/// GRANT and REVOKE of roles: who may use managed tables also through a role may do so on nodes.
pub fn grant_role(call: Call) -> Result<()> {
    let view = call.statement().role_grant();
    call.proceed()?;
    let Some((grant, pairs)) = view else { return Ok(()) };
    if !catalog::extension_ready() {
        return Ok(());
    }
    command_counter_increment();
    dependencies::follow_memberships(grant, &pairs)
}

/// The tables that a statement is about, itself or through their schema.
fn tables_of(g: &GrantView) -> Result<Vec<Oid>> {
    let on_schemas = matches!(g.objects, ObjectType::OBJECT_SCHEMA);
    let mut tables = Vec::new();
    if matches!(g.objects, ObjectType::OBJECT_TABLE) {
        tables.extend(g.relations.iter().filter_map(|n| Name::find(*n)));
    }
    if on_schemas || (g.all_in_schema && matches!(g.objects, ObjectType::OBJECT_TABLE)) {
        for schema in &g.names {
            tables.extend(tables_of_schema(schema)?);
        }
    }
    Ok(tables)
}

fn on_tables(g: &GrantView) -> Result<()> {
    for t in tables_of(g)? {
        let Some(m) = Managed::load(t)? else { continue };
        let roles: Vec<String> = g.grantees.iter().flatten().cloned().collect();
        if g.grant {
            dependencies::ensure_roles(&roles, &send::groups_of(&m.table))?;
        }
        m.apply(&[statement(g, &format!("TABLE {}", m.rel.qualified()))])?;
    }
    Ok(())
}

fn on_schemas(g: &GrantView) -> Result<()> {
    for schema in &g.names {
        let groups = super::drop::remote_groups_of_schema(schema)?;
        let roles: Vec<String> = g.grantees.iter().flatten().cloned().collect();
        if g.grant {
            dependencies::ensure_roles(&roles, &groups)?;
        }
        let sql = statement(g, &format!("SCHEMA {}", quote_ident(schema)));
        let work: Vec<(i32, String)> = groups.iter().map(|x| (*x, sql.clone())).collect();
        send::on_nodes(&work)?;
    }
    Ok(())
}

fn statement(g: &GrantView, object: &str) -> String {
    let privileges: Vec<String> = g
        .privileges
        .iter()
        .map(|(name, columns)| {
            let name = name.as_deref().unwrap_or("ALL");
            if columns.is_empty() {
                return name.to_owned();
            }
            let list: Vec<String> = columns.iter().map(|c| quote_ident(c)).collect();
            format!("{name} ({})", list.join(", "))
        })
        .collect();
    let privileges = if privileges.is_empty() { "ALL".to_owned() } else { privileges.join(", ") };
    let roles: Vec<String> =
        g.grantees.iter().map(|r| r.as_deref().map_or("PUBLIC".to_owned(), quote_ident)).collect();
    let roles = roles.join(", ");
    if g.grant {
        let option = if g.grant_option { " WITH GRANT OPTION" } else { "" };
        return format!("GRANT {privileges} ON {object} TO {roles}{option}");
    }
    let option = if g.grant_option { "GRANT OPTION FOR " } else { "" };
    let cascade = if g.cascade { " CASCADE" } else { "" };
    format!("REVOKE {option}{privileges} ON {object} FROM {roles}{cascade}")
}
