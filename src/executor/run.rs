//! One execution of a distributed plan: tasks out, rows in.
//!
//! Rows stream: a session's tasks are pipelined in one flush, rows are decoded straight from its
//! buffer when the plan above asks, and what is not asked for stays in the socket. Only when
//! another execution needs the session is the rest read into a tuple store, which spills to disk.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

mod analyzed;
mod arrange;
mod begin;
mod count;
mod drain;
mod outcome;
mod queue;
mod raw;

use count::{Count, Running};
use drain::Failure;
use queue::{wire_params, Reads};
pub use raw::Raw;

use super::analyze::Analysis;
use super::decode::Decoder;
use super::local;
use super::order;
use super::prepared::Prepared;
use super::rights::Others;
use super::tasks::{Task, Value};
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::session;
use crate::plan::{Operation, Target};
use crate::remote::{wait_for, wait_soon, Message, SessionRef};
use crate::stats::query::{self, Query};
use crate::txn::{self, Mode, OwnerId};
use pgrx::pg_sys::{self, Datum, Oid, TupleTableSlot, Tuplestorestate};
use std::rc::Rc;
use std::time::Instant;

/// A session at work for this execution.
struct Conn {
    session: SessionRef,
    /// Tasks in the order in which they were sent.
    tasks: Vec<Running>,
    /// Which of them is answering.
    current: usize,
}

/// Numbers for EXPLAIN ANALYZE.
#[derive(Default, Clone, Copy)]
pub struct Traffic {
    /// Bytes of row data received.
    pub bytes: u64,
    /// Tasks run.
    pub tasks: usize,
    /// How often tasks were sent.
    pub runs: usize,
    /// Tasks of the last run, each counted once whatever its replicas.
    pub last: usize,
}

/// State of an execution.
pub struct Exec {
    /// The plan.
    pub plan: Rc<Prepared>,
    desc: pg_sys::TupleDesc,
    context: pg_sys::MemoryContext,
    decoder: Decoder,
    conns: Vec<Conn>,
    owner: Option<OwnerId>,
    /// Rows read ahead.
    store: *mut Tuplestorestate,
    store_slot: *mut TupleTableSlot,
    /// Shards that the rows of the store came from, where that is asked for.
    origins: Option<Vec<i64>>,
    /// All rows of the store were read.
    exhausted: bool,
    started: bool,
    in_transaction: bool,
    /// Something is left to do here with what is returned, and may fail.
    pub(super) goes_on_here: bool,
    /// What interrupted a write that is a transaction of its own, and until when its outcome is awaited.
    interrupted: Option<(Error, Instant)>,
    /// It belongs to a cursor.
    cursor: bool,
    /// Its sessions have a savepoint in front of its query, see [`txn::guard`].
    guarded: bool,
    /// It is a cursor's, and a transaction of its own there.
    apart: bool,
    /// It writes, and is a transaction of its own there.
    decides: bool,
    /// Why there are no more rows: whoever asks for them gets it, whoever met it first.
    failed: Option<Failure>,
    count: Count,
    /// What was received.
    pub traffic: Traffic,
    /// Tasks as they ran, for EXPLAIN ANALYZE.
    pub analysis: Option<Box<Analysis>>,
    /// Columns of a row, with those that the node does not send.
    width: usize,
    ready: Vec<usize>,
    next: usize,
    query: Option<Rc<Query>>,
    reads: Reads,
    /// Tables whose rights are checked as somebody else.
    others: Option<Others>,
    /// Who opened it.
    opener: Oid,
}

impl Exec {
    /// An execution whose rows have the shape of `desc`; long-lived memory is in `context`.
    pub fn new(
        plan: Rc<Prepared>,
        desc: pg_sys::TupleDesc,
        context: pg_sys::MemoryContext,
    ) -> Self {
        // Columns beyond the node's are NULL.
        // SAFETY: the caller's descriptor is alive.
        let n = unsafe { (*desc).natts.max(0) as usize }.max(plan.columns.len());
        Exec {
            decoder: Decoder::new(plan.formats.clone()),
            plan,
            desc,
            context,
            conns: Vec::new(),
            owner: None,
            store: std::ptr::null_mut(),
            store_slot: std::ptr::null_mut(),
            origins: None,
            exhausted: false,
            started: false,
            in_transaction: false,
            goes_on_here: false,
            interrupted: None,
            cursor: false,
            guarded: false,
            apart: false,
            decides: false,
            failed: None,
            count: Count::default(),
            traffic: Traffic::default(),
            analysis: None,
            width: n,
            ready: Vec::new(),
            next: 0,
            query: query::enter(context as usize),
            reads: Reads::default(),
            others: None,
            opener: session::user(),
        }
    }

    /// Rows that a modification affected.
    pub fn affected(&self) -> u64 {
        self.count.affected
    }

    /// Whether tasks were sent.
    pub fn started(&self) -> bool {
        self.started
    }

    /// The execution does not count as a query of the user's.
    pub fn uncounted(mut self) -> Self {
        self.query = None;
        self
    }

    /// Says that more statements of the same user's statement follow or went before.
    pub fn must_use_transaction(&mut self, yes: bool) {
        self.in_transaction = yes;
    }

    /// Colocation group and value of the tenant that the plan is about.
    fn tenant(&self) -> Option<(i32, String)> {
        let Target::Shards { anchor, single: true, .. } = &self.plan.target else { return None };
        let table = catalog::table(Oid::from(*anchor)).filter(|t| t.key.is_some())?;
        Some((table.colocation, query::take_tenant()?))
    }

    /// Sends given tasks.
    pub unsafe fn start_tasks(&mut self, tasks: Vec<Task>, values: &[Value]) -> Result<()> {
        self.started = true;
        self.count.next_round();
        self.traffic.tasks += tasks.len();
        self.traffic.runs += 1;
        self.traffic.last = tasks.iter().filter(|t| !t.mute).count();
        if let Some(q) = &self.query {
            q.sent(tasks.len(), self.plan.operation == Operation::Select, self.tenant());
        }
        if !order::is_leader_first(&self.plan, &tasks) {
            return self.run_tasks(tasks, values);
        }
        self.run_leaders_first(tasks, values)
    }

    unsafe fn run_tasks(&mut self, tasks: Vec<Task>, values: &[Value]) -> Result<()> {
        self.others = Others::of(&self.plan, self.opener)?;
        let here = catalog::local_group()?;
        let (local, remote): (Vec<Task>, Vec<Task>) =
            tasks.into_iter().partition(|t| t.group == here);
        if !remote.is_empty() {
            self.send(&remote, values, !local.is_empty())?;
        }
        for t in &local {
            self.ensure_store();
            let with = self.reads.here();
            let of = (self.others.as_ref(), with);
            let run = || local::run(&self.plan, t, values, self.store, self.context, of);
            let n = match self.analysis.as_mut().filter(|_| !t.mute) {
                Some(a) => a.here(t, run)?,
                None => run()?,
            };
            if self.plan.operation == Operation::Modify {
                self.came_from(t.shard, if t.mute { 0 } else { n });
                self.count.add(Some(Running::of(t)), n)?;
            }
        }
        Ok(())
    }

    unsafe fn send(&mut self, tasks: &[Task], values: &[Value], also_local: bool) -> Result<()> {
        let mut groups: Vec<i32> = tasks.iter().map(|t| t.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let writes = self.plan.operation == Operation::Modify;
        let alone = !self.in_transaction
            // Another role is taken on in a transaction.
            && session::user() == session::outer_user()
            && !session::is_restricted()
            && self.reads.hold().is_none()
            // What the node is told holds to the end of a transaction at most.
            && self.others.is_none()
            && !txn::must_use_transaction()
            // Locks are taken for something that follows.
            && self.plan.operation != Operation::SelectForUpdate
            && (!writes || (groups.len() == 1 && !also_local && !self.goes_on_here));
        let mode = if alone { Mode::Once } else { Mode::InTransaction };
        self.reads.check(&groups)?;
        let sessions = match self.is_only_use_of_nodes(&groups, also_local) {
            true => txn::join(&groups, mode)?,
            false => txn::sessions(&groups, mode)?,
        };
        let me: *mut Exec = self;
        // SAFETY: the registration ends in Drop, before the execution goes away.
        let owner = txn::register_owner(Box::new(move || unsafe { (*me).drain() }));
        if let Some(old) = self.owner.replace(owner) {
            txn::unregister_owner(old);
        }
        let params = wire_params(&self.plan, values);
        sessions.iter().try_for_each(|s| txn::claim(s, owner))?;
        self.guard(&sessions, mode);
        let told = self.telling(&sessions)?;
        self.decides = writes && mode == Mode::Once;
        if writes && !self.decides {
            txn::mark_modified(&groups);
        }
        if self.plan.operation == Operation::SelectForUpdate {
            txn::mark_locked(&groups);
        }
        for ((group, session), told) in groups.iter().zip(sessions).zip(told) {
            let running = self.queue_node(&session, *group, tasks, &params, told.as_deref());
            self.conns.push(Conn { session, tasks: running, current: 0 });
        }
        for conn in &self.conns {
            conn.session.borrow_mut().flush()?;
        }
        Ok(())
    }

    unsafe fn ensure_store(&mut self) {
        if !self.store.is_null() {
            if std::mem::take(&mut self.exhausted) {
                // A reader that has seen the end does not see what is added behind it.
                pg_sys::tuplestore_clear(self.store);
            }
            return;
        }
        let old = pg_sys::MemoryContextSwitchTo(self.context);
        self.store = pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem);
        self.store_slot = pg_sys::MakeSingleTupleTableSlot(self.desc, &pg_sys::TTSOpsMinimalTuple);
        pg_sys::MemoryContextSwitchTo(old);
    }

    /// The next row into `slot`, or false at the end. Row memory is the current context's.
    pub unsafe fn next_row(&mut self, slot: *mut TupleTableSlot) -> Result<bool> {
        if !self.store.is_null() && self.stored_row(slot) {
            return Ok(true);
        }
        if let Some(failure) = &self.failed {
            return Err(failure.error.clone());
        }
        loop {
            if self.conns.is_empty() {
                self.finish();
                return Ok(false);
            }
            for i in self.plan.columns.len()..self.width {
                *(*slot).tts_isnull.add(i) = true;
            }
            let received = self.receive_row((*slot).tts_values, (*slot).tts_isnull);
            if received.map_err(|e| self.fail(e))? {
                pg_sys::ExecStoreVirtualTuple(slot);
                return Ok(true);
            }
        }
    }

    /// Asks for rows in given formats; before the tasks are sent.
    pub fn use_formats(&mut self, formats: &[i16]) {
        self.decoder = Decoder::new(formats.to_vec());
    }

    unsafe fn stored_row(&mut self, slot: *mut TupleTableSlot) -> bool {
        // A tuple that was on disk is the slot's own until the next one: it must not live in the
        // memory of a row.
        let old = pg_sys::MemoryContextSwitchTo(self.context);
        let more = pg_sys::tuplestore_gettupleslot(self.store, true, false, self.store_slot);
        pg_sys::MemoryContextSwitchTo(old);
        if !more {
            self.exhausted = true;
            return false;
        }
        copy_row(self.store_slot, slot);
        true
    }

    /// Reads messages until a row is decoded (true), or waits for more once (false).
    unsafe fn receive_row(&mut self, values: *mut Datum, nulls: *mut bool) -> Result<bool> {
        for _ in 0..self.conns.len() {
            if self.next >= self.conns.len() {
                self.next = 0;
            }
            match self.read_conn(self.next, values, nulls)? {
                Read::Row => return Ok(true),
                Read::Empty => self.next += 1,
                Read::Ended => {
                    let c = self.conns.remove(self.next);
                    self.let_go(&c.session, true);
                }
            }
        }
        if self.conns.is_empty() {
            return Ok(false);
        }
        self.wait()?;
        Ok(false)
    }

    /// Waits until a session has something to read, and reads it.
    fn wait(&mut self) -> Result<()> {
        if self.interrupted.is_some() {
            return self.await_outcome();
        }
        self.wait_for_more().or_else(|e| self.interrupt(e))
    }

    fn wait_for_more(&mut self) -> Result<()> {
        if let [one] = self.conns.as_slice() {
            if wait_soon(&one.session)? {
                return Ok(());
            }
        }
        let sessions: Vec<&SessionRef> = self.conns.iter().map(|c| &c.session).collect();
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        wait_for(&sessions, -1, &mut ready)?;
        for i in &ready {
            if let Some(c) = self.conns.get(*i) {
                c.session.borrow_mut().fill()?;
            }
        }
        self.ready = ready;
        Ok(())
    }

    unsafe fn read_conn(&mut self, i: usize, values: *mut Datum, nulls: *mut bool) -> Result<Read> {
        let conn = &mut self.conns[i];
        let mut session = conn.session.borrow_mut();
        let id = session.id();
        loop {
            let Some(message) = session.next()? else { return Ok(Read::Empty) };
            match message {
                Message::DataRow(body) => {
                    let analysis = self.analysis.as_mut();
                    if analysis.is_some_and(|a| a.takes(id, conn.current, body)) {
                        continue;
                    }
                    self.traffic.bytes += body.len() as u64;
                    if conn.tasks.get(conn.current).is_some_and(|t| t.mute)
                        || !self.plan.returns_rows()
                    {
                        continue;
                    }
                    self.decoder.row(&self.plan.columns, self.context, body, values, nulls)?;
                    if let Some(origins) = &mut self.origins {
                        origins.push(conn.tasks.get(conn.current).map_or(0, |t| t.shard));
                    }
                    return Ok(Read::Row);
                }
                Message::CommandComplete(tag) => {
                    if self.plan.operation == Operation::Modify {
                        let task = conn.tasks.get(conn.current).copied();
                        self.count.add(task, count::tag_count(tag))?;
                    }
                    conn.current += 1;
                }
                Message::Error(e) => {
                    // Deferred constraints of a transaction of its own speak after the last task.
                    let task = conn.tasks.get(conn.current).or(conn.tasks.last());
                    let shard = task.map_or(0, |t| t.shard);
                    let error = crate::ddl::unshard::unshard_error(e, shard);
                    let error = outcome::of_whom(error, &self.interrupted);
                    self.failed = Some(Failure { error: error.clone(), of_node: true });
                    return Err(error);
                }
                Message::Ready(_) => return Ok(Read::Ended),
                _ => {}
            }
        }
    }

    /// Reads all rows ahead: a modification has to be complete before its first row goes up.
    pub unsafe fn complete(&mut self) -> Result<()> {
        if !self.conns.is_empty() {
            self.drain()?;
        }
        self.finish();
        Ok(())
    }

    /// Forgets results so that the plan can run again.
    pub unsafe fn reset(&mut self) {
        if let Some(a) = &mut self.analysis {
            a.rerun();
        }
        self.finish();
        self.conns.clear();
        if !self.store.is_null() {
            clear(self.store_slot);
            pg_sys::tuplestore_clear(self.store);
            self.exhausted = false;
        }
        self.started = false;
        self.failed = None;
        self.interrupted = None;
    }

    /// Ends the execution, also in the middle of its results.
    pub unsafe fn end(&mut self) {
        if let Some(q) = self.query.take() {
            q.finish();
        }
        self.finish();
        if !self.store.is_null() {
            pg_sys::ExecDropSingleTupleTableSlot(self.store_slot);
            pg_sys::tuplestore_end(self.store);
            self.store = std::ptr::null_mut();
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The row of a slot as that of another one of the same columns, which may be read as long as the
/// first one keeps its row.
pub unsafe fn copy_row(from: *mut TupleTableSlot, to: *mut TupleTableSlot) {
    let n = (*(*from).tts_tupleDescriptor).natts as usize;
    pg_sys::slot_getsomeattrs_int(from, n as i32);
    std::ptr::copy_nonoverlapping((*from).tts_values, (*to).tts_values, n);
    std::ptr::copy_nonoverlapping((*from).tts_isnull, (*to).tts_isnull, n);
    pg_sys::ExecStoreVirtualTuple(to);
}

/// Empties a slot.
pub unsafe fn clear(slot: *mut TupleTableSlot) {
    if let Some(f) = (*(*slot).tts_ops).clear {
        crate::pg::guard::call(|| f(slot));
    }
}

enum Read {
    Row,
    Empty,
    Ended,
}
