//! Runs distributed plans: the CustomScan adapter, task scheduling, rows in.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

pub mod again;
pub mod analyze;
mod apply;
mod apply_rows;
mod batch;
pub mod capture;
mod cursor;
mod decode;
mod explain;
mod lists;
mod local;
mod methods;
mod node;
pub mod order;
pub mod pass;
mod prepared;
pub mod reach;
pub mod reads;
mod returned;
pub mod rights;
mod run;
mod tasks;
mod values;
mod with;

pub use apply::apply_methods;
pub use cursor::cursor_methods;
pub use node::ROUTER_NAME;
pub use with::with_methods;

use crate::pg::query::Methods;
use crate::plan::{DistPlan, Target};

/// Registers the node types; once per process, from `_PG_init`.
pub fn register() {
    node::register();
    apply::register();
    with::register();
    cursor::register();
    crate::txn::on_end(|level| {
        reads::forget(level);
        rights::forget(level);
    });
}

/// The methods whose name EXPLAIN shows: a single task, or many in parallel.
pub fn methods(plan: &DistPlan) -> Methods {
    let single = match &plan.target {
        Target::Shards { single, .. } => *single,
        Target::AnyReplica { .. } => true,
        Target::AllReplicas { .. } => false,
        Target::Statement { .. } => return with::rows_methods(),
    };
    node::scan_methods(single)
}
