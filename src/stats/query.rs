//! Follows a distributed query from its start to its end, for all three statistics.
//!
//! A query may have several distributed scans; it is counted once. What happens on other nodes
//! counts by the time that it takes; CPU time is this process' own.

use super::counters::{self, Counter};
use super::statements::{self, Executor};
use super::tenants;
use crate::pg::server;
use crate::settings::{self, Track};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Instant;

thread_local! {
    /// Queries at work, by the address of their memory.
    static RUNNING: RefCell<Vec<(usize, Weak<Query>)>> = const { RefCell::new(Vec::new()) };
    /// Last value of a distribution column that a shard was looked up for.
    static NOTED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A query at work.
pub struct Query {
    id: u64,
    started: Instant,
    cpu: u64,
    tasks: Cell<usize>,
    done: Cell<bool>,
    read: Cell<bool>,
    tenant: RefCell<Option<(i32, String)>>,
}

/// Whether any statistics are wanted.
fn wanted() -> bool {
    settings::enable_stat_counters() || wants_tenant()
}

/// Whether the tenants of queries are wanted, see [`note_tenant`].
pub fn wants_tenant() -> bool {
    settings::stat_statements_track() != Track::None || tenants::tracking()
}

/// Remembers for which value a shard was looked up; the caller asked [`wants_tenant`].
pub fn note_tenant(value: Option<String>) {
    NOTED.with(|n| *n.borrow_mut() = value);
}

/// What [`note_tenant`] remembered, once.
pub fn take_tenant() -> Option<String> {
    NOTED.with(|n| n.borrow_mut().take())
}

/// A scan begins; `memory` is the address of its query's memory, the same for all its scans.
pub fn enter(memory: usize) -> Option<Rc<Query>> {
    if !wanted() {
        return None;
    }
    RUNNING.with(|running| {
        let mut running = running.borrow_mut();
        // A query that failed has dropped its scans and with them what is strong here.
        running.retain(|(_, q)| q.strong_count() > 0);
        let known = running.iter().find(|(m, _)| *m == memory).and_then(|(_, q)| q.upgrade());
        Some(known.unwrap_or_else(|| {
            let query = Rc::new(Query {
                id: server::query_id(),
                started: Instant::now(),
                cpu: server::cpu_micros(),
                tasks: Cell::new(0),
                done: Cell::new(false),
                read: Cell::new(true),
                tenant: RefCell::new(None),
            });
            running.push((memory, Rc::downgrade(&query)));
            query
        }))
    })
}

impl Query {
    /// Tasks were sent; a single one may be a tenant's: its colocation group and its value.
    pub fn sent(&self, tasks: usize, read: bool, tenant: Option<(i32, String)>) {
        self.tasks.set(self.tasks.get() + tasks);
        self.read.set(self.read.get() && read);
        *self.tenant.borrow_mut() = tenant;
    }

    /// The query ended well.
    pub fn finish(&self) {
        if self.tasks.get() == 0 || self.done.replace(true) {
            return;
        }
        let single = self.tasks.get() == 1;
        counters::count(if single { Counter::QuerySingleShard } else { Counter::QueryMultiShard });
        let tenant = self.tenant.borrow_mut().take().filter(|_| single);
        let milliseconds = self.started.elapsed().as_secs_f64() * 1e3;
        let value = tenant.as_ref().map(|t| t.1.as_str());
        statements::record(self.id, Executor::Adaptive, value, milliseconds);
        if let Some((colocation, value)) = tenant {
            let cpu = server::cpu_micros().saturating_sub(self.cpu);
            let (now, chance) = (server::now_seconds(), server::random_fraction());
            tenants::record(colocation, &value, self.read.get(), cpu, now, chance);
        }
    }
}
