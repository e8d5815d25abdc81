//! Utility statements as values: what the handlers of `ddl` need to know of a parse tree.

use super::tree::{items, text, Tree};
use super::{guard, spi};
use crate::error::Result;
use pgrx::pg_sys::{self, AlterTableType, NodeTag, ObjectType, Oid};
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

/// A constraint as a statement writes it.
#[derive(Clone, Debug)]
pub struct ConstraintView {
    /// Kind.
    pub kind: pg_sys::ConstrType::Type,
    /// Name, if written.
    pub name: Option<String>,
    /// `USING INDEX`.
    pub index: Option<String>,
    /// DEFERRABLE
    pub deferrable: bool,
    /// INITIALLY DEFERRED
    pub deferred: bool,
    /// Referenced table of a foreign key.
    pub referenced: Option<Name>,
}

/// One command of ALTER TABLE.
#[derive(Clone, Copy)]
pub struct AlterCommand(*mut pg_sys::AlterTableCmd);

/// What a GRANT or REVOKE says.
#[derive(Clone, Debug)]
pub struct GrantView {
    /// GRANT, not REVOKE.
    pub grant: bool,
    /// `... IN SCHEMA`: objects are schemas.
    pub all_in_schema: bool,
    /// Kind of objects.
    pub objects: ObjectType::Type,
    /// Relations, for tables.
    pub relations: Vec<Name>,
    /// Names, for schemas.
    pub names: Vec<String>,
    /// Privileges with their columns; empty for all.
    pub privileges: Vec<(Option<String>, Vec<String>)>,
    /// Roles; `None` is PUBLIC.
    pub grantees: Vec<Option<String>>,
    /// WITH GRANT OPTION, or GRANT OPTION FOR.
    pub grant_option: bool,
    /// CASCADE
    pub cascade: bool,
}

/// What an ALTER ... RENAME says.
#[derive(Clone, Debug)]
pub struct RenameView {
    /// Kind of object.
    pub kind: ObjectType::Type,
    /// Relation.
    pub relation: Option<Name>,
    /// Names of an object that is no relation.
    pub object: Vec<String>,
    /// Column, constraint, policy or schema.
    pub old: String,
    /// New name.
    pub new: String,
}

/// A change of an enum, a domain, or a type's name.
#[derive(Clone, Debug)]
pub enum TypeChange {
    /// ADD VALUE: the value, its neighbour and whether it comes after it, IF NOT EXISTS.
    AddValue {
        /// The new value.
        value: String,
        /// Its neighbour, and whether it comes after it.
        neighbour: Option<(String, bool)>,
        /// IF NOT EXISTS
        if_not_exists: bool,
    },
    /// RENAME VALUE
    RenameValue(String, String),
    /// RENAME TO
    Rename(String),
    /// RENAME CONSTRAINT of a domain
    RenameConstraint(String, String),
    /// SET SCHEMA
    SetSchema(String),
    /// SET or DROP DEFAULT of a domain
    Default,
    /// SET or DROP NOT NULL of a domain
    NotNull(bool),
    /// ADD CONSTRAINT of a domain
    AddConstraint,
    /// DROP CONSTRAINT of a domain
    DropConstraint(String),
    /// VALIDATE CONSTRAINT of a domain
    ValidateConstraint(String),
}

/// A type by its qualified name.
unsafe fn find_type(names: *mut pg_sys::List) -> Option<Oid> {
    // SAFETY: a list of String nodes.
    unsafe {
        let oid = guard::call(|| {
            let name = pg_sys::makeTypeNameFromNameList(names);
            pg_sys::LookupTypeNameOid(std::ptr::null_mut(), name, true)
        });
        (oid != Oid::INVALID).then_some(oid)
    }
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

    /// The commands of an ALTER TABLE.
    pub fn alter_commands(self) -> Vec<AlterCommand> {
        if !self.is(NodeTag::T_AlterTableStmt) {
            return Vec::new();
        }
        // SAFETY: the tag was checked.
        unsafe {
            items((*(self.0 as *mut pg_sys::AlterTableStmt)).cmds)
                .into_iter()
                .map(|c| AlterCommand(c as *mut pg_sys::AlterTableCmd))
                .collect()
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

    /// RESTART IDENTITY of TRUNCATE is done by the local command; CASCADE concerns us.
    pub fn cascades(self) -> bool {
        use pg_sys::DropBehavior::DROP_CASCADE;
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_TruncateStmt => {
                    (*(self.0 as *mut pg_sys::TruncateStmt)).behavior == DROP_CASCADE
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

    /// What a GRANT or REVOKE on objects says.
    pub fn grant(self) -> Option<GrantView> {
        if !self.is(NodeTag::T_GrantStmt) {
            return None;
        }
        use pg_sys::GrantTargetType::ACL_TARGET_ALL_IN_SCHEMA;
        // SAFETY: the tag was checked; the kinds say what the lists hold.
        unsafe {
            let g = self.0 as *mut pg_sys::GrantStmt;
            let all_in_schema = (*g).targtype == ACL_TARGET_ALL_IN_SCHEMA;
            let tables = (*g).objtype == ObjectType::OBJECT_TABLE && !all_in_schema;
            let schemas = (*g).objtype == ObjectType::OBJECT_SCHEMA || all_in_schema;
            Some(GrantView {
                grant: (*g).is_grant,
                all_in_schema,
                objects: (*g).objtype,
                relations: if tables { names((*g).objects) } else { Vec::new() },
                names: if schemas { strings((*g).objects) } else { Vec::new() },
                privileges: items((*g).privileges)
                    .into_iter()
                    .map(|p| {
                        let p = p as *mut pg_sys::AccessPriv;
                        (opt_text((*p).priv_name), strings((*p).cols))
                    })
                    .collect(),
                grantees: items((*g).grantees)
                    .into_iter()
                    .map(|r| role(r as *mut pg_sys::RoleSpec))
                    .collect(),
                grant_option: (*g).grant_option,
                cascade: (*g).behavior == pg_sys::DropBehavior::DROP_CASCADE,
            })
        }
    }

    /// What a GRANT or REVOKE of roles says: whether memberships begin or end, and each role with
    /// each member. `None` where no membership changes.
    pub fn role_grant(self) -> Option<(bool, Vec<(String, String)>)> {
        if !self.is(NodeTag::T_GrantRoleStmt) {
            return None;
        }
        // SAFETY: the tag was checked; the lists hold what the parser puts there.
        unsafe {
            let g = self.0 as *mut pg_sys::GrantRoleStmt;
            if !(*g).is_grant && (*g).admin_opt {
                return None;
            }
            let mut pairs = Vec::new();
            for r in items((*g).granted_roles) {
                let Some(name) = opt_text((*(r as *mut pg_sys::AccessPriv)).priv_name) else {
                    continue;
                };
                for m in items((*g).grantee_roles) {
                    let member = role(m as *mut pg_sys::RoleSpec);
                    pairs.extend(member.map(|m| (name.clone(), m)));
                }
            }
            Some(((*g).is_grant, pairs))
        }
    }

    /// What an ALTER ... RENAME says.
    pub fn rename_view(self) -> Option<RenameView> {
        if !self.is(NodeTag::T_RenameStmt) {
            return None;
        }
        // SAFETY: the tag was checked.
        unsafe {
            let r = self.0 as *mut pg_sys::RenameStmt;
            let object = (*r).object;
            let is_list = !object.is_null() && (*object).type_ == NodeTag::T_List;
            let by_name = is_list && (*r).renameType == ObjectType::OBJECT_STATISTIC_EXT;
            Some(RenameView {
                kind: (*r).renameType,
                relation: (!(*r).relation.is_null()).then_some(Name((*r).relation)),
                object: if by_name { strings(object as *mut pg_sys::List) } else { Vec::new() },
                old: text((*r).subname),
                new: text((*r).newname),
            })
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

    /// The type that an ALTER TYPE or ALTER DOMAIN changes, and how.
    pub fn type_change(self) -> Option<(Oid, TypeChange)> {
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_AlterEnumStmt => {
                    let s = self.0 as *mut pg_sys::AlterEnumStmt;
                    let new = text((*s).newVal);
                    let change = match opt_text((*s).oldVal) {
                        Some(old) => TypeChange::RenameValue(old, new),
                        None => TypeChange::AddValue {
                            value: new,
                            neighbour: opt_text((*s).newValNeighbor)
                                .map(|n| (n, (*s).newValIsAfter)),
                            if_not_exists: (*s).skipIfNewValExists,
                        },
                    };
                    Some((find_type((*s).typeName)?, change))
                }
                NodeTag::T_AlterDomainStmt => {
                    let s = self.0 as *mut pg_sys::AlterDomainStmt;
                    let change = match (*s).subtype as u8 {
                        b'T' => TypeChange::Default,
                        b'N' => TypeChange::NotNull(false),
                        b'O' => TypeChange::NotNull(true),
                        b'C' => TypeChange::AddConstraint,
                        b'X' => TypeChange::DropConstraint(text((*s).name)),
                        b'V' => TypeChange::ValidateConstraint(text((*s).name)),
                        _ => return None,
                    };
                    Some((find_type((*s).typeName)?, change))
                }
                NodeTag::T_RenameStmt => {
                    let s = self.0 as *mut pg_sys::RenameStmt;
                    let new = text((*s).newname);
                    let change = match (*s).renameType {
                        ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN => {
                            TypeChange::Rename(new)
                        }
                        ObjectType::OBJECT_DOMCONSTRAINT => {
                            TypeChange::RenameConstraint(text((*s).subname), new)
                        }
                        _ => return None,
                    };
                    Some((type_of_object((*s).object)?, change))
                }
                NodeTag::T_AlterObjectSchemaStmt => {
                    let s = self.0 as *mut pg_sys::AlterObjectSchemaStmt;
                    let new = TypeChange::SetSchema(text((*s).newschema));
                    Some((type_of_object((*s).object)?, new))
                }
                _ => None,
            }
        }
    }

    /// Foreign keys that a CREATE TABLE or ALTER TABLE writes: the referenced tables.
    pub fn referenced_tables(self) -> Vec<Name> {
        let mut found = Vec::new();
        // SAFETY: the tag says which structure it is.
        unsafe {
            if self.is(NodeTag::T_CreateStmt) {
                for e in items((*(self.0 as *mut pg_sys::CreateStmt)).tableElts) {
                    references(e as *mut pg_sys::Node, &mut found);
                }
            }
            for c in self.alter_commands() {
                use AlterTableType::{AT_AddColumn, AT_AddConstraint};
                if [AT_AddColumn, AT_AddConstraint].contains(&(*c.0).subtype) {
                    references((*c.0).def, &mut found);
                }
            }
        }
        found
    }
}

unsafe fn type_of_object(object: *mut pg_sys::Node) -> Option<Oid> {
    // SAFETY: types are named by lists of String nodes.
    unsafe {
        let is_list = !object.is_null() && (*object).type_ == NodeTag::T_List;
        if is_list {
            find_type(object as *mut pg_sys::List)
        } else {
            None
        }
    }
}

/// Whether an option without value, or with a boolean one, is on.
pub fn is_on(value: Option<&str>) -> bool {
    !matches!(value, Some("false" | "off" | "0"))
}

unsafe fn references(node: *mut pg_sys::Node, found: &mut Vec<Name>) {
    if node.is_null() {
        return;
    }
    // SAFETY: the tag says which structure it is.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Constraint => {
                let table = (*(node as *mut pg_sys::Constraint)).pktable;
                if !table.is_null() {
                    found.push(Name(table));
                }
            }
            NodeTag::T_ColumnDef => {
                for c in items((*(node as *mut pg_sys::ColumnDef)).constraints) {
                    references(c as *mut pg_sys::Node, found);
                }
            }
            _ => {}
        }
    }
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

impl AlterCommand {
    /// The kind of command.
    pub fn kind(self) -> AlterTableType::Type {
        // SAFETY: a valid AlterTableCmd.
        unsafe { (*self.0).subtype }
    }

    /// Column, constraint, trigger or other object.
    pub fn name(self) -> String {
        // SAFETY: a valid AlterTableCmd.
        unsafe { text((*self.0).name) }
    }

    /// Column number, where an index' column is named by it.
    pub fn number(self) -> i16 {
        // SAFETY: a valid AlterTableCmd.
        unsafe { (*self.0).num }
    }

    /// Name of the new owner.
    pub fn owner(self) -> Option<String> {
        // SAFETY: a valid AlterTableCmd.
        unsafe {
            if (*self.0).newowner.is_null() {
                return None;
            }
            role((*self.0).newowner)
        }
    }

    fn def_tag(self) -> Option<NodeTag> {
        // SAFETY: a valid AlterTableCmd.
        unsafe {
            let def = (*self.0).def;
            (!def.is_null()).then(|| (*def).type_)
        }
    }

    /// Options of SET and RESET.
    pub fn options(self) -> Vec<Option_> {
        if self.def_tag() != Some(NodeTag::T_List) {
            return Vec::new();
        }
        // SAFETY: the tag was checked.
        unsafe { options((*self.0).def as *mut pg_sys::List) }
    }

    /// The value of SET STATISTICS, SET STORAGE, SET COMPRESSION.
    pub fn value(self) -> Option<String> {
        // SAFETY: the tag is checked.
        unsafe {
            match self.def_tag()? {
                NodeTag::T_Integer => {
                    Some((*((*self.0).def as *mut pg_sys::Integer)).ival.to_string())
                }
                NodeTag::T_String => Some(text((*((*self.0).def as *mut pg_sys::String)).sval)),
                _ => None,
            }
        }
    }

    /// The constraint that is added or altered.
    pub fn constraint(self) -> Option<ConstraintView> {
        if self.def_tag()? != NodeTag::T_Constraint {
            return None;
        }
        // SAFETY: the tag was checked.
        unsafe {
            let c = (*self.0).def as *mut pg_sys::Constraint;
            Some(ConstraintView {
                kind: (*c).contype,
                name: opt_text((*c).conname),
                index: opt_text((*c).indexname),
                deferrable: (*c).deferrable,
                deferred: (*c).initdeferred,
                referenced: (!(*c).pktable.is_null()).then_some(Name((*c).pktable)),
            })
        }
    }

    /// REPLICA IDENTITY: its kind and index.
    pub fn replica_identity(self) -> Option<(u8, Option<String>)> {
        if self.def_tag()? != NodeTag::T_ReplicaIdentityStmt {
            return None;
        }
        // SAFETY: the tag was checked.
        unsafe {
            let r = (*self.0).def as *mut pg_sys::ReplicaIdentityStmt;
            Some(((*r).identity_type as u8, opt_text((*r).name)))
        }
    }

    /// The USING expression of a change of type as text that means the same everywhere. To be
    /// asked before the type changes.
    pub fn using_expression(self, relid: Oid) -> Result<Option<String>> {
        if self.def_tag() != Some(NodeTag::T_ColumnDef) {
            return Ok(None);
        }
        // SAFETY: the tag was checked; the expression is analyzed as the server itself does it.
        unsafe {
            let raw = (*((*self.0).def as *mut pg_sys::ColumnDef)).raw_default;
            if raw.is_null() {
                return Ok(None);
            }
            let expr = guard::call(|| analyze_using(relid, raw));
            let printed = spi::pinned(|| {
                Ok(text(guard::call(|| {
                    let name = pg_sys::get_rel_name(relid);
                    let context = pg_sys::deparse_context_for(name, relid);
                    pg_sys::deparse_expression(expr, context, false, false)
                })))
            })?;
            Ok(Some(printed))
        }
    }
}

unsafe fn analyze_using(relid: Oid, raw: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: called within guard::call; what is opened is closed.
    unsafe {
        let rel = pg_sys::relation_open(relid, pg_sys::AccessShareLock as i32);
        let pstate = pg_sys::make_parsestate(std::ptr::null_mut());
        let item = pg_sys::addRangeTableEntryForRelation(
            pstate,
            rel,
            pg_sys::AccessShareLock as i32,
            std::ptr::null_mut(),
            false,
            true,
        );
        pg_sys::addNSItemToQuery(pstate, item, false, true, true);
        let copy = pg_sys::copyObjectImpl(raw as *const c_void) as *mut pg_sys::Node;
        let expr = pg_sys::transformExpr(
            pstate,
            copy,
            pg_sys::ParseExprKind::EXPR_KIND_ALTER_COL_TRANSFORM,
        );
        pg_sys::assign_expr_collations(pstate, expr);
        pg_sys::relation_close(rel, pg_sys::NoLock as i32);
        expr
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
