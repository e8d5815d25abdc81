//! What executions of one plan share: its decoded form, and the texts of its tasks.
//!
//! A prepared statement's plan is executed many times. The plan tree holds it as bytes, which
//! begin with a number; under this number the decoded form is kept from the second execution on,
//! so that statements that never come again leave nothing behind.

use super::decode;
use super::tasks::Task;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::query;
use crate::plan::DistPlan;
use crate::planner::whole;
use pgrx::pg_sys::List;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

/// Plans kept; more than this and all are forgotten.
const MAX_PLANS: usize = 200;
/// Texts kept for one plan.
const MAX_TEXTS: usize = 256;
/// Numbers of plans that were seen once.
const SEEN: usize = 64;

/// A plan ready to run.
pub struct Prepared {
    plan: DistPlan,
    /// Types of the parameters as announced to nodes.
    pub types: Vec<u32>,
    /// Formats that columns are asked for in, where nobody wants others.
    pub formats: Vec<i16>,
    /// A number that differs with the types of the columns.
    pub shape: u64,
    texts: RefCell<Texts>,
}

/// Tasks by shard number, as long as no metadata changes.
#[derive(Default)]
struct Texts {
    generation: u64,
    tasks: FxHashMap<u32, Task>,
}

#[derive(Default)]
struct Kept {
    plans: FxHashMap<u64, Rc<Prepared>>,
    seen: Vec<u64>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

impl Deref for Prepared {
    type Target = DistPlan;

    fn deref(&self) -> &DistPlan {
        &self.plan
    }
}

impl Prepared {
    /// A plan for one execution.
    pub fn once(plan: DistPlan) -> Rc<Prepared> {
        Rc::new(Prepared {
            types: plan.params.iter().map(|p| p.remote).collect(),
            formats: decode::formats(&plan.columns),
            shape: decode::shape(&plan.columns),
            texts: RefCell::default(),
            plan,
        })
    }

    /// The plan in a scan node's private data.
    ///
    /// # Safety
    /// The list must be the private data of a scan made by the planner.
    pub unsafe fn of_scan(private: *mut List) -> Result<Rc<Prepared>> {
        // SAFETY: the caller's promise.
        unsafe { Self::nth_of_scan(private, 0) }
    }

    /// The plan at a place in a scan node's private data.
    ///
    /// # Safety
    /// As for [`Prepared::of_scan`].
    pub unsafe fn nth_of_scan(private: *mut List, place: usize) -> Result<Rc<Prepared>> {
        // SAFETY: the caller's promise.
        let private = unsafe { query::List::from_raw(private) };
        query::read_bytes(private, place, Self::read)
            .flatten()
            .ok_or_else(|| Error::internal("unreadable distributed plan"))
    }

    fn read(bytes: &[u8]) -> Option<Rc<Prepared>> {
        let (number, bytes) = whole::split_number(bytes)?;
        if let Some(known) = KEPT.with(|k| k.borrow().plans.get(&number).cloned()) {
            return Some(known);
        }
        let plan = Prepared::once(DistPlan::decode(bytes)?);
        KEPT.with(|k| k.borrow_mut().offer(number, &plan));
        Some(plan)
    }

    /// The only task on a shard, when it was made before and still holds.
    pub fn task(&self, shard: u32) -> Option<Task> {
        let texts = self.texts.borrow();
        if texts.generation != catalog::generation() {
            return None;
        }
        texts.tasks.get(&shard).cloned()
    }

    /// Remembers the only task on a shard. `generation` is the metadata's from before it was made.
    pub fn remember(&self, shard: u32, task: &Task, generation: u64) {
        let mut texts = self.texts.borrow_mut();
        if texts.generation != generation || texts.tasks.len() >= MAX_TEXTS {
            texts.tasks.clear();
            texts.generation = generation;
        }
        texts.tasks.insert(shard, task.clone());
    }
}

impl Kept {
    /// Keeps a plan that was seen before.
    fn offer(&mut self, number: u64, plan: &Rc<Prepared>) {
        self.seen.resize(SEEN, 0);
        let Some(seen) = self.seen.get_mut(number as usize % SEEN) else { return };
        if *seen != number {
            *seen = number;
            return;
        }
        if self.plans.len() >= MAX_PLANS {
            self.plans.clear();
        }
        self.plans.insert(number, plan.clone());
    }
}
