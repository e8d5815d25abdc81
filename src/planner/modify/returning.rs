//! RETURNING whose expressions are evaluated here, over columns that the nodes return.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::nodes::{self, Visit};
use crate::planner::{analyze, pushdown, whole};
use pgrx::pg_sys::{
    self, CustomScan, List, Node, NodeTag, PlannedStmt, Query, RTEKind, TargetEntry, Var,
};

/// What is left to do here with the columns that come back.
pub struct Projection {
    /// The expressions.
    list: *mut List,
    /// What the columns are in them.
    columns: Vec<*mut Node>,
}

/// Whether nodes cannot evaluate the list themselves.
pub unsafe fn needs_lowering(q: *mut Query) -> bool {
    if (*q).returningList.is_null() {
        return false;
    }
    if !pushdown::columns(q).iter().all(|c| pushdown::is_transportable(pg_sys::Oid::from(c.typ))) {
        return true;
    }
    nodes::walk((*q).returningList as *mut Node, &mut |n| match nodes::tag(n) {
        NodeTag::T_SubLink => Visit::Skip,
        _ if analyze::blocker(n).is_some() => Visit::Stop,
        _ => Visit::Descend,
    })
}

/// Makes RETURNING of `q` the plain columns (and sub-queries) that its expressions are made of.
pub unsafe fn lower(q: *mut Query, table: &Table) -> Projection {
    let target = (*q).resultRelation;
    let list = nodes::mutate((*q).returningList, &mut |n| expand(n, target, table));
    let mut columns: Vec<*mut Node> = Vec::new();
    nodes::walk(list as *mut Node, &mut |n| {
        let own = match nodes::tag(n) {
            NodeTag::T_Var => (*(n as *mut Var)).varlevelsup == 0,
            NodeTag::T_SubLink => true,
            _ => return Visit::Descend,
        };
        if own && !columns.iter().any(|c| nodes::equal(*c, n)) {
            columns.push(n);
        }
        Visit::Skip
    });
    if columns.is_empty() {
        columns.push(pg_sys::makeBoolConst(true, false));
    }
    (*q).returningList = nodes::list(columns.iter().enumerate().map(|(i, c)| {
        let name = nodes::pstr(&format!("r{}", i + 1));
        let e = nodes::copy(*c) as *mut pg_sys::Expr;
        pg_sys::makeTargetEntry(e, i as i16 + 1, name, false)
    }));
    Projection { list, columns }
}

/// Whole rows and the OID of the target in terms of its columns.
unsafe fn expand(n: *mut Node, target: i32, table: &Table) -> Option<*mut Node> {
    if nodes::tag(n) == NodeTag::T_SubLink {
        return Some(nodes::copy(n));
    }
    let v = nodes::cast::<Var>(n, NodeTag::T_Var)?;
    if (*v).varno != target || (*v).varlevelsup != 0 {
        return None;
    }
    if (*v).varattno == pg_sys::TableOidAttributeNumber as i16 {
        let oid = pg_sys::Datum::from(u32::from(table.relid));
        let none = pg_sys::Oid::INVALID;
        return Some(pg_sys::makeConst(pg_sys::OIDOID, -1, none, 4, oid, false, true) as *mut Node);
    }
    ((*v).varattno == 0).then(|| whole_row(v, table))
}

/// A row of the table's type made of its columns.
unsafe fn whole_row(v: *mut Var, table: &Table) -> *mut Node {
    let row: *mut pg_sys::RowExpr = nodes::make(NodeTag::T_RowExpr);
    for a in attributes(table) {
        let (e, name) = match a {
            None => {
                let none = pg_sys::Oid::INVALID;
                (pg_sys::makeNullConst(pg_sys::INT4OID, -1, none) as *mut Node, String::new())
            }
            Some(a) => (a.var((*v).varno) as *mut Node, a.name),
        };
        (*row).args = pg_sys::lappend((*row).args, e as *mut _);
        (*row).colnames = pg_sys::lappend((*row).colnames, nodes::string_node(&name) as *mut _);
    }
    (*row).row_typeid = (*v).vartype;
    (*row).row_format = pg_sys::CoercionForm::COERCE_IMPLICIT_CAST;
    (*row).location = -1;
    row as *mut Node
}

/// A column of a table.
pub struct Attribute {
    /// Number.
    pub attno: i16,
    /// Name.
    pub name: String,
    /// Type.
    pub typ: pg_sys::Oid,
    /// Type modifier.
    pub typmod: i32,
    /// Collation.
    pub collation: pg_sys::Oid,
    /// The expression of a generated column, over variables of entry 1.
    pub generated: Option<*mut Node>,
}

impl Attribute {
    /// The column as a variable of an entry.
    pub unsafe fn var(&self, varno: i32) -> *mut Var {
        pg_sys::makeVar(varno, self.attno, self.typ, self.typmod, self.collation, 0)
    }
}

/// All columns of a table in order; dropped ones are `None`.
pub unsafe fn attributes(table: &Table) -> Vec<Option<Attribute>> {
    let rel = pg_sys::table_open(table.relid, pg_sys::NoLock as i32);
    let desc = (*rel).rd_att;
    let out = (0..(*desc).natts as usize)
        .map(|i| {
            let a = (*desc).attrs.as_ptr().add(i);
            if (*a).attisdropped {
                return None;
            }
            let generated = ((*a).attgenerated != 0)
                .then(|| pg_sys::build_column_default(rel, (*a).attnum as i32));
            Some(Attribute {
                attno: (*a).attnum,
                name: nodes::str_of((*a).attname.data.as_ptr()),
                typ: (*a).atttypid,
                typmod: (*a).atttypmod,
                collation: (*a).attcollation,
                generated,
            })
        })
        .collect();
    pg_sys::table_close(rel, pg_sys::NoLock as i32);
    out
}

impl Projection {
    /// Evaluates the expressions in the node that returns the columns.
    pub unsafe fn apply(self, stmt: *mut PlannedStmt) -> Result<*mut PlannedStmt> {
        let top = (*stmt).planTree as *mut Node;
        let Some(scan) = nodes::cast::<CustomScan>(top, NodeTag::T_CustomScan) else {
            return Err(Error::internal("RETURNING without a node that returns rows"));
        };
        let columns = self.columns;
        let mut tlist: *mut List = std::ptr::null_mut();
        for t in nodes::iter::<TargetEntry>(self.list).filter(|t| !(**t).resjunk) {
            let out: *mut TargetEntry = nodes::copy(t);
            let e = nodes::mutate((*t).expr as *mut Node, &mut |n| {
                let i = columns.iter().position(|c| nodes::equal(*c, n))?;
                Some(whole::var_like(pg_sys::INDEX_VAR, i as i16 + 1, n) as *mut Node)
            });
            let e = crate::planner::fold(e);
            pg_sys::fix_opfuncids(e);
            (*out).expr = e as *mut pg_sys::Expr;
            (*out).resno = nodes::len(tlist) as i16 + 1;
            tlist = pg_sys::lappend(tlist, out as *mut _);
        }
        (*scan).scan.plan.targetlist = tlist;
        Ok(stmt)
    }
}

/// Whether the entry is a table, whose whole rows have a named type.
pub unsafe fn has_named_rows(q: *mut Query, varno: i32) -> bool {
    let rte = nodes::rte((*q).rtable, varno as u32);
    !rte.is_null() && (*rte).rtekind == RTEKind::RTE_RELATION
}
