//! Scans of single tables and of sources, as PostgreSQL's planner asks for them.

use super::values::Values;
use super::{conditions, cursor, deparse, locks, pushdown, ship, source, whole};
use crate::catalog::{self, Kind as TableKind, Table};
use crate::error::{Error, Result};
use crate::executor::again;
use crate::pg::lookup;
use crate::pg::query::{
    self, CustomScan, Kind, List, Node, PlannerInfo, Query, RangeTblEntry, RelOptInfo,
    RestrictInfo, RowExpr, RowMarkClause, TargetEntry, Text, Var, Visit,
};
use crate::plan::{DistPlan, Operation};
use pgrx::pg_sys::{self, CoercionForm, NodeTag, Oid, RTEKind};
use std::rc::Rc;

/// The rows that a scan of a base relation is expected to give, when it is a table of ours or a
/// source: then such a scan is its only path.
pub fn expected_rows(rel: RelOptInfo, rte: RangeTblEntry) -> Option<f64> {
    match rte.rtekind() {
        RTEKind::RTE_RELATION => {
            if !catalog::extension_ready() || locks::in_vain() {
                return None;
            }
            Some(rows_of(&*catalog::table(rte.relid())?, rel))
        }
        RTEKind::RTE_FUNCTION => {
            let call = source::call_of(rte)?;
            let known = whole::decode(call.args()).map_or(1000.0, |p| p.rows);
            Some(filtered(known, rel))
        }
        _ => None,
    }
}

/// Rows that the conditions on a relation leave, by a guess.
fn filtered(rows: f64, rel: RelOptInfo) -> f64 {
    (rows * 0.3f64.powi(rel.baserestrictinfo().len() as i32)).max(1.0)
}

/// Estimated rows: the shell's statistics when ANALYZE has filled them, else a guess.
fn rows_of(table: &Table, rel: RelOptInfo) -> f64 {
    if rel.tuples() >= 1.0 {
        return rel.rows().max(1.0);
    }
    let shards = match table.kind {
        TableKind::Reference => 1.0,
        _ => table.shards.len() as f64,
    };
    filtered(1000.0 * shards, rel)
}

/// The scan node of a relation for which [`expected_rows`] answered.
pub fn plan(
    root: PlannerInfo,
    rel: RelOptInfo,
    rows: f64,
    tlist: List<TargetEntry>,
    clauses: List<RestrictInfo>,
) -> Result<CustomScan> {
    let rti = rel.relid();
    let gone = || Error::internal("table vanished while planning");
    let rte = root.entry(rti).ok_or_else(gone)?;
    if let Some(call) = source::call_of(rte) {
        return source::scan(rel, rte, call, tlist, query::actual_clauses(clauses), rows);
    }
    let table = catalog::table(rte.relid()).ok_or_else(gone)?;
    let (remote, mut local) = divide(root, clauses);
    let outer = outer_conditions(root, rel, rte, &remote);
    // In front, as they were to the nodes.
    local.splice(..0, outer.iter().copied());
    let (mut columns, mut whole_row) = needed(rel, rti, tlist, &local);
    // Beside system columns, the whole row is one more column: made on the node.
    whole_row &= !columns.iter().any(|c| matches!(c.kind(), Kind::Var(v) if v.varattno() < 0));
    if whole_row {
        columns = all_columns(rte.relid(), rti);
    } else if columns.is_empty() {
        columns.push(query::boolean(true));
    }
    let sampled = sampled(root, rte);
    let (dist, exprs) = table_query(sampled, &table, rti, &columns, &remote, rows, None)?;
    let scan = whole::scan_node(&dist, &exprs);
    if !outer.is_empty() {
        let rest: Vec<Node> = remote.iter().copied().filter(|r| !outer.contains(r)).collect();
        let all = table_query(sampled, &table, rti, &columns, &rest, rows, Some(again::MOST + 1))?;
        whole::add_plan(scan, &all.0, &all.1);
    }
    scan.set_scanrelid(rti);
    scan.set_targetlist(tlist);
    scan.set_qual(local.into_iter().collect());
    if whole_row {
        // Rows have the table's own shape, which whole-row references are made from.
        return Ok(scan);
    }
    let output = |(i, v): (usize, &Node)| query::target_entry(v.copy(), i as i16 + 1, Text::NONE);
    scan.set_custom_scan_tlist(columns.iter().enumerate().map(output).collect());
    Ok(scan)
}

/// A table's entry with values in TABLESAMPLE in the place of columns of other tables.
fn sampled(root: PlannerInfo, rte: RangeTblEntry) -> RangeTblEntry {
    if rte.tablesample().is_none() {
        return rte;
    }
    let r = rte.shallow_copy();
    r.set_tablesample(root.with_outer_values(rte.tablesample()));
    r
}

/// The conditions that go to the nodes, and those that are checked here.
fn divide(root: PlannerInfo, clauses: List<RestrictInfo>) -> (Vec<Node>, Vec<Node>) {
    let (mut remote, mut local) = (Vec::new(), Vec::new());
    for ri in clauses.iter().filter(|ri| !ri.pseudoconstant()) {
        // Behind a security barrier nothing may run that could tell of rows which the barrier hides.
        // The node does not know of the barrier, and runs conditions in the order that it likes.
        let clause = root.with_outer_values(ri.clause());
        let harmless = ri.security_level() == 0 || ri.leakproof();
        if cursor::is_place(clause) || (pushable(clause) && harmless) {
            remote.push(clause);
        } else {
            local.push(clause);
        }
    }
    (remote, local)
}

/// Whether another node can evaluate a condition on a single table.
fn pushable(e: Node) -> bool {
    let c = ship::classify(e);
    if c.sublink || c.volatile || c.srf {
        return false;
    }
    let mut ships = true;
    e.walk(|n| {
        let local = || ship::own(n).local_only;
        let bad = match n.kind() {
            Kind::Var(v) => v.varattno() <= 0,
            Kind::Other(
                NodeTag::T_SubPlan
                | NodeTag::T_AlternativeSubPlan
                | NodeTag::T_PlaceHolderVar
                | NodeTag::T_CurrentOfExpr,
            ) => true,
            _ if ship::is_unknown_there(n) => true,
            // Values are computed here, whatever they are made of.
            _ if local() => match is_value(n) {
                true => return Visit::Skip,
                false => true,
            },
            _ => false,
        };
        ships &= !bad;
        if bad {
            Visit::Stop
        } else {
            Visit::Descend
        }
    });
    ships
}

/// Known when the scan starts: constants, outside parameters and those of outer plan nodes.
fn is_value(n: Node) -> bool {
    let row = |x: Node| matches!(x.tag(), NodeTag::T_Var | NodeTag::T_CaseTestExpr);
    let c = ship::classify(n);
    !n.contains(row) && !c.volatile && !c.srf && !c.sublink
}

/// Columns that the plan above or the local conditions use, and whether it wants whole rows.
fn needed(
    rel: RelOptInfo,
    rti: u32,
    tlist: List<TargetEntry>,
    local: &[Node],
) -> (Vec<Node>, bool) {
    let mut out: Vec<Var> = Vec::new();
    let mut whole_row = false;
    let mut visit = |n: Node| {
        if let Kind::Var(v) = n.kind() {
            if v.varno() as u32 == rti && v.varlevelsup() == 0 {
                whole_row |= v.varattno() == 0;
                if !out.iter().any(|o| o.varattno() == v.varattno()) {
                    out.push(v);
                }
            }
        }
        Visit::Descend
    };
    tlist.walk(&mut visit);
    rel.wanted().walk(&mut visit);
    for l in local {
        l.walk(&mut visit);
    }
    out.sort_by_key(|v| v.varattno());
    (out.into_iter().map(|v| v.node()).collect(), whole_row)
}

/// All attributes of a table in order; NULL stands for dropped ones.
fn all_columns(relid: Oid, rti: u32) -> Vec<Node> {
    let dropped = || query::null(pg_sys::INT4OID, -1, Oid::INVALID);
    let all = lookup::attributes(relid).into_iter();
    all.map(|a| a.map_or_else(dropped, |a| a.var(rti as i32))).collect()
}

/// The conditions with values that each run of a scan has anew, where it may be worth while to read
/// all rows once (see [`again`]) and to check these conditions here.
fn outer_conditions(
    root: PlannerInfo,
    rel: RelOptInfo,
    rte: RangeTblEntry,
    remote: &[Node],
) -> Vec<Node> {
    let outer = |n: Node| match n.kind() {
        Kind::Param(p) => p.paramkind() == pg_sys::ParamKind::PARAM_EXEC,
        _ => false,
    };
    // Locked rows, those wanted by their place, and samples are the nodes' own business.
    let plain = rte.enrtuples() == 0.0 && rte.tablesample().is_none();
    let few = rel.tuples() <= f64::from(again::MOST);
    if !plain || !few || !root.may_run_again() || remote.iter().any(|r| cursor::is_place(*r)) {
        return Vec::new();
    }
    remote.iter().copied().filter(|r| r.contains(outer)).collect()
}

/// The query on one table that a scan sends; of each shard `most` rows at most.
fn table_query(
    rte: RangeTblEntry,
    table: &Rc<Table>,
    rti: u32,
    columns: &[Node],
    remote: &[Node],
    rows: f64,
    most: Option<u32>,
) -> Result<(DistPlan, Vec<Node>)> {
    let q = query::select();
    if let Some(most) = most {
        q.set_limit_count(query::int8(most.into()));
    }
    let r = rte.copy();
    r.set_security_quals(List::EMPTY);
    r.set_in_from_cl(true);
    r.set_inh(true);
    // PostgreSQL marks a sampled table so when it pulls a LATERAL sub-query up.
    r.set_lateral(false);
    q.set_rtable(List::from([r]));
    let mut values = Values::default();
    let quals: Vec<Node> = remote.iter().map(|e| as_first_entry(*e, rti)).collect();
    let (quals, prune, mark) = cursor::on_nodes(quals, &mut values);
    let target = conditions::target(table, &quals, prune, &mut values);
    q.set_jointree(Some(query::from_entry(1, query::and(&quals))));
    let output = |(i, v): (usize, &Node)| {
        let name = Text::new(&format!("c{}", i + 1));
        query::target_entry(remote_column(*v, rte, rti), i as i16 + 1, name)
    };
    q.set_target_list(columns.iter().enumerate().map(output).collect());
    let columns = pushdown::columns(q);
    let operation = lock_rows(q, rte);
    let mut deparsed = deparse::deparse(q, &mut values)?;
    deparsed.template.name_shard(SHARD_MARK);
    if let Some(mark) = mark {
        cursor::name_shards(&mut deparsed.template, &mark);
    }
    let plan = DistPlan {
        operation,
        target,
        template: deparsed.template,
        tables: deparsed.tables,
        params: deparsed.params,
        columns,
        merge: Vec::new(),
        rows,
        prepare: false,
        insert: false,
        volatile: false,
        locks: if operation == Operation::Select {
            Vec::new()
        } else {
            vec![u32::from(table.relid)]
        },
        nowait: pushdown::has_nowait(q),
        append: false,
        tenant: None,
        check_as: deparsed.check_as,
    };
    Ok((plan, values.exprs().to_vec()))
}

/// An expression over entry `rti` as one over entry 1.
fn as_first_entry(n: Node, rti: u32) -> Node {
    n.mutate(|x| match x.kind() {
        Kind::Var(v) if v.varno() as u32 == rti => Some(query::renumbered_var(v, 1).node()),
        _ => None,
    })
}

/// A number that stands for the shard's in deparsed text.
const SHARD_MARK: u32 = 4_207_849_999;

/// Added to the lock code of a table whose rows are wanted by their place.
pub const BY_PLACE: f64 = 1000.0;

/// FOR UPDATE and the like, as the rest of the query noted it in the entry.
fn lock_rows(q: Query, rte: RangeTblEntry) -> Operation {
    let code = rte.enrtuples() as u32 % BY_PLACE as u32;
    if code == 0 {
        return Operation::Select;
    }
    let mark = RowMarkClause::new();
    mark.set_rti(1);
    mark.set_strength(code % 10);
    mark.set_wait_policy(code / 10);
    q.set_row_marks(List::from([mark]));
    q.set_has_for_update(true);
    Operation::SelectForUpdate
}

/// What to ask for a column.
fn remote_column(n: Node, rte: RangeTblEntry, rti: u32) -> Node {
    let Kind::Var(v) = n.kind() else { return n };
    if v.varattno() == 0 {
        let row = RowExpr::new();
        let live = lookup::attributes(rte.relid()).into_iter().flatten();
        row.set_args(live.map(|a| a.var(1)).collect());
        row.set_row_typeid(v.vartype());
        row.set_row_format(CoercionForm::COERCE_IMPLICIT_CAST);
        row.set_location(-1);
        return row.node();
    }
    if v.varattno() == super::modify::SHARD_ATTRIBUTE {
        // The table's own OID; to a modification by place, the number of the shard, for which a
        // mark stands until the text is made.
        let by_place = rte.enrtuples() >= BY_PLACE;
        return query::oid(if by_place { Oid::from(SHARD_MARK) } else { rte.relid() });
    }
    as_first_entry(n, rti)
}
