//! A blocking client that hides nothing: tags, transaction status and error fields are kept.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Message};
use postgres_protocol::message::frontend;

mod extended;

/// How long a test waits for the server before it counts as hung.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// An error as the server reported it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PgError {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
    pub context: Option<String>,
}

impl PgError {
    fn read(mut fields: ErrorFields<'_>) -> io::Result<Self> {
        let mut e = PgError::default();
        while let Some(f) = fields.next()? {
            let text = String::from_utf8_lossy(f.value_bytes()).into_owned();
            match f.type_() {
                b'V' => e.severity = text,
                b'C' => e.code = text,
                b'M' => e.message = text,
                b'D' => e.detail = Some(text),
                b'H' => e.hint = Some(text),
                b's' => e.schema = Some(text),
                b't' => e.table = Some(text),
                b'c' => e.column = Some(text),
                b'n' => e.constraint = Some(text),
                b'W' => e.context = Some(text),
                _ => {}
            }
        }
        Ok(e)
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)?;
        for (name, field) in
            [("DETAIL", &self.detail), ("HINT", &self.hint), ("CONTEXT", &self.context)]
        {
            if let Some(text) = field {
                write!(f, "\n  {name}: {text}")?;
            }
        }
        Ok(())
    }
}

/// Why a statement gave no result.
#[derive(Debug)]
pub enum Error {
    /// The server refused it.
    Server(Box<PgError>),
    /// The connection is gone, or the server did not answer in time.
    Connection(io::Error),
}

impl Error {
    /// The SQLSTATE, or `"lost"` when the connection was lost.
    pub fn code(&self) -> &str {
        match self {
            Error::Server(e) => &e.code,
            Error::Connection(_) => "lost",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Server(e) => e.fmt(f),
            Error::Connection(e) => write!(f, "connection lost: {e}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Error::Connection(e)
    }
}

/// One row, every value as text.
pub type Row = Vec<Option<String>>;

/// What one statement returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResultSet {
    /// Name and type of each column.
    pub columns: Vec<(String, u32)>,
    pub rows: Vec<Row>,
    /// The command tag, e.g. `UPDATE 3`.
    pub tag: String,
    /// What `COPY ... TO STDOUT` sent.
    pub copied: Vec<u8>,
}

/// A session with one server.
pub struct Conn {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    /// `I` idle, `T` in a transaction, `E` in a failed one.
    pub status: u8,
    /// Process id of the backend.
    pub pid: i32,
    /// What a request to cancel needs besides the process id.
    secret: i32,
    port: u16,
    /// When the last error arrived.
    pub error_at: Option<Instant>,
    /// Notices since the last statement began.
    pub notices: Vec<PgError>,
}

impl Conn {
    /// Connects to a server on loopback.
    pub fn connect(port: u16, user: &str, database: &str) -> Result<Conn, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut conn = Conn {
            stream,
            input: BytesMut::with_capacity(1 << 16),
            output: BytesMut::new(),
            status: b'I',
            pid: 0,
            secret: 0,
            port,
            error_at: None,
            notices: Vec::new(),
        };
        let options = [
            ("user", user),
            ("database", database),
            ("client_encoding", "UTF8"),
            ("application_name", "citus-tests"),
        ];
        frontend::startup_message(options, &mut conn.output)?;
        conn.flush()?;
        conn.finish(&[])?;
        Ok(conn)
    }

    /// Runs statements through the simple protocol.
    pub fn simple(&mut self, sql: &str) -> Result<Vec<ResultSet>, Error> {
        self.copy_in(sql, &[])
    }

    /// Runs a statement through the simple protocol; a `COPY FROM STDIN` in it gets `data`.
    pub fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<Vec<ResultSet>, Error> {
        self.notices.clear();
        frontend::query(sql, &mut self.output)?;
        self.flush()?;
        self.finish(data)
    }

    /// Parses a statement under a name, for [`Conn::execute`].
    pub fn prepare(&mut self, name: &str, sql: &str) -> Result<(), Error> {
        self.notices.clear();
        frontend::parse(name, sql, [], &mut self.output)?;
        frontend::sync(&mut self.output);
        self.flush()?;
        self.finish(&[]).map(|_| ())
    }

    /// Executes a prepared statement with parameters given as text.
    pub fn execute(&mut self, name: &str, params: &[Option<String>]) -> Result<ResultSet, Error> {
        self.execute_in_parts(name, params, &[0])
    }

    /// The same in parts of at most so many rows (0 for all that are left).
    pub fn execute_in_parts(
        &mut self,
        name: &str,
        params: &[Option<String>],
        parts: &[i32],
    ) -> Result<ResultSet, Error> {
        self.notices.clear();
        let bound = frontend::bind(
            "",
            name,
            [],
            params,
            |p, buf| match p {
                Some(text) => {
                    buf.extend_from_slice(text.as_bytes());
                    Ok(postgres_protocol::IsNull::No)
                }
                None => Ok(postgres_protocol::IsNull::Yes),
            },
            [],
            &mut self.output,
        );
        if bound.is_err() {
            return Err(io::Error::other("parameters cannot be encoded").into());
        }
        frontend::describe(b'P', "", &mut self.output)?;
        for &rows in parts {
            frontend::execute("", rows, &mut self.output)?;
        }
        frontend::sync(&mut self.output);
        self.flush()?;
        let mut whole = ResultSet::default();
        for part in self.finish(&[])? {
            whole.columns.extend(part.columns);
            whole.rows.extend(part.rows);
            whole.copied.extend(part.copied);
            whole.tag = part.tag;
        }
        Ok(whole)
    }

    /// One statement that must succeed: the rows of its last result.
    #[track_caller]
    pub fn rows(&mut self, sql: &str) -> Vec<Row> {
        match self.simple(sql) {
            Ok(mut r) => r.pop().map(|r| r.rows).unwrap_or_default(),
            Err(e) => panic!("{sql}\n{e}"),
        }
    }

    /// One statement that must succeed: the first value, or an empty text.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> String {
        let first = self.rows(sql).into_iter().next().and_then(|r| r.into_iter().next());
        first.flatten().unwrap_or_default()
    }

    /// Statements that must succeed.
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        self.rows(sql);
    }

    /// Sends a statement (simple protocol) and does not wait for its answer.
    pub fn send(&mut self, sql: &str) -> Result<(), Error> {
        self.notices.clear();
        self.error_at = None;
        frontend::query(sql, &mut self.output)?;
        Ok(self.flush()?)
    }

    /// Binds and executes a prepared statement without parameters, for at most `rows` rows (0 for
    /// all), and does not wait for its answer.
    pub fn send_execute(&mut self, name: &str, rows: i32) -> Result<(), Error> {
        self.notices.clear();
        self.error_at = None;
        let none: [Option<String>; 0] = [];
        let bound = frontend::bind(
            "",
            name,
            [],
            none,
            |_, _| Ok(postgres_protocol::IsNull::Yes),
            [],
            &mut self.output,
        );
        if bound.is_err() {
            return Err(io::Error::other("no parameters to encode").into());
        }
        frontend::execute("", rows, &mut self.output)?;
        frontend::sync(&mut self.output);
        Ok(self.flush()?)
    }

    /// The answer to what was sent, up to the end.
    pub fn receive(&mut self) -> Result<Vec<ResultSet>, Error> {
        self.finish(&[])
    }

    /// Reads messages of the answer until it has `rows` rows (or pieces of copied data) or ends;
    /// keeps nothing. Returns how many there were and whether it ended.
    pub fn skip(&mut self, rows: u64) -> Result<(u64, bool), Error> {
        let (mut seen, mut failed) = (0, None);
        loop {
            seen += self.pass_rows(rows - seen);
            if seen == rows {
                return Ok((seen, false));
            }
            match self.message()? {
                Message::DataRow(_) | Message::CopyData(_) => seen += 1,
                Message::ErrorResponse(body) => {
                    self.error_at = Some(Instant::now());
                    let e = PgError::read(body.fields())?;
                    if e.severity == "FATAL" {
                        return Err(Error::Server(Box::new(e)));
                    }
                    failed = Some(e);
                }
                Message::ReadyForQuery(body) => {
                    self.status = body.status();
                    return match failed {
                        Some(e) => Err(Error::Server(Box::new(e))),
                        None => Ok((seen, true)),
                    };
                }
                _ => {}
            }
        }
    }

    /// Throws away whole rows at the front of the input. A client that is slower than the server
    /// would measure itself.
    fn pass_rows(&mut self, limit: u64) -> u64 {
        let (mut at, mut seen) = (0, 0);
        let input: &[u8] = &self.input;
        while seen < limit && input.len() >= at + 5 && matches!(input[at], b'D' | b'd') {
            let size = [input[at + 1], input[at + 2], input[at + 3], input[at + 4]];
            let end = at + 1 + u32::from_be_bytes(size) as usize;
            if end > input.len() {
                break;
            }
            (at, seen) = (end, seen + 1);
        }
        drop(self.input.split_to(at));
        seen
    }

    /// Process id and cancel key of the backend, as it told them when the session began.
    pub fn key(&self) -> (i32, i32) {
        (self.pid, self.secret)
    }

    /// The socket, for a thread that sends copied data while this one reads.
    pub fn socket(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Asks the server to cancel what a session runs: a copy of its address and keys.
    pub fn canceller(&self) -> Canceller {
        Canceller { port: self.port, pid: self.pid, secret: self.secret }
    }

    fn flush(&mut self) -> io::Result<()> {
        let out = self.output.split();
        self.stream.write_all(&out)
    }

    fn message(&mut self) -> io::Result<Message> {
        loop {
            if let Some(m) = Message::parse(&mut self.input)? {
                return Ok(m);
            }
            let mut chunk = [0u8; 1 << 16];
            let n = match self.stream.read(&mut chunk) {
                // With a timeout a read does not go on by itself when the process was stopped.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                n => n?,
            };
            if n == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "server closed the connection",
                ));
            }
            self.input.extend_from_slice(&chunk[..n]);
        }
    }

    fn send_copy(&mut self, data: &[u8]) -> io::Result<()> {
        for chunk in data.chunks(1 << 16) {
            frontend::CopyData::new(chunk)?.write(&mut self.output);
        }
        frontend::copy_done(&mut self.output);
        self.flush()
    }

    /// Reads up to ReadyForQuery.
    fn finish(&mut self, copy_data: &[u8]) -> Result<Vec<ResultSet>, Error> {
        let mut results = Vec::new();
        let mut current = ResultSet::default();
        let mut failed = None;
        loop {
            match self.message()? {
                Message::RowDescription(body) => {
                    current.columns =
                        body.fields().map(|f| Ok((f.name().to_owned(), f.type_oid()))).collect()?;
                }
                Message::DataRow(body) => current.rows.push(row_of(&body)?),
                Message::CopyData(body) => current.copied.extend_from_slice(body.data()),
                Message::CopyInResponse(_) => self.send_copy(copy_data)?,
                Message::CommandComplete(body) => {
                    current.tag = body.tag()?.to_owned();
                    results.push(std::mem::take(&mut current));
                }
                Message::EmptyQueryResponse => results.push(std::mem::take(&mut current)),
                Message::BackendKeyData(body) => {
                    (self.pid, self.secret) = (body.process_id(), body.secret_key());
                }
                // The server would wait a minute for an answer that this client cannot give.
                Message::AuthenticationSasl(_)
                | Message::AuthenticationMd5Password(_)
                | Message::AuthenticationCleartextPassword => {
                    return Err(io::Error::other("the server asks for a password").into());
                }
                Message::NoticeResponse(body) => self.notices.push(PgError::read(body.fields())?),
                Message::ErrorResponse(body) => {
                    self.error_at = Some(Instant::now());
                    let e = PgError::read(body.fields())?;
                    let fatal = e.severity == "FATAL" || e.severity == "PANIC";
                    if fatal {
                        return Err(Error::Server(Box::new(e)));
                    }
                    failed.get_or_insert(e);
                }
                Message::ReadyForQuery(body) => {
                    self.status = body.status();
                    return match failed {
                        Some(e) => Err(Error::Server(Box::new(e))),
                        None => Ok(results),
                    };
                }
                _ => {}
            }
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        frontend::terminate(&mut self.output);
        let _ = self.flush();
    }
}

/// The way to cancel what a session runs from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Canceller {
    port: u16,
    pid: i32,
    secret: i32,
}

impl Canceller {
    /// Sends the request; the server answers nothing.
    pub fn fire(&self) -> io::Result<()> {
        let mut message = BytesMut::new();
        frontend::cancel_request(self.pid, self.secret, &mut message);
        TcpStream::connect(("127.0.0.1", self.port))?.write_all(&message)
    }
}

fn row_of(body: &DataRowBody) -> io::Result<Row> {
    let buffer = body.buffer();
    body.ranges()
        .map(|range| Ok(range.map(|r| String::from_utf8_lossy(&buffer[r]).into_owned())))
        .collect()
}

/// Runs a statement that the server refuses with this SQLSTATE, and says so in words of its own.
#[track_caller]
pub fn refused(c: &mut Conn, sql: &str, code: &str) -> PgError {
    match c.simple(sql) {
        Ok(r) => panic!("{sql}\nsucceeded: {r:?}"),
        Err(Error::Server(e)) => {
            assert_eq!(e.code, code, "{sql}\n{e}");
            assert!(!e.message.is_empty() && !e.message.contains("internal error"), "{sql}\n{e}");
            *e
        }
        Err(e) => panic!("{sql}\n{e}"),
    }
}
