//! COPY statements under way on nodes.
//!
//! Every chunk of rows is a COPY statement of its own, with its data right behind it: nobody waits
//! for the node's "go on". A session thus holds any number of shards' data in turn, and is free
//! for another statement between two chunks. All of them run in the session's transaction.

use super::chunk::Chunk;
use crate::error::{Error, Result};
use crate::remote::{wait_for, Message, SessionRef};
use crate::txn::{self, Mode};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// Bytes of one CopyData message: the node works on one while it receives the next.
const PIECE: usize = 64 * 1024;

/// A chunk on its way. The chunk is kept until the node confirms it, to tell where an error is.
struct Item {
    chunk: Rc<Chunk>,
    counts: bool,
    error: Option<Error>,
}

struct Node {
    group: i32,
    session: Option<SessionRef>,
    items: VecDeque<Item>,
}

struct Inner {
    nodes: Vec<Node>,
    rows: u64,
    bytes: usize,
    failure: Option<(Rc<Chunk>, Error)>,
}

/// The streams to all nodes of a table.
pub struct Streams {
    inner: Rc<RefCell<Inner>>,
    owner: txn::OwnerId,
}

impl Streams {
    /// Streams to node groups; connections are made when they are needed.
    pub fn new(groups: &[i32]) -> Streams {
        let nodes = groups
            .iter()
            .map(|g| Node { group: *g, session: None, items: VecDeque::new() })
            .collect();
        let inner = Rc::new(RefCell::new(Inner { nodes, rows: 0, bytes: 0, failure: None }));
        let weak = Rc::downgrade(&inner);
        let owner = txn::register_owner(Box::new(move || drain(&weak)));
        Streams { inner, owner }
    }

    /// Statements under way on a node.
    pub fn under_way(&self, node: usize) -> usize {
        self.inner.borrow().nodes.get(node).map_or(0, |n| n.items.len())
    }

    /// Whether any statement is under way.
    pub fn busy(&self) -> bool {
        self.inner.borrow().nodes.iter().any(|n| !n.items.is_empty())
    }

    /// Bytes of chunks that are not confirmed.
    pub fn bytes(&self) -> usize {
        self.inner.borrow().bytes
    }

    /// Rows that nodes have confirmed.
    pub fn rows(&self) -> u64 {
        self.inner.borrow().rows
    }

    /// Chunks that are not confirmed.
    pub fn unconfirmed(&self) -> Vec<Rc<Chunk>> {
        let inner = self.inner.borrow();
        inner.nodes.iter().flat_map(|n| n.items.iter().map(|i| i.chunk.clone())).collect()
    }

    /// The first failure, with the chunk that it is about.
    pub fn take_failure(&self) -> Option<(Rc<Chunk>, Error)> {
        self.inner.borrow_mut().failure.take()
    }

    /// Makes sure that there are sessions to these nodes; missing ones are connected at once.
    pub fn connect(&self, wanted: &[usize]) -> Result<()> {
        let missing: Vec<(usize, i32)> = {
            let inner = self.inner.borrow();
            let lacks = |i: &usize| {
                inner.nodes.get(*i).filter(|n| n.session.is_none()).map(|n| (*i, n.group))
            };
            wanted.iter().filter_map(lacks).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let groups: Vec<i32> = missing.iter().map(|m| m.1).collect();
        let sessions = txn::sessions(&groups, Mode::InTransaction)?;
        txn::mark_modified(&groups);
        let mut inner = self.inner.borrow_mut();
        for ((i, _), session) in missing.into_iter().zip(sessions) {
            if let Some(n) = inner.nodes.get_mut(i) {
                n.session = Some(session);
            }
        }
        Ok(())
    }

    /// Sends a chunk as the input of `command`, between `head` and `tail`. Its rows are counted
    /// when `counts`.
    pub fn send(
        &self,
        node: usize,
        command: &str,
        chunk: Rc<Chunk>,
        (head, tail): (&[u8], &[u8]),
        counts: bool,
    ) -> Result<()> {
        self.connect(&[node])?;
        let group = self.inner.borrow().nodes.get(node).map(|n| n.group);
        let group = group.ok_or_else(|| Error::internal("no session to a node"))?;
        // Statements of functions may have run there since, as somebody else.
        let session = txn::session(group, Mode::InTransaction)?;
        txn::claim(&session, self.owner)?;
        let mut inner = self.inner.borrow_mut();
        inner.bytes += chunk.size();
        {
            let mut s = session.borrow_mut();
            s.queue_query(command);
            if !head.is_empty() {
                s.queue_copy_data(head);
            }
            for piece in chunk.data().chunks(PIECE) {
                s.queue_copy_data(piece);
            }
            if !tail.is_empty() {
                s.queue_copy_data(tail);
            }
            s.queue_copy_done();
            s.flush()?;
        }
        if let Some(n) = inner.nodes.get_mut(node) {
            n.items.push_back(Item { chunk, counts, error: None });
        }
        Ok(())
    }

    /// Sends and receives what can be without waiting.
    pub fn poll(&self) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        for i in 0..inner.nodes.len() {
            inner.advance(i)?;
        }
        Ok(())
    }

    /// Waits until something moves on one of the nodes.
    pub fn wait(&self) -> Result<()> {
        wait(&self.inner)
    }

    /// Gives the sessions back.
    fn release(&self) {
        for n in &self.inner.borrow().nodes {
            if let Some(s) = &n.session {
                txn::release(s, self.owner);
            }
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.release();
        txn::unregister_owner(self.owner);
    }
}

/// Waits until one of the sessions with statements under way can be served, and serves it.
fn wait(inner: &Rc<RefCell<Inner>>) -> Result<()> {
    let busy: Vec<(usize, SessionRef)> = inner
        .borrow()
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, n)| !n.items.is_empty())
        .filter_map(|(i, n)| n.session.clone().map(|s| (i, s)))
        .collect();
    if busy.is_empty() {
        return Ok(());
    }
    let sessions: Vec<&SessionRef> = busy.iter().map(|b| &b.1).collect();
    let mut ready = Vec::new();
    wait_for(&sessions, -1, &mut ready)?;
    for r in ready {
        if let Some((i, _)) = busy.get(r) {
            inner.borrow_mut().advance(*i)?;
        }
    }
    Ok(())
}

/// Lets everything under way finish, because another statement needs a session.
fn drain(inner: &Weak<RefCell<Inner>>) -> Result<()> {
    let Some(inner) = inner.upgrade() else { return Ok(()) };
    loop {
        let busy = {
            let inner = inner.borrow();
            inner.failure.is_none() && inner.nodes.iter().any(|n| !n.items.is_empty())
        };
        if !busy {
            return Ok(());
        }
        wait(&inner)?;
    }
}

impl Inner {
    /// Writes and reads one session without waiting.
    fn advance(&mut self, node: usize) -> Result<()> {
        let Inner { nodes, rows, bytes, failure } = self;
        let Some(Node { session: Some(session), items, .. }) = nodes.get_mut(node) else {
            return Ok(());
        };
        if items.is_empty() {
            return Ok(());
        }
        let mut s = session.borrow_mut();
        s.flush()?;
        s.fill()?;
        while let Some(message) = s.next()? {
            let Some(item) = items.front_mut() else { break };
            match message {
                Message::CommandComplete(tag) if item.counts => {
                    let n = tag.strip_prefix("COPY ").and_then(|n| n.parse::<u64>().ok());
                    *rows += n.unwrap_or(0);
                }
                Message::Error(e) => {
                    item.error.get_or_insert(e);
                }
                Message::Ready(_) => {
                    if let Some(done) = items.pop_front() {
                        *bytes = bytes.saturating_sub(done.chunk.size());
                        if let (Some(e), None) = (done.error, failure.as_ref()) {
                            *failure = Some((done.chunk, e));
                        }
                    }
                    if items.is_empty() {
                        break;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
