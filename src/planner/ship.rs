//! What may be evaluated on another node with the same answer.

use super::{extension, presence};
use crate::pg::lookup;
use crate::pg::query::{self, CoerceViaIO, Const, FuncExpr, Kind, Node, RowExpr, Visit};
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

/// Whether a cast makes, or is made of, what only this node knows. The functions for text that it calls
/// get the OID of the type, which is the node's own.
fn casts_local_state(c: CoerceViaIO) -> bool {
    [c.resulttype(), c.arg().typ()]
        .into_iter()
        .any(|t| is_node_local_type(t) || lookup::element_type(t).is_some_and(is_node_local_type))
}

/// Whether an operator has the same meaning on all nodes, like its function.
fn is_everywhere(operator: Oid) -> bool {
    is_builtin(operator) || extension::is_everywhere(pg_sys::OperatorRelationId, operator)
}

/// What the functions and the operator of a node add to an expression.
fn look_at_calls(n: Node, c: &mut Class) {
    let cast = n.cast::<CoerceViaIO>();
    c.local_only |= cast.is_some_and(casts_local_state);
    n.functions(&mut |f| look(f, cast.is_none(), c));
    c.local_only |= n.operator().is_some_and(|o| !is_everywhere(o));
    c.local_only |= n.cast::<FuncExpr>().is_some_and(lacks_variadic);
}

/// Whether the last argument of a call is the array that its function has for a default: the text would
/// not say VARIADIC, and mean an element.
fn lacks_variadic(f: FuncExpr) -> bool {
    !is_builtin(f.funcid()) && !f.funcvariadic() && lookup::is_variadic(f.funcid())
}

/// What a call of a function adds to an expression; its arguments tell what it reads, or not.
fn look(f: Oid, by_arguments: bool, c: &mut Class) {
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
    let immutable = volatility == pg_sys::PROVOLATILE_IMMUTABLE;
    if !(is_builtin(f)
        || (immutable && presence::has_function(f))
        || extension::is_everywhere(pg_sys::ProcedureRelationId, f))
        || (by_arguments && volatility == pg_sys::PROVOLATILE_STABLE && reads_local_state(f))
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
        look_at_calls(n, &mut c);
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
        _ => look_at_calls(n, &mut c),
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

/// Whether the text of an expression (not of what is below it) names what some node does not have: a
/// type, a collation, or the object that a constant stands for.
pub fn is_unknown_there(n: Node) -> bool {
    match n.kind() {
        Kind::CollateExpr(c) => !presence::has_collation(c.coll_oid()),
        Kind::Const(c) => {
            let named = || is_object_name(c) && !presence::has_named(c.consttype(), object_of(c));
            named() || !presence::has_type(c.consttype()) || !presence::has_collation(n.collation())
        }
        // Made of a row, and not written as a cast.
        Kind::RowExpr(r) if r.row_format() != CoercionForm::COERCE_EXPLICIT_CAST => false,
        // Casts, and values that become parameters, are written with their types and collations.
        _ if says_type(n.tag()) => {
            !presence::has_type(n.typ()) || !presence::has_collation(n.collation())
        }
        _ => false,
    }
}

/// A value that another node could not, or should not, compute itself.
pub fn becomes_parameter(n: Node) -> bool {
    let c = classify(n);
    c.is_value() && (c.param || c.mutable || c.local_only)
}

/// Nodes that have a value of their own (constants excepted, they stay as they are).
pub fn is_expression(t: NodeTag) -> bool {
    use NodeTag::*;
    matches!(
        t,
        T_Param
            | T_SubscriptingRef
            | T_FuncExpr
            | T_OpExpr
            | T_DistinctExpr
            | T_NullIfExpr
            | T_ScalarArrayOpExpr
            | T_BoolExpr
            | T_FieldSelect
            | T_RelabelType
            | T_CoerceViaIO
            | T_ArrayCoerceExpr
            | T_CollateExpr
            | T_CaseExpr
            | T_ArrayExpr
            | T_CoalesceExpr
            | T_MinMaxExpr
            | T_SQLValueFunction
            | T_NullTest
            | T_BooleanTest
            | T_CoerceToDomain
            | T_NextValueExpr
    )
}

fn says_type(tag: NodeTag) -> bool {
    let rows = [NodeTag::T_RowExpr, NodeTag::T_ConvertRowtypeExpr];
    is_expression(tag) || rows.contains(&tag)
}

/// Whether the other nodes have a type.
pub fn type_is_there(typ: Oid) -> bool {
    presence::has_type(typ)
}

/// Whether a constant names an object of this node (regclass and its kind).
fn is_object_name(k: Const) -> bool {
    !k.constisnull() && is_reg_type(k.consttype())
}

fn object_of(k: Const) -> Oid {
    k.value().map_or(Oid::INVALID, |v| Oid::from(v.datum().value() as u32))
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
