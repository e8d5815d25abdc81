//! SQL functions that keep the plan of a statement as it ran.

use crate::error::{sqlstate, Error};
use crate::executor::capture::{self, Options};
use crate::pg::fmgr::{output, text_datum};
use crate::pg::{command, spi};
use crate::pg_function;
use pgrx::pg_sys::{Datum, JSONBOID};

/// Options from a JSON object such as `{"verbose": true, "format": "json"}`.
fn options(json: Option<Datum>) -> crate::error::Result<Options> {
    let mut options = Options { analyze: true, summary: true, ..Options::PLAIN };
    let Some(json) = json else { return Ok(options) };
    let sql = "SELECT key, value FROM pg_catalog.jsonb_each_text($1::pg_catalog.jsonb)";
    for row in spi::query(sql, &[spi::text(&output(JSONBOID, json))])? {
        if let [Some(name), Some(value)] = row.as_slice() {
            options.set(name, value);
        }
    }
    Ok(options)
}

pg_function!(
    /// `citus_explain_next(options jsonb)`
    citus_explain_next,
    |args| {
        capture::arm(options(args.datum(0))?);
        args.void()
    }
);

pg_function!(
    /// `worker_save_query_explain_analyze(query text, options jsonb)`
    citus_save_query_explain_analyze,
    |args| {
        let sql = args.required(args.text(0), "query")?;
        let options = options(args.datum(1))?;
        let run = || {
            command::run_into(&sql, || capture::arm(options), args)?;
            capture::saved().map(drop).ok_or_else(|| {
                Error::new(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    "only SELECT, INSERT, UPDATE, DELETE and MERGE can be analyzed",
                )
            })
        };
        let result = run();
        capture::disarm();
        result?;
        args.null()
    }
);

pg_function!(
    /// `worker_last_saved_explain_analyze()`
    citus_last_saved_explain_analyze,
    |args| {
        let rows = args.rows()?;
        if let Some(s) = capture::saved() {
            let float = |v: f64| Some(Datum::from(v.to_bits()));
            rows.push(&[
                Some(text_datum(&s.text)),
                float(s.duration),
                float(s.rows),
                float(s.loops),
            ])?;
        }
        rows.done(args)
    }
);
