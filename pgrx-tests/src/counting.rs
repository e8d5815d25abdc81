//! A proxy in front of a server that counts what passes, makes the way longer, and can hold
//! messages back.
//!
//! Two measures of what a transaction needs from a node:
//!
//! * *batches*: how often the coordinator asked for an answer (messages Query and Sync). The
//!   number depends on nothing but the code;
//! * *round trips* that somebody waited for: with a way that takes a while in each direction, the
//!   time that a transaction takes divided by that of both directions. What travels at the same
//!   time, or is not waited for, does not count.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// Bytes of the connection's start that are no messages with a type: they begin with a zero.
const UNTYPED: u8 = 0;

#[derive(Default)]
struct State {
    batches: AtomicU64,
    delay_micros: AtomicU64,
    /// Text of messages to the server that wait until they are let go.
    held: Mutex<Option<String>>,
    let_go: Condvar,
    /// How many messages wait.
    waiting: AtomicU64,
    stop: AtomicBool,
}

/// The proxy; it ends with the value.
pub struct Counting {
    /// Where it listens, on loopback.
    pub port: u16,
    state: Arc<State>,
}

impl Counting {
    /// A proxy for the server on a port of loopback.
    pub fn start(server: u16) -> io::Result<Counting> {
        let listener = TcpListener::bind(("127.0.0.1", crate::server::free_port()))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let _ = connect(&client, &server, &shared);
            }
        });
        Ok(Counting { port, state })
    }

    /// How often an answer was asked for so far.
    pub fn batches(&self) -> u64 {
        self.state.batches.load(Ordering::Relaxed)
    }

    /// From now on each direction takes this long.
    pub fn set_delay(&self, delay: Duration) {
        self.state.delay_micros.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// Holds messages to the server back that contain a text, and what follows them.
    pub fn hold(&self, text: &str) {
        *self.state.held.lock().unwrap() = Some(text.to_owned());
    }

    /// Lets pass what was held back.
    pub fn let_go(&self) {
        *self.state.held.lock().unwrap() = None;
        self.state.let_go.notify_all();
    }

    /// How many messages are held back now.
    pub fn holds(&self) -> u64 {
        self.state.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        self.let_go();
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(client: &TcpStream, server: &TcpStream, state: &Arc<State>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    pass(client.try_clone()?, server.try_clone()?, state.clone(), true);
    pass(server.try_clone()?, client.try_clone()?, state.clone(), false);
    Ok(())
}

/// Passes on what comes from one side, counted at its arrival and written when it is due.
fn pass(mut from: TcpStream, mut to: TcpStream, state: Arc<State>, forward: bool) {
    let (tx, rx) = channel::<(Instant, Vec<u8>)>();
    let shared = state.clone();
    spawn(move || {
        let mut messages = Messages::default();
        let mut chunk = vec![0u8; 1 << 16];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            if forward {
                shared.batches.fetch_add(messages.batches(&chunk[..n]), Ordering::Relaxed);
            }
            if tx.send((Instant::now(), chunk[..n].to_vec())).is_err() {
                break;
            }
        }
    });
    spawn(move || {
        let _ = write_all(&rx, &mut to, &state, forward);
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn write_all(
    rx: &Receiver<(Instant, Vec<u8>)>,
    to: &mut TcpStream,
    state: &State,
    forward: bool,
) -> io::Result<()> {
    for (arrived, bytes) in rx {
        let delay = Duration::from_micros(state.delay_micros.load(Ordering::Relaxed));
        sleep((arrived + delay).saturating_duration_since(Instant::now()));
        if forward {
            wait_for_leave(&bytes, state);
        }
        to.write_all(&bytes)?;
    }
    Ok(())
}

fn wait_for_leave(bytes: &[u8], state: &State) {
    let concerned = |text: &Option<String>| {
        let text = text.as_ref().map(String::as_bytes);
        text.is_some_and(|t| bytes.windows(t.len()).any(|w| w == t))
    };
    let mut held = state.held.lock().unwrap();
    if !concerned(&held) {
        return;
    }
    state.waiting.fetch_add(1, Ordering::Relaxed);
    while concerned(&held) {
        held = state.let_go.wait(held).unwrap();
    }
    state.waiting.fetch_sub(1, Ordering::Relaxed);
}

/// Finds the messages in a stream of bytes.
#[derive(Default)]
struct Messages {
    rest: Vec<u8>,
    /// Bytes that are left of a message.
    skip: usize,
}

impl Messages {
    /// How many messages in these bytes ask for an answer.
    fn batches(&mut self, mut bytes: &[u8]) -> u64 {
        let mut found = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let head = if self.rest.first() == Some(&UNTYPED) { 4 } else { 5 };
            let missing = head - self.rest.len().min(head);
            let taken = missing.min(bytes.len());
            self.rest.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let head = if self.rest.first() == Some(&UNTYPED) { 4 } else { 5 };
            if self.rest.len() < head {
                return found;
            }
            let mut size = [0u8; 4];
            size.copy_from_slice(&self.rest[head - 4..head]);
            // The fifth byte of a message without a type is one of its content already.
            let extra = self.rest.len() - head;
            self.skip = (u32::from_be_bytes(size) as usize).saturating_sub(4 + extra);
            found += u64::from(matches!(self.rest[0], b'Q' | b'S'));
            self.rest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let mut stream = vec![0, 0, 0, 8, 4, 210, 22, 47];
        for (kind, body) in [(b'Q', &b"Q\0"[..]), (b'P', b"SSSS"), (b'S', b""), (b'Q', b"SS\0")] {
            stream.push(kind);
            stream.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            stream.extend_from_slice(body);
        }
        for size in 1..stream.len() {
            let mut m = Messages::default();
            let found: u64 = stream.chunks(size).map(|c| m.batches(c)).sum();
            assert_eq!(found, 3, "in pieces of {size}");
        }
    }
}
