//! UPDATE and DELETE by the places of rows.

use super::identity::Identity;
use super::wanted::{self, Rows};
use super::{checks, ctid, moving, returning};
use crate::catalog::{Kind as TableKind, Table};
use crate::error::{Error, Result};
use crate::pg::fmgr::quote_ident;
use crate::pg::lookup::{self, Attribute};
use crate::pg::query::{
    self, Kind, List, Node, Param, PlannedStmt, Query, SubLink, TargetEntry, Text, Var,
};
use crate::plan::{Apply, Column, DistPlan, Operation, Piece, Prune, Route, Sent, Step};
use crate::plan::{Target, Template, When};
use crate::planner::{pushdown, rest, ship, Standard};
use pgrx::pg_sys::{self, CmdType, NodeTag, Oid, ParamKind, RTEKind, SubLinkType};
use std::rc::Rc;

/// Attribute number under which scans deliver the number of a row's shard.
pub const SHARD_ATTRIBUTE: i16 = pg_sys::TableOidAttributeNumber as i16;

/// A column of the statement's result.
pub enum Returned {
    /// The target's, as SQL over `t`.
    Target(String),
    /// One that the rows carry.
    Carried(Sent),
}

/// The statement that updates (`columns` with their new values) or deletes identified rows.
pub fn by_identity(
    table: &Table,
    id: &Identity,
    columns: &[(i16, u32)],
    delete: bool,
    returned: &[(Returned, Column)],
) -> Step {
    let mut names: Vec<String> = id.names();
    let mut sent: Vec<Sent> = id.parts.clone();
    let mut set = Vec::new();
    for (n, (attno, column)) in columns.iter().enumerate() {
        let name = lookup::column_name(table.relid, *attno);
        set.push(format!("{} = v.v{}", quote_ident(&name), n + 1));
        names.push(format!("v{}", n + 1));
        sent.push(Sent { column: *column, as_text: false });
    }
    if set.is_empty() && !delete {
        // `SET generated = DEFAULT` alone.
        let all = lookup::attributes(table.relid).into_iter().flatten();
        set.extend(
            all.filter(|a| a.generated).map(|a| format!("{} = DEFAULT", quote_ident(&a.name))),
        );
        set.truncate(1);
    }
    let mut outputs = Vec::new();
    for (r, _) in returned {
        match r {
            Returned::Target(sql) => outputs.push(sql.clone()),
            Returned::Carried(s) => {
                let name = format!("x{}", names.len() + 1);
                outputs.push(format!("v.{name}"));
                names.push(name);
                sent.push(*s);
            }
        }
    }
    let (head, middle) = if delete {
        ("DELETE FROM ", " t USING (VALUES ".to_owned())
    } else {
        ("UPDATE ", format!(" t SET {} FROM (VALUES ", set.join(", ")))
    };
    let mut tail = format!(") v({}) WHERE {}", names.join(", "), id.condition("t", "v"));
    if !outputs.is_empty() {
        tail.push_str(" RETURNING ");
        tail.push_str(&outputs.join(", "));
    }
    let pieces = vec![
        Piece::Text(head.into()),
        Piece::Table(0),
        Piece::Text(middle),
        Piece::Rows,
        Piece::Text(tail),
    ];
    let columns = returned.iter().map(|(_, c)| c.clone()).collect();
    Step {
        plan: statement(table, pieces, columns),
        route: Route::Number(id.shard),
        columns: sent,
        counts: true,
        untyped: false,
        when: When::Always,
        moves: None,
    }
}

/// By which name statements call the table that they change.
pub const ALIAS: &str = "t";

/// As whom the rights on the target of a modification are checked: 0 for whoever runs it.
pub fn owner_of_target(q: Query) -> u32 {
    u32::from(q.target().map_or(Oid::INVALID, |rte| rte.check_as_user()))
}

/// The statement that inserts rows with all the given columns.
pub fn insert_step(table: &Table, columns: &[(i16, u32)], key: Option<u32>) -> Step {
    let names: Vec<String> =
        columns.iter().map(|(a, _)| quote_ident(&lookup::column_name(table.relid, *a))).collect();
    let pieces = vec![
        Piece::Text("INSERT INTO ".into()),
        Piece::Table(0),
        Piece::Text(format!(" AS {ALIAS} ({}) OVERRIDING SYSTEM VALUE ", names.join(", "))),
        Piece::Rows,
    ];
    Step {
        plan: statement(table, pieces, Vec::new()),
        route: key.map_or(Route::First, Route::Key),
        columns: columns.iter().map(|(_, c)| Sent { column: *c, as_text: false }).collect(),
        counts: true,
        untyped: true,
        when: When::Always,
        moves: None,
    }
}

fn statement(table: &Table, pieces: Vec<Piece>, columns: Vec<Column>) -> DistPlan {
    let anchor = u32::from(table.relid);
    DistPlan {
        operation: Operation::Modify,
        target: match table.kind {
            TableKind::Reference => Target::AllReplicas { anchor },
            _ => Target::Shards { anchor, prune: Prune::All, single: false },
        },
        template: Template { pieces },
        tables: vec![anchor],
        params: Vec::new(),
        columns,
        merge: Vec::new(),
        rows: 1000.0,
        prepare: false,
        insert: false,
        volatile: false,
        locks: vec![anchor],
        nowait: false,
        append: false,
        tenant: None,
        check_as: Vec::new(),
    }
}

/// Plans an UPDATE or DELETE whose RETURNING is plain columns.
pub fn plan(q: Query, table: &Rc<Table>, standard: Standard<'_>) -> Result<PlannedStmt> {
    ctid::check_here(q, table)?;
    let s = q.copy();
    ctid::with_shards(s, table);
    let target = s.result_relation();
    let is_update = q.command_type() == CmdType::CMD_UPDATE;
    let mut rows = Rows::new(target);
    let id = Identity::new(table, target, &mut rows);
    let new = if is_update { assigned(s, &mut rows)? } else { Vec::new() };
    let mut apply = if super::changes_key(q, table) {
        move_rows(s, table, &mut rows, &id, &new)?
    } else {
        let values: Vec<(i16, u32)> = new.iter().map(|(a, e)| (*a, rows.add(*e))).collect();
        let seen = match is_update {
            true => checks::complete(table, target, &new, false),
            false => Vec::new(),
        };
        let returned = returned(s, &seen, &mut rows)?;
        Apply::one(by_identity(table, &id, &values, !is_update, &returned))
    };
    apply.identity = id.columns();
    apply.place = id.place;
    let new = checks::complete(table, target, &new, false);
    for (condition, mut check) in checks::conditions(s, &new)? {
        check.column = rows.add(condition);
        apply.checks.push(check);
    }
    apply.check_as(ALIAS, owner_of_target(s));
    let s = rows.into_query(s);
    let stmt = rest::plan(s, standard)?;
    Ok(super::on_top(q, stmt, &apply, &[]))
}

/// New values by column number.
fn assigned(s: Query, rows: &mut Rows) -> Result<Vec<(i16, Node)>> {
    let list = s.target_list();
    // RETURNING and conditions on the new row mention them again.
    let again = !s.returning_list().is_empty() || !s.with_check_options().is_empty();
    let mut out = Vec::new();
    let computed = |t: &TargetEntry| t.expr().tag() == NodeTag::T_SetToDefault;
    for t in list.iter().filter(|t| !t.resjunk() && !computed(t)) {
        if ship::classify(t.expr()).srf {
            return Err(Error::unsupported("a set-returning function in UPDATE"));
        }
        let e = without_multi(t.expr(), list, |link, column, like| {
            rows.column_of(link, column, like, |row| row)
        });
        let once = again && wanted::is_to_compute_once(e);
        out.push((t.resno(), if once { rows.once(e) } else { e }));
    }
    Ok(out)
}

/// Parameters that stand for columns of one sub-query (`SET (a, b) = (SELECT ...)`) become what
/// `column_of` makes of sub-query, column and parameter.
pub fn without_multi(
    e: Node,
    list: List<TargetEntry>,
    mut column_of: impl FnMut(SubLink, i16, Node) -> Option<Node>,
) -> Node {
    e.mutate(|n| {
        let p = n.cast::<Param>()?;
        if p.paramkind() != ParamKind::PARAM_MULTIEXPR {
            return None;
        }
        let (id, column) = (p.paramid() >> 16, (p.paramid() & 0xffff) as i16);
        let whole = list.iter().find_map(|t| {
            let s = t.expr().cast::<SubLink>()?;
            (s.sub_link_id() == id).then_some(s)
        })?;
        column_of(whole, column, n)
    })
}

/// `(SELECT column FROM (sub-query))`.
pub fn one_column(s: SubLink, column: i16, like: Node) -> Option<Node> {
    over_columns(s, query::var_like(1, column, like), SubLinkType::EXPR_SUBLINK)
}

/// `(SELECT expression FROM (sub-query))`; the expression's variables are of entry 1.
pub fn over_columns(s: SubLink, e: Node, kind: SubLinkType::Type) -> Option<Node> {
    let q = s.subselect().copy().cast::<Query>()?;
    q.node().shift_levels(1, 1);
    let rte = query::from_item(RTEKind::RTE_SUBQUERY);
    rte.set_subquery(Some(q));
    let outputs = q.target_list().iter().filter(|t| !t.resjunk());
    let names = outputs.map(|t| query::string(&t.resname().to_string())).collect();
    rte.set_eref(Some(query::alias("multi", names)));
    let outer = query::select();
    outer.set_rtable(List::from([rte]));
    outer.set_jointree(Some(query::from_entry(1, Node::NONE)));
    outer.set_target_list(List::from([query::target_entry(e, 1, Text::new("column"))]));
    let link = SubLink::new();
    link.set_sub_link_type(kind);
    link.set_subselect(outer.node());
    link.set_location(-1);
    Some(link.node())
}

/// RETURNING (plain columns and sub-queries) as columns of the statement's result.
fn returned(s: Query, new: &[(i16, Node)], rows: &mut Rows) -> Result<Vec<(Returned, Column)>> {
    let target = s.result_relation();
    let mut out = Vec::new();
    for t in s.returning_list().iter() {
        let e = t.expr();
        let typ = e.typ();
        let column = pushdown::column(e);
        let own = e.cast::<Var>().filter(|v| v.varno() == target);
        let how = match own {
            Some(v) => Returned::Target(target_column(s, v)),
            None => {
                check_row_type(s, e)?;
                let e = with_new_values(e, target, new);
                let as_text = !ship::is_plain_type(typ);
                Returned::Carried(Sent { column: rows.add(e), as_text })
            }
        };
        out.push((how, column));
    }
    Ok(out)
}

fn target_column(s: Query, v: Var) -> String {
    let relid = s.target().map_or(Oid::INVALID, |rte| rte.relid());
    if v.varattno() == SHARD_ATTRIBUTE {
        return format!("{}::pg_catalog.oid", u32::from(relid));
    }
    if let Some(name) = lookup::system_column(v.varattno()) {
        return format!("t.{name}");
    }
    format!("t.{}", quote_ident(&lookup::column_name(relid, v.varattno())))
}

/// Rows of a sub-query have no type that their text can be read back by.
fn check_row_type(s: Query, e: Node) -> Result<()> {
    let whole = e.cast::<Var>().filter(|v| v.varattno() == 0);
    match whole {
        Some(v) if !returning::has_named_rows(s, v.varno()) => {
            Err(Error::unsupported("a whole row of a sub-query in RETURNING")
                .hint("List its columns."))
        }
        _ => Ok(()),
    }
}

/// An expression in which columns of the target have their new values.
fn with_new_values(e: Node, target: i32, new: &[(i16, Node)]) -> Node {
    substitute(e, 0, target, new)
}

/// Puts expressions in the place of columns of entry `target`, in sub-queries, too.
pub fn substitute(e: Node, depth: u32, target: i32, new: &[(i16, Node)]) -> Node {
    e.mutate(|n| {
        let v = match n.kind() {
            Kind::Query(q) => {
                let q = q.copy();
                q.mutate_parts(|x| Some(substitute(x, depth + 1, target, new)));
                let link = |n: Node| matches!(n.kind(), Kind::SubLink(_));
                let links = q.has_sub_links() || new.iter().any(|(_, e)| e.contains(link));
                q.set_has_sub_links(links);
                return Some(q.node());
            }
            Kind::Var(v) => v,
            _ => return None,
        };
        if v.varlevelsup() != depth || v.varno() != target {
            return None;
        }
        let (_, value) = new.iter().find(|(a, _)| *a == v.varattno())?;
        let value = value.copy();
        value.shift_levels(depth as i32, 0);
        Some(value)
    })
}

/// An UPDATE that may move rows to other shards.
fn move_rows(
    s: Query,
    table: &Table,
    rows: &mut Rows,
    id: &Identity,
    new: &[(i16, Node)],
) -> Result<Apply> {
    let target = s.result_relation();
    let all: Vec<Attribute> = lookup::attributes(table.relid).into_iter().flatten().collect();
    let values = checks::complete(table, target, new, false);
    let mut columns = Vec::new();
    let mut key = None;
    for (attno, e) in &values {
        let column = rows.add(*e);
        if table.key.as_ref().is_some_and(|k| k.attno == *attno) {
            key = Some(column);
        }
        columns.push((*attno, column));
    }
    let stored: Vec<(i16, u32)> = columns
        .iter()
        .copied()
        .filter(|(n, _)| !all.iter().any(|a| a.attno == *n && a.generated))
        .collect();
    let changed: Vec<(i16, u32)> =
        stored.iter().copied().filter(|(n, _)| new.iter().any(|(a, _)| a == n)).collect();
    let mut apply = Apply::of(moving::steps(table, id, &changed, &stored, key));
    for t in s.returning_list().iter() {
        let e = t.expr();
        let own = e
            .cast::<Var>()
            .filter(|v| v.varno() == target)
            .and_then(|v| columns.iter().find(|(n, _)| *n == v.varattno()));
        apply.keep.push(match own {
            Some((_, c)) => *c,
            None => rows.add(with_new_values(e, target, &values)),
        });
    }
    Ok(apply)
}
