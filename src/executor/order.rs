//! The order of writers of the same shards.
//!
//! The copies of a replicated shard stay equal only when all of them see the same writes in the
//! same order; and two statements that write several shards must not each hold what the other
//! waits for. Both are settled here, before anything is sent, by locks on the coordinator
//! (`pg::shard_lock`), which cost no message:
//!
//! - What writes to a replicated shard, or locks rows of it, excludes all other writers of it
//!   until the transaction ends. New rows of others do not matter to a new row, so statements that
//!   only add rows run side by side, unless they could conflict in a unique index: a single row is
//!   then written to the first copy before the others, so that it is decided there. Inside of a
//!   longer transaction they exclude each other all the same: an UPDATE after the INSERT would wait
//!   for others that wait for the same.
//! - What changes rows in several shards of a table without replicas excludes others of its kind,
//!   shard by shard in the order of their ids, or all at once where there are many.
//!
//! A statement on one shard without replicas takes no lock.

use super::tasks::Task;
use crate::catalog::{self, Kind, Table};
use crate::ddl::info;
use crate::error::{sqlstate, Error, Result};
use crate::pg::shard_lock::{self, Class, Level};
use crate::pg::{invalidation, relation, session};
use crate::plan::{Apply, DistPlan, Operation, Target};
use crate::{settings, txn};
use pgrx::pg_sys::Oid;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Above this number of shards one lock on the table takes the place of theirs.
const FEW: usize = 8;

/// Locks to be taken, in their order.
#[derive(Default)]
struct Needs(BTreeMap<(Class, u64), Level>);

/// Shards of the tables of a plan, by position.
#[derive(Clone, Copy)]
enum Part<'a> {
    Some(&'a [usize]),
    All,
}

impl Needs {
    fn add(&mut self, class: Class, number: u64, level: Level) {
        let held = self.0.entry((class, number)).or_insert(level);
        *held = match (*held, level) {
            (Level::Part, Level::Shared) | (Level::Shared, Level::Part) => Level::Exclusive,
            (a, b) => a.max(b),
        };
    }

    /// What it takes to write to a table.
    fn add_table(&mut self, table: &Table, part: Part, shared: bool) {
        let level = if shared { Level::Shared } else { Level::Exclusive };
        let shard = |i: usize| table.shards.get(i).map(|s| s.id as u64);
        let at = match part {
            _ if table.shards.len() == 1 => {
                shard(0).into_iter().for_each(|s| self.add(Class::Shard, s, level));
                return;
            }
            Part::Some(at) if at.len() <= FEW => at,
            _ => return self.add(Class::Table, u32::from(table.relid).into(), level),
        };
        let intent = if shared { Level::PartShared } else { Level::Part };
        self.add(Class::Table, u32::from(table.relid).into(), intent);
        at.iter().filter_map(|i| shard(*i)).for_each(|s| self.add(Class::Shard, s, level));
    }

    /// Takes the locks. True when the metadata has changed meanwhile.
    fn take(self, nowait: bool) -> Result<bool> {
        let before = catalog::generation();
        let deadline = nowait.then(shard_lock::deadline);
        for ((class, number), level) in self.0 {
            match deadline {
                None => shard_lock::lock(class, number, level),
                Some(deadline) if shard_lock::try_lock(class, number, level, deadline)? => (),
                Some(_) => return Err(not_available(class, number)),
            }
        }
        invalidation::accept();
        Ok(catalog::generation() != before)
    }
}

/// The error of NOWAIT. Which of the rows others have locked is known to the nodes only.
fn not_available(class: Class, number: u64) -> Error {
    let relid = match class {
        Class::Table => Some(Oid::from(number as u32)),
        _ => catalog::relation_of_shard(number as i64),
    };
    let name = relid.and_then(session::relation_name).map(|(_, name)| name).unwrap_or_default();
    let message = format!("could not obtain lock on row in relation \"{name}\"");
    Error::new(sqlstate::LOCK_NOT_AVAILABLE, message)
        .detail("Another transaction writes or locks rows of the same shards.")
}

/// Takes the locks that the tasks of a plan need. True when the metadata has changed meanwhile:
/// the tasks have to be made anew.
pub fn lock(plan: &DistPlan, tasks: &[Task]) -> Result<bool> {
    if plan.operation == Operation::Select || matches!(tasks, [t] if t.copies == 1) {
        return Ok(false);
    }
    let replicated = tasks.iter().any(|t| t.copies > 1);
    let many = tasks.windows(2).any(|w| w[0].shard != w[1].shard);
    if !replicated && (!many || plan.append || !one_after_the_other()) {
        return Ok(false);
    }
    let at = positions(plan, tasks);
    let mut needs = Needs::default();
    for relid in &plan.locks {
        let Some(table) = catalog::table(Oid::from(*relid)) else { continue };
        if replicated && !table.replicated {
            continue;
        }
        let shared = adds_beside_others(plan, &table);
        needs.add_table(&table, Part::Some(&at), shared);
        add_relatives(&mut needs, &table, Part::Some(&at), plan)?;
    }
    needs.take(plan.nowait)
}

/// Takes the locks for all rows that a plan may write, before it reads any.
pub fn lock_apply(apply: &Apply) -> Result<()> {
    for step in &apply.steps {
        for relid in &step.plan.locks {
            lock_table(Oid::from(*relid), step.plan.append && apply.steps.len() == 1)?;
        }
    }
    Ok(())
}

/// Takes the locks of a statement that writes to any shard of a table; of tables without replicas
/// none. `append` when it does nothing but add rows.
pub fn lock_table(relid: Oid, append: bool) -> Result<()> {
    let Some(table) = catalog::table(relid).filter(|t| t.replicated) else { return Ok(()) };
    let plan = DistPlan::writing(relid.into(), append);
    let mut needs = Needs::default();
    needs.add_table(&table, Part::All, adds_beside_others(&plan, &table));
    add_relatives(&mut needs, &table, Part::All, &plan)?;
    needs.take(false).map(|_| ())
}

/// Whether the first copy of each shard has to be written before the others.
pub fn is_leader_first(plan: &DistPlan, tasks: &[Task]) -> bool {
    if plan.operation != Operation::Modify || !tasks.iter().any(|t| t.mute) {
        return false;
    }
    let tables = || plan.locks.iter().filter_map(|t| catalog::table(Oid::from(*t)));
    settings::all_modifications_commutative()
        || (plan.append && tables().any(|t| adds_beside_others(plan, &t)))
}

/// Whether a statement runs beside others that add rows to the same replicated shards.
fn adds_beside_others(plan: &DistPlan, table: &Table) -> bool {
    if settings::all_modifications_commutative() {
        return plan.operation == Operation::Modify;
    }
    plan.append
        && !txn::in_longer_transaction()
        && (plan.insert || !relation::has_unique_index(table.relid))
}

/// Whether statements that change several shards wait for each other.
fn one_after_the_other() -> bool {
    settings::enable_deadlock_prevention() && !settings::all_modifications_commutative()
}

/// Positions of the tasks' shards in the tables of the plan.
fn positions(plan: &DistPlan, tasks: &[Task]) -> Vec<usize> {
    let anchor = match &plan.target {
        Target::Shards { anchor, .. } => catalog::table(Oid::from(*anchor)),
        _ => None,
    };
    let Some(table) = anchor else { return vec![0] };
    let number: FxHashMap<i64, usize> =
        table.shards.iter().enumerate().map(|(i, s)| (s.id, i)).collect();
    let mut at: Vec<usize> = tasks.iter().filter_map(|t| number.get(&t.shard).copied()).collect();
    at.dedup();
    at
}

// ---- foreign keys -------------------------------------------------------------------------------

/// Replicated tables that are written or locked along with one.
#[derive(Default)]
struct Relatives {
    /// Their rows are locked by new rows that refer to them.
    referenced: Vec<Oid>,
    /// Their rows change when rows that they refer to do.
    changed: Vec<Oid>,
}

/// Adds what writing to a table does to others by foreign keys: nodes would lock their rows in
/// different orders.
fn add_relatives(needs: &mut Needs, table: &Table, part: Part, plan: &DistPlan) -> Result<()> {
    let relatives = relatives(table.relid)?;
    let part_of = |t: &Table| if t.kind == Kind::Hash { part } else { Part::All };
    for t in relatives.referenced.iter().filter_map(|o| catalog::table(*o)) {
        needs.add_table(&t, part_of(&t), true);
    }
    if plan.append || plan.operation != Operation::Modify {
        return Ok(());
    }
    for t in relatives.changed.iter().filter_map(|o| catalog::table(*o)) {
        needs.add_table(&t, part_of(&t), settings::all_modifications_commutative());
    }
    Ok(())
}

thread_local! {
    /// What is known, as long as no metadata changes.
    static KNOWN: RefCell<(u64, FxHashMap<u32, Rc<Relatives>>)> = RefCell::default();
}

fn relatives(relid: Oid) -> Result<Rc<Relatives>> {
    let generation = catalog::generation();
    let key = u32::from(relid);
    let known = KNOWN.with(|k| {
        let k = k.borrow();
        if k.0 == generation {
            k.1.get(&key).cloned()
        } else {
            None
        }
    });
    if let Some(found) = known {
        return Ok(found);
    }
    let found = Rc::new(find_relatives(relid)?);
    if catalog::generation() == generation {
        KNOWN.with(|k| {
            let mut k = k.borrow_mut();
            if k.0 != generation {
                *k = (generation, FxHashMap::default());
            }
            k.1.insert(key, found.clone());
        });
    }
    Ok(found)
}

fn find_relatives(relid: Oid) -> Result<Relatives> {
    let replicated = |o: Oid| catalog::table(o).is_some_and(|t| t.replicated);
    let mut found = Relatives::default();
    let mut next = vec![relid];
    while let Some(table) = next.pop() {
        for k in info::foreign_keys(table)? {
            if k.from == relid && k.to != relid && replicated(k.to) {
                found.referenced.push(k.to);
            }
            // `a` and `r`: nothing happens to the rows that refer.
            let acts = |a: u8| !matches!(a, b'a' | b'r');
            let follows = k.to == table && (acts(k.actions.0) || acts(k.actions.1));
            if follows && k.from != relid && !found.changed.contains(&k.from) && replicated(k.from)
            {
                found.changed.push(k.from);
                next.push(k.from);
            }
        }
    }
    Ok(found)
}
