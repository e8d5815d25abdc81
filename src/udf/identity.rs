//! Who and what this server is: versions, identifiers, connection parameters.

use crate::catalog;
use crate::cluster::trust;
use crate::error::Error;
use crate::pg_function;
use crate::settings::parse_conninfo;
use pgrx::pg_sys::Datum;

pg_function!(
    /// `citus_version()`
    citus_version,
    |args| args.ret_text(&format!(
        "Citus {} (citus-rs {}) on {}",
        crate::settings::version(),
        env!("CARGO_PKG_VERSION"),
        crate::pg::server::version_text()?,
    ))
);

pg_function!(
    /// `citus_internal.local_nodeid()`
    citus_local_nodeid,
    |_args| Ok(Datum::from(catalog::local_node_id()?))
);

pg_function!(
    /// `citus_internal_ask_proof()`: harmless, whoever calls it changes what his own session waits
    /// for.
    citus_ask_proof,
    |args| args.ret_text(&trust::ask()?)
);

pg_function!(
    /// `citus_internal_introduce(proof text)`: whoever calls it without being a node remains what
    /// he was.
    citus_introduce,
    |args| {
        let proof = args.required(args.text(0), "proof")?;
        Ok(Datum::from(trust::introduce(&proof)?))
    }
);

pg_function!(
    /// `citus_internal.make_secret(groupid integer)`: makes this server the node of a group with a
    /// new secret, and gives it back. Closed to everybody who was not granted it: the coordinator
    /// calls it as the superuser who adds the node.
    citus_make_secret,
    |args| {
        let group = args.required(args.i32(0), "groupid")?;
        args.ret_text(&catalog::make_own_secret(group)?)
    }
);

pg_function!(
    /// `citus_internal.forget_secret()`: this server is no node any more. Closed like `make_secret`.
    citus_forget_secret,
    |args| {
        catalog::forget_own_secret()?;
        args.void()
    }
);

pg_function!(
    /// `authinfo_valid(text)`: what may stand in `pg_dist_authinfo`.
    citus_authinfo_valid,
    |args| {
        let text = args.required(args.text(0), "authinfo")?;
        Ok(Datum::from(only_keywords(&text, &["password", "passfile", "sslcert", "sslkey"])))
    }
);

pg_function!(
    /// `poolinfo_valid(text)`: what may stand in `pg_dist_poolinfo`.
    citus_poolinfo_valid,
    |args| {
        let text = args.required(args.text(0), "poolinfo")?;
        Ok(Datum::from(only_keywords(&text, &["host", "port", "dbname"])))
    }
);

/// Whether a connection string can be read and has no keyword but these.
fn only_keywords(text: &str, allowed: &[&str]) -> bool {
    match parse_conninfo(text) {
        Ok(pairs) => pairs.iter().all(|(key, value)| {
            allowed.contains(&key.as_str()) && (key != "port" || value.parse::<u16>().is_ok())
        }),
        Err(_) => false,
    }
}

pg_function!(
    /// `citus_server_id()`
    citus_server_id,
    |args| {
        let id = catalog::server_id()?
            .ok_or_else(|| Error::internal("pg_dist_node_metadata has no server_id"))?;
        args.ret(Some(crate::pg::fmgr::input(pgrx::pg_sys::UUIDOID, -1, &id)))
    }
);
