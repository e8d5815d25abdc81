//! The test programs of `citus-tests`: one for each processor at the same time, two at least, beside
//! them some that wait for most of their time; then those that are about time, beside others that wait; and
//! alone those that count on a still machine.

use crate::scratch::Scratch;
use crate::test::Summary;
use crate::util::{capture, cargo, headline, root, seconds, Context, Failure, Result};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Programs that need a still machine.
const ALONE: [&str; 1] = ["round_trips"];

/// Programs that measure time, by what the machine needs for the same just then: one by one.
const TIMED: [&str; 2] = ["cancel", "storm"];

/// Programs that wait for most of their time: one by one, beside those that are timed.
const BESIDE_TIMED: [&str; 2] = ["kept", "maintenance"];

/// Programs that wait for most of their time: one by one, beside the others.
const BESIDE: [&str; 2] = ["faults", "consistent"];

/// Programs that take long come first, so that none of them is left for the end.
const LONG: [&str; 8] = [
    "regress",
    "suite_distributed",
    "oracle",
    "replicas",
    "isolation",
    "security",
    "tpch",
    "crash",
];

/// How many of the others run at the same time: each keeps one processor busy, more or less.
fn lanes_here() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()).clamp(2, 6)
}

/// A program with tests.
struct Program {
    name: String,
    path: PathBuf,
}

/// Builds the programs and runs them all; `prepare` gives each its environment.
pub fn run(
    filter: Option<&str>,
    summary: &mut Summary,
    prepare: impl Fn(&mut Command) + Sync,
) -> Result<()> {
    let mut build = cargo();
    build.args(["test", "--package", "citus-tests", "--no-run"]);
    let messages = capture(build.arg("--message-format=json-render-diagnostics"))?;
    let programs = programs(&messages);
    if programs.is_empty() {
        return Err(Failure::new("cargo built no test programs"));
    }
    let among = |names: &'static [&str]| move |p: &Program| names.contains(&p.name.as_str());
    let (alone, others): (Vec<_>, Vec<_>) = programs.into_iter().partition(among(&ALONE));
    let (timed, others): (Vec<_>, Vec<_>) = others.into_iter().partition(among(&TIMED));
    let (waiting, others): (Vec<_>, Vec<_>) = others.into_iter().partition(among(&BESIDE_TIMED));
    let (beside, mut others): (Vec<_>, Vec<_>) = others.into_iter().partition(among(&BESIDE));
    others.sort_by_key(|p| LONG.iter().position(|l| *l == p.name).unwrap_or(LONG.len()));
    let scratch = Scratch::new();
    headline(&format!("the servers have their files in {}", scratch.place.display()));
    let one = |p: &Program| {
        let mut command = Command::new(&p.path);
        command.args(filter).arg("--show-output").current_dir(root().join("pgrx-tests"));
        command.env("CITUS_TEST_RUN", std::process::id().to_string());
        command.env("CITUS_TEST_TMPDIR", &scratch.place);
        prepare(&mut command);
        let start = Instant::now();
        command.output().context(p.path.display()).map(|output| (output, start.elapsed()))
    };
    lanes(vec![(others, lanes_here()), (beside, 1)], &one, summary)?;
    lanes(vec![(timed, 1), (waiting, 1)], &one, summary)?;
    lanes(vec![(alone, 1)], &one, summary)?;
    drop(scratch);
    Ok(())
}

type Outcome = Result<(Output, Duration)>;

/// Runs programs, so many of each group at the same time; each one's output is shown when it has ended.
fn lanes(
    groups: Vec<(Vec<Program>, usize)>,
    one: &(impl Fn(&Program) -> Outcome + Sync),
    summary: &mut Summary,
) -> Result<()> {
    let waiting: Vec<_> =
        groups.into_iter().map(|(p, count)| (Mutex::new(VecDeque::from(p)), count)).collect();
    let summary = Mutex::new(summary);
    let lane = |programs: &Mutex<VecDeque<Program>>| -> Result<()> {
        let next = || programs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some(program) = next() {
            headline(&format!("{} begins", program.name));
            let (output, took) = one(&program)?;
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            headline(&format!("{} took {}", program.name, seconds(took)));
            summary.add(&program.name, &output);
        }
        Ok(())
    };
    std::thread::scope(|s| {
        let lane = &lane;
        let many = waiting.iter().flat_map(|(programs, count)| (0..*count).map(move |_| programs));
        let running: Vec<_> = many.map(|programs| s.spawn(move || lane(programs))).collect();
        running.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::new("a lane of tests panicked")))
        })
    })
}

/// The programs in cargo's messages.
fn programs(messages: &str) -> Vec<Program> {
    let paths = messages.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| path)
    });
    let named = paths.filter_map(|path| {
        let (name, _hash) = Path::new(path).file_name()?.to_str()?.rsplit_once('-')?;
        Some(Program { name: name.to_owned(), path: PathBuf::from(path) })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_names() {
        let messages = "{\"executable\":null}\n{\"executable\":\"/t/deps/node_commands-1a2b\"}\n";
        let found = programs(messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "node_commands");
        assert_eq!(found[0].path, Path::new("/t/deps/node_commands-1a2b"));
    }

    #[test]
    fn lists_name_programs_that_exist() {
        let tests = root().join("pgrx-tests/tests");
        for name in ALONE.iter().chain(&TIMED).chain(&BESIDE_TIMED).chain(&BESIDE).chain(&LONG) {
            let file = tests.join(name).with_extension("rs").is_file();
            assert!(file || tests.join(name).join("main.rs").is_file(), "{name}");
        }
    }
}
