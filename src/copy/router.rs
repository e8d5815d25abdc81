//! Rows to the shards they belong to.
//!
//! Each shard has a buffer. A node that is about to run dry gets the fullest buffer of its shards;
//! when nodes are slower than the input, buffers grow to a limit and the input waits. So a quick
//! node is fed early with little pieces and a slow one with large ones. Shards of this server are
//! loaded in this backend.

use super::chunk::Chunk;
use super::errors::{line_of, translate, Names};
use super::format::{Format, BINARY_HEADER, BINARY_TRAILER};
use super::key::null_key;
use super::streams::Streams;
use crate::catalog::{self, Placement, Table};
use crate::ddl::names::shard_name;
use crate::ddl::unshard::unshard_local_error;
use crate::error::{sqlstate, Error, Result};
use crate::executor::{order, reach};
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::{copy, guard, relation, session};
use crate::settings;
use crate::txn::sight::Sight;
use std::cell::Cell;
use std::rc::Rc;

/// A node with little to do gets a buffer from this size on, which the settings can only lower.
const WORTH_SENDING: usize = 64 * 1024;
/// Bytes that may wait in buffers and for confirmation, in all.
const LIMIT: usize = 64 * 1024 * 1024;
/// The same for tables that refer to themselves. A shard checks foreign keys at the end of each
/// COPY, and a row may come before the one that it refers to: so a shard's rows are sent in one
/// piece as long as memory allows.
const PATIENT_LIMIT: usize = 512 * 1024 * 1024;
/// Statements that wait on a node so that it never runs dry.
const AHEAD: usize = 2;

/// A copy of a shard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    Node(usize),
}

/// What the rows are and where they go.
pub struct Destination {
    /// The table.
    pub table: Rc<Table>,
    /// Names of the columns, in the order of the data.
    pub columns: Vec<String>,
    /// Format of the data.
    pub format: Format,
    /// Number of columns in front of the client's own.
    pub prefix: usize,
}

/// Buffers and streams of one statement.
pub struct Router {
    to: Destination,
    schema: String,
    name: String,
    options: String,
    chunks: Vec<Chunk>,
    places: Vec<Vec<Place>>,
    shards_of: Vec<Vec<usize>>,
    streams: Streams,
    buffered: usize,
    local_rows: u64,
    failed_line: Cell<Option<u64>>,
    patient: bool,
    /// Sizes at which a buffer is sent in any case: to other nodes, and where this server gets a
    /// copy too.
    full: (usize, usize),
}

impl Router {
    /// A router to all shards of a table.
    pub fn new(mut to: Destination) -> Result<Router> {
        let relid = to.table.relid;
        if to.table.replicated {
            order::lock_table(relid, true)?;
            reach::settle_table(relid)?;
            // It may have changed while others were waited for.
            to.table = catalog::table(relid).ok_or_else(no_shard)?;
        }
        let (schema, name) = session::relation_name(relid)
            .ok_or_else(|| Error::new(sqlstate::UNDEFINED_TABLE, "table does not exist"))?;
        let local = catalog::local_group()?;
        let mut groups: Vec<i32> = to
            .table
            .shards
            .iter()
            .flat_map(|s| s.placements.iter().map(|p| p.group))
            .filter(|g| *g != local)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        let mut shards_of = vec![Vec::new(); groups.len()];
        let mut places = Vec::with_capacity(to.table.shards.len());
        let sight = Sight::of_transaction()?;
        for (i, shard) in to.table.shards.iter().enumerate() {
            let of = |g: i32| match groups.binary_search(&g) {
                Ok(n) => Place::Node(n),
                Err(_) => Place::Here,
            };
            let found: Vec<Place> = shard.placements.iter().map(|p| of(p.group)).collect();
            if found.is_empty() {
                let what =
                    format!("shard {} of table \"{name}\" has no healthy placement", shard.id);
                return Err(Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, what));
            }
            let trouble = |p: &Placement| sight.as_ref()?.trouble(shard, p.group);
            if let Some(e) = shard.placements.iter().find_map(trouble) {
                return Err(e);
            }
            let node = found.iter().find_map(|p| match p {
                Place::Node(n) => Some(*n),
                Place::Here => None,
            });
            if let Some(list) = node.and_then(|n| shards_of.get_mut(n)) {
                list.push(i);
            }
            places.push(found);
        }
        let options = to.format.clause();
        let chunks = (0..to.table.shards.len()).map(Chunk::new).collect();
        let streams = Streams::new(&groups);
        Ok(Router {
            to,
            schema,
            name,
            options,
            chunks,
            places,
            shards_of,
            streams,
            buffered: 0,
            local_rows: 0,
            failed_line: Cell::new(None),
            patient: copy::references_itself(relid),
            full: thresholds(),
        })
    }

    /// Name of the table.
    pub fn table_name(&self) -> &str {
        &self.name
    }

    /// The error about a row without a value in the distribution column.
    pub fn null_key(&self, column: &str) -> Error {
        null_key(&self.schema, &self.name, column)
    }

    /// Format of the data.
    pub fn format(&self) -> &Format {
        &self.to.format
    }

    /// Rows that are in their shards.
    pub fn rows(&self) -> u64 {
        self.local_rows + self.streams.rows()
    }

    /// Adds a line of the client's input, behind values for the prefix columns.
    pub fn add_line(&mut self, shard: usize, prefix: &[u8], text: &[u8], line: u64) -> Result<()> {
        let chunk = self.chunks.get_mut(shard).ok_or_else(no_shard)?;
        let before = chunk.size();
        chunk.push_line(prefix, text, line);
        self.grown(shard, before)
    }

    /// Adds a row that `write` appends to the data.
    pub fn add_with(
        &mut self,
        shard: usize,
        line: Option<u64>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let chunk = self.chunks.get_mut(shard).ok_or_else(no_shard)?;
        let before = chunk.size();
        chunk.push_with(line, write)?;
        self.grown(shard, before)
    }

    fn grown(&mut self, shard: usize, before: usize) -> Result<()> {
        let now = self.chunks.get(shard).map_or(0, Chunk::size);
        self.buffered += now - before;
        let full = if self.is_here(shard) { self.full.1 } else { self.full.0 };
        if now >= full && !self.patient {
            self.send(shard)?;
        }
        let limit = if self.patient { PATIENT_LIMIT } else { LIMIT };
        while self.buffered + self.streams.bytes() > limit {
            if self.streams.bytes() > limit / 2 {
                self.streams.wait()?;
                self.check()?;
            } else {
                let fullest = (0..self.chunks.len())
                    .max_by_key(|i| self.chunks.get(*i).map_or(0, Chunk::size));
                self.send(fullest.ok_or_else(no_shard)?)?;
            }
        }
        Ok(())
    }

    /// Whether this server has a copy of a shard.
    fn is_here(&self, shard: usize) -> bool {
        self.places.get(shard).is_some_and(|p| p.contains(&Place::Here))
    }

    /// Gives work to nodes that are about to run dry. To be called now and then.
    pub fn pump(&mut self) -> Result<()> {
        self.streams.poll()?;
        self.check()?;
        for node in 0..self.shards_of.len() {
            if self.patient || self.streams.under_way(node) >= AHEAD {
                continue;
            }
            let size = |i: &usize| self.chunks.get(*i).map_or(0, Chunk::size);
            let fullest = self.shards_of.get(node).and_then(|l| l.iter().max_by_key(|i| size(i)));
            let worth = |i: usize| if self.is_here(i) { self.full.1 / 2 } else { WORTH_SENDING };
            if let Some(shard) = fullest.copied().filter(|i| size(i) >= worth(*i)) {
                self.send(shard)?;
            }
        }
        Ok(())
    }

    /// Sends the buffer of a shard to all its places.
    fn send(&mut self, shard: usize) -> Result<()> {
        let Some(slot) = self.chunks.get_mut(shard) else { return Err(no_shard()) };
        if slot.is_empty() {
            return Ok(());
        }
        let chunk = Rc::new(std::mem::replace(slot, Chunk::new(shard)));
        self.buffered -= chunk.size();
        let command = self.command(shard)?;
        let frame: (&[u8], &[u8]) =
            if self.to.format.is_binary() { (BINARY_HEADER, BINARY_TRAILER) } else { (b"", b"") };
        let places = self.places.get(shard).cloned().unwrap_or_default();
        for (i, place) in places.iter().enumerate() {
            let Place::Node(node) = *place else { continue };
            while self.streams.under_way(node) >= 2 * AHEAD {
                self.streams.wait()?;
                self.check()?;
            }
            self.streams.send(node, &command, chunk.clone(), frame, i == 0)?;
        }
        if let Some(i) = places.iter().position(|p| *p == Place::Here) {
            let rows = self.load_here(shard, &command, &chunk, frame)?;
            if i == 0 {
                self.local_rows += rows;
            }
        }
        self.check()
    }

    /// Loads a chunk into a shard of this server.
    fn load_here(
        &self,
        shard: usize,
        command: &str,
        chunk: &Chunk,
        (head, tail): (&[u8], &[u8]),
    ) -> Result<u64> {
        let name = self.shard_name(shard)?;
        let relid = relation::find(&self.schema, &name).ok_or_else(|| {
            let what = format!("shard {} does not exist", qualified(&self.schema, &name));
            Error::new(sqlstate::UNDEFINED_TABLE, what)
        })?;
        guard::catch_result(|| copy::load(relid, command, &[head, chunk.data(), tail]))
            .map_err(|e| self.translate(chunk, e))
    }

    /// Sends everything and waits for it; answers the number of rows.
    pub fn finish(&mut self) -> Result<u64> {
        let full = |c: &Chunk| !c.is_empty();
        let mut queues: Vec<Vec<usize>> = self
            .shards_of
            .iter()
            .map(|l| l.iter().copied().filter(|i| self.chunks.get(*i).is_some_and(full)).collect())
            .collect();
        let needed: Vec<usize> =
            (0..queues.len()).filter(|n| queues.get(*n).is_some_and(|q| !q.is_empty())).collect();
        self.streams.connect(&needed)?;
        let mut next_here = 0;
        // All nodes get work before this backend works for itself.
        loop {
            let mut sent = false;
            for (node, queue) in queues.iter_mut().enumerate() {
                if self.streams.under_way(node) < AHEAD {
                    if let Some(shard) = queue.pop() {
                        self.send(shard)?;
                        sent = true;
                    }
                }
            }
            if sent {
                continue;
            }
            if let Some(shard) = self.next_here(next_here) {
                next_here = shard + 1;
                self.send(shard)?;
                self.streams.poll()?;
            } else if self.streams.busy() {
                self.streams.wait()?;
            } else {
                break;
            }
            self.check()?;
        }
        self.check()?;
        Ok(self.rows())
    }

    /// The next shard, from `first` on, with rows whose first place is this server.
    fn next_here(&self, first: usize) -> Option<usize> {
        let here = |i: usize| self.places.get(i).and_then(|p| p.first()) == Some(&Place::Here);
        let rest = self.chunks.get(first..).unwrap_or_default();
        rest.iter().find(|c| !c.is_empty() && here(c.shard)).map(|c| c.shard)
    }

    /// The error of a node, if one came.
    pub fn check(&self) -> Result<()> {
        match self.streams.take_failure() {
            Some((chunk, e)) => Err(self.translate(&chunk, e)),
            None => Ok(()),
        }
    }

    /// The line that the last error of a shard was about.
    pub fn failed_line(&self) -> Option<u64> {
        self.failed_line.get()
    }

    /// Rows in front of `line` that no shard has confirmed: the first that the table refuses, with
    /// its line and error. `columns` are the client's own.
    pub fn first_refused(&self, line: u64, columns: &[String]) -> Option<(u64, Error)> {
        let relid = self.to.table.relid;
        let table = qualified(&self.schema, &self.name);
        let command =
            format!("COPY {table}{} FROM STDIN WITH {}", column_list(columns), self.options);
        let under_way = self.streams.unconfirmed();
        let mut best: Option<(u64, Error)> = None;
        for chunk in self.chunks.iter().chain(under_way.iter().map(Rc::as_ref)) {
            let limit = best.as_ref().map_or(line, |b| b.0);
            let (mut data, mut before) = (Vec::new(), Vec::new());
            for i in 0..chunk.marked() {
                let Some((line, row)) = chunk.row(i).filter(|r| r.0 < limit) else { break };
                let row = self.to.format.skip(row, self.to.prefix);
                data.extend_from_slice(row);
                before.push(line.saturating_sub(1 + self.to.format.inner_lines(row, false)));
            }
            let constraints = self.to.prefix == 0;
            let rows = copy::Rows { command: &command, data: &data, before: &before, constraints };
            if let Some((i, e)) = copy::first_refused(relid, &rows) {
                if let Some((line, _)) = chunk.row(i) {
                    best = Some((line, e));
                }
            }
        }
        best
    }

    fn translate(&self, chunk: &Chunk, mut e: Error) -> Error {
        let (Some(shard), Ok(name)) =
            (self.to.table.shards.get(chunk.shard), self.shard_name(chunk.shard))
        else {
            return e;
        };
        self.failed_line.set(line_of(&e, &name, chunk, &self.to.format));
        // The context has the shard's name in front of the line, which is looked for first.
        let context = e.context.take();
        let mut e = unshard_local_error(e, shard.id);
        e.context = context;
        let names = Names { table: &self.name, shard: &name, id: shard.id };
        translate(e, &names, chunk, &self.to.format, self.to.prefix)
    }

    fn shard_name(&self, shard: usize) -> Result<String> {
        let id = self.to.table.shards.get(shard).ok_or_else(no_shard)?.id;
        Ok(shard_name(&self.name, id))
    }

    /// The statement that takes a chunk.
    fn command(&self, shard: usize) -> Result<String> {
        let table = qualified(&self.schema, &self.shard_name(shard)?);
        let list = column_list(&self.to.columns);
        Ok(format!("COPY {table}{list} FROM STDIN WITH {}", self.options))
    }
}

/// Sizes of full buffers, remote and local, as the settings say.
fn thresholds() -> (usize, usize) {
    let bytes = |n: i32| usize::try_from(n).unwrap_or(0).clamp(1, LIMIT / 8);
    (bytes(settings::remote_copy_flush_threshold()), bytes(settings::local_copy_flush_threshold()))
}

/// Column names as COPY lists them.
fn column_list(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(" ({})", names.iter().map(|c| quote_ident(c)).collect::<Vec<_>>().join(", "))
}

fn no_shard() -> Error {
    Error::new(sqlstate::DATA_CORRUPTED, "there is no shard for this row")
        .hint("The shards of the table do not cover all hash values.")
}
