//! COPY table TO, run as COPY (SELECT columns FROM table) TO: the query is planned like any other.
//! PostgreSQL does the same for tables with row-level security.

use super::layout::{integers, raw};
use super::Command;
use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::{guard, session, spi};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{c_int, CStr};

impl Command {
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
            let attrs = (*(*rel).rd_att).attrs.as_ptr();
            let names: Vec<String> = integers(list)
                .into_iter()
                .map(|a| {
                    let name = (*attrs.add((a - 1).max(0) as usize)).attname.data.as_ptr();
                    quote_ident(&CStr::from_ptr(name).to_string_lossy())
                })
                .collect();
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
        Ok(format!("SELECT {} FROM {}", names.join(", "), qualified(&schema, &name)))
    }
}
