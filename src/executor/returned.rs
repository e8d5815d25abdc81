//! What is left to do here with the rows that a write returns.
//!
//! A write of a single shard can be a transaction of its own on the node: it is committed before its
//! rows are here. That is right only as long as nothing can go wrong with them here, because a statement
//! that fails must not have changed anything.

#![allow(unsafe_op_in_unsafe_fn)]

use super::decode::has_plain_binary;
use super::run::Exec;
use crate::pg::copy::client_speaks_server_encoding;
use crate::pg::nodes;
use crate::plan::Column;
use pgrx::pg_sys::{self, NodeTag, ScanState, TargetEntry};

impl Exec {
    /// Says what scan returns the rows.
    ///
    /// # Safety
    /// As [`may_fail_here`].
    pub unsafe fn returned_by(&mut self, ss: *const ScanState) {
        self.goes_on_here = may_fail_here(ss, &self.plan.columns);
    }
}

/// Whether reading, evaluating or passing on rows with these columns may fail in a scan of ours.
///
/// # Safety
/// `ss` is the state of a scan, whose expressions have been initialized.
unsafe fn may_fail_here(ss: *const ScanState, columns: &[Column]) -> bool {
    if columns.is_empty() {
        return false;
    }
    let plain = || columns.iter().all(|c| has_plain_binary(c.typ));
    !(*ss).ps.qual.is_null()
        || (!(*ss).ps.ps_ProjInfo.is_null() && computes((*(*ss).ps.plan).targetlist))
        || !plain()
        || !client_speaks_server_encoding()
}

/// Whether outputs are more than columns in another order.
unsafe fn computes(list: *mut pg_sys::List) -> bool {
    nodes::iter::<TargetEntry>(list)
        .any(|t| !matches!(nodes::tag((*t).expr), NodeTag::T_Var | NodeTag::T_Const))
}
