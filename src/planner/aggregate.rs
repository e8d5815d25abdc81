//! How aggregates are computed in parts.

use crate::pg::lookup;
use crate::pg::query::{self, Aggref, List, Node, TargetEntry, Text};
use pgrx::pg_sys::{self, CoercionForm, Oid};

/// OID of the operator `bigint = bigint` (pg_operator.dat).
const INT8_EQUAL: u32 = 410;

/// Builds an expression for an aggregate from its partial results.
pub type Combine = dyn Fn(Aggref, &[Node]) -> Node;

/// An aggregate split into partial results per shard group and what combines them.
pub struct Partial {
    /// Expressions that each shard group computes.
    pub columns: Vec<Node>,
    /// Builds the combining expression over the partial results.
    pub combine: Box<Combine>,
}

/// Splits an aggregate, if it can be. `keys` are the expressions that equal the distribution key:
/// distinct values of the key are on one shard.
pub fn split(agg: Aggref, keys: &[Node]) -> Option<Partial> {
    if agg.agglevelsup() != 0
        || agg.aggkind() != b'n'
        || u32::from(agg.aggfnoid()) >= pg_sys::FirstNormalObjectId
        || !super::pushdown::expression_ships(agg.args().node())
        || !super::pushdown::expression_ships(agg.aggfilter())
    {
        return None;
    }
    let name = lookup::function_name(agg.aggfnoid());
    let arg = agg.args().get(0);
    let distinct = !agg.aggdistinct().is_empty();
    let idempotent = matches!(
        name.as_str(),
        "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or"
    );
    if distinct && !idempotent {
        let e = arg?.expr().strip_alike();
        let local = name == "count" && keys.iter().any(|k| k.equals(e));
        if !local {
            return None;
        }
    }
    if !agg.aggorder().is_empty() && !idempotent {
        return None;
    }
    match name.as_str() {
        "count" => Some(one(agg, |a, v| call_agg("citus_sum_counts", a, v))),
        _ if idempotent => Some(one(agg, same)),
        "bit_xor" => Some(one(agg, same)),
        "sum" => Some(one(agg, combine_sum)),
        "avg" => avg(agg, arg?.expr()),
        _ => partial_state(agg, &name),
    }
}

fn one(agg: Aggref, f: fn(Aggref, Node) -> Node) -> Partial {
    Partial { columns: vec![agg.node()], combine: Box::new(move |a, v| f(a, v[0])) }
}

/// The same aggregate over its own results.
fn same(agg: Aggref, v: Node) -> Node {
    let a = agg.copy();
    a.set_aggdistinct(List::EMPTY);
    a.set_aggorder(List::EMPTY);
    a.set_aggfilter(Node::NONE);
    a.set_args(arguments(&[v]));
    a.set_aggargtypes(oids(&[v]));
    a.node()
}

fn arguments(vars: &[Node]) -> List<TargetEntry> {
    let argument = |(i, v): (usize, &Node)| query::target_entry(*v, i as i16 + 1, Text::NONE);
    vars.iter().enumerate().map(argument).collect()
}

fn oids(vars: &[Node]) -> List<Oid> {
    vars.iter().map(|v| v.typ()).collect()
}

/// A plain aggregate call over partial results.
fn agg_call(f: Oid, result: Oid, like: Aggref, vars: &[Node]) -> Aggref {
    let a = Aggref::new();
    a.set_aggfnoid(f);
    a.set_aggtype(result);
    let collated = lookup::is_collatable(result);
    a.set_aggcollid(if collated { like.aggcollid() } else { Oid::INVALID });
    a.set_inputcollid(like.inputcollid());
    a.set_aggargtypes(oids(vars));
    a.set_args(arguments(vars));
    a.set_aggkind(b'n');
    a.set_aggsplit(pg_sys::AggSplit::AGGSPLIT_SIMPLE);
    a.set_aggno(-1);
    a.set_aggtransno(-1);
    a.set_location(-1);
    a
}

fn call_agg(name: &str, like: Aggref, v: Node) -> Node {
    let f = lookup::function_with(name, &[v.typ()]);
    agg_call(f, lookup::result_type(f), like, &[v]).node()
}

/// Sums of sums: of bigint stay bigint when the whole is bigint.
fn combine_sum(agg: Aggref, v: Node) -> Node {
    if agg.aggtype() == pg_sys::INT8OID {
        return call_agg("citus_sum_int8", agg, v);
    }
    call_agg("sum", agg, v)
}

/// Average: sum and count, divided as PostgreSQL divides them at the end.
fn avg(agg: Aggref, arg: Node) -> Option<Partial> {
    let typ = arg.typ();
    let (sum_arg, divide): (Node, u32) = match u32::from(typ) {
        20 | 21 | 23 | 1700 => (arg, pg_sys::F_NUMERIC_DIV),
        701 => (arg, pg_sys::F_FLOAT8DIV),
        700 => (convert(arg, pg_sys::F_FLOAT8_FLOAT4, pg_sys::FLOAT8OID), pg_sys::F_FLOAT8DIV),
        1186 => (arg, pg_sys::F_INTERVAL_DIV),
        _ => return None,
    };
    let sum = aggregate_over(agg, "sum", sum_arg);
    let count = aggregate_over(agg, "count", arg);
    Some(Partial {
        columns: vec![sum, count],
        combine: Box::new(move |a, v| divided(a, v[0], v[1], divide)),
    })
}

fn convert(e: Node, f: u32, result: Oid) -> Node {
    let form = CoercionForm::COERCE_EXPLICIT_CAST;
    query::call(Oid::from(f), result, List::from([e]), form).node()
}

/// A built-in aggregate of one argument with the filter of another.
fn aggregate_over(like: Aggref, name: &str, e: Node) -> Node {
    let typ = if name == "count" { pg_sys::ANYOID } else { e.typ() };
    let f = lookup::function_with(name, &[typ]);
    let a = agg_call(f, lookup::result_type(f), like, &[e]);
    a.set_aggfilter(like.aggfilter().copy());
    a.node()
}

/// `sum(sums) / NULLIF(sum(counts), 0)` in the type of the average.
fn divided(agg: Aggref, sum: Node, count: Node, divide: u32) -> Node {
    let sum_type = sum.typ();
    let total = call_agg("sum", agg, sum);
    let n = call_agg("citus_sum_counts", agg, count);
    let (equal, function) = (Oid::from(INT8_EQUAL), Oid::from(pg_sys::F_INT8EQ));
    let args = List::from([n, query::int8(0)]);
    let n = query::null_if(equal, function, pg_sys::INT8OID, args);
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
    let form = CoercionForm::COERCE_EXPLICIT_CALL;
    query::call(Oid::from(divide), agg.aggtype(), List::from([total, n]), form).node()
}

/// Aggregates whose states PostgreSQL itself can serialize and combine.
fn partial_state(agg: Aggref, name: &str) -> Option<Partial> {
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
    let id = query::oid(agg.aggfnoid());
    let mut args = vec![id];
    args.extend(agg.args().iter().map(|t| t.expr()));
    let part = agg_call(f, pg_sys::BYTEAOID, agg, &args);
    part.set_aggvariadic(false);
    part.set_aggfilter(agg.aggfilter().copy());
    Some(Partial {
        columns: vec![part.node()],
        combine: Box::new(move |a, v| combine_state(a, v[0])),
    })
}

fn combine_state(agg: Aggref, v: Node) -> Node {
    let f = match crate::planner::source::internal_function("citus_combine_state") {
        Ok(f) => f,
        Err(e) => e.raise(),
    };
    let id = query::oid(agg.aggfnoid());
    let shape = query::null(agg.aggtype(), -1, agg.aggcollid());
    agg_call(f, agg.aggtype(), agg, &[id, v, shape]).node()
}
