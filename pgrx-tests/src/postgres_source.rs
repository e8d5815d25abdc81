//! PostgreSQL's own regression suite, as a source of statements: where its files come from.
//!
//! `CITUS_TEST_PG_SOURCE` names an unpacked tree, else Debian's archive has it. Where it cannot be
//! had a test says so and passes, unless `CITUS_TEST_REQUIRE_REGRESS` is set.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory `src/test/regress`, or None (said on the output) where it cannot be had.
///
/// `scratch` is where what was fetched is kept: `CARGO_TARGET_TMPDIR`.
pub fn regression_suite(scratch: &str) -> Option<PathBuf> {
    match source(&PathBuf::from(scratch).join("pg-source")) {
        Ok(dir) => Some(dir.join("src/test/regress")),
        Err(e) if std::env::var_os("CITUS_TEST_REQUIRE_REGRESS").is_none() => {
            println!("skipped: PostgreSQL's source is not to be had: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// Runs a command; what it wrote to stderr is the error.
pub fn quiet(cmd: &mut Command) -> Result<(), String> {
    match cmd.output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(format!("{cmd:?}: {}", String::from_utf8_lossy(&out.stderr))),
        Err(e) => Err(format!("{cmd:?}: {e}")),
    }
}

/// The directory of PostgreSQL's source that holds `src/test/regress`.
fn source(cache: &Path) -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os("CITUS_TEST_PG_SOURCE") {
        return Ok(PathBuf::from(dir));
    }
    let _alone = lock(cache).map_err(|e| format!("{}: {e}", cache.display()))?;
    if let Some(dir) = unpacked(cache) {
        return Ok(dir);
    }
    download(cache)?;
    unpacked(cache).ok_or_else(|| "the archive has no regression suite".to_owned())
}

/// Test programs run at the same time: one of them fetches, the other waits for it.
fn lock(cache: &Path) -> io::Result<File> {
    fs::create_dir_all(cache)?;
    let file = File::create(cache.join("lock"))?;
    // SAFETY: the descriptor is open; the lock goes when the file is closed.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

fn unpacked(cache: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?.flatten().map(|e| e.path());
    entries.into_iter().find(|p| p.join("src/test/regress/parallel_schedule").is_file())
}

/// Fetches the source with package lists of our own: nothing of the machine is changed.
fn download(cache: &Path) -> Result<(), String> {
    for dir in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(cache.join(dir)).map_err(|e| e.to_string())?;
    }
    let list = cache.join("sources.list");
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let line = format!("deb-src [signed-by={key}] http://deb.debian.org/debian bookworm main\n");
    fs::write(&list, line).map_err(|e| e.to_string())?;
    let apt = |args: &[&str]| {
        let mut cmd = Command::new("apt-get");
        let options = [
            format!("Dir::Etc::sourcelist={}", list.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", cache.join("lists").display()),
            format!("Dir::Cache={}", cache.display()),
            "APT::Sandbox::User=".to_owned(),
        ];
        options.iter().for_each(|o| {
            cmd.args(["-o", o]);
        });
        quiet(cmd.args(args).current_dir(cache))
    };
    apt(&["update"])?;
    apt(&["source", "--download-only", "postgresql-15"])?;
    let entries = fs::read_dir(cache).map_err(|e| e.to_string())?;
    let archive = entries
        .flatten()
        .map(|e| e.path())
        .find(|p| p.to_string_lossy().contains(".orig.tar"))
        .ok_or("apt-get source brought no archive")?;
    let mut tar = Command::new("tar");
    quiet(
        tar.arg("xf")
            .arg(&archive)
            .args(["--wildcards", "*/src/test/regress/*", "*/contrib/spi/*"])
            .current_dir(cache),
    )
}
