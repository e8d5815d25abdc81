//! COPY TO of a table under our management.
//!
//! The rows of shards on other nodes come in the client's format by COPY of the shard, and are
//! passed on without a look at their columns. Each node works on its shards one after the other,
//! all nodes at the same time.

use super::format::{BINARY_HEADER, BINARY_TRAILER};
use crate::catalog::{self, Placement, Shard, Table};
use crate::ddl::names::shard_name;
use crate::ddl::unshard::unshard_error;
use crate::error::{Error, Result};
use crate::pg::copy::{client, Command, Source};
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::session;
use crate::remote::{wait_for, Message, SessionRef};
use crate::txn::sight::Sight;
use crate::txn::{self, consistent, Mode, OwnerId};
use std::collections::VecDeque;

/// Shards asked of a node ahead of time.
const AHEAD: usize = 2;

/// Runs a COPY TO; answers the number of rows.
pub fn run(command: &Command, table: &Table) -> Result<u64> {
    // A statement that reads as of one moment reads by a query.
    if command.is_to_client() && !consistent::by_statement() {
        if let Some(by_node) = remote_shards(table)? {
            if let Some(source) = command.open_source()? {
                return Pass::new(table, source, by_node)?.run();
            }
        }
    }
    command.run_as_query(table.relid)
}

/// Shards of each node group.
type ByNode = Vec<(i32, VecDeque<Shard>)>;

/// The shards by the node that gives them; `None` when one of them is on this server.
fn remote_shards(table: &Table) -> Result<Option<ByNode>> {
    let local = catalog::local_group()?;
    let sight = Sight::of_transaction()?;
    let mut by_node = ByNode::new();
    for shard in &table.shards {
        if shard.placements.iter().any(|p| p.group == local) {
            return Ok(None);
        }
        let trouble = |p: &Placement| sight.as_ref()?.trouble(shard, p.group);
        let Some(first) = shard.placements.first() else { return Ok(None) };
        let place = match shard.placements.iter().find(|p| trouble(p).is_none()) {
            Some(place) => place,
            None => return trouble(first).map_or(Ok(None), Err),
        };
        match by_node.iter_mut().find(|n| n.0 == place.group) {
            Some(n) => n.1.push_back(shard.clone()),
            None => by_node.push((place.group, VecDeque::from([shard.clone()]))),
        }
    }
    Ok((!by_node.is_empty()).then_some(by_node))
}

/// A shard that a node was asked for.
struct Asked {
    id: i64,
    /// Nothing of it has come yet.
    fresh: bool,
    error: Option<Error>,
}

struct Node {
    session: SessionRef,
    shards: VecDeque<Shard>,
    asked: VecDeque<Asked>,
}

struct Pass {
    source: Source,
    schema: String,
    name: String,
    nodes: Vec<Node>,
    owner: OwnerId,
    begun: bool,
    waits_for_header: bool,
    rows: u64,
}

impl Drop for Pass {
    fn drop(&mut self) {
        for n in &self.nodes {
            txn::release(&n.session, self.owner);
        }
        txn::unregister_owner(self.owner);
    }
}

impl Pass {
    fn new(table: &Table, source: Source, by_node: ByNode) -> Result<Pass> {
        let (schema, name) = session::relation_name(table.relid)
            .ok_or_else(|| Error::internal("the table does not exist any more"))?;
        let groups: Vec<i32> = by_node.iter().map(|n| n.0).collect();
        let sessions = txn::sessions(&groups, Mode::InTransaction)?;
        // Nothing runs in between that could ask for a session.
        let owner = txn::register_owner(Box::new(|| Ok(())));
        let nodes = sessions
            .into_iter()
            .zip(by_node)
            .map(|(session, (_, shards))| Node { session, shards, asked: VecDeque::new() })
            .collect();
        let waits_for_header = source.header;
        let pass =
            Pass { source, schema, name, nodes, owner, begun: false, waits_for_header, rows: 0 };
        for n in &pass.nodes {
            txn::claim(&n.session, owner)?;
        }
        Ok(pass)
    }

    fn run(mut self) -> Result<u64> {
        if self.waits_for_header {
            // The first shard brings the header; the others may come when it is out.
            self.ask(0, true)?;
            while self.waits_for_header {
                self.wait()?;
            }
        }
        loop {
            for i in 0..self.nodes.len() {
                while self.nodes.get(i).is_some_and(|n| n.asked.len() < AHEAD) {
                    if !self.ask(i, false)? {
                        break;
                    }
                }
            }
            if self.nodes.iter().all(|n| n.asked.is_empty()) {
                break;
            }
            self.wait()?;
        }
        if self.source.binary {
            client::row(BINARY_TRAILER);
        }
        client::end();
        Ok(self.rows)
    }

    /// Asks a node for its next shard; false when it has none left.
    fn ask(&mut self, node: usize, header: bool) -> Result<bool> {
        let Some(n) = self.nodes.get_mut(node) else { return Ok(false) };
        let Some(shard) = n.shards.pop_front() else { return Ok(false) };
        let table = qualified(&self.schema, &shard_name(&self.name, shard.id));
        let columns: Vec<String> = self.source.columns.iter().map(|c| quote_ident(c)).collect();
        let columns =
            if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let mut options = self.source.options.join(", ");
        if header {
            options.push_str(", HEADER");
        }
        let mut session = n.session.borrow_mut();
        session.queue_query(&format!("COPY {table}{columns} TO STDOUT WITH ({options})"));
        session.flush()?;
        n.asked.push_back(Asked { id: shard.id, fresh: true, error: None });
        Ok(true)
    }

    /// Waits until a node has something, and passes it on.
    fn wait(&mut self) -> Result<()> {
        let busy: Vec<(usize, SessionRef)> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| !n.asked.is_empty())
            .map(|(i, n)| (i, n.session.clone()))
            .collect();
        let sessions: Vec<&SessionRef> = busy.iter().map(|b| &b.1).collect();
        let mut ready = Vec::new();
        wait_for(&sessions, -1, &mut ready)?;
        for r in ready {
            if let Some((i, session)) = busy.get(r) {
                let mut session = session.borrow_mut();
                session.flush()?;
                session.fill()?;
                while let Some(message) = session.next()? {
                    self.take(*i, message)?;
                    if self.nodes.get(*i).is_none_or(|n| n.asked.is_empty()) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, node: usize, message: Message<'_>) -> Result<()> {
        let Some(n) = self.nodes.get_mut(node) else { return Ok(()) };
        let Some(asked) = n.asked.front_mut() else { return Ok(()) };
        match message {
            Message::CopyOut if !self.begun => {
                self.begun = true;
                client::begin(self.source.columns.len(), self.source.binary);
                if self.source.binary {
                    client::row(BINARY_HEADER);
                }
            }
            Message::CopyData(data) => {
                let mut data = data;
                if self.source.binary {
                    if std::mem::take(&mut asked.fresh) {
                        data = data.strip_prefix(BINARY_HEADER).unwrap_or(data);
                    }
                    if data == BINARY_TRAILER {
                        data = b"";
                    }
                }
                if !data.is_empty() || !self.source.binary {
                    client::row(data);
                }
                self.waits_for_header = false;
            }
            Message::CommandComplete(tag) => {
                let rows = tag.strip_prefix("COPY ").and_then(|n| n.parse::<u64>().ok());
                self.rows += rows.unwrap_or(0);
            }
            Message::Error(e) => {
                asked.error.get_or_insert(e);
            }
            Message::Ready(_) => {
                if let Some(Asked { id, error: Some(e), .. }) = n.asked.pop_front() {
                    return Err(unshard_error(e, id));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
