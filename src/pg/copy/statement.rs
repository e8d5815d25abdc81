//! The COPY statement of the client: what it names, and what PostgreSQL checks before it starts.

use super::layout::{integers, raw};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{guard, session};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{c_char, c_int};

const HINT: &str = "Anyone can COPY to stdout or from stdin. \
                    psql's \\copy command also works for anyone.";

/// A COPY statement.
#[derive(Clone, Copy)]
pub struct Command {
    pub(super) stmt: *mut pg_sys::CopyStmt,
    pub(super) text: *const c_char,
}

impl Command {
    /// The COPY statement in a planned statement, `None` when it is another one.
    ///
    /// # Safety
    /// Both must be what the ProcessUtility hook was given and outlive the value.
    pub unsafe fn new(planned: *mut pg_sys::PlannedStmt, text: *const c_char) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            let stmt = (*planned).utilityStmt;
            let is_copy = !stmt.is_null() && (*stmt).type_ == pg_sys::NodeTag::T_CopyStmt;
            is_copy.then_some(Command { stmt: stmt as *mut pg_sys::CopyStmt, text })
        }
    }

    /// Whether it reads into a table.
    pub fn is_from(&self) -> bool {
        // SAFETY: valid statement.
        unsafe { (*self.stmt).is_from }
    }

    /// The table it names; `None` for COPY (query) and for what does not exist.
    pub fn relation(&self) -> Option<Oid> {
        // SAFETY: valid statement; the look-up takes no lock.
        unsafe {
            let relation = (*self.stmt).relation;
            if relation.is_null() {
                return None;
            }
            let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
            let nothing = std::ptr::null_mut();
            let oid = pg_sys::RangeVarGetRelidExtended(
                relation,
                pg_sys::NoLock as c_int,
                missing_ok,
                None,
                nothing,
            );
            (oid != Oid::INVALID).then_some(oid)
        }
    }

    /// Refuses server-side files and programs to whom PostgreSQL refuses them.
    pub fn check_file_access(&self) -> Result<()> {
        // SAFETY: valid statement.
        let (file, program, from) = unsafe {
            let s = &*self.stmt;
            (!s.filename.is_null(), s.is_program, s.is_from)
        };
        let (role, what) = match (file, program, from) {
            (false, ..) => return Ok(()),
            (_, true, _) => (
                pg_sys::ROLE_PG_EXECUTE_SERVER_PROGRAM,
                "must be superuser or have privileges of the pg_execute_server_program role \
                 to COPY to or from an external program",
            ),
            (_, _, true) => (
                pg_sys::ROLE_PG_READ_SERVER_FILES,
                "must be superuser or have privileges of the pg_read_server_files role \
                 to COPY from a file",
            ),
            (_, _, false) => (
                pg_sys::ROLE_PG_WRITE_SERVER_FILES,
                "must be superuser or have privileges of the pg_write_server_files role \
                 to COPY to a file",
            ),
        };
        if session::has_privileges_of(Oid::from(role)) {
            return Ok(());
        }
        Err(Error::new(sqlstate::INSUFFICIENT_PRIVILEGE, what).hint(HINT))
    }

    /// Opens and locks the table of COPY FROM and makes every check that PostgreSQL makes before
    /// it asks the client for data.
    pub fn open_target(&self) -> Result<Target> {
        self.check_file_access()?;
        let stmt = self.stmt;
        // SAFETY: calls what DoCopy calls, in its order, on the same valid arguments. The lock is
        // kept to the end of the transaction; an error lets the resource owner close the table.
        unsafe {
            let lock = pg_sys::RowExclusiveLock as c_int;
            let rel = guard::call(|| raw::table_openrv((*stmt).relation, lock));
            let pstate = guard::call(|| raw::make_parsestate(std::ptr::null_mut()));
            (*pstate).p_sourcetext = self.text;
            let nsitem = guard::call(|| {
                let no_alias = std::ptr::null_mut();
                raw::addRangeTableEntryForRelation(pstate, rel, lock, no_alias, false, false)
            });
            let rte = (*nsitem).p_rte;
            (*rte).requiredPerms = pg_sys::ACL_INSERT as pg_sys::AclMode;
            let filter = transform_where(pstate, nsitem, rel, (*stmt).whereClause)?;
            let names = (*stmt).attlist;
            let list = guard::call(|| raw::CopyGetAttnums((*rel).rd_att, rel, names));
            for attno in integers(list) {
                let bit = attno - pg_sys::FirstLowInvalidHeapAttributeNumber;
                (*rte).insertedCols = pg_sys::bms_add_member((*rte).insertedCols, bit);
            }
            guard::call(|| raw::ExecCheckRTPerms((*pstate).p_rtable, true));
            let relid = (*rel).rd_id;
            let rls = guard::call(|| raw::check_enable_rls(relid, Oid::INVALID, false));
            if rls as u32 == pg_sys::CheckEnableRlsResult::RLS_ENABLED {
                let what = "COPY FROM not supported with row-level security";
                return Err(Error::unsupported(what).hint("Use INSERT statements instead."));
            }
            if pg_sys::XactReadOnly {
                guard::call(|| raw::PreventCommandIfReadOnly(c"COPY FROM".as_ptr()));
            }
            // Bad options are refused before the client is asked for data.
            let mut parsed = pg_sys::CopyFormatOptions::default();
            let (out, options) = (&raw mut parsed, (*stmt).options);
            guard::call(|| raw::ProcessCopyOptions(pstate, out, true, options));
            Ok(Target { command: *self, pstate, rel, filter })
        }
    }
}

/// The table of a COPY FROM, opened and checked.
pub struct Target {
    pub(super) command: Command,
    pub(super) pstate: *mut pg_sys::ParseState,
    pub(super) rel: pg_sys::Relation,
    /// WHERE, planned; null when there is none.
    pub(super) filter: *mut pg_sys::List,
}

impl Target {
    /// OID of the table.
    pub fn relid(&self) -> Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.rel).rd_id }
    }

    /// Whether the statement has a WHERE.
    pub fn has_filter(&self) -> bool {
        // SAFETY: valid statement.
        unsafe { !(*self.command.stmt).whereClause.is_null() }
    }
}

/// WHERE of COPY FROM as an executable list of conditions.
unsafe fn transform_where(
    pstate: *mut pg_sys::ParseState,
    nsitem: *mut pg_sys::ParseNamespaceItem,
    rel: pg_sys::Relation,
    clause: *mut pg_sys::Node,
) -> Result<*mut pg_sys::List> {
    if clause.is_null() {
        return Ok(std::ptr::null_mut());
    }
    // SAFETY: the same steps as PostgreSQL's own, on a valid parse state and relation.
    unsafe {
        let expr = guard::call(|| {
            raw::addNSItemToQuery(pstate, nsitem, false, true, true);
            let kind = pg_sys::ParseExprKind::EXPR_KIND_COPY_WHERE;
            let e = raw::transformExpr(pstate, clause, kind);
            let e = raw::coerce_to_boolean(pstate, e, c"WHERE".as_ptr());
            raw::assign_expr_collations(pstate, e);
            e
        });
        refuse_generated(rel, expr)?;
        Ok(guard::call(|| {
            let e = raw::eval_const_expressions(std::ptr::null_mut(), expr);
            let q = raw::canonicalize_qual(e as *mut pg_sys::Expr, false);
            raw::make_ands_implicit(q)
        }))
    }
}

/// Generated columns are computed after WHERE, so it cannot look at them.
unsafe fn refuse_generated(rel: pg_sys::Relation, expr: *mut pg_sys::Node) -> Result<()> {
    // SAFETY: a valid expression over the relation's columns; attributes are bounded by natts.
    unsafe {
        let mut used: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        pg_sys::pull_varattnos(expr, 1, &mut used);
        let low = pg_sys::FirstLowInvalidHeapAttributeNumber;
        let whole_row = pg_sys::bms_is_member(-low, used);
        let desc = (*rel).rd_att;
        for i in 0..(*desc).natts.max(0) {
            let att = &*(*desc).attrs.as_ptr().add(i as usize);
            let seen = whole_row || pg_sys::bms_is_member(i + 1 - low, used);
            if seen && att.attgenerated != 0 {
                let name = std::ffi::CStr::from_ptr(att.attname.data.as_ptr()).to_string_lossy();
                let what = "generated columns are not supported in COPY FROM WHERE conditions";
                return Err(Error::new(sqlstate::INVALID_COLUMN_REFERENCE, what)
                    .detail(format!("Column \"{name}\" is a generated column.")));
            }
        }
        Ok(())
    }
}
