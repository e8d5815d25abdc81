//! `cargo xtask tidy`: formatting, lints, sizes, licences, and what does not belong here.

use crate::docs;
use crate::source::{code_only, functions};
use crate::util::{capture, cargo, fail, headline, root, run, Context, Result};
use std::fs;
use std::path::Path;

/// Files and functions that may be longer than the limits, one per line: a path, or
/// `path::function`; `#` starts a comment, which should say why.
const ALLOW_FILE: &str = "xtask/tidy-allow.txt";

/// Lines of a Rust file.
const MAX_FILE: usize = 500;

/// Lines of a function.
const MAX_FUNCTION: usize = 70;

/// Where `unsafe` may stand: the wrappers of PostgreSQL, the hooks, and the adapter that
/// implements PostgreSQL's interface for plan nodes. Tests and tools may use it too.
const UNSAFE_ALLOWED: [&str; 5] =
    ["src/pg/", "src/hooks/", "src/executor/", "pgrx-tests/", "xtask/"];

/// Marks of unfinished work and traces of one machine. Split, so that this file passes.
const FORBIDDEN: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("dbg", "!("),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Licences that a dependency may have, one of them at least.
const LICENCES: [&str; 9] = [
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
];

/// Runs every check; all problems are printed before it fails.
pub fn tidy() -> Result<()> {
    let mut problems = Vec::new();
    headline("formatting");
    if run(cargo().args(["fmt", "--all", "--check"])).is_err() {
        problems.push("formatting differs: run `cargo fmt --all`".to_string());
    }
    headline("lints");
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    if run(cargo().args(clippy)).is_err() {
        problems.push("clippy has complaints, see above".to_string());
    }
    headline("sizes and words");
    let allowed = allow_list()?;
    for file in tracked_files()? {
        check_file(&file, &allowed, &mut problems)?;
    }
    problems.extend(docs::check()?);
    headline("licences");
    check_licences(&mut problems)?;
    for problem in &problems {
        println!("  {problem}");
    }
    match problems.len() {
        0 => {
            println!("tidy");
            Ok(())
        }
        n => fail(format!("{n} problems")),
    }
}

fn allow_list() -> Result<Vec<String>> {
    let text = fs::read_to_string(root().join(ALLOW_FILE)).context(ALLOW_FILE)?;
    let entries = text.lines().map(|l| l.split('#').next().unwrap_or_default().trim());
    Ok(entries.filter(|l| !l.is_empty()).map(str::to_string).collect())
}

/// Files under version control or about to be, relative to the root.
fn tracked_files() -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let files = capture(&mut git)?;
    Ok(files.lines().filter(|f| root().join(f).is_file()).map(str::to_string).collect())
}

fn check_file(file: &str, allowed: &[String], problems: &mut Vec<String>) -> Result<()> {
    let Ok(text) = fs::read_to_string(root().join(file)) else {
        // Not text: nothing to check.
        return Ok(());
    };
    for (index, line) in text.lines().enumerate() {
        for word in FORBIDDEN.iter().filter(|w| line.contains(**w)) {
            problems.push(format!("{file}:{}: \"{word}\" does not belong here", index + 1));
        }
    }
    if Path::new(file).extension().is_some_and(|e| e == "rs") {
        check_rust(file, &text, allowed, problems);
    }
    Ok(())
}

fn check_rust(file: &str, text: &str, allowed: &[String], problems: &mut Vec<String>) {
    let is_allowed = |name: &str| allowed.iter().any(|a| a == name);
    let lines = text.lines().count();
    if lines > MAX_FILE && !is_allowed(file) {
        problems.push(format!("{file}: {lines} lines, more than {MAX_FILE}"));
    }
    let code = code_only(text);
    for function in functions(&code) {
        let name = format!("{file}::{}", function.name);
        if function.length > MAX_FUNCTION && !is_allowed(&name) {
            problems.push(format!(
                "{file}:{}: {} has {} lines, more than {MAX_FUNCTION}",
                function.line, function.name, function.length
            ));
        }
    }
    if UNSAFE_ALLOWED.iter().any(|place| file.starts_with(place)) {
        return;
    }
    let words = |line: &str| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|w| w == "unsafe")
    };
    let found = code.lines().filter(|line| words(line)).count();
    if found > 0 {
        problems.push(format!("{file}: unsafe outside its fence in {found} lines"));
    }
}

/// Our own manifests name the licence, its text is there, and dependencies agree with it.
fn check_licences(problems: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root().join("LICENSE")).context("LICENSE")?;
    if !text.contains("Apache License") || !text.contains("Version 2.0") {
        problems.push("LICENSE is not the Apache License 2.0".to_string());
    }
    let metadata = capture(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    for (name, licence) in packages(&metadata) {
        let fits = licence.is_some_and(is_permissive);
        if !fits {
            let licence = licence.unwrap_or("none");
            problems.push(format!("package {name} has the licence \"{licence}\""));
        }
    }
    Ok(())
}

/// Name and licence of each package in the output of `cargo metadata`.
fn packages(metadata: &str) -> Vec<(&str, Option<&str>)> {
    // Every package object, and nothing else, starts with these two fields and has a licence
    // field soon after.
    let objects = metadata.split("{\"name\":\"").skip(1);
    objects.filter_map(package).collect()
}

fn package(object: &str) -> Option<(&str, Option<&str>)> {
    let (name, rest) = object.split_once('"')?;
    let rest = rest.strip_prefix(",\"version\":")?;
    let (_, licence) = rest.split_once("\"license\":")?;
    let text = licence.strip_prefix('"').and_then(|l| l.split_once('"'));
    Some((name, text.map(|(l, _)| l)))
}

/// True if an SPDX expression leaves a permissive choice.
fn is_permissive(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let one = |licence: &str| {
        let licence = licence.split(" WITH ").next().unwrap_or_default().trim();
        LICENCES.contains(&licence)
    };
    if expression.contains('(') {
        // "(A OR B) AND C": every factor needs a choice.
        return expression.split(" AND ").all(|f| {
            let factor = f.replace(['(', ')'], " ");
            factor.split(" OR ").any(one)
        });
    }
    plain.split(" OR ").any(|choice| choice.split(" AND ").all(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0 OR MIT",
        ] {
            assert!(is_permissive(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-2.0", "(MIT OR ISC) AND AGPL-3.0"] {
            assert!(!is_permissive(bad), "{bad}");
        }
    }

    #[test]
    fn packages_are_read() {
        let metadata = r#"{"packages":[{"name":"a","version":"1","id":"x","license":"MIT"},
            {"name":"b","version":"1","license":null,"dependencies":[{"name":"a","source":null}]}]}"#;
        assert_eq!(packages(metadata), [("a", Some("MIT")), ("b", None)]);
    }

    #[test]
    fn long_functions_are_found() {
        let text = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(80));
        let mut problems = Vec::new();
        check_rust("src/a.rs", &text, &[], &mut problems);
        assert_eq!(problems.len(), 1);
        problems.clear();
        check_rust("src/a.rs", &text, &["src/a.rs::long".to_string()], &mut problems);
        assert!(problems.is_empty());
    }
}
