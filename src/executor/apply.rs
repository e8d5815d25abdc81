//! Nodes that write the rows of the plan below them: routed INSERT, UPDATE and DELETE by place.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::run::Exec;
use super::tasks::{self, Value};
use crate::catalog::{self, Table};
use crate::error::{Error, OrRaise, Result};
use crate::pg::transmit::transmit;
use crate::pg::{guard, nodes};
use crate::plan::{Apply, Target};
use crate::planner::{modify, values, whole};
use pgrx::pg_sys::{
    self, CustomExecMethods, CustomScan, CustomScanMethods, CustomScanState, Datum, EState,
    ExplainState, List, Node, NodeTag, Oid, PlanState, ScanState, TupleTableSlot,
};
use std::collections::{BTreeMap, HashSet};
use std::ffi::{c_char, CStr};
use std::rc::Rc;

/// Text of buffered rows is sent when it reaches this size.
const FLUSH_BYTES: usize = 4 << 20;

struct Shared<T>(T);
// SAFETY: immutable tables of function pointers.
unsafe impl<T> Sync for Shared<T> {}

static INSERT: Shared<CustomScanMethods> = Shared(CustomScanMethods {
    CustomName: c"Citus Insert".as_ptr(),
    CreateCustomScanState: Some(create_state),
});
static PLACE: Shared<CustomScanMethods> = Shared(CustomScanMethods {
    CustomName: c"Citus Modify".as_ptr(),
    CreateCustomScanState: Some(create_state),
});
static EXEC: Shared<CustomExecMethods> = Shared(CustomExecMethods {
    CustomName: c"Citus Apply".as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(exec),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain),
});

/// The methods of an applying node.
pub fn apply_methods(apply: &Apply) -> *const CustomScanMethods {
    match apply {
        Apply::Insert { .. } => &INSERT.0,
        Apply::Place { .. } => &PLACE.0,
    }
}

/// Registers the node types.
pub fn register() {
    // SAFETY: the tables are static.
    unsafe {
        pg_sys::RegisterCustomScanMethods(&INSERT.0);
        pg_sys::RegisterCustomScanMethods(&PLACE.0);
    }
}

/// PostgreSQL's state node with ours behind it.
#[repr(C)]
struct State {
    css: CustomScanState,
    inner: *mut Inner,
}

struct Inner {
    exec: Exec,
    apply: Apply,
    exprs: *mut List,
    child: *mut PlanState,
    columns: Vec<Output>,
    /// Rows as text by shard number.
    buffers: BTreeMap<u32, String>,
    bytes: usize,
    seen: HashSet<(u32, u64)>,
    sent: bool,
    done: bool,
}

/// Output function of a column of the new rows.
struct Output {
    typ: Oid,
    info: Box<pg_sys::FmgrInfo>,
    cast: String,
}

extern "C-unwind" fn create_state(_scan: *mut CustomScan) -> *mut Node {
    guard::entry(|| {
        // SAFETY: a zeroed node with its tag and methods.
        unsafe {
            let s: *mut State = nodes::make(NodeTag::T_CustomScanState);
            (*s).css.methods = &EXEC.0;
            s as *mut Node
        }
    })
}

extern "C-unwind" fn begin(node: *mut CustomScanState, estate: *mut EState, eflags: i32) {
    // SAFETY: PostgreSQL passes the state made above.
    guard::entry_result(|| unsafe { begin_inner(node as *mut State, estate, eflags) })
}

unsafe fn begin_inner(s: *mut State, estate: *mut EState, eflags: i32) -> Result<()> {
    let scan = (*s).css.ss.ps.plan as *mut CustomScan;
    let unreadable = || Error::internal("unreadable distributed plan");
    let plan = whole::decode((*scan).custom_private).ok_or_else(unreadable)?;
    let apply = whole::decode_bytes((*scan).custom_private, 1)
        .and_then(Apply::decode)
        .ok_or_else(unreadable)?;
    let below: *mut pg_sys::Plan = nodes::nth((*scan).custom_plans, 0);
    let child = guard::call(|| pg_sys::ExecInitNode(below, estate, eflags));
    (*s).css.custom_ps = nodes::list([child]);
    let desc = (*(*s).css.ss.ss_ScanTupleSlot).tts_tupleDescriptor;
    let context = (*estate).es_query_cxt;
    let inner = Inner {
        exec: Exec::new(plan, desc, context),
        apply,
        exprs: pg_sys::ExecInitExprList((*scan).custom_exprs, &mut (*s).css.ss.ps),
        child,
        columns: outputs((*below).targetlist),
        buffers: BTreeMap::new(),
        bytes: 0,
        seen: HashSet::new(),
        sent: false,
        done: false,
    };
    (*s).inner = guard::leak_into(context, inner);
    Ok(())
}

unsafe fn outputs(tlist: *mut List) -> Vec<Output> {
    nodes::iter::<pg_sys::TargetEntry>(tlist)
        .filter(|t| !(**t).resjunk)
        .map(|t| {
            let typ = pg_sys::exprType((*t).expr as *mut Node);
            let (mut f, mut varlena) = (Oid::INVALID, false);
            let mut info = Box::<pg_sys::FmgrInfo>::default();
            pg_sys::getTypeOutputInfo(typ, &mut f, &mut varlena);
            pg_sys::fmgr_info(f, &mut *info);
            let typmod = pg_sys::exprTypmod((*t).expr as *mut Node);
            let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY;
            let cast = nodes::str_of(pg_sys::format_type_extended(typ, typmod, flags as u16));
            Output { typ, info, cast }
        })
        .collect()
}

extern "C-unwind" {
    #[link_name = "OutputFunctionCall"]
    fn raw_output(info: *mut pg_sys::FmgrInfo, d: Datum) -> *mut c_char;
    #[link_name = "ExecScan"]
    fn raw_scan(
        node: *mut ScanState,
        access: extern "C-unwind" fn(*mut ScanState) -> *mut TupleTableSlot,
        recheck: extern "C-unwind" fn(*mut ScanState, *mut TupleTableSlot) -> bool,
    ) -> *mut TupleTableSlot;
}

impl Inner {
    /// Reads all rows from below and writes them.
    unsafe fn run(&mut self, s: *mut State) -> Result<()> {
        let (Target::Shards { anchor, .. } | Target::AllReplicas { anchor }) =
            self.exec.plan.target
        else {
            return Err(Error::internal("rows without a target"));
        };
        let table = catalog::table(Oid::from(anchor))
            .ok_or_else(|| Error::internal("the target table is gone"))?;
        let params = super::node::evaluate(self.exprs, &mut (*s).css.ss.ps);
        let econtext = (*s).css.ss.ps.ps_ExprContext;
        loop {
            pg_sys::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
            let child = self.child;
            let slot = guard::call(|| match (*child).ExecProcNode {
                Some(f) => f(child),
                None => std::ptr::null_mut(),
            });
            if slot.is_null() || (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
                break;
            }
            let old = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
            if ((*slot).tts_nvalid as usize) < self.columns.len() {
                pg_sys::slot_getsomeattrs_int(slot, self.columns.len() as i32);
            }
            let r = self.take(&table, slot);
            pg_sys::MemoryContextSwitchTo(old);
            r?;
            if self.bytes >= FLUSH_BYTES {
                self.flush(&params, false)?;
            }
        }
        self.flush(&params, true)?;
        (*(*s).css.ss.ps.state).es_processed += self.exec.affected;
        self.done = true;
        Ok(())
    }

    /// Adds one row to its shard's text.
    unsafe fn take(&mut self, table: &Rc<Table>, slot: *mut TupleTableSlot) -> Result<()> {
        let value = |i: usize| -> Option<Datum> {
            (!*(*slot).tts_isnull.add(i)).then(|| *(*slot).tts_values.add(i))
        };
        let (shard, first) = match self.apply {
            Apply::Insert { key: None } => (0, 0),
            Apply::Insert { key: Some(k) } => {
                let k = k as usize;
                let shard = match value(k) {
                    None => modify::shard_without_key(table)?,
                    Some(v) => self.shard_of(table, k, v)?,
                };
                (shard, 0)
            }
            Apply::Place { .. } => {
                // A row without place comes from the nullable side of an outer join.
                let (Some(shard), Some(tid)) = (value(0), value(1)) else { return Ok(()) };
                let shard = shard.value() as u32;
                let tid = tid.cast_mut_ptr::<pg_sys::ItemPointerData>();
                let block =
                    (u64::from((*tid).ip_blkid.bi_hi) << 16) | u64::from((*tid).ip_blkid.bi_lo);
                if !self.seen.insert((shard, (block << 16) | u64::from((*tid).ip_posid))) {
                    return Ok(());
                }
                (shard, 1)
            }
        };
        let text = self.buffers.entry(shard).or_default();
        let before = text.len();
        let head = before == 0;
        text.push_str(if head { "(" } else { ", (" });
        for (i, out) in self.columns.iter_mut().enumerate().skip(first) {
            if i > first {
                text.push_str(", ");
            }
            match value(i) {
                None => text.push_str("NULL"),
                Some(d) => literal(text, out, d),
            }
            if head {
                text.push_str("::");
                text.push_str(&out.cast);
            }
        }
        text.push(')');
        self.bytes += text.len() - before;
        Ok(())
    }

    unsafe fn shard_of(&self, table: &Table, column: usize, v: Datum) -> Result<u32> {
        let typ = self.columns.get(column).map_or(Oid::INVALID, |c| c.typ);
        let set = values::shard_of(table, typ, Some(v))
            .ok_or_else(|| Error::internal("the distribution column cannot be hashed"))?;
        set.first().copied().ok_or_else(|| no_shard(table))
    }

    /// Sends what is buffered and waits until it is done.
    unsafe fn flush(&mut self, params: &[Value], last: bool) -> Result<()> {
        let buffers = std::mem::take(&mut self.buffers);
        self.bytes = 0;
        if buffers.is_empty() {
            return Ok(());
        }
        let shards: Vec<u32> = buffers.keys().copied().collect();
        let rows = |i: u32| buffers.get(&i).cloned().unwrap_or_default();
        let tasks = tasks::tasks_with_rows(&self.exec.plan, &shards, Some(&rows))?;
        drop(buffers);
        self.exec.must_use_transaction(!last || self.sent);
        self.sent = true;
        self.exec.start_tasks(tasks, params)?;
        self.exec.complete()
    }
}

fn no_shard(table: &Table) -> Error {
    Error::new(
        crate::error::sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("no shard of table {} covers the row's hash value", u32::from(table.relid)),
    )
}

/// A value as a quoted literal.
unsafe fn literal(text: &mut String, out: &mut Output, d: Datum) {
    match u32::from(out.typ) {
        // Bare numbers need no quotes, but a sign does not stand before a cast.
        21 => push_int(text, i64::from(d.value() as i16)),
        23 => push_int(text, i64::from(d.value() as i32)),
        20 => push_int(text, d.value() as i64),
        _ => {
            let info = &mut *out.info as *mut pg_sys::FmgrInfo;
            let c = transmit(|| Ok(guard::call(|| raw_output(info, d)))).or_raise();
            let s = CStr::from_ptr(c).to_string_lossy();
            if s.contains('\\') {
                text.push_str(" E");
            }
            text.push('\'');
            for ch in s.chars() {
                if ch == '\'' || ch == '\\' {
                    text.push(ch);
                }
                text.push(ch);
            }
            text.push('\'');
        }
    }
}

fn push_int(text: &mut String, v: i64) {
    use std::fmt::Write;
    let _ = write!(text, "'{v}'");
}

extern "C-unwind" fn access(ss: *mut ScanState) -> *mut TupleTableSlot {
    // SAFETY: the scan state is the head of ours.
    guard::entry_result(|| unsafe {
        let s = ss as *mut State;
        let inner = &mut *(*s).inner;
        if !inner.done {
            inner.run(s)?;
        }
        let slot = (*ss).ss_ScanTupleSlot;
        super::run::clear(slot);
        if !inner.exec.plan.columns.is_empty() {
            inner.exec.next_row(slot)?;
        }
        Ok(slot)
    })
}

extern "C-unwind" fn recheck(_ss: *mut ScanState, _slot: *mut TupleTableSlot) -> bool {
    true
}

extern "C-unwind" fn exec(node: *mut CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: no Rust value is alive in this frame, an error may pass through it.
    unsafe { raw_scan(&mut (*node).ss, access, recheck) }
}

extern "C-unwind" fn end(node: *mut CustomScanState) {
    // SAFETY: the state made above; called once.
    guard::entry(|| unsafe {
        let s = node as *mut State;
        if !(*s).inner.is_null() {
            (*(*s).inner).exec.end();
            let child = (*(*s).inner).child;
            guard::call(|| pg_sys::ExecEndNode(child));
        }
    })
}

extern "C-unwind" fn rescan(_node: *mut CustomScanState) {
    guard::entry_result(|| -> Result<()> {
        Err(Error::internal("a modification cannot run twice in one plan"))
    })
}

extern "C-unwind" fn explain(
    node: *mut CustomScanState,
    _ancestors: *mut List,
    es: *mut ExplainState,
) {
    // SAFETY: as above; PostgreSQL itself prints the plan below.
    guard::entry_result(|| unsafe {
        let s = node as *mut State;
        super::explain::applied(&(*(*s).inner).exec, es)
    })
}
