//! What is queued for a node, and in front of what commands of our own travel.

use super::message::Param;
use super::session::{Answers, Batch, Expect, Session};
use super::wire;
use std::rc::Rc;

impl Session {
    pub(super) fn end_batch(&mut self, answers: Answers) {
        let own = answers != Answers::Caller;
        let opening = std::mem::take(&mut self.opened);
        self.batches.push_back(Batch { seq: self.seq, answers, own, opening });
        self.seq += 1;
        self.open = false;
    }

    /// Queues a simple query. COPY has to be run this way. Messages of the extended protocol
    /// queued before need a Sync first.
    pub fn queue_query(&mut self, sql: &str) {
        self.simple(sql, Answers::Caller);
    }

    /// Queues a command of our own; its answers do not reach the caller.
    pub(crate) fn queue_internal(&mut self, sql: &str, answers: Answers) {
        self.simple(sql, answers);
    }

    fn simple(&mut self, sql: &str, answers: Answers) {
        if self.open {
            self.queue_sync();
        }
        let (opening, commands) = std::mem::take(&mut self.opening);
        if opening.is_empty() {
            wire::query(&mut self.out, sql);
        } else {
            wire::query(&mut self.out, &(opening + sql));
            self.opened = commands;
        }
        self.end_batch(answers);
    }

    /// Commands of our own, each with its semicolon, that travel in one message with what is
    /// queued next: their answers do not wake anybody up.
    pub(crate) fn open_with(&mut self, sql: &str, commands: u32) {
        if self.open {
            self.queue_sync();
        }
        self.opening.0.push_str(sql);
        self.opening.1 += commands;
    }

    /// Messages of the extended protocol begin or go on.
    fn extend(&mut self) {
        if self.opening.1 == 1 {
            let sql = std::mem::take(&mut self.opening).0;
            let name = self.statement(&sql, &[], 0).0;
            wire::bind(&mut self.out, "", &name, &[], &[]);
            wire::execute(&mut self.out, "", 0);
            self.opened = 1;
        } else {
            self.send_opening();
        }
        self.open = true;
    }

    /// Queues what was to travel with something else by itself.
    pub(super) fn send_opening(&mut self) {
        let (sql, _) = std::mem::take(&mut self.opening);
        if !sql.is_empty() {
            wire::query(&mut self.out, &sql);
            self.end_batch(Answers::Internal);
        }
    }

    /// What is queued next is of another transaction than what was queued before.
    pub(crate) fn transaction_begins(&mut self) {
        self.transaction_id = None;
        self.transaction_since = self.seq;
    }

    /// Queues the question for the id of the transaction, where the node has not told it.
    pub(crate) fn queue_transaction_id(&mut self) {
        if self.open {
            self.queue_sync();
        }
        let (name, _) = self.prepared("SELECT pg_catalog.citus_internal_transaction_id()", &[], 0);
        self.queue_bind("", &name, &[], &[]);
        self.queue_execute("", 0);
        wire::sync(&mut self.out);
        self.end_batch(Answers::TransactionId);
    }

    /// Queues Parse.
    pub fn queue_parse(&mut self, name: &str, sql: &str, types: &[u32]) {
        self.extend();
        wire::parse(&mut self.out, name, sql, types);
        self.expects.push_back(Expect::Parse { seq: self.seq, name: None });
    }

    /// Queues Bind.
    pub fn queue_bind(
        &mut self,
        portal: &str,
        statement: &str,
        params: &[Param<'_>],
        result_formats: &[i16],
    ) {
        self.extend();
        wire::bind(&mut self.out, portal, statement, params, result_formats);
    }

    /// Queues Describe of a portal.
    pub fn queue_describe_portal(&mut self, portal: &str) {
        self.extend();
        wire::describe(&mut self.out, b'P', portal);
    }

    /// Queues Describe of a statement.
    pub fn queue_describe_statement(&mut self, name: &str) {
        self.extend();
        wire::describe(&mut self.out, b'S', name);
    }

    /// Queues Execute; `max_rows` 0 means all.
    pub fn queue_execute(&mut self, portal: &str, max_rows: i32) {
        self.extend();
        wire::execute(&mut self.out, portal, max_rows);
    }

    /// Queues Close of a portal.
    pub fn queue_close_portal(&mut self, portal: &str) {
        self.extend();
        wire::close(&mut self.out, b'P', portal);
        self.expects.push_back(Expect::Close { seq: self.seq, internal: false });
    }

    /// Queues Close of a statement that was named by the caller.
    pub fn queue_close_statement(&mut self, name: &str) {
        self.extend();
        wire::close(&mut self.out, b'S', name);
        self.expects.push_back(Expect::Close { seq: self.seq, internal: false });
    }

    /// Queues Sync.
    pub fn queue_sync(&mut self) {
        wire::sync(&mut self.out);
        self.end_batch(Answers::Caller);
    }

    /// Queues copy data.
    pub fn queue_copy_data(&mut self, data: &[u8]) {
        wire::copy_data(&mut self.out, data);
    }

    /// Queues the end of copy data.
    pub fn queue_copy_done(&mut self) {
        wire::copy_done(&mut self.out);
        self.copy_in = false;
    }

    /// Queues the failure of a copy.
    pub fn queue_copy_fail(&mut self, reason: &str) {
        wire::copy_fail(&mut self.out, reason);
        self.copy_in = false;
    }

    /// Name of a server-side prepared statement for this text; true when Parse was queued now.
    /// Statements survive transactions; the number kept is limited. `shape` stands for the types
    /// of the result: a node refuses to run a statement whose result type has changed, so that
    /// the same text with another shape is another statement.
    pub fn prepared(&mut self, sql: &str, types: &[u32], shape: u64) -> (Rc<str>, bool) {
        self.extend();
        self.statement(sql, types, shape)
    }

    fn statement(&mut self, sql: &str, types: &[u32], shape: u64) -> (Rc<str>, bool) {
        if self.shared {
            // What one user's functions do there could put another statement under a name.
            wire::parse(&mut self.out, "", sql, types);
            self.expects.push_back(Expect::Parse { seq: self.seq, name: None });
            return ("".into(), true);
        }
        if let Some(name) = self.statements.find(sql, types, shape) {
            return (name, false);
        }
        let name = self.statements.add(sql, types, shape);
        for stale in self.statements.take_stale() {
            wire::close(&mut self.out, b'S', &stale);
            self.expects.push_back(Expect::Close { seq: self.seq, internal: true });
        }
        wire::parse(&mut self.out, &name, sql, types);
        self.expects.push_back(Expect::Parse { seq: self.seq, name: Some(name.clone()) });
        (name, true)
    }

    /// Forgets all prepared statements, after changes of definitions on the node.
    pub fn forget_prepared(&mut self) {
        self.statements.clear();
    }
}
