//! Connections to other nodes: the only module that knows sockets and the wire protocol.

mod message;
mod session;
mod wait;

pub mod pool;
pub mod simple;

pub use message::{Message, Param, TxStatus};
pub use session::{NodeAddr, Session, SessionRef};
pub use wait::{wait_for, wait_one};
