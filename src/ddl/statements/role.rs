//! CREATE ROLE, ALTER ROLE and the renaming of roles: nodes have the roles that use tables, and there, too,
//! they decide which rows somebody sees.

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
    let groups = catalog::other_groups()?;
    // Others may change other roles meanwhile.
    let Some(name) = call.statement().changed_role() else { return plainly(&call) };
    let follow = match call.statement().tag() {
        NodeTag::T_CreateRoleStmt => settings::enable_create_role_propagation(),
        _ => settings::enable_alter_role_propagation(),
    };
    if groups.is_empty() || !catalog::any_tables() || !follow {
        return plainly(&call);
    }
    let (before, needed) = (Role::all()?, roles::of_all_tables()?);
    plainly(&call)?;
    relation::command_counter_increment();
    let (mut renamed, mut made, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    // For others nodes make roles, which is never more than what is here. Changes would not be taken back
    // with the transaction, and could be of a role that is another one there.
    let may_change = session::is_superuser();
    for new in Role::all()?.into_iter().filter(|r| r.name == name) {
        let old = before.iter().find(|old| old.oid == new.oid);
        if let Some(old) = old.filter(|old| old.name != new.name) {
            renamed.push(rename(&old.name, &new.name));
        }
        if old.is_none() {
            // What follows in the transaction may run as this role.
            made.extend(roles::named(std::slice::from_ref(&new.name))?);
        }
        // A new one can have the name of an old one, which nodes still have.
        let is_same = |a: &&String| old.is_some_and(|old| old.attributes.contains(a));
        let attributes: Vec<&str> =
            new.attributes.iter().filter(|a| !is_same(a)).map(String::as_str).collect();
        if !attributes.is_empty() {
            changed.push(alter(&new.name, &attributes.join(" ")));
        }
    }
    // Who is one of the table's users by now: everybody, members and superusers are.
    made.extend(roles::of_all_tables()?.into_iter().filter(|c| !needed.contains(c)));
    match may_change {
        true => dependencies::make_roles(&groups, &[renamed, made, changed].concat()),
        false if renamed.is_empty() => dependencies::make_roles(&groups, &made),
        false => Ok(()),
    }
}

fn rename(old: &str, new: &str) -> String {
    conditional(
        &roles::is_there(old),
        &format!("ALTER ROLE {} RENAME TO {}", quote_ident(old), quote_ident(new)),
    )
}

fn alter(name: &str, attributes: &str) -> String {
    conditional(&roles::is_there(name), &format!("ALTER ROLE {} {attributes}", quote_ident(name)))
}

fn conditional(condition: &str, command: &str) -> String {
    format!("DO {}", quote_literal(&format!("BEGIN IF {condition} THEN {command}; END IF; END")))
}
