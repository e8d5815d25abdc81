//! Finding line ends and the key in raw text and CSV.
//!
//! The scanner takes lines that are plain under every rule of PostgreSQL's parser and leaves all
//! others (errors, end-of-copy marker, escaped line ends, NULL or escaped keys, incomplete lines)
//! to it, so it can only be fast, not different. It sees input whose encoding was checked and
//! whose lines end with a lone `\n`.

use memchr::{memchr, memchr2, memchr3, memchr_iter};

/// The format, as far as it matters for finding lines and one field.
#[derive(Clone, Debug)]
pub struct Scanner {
    csv: bool,
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    key: Option<usize>,
}

/// A line of plain form.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without its end; the input goes on one byte after it.
    pub text: &'a [u8],
    /// The key's field, ready for the type's input function; `None` when no key was asked for.
    pub key: Option<&'a [u8]>,
    /// What the line adds to PostgreSQL's line count: more than 1 with line ends inside quotes.
    pub lines: u64,
}

impl Scanner {
    /// A scanner that looks for field `key` (zero-based), or for lines only. `None` when the
    /// format has characters that play two roles.
    pub fn new(options: &crate::pg::copy::Options, key: Option<usize>) -> Option<Scanner> {
        let line_end = |c: u8| c == b'\n' || c == b'\r';
        let odd = options.binary
            || (options.csv && (line_end(options.quote) || line_end(options.escape)))
            || (options.csv && options.escape == options.delimiter);
        (!odd).then(|| Scanner {
            csv: options.csv,
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape,
            null: options.null.clone(),
            key,
        })
    }

    /// The next line at the start of `input`, if it is a plain one.
    pub fn next<'a>(&self, input: &'a [u8]) -> Option<Line<'a>> {
        let (end, lines) = if self.csv { self.end_of_csv(input)? } else { end_of_text(input)? };
        let text = input.get(..end)?;
        let key = match self.key {
            None => None,
            Some(k) => Some(if self.csv { self.csv_key(text, k) } else { self.text_key(text, k) }?),
        };
        Some(Line { text, key, lines })
    }

    /// End of a CSV line and its number of physical lines.
    fn end_of_csv(&self, input: &[u8]) -> Option<(usize, u64)> {
        // At the start of a line a backslash may begin the end-of-copy marker.
        if input.first() == Some(&b'\\') {
            return None;
        }
        let mut at = 0;
        let mut quoted = false;
        loop {
            at += memchr3(b'\n', self.quote, b'\r', input.get(at..)?)?;
            match *input.get(at)? {
                b'\r' => return None,
                b'\n' => break,
                _ => {
                    at = self.end_of_quote(input, at + 1)?;
                    quoted = true;
                }
            }
        }
        let inside = if quoted { memchr_iter(b'\n', input.get(..at)?).count() as u64 } else { 0 };
        Some((at, inside + 1))
    }

    /// Where a quoted part that starts at `at` is over (one after the closing quote).
    fn end_of_quote(&self, input: &[u8], mut at: usize) -> Option<usize> {
        if self.quote == self.escape {
            return Some(at + memchr(self.quote, input.get(at..)?)? + 1);
        }
        loop {
            at += memchr2(self.quote, self.escape, input.get(at..)?)?;
            if *input.get(at)? == self.quote {
                return Some(at + 1);
            }
            at += 2;
        }
    }

    fn text_key<'a>(&self, line: &'a [u8], field: usize) -> Option<&'a [u8]> {
        let mut at = 0;
        for _ in 0..field {
            at = loop {
                at += memchr2(self.delimiter, b'\\', line.get(at..)?)?;
                if *line.get(at)? == self.delimiter {
                    break at + 1;
                }
                at += 2;
            };
        }
        let rest = line.get(at..)?;
        let key = match memchr2(self.delimiter, b'\\', rest) {
            None => rest,
            Some(n) if *rest.get(n)? == self.delimiter => rest.get(..n)?,
            Some(_) => return None,
        };
        (key != self.null).then_some(key)
    }

    fn csv_key<'a>(&self, line: &'a [u8], field: usize) -> Option<&'a [u8]> {
        let mut at = 0;
        for _ in 0..field {
            at = loop {
                at += memchr2(self.delimiter, self.quote, line.get(at..)?)?;
                if *line.get(at)? == self.delimiter {
                    break at + 1;
                }
                at = self.end_of_quote(line, at + 1)?;
            };
        }
        let rest = line.get(at..)?;
        let key = if rest.first() == Some(&self.quote) {
            // Only a field that is quoted as a whole and has nothing escaped.
            let end = memchr2(self.quote, self.escape, rest.get(1..)?)? + 1;
            if *rest.get(end)? != self.quote {
                return None;
            }
            match rest.get(end + 1) {
                None => {}
                Some(c) if *c == self.delimiter => {}
                Some(_) => return None,
            }
            rest.get(1..end)?
        } else {
            match memchr2(self.delimiter, self.quote, rest) {
                None => rest,
                Some(n) if *rest.get(n)? == self.delimiter => rest.get(..n)?,
                Some(_) => return None,
            }
        };
        (key != self.null).then_some(key)
    }
}

/// End of a line of text format.
fn end_of_text(input: &[u8]) -> Option<(usize, u64)> {
    let mut at = 0;
    loop {
        at += memchr3(b'\n', b'\\', b'\r', input.get(at..)?)?;
        match *input.get(at)? {
            b'\n' => return Some((at, 1)),
            b'\r' => return None,
            _ => match *input.get(at + 1)? {
                b'.' | b'\n' | b'\r' => return None,
                _ => at += 2,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::copy::Options;

    fn options(csv: bool, escape: u8) -> Options {
        Options {
            binary: false,
            csv,
            delimiter: if csv { b',' } else { b'\t' },
            quote: b'"',
            escape,
            null: if csv { vec![] } else { b"\\N".to_vec() },
            force_not_null: vec![],
            force_null: vec![],
            freeze: false,
        }
    }

    fn scan(csv: bool, key: usize, input: &str) -> Option<(String, String, u64)> {
        let s = Scanner::new(&options(csv, b'"'), Some(key))?;
        let l = s.next(input.as_bytes())?;
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Some((text(l.text), text(l.key?), l.lines))
    }

    fn some(text: &str, key: &str, lines: u64) -> Option<(String, String, u64)> {
        Some((text.into(), key.into(), lines))
    }

    #[test]
    fn text_lines() {
        assert_eq!(scan(false, 0, "1\tb\nrest"), some("1\tb", "1", 1));
        assert_eq!(scan(false, 1, "a\\\tb\t2\n"), some("a\\\tb\t2", "2", 1));
        assert_eq!(scan(false, 1, "\\N\t2\t\\N\n"), some("\\N\t2\t\\N", "2", 1));
        assert_eq!(scan(false, 0, "\\N\t2\n"), None);
        assert_eq!(scan(false, 2, "1\t2\n"), None);
        assert_eq!(scan(false, 0, "1\t2"), None);
        assert_eq!(scan(false, 0, "1\t\\.\n"), None);
        assert_eq!(scan(false, 0, "1\t\\\n2\n"), None);
        assert_eq!(scan(false, 0, "1\tb\r\n"), None);
        assert_eq!(scan(false, 0, "\\.\n"), None);
        assert_eq!(scan(false, 0, "1\t\\\\\n"), some("1\t\\\\", "1", 1));
        assert_eq!(scan(false, 0, "1\\"), None);
    }

    #[test]
    fn csv_lines() {
        assert_eq!(scan(true, 0, "1,b\nrest"), some("1,b", "1", 1));
        assert_eq!(scan(true, 1, "\"a,\n\"\"b\",2\n"), some("\"a,\n\"\"b\",2", "2", 2));
        assert_eq!(scan(true, 1, "x,\"k\"\n"), some("x,\"k\"", "k", 1));
        assert_eq!(scan(true, 0, "\"k\",x\n"), some("\"k\",x", "k", 1));
        assert_eq!(scan(true, 0, "\"k\"\"l\",x\n"), None);
        assert_eq!(scan(true, 0, "k\"l\",x\n"), None);
        assert_eq!(scan(true, 0, ",x\n"), None);
        assert_eq!(scan(true, 0, "\"\",x\n"), None);
        assert_eq!(scan(true, 0, "\\.\n"), None);
        assert_eq!(scan(true, 0, "\"open\n"), None);
        assert_eq!(scan(true, 0, "1,\"a\r\nb\"\n"), some("1,\"a\r\nb\"", "1", 2));
        assert_eq!(scan(true, 0, "1,a\r\n"), None);
    }

    #[test]
    fn csv_with_another_escape() {
        let s = Scanner::new(&options(true, b'\\'), Some(1)).map(|s| {
            s.next(b"\"a\\\"\n,\\\\\",7\nx")
                .map(|l| (l.text.len(), l.key.map(<[u8]>::to_vec), l.lines))
        });
        assert_eq!(s, Some(Some((11, Some(b"7".to_vec()), 2))));
    }

    #[test]
    fn odd_formats_are_left_alone() {
        assert!(Scanner::new(&options(true, b'\n'), None).is_none());
        assert!(Scanner::new(&options(true, b','), None).is_none());
    }
}
