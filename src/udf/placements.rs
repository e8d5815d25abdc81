//! SQL functions for placements of shards.

use crate::catalog::Node;
use crate::cluster::checks;
use crate::ddl::transfer::{self, Copy};
use crate::error::Result;
use crate::pg::fmgr::{output, Args};
use crate::pg_function;
use std::rc::Rc;

/// The argument `transfer_mode`, checked.
fn check_mode(args: &Args, i: usize) -> Result<()> {
    let mode = args.required(args.datum(i), "transfer_mode")?;
    transfer::check_mode(&output(args.arg_type(i), mode))
}

/// A node by two arguments: name and port.
fn node(args: &Args, i: usize, what: &str) -> Result<Rc<Node>> {
    let name = args.required(args.text(i), &format!("{what}_node_name"))?;
    let port = args.required(args.i32(i + 1), &format!("{what}_node_port"))?;
    checks::require_node(&name, port)
}

fn copy_by_name(args: &Args, repair: bool, mode: usize) -> Result<()> {
    check_mode(args, mode)?;
    let shard = args.required(args.i64(0), "shard_id")?;
    let (source, target) = (node(args, 1, "source")?, node(args, 3, "target")?);
    transfer::copy_shard(&Copy { shard, source: &source, target: &target, repair })
}

pg_function!(
    /// `citus_copy_shard_placement(shard_id, source_node_name, source_node_port, target_node_name,
    /// target_node_port, transfer_mode)`
    citus_copy_shard_placement,
    |args| {
        copy_by_name(&args, true, 5)?;
        args.void()
    }
);

pg_function!(
    /// `citus_copy_shard_placement(shard_id, source_node_id, target_node_id, transfer_mode)`
    citus_copy_shard_placement_by_id,
    |args| {
        check_mode(&args, 3)?;
        let shard = args.required(args.i64(0), "shard_id")?;
        let source = checks::require_node_id(args.required(args.i32(1), "source_node_id")?)?;
        let target = checks::require_node_id(args.required(args.i32(2), "target_node_id")?)?;
        let request = Copy { shard, source: &source, target: &target, repair: true };
        transfer::copy_shard(&request)?;
        args.void()
    }
);

pg_function!(
    /// `master_copy_shard_placement(shard_id, source_node_name, source_node_port,
    /// target_node_name, target_node_port, do_repair, transfer_mode)`
    master_copy_shard_placement,
    |args| {
        copy_by_name(&args, args.required(args.bool(5), "do_repair")?, 6)?;
        args.void()
    }
);

pg_function!(
    /// `replicate_table_shards(relation, shard_replication_factor, max_shard_copies,
    /// excluded_shard_list, shard_transfer_mode)`
    citus_replicate_table_shards,
    |args| {
        check_mode(&args, 4)?;
        let relid = args.required(args.oid(0), "relation")?;
        let factor = args.required(args.i32(1), "shard_replication_factor")?;
        let most = args.required(args.i32(2), "max_shard_copies")?;
        let excluded = args.i64_array(3).unwrap_or_default();
        transfer::replicate_table(relid, factor, most, &excluded)?;
        args.void()
    }
);
