//! Where the servers of the tests have their files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// File systems in memory that the system makes for programs.
const IN_MEMORY: &str = "/dev/shm";
/// Memory that has to be free for it: several times what the tests were seen to use.
const ENOUGH: u64 = 10 << 30;

/// The directory for the tests' files, removed with what the programs share in it.
///
/// Servers make thousands of files per test and remove them again. On a disk most of the
/// processors' time goes into finding places for them, so they lie in memory where there is enough.
/// `CITUS_TEST_TMPDIR` names another directory.
pub struct Scratch {
    /// `CITUS_TEST_TMPDIR` of the programs.
    pub place: PathBuf,
}

impl Scratch {
    /// Decides where the files are to be.
    pub fn new() -> Self {
        let wanted = std::env::var_os("CITUS_TEST_TMPDIR").map(PathBuf::from);
        let place = wanted.unwrap_or_else(|| {
            if memory_is_there() {
                IN_MEMORY.into()
            } else {
                std::env::temp_dir()
            }
        });
        Self { place }
    }

    /// What the programs make once for all of them, see `shared_dir` in `pgrx-tests/src/process.rs`.
    fn shared(&self) -> PathBuf {
        self.place.join(format!("citus-tests-{}", std::process::id()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is not there when no server was started.
        let _ = std::fs::remove_dir_all(self.shared());
    }
}

/// Whether there is a file system in memory, with room, and memory for it.
fn memory_is_there() -> bool {
    let room = || {
        let mut df = Command::new("df");
        let out = df.args(["--output=fstype,avail", "--block-size=1", IN_MEMORY]).output().ok()?;
        room_in_memory(&String::from_utf8_lossy(&out.stdout))
    };
    let meminfo = std::fs::read_to_string(Path::new("/proc/meminfo")).unwrap_or_default();
    available(&meminfo).is_some_and(|free| free >= ENOUGH) && room().is_some_and(|r| r >= ENOUGH)
}

/// Bytes that a file system in memory has left, from what `df` prints of it.
fn room_in_memory(df: &str) -> Option<u64> {
    let (kind, avail) = df.lines().nth(1)?.trim().split_once(' ')?;
    if kind == "tmpfs" {
        avail.trim().parse().ok()
    } else {
        None
    }
}

/// Bytes of memory that programs can still get, from `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        let df = "Type       Avail\ntmpfs 25111957504\n";
        assert_eq!(room_in_memory(df), Some(25_111_957_504));
        assert_eq!(room_in_memory("Type  Avail\next4 25111957504\n"), None);
        assert_eq!(room_in_memory(""), None);
        let meminfo = "MemTotal:       24523396 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(available(meminfo), Some(2 << 20));
        assert_eq!(available("MemTotal: 3 kB\n"), None);
    }
}
