//! Raw parse trees of utility statements: parsing, renaming what they name, running them.

use super::{guard, spi};
use crate::error::{Error, Result};
use pgrx::pg_sys::{self, NodeTag, ObjectType};
use std::ffi::{c_char, c_void, CStr};

/// A statement as the parser gave it. Valid until the memory context it was made in goes away.
#[derive(Clone, Copy)]
pub struct Tree(pub(super) *mut pg_sys::Node);

/// Parses a text into its statements.
pub fn parse(sql: &str) -> Result<Vec<Tree>> {
    let text = spi::cstring(sql)?;
    let c = text.as_ptr();
    // SAFETY: a list of RawStmt comes back.
    unsafe {
        let list = guard::call(|| pg_sys::pg_parse_query(c));
        Ok(items(list)
            .into_iter()
            .map(|p| Tree((*(p as *mut pg_sys::RawStmt)).stmt))
            .filter(|t| !t.0.is_null())
            .collect())
    }
}

/// The pointers in a list.
///
/// # Safety
/// `list` must be null or a valid list of pointers.
pub unsafe fn items(list: *mut pg_sys::List) -> Vec<*mut c_void> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: elements up to length are valid.
    unsafe {
        (0..(*list).length.max(0) as usize).map(|i| (*(*list).elements.add(i)).ptr_value).collect()
    }
}

/// A zero-terminated string, empty when null.
///
/// # Safety
/// `p` must be null or valid.
pub unsafe fn text(p: *const c_char) -> String {
    if p.is_null() {
        return String::new();
    }
    // SAFETY: the caller promises a valid string.
    unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned()
}

/// A palloc'd copy of a string.
pub fn palloc_str(s: &str) -> *mut c_char {
    // SAFETY: copies the bytes and terminates them.
    unsafe { pg_sys::pnstrdup(s.as_ptr() as *const c_char, s.len()) }
}

/// How names change when a statement on logical tables is applied to one set of shards.
pub struct Renaming<'a> {
    /// New names of relations (tables, indexes, statistics) by schema and name.
    pub relations: Vec<((&'a str, &'a str), String)>,
    /// New name of an index, constraint or the like of the statement's main relation.
    pub dependent: &'a dyn Fn(&str) -> String,
    /// Whether the main relation has a constraint of that (new) name; asked for constraints that
    /// are named without saying what kind they are.
    pub has_constraint: &'a dyn Fn(&str) -> bool,
}

impl Renaming<'_> {
    fn relation(&self, schema: &str, name: &str) -> Option<String> {
        let hit = self.relations.iter().find(|((s, n), _)| *s == schema && *n == name);
        hit.map(|(_, new)| new.clone())
    }

    /// A constraint's name: those that own an index carry the shard's id, others do not.
    fn constraint(&self, name: &str) -> String {
        let renamed = (self.dependent)(name);
        if (self.has_constraint)(&renamed) {
            renamed
        } else {
            name.to_owned()
        }
    }
}

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;

extern "C-unwind" {
    fn raw_expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: Walker,
        context: *mut c_void,
    ) -> bool;
}

impl Tree {
    /// A copy in the current memory context.
    pub fn copy(self) -> Tree {
        // SAFETY: a valid tree of nodes.
        unsafe { Tree(guard::call(|| pg_sys::copyObjectImpl(self.0 as *const c_void)) as *mut _) }
    }

    /// What kind of statement.
    pub fn tag(self) -> NodeTag {
        // SAFETY: every node starts with its tag.
        unsafe { (*self.0).type_ }
    }

    /// Renames in place what the statement names.
    pub fn rename(self, r: &Renaming) -> Result<()> {
        // SAFETY: the tag says which structure the node is; the parser fills its fields.
        unsafe { rename_statement(self.0, r) }
    }

    /// Runs the statement as part of another one.
    pub fn run(self, source: &str) -> Result<()> {
        self.run_as(source, pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND)
    }

    /// Runs the statement as if the client had sent it by itself: for what manages transactions.
    pub fn run_top_level(self, source: &str) -> Result<()> {
        // SAFETY: the statement itself drops the snapshot or leaves it to be popped.
        unsafe {
            let pushed = !pg_sys::ActiveSnapshotSet();
            if pushed {
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            }
            self.run_as(source, pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL)?;
            if pushed && pg_sys::ActiveSnapshotSet() {
                pg_sys::PopActiveSnapshot();
            }
        }
        Ok(())
    }

    fn run_as(self, source: &str, context: pg_sys::ProcessUtilityContext::Type) -> Result<()> {
        let source = palloc_str(source);
        // SAFETY: a complete PlannedStmt for a utility statement, as the portal code makes it.
        unsafe {
            let stmt = pg_sys::palloc0(std::mem::size_of::<pg_sys::PlannedStmt>())
                as *mut pg_sys::PlannedStmt;
            (*stmt).type_ = NodeTag::T_PlannedStmt;
            (*stmt).commandType = pg_sys::CmdType::CMD_UTILITY;
            (*stmt).utilityStmt = self.0;
            (*stmt).stmt_location = -1;
            guard::call(|| {
                pg_sys::ProcessUtility(
                    stmt,
                    source,
                    false,
                    context,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
                    std::ptr::null_mut(),
                );
                pg_sys::CommandCounterIncrement();
            });
        }
        Ok(())
    }
}

unsafe fn rename_statement(node: *mut pg_sys::Node, r: &Renaming) -> Result<()> {
    use NodeTag::*;
    // SAFETY: see Tree::rename.
    unsafe {
        match (*node).type_ {
            T_CreateStmt => {
                let s = node as *mut pg_sys::CreateStmt;
                rename_range_var((*s).relation, r);
                for e in items((*s).tableElts) {
                    rename_element(e as *mut pg_sys::Node, r);
                }
            }
            T_IndexStmt => {
                let s = node as *mut pg_sys::IndexStmt;
                rename_range_var((*s).relation, r);
                set_dependent(&mut (*s).idxname, r);
            }
            T_AlterTableStmt => {
                let s = node as *mut pg_sys::AlterTableStmt;
                rename_range_var((*s).relation, r);
                for c in items((*s).cmds) {
                    rename_alter_command(c as *mut pg_sys::AlterTableCmd, r);
                }
            }
            T_RenameStmt => rename_rename(node as *mut pg_sys::RenameStmt, r),
            T_DropStmt => {
                let s = node as *mut pg_sys::DropStmt;
                for o in items((*s).objects) {
                    rename_object((*s).removeType, o as *mut pg_sys::Node, r);
                }
            }
            T_GrantStmt => {
                for o in items((*(node as *mut pg_sys::GrantStmt)).objects) {
                    rename_range_var(o as *mut pg_sys::RangeVar, r);
                }
            }
            T_CreateStatsStmt => {
                let s = node as *mut pg_sys::CreateStatsStmt;
                rename_name_list((*s).defnames, r);
                for o in items((*s).relations) {
                    rename_range_var(o as *mut pg_sys::RangeVar, r);
                }
            }
            T_AlterStatsStmt => {
                rename_name_list((*(node as *mut pg_sys::AlterStatsStmt)).defnames, r)
            }
            T_AlterObjectSchemaStmt => {
                let s = node as *mut pg_sys::AlterObjectSchemaStmt;
                rename_range_var((*s).relation, r);
                rename_object((*s).objectType, (*s).object, r);
            }
            T_AlterOwnerStmt => {
                let s = node as *mut pg_sys::AlterOwnerStmt;
                rename_object((*s).objectType, (*s).object, r);
            }
            T_ReindexStmt => {
                rename_range_var((*(node as *mut pg_sys::ReindexStmt)).relation, r);
            }
            T_ClusterStmt => {
                let s = node as *mut pg_sys::ClusterStmt;
                rename_range_var((*s).relation, r);
                set_dependent(&mut (*s).indexname, r);
            }
            T_CreatePolicyStmt => {
                let s = node as *mut pg_sys::CreatePolicyStmt;
                rename_range_var((*s).table, r);
                rename_expression((*s).qual, r);
                rename_expression((*s).with_check, r);
            }
            T_AlterPolicyStmt => {
                let s = node as *mut pg_sys::AlterPolicyStmt;
                rename_range_var((*s).table, r);
                rename_expression((*s).qual, r);
                rename_expression((*s).with_check, r);
            }
            other => {
                return Err(Error::internal(format!(
                    "statement of kind {} cannot be applied to shards",
                    other as u32
                )))
            }
        }
    }
    Ok(())
}

unsafe fn rename_range_var(v: *mut pg_sys::RangeVar, r: &Renaming) {
    if v.is_null() {
        return;
    }
    // SAFETY: a valid RangeVar.
    unsafe {
        if let Some(new) = r.relation(&text((*v).schemaname), &text((*v).relname)) {
            (*v).relname = palloc_str(&new);
        }
    }
}

unsafe fn set_dependent(slot: &mut *mut c_char, r: &Renaming) {
    if !slot.is_null() {
        // SAFETY: a valid string.
        *slot = palloc_str(&(r.dependent)(&unsafe { text(*slot) }));
    }
}

unsafe fn set_constraint(slot: &mut *mut c_char, r: &Renaming) {
    if !slot.is_null() {
        // SAFETY: a valid string.
        *slot = palloc_str(&r.constraint(&unsafe { text(*slot) }));
    }
}

unsafe fn rename_element(node: *mut pg_sys::Node, r: &Renaming) {
    if node.is_null() {
        return;
    }
    // SAFETY: the tag says what the node is.
    unsafe {
        match (*node).type_ {
            NodeTag::T_ColumnDef => {
                for c in items((*(node as *mut pg_sys::ColumnDef)).constraints) {
                    rename_element(c as *mut pg_sys::Node, r);
                }
            }
            NodeTag::T_Constraint => {
                let c = node as *mut pg_sys::Constraint;
                use pg_sys::ConstrType::{CONSTR_EXCLUSION, CONSTR_PRIMARY, CONSTR_UNIQUE};
                if [CONSTR_PRIMARY, CONSTR_UNIQUE, CONSTR_EXCLUSION].contains(&(*c).contype) {
                    set_dependent(&mut (*c).conname, r);
                }
                set_dependent(&mut (*c).indexname, r);
                rename_range_var((*c).pktable, r);
            }
            _ => {}
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

#[allow(non_upper_case_globals)]
unsafe fn rename_alter_command(c: *mut pg_sys::AlterTableCmd, r: &Renaming) {
    use pg_sys::AlterTableType::*;
    // SAFETY: the subtype says what `name` and `def` are.
    unsafe {
        match (*c).subtype {
            AT_DropConstraint | AT_ValidateConstraint => set_constraint(&mut (*c).name, r),
            AT_AlterConstraint => {
                let def = (*c).def as *mut pg_sys::Constraint;
                set_constraint(&mut (*def).conname, r);
            }
            AT_ClusterOn => set_dependent(&mut (*c).name, r),
            AT_ReplicaIdentity => {
                let def = (*c).def as *mut pg_sys::ReplicaIdentityStmt;
                set_dependent(&mut (*def).name, r);
            }
            AT_AddConstraint | AT_AddColumn => rename_element((*c).def, r),
            _ => {}
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

unsafe fn rename_rename(s: *mut pg_sys::RenameStmt, r: &Renaming) {
    // SAFETY: the kind of object says which fields are set.
    unsafe {
        rename_range_var((*s).relation, r);
        match (*s).renameType {
            ObjectType::OBJECT_TABLE | ObjectType::OBJECT_INDEX => {
                set_dependent(&mut (*s).newname, r)
            }
            ObjectType::OBJECT_STATISTIC_EXT => {
                rename_object((*s).renameType, (*s).object, r);
                set_dependent(&mut (*s).newname, r);
            }
            ObjectType::OBJECT_TABCONSTRAINT => {
                let old = text((*s).subname);
                let new = r.constraint(&old);
                if new != old {
                    (*s).subname = palloc_str(&new);
                    set_dependent(&mut (*s).newname, r);
                }
            }
            _ => {}
        }
    }
}

/// Objects that are written as lists of names.
unsafe fn rename_object(kind: ObjectType::Type, object: *mut pg_sys::Node, r: &Renaming) {
    // SAFETY: for these kinds the object is a list of String nodes.
    unsafe {
        if object.is_null() || (*object).type_ != NodeTag::T_List {
            return;
        }
        let list = object as *mut pg_sys::List;
        match kind {
            ObjectType::OBJECT_TABLE
            | ObjectType::OBJECT_INDEX
            | ObjectType::OBJECT_STATISTIC_EXT => rename_name_list(list, r),
            ObjectType::OBJECT_POLICY => {
                // schema, table, policy
                let parts = items(list);
                if let [schema, table, _] = parts[..] {
                    rename_pair(schema, table, r);
                }
            }
            _ => {}
        }
    }
}

unsafe fn rename_name_list(list: *mut pg_sys::List, r: &Renaming) {
    // SAFETY: a list of String nodes.
    unsafe {
        let parts = items(list);
        if let [.., schema, name] = parts[..] {
            rename_pair(schema, name, r);
        }
    }
}

unsafe fn rename_pair(schema: *mut c_void, name: *mut c_void, r: &Renaming) {
    // SAFETY: both are String nodes.
    unsafe {
        let (schema, name) = (schema as *mut pg_sys::String, name as *mut pg_sys::String);
        if let Some(new) = r.relation(&text((*schema).sval), &text((*name).sval)) {
            (*name).sval = palloc_str(&new);
        }
    }
}

/// Renames relations within an expression: subqueries of a policy.
unsafe fn rename_expression(node: *mut pg_sys::Node, r: &Renaming) {
    unsafe extern "C-unwind" fn walk(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
        if node.is_null() {
            return false;
        }
        // SAFETY: the context is the Renaming passed below; the tag says what the node is.
        unsafe {
            let r = &*(context as *const Renaming);
            match (*node).type_ {
                NodeTag::T_RangeVar => rename_range_var(node as *mut pg_sys::RangeVar, r),
                NodeTag::T_ColumnRef => rename_column_ref(node as *mut pg_sys::ColumnRef, r),
                _ => {}
            }
            raw_expression_tree_walker(node, walk, context)
        }
    }
    if !node.is_null() {
        let context = r as *const Renaming as *mut c_void;
        // SAFETY: the walker keeps to the protocol; errors in it become panics.
        unsafe { guard::call(|| walk(node, context)) };
    }
}

/// `table.column` where the table is one of the renamed ones.
unsafe fn rename_column_ref(c: *mut pg_sys::ColumnRef, r: &Renaming) {
    // SAFETY: fields are String nodes or a star at the end.
    unsafe {
        let parts = items((*c).fields);
        let Some((_, qualifiers)) = parts.split_last() else { return };
        match qualifiers {
            [table] => {
                let table = *table as *mut pg_sys::String;
                let name = text((*table).sval);
                let hit = r.relations.iter().find(|((_, n), _)| *n == name);
                if let Some((_, new)) = hit {
                    (*table).sval = palloc_str(new);
                }
            }
            [.., schema, table] => rename_pair(*schema, *table, r),
            [] => {}
        }
    }
}

/// Runs `f` in a memory context of its own that is emptied afterwards.
pub fn with_temporary_context<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: the context is deleted below, or with its parent when an error unwinds.
    unsafe {
        let old = pg_sys::CurrentMemoryContext;
        let context = pg_sys::AllocSetContextCreateInternal(
            old,
            c"citus shard command".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::CurrentMemoryContext = context;
        let r = f();
        pg_sys::CurrentMemoryContext = old;
        if r.is_ok() {
            pg_sys::MemoryContextDelete(context);
        }
        r
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
        NodeTag::T_List => iter::<Node>(node as *const List).for_each(|n| collect_conjuncts(n, out)),
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
