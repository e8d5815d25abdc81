//! Facts about the running server.

use super::spi;
use crate::error::Result;

/// What `version()` says: the server that runs, which may be newer than the one built against.
pub fn version_text() -> Result<String> {
    Ok(spi::value("SELECT pg_catalog.version()", &[])?.unwrap_or_default())
}
