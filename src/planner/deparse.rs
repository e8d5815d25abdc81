//! From a query tree to a template: PostgreSQL deparses, we only mark the places of shard names.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::ship;
use super::values::Values;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::transmit::transmit;
use crate::pg::{guard, nodes};
use crate::plan::{ParamSpec, Piece, Template};
use pgrx::pg_sys::{self, Node, NodeTag, Oid, Query, RTEKind, RangeTblEntry};
use std::cell::Cell;

extern "C-unwind" {
    fn pg_get_querydef(query: *mut Query, pretty: bool) -> *mut std::ffi::c_char;
}

/// A deparsed statement.
pub struct Deparsed {
    /// The text with slots.
    pub template: Template,
    /// Tables of the slots.
    pub tables: Vec<u32>,
    /// Types of the parameters.
    pub params: Vec<ParamSpec>,
}

/// Deparses a query (which is modified) whose distributed and reference tables become slots and
/// whose outside values become parameters, numbered as in `values`.
pub unsafe fn deparse(q: *mut Query, values: &mut Values) -> Result<Deparsed> {
    parametrize(q, values)?;
    let mut tables = Vec::new();
    let mut slots = Vec::new();
    mark_tables(q, &mut tables, &mut slots);
    let text = query_text(q)?;
    let template = cut(&text, &slots)?;
    let params = values.exprs().iter().map(|e| param_spec(pg_sys::exprType(*e))).collect();
    Ok(Deparsed { template, tables, params })
}

unsafe fn param_spec(typ: Oid) -> ParamSpec {
    let remote = if ship::is_plain_type(typ) { typ } else { pg_sys::TEXTOID };
    ParamSpec { typ: u32::from(typ), remote: u32::from(remote) }
}

/// Text of a query with every name qualified.
unsafe fn query_text(q: *mut Query) -> Result<String> {
    let mut path = pg_sys::OverrideSearchPath {
        schemas: std::ptr::null_mut(),
        addCatalog: true,
        addTemp: false,
        generation: 0,
    };
    // An error unwinds past the pop; the end of the (sub)transaction pops by itself.
    pg_sys::PushOverrideSearchPath(&mut path);
    let text = transmit(|| Ok(nodes::str_of(guard::call(|| pg_get_querydef(q, false)))))?;
    pg_sys::PopOverrideSearchPath();
    Ok(text)
}

/// Marker of one FROM item.
pub struct Slot {
    name: String,
    token: String,
    alias: String,
    piece: Piece,
}

thread_local! { static TOKENS: Cell<u64> = const { Cell::new(0) }; }

/// A word that occurs nowhere else in the statement.
pub fn token() -> String {
    let n = TOKENS.with(|t| {
        t.set(t.get().wrapping_add(1));
        t.get()
    });
    format!("citus_{:x}_{:x}_", n & 0xffff, std::process::id())
}

unsafe fn mark_tables(q: *mut Query, tables: &mut Vec<u32>, slots: &mut Vec<Slot>) {
    let mut entries: Vec<*mut RangeTblEntry> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    nodes::walk(q as *mut Node, &mut |n| {
        if nodes::tag(n) == NodeTag::T_RangeTblEntry {
            let rte = n as *mut RangeTblEntry;
            if !(*rte).eref.is_null() {
                names.push(nodes::str_of((*(*rte).eref).aliasname));
            }
            if (*rte).rtekind == RTEKind::RTE_RELATION {
                entries.push(rte);
            }
        }
        nodes::Visit::Descend
    });
    for rte in entries {
        if catalog::table((*rte).relid).is_none() || is_view_reference(rte) {
            continue;
        }
        let relid = u32::from((*rte).relid);
        let number = match tables.iter().position(|t| *t == relid) {
            Some(i) => i,
            None => {
                tables.push(relid);
                tables.len() - 1
            }
        };
        let token = token();
        // The name is read before it is replaced.
        let colnames =
            if (*rte).alias.is_null() { std::ptr::null_mut() } else { (*(*rte).alias).colnames };
        (*rte).alias = pg_sys::makeAlias(nodes::pstr(&token), colnames);
        // Inheritance was settled when the shards were made: a shard has no children of its own
        // that the shell's ONLY would not name, too.
        let alias = alias(rte, &mut names);
        let piece = Piece::Table(number as u32);
        slots.push(Slot { name: relation_name(rte), token, alias, piece });
    }
}

/// The name by which the statement calls a table: the user's where it is the only one of its
/// kind, so that the node's EXPLAIN and messages read as usual.
unsafe fn alias(rte: *mut RangeTblEntry, names: &mut Vec<String>) -> String {
    let own = nodes::str_of((*(*rte).eref).aliasname);
    let taken = |n: &str, names: &[String]| names.iter().filter(|x| *x == n).count();
    if taken(&own, names) <= 1 {
        return crate::pg::fmgr::quote_ident(&own);
    }
    let mut i = 1;
    loop {
        let name = format!("{own}_{i}");
        if taken(&name, names) == 0 {
            names.push(name.clone());
            return crate::pg::fmgr::quote_ident(&name);
        }
        i += 1;
    }
}

/// OLD and NEW entries that views leave in the range table, and EXCLUDED, are not FROM items.
unsafe fn is_view_reference(rte: *mut RangeTblEntry) -> bool {
    matches!((*rte).relkind as u8, b'v' | b'c')
}

unsafe fn relation_name(rte: *mut RangeTblEntry) -> String {
    let schema = nodes::str_of(pg_sys::get_namespace_name(pg_sys::get_rel_namespace((*rte).relid)));
    let name = nodes::str_of(pg_sys::get_rel_name((*rte).relid));
    crate::pg::fmgr::qualified(&schema, &name)
}

/// Cuts the text where each `schema.table token` stands, and gives the tokens, which stay as
/// aliases, readable names.
unsafe fn cut(text: &str, slots: &[Slot]) -> Result<Template> {
    let mut at: Vec<(usize, usize, Piece)> = Vec::new();
    for s in slots {
        // Entries that nothing refers to (the target of an INSERT taken as a query) are not printed.
        if !text.contains(&s.token) {
            continue;
        }
        let found = [" ", " AS "].iter().find_map(|sep| {
            let needle = format!("{}{sep}{}", s.name, s.token);
            text.find(&needle).map(|i| (i, i + s.name.len()))
        });
        match found {
            Some((from, to)) => at.push((from, to, s.piece.clone())),
            None => {
                return Err(Error::internal(format!(
                    "table {} not found in deparsed query",
                    s.name
                ))
                .detail(text.to_owned()))
            }
        }
    }
    at.sort_by_key(|x| x.0);
    let rename =
        |part: &str| slots.iter().fold(part.to_owned(), |t, s| t.replace(&s.token, &s.alias));
    let mut pieces = Vec::new();
    let mut from = 0;
    for (start, end, piece) in at {
        pieces.push(Piece::Text(rename(&text[from..start])));
        pieces.push(piece);
        from = end;
    }
    pieces.push(Piece::Text(rename(&text[from..])));
    Ok(Template { pieces })
}

/// Replaces everything that is known before the statement runs, and that another node could not
/// or should not compute itself, by parameters.
unsafe fn parametrize(q: *mut Query, values: &mut Values) -> Result<()> {
    let mut error = None;
    let mut change = |n: *mut Node| -> Option<*mut Node> {
        if error.is_some() {
            return Some(n);
        }
        match nodes::tag(n) {
            NodeTag::T_Query | NodeTag::T_List | NodeTag::T_TargetEntry => None,
            NodeTag::T_RangeTblFunction => {
                let f = nodes::copy(n as *mut pg_sys::RangeTblFunction);
                error = function_arguments((*f).funcexpr, values).err();
                Some(f as *mut Node)
            }
            t if !is_expression(t) => None,
            _ if is_ours(n) => Some(nodes::copy(n)),
            _ => {
                let c = ship::classify(n);
                if contains_ours(n) || !(c.is_value() && (c.param || c.mutable || c.local_only)) {
                    return None;
                }
                match parameter(n, values) {
                    Ok(p) => Some(p),
                    Err(e) => {
                        error = Some(e);
                        Some(n)
                    }
                }
            }
        }
    };
    nodes::mutate_query(q, 0, &mut change);
    match error {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Location that tells parameters made here from the user's.
const OURS: i32 = -1914;

unsafe fn is_ours(n: *mut Node) -> bool {
    nodes::cast::<pg_sys::Param>(n, NodeTag::T_Param).is_some_and(|p| (*p).location == OURS)
}

unsafe fn contains_ours(n: *mut Node) -> bool {
    nodes::walk(n, &mut |x| {
        if is_ours(x) {
            nodes::Visit::Stop
        } else {
            nodes::Visit::Descend
        }
    })
}

/// Nodes that have a value of their own (constants excepted, they stay as they are).
fn is_expression(t: NodeTag) -> bool {
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

/// In FROM the function itself has to stay; its arguments may be values.
unsafe fn function_arguments(f: *mut Node, values: &mut Values) -> Result<()> {
    let Some(f) = nodes::cast::<pg_sys::FuncExpr>(f, NodeTag::T_FuncExpr) else { return Ok(()) };
    for i in 0..nodes::len((*f).args) {
        let a: *mut Node = nodes::nth((*f).args, i);
        let c = ship::classify(a);
        if c.is_value() && (c.param || c.mutable || c.local_only) {
            let p = parameter(a, values)?;
            (*(*(*f).args).elements.add(i)).ptr_value = p as *mut _;
        }
    }
    Ok(())
}

/// The parameter that stands for a value.
pub unsafe fn parameter(value: *mut Node, values: &mut Values) -> Result<*mut Node> {
    let typ = pg_sys::exprType(value);
    if pg_sys::get_typtype(typ) as u8 == b'p' && typ != pg_sys::UNKNOWNOID {
        return Err(Error::unsupported(format!(
            "a value of type {} cannot be sent to another node",
            ship::type_name(typ)
        )));
    }
    let number = values.add(value) as i32 + 1;
    let p: *mut pg_sys::Param = nodes::make(NodeTag::T_Param);
    (*p).paramkind = pg_sys::ParamKind::PARAM_EXTERN;
    (*p).paramid = number;
    (*p).paramtype = typ;
    (*p).paramtypmod = pg_sys::exprTypmod(value);
    (*p).paramcollid = pg_sys::exprCollation(value);
    (*p).location = OURS;
    if ship::is_plain_type(typ) {
        return Ok(p as *mut Node);
    }
    (*p).paramtype = pg_sys::TEXTOID;
    (*p).paramtypmod = -1;
    (*p).paramcollid = pg_sys::DEFAULT_COLLATION_OID;
    let c: *mut pg_sys::CoerceViaIO = nodes::make(NodeTag::T_CoerceViaIO);
    (*c).arg = p as *mut pg_sys::Expr;
    (*c).resulttype = typ;
    (*c).resultcollid = pg_sys::exprCollation(value);
    (*c).coerceformat = pg_sys::CoercionForm::COERCE_EXPLICIT_CAST;
    (*c).location = -1;
    Ok(c as *mut Node)
}
