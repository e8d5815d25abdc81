//! What a node says, and the small values that travel with it.

use crate::error::Error;

/// Transaction status of a node's session, from its last ReadyForQuery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxStatus {
    /// Not in a transaction.
    Idle,
    /// In a transaction block.
    InBlock,
    /// In a failed transaction block: only a rollback is accepted.
    Failed,
}

/// A parameter of Bind.
#[derive(Clone, Copy, Debug)]
pub struct Param<'a> {
    /// 0 text, 1 binary.
    pub format: i16,
    /// The bytes, `None` for NULL.
    pub value: Option<&'a [u8]>,
}

/// A message of a node. Slices are the message's body and live until the next call.
#[derive(Debug)]
pub enum Message<'a> {
    /// Body: number of columns and their descriptions.
    RowDescription(&'a [u8]),
    /// Body: number of columns (i16), then length (i32) and bytes of each.
    DataRow(&'a [u8]),
    /// The command tag.
    CommandComplete(&'a str),
    /// Parse is done.
    ParseComplete,
    /// Bind is done.
    BindComplete,
    /// Close is done.
    CloseComplete,
    /// The statement or portal described returns no rows.
    NoData,
    /// Body: number of parameters (i16) and their type OIDs.
    ParameterDescription(&'a [u8]),
    /// An empty statement was executed.
    EmptyQuery,
    /// Execute stopped at its row limit.
    PortalSuspended,
    /// The node waits for copy data.
    CopyIn,
    /// The node will send copy data.
    CopyOut,
    /// A piece of copy data.
    CopyData(&'a [u8]),
    /// End of the node's copy data.
    CopyDone,
    /// The statement failed.
    Error(Error),
    /// The node is done with everything up to a Sync (or a simple query).
    Ready(TxStatus),
}
