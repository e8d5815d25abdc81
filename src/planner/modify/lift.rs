//! Sub-queries of ON CONFLICT DO UPDATE that the nodes of the shards cannot answer.
//!
//! One that mentions neither the old row nor EXCLUDED has one value for the whole statement: it is
//! read with the new rows, as one more column of each, and travels as a parameter. One that does
//! mention them is answered beside the shard when its tables are reference tables, or co-located
//! ones that are looked up by the key of the row.

use super::{conflict, insert, place, returning};
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::query::{
    self, Kind, List, Node, OnConflictExpr, OpExpr, Param, Query, ScalarArrayOpExpr, SubLink, Text,
};
use crate::pg::{column, lookup};
use crate::planner::analyze::Analyzer;
use crate::planner::values::Values;
use crate::planner::{deparse, ship};
use pgrx::pg_sys::{CmdType, OnConflictAction, ParamKind, RTEKind, SubLinkType};
use std::rc::Rc;

/// Whether nodes can evaluate ON CONFLICT as it is written.
pub fn ships(q: Query, table: &Table) -> bool {
    let Some(c) = q.on_conflict() else { return true };
    let (set, condition) = (c.on_conflict_set().node(), c.on_conflict_where());
    let parts = [c.arbiter_elems().node(), c.arbiter_where(), set, condition];
    let lost = set.contains(ship::is_manifold_assignment) || conflict::differs(q, table);
    if lost || (q.has_sub_links() && [set, condition].into_iter().any(reads_with)) {
        return false;
    }
    parts.into_iter().all(insert::ships_with_references)
}

/// Whether sub-queries of an expression of the statement read queries of its WITH.
fn reads_with(n: Node) -> bool {
    let outer = |s: SubLink| {
        s.subselect().cast::<Query>().is_some_and(|inner| returning::reads_with(inner, 0))
    };
    n.contains(|x| matches!(x.kind(), Kind::SubLink(s) if outer(s)))
}

/// Changes ON CONFLICT so that nodes can evaluate it. Sub-queries in `values` are those whose
/// values are to be read with the rows.
pub fn settle(q: Query, table: &Rc<Table>, values: &mut Values) -> Result<()> {
    let Some(c) = q.on_conflict() else { return Ok(()) };
    if c.on_conflict_set().node().contains(ship::is_manifold_assignment) {
        return Err(Error::unsupported(
            "ON CONFLICT DO UPDATE of several elements or fields of one column on a distributed \
             table",
        )
        .hint("Assign the whole column."));
    }
    if c.action() == OnConflictAction::ONCONFLICT_UPDATE && q.has_sub_links() {
        single_columns(c);
        let mut lifter = Lifter { q, values, error: None };
        let new = c.node().mutate(|n| lifter.change(n));
        if let Some(e) = lifter.error {
            return Err(e);
        }
        let Some(new) = new.cast::<OnConflictExpr>() else { return Ok(()) };
        new.set_excl_rel_index(c.excl_rel_index());
        q.set_on_conflict(Some(new));
        if [new.on_conflict_set().node(), new.on_conflict_where()].into_iter().any(reads_with) {
            return Err(cannot("a sub-query reads a query of WITH that runs once"));
        }
    }
    conflict::check_volatile(q, table)?;
    let mut unused = Values::default();
    let why = Analyzer::new(&mut unused, false).conflict(q, table).err();
    why.map_or(Ok(()), |why| Err(cannot(why.0)))
}

fn cannot(why: &str) -> Error {
    Error::unsupported("ON CONFLICT DO UPDATE has an expression that the nodes cannot evaluate")
        .detail(format!("It cannot be sent to the shards: {why}."))
        .hint(
            "A sub-query may mention the row or EXCLUDED when it reads reference tables, or \
             tables that are co-located and compared by their distribution column with the \
             row's. Else compute its value in the inserted row and refer to it by EXCLUDED.",
        )
}

/// Adds the values of lifted sub-queries to the query for the new rows; answers which parameter
/// is which column, and the parameters with something in the place of these sub-queries.
pub fn add_columns(select: Query, values: &Values) -> (Vec<(u32, u32)>, Vec<Node>) {
    let (mut given, mut exprs) = (Vec::new(), Vec::new());
    for (i, e) in values.exprs().iter().enumerate() {
        if !matches!(e.kind(), Kind::SubLink(_)) {
            exprs.push(*e);
            continue;
        }
        let n = select.target_list().len();
        let name = Text::new(&format!("column{}", n + 1));
        let t = query::target_entry(e.copy(), n as i16 + 1, name);
        select.set_target_list(select.target_list().with(t));
        select.set_has_sub_links(true);
        given.push((i as u32, n as u32));
        exprs.push(query::null(e.typ(), e.typmod(), e.collation()));
    }
    (given, exprs)
}

/// `SET (a, b) = (SELECT ...)` becomes an assignment for each column.
fn single_columns(c: OnConflictExpr) {
    let list = c.on_conflict_set();
    let multi = |n: Node| matches!(n.kind(), Kind::SubLink(s) if is_multi(s));
    if !list.node().contains(multi) {
        return;
    }
    let mut out = List::EMPTY;
    for t in list.iter().filter(|t| !t.resjunk()) {
        let t = t.shallow_copy();
        t.set_expr(place::without_multi(t.expr(), list, place::one_column));
        out.push(t);
    }
    c.set_on_conflict_set(out);
}

fn is_multi(s: SubLink) -> bool {
    s.sub_link_type() == SubLinkType::MULTIEXPR_SUBLINK
}

/// Puts parameters in the place of sub-queries.
struct Lifter<'a> {
    q: Query,
    values: &'a mut Values,
    error: Option<Error>,
}

impl Lifter<'_> {
    /// A sub-query as a parameter, where it has one value; otherwise what it reads of WITH is put
    /// into it.
    fn change(&mut self, n: Node) -> Option<Node> {
        let Kind::SubLink(s) = n.kind() else { return None };
        if conflict::is_row(s) || self.error.is_some() {
            return Some(n);
        }
        if s.subselect().has_vars_of_level(1) {
            let c = s.copy();
            if let Some(inner) = c.subselect().cast::<Query>() {
                inline(inner, self.q, 0);
            }
            c.set_testexpr(c.testexpr().mutate(|x| self.change(x)));
            return Some(c.node());
        }
        let value = match s.sub_link_type() {
            SubLinkType::EXPR_SUBLINK
            | SubLinkType::EXISTS_SUBLINK
            | SubLinkType::ARRAY_SUBLINK => deparse::parameter(n, self.values),
            SubLinkType::ANY_SUBLINK | SubLinkType::ALL_SUBLINK => self.compared(s),
            SubLinkType::ROWCOMPARE_SUBLINK => self.columns_compared(s),
            _ => Err(unknown_form()),
        };
        match value {
            Ok(v) => Some(v),
            Err(e) => {
                self.error = Some(e);
                Some(n)
            }
        }
    }

    /// `x = ANY (SELECT y ...)` as `x = ANY (array)`.
    fn compared(&mut self, s: SubLink) -> Result<Node> {
        let several = || {
            Error::unsupported(
                "a comparison of several columns with a sub-query in ON CONFLICT DO UPDATE of a \
                 distributed table",
            )
            .hint("Write EXISTS with a sub-query that compares them.")
        };
        let op = s.testexpr().cast::<OpExpr>().ok_or_else(several)?;
        let (left, right) = op.pair().ok_or_else(several)?;
        let one = lookup::element_type(right.typ()).is_none() && lookup::has_array(right.typ());
        if !one {
            return Err(Error::unsupported(format!(
                "a comparison with a sub-query of values of type {} in ON CONFLICT DO UPDATE of a \
                 distributed table",
                column::type_name(right.typ())
            )));
        }
        let array = place::over_columns(s, over_outputs(right), SubLinkType::ARRAY_SUBLINK);
        let array = deparse::parameter(array.ok_or_else(unknown_form)?, self.values)?;
        let e = ScalarArrayOpExpr::new();
        e.set_opno(op.opno());
        e.set_use_or(s.sub_link_type() == SubLinkType::ANY_SUBLINK);
        e.set_inputcollid(op.inputcollid());
        let left = left.mutate(|x| self.change(x));
        e.set_args(List::from([left, array]));
        Ok(e.node())
    }

    /// `(x, y) = (SELECT a, b ...)` with the columns of the only row as parameters.
    fn columns_compared(&mut self, s: SubLink) -> Result<Node> {
        let mut error = None;
        let test = s.testexpr().mutate(|n| {
            let column = n.cast::<Param>().filter(|p| is_output(*p));
            if column.is_none() {
                return self.change(n);
            }
            let value = place::over_columns(s, over_outputs(n), SubLinkType::EXPR_SUBLINK)
                .ok_or_else(unknown_form)
                .and_then(|link| deparse::parameter(link, self.values));
            value.map_err(|e| error = Some(e)).ok()
        });
        error.map_or(Ok(test), Err)
    }
}

fn unknown_form() -> Error {
    Error::unsupported("this form of a sub-query in ON CONFLICT DO UPDATE of a distributed table")
}

/// Whether a parameter stands for an output of the sub-query that something is compared with.
fn is_output(p: Param) -> bool {
    p.paramkind() == ParamKind::PARAM_SUBLINK
}

/// An expression over the outputs of a sub-query as one over the columns of FROM's only item.
fn over_outputs(e: Node) -> Node {
    let column = |n: Node| {
        let p = n.cast::<Param>().filter(|p| is_output(*p))?;
        Some(query::var_like(1, p.paramid() as i16, n))
    };
    e.mutate(column)
}

/// Puts the queries of the statement's WITH that a sub-query reads into it, where it does not
/// matter how often they run.
fn inline(inner: Query, q: Query, depth: u32) {
    for rte in inner.rtable().iter() {
        if rte.rtekind() != RTEKind::RTE_CTE || rte.ctelevelsup() != depth + 1 {
            continue;
        }
        let name = rte.ctename().to_string();
        let Some(cte) = q.ctes().iter().find(|c| c.ctename().to_string() == name) else { continue };
        let Some(body) = cte.ctequery().cast::<Query>() else { continue };
        let plain = body.command_type() == CmdType::CMD_SELECT && !cte.cterecursive();
        if !plain || body.node().contains(ship::is_volatile) {
            continue;
        }
        let body = body.copy();
        body.node().shift_levels(depth as i32 + 1, 1);
        rte.set_rtekind(RTEKind::RTE_SUBQUERY);
        rte.set_subquery(Some(body));
    }
    inner.inner_queries().into_iter().for_each(|i| inline(i, q, depth + 1));
}
