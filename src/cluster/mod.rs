//! Nodes that join, leave and change.

pub mod checks;
pub mod clients;
pub mod commands;
pub mod health;
pub mod join;
pub mod leave;
mod placements;
mod probe;
pub mod trust;
pub mod update;

pub use probe::{address, address_of};

use crate::error::Result;

/// [`crate::catalog::lock_nodes`] for who is about to change them: connections that are kept for
/// sessions to come belong to the nodes as they were.
fn lock_nodes() -> Result<()> {
    crate::remote::kept::outdate();
    crate::catalog::lock_nodes()
}
