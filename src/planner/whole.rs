//! Plans that are a single distributed scan.

use crate::pg::query::{
    self, CustomScan, Kind, List, Methods, Node, Plan, PlannedStmt, Query, RangeTblEntry,
    TargetEntry, Visit,
};
use crate::plan::DistPlan;
use pgrx::pg_sys::{self, CmdType, Oid, RTEKind};
use std::cell::Cell;

/// Columns of a remote result as target entries without junk.
pub fn result_list(q: Query) -> List<TargetEntry> {
    let source =
        if q.command_type() == CmdType::CMD_SELECT { q.target_list() } else { q.returning_list() };
    source.iter().filter(|t| !t.resjunk()).collect()
}

/// A range table entry that gives remote columns a name in EXPLAIN.
pub fn remote_rte(tlist: List<TargetEntry>) -> RangeTblEntry {
    let name = |t: TargetEntry| match t.resname() {
        n if n.is_none() => query::string("column"),
        n => query::string(&n.to_string()),
    };
    let names = tlist.iter().map(name).collect();
    let rte = query::from_item(RTEKind::RTE_RESULT);
    rte.set_eref(Some(query::alias("remote_scan", names)));
    rte
}

/// The scan node of a plan.
pub fn scan_node(plan: &DistPlan, exprs: &[Node]) -> CustomScan {
    let scan = CustomScan::new();
    scan.set_methods(crate::executor::methods(plan));
    // As PostgreSQL's planner leaves expressions; COLLATE, for one, cannot be executed as written.
    scan.set_custom_exprs(exprs.iter().map(|e| e.copy().eval_const()).collect());
    scan.set_custom_private(List::from([encode(plan)]));
    scan.set_plan_rows(plan.rows);
    scan.set_total_cost(plan.rows * 0.01);
    scan
}

/// Adds another plan to a scan, with its parameters behind those of the first.
pub fn add_plan(scan: CustomScan, plan: &DistPlan, exprs: &[Node]) {
    let exprs: List<Node> = exprs.iter().map(|e| e.copy().eval_const()).collect();
    scan.set_custom_exprs(scan.custom_exprs().concat(exprs));
    scan.set_custom_private(scan.custom_private().with(encode(plan)));
}

/// A plan as a node that PostgreSQL can copy, with a number that copies of it share.
pub fn encode(plan: &DistPlan) -> Node {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let number = NUMBER.with(|n| {
        n.set(n.get() + 1);
        n.get()
    });
    let mut bytes = number.to_ne_bytes().to_vec();
    bytes.append(&mut plan.encode());
    query::bytes(&bytes)
}

/// The number in front of an encoded plan, and the plan.
pub fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, plan) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_ne_bytes(*number), plan))
}

/// Reads what [`encode`] wrote.
pub fn decode(list: List<Node>) -> Option<DistPlan> {
    query::read_bytes(list, 0, |b| DistPlan::decode(split_number(b)?.1)).flatten()
}

/// The statement whose plan is one distributed scan. `q` is the query as the user wrote it.
pub fn statement(q: Query, plan: &DistPlan, exprs: &[Node]) -> PlannedStmt {
    let scan = scan_node(plan, exprs);
    let results = result_list(q);
    set_targets(scan, results, 1);
    let stmt = PlannedStmt::new();
    stmt.set_command_type(q.command_type());
    stmt.set_query_id(q.query_id());
    stmt.set_has_returning(!q.returning_list().is_empty());
    stmt.set_has_modifying_cte(q.has_modifying_cte());
    stmt.set_can_set_tag(q.can_set_tag());
    stmt.set_depends_on_role(q.has_row_security());
    stmt.set_plan_tree(Some(scan.plan()));
    stmt.set_rtable(List::from([remote_rte(results)]));
    add_relations(stmt, q);
    stmt.set_stmt_location(q.stmt_location());
    stmt.set_stmt_len(q.stmt_len());
    stmt
}

/// A node of ours on top of a plan, which gives the rows of the plan below.
pub fn on_top(stmt: PlannedStmt, child: Plan, methods: Methods, private: List<Node>) {
    let scan = CustomScan::new();
    scan.set_methods(methods);
    scan.set_custom_plans(List::from([child]));
    scan.set_custom_private(private);
    let results = child.targetlist().iter().collect();
    let rti = stmt.rtable().len() as i32 + 1;
    stmt.set_rtable(stmt.rtable().with(remote_rte(results)));
    set_targets(scan, results, rti);
    scan.set_plan_rows(child.plan_rows());
    scan.set_startup_cost(child.startup_cost());
    scan.set_total_cost(child.total_cost());
    scan.take_params(child);
    stmt.set_plan_tree(Some(scan.plan()));
    stmt.set_parallel_mode_needed(false);
}

/// Target lists of a scan that delivers the columns of `results`, named by entry `rti`.
pub fn set_targets(scan: CustomScan, results: List<TargetEntry>, rti: i32) {
    let (mut scan_tlist, mut tlist) = (List::EMPTY, List::EMPTY);
    for (i, t) in results.iter().enumerate() {
        let n = i as i16 + 1;
        let e = t.expr();
        scan_tlist.push(query::target_entry(query::var_like(rti, n, e), n, t.resname()));
        let out = t.shallow_copy();
        out.set_expr(query::var_like(pg_sys::INDEX_VAR, n, e));
        out.set_resno(n);
        tlist.push(out);
    }
    scan.set_custom_scan_tlist(scan_tlist);
    scan.set_targetlist(tlist);
}

/// Adds a query's relations to a plan's range table and dependencies.
pub fn add_relations(stmt: PlannedStmt, q: Query) {
    let (rtable, oids) = relations(q);
    stmt.set_rtable(stmt.rtable().concat(rtable));
    stmt.set_relation_oids(stmt.relation_oids().concat(oids));
}

/// The relations of a query at all levels: permissions are checked, and locks taken, on them.
pub fn relations(q: Query) -> (List<RangeTblEntry>, List<Oid>) {
    let (mut entries, mut oids) = (List::EMPTY, List::EMPTY);
    q.walk(|n| {
        if let Kind::RangeTblEntry(rte) = n.kind() {
            if rte.rtekind() == RTEKind::RTE_RELATION {
                let c = rte.shallow_copy();
                c.set_security_quals(List::EMPTY);
                c.set_tablesample(Node::NONE);
                entries.push(c);
                oids.push(rte.relid());
            }
        }
        Visit::Descend
    });
    (entries, oids)
}
