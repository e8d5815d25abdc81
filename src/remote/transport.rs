//! The byte stream below a session.

use crate::pg::net::Socket;
use std::io;
use std::os::fd::AsRawFd;

/// A connected, non-blocking byte stream.
pub(super) enum Transport {
    /// Plain TCP or a unix socket.
    Plain(Socket),
}

impl Transport {
    /// Reads what is there; 0 at the end of the stream, `WouldBlock` when nothing is there.
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(s) => s.read(to),
        }
    }

    /// Takes what can be written now; `WouldBlock` when nothing can.
    pub fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(s) => s.write(from),
        }
    }

    /// Whether bytes it took still wait for the socket.
    pub fn wants_write(&self) -> bool {
        false
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(s) => s,
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> i32 {
        self.socket().as_raw_fd()
    }
}
