//! The secrets that the coordinator shares with each group of nodes, in
//! `citus_internal.node_secrets`: on a worker its own, on the coordinator all.
//!
//! One secret for each group, not one for the cluster: a worker that falls into wrong hands can
//! not speak to others as the coordinator, and one that left knows nothing that is still in use.
//! A standby has its primary's catalogs, and so its secret.

use crate::error::Result;
use crate::pg::{scan, session, spi};
use std::fmt::Write;

/// The secret shared with a group.
pub fn secret_of(group: i32) -> Option<String> {
    let table = scan::relation_in(c"citus_internal", c"node_secrets")?;
    let mut found = None;
    scan::rows(table, None, &[], |r| {
        if r.i32(1) == group {
            found = r.text(2);
        }
    });
    found
}

/// Makes a new secret for this server as the node of a group, in place of any other, and gives it
/// back for the coordinator.
///
/// The node makes it, because what a query answers stands in no log; what it asks does.
pub fn make_own_secret(group: i32) -> Result<String> {
    let mut secret = String::new();
    for _ in 0..4 {
        let _ = write!(secret, "{:016x}", session::random()?);
    }
    forget_own_secret()?;
    remember_secret(group, &secret)?;
    Ok(secret)
}

/// Forgets the secret that makes this server the node of a group.
pub fn forget_own_secret() -> Result<()> {
    spi::execute_as_owner("DELETE FROM citus_internal.node_secrets", &[]).map(|_| ())
}

/// Keeps the secret shared with a group.
pub fn remember_secret(group: i32, secret: &str) -> Result<()> {
    let sql = "INSERT INTO citus_internal.node_secrets VALUES ($1, $2) \
        ON CONFLICT (groupid) DO UPDATE SET secret = EXCLUDED.secret";
    spi::execute_as_owner(sql, &[spi::i32(group), spi::text(secret)]).map(|_| ())
}

/// Forgets the secret shared with a group.
pub fn forget_secret(group: i32) -> Result<()> {
    let sql = "DELETE FROM citus_internal.node_secrets WHERE groupid = $1";
    spi::execute_as_owner(sql, &[spi::i32(group)]).map(|_| ())
}
