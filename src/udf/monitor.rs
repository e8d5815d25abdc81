//! Looking at all nodes at once, for the monitoring views. Nodes that do not answer are left out
//! with a warning: monitoring must work when something is broken.

use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::{input, text_datum, Args};
use crate::pg::{guard, spi};
use crate::pg_function;
use crate::remote::backends::{self, Worker, GPID_NODE_FACTOR};
use crate::remote::kept;
use crate::remote::simple::{self, TextResult};
use crate::remote::{NodeAddr, SessionRef};
use crate::txn::run;
use pgrx::pg_sys::{self, Datum};

/// Active primaries of the other groups.
fn other_nodes() -> Result<Vec<NodeAddr>> {
    let local = catalog::local_group()?;
    Ok(catalog::nodes()?
        .iter()
        .filter(|n| n.group != local && n.active && n.is_primary())
        .map(|n| NodeAddr { id: n.id, group: n.group, name: n.name.clone(), port: n.port })
        .collect())
}

/// First value of the first row.
fn single(result: TextResult) -> Option<String> {
    result.rows.into_iter().next().and_then(|r| r.into_iter().next()).flatten()
}

/// This node as the catalog knows it.
fn this_node() -> Result<NodeAddr> {
    let id = catalog::local_node_id()?;
    let node = catalog::node_by_id(id)?;
    let (name, port) = node.map_or_else(
        || ("localhost".to_owned(), crate::pg::session::server_port()),
        |n| (n.name.clone(), n.port),
    );
    Ok(NodeAddr { id, group: catalog::local_group()?, name, port })
}

pg_function!(
    /// `citus_internal.query_nodes(query text)`: the rows of a query on every node as JSON, and for
    /// which sessions of this node its backends work.
    citus_query_nodes,
    |args| {
        let query = args.required(args.text(0), "query")?;
        let sql = format!(
            "SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(x)), '[]') FROM ({query}) x"
        );
        let rows = args.rows()?;
        let emit = |node: &NodeAddr, json: Option<String>, owners: Option<String>| {
            rows.push(&[
                Some(Datum::from(node.id)),
                Some(text_datum(&node.name)),
                Some(Datum::from(node.port)),
                json.map(|j| input(pg_sys::JSONBOID, -1, &j)),
                owners.map(|j| input(pg_sys::JSONBOID, -1, &j)),
            ])
        };
        // Other nodes do not know whose backends they have.
        let knows = catalog::local_group()? == 0;
        let here = this_node()?;
        // Other nodes read the query with this search path, too.
        let local = spi::pinned(|| run::here(&sql))?;
        emit(&here, single(local), knows.then(|| "{}".to_owned()))?;
        let nodes = other_nodes()?;
        let sessions = run::connect_apart(&nodes)?;
        let jobs: Vec<(SessionRef, String)> =
            sessions.iter().flatten().map(|s| (s.clone(), sql.clone())).collect();
        let mut answers = simple::query_all_apart(&jobs)?.into_iter();
        // Now: the sessions that asked are known as well.
        let known = backends::all();
        for (node, session) in nodes.iter().zip(&sessions) {
            let answer = match session {
                Ok(_) => answers.next().unwrap_or_else(|| Err(Error::internal("no answer"))),
                Err(e) => Err(e.clone()),
            };
            match answer {
                Ok(result) => {
                    emit(node, single(result), knows.then(|| owners(&known, here.id, node.id)))?;
                }
                Err(e) => guard::warning(&unanswered(node, &e)),
            }
        }
        rows.done(args)
    }
);

/// The backends of a node that work for sessions of this one, as a JSON object: the global process
/// id of the session by the backend's process id. A connection that is kept for a session to come
/// belongs to the node as such.
fn owners(known: &[Worker], here: i32, node: i32) -> String {
    let base = i64::from(here) * GPID_NODE_FACTOR;
    let database = crate::pg::session::database();
    let kept = kept::list().into_iter().filter(|k| k.database == database && k.node == node);
    let kept = kept.map(|k| format!("\"{}\": {base}", k.pid));
    let there = known.iter().flat_map(|w| {
        let gpid = base + i64::from(w.pid);
        let on_node = w.connections.iter().filter(move |c| c.0 == node);
        on_node.map(move |c| format!("\"{}\": {gpid}", c.1))
    });
    // Of the same keys in an object the last one counts: a session may just have taken one.
    format!("{{{}}}", kept.chain(there).collect::<Vec<_>>().join(", "))
}

pg_function!(
    /// `citus_internal.kept_connections()`
    citus_kept_connections,
    |args| {
        let rows = args.rows()?;
        for k in kept::list() {
            rows.push(&[
                Some(Datum::from(k.database)),
                Some(Datum::from(k.node)),
                Some(Datum::from(k.pid)),
                Some(Datum::from(k.since)),
                Some(Datum::from(k.ends)),
            ])?;
        }
        rows.done(args)
    }
);

fn unanswered(node: &NodeAddr, e: &Error) -> Error {
    Error::new(e.code, format!("node {}:{} is left out", node.name, node.port))
        .detail(e.message.clone())
}

/// Sends a signal function to the node of a global process id.
fn signal(args: Args, call: impl Fn(i64) -> String) -> Result<Datum> {
    let gpid = args.required(args.i64(0), "global_pid")?;
    let (node, pid) = (gpid / GPID_NODE_FACTOR, gpid % GPID_NODE_FACTOR);
    if gpid < 0 || pid > i64::from(i32::MAX) {
        return Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("{gpid} is not a global process id"),
        )
        .hint("Global process ids are shown by citus_stat_activity."));
    }
    let sql = call(pid);
    let result = if node == 0 || node == i64::from(catalog::local_node_id()?) {
        spi::pinned(|| run::here(&sql))?
    } else {
        on_node(i32::try_from(node).unwrap_or(-1), sql)?
    };
    Ok(Datum::from(single(result).as_deref() == Some("t")))
}

/// Runs a statement apart from the transaction on a node given by its id.
fn on_node(id: i32, sql: String) -> Result<TextResult> {
    let node = catalog::node_by_id(id)?.ok_or_else(|| {
        let here = catalog::local_group().unwrap_or(0) == catalog::COORDINATOR_GROUP;
        Error::new(sqlstate::UNDEFINED_OBJECT, format!("there is no node with id {id}")).hint(
            match here {
                true => "The nodes of the cluster are listed in pg_dist_node.",
                false => "This node knows no others: ask the coordinator.",
            },
        )
    })?;
    let address =
        NodeAddr { id: node.id, group: node.group, name: node.name.clone(), port: node.port };
    let results = run::apart(&[(address, vec![sql])])?;
    results
        .into_iter()
        .flatten()
        .next()
        .unwrap_or_else(|| Err(Error::internal("no answer from a node")))
}

pg_function!(
    /// `pg_cancel_backend(global_pid bigint)`
    citus_cancel_backend,
    |args| signal(args, |pid| format!("SELECT pg_catalog.pg_cancel_backend({pid})"))
);

pg_function!(
    /// `pg_terminate_backend(global_pid bigint, timeout bigint)`
    citus_terminate_backend,
    |args| {
        let timeout = args.i64(1).unwrap_or(0);
        signal(args, |pid| format!("SELECT pg_catalog.pg_terminate_backend({pid}, {timeout}::bigint)"))
    }
);
