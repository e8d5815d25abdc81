//! Handlers of statements that concern managed tables, by kind.

mod alter_index;
mod alter_table;
mod collation;
mod columns;
mod concurrently;
mod constraints;
mod create;
mod drop;
mod grant;
mod index;
mod maintain;
mod policy;
mod refuse;
mod rename;
mod role;
mod types;

pub use alter_table::alter_table;
pub use collation::change_collation;
pub use constraints::set_constraints;
pub use create::{create_table, refresh};
pub use drop::{drop, drop_owned, reassign_owned, truncate};
pub use grant::{grant, grant_role};
pub use index::{alter_statistics, create_index, create_statistics, reindex};
pub use maintain::{cluster, vacuum};
pub use policy::policy;
pub use refuse::{move_all, refuse};
pub use rename::{change_owner, rename, set_schema};
pub use role::{change_role, drop_role};
pub use types::alter_type;

use super::info::{self, Relation};
use super::{dependencies, dropped, send};
use crate::catalog::{self, Table};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::statement::Name;
use crate::pg::{relation, session, spi};
use pgrx::pg_sys::{self, Oid};
use std::rc::Rc;

/// A managed table that a statement is about.
pub(super) struct Managed {
    /// The table.
    pub rel: Relation,
    /// Its metadata.
    pub table: Rc<Table>,
}

impl Managed {
    /// The managed table of that OID.
    pub fn load(relid: Oid) -> Result<Option<Self>> {
        match catalog::table(relid) {
            Some(table) => Ok(Some(Managed { rel: Relation::load(relid)?, table })),
            None => Ok(None),
        }
    }

    /// The managed table of that name, or whose index has that name.
    pub fn named(name: Option<Name>) -> Result<Option<Self>> {
        let Some(oid) = name.and_then(Name::find) else { return Ok(None) };
        match relation::kind(oid) {
            b'i' => relation::table_of_index(oid).map_or(Ok(None), Managed::load),
            _ => Managed::load(oid),
        }
    }

    /// Takes the lock that a statement is going to take, so that the table's state can be read
    /// before; again, since it may have changed or gone while others were waited for. Whoever must
    /// not change the table does not get the lock, and is told so by the statement.
    pub fn locked(self, mode: u32) -> Result<Option<Self>> {
        if session::require_owner(self.rel.oid, &self.rel.name).is_err() {
            return Ok(Some(self));
        }
        relation::lock(self.rel.oid, mode);
        if !relation::exists(self.rel.oid) {
            return Ok(None);
        }
        Managed::load(self.rel.oid)
    }

    /// Brings what the table is made with now to the nodes.
    pub fn ensure_used(&self) -> Result<()> {
        dependencies::ensure_used(self.rel.oid, &send::groups_of(&self.table))
    }

    /// Applies commands to the shards that name no other relation.
    pub fn apply(&self, commands: &[String]) -> Result<()> {
        self.ensure_used()?;
        send::to_shards(&self.table, vec![self.rel.pair()], commands)
    }

    /// Applies commands to the shards that also name an index or the like.
    pub fn apply_with(&self, other: (String, String), commands: &[String]) -> Result<()> {
        self.ensure_used()?;
        send::to_shards(&self.table, vec![self.rel.pair(), other], commands)
    }
}

/// Keeps shards of tables from being copied to other nodes until the end of the transaction: for
/// statements that the server runs without a lock on the table. They wait for a copy that is being
/// made and reach it, or the copy is made of what they leave. Everybody locks in this order.
fn hold_copies(mut tables: Vec<Oid>) {
    tables.sort_unstable_by_key(|t| u32::from(*t));
    tables.dedup();
    for t in tables.into_iter().filter(|t| catalog::table(*t).is_some()) {
        relation::lock(t, pg_sys::RowShareLock);
    }
}

/// Managed tables of a schema.
fn tables_of_schema(schema: &str) -> Result<Vec<Oid>> {
    let sql = "SELECT c.oid FROM pg_dist_partition p \
        JOIN pg_class c ON c.oid = p.logicalrelid \
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 ORDER BY 1";
    Ok(info::rows(sql, &[spi::text(schema)])?.iter().map(|r| r.oid(0)).collect())
}

/// What the server does, followed by the shards where something was dropped.
fn plainly(call: &Call) -> Result<()> {
    dropped::following(|| call.proceed())
}
