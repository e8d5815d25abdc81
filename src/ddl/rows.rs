//! Moving a table's rows between the table itself and its shards.

use super::info::{Column, Relation};
use super::names::shard_name;
use crate::catalog::{self, Shard, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::rows::{load_text, with_portable_text, without_triggers, TableScan};
use crate::pg::{guard, relation};
use crate::remote::{self, Message, SessionRef};
use crate::txn::{self, run, Mode};

/// Rows are collected per shard up to this size before they are sent.
pub(super) const SHARD_CHUNK: usize = 512 * 1024;
/// Limit of all collected rows.
const TOTAL_LIMIT: usize = 32 * 1024 * 1024;
/// Rows between two progress messages.
const PROGRESS: u64 = 1_000_000;
/// Rows fetched at a time from a shard on another node.
pub(super) const FETCH: usize = 5000;

/// The rows of a table as they were before it was distributed.
pub struct Source(TableScan);

impl Source {
    /// Starts reading.
    pub fn open(relid: pgrx::pg_sys::Oid) -> Result<Self> {
        TableScan::open(relid).map(Source)
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        !self.0.has_row()
    }
    /// Stops reading.
    pub fn close(self) {
        self.0.close();
    }
}

/// Columns whose values are stored, not computed.
pub(super) fn stored(columns: &[Column]) -> Vec<&Column> {
    columns.iter().filter(|c| c.generated == 0).collect()
}

/// Copies all rows to the shards they belong to.
pub fn move_to_shards(
    rel: &Relation,
    columns: &[Column],
    table: &Table,
    source: Source,
) -> Result<u64> {
    guard::notice("Copying data from local table...");
    let count = move_quietly(rel, columns, table, source)?;
    let rows = if count == 1 { "row" } else { "rows" };
    guard::notice(format!("Copied {count} {rows} of \"{}\"", rel.name));
    Ok(count)
}

/// [`move_to_shards`] without messages.
pub fn move_quietly(
    rel: &Relation,
    columns: &[Column],
    table: &Table,
    source: Source,
) -> Result<u64> {
    with_portable_text(|| copy_rows(rel, columns, table, source.0))
}

fn copy_rows(
    rel: &Relation,
    columns: &[Column],
    table: &Table,
    mut scan: TableScan,
) -> Result<u64> {
    let columns = stored(columns);
    let attnos: Vec<i16> = columns.iter().map(|c| c.attno).collect();
    let mut sink = Sink::new(rel, columns.iter().map(|c| c.name.clone()).collect(), table)?;
    let mut count = 0u64;
    while scan.has_row() {
        let at = shard_of(rel, table, &scan, &columns)?;
        scan.append_text(&attnos, sink.buffer(at)?);
        sink.added(at)?;
        count += 1;
        if count.is_multiple_of(PROGRESS) {
            guard::notice(format!("Copied {count} rows"));
        }
        scan.advance();
    }
    scan.close();
    sink.finish()?;
    Ok(count)
}

fn shard_of(rel: &Relation, table: &Table, scan: &TableScan, columns: &[&Column]) -> Result<usize> {
    let Some(key) = &table.key else { return Ok(0) };
    let Some(value) = scan.value(key.attno) else {
        let name = columns.iter().find(|c| c.attno == key.attno).map_or("", |c| c.name.as_str());
        let message = format!("the distribution column \"{name}\" contains NULL");
        let mut e = Error::new(sqlstate::NOT_NULL_VIOLATION, message)
            .hint("Delete or update these rows before distributing the table.");
        e.schema = Some(rel.schema.clone());
        e.table = Some(rel.name.clone());
        e.column = Some(name.to_owned());
        return Err(e);
    };
    let hash = key.hash(value);
    table
        .shard_index(hash)
        .ok_or_else(|| Error::internal(format!("no shard of \"{}\" for hash {hash}", rel.name)))
}

/// Rows on their way to shards.
struct Sink<'a> {
    rel: &'a Relation,
    columns: Vec<String>,
    shards: &'a [Shard],
    buffers: Vec<Vec<u8>>,
    total: usize,
    local: i32,
}

impl<'a> Sink<'a> {
    fn new(rel: &'a Relation, columns: Vec<String>, table: &'a Table) -> Result<Self> {
        Ok(Sink {
            rel,
            columns,
            shards: &table.shards,
            buffers: vec![Vec::new(); table.shards.len()],
            total: 0,
            local: catalog::local_group()?,
        })
    }

    fn buffer(&mut self, at: usize) -> Result<&mut Vec<u8>> {
        let b = self.buffers.get_mut(at).ok_or_else(|| Error::internal("no such shard"))?;
        self.total -= b.len().min(self.total);
        Ok(b)
    }

    /// To be called after each row: sends what is large enough.
    fn added(&mut self, at: usize) -> Result<()> {
        let len = self.buffers.get(at).map_or(0, Vec::len);
        self.total += len;
        if len >= SHARD_CHUNK {
            return self.send(at);
        }
        if self.total >= TOTAL_LIMIT {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        (0..self.buffers.len()).try_for_each(|i| self.send(i))
    }

    fn send(&mut self, at: usize) -> Result<()> {
        let Some(data) = self.buffers.get_mut(at).map(std::mem::take) else { return Ok(()) };
        let Some(shard) = self.shards.get(at).filter(|_| !data.is_empty()) else { return Ok(()) };
        self.total -= data.len().min(self.total);
        let name = shard_name(&self.rel.name, shard.id);
        let mut remote = Vec::new();
        for p in &shard.placements {
            if p.group == self.local {
                load_here(&self.rel.schema, &name, &self.columns, &data)?;
            } else {
                remote.push(p.group);
            }
        }
        load_there(&remote, &self.rel.schema, &name, &self.columns, &data)
    }
}

pub(super) fn load_here(schema: &str, name: &str, columns: &[String], data: &[u8]) -> Result<()> {
    let relid = relation::find(schema, name).ok_or_else(|| {
        Error::new(sqlstate::UNDEFINED_TABLE, format!("shard \"{name}\" does not exist"))
    })?;
    without_triggers(|| load_text(relid, columns, data)).map(|_| ())
}

/// Loads the same rows on several groups.
pub(super) fn load_there(
    groups: &[i32],
    schema: &str,
    name: &str,
    columns: &[String],
    data: &[u8],
) -> Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = columns.iter().map(|c| quote_ident(c)).collect();
    let sql = format!("COPY {} ({}) FROM STDIN", qualified(schema, name), list.join(", "));
    let sessions = txn::sessions(groups, Mode::InTransaction)?;
    txn::mark_modified(groups);
    let owner = Owner(txn::register_owner(Box::new(|| Ok(()))));
    for s in &sessions {
        txn::claim(s, owner.0)?;
        let mut s = s.borrow_mut();
        // Nothing is waited for: a node that refuses the command ignores the data.
        s.queue_query(&sql);
        s.queue_copy_data(data);
        s.queue_copy_done();
    }
    let outcomes: Vec<Result<()>> = sessions.iter().map(read_outcome).collect();
    sessions.iter().for_each(|s| txn::release(s, owner.0));
    outcomes.into_iter().collect()
}

/// Ownership of sessions that ends with the value.
struct Owner(txn::OwnerId);

impl Drop for Owner {
    fn drop(&mut self) {
        txn::unregister_owner(self.0);
    }
}

/// Reads up to the end of the statement.
fn read_outcome(session: &SessionRef) -> Result<()> {
    let mut failure = None;
    loop {
        loop {
            let mut s = session.borrow_mut();
            let ready = match s.next()? {
                Some(Message::Error(e)) => {
                    failure = failure.or(Some(e));
                    false
                }
                Some(Message::Ready(_)) => true,
                Some(_) => false,
                None => break,
            };
            if ready && s.outstanding() == 0 {
                return failure.map_or(Ok(()), Err);
            }
        }
        remote::wait_one(session)?;
        session.borrow_mut().fill()?;
    }
}

/// Copies the rows of all shards back into the table, which is an ordinary one (again).
pub fn move_from_shards(rel: &Relation, columns: &[Column], table: &Table) -> Result<u64> {
    with_portable_text(|| {
        let local = catalog::local_group()?;
        let mut count = 0;
        for shard in &table.shards {
            let here = shard.placements.iter().any(|p| p.group == local);
            count += match shard.placements.first() {
                None => return Err(no_placement(shard)),
                Some(_) if here => fetch_here(rel, columns, shard)?,
                Some(p) => fetch_there(rel, columns, shard, p.group)?,
            };
        }
        Ok(count)
    })
}

pub(super) fn no_placement(shard: &Shard) -> Error {
    Error::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("shard {} has no healthy placement", shard.id),
    )
}

fn fetch_here(rel: &Relation, columns: &[Column], shard: &Shard) -> Result<u64> {
    let name = shard_name(&rel.name, shard.id);
    let relid = relation::find(&rel.schema, &name).ok_or_else(|| {
        Error::new(sqlstate::UNDEFINED_TABLE, format!("shard \"{name}\" does not exist"))
    })?;
    // The shard's own attribute numbers: they differ where columns were dropped.
    let theirs = super::info::columns(relid)?;
    let names: Vec<String> = stored(columns).iter().map(|c| c.name.clone()).collect();
    let attnos: Option<Vec<i16>> =
        names.iter().map(|n| theirs.iter().find(|c| &c.name == n).map(|c| c.attno)).collect();
    let attnos = attnos.ok_or_else(|| {
        Error::internal(format!("shard \"{name}\" has other columns than its table"))
    })?;
    let mut scan = TableScan::open(relid)?;
    let (mut count, mut data) = (0, Vec::new());
    while scan.has_row() {
        scan.append_text(&attnos, &mut data);
        if data.len() >= SHARD_CHUNK {
            count += without_triggers(|| load_text(rel.oid, &names, &data))?;
            data.clear();
        }
        scan.advance();
    }
    scan.close();
    if !data.is_empty() {
        count += without_triggers(|| load_text(rel.oid, &names, &data))?;
    }
    Ok(count)
}

fn fetch_there(rel: &Relation, columns: &[Column], shard: &Shard, group: i32) -> Result<u64> {
    let names: Vec<String> = stored(columns).iter().map(|c| c.name.clone()).collect();
    let list: Vec<String> = names.iter().map(|n| quote_ident(n)).collect();
    let from = qualified(&rel.schema, &shard_name(&rel.name, shard.id));
    let declare =
        format!("DECLARE citus_fetch NO SCROLL CURSOR FOR SELECT {} FROM {from}", list.join(", "));
    run::on_group(group, &declare, false)?;
    let fetch = format!("FETCH {FETCH} FROM citus_fetch");
    let mut count = 0;
    loop {
        let rows = run::on_group(group, &fetch, false)?.rows;
        let done = rows.len() < FETCH;
        if !rows.is_empty() {
            let data = text_rows(&rows);
            count += without_triggers(|| load_text(rel.oid, &names, &data))?;
        }
        if done {
            break;
        }
    }
    run::on_group(group, "CLOSE citus_fetch", false)?;
    Ok(count)
}

pub(super) fn text_rows(rows: &[Vec<Option<String>>]) -> Vec<u8> {
    let mut data = Vec::new();
    for row in rows {
        for (i, v) in row.iter().enumerate() {
            if i > 0 {
                data.push(b'\t');
            }
            crate::pg::rows::append_field(v.as_deref().map(str::as_bytes), &mut data);
        }
        data.push(b'\n');
    }
    data
}
