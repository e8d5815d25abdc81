//! A proxy between a coordinator and a node that understands where messages of the protocol begin
//! and end, and makes connections fail at a chosen one.
//!
//! It listens on a port of its own; a node that is added to the cluster with this port is reached
//! through it only. A rule sees every message of every connection, in both directions and before
//! it is passed on, and says what becomes of it. While the rule thinks, the message waits: what it
//! does meanwhile (killing a process, say) has happened when the message goes on, or never does.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    ToNode,
    FromNode,
}

/// A message on its way.
pub struct Seen<'a> {
    pub direction: Direction,
    /// The message's type; 0 for the start of a connection, which has none.
    pub tag: u8,
    /// Everything after the length.
    pub body: &'a [u8],
    /// Number of the connection, counted from 1.
    pub connection: u32,
    /// Process id of the node's backend, 0 until it is known.
    pub backend: i32,
    /// Process id of the coordinator's backend, 0 where the start did not tell.
    pub client: i32,
}

impl Seen<'_> {
    /// The text of a statement (Query or Parse); empty for other messages.
    pub fn sql(&self) -> &str {
        if self.direction == Direction::FromNode {
            return "";
        }
        let text = match self.tag {
            b'Q' => self.body,
            // The name of the statement comes first.
            b'P' => self.body.splitn(2, |b| *b == 0).nth(1).unwrap_or_default(),
            _ => return "",
        };
        let text = text.split(|b| *b == 0).next().unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

/// What becomes of a message and its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Pass,
    /// It is passed on after a while.
    Delay(Duration),
    /// It is lost with the connection, which both sides see closed.
    Cut,
    /// It is passed on, then the connection is cut.
    CutAfter,
    /// Neither it nor anything after it is passed on, and nothing is closed, until
    /// [`Proxy::release`] or [`Proxy::cut_held`].
    Hold,
    /// It is passed on, nothing after it is.
    HoldAfter,
}

/// Says what becomes of a message.
pub type Rule = Box<dyn FnMut(&Seen<'_>) -> Action + Send>;

const FLOWS: u8 = 0;
const HELD: u8 = 1;
const CLOSED: u8 = 2;

/// One connection.
struct Link {
    number: u32,
    state: AtomicU8,
    backend: AtomicI32,
    client: AtomicI32,
    /// Its client's side and its node's side.
    ends: [TcpStream; 2],
}

impl Link {
    fn close(&self) {
        self.state.store(CLOSED, Ordering::SeqCst);
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Waits while the connection is held; false when it is closed.
    fn await_flow(&self) -> bool {
        loop {
            match self.state.load(Ordering::SeqCst) {
                FLOWS => return true,
                HELD => std::thread::sleep(Duration::from_millis(2)),
                _ => return false,
            }
        }
    }

    fn hold(&self) {
        let _ = self.state.compare_exchange(FLOWS, HELD, Ordering::SeqCst, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Shared {
    rule: Mutex<Option<Rule>>,
    links: Mutex<Vec<Arc<Link>>>,
    /// New connections are accepted and nothing of them is passed on.
    mute: AtomicBool,
    ended: AtomicBool,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

/// A proxy in front of a port of this machine.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts to listen on a free port.
    pub fn start(target: u16) -> io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", crate::server::free_port()))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let proxy = Proxy { port, shared: shared.clone() };
        std::thread::spawn(move || {
            for (number, client) in (1..).zip(listener.incoming().map_while(Result::ok)) {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A refusal by the node is passed on as a hang-up.
                let _ = serve(&shared, number, client, target);
            }
        });
        Ok(proxy)
    }

    /// Sets the rule for all messages from now on.
    pub fn set(&self, rule: impl FnMut(&Seen<'_>) -> Action + Send + 'static) {
        *lock(&self.shared.rule) = Some(Box::new(rule));
    }

    /// Everything is passed on from now on, and new connections too.
    pub fn clear(&self) {
        *lock(&self.shared.rule) = None;
        self.mute(false);
    }

    /// Whether new connections are held from their first byte.
    pub fn mute(&self, on: bool) {
        self.shared.mute.store(on, Ordering::SeqCst);
    }

    /// Holds all connections that there are, and new ones: the node has vanished.
    pub fn hold_all(&self) {
        self.mute(true);
        lock(&self.shared.links).iter().for_each(|l| l.hold());
    }

    /// What was held goes on where it stopped.
    pub fn release(&self) {
        self.mute(false);
        let links = lock(&self.shared.links);
        for l in links.iter() {
            let _ = l.state.compare_exchange(HELD, FLOWS, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// What was held is lost.
    pub fn cut_held(&self) {
        self.mute(false);
        let links = lock(&self.shared.links);
        links.iter().filter(|l| l.state.load(Ordering::SeqCst) == HELD).for_each(|l| l.close());
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        lock(&self.shared.links).len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        lock(&self.shared.links).iter().for_each(|l| l.close());
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(shared: &Arc<Shared>, number: u32, client: TcpStream, target: u16) -> io::Result<()> {
    let node = TcpStream::connect(("127.0.0.1", target))?;
    for end in [&client, &node] {
        end.set_nodelay(true)?;
    }
    let link = Arc::new(Link {
        number,
        state: AtomicU8::new(if shared.mute.load(Ordering::SeqCst) { HELD } else { FLOWS }),
        backend: AtomicI32::new(0),
        client: AtomicI32::new(0),
        ends: [client.try_clone()?, node.try_clone()?],
    });
    lock(&shared.links).push(link.clone());
    for (direction, from, to) in [
        (Direction::ToNode, client.try_clone()?, node.try_clone()?),
        (Direction::FromNode, node, client),
    ] {
        let (shared, link) = (shared.clone(), link.clone());
        std::thread::spawn(move || {
            pump(&shared, &link, direction, from, to);
            link.close();
            lock(&shared.links).retain(|l| l.number != link.number);
        });
    }
    Ok(())
}

/// Passes messages of one direction on until an end hangs up.
fn pump(
    shared: &Shared,
    link: &Link,
    direction: Direction,
    mut from: TcpStream,
    mut to: TcpStream,
) {
    let mut input: Vec<u8> = Vec::new();
    let mut chunk = vec![0u8; 1 << 16];
    let mut started = direction == Direction::FromNode;
    loop {
        let n = match from.read(&mut chunk) {
            Ok(n @ 1..) => n,
            // What came before the end may have been held.
            _ => {
                link.await_flow();
                return;
            }
        };
        input.extend_from_slice(&chunk[..n]);
        let (mut at, mut sent) = (0, 0);
        while let Some(size) = size(&input[at..], started) {
            let message = &input[at..at + size];
            at += size;
            let head = if started { 5 } else { 4 };
            let tag = if started { message[0] } else { 0 };
            learn(link, direction, tag, &message[head..]);
            started |= tag == 0;
            let action = judge(shared, link, direction, tag, &message[head..]);
            if action == Action::Pass && link.state.load(Ordering::SeqCst) == FLOWS {
                continue;
            }
            // What was let through before this message.
            let _ = to.write_all(&input[sent..at - size]);
            sent = at - size;
            match action {
                Action::Cut => return link.close(),
                Action::Delay(time) => std::thread::sleep(time),
                Action::Hold => link.hold(),
                Action::CutAfter | Action::HoldAfter => {
                    let _ = to.write_all(&input[sent..at]);
                    sent = at;
                    if action == Action::CutAfter {
                        return link.close();
                    }
                    link.hold();
                }
                Action::Pass => {}
            }
            if !link.await_flow() {
                return;
            }
        }
        if !link.await_flow() || to.write_all(&input[sent..at]).is_err() {
            return;
        }
        input.drain(..at);
    }
}

/// Size of the message at the front, when it is complete.
fn size(input: &[u8], started: bool) -> Option<usize> {
    let skip = usize::from(started);
    let length = input.get(skip..skip + 4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    (input.len() >= skip + length).then_some(skip + length)
}

/// What the messages of the start tell about a connection.
fn learn(link: &Link, direction: Direction, tag: u8, body: &[u8]) {
    match (direction, tag) {
        (Direction::FromNode, b'K') => {
            if let Some(Ok(pid)) = body.get(..4).map(<[u8; 4]>::try_from) {
                link.backend.store(i32::from_be_bytes(pid), Ordering::SeqCst);
            }
        }
        (Direction::ToNode, 0) => {
            let text = String::from_utf8_lossy(body);
            let number = text.split("gpid=").nth(1).unwrap_or_default();
            let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
            // The node's number stands in front of ten digits of the process id.
            let gpid: i64 = digits.parse().unwrap_or(0);
            link.client.store((gpid % 10_000_000_000) as i32, Ordering::SeqCst);
        }
        _ => {}
    }
}

fn judge(shared: &Shared, link: &Link, direction: Direction, tag: u8, body: &[u8]) -> Action {
    let mut rule = lock(&shared.rule);
    let Some(rule) = rule.as_mut() else { return Action::Pass };
    rule(&Seen {
        direction,
        tag,
        body,
        connection: link.number,
        backend: link.backend.load(Ordering::SeqCst),
        client: link.client.load(Ordering::SeqCst),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_at_their_ends() {
        assert_eq!(size(b"", true), None);
        assert_eq!(size(b"Q\0\0\0\x05", true), None);
        assert_eq!(size(b"Q\0\0\0\x05\0rest", true), Some(6));
        assert_eq!(size(b"\0\0\0\x08\0\0\0\0", false), Some(8));
        assert_eq!(size(b"\0\0\0\x09\0\0\0\0", false), None);
    }

    #[test]
    fn statements_are_read() {
        let seen = |tag, body| Seen {
            direction: Direction::ToNode,
            tag,
            body,
            connection: 1,
            backend: 0,
            client: 0,
        };
        assert_eq!(seen(b'Q', b"COMMIT\0").sql(), "COMMIT");
        assert_eq!(seen(b'P', b"name\0SELECT 1\0\0\0").sql(), "SELECT 1");
        assert_eq!(seen(b'B', b"name\0SELECT 1\0\0\0").sql(), "");
        let answer = Seen { direction: Direction::FromNode, ..seen(b'Q', b"x\0") };
        assert_eq!(answer.sql(), "");
    }
}
