//! A connection to a node.

use super::message::{Message, Param, TxStatus};
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::rc::Rc;

/// A shared session; never keep it borrowed while waiting.
pub type SessionRef = Rc<RefCell<Session>>;

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

/// A connection to a node. `queue_*` only fill the output buffer; `flush`, `fill` never block.
pub struct Session {
    node: NodeAddr,
    id: u64,
}

impl Session {
    /// Queues a simple query.
    pub fn queue_query(&mut self, _sql: &str) {}
    /// Queues Parse.
    pub fn queue_parse(&mut self, _name: &str, _sql: &str, _types: &[u32]) {}
    /// Queues Bind.
    pub fn queue_bind(
        &mut self,
        _portal: &str,
        _stmt: &str,
        _params: &[Param<'_>],
        _result: &[i16],
    ) {
    }
    /// Queues Describe of a portal.
    pub fn queue_describe_portal(&mut self, _portal: &str) {}
    /// Queues Describe of a statement.
    pub fn queue_describe_statement(&mut self, _name: &str) {}
    /// Queues Execute; `max_rows` 0 means all.
    pub fn queue_execute(&mut self, _portal: &str, _max_rows: i32) {}
    /// Queues Close of a portal.
    pub fn queue_close_portal(&mut self, _portal: &str) {}
    /// Queues Close of a statement.
    pub fn queue_close_statement(&mut self, _name: &str) {}
    /// Queues Sync.
    pub fn queue_sync(&mut self) {}
    /// Queues copy data.
    pub fn queue_copy_data(&mut self, _data: &[u8]) {}
    /// Queues the end of copy data.
    pub fn queue_copy_done(&mut self) {}
    /// Queues the failure of a copy.
    pub fn queue_copy_fail(&mut self, _reason: &str) {}
    /// Bytes not yet written to the socket.
    pub fn pending_out(&self) -> usize {
        0
    }
    /// Writes what the socket takes; true when all is out.
    pub fn flush(&mut self) -> Result<bool> {
        Err(Error::internal("not connected"))
    }
    /// Reads what is there; true if something came.
    pub fn fill(&mut self) -> Result<bool> {
        Err(Error::internal("not connected"))
    }
    /// The next complete message in the buffer.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Message<'_>>> {
        Err(Error::internal("not connected"))
    }
    /// The socket.
    pub fn fd(&self) -> i32 {
        -1
    }
    /// Whether output waits for the socket.
    pub fn wants_write(&self) -> bool {
        false
    }
    /// Transaction status after the last ReadyForQuery.
    pub fn status(&self) -> TxStatus {
        TxStatus::Idle
    }
    /// ReadyForQuery messages still to come.
    pub fn outstanding(&self) -> usize {
        0
    }
    /// The connection cannot be used any more.
    pub fn is_broken(&self) -> bool {
        false
    }
    /// Where the session leads.
    pub fn node(&self) -> &NodeAddr {
        &self.node
    }
    /// A number that no other session of this backend ever had.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// Asks the node to cancel what it runs.
    pub fn cancel(&self) {}
    /// Name of a server-side prepared statement for this text; true when Parse was queued now.
    pub fn prepared(&mut self, _sql: &str, _types: &[u32]) -> (String, bool) {
        (String::new(), false)
    }
}
