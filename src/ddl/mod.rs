//! Tables and their shards: creating, changing and dropping them.
//!
//! The command of the user runs first, on the table itself, which stays on the coordinator as an
//! empty shell that carries the definition. What changed is then sent to the shards: statements
//! written with the table's own names, which each node parses once and applies to every one of its
//! shards after renaming what they name ([`apply`]).

pub mod apply;
pub mod checks;
pub mod colocation;
pub mod copies;
pub mod create;
pub mod definition;
pub mod dependencies;
pub mod dropped;
pub mod extension;
pub mod functions;
pub mod info;
pub mod layout;
pub mod leftovers;
pub mod metadata;
pub mod names;
pub mod objects;
pub mod policies;
pub mod registry;
pub mod replicate;
pub mod roles;
pub mod room;
pub mod rows;
pub mod send;
pub mod shards;
pub mod statements;
pub mod transfer;
pub mod undistribute;
pub mod unshard;
