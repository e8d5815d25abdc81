//! Statements whose result is small: run, wait, collect as text.

use super::cancel::{cancel_all, cancel_and_leave};
use super::message::Message;
use super::session::SessionRef;
use super::wait::{wait_for, wait_one, wait_soon};
use super::wire;
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Result of a simple statement.
#[derive(Clone, Debug, Default)]
pub struct TextResult {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// Command tag of the last command.
    pub tag: String,
}

/// Runs a statement (simple protocol) and collects its last result.
pub fn query(session: &SessionRef, sql: &str) -> Result<TextResult> {
    session.borrow_mut().queue_query(sql);
    let mut c = Collect::default();
    while !c.read(session)? {
        wait_one(session)?;
    }
    c.finish()
}

/// Runs one statement on each session, all at the same time; one result per session, in order.
/// The outer error is an interrupt.
pub fn query_all(work: &[(SessionRef, String)]) -> Result<Vec<Result<TextResult>>> {
    let sessions: Vec<SessionRef> = work.iter().map(|w| w.0.clone()).collect();
    start_all(work)?;
    collect_all(&sessions)
}

thread_local! {
    /// Sessions of their own whose answers are awaited.
    static APART: RefCell<Vec<SessionRef>> = const { RefCell::new(Vec::new()) };
}

/// [`query_all`] on sessions of their own: there is no transaction whose end brings them to rest, so
/// what they run is cancelled here when the wait for it is interrupted.
pub fn query_all_apart(work: &[(SessionRef, String)]) -> Result<Vec<Result<TextResult>>> {
    APART.with(|a| *a.borrow_mut() = work.iter().map(|w| w.0.clone()).collect());
    let answers = query_all(work).inspect_err(|_| drop(cancel_all(&running_apart())));
    APART.with(|a| a.borrow_mut().clear());
    answers
}

/// The process ends, from within a wait: sessions of their own stop what they run. Never raises.
pub fn leave_apart() {
    let busy = running_apart();
    if !busy.is_empty() {
        cancel_and_leave(&busy);
    }
}

fn running_apart() -> Vec<SessionRef> {
    let running =
        |s: &SessionRef| s.try_borrow().is_ok_and(|s| !s.is_broken() && s.outstanding() > 0);
    let all = APART.with(|a| a.try_borrow().map(|a| a.clone()).unwrap_or_default());
    all.into_iter().filter(running).collect()
}

/// Sends one statement on each session.
pub fn start_all(work: &[(SessionRef, String)]) -> Result<()> {
    for (session, sql) in work {
        let mut s = session.borrow_mut();
        s.queue_query(sql);
        s.flush()?;
    }
    Ok(())
}

/// [`query_all`] within a limit of time. A session that has not answered by then cannot be used
/// any more.
pub fn query_all_within(
    work: &[(SessionRef, String)],
    limit: Duration,
) -> Result<Vec<Result<TextResult>>> {
    let sessions: Vec<SessionRef> = work.iter().map(|w| w.0.clone()).collect();
    start_all(work)?;
    collect_until(&sessions, Some(Instant::now() + limit), false)
}

/// Collects the result of the statement that each session runs.
pub fn collect_all(work: &[SessionRef]) -> Result<Vec<Result<TextResult>>> {
    collect_until(work, None, false)
}

/// [`collect_all`] for statements that all have to succeed: the first failure ends the wait, and
/// the others may be running still.
pub fn collect_successes(work: &[SessionRef]) -> Result<Vec<TextResult>> {
    collect_until(work, None, true)?.into_iter().collect()
}

fn collect_until(
    work: &[SessionRef],
    deadline: Option<Instant>,
    successes: bool,
) -> Result<Vec<Result<TextResult>>> {
    let mut states: Vec<(Collect, bool)> =
        work.iter().map(|_| (Collect::default(), false)).collect();
    let mut ready = Vec::new();
    for (session, (collect, done)) in work.iter().zip(&mut states) {
        *done = collect.read(session).unwrap_or_else(|e| collect.fail(e));
    }
    if deadline.is_none() {
        collect_soon(work, &mut states)?;
    }
    loop {
        if let Some(e) = states.iter().find_map(|s| s.0.error.as_ref()).filter(|_| successes) {
            return Err(e.clone());
        }
        let waiting: Vec<usize> =
            states.iter().enumerate().filter(|(_, s)| !s.1).map(|(i, _)| i).collect();
        let sessions: Vec<&SessionRef> = waiting.iter().filter_map(|i| work.get(*i)).collect();
        if sessions.is_empty() {
            break;
        }
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if left.is_some_and(|l| l.is_zero()) {
            for (session, (collect, _)) in work.iter().zip(&mut states).filter(|(_, s)| !s.1) {
                collect.fail(session.borrow_mut().lost("the node did not answer in time"));
            }
            break;
        }
        // Rounded up: the last round is not a busy one.
        let timeout = left.map_or(-1, |l| i64::try_from(l.as_millis()).unwrap_or(-1) + 1);
        wait_for(&sessions, timeout, &mut ready)?;
        for i in ready.iter().filter_map(|r| waiting.get(*r)) {
            let (Some(session), Some((collect, done))) = (work.get(*i), states.get_mut(*i)) else {
                continue;
            };
            let filled = session.borrow_mut().fill();
            *done = match filled {
                Ok(_) => collect.read(session).unwrap_or_else(|e| collect.fail(e)),
                Err(e) => collect.fail(e),
            };
        }
    }
    Ok(states.into_iter().map(|(c, _)| c.finish()).collect())
}

/// Collects what comes within a few milliseconds. All are awaited, in whichever order: the one that
/// was told last is likely to answer last, and while it is awaited the answers of the others wake
/// nobody. The first that takes longer is left to be awaited with the others.
fn collect_soon(work: &[SessionRef], states: &mut [(Collect, bool)]) -> Result<()> {
    for (session, (collect, done)) in work.iter().zip(states).rev() {
        while !*done {
            match wait_soon(session) {
                Ok(true) => *done = collect.read(session).unwrap_or_else(|e| collect.fail(e)),
                Ok(false) => return Ok(()),
                Err(e) if session.borrow().is_broken() => *done = collect.fail(e),
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// Result on its way.
#[derive(Default)]
struct Collect {
    result: TextResult,
    error: Option<Error>,
}

impl Collect {
    /// Keeps the first error; always true (the session has nothing more to say).
    fn fail(&mut self, e: Error) -> bool {
        self.error.get_or_insert(e);
        true
    }

    fn finish(self) -> Result<TextResult> {
        match self.error {
            Some(e) => Err(e),
            None => Ok(self.result),
        }
    }

    /// Takes what is in the buffer; true when the node is ready again.
    fn read(&mut self, session: &SessionRef) -> Result<bool> {
        let mut s = session.borrow_mut();
        let mut refuse_copy = false;
        let done = loop {
            match s.next()? {
                None => break false,
                Some(Message::Ready(_)) => break true,
                Some(Message::RowDescription(body)) => {
                    self.result =
                        TextResult { columns: column_names(body), ..TextResult::default() };
                }
                Some(Message::DataRow(body)) => self.result.rows.push(text_row(body)),
                Some(Message::CommandComplete(tag)) => self.result.tag = tag.to_owned(),
                Some(Message::Error(e)) => {
                    self.error.get_or_insert(e);
                }
                Some(Message::CopyIn) => refuse_copy = true,
                Some(_) => {}
            }
            if std::mem::take(&mut refuse_copy) {
                s.queue_copy_fail("COPY FROM STDIN is not possible here");
                s.flush()?;
            }
        };
        Ok(done)
    }
}

/// Names of the columns in the body of a RowDescription.
pub fn column_names(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while !rest.is_empty() {
        let (name, after) = wire::cut(rest);
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = after.get(18..).unwrap_or_default();
    }
    names
}

/// Columns of the body of a DataRow.
pub fn columns(body: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = body.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let len = i32::from_be_bytes(*len);
        if len < 0 {
            rest = after;
            return Some(None);
        }
        let value = after.get(..len as usize)?;
        rest = after.get(len as usize..).unwrap_or_default();
        Some(Some(value))
    })
}

fn text_row(body: &[u8]) -> Vec<Option<String>> {
    columns(body).map(|v| v.map(|v| String::from_utf8_lossy(v).into_owned())).collect()
}
