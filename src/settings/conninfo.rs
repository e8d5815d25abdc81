//! Connection strings of the form `key=value key='quoted value'`.

use crate::pg::guc;
use std::fmt;

/// Why a connection string cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConninfoError {
    /// A keyword without `=`.
    MissingEquals(String),
    /// A quoted value without its closing quote.
    UnterminatedQuote,
}

impl fmt::Display for ConninfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConninfoError::MissingEquals(key) => {
                write!(f, "missing \"=\" after \"{key}\" in connection info string")
            }
            ConninfoError::UnterminatedQuote => {
                f.write_str("unterminated quoted string in connection info string")
            }
        }
    }
}

/// Splits a connection string into its keywords and values, as libpq does.
pub fn parse_conninfo(text: &str) -> Result<Vec<(String, String)>, ConninfoError> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            return Err(ConninfoError::MissingEquals(key.to_owned()));
        };
        let (value, after) = parse_value(after.trim_start())?;
        out.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(out)
}

/// Reads one value; a backslash takes away the meaning of what follows.
fn parse_value(text: &str) -> Result<(String, &str), ConninfoError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            c if !quoted && c.is_whitespace() => {
                return Ok((value, text.get(at..).unwrap_or_default()))
            }
            c => value.push(c),
        }
    }
    if quoted {
        return Err(ConninfoError::UnterminatedQuote);
    }
    Ok((value, ""))
}

/// Keywords of `citus.node_conninfo`. Where a node is and who connects is no matter of this
/// setting, and passwords belong into `pg_dist_authinfo`, which ordinary users cannot read.
const NODE_KEYWORDS: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "sslsni",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
    "tcp_user_timeout",
];

const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Versions of TLS that libpq knows. The first two are not spoken here.
const TLS_VERSIONS: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
const OLD_TLS: usize = 2;

/// Says what is wrong with the value of a keyword. A wish for protection that cannot be fulfilled
/// is refused: a connection without it would be worse than none.
fn check_value(key: &str, value: &str) -> Result<(), String> {
    let version = || TLS_VERSIONS.iter().position(|v| v.eq_ignore_ascii_case(value));
    let wrong = match key {
        "sslmode" if !SSL_MODES.contains(&value) => {
            format!("\"{value}\" is no sslmode; the modes are {}.", SSL_MODES.join(", "))
        }
        "ssl_min_protocol_version" | "ssl_max_protocol_version"
            if !value.is_empty() && version().is_none() =>
        {
            format!("\"{value}\" is no version of TLS; they are {}.", TLS_VERSIONS.join(", "))
        }
        "ssl_max_protocol_version" if version().is_some_and(|v| v < OLD_TLS) => {
            format!("Nodes are spoken to in TLSv1.2 and later, not in {value}.")
        }
        "channel_binding" if value == "require" => {
            "Connections to nodes have no channel binding; sslmode=verify-full proves the node."
                .to_owned()
        }
        "gssencmode" if value == "require" => {
            "Connections to nodes are encrypted by TLS only, not by GSSAPI.".to_owned()
        }
        "target_session_attrs" if value != "any" => {
            "Nodes are connected to whatever they are: only target_session_attrs=any is possible."
                .to_owned()
        }
        _ => return Ok(()),
    };
    Err(wrong)
}

/// Says what is wrong with a value of `citus.node_conninfo`.
fn check_node_conninfo(text: &str) -> Result<(), String> {
    for (key, value) in parse_conninfo(text).map_err(|e| format!("{e}."))? {
        if !NODE_KEYWORDS.contains(&key.as_str()) {
            return Err(format!(
                "Keyword \"{key}\" is not allowed; allowed are {}.",
                NODE_KEYWORDS.join(", ")
            ));
        }
        check_value(&key, &value)?;
    }
    Ok(())
}

/// The rule of `citus.node_conninfo`.
pub(super) enum NodeConninfo {}

impl guc::TextRule for NodeConninfo {
    const VITAL: Option<&'static str> = Some("citus.node_conninfo");

    fn check(value: &str) -> Result<(), String> {
        check_node_conninfo(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse_conninfo(text).unwrap_or_default()
    }

    #[test]
    fn reads_what_libpq_reads() {
        let p = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(pairs(""), vec![]);
        assert_eq!(pairs("  sslmode = disable  "), vec![p("sslmode", "disable")]);
        assert_eq!(pairs(r"a='b c' d=e\ f"), vec![p("a", "b c"), p("d", "e f")]);
        assert_eq!(pairs(r"a='it\'s' b=''"), vec![p("a", "it's"), p("b", "")]);
        assert_eq!(pairs("a=ü"), vec![p("a", "ü")]);
        assert_eq!(parse_conninfo("abc"), Err(ConninfoError::MissingEquals("abc".into())));
        assert_eq!(parse_conninfo("abc d=1"), Err(ConninfoError::MissingEquals("abc".into())));
        assert_eq!(parse_conninfo("a='b"), Err(ConninfoError::UnterminatedQuote));
    }

    #[test]
    fn node_conninfo_takes_no_secrets_and_no_places() {
        assert!(check_node_conninfo("sslmode=verify-full sslrootcert=/etc/ca.pem").is_ok());
        assert!(check_node_conninfo("").is_ok());
        for bad in ["host=a", "password=x", "user=u", "dbname=d", "sslmode=maybe", "x", "a='"] {
            assert!(check_node_conninfo(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn node_conninfo_promises_nothing_that_is_not_kept() {
        for good in [
            "channel_binding=prefer gssencmode=disable target_session_attrs=any",
            "ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=tlsv1.2",
            "ssl_min_protocol_version='' sslcrl=/a sslcrldir=/b",
        ] {
            assert_eq!(check_node_conninfo(good), Ok(()), "{good}");
        }
        for bad in [
            "channel_binding=require",
            "gssencmode=require",
            "target_session_attrs=read-write",
            "ssl_min_protocol_version=TLSv2",
            "ssl_max_protocol_version=TLSv1.1",
        ] {
            assert!(check_node_conninfo(bad).is_err(), "{bad}");
        }
    }
}
