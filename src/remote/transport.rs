//! The byte stream below a session: plain, or encrypted.

use crate::pg::net::Socket;
use rustls::ClientConnection;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// A connected, non-blocking byte stream.
pub(super) enum Transport {
    /// Plain TCP or a unix socket.
    Plain(Rc<Socket>),
    /// TLS over TCP.
    Tls(Rc<Socket>, Box<ClientConnection>),
}

/// The socket as the encryption layer wants it.
struct Raw<'a>(&'a Socket);

impl Read for Raw<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.write(from)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport {
    /// Goes on encrypted.
    pub fn encrypt(&mut self, tls: ClientConnection) {
        if let Transport::Plain(socket) = self {
            *self = Transport::Tls(socket.clone(), Box::new(tls));
        }
    }

    /// Reads what is there; 0 at the end of the stream, `WouldBlock` when nothing is there.
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(s) => s.read(to),
            Transport::Tls(s, tls) => read_tls(s, tls, to),
        }
    }

    /// [`Transport::read`] that waits a little where it can.
    pub fn read_soon(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(s) => s.read_soon(to),
            Transport::Tls(..) => self.read(to),
        }
    }

    /// Takes what can be written now; `WouldBlock` when nothing can.
    pub fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(s) => s.write(from),
            Transport::Tls(s, tls) => {
                push_tls(s, tls)?;
                match tls.writer().write(from)? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    n => Ok(n),
                }
            }
        }
    }

    /// Writes what was taken and not yet written.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(_) => Ok(()),
            Transport::Tls(s, tls) => push_tls(s, tls),
        }
    }

    /// Whether bytes it took still wait for the socket.
    pub fn wants_write(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(_, tls) => tls.wants_write(),
        }
    }

    /// Whether decrypted bytes are there that the socket will not announce any more.
    pub fn has_buffered(&mut self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(_, tls) => {
                tls.process_new_packets().is_ok_and(|s| s.plaintext_bytes_to_read() > 0)
            }
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(s) | Transport::Tls(s, _) => s,
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> i32 {
        self.socket().as_raw_fd()
    }
}

fn read_tls(s: &Socket, tls: &mut ClientConnection, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(to) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            // Closed without saying good-bye: for us an end like any other.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            other => return other,
        }
        if tls.read_tls(&mut Raw(s))? == 0 {
            return Ok(0);
        }
        if let Err(e) = tls.process_new_packets() {
            // The peer learns why, if it still listens.
            let _ = push_tls(s, tls);
            return Err(io::Error::new(io::ErrorKind::InvalidData, e.to_string()));
        }
        match push_tls(s, tls) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
            _ => {}
        }
    }
}

fn push_tls(s: &Socket, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut Raw(s))?;
    }
    Ok(())
}
