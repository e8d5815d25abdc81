//! Objects of other extensions: where an extension is installed alike on all nodes, its types, and its
//! immutable and stable functions, are as good there as PostgreSQL's own.

use super::presence;
use crate::catalog::{self, Memo};
use crate::error::Result;
use crate::pg::fmgr::quote_literal;
use crate::pg::{lookup, spi};
use pgrx::pg_sys::{self, Oid};

thread_local! {
    /// Extensions (0: none) of objects by catalog and OID.
    static OWNERS: Memo<(u32, u32), u32> = Memo::default();
}

/// Whether an object of a catalog belongs to an extension that all nodes have.
pub fn is_everywhere(class: Oid, object: Oid) -> bool {
    let extension = owner(class, object);
    extension != Oid::INVALID
        && presence::everywhere(pg_sys::ExtensionRelationId, extension, |g| ask(extension, g))
}

/// The extension that an object belongs to; our own does not count, its functions are about this
/// node.
fn owner(class: Oid, object: Oid) -> Oid {
    let id = (u32::from(class), u32::from(object));
    let extension = || {
        let found = lookup::extension_of(class, object);
        found.filter(|e| lookup::extension_name(*e) != "citus").map_or(0, u32::from)
    };
    Oid::from(catalog::remembered(&OWNERS, id, extension))
}

/// Asks the nodes for the extension, in the same schema and version.
fn ask(extension: Oid, groups: &[i32]) -> Result<bool> {
    let name = lookup::extension_name(extension);
    let here = spi::query(
        "SELECT n.nspname, e.extversion FROM pg_extension e \
         JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.oid = $1",
        &[spi::oid(extension)],
    )?;
    let Some([Some(schema), Some(version)]) = here.first().map(Vec::as_slice) else {
        return Ok(false);
    };
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_extension e \
         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
         WHERE e.extname = {} AND n.nspname = {} AND e.extversion = {}",
        quote_literal(&name),
        quote_literal(schema),
        quote_literal(version)
    );
    presence::all_find(groups, &sql)
}
