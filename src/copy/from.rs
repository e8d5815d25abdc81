//! COPY FROM into a table under our management.

use super::format::Format;
use super::key::KeyToShard;
use super::router::{Destination, Router};
use super::scan::Scanner;
use super::sink::RowWriter;
use crate::catalog::{self, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::copy::{self, Command, Reader, RowEncoder};
use crate::pg::guard;
use pgrx::pg_sys::{Datum, Oid};
use std::rc::Rc;

/// Runs a COPY FROM; answers the number of rows.
pub fn run(command: &Command) -> Result<u64> {
    let target = command.open_target()?;
    let table = catalog::table(target.relid())
        .ok_or_else(|| Error::internal("the table is not under management any more"))?;
    let filtered = target.has_filter();
    let reader = Reader::begin(&target)?;
    Load::new(reader, table, filtered)?.run()
}

/// How rows are passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The client's lines as they are; only the key is looked at.
    Lines,
    /// The client's lines, but every value is converted, because WHERE needs them.
    CheckedLines,
    /// Every row is decoded and encoded again.
    Rows,
}

/// Where the key of a row comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeySource {
    /// The table has no distribution column.
    Nowhere,
    /// A field of the input.
    Field(usize),
    /// The column's default, or NULL when it has none.
    Default,
}

struct Load {
    reader: Reader,
    router: Router,
    keys: KeyToShard,
    source: KeySource,
    way: Way,
    /// Writes whole rows ([`Way::Rows`]).
    writer: Option<RowWriter>,
    /// Gives the text of the defaults.
    encoder: RowEncoder,
    /// Columns whose values precede the client's line.
    defaults: Vec<i32>,
    /// Text of those values and the shard they lead to, while they are the same for all rows.
    fixed: Option<(Vec<u8>, Option<usize>)>,
}

impl Load {
    fn new(reader: Reader, table: Rc<Table>, filtered: bool) -> Result<Load> {
        let options = reader.options();
        let given = reader.attnums().to_vec();
        let defaults = reader.defaults();
        let format = Format::of(options.clone());
        let way = if options.binary || !(defaults.is_empty() || format.takes_any_value()) {
            Way::Rows
        } else if filtered {
            Way::CheckedLines
        } else {
            Way::Lines
        };
        let mut columns = defaults.clone();
        columns.extend(&given);
        let typed = |list: &[i32]| -> Vec<(i32, Oid)> {
            list.iter().map(|a| (*a, reader.column_type(*a))).collect()
        };
        let writer = (way == Way::Rows).then(|| RowWriter::new(&typed(&columns)));
        let format = writer.as_ref().map_or(format, |w| w.format().clone().frozen(options.freeze));
        let encoder = RowEncoder::new(&typed(&defaults), false);
        let keys = KeyToShard::new(table.clone());
        let source = match keys.attno() {
            None => KeySource::Nowhere,
            Some(attno) => match given.iter().position(|a| *a == attno) {
                Some(i) => KeySource::Field(i),
                None => KeySource::Default,
            },
        };
        let prefix = if way == Way::Rows { 0 } else { defaults.len() };
        let names = columns.iter().map(|a| reader.column_name(*a)).collect();
        let to = Destination { table, columns: names, format, prefix };
        let router = Router::new(to)?;
        Ok(Load { reader, router, keys, source, way, writer, encoder, defaults, fixed: None })
    }

    fn run(mut self) -> Result<u64> {
        let rows = match guard::catch_result(|| self.load()) {
            Ok(rows) => rows,
            Err(e) => return Err(self.settle(e)),
        };
        self.reader.report_progress(rows);
        self.reader.end();
        Ok(rows)
    }

    fn load(&mut self) -> Result<u64> {
        match self.way {
            Way::Lines => self.lines()?,
            Way::CheckedLines | Way::Rows => self.rows()?,
        }
        self.router.finish()
    }

    /// The error to report: shards work side by side, but what the client is told is about the
    /// first bad line, as if the table were a plain one.
    fn settle(&self, e: Error) -> Error {
        let about_data = [sqlstate::DATA_EXCEPTION.class(), sqlstate::NOT_NULL_VIOLATION.class()]
            .contains(&e.code.class());
        if !about_data || self.way == Way::Rows {
            return e;
        }
        let at_line = format!("COPY {}, line ", self.router.table_name());
        let line = match self.router.failed_line() {
            Some(line) => Some(line),
            None if e.context.as_deref().is_some_and(|c| c.contains(&at_line)) => {
                Some(self.reader.line_number())
            }
            None => None,
        };
        let columns: Vec<String> =
            self.reader.attnums().iter().map(|a| self.reader.column_name(*a)).collect();
        line.and_then(|l| self.router.first_refused(l, &columns)).map_or(e, |first| first.1)
    }

    /// Passes lines on.
    fn lines(&mut self) -> Result<()> {
        let volatile = self.reader.has_volatile_defaults();
        let scanner = self.scanner();
        loop {
            copy::check_interrupts();
            if let (Some(s), true) = (&scanner, self.fixed.is_some()) {
                self.quick_lines(s)?;
            }
            self.router.pump()?;
            if !self.reader.next_line() {
                return Ok(());
            }
            if volatile || self.fixed.is_none() {
                self.fixed = Some(self.default_prefix()?);
            }
            self.slow_line()?;
            if volatile {
                self.fixed = None;
            }
        }
    }

    /// The quick scanner, when it can find the key.
    fn scanner(&self) -> Option<Scanner> {
        let options = self.reader.options();
        match self.source {
            KeySource::Nowhere | KeySource::Default => Scanner::new(&options, None),
            KeySource::Field(i) if self.keys.takes_text() => Scanner::new(&options, Some(i)),
            KeySource::Field(_) => None,
        }
    }

    /// Takes the plain lines that lie in PostgreSQL's buffer.
    fn quick_lines(&mut self, scanner: &Scanner) -> Result<()> {
        let Load { reader, router, keys, source, fixed, .. } = self;
        let (Some(window), Some((prefix, shard))) = (reader.window(), fixed.as_ref()) else {
            return Ok(());
        };
        let mut number = reader.line_number();
        let (mut used, mut lines) = (0, 0);
        while let Some(line) = scanner.next(window.get(used..).unwrap_or_default()) {
            let shard = match (*source, line.key) {
                (KeySource::Field(_), Some(key)) => keys.of_text(key),
                _ => *shard,
            };
            let Some(shard) = shard else { break };
            number += line.lines;
            lines += line.lines;
            used += line.text.len() + 1;
            router.add_line(shard, prefix, line.text, number)?;
        }
        if used > 0 {
            reader.consume(used, lines);
            reader.report_progress(router.rows());
        }
        Ok(())
    }

    /// Passes on the line that PostgreSQL has split.
    fn slow_line(&mut self) -> Result<()> {
        if !self.reader.is_complete() {
            self.reader.check_line()?;
        }
        let shard = match self.source {
            KeySource::Field(i) => {
                let reader = &mut self.reader;
                match guard::catch(|| reader.value(i)) {
                    Ok(None) => None,
                    Ok(key) => Some(self.keys.of_value(key)?),
                    Err(e) => {
                        // An earlier column may be wrong too, which is to be said first.
                        self.reader.check_line()?;
                        return Err(e);
                    }
                }
            }
            KeySource::Nowhere | KeySource::Default => self.fixed.as_ref().and_then(|f| f.1),
        };
        let Some(shard) = shard else {
            self.reader.check_line()?;
            return Err(self.no_key());
        };
        self.pass_line(shard)
    }

    /// Adds the reader's line to its shard.
    fn pass_line(&mut self, shard: usize) -> Result<()> {
        let Load { reader, router, fixed, .. } = self;
        let prefix = fixed.as_ref().map(|f| f.0.as_slice()).unwrap_or_default();
        let (line, number) = (reader.line(), reader.line_number());
        if prefix.is_empty() && router.format().is_csv() && line.starts_with(b"\\.") {
            // Alone on a line it would end the data; quoted it does not.
            let mut quoted = Vec::with_capacity(line.len() + 8);
            for i in 0..reader.attnums().len() {
                if i > 0 {
                    router.format().append_delimiter(&mut quoted);
                }
                router.format().append(reader.field(i), &mut quoted);
            }
            return router.add_line(shard, b"", &quoted, number);
        }
        router.add_line(shard, prefix, line, number)
    }

    fn no_key(&self) -> Error {
        let column = self.keys.attno().map(|a| self.reader.column_name(a)).unwrap_or_default();
        self.reader.at_line(self.router.null_key(&column))
    }

    /// Text of the defaults for a row, and its shard when the key is among them.
    fn default_prefix(&mut self) -> Result<(Vec<u8>, Option<usize>)> {
        let values = self.reader.default_values();
        let natts = self.reader.natts();
        let (mut datums, mut nulls) = (vec![Datum::from(0usize); natts], vec![true; natts]);
        for (attno, value) in values {
            let at = (attno - 1).max(0) as usize;
            if let (Some(d), Some(n), Some(v)) = (datums.get_mut(at), nulls.get_mut(at), value) {
                (*d, *n) = (v, false);
            }
        }
        self.prefix_of(&datums, &nulls)
    }

    fn prefix_of(&mut self, values: &[Datum], nulls: &[bool]) -> Result<(Vec<u8>, Option<usize>)> {
        let shard = match (self.source, self.keys.attno()) {
            (KeySource::Nowhere, _) => Some(self.keys.of_value(None)?),
            (KeySource::Default, Some(attno)) => match value_at(values, nulls, attno) {
                Some(v) => Some(self.keys.of_value(Some(v))?),
                None => None,
            },
            _ => None,
        };
        let mut prefix = Vec::new();
        if !self.defaults.is_empty() {
            let format = self.router.format();
            self.encoder.text(values, nulls, |v| {
                format.append(v, &mut prefix);
                format.append_delimiter(&mut prefix);
            })?;
        }
        Ok((prefix, shard))
    }

    /// Passes on rows that PostgreSQL has converted and WHERE has let through.
    fn rows(&mut self) -> Result<()> {
        let (mut values, mut nulls): (Vec<Datum>, Vec<bool>) = (Vec::new(), Vec::new());
        let mut since_pump = 0;
        while let Some(row) = self.reader.next_row() {
            values.clear();
            nulls.clear();
            values.extend_from_slice(row.0);
            nulls.extend_from_slice(row.1);
            let shard = match self.keys.attno() {
                None => self.keys.of_value(None)?,
                Some(attno) => match value_at(&values, &nulls, attno) {
                    None => return Err(self.no_key()),
                    key => self.keys.of_value(key)?,
                },
            };
            match &mut self.writer {
                Some(writer) => {
                    let line = Some(self.reader.line_number());
                    self.router.add_with(shard, line, |out| writer.write(&values, &nulls, out))?;
                }
                None => {
                    self.fixed = Some(self.prefix_of(&values, &nulls)?);
                    self.pass_line(shard)?;
                }
            }
            since_pump += 1;
            if since_pump == 256 {
                since_pump = 0;
                self.router.pump()?;
                self.reader.report_progress(self.router.rows());
            }
        }
        Ok(())
    }
}

fn value_at(values: &[Datum], nulls: &[bool], attno: i32) -> Option<Datum> {
    let at = usize::try_from(attno - 1).ok()?;
    match nulls.get(at) {
        Some(false) => values.get(at).copied(),
        _ => None,
    }
}
