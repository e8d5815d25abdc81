//! Rows from below on their way into statements on shards.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

mod copying;
mod once;
mod store;

use super::analyze::Analysis;
use super::batch::{self, Batch};
use super::order;
use super::prepared::Prepared;
use super::reach;
use super::run::Exec;
use super::tasks::{self, Value};
use super::values::{Constants, Output};
use crate::catalog::{self, Table};
use crate::copy::RowSink;
use crate::error::{Error, Result};
use crate::pg::value::Typed;
use crate::pg::wait::check_for_interrupts;
use crate::pg::{fmgr, guard};
use crate::plan::{Apply, Route, Step, Target, When};
use crate::planner::{modify, values};
use crate::txn::sight::Sight;
use once::Taking;
use pgrx::pg_sys::{self, Datum, List, Oid, PlanState, ScanState, TupleTableSlot};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use store::Store;

/// Text of buffered rows is sent when it reaches this size.
const FLUSH_BYTES: usize = 4 << 20;

/// State of a modification.
pub struct Inner {
    apply: Apply,
    runs: Vec<Run>,
    exprs: *mut List,
    child: *mut PlanState,
    columns: Vec<Output>,
    /// Where the rows from below are known without running it.
    constants: Option<Constants>,
    bytes: usize,
    sent: bool,
    seen: HashSet<String>,
    /// What is done to rows that others may be equal to.
    alike: HashMap<String, String>,
    /// Rows from below, or the result where it is kept here.
    rows: Store,
    kept: Store,
    /// Shards of the rows that are buffered, where the results come in the order of the rows.
    order: Option<Vec<i64>>,
    /// Where the rest of the rows goes, once there are many.
    sink: Option<RowSink>,
    copied: u64,
    /// Whether everything is written.
    pub done: bool,
}

/// A step at work.
struct Run {
    exec: Exec,
    /// Rows by shard number.
    buffers: BTreeMap<u32, Batch>,
    /// What stands for rows that travel as arrays; empty until there are some.
    select: String,
    /// Rows that it is for.
    taken: u64,
}

impl Inner {
    /// A modification by the rows of `child`, whose plan has the outputs `tlist`; results have the
    /// shape of `desc`.
    pub unsafe fn new(
        apply: Apply,
        exprs: *mut List,
        child: *mut PlanState,
        desc: pg_sys::TupleDesc,
        context: pg_sys::MemoryContext,
    ) -> Self {
        let run = |step: &Step| Run {
            exec: Exec::new(Prepared::once(step.plan.clone()), desc, context),
            buffers: BTreeMap::new(),
            select: String::new(),
            taken: 0,
        };
        Inner {
            runs: apply.steps.iter().map(run).collect(),
            apply,
            exprs,
            child,
            columns: Output::of_list((*(*child).plan).targetlist),
            constants: Constants::of(child),
            bytes: 0,
            sent: false,
            seen: HashSet::new(),
            alike: HashMap::new(),
            rows: Store::none(),
            kept: Store::none(),
            order: None,
            sink: None,
            copied: 0,
            done: false,
        }
    }

    /// Keeps the tasks' plans when EXPLAIN ANALYZE asks for them.
    pub unsafe fn analyze(&mut self, estate: *mut pg_sys::EState) {
        for run in &mut self.runs {
            run.exec.analysis = Analysis::of(estate);
        }
    }

    /// What was kept of each step that ran.
    pub fn analyses(&self) -> Vec<&Exec> {
        self.runs.iter().map(|r| &r.exec).filter(|e| e.started()).collect()
    }

    /// Rows written.
    pub fn affected(&self) -> u64 {
        self.counting().map(Exec::affected).sum::<u64>() + self.copied
    }

    /// Frees everything, also in the middle of results.
    pub unsafe fn end(&mut self) {
        self.sink = None;
        self.runs.iter_mut().for_each(|r| r.exec.end());
        self.rows.close();
        self.kept.close();
        let child = self.child;
        guard::call(|| pg_sys::ExecEndNode(child));
    }

    /// Reads all rows from below and writes them.
    pub unsafe fn run(&mut self, ss: *mut ScanState) -> Result<()> {
        // Before any row is read: what is read decides what is written.
        order::lock_apply(&self.apply)?;
        self.runs.iter_mut().for_each(|r| r.exec.returned_by(ss));
        let table = target_table(&self.apply)?;
        let mut params = super::node::evaluate(self.exprs, &mut (*ss).ps);
        let mut given = self.apply.given.clone();
        let context = (*(*ss).ps.state).es_query_cxt;
        self.order = self.apply.returns_new_rows().then(Vec::new);
        if self.order.is_some() {
            self.runs.iter_mut().for_each(|r| r.exec.remember_origins());
        }
        if self.keeps() {
            let old = pg_sys::MemoryContextSwitchTo(context);
            self.kept = Store::open((*(*ss).ss_ScanTupleSlot).tts_tupleDescriptor);
            pg_sys::MemoryContextSwitchTo(old);
        }
        if self.apply.materialize {
            self.materialize(context);
        }
        let econtext = (*ss).ps.ps_ExprContext;
        let limit = if self.may_copy() { copying::COPY_BYTES } else { FLUSH_BYTES };
        loop {
            check_for_interrupts()?;
            pg_sys::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
            let slot = if self.apply.materialize { self.rows.next() } else { self.below() };
            if slot.is_null() {
                break;
            }
            let old = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
            if ((*slot).tts_nvalid as usize) < self.columns.len() {
                pg_sys::slot_getsomeattrs_int(slot, self.columns.len() as i32);
            }
            let r = if self.sink.is_none() { self.take(&table, slot) } else { Ok(()) };
            pg_sys::MemoryContextSwitchTo(context);
            for (param, column) in given.drain(..) {
                // The same in all rows.
                if let Some((typ, value)) = params.get_mut(param as usize) {
                    *value = Row(slot).get(column).map(|d| fmgr::copied(*typ, d));
                }
            }
            pg_sys::MemoryContextSwitchTo(old);
            r?;
            if self.sink.is_some() {
                self.copy(&table, slot)?;
            } else if self.bytes >= limit {
                self.flush(&params, false)?;
                self.begin_copy(&table, context)?;
            }
        }
        if let Some(sink) = self.sink.take() {
            self.copied = sink.finish()?;
        }
        self.rows.close();
        self.flush(&params, true)?;
        self.check_alike(&table)?;
        let counted = self.affected();
        (*(*ss).ps.state).es_processed += counted;
        self.done = true;
        Ok(())
    }

    /// Whether the result is kept here.
    fn keeps(&self) -> bool {
        self.order.is_some() || !self.apply.keep.is_empty()
    }

    fn counting(&self) -> impl Iterator<Item = &Exec> {
        self.runs.iter().zip(&self.apply.steps).filter(|(_, s)| s.counts).map(|(r, _)| &r.exec)
    }

    /// The next row of the plan below, or null.
    unsafe fn below(&mut self) -> *mut TupleTableSlot {
        if let Some(c) = &mut self.constants {
            return c.next();
        }
        let child = self.child;
        let slot = guard::call(|| match (*child).ExecProcNode {
            Some(f) => f(child),
            None => std::ptr::null_mut(),
        });
        if slot.is_null() || (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
            return std::ptr::null_mut();
        }
        slot
    }

    /// Reads everything first: what is written must not be seen by what is still read.
    unsafe fn materialize(&mut self, context: pg_sys::MemoryContext) {
        loop {
            let slot = self.below();
            if slot.is_null() {
                return;
            }
            let old = pg_sys::MemoryContextSwitchTo(context);
            if self.rows.store.is_null() {
                let desc = pg_sys::CreateTupleDescCopy((*slot).tts_tupleDescriptor);
                self.rows = Store::open(desc);
            }
            pg_sys::MemoryContextSwitchTo(old);
            let store = self.rows.store;
            guard::call(|| pg_sys::tuplestore_puttupleslot(store, slot));
        }
    }

    /// Adds one row to the texts of its action's steps.
    unsafe fn take(&mut self, table: &Rc<Table>, slot: *mut TupleTableSlot) -> Result<()> {
        let row = Row(slot);
        let action = match self.apply.action {
            None => 0,
            Some(c) => match row.get(c).map(|d| d.value() as i32) {
                Some(a) if a > 0 => a as usize - 1,
                _ => return Ok(()),
            },
        };
        let taking = self.taking(action, &row)?;
        if taking == Taking::No {
            return Ok(());
        }
        for c in &self.apply.checks {
            if row.get(c.column).is_none_or(|d| d.value() & 0xff == 0) {
                return Err(c.error());
            }
        }
        let moves = self.moves(action, table, &row)?;
        let step = |me: &Self, i: usize| me.apply.actions.get(action)?.get(i).copied();
        let mut i = 0;
        while let Some(s) = step(self, i) {
            i += 1;
            let s = s as usize;
            let Some((when, by_number)) =
                self.apply.steps.get(s).map(|x| (x.when, matches!(x.route, Route::Number(_))))
            else {
                continue;
            };
            if when != When::Always && moves != (when == When::Moves) {
                continue;
            }
            if let Some(run) = self.runs.get_mut(s) {
                run.taken += 1;
            }
            // A row like this has been sent, which stands for both.
            if taking == Taking::First || !by_number {
                self.add(s, table, &row)?;
            }
        }
        if !self.apply.keep.is_empty() {
            self.keep(&row);
        }
        Ok(())
    }

    unsafe fn shard(&self, route: Route, table: &Rc<Table>, row: &Row) -> Result<u32> {
        match route {
            Route::First => Ok(0),
            Route::Number(c) => row
                .get(c)
                .map(|d| d.value() as u32)
                .ok_or_else(|| Error::internal("a row without a shard")),
            Route::Key(k) => {
                let Some(v) = row.get(k) else { return modify::shard_without_key(table) };
                let typ = self.columns.get(k as usize).map_or(Oid::INVALID, |c| c.typ);
                let set = values::shard_of(table, Some(Typed::new(typ, v)))
                    .ok_or_else(|| Error::internal("the distribution column cannot be hashed"))?;
                set.first().copied().ok_or_else(|| no_shard(table))
            }
        }
    }

    unsafe fn add(&mut self, step: usize, table: &Rc<Table>, row: &Row) -> Result<()> {
        let (Some(plan), true) = (self.apply.steps.get(step), step < self.runs.len()) else {
            return Err(Error::internal("a step that does not exist"));
        };
        let shard = self.shard(plan.route, table, row)?;
        if let Some(order) = &mut self.order {
            order.push(table.shards.get(shard as usize).map_or(0, |s| s.id));
        }
        let sent = || plan.columns.iter().filter_map(|s| self.columns.get(s.column as usize));
        if !self.runs[step].buffers.contains_key(&shard) {
            let arrays = plan.untyped && self.runs[step].exec.takes_arrays(table, shard)?;
            let batch = Batch::new(sent(), arrays);
            if matches!(batch, Batch::Arrays(_)) && self.runs[step].select.is_empty() {
                self.runs[step].select = batch::select_of(sent());
            }
            self.runs[step].buffers.insert(shard, batch);
        }
        let added = match self.runs[step].buffers.get_mut(&shard) {
            Some(Batch::Literals(text)) => literals(text, plan, &mut self.columns, row)?,
            Some(Batch::Arrays(arrays)) => {
                let mut added = 0;
                for (sent, array) in plan.columns.iter().zip(arrays) {
                    if let Some(out) = self.columns.get_mut(sent.column as usize) {
                        added += array.push(out, row.get(sent.column));
                    }
                }
                added
            }
            None => 0,
        };
        self.bytes += added;
        Ok(())
    }

    /// Puts a row's own columns among the results.
    unsafe fn keep(&mut self, row: &Row) {
        let (mut values, mut nulls) = (Vec::new(), Vec::new());
        for c in &self.apply.keep {
            let d = row.get(*c);
            nulls.push(d.is_none());
            values.push(d.unwrap_or(Datum::from(0usize)));
        }
        let desc = (*self.kept.slot).tts_tupleDescriptor;
        let store = self.kept.store;
        let (v, n) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        guard::call(|| pg_sys::tuplestore_putvalues(store, desc, v, n));
    }

    /// Sends what is buffered and waits until it is done.
    unsafe fn flush(&mut self, params: &[Value], last: bool) -> Result<()> {
        self.bytes = 0;
        let busy = self.runs.iter().filter(|r| !r.buffers.is_empty()).count();
        for (run, step) in self.runs.iter_mut().zip(&self.apply.steps) {
            let batches = std::mem::take(&mut run.buffers);
            if batches.is_empty() {
                continue;
            }
            let shards: Vec<u32> = batches.keys().copied().collect();
            let select = run.select.as_str();
            let ready: BTreeMap<u32, _> =
                batches.into_iter().map(|(i, b)| (i, b.finish(select))).collect();
            let rows = |i: u32| ready.get(&i).map_or(("", None), |(t, p)| (&**t, p.clone()));
            let mut failed = Vec::new();
            let tasks = loop {
                let tasks = tasks::tasks_with_rows(
                    &run.exec.plan,
                    &shards,
                    Some(&rows),
                    &Sight::of_transaction,
                )?;
                if !reach::settle(&run.exec.plan, &tasks, &mut failed)? {
                    break tasks;
                }
            };
            drop(ready);
            let checked = self.apply.place.is_some();
            run.exec.must_use_transaction(!last || self.sent || busy > 1 || checked);
            self.sent = true;
            let params = if run.exec.plan.params.is_empty() { &[] } else { params };
            run.exec.start_tasks(tasks, params)?;
            run.exec.complete()?;
            if let Some(moves) = step.moves.as_ref().filter(|_| run.exec.affected() < run.taken) {
                return Err(moves.error());
            }
            if let Some(order) = &mut self.order {
                run.exec.arrange(&std::mem::take(order), self.kept.store);
            }
        }
        Ok(())
    }

    /// The next row of the result into `slot`.
    pub unsafe fn result(&mut self, slot: *mut TupleTableSlot) -> Result<()> {
        if self.keeps() {
            let row = self.kept.next();
            if !row.is_null() {
                if let Some(copy) = (*(*slot).tts_ops).copyslot {
                    guard::call(|| copy(slot, row));
                }
            }
            return Ok(());
        }
        for run in &mut self.runs {
            if !run.exec.plan.columns.is_empty() && run.exec.next_row(slot)? {
                break;
            }
        }
        Ok(())
    }
}

/// Adds a row as literals, and answers how many bytes it takes.
unsafe fn literals(
    text: &mut String,
    step: &Step,
    columns: &mut [Output],
    row: &Row,
) -> Result<usize> {
    let before = text.len();
    let types = before == 0 && !step.untyped;
    text.push_str(match (before, step.untyped) {
        (0, true) => "VALUES (",
        (0, false) => "(",
        _ => ", (",
    });
    for (i, sent) in step.columns.iter().enumerate() {
        let Some(out) = columns.get_mut(sent.column as usize) else {
            return Err(Error::internal("a column that does not exist"));
        };
        if i > 0 {
            text.push_str(", ");
        }
        match row.get(sent.column) {
            None => text.push_str("NULL"),
            Some(d) => out.literal(text, d, !types),
        }
        if types {
            text.push_str("::");
            text.push_str(if sent.as_text { "pg_catalog.text" } else { &out.cast });
        }
    }
    text.push(')');
    Ok(text.len() - before)
}

/// A row from below, its columns read.
struct Row(*mut TupleTableSlot);

impl Row {
    unsafe fn get(&self, i: u32) -> Option<Datum> {
        let i = i as usize;
        if i >= (*self.0).tts_nvalid as usize || *(*self.0).tts_isnull.add(i) {
            return None;
        }
        Some(*(*self.0).tts_values.add(i))
    }
}

fn target_table(apply: &Apply) -> Result<Rc<Table>> {
    let target = apply.steps.first().map(|s| &s.plan.target);
    let Some(Target::Shards { anchor, .. } | Target::AllReplicas { anchor }) = target else {
        return Err(Error::internal("rows without a target"));
    };
    catalog::table(Oid::from(*anchor)).ok_or_else(|| Error::internal("the target table is gone"))
}

fn no_shard(table: &Table) -> Error {
    Error::new(
        crate::error::sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("no shard of table {} covers the row's hash value", u32::from(table.relid)),
    )
}
