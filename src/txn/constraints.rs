//! SET CONSTRAINTS: nodes check constraints when the transaction here does.
//!
//! Nodes that take part already are told at once. Others are told when they join, at the same
//! savepoint, so that a rollback to an earlier one takes it back everywhere.

use super::parts::groups_in_transaction;
use super::run;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::xact;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What SET CONSTRAINTS says on nodes.
#[derive(Debug)]
pub enum Timing {
    /// The same statement everywhere.
    All(String),
    /// A statement for each group that has constraints of these names.
    Named(BTreeMap<i32, String>),
}

impl Timing {
    fn on(&self, group: i32) -> Option<&str> {
        match self {
            Timing::All(sql) => Some(sql),
            Timing::Named(of) => of.get(&group).map(String::as_str),
        }
    }
}

thread_local! {
    /// What was said in this transaction, and at which nesting level.
    static SAID: RefCell<Vec<(i32, Rc<Timing>)>> = const { RefCell::new(Vec::new()) };
}

/// The transaction checks constraints at other times from now on; the statement itself has run.
/// `unshard` gives the error of a check the names of tables.
pub fn set(timing: Timing, unshard: impl Fn(Error) -> Error) -> Result<()> {
    let local = catalog::local_group()?;
    let mut work: Vec<(i32, String)> = groups_in_transaction()
        .into_iter()
        .filter_map(|g| Some((g, timing.on(g)?.to_owned())))
        .collect();
    if let Timing::Named(of) = &timing {
        work.extend(of.get(&local).map(|sql| (local, sql.clone())));
    }
    run::on_groups(&work, false).map_err(&unshard)?;
    SAID.with(|s| s.borrow_mut().push((xact::nest_level(), Rc::new(timing))));
    Ok(())
}

/// Commands for a node that joins, to stand behind the savepoint of a nesting level; how many.
pub(super) fn on_joining(sql: &mut String, group: i32, level: i32) -> u32 {
    let mut commands = 0;
    SAID.with(|s| {
        for (at, timing) in s.borrow().iter() {
            if let (true, Some(text)) = (*at == level, timing.on(group)) {
                sql.push_str(text);
                sql.push(';');
                commands += 1;
            }
        }
    });
    commands
}

/// The subtransaction of this level has become part of its parent.
pub(super) fn sub_committed(level: i32) {
    SAID.with(|s| {
        if let Ok(mut said) = s.try_borrow_mut() {
            said.iter_mut().filter(|s| s.0 >= level).for_each(|s| s.0 = level - 1);
        }
    });
}

/// The subtransaction of this level was rolled back.
pub(super) fn sub_aborted(level: i32) {
    SAID.with(|s| {
        if let Ok(mut said) = s.try_borrow_mut() {
            said.retain(|s| s.0 < level);
        }
    });
}

/// The transaction has ended.
pub(super) fn forget() {
    SAID.with(|s| {
        if let Ok(mut said) = s.try_borrow_mut() {
            said.clear();
        }
    });
}
