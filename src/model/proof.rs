//! How a call proves that another node of the cluster makes it.
//!
//! The caller and the node share a secret. The proof is a keyed hash (HMAC-SHA256) of everything
//! that makes the call this one: the connection, who is logged in and acts on it, the function, its
//! arguments, and a number that grows from call to call. So it is of no use in another connection,
//! for another user, for other arguments, or a second time: whoever reads it in a log or in
//! `pg_stat_activity` has learnt nothing, and SQL of a user that runs in the same session cannot
//! borrow it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write;

/// The function by which a node says that it is one.
pub const INTRODUCTION: &str = "citus_internal_introduce";

/// The function by which a node is told as whom the statements that follow run.
pub const ACT_AS: &str = "citus_internal_act_as";

/// The arguments of a call of [`ACT_AS`].
pub fn acting(role: &str, restricted: bool) -> Arguments {
    let mut arguments = Arguments::default();
    arguments.text(role);
    arguments.text(&restricted.to_string());
    arguments
}

/// A call of [`ACT_AS`], from its arguments as literals.
pub fn acting_call(role: &str, restricted: bool, proof: Option<&str>) -> String {
    format!("SELECT pg_catalog.{ACT_AS}({role}, {restricted}, {})", proof.unwrap_or("NULL"))
}

/// What a proof is about, apart from the function and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// Process id and cancel key of the backend, which its client alone was told; or the text that
    /// the backend asked for, where a pooler is in between. See [`direct`] and [`asked`].
    pub connection: &'a str,
    /// Who logged in.
    pub login: &'a str,
    /// The database.
    pub database: &'a str,
    /// As whom the call is made.
    pub role: &'a str,
    /// Greater than in all calls before on this connection.
    pub number: u64,
}

/// A connection by what the backend told its client when it started.
pub fn direct(pid: i32, cancel_key: i32) -> String {
    format!("backend {pid} {cancel_key}")
}

/// A connection by a random text that its backend just gave out.
pub fn asked(text: &str) -> String {
    format!("asked {text}")
}

/// Arguments in a form that is the same on both sides and different for different arguments.
#[derive(Default)]
pub struct Arguments(Vec<u8>);

impl Arguments {
    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.0.extend((text.len() as u64).to_be_bytes());
        self.0.extend(text.as_bytes());
    }

    /// Adds a list of texts.
    pub fn list<T: AsRef<str>>(&mut self, list: impl ExactSizeIterator<Item = T>) {
        self.0.extend((list.len() as u64).to_be_bytes());
        list.for_each(|t| self.text(t.as_ref()));
    }
}

fn hash(secret: &str, c: &Circumstances, function: &str, args: &Arguments) -> Option<Hmac<Sha256>> {
    let mut all = Arguments::default();
    all.list(["citus proof 1", c.connection, c.login, c.database, c.role, function].iter());
    all.0.extend(c.number.to_be_bytes());
    let mut hash = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    hash.update(&all.0);
    hash.update(&args.0);
    Some(hash)
}

/// The proof as text. `None` without a secret.
pub fn make(secret: &str, c: &Circumstances, function: &str, args: &Arguments) -> Option<String> {
    if secret.is_empty() {
        return None;
    }
    let mut text = format!("{}:", c.number);
    for byte in hash(secret, c, function, args)?.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// The number of the call that a proof is for.
pub fn number(proof: &str) -> Option<u64> {
    proof.split_once(':')?.0.parse().ok()
}

/// Whether a proof is right. Takes as long for a wrong one as for a right one.
pub fn is_right(
    proof: &str,
    secret: &str,
    c: &Circumstances,
    function: &str,
    args: &Arguments,
) -> bool {
    let Some((_, digits)) = proof.split_once(':') else { return false };
    let (Some(given), Some(hash)) = (bytes(digits), hash(secret, c, function, args)) else {
        return false;
    };
    !secret.is_empty() && hash.verify_slice(&given).is_ok()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|i| digits.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: Circumstances<'static> = Circumstances {
        connection: "backend 1 2",
        login: "alice",
        database: "shop",
        role: "app",
        number: 7,
    };

    fn args(texts: &[&str]) -> Arguments {
        let mut a = Arguments::default();
        a.list(texts.iter());
        a
    }

    #[test]
    fn a_proof_is_for_one_call_only() {
        let right = make("secret", &C, "f", &args(&["a", "b"])).unwrap_or_default();
        assert!(right.starts_with("7:") && right.len() == 66, "{right}");
        assert_eq!(number(&right), Some(7));
        let check = |p: &str, secret: &str, c: &Circumstances, f: &str, a: &[&str]| {
            is_right(p, secret, c, f, &args(a))
        };
        assert!(check(&right, "secret", &C, "f", &["a", "b"]));
        assert!(!check(&right, "other", &C, "f", &["a", "b"]));
        assert!(!check(&right, "", &C, "f", &["a", "b"]));
        assert!(!check(&right, "secret", &C, "g", &["a", "b"]));
        // The border between two arguments is part of them.
        assert!(!check(&right, "secret", &C, "f", &["ab", ""]));
        assert!(!check(&right, "secret", &C, "f", &["a"]));
        for other in [
            Circumstances { connection: "backend 1 3", ..C },
            Circumstances { connection: "backend 12", ..C },
            Circumstances { login: "bob", ..C },
            Circumstances { database: "bank", ..C },
            Circumstances { role: "alice", ..C },
            Circumstances { login: "alic", database: "eshop", ..C },
            Circumstances { number: 8, ..C },
        ] {
            assert!(!check(&right, "secret", &other, "f", &["a", "b"]), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_proof_is_wrong() {
        let right = make("secret", &C, "f", &args(&[])).unwrap_or_default();
        for p in ["", ":", "7", "7:", "7:zz", "7:é", "x:00", &right[..65], &right[..64]] {
            assert!(!is_right(p, "secret", &C, "f", &args(&[])), "{p}");
        }
        assert_eq!(make("", &C, "f", &args(&[])), None);
        assert_ne!(direct(1, 2), asked("1 2"));
    }
}
