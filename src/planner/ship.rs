//! What may be evaluated on another node with the same answer.

use crate::pg::lookup;
use crate::pg::query::{self, Const, Kind, Node, RowExpr, Visit};
use pgrx::pg_sys::{self, CoercionForm, NodeTag, Oid, ParamKind};

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
fn reads_local_state(f: Oid) -> bool {
    let (result, arguments) = lookup::signature(f);
    is_node_local_type(result) || arguments.into_iter().any(is_node_local_type)
}

/// What a call of a function adds to an expression.
fn look(f: Oid, c: &mut Class) {
    let volatility = lookup::volatility(f);
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

/// Looks at an expression without going into its sub-queries.
pub fn classify(node: Node) -> Class {
    let mut c = Class::default();
    node.walk(|n| {
        if let Kind::Query(_) = n.kind() {
            return Visit::Skip;
        }
        add_node(n, &mut c);
        n.functions(&mut |f| look(f, &mut c));
        Visit::Descend
    });
    // The arguments of a CASE or domain test refer to values inside the expression itself.
    c
}

/// What a node adds to an expression, apart from the functions that it calls.
fn add_node(n: Node, c: &mut Class) {
    match n.kind() {
        Kind::Var(_) | Kind::Aggref(_) => c.rows = true,
        Kind::Param(p) => {
            let outside = [ParamKind::PARAM_EXTERN, ParamKind::PARAM_EXEC];
            if outside.contains(&p.paramkind()) {
                c.param = true;
            } else {
                c.rows = true;
            }
        }
        Kind::SubLink(_) => c.sublink = true,
        Kind::FuncExpr(f) => c.srf |= f.funcretset(),
        Kind::OpExpr(o) => c.srf |= o.opretset(),
        // OIDs differ between nodes: a regclass constant means nothing elsewhere.
        Kind::Const(k) => c.local_only |= is_object_name(k),
        Kind::RowExpr(r) => c.local_only |= names_fields(r),
        Kind::Other(tag) => match tag {
            NodeTag::T_WindowFunc
            | NodeTag::T_GroupingFunc
            | NodeTag::T_PlaceHolderVar
            | NodeTag::T_CaseTestExpr
            | NodeTag::T_CoerceToDomainValue
            | NodeTag::T_SetToDefault => c.rows = true,
            NodeTag::T_CurrentOfExpr => {
                c.rows = true;
                c.local_only = true;
            }
            NodeTag::T_SubPlan => c.sublink = true,
            NodeTag::T_SQLValueFunction => c.mutable = true,
            NodeTag::T_NextValueExpr => {
                c.volatile = true;
                c.mutable = true;
                c.local_only = true;
            }
            _ => {}
        },
        _ => {}
    }
}

/// Looks at one node only, not at what is below it.
pub fn own(n: Node) -> Class {
    let mut c = Class::default();
    match n.kind() {
        Kind::Other(NodeTag::T_NextValueExpr | NodeTag::T_CurrentOfExpr) => c.local_only = true,
        Kind::Const(k) => c.local_only = is_object_name(k),
        Kind::RowExpr(r) => c.local_only = names_fields(r),
        _ => n.functions(&mut |f| look(f, &mut c)),
    }
    c
}

/// Whether a row of no named type has names for its fields which the text `ROW(...)` would lose: that
/// of `JOIN ... USING (...) AS name`.
fn names_fields(r: RowExpr) -> bool {
    let is_default = |(i, name): (usize, Node)| name.equals(query::string(&format!("f{}", i + 1)));
    r.row_typeid() == pg_sys::RECORDOID && !r.colnames().iter().enumerate().all(is_default)
}

/// Whether a node is the part of an assignment that a SELECT cannot be written with: elements of
/// arrays and fields of rows that get a value, and the cast to a length that refuses what is too
/// long. As a cast in a text it would cut it.
pub fn is_assignment(n: Node) -> bool {
    match n.kind() {
        Kind::SubscriptingRef(s) => s.refassgnexpr().is_some(),
        Kind::FuncExpr(f) => {
            let implicit = f.funcformat() == CoercionForm::COERCE_IMPLICIT_CAST;
            implicit && f.args().len() == 3 && f.args().at(2).equals(query::boolean(false))
        }
        Kind::FieldStore(_) => true,
        _ => false,
    }
}

/// Whether a node assigns to more than one element or field of a column, of which the text of an
/// UPDATE or INSERT would show one.
pub fn is_manifold_assignment(n: Node) -> bool {
    let assigns = |x: Node| match x.kind() {
        Kind::SubscriptingRef(s) => s.refassgnexpr().is_some(),
        Kind::FieldStore(_) => true,
        _ => false,
    };
    match n.kind() {
        Kind::SubscriptingRef(s) if s.refassgnexpr().is_some() => s.refexpr().contains(assigns),
        Kind::FieldStore(f) => f.newvals().len() > 1 || f.arg().contains(assigns),
        _ => false,
    }
}

/// Whether a node itself (not what is below it) calls a volatile function.
pub fn is_volatile(n: Node) -> bool {
    !matches!(n.kind(), Kind::Query(_)) && own(n).volatile
}

/// Whether a value is a row of a view, whose type no other node has.
pub fn is_row_of_view(n: Node) -> bool {
    matches!(n.tag(), NodeTag::T_Const | NodeTag::T_Param) && lookup::is_type_of_view(n.typ())
}

/// Whether a constant names an object of this node (regclass and its kind).
fn is_object_name(k: Const) -> bool {
    !k.constisnull() && is_reg_type(k.consttype())
}

fn is_reg_type(t: Oid) -> bool {
    matches!(u32::from(t), 24 | 2202 | 2203 | 2204 | 2205 | 2206 | 3734 | 3769 | 4089 | 4096 | 4191)
}

/// Whether values of the type mean the same on all nodes under the type's own OID.
pub fn is_plain_type(t: Oid) -> bool {
    u32::from(t) < pg_sys::FirstUnpinnedObjectId
        && lookup::type_kind(t) != b'p'
        && !is_node_local_type(t)
}
