//! Data-modifying statements in WITH.
//!
//! Each is planned by itself and runs once, under a node on top of the main plan; what refers to
//! it reads its rows. As in PostgreSQL all parts of a statement look at the data before any of
//! them writes: the node starts the scans first and reads them to their end. Scans that wait for
//! values of other rows cannot be read ahead; they see what was written on other nodes.

use super::{pushdown, ship, source, whole, Standard};
use crate::error::{Error, Result};
use crate::pg::query::{
    self, CommonTableExpr, List, Node, PlannedStmt, Query, RangeTblEntry, TargetEntry,
};
use crate::plan::{DistPlan, Operation, Target, Template};
use pgrx::pg_sys::{CmdType, RTEKind};
use std::cell::Cell;

thread_local! { static NUMBERS: Cell<u64> = const { Cell::new(0) }; }

/// Plans a statement with data-modifying CTEs. One that reads the rows of `source`, a modification,
/// and nothing else in FROM, is given without FROM.
pub fn plan(q: Query, source: Option<Query>, standard: Standard<'_>) -> Result<PlannedStmt> {
    let mut statements: Vec<(u64, PlannedStmt)> = Vec::new();
    let mut ready = List::EMPTY;
    for cte in q.ctes().iter() {
        let Some(body) = cte.ctequery().cast::<Query>() else { continue };
        let modifies = body.command_type() != CmdType::CMD_SELECT;
        if !modifies && !needs_one_run(cte, body) {
            ready.push(cte);
            continue;
        }
        let number = next_number();
        let statement = detached(body, ready, q.has_recursive())?;
        statement.set_can_set_tag(false);
        let columns = whole::result_list(body);
        if !columns.is_empty() && cte.cterefcount() > 0 {
            cte.set_ctequery(reader(number, columns)?.node());
            ready.push(cte);
        }
        statements.push((number, super::plan_query(statement, standard)?));
    }
    if let Some(source) = source {
        let number = next_number();
        let rte = rows_of(number, whole::result_list(source))?;
        q.set_rtable(List::from([rte]));
        q.set_jointree(Some(query::from_entry(1, Node::NONE)));
        source.set_ctes(ready.copy());
        source.set_has_modifying_cte(false);
        statements.push((number, super::plan_query(source, standard)?));
    }
    q.set_ctes(ready);
    q.set_has_modifying_cte(false);
    let stmt = super::plan_query(q, standard)?;
    Ok(on_top(stmt, &statements))
}

fn next_number() -> u64 {
    NUMBERS.with(|n| {
        n.set(n.get() + 1);
        n.get()
    })
}

/// A CTE whose rows differ from run to run must not be copied into several statements.
fn needs_one_run(cte: CommonTableExpr, body: Query) -> bool {
    !cte.cterecursive() && cte.cterefcount() > 0 && body.node().contains(ship::is_volatile)
}

/// A CTE's query as a statement of its own that has the CTEs before it as its own.
fn detached(body: Query, before: List<CommonTableExpr>, recursive: bool) -> Result<Query> {
    let q = body.copy();
    let mut outer = false;
    lift(q, 0, &mut outer);
    if !outer {
        return Ok(q);
    }
    let name = |c: CommonTableExpr| c.ctename().to_string();
    let own: Vec<String> = q.ctes().iter().map(name).collect();
    if before.iter().any(|c| own.contains(&name(c))) {
        return Err(Error::unsupported("two WITH queries of the same name in one statement"));
    }
    q.set_ctes(before.copy().concat(q.ctes()));
    q.set_has_recursive(q.has_recursive() || recursive);
    Ok(q)
}

/// References to CTEs of the query around become references to the query's own.
fn lift(q: Query, depth: u32, outer: &mut bool) {
    for rte in q.rtable().iter() {
        if rte.rtekind() == RTEKind::RTE_CTE && rte.ctelevelsup() > depth {
            rte.set_ctelevelsup(rte.ctelevelsup() - 1);
            *outer = true;
        }
    }
    for i in q.inner_queries() {
        lift(i, depth + 1, outer);
    }
}

/// The FROM item that delivers the rows of a statement.
fn rows_of(number: u64, columns: List<TargetEntry>) -> Result<RangeTblEntry> {
    let plan = DistPlan {
        operation: Operation::Select,
        target: Target::Statement { number },
        template: Template::default(),
        tables: Vec::new(),
        params: Vec::new(),
        columns: columns.iter().map(|t| pushdown::column(t.expr())).collect(),
        merge: Vec::new(),
        rows: 1000.0,
        prepare: false,
        insert: false,
        volatile: false,
        locks: Vec::new(),
        nowait: false,
        append: false,
        tenant: None,
        check_as: Vec::new(),
    };
    source::entry(&plan, &[], columns)
}

/// The query that reads the rows of a statement.
fn reader(number: u64, columns: List<TargetEntry>) -> Result<Query> {
    let rte = rows_of(number, columns)?;
    let q = query::select();
    let mut tlist = List::EMPTY;
    for (i, t) in columns.iter().enumerate() {
        let n = i as i16 + 1;
        let v = query::var_like(1, n, t.expr());
        let out = query::target_entry(v, n, t.resname());
        tlist.push(out);
    }
    source::read_from(q, rte, tlist);
    Ok(q)
}

/// Puts the node that runs the statements on the main plan.
fn on_top(stmt: PlannedStmt, statements: &[(u64, PlannedStmt)]) -> PlannedStmt {
    let Some(child) = stmt.plan_tree() else { return stmt };
    let mut private = List::EMPTY;
    for (number, s) in statements {
        private.push(query::bytes(&number.to_ne_bytes()));
        private.push(s.node());
        // Locks of a cached plan are taken by the range table of the whole.
        let tables = s.rtable().iter().filter(|r| r.rtekind() == RTEKind::RTE_RELATION);
        stmt.set_rtable(stmt.rtable().concat(tables.map(|r| r.copy()).collect()));
        stmt.set_relation_oids(stmt.relation_oids().concat(s.relation_oids().copy()));
        stmt.set_inval_items(stmt.inval_items().concat(s.inval_items().copy()));
    }
    whole::on_top(stmt, child, crate::executor::with_methods(), private);
    stmt.set_has_modifying_cte(true);
    stmt
}
