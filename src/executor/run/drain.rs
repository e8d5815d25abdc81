//! Rows that are read ahead because somebody else needs the sessions, and how an execution lets go
//! of them.
//!
//! Whoever needs a session reads the rows of the one that streams on it. What goes wrong then is the
//! latter's failure, not the former's: it is kept, and is what comes after the rows that came before
//! it. Otherwise a handler around the former (EXCEPTION in a function, ROLLBACK TO) would swallow it,
//! and the rows behind it would just be missing.
//!
//! On the node the failure ends everything since the last savepoint. For most executions that is no
//! matter: they will fail in the same subtransaction in which they began. A cursor lives on while
//! savepoints begin and end, and may be closed before it gets there. So its query has a savepoint of
//! its own on the node, to which that goes back.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::Exec;
use crate::error::{Error, Result};
use crate::plan::Operation;
use crate::remote::SessionRef;
use crate::txn::{self, Mode};
use pgrx::pg_sys::{self, Datum};

/// Why an execution has no more rows.
pub(super) struct Failure {
    pub error: Error,
    /// A node has said it, as opposed to what hit whoever was waiting for the node.
    pub of_node: bool,
}

impl Exec {
    /// Says that it belongs to a cursor.
    pub fn belongs_to_cursor(&mut self) {
        self.cursor = true;
    }

    /// Puts a savepoint in front of a cursor's query. Not where it locks rows: to go back would
    /// unlock those that were fetched.
    pub(super) fn guard(&mut self, sessions: &[SessionRef], mode: Mode) {
        let reads = self.cursor && self.plan.operation == Operation::Select;
        self.apart = reads && mode == Mode::Once;
        self.guarded = reads && mode == Mode::InTransaction;
        if self.guarded {
            sessions.iter().for_each(txn::guard);
        }
    }

    /// Remembers why there are no more rows.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        let error = self.in_doubt(error);
        if self.failed.is_none() {
            self.failed = Some(Failure { error: error.clone(), of_node: false });
        }
        if self.guarded || self.apart {
            for c in std::mem::take(&mut self.conns) {
                self.let_go(&c.session, false);
            }
        }
        error
    }

    /// A write that is a transaction of its own may have been done when its node is lost.
    fn in_doubt(&self, error: Error) -> Error {
        let broken = |s: &SessionRef| s.try_borrow().is_ok_and(|s| s.is_broken());
        let lost = self.conns.iter().find(|c| broken(&c.session));
        match lost {
            Some(c) if self.decides && self.failed.is_none() => {
                txn::lost_while_committing(&c.session, &error)
            }
            _ => error,
        }
    }

    /// The session is not needed any more: all of it was read, or not.
    pub(super) fn let_go(&self, session: &SessionRef, complete: bool) {
        let Some(owner) = self.owner else { return };
        if self.guarded {
            txn::unguard(session, owner, complete);
        }
        txn::release(session, owner);
    }

    /// Reads everything that is still to come into the store, so that the sessions are free. An
    /// error is of whoever needs them only when they are not.
    pub(super) unsafe fn drain(&mut self) -> Result<()> {
        if let Some(failure) = &self.failed {
            return Err(failure.error.clone());
        }
        match self.read_ahead() {
            Ok(()) => Ok(()),
            Err(e) => {
                let e = self.fail(e);
                let alone = self.guarded || self.apart;
                match alone && self.failed.as_ref().is_some_and(|f| f.of_node) {
                    true => Ok(()),
                    false => Err(e),
                }
            }
        }
    }

    unsafe fn read_ahead(&mut self) -> Result<()> {
        let (mut values, mut nulls) =
            (vec![Datum::from(0usize); self.width], vec![true; self.width]);
        let (v, n) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        while !self.conns.is_empty() {
            let scratch = pg_sys::AllocSetContextCreateInternal(
                self.context,
                c"citus drained rows".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let old = pg_sys::MemoryContextSwitchTo(scratch);
            let result = self.read_some(v, n);
            pg_sys::MemoryContextSwitchTo(old);
            pg_sys::MemoryContextDelete(scratch);
            result?;
        }
        Ok(())
    }

    unsafe fn read_some(&mut self, values: *mut Datum, nulls: *mut bool) -> Result<()> {
        for _ in 0..1000 {
            if self.conns.is_empty() {
                break;
            }
            if self.receive_row(values, nulls)? {
                self.ensure_store();
                pg_sys::tuplestore_putvalues(self.store, self.desc, values, nulls);
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) {
        let conns = std::mem::take(&mut self.conns);
        conns.iter().for_each(|c| self.let_go(&c.session, false));
        if let Some(o) = self.owner.take() {
            txn::unregister_owner(o);
        }
    }
}
