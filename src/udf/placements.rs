//! SQL functions for placements of shards.

use crate::catalog::Node;
use crate::cluster::checks;
use crate::ddl::transfer::{self, Copy};
use crate::ddl::{copies, leftovers};
use crate::error::Result;
use crate::pg::fmgr::{output, Args};
use crate::pg::guard;
use crate::pg_function;
use crate::settings;
use std::rc::Rc;

/// The argument `transfer_mode`, checked.
fn check_mode(args: &Args, i: usize) -> Result<()> {
    let mode = args.required(args.datum(i), "transfer_mode")?;
    transfer::check_mode(&output(args.arg_type(i), mode))
}

/// The source and the target, by name and port in four arguments from the second on.
fn nodes_by_name(args: &Args) -> Result<(Rc<Node>, Rc<Node>)> {
    Ok((node(args, 1, "source")?, node(args, 3, "target")?))
}

/// The source and the target, by id in the second and third argument.
fn nodes_by_id(args: &Args) -> Result<(Rc<Node>, Rc<Node>)> {
    let source = checks::require_node_id(args.required(args.i32(1), "source_node_id")?)?;
    let target = checks::require_node_id(args.required(args.i32(2), "target_node_id")?)?;
    Ok((source, target))
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
    let (source, target) = nodes_by_name(args)?;
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
        let (source, target) = nodes_by_id(&args)?;
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

/// Moves the shard that the first argument says.
fn move_between(args: &Args, nodes: (Rc<Node>, Rc<Node>)) -> Result<()> {
    let shard = args.required(args.i64(0), "shard_id")?;
    let (source, target) = nodes;
    let request = Copy { shard, source: &source, target: &target, repair: true };
    transfer::move_shard(&request, settings::defer_drop_after_shard_move())
}

pg_function!(
    /// `citus_move_shard_placement(shard_id, source_node_name, source_node_port, target_node_name,
    /// target_node_port, shard_transfer_mode)`
    citus_move_shard_placement,
    |args| {
        check_mode(&args, 5)?;
        move_between(&args, nodes_by_name(&args)?)?;
        args.void()
    }
);

pg_function!(
    /// `citus_move_shard_placement(shard_id, source_node_id, target_node_id, transfer_mode)`
    citus_move_shard_placement_by_id,
    |args| {
        check_mode(&args, 3)?;
        move_between(&args, nodes_by_id(&args)?)?;
        args.void()
    }
);

pg_function!(
    /// `citus_set_table_replication_model(table_name, replication_model)`
    citus_set_table_replication_model,
    |args| {
        let relid = args.required(args.oid(0), "table_name")?;
        let model = args.required(args.text(1), "replication_model")?;
        copies::set_model(relid, &model)?;
        args.void()
    }
);

pg_function!(
    /// `citus_update_table_replication_factor(table_name, replication_factor)`
    citus_update_table_replication_factor,
    |args| {
        let relid = args.required(args.oid(0), "table_name")?;
        let factor = args.required(args.i32(1), "replication_factor")?;
        copies::set_factor(relid, factor)?;
        args.void()
    }
);

pg_function!(
    /// `citus_cleanup_orphaned_resources()`
    citus_cleanup_orphaned_resources,
    |args| {
        let report = leftovers::clean(false)?;
        report.problems.iter().for_each(guard::warning);
        if report.dropped > 0 {
            let what = if report.dropped == 1 { "orphaned resource" } else { "orphaned resources" };
            guard::notice(format!("cleaned up {} {what}", report.dropped));
        }
        args.void()
    }
);
