//! Errors of shards in the client's terms: names of tables, indexes and constraints without the
//! shard's id, exactly as the table's own catalogs have them.

use super::names::shard_name;
use crate::catalog;
use crate::error::{sqlstate, Error};
use crate::pg::relation;

/// An error of a task on a shard (0: on none), with the names of shards, their indexes and
/// constraints turned back into the table's, also those of other tables that foreign keys bring
/// in. Only whether `shard` is 0 matters: names say which shards are meant.
pub fn unshard_error(mut e: Error, shard: i64) -> Error {
    if shard == 0 {
        return e;
    }
    let names = Names::find(&e);
    if names.0.is_empty() {
        return e;
    }
    e.message = names.restore(&e.message, false);
    // Details show values, which may look like names but are not in quotes.
    e.detail = e.detail.take().map(|t| names.restore(&t, true));
    let restored = |field: Option<String>| field.map(|t| names.restore(&t, false));
    e.hint = restored(e.hint.take());
    e.context = restored(e.context.take());
    e.table = restored(e.table.take());
    e.constraint = restored(e.constraint.take());
    e
}

/// [`unshard_error`] for a statement that failed in this backend.
pub fn unshard_local_error(e: Error, shard: i64) -> Error {
    // Catalogs are read although the failed statement is not rolled back yet. That is safe unless
    // the error came from within the storage, which may hold locks that reading needs.
    let storage = [
        sqlstate::INTERNAL_ERROR.class(),
        sqlstate::IO_ERROR.class(),
        sqlstate::INSUFFICIENT_RESOURCES.class(),
        sqlstate::ADMIN_SHUTDOWN.class(),
    ];
    if e.level > 0 || storage.contains(&e.code.class()) {
        return e;
    }
    unshard_error(e, shard)
}

/// Names on a node and what the table calls them, longest first.
pub struct Names(Vec<(String, String)>);

impl Names {
    /// The names of all shards that an error speaks of.
    pub fn find(e: &Error) -> Names {
        let fields = [&e.detail, &e.hint, &e.context, &e.table, &e.constraint];
        let mut ids = ids_in(&e.message);
        for text in fields.into_iter().flatten() {
            ids.extend(ids_in(text));
        }
        ids.sort_unstable();
        ids.dedup();
        let mut names = Vec::new();
        for id in ids {
            let Some(relid) = catalog::relation_of_shard(id) else { continue };
            for own in relation::names(relid) {
                names.push((shard_name(&own, id), own));
            }
        }
        names.sort_by_key(|n| std::cmp::Reverse(n.0.len()));
        Names(names)
    }

    /// The text with the table's names; with `quoted`, only names in quotes are looked at.
    pub fn restore(&self, text: &str, quoted: bool) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut last = None;
        while let Some(c) = rest.chars().next() {
            let starts =
                if quoted { last.is_some_and(is_quote) } else { !last.is_some_and(in_name) };
            let found = self.0.iter().find(|(name, _)| {
                starts
                    && rest.strip_prefix(name.as_str()).is_some_and(|after| {
                        let next = after.chars().next();
                        if quoted {
                            next.is_some_and(is_quote)
                        } else {
                            !next.is_some_and(in_name)
                        }
                    })
            });
            let (taken, new) = match found {
                Some((name, own)) => (name.len(), own.as_str()),
                None => (c.len_utf8(), rest.get(..c.len_utf8()).unwrap_or_default()),
            };
            out.push_str(new);
            last = rest.get(..taken).and_then(|t| t.chars().next_back());
            rest = rest.get(taken..).unwrap_or_default();
        }
        out
    }
}

fn in_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Quotation marks of PostgreSQL's messages in its languages.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '«' | '»' | '„' | '“' | '”' | '‚' | '‘' | '’' | '\u{a0}')
}

/// Numbers that stand where names have their shard's id: after an underscore, at a name's end.
fn ids_in(text: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    for (at, _) in text.match_indices('_') {
        let part = text.get(at + 1..).unwrap_or_default();
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = part.split_at(digits);
        if !after.chars().next().is_some_and(in_name) {
            ids.extend(number.parse::<i64>().ok());
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut long = "x".repeat(63);
        long.truncate(63);
        Names(vec![
            (shard_name(&long, 102008), long),
            ("t_pkey_102008".into(), "t_pkey".into()),
            ("t_102008".into(), "t".into()),
        ])
    }

    #[test]
    fn ids() {
        let text = "\"a_b_102008\" t_102009: _ x_1y z_7_ \u{e4}_5";
        assert_eq!(ids_in(text), vec![102008, 102009, 5]);
    }

    #[test]
    fn names_are_the_tables() {
        let n = names();
        assert_eq!(
            n.restore("relation \"t_102008\" \"t_pkey_102008\", xt_102008 t_1020081", false),
            "relation \"t\" \"t_pkey\", xt_102008 t_1020081"
        );
        let long = "x".repeat(63);
        let text = format!("\u{ab}{}\u{bb}", shard_name(&long, 102008));
        assert_eq!(n.restore(&text, true), format!("\u{ab}{long}\u{bb}"));
    }

    #[test]
    fn values_in_details_stay() {
        let text = "Key (a)=(t_102008) is not present in table \"t_102008\".";
        assert_eq!(
            names().restore(text, true),
            "Key (a)=(t_102008) is not present in table \"t\"."
        );
    }
}
