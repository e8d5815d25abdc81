//! `ProcessUtility_hook`: every statement that is not SELECT, INSERT, UPDATE, DELETE or MERGE;
//! and `object_access_hook`, which sees what a statement drops.

use crate::ddl::{dropped, registry};
use crate::error::Result;
use crate::pg::tree::Tree;
use crate::pg::{guard, xact};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{c_char, c_int, c_void};

extern "C-unwind" {
    #[link_name = "standard_ProcessUtility"]
    fn raw_process(
        pstmt: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        env: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;
static mut PREVIOUS_ACCESS: pg_sys::object_access_hook_type = None;

/// A utility statement on its way.
pub struct Call {
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
}

impl Call {
    /// The statement.
    pub fn statement(&self) -> Tree {
        // SAFETY: a PlannedStmt of a utility statement.
        Tree::from_node(unsafe { (*self.pstmt).utilityStmt })
    }

    /// Sent by the client by itself, so that it may manage transactions.
    pub fn is_top_level(&self) -> bool {
        self.context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL
    }

    /// The statement, in a copy that may be changed before [`Call::proceed`].
    pub fn writable(&mut self) -> Tree {
        // SAFETY: copies of valid nodes.
        unsafe {
            if self.read_only {
                let p = self.pstmt as *const c_void;
                self.pstmt = guard::call(|| pg_sys::copyObjectImpl(p)) as *mut pg_sys::PlannedStmt;
                self.read_only = false;
            }
        }
        self.statement()
    }

    /// What the server does with the statement.
    pub fn proceed(&self) -> Result<()> {
        // SAFETY: the arguments are those we were called with.
        unsafe {
            guard::call(|| {
                let next = match PREVIOUS {
                    Some(hook) => hook,
                    None => raw_process,
                };
                next(
                    self.pstmt,
                    self.query,
                    self.read_only,
                    self.context,
                    self.params,
                    self.env,
                    self.dest,
                    self.completion,
                )
            });
        }
        Ok(())
    }

    /// The planned statement around the utility statement.
    pub fn planned(&self) -> *mut pg_sys::PlannedStmt {
        self.pstmt
    }

    /// The source text.
    pub fn query(&self) -> *const c_char {
        self.query
    }

    /// Parameters of the statement.
    pub fn params(&self) -> pg_sys::ParamListInfo {
        self.params
    }

    /// Where results go.
    pub fn dest(&self) -> *mut pg_sys::DestReceiver {
        self.dest
    }

    /// Where the command tag goes; may be null.
    pub fn completion(&self) -> *mut pg_sys::QueryCompletion {
        self.completion
    }
}

extern "C-unwind" fn process_utility(
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    guard::entry_result(|| {
        let call = Call { pstmt, query, read_only, context, params, env, dest, completion };
        if call.statement().tag() == pg_sys::NodeTag::T_NotifyStmt {
            xact::may_notify(true);
        }
        registry::process(call)
    })
}

extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: Oid,
    object: Oid,
    sub: c_int,
    arg: *mut c_void,
) {
    if access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE
        && u32::from(object) == pg_sys::F_PG_NOTIFY
    {
        xact::may_notify(true);
    }
    // SAFETY: reads a variable that is set once.
    let previous = unsafe { PREVIOUS_ACCESS };
    if access != pg_sys::ObjectAccessType::OAT_DROP && previous.is_none() {
        return;
    }
    guard::entry(|| {
        // SAFETY: the next hook gets what we were called with; for drops the argument is the
        // structure that says how.
        unsafe {
            if let Some(next) = previous {
                guard::call(|| next(access, class, object, sub, arg));
            }
            if access == pg_sys::ObjectAccessType::OAT_DROP && !arg.is_null() {
                let flags = (*(arg as *const pg_sys::ObjectAccessDrop)).dropflags;
                let internal = flags & pg_sys::PERFORM_DELETION_INTERNAL as c_int != 0;
                dropped::notice_drop(class, object, sub, internal);
            }
        }
    })
}

/// Takes the hooks; once per process, from `_PG_init`.
pub fn register() {
    // SAFETY: set before any backend is forked, in a single thread.
    unsafe {
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
        PREVIOUS_ACCESS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(object_access);
    }
}
