//! Users' commands on nodes and shards: each runs by itself, and its failure is an answer.

use super::address_of;
use crate::catalog::{self, Node, Table};
use crate::ddl::names;
use crate::error::{sqlstate, Error, Result};
use crate::pg::{fmgr, guard, session, spi, subxact};
use crate::remote::simple::TextResult;
use crate::remote::NodeAddr;
use crate::txn::run;
use pgrx::pg_sys::Oid;
use std::rc::Rc;

/// Connections that one node gets at most for one call.
const CONNECTIONS_PER_NODE: usize = 4;

/// Sessions between nodes look up names in pg_catalog only; users' commands expect the default.
const SEARCH_PATH: &str = "SET search_path TO \"$user\", public";

/// Where a command runs.
#[derive(Clone, PartialEq)]
pub enum Place {
    /// In this backend.
    Here,
    /// On a connection to a node.
    Node(NodeAddr),
}

impl Place {
    /// The place of a registered node.
    pub fn of(node: &Node) -> Result<Place> {
        Ok(match node.group == catalog::local_group()? {
            true => Place::Here,
            false => Place::Node(address_of(node)),
        })
    }
}

/// A command for a place.
pub struct Task {
    /// Where.
    pub place: Place,
    /// What.
    pub sql: String,
}

/// What a command gave: its value or tag, or the text of its error.
pub struct Answer {
    /// Whether it worked.
    pub success: bool,
    /// The value of its only row and column, its tag, or its error.
    pub result: String,
    /// Whether there was no connection to run it on.
    pub unreachable: bool,
}

impl Answer {
    fn failure(result: impl Into<String>) -> Self {
        Answer { success: false, result: result.into(), unreachable: false }
    }

    fn of(result: Result<TextResult>) -> Self {
        let r = match result {
            Ok(r) => r,
            // A node's own time limit is its answer; a cancel of this session never gets here.
            Err(e) => {
                let unreachable = guard::is_connection_error(&e);
                return Answer { success: false, result: error_text(&e), unreachable };
            }
        };
        if r.columns.is_empty() {
            return Answer { success: true, result: r.tag, unreachable: false };
        }
        if r.columns.len() != 1 {
            return Answer::failure("expected a single column in query result");
        }
        let mut rows = r.rows.into_iter();
        let first = rows.next().and_then(|row| row.into_iter().next()).flatten();
        if rows.next().is_some() {
            return Answer::failure("expected a single row in query result");
        }
        Answer { success: true, result: first.unwrap_or_default(), unreachable: false }
    }
}

/// An error as a client would print it.
fn error_text(e: &Error) -> String {
    let mut text = format!("ERROR:  {}", e.message);
    for (label, part) in [("DETAIL", &e.detail), ("HINT", &e.hint)] {
        if let Some(part) = part {
            text.push_str(&format!("\n{label}:  {part}"));
        }
    }
    text
}

/// Runs tasks and gives back their answers in order. Every command on another node commits by
/// itself; those for this node are part of the running transaction.
pub fn run(tasks: &[Task], parallel: bool) -> Result<Vec<Answer>> {
    let mut answers: Vec<Option<Answer>> = tasks.iter().map(|_| None).collect();
    for (task, answer) in tasks.iter().zip(&mut answers) {
        if task.place == Place::Here {
            *answer = Some(Answer::of(subxact::attempt(|| run::here(&task.sql))?));
        }
    }
    let lists = lists(tasks, parallel);
    let batches: Vec<&[List]> = match parallel {
        true => vec![lists.as_slice()],
        false => lists.chunks(1).collect(),
    };
    for batch in batches {
        let work: Vec<(NodeAddr, Vec<String>)> = batch
            .iter()
            .map(|l| {
                let commands = l.tasks.iter().filter_map(|i| tasks.get(*i)).map(|t| t.sql.clone());
                let first = std::iter::once(SEARCH_PATH.to_owned());
                (l.node.clone(), first.chain(commands).collect())
            })
            .collect();
        for (list, results) in batch.iter().zip(run::apart(&work)?) {
            for (i, result) in list.tasks.iter().zip(results.into_iter().skip(1)) {
                if let Some(slot) = answers.get_mut(*i) {
                    *slot = Some(Answer::of(result));
                }
            }
        }
    }
    let missing = || Answer::failure("no answer from the node");
    Ok(answers.into_iter().map(|a| a.unwrap_or_else(missing)).collect())
}

/// Tasks (by index) that one connection runs one after the other.
struct List {
    node: NodeAddr,
    tasks: Vec<usize>,
}

fn lists(tasks: &[Task], parallel: bool) -> Vec<List> {
    let mut nodes: Vec<List> = Vec::new();
    for (i, t) in tasks.iter().enumerate() {
        let Place::Node(node) = &t.place else { continue };
        match nodes.iter_mut().find(|l| l.node == *node) {
            Some(l) => l.tasks.push(i),
            None => nodes.push(List { node: node.clone(), tasks: vec![i] }),
        }
    }
    if !parallel {
        return nodes;
    }
    nodes
        .into_iter()
        .flat_map(|l| {
            let each = l.tasks.len().div_ceil(CONNECTIONS_PER_NODE).max(1);
            let node = l.node;
            let parts: Vec<List> = l
                .tasks
                .chunks(each)
                .map(|c| List { node: node.clone(), tasks: c.to_vec() })
                .collect();
            parts
        })
        .collect()
}

/// The active primaries except the coordinator.
pub fn workers() -> Result<Vec<Rc<Node>>> {
    catalog::require_coordinator()?;
    let nodes = catalog::nodes()?.into_iter();
    Ok(nodes
        .filter(|n| n.is_primary() && n.active && n.group != catalog::COORDINATOR_GROUP)
        .collect())
}

/// A shard's placement for a command.
pub struct ShardPlace {
    /// The node.
    pub node: Rc<Node>,
    /// The shard.
    pub shard: i64,
    /// The other table's shard, where there are two tables.
    pub other: Option<i64>,
    /// Names of the shards, for the command's format.
    pub names: Vec<String>,
}

/// Which placements of a shard a command runs on.
#[derive(Clone, Copy, PartialEq)]
pub enum Copies {
    /// All healthy ones.
    All,
    /// The first healthy one.
    One,
}

/// The table's metadata, or the error for a table that is not ours.
pub fn require_table(relid: Oid) -> Result<Rc<Table>> {
    catalog::table(relid).ok_or_else(|| {
        let name = super::placements::display_name(relid);
        match session::relation_name(relid) {
            Some(_) => Error::new(
                sqlstate::WRONG_OBJECT_TYPE,
                format!("relation {name} is not a distributed table"),
            )
            .hint("Use create_distributed_table or create_reference_table first."),
            None => Error::new(
                sqlstate::UNDEFINED_TABLE,
                format!("relation with OID {name} does not exist"),
            ),
        }
    })
}

/// The placements of a table's shards.
pub fn placements(relid: Oid, copies: Copies) -> Result<Vec<ShardPlace>> {
    let table = require_table(relid)?;
    let mut places = Vec::new();
    for s in &table.shards {
        let active: Vec<Rc<Node>> = active_nodes(s)?;
        if active.is_empty() {
            guard::notice(format!("shard {} has no active placement and is left out", s.id));
        }
        let n = if copies == Copies::One { 1 } else { active.len() };
        for node in active.into_iter().take(n) {
            let names = vec![shard_text(relid, s.id)?];
            places.push(ShardPlace { node, shard: s.id, other: None, names });
        }
    }
    Ok(places)
}

/// The placements that two co-located tables have in common.
pub fn colocated_placements(first: Oid, second: Oid) -> Result<Vec<ShardPlace>> {
    let (a, b) = (require_table(first)?, require_table(second)?);
    if !a.colocated_with(&b) {
        return Err(Error::new(
            sqlstate::WRONG_OBJECT_TYPE,
            format!(
                "tables {} and {} are not co-located",
                super::placements::display_name(first),
                super::placements::display_name(second)
            ),
        )
        .hint("Distribute the tables with colocate_with to store their shards side by side."));
    }
    let mut places = Vec::new();
    for (x, y) in a.shards.iter().zip(&b.shards) {
        let others = active_nodes(y)?;
        for node in active_nodes(x)?.into_iter().filter(|n| others.iter().any(|o| o.id == n.id)) {
            let names = vec![shard_text(first, x.id)?, shard_text(second, y.id)?];
            places.push(ShardPlace { node, shard: x.id, other: Some(y.id), names });
        }
    }
    Ok(places)
}

fn active_nodes(shard: &catalog::Shard) -> Result<Vec<Rc<Node>>> {
    let nodes = catalog::nodes()?;
    Ok(shard
        .placements
        .iter()
        .filter_map(|p| {
            nodes.iter().find(|n| n.group == p.group && n.is_primary() && n.active).cloned()
        })
        .collect())
}

/// The shard's name as users' commands expect it: with its schema unless that is public.
fn shard_text(relid: Oid, shard: i64) -> Result<String> {
    let (schema, name) = session::relation_name(relid)
        .ok_or_else(|| Error::new(sqlstate::UNDEFINED_TABLE, "the table does not exist"))?;
    let name = names::shard_name(&name, shard);
    Ok(match schema.as_str() {
        "public" => fmgr::quote_ident(&name),
        _ => fmgr::qualified(&schema, &name),
    })
}

/// The commands for places: the user's text with the names put in as SQL's format() does.
pub fn tasks(places: &[ShardPlace], command: &str) -> Result<Vec<Task>> {
    let width = places.first().map_or(1, |p| p.names.len());
    let column = |i: usize| {
        let names: Vec<String> =
            places.iter().filter_map(|p| p.names.get(i)).map(|n| array_element(n)).collect();
        format!("{{{}}}", names.join(","))
    };
    let sql = match width {
        1 => {
            "SELECT pg_catalog.format($1, n.a) \
              FROM pg_catalog.unnest($2::text[]) WITH ORDINALITY AS n(a, i) ORDER BY n.i"
        }
        _ => {
            "SELECT pg_catalog.format($1, n.a, n.b) \
              FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) \
              WITH ORDINALITY AS n(a, b, i) \
              ORDER BY n.i"
        }
    };
    let mut params = vec![spi::text(command)];
    params.extend((0..width).map(|i| spi::text(&column(i))));
    let rows = spi::query(sql, &params)?;
    places
        .iter()
        .zip(rows)
        .map(|(p, row)| {
            let sql = row.into_iter().flatten().next().unwrap_or_default();
            Ok(Task { place: Place::of(&p.node)?, sql })
        })
        .collect()
}

/// A text as an element of an array's text form.
fn array_element(s: &str) -> String {
    format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\""))
}
