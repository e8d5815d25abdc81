//! The safety net: PostgreSQL plans the query, and every table of ours that reaches its planner
//! is a scan of shards with the pushable conditions and only the needed columns.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::analyze::is_hash_equality;
use super::combine;
use super::deparse;
use super::pushdown;
use super::ship;
use super::source;
use super::values::{self, Values};
use super::whole;
use crate::catalog::{self, Kind, Table};
use crate::error::Result;
use crate::pg::{guard, nodes};
use crate::plan::{DistPlan, Operation, Prune, Target};
use pgrx::pg_sys::{
    self, CmdType, CustomPath, CustomPathMethods, CustomScan, List, Node, NodeTag, Path, Plan,
    PlannedStmt, PlannerInfo, Query, RTEKind, RangeTblEntry, RelOptInfo, RestrictInfo, TargetEntry,
    Var,
};
use std::rc::Rc;

/// Plans a query by PostgreSQL's planner with scans in the place of our tables.
pub unsafe fn plan(
    q: *mut Query,
    standard: &mut dyn FnMut(*mut Query) -> *mut PlannedStmt,
) -> Result<*mut PlannedStmt> {
    // Parts that become scans hide their tables from PostgreSQL, which still has to check the
    // user's privileges on them and to plan again when they change.
    let (tables, oids) = whole::relations(q);
    sources(q, true)?;
    prepare(q);
    let stmt = standard(q);
    (*stmt).rtable = pg_sys::list_concat((*stmt).rtable, tables);
    (*stmt).relationOids = pg_sys::list_concat((*stmt).relationOids, oids);
    Ok(stmt)
}

/// Finds the largest parts that shard groups can answer: this query's own, or those of its
/// sub-queries.
unsafe fn sources(q: *mut Query, outermost: bool) -> Result<()> {
    if (*q).commandType == CmdType::CMD_SELECT && !is_correlated(q) && super::concerns_us(q) {
        if !outermost && !(*q).hasModifyingCTE {
            if let Some(place) = pushdown::place(q)? {
                if place_is_wanted(q, &place) {
                    let (plan, values) = pushdown::dist_plan(q, place)?;
                    return source::become_source(q, &plan, values.exprs());
                }
            }
        }
        if combine::rewrite(q)? {
            return Ok(());
        }
    }
    if super::concerns_us(q) {
        super::decorrelate::rewrite(q);
    }
    let mut inner: Vec<*mut Query> = Vec::new();
    nodes::walk_query(q, 0, &mut |n| {
        if nodes::tag(n) == NodeTag::T_Query {
            inner.push(n as *mut Query);
            return nodes::Visit::Skip;
        }
        nodes::Visit::Descend
    });
    for i in inner {
        sources(i, false)?;
    }
    Ok(())
}

/// A plain read of one table is left to PostgreSQL's planner, which may add conditions to it.
unsafe fn place_is_wanted(q: *mut Query, place: &pushdown::Place) -> bool {
    let plain = nodes::len((*q).rtable) == 1
        && !(*q).hasAggs
        && (*q).groupClause.is_null()
        && (*q).distinctClause.is_null()
        && !(*q).hasWindowFuncs
        && !(*q).hasTargetSRFs
        && (*q).limitCount.is_null()
        && (*q).limitOffset.is_null();
    !(plain && matches!(place.target, Target::Shards { .. }))
}

/// Whether a query refers to columns of a query around it.
unsafe fn is_correlated(q: *mut Query) -> bool {
    (1..8).any(|level| pg_sys::contain_vars_of_level(q as *mut Node, level))
}

/// Makes shells look like plain tables without children, and moves row locks into the scans.
unsafe fn prepare(q: *mut Query) {
    nodes::walk(q as *mut Node, &mut |n| {
        match nodes::tag(n) {
            NodeTag::T_Query => drop_row_marks(n as *mut Query),
            NodeTag::T_RangeTblEntry => {
                let rte = n as *mut RangeTblEntry;
                if (*rte).rtekind == RTEKind::RTE_RELATION && catalog::table((*rte).relid).is_some()
                {
                    (*rte).inh = false;
                }
            }
            _ => {}
        }
        nodes::Visit::Descend
    });
}

/// PostgreSQL cannot lock rows of ours by their place; the scans lock them where they are. The
/// lock's strength and wait policy travel in a field that only transition tables use.
unsafe fn drop_row_marks(q: *mut Query) {
    let mut keep: *mut List = std::ptr::null_mut();
    for m in nodes::iter::<pg_sys::RowMarkClause>((*q).rowMarks) {
        let rte = nodes::rte((*q).rtable, (*m).rti);
        if (*rte).rtekind == RTEKind::RTE_RELATION && catalog::table((*rte).relid).is_some() {
            (*rte).enrtuples = f64::from((*m).strength) + 10.0 * f64::from((*m).waitPolicy);
        } else {
            keep = pg_sys::lappend(keep, m as *mut _);
        }
    }
    (*q).rowMarks = keep;
}

struct Shared<T>(T);
// SAFETY: an immutable table of function pointers.
unsafe impl<T> Sync for Shared<T> {}

static PATH: Shared<CustomPathMethods> = Shared(CustomPathMethods {
    CustomName: c"Citus Scan".as_ptr(),
    PlanCustomPath: Some(plan_path),
    ReparameterizeCustomPathByChild: None,
});

/// Called for every base relation: a table of ours gets our path as its only one.
pub unsafe fn set_rel_pathlist(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    rte: *mut RangeTblEntry,
) {
    let rows = match (*rte).rtekind {
        RTEKind::RTE_RELATION => {
            if !catalog::extension_ready() {
                return;
            }
            let Some(table) = catalog::table((*rte).relid) else { return };
            rows_of(&table, rel)
        }
        RTEKind::RTE_FUNCTION => {
            let Some(call) = source::call_of(rte) else { return };
            let known = whole::decode((*call).args).map_or(1000.0, |p| p.rows);
            let filters = nodes::len((*rel).baserestrictinfo) as i32;
            (known * 0.3f64.powi(filters)).max(1.0)
        }
        _ => return,
    };
    let path: *mut CustomPath = nodes::make(NodeTag::T_CustomPath);
    (*path).path.pathtype = NodeTag::T_CustomScan;
    (*path).path.parent = rel;
    (*path).path.pathtarget = (*rel).reltarget;
    (*path).path.param_info = pg_sys::get_baserel_parampathinfo(root, rel, (*rel).lateral_relids);
    (*path).path.rows = rows;
    (*path).path.startup_cost = 100.0;
    (*path).path.total_cost = 100.0 + rows * 0.05;
    (*path).methods = &PATH.0;
    (*rel).rows = rows;
    (*rel).pathlist = std::ptr::null_mut();
    (*rel).partial_pathlist = std::ptr::null_mut();
    (*rel).consider_parallel = false;
    pg_sys::add_path(rel, path as *mut Path);
}

/// Estimated rows: the shell's statistics when ANALYZE has filled them, else a guess.
unsafe fn rows_of(table: &Table, rel: *mut RelOptInfo) -> f64 {
    let known = (*rel).tuples;
    if known >= 1.0 {
        return (*rel).rows.max(1.0);
    }
    let base = match table.kind {
        Kind::Reference => 1000.0,
        _ => 1000.0 * table.shards.len() as f64,
    };
    let filters = nodes::len((*rel).baserestrictinfo) as i32;
    (base * 0.3f64.powi(filters)).max(1.0)
}

extern "C-unwind" fn plan_path(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    best: *mut CustomPath,
    tlist: *mut List,
    clauses: *mut List,
    _custom_plans: *mut List,
) -> *mut Plan {
    // SAFETY: PostgreSQL hands over the relation and path that we made.
    guard::entry_result(|| unsafe { make_plan(root, rel, best, tlist, clauses) })
}

unsafe fn make_plan(
    root: *mut PlannerInfo,
    rel: *mut RelOptInfo,
    best: *mut CustomPath,
    tlist: *mut List,
    clauses: *mut List,
) -> Result<*mut Plan> {
    let rti = (*rel).relid;
    let rte: *mut RangeTblEntry = *(*root).simple_rte_array.add(rti as usize);
    if let Some(call) = source::call_of(rte) {
        let quals = pg_sys::extract_actual_clauses(clauses, false);
        let rows = (*best).path.rows;
        return Ok(source::scan(rel, rte, call, tlist, quals, rows)? as *mut Plan);
    }
    let table = catalog::table((*rte).relid)
        .ok_or_else(|| crate::error::Error::internal("table vanished while planning"))?;
    let mut remote = Vec::new();
    let mut local = Vec::new();
    for ri in nodes::iter::<RestrictInfo>(clauses) {
        let e = (*ri).clause as *mut Node;
        if (*ri).pseudoconstant {
            continue;
        }
        // A condition of a security barrier must not run after one that could leak rows to it:
        // all or nothing goes to the node, in order.
        if pushable(e) && (local.is_empty() || (*ri).security_level == 0) {
            remote.push(e);
        } else {
            local.push(e);
        }
    }
    let (mut columns, whole_row) = needed(rel, rti, tlist, &local);
    if whole_row {
        columns = all_columns((*rte).relid, rti);
    } else if columns.is_empty() {
        columns.push(pg_sys::makeBoolConst(true, false));
    }
    let (dist, exprs) = source(rte, &table, rti, &columns, &remote, (*best).path.rows)?;
    let scan: *mut CustomScan = whole::scan_node(&dist, &exprs);
    (*scan).scan.scanrelid = rti;
    (*scan).scan.plan.targetlist = tlist;
    (*scan).scan.plan.qual = nodes::list(local);
    if whole_row {
        // Rows have the table's own shape, which whole-row references are made from.
        return Ok(scan as *mut Plan);
    }
    (*scan).custom_scan_tlist = nodes::list(columns.iter().enumerate().map(|(i, v)| {
        pg_sys::makeTargetEntry(
            nodes::copy(*v) as *mut pg_sys::Expr,
            i as i16 + 1,
            std::ptr::null_mut(),
            false,
        )
    }));
    Ok(scan as *mut Plan)
}

/// Whether another node can evaluate a condition on a single table.
unsafe fn pushable(e: *mut Node) -> bool {
    let c = ship::classify(e);
    if c.sublink || c.volatile || c.srf {
        return false;
    }
    let mut ok = true;
    nodes::walk(e, &mut |n| {
        match nodes::tag(n) {
            NodeTag::T_Var => {
                if (*(n as *mut Var)).varattno <= 0 {
                    ok = false;
                }
            }
            NodeTag::T_SubPlan
            | NodeTag::T_AlternativeSubPlan
            | NodeTag::T_PlaceHolderVar
            | NodeTag::T_CurrentOfExpr => ok = false,
            _ => {
                let own = ship::own(n);
                if own.local_only && !is_value(n) {
                    ok = false;
                }
            }
        }
        if ok {
            nodes::Visit::Descend
        } else {
            nodes::Visit::Stop
        }
    });
    ok
}

/// Known when the scan starts: constants, outside parameters and those of outer plan nodes.
unsafe fn is_value(n: *mut Node) -> bool {
    let mut vars = false;
    nodes::walk(n, &mut |x| {
        vars |= matches!(nodes::tag(x), NodeTag::T_Var | NodeTag::T_CaseTestExpr);
        nodes::Visit::Descend
    });
    let c = ship::classify(n);
    !vars && !c.volatile && !c.srf && !c.sublink
}

/// Columns that the plan above or the local conditions use.
unsafe fn needed(
    rel: *mut RelOptInfo,
    rti: u32,
    tlist: *mut List,
    local: &[*mut Node],
) -> (Vec<*mut Node>, bool) {
    let mut out: Vec<*mut Var> = Vec::new();
    let mut whole_row = false;
    let mut visit = |n: *mut Node| {
        if nodes::tag(n) == NodeTag::T_Var {
            let v = n as *mut Var;
            if (*v).varno as u32 == rti && (*v).varlevelsup == 0 {
                whole_row |= (*v).varattno == 0;
                if !out.iter().any(|o| (**o).varattno == (*v).varattno) {
                    out.push(v);
                }
            }
        }
        nodes::Visit::Descend
    };
    nodes::walk(tlist as *mut Node, &mut visit);
    nodes::walk((*(*rel).reltarget).exprs as *mut Node, &mut visit);
    for l in local {
        nodes::walk(*l, &mut visit);
    }
    out.sort_by_key(|v| (**v).varattno);
    (out.into_iter().map(|v| v as *mut Node).collect(), whole_row)
}

/// All attributes of a table in order; NULL stands for dropped ones.
unsafe fn all_columns(relid: pg_sys::Oid, rti: u32) -> Vec<*mut Node> {
    let rel = pg_sys::table_open(relid, pg_sys::NoLock as i32);
    let desc = (*rel).rd_att;
    let out = (0..(*desc).natts as usize)
        .map(|i| {
            let a = (*desc).attrs.as_ptr().add(i);
            if (*a).attisdropped {
                return pg_sys::makeNullConst(pg_sys::INT4OID, -1, pg_sys::Oid::INVALID)
                    as *mut Node;
            }
            pg_sys::makeVar(
                rti as i32,
                (*a).attnum,
                (*a).atttypid,
                (*a).atttypmod,
                (*a).attcollation,
                0,
            ) as *mut Node
        })
        .collect();
    pg_sys::table_close(rel, pg_sys::NoLock as i32);
    out
}

/// The query on one table that a scan sends.
unsafe fn source(
    rte: *mut RangeTblEntry,
    table: &Rc<Table>,
    rti: u32,
    columns: &[*mut Node],
    remote: &[*mut Node],
    rows: f64,
) -> Result<(DistPlan, Vec<*mut Node>)> {
    let q: *mut Query = nodes::make(NodeTag::T_Query);
    (*q).commandType = CmdType::CMD_SELECT;
    (*q).canSetTag = true;
    let r: *mut RangeTblEntry = nodes::copy(rte);
    (*r).securityQuals = std::ptr::null_mut();
    (*r).inFromCl = true;
    (*r).inh = true;
    (*q).rtable = nodes::list([r]);
    let shift = |n: *mut Node| {
        nodes::mutate(n, &mut |x| {
            if let Some(v) = nodes::cast::<Var>(x, NodeTag::T_Var) {
                if (*v).varno as u32 == rti {
                    let c = nodes::copy(v);
                    (*c).varno = 1;
                    (*c).varnosyn = 1;
                    return Some(c as *mut Node);
                }
            }
            None
        })
    };
    let mut values = Values::default();
    let mut quals = Vec::new();
    for e in remote {
        quals.push(shift(*e));
    }
    let target = target(table, &quals, &mut values);
    let from = pg_sys::makeFromExpr(nodes::list([range_ref(1)]), and(&quals));
    (*q).jointree = from;
    let mut tlist: Vec<*mut TargetEntry> = Vec::new();
    for (i, v) in columns.iter().enumerate() {
        let e = remote_column(*v, rte, shift);
        tlist.push(pg_sys::makeTargetEntry(
            e as *mut pg_sys::Expr,
            i as i16 + 1,
            nodes::pstr(&format!("c{}", i + 1)),
            false,
        ));
    }
    (*q).targetList = nodes::list(tlist);
    let columns = pushdown::columns(q);
    let operation = lock_rows(q, rte);
    let mut deparsed = deparse::deparse(q, &mut values)?;
    deparsed.template.name_shard(SHARD_MARK);
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
        tenant: None,
    };
    Ok((plan, values.exprs().to_vec()))
}

/// A number that stands for the shard's in deparsed text.
const SHARD_MARK: u32 = 4_207_849_999;

/// FOR UPDATE and the like as noted by [`drop_row_marks`].
unsafe fn lock_rows(q: *mut Query, rte: *mut RangeTblEntry) -> Operation {
    let code = (*rte).enrtuples as u32 % BY_PLACE as u32;
    if code == 0 {
        return Operation::Select;
    }
    let mark: *mut pg_sys::RowMarkClause = nodes::make(NodeTag::T_RowMarkClause);
    (*mark).rti = 1;
    (*mark).strength = code % 10;
    (*mark).waitPolicy = code / 10;
    (*q).rowMarks = nodes::list([mark]);
    (*q).hasForUpdate = true;
    Operation::SelectForUpdate
}

/// What to ask for a column; most system columns mean nothing elsewhere and come as NULL.
unsafe fn remote_column(
    n: *mut Node,
    rte: *mut RangeTblEntry,
    shift: impl Fn(*mut Node) -> *mut Node,
) -> *mut Node {
    let Some(v) = nodes::cast::<Var>(n, NodeTag::T_Var) else { return n };
    if (*v).varattno > 0 || (*v).varattno == pg_sys::SelfItemPointerAttributeNumber as i16 {
        return shift(n);
    }
    if (*v).varattno == super::modify::SHARD_ATTRIBUTE {
        // The table's own OID; to a modification by place, the number of the shard, for which a
        // mark stands until the text is made.
        let by_place = (*rte).enrtuples >= BY_PLACE;
        let value = if by_place { SHARD_MARK } else { u32::from((*rte).relid) };
        return pg_sys::makeConst(
            pg_sys::OIDOID,
            -1,
            pg_sys::Oid::INVALID,
            4,
            pg_sys::Datum::from(value),
            false,
            true,
        ) as *mut Node;
    }
    pg_sys::makeNullConst((*v).vartype, (*v).vartypmod, (*v).varcollid) as *mut Node
}

/// Added to the lock code of a table whose rows are wanted by their place.
pub const BY_PLACE: f64 = 1000.0;

/// A reference to range table entry `rti`.
pub unsafe fn range_ref(rti: i32) -> *mut pg_sys::RangeTblRef {
    let r: *mut pg_sys::RangeTblRef = nodes::make(NodeTag::T_RangeTblRef);
    (*r).rtindex = rti;
    r
}

unsafe fn and(quals: &[*mut Node]) -> *mut Node {
    match quals {
        [] => std::ptr::null_mut(),
        [one] => *one,
        many => pg_sys::makeBoolExpr(
            pg_sys::BoolExprType::AND_EXPR,
            nodes::list(many.iter().copied()),
            -1,
        ) as *mut Node,
    }
}

unsafe fn target(table: &Rc<Table>, quals: &[*mut Node], values: &mut Values) -> Target {
    let anchor = u32::from(table.relid);
    if table.kind == Kind::Reference {
        return Target::AnyReplica { anchor };
    }
    let mut prune = if table.key.is_none() { Prune::Fixed(vec![0]) } else { Prune::All };
    for q in quals {
        prune = prune.and(prune_one(table, *q, values));
    }
    let single = prune.is_single();
    Target::Shards { anchor, prune, single }
}

/// Shards of a condition on a single table.
unsafe fn prune_one(table: &Table, node: *mut Node, values: &mut Values) -> Prune {
    let Some(key) = table.key.as_ref() else { return Prune::All };
    let is_key = |n: *mut Node| {
        let n = nodes::strip_relabel(n);
        nodes::cast::<Var>(n, NodeTag::T_Var).is_some_and(|v| (*v).varattno == key.attno)
    };
    match nodes::tag(node) {
        NodeTag::T_OpExpr => {
            let op = node as *mut pg_sys::OpExpr;
            if nodes::len((*op).args) != 2 || !is_hash_equality((*op).opno, (*op).inputcollid) {
                return Prune::All;
            }
            let (a, b): (*mut Node, *mut Node) =
                (nodes::nth((*op).args, 0), nodes::nth((*op).args, 1));
            let value = if is_key(a) {
                b
            } else if is_key(b) {
                a
            } else {
                return Prune::All;
            };
            value_prune(table, value, values)
        }
        NodeTag::T_ScalarArrayOpExpr => {
            let op = node as *mut pg_sys::ScalarArrayOpExpr;
            let (a, b): (*mut Node, *mut Node) =
                (nodes::nth((*op).args, 0), nodes::nth((*op).args, 1));
            if !(*op).useOr
                || !is_key(a)
                || !is_hash_equality((*op).opno, (*op).inputcollid)
                || nodes::tag(nodes::strip_relabel(b)) != NodeTag::T_Const
            {
                return Prune::All;
            }
            values::prune_array(table, nodes::strip_relabel(b), values)
        }
        NodeTag::T_BoolExpr => {
            let b = node as *mut pg_sys::BoolExpr;
            let args = nodes::iter::<Node>((*b).args);
            match (*b).boolop {
                pg_sys::BoolExprType::AND_EXPR => {
                    args.fold(Prune::All, |p, n| p.and(prune_one(table, n, values)))
                }
                pg_sys::BoolExprType::OR_EXPR => {
                    args.fold(Prune::Fixed(vec![]), |p, n| p.or(prune_one(table, n, values)))
                }
                _ => Prune::All,
            }
        }
        _ => Prune::All,
    }
}

/// Values of outer plan nodes are parameters like those from outside; read at each start.
unsafe fn value_prune(table: &Table, value: *mut Node, values: &mut Values) -> Prune {
    if ship::classify(value).is_value() {
        return values::prune_value(table, value, values);
    }
    Prune::All
}
