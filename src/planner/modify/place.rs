//! UPDATE and DELETE by the places of rows.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::checks;
use super::returning::{self, Attribute};
use super::Standard;
use crate::catalog::{Kind, Table};
use crate::error::{Error, Result};
use crate::pg::{fmgr::quote_ident, nodes};
use crate::plan::{Apply, Column, DistPlan, Operation, Piece, Prune, Route, Sent, Step};
use crate::plan::{Target, Template};
use crate::planner::{rest, ship};
use pgrx::pg_sys::{self, CmdType, List, Node, NodeTag, Oid, PlannedStmt, Query, TargetEntry, Var};
use std::rc::Rc;

/// Attribute number under which scans deliver the number of a row's shard.
pub const SHARD_ATTRIBUTE: i16 = pg_sys::TableOidAttributeNumber as i16;

/// The query for rows that is made from a modification.
pub struct Rows {
    /// Its outputs so far.
    list: *mut List,
}

impl Rows {
    /// No outputs yet.
    pub fn new() -> Self {
        Rows { list: std::ptr::null_mut() }
    }

    /// Adds an output; its number counts from 0.
    pub unsafe fn add(&mut self, e: *mut Node) -> u32 {
        let n = nodes::len(self.list);
        let t = pg_sys::makeTargetEntry(
            e as *mut pg_sys::Expr,
            n as i16 + 1,
            nodes::pstr(&format!("c{}", n + 1)),
            false,
        );
        self.list = pg_sys::lappend(self.list, t as *mut _);
        n as u32
    }

    /// Adds an expression that may be missing.
    pub unsafe fn add_if(&mut self, e: *mut Node) {
        for n in nodes::conjuncts(e) {
            self.add(n);
        }
    }

    /// Makes a modification the query for these outputs; rows of the target are locked where
    /// they are found, so that their places stay true.
    pub unsafe fn into_query(self, q: *mut Query) -> *mut Query {
        let target = nodes::rte((*q).rtable, (*q).resultRelation as u32);
        (*target).enrtuples = rest::BY_PLACE + f64::from(pg_sys::LockClauseStrength::LCS_FORUPDATE);
        (*q).targetList = self.list;
        (*q).commandType = CmdType::CMD_SELECT;
        (*q).resultRelation = 0;
        (*q).returningList = std::ptr::null_mut();
        (*q).mergeActionList = std::ptr::null_mut();
        (*q).withCheckOptions = std::ptr::null_mut();
        q
    }
}

/// Columns by which a row of the target is found again.
pub struct Identity {
    /// Output with the shard's number.
    pub shard: u32,
    /// Outputs with values to compare, and the SQL that compares them with `v.iN`.
    parts: Vec<(Sent, String)>,
}

impl Identity {
    /// Adds what identifies rows of the target (range table entry `varno`) to the query: their
    /// place, or values where places differ between replicas.
    pub unsafe fn new(table: &Table, varno: i32, rows: &mut Rows) -> Self {
        let system = |attno: i16, typ: Oid| {
            pg_sys::makeVar(varno, attno, typ, -1, Oid::INVALID, 0) as *mut Node
        };
        let shard = rows.add(system(SHARD_ATTRIBUTE, pg_sys::OIDOID));
        if !super::is_replicated(table) {
            let ctid = system(pg_sys::SelfItemPointerAttributeNumber as i16, pg_sys::TIDOID);
            let sent = Sent { column: rows.add(ctid), as_text: false };
            let sql = "t.ctid OPERATOR(pg_catalog.=) v.i1".to_owned();
            return Identity { shard, parts: vec![(sent, sql)] };
        }
        let all: Vec<Attribute> = returning::attributes(table).into_iter().flatten().collect();
        let primary = primary_key(table);
        let mut parts = Vec::new();
        for a in all.iter().filter(|a| primary.is_empty() || primary.contains(&a.attno)) {
            let as_text = !is_comparable(a.typ);
            let cast = if as_text { "::pg_catalog.text" } else { "" };
            let sql = format!(
                "t.{}{cast} IS NOT DISTINCT FROM v.i{}",
                quote_ident(&a.name),
                parts.len() + 1
            );
            parts.push((Sent { column: rows.add(a.var(varno) as *mut Node), as_text }, sql));
        }
        Identity { shard, parts }
    }

    /// Outputs that are the same for the same row.
    pub fn columns(&self) -> Vec<u32> {
        let mut out = vec![self.shard];
        out.extend(self.parts.iter().map(|(s, _)| s.column));
        out
    }
}

/// Whether `IS NOT DISTINCT FROM` finds the type's equality on any node.
unsafe fn is_comparable(typ: Oid) -> bool {
    let entry = pg_sys::lookup_type_cache(typ, pg_sys::TYPECACHE_EQ_OPR as i32);
    ship::is_plain_type(typ) && (*entry).eq_opr != Oid::INVALID
}

/// Columns of the primary key.
unsafe fn primary_key(table: &Table) -> Vec<i16> {
    let rel = pg_sys::table_open(table.relid, pg_sys::NoLock as i32);
    let set = pg_sys::RelationGetIndexAttrBitmap(
        rel,
        pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_PRIMARY_KEY,
    );
    let mut out = Vec::new();
    let mut i = -1;
    loop {
        i = pg_sys::bms_next_member(set, i);
        if i < 0 {
            break;
        }
        out.push((i + pg_sys::FirstLowInvalidHeapAttributeNumber) as i16);
    }
    pg_sys::table_close(rel, pg_sys::NoLock as i32);
    out
}

/// A column of the statement's result.
pub enum Returned {
    /// The target's, as SQL over `t`.
    Target(String),
    /// One that the rows carry.
    Carried(Sent),
}

/// The statement that updates (`columns` with their new values) or deletes identified rows.
pub unsafe fn by_identity(
    table: &Table,
    id: &Identity,
    columns: &[(i16, u32)],
    delete: bool,
    returned: &[(Returned, Column)],
) -> Step {
    let mut names: Vec<String> = (1..=id.parts.len()).map(|i| format!("i{i}")).collect();
    let mut sent: Vec<Sent> = id.parts.iter().map(|(s, _)| *s).collect();
    let mut set = Vec::new();
    for (n, (attno, column)) in columns.iter().enumerate() {
        let name = nodes::str_of(pg_sys::get_attname(table.relid, *attno, false));
        set.push(format!("{} = v.v{}", quote_ident(&name), n + 1));
        names.push(format!("v{}", n + 1));
        sent.push(Sent { column: *column, as_text: false });
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
    let conditions: Vec<&str> = id.parts.iter().map(|(_, sql)| sql.as_str()).collect();
    let mut tail = format!(") v({}) WHERE {}", names.join(", "), conditions.join(" AND "));
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
    }
}

/// The statement that inserts rows with all the given columns.
pub unsafe fn insert_step(table: &Table, columns: &[(i16, u32)], key: Option<u32>) -> Step {
    let names: Vec<String> = columns
        .iter()
        .map(|(a, _)| quote_ident(&nodes::str_of(pg_sys::get_attname(table.relid, *a, false))))
        .collect();
    let pieces = vec![
        Piece::Text("INSERT INTO ".into()),
        Piece::Table(0),
        Piece::Text(format!(" ({}) OVERRIDING SYSTEM VALUE VALUES ", names.join(", "))),
        Piece::Rows,
    ];
    Step {
        plan: statement(table, pieces, Vec::new()),
        route: key.map_or(Route::First, Route::Key),
        columns: columns.iter().map(|(_, c)| Sent { column: *c, as_text: false }).collect(),
        counts: true,
        untyped: true,
    }
}

fn statement(table: &Table, pieces: Vec<Piece>, columns: Vec<Column>) -> DistPlan {
    let anchor = u32::from(table.relid);
    DistPlan {
        operation: Operation::Modify,
        target: match table.kind {
            Kind::Reference => Target::AllReplicas { anchor },
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
        tenant: None,
    }
}

/// Plans an UPDATE or DELETE whose RETURNING is plain columns.
pub unsafe fn plan(
    q: *mut Query,
    table: &Rc<Table>,
    standard: Standard<'_>,
) -> Result<*mut PlannedStmt> {
    let s = nodes::copy(q);
    let target = (*s).resultRelation;
    let is_update = (*q).commandType == CmdType::CMD_UPDATE;
    let mut rows = Rows::new();
    let id = Identity::new(table, target, &mut rows);
    let new: Vec<(i16, *mut Node)> = if is_update { assigned(s)? } else { Vec::new() };
    let mut apply = if super::changes_key(q, table) {
        move_rows(s, table, &mut rows, &id, &new)?
    } else {
        let values: Vec<(i16, u32)> = new.iter().map(|(a, e)| (*a, rows.add(*e))).collect();
        let returned = returned(s, &new, &mut rows)?;
        Apply::one(by_identity(table, &id, &values, !is_update, &returned))
    };
    apply.identity = id.columns();
    let new = checks::complete(table, target, &new, false);
    for (condition, mut check) in checks::conditions(s, &new)? {
        check.column = rows.add(condition);
        apply.checks.push(check);
    }
    let s = rows.into_query(s);
    let stmt = rest::plan(s, standard)?;
    Ok(super::on_top(q, stmt, &apply, &[]))
}

/// New values by column number.
unsafe fn assigned(s: *mut Query) -> Result<Vec<(i16, *mut Node)>> {
    let list = (*s).targetList;
    let mut out = Vec::new();
    for t in nodes::iter::<TargetEntry>(list).filter(|t| !(**t).resjunk) {
        if ship::classify((*t).expr as *mut Node).srf {
            return Err(Error::unsupported("a set-returning function in UPDATE"));
        }
        out.push(((*t).resno, without_multi((*t).expr as *mut Node, list)));
    }
    Ok(out)
}

/// Parameters that stand for columns of one sub-query (`SET (a, b) = (SELECT ...)`) become
/// sub-queries of their own.
pub unsafe fn without_multi(e: *mut Node, list: *mut List) -> *mut Node {
    nodes::mutate(e, &mut |n| {
        let p = nodes::cast::<pg_sys::Param>(n, NodeTag::T_Param)?;
        if (*p).paramkind != pg_sys::ParamKind::PARAM_MULTIEXPR {
            return None;
        }
        let (id, column) = ((*p).paramid >> 16, ((*p).paramid & 0xffff) as i16);
        let whole = nodes::iter::<TargetEntry>(list).find_map(|t| {
            let s = nodes::cast::<pg_sys::SubLink>((*t).expr as *mut Node, NodeTag::T_SubLink)?;
            ((*s).subLinkId == id).then_some(s)
        })?;
        Some(one_column(whole, column, n))
    })
}

/// `(SELECT column FROM (sub-query))`.
unsafe fn one_column(s: *mut pg_sys::SubLink, column: i16, like: *mut Node) -> *mut Node {
    let inner = nodes::copy((*s).subselect);
    pg_sys::IncrementVarSublevelsUp(inner, 1, 1);
    let q = inner as *mut Query;
    let rte: *mut pg_sys::RangeTblEntry = nodes::make(NodeTag::T_RangeTblEntry);
    (*rte).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
    (*rte).subquery = q;
    (*rte).inFromCl = true;
    let names = nodes::list(
        nodes::iter::<TargetEntry>((*q).targetList)
            .filter(|t| !(**t).resjunk)
            .map(|t| nodes::string_node(&nodes::str_of((*t).resname))),
    );
    (*rte).eref = pg_sys::makeAlias(c"multi".as_ptr(), names);
    let outer: *mut Query = nodes::make(NodeTag::T_Query);
    (*outer).commandType = CmdType::CMD_SELECT;
    (*outer).canSetTag = true;
    (*outer).rtable = nodes::list([rte]);
    (*outer).jointree =
        pg_sys::makeFromExpr(nodes::list([rest::range_ref(1)]), std::ptr::null_mut());
    let v = crate::planner::whole::var_like(1, column, like) as *mut pg_sys::Expr;
    (*outer).targetList =
        nodes::list([pg_sys::makeTargetEntry(v, 1, nodes::pstr("column"), false)]);
    let link: *mut pg_sys::SubLink = nodes::make(NodeTag::T_SubLink);
    (*link).subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
    (*link).subselect = outer as *mut Node;
    (*link).location = -1;
    link as *mut Node
}

/// RETURNING (plain columns and sub-queries) as columns of the statement's result.
unsafe fn returned(
    s: *mut Query,
    new: &[(i16, *mut Node)],
    rows: &mut Rows,
) -> Result<Vec<(Returned, Column)>> {
    let target = (*s).resultRelation;
    let mut out = Vec::new();
    for t in nodes::iter::<TargetEntry>((*s).returningList) {
        let e = (*t).expr as *mut Node;
        let typ = pg_sys::exprType(e);
        let column = Column { typ: u32::from(typ), typmod: pg_sys::exprTypmod(e) };
        let own = nodes::cast::<Var>(e, NodeTag::T_Var).filter(|v| (**v).varno == target);
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

unsafe fn target_column(s: *mut Query, v: *mut Var) -> String {
    let rte = nodes::rte((*s).rtable, (*s).resultRelation as u32);
    if (*v).varattno == pg_sys::SelfItemPointerAttributeNumber as i16 {
        return "t.ctid".into();
    }
    if (*v).varattno < 0 {
        return "NULL".into();
    }
    let name = nodes::str_of(pg_sys::get_attname((*rte).relid, (*v).varattno, false));
    format!("t.{}", quote_ident(&name))
}

/// Rows of a sub-query have no type that their text can be read back by.
unsafe fn check_row_type(s: *mut Query, e: *mut Node) -> Result<()> {
    let whole = nodes::cast::<Var>(e, NodeTag::T_Var).filter(|v| (**v).varattno == 0);
    match whole {
        Some(v) if !returning::has_named_rows(s, (*v).varno) => {
            Err(Error::unsupported("a whole row of a sub-query in RETURNING")
                .hint("List its columns."))
        }
        _ => Ok(()),
    }
}

/// An expression in which columns of the target have their new values.
unsafe fn with_new_values(e: *mut Node, target: i32, new: &[(i16, *mut Node)]) -> *mut Node {
    substitute(e, 0, target, new)
}

/// Puts expressions in the place of columns of entry `target`, in sub-queries, too.
pub unsafe fn substitute(
    e: *mut Node,
    depth: u32,
    target: i32,
    new: &[(i16, *mut Node)],
) -> *mut Node {
    nodes::mutate(e, &mut |n| {
        if nodes::tag(n) == NodeTag::T_Query {
            let q: *mut Query = nodes::copy(n as *mut Query);
            nodes::mutate_query(q, 0, &mut |x| Some(substitute(x, depth + 1, target, new)));
            return Some(q as *mut Node);
        }
        let v = nodes::cast::<Var>(n, NodeTag::T_Var)?;
        if (*v).varlevelsup != depth || (*v).varno != target {
            return None;
        }
        let (_, value) = new.iter().find(|(a, _)| *a == (*v).varattno)?;
        let value: *mut Node = nodes::copy(*value);
        pg_sys::IncrementVarSublevelsUp(value, depth as i32, 0);
        Some(value)
    })
}

/// An UPDATE that may move rows to other shards: they are deleted and inserted again.
unsafe fn move_rows(
    s: *mut Query,
    table: &Table,
    rows: &mut Rows,
    id: &Identity,
    new: &[(i16, *mut Node)],
) -> Result<Apply> {
    let target = (*s).resultRelation;
    let all: Vec<Attribute> = returning::attributes(table).into_iter().flatten().collect();
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
        .filter(|(n, _)| !all.iter().any(|a| a.attno == *n && a.generated.is_some()))
        .collect();
    let mut delete = by_identity(table, id, &[], true, &[]);
    delete.counts = false;
    let mut apply = Apply::one(delete);
    apply.steps.push(insert_step(table, &stored, key));
    apply.actions = vec![vec![0, 1]];
    for t in nodes::iter::<TargetEntry>((*s).returningList) {
        let e = (*t).expr as *mut Node;
        let own = nodes::cast::<Var>(e, NodeTag::T_Var)
            .filter(|v| (**v).varno == target)
            .and_then(|v| columns.iter().find(|(n, _)| *n == (*v).varattno));
        apply.keep.push(match own {
            Some((_, c)) => *c,
            None => rows.add(with_new_values(e, target, &values)),
        });
    }
    Ok(apply)
}
