//! What every command needs: errors, child processes, progress lines, paths.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A failure that the user reads: one message, cause first, remedy after it.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// Wraps a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Result of everything in this crate.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Shorthand for an early return with a message.
pub fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Failure::new(message))
}

/// Adds what was attempted to an I/O error.
pub trait Context<T> {
    /// Turns the error into a [`Failure`] that starts with `what`.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Failure::new(format!("{what}: {e}")))
    }
}

/// The directory of the workspace, where `Cargo.lock` lies.
pub fn root() -> PathBuf {
    // `cargo run` tells it at run time; the path of compilation is wrong once a checkout moved.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// A `cargo` that works on the workspace, the same binary that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The command as a person would type it, for messages.
pub fn printable(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs a command on the user's terminal; a non-zero exit is a failure.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().context(printable(command))?;
    if status.success() {
        return Ok(());
    }
    fail(format!("`{}` failed ({status})", printable(command)))
}

/// Runs a command and returns what it printed; on failure the message holds its output.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context(printable(command))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    fail(format!(
        "`{}` failed ({})\n{}{}",
        printable(command),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// True if the command exists and exits with success; its output is thrown away.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|s| s.success())
}

/// The first executable of that name in PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// True if this process runs as root.
pub fn is_root() -> bool {
    // std has no geteuid; the owner of our own /proc entry is the effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// The program through sudo unless this process is root already.
pub fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Prints a headline, so that a long command shows where it is.
pub fn headline(text: &str) {
    println!("==> {text}");
    flush();
}

/// Prints "what ... time" around a piece of work.
pub fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    print!("    {what} ...");
    flush();
    let start = Instant::now();
    let result = work();
    match &result {
        Ok(_) => println!(" {}", seconds(start.elapsed())),
        Err(_) => println!(" failed after {}", seconds(start.elapsed())),
    }
    flush();
    result
}

/// A duration in the unit that reads best.
pub fn seconds(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..=999 => format!("{ms} ms"),
        ms @ 1000..=59_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        ms => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// Standard output is buffered by line only on a terminal; progress must be seen in a log too.
/// A closed output is not our concern, hence the ignored result.
fn flush() {
    let _ = io::stdout().flush();
}

/// All files in a directory and the directories in it.
pub fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).context(next.display())? {
            let path = entry.context(next.display())?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(12)), "12 ms");
        assert_eq!(seconds(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(seconds(Duration::from_secs(75)), "1 min 15 s");
    }
}
