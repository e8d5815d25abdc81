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
    #[link_name = "ProcessUtility"]
    fn raw_process(
        pstmt: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        env: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
    fn raw_expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: Walker,
        context: *mut c_void,
    ) -> bool;
}

impl Tree {
    /// Wraps a statement's node.
    pub(crate) fn from_node(node: *mut pg_sys::Node) -> Tree {
        Tree(node)
    }

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
        // The statement itself drops the snapshot or leaves it to be popped.
        super::xact::ensure_snapshot();
        self.run_as(source, pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL)
    }

    fn run_as(self, source: &str, context: pg_sys::ProcessUtilityContext::Type) -> Result<()> {
        let _own = spi::Internal::begin();
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
                raw_process(
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
            _ => return rename_other(node, r),
        }
    }
    Ok(())
}

/// The less frequent kinds of statements.
unsafe fn rename_other(node: *mut pg_sys::Node, r: &Renaming) -> Result<()> {
    use NodeTag::*;
    // SAFETY: see Tree::rename.
    unsafe {
        match (*node).type_ {
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
}

/// Runs `f` in the memory of the running portal, which outlives transactions that the statement
/// itself ends and begins.
pub fn in_portal_context<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: a utility statement runs in a portal.
    unsafe {
        let old = pg_sys::CurrentMemoryContext;
        if !pg_sys::PortalContext.is_null() {
            pg_sys::CurrentMemoryContext = pg_sys::PortalContext;
        }
        let r = f();
        // The old context may have gone with its transaction.
        if pg_sys::PortalContext.is_null() {
            pg_sys::CurrentMemoryContext = old;
        }
        r
    }
}
