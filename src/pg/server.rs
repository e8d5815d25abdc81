//! Facts about the running server.

use super::spi;
use crate::error::{sqlstate, Error, Result};
use pgrx::pg_sys;

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
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// The time in seconds of PostgreSQL's epoch.
pub fn now_seconds() -> u64 {
    u64::try_from(now_micros() / 1_000_000).unwrap_or(0)
}

/// PostgreSQL's id of the statement that the client sent; 0 when ids are not computed.
pub fn query_id() -> u64 {
    // SAFETY: reads this backend's status entry.
    unsafe { pg_sys::pgstat_get_my_query_id() }
}

/// CPU time that this process used so far in microseconds.
pub fn cpu_micros() -> u64 {
    // SAFETY: fills a structure of plain data.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let micros = |t: libc::timeval| t.tv_sec.unsigned_abs() * 1_000_000 + t.tv_usec.unsigned_abs();
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

/// A number from 0 to below 1, different each time but of no cryptographic use.
pub fn random_fraction() -> f64 {
    let bits = now_micros().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// A number that nobody can guess.
pub fn strong_random() -> Result<i64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is as large as said.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        return Err(Error::internal("could not generate a random number"));
    }
    Ok(i64::from_ne_bytes(bytes))
}

/// Whether an extension is being created, or the database is being upgraded: catalogs may be
/// there only in part.
pub fn is_installing() -> bool {
    // SAFETY: reads two server variables.
    unsafe { pg_sys::creating_extension || pg_sys::IsBinaryUpgrade }
}
