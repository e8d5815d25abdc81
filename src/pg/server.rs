//! Facts about the running server.

use super::spi;
use crate::error::{sqlstate, Error, Result};

/// What `version()` says: the server that runs, which may be newer than the one built against.
pub fn version_text() -> Result<String> {
    Ok(spi::value("SELECT pg_catalog.version()", &[])?.unwrap_or_default())
}

/// Free (for users) and total bytes of the file system that holds the data directory.
pub fn disk_space() -> Result<(i64, i64)> {
    // SAFETY: the structure is plain data; a server process runs in the data directory.
    let stats = unsafe {
        let mut stats: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(c".".as_ptr(), &mut stats) != 0 {
            return Err(Error::new(
                sqlstate::IO_ERROR,
                format!(
                    "could not read the size of the file system: {}",
                    std::io::Error::last_os_error()
                ),
            ));
        }
        stats
    };
    let bytes =
        |blocks: u64| i64::try_from(blocks.saturating_mul(stats.f_frsize)).unwrap_or(i64::MAX);
    Ok((bytes(stats.f_bavail), bytes(stats.f_blocks)))
}

/// The time in microseconds of PostgreSQL's epoch.
pub fn now_micros() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pgrx::pg_sys::GetCurrentTimestamp() }
}

/// The time in seconds of PostgreSQL's epoch.
pub fn now_seconds() -> u64 {
    u64::try_from(now_micros() / 1_000_000).unwrap_or(0)
}
