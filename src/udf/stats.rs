//! SQL functions of the statistics in shared memory.

use crate::error::{sqlstate, Error};
use crate::pg::fmgr::text_datum;
use crate::pg::{server, session};
use crate::pg_function;
use crate::stats::statements::Executor;
use crate::stats::{counters, statements, tenants};
use pgrx::pg_sys::{Datum, Oid};

pg_function!(
    /// `citus_stat_counters(database_id oid)`
    citus_stat_counters,
    |args| {
        let rows = args.rows()?;
        for c in counters::all(args.oid(0).map_or(0, u32::from)) {
            let mut row = vec![Some(Datum::from(Oid::from(c.database)))];
            row.extend(c.values.iter().map(|v| Some(Datum::from(*v))));
            row.push((c.reset != 0).then(|| Datum::from(c.reset)));
            rows.push(&row)?;
        }
        rows.done(args)
    }
);

pg_function!(
    /// `citus_stat_counters_reset(database_oid oid)`
    citus_stat_counters_reset,
    |args| {
        let database = match args.oid(0).map_or(0, u32::from) {
            0 => session::database(),
            database => database,
        };
        counters::reset(database, server::now_micros());
        args.void()
    }
);

pg_function!(
    /// `citus_internal.query_stats()`
    citus_query_stats,
    |args| {
        let rows = args.rows()?;
        for e in statements::all() {
            let mut row = vec![
                Some(Datum::from(e.query)),
                Some(Datum::from(Oid::from(e.user))),
                Some(Datum::from(Oid::from(e.database))),
                Some(Datum::from(e.executor)),
                (!e.tenant.is_empty()).then(|| text_datum(&e.tenant)),
                Some(Datum::from(e.calls)),
            ];
            let times = [e.times[2] * e.calls as f64, e.times[0], e.times[1], e.times[2], e.stddev];
            row.extend(times.iter().map(|t| Some(Datum::from(t.to_bits()))));
            rows.push(&row)?;
        }
        rows.done(args)
    }
);

pg_function!(
    /// `citus_stat_statements_reset()`
    citus_stat_statements_reset,
    |args| {
        statements::reset();
        args.void()
    }
);

pg_function!(
    /// `citus_executor_name(executor_type integer)`
    citus_executor_name,
    |args| {
        let number = args.required(args.i32(0), "executor_type")?;
        match Executor::name(i64::from(number)) {
            Some(name) => args.ret_text(name),
            None => Err(Error::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("there is no executor with number {number}"),
            )),
        }
    }
);

pg_function!(
    /// `citus_stat_tenants_local_internal(return_all_tenants boolean)`
    citus_stat_tenants_local,
    |args| {
        let rows = args.rows()?;
        for t in tenants::all(args.bool(0).unwrap_or(false), server::now_seconds()) {
            let count = |v: i64| Some(Datum::from(i32::try_from(v).unwrap_or(i32::MAX)));
            let seconds = |v: f64| Some(Datum::from(v.to_bits()));
            rows.push(&[
                Some(Datum::from(t.colocation)),
                Some(text_datum(&t.value)),
                count(t.reads.0),
                count(t.reads.1),
                count(t.queries.0),
                count(t.queries.1),
                seconds(t.cpu.0),
                seconds(t.cpu.1),
                Some(Datum::from(t.score)),
            ])?;
        }
        rows.done(args)
    }
);

pg_function!(
    /// `citus_stat_tenants_local_reset()`
    citus_stat_tenants_local_reset,
    |args| {
        tenants::reset();
        args.void()
    }
);
