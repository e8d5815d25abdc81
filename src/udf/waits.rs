//! SQL functions about transactions over nodes and who waits for whom.

use crate::error::{sqlstate, Error};
use crate::pg::fmgr::text_datum;
use crate::pg::procs;
use crate::pg_function;
use crate::remote::backends;
use crate::txn::deadlock;
use pgrx::pg_sys::Datum;

pg_function!(
    /// `check_distributed_deadlocks()`
    citus_check_distributed_deadlocks,
    |_args| Ok(Datum::from(deadlock::check()?))
);

pg_function!(
    /// `citus_internal.local_lock_waits()`
    citus_local_lock_waits,
    |args| {
        let rows = args.rows()?;
        for w in procs::lock_waits()? {
            rows.push(&[
                Some(Datum::from(w.waiter)),
                Some(Datum::from(w.since)),
                Some(Datum::from(w.blocker)),
                w.prepared.as_deref().map(text_datum),
            ])?;
        }
        rows.done(args)
    }
);

pg_function!(
    /// `citus_internal.assigned_transactions()`
    citus_assigned_transactions,
    |args| {
        let rows = args.rows()?;
        for w in backends::all() {
            if let Some((node, number, time)) = w.assigned {
                let values = [Datum::from(w.pid), Datum::from(node), Datum::from(number)];
                let mut row: Vec<_> = values.into_iter().map(Some).collect();
                row.push(Some(Datum::from(time)));
                rows.push(&row)?;
            }
        }
        rows.done(args)
    }
);

pg_function!(
    /// `assign_distributed_transaction_id(node, number, stamp)`
    citus_assign_transaction,
    |args| {
        let node = args.required(args.i32(0), "initiator_node_identifier")?;
        let number = args.required(args.i64(1), "transaction_number")?;
        let stamp = args.required(args.i64(2), "transaction_stamp")?;
        if node < 0 || number <= 0 {
            return Err(Error::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("node {node} and number {number} do not identify a transaction"),
            )
            .hint("Node ids are not negative, numbers of transactions are positive."));
        }
        if !backends::assign(node, number, stamp) {
            return Err(Error::new(
                sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the transaction already has a distributed transaction id",
            )
            .hint("It keeps the id until it ends."));
        }
        args.void()
    }
);
