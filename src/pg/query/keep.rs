//! A query and its plan kept beyond the planner call.

use super::{PlannedStmt, Query, Ref};
use crate::pg::{guard, nodes};
use pgrx::pg_sys;
use std::ptr::NonNull;

/// Copies of a query and of its plan in memory of their own.
///
/// This is the one type here that may outlive the call: nothing else points into its memory,
/// which goes when the value does, and no handle of it leaves this module; what is handed out is
/// a copy.
pub struct KeptPlan {
    context: pg_sys::MemoryContext,
    query: NonNull<pg_sys::Query>,
    plan: NonNull<pg_sys::PlannedStmt>,
}

impl KeptPlan {
    /// Keeps copies.
    pub fn new(query: Query, plan: PlannedStmt) -> KeptPlan {
        // SAFETY: valid nodes are copied into the new context; copies are never null. When a copy
        // fails, the context is a child of memory that lives as long as the process: a leak of
        // at most what was copied, after "out of memory".
        unsafe {
            let context = guard::call(|| {
                pg_sys::AllocSetContextCreateInternal(
                    pg_sys::CacheMemoryContext,
                    c"citus plan of a statement's shape".as_ptr(),
                    pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                    pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                    pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
                )
            });
            let old = pg_sys::MemoryContextSwitchTo(context);
            let query = NonNull::new_unchecked(nodes::copy(query.as_ptr()));
            let plan = NonNull::new_unchecked(nodes::copy(plan.as_ptr()));
            pg_sys::MemoryContextSwitchTo(old);
            KeptPlan { context, query, plan }
        }
    }

    /// Whether the plan is one for this query.
    pub fn is_for(&self, query: Query) -> bool {
        // SAFETY: valid nodes.
        unsafe { nodes::equal(self.query.as_ptr(), query.as_ptr()) }
    }

    /// A copy of the plan for one execution.
    pub fn plan(&self) -> PlannedStmt {
        // SAFETY: a valid node; a copy is never null.
        unsafe { Ref(NonNull::new_unchecked(nodes::copy(self.plan.as_ptr()))) }
    }
}

impl Drop for KeptPlan {
    fn drop(&mut self) {
        // SAFETY: made in `new`, deleted only here.
        unsafe { pg_sys::MemoryContextDelete(self.context) }
    }
}
