//! One error type for the whole extension.
//!
//! An [`Error`] carries every field of PostgreSQL's error report, so that what a worker, the
//! local server or this crate has to say reaches the client unchanged: SQLSTATE, message, detail,
//! hint, context and the names of schema, table, column, type and constraint.

use std::fmt;

/// Result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A SQLSTATE in PostgreSQL's packed form (six bits a character).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SqlState(pub i32);

impl SqlState {
    /// Packs the five characters of a SQLSTATE. Characters outside `0-9A-Z` are undefined.
    pub const fn new(code: &[u8; 5]) -> Self {
        let mut packed = 0i32;
        let mut i = 0;
        while i < 5 {
            packed |= (((code[i] - b'0') & 0x3f) as i32) << (6 * i);
            i += 1;
        }
        SqlState(packed)
    }

    /// Parses a SQLSTATE received from a node; anything malformed becomes `internal_error`.
    pub fn parse(code: &[u8]) -> Self {
        match <&[u8; 5]>::try_from(code) {
            Ok(c) if c.iter().all(u8::is_ascii_alphanumeric) => Self::new(c),
            _ => sqlstate::INTERNAL_ERROR,
        }
    }

    /// The five characters.
    pub fn text(self) -> String {
        (0..5).map(|i| ((((self.0 >> (6 * i)) & 0x3f) as u8) + b'0') as char).collect()
    }

    /// The class (first two characters) in packed form.
    pub fn class(self) -> i32 {
        self.0 & 0xfff
    }
}

/// The SQLSTATEs this crate raises by itself.
pub mod sqlstate {
    use super::SqlState;
    macro_rules! states { ($($name:ident = $code:literal;)*) => {
        $(#[doc = concat!("SQLSTATE `", $code, "`.")]
          pub const $name: SqlState = {
              let b = $code.as_bytes();
              SqlState::new(&[b[0], b[1], b[2], b[3], b[4]])
          };)*
    } }
    states! {
        CONNECTION_FAILURE = "08006";
        CONNECTION_DOES_NOT_EXIST = "08003";
        UNABLE_TO_CONNECT = "08001";
        PROTOCOL_VIOLATION = "08P01";
        TRANSACTION_RESOLUTION_UNKNOWN = "08007";
        FEATURE_NOT_SUPPORTED = "0A000";
        DEPENDENT_OBJECTS_STILL_EXIST = "2BP01";
        CARDINALITY_VIOLATION = "21000";
        DATA_EXCEPTION = "22000";
        NULL_VALUE_NOT_ALLOWED = "22004";
        INVALID_PARAMETER_VALUE = "22023";
        INVALID_TEXT_REPRESENTATION = "22P02";
        BAD_COPY_FILE_FORMAT = "22P04";
        NOT_NULL_VIOLATION = "23502";
        FOREIGN_KEY_VIOLATION = "23503";
        UNIQUE_VIOLATION = "23505";
        CHECK_VIOLATION = "23514";
        ACTIVE_SQL_TRANSACTION = "25001";
        READ_ONLY_SQL_TRANSACTION = "25006";
        NO_ACTIVE_SQL_TRANSACTION = "25P01";
        IN_FAILED_SQL_TRANSACTION = "25P02";
        INVALID_CURSOR_STATE = "24000";
        TRIGGER_PROTOCOL_VIOLATED = "39P01";
        UNDEFINED_CURSOR = "34000";
        SERIALIZATION_FAILURE = "40001";
        DEADLOCK_DETECTED = "40P01";
        INVALID_AUTHORIZATION = "28000";
        SYNTAX_ERROR = "42601";
        INSUFFICIENT_PRIVILEGE = "42501";
        WITH_CHECK_OPTION_VIOLATION = "44000";
        UNDEFINED_COLUMN = "42703";
        UNDEFINED_TABLE = "42P01";
        UNDEFINED_OBJECT = "42704";
        UNDEFINED_FUNCTION = "42883";
        DUPLICATE_OBJECT = "42710";
        DUPLICATE_TABLE = "42P07";
        WRONG_OBJECT_TYPE = "42809";
        INVALID_TABLE_DEFINITION = "42P16";
        INVALID_COLUMN_REFERENCE = "42P10";
        INVALID_OBJECT_DEFINITION = "42P17";
        DATATYPE_MISMATCH = "42804";
        INSUFFICIENT_RESOURCES = "53000";
        OUT_OF_MEMORY = "53200";
        TOO_MANY_CONNECTIONS = "53300";
        CONFIGURATION_LIMIT_EXCEEDED = "53400";
        PROGRAM_LIMIT_EXCEEDED = "54000";
        OBJECT_NOT_IN_PREREQUISITE_STATE = "55000";
        OBJECT_IN_USE = "55006";
        LOCK_NOT_AVAILABLE = "55P03";
        QUERY_CANCELED = "57014";
        ADMIN_SHUTDOWN = "57P01";
        CANNOT_CONNECT_NOW = "57P03";
        IO_ERROR = "58030";
        INTERNAL_ERROR = "XX000";
        DATA_CORRUPTED = "XX001";
    }
}

/// An error of this crate, of the local server or of a node: a [`Fields`], boxed so that a
/// `Result` stays as small as its value.
#[derive(Clone, Debug)]
pub struct Error(Box<Fields>);

/// Everything an error report can say; see the module's text.
#[derive(Clone, Debug)]
pub struct Fields {
    /// What kind of error.
    pub code: SqlState,
    /// Primary message.
    pub message: String,
    /// Optional secondary message.
    pub detail: Option<String>,
    /// Optional remedy.
    pub hint: Option<String>,
    /// Where it happened (stack of contexts).
    pub context: Option<String>,
    /// Schema the error is about.
    pub schema: Option<String>,
    /// Table the error is about.
    pub table: Option<String>,
    /// Column the error is about.
    pub column: Option<String>,
    /// Data type the error is about.
    pub datatype: Option<String>,
    /// Constraint the error is about.
    pub constraint: Option<String>,
    /// One-based character position in the client's statement; 0 when unknown.
    pub position: i32,
    /// Position in, and text of, an internally generated statement.
    pub internal: Option<(i32, String)>,
    /// The report was already raised by the server here: re-throw it, do not add context again.
    pub rethrow: bool,
    /// Severity when it is worse than ERROR (FATAL), else 0.
    pub level: i32,
}

impl Error {
    /// An error with its SQLSTATE and primary message.
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        Error::from(Fields {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            datatype: None,
            constraint: None,
            position: 0,
            internal: None,
            rethrow: false,
            level: 0,
        })
    }

    /// A broken promise inside this crate or the catalogs.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(sqlstate::INTERNAL_ERROR, message)
    }

    /// Something this version cannot do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
    }

    /// Sets the detail.
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = Some(text.into());
        self
    }

    /// Sets the hint.
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }

    /// Adds a line to the context.
    pub fn context(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.context = Some(match self.context.take() {
            Some(c) if !c.is_empty() => format!("{c}\n{text}"),
            _ => text,
        });
        self
    }

    /// Raises the error: unwinds to the nearest entry point, which reports it to PostgreSQL.
    // The panic is the way to the guard, which turns it into PostgreSQL's error report.
    #[allow(clippy::panic)]
    pub fn raise(self) -> ! {
        std::panic::panic_any(self)
    }
}

impl From<Fields> for Error {
    fn from(fields: Fields) -> Self {
        Error(Box::new(fields))
    }
}

impl std::ops::Deref for Error {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.0
    }
}

impl std::ops::DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Raises the error of a result.
pub trait OrRaise<T> {
    /// The value, or [`Error::raise`].
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T> {
    fn or_raise(self) -> T {
        match self {
            Ok(v) => v,
            Err(e) => e.raise(),
        }
    }
}
