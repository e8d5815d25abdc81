//! `cargo xtask test`: every test of the project, and a summary at the end.

use crate::install::{install, Profile};
use crate::pg::Postgres;
use crate::util::{cargo, fail, headline, printable, seconds, Context, Failure, Result};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Installs the extension and runs all tests whose name contains `filter`.
///
/// The debug build is tested: it is compiled in a fraction of the time and its overflow checks
/// and debug assertions find more.
pub fn test(pg: &Postgres, filter: Option<&str>) -> Result<()> {
    let start = Instant::now();
    headline("building and installing the extension");
    install(pg, Profile::Debug)?;
    let mut summary = Summary::default();
    // The quick ones first.
    let of_package = |name: &str| {
        let mut command = cargo();
        command.args(["test", "--package", name, "--no-fail-fast"]).args(filter).arg("--");
        command
    };
    headline("testing xtask");
    summary.run(of_package("xtask").arg("--show-output"))?;
    headline("testing citus: the modules that do without a server");
    summary.run(crate::unit::runner()?.args(filter).arg("--show-output"))?;
    headline("testing citus-tests");
    // The harness starts servers of this PostgreSQL.
    crate::suite::run(filter, &mut summary, |command| {
        command.env("CITUS_TEST_PG_CONFIG", &pg.pg_config).env("PG_CONFIG", &pg.pg_config);
    })?;
    summary.finish(filter, start)
}

/// How much of what a failing test says is repeated in the summary, in bytes.
const REASON: usize = 1500;

/// The closing lines of all runners.
#[derive(Default)]
pub struct Summary {
    remarks: Vec<String>,
    lines: Vec<String>,
    /// What failing tests said first.
    reasons: Vec<String>,
    /// The same of the runner that is read now, and whether its next lines belong to the last one.
    heard: Vec<String>,
    listening: bool,
    passed: usize,
    failed: usize,
    broken: Vec<String>,
}

impl Summary {
    /// Runs one runner with its output passed on, and keeps its result lines.
    fn run(&mut self, command: &mut Command) -> Result<()> {
        let name = printable(command);
        let mut child = command.stdout(Stdio::piped()).spawn().context(&name)?;
        let output = child.stdout.take().ok_or_else(|| Failure::new("no output"))?;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context(&name)?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.note(&line);
        }
        self.end(name.clone(), child.wait().context(&name)?.success());
        Ok(())
    }

    /// Shows the output of a program that has ended, and keeps its result lines.
    pub fn add(&mut self, name: &str, output: &Output) {
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("{line}");
            self.note(line);
        }
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        self.end(name.to_owned(), output.status.success());
    }

    /// A runner has ended. In one that succeeds who panics is expected to.
    fn end(&mut self, name: String, success: bool) {
        self.listening = false;
        let said = std::mem::take(&mut self.heard);
        if !success {
            self.broken.push(name);
            self.reasons.extend(said);
        }
    }

    fn note(&mut self, line: &str) {
        self.listen(line);
        // What a passing test says about itself: how much it compared, and what it excuses.
        if line.contains(" statements, ")
            || line.starts_with("  known: ")
            || line.starts_with("skipped: ")
        {
            self.remarks.push(line.to_string());
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let passed = count_before(counts, " passed");
        let failed = count_before(counts, " failed");
        if passed + failed > 0 {
            self.lines.push(line.to_string());
        }
        self.passed += passed;
        self.failed += failed;
    }

    /// Keeps the beginning of what a test says that panics.
    fn listen(&mut self, line: &str) {
        if line.starts_with("thread '") && line.contains(" panicked at ") {
            self.listening = true;
            self.heard.push(line.to_owned());
            return;
        }
        // A backtrace, or the next test.
        self.listening &=
            !["stack backtrace:", "note: ", "---- "].iter().any(|s| line.starts_with(s));
        if let (true, Some(reason)) = (self.listening, self.heard.last_mut()) {
            if reason.len() + line.len() < REASON {
                reason.push('\n');
                reason.push_str(line);
            } else {
                self.listening = false;
            }
        }
    }

    fn finish(self, filter: Option<&str>, start: Instant) -> Result<()> {
        headline("summary");
        self.remarks.iter().chain(&self.lines).for_each(|line| println!("{line}"));
        // Where nobody has to look for them.
        self.reasons.iter().for_each(|reason| println!("{reason}"));
        let time = seconds(start.elapsed());
        println!("total: {} passed, {} failed in {time}", self.passed, self.failed);
        if !self.broken.is_empty() {
            return fail(format!("failed: {}", self.broken.join(", ")));
        }
        match (self.passed, filter) {
            (0, Some(filter)) => fail(format!("no test has a name that contains {filter}")),
            (0, None) => fail("there was no test to run"),
            _ => Ok(()),
        }
    }
}

/// The number that stands before `word`, 0 if there is none.
fn count_before(text: &str, word: &str) -> usize {
    let before = text.split_once(word).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_why() {
        let mut summary = Summary::default();
        for line in [
            "---- a stdout ----",
            "",
            "thread 'a' (7) panicked at tests/a.rs:1:2:",
            "assertion failed: one",
            "  left: 1",
            "stack backtrace:",
            "   0: frame",
            "---- b stdout ----",
            "thread 'b' (8) panicked at tests/b.rs:3:4:",
            &"x".repeat(REASON),
            "more",
        ] {
            summary.note(line);
        }
        assert!(summary.reasons.is_empty());
        summary.end("c".into(), false);
        let a = "thread 'a' (7) panicked at tests/a.rs:1:2:\nassertion failed: one\n  left: 1";
        assert_eq!(summary.reasons, [a, "thread 'b' (8) panicked at tests/b.rs:3:4:"]);
        summary.note("thread 'c' (9) panicked at tests/c.rs:5:6:");
        summary.end("d".into(), true);
        assert_eq!((summary.reasons.len(), summary.broken.len()), (2, 1));
    }

    #[test]
    fn result_lines_are_counted() {
        let mut summary = Summary::default();
        summary.note("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; finished in 2s");
        summary.note("test result: FAILED. 3 passed; 2 failed; 0 ignored");
        summary.note("test result: ok. 0 passed; 0 failed; 0 ignored");
        summary.note("something else");
        summary.note("joins w2s4: 120 statements, 0 failures");
        assert_eq!(summary.remarks.len(), 1);
        assert_eq!((summary.passed, summary.failed, summary.lines.len()), (15, 2, 2));
    }
}
