//! SQL functions about the ids of transactions.

use crate::error::{sqlstate, Error};
use crate::pg::starts::{self, TransactionId};
use crate::pg::xact;
use crate::pg_function;
use pgrx::pg_sys::Datum;

pg_function!(
    /// `citus_internal_transaction_id()`: assigns an id when there is none.
    citus_transaction_id,
    |args| {
        let start = starts::current()?;
        args.ret_text(&TransactionId { id: xact::full_id(), start }.to_string())
    }
);

pg_function!(
    /// `citus_internal_lost_transaction(id, start)`
    citus_lost_transaction,
    |args| {
        let id = args.required(args.i64(0), "id")?.cast_unsigned();
        let start = u64::try_from(args.required(args.i64(1), "start")?).map_err(|_| {
            Error::new(sqlstate::INVALID_PARAMETER_VALUE, "numbers of starts are not negative")
        })?;
        args.ret(starts::is_lost(TransactionId { id, start })?.map(Datum::from))
    }
);
