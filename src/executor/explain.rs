//! EXPLAIN of distributed scans, in the form that the guide shows.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::analyze::{self, Report};
use super::capture;
use super::prepared::Prepared;
use super::run::Exec;
use super::tasks::{self, Task, Value};
use crate::catalog;
use crate::error::Result;
use crate::pg::nodes;
use crate::plan::{Column, DistPlan, Operation};
use crate::settings;
use crate::txn::sight::Sight;
use pgrx::pg_sys::{self, Datum, ExplainFormat, ExplainState, Oid};

/// A parameter of a plan that does not run.
pub enum Known {
    /// Its value.
    Yes(Value),
    /// A type, of which it will have a value.
    No(Oid),
}

/// What PostgreSQL does at the start of a line of EXPLAIN text.
unsafe fn indent(es: *mut ExplainState) {
    let buf = (*es).str_;
    if (*buf).len == 0 || *(*buf).data.add((*buf).len as usize - 1) as u8 == b'\n' {
        pg_sys::appendStringInfoSpaces(buf, (*es).indent * 2);
    }
}

unsafe fn c(s: &str) -> *const std::ffi::c_char {
    nodes::pstr(s)
}

unsafe fn number(name: &str, value: usize, es: *mut ExplainState) {
    pg_sys::ExplainPropertyInteger(c(name), std::ptr::null(), value as i64, es);
}

unsafe fn text(name: &str, value: &str, es: *mut ExplainState) {
    pg_sys::ExplainPropertyText(c(name), c(value), es);
}

unsafe fn open(name: &str, labeled: bool, es: *mut ExplainState) {
    pg_sys::ExplainOpenGroup(c(name), c(name), labeled, es);
}

unsafe fn close(name: &str, labeled: bool, es: *mut ExplainState) {
    pg_sys::ExplainCloseGroup(c(name), c(name), labeled, es);
}

/// Adds the tasks of a scan to EXPLAIN's output.
pub unsafe fn scan(
    exec: &Exec,
    parameters: &dyn Fn() -> Vec<Known>,
    es: *mut ExplainState,
) -> Result<()> {
    open("Distributed Query", true, es);
    open("Job", true, es);
    let ran = exec.traffic.runs > 0;
    match &exec.analysis {
        Some(a) if ran => {
            let (count, shown) = a.shown();
            head(count, shown.len(), Some(exec.traffic.bytes), es);
            reports(&shown, es)?;
        }
        // Somebody else prints the plan, at the end of a statement that nodes have forgotten.
        _ if ran => {
            let bytes = (*es).analyze.then_some(exec.traffic.bytes);
            head(exec.traffic.last, 0, bytes, es);
        }
        _ if analyze::statement().is_some() => planned(exec, &parameters(), es)?,
        _ => {}
    }
    close("Job", true, es);
    close("Distributed Query", true, es);
    Ok(())
}

/// Rows that a scan which runs again and again has kept.
pub unsafe fn kept(rows: usize, es: *mut ExplainState) {
    number("Rows Kept", rows, es);
}

unsafe fn head(count: usize, shown: usize, bytes: Option<u64>, es: *mut ExplainState) {
    number("Task Count", count, es);
    if let Some(bytes) = bytes {
        text("Tuple data received from nodes", &size_text(bytes), es);
    }
    let what = match shown {
        _ if count == shown => "All".to_owned(),
        0 => "None".to_owned(),
        _ => format!("One of {count}"),
    };
    text("Tasks Shown", &what, es);
}

/// Tasks as they ran.
unsafe fn reports(shown: &[&Report], es: *mut ExplainState) -> Result<()> {
    open("Tasks", false, es);
    for r in shown {
        begin_task(&r.sql, Some(r.bytes), r.group, es)?;
        if !r.plan.is_empty() {
            embed("Remote Plan", &r.plan, es);
        }
        end_task(es);
    }
    close("Tasks", false, es);
    Ok(())
}

/// Tasks as they would run.
unsafe fn planned(exec: &Exec, parameters: &[Known], es: *mut ExplainState) -> Result<()> {
    let values: Vec<Value> = parameters
        .iter()
        .map(|p| match p {
            Known::Yes(v) => *v,
            Known::No(t) => (*t, None),
        })
        .collect();
    let unknown = parameters.iter().any(|p| matches!(p, Known::No(_)));
    let mut tasks = match tasks::tasks(&exec.plan, &values, &Sight::of_transaction) {
        // A distribution column without a value yet: any shard's plan is like the others'.
        Err(_) if unknown => {
            tasks::tasks_with_rows(&exec.plan, &[0], None, &Sight::of_transaction)?
        }
        tasks => tasks?,
    };
    tasks.retain(|t| !t.mute);
    let explained = settings::explain_distributed_queries();
    let all = settings::explain_all_tasks();
    let shown = if !explained { 0 } else { tasks.len().min(if all { usize::MAX } else { 1 }) };
    let bytes = (*es).analyze.then_some(0);
    head(tasks.len(), shown, bytes, es);
    open("Tasks", false, es);
    for t in tasks.iter().take(shown) {
        let sql = if (*es).verbose { analyze::shortened(&t.sql) } else { String::new() };
        begin_task(&sql, None, t.group, es)?;
        embed("Remote Plan", &ask(exec, t, parameters, &values, es)?, es);
        end_task(es);
    }
    close("Tasks", false, es);
    Ok(())
}

/// A size as `pg_size_pretty` writes it.
fn size_text(bytes: u64) -> String {
    let mut size = bytes;
    let mut halved = false;
    for unit in ["bytes", "kB", "MB", "GB"] {
        let shown = if halved { size.div_ceil(2) } else { size };
        if shown < 10240 || unit == "GB" {
            return format!("{shown} {unit}");
        }
        // One bit more than the unit says is kept, to round by.
        size >>= if halved { 10 } else { 9 };
        halved = true;
    }
    String::new()
}

unsafe fn begin_task(
    sql: &str,
    bytes: Option<u64>,
    group: i32,
    es: *mut ExplainState,
) -> Result<()> {
    pg_sys::ExplainOpenGroup(c("Task"), std::ptr::null(), true, es);
    if (*es).format == ExplainFormat::EXPLAIN_FORMAT_TEXT {
        indent(es);
        pg_sys::appendStringInfoString((*es).str_, c("->  Task\n"));
        (*es).indent += 3;
    }
    if !sql.is_empty() {
        text("Query", &one_line(sql), es);
    }
    if let Some(bytes) = bytes {
        text("Tuple data received from node", &size_text(bytes), es);
    }
    text("Node", &node_text(group)?, es);
    Ok(())
}

unsafe fn end_task(es: *mut ExplainState) {
    if (*es).format == ExplainFormat::EXPLAIN_FORMAT_TEXT {
        (*es).indent -= 3;
    }
    pg_sys::ExplainCloseGroup(c("Task"), std::ptr::null(), true, es);
}

/// A document in the same format as another's list of one.
unsafe fn embed(name: &str, document: &str, es: *mut ExplainState) {
    let buf = (*es).str_;
    let spaces = |n: i32| pg_sys::appendStringInfoSpaces(buf, n * 2);
    let put = |s: &str| pg_sys::appendStringInfoString(buf, c(s));
    if (*es).format == ExplainFormat::EXPLAIN_FORMAT_TEXT {
        for (i, line) in document.lines().enumerate() {
            indent(es);
            put(if i == 0 { "->  " } else { "    " });
            put(line);
            put("\n");
        }
        return;
    }
    open(name, false, es);
    for line in document.lines() {
        if (*es).format == ExplainFormat::EXPLAIN_FORMAT_XML {
            // A line that does not start with a tag goes on with a text that must not change.
            if line.trim_start().starts_with('<') {
                spaces((*es).indent);
            }
            put(line);
            put("\n");
        } else {
            put("\n");
            spaces((*es).indent);
            put(line);
        }
    }
    close(name, false, es);
}

/// The document that EXPLAIN would print of a statement within another one.
pub unsafe fn document(q: *mut pg_sys::QueryDesc, outer: *mut ExplainState) -> String {
    let es = pg_sys::NewExplainState();
    (*es).analyze = (*outer).analyze;
    (*es).verbose = (*outer).verbose;
    (*es).costs = (*outer).costs;
    (*es).buffers = (*outer).buffers;
    (*es).wal = (*outer).wal;
    (*es).timing = (*outer).timing;
    (*es).format = (*outer).format;
    crate::pg::guard::call(|| capture::print(q, es, 0.0, 0.0));
    nodes::str_of((*(*es).str_).data).trim_end_matches('\n').to_owned()
}

/// Plans of the statements in WITH that run before the rest.
pub unsafe fn statements(plans: &[String], es: *mut ExplainState) {
    open("Statements", false, es);
    for plan in plans {
        pg_sys::ExplainOpenGroup(c("Statement"), std::ptr::null(), true, es);
        if (*es).format == ExplainFormat::EXPLAIN_FORMAT_TEXT {
            indent(es);
            pg_sys::appendStringInfoString((*es).str_, c("Statement\n"));
            (*es).indent += 1;
            embed("Statement Plan", plan, es);
            (*es).indent -= 1;
        } else {
            embed("Statement Plan", plan, es);
        }
        pg_sys::ExplainCloseGroup(c("Statement"), std::ptr::null(), true, es);
    }
    close("Statements", false, es);
}

unsafe fn node_text(group: i32) -> Result<String> {
    let database = nodes::str_of(pg_sys::get_database_name(pg_sys::MyDatabaseId));
    Ok(match catalog::node_of_group(group) {
        Ok(n) => format!("host={} port={} dbname={database}", n.name, n.port),
        Err(_) => {
            format!("host=localhost port={} dbname={database}", crate::pg::session::server_port())
        }
    })
}

/// The node's own plan of a task, without running it.
unsafe fn ask(
    exec: &Exec,
    t: &Task,
    parameters: &[Known],
    values: &[Value],
    es: *mut ExplainState,
) -> Result<String> {
    let on = |b: bool| if b { "on" } else { "off" };
    let format = match (*es).format {
        ExplainFormat::EXPLAIN_FORMAT_XML => "XML",
        ExplainFormat::EXPLAIN_FORMAT_JSON => "JSON",
        ExplainFormat::EXPLAIN_FORMAT_YAML => "YAML",
        _ => "TEXT",
    };
    let sql = format!(
        "EXPLAIN (COSTS {}, VERBOSE {}, SETTINGS {}, BUFFERS {}, SUMMARY {}, FORMAT {format}) {}",
        on((*es).costs),
        on((*es).verbose),
        on((*es).settings),
        on((*es).buffers),
        on((*es).summary && !(*es).analyze),
        without_unknown(&t.sql, &exec.plan, parameters),
    );
    let task = Task {
        group: t.group,
        sql: sql.into(),
        mute: false,
        shard: t.shard,
        copies: 1,
        rows: None,
        own: t.own.clone(),
    };
    let mut plan = DistPlan::clone(&exec.plan);
    plan.operation = Operation::Select;
    plan.columns = vec![Column { typ: pg_sys::TEXTOID.into(), typmod: -1 }];
    plan.prepare = false;
    Ok(lines(plan, task, values)?.join("\n"))
}

/// Runs a statement that answers with lines of text.
unsafe fn lines(plan: DistPlan, task: Task, values: &[Value]) -> Result<Vec<String>> {
    let desc = pg_sys::CreateTemplateTupleDesc(1);
    pg_sys::TupleDescInitEntry(desc, 1, c"line".as_ptr(), pg_sys::TEXTOID, -1, 0);
    let slot = pg_sys::MakeSingleTupleTableSlot(desc, &pg_sys::TTSOpsVirtual);
    // It must not move: its sessions know where it is.
    let mut exec =
        Box::new(Exec::new(Prepared::once(plan), desc, pg_sys::CurrentMemoryContext).uncounted());
    // JSON and XML come as text, too.
    exec.use_formats(&[0]);
    exec.start_tasks(vec![task], values)?;
    let mut out = Vec::new();
    while exec.next_row(slot)? {
        let (value, null): (Datum, bool) = (*(*slot).tts_values, *(*slot).tts_isnull);
        if !null {
            out.push(crate::pg::fmgr::text_of(value));
        }
    }
    exec.end();
    super::run::clear(slot);
    pg_sys::ExecDropSingleTupleTableSlot(slot);
    Ok(out)
}

/// The text with subqueries for parameters that have no value yet, so that the node plans for any
/// value and not for NULL.
unsafe fn without_unknown(sql: &str, plan: &DistPlan, parameters: &[Known]) -> String {
    replace_parameters(sql, &mut |n| match parameters.get(n) {
        Some(Known::No(_)) => plan.params.get(n).map(|spec| {
            let typ = nodes::str_of(pg_sys::format_type_be_qualified(spec.remote.into()));
            // The cast keeps `= ANY ((SELECT ...))` from being read as a subquery of rows.
            format!("(SELECT NULL::{typ})::{typ}")
        }),
        _ => None,
    })
}

/// The text with single spaces for white space outside of literals and quoted names.
fn one_line(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut quote = None;
    for ch in sql.trim().chars() {
        match quote {
            None if ch == '\'' || ch == '"' => quote = Some(ch),
            None if ch.is_ascii_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
                continue;
            }
            Some(q) if q == ch => quote = None,
            _ => {}
        }
        out.push(ch);
    }
    out
}

/// Replaces `$n` (given from 0) outside of literals and quoted names.
fn replace_parameters(sql: &str, with: &mut dyn FnMut(usize) -> Option<String>) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut quote = None;
    let mut rest = sql;
    while let Some(at) = rest.find(['$', '\'', '"']) {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let mark = tail.as_bytes()[0];
        let digits = tail[1..].bytes().take_while(u8::is_ascii_digit).count();
        let number = tail[1..1 + digits].parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        match (quote, mark, number) {
            (None, b'$', Some(n)) => {
                match with(n) {
                    Some(text) => out.push_str(&text),
                    None => out.push_str(&tail[..1 + digits]),
                }
                rest = &tail[1 + digits..];
                continue;
            }
            (None, b'\'' | b'"', _) => quote = Some(mark),
            (Some(q), _, _) if q == mark => quote = None,
            _ => {}
        }
        out.push_str(&tail[..1]);
        rest = &tail[1..];
    }
    out.push_str(rest);
    out
}

/// EXPLAIN of a node that writes the rows of the plan below it.
pub unsafe fn applied(steps: &[&Exec], affected: u64, es: *mut ExplainState) -> Result<()> {
    if !(*es).analyze {
        return Ok(());
    }
    number("Rows Affected", affected as usize, es);
    open("Distributed Query", true, es);
    for exec in steps {
        let Some(a) = &exec.analysis else { continue };
        let (count, shown) = a.shown();
        open("Job", true, es);
        head(count, shown.len(), Some(exec.traffic.bytes), es);
        reports(&shown, es)?;
        close("Job", true, es);
    }
    close("Distributed Query", true, es);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_the_server_writes_them() {
        let cases = [
            (0, "0 bytes"),
            (10239, "10239 bytes"),
            (10240, "10 kB"),
            (10752, "11 kB"),
            (10 << 20, "10 MB"),
            ((10 << 20) - 513, "10239 kB"),
            (10 << 30, "10 GB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size_text(bytes), expected);
        }
    }

    #[test]
    fn statements_on_one_line() {
        assert_eq!(one_line(" SELECT a,\n    'x\n  y'\n   FROM t"), "SELECT a, 'x\n  y' FROM t");
    }

    #[test]
    fn parameters_outside_of_literals() {
        let mut with = |n: usize| (n == 1).then(|| "X".to_owned());
        let mut replaced = |sql: &str| replace_parameters(sql, &mut with);
        assert_eq!(replaced("a = $1 AND b = $2"), "a = $1 AND b = X");
        assert_eq!(replaced("a = 'it''s $2' AND \"$2\" = $2"), "a = 'it''s $2' AND \"$2\" = X");
        assert_eq!(replaced("$22 + $2 $"), "$22 + X $");
    }
}
