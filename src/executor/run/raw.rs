//! Rows that are passed on as they came.

use super::Exec;
use crate::error::Result;
use crate::remote::Message;
use pgrx::pg_sys::{self, TupleTableSlot};

/// What [`Exec::next_raw`] did.
pub enum Raw {
    /// No more rows.
    End,
    /// So many rows were passed on.
    Sent(u64),
    /// A row that was read ahead is in the slot.
    Slot,
}

impl Exec {
    /// Rows as they came: `send` gets the bodies of all that are there, or, when rows were read
    /// ahead, one is in `slot`.
    pub unsafe fn next_raw(
        &mut self,
        slot: *mut TupleTableSlot,
        memory: pg_sys::MemoryContext,
        send: &mut dyn FnMut(&[u8]),
    ) -> Result<Raw> {
        if !self.store.is_null() {
            let old = pg_sys::MemoryContextSwitchTo(memory);
            let more = self.next_row(slot);
            pg_sys::MemoryContextSwitchTo(old);
            return Ok(if more? { Raw::Slot } else { Raw::End });
        }
        if let Some(failure) = &self.failed {
            return Err(failure.error.clone());
        }
        loop {
            if self.conns.is_empty() {
                self.finish();
                return Ok(Raw::End);
            }
            let mut sent = 0;
            let mut i = 0;
            while i < self.conns.len() {
                let passed = self.pass_conn(i, &mut sent, send);
                if passed.map_err(|e| self.fail(e))? {
                    let c = self.conns.remove(i);
                    self.let_go(&c.session, true);
                } else {
                    i += 1;
                }
            }
            if sent > 0 || self.conns.is_empty() {
                return Ok(if sent > 0 { Raw::Sent(sent) } else { Raw::End });
            }
            self.wait()?;
        }
    }

    /// Passes on the rows that a session has ready; true when it has answered everything.
    fn pass_conn(&mut self, i: usize, sent: &mut u64, send: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let Some(conn) = self.conns.get_mut(i) else { return Ok(true) };
        let mut session = conn.session.borrow_mut();
        while let Some(message) = session.next()? {
            match message {
                Message::DataRow(body) => {
                    self.traffic.bytes += body.len() as u64;
                    if !conn.tasks.get(conn.current).is_some_and(|t| t.mute) {
                        send(body);
                        *sent += 1;
                    }
                }
                Message::CommandComplete(_) => conn.current += 1,
                Message::Error(e) => {
                    let shard = conn.tasks.get(conn.current).map_or(0, |t| t.shard);
                    return Err(crate::ddl::unshard::unshard_error(e, shard));
                }
                Message::Ready(_) => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }
}
