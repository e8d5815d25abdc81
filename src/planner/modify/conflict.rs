//! ON CONFLICT.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::nodes;
use crate::planner::ship;
use pgrx::pg_sys::{self, NodeTag, Oid, Query};

/// Constraints of shards have names of their own: ON CONSTRAINT becomes the constraint's columns.
pub unsafe fn name_arbiters(q: *mut Query) -> Result<()> {
    let c = (*q).onConflict;
    if c.is_null() || (*c).constraint == Oid::INVALID {
        return Ok(());
    }
    let index = pg_sys::get_constraint_index((*c).constraint);
    if index == Oid::INVALID {
        return Err(Error::unsupported(
            "ON CONFLICT ON CONSTRAINT with a constraint that has no index",
        ));
    }
    let rel = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
    let form = (*rel).rd_index;
    let unique = (*form).indisunique;
    let keys: Vec<i16> =
        (0..(*form).indnkeyatts as usize).map(|i| *(*form).indkey.values.as_ptr().add(i)).collect();
    pg_sys::index_close(rel, pg_sys::AccessShareLock as i32);
    if !unique {
        return Err(Error::unsupported(
            "ON CONFLICT ON CONSTRAINT with an exclusion constraint on a distributed table",
        ));
    }
    let rte = nodes::rte((*q).rtable, (*q).resultRelation as u32);
    (*c).arbiterElems = nodes::list(keys.into_iter().map(|attno| {
        let (mut typ, mut typmod, mut collation) = (Oid::INVALID, 0, Oid::INVALID);
        pg_sys::get_atttypetypmodcoll((*rte).relid, attno, &mut typ, &mut typmod, &mut collation);
        let e: *mut pg_sys::InferenceElem = nodes::make(NodeTag::T_InferenceElem);
        let v = pg_sys::makeVar((*q).resultRelation, attno, typ, typmod, collation, 0);
        (*e).expr = v as *mut pg_sys::Node;
        e
    }));
    (*c).constraint = Oid::INVALID;
    Ok(())
}

/// Replicas must not compute different values for the same row.
pub unsafe fn check_volatile(q: *mut Query, table: &Table) -> Result<()> {
    let c = (*q).onConflict;
    if c.is_null() || !super::is_replicated(table) {
        return Ok(());
    }
    let volatile = |n| ship::classify(n).volatile;
    if volatile((*c).onConflictSet as *mut pg_sys::Node) || volatile((*c).onConflictWhere) {
        return Err(Error::unsupported(
            "a volatile function in ON CONFLICT DO UPDATE of a replicated table",
        )
        .hint("Compute it in the inserted row and refer to it by EXCLUDED."));
    }
    Ok(())
}
