//! The runner of the extension's unit tests.
//!
//! The extension takes functions and variables from the server that loads it. A test runner has
//! no server around it: what is left open is filled with empty stand-ins, which the tests of
//! modules that do without a server never touch.

use crate::install::target_directory;
use crate::util::{capture, cargo, run, Context, Failure, Result};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the runner and gives back a command that runs it.
pub fn runner() -> Result<Command> {
    let mut build = cargo();
    build.args(["rustc", "--package", "citus", "--lib", "--profile", "test"]);
    build.arg("--message-format=json-render-diagnostics");
    build.args(["--", "-C", "link-arg=-Wl,--warn-unresolved-symbols"]);
    let messages = capture(&mut build)?;
    let program = executable(&messages)
        .ok_or_else(|| Failure::new("cargo built no runner of the extension's unit tests"))?;
    let stand_ins = stand_ins(&program)?;
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", stand_ins);
    Ok(command)
}

/// The program that cargo's messages say it made.
fn executable(messages: &str) -> Option<PathBuf> {
    let (_, rest) = messages.rsplit_once("\"executable\":\"")?;
    rest.split_once('"').map(|(path, _)| PathBuf::from(path))
}

/// A library with an empty variable for every symbol that the program leaves open.
fn stand_ins(program: &Path) -> Result<PathBuf> {
    let mut nm = Command::new("nm");
    nm.args(["--dynamic", "--undefined-only"]).arg(program);
    let mut text = String::new();
    for name in open_symbols(&capture(&mut nm)?) {
        let _ = writeln!(text, "char {name}[256];");
    }
    let dir = target_directory()?;
    let (source, library) = (dir.join("stand_ins.c"), dir.join("libstand_ins.so"));
    fs::write(&source, text).context(source.display())?;
    run(Command::new("cc").args(["-w", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source))?;
    Ok(library)
}

/// Names in nm's output; those with a version come from the system's libraries.
fn open_symbols(listing: &str) -> impl Iterator<Item = &str> {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("U "))
        .map(str::trim)
        .filter(|name| !name.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_symbols_of_the_server() {
        let listing = "                 U palloc\n                 U free@GLIBC_2.2.5\n w x\n";
        assert_eq!(open_symbols(listing).collect::<Vec<_>>(), ["palloc"]);
    }

    #[test]
    fn the_program_is_found() {
        let line = r#"{"reason":"compiler-artifact","executable":"/t/citus-1"}"#;
        assert_eq!(executable(line), Some(PathBuf::from("/t/citus-1")));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }
}
