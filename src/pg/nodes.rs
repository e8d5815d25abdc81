//! PostgreSQL's node trees: lists, tags, walkers, copies.
//!
//! Functions here are unsafe because node pointers cannot be checked; their common contract is
//! that every pointer is null or a valid node of the type that its tag says.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::guard;
use pgrx::pg_sys::{self, List, Node, NodeTag, Oid, Query, RangeTblEntry};
use std::ffi::{c_char, c_int, c_void, CStr};

type CWalker = extern "C-unwind" fn(*mut Node, *mut c_void) -> bool;
type CMutator = extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node;

extern "C-unwind" {
    #[link_name = "expression_tree_walker"]
    fn c_expression_walker(node: *mut Node, walker: CWalker, context: *mut c_void) -> bool;
    #[link_name = "query_tree_walker"]
    fn c_query_walker(q: *mut Query, walker: CWalker, context: *mut c_void, flags: c_int) -> bool;
    #[link_name = "range_table_walker"]
    fn c_range_table_walker(
        rtable: *mut List,
        walker: CWalker,
        context: *mut c_void,
        flags: c_int,
    ) -> bool;
    #[link_name = "expression_tree_mutator"]
    fn c_expression_mutator(n: *mut Node, mutator: CMutator, context: *mut c_void) -> *mut Node;
    #[link_name = "query_tree_mutator"]
    fn c_query_mutator(
        q: *mut Query,
        mutator: CMutator,
        context: *mut c_void,
        flags: c_int,
    ) -> *mut Query;
}

/// Visit range table entries before what they contain.
pub const RTES_BEFORE: c_int = pg_sys::QTW_EXAMINE_RTES_BEFORE as c_int;
/// Skip sub-queries in the range table.
pub const SKIP_RT_SUBQUERIES: c_int = pg_sys::QTW_IGNORE_RT_SUBQUERIES as c_int;
/// Skip CTEs.
pub const SKIP_CTES: c_int = pg_sys::QTW_IGNORE_CTE_SUBQUERIES as c_int;

/// The node's tag; `T_Invalid` for null.
pub unsafe fn tag<T>(node: *const T) -> NodeTag {
    if node.is_null() {
        NodeTag::T_Invalid
    } else {
        (*(node as *const Node)).type_
    }
}

/// The node as `T` when it has the tag.
pub unsafe fn cast<T>(node: *mut Node, t: NodeTag) -> Option<*mut T> {
    (tag(node) == t).then_some(node as *mut T)
}

/// Elements of a pointer list.
pub unsafe fn iter<T>(list: *const List) -> impl DoubleEndedIterator<Item = *mut T> + Clone {
    (0..len(list)).map(move |i| (*(*list).elements.add(i)).ptr_value as *mut T)
}

/// Number of elements.
pub unsafe fn len(list: *const List) -> usize {
    if list.is_null() {
        0
    } else {
        (*list).length as usize
    }
}

/// Element `i` of a pointer list, null when out of range.
pub unsafe fn nth<T>(list: *const List, i: usize) -> *mut T {
    if i < len(list) {
        (*(*list).elements.add(i)).ptr_value as *mut T
    } else {
        std::ptr::null_mut()
    }
}

/// Elements of an integer list.
pub unsafe fn ints(list: *const List) -> Vec<i32> {
    (0..len(list)).map(|i| (*(*list).elements.add(i)).int_value).collect()
}

/// A pointer list of the given elements.
pub unsafe fn list<T>(items: impl IntoIterator<Item = *mut T>) -> *mut List {
    let mut l: *mut List = std::ptr::null_mut();
    for i in items {
        l = pg_sys::lappend(l, i as *mut c_void);
    }
    l
}

/// The same for equal constants.
///
/// # Safety
/// A valid constant.
pub unsafe fn const_hash(c: *const pg_sys::Const) -> u32 {
    extern "C-unwind" {
        fn datum_image_hash(value: pg_sys::Datum, by_value: bool, len: std::ffi::c_int) -> u32;
    }
    if (*c).constisnull {
        return 0;
    }
    guard::call(|| datum_image_hash((*c).constvalue, (*c).constbyval, (*c).constlen))
}

/// An OID list.
pub unsafe fn oid_list(items: impl IntoIterator<Item = Oid>) -> *mut List {
    let mut l: *mut List = std::ptr::null_mut();
    for i in items {
        l = pg_sys::lappend_oid(l, i);
    }
    l
}

/// Range table entry `rti` (one-based).
pub unsafe fn rte(rtable: *const List, rti: u32) -> *mut RangeTblEntry {
    nth(rtable, (rti as usize).wrapping_sub(1))
}

/// A deep copy in the current memory context.
pub unsafe fn copy<T>(node: *const T) -> *mut T {
    pg_sys::copyObjectImpl(node as *const c_void) as *mut T
}

/// Structural equality.
pub unsafe fn equal<A, B>(a: *const A, b: *const B) -> bool {
    pg_sys::equal(a as *const c_void, b as *const c_void)
}

/// A zeroed node of type `T` with its tag.
pub unsafe fn make<T>(t: NodeTag) -> *mut T {
    let n = pg_sys::palloc0(std::mem::size_of::<T>()) as *mut T;
    (*(n as *mut Node)).type_ = t;
    n
}

/// A palloc'd C string.
pub unsafe fn pstr(s: &str) -> *mut c_char {
    pg_sys::pnstrdup(s.as_ptr() as *const c_char, s.len())
}

/// A C string as Rust text (lossy where the server encoding is not UTF-8).
pub unsafe fn str_of(s: *const c_char) -> String {
    if s.is_null() {
        String::new()
    } else {
        CStr::from_ptr(s).to_string_lossy().into_owned()
    }
}

/// A String value node.
pub unsafe fn string_node(s: &str) -> *mut Node {
    pg_sys::makeString(pstr(s)) as *mut Node
}

struct Walk<'a> {
    visit: &'a mut dyn FnMut(*mut Node) -> Visit,
}

/// What a visitor wants next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Go on with the node's children.
    Descend,
    /// Leave out the children.
    Skip,
    /// End the walk; the walk function answers true.
    Stop,
}

extern "C-unwind" fn walk_step(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: `context` is the Walk of the running `walk` call.
    unsafe {
        let w = context as *mut Walk;
        match ((*w).visit)(node) {
            Visit::Stop => true,
            Visit::Skip => false,
            Visit::Descend => {
                if tag(node) == NodeTag::T_Query {
                    c_query_walker(node as *mut Query, walk_step, context, RTES_BEFORE)
                } else if tag(node) == NodeTag::T_RangeTblEntry {
                    // query_tree_walker itself goes on with the entry's contents
                    false
                } else {
                    c_expression_walker(node, walk_step, context)
                }
            }
        }
    }
}

/// Visits an expression, list or Query and everything below it, sub-queries included, in
/// pre-order; range table entries are visited before their contents. True when stopped.
pub unsafe fn walk(node: *mut Node, visit: &mut dyn FnMut(*mut Node) -> Visit) -> bool {
    let mut w = Walk { visit };
    let context = &mut w as *mut Walk as *mut c_void;
    guard::call(|| walk_step(node, context))
}

/// Visits all direct parts of a query (not the query node itself).
pub unsafe fn walk_query(
    q: *mut Query,
    flags: c_int,
    visit: &mut dyn FnMut(*mut Node) -> Visit,
) -> bool {
    let mut w = Walk { visit };
    let context = &mut w as *mut Walk as *mut c_void;
    guard::call(|| c_query_walker(q, walk_step, context, flags | RTES_BEFORE))
}

/// Visits the range table of a query.
pub unsafe fn walk_rtable(
    q: *mut Query,
    flags: c_int,
    visit: &mut dyn FnMut(*mut Node) -> Visit,
) -> bool {
    let mut w = Walk { visit };
    let context = &mut w as *mut Walk as *mut c_void;
    guard::call(|| c_range_table_walker((*q).rtable, walk_step, context, flags | RTES_BEFORE))
}

struct Mutate<'a> {
    change: &'a mut dyn FnMut(*mut Node) -> Option<*mut Node>,
}

extern "C-unwind" fn mutate_step(node: *mut Node, context: *mut c_void) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: `context` is the Mutate of the running `mutate` call.
    unsafe {
        let m = context as *mut Mutate;
        if let Some(new) = ((*m).change)(node) {
            return new;
        }
        if tag(node) == NodeTag::T_Query {
            c_query_mutator(node as *mut Query, mutate_step, context, 0) as *mut Node
        } else {
            c_expression_mutator(node, mutate_step, context)
        }
    }
}

/// A copy of a tree in which `change` may replace any node (`None`: copy and go on below it).
pub unsafe fn mutate<T>(
    node: *mut T,
    change: &mut dyn FnMut(*mut Node) -> Option<*mut Node>,
) -> *mut T {
    let mut m = Mutate { change };
    let context = &mut m as *mut Mutate as *mut c_void;
    guard::call(|| mutate_step(node as *mut Node, context)) as *mut T
}

/// Replaces nodes in all direct parts of a query, in place (sub-queries of the range table and
/// CTEs included when `change` descends into Query nodes).
pub unsafe fn mutate_query(
    q: *mut Query,
    flags: c_int,
    change: &mut dyn FnMut(*mut Node) -> Option<*mut Node>,
) {
    let mut m = Mutate { change };
    let context = &mut m as *mut Mutate as *mut c_void;
    let dont_copy = pg_sys::QTW_DONT_COPY_QUERY as c_int;
    guard::call(|| c_query_mutator(q, mutate_step, context, flags | dont_copy));
}

/// The conjuncts of a qualification (an implicit-AND list, an AND expression or one expression).
pub unsafe fn conjuncts(node: *mut Node) -> Vec<*mut Node> {
    let mut out = Vec::new();
    collect_conjuncts(node, &mut out);
    out
}

unsafe fn collect_conjuncts(node: *mut Node, out: &mut Vec<*mut Node>) {
    match tag(node) {
        NodeTag::T_Invalid => {}
        NodeTag::T_List => {
            iter::<Node>(node as *const List).for_each(|n| collect_conjuncts(n, out))
        }
        NodeTag::T_BoolExpr
            if (*(node as *mut pg_sys::BoolExpr)).boolop == pg_sys::BoolExprType::AND_EXPR =>
        {
            iter::<Node>((*(node as *mut pg_sys::BoolExpr)).args)
                .for_each(|n| collect_conjuncts(n, out))
        }
        _ => out.push(node),
    }
}

/// An expression without the relabelings that do not change its bytes.
pub unsafe fn strip_relabel(mut node: *mut Node) -> *mut Node {
    while let Some(r) = cast::<pg_sys::RelabelType>(node, NodeTag::T_RelabelType) {
        node = (*r).arg as *mut Node;
    }
    node
}
