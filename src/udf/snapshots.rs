//! SQL functions by which a coordinator lets this node read as of one moment. They are open to
//! everybody, as the coordinator calls them as the user of its client: what they do to a session
//! is no more than what REPEATABLE READ does.

use crate::error::{sqlstate, Error, Result};
use crate::pg::{snapshot, xact};
use crate::pg_function;

fn require_block() -> Result<()> {
    if xact::in_block() {
        return Ok(());
    }
    let message = "a snapshot can be held only in a transaction block";
    Err(Error::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message))
}

pg_function!(
    /// `citus_internal_hold_snapshot(number)`
    citus_hold_snapshot,
    |args| {
        require_block()?;
        snapshot::hold(args.required(args.i32(0), "number")?)?;
        args.void()
    }
);

pg_function!(
    /// `citus_internal_read_with_snapshot(number)`
    citus_read_with_snapshot,
    |args| {
        require_block()?;
        snapshot::read_with(args.required(args.i32(0), "number")?)?;
        args.void()
    }
);

pg_function!(
    /// `citus_internal_drop_snapshot(number)`
    citus_drop_snapshot,
    |args| {
        snapshot::drop_held(args.required(args.i32(0), "number")?);
        args.void()
    }
);
