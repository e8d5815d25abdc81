//! New nodes.

use super::*;
use crate::pg::fmgr::text_datum;
use crate::pg::{guard, nodes};
use pgrx::pg_sys::{self, BoolExprType, CmdType, CoercionForm, Datum, Oid, RTEKind};

/// Wraps what a function of PostgreSQL that never returns null made.
///
/// # Safety
/// The pointer must be to a new node of the type.
unsafe fn made<T>(p: *mut T) -> Ref<T> {
    // SAFETY: the caller's promise.
    unsafe { Ref(std::ptr::NonNull::new_unchecked(p)) }
}

/// A variable of the query's own level.
pub fn var(varno: i32, attno: i16, typ: Oid, typmod: i32, collation: Oid) -> Var {
    // SAFETY: allocates a node.
    unsafe { made(pg_sys::makeVar(varno, attno, typ, typmod, collation, 0)) }
}

/// A variable for column `n` (one-based) of an entry, typed as an expression.
pub fn var_like(varno: i32, n: i16, e: Node) -> Node {
    var(varno, n, e.typ(), e.typmod(), e.collation()).node()
}

/// The same column of entry `varno`, written as the entry's own: what the statement called it may
/// have been a column of a join, which is not there any more.
pub fn renumbered_var(v: Var, varno: i32) -> Var {
    let c = v.copy();
    c.set_varno(varno);
    c.set_varnosyn(varno as u32);
    c.set_varattnosyn(v.varattno());
    c
}

/// An output column.
pub fn target_entry(e: Node, resno: i16, name: Text) -> TargetEntry {
    // SAFETY: allocates a node.
    unsafe { made(pg_sys::makeTargetEntry(e.as_ptr().cast(), resno, name.as_ptr(), false)) }
}

/// A FROM clause.
pub fn from_expr(items: List<Node>, quals: Node) -> FromExpr {
    // SAFETY: allocates a node.
    unsafe { made(pg_sys::makeFromExpr(items.as_ptr(), quals.as_ptr())) }
}

/// A FROM clause of one range table entry.
pub fn from_entry(rti: i32, quals: Node) -> FromExpr {
    from_expr([range_ref(rti)].into_iter().collect(), quals)
}

/// A reference to range table entry `rti`.
pub fn range_ref(rti: i32) -> Node {
    let r = RangeTblRef::new();
    r.set_rtindex(rti);
    r.node()
}

/// A name for a FROM item and its columns.
pub fn alias(name: &str, columns: List<Node>) -> Alias {
    let a = Alias::new();
    a.set_aliasname(Text::new(name));
    a.set_colnames(columns);
    a
}

/// A range table entry of a kind that stands in FROM.
pub fn from_item(kind: RTEKind::Type) -> RangeTblEntry {
    let rte = RangeTblEntry::new();
    rte.set_rtekind(kind);
    rte.set_in_from_cl(true);
    rte
}

/// A SELECT with nothing in it.
pub fn select() -> Query {
    let q = Query::new();
    q.set_command_type(CmdType::CMD_SELECT);
    q.set_can_set_tag(true);
    q
}

/// A function call.
pub fn call(function: Oid, result: Oid, args: List<Node>, form: CoercionForm::Type) -> FuncExpr {
    let none = Oid::INVALID;
    // SAFETY: allocates a node.
    unsafe { made(pg_sys::makeFuncExpr(function, result, args.as_ptr(), none, none, form)) }
}

/// `NULLIF(a, b)` by an operator.
pub fn null_if(operator: Oid, function: Oid, result: Oid, args: List<Node>) -> Node {
    // SAFETY: NULLIF has the fields of an operator's call.
    let e: OpExpr = unsafe { made(nodes::make(pg_sys::NodeTag::T_NullIfExpr)) };
    e.set_opno(operator);
    e.set_opfuncid(function);
    e.set_opresulttype(result);
    e.set_args(args);
    e.set_location(-1);
    e.node()
}

/// `DEFAULT` as the new value of a column.
pub fn set_to_default(typ: Oid) -> Node {
    // SAFETY: a new node of the type.
    unsafe {
        let d: *mut pg_sys::SetToDefault = nodes::make(pg_sys::NodeTag::T_SetToDefault);
        (*d).typeId = typ;
        (*d).typeMod = -1;
        (*d).location = -1;
        Node(d.cast())
    }
}

/// A call of an operator.
pub fn operator(operator: Oid, result: Oid, args: List<Node>) -> Node {
    let e = OpExpr::new();
    e.set_opno(operator);
    e.set_opresulttype(result);
    e.set_args(args);
    e.set_location(-1);
    e.set_function();
    e.node()
}

/// All of the conditions; no node when there are none.
pub fn and(quals: &[Node]) -> Node {
    match quals {
        [] => Node::NONE,
        [one] => *one,
        many => {
            let args: List<Node> = many.iter().copied().collect();
            // SAFETY: allocates a node.
            unsafe { Node(pg_sys::makeBoolExpr(BoolExprType::AND_EXPR, args.as_ptr(), -1).cast()) }
        }
    }
}

/// All of the conditions; `true` when there are none.
pub fn and_or_true(quals: &[Node]) -> Node {
    if quals.is_empty() {
        boolean(true)
    } else {
        and(quals)
    }
}

fn by_value(typ: Oid, len: i32, value: Datum) -> Node {
    // SAFETY: the callers below give the type's own length and a value of the type.
    unsafe { Node(pg_sys::makeConst(typ, -1, Oid::INVALID, len, value, false, true).cast()) }
}

/// At least one of the conditions.
pub fn or(conditions: &[Node]) -> Node {
    let args: List<Node> = conditions.iter().copied().collect();
    // SAFETY: allocates a node.
    unsafe { Node(pg_sys::makeBoolExpr(BoolExprType::OR_EXPR, args.as_ptr(), -1).cast()) }
}

/// The opposite of a condition.
pub fn not(condition: Node) -> Node {
    let args = List::from([condition]);
    // SAFETY: allocates a node.
    unsafe { Node(pg_sys::makeBoolExpr(BoolExprType::NOT_EXPR, args.as_ptr(), -1).cast()) }
}

/// A boolean constant.
pub fn boolean(b: bool) -> Node {
    // SAFETY: allocates a node.
    unsafe { Node(pg_sys::makeBoolConst(b, false)) }
}

/// An integer constant.
pub fn int4(n: i32) -> Node {
    by_value(pg_sys::INT4OID, 4, Datum::from(n as i64 as usize))
}

/// A bigint constant.
pub fn int8(n: i64) -> Node {
    by_value(pg_sys::INT8OID, 8, Datum::from(n))
}

/// An OID constant.
pub fn oid(o: Oid) -> Node {
    by_value(pg_sys::OIDOID, 4, Datum::from(o))
}

/// A text constant.
pub fn text(s: &str) -> Node {
    let (typ, collation) = (pg_sys::TEXTOID, pg_sys::DEFAULT_COLLATION_OID);
    let value = text_datum(s);
    // SAFETY: a value of the type.
    unsafe { Node(pg_sys::makeConst(typ, -1, collation, -1, value, false, false).cast()) }
}

/// NULL of a type.
pub fn null(typ: Oid, typmod: i32, collation: Oid) -> Node {
    // SAFETY: the type is looked up.
    unsafe { Node(pg_sys::makeNullConst(typ, typmod, collation).cast()) }
}

/// Bytes as a constant, which PostgreSQL can copy with a plan.
pub fn bytes(bytes: &[u8]) -> Node {
    let size = bytes.len() + pg_sys::VARHDRSZ;
    // SAFETY: the allocation has room for the header and the bytes.
    unsafe {
        let v = pg_sys::palloc(size).cast::<u8>();
        v.cast::<u32>().write((size as u32) << 2);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), v.add(pg_sys::VARHDRSZ), bytes.len());
        let (typ, value) = (pg_sys::BYTEAOID, Datum::from(v as usize));
        Node(pg_sys::makeConst(typ, -1, Oid::INVALID, -1, value, false, false).cast())
    }
}

/// Reads element `i` of a list that [`bytes`] made.
pub fn read_bytes<R>(list: List<Node>, i: usize, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let c: Const = list.at(i).cast()?;
    if c.consttype() != pg_sys::BYTEAOID || c.constisnull() {
        return None;
    }
    // SAFETY: a value of the type, and nothing writes to values.
    unsafe {
        let stored = (*c.as_ptr()).constvalue.cast_mut_ptr();
        let v = pg_sys::pg_detoast_datum(stored).cast::<u8>();
        let size = (v.cast::<u32>().read() >> 2) as usize;
        let body = v.add(pg_sys::VARHDRSZ);
        Some(read(std::slice::from_raw_parts(body, size.checked_sub(pg_sys::VARHDRSZ)?)))
    }
}

/// A node from its stored form, as catalogs have it.
pub fn parse(stored: &str) -> Option<Node> {
    let text = std::ffi::CString::new(stored).ok()?;
    // SAFETY: a zero-terminated string; what is no node raises an error.
    unsafe { Some(Node(guard::call(|| pg_sys::stringToNode(text.as_ptr())).cast())) }
}

/// A name as a node.
pub fn string(s: &str) -> Node {
    // SAFETY: allocates a node.
    unsafe { Node(nodes::string_node(s)) }
}
