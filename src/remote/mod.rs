//! Connections to other nodes: the only module that knows sockets and the wire protocol.
//!
//! [`pool`] makes and keeps sessions, [`Session`] queues, writes and reads messages, [`wait_for`]
//! waits for several of them. Transactions over nodes are made of this in [`crate::txn`].

pub mod backends;
mod buffer;
mod cancel;
mod connect;
mod input;
pub mod kept;
mod limits;
pub mod line;
mod message;
mod passfile;
pub mod proof;
mod queue;
mod room;
mod session;
pub mod shared;
mod silence;
mod statements;
mod target;
mod tls;
mod transport;
mod wait;
mod wire;

pub mod pool;
pub mod simple;

pub use cancel::{cancel_all, cancel_and_leave};
pub(crate) use cancel::{rest, settle};
pub use message::{Message, Param, TxStatus};
pub(crate) use session::Answers;
pub use session::{NodeAddr, Session, SessionRef, Settings};
pub use wait::{wait_for, wait_one, wait_soon};
