//! Errors of shards in the client's terms: the table's name and the line of the client's input.

use super::chunk::Chunk;
use super::format::Format;
use crate::error::Error;
use crate::pg::copy::line_context;

/// What is needed to speak of the table where a shard is meant.
pub struct Names<'a> {
    /// The table.
    pub table: &'a str,
    /// The shard.
    pub shard: &'a str,
    /// The shard's id.
    pub id: i64,
}

/// The client's line that a node's error is about.
pub fn line_of(e: &Error, shard: &str, chunk: &Chunk, format: &Format) -> Option<u64> {
    let marker = format!("COPY {shard}, line ");
    let context = e.context.as_deref()?;
    let rest = context.get(context.find(&marker)? + marker.len()..)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    Some(find(chunk, format, rest.get(..digits)?.parse().ok()?)?.0)
}

/// The error as PostgreSQL would have raised it for the table. `prefix` is the number of fields
/// that were put in front of the client's line.
pub fn translate(
    mut e: Error,
    names: &Names<'_>,
    chunk: &Chunk,
    format: &Format,
    prefix: usize,
) -> Error {
    e.message = rename(&e.message, names);
    e.detail = e.detail.as_deref().map(|text| rename(text, names));
    e.hint = e.hint.as_deref().map(|text| rename(text, names));
    if e.table.as_deref() == Some(names.shard) {
        e.table = Some(names.table.to_owned());
    }
    let suffix = format!("_{}", names.id);
    if let Some(base) = e.constraint.as_deref().and_then(|c| c.strip_suffix(&suffix)) {
        e.constraint = Some(base.to_owned());
    }
    if let Some(context) = &e.context {
        let context = relate(context, names, chunk, format, prefix);
        e.context = (!context.is_empty()).then_some(context);
    }
    e.rethrow = true;
    e
}

/// Puts the client's line in place of the shard's in a context.
fn relate(
    context: &str,
    names: &Names<'_>,
    chunk: &Chunk,
    format: &Format,
    prefix: usize,
) -> String {
    let marker = format!("COPY {}, line ", names.shard);
    let Some(at) = context.find(&marker) else { return rename(context, names) };
    let (before, from) = context.split_at(at);
    let rest = from.get(marker.len()..).unwrap_or_default();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, tail) = rest.split_at(digits);
    // The node's own address follows; the line says enough.
    let (tail, node) =
        tail.rfind("\nwhile executing command on ").map_or((tail, ""), |n| tail.split_at(n));
    let before = rename(before, names);
    let row = number.parse().ok().and_then(|n| find(chunk, format, n));
    let Some((line, text)) = row else {
        // Rows that did not come from a client have no line.
        return format!("{}{node}", before.trim_end_matches('\n'))
            .trim_start_matches('\n')
            .to_owned();
    };
    let whole_line = tail.starts_with(": \"");
    if whole_line && !format.is_binary() {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = format.skip(text, prefix);
        return format!("{before}{}", line_context(names.table, line, Some(text)));
    }
    format!("{before}{}{tail}", line_context(names.table, line, None))
}

/// The row of a chunk that a node calls line `number`, with its line in the client's input.
fn find<'a>(chunk: &'a Chunk, format: &Format, number: u64) -> Option<(u64, &'a [u8])> {
    if !format.is_csv() {
        return chunk.row(usize::try_from(number.checked_sub(1)?).ok()?);
    }
    let mut seen = 0;
    for i in 0..chunk.marked() {
        let (line, text) = chunk.row(i)?;
        seen += 1 + format.inner_lines(text, i == 0);
        if seen >= number {
            return Some((line, text));
        }
    }
    None
}

/// Takes the shard's id from quoted names.
fn rename(text: &str, names: &Names<'_>) -> String {
    let text = text.replace(&format!("\"{}\"", names.shard), &format!("\"{}\"", names.table));
    text.replace(&format!("_{}\"", names.id), "\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{sqlstate, Error};

    const NAMES: Names<'static> = Names { table: "t", shard: "t_102008", id: 102008 };

    fn chunk() -> Chunk {
        let mut c = Chunk::new(0);
        c.push_line(b"9\t", b"1\ta", 4);
        c.push_line(b"9\t", b"2\tb", 17);
        c
    }

    fn context(text: &str) -> Option<String> {
        let e = Error::new(sqlstate::INVALID_TEXT_REPRESENTATION, "x").context(text);
        translate(e, &NAMES, &chunk(), &Format::text(), 1).context.clone()
    }

    #[test]
    fn lines_are_the_clients() {
        assert_eq!(
            context("COPY t_102008, line 2: \"9\t2\tb\"\nwhile executing command on h:1")
                .as_deref(),
            Some("COPY t, line 17: \"2\tb\"")
        );
        assert_eq!(
            context("f\nCOPY t_102008, line 1, column a: \"x\"\nwhile executing command on h:1")
                .as_deref(),
            Some("f\nCOPY t, line 4, column a: \"x\"")
        );
        assert_eq!(context("COPY t_102008, line 2").as_deref(), Some("COPY t, line 17"));
        assert_eq!(context("elsewhere").as_deref(), Some("elsewhere"));
        // Rows of a query have none.
        assert_eq!(context("COPY t_102008, line 9, column a: \"x\""), None);
        assert_eq!(
            context("COPY t_102008, line 9\nwhile executing command on h:1").as_deref(),
            Some("while executing command on h:1")
        );
    }

    #[test]
    fn names_lose_the_id() {
        let mut e = Error::new(
            sqlstate::UNIQUE_VIOLATION,
            "duplicate key value violates unique constraint \"t_pkey_102008\"",
        )
        .detail("Key (a)=(x_102008) already exists.");
        e.constraint = Some("t_pkey_102008".into());
        e.table = Some("t_102008".into());
        let e = translate(e, &NAMES, &chunk(), &Format::text(), 0);
        assert_eq!(e.message, "duplicate key value violates unique constraint \"t_pkey\"");
        assert_eq!(e.detail.as_deref(), Some("Key (a)=(x_102008) already exists."));
        assert_eq!((e.constraint.as_deref(), e.table.as_deref()), (Some("t_pkey"), Some("t")));
    }
}
