//! ALTER COLLATION: nodes that have the collation follow when its name, schema or owner changes.

use super::plainly;
use crate::catalog;
use crate::ddl::{dependencies, info, roles, room, send};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::{relation, server};
use pgrx::pg_sys::{self, Oid};

/// A collation of the user's.
#[derive(PartialEq, Eq)]
struct Collation {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
}

impl Collation {
    /// Those that tables on other nodes are made with.
    fn used() -> Result<Vec<Collation>> {
        let mut all = Collation::all()?;
        all.retain(|c| catalog::is_used(pg_sys::CollationRelationId, c.oid));
        Ok(all)
    }

    fn all() -> Result<Vec<Collation>> {
        let sql = "SELECT c.oid, n.nspname, c.collname, pg_get_userbyid(c.collowner) FROM pg_collation c \
            JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid >= 16384";
        let one = |r: &info::Row| Collation {
            oid: r.oid(0),
            schema: r.text(1),
            name: r.text(2),
            owner: r.text(3),
        };
        Ok(info::rows(sql, &[])?.iter().map(one).collect())
    }

    /// What makes it another on a node.
    fn moves(&self, new: &Collation) -> Vec<String> {
        let mut commands = Vec::new();
        if self.schema != new.schema {
            let old = qualified(&self.schema, &self.name);
            commands.push(format!("ALTER COLLATION {old} SET SCHEMA {}", quote_ident(&new.schema)));
        }
        if self.name != new.name {
            let old = qualified(&new.schema, &self.name);
            commands.push(format!("ALTER COLLATION {old} RENAME TO {}", quote_ident(&new.name)));
        }
        if self.owner != new.owner {
            let name = qualified(&new.schema, &new.name);
            commands.push(format!("ALTER COLLATION {name} OWNER TO {}", quote_ident(&new.owner)));
        }
        commands
    }
}

/// ALTER COLLATION ... RENAME, SET SCHEMA and OWNER TO.
pub fn change_collation(call: Call) -> Result<()> {
    if server::is_installing() || !catalog::any_tables() {
        return plainly(&call);
    }
    let before = Collation::used()?;
    plainly(&call)?;
    if before.is_empty() {
        return Ok(());
    }
    relation::command_counter_increment();
    let (groups, after) = (catalog::other_groups()?, Collation::all()?);
    for old in before {
        let Some(new) = after.iter().find(|c| c.oid == old.oid && **c != old) else { continue };
        if old.schema != new.schema {
            dependencies::ensure_schema(&new.schema, &groups)?;
        }
        let owner = std::slice::from_ref(&new.owner);
        dependencies::make_roles(&groups, &roles::named(owner)?)?;
        let name = qualified(&new.schema, &new.name);
        if name != qualified(&old.schema, &old.name) {
            room::drop_unused(&groups, &[format!("DROP COLLATION {name}")])?;
        }
        for sql in old.moves(new) {
            send::on_nodes(&groups.iter().map(|g| (*g, sql.clone())).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}
