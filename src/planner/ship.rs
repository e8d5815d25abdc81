//! What may be evaluated on another node with the same answer.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use crate::pg::nodes::{self, tag, Visit};
use pgrx::pg_sys::{self, Node, NodeTag, Oid};
use std::ffi::{c_char, c_void};

extern "C-unwind" {
    fn check_functions_in_node(
        node: *mut Node,
        checker: extern "C-unwind" fn(Oid, *mut c_void) -> bool,
        context: *mut c_void,
    ) -> bool;
}

/// What an expression contains, sub-queries not included.
#[derive(Clone, Copy, Default, Debug)]
pub struct Class {
    /// Columns (of any level), aggregates, window functions: it depends on rows.
    pub rows: bool,
    /// Sub-queries.
    pub sublink: bool,
    /// Parameters from outside.
    pub param: bool,
    /// Functions that are not immutable.
    pub mutable: bool,
    /// Volatile functions.
    pub volatile: bool,
    /// Something another node does not have or would answer differently.
    pub local_only: bool,
    /// Set-returning functions.
    pub srf: bool,
}

impl Class {
    /// A value that is the same for the whole statement and can be computed before it runs.
    pub fn is_value(&self) -> bool {
        !(self.rows || self.sublink || self.volatile || self.srf)
    }
}

struct Functions {
    class: Class,
}

/// Volatile functions whose answer does not depend on the node they run on.
const HARMLESS_VOLATILE: [u32; 5] = [
    pg_sys::F_RANDOM,
    pg_sys::F_GEN_RANDOM_UUID,
    pg_sys::F_CLOCK_TIMESTAMP,
    pg_sys::F_TIMEOFDAY,
    pg_sys::F_PG_SLEEP,
];

/// Types whose values mean something on one node only.
fn is_node_local_type(t: Oid) -> bool {
    matches!(
        u32::from(t),
        26 | 24 | 2202 | 2203 | 2204 | 2205 | 2206 | 3734 | 3769 | 4089 | 4096 | 4191 // oid, reg*
        | 28 | 5069 | 29 | 27 | 2970 | 5038 | 3220 // xid, xid8, cid, tid, snapshots, pg_lsn
    )
}

/// Whether an object that comes with PostgreSQL itself, the same on all nodes.
pub fn is_builtin(oid: Oid) -> bool {
    u32::from(oid) < pg_sys::FirstNormalObjectId
}

/// Whether a stable or volatile built-in function reads what only this node knows.
unsafe fn reads_local_state(f: Oid) -> bool {
    let mut nargs = 0;
    let mut types: *mut Oid = std::ptr::null_mut();
    let result = pg_sys::get_func_signature(f, &mut types, &mut nargs);
    is_node_local_type(result) || (0..nargs as usize).any(|i| is_node_local_type(*types.add(i)))
}

extern "C-unwind" fn look(f: Oid, context: *mut c_void) -> bool {
    // SAFETY: context is the Functions of the running check.
    unsafe {
        let c = &mut (*(context as *mut Functions)).class;
        let volatility = pg_sys::func_volatile(f) as u8;
        if volatility != pg_sys::PROVOLATILE_IMMUTABLE {
            c.mutable = true;
        }
        if volatility == pg_sys::PROVOLATILE_VOLATILE {
            c.volatile = true;
            if !HARMLESS_VOLATILE.contains(&u32::from(f)) {
                c.local_only = true;
            }
        }
        if !(is_builtin(f) || super::extension::is_everywhere(f))
            || (volatility == pg_sys::PROVOLATILE_STABLE && reads_local_state(f))
        {
            c.local_only = true;
        }
    }
    false
}

/// Looks at an expression without going into its sub-queries.
pub unsafe fn classify(node: *mut Node) -> Class {
    let mut f = Functions { class: Class::default() };
    let context = &mut f as *mut Functions;
    nodes::walk(node, &mut |n| {
        let c = &mut (*context).class;
        match tag(n) {
            NodeTag::T_Var
            | NodeTag::T_Aggref
            | NodeTag::T_WindowFunc
            | NodeTag::T_GroupingFunc
            | NodeTag::T_PlaceHolderVar
            | NodeTag::T_CaseTestExpr
            | NodeTag::T_CoerceToDomainValue
            | NodeTag::T_SetToDefault => c.rows = true,
            NodeTag::T_CurrentOfExpr => {
                c.rows = true;
                c.local_only = true;
            }
            NodeTag::T_Param => {
                let kind = (*(n as *mut pg_sys::Param)).paramkind;
                if kind == pg_sys::ParamKind::PARAM_EXTERN || kind == pg_sys::ParamKind::PARAM_EXEC
                {
                    c.param = true;
                } else {
                    c.rows = true;
                }
            }
            NodeTag::T_SubLink | NodeTag::T_SubPlan => c.sublink = true,
            NodeTag::T_SQLValueFunction => c.mutable = true,
            NodeTag::T_NextValueExpr => {
                c.volatile = true;
                c.mutable = true;
                c.local_only = true;
            }
            NodeTag::T_FuncExpr => c.srf |= (*(n as *mut pg_sys::FuncExpr)).funcretset,
            NodeTag::T_OpExpr => c.srf |= (*(n as *mut pg_sys::OpExpr)).opretset,
            NodeTag::T_Const => {
                let k = n as *mut pg_sys::Const;
                // OIDs differ between nodes: a regclass constant means nothing elsewhere.
                if !(*k).constisnull && is_reg_type((*k).consttype) {
                    c.local_only = true;
                }
            }
            NodeTag::T_Query => return Visit::Skip,
            _ => {}
        }
        check_functions_in_node(n, look, context as *mut c_void);
        Visit::Descend
    });
    // The arguments of a CASE or domain test refer to values inside the expression itself.
    f.class
}

/// Looks at one node only, not at what is below it.
pub unsafe fn own(n: *mut Node) -> Class {
    let mut f = Functions { class: Class::default() };
    let context = &mut f as *mut Functions as *mut c_void;
    match tag(n) {
        NodeTag::T_NextValueExpr | NodeTag::T_CurrentOfExpr => f.class.local_only = true,
        NodeTag::T_Const => {
            let k = n as *mut pg_sys::Const;
            f.class.local_only = !(*k).constisnull && is_reg_type((*k).consttype);
        }
        _ => {
            check_functions_in_node(n, look, context);
        }
    }
    f.class
}

fn is_reg_type(t: Oid) -> bool {
    matches!(u32::from(t), 24 | 2202 | 2203 | 2204 | 2205 | 2206 | 3734 | 3769 | 4089 | 4096 | 4191)
}

/// Whether values of the type mean the same on all nodes under the type's own OID.
pub unsafe fn is_plain_type(t: Oid) -> bool {
    u32::from(t) < pg_sys::FirstUnpinnedObjectId
        && pg_sys::get_typtype(t) as u8 != b'p'
        && !is_node_local_type(t)
}

/// Label for a type in messages.
pub unsafe fn type_name(t: Oid) -> String {
    let c: *mut c_char = pg_sys::format_type_be(t);
    nodes::str_of(c)
}
