//! A connection to a node: what is queued, what is written, what has come.
//!
//! Messages are queued into an output buffer and travel together with the next flush. For every
//! unit that the node answers with ReadyForQuery (a simple query, or extended messages up to a
//! Sync) a [`Batch`] is kept, so that the session knows which answers its caller waits for and
//! which belong to commands of its own (BEGIN, settings, savepoints): those never surface unless
//! they fail.

use super::backends::Connection;
use super::buffer::Buffer;
use super::message::TxStatus;
use super::shared::Permit;
use super::statements::Statements;
use super::transport::Transport;
use super::wire;
use crate::error::{sqlstate, Error, Result};
use crate::pg::net::Address;
use crate::pg::starts::TransactionId;
use crate::pg::wait::WaitSet;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Instant;

/// A shared session; never keep it borrowed while waiting.
pub type SessionRef = Rc<RefCell<Session>>;

/// Names and values of settings.
pub type Settings = Vec<(String, String)>;

/// Where a session leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeAddr {
    /// Node id in `pg_dist_node`, 0 when it is not there (yet).
    pub id: i32,
    /// Group, -1 when the node is not in `pg_dist_node` (yet).
    pub group: i32,
    /// Host name, address, or directory of a unix socket.
    pub name: String,
    /// Port.
    pub port: i32,
}

impl std::fmt::Display for NodeAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// What to do with the answers of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answers {
    /// The caller reads them.
    Caller,
    /// Thrown away; an error is shown.
    Internal,
    /// Thrown away with their errors.
    Discard,
    /// Thrown away; after an error the session cannot be used any more.
    Essential,
    /// The id of the transaction there, kept in [`Session::transaction_id`]; else as internal.
    TransactionId,
}

/// A unit that the node answers with ReadyForQuery.
#[derive(Debug)]
pub(super) struct Batch {
    pub seq: u64,
    pub answers: Answers,
    /// A command of our own, as opposed to a statement of the caller.
    pub own: bool,
    /// So many commands of our own come first; their answers do not reach the caller.
    pub opening: u32,
}

/// Answers that need attention beyond being passed on.
#[derive(Debug)]
pub(super) enum Expect {
    /// ParseComplete confirms a cached statement.
    Parse { seq: u64, name: Option<Rc<str>> },
    /// CloseComplete; our own are not shown.
    Close { seq: u64, internal: bool },
}

/// A connection to a node. `queue_*` only fill the output buffer; `flush`, `fill` never block.
pub struct Session {
    pub(super) node: NodeAddr,
    pub(super) user: String,
    id: u64,
    pub(super) transport: Transport,
    pub(super) out: Vec<u8>,
    written: usize,
    pub(super) input: Buffer,
    pub(super) batches: VecDeque<Batch>,
    /// Sequence number of the batch being queued.
    pub(super) seq: u64,
    /// Messages were queued since the last Sync.
    pub(super) open: bool,
    /// Commands of our own that travel in front of what is queued next, and their number.
    pub(super) opening: (String, u32),
    /// Commands of our own at the head of the batch being queued.
    pub(super) opened: u32,
    pub(super) expects: VecDeque<Expect>,
    pub(super) status: TxStatus,
    pub(super) broken: bool,
    /// Why nothing is expected from the node any more.
    given_up: Option<String>,
    /// The socket refused output: what it still has to say is read before giving up.
    write_failed: bool,
    pub(super) copy_in: bool,
    /// Notices are not shown (set while a transaction is rolled back).
    pub(crate) quiet: bool,
    pub(super) backend: (i32, i32),
    /// How it logged in.
    pub(super) login: Option<super::proof::Login>,
    /// Calls that were proven on it so far.
    pub(super) proofs: u64,
    /// Where the socket is connected to, for requests to cancel.
    pub(super) address: Option<Address>,
    pub(super) statements: Statements,
    pub(super) wait_set: Option<(WaitSet, i32)>,
    pub(super) created: Instant,
    /// When this backend got it.
    pub(super) taken: Instant,
    /// When it was given back last.
    pub(super) used: Instant,
    /// What [`super::pool::take_tagged`] finds it by.
    pub(super) tag: Option<super::pool::Tag>,
    /// Its place among the connections of all backends.
    pub(super) permit: Option<Permit>,
    /// Id of the transaction there: told by the node once it has one, or asked for.
    pub(crate) transaction_id: Option<TransactionId>,
    /// The first batch of that transaction.
    pub(super) transaction_since: u64,
    /// Its entry among the backends that work for this session.
    pub(super) entry: Option<Connection>,
    /// Settings given to this session outside of transactions; kept by the transaction layer.
    pub(crate) settings: Rc<Settings>,
    /// A command of our own failed: what the settings are is not known.
    pub(crate) settings_unknown: bool,
    /// What has to be equal for another session to go on with this connection; `None` when none may.
    pub(super) identity: Option<Rc<str>>,
    /// The role as which statements run there, when it is not the session's own. Kept by the
    /// transaction layer.
    pub(crate) acting: Option<Rc<str>>,
    /// The user whose statements ran in it, by OID, since it began or has forgotten everything; 0 for
    /// nobody's.
    pub(crate) runs_for: u32,
    /// There were several of them.
    pub(super) shared: bool,
    /// The node has seen settings of applications, which leave a trace that cannot be removed.
    pub(super) marked: bool,
}

impl Session {
    /// A session over a fresh connection; the connector does the rest.
    pub(super) fn new(node: NodeAddr, user: String, transport: Transport) -> Session {
        use std::sync::atomic::{AtomicU64, Ordering};
        static IDS: AtomicU64 = AtomicU64::new(1);
        Session {
            node,
            user,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            transport,
            out: Vec::new(),
            written: 0,
            input: Buffer::default(),
            batches: VecDeque::new(),
            seq: 0,
            open: false,
            opening: (String::new(), 0),
            opened: 0,
            expects: VecDeque::new(),
            status: TxStatus::Idle,
            broken: false,
            given_up: None,
            write_failed: false,
            copy_in: false,
            quiet: false,
            backend: (0, 0),
            login: None,
            proofs: 0,
            address: None,
            statements: Statements::default(),
            wait_set: None,
            created: Instant::now(),
            taken: Instant::now(),
            used: Instant::now(),
            tag: None,
            permit: None,
            transaction_id: None,
            transaction_since: 0,
            entry: None,
            settings: Rc::default(),
            settings_unknown: false,
            identity: None,
            acting: None,
            runs_for: 0,
            shared: false,
            marked: false,
        }
    }

    /// Raw output, for the connector.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes not yet written to the socket.
    pub fn pending_out(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes what the socket takes; true when all is out.
    pub fn flush(&mut self) -> Result<bool> {
        self.send_opening();
        while self.written < self.out.len() && !self.write_failed {
            let rest = self.out.get(self.written..).unwrap_or_default();
            match self.transport.write(rest) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // More may be queued before all is out: what is out must not pile up.
                    if self.written > 1024 * 1024 {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return Ok(false);
                }
                Err(_) => self.write_failed = true,
            }
        }
        match self.transport.flush() {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => self.write_failed = true,
            _ => {}
        }
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > 4 * 1024 * 1024 {
            self.out = Vec::new();
        }
        Ok(!self.transport.wants_write())
    }

    /// Reads what is there; true if something came.
    pub fn fill(&mut self) -> Result<bool> {
        self.fill_with(Transport::read)
    }

    /// Writes what is queued, and reads: in one system call that waits until something has come, or
    /// for a few milliseconds; it ends when a signal comes. True if something was read.
    pub(super) fn hear(&mut self) -> Result<bool> {
        self.flush()?;
        Ok(!self.wants_write() && self.fill_with(Transport::read_soon)?)
    }

    fn fill_with(
        &mut self,
        read: impl Fn(&mut Transport, &mut [u8]) -> io::Result<usize>,
    ) -> Result<bool> {
        if let Some(why) = self.given_up.take() {
            return Err(self.lost(&why));
        }
        if self.broken {
            return Err(self.lost("the connection is closed"));
        }
        let transport = &mut self.transport;
        match self.input.fill(|to| read(transport, to)) {
            Ok(0) => Err(self.lost("server closed the connection unexpectedly")),
            Ok(_) => {
                while transport.has_buffered() {
                    if !matches!(self.input.fill(|to| transport.read(to)), Ok(1..)) {
                        break;
                    }
                }
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if self.write_failed {
                    return Err(self.lost("the connection does not take data any more"));
                }
                Ok(false)
            }
            Err(e) => Err(self.lost(&super::connect::reason(&e))),
        }
    }

    /// Nothing is expected from the node any more: the next attempt to read says why.
    pub(super) fn give_up(&mut self, why: String) {
        self.given_up = Some(why);
    }

    /// Marks the session unusable and says why.
    pub(super) fn lost(&mut self, why: &str) -> Error {
        self.broken = true;
        let message = format!("connection to node {} was lost", self.node);
        Error::new(sqlstate::CONNECTION_FAILURE, message).detail(why.to_owned())
    }

    /// The socket.
    pub fn fd(&self) -> i32 {
        self.transport.fd()
    }
    /// Whether output waits for the socket.
    pub fn wants_write(&self) -> bool {
        !self.write_failed && (self.pending_out() > 0 || self.transport.wants_write())
    }
    /// Transaction status after the last ReadyForQuery.
    pub fn status(&self) -> TxStatus {
        self.status
    }
    /// ReadyForQuery messages still to come.
    pub fn outstanding(&self) -> usize {
        self.batches.len()
    }
    /// The connection cannot be used any more.
    pub fn is_broken(&self) -> bool {
        self.broken || self.write_failed || self.given_up.is_some()
    }
    /// Where the session leads.
    pub fn node(&self) -> &NodeAddr {
        &self.node
    }
    /// The user the session runs as.
    pub fn user(&self) -> &str {
        &self.user
    }
    /// A number that no other session of this backend ever had.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// Process id of the node's backend.
    pub fn backend_pid(&self) -> i32 {
        self.backend.0
    }

    /// What comes for everything queued so far is thrown away by whoever reads next. What was thrown
    /// away with its errors stays so.
    pub(crate) fn discard_pending(&mut self, answers: Answers) {
        if self.open {
            self.queue_sync();
        }
        for b in &mut self.batches {
            if !b.own && b.answers != Answers::Discard {
                b.answers = answers;
            }
        }
        if self.copy_in {
            self.queue_copy_fail("the statement was abandoned");
        }
    }

    /// The transaction there is about to be rolled back: whether its savepoints still went right is of
    /// no interest, and must not make a session look lost that is as good as new.
    pub(crate) fn forgive_transaction(&mut self) {
        let since = self.transaction_since;
        let of_transaction = |b: &&mut Batch| b.seq >= since;
        self.batches.iter_mut().filter(of_transaction).for_each(|b| b.answers = Answers::Discard);
    }

    /// The running transaction begins there.
    pub(crate) fn note_begun(&self) {
        super::backends::began(self.entry.as_ref());
    }

    /// Whether nothing is due but answers to our own commands.
    pub(crate) fn only_internal(&self) -> bool {
        !self.open && !self.copy_in && self.batches.iter().all(|b| b.answers != Answers::Caller)
    }

    /// Whether nothing is due but answers to our own commands that nobody wants to know: after an error
    /// the session is not used, or nothing is wrong.
    pub(super) fn only_ends(&self) -> bool {
        let unread = |a| matches!(a, Answers::Essential | Answers::Discard);
        !self.is_running() && self.batches.iter().all(|b| unread(b.answers))
    }

    /// Whether a statement of the caller may be running, wanted or not.
    pub(crate) fn is_running(&self) -> bool {
        self.open || self.copy_in || self.batches.iter().any(|b| !b.own)
    }

    /// Makes the connection unusable, as after an error of the stream.
    pub(crate) fn poison(&mut self) {
        self.broken = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A polite end keeps the node's log free of complaints; it may not wait.
        if !self.broken && self.pending_out() == 0 {
            wire::terminate(&mut self.out);
            let _ = self.flush();
        }
    }
}
