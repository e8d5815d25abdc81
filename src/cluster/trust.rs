//! The node's side of calls that only other nodes may make. How they prove themselves is told in
//! `model::proof`; what a client says about itself (its `application_name`, its settings) counts
//! for nothing.

use super::clients;
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::model::proof::{self, Arguments, Circumstances};
use crate::pg::{guard, session};
use std::cell::{Cell, RefCell};

thread_local! {
    /// Number of the last call that was proven to this backend.
    static LAST: Cell<u64> = const { Cell::new(0) };
    /// A text that was given out and not used yet.
    static ASKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A random text to be part of the next proof: for connections through a pooler, whose client does
/// not know the backend. It can be used once.
pub fn ask() -> Result<String> {
    let text = format!("{:016x}{:016x}", session::random()?, session::random()?);
    ASKED.with(|a| *a.borrow_mut() = Some(text.clone()));
    Ok(text)
}

/// Whether the client proves to be a node: its connection is none of an ordinary user's then.
pub fn introduce(proof: &str) -> Result<bool> {
    let right = is_right(proof::INTRODUCTION, &Arguments::default(), proof)?;
    if right {
        clients::is_node();
    }
    Ok(right)
}

/// Refuses everybody but superusers and whoever proves to be the coordinator, calling `function`
/// with these arguments for the current user.
pub fn require_node(function: &str, args: &Arguments, proof: Option<&str>) -> Result<()> {
    if session::is_superuser() {
        return Ok(());
    }
    let Some(proof) = proof else {
        let message = format!("permission denied for function {function}");
        return Err(Error::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
            .detail("Only other nodes of the cluster call it, and prove that they are.")
            .hint(
                "Work with the tables on the coordinator. If the coordinator reports this, it \
                 shares no secret with this node: call citus_activate_node for it there.",
            ));
    };
    if is_right(function, args, proof)? {
        return Ok(());
    }
    let message = format!("a call of {function} did not come from the coordinator");
    let e = Error::new(sqlstate::INVALID_AUTHORIZATION, message)
        .detail(format!(
            "Its proof does not fit this session of user \"{}\" and its arguments.",
            session::session_user_name()
        ))
        .hint(
            "If the coordinator reports this, the node's secret is not the one that it had \
             there, as after its restoration: call citus_activate_node for it on the coordinator.",
        );
    // An error that the caller catches would leave no trace.
    guard::log(&e);
    Err(e)
}

fn is_right(function: &str, args: &Arguments, proof: &str) -> Result<bool> {
    let Some(secret) = catalog::secret_of(catalog::local_group()?) else { return Ok(false) };
    let (Some(client), Some(number)) = (session::connected(), proof::number(proof)) else {
        return Ok(false);
    };
    let role = session::user_name();
    let check = |connection: &str| {
        let c = Circumstances {
            connection,
            login: &client.login,
            database: &client.database,
            role: &role,
            number,
        };
        proof::is_right(proof, &secret, &c, function, args)
    };
    if number > LAST.get() && check(&proof::direct(client.key.0, client.key.1)) {
        LAST.set(number);
        return Ok(true);
    }
    let asked = ASKED.with(|a| a.borrow().clone());
    let right = asked.is_some_and(|text| check(&proof::asked(&text)));
    if right {
        ASKED.with(|a| a.borrow_mut().take());
    }
    Ok(right)
}
