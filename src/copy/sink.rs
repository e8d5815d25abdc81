//! Rows made by this server on their way into a table's shards.

use super::format::Format;
use super::key::KeyToShard;
use super::router::{Destination, Router};
use crate::catalog::Table;
use crate::error::{sqlstate, Error, Result};
use crate::pg::copy::{self, RowEncoder};
use pgrx::pg_sys::{Datum, Oid};
use std::rc::Rc;

/// Writes whole rows in the best format that their types allow.
pub struct RowWriter {
    encoder: RowEncoder,
    format: Format,
}

impl RowWriter {
    /// For columns given by attribute number (or place, from 1 on) and type.
    pub fn new(columns: &[(i32, Oid)]) -> RowWriter {
        // Binary text values would be converted to the client's encoding on their way.
        let binary = copy::client_speaks_server_encoding()
            && columns.iter().all(|(_, typ)| copy::binary_transfer(*typ));
        let format = if binary { Format::binary() } else { Format::text() };
        RowWriter { encoder: RowEncoder::new(columns, binary), format }
    }

    /// The format of the rows.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Appends a row.
    pub fn write(&mut self, values: &[Datum], nulls: &[bool], out: &mut Vec<u8>) -> Result<()> {
        let RowWriter { encoder, format } = self;
        if format.is_binary() {
            return encoder.binary(values, nulls, out);
        }
        let mut first = true;
        encoder.text(values, nulls, |v| {
            if !first {
                format.append_delimiter(out);
            }
            first = false;
            format.append(v, out);
        })?;
        out.push(b'\n');
        Ok(())
    }
}

/// Takes rows and brings them into the shards of a table, in the running transaction.
///
/// Values must be of exactly the columns' types. Checks of privileges are the caller's business;
/// constraints and triggers are the shards'.
pub struct RowSink {
    router: Router,
    writer: RowWriter,
    keys: KeyToShard,
    key: Option<usize>,
    key_name: String,
    pushed: u64,
}

impl RowSink {
    /// A sink for a table. `columns` are the attribute numbers of the values that will come, in
    /// their order; columns that are not among them get what the shard's own default says.
    pub fn new(table: Rc<Table>, columns: &[i16]) -> Result<RowSink> {
        let attributes = copy::attributes(table.relid)?;
        let mut names = Vec::with_capacity(columns.len());
        let mut typed = Vec::with_capacity(columns.len());
        for (i, attno) in columns.iter().enumerate() {
            let a = attributes.iter().find(|a| a.attno == *attno).ok_or_else(|| {
                Error::new(sqlstate::UNDEFINED_COLUMN, format!("column {attno} does not exist"))
            })?;
            names.push(a.name.clone());
            typed.push((i as i32 + 1, a.typ));
        }
        let keys = KeyToShard::new(table.clone());
        let of_key = |attno: i32| columns.iter().position(|c| i32::from(*c) == attno);
        let key = keys.attno().and_then(of_key);
        let key_name = keys
            .attno()
            .and_then(|k| attributes.iter().find(|a| i32::from(a.attno) == k))
            .map(|a| a.name.clone())
            .unwrap_or_default();
        let writer = RowWriter::new(&typed);
        let format = writer.format().clone();
        let router = Router::new(Destination { table, columns: names, format, prefix: 0 })?;
        Ok(RowSink { router, writer, keys, key, key_name, pushed: 0 })
    }

    /// Adds a row: values and null flags in the order of the columns.
    pub fn push(&mut self, values: &[Datum], nulls: &[bool]) -> Result<()> {
        let shard = match self.keys.attno() {
            None => self.keys.of_value(None)?,
            Some(_) => {
                let key = self.key.and_then(|k| match nulls.get(k) {
                    Some(false) => values.get(k).copied(),
                    _ => None,
                });
                if key.is_none() {
                    return Err(self.router.null_key(&self.key_name));
                }
                self.keys.of_value(key)?
            }
        };
        self.push_to(shard, values, nulls)
    }

    /// Adds a row to a shard, given by its number.
    pub fn push_to(&mut self, shard: usize, values: &[Datum], nulls: &[bool]) -> Result<()> {
        let RowSink { router, writer, pushed, .. } = self;
        router.add_with(shard, None, |out| writer.write(values, nulls, out))?;
        *pushed += 1;
        if *pushed % 256 == 0 {
            copy::check_interrupts();
            router.pump()?;
        }
        Ok(())
    }

    /// Waits until every row is in its shard; answers their number.
    pub fn finish(mut self) -> Result<u64> {
        self.router.finish()
    }
}
