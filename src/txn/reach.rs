//! Sessions to the nodes of a transaction: kept ones, those that others left, new ones.

use super::consistent;
use super::parts::{lost, position, Part, PARTS};
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::session as local;
use crate::remote::{pool, NodeAddr};
use std::time::Duration;

/// Connects to the groups where there is no session yet; those that cannot be, each with its error.
pub fn connect(groups: &[i32]) -> Result<Vec<(i32, Error)>> {
    let each = connect_each(groups, u32::from(local::outer_user()), None)?;
    Ok(each.into_iter().filter_map(|(group, r)| r.err().map(|e| (group, e))).collect())
}

/// Makes sure that there is a part with a working session for each group.
pub(super) fn connect_missing(groups: &[i32], user: u32) -> Result<()> {
    for (group, result) in connect_each(groups, user, None)? {
        if let Err(e) = result {
            return Err(consistent::why_missing(group).unwrap_or(e));
        }
    }
    Ok(())
}

/// Connects to the groups that have no part yet, all at the same time and within a limit; what
/// became of them. The outer error is trouble with the transaction itself.
pub(super) fn connect_each(
    groups: &[i32],
    user: u32,
    limit: Option<Duration>,
) -> Result<Vec<(i32, Result<()>)>> {
    let missing = missing(groups, user)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(e) = missing.iter().find_map(|g| consistent::why_missing(*g)) {
        return Err(e);
    }
    // Before the addresses are looked up: what changes from here on makes the tags stale.
    let tags: Vec<pool::Tag> = missing.iter().map(|g| tag(*g, user)).collect();
    let nodes = missing.iter().map(|g| address(*g)).collect::<Result<Vec<_>>>()?;
    let made = pool::acquire_each(&nodes, &local::name_or_number(user), limit)?;
    let mut results = Vec::new();
    PARTS.with(|p| {
        let mut parts = p.borrow_mut();
        for ((group, tag), session) in missing.into_iter().zip(tags).zip(made) {
            let result = session.map(|session| {
                pool::set_tag(&session, tag);
                parts.push(Part::new(group, user, session));
            });
            results.push((group, result));
        }
    });
    Ok(results)
}

/// The groups without a part, once those with a kept session have one. When a session is missing,
/// those that were kept are so as well: while this one waits, others may need them more.
fn missing(groups: &[i32], user: u32) -> Result<Vec<i32>> {
    let mut missing: Vec<i32> = Vec::new();
    let mut kept_ones = Vec::new();
    for group in groups {
        let known = PARTS.with(|p| -> Result<bool> {
            let mut parts = p.borrow_mut();
            let Some(at) = position(&parts, *group, user) else {
                return Ok(false);
            };
            let Some(part) = parts.get(at) else { return Ok(false) };
            if !part.session.borrow().is_broken() {
                return Ok(true);
            }
            if part.began {
                return Err(lost(part));
            }
            parts.swap_remove(at);
            Ok(false)
        })?;
        if known || missing.contains(group) || kept_ones.iter().any(|(g, _)| g == group) {
            continue;
        }
        let kept = match consistent::why_missing(*group) {
            Some(_) => None,
            None => pool::take_tagged(tag(*group, user)),
        };
        match kept {
            Some(session) => kept_ones.push((*group, session)),
            None => missing.push(*group),
        }
    }
    for (group, session) in kept_ones {
        if missing.is_empty() {
            PARTS.with(|p| p.borrow_mut().push(Part::new(group, user, session)));
        } else {
            pool::keep_idle(session);
            missing.push(group);
        }
    }
    Ok(missing)
}

/// What a kept session to a group's primary is found by, as long as no metadata changes.
fn tag(group: i32, user: u32) -> pool::Tag {
    pool::Tag { group, user, generation: catalog::generation() }
}

/// Address of a group's primary.
fn address(group: i32) -> Result<NodeAddr> {
    let n = catalog::node_of_group(group)?;
    Ok(NodeAddr { id: n.id, group, name: n.name.clone(), port: n.port })
}
