//! Each row of the target is changed once, and only those that were found.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::{Inner, Row};
use crate::catalog::Table;
use crate::error::{sqlstate, Error, Result};
use crate::pg::lookup;
use crate::plan::{Route, When};
use std::rc::Rc;

/// What becomes of a row from below.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    /// Nothing: it has been taken before, or is not there at all.
    No,
    /// It is sent.
    First,
    /// One that it cannot be told from has been sent, with the same values.
    Alike,
}

impl Inner {
    /// Whether the target's row is to be taken.
    pub(super) unsafe fn taking(&mut self, action: usize, row: &Row) -> Result<Taking> {
        let steps = self.apply.actions.get(action).map_or(&[][..], Vec::as_slice);
        let routed = |s: &u32| {
            let step = self.apply.steps.get(*s as usize);
            matches!(step.map(|x| x.route), Some(Route::Number(_)))
        };
        let Some(first) = self.apply.identity.first().filter(|_| steps.iter().any(routed)) else {
            return Ok(Taking::First);
        };
        if row.get(*first).is_none() {
            return Ok(Taking::No);
        }
        let values = self.literals(&self.apply.identity.clone(), row);
        let place = self.apply.place;
        let id = place.map(|p| values.clone() + &self.literals(&[p], row));
        if !self.seen.insert(id.unwrap_or_else(|| values.clone())) {
            if self.apply.once {
                return Err(Error::new(
                    sqlstate::CARDINALITY_VIOLATION,
                    "MERGE command cannot affect row a second time",
                )
                .hint("Ensure that not more than one source row matches any one target row."));
            }
            return Ok(Taking::No);
        }
        if place.is_none() {
            return Ok(Taking::First);
        }
        let mut columns = Vec::new();
        for step in self.apply.actions.get(action).into_iter().flatten() {
            let sent = self.apply.steps.get(*step as usize).map(|s| s.columns.as_slice());
            columns.extend(sent.unwrap_or_default().iter().map(|s| s.column));
        }
        let change = format!("{action}") + &self.literals(&columns, row);
        match self.alike.get(&values) {
            None => {
                self.alike.insert(values, change);
                Ok(Taking::First)
            }
            Some(same) if *same == change => Ok(Taking::Alike),
            Some(_) => self.target().and_then(|t| Err(ambiguous(&t))),
        }
    }

    unsafe fn literals(&mut self, columns: &[u32], row: &Row) -> String {
        let mut text = String::new();
        for c in columns {
            text.push(',');
            match (row.get(*c), self.columns.get_mut(*c as usize)) {
                (Some(d), Some(out)) => out.literal(&mut text, d, false),
                _ => text.push('-'),
            }
        }
        text
    }

    /// Whether a row goes to another shard.
    pub(super) unsafe fn moves(&self, action: usize, table: &Rc<Table>, row: &Row) -> Result<bool> {
        let (mut old, mut new) = (None, None);
        for step in self.apply.actions.get(action).into_iter().flatten() {
            let step = self.apply.steps.get(*step as usize);
            match step.filter(|s| s.when == When::Moves).map(|s| s.route) {
                Some(Route::Number(c)) => old = Some(self.shard(Route::Number(c), table, row)?),
                Some(route) => new = Some(self.shard(route, table, row)?),
                None => {}
            }
        }
        Ok(old != new)
    }

    /// Rows that were not found are not changed with those that they are equal to.
    pub(super) fn check_alike(&self, table: &Table) -> Result<()> {
        let by_number = self.runs.iter().zip(&self.apply.steps).filter(|(run, step)| {
            matches!(step.route, Route::Number(_)) && run.exec.affected() > run.taken
        });
        if self.apply.place.is_some() && by_number.count() > 0 {
            return Err(ambiguous(table));
        }
        Ok(())
    }

    fn target(&self) -> Result<Rc<Table>> {
        super::target_table(&self.apply)
    }
}

fn ambiguous(table: &Table) -> Error {
    let name = lookup::relation_names(table.relid).1;
    Error::unsupported(format!("equal rows of table \"{name}\" cannot be told from each other"))
        .detail(
            "The statement changes some of several equal rows, or changes them differently, and \
             their copies on other nodes have other places.",
        )
        .hint("Add a primary key to the table.")
}
