//! SQL functions by topic: thin layers that read arguments, check privileges and call the rest.

mod commands;
mod explain;
mod identity;
mod keys;
mod monitor;
mod nodes;
mod partial_state;
mod placements;
mod rights;
mod shards;
mod sizes;
mod snapshots;
mod stats;
mod tables;
mod transactions;
mod waits;
