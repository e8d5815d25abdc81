//! Many rows go to their shards by COPY.

use super::Inner;
use crate::catalog::Table;
use crate::copy::RowSink;
use crate::error::{Error, Result};
use crate::plan::Route;
use crate::planner::modify;
use pgrx::pg_sys::{self, TupleTableSlot};
use std::rc::Rc;

/// More rows than fit into this size go by COPY, when it may be used: its chunks are sent without
/// waiting for an answer, and rows for shards here are not parsed. Fewer go by the statement, which
/// needs no transaction on one node.
pub(super) const COPY_BYTES: usize = 64 << 10;

impl Inner {
    /// Whether rows may go by COPY. EXPLAIN ANALYZE shows statements.
    pub(super) fn may_copy(&self) -> bool {
        let shown = self.runs.iter().any(|r| r.exec.analysis.is_some());
        !self.apply.copy.is_empty() && !shown
    }

    /// From now on rows go by COPY, if they may.
    pub(super) unsafe fn begin_copy(
        &mut self,
        table: &Rc<Table>,
        context: pg_sys::MemoryContext,
    ) -> Result<()> {
        if self.may_copy() {
            let old = pg_sys::MemoryContextSwitchTo(context);
            let sink = RowSink::new(table.clone(), &self.apply.copy);
            pg_sys::MemoryContextSwitchTo(old);
            self.sink = Some(sink?);
        }
        Ok(())
    }

    /// Adds a row to what goes by COPY.
    pub(super) unsafe fn copy(&mut self, table: &Table, slot: *mut TupleTableSlot) -> Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let n = self.apply.copy.len();
        if ((*slot).tts_nvalid as usize) < n {
            return Err(Error::internal("a row with too few columns"));
        }
        let values = std::slice::from_raw_parts((*slot).tts_values, n);
        let nulls = std::slice::from_raw_parts((*slot).tts_isnull, n);
        match self.apply.steps.first().map(|s| s.route) {
            Some(Route::Key(k)) if nulls.get(k as usize) == Some(&true) => {
                sink.push_to(modify::shard_without_key(table)? as usize, values, nulls)
            }
            _ => sink.push(values, nulls),
        }
    }
}
