//! How aggregates are computed in parts.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use crate::pg::nodes;
use pgrx::pg_sys::{self, Aggref, List, Node, NodeTag, Oid, TargetEntry};

/// OID of the operator `bigint = bigint` (pg_operator.dat).
const INT8_EQUAL: u32 = 410;

/// Builds an expression for an aggregate from its partial results.
pub type Combine = dyn Fn(*mut Aggref, &[*mut Node]) -> *mut Node;

/// An aggregate split into partial results per shard group and what combines them.
pub struct Partial {
    /// Expressions that each shard group computes.
    pub columns: Vec<*mut Node>,
    /// Builds the combining expression over the partial results.
    pub combine: Box<Combine>,
}

/// Splits an aggregate, if it can be. `keys` are the expressions that equal the distribution key:
/// distinct values of the key are on one shard.
pub unsafe fn split(agg: *mut Aggref, keys: &[*mut Node]) -> Option<Partial> {
    if (*agg).agglevelsup != 0
        || (*agg).aggkind as u8 != b'n'
        || u32::from((*agg).aggfnoid) >= pg_sys::FirstNormalObjectId
        || !super::pushdown::expression_ships((*agg).args as *mut Node)
        || !super::pushdown::expression_ships((*agg).aggfilter as *mut Node)
    {
        return None;
    }
    let name = nodes::str_of(pg_sys::get_func_name((*agg).aggfnoid));
    let arg: *mut TargetEntry = nodes::nth((*agg).args, 0);
    let distinct = !(*agg).aggdistinct.is_null();
    let idempotent = matches!(
        name.as_str(),
        "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or"
    );
    if distinct && !idempotent {
        let e = nodes::strip_relabel((*arg).expr as *mut Node);
        let local = name == "count" && keys.iter().any(|k| nodes::equal(*k, e));
        if !local {
            return None;
        }
    }
    if !(*agg).aggorder.is_null() && !idempotent {
        return None;
    }
    match name.as_str() {
        "count" => Some(one(agg, |a, v| call_agg("pg_catalog", "citus_sum_counts", a, v))),
        _ if idempotent => Some(one(agg, same)),
        "bit_xor" => Some(one(agg, same)),
        "sum" => Some(one(agg, combine_sum)),
        "avg" => avg(agg, arg),
        _ => partial_state(agg, &name),
    }
}

unsafe fn one(agg: *mut Aggref, f: unsafe fn(*mut Aggref, *mut Node) -> *mut Node) -> Partial {
    Partial {
        columns: vec![agg as *mut Node],
        // SAFETY: called with the aggregate and variables of its planning.
        combine: Box::new(move |a, v| unsafe { f(a, v[0]) }),
    }
}

/// The same aggregate over its own results.
unsafe fn same(agg: *mut Aggref, v: *mut Node) -> *mut Node {
    let a: *mut Aggref = nodes::copy(agg);
    (*a).aggdistinct = std::ptr::null_mut();
    (*a).aggorder = std::ptr::null_mut();
    (*a).aggfilter = std::ptr::null_mut();
    (*a).args = arguments(&[v]);
    (*a).aggargtypes = oids(&[v]);
    a as *mut Node
}

unsafe fn arguments(vars: &[*mut Node]) -> *mut List {
    nodes::list(vars.iter().enumerate().map(|(i, v)| {
        pg_sys::makeTargetEntry(*v as *mut pg_sys::Expr, i as i16 + 1, std::ptr::null_mut(), false)
    }))
}

unsafe fn oids(vars: &[*mut Node]) -> *mut List {
    nodes::oid_list(vars.iter().map(|v| pg_sys::exprType(*v)))
}

/// Looks up a function by schema, name and argument types.
unsafe fn lookup(schema: &str, name: &str, types: &[Oid]) -> Oid {
    let names = nodes::list([nodes::string_node(schema), nodes::string_node(name)]);
    pg_sys::LookupFuncName(names, types.len() as i32, types.as_ptr(), false)
}

/// A plain aggregate call over partial results.
unsafe fn agg_call(f: Oid, result: Oid, like: *mut Aggref, vars: &[*mut Node]) -> *mut Node {
    let a: *mut Aggref = nodes::make(NodeTag::T_Aggref);
    (*a).aggfnoid = f;
    (*a).aggtype = result;
    (*a).aggcollid =
        if pg_sys::type_is_collatable(result) { (*like).aggcollid } else { Oid::INVALID };
    (*a).inputcollid = (*like).inputcollid;
    (*a).aggargtypes = oids(vars);
    (*a).args = arguments(vars);
    (*a).aggkind = b'n' as std::ffi::c_char;
    (*a).aggsplit = pg_sys::AggSplit::AGGSPLIT_SIMPLE;
    (*a).aggno = -1;
    (*a).aggtransno = -1;
    (*a).location = -1;
    a as *mut Node
}

unsafe fn call_agg(schema: &str, name: &str, like: *mut Aggref, v: *mut Node) -> *mut Node {
    let f = lookup(schema, name, &[pg_sys::exprType(v)]);
    agg_call(f, pg_sys::get_func_rettype(f), like, &[v])
}

/// Sums of sums: of bigint stay bigint when the whole is bigint.
unsafe fn combine_sum(agg: *mut Aggref, v: *mut Node) -> *mut Node {
    if (*agg).aggtype == pg_sys::INT8OID {
        return call_agg("pg_catalog", "citus_sum_int8", agg, v);
    }
    call_agg("pg_catalog", "sum", agg, v)
}

/// Average: sum and count, divided as PostgreSQL divides them at the end.
unsafe fn avg(agg: *mut Aggref, arg: *mut TargetEntry) -> Option<Partial> {
    let typ = pg_sys::exprType((*arg).expr as *mut Node);
    let (sum_arg, divide): (*mut Node, u32) = match u32::from(typ) {
        20 | 21 | 23 | 1700 => ((*arg).expr as *mut Node, pg_sys::F_NUMERIC_DIV),
        701 => ((*arg).expr as *mut Node, pg_sys::F_FLOAT8DIV),
        700 => (
            convert((*arg).expr as *mut Node, pg_sys::F_FLOAT8_FLOAT4, pg_sys::FLOAT8OID),
            pg_sys::F_FLOAT8DIV,
        ),
        1186 => ((*arg).expr as *mut Node, pg_sys::F_INTERVAL_DIV),
        _ => return None,
    };
    let sum = aggregate_over(agg, "sum", sum_arg);
    let count = aggregate_over(agg, "count", (*arg).expr as *mut Node);
    Some(Partial {
        columns: vec![sum, count],
        // SAFETY: as in `one`.
        combine: Box::new(move |a, v| unsafe { divided(a, v[0], v[1], divide) }),
    })
}

unsafe fn convert(e: *mut Node, f: u32, result: Oid) -> *mut Node {
    pg_sys::makeFuncExpr(
        Oid::from(f),
        result,
        nodes::list([e]),
        Oid::INVALID,
        Oid::INVALID,
        pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
    ) as *mut Node
}

/// A built-in aggregate of one argument with the filter of another.
unsafe fn aggregate_over(like: *mut Aggref, name: &str, e: *mut Node) -> *mut Node {
    let typ = if name == "count" { pg_sys::ANYOID } else { pg_sys::exprType(e) };
    let f = lookup("pg_catalog", name, &[typ]);
    let a = agg_call(f, pg_sys::get_func_rettype(f), like, &[e]) as *mut Aggref;
    (*a).aggfilter = nodes::copy((*like).aggfilter);
    a as *mut Node
}

/// `sum(sums) / NULLIF(sum(counts), 0)` in the type of the average.
unsafe fn divided(agg: *mut Aggref, sum: *mut Node, count: *mut Node, divide: u32) -> *mut Node {
    let sum_type = pg_sys::exprType(sum);
    let total = call_agg("pg_catalog", "sum", agg, sum);
    let n = call_agg("pg_catalog", "citus_sum_counts", agg, count);
    let zero = pg_sys::makeConst(
        pg_sys::INT8OID,
        -1,
        Oid::INVALID,
        8,
        pg_sys::Datum::from(0i64),
        false,
        true,
    ) as *mut Node;
    let null_if: *mut pg_sys::NullIfExpr = nodes::make(NodeTag::T_NullIfExpr);
    (*null_if).opno = Oid::from(INT8_EQUAL);
    (*null_if).opfuncid = Oid::from(pg_sys::F_INT8EQ);
    (*null_if).opresulttype = pg_sys::INT8OID;
    (*null_if).args = nodes::list([n, zero]);
    (*null_if).location = -1;
    let n = null_if as *mut Node;
    let (n, total) = if divide == pg_sys::F_NUMERIC_DIV {
        let total = if sum_type == pg_sys::INT8OID || sum_type == pg_sys::NUMERICOID {
            total
        } else {
            convert(total, pg_sys::F_NUMERIC_INT8, pg_sys::NUMERICOID)
        };
        (convert(n, pg_sys::F_NUMERIC_INT8, pg_sys::NUMERICOID), total)
    } else {
        (convert(n, pg_sys::F_FLOAT8_INT8, pg_sys::FLOAT8OID), total)
    };
    pg_sys::makeFuncExpr(
        Oid::from(divide),
        (*agg).aggtype,
        nodes::list([total, n]),
        Oid::INVALID,
        Oid::INVALID,
        pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
    ) as *mut Node
}

/// Aggregates whose states PostgreSQL itself can serialize and combine.
unsafe fn partial_state(agg: *mut Aggref, name: &str) -> Option<Partial> {
    let known = matches!(
        name,
        "stddev"
            | "stddev_samp"
            | "stddev_pop"
            | "variance"
            | "var_samp"
            | "var_pop"
            | "corr"
            | "covar_pop"
            | "covar_samp"
            | "regr_avgx"
            | "regr_avgy"
            | "regr_count"
            | "regr_intercept"
            | "regr_r2"
            | "regr_slope"
            | "regr_sxx"
            | "regr_sxy"
            | "regr_syy"
    );
    if !known {
        return None;
    }
    let f = crate::planner::source::internal_function("citus_partial_state").ok()?;
    let id = pg_sys::makeConst(
        pg_sys::OIDOID,
        -1,
        Oid::INVALID,
        4,
        pg_sys::Datum::from((*agg).aggfnoid),
        false,
        true,
    ) as *mut Node;
    let mut args = vec![id];
    args.extend(nodes::iter::<TargetEntry>((*agg).args).map(|t| (*t).expr as *mut Node));
    let part = agg_call(f, pg_sys::BYTEAOID, agg, &args) as *mut Aggref;
    (*part).aggvariadic = false;
    (*part).aggfilter = nodes::copy((*agg).aggfilter);
    Some(Partial {
        columns: vec![part as *mut Node],
        // SAFETY: as in `one`.
        combine: Box::new(move |a, v| unsafe { combine_state(a, v[0]) }),
    })
}

unsafe fn combine_state(agg: *mut Aggref, v: *mut Node) -> *mut Node {
    let f = match crate::planner::source::internal_function("citus_combine_state") {
        Ok(f) => f,
        Err(e) => e.raise(),
    };
    let id = pg_sys::makeConst(
        pg_sys::OIDOID,
        -1,
        Oid::INVALID,
        4,
        pg_sys::Datum::from((*agg).aggfnoid),
        false,
        true,
    ) as *mut Node;
    let shape = pg_sys::makeNullConst((*agg).aggtype, -1, (*agg).aggcollid) as *mut Node;
    agg_call(f, (*agg).aggtype, agg, &[id, v, shape])
}
