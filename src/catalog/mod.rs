//! The `pg_dist_*` catalogs as Rust values, cached per backend.
//!
//! Look-ups cost a hash probe; PostgreSQL's relation-cache invalidation (raised by the triggers on
//! the catalogs and by any DDL on a table) drops what is out of date.

mod cache;
mod node_admin;
mod nodes;
mod secrets;
mod tables;
mod uses;

pub use cache::{extension_ready, generation, register, remembered, Memo};
pub use node_admin::{
    coordinator_node, delete_node, ensure_local_node, has_workers, insert_node, lock_nodes,
    lock_nodes_shared, no_node_with_id, require_coordinator, set_node_active, set_node_address,
    set_node_should_have_shards, NewNode, COORDINATOR_GROUP,
};
pub use nodes::{
    local_group, local_node_id, node_by_id, node_by_name, node_of_group, nodes, other_groups,
    role_name, server_id, Node,
};
pub use secrets::{forget_own_secret, forget_secret, make_own_secret, remember_secret, secret_of};
pub use tables::{
    any_tables, has_tables, relation_of_shard, table, was_managed, was_placed, Key, Kind,
    Placement, Shard, Table,
};
pub use uses::is_used;
