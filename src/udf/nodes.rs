//! SQL functions for the nodes of the cluster.

use crate::catalog;
use crate::cluster::join::{self, Request};
use crate::cluster::{health, leave, update};
use crate::error::Result;
use crate::pg::fmgr::{text_datum, Args};
use crate::pg_function;
use pgrx::pg_sys::Datum;

/// Runs `f` with (nodename, nodeport), the first two arguments of most functions here.
fn with_address(args: Args, f: impl FnOnce(&str, i32) -> Result<Datum>) -> Result<Datum> {
    let name = args.required(args.text(0), "nodename")?;
    let port = args.required(args.i32(1), "nodeport")?;
    f(&name, port)
}

fn add(args: Args, activate: bool) -> Result<Datum> {
    with_address(args, |name, port| {
        let role = catalog::role_name(args.required(args.oid(3), "noderole")?);
        let cluster = args.required(args.name(4), "nodecluster")?;
        let group = args.required(args.i32(2), "groupid")?;
        let request = Request { name, port, group, role: &role, cluster: &cluster };
        Ok(Datum::from(join::add(&request, activate)?))
    })
}

pg_function!(
    /// `citus_add_node(nodename, nodeport, groupid, noderole, nodecluster)`
    citus_add_node,
    |args| add(args, true)
);

pg_function!(
    /// `citus_add_inactive_node(nodename, nodeport, groupid, noderole, nodecluster)`
    citus_add_inactive_node,
    |args| add(args, false)
);

pg_function!(
    /// `citus_add_secondary_node(nodename, nodeport, primaryname, primaryport, nodecluster)`
    citus_add_secondary_node,
    |args| with_address(args, |name, port| {
        let primary = args.required(args.text(2), "primaryname")?;
        let primary_port = args.required(args.i32(3), "primaryport")?;
        let cluster = args.required(args.name(4), "nodecluster")?;
        let id = join::add_secondary(name, port, (&primary, primary_port), &cluster)?;
        Ok(Datum::from(id))
    })
);

pg_function!(
    /// `citus_activate_node(nodename, nodeport)`
    citus_activate_node,
    |args| with_address(args, |name, port| Ok(Datum::from(join::activate(name, port)?)))
);

pg_function!(
    /// `citus_disable_node(nodename, nodeport, synchronous)`; it always acts at once.
    citus_disable_node,
    |args| with_address(args, |name, port| {
        leave::disable(name, port)?;
        args.void()
    })
);

pg_function!(
    /// `citus_remove_node(nodename, nodeport)`
    citus_remove_node,
    |args| with_address(args, |name, port| {
        leave::remove(name, port)?;
        args.void()
    })
);

pg_function!(
    /// `citus_update_node(node_id, new_node_name, new_node_port, force, lock_cooldown)`
    citus_update_node,
    |args| {
        let id = args.required(args.i32(0), "node_id")?;
        let name = args.required(args.text(1), "new_node_name")?;
        let port = args.required(args.i32(2), "new_node_port")?;
        let force = args.required(args.bool(3), "force")?;
        let cooldown = args.required(args.i32(4), "lock_cooldown")?;
        update::set_address(id, &name, port, force, cooldown)?;
        args.void()
    }
);

pg_function!(
    /// `citus_pause_node_within_txn(node_id, force, lock_cooldown)`
    citus_pause_node_within_txn,
    |args| {
        let id = args.required(args.i32(0), "node_id")?;
        let force = args.required(args.bool(1), "force")?;
        update::pause(id, force, args.required(args.i32(2), "lock_cooldown")?)?;
        args.void()
    }
);

pg_function!(
    /// `citus_set_node_property(nodename, nodeport, property, value)`
    citus_set_node_property,
    |args| with_address(args, |name, port| {
        let property = args.required(args.text(2), "property")?;
        let value = args.required(args.bool(3), "value")?;
        update::set_property(name, port, &property, value)?;
        args.void()
    })
);

pg_function!(
    /// `citus_set_coordinator_host(host, port, node_role, node_cluster)`
    citus_set_coordinator_host,
    |args| {
        let name = args.required(args.text(0), "host")?;
        let port = args.required(args.i32(1), "port")?;
        let role = catalog::role_name(args.required(args.oid(2), "node_role")?);
        let cluster = args.required(args.name(3), "node_cluster")?;
        join::set_coordinator_host(&Request {
            name: &name,
            port,
            group: catalog::COORDINATOR_GROUP,
            role: &role,
            cluster: &cluster,
        })?;
        args.void()
    }
);

pg_function!(
    /// `replicate_reference_tables(shard_transfer_mode)`; writes are blocked in every mode.
    citus_replicate_reference_tables,
    |args| {
        join::replicate_reference_tables()?;
        args.void()
    }
);

pg_function!(
    /// `citus_get_active_worker_nodes()`
    citus_get_active_worker_nodes,
    |args| {
        let rows = args.rows()?;
        for n in catalog::nodes()? {
            if n.is_primary() && n.active && n.group != catalog::COORDINATOR_GROUP {
                rows.push(&[Some(text_datum(&n.name)), Some(Datum::from(i64::from(n.port)))])?;
            }
        }
        rows.done(args)
    }
);

pg_function!(
    /// `citus_check_connection_to_node(nodename, nodeport)`
    citus_check_connection_to_node,
    |args| with_address(args, |name, port| {
        Ok(Datum::from(health::check_connection(name, port)?))
    })
);

pg_function!(
    /// `citus_check_cluster_node_health()`
    citus_check_cluster_node_health,
    |args| {
        let rows = args.rows()?;
        for c in health::check_cluster()? {
            rows.push(&[
                Some(text_datum(&c.from.name)),
                Some(Datum::from(c.from.port)),
                Some(text_datum(&c.to.name)),
                Some(Datum::from(c.to.port)),
                c.result.map(Datum::from),
            ])?;
        }
        rows.done(args)
    }
);
