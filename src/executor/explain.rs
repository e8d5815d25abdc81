//! EXPLAIN of distributed scans, in the form that the guide shows.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::run::Exec;
use super::tasks::{self, Task, Value};
use crate::catalog;
use crate::error::Result;
use crate::pg::transmit::output;
use crate::pg::{nodes, spi};
use crate::settings;
use crate::txn;
use pgrx::pg_sys::{self, ExplainFormat, ExplainState, List};

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

/// Adds the tasks of a scan to EXPLAIN's output.
pub unsafe fn scan(
    exec: &Exec,
    values: &[Value],
    _ancestors: *mut List,
    es: *mut ExplainState,
) -> Result<()> {
    let tasks: Vec<Task> = tasks::tasks(&exec.plan, values)?;
    let all = settings::explain_all_tasks() || tasks.len() <= 1;
    let shown = if all { tasks.len() } else { 1 };
    pg_sys::ExplainPropertyInteger(c("Task Count"), std::ptr::null(), tasks.len() as i64, es);
    if (*es).analyze {
        let bytes = exec.traffic.bytes as i64;
        pg_sys::ExplainPropertyText(c("Tuple data received from nodes"), c(&size_text(bytes)), es);
    }
    let what = if all { "All".to_owned() } else { format!("One of {}", tasks.len()) };
    pg_sys::ExplainPropertyText(c("Tasks Shown"), c(&what), es);
    if !settings::explain_distributed_queries() {
        return Ok(());
    }
    pg_sys::ExplainOpenGroup(c("Tasks"), c("Tasks"), false, es);
    for t in tasks.iter().take(shown) {
        task(exec, t, values, es)?;
    }
    pg_sys::ExplainCloseGroup(c("Tasks"), c("Tasks"), false, es);
    Ok(())
}

fn size_text(bytes: i64) -> String {
    if bytes < 10240 {
        format!("{bytes} bytes")
    } else {
        format!("{} kB", bytes / 1024)
    }
}

unsafe fn task(exec: &Exec, t: &Task, values: &[Value], es: *mut ExplainState) -> Result<()> {
    let text_format = (*es).format == ExplainFormat::EXPLAIN_FORMAT_TEXT;
    pg_sys::ExplainOpenGroup(c("Task"), std::ptr::null(), true, es);
    if text_format {
        indent(es);
        pg_sys::appendStringInfoString((*es).str_, c("->  Task\n"));
        (*es).indent += 3;
    }
    if (*es).verbose {
        pg_sys::ExplainPropertyText(c("Query"), c(&t.sql), es);
    }
    pg_sys::ExplainPropertyText(c("Node"), c(&node_text(t.group)?), es);
    let lines = remote_plan(exec, t, values, es)?;
    if text_format {
        for (i, l) in lines.iter().enumerate() {
            indent(es);
            let line = if i == 0 { format!("->  {l}\n") } else { format!("    {l}\n") };
            pg_sys::appendStringInfoString((*es).str_, c(&line));
        }
        (*es).indent -= 3;
    } else {
        pg_sys::ExplainPropertyText(c("Remote Plan"), c(&lines.join("\n")), es);
    }
    pg_sys::ExplainCloseGroup(c("Task"), std::ptr::null(), true, es);
    Ok(())
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
unsafe fn remote_plan(
    exec: &Exec,
    t: &Task,
    values: &[Value],
    es: *mut ExplainState,
) -> Result<Vec<String>> {
    let on = |b: bool| if b { "on" } else { "off" };
    let sql = inline_params(&t.sql, exec, values);
    let sql = format!(
        "EXPLAIN (COSTS {}, VERBOSE {}, SETTINGS {}, FORMAT TEXT) {sql}",
        on((*es).costs),
        on((*es).verbose),
        on((*es).settings),
    );
    let rows = if t.group == catalog::local_group()? {
        spi::query(&sql, &[])?
    } else {
        txn::run::on_group(t.group, &sql, false)?.rows
    };
    Ok(rows.into_iter().filter_map(|r| r.into_iter().next().flatten()).collect())
}

/// EXPLAIN takes no parameters in a simple query: their values stand as literals.
fn inline_params(sql: &str, exec: &Exec, values: &[Value]) -> String {
    use crate::pg::fmgr;
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find('$') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let digits: String = tail[1..].chars().take_while(char::is_ascii_digit).collect();
        let n = digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        match n.and_then(|n| values.get(n).zip(exec.plan.params.get(n))) {
            Some(((typ, v), spec)) => {
                // SAFETY: looks up the name of a type.
                let name =
                    unsafe { nodes::str_of(pg_sys::format_type_be_qualified(spec.remote.into())) };
                match v {
                    Some(v) => {
                        let text = fmgr::quote_literal(&output(*typ, *v));
                        out.push_str(&format!("{text}::{name}"));
                    }
                    None => out.push_str(&format!("NULL::{name}")),
                }
                rest = &tail[1 + digits.len()..];
            }
            None => {
                out.push('$');
                rest = &tail[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// EXPLAIN of a node that writes the rows of the plan below it.
pub unsafe fn applied(tasks: usize, affected: u64, es: *mut ExplainState) -> Result<()> {
    if (*es).analyze {
        pg_sys::ExplainPropertyInteger(c("Tasks"), std::ptr::null(), tasks as i64, es);
        pg_sys::ExplainPropertyInteger(c("Rows Affected"), std::ptr::null(), affected as i64, es);
    }
    Ok(())
}
