//! `run_command_on_*` and its kin.

use crate::catalog;
use crate::cluster::commands::{self, Answer, Copies, Place, ShardPlace, Task};
use crate::cluster::{address, address_of, checks};
use crate::ddl::definition;
use crate::ddl::info::Relation;
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::{input, text_datum, Args};
use crate::pg::{guard, session};
use crate::pg_function;
use pgrx::pg_sys::{self, Datum};

fn text(s: &str) -> Option<Datum> {
    Some(text_datum(s))
}

pg_function!(
    /// `run_command_on_workers(command, parallel)`
    citus_run_command_on_workers,
    |args| {
        let command = args.required(args.text(0), "command")?;
        let parallel = args.required(args.bool(1), "parallel")?;
        let nodes = commands::workers()?;
        let tasks: Vec<Task> = nodes
            .iter()
            .map(|n| Task { place: Place::Node(address_of(n)), sql: command.clone() })
            .collect();
        let rows = args.rows()?;
        for (n, a) in nodes.iter().zip(commands::run(&tasks, parallel)?) {
            let port = Some(Datum::from(n.port));
            rows.push(&[text(&n.name), port, Some(a.success.into()), text(&a.result)])?;
        }
        rows.done(args)
    }
);

/// Answers about nodes by id; an unreachable node is an error, or a warning where so wished.
fn on_nodes(args: Args, tasks: Vec<(i32, Task)>, parallel: bool, warn: bool) -> Result<Datum> {
    let rows = args.rows()?;
    let (ids, tasks): (Vec<i32>, Vec<Task>) = tasks.into_iter().unzip();
    for (id, a) in ids.into_iter().zip(commands::run(&tasks, parallel)?) {
        if a.unreachable {
            let message = a.result.strip_prefix("ERROR:  ").unwrap_or(&a.result);
            let e = Error::new(sqlstate::CONNECTION_FAILURE, message);
            if !warn {
                return Err(e);
            }
            guard::warning(&e);
        }
        rows.push(&[Some(Datum::from(id)), Some(a.success.into()), text(&a.result)])?;
    }
    rows.done(args)
}

pg_function!(
    /// `run_command_on_all_nodes(command, parallel, give_warning_for_connection_errors)`
    citus_run_command_on_all_nodes,
    |args| {
        let command = args.required(args.text(0), "command")?;
        let parallel = args.required(args.bool(1), "parallel")?;
        let warn = args.required(args.bool(2), "give_warning_for_connection_errors")?;
        let workers = commands::workers()?;
        let mut tasks =
            vec![(catalog::local_node_id()?, Task { place: Place::Here, sql: command.clone() })];
        for n in workers {
            tasks.push((n.id, Task { place: Place::of(&n)?, sql: command.clone() }));
        }
        on_nodes(args, tasks, parallel, warn)
    }
);

pg_function!(
    /// `run_command_on_coordinator(command, give_warning_for_connection_errors)`
    citus_run_command_on_coordinator,
    |args| {
        let sql = args.required(args.text(0), "command")?;
        let warn = args.required(args.bool(1), "give_warning_for_connection_errors")?;
        catalog::require_coordinator()?;
        let task = (catalog::local_node_id()?, Task { place: Place::Here, sql });
        on_nodes(args, vec![task], true, warn)
    }
);

fn on_places(
    args: Args,
    places: Vec<ShardPlace>,
    command: &str,
    parallel: bool,
    row: impl Fn(&ShardPlace, &Answer) -> Vec<Option<Datum>>,
) -> Result<Datum> {
    let rows = args.rows()?;
    let tasks = commands::tasks(&places, command)?;
    for (p, a) in places.iter().zip(commands::run(&tasks, parallel)?) {
        rows.push(&row(p, &a))?;
    }
    rows.done(args)
}

pg_function!(
    /// `run_command_on_placements(table_name, command, parallel)`
    citus_run_command_on_placements,
    |args| {
        let relid = args.required(args.oid(0), "table_name")?;
        let command = args.required(args.text(1), "command")?;
        let parallel = args.required(args.bool(2), "parallel")?;
        let places = commands::placements(relid, Copies::All)?;
        on_places(args, places, &command, parallel, |p, a| {
            vec![
                text(&p.node.name),
                Some(Datum::from(p.node.port)),
                Some(Datum::from(p.shard)),
                Some(a.success.into()),
                text(&a.result),
            ]
        })
    }
);

pg_function!(
    /// `run_command_on_shards(table_name, command, parallel)`
    citus_run_command_on_shards,
    |args| {
        let relid = args.required(args.oid(0), "table_name")?;
        let command = args.required(args.text(1), "command")?;
        let parallel = args.required(args.bool(2), "parallel")?;
        let places = commands::placements(relid, Copies::One)?;
        on_places(args, places, &command, parallel, |p, a| {
            vec![Some(Datum::from(p.shard)), Some(a.success.into()), text(&a.result)]
        })
    }
);

pg_function!(
    /// `run_command_on_colocated_placements(table_name1, table_name2, command, parallel)`
    citus_run_command_on_colocated_placements,
    |args| {
        let first = args.required(args.oid(0), "table_name1")?;
        let second = args.required(args.oid(1), "table_name2")?;
        let command = args.required(args.text(2), "command")?;
        let parallel = args.required(args.bool(3), "parallel")?;
        let places = commands::colocated_placements(first, second)?;
        on_places(args, places, &command, parallel, |p, a| {
            vec![
                text(&p.node.name),
                Some(Datum::from(p.node.port)),
                Some(Datum::from(p.shard)),
                p.other.map(Datum::from),
                Some(a.success.into()),
                text(&a.result),
            ]
        })
    }
);

/// Elements of an array argument, none of them NULL.
fn elements(args: Args, i: usize, element: pg_sys::Oid, name: &str) -> Result<Vec<String>> {
    let values = args.required(args.text_array(i, element), name)?;
    values
        .into_iter()
        .map(|v| {
            v.ok_or_else(|| {
                Error::new(
                    sqlstate::NULL_VALUE_NOT_ALLOWED,
                    format!("array \"{name}\" must not contain nulls"),
                )
            })
        })
        .collect()
}

/// Where to run: a registered node, or any server if a superuser says so.
fn place(name: &str, port: i32) -> Result<Place> {
    checks::check_address(name, port)?;
    match catalog::node_by_name(name, port)? {
        Some(n) => Place::of(&n),
        None if session::is_superuser() => Ok(Place::Node(address(name, port))),
        None => Err(Error::new(
            sqlstate::INSUFFICIENT_PRIVILEGE,
            format!("permission denied to connect to {name}:{port}"),
        )
        .detail("Only superusers can run commands on servers that are not in pg_dist_node.")),
    }
}

pg_function!(
    /// `master_get_table_ddl_events(table_name)`
    citus_table_ddl_events,
    |args| {
        let name = args.required(args.text(0), "table_name")?;
        let relid = regclass(&name);
        let rel = Relation::load(relid)?;
        if !matches!(rel.kind, b'r' | b'p') {
            return Err(Error::new(
                sqlstate::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a table", rel.name),
            ));
        }
        let rows = args.scalar_rows()?;
        for statement in definition::statements(relid)? {
            rows.push(&[text(&statement)])?;
        }
        rows.done(args)
    }
);

/// The relation that a name means; an unknown one raises PostgreSQL's own error.
fn regclass(name: &str) -> pg_sys::Oid {
    pg_sys::Oid::from(input(pg_sys::REGCLASSOID, -1, name).value() as u32)
}

pg_function!(
    /// `master_run_on_worker(worker_name, port, command, parallel)`
    citus_run_on_worker,
    |args| {
        let names = elements(args, 0, pg_sys::TEXTOID, "worker_name")?;
        let ports = elements(args, 1, pg_sys::INT4OID, "port")?;
        let texts = elements(args, 2, pg_sys::TEXTOID, "command")?;
        let parallel = args.required(args.bool(3), "parallel")?;
        if names.len() != ports.len() || names.len() != texts.len() {
            return Err(Error::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                "the arrays of names, ports and commands must have the same length",
            )
            .detail(format!(
                "There are {} names, {} ports and {} commands.",
                names.len(),
                ports.len(),
                texts.len()
            )));
        }
        let ports: Vec<i32> = ports.iter().map(|p| p.parse().unwrap_or(0)).collect();
        let mut tasks = Vec::new();
        for ((name, port), sql) in names.iter().zip(&ports).zip(texts) {
            tasks.push(Task { place: place(name, *port)?, sql });
        }
        let rows = args.rows()?;
        for ((name, port), a) in names.iter().zip(&ports).zip(commands::run(&tasks, parallel)?) {
            let port = Some(Datum::from(*port));
            rows.push(&[text(name), port, Some(a.success.into()), text(&a.result)])?;
        }
        rows.done(args)
    }
);
