//! The plan of a statement as it ran, for whoever asks afterwards: the node's side of EXPLAIN
//! ANALYZE.
//!
//! A coordinator asks for the plan of the next statement ([`arm`]), sends the statement as always,
//! and reads the plan ([`saved`]). So an analyzed statement has the same text, parameters, rows
//! and command tag as any other, and a statement that nobody asked about pays for one comparison.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use crate::error::Result;
use crate::pg::{guard, nodes};
use pgrx::pg_sys::{self, ExplainFormat, ExplainState, InstrumentOption, QueryDesc};
use std::cell::{Cell, RefCell};
use std::time::Instant;

/// Options of EXPLAIN that change what a plan looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// ANALYZE; what is captured always is.
    pub analyze: bool,
    /// VERBOSE
    pub verbose: bool,
    /// COSTS
    pub costs: bool,
    /// SETTINGS
    pub settings: bool,
    /// BUFFERS
    pub buffers: bool,
    /// WAL
    pub wal: bool,
    /// TIMING
    pub timing: bool,
    /// SUMMARY
    pub summary: bool,
    /// FORMAT
    pub format: ExplainFormat::Type,
}

impl Options {
    /// EXPLAIN's defaults.
    pub const PLAIN: Options = Options {
        analyze: false,
        verbose: false,
        costs: true,
        settings: false,
        buffers: false,
        wal: false,
        timing: true,
        summary: false,
        format: ExplainFormat::EXPLAIN_FORMAT_TEXT,
    };

    fn flag(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "analyze" => &mut self.analyze,
            "verbose" => &mut self.verbose,
            "costs" => &mut self.costs,
            "settings" => &mut self.settings,
            "buffers" => &mut self.buffers,
            "wal" => &mut self.wal,
            "timing" => &mut self.timing,
            "summary" => &mut self.summary,
            _ => return None,
        })
    }

    /// Sets the option `name`; what is not understood is left as it is.
    pub fn set(&mut self, name: &str, value: &str) {
        let value = value.to_ascii_lowercase();
        if name == "format" {
            self.format = match value.as_str() {
                "xml" => ExplainFormat::EXPLAIN_FORMAT_XML,
                "json" => ExplainFormat::EXPLAIN_FORMAT_JSON,
                "yaml" => ExplainFormat::EXPLAIN_FORMAT_YAML,
                _ => ExplainFormat::EXPLAIN_FORMAT_TEXT,
            };
        } else if let Some(flag) = self.flag(name) {
            *flag = matches!(value.as_str(), "on" | "true" | "1" | "t" | "yes");
        }
    }

    /// The format's name.
    pub fn format_name(&self) -> &'static str {
        match self.format {
            ExplainFormat::EXPLAIN_FORMAT_XML => "xml",
            ExplainFormat::EXPLAIN_FORMAT_JSON => "json",
            ExplainFormat::EXPLAIN_FORMAT_YAML => "yaml",
            _ => "text",
        }
    }

    /// The options as a JSON object.
    pub fn to_json(mut self) -> String {
        let mut out = String::from("{");
        for name in ["verbose", "costs", "settings", "buffers", "wal", "timing", "summary"] {
            let on = self.flag(name).is_some_and(|f| *f);
            out.push_str(&format!("\"{name}\": {on}, "));
        }
        out.push_str(&format!("\"format\": \"{}\"}}", self.format_name()));
        out
    }

    fn instrumentation(&self) -> i32 {
        let mut out = if self.timing {
            InstrumentOption::INSTRUMENT_TIMER
        } else {
            InstrumentOption::INSTRUMENT_ROWS
        };
        if self.buffers {
            out |= InstrumentOption::INSTRUMENT_BUFFERS;
        }
        if self.wal {
            out |= InstrumentOption::INSTRUMENT_WAL;
        }
        out as i32
    }
}

/// A plan as it ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// EXPLAIN's output.
    pub text: String,
    /// Milliseconds that it took.
    pub duration: f64,
    /// Rows of its topmost node.
    pub rows: f64,
    /// How often that ran.
    pub loops: f64,
}

/// The transaction and subtransaction that something belongs to: after a failure it means nothing.
type Place = (u32, u32);

#[derive(Clone, Copy)]
struct Armed {
    options: Options,
    place: Place,
    planning: f64,
}

#[derive(Clone, Copy)]
struct Running {
    desc: *mut QueryDesc,
    options: Options,
    place: Place,
    planning: f64,
    starting: f64,
}

thread_local! {
    static ARMED: Cell<Option<Armed>> = const { Cell::new(None) };
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
    /// How many planners run inside of each other while armed.
    static PLANNING: Cell<u32> = const { Cell::new(0) };
    static SAVED: RefCell<Option<Saved>> = const { RefCell::new(None) };
}

fn place() -> Place {
    // SAFETY: plain reads of this backend's state.
    unsafe {
        let proc = pg_sys::MyProc;
        let transaction = if proc.is_null() { 0 } else { (*proc).lxid };
        (transaction, pg_sys::GetCurrentSubTransactionId())
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The next statement's plan is kept.
pub fn arm(options: Options) {
    SAVED.with(|s| s.borrow_mut().take());
    RUNNING.set(None);
    PLANNING.set(0);
    ARMED.set(Some(Armed { options, place: place(), planning: 0.0 }));
}

/// Nothing is waited for any more.
pub fn disarm() {
    ARMED.set(None);
    RUNNING.set(None);
}

/// Nothing is waited for, and nothing is kept.
pub fn forget() {
    disarm();
    SAVED.with(|s| s.borrow_mut().take());
}

/// The plan that was kept last.
pub fn saved() -> Option<Saved> {
    SAVED.with(|s| s.borrow().clone())
}

/// The planner begins; what it answers is for [`planned`].
pub fn planning() -> Option<Instant> {
    ARMED.get()?;
    PLANNING.set(PLANNING.get() + 1);
    Some(Instant::now())
}

/// The planner ends.
pub fn planned(since: Option<Instant>) {
    let Some(since) = since else { return };
    let depth = PLANNING.get().saturating_sub(1);
    PLANNING.set(depth);
    if let (Some(mut a), 0) = (ARMED.get(), depth) {
        a.planning += millis(since);
        ARMED.set(Some(a));
    }
}

/// An execution begins: when its plan is to be kept, it is told to measure. What this answers is
/// for [`started`].
pub unsafe fn starting(q: *mut QueryDesc, eflags: i32) -> Option<Instant> {
    if RUNNING.get().is_some_and(|r| r.desc == q) {
        // Another one was at this address, and failed.
        RUNNING.set(None);
    }
    let armed = ARMED.get()?;
    // What the planner executes is not the statement.
    if PLANNING.get() > 0 || eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0 {
        return None;
    }
    ARMED.set(None);
    if armed.place != place() {
        return None;
    }
    (*q).instrument_options |= armed.options.instrumentation();
    let (options, place, planning) = (armed.options, armed.place, armed.planning);
    RUNNING.set(Some(Running { desc: q, options, place, planning, starting: 0.0 }));
    Some(Instant::now())
}

/// The execution has begun.
pub unsafe fn started(q: *mut QueryDesc, since: Instant) {
    if let Some(mut r) = RUNNING.get().filter(|r| r.desc == q) {
        r.starting = millis(since);
        RUNNING.set(Some(r));
        if (*q).totaltime.is_null() {
            let old = pg_sys::MemoryContextSwitchTo((*(*q).estate).es_query_cxt);
            (*q).totaltime =
                pg_sys::InstrAlloc(1, InstrumentOption::INSTRUMENT_TIMER as i32, false);
            pg_sys::MemoryContextSwitchTo(old);
        }
    }
}

/// Whether the plan of this execution, which is about to end, is to be kept.
pub fn is_captured(q: *mut QueryDesc) -> bool {
    RUNNING.get().is_some_and(|r| r.desc == q)
}

/// Keeps the plan of an execution.
pub unsafe fn ending(q: *mut QueryDesc) -> Result<()> {
    let Some(r) = RUNNING.take() else { return Ok(()) };
    if r.place.0 != place().0 || (*q).planstate.is_null() {
        return Ok(());
    }
    let mut duration = r.starting;
    let total = (*q).totaltime;
    if !total.is_null() {
        guard::call(|| pg_sys::InstrEndLoop(total));
        duration += (*total).total * 1000.0;
    }
    let old = pg_sys::MemoryContextSwitchTo((*(*q).estate).es_query_cxt);
    let es = state(&r.options);
    guard::call(|| print(q, es, r.planning, duration));
    let text = nodes::str_of((*(*es).str_).data).trim_end_matches('\n').to_owned();
    pg_sys::MemoryContextSwitchTo(old);
    let top = (*(*q).planstate).instrument;
    let (rows, loops) = if top.is_null() { (0.0, 0.0) } else { ((*top).ntuples, (*top).nloops) };
    SAVED.with(|s| *s.borrow_mut() = Some(Saved { text, duration, rows, loops }));
    Ok(())
}

/// A state of EXPLAIN with options; memory is the current context's.
pub unsafe fn state(options: &Options) -> *mut ExplainState {
    let es = pg_sys::NewExplainState();
    (*es).analyze = true;
    (*es).verbose = options.verbose;
    (*es).costs = options.costs;
    (*es).settings = options.settings;
    (*es).buffers = options.buffers;
    (*es).wal = options.wal;
    (*es).timing = options.timing;
    (*es).summary = options.summary;
    (*es).format = options.format;
    es
}

/// What PostgreSQL's EXPLAIN prints of one statement. Owns nothing: an error may pass through.
pub unsafe fn print(q: *mut QueryDesc, es: *mut ExplainState, planning: f64, duration: f64) {
    pg_sys::ExplainBeginOutput(es);
    pg_sys::ExplainOpenGroup(c"Query".as_ptr(), std::ptr::null(), true, es);
    pg_sys::ExplainPrintPlan(es, q);
    let time = |name: *const std::ffi::c_char, value: f64| {
        if (*es).summary {
            pg_sys::ExplainPropertyFloat(name, c"ms".as_ptr(), value, 3, es);
        }
    };
    if (*es).analyze {
        time(c"Planning Time".as_ptr(), planning);
        pg_sys::ExplainPrintTriggers(es, q);
    }
    if (*es).costs {
        pg_sys::ExplainPrintJITSummary(es, q);
    }
    if (*es).analyze {
        time(c"Execution Time".as_ptr(), duration);
    }
    pg_sys::ExplainCloseGroup(c"Query".as_ptr(), std::ptr::null(), true, es);
    pg_sys::ExplainEndOutput(es);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_as_json() {
        let mut o = Options::PLAIN;
        o.set("verbose", "TRUE");
        o.set("costs", "off");
        o.set("format", "YAML");
        o.set("nonsense", "1");
        assert_eq!(
            o.to_json(),
            "{\"verbose\": true, \"costs\": false, \"settings\": false, \"buffers\": false, \
             \"wal\": false, \"timing\": true, \"summary\": false, \"format\": \"yaml\"}"
        );
    }
}
