//! From a key to its shard.

use crate::catalog::{Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::copy;
use pgrx::pg_sys::{self, Datum};
use std::rc::Rc;

/// Types whose text is turned into a value here; others need their input function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shortcut {
    Int2,
    Int4,
    Int8,
    Uuid,
    Text,
    None,
}

/// Finds the shard of a row.
pub struct KeyToShard {
    table: Rc<Table>,
    shortcut: Shortcut,
}

impl KeyToShard {
    /// For a table.
    pub fn new(table: Rc<Table>) -> KeyToShard {
        let plain_text = table.key.as_ref().is_some_and(|k| copy::is_deterministic(k.collation));
        let shortcut = match table.key.as_ref().map(|k| (k.typ, k.typmod)) {
            Some((pg_sys::INT2OID, _)) => Shortcut::Int2,
            Some((pg_sys::INT4OID, _)) => Shortcut::Int4,
            Some((pg_sys::INT8OID, _)) => Shortcut::Int8,
            Some((pg_sys::UUIDOID, _)) => Shortcut::Uuid,
            Some((pg_sys::TEXTOID, _) | (pg_sys::VARCHAROID, -1)) if plain_text => Shortcut::Text,
            _ => Shortcut::None,
        };
        KeyToShard { table, shortcut }
    }

    /// Attribute number of the key; `None` where all rows go to the one shard.
    pub fn attno(&self) -> Option<i32> {
        self.table.key.as_ref().map(|k| i32::from(k.attno))
    }

    /// Whether [`KeyToShard::of_text`] can answer.
    pub fn takes_text(&self) -> bool {
        self.table.kind != Kind::Hash || self.shortcut != Shortcut::None
    }

    /// The shard of a key in plain text form; `None` when that is not so simple.
    pub fn of_text(&self, text: &[u8]) -> Option<usize> {
        let hash = match self.shortcut {
            Shortcut::Int2 => copy::hash_int4(i16::try_from(integer(text)?).ok()?.into()),
            Shortcut::Int4 => copy::hash_int4(i32::try_from(integer(text)?).ok()?),
            Shortcut::Int8 => copy::hash_int8(integer(text)?),
            Shortcut::Uuid => copy::hash_data(&uuid(text)?),
            Shortcut::Text => copy::hash_data(text),
            Shortcut::None => return None,
        };
        self.table.shard_index(hash)
    }

    /// The shard of a row with this key; without a key, the only shard.
    pub fn of_value(&self, key: Option<Datum>) -> Result<usize> {
        let Some(k) = &self.table.key else {
            return if self.table.shards.is_empty() { Err(uncovered()) } else { Ok(0) };
        };
        let value = key.ok_or_else(|| Error::internal("no value for the distribution column"))?;
        self.table.shard_index(k.hash(value)).ok_or_else(uncovered)
    }
}

fn uncovered() -> Error {
    Error::new(sqlstate::DATA_CORRUPTED, "there is no shard for this row")
        .hint("The shards of the table do not cover all hash values.")
}

/// The error about a row without key.
pub fn null_key(schema: &str, table: &str, column: &str) -> Error {
    let what = format!(
        "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
    );
    let mut e = Error::new(sqlstate::NOT_NULL_VIOLATION, what)
        .hint("It is the distribution column: its value decides where the row is stored.");
    e.schema = Some(schema.to_owned());
    e.table = Some(table.to_owned());
    e.column = Some(column.to_owned());
    e
}

/// A plain decimal integer: at most 18 digits, perhaps a minus.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut n = 0i64;
    for d in digits {
        if !d.is_ascii_digit() {
            return None;
        }
        n = n * 10 + i64::from(d - b'0');
    }
    Some(if negative { -n } else { n })
}

/// A uuid in its usual form, 8-4-4-4-12 hexadecimal digits.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut out = [0u8; 16];
    let mut digits = 0;
    for (i, c) in text.iter().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            if *c != b'-' {
                return None;
            }
            continue;
        }
        let v = char::from(*c).to_digit(16)? as u8;
        let byte = out.get_mut(digits / 2)?;
        *byte = (*byte << 4) | v;
        digits += 1;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"-42"), Some(-42));
        assert_eq!(integer(b"999999999999999999"), Some(999_999_999_999_999_999));
        for bad in [&b""[..], b"-", b"+1", b" 1", b"1 ", b"1.0", b"1e3", b"9223372036854775807"] {
            assert_eq!(integer(bad), None);
        }
    }

    #[test]
    fn uuids() {
        let u = uuid(b"A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11");
        assert_eq!(u.map(|b| (b[0], b[15])), Some((0xa0, 0x11)));
        assert_eq!(uuid(b"a0eebc999c0b4ef8bb6d6bb9bd380a11"), None);
        assert_eq!(uuid(b"a0eebc99-9c0b-4ef8-bb6d_6bb9bd380a11"), None);
        assert_eq!(uuid(b"g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), None);
    }
}
