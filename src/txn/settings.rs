//! Settings follow the client's session to every node.

use crate::pg::guc_scan;
use crate::remote::Settings;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

/// Settings whose values every node accepts: changing them cannot fail.
const SAFE: &[&str] = &[
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "bytea_output",
    "extra_float_digits",
    "lock_timeout",
    "search_path",
    "work_mem",
];

/// What a node's session should have now. The same value is given back while nothing changes.
pub(super) fn wanted() -> Rc<Settings> {
    thread_local! {
        static LAST: RefCell<(u64, Rc<Settings>)> = RefCell::default();
    }
    let print = guc_scan::fingerprint();
    LAST.with(|last| {
        let mut last = last.borrow_mut();
        if last.0 != print {
            let now = guc_scan::followed();
            last.0 = print;
            // Equal lists stay the same one, which is what sessions compare first.
            if *last.1 != now {
                last.1 = Rc::new(now);
            }
        }
        last.1.clone()
    })
}

/// Commands that turn one state into another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The commands; empty when there is nothing to do.
    pub sql: String,
    /// A node may refuse one of them.
    pub risky: bool,
}

/// The difference between what a session has and what it should have.
pub(super) fn change(have: &Rc<Settings>, want: &Rc<Settings>, local: bool) -> Change {
    let mut c = Change::default();
    if Rc::ptr_eq(have, want) || have == want {
        return c;
    }
    let scope = if local { "LOCAL " } else { "" };
    let (mut h, mut w) = (have.iter().peekable(), want.iter().peekable());
    loop {
        let order = match (h.peek(), w.peek()) {
            (None, None) => return c,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.0.cmp(&b.0),
        };
        let (name, value) = match order {
            Ordering::Less => (h.next(), None),
            Ordering::Greater => (w.next(), None),
            Ordering::Equal => (h.next(), w.next()),
        };
        let Some((name, old)) = name else { return c };
        match (order, value) {
            (Ordering::Equal, Some((_, new))) if new == old => continue,
            (Ordering::Equal, Some((_, new))) => add(&mut c, scope, name, new),
            (Ordering::Less, _) => add(&mut c, scope, name, "DEFAULT"),
            _ => add(&mut c, scope, name, old),
        }
    }
}

fn add(c: &mut Change, scope: &str, name: &str, value: &str) {
    c.sql.push_str("SET ");
    c.sql.push_str(scope);
    c.sql.push_str(name);
    c.sql.push_str(" TO ");
    c.sql.push_str(value);
    c.sql.push(';');
    c.risky |= value != "DEFAULT" && !SAFE.contains(&name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Rc<Settings> {
        Rc::new(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    #[test]
    fn only_differences() {
        let a = set(&[("TimeZone", "'UTC'"), ("a.b", "'1'"), ("search_path", "pg_catalog")]);
        let b = set(&[("TimeZone", "'UTC'"), ("search_path", "x"), ("work_mem", "'1MB'")]);
        assert_eq!(change(&a, &a, false), Change::default());
        let c = change(&a, &b, false);
        assert_eq!(c.sql, "SET a.b TO DEFAULT;SET search_path TO x;SET work_mem TO '1MB';");
        assert!(!c.risky);
        let c = change(&b, &a, true);
        assert!(c.risky && c.sql.contains("SET LOCAL a.b TO '1'"));
    }
}
