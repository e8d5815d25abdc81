//! WITH CHECK OPTION of views, and policies for new rows: evaluated with the new values, here.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::place::substitute;
use super::returning;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::pg::nodes;
use crate::plan::Check;
use crate::planner::ship;
use pgrx::pg_sys::{self, Node, Query, WithCheckOption};

/// The new row's values by column: what is assigned, generated columns, and for the others the
/// old value (UPDATE) or NULL (INSERT).
pub unsafe fn complete(
    table: &Table,
    target: i32,
    new: &[(i16, *mut Node)],
    insert: bool,
) -> Vec<(i16, *mut Node)> {
    let all: Vec<_> = returning::attributes(table).into_iter().flatten().collect();
    let mut values: Vec<(i16, *mut Node)> = Vec::new();
    for a in all.iter().filter(|a| a.generated.is_none()) {
        let value = match new.iter().find(|(n, _)| *n == a.attno) {
            Some((_, e)) => *e,
            None if insert => pg_sys::makeNullConst(a.typ, a.typmod, a.collation) as *mut Node,
            None => a.var(target) as *mut Node,
        };
        values.push((a.attno, value));
    }
    let stored = values.clone();
    for a in &all {
        if let Some(g) = a.generated {
            values.push((a.attno, substitute(g, 0, 1, &stored)));
        }
    }
    values
}

/// The conditions on new rows as expressions over what they are made from.
pub unsafe fn conditions(
    q: *mut Query,
    new: &[(i16, *mut Node)],
) -> Result<Vec<(*mut Node, Check)>> {
    use pg_sys::WCOKind::{WCO_RLS_INSERT_CHECK, WCO_RLS_UPDATE_CHECK, WCO_VIEW_CHECK};
    let mut out = Vec::new();
    for w in nodes::iter::<WithCheckOption>((*q).withCheckOptions) {
        if !(*q).onConflict.is_null()
            && (*(*q).onConflict).action == pg_sys::OnConflictAction::ONCONFLICT_UPDATE
        {
            return Err(Error::unsupported(
                "ON CONFLICT DO UPDATE through a view with CHECK OPTION or under row-level \
                 security on a distributed table",
            ));
        }
        if ![WCO_VIEW_CHECK, WCO_RLS_INSERT_CHECK, WCO_RLS_UPDATE_CHECK].contains(&(*w).kind) {
            continue;
        }
        let condition = substitute((*w).qual, 0, (*q).resultRelation, new);
        if ship::classify(condition).volatile {
            return Err(Error::unsupported(
                "a check option on a column with a volatile value in a distributed table",
            ));
        }
        let relation = nodes::str_of((*w).relname);
        let view = (*w).kind == WCO_VIEW_CHECK;
        (*q).hasSubLinks |= ship::classify(condition).sublink;
        out.push((condition, Check { column: 0, relation, view }));
    }
    Ok(out)
}
