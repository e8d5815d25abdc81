//! Messages of the extended protocol one by one, for what drivers do not do every day.

use super::{Conn, Error};
use postgres_protocol::message::frontend;
use postgres_protocol::IsNull;
use std::io;

impl Conn {
    /// Binds a prepared statement to a portal; parameters as text, results in the given formats
    /// (none: all as text).
    pub fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        params: &[&str],
        formats: &[i16],
    ) -> Result<(), Error> {
        let value = |p: &&str, buf: &mut bytes::BytesMut| {
            buf.extend_from_slice(p.as_bytes());
            Ok(IsNull::No)
        };
        let results = formats.iter().copied();
        frontend::bind(portal, statement, [], params, value, results, &mut self.output)
            .map_err(|_| io::Error::other("parameters cannot be encoded").into())
    }

    /// Queues a statement without parameters: parsed, bound and executed without a name.
    pub fn queue(&mut self, sql: &str) -> Result<(), Error> {
        frontend::parse("", sql, [], &mut self.output)?;
        self.bind("", "", &[], &[])?;
        self.run_portal("", 0)
    }

    /// Executes a portal for at most `rows` rows (0 for all).
    pub fn run_portal(&mut self, portal: &str, rows: i32) -> Result<(), Error> {
        Ok(frontend::execute(portal, rows, &mut self.output)?)
    }

    /// Sends what was queued; the server answers when it likes.
    pub fn send_queued(&mut self) -> Result<(), Error> {
        frontend::flush(&mut self.output);
        Ok(self.flush()?)
    }

    /// Sends what was queued, and a Sync behind it: [`Conn::receive`] reads the answer.
    pub fn sync(&mut self) -> Result<(), Error> {
        frontend::sync(&mut self.output);
        Ok(self.flush()?)
    }
}
