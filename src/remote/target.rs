//! What it takes to connect to a node: names, secrets and pinned settings.

use super::connect::{SslMode, Target, Trust};
use super::limits;
use super::passfile;
use super::session::NodeAddr;
use super::tls::{Files, Versions};
use crate::error::{sqlstate, Error, Result};
use crate::pg::net::KeepAlive;
use crate::pg::{scan, session};
use crate::settings::{self, parse_conninfo};
use std::time::{Duration, Instant};

/// Settings with which every internal session starts, whatever the node's configuration says.
/// Those that change answers follow the client's session afterwards (`txn::settings`). No time
/// limit of its own may end a session that waits for us: the client's limits are kept here and
/// lead to a cancel there.
const PINNED: &[(&str, &str)] = &[
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("search_path", "pg_catalog"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    // A statement for a coordinator that is gone has no end of its own.
    ("client_connection_check_interval", "2s"),
];

/// The target for a node and user, with the parameters that the configuration gives.
pub(super) fn target(node: &NodeAddr, user: &str) -> Result<Target> {
    let mut t = Target {
        node: node.clone(),
        host: node.name.clone(),
        port: port(node.port)?,
        pooled: false,
        user: user.to_owned(),
        login: if session::can_login(user) {
            user.to_owned()
        } else {
            session::session_user_name()
        },
        password: None,
        sslmode: SslMode::Prefer,
        trust: Trust::Any,
        files: Files::default(),
        versions: Versions::default(),
        keep_alive: KeepAlive::default(),
        database: session::database_name(),
        parameters: Vec::new(),
        deadline: Instant::now() + limits::connect_timeout(),
        identity: None,
    };
    let mut more = More::default();
    apply(&mut t, &mut more, &settings::node_conninfo())?;
    if let Some(pool) = pool_info(node.id) {
        apply(&mut t, &mut more, &pool)?;
        t.pooled = true;
    }
    if let Some(auth) = auth_info(node.id, &t.login) {
        apply(&mut t, &mut more, &auth)?;
    }
    // A pooler may have a name of its own for the database.
    let database = more.database.unwrap_or_else(|| t.database.clone());
    if let Some(file) = more.passfile.filter(|_| t.password.is_none()) {
        t.password = passfile::password(&file, [&t.host, &t.port.to_string(), &database, &t.login])
            .map_err(|why| super::connect::failed(&t, &why))?;
    }
    // As libpq: a given authority is made use of.
    if t.sslmode == SslMode::Require && t.trust == Trust::Any && t.files.root.is_some() {
        t.trust = Trust::Authority;
    }
    if t.login != t.user {
        t.parameters.push(("role".into(), user.to_owned()));
    }
    let pooled = t.pooled;
    let mut parameter = |name: &str, value: &str| {
        t.parameters.push((name.to_owned(), value.to_owned()));
    };
    parameter("database", &database);
    parameter("client_encoding", &session::encoding_name());
    if !pooled {
        // Poolers may refuse what they do not know.
        parameter("citus.report_transaction_id", "on");
        // Arrays are written for it; those of the client are read here.
        parameter("array_nulls", "on");
    }
    for (name, value) in PINNED {
        parameter(name, value);
    }
    t.identity = identity(&t).map(Into::into);
    t.parameters.push(("application_name".into(), application_name()));
    Ok(t)
}

/// Everything that makes the connection the one that it is, but for the name of who uses it.
///
/// A role that cannot log in acts through somebody else's connection: what its session leaves
/// behind would have to be undone by that other role, and such connections are not kept.
fn identity(t: &Target) -> Option<String> {
    if t.pooled || t.login != t.user || limits::kept_time().is_none() {
        return None;
    }
    let role = session::role_oid(&t.user)?;
    let who = (session::database(), role, &t.user, &t.login, &t.password);
    let place = (&t.node, &t.host, t.port, t.sslmode, t.trust, &t.files, t.keep_alive);
    Some(format!("{:?}", (who, place, &t.parameters)))
}

/// What this session calls itself on other nodes.
pub(super) fn application_name() -> String {
    format!("citus_internal gpid={}", global_pid())
}

fn port(port: i32) -> Result<u16> {
    u16::try_from(port).ok().filter(|p| *p != 0).ok_or_else(|| {
        Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("{port} is not a valid port number"))
    })
}

/// Keywords that say something when all of them have been read.
#[derive(Default)]
struct More {
    passfile: Option<String>,
    database: Option<String>,
}

/// Takes over the keywords of a connection string.
fn apply(t: &mut Target, more: &mut More, conninfo: &str) -> Result<()> {
    let pairs = parse_conninfo(conninfo)
        .map_err(|e| Error::new(sqlstate::INVALID_PARAMETER_VALUE, e.to_string()))?;
    for (key, value) in pairs {
        match key.as_str() {
            "sslmode" => (t.sslmode, t.trust) = ssl_mode(&value)?,
            "sslrootcert" => t.files.root = given(value),
            "sslcert" => t.files.cert = given(value),
            "sslkey" => t.files.key = given(value),
            "sslcrl" => t.files.crl = given(value),
            "sslcrldir" => t.files.crl_dir = given(value),
            "ssl_min_protocol_version" => {
                t.versions.not_12 = value.eq_ignore_ascii_case("TLSv1.3");
            }
            "ssl_max_protocol_version" => {
                t.versions.not_13 = value.eq_ignore_ascii_case("TLSv1.2");
            }
            "connect_timeout" => {
                if let Ok(seconds @ 1..) = value.parse::<u64>() {
                    let limit = Instant::now() + Duration::from_secs(seconds);
                    t.deadline = t.deadline.min(limit);
                }
            }
            "keepalives" => t.keep_alive.enabled = value != "0",
            "keepalives_idle" => number(&value, &mut t.keep_alive.idle),
            "keepalives_interval" => number(&value, &mut t.keep_alive.interval),
            "keepalives_count" => number(&value, &mut t.keep_alive.count),
            "tcp_user_timeout" => number(&value, &mut t.keep_alive.user_timeout),
            "password" => t.password = Some(value),
            "passfile" => more.passfile = given(value),
            "dbname" => more.database = given(value),
            "host" | "hostaddr" => t.host = value,
            "port" => {
                t.port = port(value.parse().unwrap_or(0))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// As for libpq, an empty value is none.
fn given(value: String) -> Option<String> {
    Some(value).filter(|v| !v.is_empty())
}

/// Takes a positive number; as for libpq, anything else leaves the default.
fn number(text: &str, to: &mut i32) {
    if let Ok(n @ 1..) = text.parse() {
        *to = n;
    }
}

fn ssl_mode(word: &str) -> Result<(SslMode, Trust)> {
    match word {
        "disable" => Ok((SslMode::Disable, Trust::Any)),
        "allow" | "prefer" => Ok((SslMode::Prefer, Trust::Any)),
        "require" => Ok((SslMode::Require, Trust::Any)),
        "verify-ca" => Ok((SslMode::Require, Trust::Authority)),
        "verify-full" => Ok((SslMode::Require, Trust::Full)),
        _ => Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("\"{word}\" is not a valid sslmode"),
        )),
    }
}

/// Where a connection pooler stands in for the node.
fn pool_info(node: i32) -> Option<String> {
    let table = scan::catalog_relation(c"pg_dist_poolinfo")?;
    let mut found = None;
    scan::rows(table, None, &[], |r| {
        if node != 0 && r.i32(1) == node {
            found = r.text(2);
        }
    });
    found
}

/// Authentication parameters of a role: for exactly this node, else for all nodes (0).
fn auth_info(node: i32, user: &str) -> Option<String> {
    let table = scan::catalog_relation(c"pg_dist_authinfo")?;
    let (mut exact, mut general) = (None, None);
    scan::rows(table, None, &[], |r| {
        if r.name(2).as_deref() == Some(user) {
            match r.i32(1) {
                0 => general = r.text(3),
                n if n == node => exact = r.text(3),
                _ => {}
            }
        }
    });
    exact.or(general)
}

/// The number under which this backend is known in the cluster: node id and process id.
pub(crate) fn global_pid() -> i64 {
    let node = i64::from(crate::catalog::local_node_id().unwrap_or(0));
    node * super::backends::GPID_NODE_FACTOR + i64::from(session::backend_pid())
}
