//! CREATE ROLE, ALTER ROLE, DROP ROLE and the renaming of roles: nodes have the roles that use tables, and
//! there, too, they decide which rows somebody sees. So what a role could do there before, when it was another
//! one of the same name, must not be left.

use super::plainly;
use crate::catalog;
use crate::ddl::{dependencies, info, roles};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::{quote_ident, quote_literal};
use crate::pg::{relation, session};
use crate::settings;
use pgrx::pg_sys::NodeTag;

/// What nodes need to know of a role.
#[derive(Clone, PartialEq, Eq)]
struct Role {
    oid: u32,
    name: String,
    attributes: Vec<String>,
}

impl Role {
    /// All roles of users.
    fn all() -> Result<Vec<Role>> {
        let sql = "SELECT oid, rolname, \
                CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, \
                CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, \
                CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, \
                CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END \
            FROM pg_roles WHERE oid >= 16384";
        let role = |r: &info::Row| Role {
            oid: r.num(0),
            name: r.text(1),
            attributes: (2..6).map(|i| r.text(i)).collect(),
        };
        Ok(info::rows(sql, &[])?.iter().map(role).collect())
    }
}

/// CREATE ROLE, ALTER ROLE, ALTER ROLE ... RENAME.
pub fn change_role(call: Call) -> Result<()> {
    let Some(name) = call.statement().changed_role() else { return plainly(&call) };
    let follow = match call.statement().tag() {
        NodeTag::T_CreateRoleStmt => settings::enable_create_role_propagation(),
        _ => settings::enable_alter_role_propagation(),
    };
    let may_change = session::is_superuser();
    let follow = follow && catalog::extension_ready() && catalog::any_tables();
    // Others cannot leave out by a setting what is not for them to decide.
    if !catalog::extension_ready() || (!follow && may_change) {
        return plainly(&call);
    }
    let groups = catalog::other_groups()?;
    if groups.is_empty() {
        return plainly(&call);
    }
    let users = || if follow { roles::of_all_tables() } else { Ok(Vec::new()) };
    let (before, needed) = (Role::all()?, users()?);
    plainly(&call)?;
    relation::command_counter_increment();
    let after = Role::all()?;
    // Others may change other roles meanwhile.
    let Some(new) = after.iter().find(|r| r.name == name) else { return Ok(()) };
    let old = before.iter().find(|old| old.oid == new.oid);
    let is_named = old.is_none_or(|old| old.name != new.name);
    let mut made = Vec::new();
    if follow && old.is_none() {
        // What follows in the transaction may run as this role.
        made.extend(roles::named(std::slice::from_ref(&new.name))?);
    }
    // Who is one of the table's users by now: everybody, members and superusers are.
    made.extend(users()?.into_iter().filter(|c| !needed.contains(c)));
    // For others nodes make roles, which is never more than what is here. Changes would not be taken back
    // with the transaction, and could be of a role that is another one there.
    let commands = match may_change {
        true => changes(old, new, made),
        false => {
            let refuse = is_named.then(|| roles::refuse_rights(&new.name));
            let made = if is_named && old.is_some() { Vec::new() } else { made };
            refuse.into_iter().chain(made).collect()
        }
    };
    dependencies::make_roles(&groups, &commands)
}

/// What makes a role on nodes what it is here, together with `made`.
fn changes(old: Option<&Role>, new: &Role, made: Vec<String>) -> Vec<String> {
    let is_named = old.is_none_or(|old| old.name != new.name);
    let mut commands = Vec::new();
    match old {
        None => commands.push(roles::end_memberships(&new.name)),
        Some(old) if is_named => commands.push(roles::renamed(&old.name, &new.name)),
        Some(_) => {}
    }
    commands.extend(made);
    // One that has just got its name may be there, with what another one could do.
    let is_same = |a: &&String| !is_named && old.is_some_and(|old| old.attributes.contains(a));
    let mut changed: Vec<&str> =
        new.attributes.iter().filter(|a| !is_same(a)).map(String::as_str).collect();
    if is_named {
        changed.push(roles::NO_MORE);
    }
    if !changed.is_empty() {
        commands.push(alter(&new.name, &changed.join(" ")));
    }
    commands
}

/// DROP ROLE. Where something on a node depends on the role, it stays there without rights.
pub fn drop_role(call: Call) -> Result<()> {
    let follows = catalog::extension_ready() && settings::enable_create_role_propagation();
    let groups = if follows { catalog::other_groups()? } else { Vec::new() };
    if groups.is_empty() || !session::is_superuser() {
        return plainly(&call);
    }
    let before = Role::all()?;
    plainly(&call)?;
    relation::command_counter_increment();
    let after = Role::all()?;
    let gone = before.iter().filter(|old| !after.iter().any(|new| new.oid == old.oid));
    let commands: Vec<String> = gone.map(|r| roles::dropped(&r.name)).collect();
    dependencies::make_roles(&groups, &commands)
}

fn alter(name: &str, attributes: &str) -> String {
    conditional(&roles::is_plain(name), &format!("ALTER ROLE {} {attributes}", quote_ident(name)))
}

fn conditional(condition: &str, command: &str) -> String {
    format!("DO {}", quote_literal(&format!("BEGIN IF {condition} THEN {command}; END IF; END")))
}
