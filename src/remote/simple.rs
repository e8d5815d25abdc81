//! Statements whose result is small: run, wait, collect as text.

use super::session::SessionRef;
use crate::error::{Error, Result};

/// Result of a simple statement.
#[derive(Clone, Debug, Default)]
pub struct TextResult {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// Command tag of the last command.
    pub tag: String,
}

/// Runs a statement (simple protocol) and collects its last result.
pub fn query(_session: &SessionRef, _sql: &str) -> Result<TextResult> {
    Err(Error::internal("not connected"))
}

/// Runs one statement on each session, all at the same time; one result per session, in order.
pub fn query_all(_work: &[(SessionRef, String)]) -> Result<Vec<Result<TextResult>>> {
    Err(Error::internal("not connected"))
}
