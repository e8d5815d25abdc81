//! Configuration variables.
//!
//! PostgreSQL writes a variable through the address it was registered with. The storage is an
//! atomic, so that reading one is safe code; there is one thread, so relaxed order is enough.

use crate::error::{sqlstate, Error};
use pgrx::pg_sys::{self, GucContext, GucSource};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};

/// When and by whom a setting can be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// Never: it tells a fact.
    Internal,
    /// At server start.
    Postmaster,
    /// In the configuration file.
    Sighup,
    /// At connection start, by a superuser.
    SuperuserBackend,
    /// By a superuser.
    Superuser,
    /// By anyone.
    User,
}

impl Context {
    fn raw(self) -> GucContext::Type {
        match self {
            Context::Internal => GucContext::PGC_INTERNAL,
            Context::Postmaster => GucContext::PGC_POSTMASTER,
            Context::Sighup => GucContext::PGC_SIGHUP,
            Context::SuperuserBackend => GucContext::PGC_SU_BACKEND,
            Context::Superuser => GucContext::PGC_SUSET,
            Context::User => GucContext::PGC_USERSET,
        }
    }
}

/// The unit of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A plain number.
    None,
    /// Milliseconds.
    Ms,
    /// Bytes.
    Byte,
    /// Kilobytes.
    Kb,
    /// Megabytes.
    Mb,
}

impl Unit {
    fn flags(self) -> u32 {
        match self {
            Unit::None => 0,
            Unit::Ms => pg_sys::GUC_UNIT_MS,
            Unit::Byte => pg_sys::GUC_UNIT_BYTE,
            Unit::Kb => pg_sys::GUC_UNIT_KB,
            Unit::Mb => pg_sys::GUC_UNIT_MB,
        }
    }
}

/// Not listed by SHOW ALL and pg_settings.
pub const HIDDEN: u32 = pg_sys::GUC_NO_SHOW_ALL | pg_sys::GUC_NOT_IN_SAMPLE;
/// Shown to superusers and members of pg_read_all_settings only.
pub const SECRET: u32 = pg_sys::GUC_SUPERUSER_ONLY;
/// A comma-separated list.
pub const LIST: u32 = pg_sys::GUC_LIST_INPUT;
/// Cannot be set in postgresql.conf.
pub const FACT: u32 = pg_sys::GUC_DISALLOW_IN_FILE | pg_sys::GUC_NOT_IN_SAMPLE;

/// What all kinds of settings have in common.
#[derive(Clone, Copy)]
pub struct Meta {
    /// Full name.
    pub name: &'static CStr,
    /// One sentence.
    pub description: &'static str,
    /// When it can be changed.
    pub context: Context,
    /// Flags, see [`HIDDEN`] and its neighbours.
    pub flags: u32,
}

impl Meta {
    /// The description as PostgreSQL wants it; it lives as long as the process.
    fn text(&self) -> *const c_char {
        leak(self.description)
    }
}

/// A C string that is never freed: PostgreSQL keeps the pointers of a variable's definition.
fn leak(s: &str) -> *const c_char {
    CString::new(s).unwrap_or_default().into_raw()
}

/// Storage of a boolean setting.
pub struct Bool(AtomicBool);
/// Storage of an integer or enum setting.
pub struct Int(AtomicI32);
/// Storage of a floating-point setting (its bits).
pub struct Real(AtomicU64);
/// Storage of a string setting.
pub struct Text(AtomicPtr<c_char>);

/// Checks a new value of a string setting, see [`check_hook`].
pub type TextCheck = pg_sys::GucStringCheckHook;

impl Bool {
    /// With its value before registration.
    pub const fn new(v: bool) -> Self {
        Bool(AtomicBool::new(v))
    }
    /// The value now.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    /// Makes the setting known.
    pub fn define(&'static self, m: Meta) {
        // SAFETY: the address is static, the strings are never freed.
        unsafe {
            pg_sys::DefineCustomBoolVariable(
                m.name.as_ptr(),
                m.text(),
                std::ptr::null(),
                self.0.as_ptr(),
                self.get(),
                m.context.raw(),
                m.flags as c_int,
                None,
                None,
                None,
            );
        }
    }
}

impl Int {
    /// With its value before registration.
    pub const fn new(v: i32) -> Self {
        Int(AtomicI32::new(v))
    }
    /// The value now.
    pub fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }
    /// Makes the setting known as a number between two bounds.
    pub fn define(&'static self, m: Meta, unit: Unit, min: i32, max: i32) {
        // SAFETY: the address is static, the strings are never freed.
        unsafe {
            pg_sys::DefineCustomIntVariable(
                m.name.as_ptr(),
                m.text(),
                std::ptr::null(),
                self.0.as_ptr(),
                self.get(),
                min,
                max,
                m.context.raw(),
                (m.flags | unit.flags()) as c_int,
                None,
                None,
                None,
            );
        }
    }
    /// Makes the setting known as one of several words.
    pub fn define_enum(&'static self, m: Meta, values: &[(&str, i32)]) {
        let mut options: Vec<pg_sys::config_enum_entry> = values
            .iter()
            .map(|(name, val)| pg_sys::config_enum_entry {
                name: leak(name),
                val: *val,
                hidden: false,
            })
            .collect();
        options.push(pg_sys::config_enum_entry { name: std::ptr::null(), val: 0, hidden: false });
        let options = Box::leak(options.into_boxed_slice());
        // SAFETY: address and options are static, the strings are never freed.
        unsafe {
            pg_sys::DefineCustomEnumVariable(
                m.name.as_ptr(),
                m.text(),
                std::ptr::null(),
                self.0.as_ptr(),
                self.get(),
                options.as_ptr(),
                m.context.raw(),
                m.flags as c_int,
                None,
                None,
                None,
            );
        }
    }
}

impl Real {
    /// With its value before registration.
    pub const fn new(v: f64) -> Self {
        Real(AtomicU64::new(v.to_bits()))
    }
    /// The value now.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
    /// Makes the setting known as a number between two bounds.
    pub fn define(&'static self, m: Meta, min: f64, max: f64) {
        // SAFETY: the address is static and as large and aligned as a double; the strings are
        // never freed.
        unsafe {
            pg_sys::DefineCustomRealVariable(
                m.name.as_ptr(),
                m.text(),
                std::ptr::null(),
                self.0.as_ptr().cast::<f64>(),
                self.get(),
                min,
                max,
                m.context.raw(),
                m.flags as c_int,
                None,
                None,
                None,
            );
        }
    }
}

impl Text {
    /// Without a value before registration.
    pub const fn new() -> Self {
        Text(AtomicPtr::new(std::ptr::null_mut()))
    }
    /// The value now, empty when there is none.
    pub fn get(&self) -> String {
        let p = self.0.load(Ordering::Relaxed);
        if p.is_null() {
            return String::new();
        }
        // SAFETY: PostgreSQL keeps a zero-terminated string there.
        unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned()
    }
    /// Makes the setting known.
    pub fn define(&'static self, m: Meta, default: &str, check: TextCheck) {
        // SAFETY: the address is static, the strings are never freed.
        unsafe {
            pg_sys::DefineCustomStringVariable(
                m.name.as_ptr(),
                m.text(),
                std::ptr::null(),
                self.0.as_ptr(),
                leak(default),
                m.context.raw(),
                m.flags as c_int,
                check,
                None,
                None,
            );
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses unknown settings with this prefix from now on.
pub fn reserve_prefix(prefix: &CStr) {
    // SAFETY: a zero-terminated string that is copied.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}

/// The server's max_connections.
pub fn max_connections() -> i32 {
    // SAFETY: a plain integer set at server start.
    unsafe { pg_sys::MaxConnections }
}

/// The server's deadlock_timeout in milliseconds.
pub fn deadlock_timeout() -> i32 {
    // SAFETY: a plain integer, which only the superuser can set.
    unsafe { pg_sys::DeadlockTimeout }
}

/// The session's lock_timeout in milliseconds, 0 for none.
pub fn lock_timeout() -> i32 {
    // SAFETY: a plain integer of this process.
    unsafe { pg_sys::LockTimeout }
}

/// Whether the server is loading shared_preload_libraries now.
pub fn preloading() -> bool {
    // SAFETY: a plain flag.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// What values a string setting may have.
pub trait TextRule {
    /// Name of a setting whose wrong value in the configuration keeps the server from starting, as
    /// for PostgreSQL's own. Else PostgreSQL warns and takes the default, since we are loaded after
    /// the file was read.
    const VITAL: Option<&'static str> = None;

    /// Says what is wrong with a value; the text becomes the detail of PostgreSQL's report.
    fn check(value: &str) -> std::result::Result<(), String>;
}

/// A string setting's check hook.
///
/// # Safety
/// For PostgreSQL only, which passes the address of a zero-terminated string or of null.
pub unsafe extern "C-unwind" fn check_hook<R: TextRule>(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: GucSource::Type,
) -> bool {
    super::guard::entry(|| {
        // SAFETY: as promised by the caller.
        let text = unsafe {
            match value.as_ref() {
                Some(p) if !p.is_null() => CStr::from_ptr(*p).to_string_lossy().into_owned(),
                _ => return true,
            }
        };
        let Err(detail) = R::check(&text) else { return true };
        if let Some(name) = R::VITAL.filter(|_| preloading()) {
            let message = format!("invalid value for parameter \"{name}\": \"{text}\"");
            Error::new(sqlstate::INVALID_PARAMETER_VALUE, message).detail(detail).raise()
        }
        // SAFETY: the string lives in ErrorContext like those of GUC_check_errdetail().
        unsafe {
            let detail = CString::new(detail).unwrap_or_default();
            pg_sys::GUC_check_errdetail_string =
                pg_sys::MemoryContextStrdup(pg_sys::ErrorContext, detail.as_ptr());
        }
        false
    })
}
