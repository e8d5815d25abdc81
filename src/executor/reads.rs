//! Statements that read several shards as of one moment, see [`crate::txn::consistent`].
//!
//! In READ COMMITTED a statement has a snapshot of its own, and with `citus.consistent_reads` on
//! it has one on every node, too. It is taken when the statement starts, before its first task: by
//! then it is known which tables the plan reads. The statement is found by the snapshot that it
//! has on this server, so that a stable function's statement, which has the same, reads with it on
//! the nodes as well.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::node;
use crate::catalog;
use crate::error::Result;
use crate::pg::{nodes, snapshot, xact};
use crate::plan::Target;
use crate::txn::{self, consistent, sight};
use pgrx::pg_sys::{self, CustomScan, List, NodeTag, Oid, Plan, QueryDesc, Snapshot};
use std::cell::RefCell;
use std::rc::Rc;

/// A statement that runs, and what nodes hold for it.
struct Statement {
    q: *mut QueryDesc,
    snapshot: Snapshot,
    level: i32,
    hold: Rc<consistent::Hold>,
}

thread_local! {
    static STATEMENTS: RefCell<Vec<Statement>> = const { RefCell::new(Vec::new()) };
}

/// Whether [`starting`] may have something to do; costs nothing.
pub fn may_concern() -> bool {
    snapshot::is_reading() || xact::has_one_snapshot() || consistent::by_statement()
}

/// A statement is about to start.
pub unsafe fn starting(q: *mut QueryDesc, eflags: i32) -> Result<()> {
    if snapshot::is_reading() && !txn::is_nested() {
        return snapshot::use_held(q);
    }
    if eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0 || !catalog::extension_ready() {
        return Ok(());
    }
    let stmt = (*q).plannedstmt;
    if xact::has_one_snapshot() {
        let mut here = plain_tables((*stmt).rtable).peekable();
        if here.peek().is_some() {
            consistent::reads_here()?;
        }
        return here.try_for_each(sight::check_plain);
    }
    if !consistent::by_statement() || (*q).snapshot.is_null() || !(*stmt).rowMarks.is_null() {
        return Ok(());
    }
    let mut found = Found::default();
    found.plan((*stmt).planTree)?;
    for sub in nodes::iter::<Plan>((*stmt).subplans) {
        found.plan(sub)?;
    }
    let alone =
        found.scans == 1 && !found.parallel && plain_tables((*stmt).rtable).next().is_none();
    if found.scans == 0 || alone || hold_of((*q).snapshot).is_some() {
        return Ok(());
    }
    let hold = Rc::new(consistent::hold(&found.groups, &|| snapshot::renew(q))?);
    let statement = Statement { q, snapshot: (*q).snapshot, level: xact::nest_level(), hold };
    STATEMENTS.with(|s| s.borrow_mut().push(statement));
    Ok(())
}

/// A statement has ended.
pub fn ending(q: *mut QueryDesc) {
    let ended = STATEMENTS.with(|s| {
        let mut s = s.borrow_mut();
        let at = s.iter().rposition(|s| std::ptr::eq(s.q, q))?;
        Some(s.remove(at))
    });
    if let Some(s) = ended {
        // At the end of the transaction the nodes drop it anyway.
        if xact::in_block() || xact::nest_level() > 1 || txn::is_nested() {
            s.hold.drop_later();
        }
    }
}

/// Whether some statement has a hold: nothing to end without one.
pub fn any() -> bool {
    STATEMENTS.with(|s| !s.borrow().is_empty())
}

/// What nodes hold for the statement with this snapshot.
pub fn hold_of(snapshot: Snapshot) -> Option<Rc<consistent::Hold>> {
    STATEMENTS.with(|s| {
        let s = s.borrow();
        s.iter().rfind(|s| std::ptr::eq(s.snapshot, snapshot)).map(|s| s.hold.clone())
    })
}

/// Statements of an aborted (sub)transaction do not end by themselves.
pub fn forget(level: i32) {
    STATEMENTS.with(|s| {
        if let Ok(mut s) = s.try_borrow_mut() {
            s.retain(|s| s.level < level);
        }
    });
}

/// The tables of this server in a query that are not under our management.
unsafe fn plain_tables(rtable: *mut List) -> impl Iterator<Item = Oid> {
    nodes::iter::<pg_sys::RangeTblEntry>(rtable).filter_map(|rte| {
        let (kind, relid) = ((*rte).relkind as u8, (*rte).relid);
        let plain = (*rte).rtekind == pg_sys::RTEKind::RTE_RELATION
            && matches!(kind, pg_sys::RELKIND_RELATION | pg_sys::RELKIND_MATVIEW)
            && u32::from(relid) >= pg_sys::FirstNormalObjectId
            && catalog::table(relid).is_none();
        plain.then_some(relid)
    })
}

/// Scans of ours in a plan.
#[derive(Default)]
struct Found {
    scans: usize,
    parallel: bool,
    groups: Vec<i32>,
}

impl Found {
    unsafe fn plan(&mut self, plan: *mut Plan) -> Result<()> {
        if plan.is_null() {
            return Ok(());
        }
        let below: &[*mut List] = match nodes::tag(plan) {
            NodeTag::T_CustomScan => {
                let scan = plan as *mut CustomScan;
                if let Some(read) = node::plan_of(scan)? {
                    self.scans += 1;
                    match &read.target {
                        Target::Shards { anchor, single, .. } => {
                            self.parallel |= !single;
                            self.add(*anchor);
                        }
                        Target::AnyReplica { anchor } | Target::AllReplicas { anchor } => {
                            self.add(*anchor)
                        }
                        Target::Statement { .. } => {}
                    }
                }
                &[(*scan).custom_plans]
            }
            NodeTag::T_Append => &[(*(plan as *mut pg_sys::Append)).appendplans],
            NodeTag::T_MergeAppend => &[(*(plan as *mut pg_sys::MergeAppend)).mergeplans],
            NodeTag::T_SubqueryScan => {
                self.plan((*(plan as *mut pg_sys::SubqueryScan)).subplan)?;
                &[]
            }
            _ => &[],
        };
        for list in below {
            for p in nodes::iter::<Plan>(*list) {
                self.plan(p)?;
            }
        }
        self.plan((*plan).lefttree)?;
        self.plan((*plan).righttree)
    }

    /// The nodes that may be asked for a table.
    fn add(&mut self, anchor: u32) {
        let here = catalog::local_group().unwrap_or(0);
        let Some(table) = catalog::table(Oid::from(anchor)) else { return };
        for shard in &table.shards {
            let places = || shard.placements.iter().map(|p| p.group);
            if places().any(|g| g == here) {
                continue;
            }
            for group in places() {
                if !self.groups.contains(&group) {
                    self.groups.push(group);
                }
            }
        }
    }
}

/// Whether a scan is all that a statement does: then nothing reads after it.
pub unsafe fn is_whole(ss: *mut pg_sys::ScanState, estate: *mut pg_sys::EState) -> bool {
    let (stmt, ps) = ((*estate).es_plannedstmt, &(*ss).ps);
    !stmt.is_null()
        && std::ptr::eq((*stmt).planTree, ps.plan)
        && (*stmt).subplans.is_null()
        && ps.qual.is_null()
        && ps.ps_ProjInfo.is_null()
}
