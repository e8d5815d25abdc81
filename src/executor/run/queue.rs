//! What is sent to a node: its tasks, and as of when they read.

use super::super::batch::{self, Array};
use super::super::reads;
use super::super::rights;
use super::super::tasks::{Task, Value};
use super::{Exec, Running};
use crate::catalog::{self, Table};
use crate::error::Result;
use crate::pg::snapshot::Fixed;
use crate::pg::transmit::output;
use crate::pg::xact;
use crate::plan::{DistPlan, Operation};
use crate::remote::{Answers, Param, SessionRef};
use crate::txn;
use crate::txn::consistent::Hold;
use crate::txn::sight::Sight;
use pgrx::pg_sys::{self, Datum, Oid};
use std::rc::Rc;

/// Tasks of one statement that get named statements on nodes: more would push out each other.
const MAX_NAMED: usize = 128;

/// As of when an execution reads.
pub(super) struct Reads {
    /// What nodes hold for its statement.
    hold: Option<Rc<Hold>>,
    /// Its statement's snapshot on this server.
    snapshot: pg_sys::Snapshot,
    /// It is all that its statement does.
    whole: bool,
}

impl Default for Reads {
    fn default() -> Self {
        Reads { hold: None, snapshot: std::ptr::null_mut(), whole: false }
    }
}

impl Reads {
    /// What nodes hold for the statement.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_deref()
    }

    /// The snapshot for tasks on this server, when the statement has one for all of its tasks.
    pub(super) fn here(&self) -> Option<pg_sys::Snapshot> {
        self.hold.as_ref().map(|_| self.snapshot)
    }

    /// As of when it reads, where that may be earlier than now.
    pub(super) fn sight(&self) -> Result<Option<Sight>> {
        if self.hold.is_none() {
            return Sight::of_transaction();
        }
        // SAFETY: the snapshot is that of the statement which is running.
        Sight::of_statement(unsafe { Fixed::of_statement(self.snapshot) }).map(Some)
    }

    /// Refuses nodes that cannot read as of the statement's moment.
    pub(super) fn check(&self, groups: &[i32]) -> Result<()> {
        self.hold().map_or(Ok(()), |hold| hold.covers(groups))
    }
}

impl Exec {
    /// Says whose statement's snapshot the execution reads with, and whether it is all of it.
    pub fn reads_with(&mut self, snapshot: pg_sys::Snapshot, whole: bool) {
        self.reads.whole = whole;
        if self.plan.operation == Operation::Select && reads::any() {
            self.reads.hold = reads::hold_of(snapshot);
            self.reads.snapshot = snapshot;
        }
    }

    /// Whether no other node, and this one no more, can be used in the transaction: its snapshot
    /// needs to be on this one only.
    pub(super) fn is_only_use_of_nodes(&self, groups: &[i32], also_local: bool) -> bool {
        xact::has_one_snapshot()
            && self.reads.whole
            && !also_local
            && groups.len() == 1
            && self.plan.operation == Operation::Select
            && !txn::has_company()
    }

    /// What each session is told before its tasks: as whom tables are checked.
    pub(super) fn telling(&self, sessions: &[SessionRef]) -> Result<Vec<Option<String>>> {
        let Some(others) = &self.others else { return Ok(vec![None; sessions.len()]) };
        let call = others.call();
        sessions.iter().map(|s| call.statement(s).map(Some)).collect()
    }

    /// Queues a node's tasks.
    pub(super) fn queue_node(
        &mut self,
        session: &SessionRef,
        group: i32,
        tasks: &[Task],
        params: &[Option<Vec<u8>>],
        told: Option<&str>,
    ) -> Vec<Running> {
        let of_group = || tasks.iter().filter(|t| t.group == group);
        let hold = self.reads.hold.clone();
        if let Some(hold) = &hold {
            session.borrow_mut().queue_internal(&hold.reading(), Answers::Internal);
        }
        if let Some(told) = told {
            session.borrow_mut().queue_internal(told, Answers::Internal);
        }
        let mut running: Vec<Running> = of_group().map(Running::of).collect();
        if self.analysis.is_some() {
            running = self.queue_analyzed(session, group, tasks, params);
            session.borrow_mut().queue_sync();
        } else if self.is_script() && of_group().all(|t| t.rows.is_none()) {
            let script: Vec<&str> = of_group().map(|t| &*t.sql).collect();
            session.borrow_mut().queue_query(&script.join(";"));
        } else {
            of_group().for_each(|t| self.queue(session, t, params));
            session.borrow_mut().queue_sync();
        }
        if told.is_some() {
            session.borrow_mut().queue_internal(rights::CHECK_AS_SELF, Answers::Discard);
        }
        if let Some(hold) = &hold {
            session.borrow_mut().queue_internal(hold.read(), Answers::Discard);
        }
        running
    }

    /// Whether the tasks of a node travel as one text: statements that will not come again and
    /// whose answers are only counts cost the node least this way.
    fn is_script(&self) -> bool {
        !self.plan.prepare && self.plan.params.is_empty() && !self.plan.returns_rows()
    }

    pub(super) fn queue(&self, session: &SessionRef, task: &Task, params: &[Option<Vec<u8>>]) {
        let types = &self.plan.types;
        let mut bind: Vec<Param> = match &task.rows {
            Some(arrays) => arrays.iter().map(Array::param).collect(),
            None => params.iter().map(|p| Param { format: 0, value: p.as_deref() }).collect(),
        };
        let own: Vec<(usize, Option<Vec<u8>>)> =
            task.own.iter().flat_map(|o| own_params(o)).collect();
        for (n, value) in &own {
            if let Some(p) = bind.get_mut(*n) {
                p.value = value.as_deref();
            }
        }
        let mut s = session.borrow_mut();
        let formats = self.decoder.formats();
        // A function that the task calls could EXECUTE a statement that has a name.
        let named = self.others.is_none()
            && match task.rows {
                Some(_) => self.traffic.last <= MAX_NAMED && batch::comes_again(&task.sql),
                None => self.plan.prepare,
            };
        if named {
            let (name, _) = s.prepared(&task.sql, types, self.plan.shape);
            s.queue_bind("", &name, &bind, formats);
        } else {
            s.queue_parse("", &task.sql, types);
            s.queue_bind("", "", &bind, formats);
        }
        s.queue_execute("", 0);
    }

    /// Whether new rows of a shard may be parameters of its statement: where it is on other nodes
    /// only, and nobody wants to read what is sent.
    pub fn takes_arrays(&self, table: &Table, shard: u32) -> Result<bool> {
        if !self.plan.params.is_empty() || self.analysis.is_some() {
            return Ok(false);
        }
        let here = catalog::local_group()?;
        let shard = table.shards.get(shard as usize);
        Ok(shard.is_some_and(|s| s.placements.iter().all(|p| p.group != here)))
    }
}

/// Parameter values in text form.
pub(super) fn wire_params(plan: &DistPlan, values: &[Value]) -> Vec<Option<Vec<u8>>> {
    debug_assert_eq!(plan.params.len(), values.len());
    values.iter().map(|(t, v)| v.map(|v| text_of(*t, v))).collect()
}

/// The same of a task's own values.
fn own_params(own: &[(usize, Value)]) -> impl Iterator<Item = (usize, Option<Vec<u8>>)> + '_ {
    own.iter().map(|(n, (t, v))| (*n, v.map(|v| text_of(*t, v))))
}

fn text_of(typ: Oid, v: Datum) -> Vec<u8> {
    match u32::from(typ) {
        21 => (v.value() as i16).to_string().into_bytes(),
        23 => (v.value() as i32).to_string().into_bytes(),
        20 => (v.value() as i64).to_string().into_bytes(),
        _ => output(typ, v).into_bytes(),
    }
}
