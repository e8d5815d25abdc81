//! Utility statements as values: what the handlers of `ddl` need to know of a parse tree.

mod alter;
mod views;

pub use alter::{AlterCommand, ConstraintView};
pub use views::{GrantView, RenameView, TypeChange};

use super::guard;
use super::tree::{items, text, Tree};
use pgrx::pg_sys::{self, NodeTag, ObjectType, Oid};
use std::ffi::{c_void, CStr};

/// A relation as a statement names it.
#[derive(Clone, Copy, Debug)]
pub struct Name(*mut pg_sys::RangeVar);

impl Name {
    /// The relation's OID; `None` when there is none of that name.
    pub fn find(self) -> Option<Oid> {
        let var = self.0;
        // SAFETY: a valid RangeVar; look-up without lock.
        let oid = unsafe {
            guard::call(|| {
                pg_sys::RangeVarGetRelidExtended(
                    var,
                    pg_sys::NoLock as i32,
                    pg_sys::RVROption::RVR_MISSING_OK,
                    None,
                    std::ptr::null_mut(),
                )
            })
        };
        (oid != Oid::INVALID).then_some(oid)
    }

    /// The name without schema.
    pub fn name(self) -> String {
        // SAFETY: a valid RangeVar.
        unsafe { text((*self.0).relname) }
    }
}

/// A constraint as SET CONSTRAINTS names it.
pub struct ConstraintName {
    /// Its schema, when it was given.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
}

/// A definition element: `namespace.name = value`.
#[derive(Clone, Debug)]
pub struct Option_ {
    /// Namespace (`toast`).
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Value as text.
    pub value: Option<String>,
}

unsafe fn opt_text(p: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: null or a valid string.
    (!p.is_null()).then(|| unsafe { text(p) })
}

unsafe fn strings(list: *mut pg_sys::List) -> Vec<String> {
    // SAFETY: a list of String nodes.
    unsafe { items(list).into_iter().map(|s| text((*(s as *mut pg_sys::String)).sval)).collect() }
}

unsafe fn names(list: *mut pg_sys::List) -> Vec<Name> {
    // SAFETY: a list of RangeVar nodes.
    unsafe { items(list).into_iter().map(|v| Name(v as *mut pg_sys::RangeVar)).collect() }
}

unsafe fn options(list: *mut pg_sys::List) -> Vec<Option_> {
    // SAFETY: a list of DefElem nodes.
    unsafe {
        items(list)
            .into_iter()
            .map(|d| {
                let d = d as *mut pg_sys::DefElem;
                let value =
                    (!(*d).arg.is_null()).then(|| text(guard::call(|| pg_sys::defGetString(d))));
                Option_ { namespace: opt_text((*d).defnamespace), name: text((*d).defname), value }
            })
            .collect()
    }
}

/// Name of a role; `None` is PUBLIC.
unsafe fn role(spec: *mut pg_sys::RoleSpec) -> Option<String> {
    // SAFETY: a RoleSpec as the parser makes it.
    unsafe {
        if (*spec).roletype == pg_sys::RoleSpecType::ROLESPEC_PUBLIC {
            return None;
        }
        Some(text(guard::call(|| pg_sys::get_rolespec_name(spec))))
    }
}

impl Tree {
    fn is(self, tag: NodeTag) -> bool {
        self.tag() == tag
    }

    /// The kind of statement as PostgreSQL calls it in command tags.
    pub fn command_name(self) -> String {
        let node = self.0;
        // SAFETY: the tag's name is a static string.
        unsafe {
            let name = guard::call(|| pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(node)));
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }

    /// The relation that a statement about one relation names.
    pub fn relation(self) -> Option<Name> {
        macro_rules! field {
            ($t:ident, $f:ident) => {
                // SAFETY: the tag says that it is this structure.
                unsafe { (*(self.0 as *mut pg_sys::$t)).$f }
            };
        }
        let var = match self.tag() {
            NodeTag::T_AlterTableStmt => field!(AlterTableStmt, relation),
            NodeTag::T_AlterObjectSchemaStmt => field!(AlterObjectSchemaStmt, relation),
            NodeTag::T_ClusterStmt => field!(ClusterStmt, relation),
            NodeTag::T_CreatePolicyStmt => field!(CreatePolicyStmt, table),
            NodeTag::T_AlterPolicyStmt => field!(AlterPolicyStmt, table),
            NodeTag::T_CreateStmt => field!(CreateStmt, relation),
            NodeTag::T_CreateTrigStmt => field!(CreateTrigStmt, relation),
            NodeTag::T_IndexStmt => field!(IndexStmt, relation),
            NodeTag::T_RefreshMatViewStmt => field!(RefreshMatViewStmt, relation),
            NodeTag::T_ReindexStmt => field!(ReindexStmt, relation),
            NodeTag::T_RenameStmt => field!(RenameStmt, relation),
            NodeTag::T_RuleStmt => field!(RuleStmt, relation),
            _ => std::ptr::null_mut(),
        };
        (!var.is_null()).then_some(Name(var))
    }

    /// The constraints of SET CONSTRAINTS (none stands for all), and whether they are deferred.
    pub fn constraints(self) -> Option<(Vec<ConstraintName>, bool)> {
        if !self.is(NodeTag::T_ConstraintsSetStmt) {
            return None;
        }
        // SAFETY: the tag was checked; the list has RangeVar nodes.
        unsafe {
            let s = self.0 as *mut pg_sys::ConstraintsSetStmt;
            let named = items((*s).constraints).into_iter().map(|v| {
                let v = v as *mut pg_sys::RangeVar;
                ConstraintName { schema: opt_text((*v).schemaname), name: text((*v).relname) }
            });
            Some((named.collect(), (*s).deferred))
        }
    }

    /// The relations that a statement about several relations names.
    pub fn relations(self) -> Vec<Name> {
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_TruncateStmt => {
                    names((*(self.0 as *mut pg_sys::TruncateStmt)).relations)
                }
                NodeTag::T_CreateStatsStmt => {
                    let list = items((*(self.0 as *mut pg_sys::CreateStatsStmt)).relations);
                    list.into_iter()
                        .filter(|v| (*(*v as *mut pg_sys::Node)).type_ == NodeTag::T_RangeVar)
                        .map(|v| Name(v as *mut pg_sys::RangeVar))
                        .collect()
                }
                NodeTag::T_CreateStmt => names((*(self.0 as *mut pg_sys::CreateStmt)).inhRelations),
                NodeTag::T_VacuumStmt => items((*(self.0 as *mut pg_sys::VacuumStmt)).rels)
                    .into_iter()
                    .map(|r| Name((*(r as *mut pg_sys::VacuumRelation)).relation))
                    .filter(|n| !n.0.is_null())
                    .collect(),
                NodeTag::T_CreatePublicationStmt => {
                    published((*(self.0 as *mut pg_sys::CreatePublicationStmt)).pubobjects)
                }
                NodeTag::T_AlterPublicationStmt => {
                    published((*(self.0 as *mut pg_sys::AlterPublicationStmt)).pubobjects)
                }
                _ => Vec::new(),
            }
        }
    }

    /// Whether CREATE INDEX, DROP INDEX, REINDEX or REFRESH is asked to run CONCURRENTLY.
    pub fn concurrent(self) -> bool {
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_IndexStmt => (*(self.0 as *mut pg_sys::IndexStmt)).concurrent,
                NodeTag::T_DropStmt => (*(self.0 as *mut pg_sys::DropStmt)).concurrent,
                NodeTag::T_RefreshMatViewStmt => {
                    (*(self.0 as *mut pg_sys::RefreshMatViewStmt)).concurrent
                }
                NodeTag::T_ReindexStmt => self
                    .options()
                    .iter()
                    .any(|o| o.name == "concurrently" && is_on(o.value.as_deref())),
                _ => false,
            }
        }
    }

    /// Makes REFRESH MATERIALIZED VIEW CONCURRENTLY an ordinary one.
    pub fn clear_concurrent(self) {
        if self.is(NodeTag::T_RefreshMatViewStmt) {
            // SAFETY: the tag was checked.
            unsafe { (*(self.0 as *mut pg_sys::RefreshMatViewStmt)).concurrent = false }
        }
    }

    /// `WITH NO DATA` of a REFRESH.
    pub fn skips_data(self) -> bool {
        // SAFETY: the tag is checked.
        self.is(NodeTag::T_RefreshMatViewStmt)
            && unsafe { (*(self.0 as *mut pg_sys::RefreshMatViewStmt)).skipData }
    }

    /// Options in parentheses of VACUUM, ANALYZE, REINDEX, CLUSTER.
    pub fn options(self) -> Vec<Option_> {
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_VacuumStmt => options((*(self.0 as *mut pg_sys::VacuumStmt)).options),
                NodeTag::T_ReindexStmt => options((*(self.0 as *mut pg_sys::ReindexStmt)).params),
                NodeTag::T_ClusterStmt => options((*(self.0 as *mut pg_sys::ClusterStmt)).params),
                _ => Vec::new(),
            }
        }
    }

    /// Whether a VACUUM statement is VACUUM, not ANALYZE.
    pub fn is_vacuum(self) -> bool {
        // SAFETY: the tag is checked.
        self.is(NodeTag::T_VacuumStmt)
            && unsafe { (*(self.0 as *mut pg_sys::VacuumStmt)).is_vacuumcmd }
    }

    /// Relations of VACUUM with their columns.
    pub fn vacuum_relations(self) -> Vec<(Name, Vec<String>)> {
        if !self.is(NodeTag::T_VacuumStmt) {
            return Vec::new();
        }
        // SAFETY: the tag was checked.
        unsafe {
            items((*(self.0 as *mut pg_sys::VacuumStmt)).rels)
                .into_iter()
                .map(|r| r as *mut pg_sys::VacuumRelation)
                .filter(|r| !(**r).relation.is_null())
                .map(|r| (Name((*r).relation), strings((*r).va_cols)))
                .collect()
        }
    }

    /// Adds relations to VACUUM's list, to be processed with the columns given.
    pub fn add_vacuum_relations(self, relations: &[(Oid, Vec<String>)]) {
        if !self.is(NodeTag::T_VacuumStmt) {
            return;
        }
        // SAFETY: the tag was checked; lists and nodes are palloc'd.
        unsafe {
            let s = self.0 as *mut pg_sys::VacuumStmt;
            for (oid, columns) in relations {
                let mut list: *mut pg_sys::List = std::ptr::null_mut();
                for c in columns {
                    let name = pg_sys::makeString(super::tree::palloc_str(c));
                    list = pg_sys::lappend(list, name as *mut c_void);
                }
                let r = pg_sys::makeVacuumRelation(std::ptr::null_mut(), *oid, list);
                (*s).rels = pg_sys::lappend((*s).rels, r as *mut c_void);
            }
        }
    }

    /// What kind of objects REINDEX is about.
    pub fn reindex_kind(self) -> Option<pg_sys::ReindexObjectType::Type> {
        // SAFETY: the tag is checked.
        self.is(NodeTag::T_ReindexStmt)
            .then(|| unsafe { (*(self.0 as *mut pg_sys::ReindexStmt)).kind })
    }

    /// Name of an index, policy, trigger, role, tablespace or schema that the statement is about.
    pub fn object_name(self) -> Option<String> {
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_ClusterStmt => {
                    opt_text((*(self.0 as *mut pg_sys::ClusterStmt)).indexname)
                }
                NodeTag::T_ReindexStmt => opt_text((*(self.0 as *mut pg_sys::ReindexStmt)).name),
                NodeTag::T_CreatePolicyStmt => {
                    opt_text((*(self.0 as *mut pg_sys::CreatePolicyStmt)).policy_name)
                }
                NodeTag::T_AlterPolicyStmt => {
                    opt_text((*(self.0 as *mut pg_sys::AlterPolicyStmt)).policy_name)
                }
                NodeTag::T_AlterTableMoveAllStmt => {
                    opt_text((*(self.0 as *mut pg_sys::AlterTableMoveAllStmt)).orig_tablespacename)
                }
                NodeTag::T_AlterObjectSchemaStmt => {
                    opt_text((*(self.0 as *mut pg_sys::AlterObjectSchemaStmt)).newschema)
                }
                _ => None,
            }
        }
    }

    /// CASCADE of TRUNCATE and DROP.
    pub fn cascades(self) -> bool {
        use pg_sys::DropBehavior::DROP_CASCADE;
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_TruncateStmt => {
                    (*(self.0 as *mut pg_sys::TruncateStmt)).behavior == DROP_CASCADE
                }
                NodeTag::T_DropStmt => {
                    (*(self.0 as *mut pg_sys::DropStmt)).behavior == DROP_CASCADE
                }
                _ => false,
            }
        }
    }

    /// What kind of objects DROP is about.
    pub fn drop_kind(self) -> Option<ObjectType::Type> {
        // SAFETY: the tag is checked.
        self.is(NodeTag::T_DropStmt)
            .then(|| unsafe { (*(self.0 as *mut pg_sys::DropStmt)).removeType })
    }

    /// Names of the objects of DROP that have one name (schemas).
    pub fn dropped_names(self) -> Vec<String> {
        if !self.is(NodeTag::T_DropStmt) {
            return Vec::new();
        }
        // SAFETY: the tag was checked; other nodes than String are left out.
        unsafe {
            items((*(self.0 as *mut pg_sys::DropStmt)).objects)
                .into_iter()
                .filter(|o| (*(*o as *mut pg_sys::Node)).type_ == NodeTag::T_String)
                .map(|o| text((*(o as *mut pg_sys::String)).sval))
                .collect()
        }
    }

    /// The relations of DROP INDEX or DROP TABLE.
    pub fn dropped_relations(self) -> Vec<Name> {
        if !self.is(NodeTag::T_DropStmt) {
            return Vec::new();
        }
        // SAFETY: the tag was checked; objects that are lists are qualified names.
        unsafe {
            items((*(self.0 as *mut pg_sys::DropStmt)).objects)
                .into_iter()
                .filter(|o| (*(*o as *mut pg_sys::Node)).type_ == NodeTag::T_List)
                .map(|o| {
                    let list = o as *mut pg_sys::List;
                    Name(guard::call(|| pg_sys::makeRangeVarFromNameList(list)))
                })
                .collect()
        }
    }

    /// The kind of object of ALTER ... SET SCHEMA.
    pub fn schema_change_kind(self) -> Option<ObjectType::Type> {
        // SAFETY: the tag is checked.
        self.is(NodeTag::T_AlterObjectSchemaStmt)
            .then(|| unsafe { (*(self.0 as *mut pg_sys::AlterObjectSchemaStmt)).objectType })
    }

    /// Names and target of ALTER STATISTICS ... SET STATISTICS.
    pub fn alter_statistics(self) -> Option<(Vec<String>, i32)> {
        // SAFETY: the tag is checked.
        self.is(NodeTag::T_AlterStatsStmt).then(|| unsafe {
            let s = self.0 as *mut pg_sys::AlterStatsStmt;
            (strings((*s).defnames), (*s).stxstattarget)
        })
    }

    /// Roles of DROP OWNED and REASSIGN OWNED.
    pub fn owned_roles(self) -> Vec<String> {
        // SAFETY: the tag says which structure it is.
        unsafe {
            let list = match self.tag() {
                NodeTag::T_DropOwnedStmt => (*(self.0 as *mut pg_sys::DropOwnedStmt)).roles,
                NodeTag::T_ReassignOwnedStmt => (*(self.0 as *mut pg_sys::ReassignOwnedStmt)).roles,
                _ => std::ptr::null_mut(),
            };
            items(list).into_iter().filter_map(|r| role(r as *mut pg_sys::RoleSpec)).collect()
        }
    }
}

/// Whether an option without value, or with a boolean one, is on.
pub fn is_on(value: Option<&str>) -> bool {
    !matches!(value, Some("false" | "off" | "0"))
}

unsafe fn published(list: *mut pg_sys::List) -> Vec<Name> {
    // SAFETY: a list of PublicationObjSpec nodes.
    unsafe {
        items(list)
            .into_iter()
            .map(|o| (*(o as *mut pg_sys::PublicationObjSpec)).pubtable)
            .filter(|t| !t.is_null())
            .map(|t| Name((*t).relation))
            .collect()
    }
}

/// Tables that a TRUNCATE ... CASCADE of these tables reaches through foreign keys, without them.
pub fn truncated_along(tables: &[Oid]) -> Vec<Oid> {
    let mut all: Vec<Oid> = tables.to_vec();
    loop {
        // SAFETY: lists of OIDs in and out.
        let more: Vec<Oid> = unsafe {
            let mut list: *mut pg_sys::List = std::ptr::null_mut();
            for t in &all {
                list = pg_sys::lappend_oid(list, *t);
            }
            let found = guard::call(|| pg_sys::heap_truncate_find_FKs(list));
            let n = if found.is_null() { 0 } else { (*found).length.max(0) as usize };
            (0..n).map(|i| (*(*found).elements.add(i)).oid_value).collect()
        };
        let new: Vec<Oid> = more.into_iter().filter(|o| !all.contains(o)).collect();
        if new.is_empty() {
            break;
        }
        all.extend(new);
    }
    all.split_off(tables.len())
}
