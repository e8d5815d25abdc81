//! Nodes that join, leave and change.

pub mod checks;
pub mod commands;
pub mod health;
pub mod join;
pub mod leave;
mod placements;
mod probe;
pub mod trust;
pub mod update;

pub use probe::{address, address_of};
