//! Correlated scalar aggregates as joins.
//!
//! `x > (SELECT f(agg(y)) FROM t WHERE t.a = outer.b AND ...)` would run the sub-query once per
//! outer row, each time over all shards. It is the same as a join with the sub-query grouped by
//! what it is correlated on: a group that is missing gives NULL there, and a strict comparison
//! with NULL is not true, which is what the inner join says by the missing row.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::analyze::is_hash_equality;
use super::whole;
use crate::pg::nodes::{self, Visit};
use pgrx::pg_sys::{
    self, CmdType, List, Node, NodeTag, Oid, OpExpr, Query, RTEKind, RangeTblEntry, SubLink,
    SubLinkType, TargetEntry,
};

/// Rewrites what can be rewritten in the WHERE clause of a query.
pub unsafe fn rewrite(q: *mut Query) {
    if !(*q).hasSubLinks || (*q).jointree.is_null() || (*q).commandType != CmdType::CMD_SELECT {
        return;
    }
    let quals = nodes::conjuncts((*(*q).jointree).quals);
    let mut changed = false;
    let mut out: Vec<*mut Node> = Vec::new();
    for c in quals {
        match comparison(c) {
            Some((op, i, link)) => match grouped(q, link) {
                Some((var, joins)) => {
                    let new = nodes::copy(op);
                    (*(*(*new).args).elements.add(i)).ptr_value = var as *mut _;
                    out.push(new as *mut Node);
                    out.extend(joins);
                    changed = true;
                }
                None => out.push(c),
            },
            None => out.push(c),
        }
    }
    if changed {
        (*(*q).jointree).quals = pg_sys::make_ands_explicit(nodes::list(out)) as *mut Node;
    }
}

/// A strict comparison with a scalar sub-query as one side: which side, and the sub-query.
unsafe fn comparison(c: *mut Node) -> Option<(*mut OpExpr, usize, *mut SubLink)> {
    let op = nodes::cast::<OpExpr>(c, NodeTag::T_OpExpr)?;
    pg_sys::set_opfuncid(op);
    if nodes::len((*op).args) != 2 || !pg_sys::func_strict((*op).opfuncid) {
        return None;
    }
    let side = |i: usize| {
        let n: *mut Node = nodes::nth((*op).args, i);
        nodes::cast::<SubLink>(n, NodeTag::T_SubLink)
            .filter(|s| (**s).subLinkType == SubLinkType::EXPR_SUBLINK)
    };
    let (i, link) = side(0).map(|s| (0, s)).or_else(|| side(1).map(|s| (1, s)))?;
    let other: *mut Node = nodes::nth((*op).args, 1 - i);
    (!has_sublink(other)).then_some((op, i, link))
}

unsafe fn has_sublink(n: *mut Node) -> bool {
    nodes::walk(n, &mut |x| {
        if nodes::tag(x) == NodeTag::T_SubLink {
            Visit::Stop
        } else {
            Visit::Descend
        }
    })
}

/// Levels that an expression's columns belong to: (own, directly outer, further out).
unsafe fn levels(n: *mut Node) -> (bool, bool, bool) {
    let found = |level| pg_sys::contain_vars_of_level(n, level);
    (found(0), found(1), (2..8).any(found))
}

/// Adds the sub-query, grouped, to the FROM list: its value as a column, and the join conditions.
unsafe fn grouped(q: *mut Query, link: *mut SubLink) -> Option<(*mut Node, Vec<*mut Node>)> {
    let s = nodes::copy((*link).subselect as *mut Query);
    let tle: *mut TargetEntry = nodes::nth((*s).targetList, 0);
    if !is_plain_aggregate(s)
        || nodes::len((*s).targetList) != 1
        || !null_on_empty((*tle).expr as *mut Node)
    {
        return None;
    }
    let (mut keep, mut pairs) = (Vec::new(), Vec::new());
    for c in nodes::conjuncts((*(*s).jointree).quals) {
        match levels(c) {
            (_, false, false) => keep.push(c),
            (_, _, true) => return None,
            _ => pairs.push(equality(c)?),
        }
    }
    if pairs.is_empty() || keep.iter().any(|k| has_sublink(*k) && levels(*k).1) {
        return None;
    }
    (*(*s).jointree).quals = pg_sys::make_ands_explicit(nodes::list(keep)) as *mut Node;
    if (1..8).any(|l| pg_sys::contain_vars_of_level(s as *mut Node, l)) {
        return None;
    }
    let mut joins = Vec::new();
    let rti = nodes::len((*q).rtable) as i32 + 1;
    for (i, (op, inner, outer)) in pairs.iter().enumerate() {
        let n = i as i16 + 2;
        let t = group_column(s, *inner, n)?;
        (*s).targetList = pg_sys::lappend((*s).targetList, t as *mut _);
        pg_sys::IncrementVarSublevelsUp(*outer, -1, 1);
        let new = nodes::copy(*op);
        let var = whole::var_like(rti, n, *inner) as *mut Node;
        (*new).args = if nodes::equal(nodes::nth::<Node>((**op).args, 0), *inner) {
            nodes::list([var, *outer])
        } else {
            nodes::list([*outer, var])
        };
        joins.push(new as *mut Node);
    }
    let value = whole::var_like(rti, 1, (*tle).expr as *mut Node) as *mut Node;
    add_entry(q, s, rti);
    Some((value, joins))
}

unsafe fn is_plain_aggregate(s: *mut Query) -> bool {
    (*s).commandType == CmdType::CMD_SELECT
        && (*s).hasAggs
        && (*s).groupClause.is_null()
        && (*s).groupingSets.is_null()
        && (*s).havingQual.is_null()
        && (*s).cteList.is_null()
        && (*s).setOperations.is_null()
        && (*s).limitCount.is_null()
        && (*s).limitOffset.is_null()
        && (*s).distinctClause.is_null()
        && (*s).windowClause.is_null()
        && !(*s).hasTargetSRFs
        && (*s).rowMarks.is_null()
}

/// Whether an expression over aggregates is NULL when there are no rows.
unsafe fn null_on_empty(n: *mut Node) -> bool {
    match nodes::tag(n) {
        NodeTag::T_Aggref => {
            let a = n as *mut pg_sys::Aggref;
            let name = nodes::str_of(pg_sys::get_func_name((*a).aggfnoid));
            (*a).agglevelsup == 0 && matches!(name.as_str(), "sum" | "avg" | "min" | "max")
        }
        NodeTag::T_OpExpr => {
            let op = n as *mut OpExpr;
            pg_sys::set_opfuncid(op);
            pg_sys::func_strict((*op).opfuncid)
                && nodes::iter::<Node>((*op).args).any(|a| null_on_empty(a))
                && !pg_sys::contain_volatile_functions(n)
        }
        NodeTag::T_FuncExpr => {
            let f = n as *mut pg_sys::FuncExpr;
            pg_sys::func_strict((*f).funcid)
                && nodes::iter::<Node>((*f).args).any(|a| null_on_empty(a))
                && !pg_sys::contain_volatile_functions(n)
        }
        NodeTag::T_RelabelType => {
            null_on_empty((*(n as *mut pg_sys::RelabelType)).arg as *mut Node)
        }
        _ => false,
    }
}

/// `inner = outer` with the columns of one level on each side.
unsafe fn equality(c: *mut Node) -> Option<(*mut OpExpr, *mut Node, *mut Node)> {
    let op = nodes::cast::<OpExpr>(c, NodeTag::T_OpExpr)?;
    if nodes::len((*op).args) != 2 || !is_hash_equality((*op).opno, (*op).inputcollid) {
        return None;
    }
    let (a, b): (*mut Node, *mut Node) = (nodes::nth((*op).args, 0), nodes::nth((*op).args, 1));
    if has_sublink(c) || pg_sys::contain_volatile_functions(c) {
        return None;
    }
    match (levels(a), levels(b)) {
        ((true, false, false), (false, true, false)) => Some((op, a, b)),
        ((false, true, false), (true, false, false)) => Some((op, b, a)),
        _ => None,
    }
}

/// A grouping column of the sub-query.
unsafe fn group_column(s: *mut Query, e: *mut Node, n: i16) -> Option<*mut TargetEntry> {
    let (mut lt, mut eq, mut gt, mut hashable) = (Oid::INVALID, Oid::INVALID, Oid::INVALID, false);
    pg_sys::get_sort_group_operators(
        pg_sys::exprType(e),
        false,
        false,
        false,
        &mut lt,
        &mut eq,
        &mut gt,
        &mut hashable,
    );
    if eq == Oid::INVALID {
        return None;
    }
    let t = pg_sys::makeTargetEntry(
        nodes::copy(e) as *mut pg_sys::Expr,
        n,
        nodes::pstr(&format!("key{n}")),
        false,
    );
    (*t).ressortgroupref = n as u32;
    let g: *mut pg_sys::SortGroupClause = nodes::make(NodeTag::T_SortGroupClause);
    (*g).tleSortGroupRef = n as u32;
    (*g).eqop = eq;
    (*g).sortop = lt;
    (*g).hashable = hashable;
    (*s).groupClause = pg_sys::lappend((*s).groupClause, g as *mut _);
    Some(t)
}

unsafe fn add_entry(q: *mut Query, s: *mut Query, rti: i32) {
    let rte: *mut RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    (*rte).rtekind = RTEKind::RTE_SUBQUERY;
    (*rte).subquery = s;
    (*rte).inFromCl = true;
    let mut names: *mut List = std::ptr::null_mut();
    for i in 0..nodes::len((*s).targetList) {
        let t: *mut TargetEntry = nodes::nth((*s).targetList, i);
        if (*t).resname.is_null() {
            (*t).resname = nodes::pstr("value");
        }
        names = pg_sys::lappend(names, nodes::string_node(&nodes::str_of((*t).resname)) as *mut _);
    }
    (*rte).eref = pg_sys::makeAlias(nodes::pstr(&format!("citus_group_{rti}")), names);
    (*q).rtable = pg_sys::lappend((*q).rtable, rte as *mut _);
    let from = (*q).jointree;
    (*from).fromlist = pg_sys::lappend((*from).fromlist, super::rest::range_ref(rti) as *mut _);
}
