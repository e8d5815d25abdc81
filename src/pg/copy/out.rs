//! COPY table TO: its checks, and how it is run as COPY (SELECT columns FROM table) TO, whose query
//! is planned like any other. PostgreSQL does that for tables with row-level security.

use super::layout::{integers, raw, strings};
use super::Command;
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::{qualified, quote_ident, quote_literal};
use crate::pg::{guard, session, spi};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{c_int, CStr};

/// What COPY table TO STDOUT gives.
pub struct Source {
    /// Columns in their order.
    pub columns: Vec<String>,
    /// Binary format.
    pub binary: bool,
    /// Whether a line of column names comes first.
    pub header: bool,
    /// The options for a node, all but HEADER.
    pub options: Vec<String>,
}

impl Command {
    /// Whether the rows go to the client.
    pub fn is_to_client(&self) -> bool {
        // SAFETY: valid statement.
        unsafe { (*self.stmt).filename.is_null() && super::client::connected() }
    }

    /// Checks a COPY TO STDOUT as PostgreSQL does and says what it gives. `None` for a table whose
    /// rows are not all for this user to see: policies are applied by running a query.
    pub fn open_source(&self) -> Result<Option<Source>> {
        let stmt = self.stmt;
        // SAFETY: calls what DoCopy and BeginCopyTo call, in their order, on the same arguments.
        // The lock is kept to the end of the transaction.
        unsafe {
            let lock = pg_sys::AccessShareLock as c_int;
            let rel = guard::call(|| raw::table_openrv((*stmt).relation, lock));
            let pstate = guard::call(|| raw::make_parsestate(std::ptr::null_mut()));
            (*pstate).p_sourcetext = self.text;
            let item = guard::call(|| {
                let no_alias = std::ptr::null_mut();
                raw::addRangeTableEntryForRelation(pstate, rel, lock, no_alias, false, false)
            });
            let rte = (*item).p_rte;
            (*rte).requiredPerms = pg_sys::ACL_SELECT as pg_sys::AclMode;
            let attlist = (*stmt).attlist;
            let list = guard::call(|| raw::CopyGetAttnums((*rel).rd_att, rel, attlist));
            let attnums = integers(list);
            for attno in &attnums {
                let bit = attno - pg_sys::FirstLowInvalidHeapAttributeNumber;
                (*rte).selectedCols = pg_sys::bms_add_member((*rte).selectedCols, bit);
            }
            guard::call(|| raw::ExecCheckRTPerms((*pstate).p_rtable, true));
            let relid = (*rel).rd_id;
            let rls = guard::call(|| raw::check_enable_rls(relid, Oid::INVALID, false));
            let plain = rls as u32 != pg_sys::CheckEnableRlsResult::RLS_ENABLED
                && (*(*rel).rd_rel).relkind as u8 == pg_sys::RELKIND_RELATION;
            let mut parsed = pg_sys::CopyFormatOptions::default();
            let (out, options) = (&raw mut parsed, (*stmt).options);
            guard::call(|| raw::ProcessCopyOptions(pstate, out, false, options));
            let columns = column_names(rel, &attnums);
            pg_sys::table_close(rel, pg_sys::NoLock as c_int);
            Ok(plain.then(|| Source {
                columns,
                binary: parsed.binary,
                header: parsed.header_line != pg_sys::CopyHeaderChoice::COPY_HEADER_FALSE,
                options: option_list(&parsed),
            }))
        }
    }

    /// Runs a COPY TO of the table `relid`; answers the number of rows.
    pub fn run_as_query(&self, relid: Oid) -> Result<u64> {
        self.check_file_access()?;
        let sql = self.query_text(relid)?;
        let sql = spi::cstring(&sql)?;
        let (text, stmt, source) = (sql.as_ptr(), self.stmt, self.text);
        // SAFETY: the statement is a shallow copy with another source; the caller's tree, which
        // may be kept for the next execution, stays as it is.
        unsafe {
            let list = guard::call(|| raw::pg_parse_query(text));
            if list.is_null() || (*list).length != 1 {
                return Err(Error::internal("COPY TO could not be written as a query"));
            }
            let query = (*((*(*list).elements).ptr_value as *mut pg_sys::RawStmt)).stmt;
            let mut copy = *stmt;
            copy.relation = std::ptr::null_mut();
            copy.attlist = std::ptr::null_mut();
            copy.query = query;
            let copy = &raw const copy;
            let mut rows = 0u64;
            let out = &raw mut rows;
            guard::call(|| {
                let pstate = raw::make_parsestate(std::ptr::null_mut());
                (*pstate).p_sourcetext = source;
                raw::DoCopy(pstate, copy, 0, 0, out);
            });
            Ok(rows)
        }
    }

    /// The query that gives the rows, after the checks that PostgreSQL makes for COPY table TO.
    fn query_text(&self, relid: Oid) -> Result<String> {
        let stmt = self.stmt;
        // SAFETY: opened and closed here; attribute numbers come from the server.
        let names = unsafe {
            let lock = pg_sys::AccessShareLock as c_int;
            let rel = guard::call(|| raw::table_open(relid, lock));
            let attlist = (*stmt).attlist;
            let list = guard::call(|| raw::CopyGetAttnums((*rel).rd_att, rel, attlist));
            let names = column_names(rel, &integers(list));
            let mut parsed = pg_sys::CopyFormatOptions::default();
            let (out, options) = (&raw mut parsed, (*stmt).options);
            let source = self.text;
            guard::call(|| {
                let pstate = raw::make_parsestate(std::ptr::null_mut());
                (*pstate).p_sourcetext = source;
                raw::ProcessCopyOptions(pstate, out, false, options);
                raw::CopyGetAttnums((*rel).rd_att, rel, parsed.force_quote);
            });
            // The query would not know the column at all.
            if let Some(other) = strings(parsed.force_quote).iter().find(|n| !names.contains(n)) {
                let what = format!("FORCE_QUOTE column \"{other}\" not referenced by COPY");
                return Err(Error::new(sqlstate::INVALID_COLUMN_REFERENCE, what));
            }
            let partitioned = (*(*rel).rd_rel).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
            pg_sys::table_close(rel, pg_sys::NoLock as c_int);
            (!partitioned).then_some(names)
        };
        let (schema, name) = session::relation_name(relid)
            .ok_or_else(|| Error::new(sqlstate::UNDEFINED_TABLE, "table does not exist"))?;
        let names = names.ok_or_else(|| {
            let what = format!("cannot copy from partitioned table \"{name}\"");
            Error::new(sqlstate::WRONG_OBJECT_TYPE, what)
                .hint("Try the COPY (SELECT ...) TO variant.")
        })?;
        let names: Vec<String> = names.iter().map(|n| quote_ident(n)).collect();
        Ok(format!("SELECT {} FROM {}", names.join(", "), qualified(&schema, &name)))
    }
}

/// Names of attributes.
unsafe fn column_names(rel: pg_sys::Relation, attnums: &[i32]) -> Vec<String> {
    // SAFETY: the relation is open; the numbers are those of its columns.
    unsafe {
        let attrs = (*(*rel).rd_att).attrs.as_ptr();
        attnums
            .iter()
            .map(|a| {
                let name = (*attrs.add((a - 1).max(0) as usize)).attname.data.as_ptr();
                CStr::from_ptr(name).to_string_lossy().into_owned()
            })
            .collect()
    }
}

/// Options of COPY TO for a node.
unsafe fn option_list(o: &pg_sys::CopyFormatOptions) -> Vec<String> {
    // SAFETY: strings of parsed options are zero-terminated or null.
    unsafe {
        if o.binary {
            return vec!["FORMAT binary".to_owned()];
        }
        let text = |p: *const std::ffi::c_char| {
            let bytes = if p.is_null() { c"".to_bytes() } else { CStr::from_ptr(p).to_bytes() };
            quote_literal(&String::from_utf8_lossy(bytes))
        };
        let encoding = match o.file_encoding {
            n if n >= 0 => n,
            _ => pg_sys::pg_get_client_encoding(),
        };
        let mut list = vec![
            format!("FORMAT {}", if o.csv_mode { "csv" } else { "text" }),
            format!("DELIMITER {}", text(o.delim)),
            format!("NULL {}", text(o.null_print)),
            format!("ENCODING {}", text(pg_sys::pg_encoding_to_char(encoding))),
        ];
        if o.csv_mode {
            list.push(format!("QUOTE {}", text(o.quote)));
            list.push(format!("ESCAPE {}", text(o.escape)));
            let forced: Vec<String> =
                strings(o.force_quote).iter().map(|n| quote_ident(n)).collect();
            if o.force_quote_all {
                list.push("FORCE_QUOTE *".to_owned());
            } else if !forced.is_empty() {
                list.push(format!("FORCE_QUOTE ({})", forced.join(", ")));
            }
        }
        list
    }
}
