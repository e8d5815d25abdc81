//! From bytes to messages.

use super::buffer::Frame;
use super::message::{Message, TxStatus};
use super::session::{Answers, Expect, Session};
use super::simple::columns;
use super::wire;
use crate::error::{sqlstate, Error, Result};
use crate::pg::guard;
use crate::pg::report::TRANSACTION_ID;
use pgrx::pg_sys;

impl Session {
    /// The next complete message in the buffer; no I/O. Answers to our own commands and notices
    /// are handled here. An `Err` means that the connection is lost.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Message<'_>>> {
        match self.advance()? {
            Some(frame) => self.view(&frame),
            None => Ok(None),
        }
    }

    /// Steps over what does not concern the caller.
    fn advance(&mut self) -> Result<Option<Frame>> {
        loop {
            let frame = match self.input.next() {
                Ok(Some(f)) => f,
                Ok(None) => return Ok(None),
                Err(_) => return Err(self.protocol_error("message of impossible length")),
            };
            let answers = self.batches.front().map_or(Answers::Discard, |b| b.answers);
            let opening = self.batches.front_mut().filter(|b| b.opening > 0);
            let show = answers == Answers::Caller && opening.is_none();
            if let (Some(batch), b'C') = (opening, frame.tag) {
                batch.opening -= 1;
                continue;
            }
            match frame.tag {
                b'D' | b'd' => {
                    if show {
                        return Ok(Some(frame));
                    }
                    if answers == Answers::TransactionId {
                        let first = columns(self.input.slice(&frame.body)).next().flatten();
                        let text = first.and_then(|v| std::str::from_utf8(v).ok());
                        self.transaction_id = text.and_then(|t| t.parse().ok());
                    }
                }
                b'Z' => {
                    if self.ready(&frame)? && show {
                        return Ok(Some(frame));
                    }
                }
                b'E' => {
                    if self.failed(&frame, answers)? {
                        return Ok(Some(frame));
                    }
                }
                b'N' => self.notice(&frame),
                b'S' => self.told(&frame),
                // Notifications are of no interest.
                b'A' | b'K' => {}
                b'G' if !show => self.queue_copy_fail("the statement was abandoned"),
                b'1' => {
                    self.confirm_parse();
                    if show {
                        return Ok(Some(frame));
                    }
                }
                b'3' => {
                    if !self.confirm_close() && show {
                        return Ok(Some(frame));
                    }
                }
                _ => {
                    if show {
                        return Ok(Some(frame));
                    }
                }
            }
        }
    }

    /// ReadyForQuery: false when nobody asked for it (start of the session).
    fn ready(&mut self, frame: &Frame) -> Result<bool> {
        self.status = match self.input.slice(&frame.body) {
            b"I" => TxStatus::Idle,
            b"T" => TxStatus::InBlock,
            b"E" => TxStatus::Failed,
            _ => return Err(self.protocol_error("unknown transaction status")),
        };
        let Some(batch) = self.batches.pop_front() else { return Ok(false) };
        self.copy_in = false;
        // What was not answered until here was skipped after an error.
        while let Some(e) = self.expects.front() {
            let (Expect::Parse { seq, .. } | Expect::Close { seq, .. }) = e;
            if *seq > batch.seq {
                break;
            }
            if let Some(Expect::Parse { name: Some(name), .. }) = self.expects.pop_front() {
                self.statements.remove(&name);
            }
        }
        Ok(true)
    }

    fn confirm_parse(&mut self) {
        if matches!(self.expects.front(), Some(Expect::Parse { .. })) {
            self.expects.pop_front();
        }
    }

    /// True when the answer belongs to a Close of our own.
    fn confirm_close(&mut self) -> bool {
        match self.expects.front() {
            Some(Expect::Close { internal, .. }) => {
                let internal = *internal;
                self.expects.pop_front();
                internal
            }
            _ => false,
        }
    }

    /// An ErrorResponse; true when the caller has to see it.
    fn failed(&mut self, frame: &Frame, answers: Answers) -> Result<bool> {
        let report = wire::report(self.input.slice(&frame.body));
        if report.level > 21 || self.batches.is_empty() {
            return Err(self.lost(&report.error.message));
        }
        self.copy_in = false;
        let e = report.error;
        let gone = *b"26000";
        if e.code == crate::error::SqlState::new(&gone)
            || (e.code == sqlstate::FEATURE_NOT_SUPPORTED && e.message.contains("cached plan"))
        {
            // Tables changed under the statements, or somebody discarded them.
            self.statements.clear();
        }
        match answers {
            Answers::Caller => Ok(true),
            Answers::Internal | Answers::TransactionId => {
                self.settings_unknown = true;
                Ok(true)
            }
            Answers::Discard => Ok(false),
            Answers::Essential => {
                self.broken = true;
                Ok(false)
            }
        }
    }

    fn notice(&mut self, frame: &Frame) {
        if self.quiet {
            return;
        }
        let mut report = wire::report(self.input.slice(&frame.body));
        // Whatever a node calls it: a notice is nothing that ends a statement, a session or this server.
        report.level = report.level.min(pg_sys::WARNING);
        let least = super::limits::worker_min_messages();
        if report.level >= least || report.level == pg_sys::INFO {
            guard::report(&report.error, report.level);
        }
    }

    /// ParameterStatus: the id of the transaction; settings of the node are of no interest.
    fn told(&mut self, frame: &Frame) {
        let (name, value) = wire::cut(self.input.slice(&frame.body));
        let current = self.batches.front().is_some_and(|b| b.seq >= self.transaction_since);
        if current && name == TRANSACTION_ID.to_bytes() {
            let text = std::str::from_utf8(wire::cut(value).0).ok();
            self.transaction_id = text.and_then(|t| t.parse().ok());
        }
    }

    fn protocol_error(&mut self, what: &str) -> Error {
        self.broken = true;
        self.input.clear();
        let message = format!("node {} does not follow the protocol: {what}", self.node);
        Error::new(sqlstate::PROTOCOL_VIOLATION, message)
    }

    /// The message of a frame.
    fn view(&mut self, frame: &Frame) -> Result<Option<Message<'_>>> {
        if frame.tag == b'G' {
            self.copy_in = true;
        }
        if !b"TDC123nItsGHdcEZ".contains(&frame.tag) {
            let what = format!("unexpected message {:?}", char::from(frame.tag));
            return Err(self.protocol_error(&what));
        }
        let status = self.status;
        let body = self.input.slice(&frame.body);
        Ok(Some(match frame.tag {
            b'T' => Message::RowDescription(body),
            b'D' => Message::DataRow(body),
            b'C' => Message::CommandComplete(std::str::from_utf8(wire::cut(body).0).unwrap_or("")),
            b'1' => Message::ParseComplete,
            b'2' => Message::BindComplete,
            b'3' => Message::CloseComplete,
            b'n' => Message::NoData,
            b'I' => Message::EmptyQuery,
            b't' => Message::ParameterDescription(body),
            b's' => Message::PortalSuspended,
            b'G' => Message::CopyIn,
            b'H' => Message::CopyOut,
            b'd' => Message::CopyData(body),
            b'c' => Message::CopyDone,
            b'Z' => Message::Ready(status),
            _ => {
                let line = format!("while executing command on {}", self.node);
                Message::Error(wire::report(body).error.context(line))
            }
        }))
    }
}
