//! Functions of other extensions: where an extension is installed alike on all nodes, its immutable
//! and stable functions are as good there as PostgreSQL's own.

use crate::catalog;
use crate::error::Result;
use crate::pg::fmgr::quote_literal;
use crate::pg::{guard, lookup, spi};
use crate::txn::run;
use pgrx::pg_sys::Oid;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long an extension that some node lacks is taken for missing.
const MISSING: Duration = Duration::from_secs(5);

/// What is known of an extension: since when, on which groups, whether all of them have it.
struct Known {
    since: Instant,
    groups: Vec<i32>,
    everywhere: bool,
}

thread_local! {
    /// Extension of a function (0: none), as of a generation of the catalogs.
    static OWNERS: RefCell<(u64, HashMap<u32, u32>)> = RefCell::default();
    static KNOWN: RefCell<HashMap<u32, Known>> = RefCell::default();
}

/// Whether a function belongs to an extension that all nodes have.
pub fn is_everywhere(function: Oid) -> bool {
    let extension = owner(function);
    if extension == Oid::INVALID {
        return false;
    }
    let Ok(groups) = remote_groups() else { return false };
    let id = u32::from(extension);
    let known = KNOWN.with(|k| {
        k.borrow()
            .get(&id)
            .filter(|k| k.groups == groups && (k.everywhere || k.since.elapsed() < MISSING))
            .map(|k| k.everywhere)
    });
    if let Some(everywhere) = known {
        return everywhere;
    }
    let everywhere = match ask(extension, &groups) {
        Ok(yes) => yes,
        // A node that cannot be asked may not be needed either.
        Err(e) if guard::is_connection_error(&e) => false,
        Err(e) => e.raise(),
    };
    let entry = Known { since: Instant::now(), groups, everywhere };
    KNOWN.with(|k| k.borrow_mut().insert(id, entry));
    everywhere
}

/// The extension that a function belongs to; our own does not count, its functions are about this
/// node.
fn owner(function: Oid) -> Oid {
    let generation = catalog::generation();
    let id = u32::from(function);
    let known = OWNERS.with(|o| {
        let mut o = o.borrow_mut();
        if o.0 != generation {
            *o = (generation, HashMap::new());
        }
        o.1.get(&id).copied()
    });
    if let Some(e) = known {
        return Oid::from(e);
    }
    let name = |e: &Oid| lookup::extension_name(*e);
    let found = lookup::extension_of_function(function)
        .filter(|e| name(e) != "citus")
        .unwrap_or(Oid::INVALID);
    OWNERS.with(|o| o.borrow_mut().1.insert(id, u32::from(found)));
    found
}

/// Groups of the other nodes.
fn remote_groups() -> Result<Vec<i32>> {
    let local = catalog::local_group()?;
    let mut groups: Vec<i32> = catalog::nodes()?
        .iter()
        .filter(|n| n.is_primary() && n.active && n.group != local)
        .map(|n| n.group)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// Asks the nodes for the extension, in the same schema and version.
fn ask(extension: Oid, groups: &[i32]) -> Result<bool> {
    if groups.is_empty() {
        return Ok(true);
    }
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
    let work: Vec<(i32, String)> = groups.iter().map(|g| (*g, sql.clone())).collect();
    for result in run::on_groups(&work, false)? {
        if result.rows.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
