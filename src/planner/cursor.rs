//! WHERE CURRENT OF.
//!
//! A cursor over one table of ours that locks its rows (FOR UPDATE, FOR SHARE ...) carries, beside
//! the columns that were asked for, where each row is: its shard and ctid, or the primary key where
//! copies have the row in different places. The node on top of its plan remembers the row that
//! was fetched last. `WHERE CURRENT OF` is a comparison with what it tells when the UPDATE or
//! DELETE runs.

use super::modify::SHARD_ATTRIBUTE;
use super::values::Values;
use super::{deparse, rest, scan, source, whole, Standard};
use crate::catalog::{self, Kind as TableKind, Table};
use crate::error::{Error, Result};
use crate::pg::lookup::{self, Attribute};
use crate::pg::query::{
    self, CoerceViaIO, Kind, List, Node, OpExpr, Param, PlannedStmt, Query, RangeTblRef,
    RelabelType, SubLink, Text,
};
use crate::plan::{Prune, Template};
use pgrx::pg_sys::{self, CmdType, CoercionForm, Oid, ParamKind, SubLinkType};
use std::rc::Rc;

/// The function that tells where the current row of a cursor is.
const FUNCTION: &str = "citus_cursor_position";

const OID_EQUAL: u32 = 607;
const TID_EQUAL: u32 = 387;
const CTID: i16 = pg_sys::SelfItemPointerAttributeNumber as i16;

/// The plan of a cursor's query whose rows can be found again, if it is one.
pub fn plan(q: Query, standard: Standard<'_>) -> Result<Option<PlannedStmt>> {
    let Some((rti, table)) = locked_table(q) else { return Ok(None) };
    let Some(place) = place_of(&table, rti as i32) else { return Ok(None) };
    let first = q.target_list().len() as u32;
    for e in &place {
        let n = q.target_list().len() as i16 + 1;
        let t = query::target_entry(*e, n, Text::new("citus_place"));
        t.set_resjunk(true);
        q.set_target_list(q.target_list().with(t));
    }
    if let Some(rte) = q.entry(rti) {
        rte.set_enrtuples(scan::BY_PLACE);
    }
    let stmt = rest::plan(q, standard)?;
    Ok(Some(on_top(stmt, &table, first, place.len() as u32)))
}

/// The only table of a query, when it is ours and its rows are locked.
fn locked_table(q: Query) -> Option<(u32, Rc<Table>)> {
    let simple = q.command_type() == CmdType::CMD_SELECT
        && q.row_marks().len() == 1
        && q.from_items().len() == 1
        && q.limit_count().is_none()
        && q.limit_offset().is_none()
        && !q.has_sub_links()
        && q.ctes().is_empty();
    if !simple {
        return None;
    }
    let rti = q.from_items().at(0).cast::<RangeTblRef>()?.rtindex() as u32;
    let rte = q.entry(rti).filter(|r| super::is_ours(*r) && r.tablesample().is_none())?;
    // The table's own OID is what the query asks for, not the number of a shard.
    let asks = |n: Node| matches!(n.kind(), Kind::Var(v) if v.varattno() == SHARD_ATTRIBUTE);
    let marked = q.row_marks().get(0).is_some_and(|m| m.rti() == rti);
    (marked && !q.node().contains(asks)).then_some(())?;
    Some((rti, catalog::table(rte.relid())?))
}

/// The columns by which a row of entry `varno` is found again.
fn place_of(table: &Table, varno: i32) -> Option<Vec<Node>> {
    if table.kind == TableKind::Reference || table.replicated {
        let key = key_of(table);
        return (!key.is_empty()).then(|| key.iter().map(|a| a.var(varno)).collect());
    }
    let system = |attno: i16, typ: Oid| query::var(varno, attno, typ, -1, Oid::INVALID).node();
    Some(vec![system(SHARD_ATTRIBUTE, pg_sys::OIDOID), system(CTID, pg_sys::TIDOID)])
}

fn key_of(table: &Table) -> Vec<Attribute> {
    let primary = lookup::primary_key(table.relid);
    let all = lookup::attributes(table.relid).into_iter().flatten();
    all.filter(|a| primary.contains(&a.attno)).collect()
}

/// Puts the node that remembers the current row on a plan.
fn on_top(stmt: PlannedStmt, table: &Table, first: u32, count: u32) -> PlannedStmt {
    let Some(child) = stmt.plan_tree() else { return stmt };
    let known = [u32::from(table.relid), first, count];
    let known: Vec<u8> = known.into_iter().flat_map(u32::to_ne_bytes).collect();
    let private = List::from([query::bytes(&known)]);
    whole::on_top(stmt, child, crate::executor::cursor_methods(), private);
    stmt
}

// ---- UPDATE and DELETE ------------------------------------------------------------------------

/// Replaces WHERE CURRENT OF of a modification by comparisons with the place of the cursor's row.
pub fn find_current(q: Query, table: &Table) -> Result<()> {
    let mut cursor = None;
    q.quals().walk(|n| {
        cursor = cursor.take().or_else(|| n.cursor());
        query::Visit::Descend
    });
    let Some((name, param)) = cursor else { return Ok(()) };
    let target = q.result_relation();
    let Some(place) = place_of(table, target) else {
        return Err(Error::unsupported(
            "WHERE CURRENT OF on a replicated table without a primary key",
        )
        .detail("Copies of a row have nothing else in common by which it could be found.")
        .hint("Add a primary key."));
    };
    let function = source::internal_function(FUNCTION)?;
    let name = || name.as_deref().map_or_else(|| name_in(param), query::text);
    let mut conditions = Vec::new();
    for (i, e) in place.into_iter().enumerate() {
        let args = List::from([name(), query::oid(table.relid), query::int4(i as i32)]);
        let form = CoercionForm::COERCE_EXPLICIT_CALL;
        let value = CoerceViaIO::new();
        value.set_arg(query::call(function, pg_sys::TEXTOID, args, form).node());
        value.set_resulttype(e.typ());
        value.set_resultcollid(e.collation());
        value.set_coerceformat(CoercionForm::COERCE_EXPLICIT_CAST);
        value.set_location(-1);
        conditions.push(equal(e, value.node())?);
    }
    let conditions = query::and(&conditions);
    q.set_quals(q.quals().mutate(|n| n.cursor().map(|_| conditions)));
    Ok(())
}

/// The cursor's name in a variable of a function.
fn name_in(param: i32) -> Node {
    let p = Param::new();
    p.set_paramkind(ParamKind::PARAM_EXTERN);
    p.set_paramid(param);
    p.set_paramtype(pg_sys::REFCURSOROID);
    p.set_paramtypmod(-1);
    p.set_location(-1);
    let r = RelabelType::new();
    r.set_arg(p.node());
    r.set_resulttype(pg_sys::TEXTOID);
    r.set_resultcollid(pg_sys::DEFAULT_COLLATION_OID);
    r.node()
}

fn equal(a: Node, b: Node) -> Result<Node> {
    let operator = match a.kind() {
        Kind::Var(v) if v.varattno() == SHARD_ATTRIBUTE => Oid::from(OID_EQUAL),
        Kind::Var(v) if v.varattno() == CTID => Oid::from(TID_EQUAL),
        _ => lookup::equality(a.typ())
            .ok_or_else(|| Error::internal("a primary key of a type without an equality"))?,
    };
    let e = query::operator(operator, pg_sys::BOOLOID, List::from([a, b]));
    if let Some(o) = e.cast::<OpExpr>() {
        o.set_inputcollid(a.collation());
    }
    Ok(e)
}

// ---- scans ------------------------------------------------------------------------------------

/// What the system column `attno` is compared with, when it is the place of a cursor's row.
fn compared(clause: Node, attno: i16) -> Option<Node> {
    let (a, b) = clause.cast::<OpExpr>()?.pair()?;
    let call = b.cast::<CoerceViaIO>()?.arg();
    let Kind::FuncExpr(f) = call.kind() else { return None };
    let own = matches!(a.kind(), Kind::Var(v) if v.varattno() == attno);
    (own && lookup::function(FUNCTION) == Some(f.funcid())).then_some(b)
}

/// Whether a condition is about the place of a cursor's row.
pub fn is_place(clause: Node) -> bool {
    [SHARD_ATTRIBUTE, CTID].into_iter().any(|attno| compared(clause, attno).is_some())
}

/// The conditions of a scan as the nodes understand them, the shards that those on the place of a
/// cursor's row leave, and what stands in them for the name of the shard.
pub fn on_nodes(quals: Vec<Node>, values: &mut Values) -> (Vec<Node>, Prune, Option<String>) {
    let (mut prune, mut mark) = (Prune::All, None);
    let mut out = Vec::new();
    for q in quals {
        if let Some(shard) = compared(q, SHARD_ATTRIBUTE) {
            prune = prune.and(Prune::Number(values.add(shard)));
        } else if let Some(place) = compared(q, CTID) {
            out.push(latest(q, place, mark.get_or_insert_with(deparse::token)));
        } else {
            out.push(q);
        }
    }
    (out, prune, mark)
}

/// `ctid = (SELECT currtid2('shard', place))`: the transaction may have changed the row since it
/// was fetched.
fn latest(clause: Node, place: Node, mark: &str) -> Node {
    let args = List::from([query::text(mark), place]);
    let form = CoercionForm::COERCE_EXPLICIT_CALL;
    let call = query::call(Oid::from(pg_sys::F_CURRTID2), pg_sys::TIDOID, args, form);
    let q = query::select();
    q.set_target_list(List::from([query::target_entry(call.node(), 1, Text::new("ctid"))]));
    q.set_jointree(Some(query::from_expr(List::EMPTY, Node::NONE)));
    let link = SubLink::new();
    link.set_sub_link_type(SubLinkType::EXPR_SUBLINK);
    link.set_subselect(q.node());
    link.set_location(-1);
    let c = clause.copy();
    if let Some(o) = c.cast::<OpExpr>() {
        o.set_args(List::from([o.args().at(0), link.node()]));
    }
    c
}

/// Puts slots into a statement where it names its shard as a value.
pub fn name_shards(template: &mut Template, mark: &str) {
    template.name_table(&format!("'{mark}'"));
}
