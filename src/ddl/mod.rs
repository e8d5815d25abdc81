//! Shards of tables: their names, their creation, and what changes them.

pub mod names;
