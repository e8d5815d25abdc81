//! The format of the data that goes to shards: its clause in COPY, and values in it.

use crate::pg::copy::{server_encoding, Options};
use crate::pg::fmgr::{quote_ident, quote_literal};

/// Header of COPY's binary format: signature, flags, length of the extension.
pub const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// End of COPY's binary format.
pub const BINARY_TRAILER: &[u8] = b"\xff\xff";

/// The format of a stream to shards.
#[derive(Clone, Debug)]
pub struct Format {
    options: Options,
}

impl Format {
    /// The client's own format: lines are passed on as they are.
    pub fn of(options: Options) -> Format {
        Format { options }
    }

    /// The binary format.
    pub fn binary() -> Format {
        Format { options: Options { binary: true, ..plain() } }
    }

    /// PostgreSQL's default text format.
    pub fn text() -> Format {
        Format { options: plain() }
    }

    /// The same with FREEZE, which every shard then allows or refuses as PostgreSQL does.
    pub fn frozen(mut self, freeze: bool) -> Format {
        self.options.freeze = freeze;
        self
    }

    /// Whether it is the binary format.
    pub fn is_binary(&self) -> bool {
        self.options.binary
    }

    /// Whether it is CSV.
    pub fn is_csv(&self) -> bool {
        self.options.csv
    }

    /// Whether every value can be written: an empty value cannot be told from NULL in text format
    /// when the NULL marker is empty.
    pub fn takes_any_value(&self) -> bool {
        self.options.binary || self.options.csv || !self.options.null.is_empty()
    }

    /// The parenthesized options of COPY FROM. Data is in the server's encoding by now.
    pub fn clause(&self) -> String {
        let o = &self.options;
        if o.binary {
            return if o.freeze { "(FORMAT binary, FREEZE)" } else { "(FORMAT binary)" }.to_owned();
        }
        let byte = |b: u8| quote_literal(&char::from(b).to_string());
        let mut parts = vec![
            format!("FORMAT {}", if o.csv { "csv" } else { "text" }),
            format!("DELIMITER {}", byte(o.delimiter)),
            format!("NULL {}", quote_literal(&String::from_utf8_lossy(&o.null))),
            format!("ENCODING {}", quote_literal(&server_encoding())),
        ];
        if o.freeze {
            parts.push("FREEZE".to_owned());
        }
        if o.csv {
            parts.push(format!("QUOTE {}", byte(o.quote)));
            parts.push(format!("ESCAPE {}", byte(o.escape)));
            let list = |names: &[String]| {
                names.iter().map(|n| quote_ident(n)).collect::<Vec<_>>().join(", ")
            };
            if !o.force_not_null.is_empty() {
                parts.push(format!("FORCE_NOT_NULL ({})", list(&o.force_not_null)));
            }
            if !o.force_null.is_empty() {
                parts.push(format!("FORCE_NULL ({})", list(&o.force_null)));
            }
        }
        format!("({})", parts.join(", "))
    }

    /// Appends a value of text or CSV format, without delimiter.
    pub fn append(&self, value: Option<&[u8]>, out: &mut Vec<u8>) {
        let o = &self.options;
        let Some(value) = value else {
            out.extend_from_slice(&o.null);
            return;
        };
        if o.csv {
            out.push(o.quote);
            for b in value {
                if *b == o.quote || *b == o.escape {
                    out.push(o.escape);
                }
                out.push(*b);
            }
            out.push(o.quote);
            return;
        }
        let start = out.len();
        self.append_escaped(value, out);
        // Looks like the NULL marker: spell its first byte in octal.
        if out.get(start..) == Some(o.null.as_slice()) {
            if let Some((first, rest)) = value.split_first() {
                out.truncate(start);
                out.extend_from_slice(format!("\\{first:03o}").as_bytes());
                self.append_escaped(rest, out);
            }
        }
    }

    /// Appends bytes as text format spells them.
    fn append_escaped(&self, value: &[u8], out: &mut Vec<u8>) {
        for b in value {
            match b {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b if *b == self.options.delimiter => out.extend_from_slice(&[b'\\', *b]),
                b => out.push(*b),
            }
        }
    }

    /// Appends the delimiter.
    pub fn append_delimiter(&self, out: &mut Vec<u8>) {
        out.push(self.options.delimiter);
    }

    /// What is left of a line behind its first `fields` fields, which [`Format::append`] wrote.
    pub fn skip<'a>(&self, line: &'a [u8], fields: usize) -> &'a [u8] {
        let o = &self.options;
        let mut at = 0;
        for _ in 0..fields {
            let mut quoted = false;
            while let Some(&b) = line.get(at) {
                at += 1;
                if o.csv {
                    if quoted
                        && b == o.escape
                        && matches!(line.get(at), Some(c) if *c == o.quote || *c == o.escape)
                    {
                        at += 1;
                    } else if b == o.quote {
                        quoted = !quoted;
                    } else if b == o.delimiter && !quoted {
                        break;
                    }
                } else if b == b'\\' {
                    at += 1;
                } else if b == o.delimiter {
                    break;
                }
            }
        }
        line.get(at..).unwrap_or_default()
    }

    /// What PostgreSQL adds to its line count for line ends inside of quotes. It counts another
    /// character in the first line, where it does not know yet how lines end.
    pub fn inner_lines(&self, line: &[u8], first: bool) -> u64 {
        let o = &self.options;
        if !o.csv {
            return 0;
        }
        let counted = if first { b'\r' } else { b'\n' };
        let escape = if o.escape == o.quote { 0 } else { o.escape };
        let (mut quoted, mut escaped, mut n) = (false, false, 0);
        for &b in line {
            if quoted && b == escape {
                escaped = !escaped;
            }
            if b == o.quote && !escaped {
                quoted = !quoted;
            }
            if b != escape {
                escaped = false;
            }
            if quoted && b == counted {
                n += 1;
            }
        }
        n
    }
}

fn plain() -> Options {
    Options {
        binary: false,
        csv: false,
        delimiter: b'\t',
        quote: 0,
        escape: 0,
        null: b"\\N".to_vec(),
        force_not_null: Vec::new(),
        force_null: Vec::new(),
        freeze: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(quote: u8, escape: u8) -> Format {
        let delimiter = b',';
        Format::of(Options { csv: true, quote, escape, delimiter, null: vec![], ..plain() })
    }

    fn written(f: &Format, values: &[Option<&str>]) -> Vec<u8> {
        let mut out = Vec::new();
        for v in values {
            f.append(v.map(str::as_bytes), &mut out);
            f.append_delimiter(&mut out);
        }
        out
    }

    #[test]
    fn what_is_written_can_be_skipped() {
        let values = [Some("a\tb\\c\n,\"'"), None, Some(""), Some("x\"\"y,\\")];
        for f in [Format::text(), csv(b'"', b'"'), csv(b'\'', b'\\')] {
            let mut line = written(&f, &values);
            line.extend_from_slice(b"rest\\N,\t");
            assert_eq!(f.skip(&line, values.len()), b"rest\\N,\t");
            assert_eq!(f.skip(&line, 0), line.as_slice());
        }
    }

    #[test]
    fn values_that_look_like_null() {
        let f = Format::of(Options { null: b"none".to_vec(), ..plain() });
        assert_eq!(written(&f, &[Some("none"), None, Some("nones")]), b"\\156one\tnone\tnones\t");
        assert_eq!(written(&Format::text(), &[Some("\\N")]), b"\\\\N\t");
    }

    #[test]
    fn lines_inside_quotes() {
        let f = csv(b'"', b'"');
        assert_eq!(f.inner_lines(b"\"a\nb\r\nc\",1", false), 2);
        assert_eq!(f.inner_lines(b"\"a\nb\r\nc\",1", true), 1);
        assert_eq!(Format::text().inner_lines(b"\"a\n\"", false), 0);
    }
}
