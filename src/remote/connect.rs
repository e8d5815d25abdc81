//! Connecting to a node, step by step and without blocking, so that many nodes are connected at
//! the same time.

use super::backends::Connection;
use super::message::TxStatus;
use super::proof::{Call, Login};
use super::session::{NodeAddr, Session};
use super::shared::Permit;
use super::tls::{self, Files, Versions};
use super::transport::Transport;
use super::wire;
use crate::error::{sqlstate, Error, Result};
use crate::pg::net::{Address, KeepAlive, Socket};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256, SCRAM_SHA_256};
use std::collections::VecDeque;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How encryption is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SslMode {
    /// Never.
    Disable,
    /// Where the node offers it.
    Prefer,
    /// Always.
    Require,
}

/// What is verified of a node's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// Nothing.
    Any,
    /// That a known authority signed it.
    Authority,
    /// Also that it is for the node's name.
    Full,
}

/// Everything that connecting needs to know.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub node: NodeAddr,
    /// Where to connect; differs from the node's name when a connection pooler is in between.
    pub host: String,
    pub port: u16,
    /// A connection pooler is in between: the node's backend is not always the same.
    pub pooled: bool,
    /// Whom the session acts as.
    pub user: String,
    /// Who logs in; somebody else where the user is a role without that right.
    pub login: String,
    pub password: Option<String>,
    pub sslmode: SslMode,
    pub trust: Trust,
    pub files: Files,
    pub versions: Versions,
    pub keep_alive: KeepAlive,
    /// The database, as the node calls it.
    pub database: String,
    /// Parameters of the startup message beyond the user.
    pub parameters: Vec<(String, String)>,
    pub deadline: Instant,
    /// What has to be equal for two sessions to use the same connection one after the other;
    /// `None` when no two may.
    pub identity: Option<Rc<str>>,
}

impl Target {
    /// What the node knows of the connection, too.
    pub(super) fn login(&self) -> Login {
        Login { user: self.login.clone(), database: self.database.clone(), pooled: self.pooled }
    }
}

/// How long a call that reads waits for something to come: answers that take longer are awaited
/// with everything else that can happen.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);

/// What a connection on its way waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Read,
    Write,
    Done,
}

enum Phase {
    /// The socket is being connected.
    Socket,
    /// The answer to the request for encryption is awaited.
    Encryption,
    /// Authentication and start-up.
    Startup(Option<ScramSha256>),
    Ready,
}

/// A connection on its way.
pub(super) struct Connecting {
    target: Target,
    addresses: VecDeque<Address>,
    session: Option<Session>,
    phase: Phase,
    last_error: String,
    permit: Permit,
}

impl Connecting {
    /// Resolves the name and starts with its first address.
    pub fn start(target: Target, permit: Permit) -> Result<Connecting> {
        let addresses = addresses(&target)?;
        let mut c = Connecting {
            target,
            addresses,
            session: None,
            phase: Phase::Socket,
            last_error: "the name has no address".into(),
            permit,
        };
        c.next_address()?;
        Ok(c)
    }

    /// The socket to wait for.
    pub fn fd(&self) -> i32 {
        self.session.as_ref().map_or(-1, Session::fd)
    }

    /// When to give up.
    pub fn deadline(&self) -> Instant {
        self.target.deadline
    }

    /// The error of a connection that took too long.
    pub fn timed_out(&self) -> Error {
        failed(&self.target, "timeout expired").hint(
            "Check that the node runs and can be reached, or raise citus.node_connection_timeout.",
        )
    }

    /// The finished session.
    pub fn finish(self) -> Result<Session> {
        match (self.session, self.phase) {
            (Some(mut s), Phase::Ready) => {
                s.permit = Some(self.permit);
                s.login = Some(self.target.login());
                if !self.target.pooled {
                    s.entry = Connection::enter(s.node.id, s.backend.0);
                }
                if matches!(s.transport, Transport::Plain(_)) {
                    s.identity = self.target.identity;
                }
                // Where the system refuses, nobody waits in the call.
                let _ = s.transport.socket().be_patient(PATIENCE);
                Call::introduce(&mut s);
                Ok(s)
            }
            _ => Err(Error::internal("connection is not complete")),
        }
    }

    fn next_address(&mut self) -> Result<()> {
        while let Some(address) = self.addresses.pop_front() {
            match Socket::connect(&address, self.target.keep_alive) {
                Ok(socket) => {
                    let (node, user) = (self.target.node.clone(), self.target.user.clone());
                    let mut session = Session::new(node, user, Transport::Plain(Rc::new(socket)));
                    session.address = Some(address);
                    self.session = Some(session);
                    self.phase = Phase::Socket;
                    return Ok(());
                }
                Err(e) => self.last_error = reason(&e),
            }
        }
        Err(failed(&self.target, &self.last_error)
            .hint("Check that the node runs and accepts connections."))
    }

    /// Goes on as far as possible without waiting.
    pub fn step(&mut self) -> Result<Step> {
        loop {
            let Some(session) = self.session.as_mut() else {
                return Err(Error::internal("connection has no socket"));
            };
            match &mut self.phase {
                Phase::Socket => {
                    // Only called once the socket is writable.
                    if let Some(e) = session.transport.socket().take_error() {
                        self.last_error = reason(&e);
                        self.next_address()?;
                        return Ok(Step::Write);
                    }
                    let unix = self.target.host.starts_with('/');
                    if self.target.sslmode != SslMode::Disable && !unix {
                        wire::ssl_request(session.output());
                        self.phase = Phase::Encryption;
                    } else {
                        self.queue_startup();
                    }
                }
                Phase::Encryption => self.encryption()?,
                Phase::Startup(_) => {
                    if self.startup()? {
                        self.phase = Phase::Ready;
                        return Ok(Step::Done);
                    }
                }
                Phase::Ready => return Ok(Step::Done),
            }
            let Some(session) = self.session.as_mut() else { continue };
            if !session.flush()? {
                return Ok(Step::Write);
            }
            match session.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(Step::Read),
                Err(e) => {
                    return Err(failed(&self.target, e.detail.as_deref().unwrap_or(&e.message)))
                }
            }
        }
    }

    /// The node's answer to the request for encryption.
    fn encryption(&mut self) -> Result<()> {
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        match session.input.byte() {
            None => return Ok(()),
            Some(b'S') => {
                // What came unencrypted after the answer was not sent by the node.
                if session.input.len() > 0 {
                    return Err(failed(
                        &self.target,
                        "received unencrypted data after SSL response",
                    ));
                }
                let tls = tls::client(&self.target).map_err(|e| failed(&self.target, &e))?;
                session.transport.encrypt(tls);
            }
            Some(_) if self.target.sslmode == SslMode::Prefer => {}
            Some(_) => {
                let why = "server does not support SSL, but SSL was required";
                return Err(failed(&self.target, why)
                    .hint("Turn on ssl on the node, or set sslmode in citus.node_conninfo."));
            }
        }
        self.queue_startup();
        Ok(())
    }

    fn queue_startup(&mut self) {
        let Some(session) = self.session.as_mut() else { return };
        let mut parameters = vec![("user", self.target.login.as_str())];
        let others = self.target.parameters.iter();
        parameters.extend(others.map(|(k, v)| (k.as_str(), v.as_str())));
        wire::startup(session.output(), &parameters);
        self.phase = Phase::Startup(None);
    }

    /// Handles the messages of start-up; true when the node is ready.
    fn startup(&mut self) -> Result<bool> {
        let (Some(session), Phase::Startup(scram)) = (self.session.as_mut(), &mut self.phase)
        else {
            return Ok(false);
        };
        let target = &self.target;
        loop {
            let frame = match session.input.next() {
                Ok(Some(f)) => f,
                Ok(None) => return Ok(false),
                Err(_) => return Err(failed(target, "the server does not speak the protocol")),
            };
            let body = session.input.slice(&frame.body);
            match frame.tag {
                b'R' => {
                    let mut reply = Vec::new();
                    authenticate(target, scram, body, &mut reply)?;
                    session.output().extend_from_slice(&reply);
                }
                b'K' => session.backend = backend_key(body),
                b'E' => {
                    let e = wire::report(body).error;
                    let mut out = failed(target, &e.message);
                    // Too many clients, starting up, wrong password: worth knowing by code.
                    out.code = e.code;
                    out.detail = e.detail.clone().or(out.detail.take());
                    out.hint = e.hint.clone();
                    return Err(out);
                }
                b'Z' => {
                    session.status = TxStatus::Idle;
                    return Ok(true);
                }
                // Parameters and notices of the start.
                _ => {}
            }
        }
    }
}

fn backend_key(body: &[u8]) -> (i32, i32) {
    let read = |at: usize| {
        let bytes = body.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
        bytes.map_or(0, i32::from_be_bytes)
    };
    (read(0), read(4))
}

/// Answers a request for authentication.
fn authenticate(
    target: &Target,
    scram: &mut Option<ScramSha256>,
    body: &[u8],
    reply: &mut Vec<u8>,
) -> Result<()> {
    let Some((kind, data)) = body.split_first_chunk::<4>() else {
        return Err(failed(target, "malformed request for authentication"));
    };
    let password = || {
        target.password.as_deref().ok_or_else(|| {
            failed(target, "the node asks for a password, and none is known")
                .hint("Add the role's password to pg_dist_authinfo.")
        })
    };
    let bad = |e: std::io::Error| failed(target, &format!("authentication failed: {e}"));
    match (u32::from_be_bytes(*kind), scram) {
        (0, None) => Ok(()),
        (0, Some(_)) => Ok(()),
        (3, _) => {
            wire::password(reply, password()?);
            Ok(())
        }
        (5, _) => {
            let salt = <[u8; 4]>::try_from(data)
                .map_err(|_| failed(target, "malformed request for authentication"))?;
            let hash = md5_hash(target.login.as_bytes(), password()?.as_bytes(), salt);
            wire::password(reply, &hash);
            Ok(())
        }
        (10, scram) => {
            let wanted = SCRAM_SHA_256.as_bytes();
            if !data.split(|b| *b == 0).any(|m| m == wanted) {
                return Err(failed(target, "the node asks for an unknown SASL mechanism"));
            }
            let s = ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
            wire::sasl_initial(reply, SCRAM_SHA_256, s.message());
            *scram = Some(s);
            Ok(())
        }
        (11, Some(s)) => {
            s.update(data).map_err(bad)?;
            wire::sasl_response(reply, s.message());
            Ok(())
        }
        (12, Some(s)) => s.finish(data).map_err(bad),
        (kind, _) => Err(failed(target, &format!("authentication method {kind} is not supported"))),
    }
}

/// Addresses of the target's name.
fn addresses(target: &Target) -> Result<VecDeque<Address>> {
    if target.host.starts_with('/') {
        let path = format!("{}/.s.PGSQL.{}", target.host, target.port);
        return Ok(VecDeque::from([Address::Unix(path.into())]));
    }
    match (target.host.as_str(), target.port).to_socket_addrs() {
        Ok(found) => Ok(found.map(Address::Inet).collect()),
        Err(e) => Err(failed(target, &format!("could not translate host name: {e}"))),
    }
}

/// What the system says about an error, without its number.
pub(super) fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// The error of a connection that cannot be made.
pub(super) fn failed(target: &Target, why: &str) -> Error {
    let message = format!("could not connect to node {} as user \"{}\"", target.node, target.login);
    Error::new(sqlstate::CONNECTION_FAILURE, message).detail(why.to_owned())
}
