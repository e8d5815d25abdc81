//! EXPLAIN ANALYZE of tasks: the coordinator's side of [`capture`].
//!
//! Each task is run once, as always, between two statements in the same flush: one asks the node
//! to keep the plan of what follows, the other reads that plan.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::capture::{self, Options};
use super::tasks::Task;
use crate::error::Result;
use crate::pg::{fmgr, nodes};
use crate::remote::SessionRef;
use crate::settings::{self, ExplainAnalyzeSortMethod};
use pgrx::pg_sys::{self, DefElem, EState, ExplainStmt, NodeTag, PlannedStmt};
use std::cell::RefCell;
use std::collections::HashMap;

/// A task's text is kept up to this length: rows that are routed travel in it.
const TEXT_LIMIT: usize = 16 << 10;

/// The question for the plan that was kept.
const PLAN: &str = "SELECT explain_analyze_output, execution_duration \
                      FROM pg_catalog.worker_last_saved_explain_analyze()";

thread_local! {
    /// Options of the EXPLAIN statements that run inside of each other.
    static STATEMENTS: RefCell<Vec<Options>> = const { RefCell::new(Vec::new()) };
}

/// An EXPLAIN statement begins.
pub unsafe fn enter(stmt: *mut PlannedStmt) {
    let options = match nodes::cast::<ExplainStmt>((*stmt).utilityStmt, NodeTag::T_ExplainStmt) {
        Some(e) => options_of((*e).options),
        None => Options::PLAIN,
    };
    STATEMENTS.with(|s| s.borrow_mut().push(options));
}

/// The innermost EXPLAIN statement has ended, in whichever way.
pub fn leave() {
    STATEMENTS.with(|s| s.borrow_mut().pop());
}

/// Options of the EXPLAIN statement that runs: plans are printed for other reasons, too.
pub fn statement() -> Option<Options> {
    STATEMENTS.with(|s| s.borrow().last().copied())
}

/// The server checks the options; here, what it would refuse means nothing.
unsafe fn options_of(list: *mut pg_sys::List) -> Options {
    let mut o = Options::PLAIN;
    let (mut summary, mut timing) = (None, None);
    for e in nodes::iter::<DefElem>(list) {
        let name = nodes::str_of((*e).defname);
        let value = match nodes::tag((*e).arg) {
            NodeTag::T_Invalid => "on".to_owned(),
            NodeTag::T_Integer => (*((*e).arg as *mut pg_sys::Integer)).ival.to_string(),
            NodeTag::T_Boolean => (*((*e).arg as *mut pg_sys::Boolean)).boolval.to_string(),
            NodeTag::T_String => nodes::str_of((*((*e).arg as *mut pg_sys::String)).sval),
            _ => continue,
        };
        o.set(&name, &value);
        match name.as_str() {
            "summary" => summary = Some(o.summary),
            "timing" => timing = Some(o.timing),
            _ => {}
        }
    }
    o.summary = summary.unwrap_or(o.analyze);
    o.timing = timing.unwrap_or(o.analyze);
    o
}

/// A task as it ran.
pub struct Report {
    /// Its node.
    pub group: i32,
    /// Its shard.
    pub shard: i64,
    /// Its statement, shortened, when it is shown.
    pub sql: String,
    /// Bytes of its rows that were received.
    pub bytes: u64,
    /// The node's plan.
    pub plan: String,
    /// Milliseconds.
    pub duration: f64,
}

/// What an answer of a session belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// A task that nobody looks at.
    Plain,
    /// The request to keep a plan.
    Request,
    /// Task number so and so.
    Task(usize),
    /// The plan of a task.
    Plan(usize),
}

/// Tasks of an execution.
pub struct Analysis {
    options: Options,
    all: bool,
    by_time: bool,
    reports: Vec<Report>,
    /// By session: what it owes, in order, whether that is only ours, and the shard.
    parts: HashMap<u64, Vec<(Part, bool, i64)>>,
    /// The one that is shown when not all are.
    best: Option<usize>,
    again: bool,
}

impl Analysis {
    /// What to keep of an execution: nothing, unless it is EXPLAIN ANALYZE's.
    pub unsafe fn of(estate: *mut EState) -> Option<Box<Self>> {
        if (*estate).es_instrument == 0 || !settings::explain_distributed_queries() {
            return None;
        }
        let options = statement().filter(|o| o.analyze)?;
        Some(Box::new(Analysis {
            all: settings::explain_all_tasks(),
            by_time: settings::explain_analyze_sort_method()
                == ExplainAnalyzeSortMethod::ExecutionTime,
            ..Analysis::new(options)
        }))
    }

    fn new(options: Options) -> Self {
        Analysis {
            options,
            all: false,
            by_time: true,
            reports: Vec::new(),
            parts: HashMap::new(),
            best: None,
            again: false,
        }
    }

    /// The same tasks will run again: what is kept is of the last run.
    pub fn rerun(&mut self) {
        self.again = true;
    }

    fn begin(&mut self, task: &Task) -> usize {
        if std::mem::take(&mut self.again) {
            self.reports.clear();
            self.best = None;
        }
        let sql = if self.options.verbose { shortened(&task.sql) } else { String::new() };
        self.reports.push(Report {
            group: task.group,
            shard: task.shard,
            sql,
            bytes: 0,
            plan: String::new(),
            duration: 0.0,
        });
        self.reports.len() - 1
    }

    /// New tasks of a session follow.
    pub fn start(&mut self, session: &SessionRef) {
        self.parts.insert(session.borrow().id(), Vec::new());
    }

    /// Queues a task by `send`, between the request to keep its plan and the question for it.
    pub fn queue(&mut self, session: &SessionRef, task: &Task, send: &mut dyn FnMut()) {
        let mut parts = Vec::new();
        if task.mute {
            // A replica's plan is like that of the one whose rows count.
            send();
            parts.push((Part::Plain, true, task.shard));
        } else {
            let options = fmgr::quote_literal(&self.options.to_json());
            queue(session, &format!("SELECT pg_catalog.citus_explain_next({options})"));
            send();
            queue(session, PLAN);
            let i = self.begin(task);
            let order = [(Part::Request, true), (Part::Task(i), false), (Part::Plan(i), true)];
            parts.extend(order.map(|(part, mute)| (part, mute, task.shard)));
        }
        self.parts.entry(session.borrow().id()).or_default().extend(parts);
    }

    /// Whether each answer that a session owes is only ours, and its shard.
    pub fn queued(&self, session: &SessionRef) -> impl Iterator<Item = (bool, i64)> + '_ {
        let parts = self.parts.get(&session.borrow().id());
        parts.into_iter().flatten().map(|(_, mute, shard)| (*mute, *shard))
    }

    /// Takes note of a row in answer number `n` of a session; true when it is no row of a task.
    pub fn takes(&mut self, session: u64, n: usize, body: &[u8]) -> bool {
        let part = self.parts.get(&session).and_then(|p| p.get(n)).map_or(Part::Plain, |p| p.0);
        match part {
            Part::Plain => false,
            Part::Request => true,
            Part::Task(i) => {
                if let Some(r) = self.reports.get_mut(i) {
                    r.bytes += body.len() as u64;
                }
                false
            }
            Part::Plan(i) => {
                let mut columns = columns(body).unwrap_or_default().into_iter();
                let plan = columns.next().flatten().unwrap_or_default();
                let duration = columns.next().flatten().and_then(|d| d.parse().ok());
                self.complete(i, plan, duration.unwrap_or_default());
                true
            }
        }
    }

    /// Runs a task in this backend.
    pub fn here<R>(&mut self, task: &Task, run: impl FnOnce() -> Result<R>) -> Result<R> {
        let i = self.begin(task);
        capture::arm(self.options);
        let result = run();
        capture::disarm();
        let result = result?;
        if let Some(s) = capture::saved() {
            self.complete(i, s.text, s.duration);
        }
        Ok(result)
    }

    fn complete(&mut self, i: usize, plan: String, duration: f64) {
        if let Some(r) = self.reports.get_mut(i) {
            r.plan = plan;
            r.duration = duration;
        }
        if self.all {
            return;
        }
        // Only one is shown: the others need not be kept.
        let loser = match self.best {
            Some(best) if self.before(best, i) => i,
            best => {
                self.best = Some(i);
                match best {
                    Some(best) => best,
                    None => return,
                }
            }
        };
        if let Some(r) = self.reports.get_mut(loser) {
            r.plan = String::new();
            r.sql = String::new();
        }
    }

    /// Whether task `a` is shown before the later task `b`.
    fn before(&self, a: usize, b: usize) -> bool {
        match (self.reports.get(a), self.reports.get(b)) {
            (Some(a), Some(b)) if self.by_time => a.duration >= b.duration,
            (Some(a), Some(b)) => a.shard <= b.shard,
            _ => true,
        }
    }

    /// Number of tasks, and those to be shown.
    pub fn shown(&self) -> (usize, Vec<&Report>) {
        let n = self.reports.len();
        if !self.all {
            return (n, self.best.and_then(|i| self.reports.get(i)).into_iter().collect());
        }
        let mut all: Vec<&Report> = self.reports.iter().collect();
        if self.by_time {
            all.sort_by(|a, b| b.duration.total_cmp(&a.duration));
        } else {
            all.sort_by_key(|r| r.shard);
        }
        (n, all)
    }
}

fn queue(session: &SessionRef, sql: &str) {
    let mut s = session.borrow_mut();
    s.queue_parse("", sql, &[]);
    s.queue_bind("", "", &[], &[]);
    s.queue_execute("", 0);
}

/// A text of limited length.
pub fn shortened(sql: &str) -> String {
    if sql.len() <= TEXT_LIMIT {
        return sql.to_owned();
    }
    let mut end = TEXT_LIMIT;
    while !sql.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} ...", &sql[..end])
}

/// The values of a DataRow in text form.
fn columns(body: &[u8]) -> Option<Vec<Option<String>>> {
    let mut rest = body.get(2..)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4)?;
        let len = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if len < 0 {
            out.push(None);
            rest = tail;
            continue;
        }
        let (bytes, next) = tail.split_at_checked(len as usize)?;
        out.push(Some(String::from_utf8_lossy(bytes).into_owned()));
        rest = next;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis(all: bool, by_time: bool) -> Analysis {
        Analysis { all, by_time, ..Analysis::new(Options::PLAIN) }
    }

    fn run(a: &mut Analysis, shard: i64, duration: f64) {
        let task = Task {
            group: 1,
            sql: "SELECT 1".into(),
            mute: false,
            shard,
            copies: 1,
            rows: None,
            own: None,
        };
        let i = a.begin(&task);
        a.complete(i, format!("plan of {shard}"), duration);
    }

    fn shards(a: &Analysis) -> Vec<i64> {
        a.shown().1.iter().map(|r| r.shard).collect()
    }

    #[test]
    fn slowest_first_or_by_shard() {
        for (by_time, expected) in [(true, [2, 3, 1]), (false, [1, 2, 3])] {
            let mut a = analysis(true, by_time);
            [(3, 2.0), (1, 1.0), (2, 3.0)].iter().for_each(|(s, d)| run(&mut a, *s, *d));
            assert_eq!(shards(&a), expected);
            let mut one = analysis(false, by_time);
            [(3, 2.0), (1, 1.0), (2, 3.0)].iter().for_each(|(s, d)| run(&mut one, *s, *d));
            assert_eq!(shards(&one), expected[..1]);
            assert_eq!(one.shown().0, 3);
            assert_eq!(one.shown().1[0].plan, format!("plan of {}", expected[0]));
            one.rerun();
            run(&mut one, 9, 0.5);
            assert_eq!((one.shown().0, shards(&one)), (1, vec![9]));
        }
    }

    #[test]
    fn values_of_a_row() {
        let body = [0, 2, 0, 0, 0, 2, b'a', b'b', 255, 255, 255, 255];
        assert_eq!(columns(&body), Some(vec![Some("ab".to_owned()), None]));
        assert_eq!(columns(&[0, 1, 0, 0, 0, 9, b'a']), None);
        assert_eq!(columns(&[]), None);
    }

    #[test]
    fn long_texts_are_shortened() {
        let long = "ä".repeat(TEXT_LIMIT);
        assert!(shortened(&long).len() <= TEXT_LIMIT + 4);
        assert_eq!(shortened("SELECT 1"), "SELECT 1");
    }
}
