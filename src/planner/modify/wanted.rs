//! The query for the rows of a modification: what its steps need to know of each row.

use super::{place, returning};
use crate::pg::query::{
    self, FieldSelect, Kind, List, Node, Query, RowExpr, SubLink, TargetEntry, Text, Var,
};
use crate::planner::{scan, ship};
use pgrx::pg_sys::{self, CmdType, CoercionForm, LockClauseStrength, RTEKind, SubLinkType};

/// Attribute numbers from here on stand for expressions; no table has so many columns.
const FIRST_MARK: i16 = 20_000;

/// The query for rows that is made from a modification.
pub struct Rows {
    /// Range table index of the modification's target.
    target: i32,
    /// Its outputs so far.
    list: List<TargetEntry>,
    /// Expressions to compute once for a row, for all who refer to them by their mark.
    once: Vec<Node>,
    /// Sub-queries of `SET (a, b) = (SELECT ...)` among them, and their rows' marks.
    asked: Vec<(SubLink, Node)>,
}

impl Rows {
    /// No outputs yet.
    pub fn new(target: i32) -> Self {
        Rows { target, list: List::EMPTY, once: Vec::new(), asked: Vec::new() }
    }

    /// Adds an output; its number counts from 0.
    pub fn add(&mut self, e: Node) -> u32 {
        let n = self.list.len();
        let name = Text::new(&format!("c{}", n + 1));
        self.list.push(query::target_entry(e, n as i16 + 1, name));
        n as u32
    }

    /// Adds an expression that may be missing.
    pub fn add_if(&mut self, e: Node) {
        for n in e.conjuncts() {
            self.add(n);
        }
    }

    /// What stands for an expression in outputs: it is computed once for a row, in a query below
    /// the one for rows, however often outputs mention it.
    pub fn once(&mut self, e: Node) -> Node {
        self.once.push(e);
        query::var_like(self.target, FIRST_MARK + self.once.len() as i16 - 1, e)
    }

    /// A column of `SET (a, b) = (SELECT ...)`. A sub-query that has other values each time is
    /// asked once for all columns; `guard` says for which rows.
    pub fn column_of(
        &mut self,
        s: SubLink,
        column: i16,
        like: Node,
        guard: impl FnOnce(Node) -> Node,
    ) -> Option<Node> {
        if !is_volatile(s.subselect()) {
            return place::one_column(s, column, like);
        }
        let mark = match self.asked.iter().find(|(x, _)| *x == s) {
            Some((_, mark)) => mark.copy(),
            None => {
                let mark = self.once(guard(one_row(s)?));
                self.asked.push((s, mark));
                mark
            }
        };
        let field = FieldSelect::new();
        field.set_arg(mark);
        field.set_fieldnum(column);
        field.set_resulttype(like.typ());
        field.set_resulttypmod(like.typmod());
        field.set_resultcollid(like.collation());
        Some(field.node())
    }

    /// Makes a modification the query for these outputs; rows of the target are locked where
    /// they are found, so that their places stay true.
    pub fn into_query(self, q: Query) -> Query {
        if let Some(target) = q.target() {
            let lock = f64::from(LockClauseStrength::LCS_FORUPDATE);
            target.set_enrtuples(scan::BY_PLACE + lock);
        }
        q.set_command_type(CmdType::CMD_SELECT);
        q.set_result_relation(0);
        q.set_returning_list(List::EMPTY);
        q.set_merge_action_list(List::EMPTY);
        q.set_with_check_options(List::EMPTY);
        q.set_target_list(self.list);
        self.over(q)
    }

    /// A query for rows with what is to be computed once in a query below it.
    pub fn over(self, q: Query) -> Query {
        if self.once.is_empty() {
            return q;
        }
        let mut columns: Vec<Var> = Vec::new();
        let mut list = List::EMPTY;
        for t in q.target_list().iter() {
            let e = returning::over_columns(t.expr(), 0, &mut columns);
            list.push(query::target_entry(e, t.resno(), t.resname()));
        }
        let mut below = List::EMPTY;
        for (i, v) in columns.iter().enumerate() {
            let mark = v.varattno().checked_sub(FIRST_MARK).filter(|_| v.varno() == self.target);
            let e = mark.and_then(|n| self.once.get(usize::try_from(n).ok()?).copied());
            let e = e.map_or_else(|| v.node(), Node::copy);
            below.push(query::target_entry(e, i as i16 + 1, Text::new(&format!("m{}", i + 1))));
        }
        let names = below.iter().map(|t| query::string(&t.resname().to_string())).collect();
        q.set_target_list(below);
        let outer = query::select();
        outer.set_ctes(q.ctes());
        outer.set_has_recursive(q.has_recursive());
        outer.set_has_modifying_cte(q.has_modifying_cte());
        outer.set_has_sub_links(q.has_sub_links());
        q.set_ctes(List::EMPTY);
        q.set_has_recursive(false);
        q.set_has_modifying_cte(false);
        with_is_above(q, 0);
        let rte = query::from_item(RTEKind::RTE_SUBQUERY);
        rte.set_subquery(Some(q));
        rte.set_eref(Some(query::alias("found", names)));
        outer.set_rtable(List::from([rte]));
        outer.set_jointree(Some(query::from_entry(1, Node::NONE)));
        outer.set_target_list(list);
        outer
    }
}

/// The queries of WITH are one level further up than they were.
fn with_is_above(q: Query, depth: u32) {
    for r in q.rtable().iter() {
        if r.rtekind() == RTEKind::RTE_CTE && r.ctelevelsup() >= depth {
            r.set_ctelevelsup(r.ctelevelsup() + 1);
        }
    }
    q.inner_queries().into_iter().for_each(|i| with_is_above(i, depth + 1));
}

/// Whether an expression, sub-queries included, has another value each time.
pub fn is_volatile(e: Node) -> bool {
    e.contains(ship::is_volatile)
}

/// Whether a value that is mentioned twice would be computed twice, to another result or at some
/// cost. Not what is made of something that is computed once already: it has to be above that.
pub fn is_to_compute_once(e: Node) -> bool {
    let mark = |n: Node| matches!(n.kind(), Kind::Var(v) if v.varattno() >= FIRST_MARK);
    let twice = |n: Node| matches!(n.kind(), Kind::SubLink(_)) || ship::is_volatile(n);
    e.contains(twice) && !e.contains(mark)
}

/// `(SELECT ROW(columns) FROM (sub-query))`.
fn one_row(s: SubLink) -> Option<Node> {
    let q = s.subselect().cast::<Query>()?;
    let row = RowExpr::new();
    for (t, i) in q.target_list().iter().filter(|t| !t.resjunk()).zip(1..) {
        row.set_args(row.args().with(query::var_like(1, i, t.expr())));
        row.set_colnames(row.colnames().with(query::string(&format!("f{i}"))));
    }
    row.set_row_typeid(pg_sys::RECORDOID);
    row.set_row_format(CoercionForm::COERCE_EXPLICIT_CALL);
    row.set_location(-1);
    place::over_columns(s, row.node(), SubLinkType::EXPR_SUBLINK)
}
