//! GRANT, ALTER ... RENAME, and changes of types.

use super::{names, opt_text, role, strings, Name};
use crate::pg::guard;
use crate::pg::tree::{items, text, Tree};
use pgrx::pg_sys::{self, NodeTag, ObjectType, Oid};

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
    /// OWNER TO
    Owner,
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

impl Tree {
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

    /// The role that a statement makes or changes, by the name that it has afterwards.
    pub fn changed_role(self) -> Option<String> {
        // SAFETY: the tag says which structure it is.
        unsafe {
            match self.tag() {
                NodeTag::T_CreateRoleStmt => {
                    Some(text((*(self.0 as *mut pg_sys::CreateRoleStmt)).role))
                }
                NodeTag::T_AlterRoleStmt => {
                    super::role((*(self.0 as *mut pg_sys::AlterRoleStmt)).role)
                }
                NodeTag::T_RenameStmt => Some(text((*(self.0 as *mut pg_sys::RenameStmt)).newname)),
                _ => None,
            }
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
                NodeTag::T_AlterOwnerStmt => {
                    let s = self.0 as *mut pg_sys::AlterOwnerStmt;
                    Some((type_of_object((*s).object)?, TypeChange::Owner))
                }
                _ => None,
            }
        }
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
