//! Settings of this session that a session on another node has to follow.

use super::fmgr::{quote_ident, quote_literal};
use super::guard;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::{c_char, CStr, CString};

/// Settings that stay as they are on the other side: pinned, meaningless there, or handled in
/// another way (the transaction's characteristics with BEGIN, the role by the connection, time
/// limits by cancelling from here).
const OWN: &[&str] = &[
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "application_name",
    "array_nulls",
    "bytea_output",
    "client_connection_check_interval",
    "client_encoding",
    "client_min_messages",
    "default_table_access_method",
    "default_tablespace",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "role",
    "search_path",
    "seed",
    "session_authorization",
    "standard_conforming_strings",
    "statement_timeout",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "temp_tablespaces",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
];

/// Settings that decide how values are written and read as text, with the values that sessions on
/// nodes have from their start. They are followed only where they differ.
const STYLES: &[(&str, &str)] = &[
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// Prefixes of such settings.
const OWN_PREFIXES: &[&str] = &["citus.", "log_", "debug_", "trace_", "auto_explain."];

/// Names and values, ready to stand behind `SET name TO`, ordered by name. These are the time
/// zone and the search path, and whatever was set for this user, database or session.
pub fn followed() -> Vec<(String, String)> {
    let mut found = vec![
        ("TimeZone".to_owned(), quote_literal(&current("TimeZone"))),
        ("search_path".to_owned(), search_path(&current("search_path"))),
    ];
    for (name, usual) in STYLES {
        let now = current(name);
        if now != *usual {
            found.push(((*name).to_owned(), quote_literal(&now)));
        }
    }
    // SAFETY: the array of settings and its records live as long as the process.
    unsafe {
        let n = pg_sys::GetNumConfigOptions().max(0) as usize;
        let all = std::slice::from_raw_parts(pg_sys::get_guc_variables(), n);
        for record in all.iter().copied() {
            if is_candidate(record) && is_set(record) {
                let name = CStr::from_ptr((*record).name).to_string_lossy();
                let quoted: Vec<String> = name.split('.').map(quote_ident).collect();
                found.push((quoted.join("."), quote_literal(&current(&name))));
            }
        }
    }
    found.sort_unstable();
    found
}

extern "C" {
    /// The setting (utils/bytea.h).
    static mut bytea_output: std::ffi::c_int;
}

/// A number that changes when [`followed`] would answer differently; much cheaper than that.
pub fn fingerprint() -> u64 {
    let mut hash = Hash(0xcbf2_9ce4_8422_2325);
    // SAFETY: as in `followed`; variables of settings are valid at any time.
    unsafe {
        hash.text(pg_sys::namespace_search_path);
        hash.text(pg_sys::pg_get_timezone_name(pg_sys::session_timezone));
        hash.number(pg_sys::DateStyle as u64);
        hash.number(pg_sys::DateOrder as u64);
        hash.number(pg_sys::IntervalStyle as u64);
        hash.number(pg_sys::extra_float_digits as u64);
        hash.number(bytea_output as u64);
        let n = pg_sys::GetNumConfigOptions().max(0) as usize;
        let all = std::slice::from_raw_parts(pg_sys::get_guc_variables(), n);
        CANDIDATES.with_borrow_mut(|known| {
            if !known.are_of(all) {
                *known = Candidates::of(all);
            }
            for (_, record) in &known.records {
                if is_set(*record) {
                    hash.number(*record as u64);
                    hash.value(*record);
                }
            }
        });
    }
    hash.0
}

/// The settings that [`followed`] may name, with their places among all. All settings together fill
/// a processor's nearest cache, and this is done for every statement.
#[derive(Default)]
struct Candidates {
    /// How many settings there were.
    all: usize,
    records: Vec<(usize, *mut pg_sys::config_generic)>,
}

thread_local! {
    static CANDIDATES: RefCell<Candidates> = RefCell::default();
}

impl Candidates {
    /// # Safety
    /// `all` must be the array of settings.
    unsafe fn of(all: &[*mut pg_sys::config_generic]) -> Candidates {
        let each = all.iter().copied().enumerate();
        // SAFETY: the caller's promise.
        let records = each.filter(|(_, record)| unsafe { is_candidate(*record) }).collect();
        Candidates { all: all.len(), records }
    }

    /// Whether they are still these. A library that is loaded adds settings, or puts its own in the
    /// place of those that were made up for it before.
    fn are_of(&self, all: &[*mut pg_sys::config_generic]) -> bool {
        self.all == all.len() && self.records.iter().all(|(at, r)| all.get(*at) == Some(r))
    }
}

/// FNV-1a, by words where possible.
struct Hash(u64);

impl Hash {
    fn number(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// # Safety
    /// `s` must be null or zero-terminated.
    unsafe fn text(&mut self, s: *const c_char) {
        if s.is_null() {
            return self.number(1);
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { CStr::from_ptr(s) }.to_bytes();
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.number(u64::from_ne_bytes(word));
        }
        self.number(bytes.len() as u64);
    }

    /// # Safety
    /// `record` must be a setting's record.
    unsafe fn value(&mut self, record: *const pg_sys::config_generic) {
        use pg_sys::config_type as T;
        // SAFETY: the type says which structure the record is the head of.
        unsafe {
            match (*record).vartype {
                T::PGC_BOOL => {
                    self.number(u64::from(*(*record.cast::<pg_sys::config_bool>()).variable));
                }
                T::PGC_INT => {
                    self.number(*(*record.cast::<pg_sys::config_int>()).variable as u64);
                }
                T::PGC_REAL => {
                    self.number((*(*record.cast::<pg_sys::config_real>()).variable).to_bits());
                }
                T::PGC_ENUM => {
                    self.number(*(*record.cast::<pg_sys::config_enum>()).variable as u64);
                }
                _ => self.text(*(*record.cast::<pg_sys::config_string>()).variable),
            }
        }
    }
}

/// Settings that were changed since the session began have the values again that they had then, to
/// the end of the transaction or savepoint.
pub fn reset_locally() {
    // SAFETY: as in `followed`; the names are copied before anything changes.
    let changed: Vec<CString> = unsafe {
        let n = pg_sys::GetNumConfigOptions().max(0) as usize;
        let all = std::slice::from_raw_parts(pg_sys::get_guc_variables(), n);
        let changed = all.iter().copied().filter(|record| is_changed(*record));
        changed.map(|record| CStr::from_ptr((*record).name).to_owned()).collect()
    };
    for name in changed.iter().filter(|name| name.as_c_str() != c"application_name") {
        // SAFETY: the name of a setting; no value stands for the one to which RESET leads.
        unsafe {
            guard::call(|| {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    std::ptr::null(),
                    pg_sys::GucContext::PGC_SUSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_LOCAL,
                    true,
                    0,
                    false,
                )
            });
        }
    }
}

/// Whether a setting was changed by a command, and RESET ALL would change it back.
///
/// # Safety
/// `record` must be a setting's record.
unsafe fn is_changed(record: *const pg_sys::config_generic) -> bool {
    use pg_sys::GucContext as C;
    // SAFETY: the caller's promise.
    let (source, context, flags) =
        unsafe { ((*record).source, (*record).context, (*record).flags as u32) };
    source == pg_sys::GucSource::PGC_S_SESSION
        && flags & pg_sys::GUC_NO_RESET_ALL == 0
        && (context == C::PGC_USERSET || context == C::PGC_SUSET)
}

/// Whether the setting is followed wherever it was set: an ordinary user may set it, and it means
/// something on the other side. Nothing of that changes.
///
/// # Safety
/// `record` must be a setting's record.
unsafe fn is_candidate(record: *const pg_sys::config_generic) -> bool {
    // SAFETY: the caller's promise; names are zero-terminated.
    let (context, flags, name) =
        unsafe { ((*record).context, (*record).flags as u32, CStr::from_ptr((*record).name)) };
    if flags & (pg_sys::GUC_LIST_QUOTE | pg_sys::GUC_NO_SHOW_ALL) != 0
        && flags & pg_sys::GUC_CUSTOM_PLACEHOLDER == 0
    {
        return false;
    }
    let own = |name: &str| OWN.contains(&name) || OWN_PREFIXES.iter().any(|p| name.starts_with(p));
    (context == pg_sys::GucContext::PGC_USERSET || name == c"session_replication_role")
        && !own(&name.to_string_lossy())
}

/// Whether the session, or its user or database, gave the setting its value.
///
/// # Safety
/// `record` must be a setting's record.
unsafe fn is_set(record: *const pg_sys::config_generic) -> bool {
    use pg_sys::GucSource as S;
    // SAFETY: the caller's promise.
    let source = unsafe { (*record).source };
    source >= S::PGC_S_DATABASE && source != S::PGC_S_OVERRIDE
}

/// The setting's value as SHOW gives it; empty when there is none.
fn current(name: &str) -> String {
    let Ok(c) = std::ffi::CString::new(name) else { return String::new() };
    // SAFETY: a zero-terminated name in, a palloc'd string or null out.
    unsafe {
        let v = pg_sys::GetConfigOptionByName(c.as_ptr(), std::ptr::null_mut(), true);
        if v.is_null() {
            return String::new();
        }
        let s = CStr::from_ptr(v).to_string_lossy().into_owned();
        pg_sys::pfree(v as *mut _);
        s
    }
}

/// The search path as a list for SET. pg_catalog is searched first: statements sent to nodes name
/// everything else with its schema, and what they name without one is in pg_catalog.
fn search_path(value: &str) -> String {
    thread_local! {
        static LAST: RefCell<(String, String)> = const { RefCell::new((String::new(), String::new())) };
    }
    if let Some(known) =
        LAST.with(|l| Some(&*l.borrow()).filter(|l| l.0 == value).map(|l| l.1.clone()))
    {
        if !known.is_empty() {
            return known;
        }
    }
    let mut names = identifiers(value);
    // `SET search_path = ''` has a list of one name, which no schema has and no identifier is.
    names.retain(|n| !n.is_empty());
    if names.first().is_none_or(|n| n != "pg_catalog") {
        names.insert(0, "pg_catalog".into());
    }
    let list: Vec<String> = names.iter().map(|n| quote_ident(n)).collect();
    let list = list.join(", ");
    LAST.with(|l| *l.borrow_mut() = (value.to_owned(), list.clone()));
    list
}

/// Splits a list of identifiers as the server does; nothing when it is not one.
fn identifiers(value: &str) -> Vec<String> {
    // SAFETY: the function works on its own copy, which outlives the list that points into it.
    unsafe {
        let copy = pg_sys::pnstrdup(value.as_ptr() as *const c_char, value.len());
        let mut list: *mut pg_sys::List = std::ptr::null_mut();
        let valid = pg_sys::SplitIdentifierString(copy, b',' as c_char, &mut list);
        let mut names = Vec::new();
        if valid && !list.is_null() {
            for i in 0..(*list).length.max(0) as usize {
                let p = (*(*list).elements.add(i)).ptr_value as *const c_char;
                names.push(CStr::from_ptr(p).to_string_lossy().into_owned());
            }
        }
        pg_sys::list_free(list);
        pg_sys::pfree(copy as *mut _);
        names
    }
}
