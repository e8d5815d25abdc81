//! The node on top of a cursor's plan, which knows where the row is that was fetched last.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::methods::{self, Functions, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{fmgr, guard, nodes, query};
use pgrx::pg_sys::{
    self, CustomExecMethods, CustomScan, CustomScanMethods, CustomScanState, EState, ExplainState,
    List, Node, NodeTag, Oid, PlanState, TupleTableSlot,
};
use std::ffi::CString;

static CURSOR: Table<CustomScanMethods> = methods::scan(c"Citus Cursor", create);
static EXEC: Table<CustomExecMethods> =
    methods::exec(c"Citus Cursor", Functions { begin, exec, end, rescan, explain });

/// The methods of the node.
pub fn cursor_methods() -> &'static CustomScanMethods {
    &CURSOR.0
}

/// Registers the node type.
pub fn register() {
    methods::register(&[&CURSOR]);
}

/// PostgreSQL's state node with ours behind it.
#[repr(C)]
struct State {
    css: CustomScanState,
    child: *mut PlanState,
    /// The row that was given last, or null.
    current: *mut TupleTableSlot,
    /// Table, first column of its rows' place, and how many there are.
    known: [u32; 3],
}

extern "C-unwind" fn create(_scan: *mut CustomScan) -> *mut Node {
    // SAFETY: the scan state is its first field; null and zero are valid for the others.
    unsafe { methods::new_state::<State>(&EXEC) }
}

extern "C-unwind" fn begin(node: *mut CustomScanState, estate: *mut EState, eflags: i32) {
    // SAFETY: PostgreSQL passes the state made above.
    guard::entry_result(|| unsafe {
        let s = node as *mut State;
        let scan = (*node).ss.ps.plan as *mut CustomScan;
        let private = query::List::from_raw((*scan).custom_private);
        let number = |b: &[u8], i: usize| {
            b.get(i * 4..i * 4 + 4).and_then(|n| n.try_into().ok()).map(u32::from_ne_bytes)
        };
        (*s).known =
            query::read_bytes(private, 0, |b| Some([number(b, 0)?, number(b, 1)?, number(b, 2)?]))
                .flatten()
                .ok_or_else(|| Error::internal("unreadable plan of a cursor"))?;
        let below: *mut pg_sys::Plan = nodes::nth((*scan).custom_plans, 0);
        (*s).child = guard::call(|| pg_sys::ExecInitNode(below, estate, eflags));
        (*node).custom_ps = nodes::list([(*s).child]);
        Ok(())
    })
}

extern "C-unwind" fn exec(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: the state made above.
    guard::entry(|| unsafe {
        let s = node as *mut State;
        let child = (*s).child;
        (*s).current = std::ptr::null_mut();
        let slot = guard::call(|| match (*child).ExecProcNode {
            Some(f) => f(child),
            None => std::ptr::null_mut(),
        });
        if !slot.is_null() && (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 == 0 {
            (*s).current = slot;
        }
        slot
    })
}

extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: the state made above; called once.
    guard::entry(|| unsafe {
        let s = node as *mut State;
        (*s).current = std::ptr::null_mut();
        let child = (*s).child;
        if !child.is_null() {
            guard::call(|| pg_sys::ExecEndNode(child));
        }
    })
}

extern "C-unwind" fn rescan(node: *mut CustomScanState) {
    // SAFETY: the state made above.
    guard::entry(|| unsafe {
        let s = node as *mut State;
        (*s).current = std::ptr::null_mut();
        let child = (*s).child;
        guard::call(|| pg_sys::ExecReScan(child));
    })
}

extern "C-unwind" fn explain(_: *mut CustomScanState, _: *mut List, _: *mut ExplainState) {}

/// Column `column` of the place of a cursor's current row of a table, as text; NULL when the row
/// has none.
fn position(cursor: &str, table: Oid, column: u32) -> Result<Option<String>> {
    let state = |text: String| Error::new(sqlstate::INVALID_CURSOR_STATE, text);
    let unknown = || {
        let text = format!("cursor \"{cursor}\" does not exist");
        Error::new(sqlstate::UNDEFINED_CURSOR, text)
    };
    let name = CString::new(cursor).map_err(|_| unknown())?;
    // SAFETY: portals live until the end of the transaction or longer; nothing that could close
    // this one runs before the value is copied.
    unsafe {
        let portal = pg_sys::GetPortalByName(name.as_ptr());
        if portal.is_null() {
            return Err(unknown());
        }
        if (*portal).strategy != pg_sys::PortalStrategy::PORTAL_ONE_SELECT {
            return Err(state(format!("cursor \"{cursor}\" is not a SELECT query")));
        }
        let desc = (*portal).queryDesc;
        if desc.is_null() || (*desc).estate.is_null() {
            return Err(state(format!("cursor \"{cursor}\" is held from a previous transaction")));
        }
        let Some(s) = of_table((*desc).planstate, table) else {
            let name = nodes::str_of(pg_sys::get_rel_name(table));
            return Err(state(format!(
                "cursor \"{cursor}\" is not a simply updatable scan of table \"{name}\""
            ))
            .detail("The table is distributed.")
            .hint("Declare the cursor FOR UPDATE, on this table only and without LIMIT."));
        };
        let slot = (*s).current;
        let [_, first, count] = (*s).known;
        if (*portal).atStart || (*portal).atEnd || slot.is_null() {
            return Err(state(format!("cursor \"{cursor}\" is not positioned on a row")));
        }
        if column >= count {
            let text = format!("the place of a cursor's row has no column {column}");
            return Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, text));
        }
        let i = (first + column) as usize;
        if ((*slot).tts_nvalid as usize) <= i {
            guard::call(|| pg_sys::slot_getsomeattrs_int(slot, i as i32 + 1));
        }
        if *(*slot).tts_isnull.add(i) {
            return Ok(None);
        }
        let typ = (*(*(*slot).tts_tupleDescriptor).attrs.as_ptr().add(i)).atttypid;
        Ok(Some(fmgr::output(typ, *(*slot).tts_values.add(i))))
    }
}

/// The state of a plan that remembers rows of a table.
unsafe fn of_table(ps: *mut PlanState, table: Oid) -> Option<*mut State> {
    if ps.is_null() || nodes::tag(ps as *mut Node) != NodeTag::T_CustomScanState {
        return None;
    }
    let s = ps as *mut State;
    let ours = std::ptr::eq((*s).css.methods, &EXEC.0);
    (ours && (*s).known[0] == u32::from(table)).then_some(s)
}

crate::pg_function!(
    /// `citus_cursor_position(text, oid, int)`: what WHERE CURRENT OF is compared with.
    citus_cursor_position,
    |args| {
        let (Some(cursor), Some(table), Some(column)) = (args.text(0), args.oid(1), args.i32(2)) else {
            return args.null();
        };
        // A negative number is none of its columns either.
        match position(&cursor, table, u32::try_from(column).unwrap_or(u32::MAX))? {
            Some(text) => Ok(fmgr::text_datum(&text)),
            None => args.null(),
        }
    }
);
