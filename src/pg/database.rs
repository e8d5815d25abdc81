//! Databases of this server, and the statements that want one of them for themselves.

use super::tree::{items, text, Tree};
use super::{guard, scan, spi};
use pgrx::pg_sys::{self, Datum, NodeTag, ObjectType, Oid};

/// What a statement needs to have for itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exclusive {
    /// A database: nobody else may be connected to it.
    Database(String),
    /// The extension of this name in the current database.
    Extension(String),
}

/// Whether a kind of statement may need something for itself, or change roles or databases.
pub fn is_of_interest(tag: NodeTag) -> bool {
    matches!(
        tag,
        NodeTag::T_CreatedbStmt
            | NodeTag::T_DropdbStmt
            | NodeTag::T_AlterDatabaseStmt
            | NodeTag::T_RenameStmt
            | NodeTag::T_DropStmt
            | NodeTag::T_AlterDatabaseSetStmt
            | NodeTag::T_AlterRoleStmt
            | NodeTag::T_AlterRoleSetStmt
            | NodeTag::T_DropRoleStmt
            | NodeTag::T_GrantRoleStmt
            | NodeTag::T_GrantStmt
    )
}

/// Whether a statement changes roles or databases, and so who may connect, or as what.
pub fn changes_access(statement: Tree) -> bool {
    let node = statement.0;
    // SAFETY: the tag says which structure the node is.
    unsafe {
        match statement.tag() {
            NodeTag::T_CreatedbStmt | NodeTag::T_DropStmt => false,
            NodeTag::T_RenameStmt => matches!(
                (*(node as *mut pg_sys::RenameStmt)).renameType,
                ObjectType::OBJECT_DATABASE | ObjectType::OBJECT_ROLE
            ),
            NodeTag::T_GrantStmt => {
                (*(node as *mut pg_sys::GrantStmt)).objtype == ObjectType::OBJECT_DATABASE
            }
            tag => is_of_interest(tag),
        }
    }
}

/// Whether a kind of statement makes or removes databases.
pub fn changes_databases(tag: NodeTag) -> bool {
    matches!(tag, NodeTag::T_CreatedbStmt | NodeTag::T_DropdbStmt)
}

/// What the statement needs to have for itself.
pub fn exclusive(statement: Tree) -> Vec<Exclusive> {
    let node = statement.0;
    // SAFETY: the tag says which structure the node is; the parser fills its fields.
    unsafe {
        match statement.tag() {
            NodeTag::T_DropdbStmt => {
                vec![Exclusive::Database(text((*(node as *mut pg_sys::DropdbStmt)).dbname))]
            }
            NodeTag::T_CreatedbStmt => {
                let options = (*(node as *mut pg_sys::CreatedbStmt)).options;
                let template = option(options, "template");
                vec![Exclusive::Database(template.unwrap_or_else(|| "template1".to_owned()))]
            }
            NodeTag::T_AlterDatabaseStmt => {
                let s = node as *mut pg_sys::AlterDatabaseStmt;
                let moves = option((*s).options, "tablespace").is_some();
                if moves {
                    vec![Exclusive::Database(text((*s).dbname))]
                } else {
                    Vec::new()
                }
            }
            NodeTag::T_RenameStmt => {
                let s = node as *mut pg_sys::RenameStmt;
                match (*s).renameType {
                    ObjectType::OBJECT_DATABASE => {
                        vec![Exclusive::Database(text((*s).subname))]
                    }
                    _ => Vec::new(),
                }
            }
            NodeTag::T_DropStmt => {
                let s = node as *mut pg_sys::DropStmt;
                if (*s).removeType != ObjectType::OBJECT_EXTENSION {
                    return Vec::new();
                }
                let names = items((*s).objects).into_iter();
                names
                    .map(|n| Exclusive::Extension(text((*(n as *mut pg_sys::String)).sval)))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The value of an option that has one.
///
/// # Safety
/// `options` must be null or a list of DefElem.
unsafe fn option(options: *mut pg_sys::List, name: &str) -> Option<String> {
    // SAFETY: as promised; an argument of these options is a name or a number.
    unsafe {
        items(options).into_iter().find_map(|o| {
            let o = o as *mut pg_sys::DefElem;
            if (*o).arg.is_null() || text((*o).defname) != name {
                return None;
            }
            Some(text(guard::call(|| pg_sys::defGetString(o))))
        })
    }
}

/// OID of a database; `None` when there is none of that name.
pub fn find(name: &str) -> Option<u32> {
    let name = spi::cstring(name).ok()?;
    let name = name.as_ptr();
    // SAFETY: look-up inside a transaction.
    let oid = unsafe { guard::call(|| pg_sys::get_database_oid(name, true)) };
    (oid != Oid::INVALID).then(|| u32::from(oid))
}

/// Whether the current user may drop, rename or copy a database: its owner, a superuser, or for
/// a template anybody who may create databases.
pub fn may_manage(database: u32) -> bool {
    let oid = Oid::from(database);
    // SAFETY: syscache look-ups inside a transaction; the entry is released after its use.
    unsafe {
        let owns = guard::call(|| pg_sys::pg_database_ownercheck(oid, pg_sys::GetUserId()));
        if owns || !guard::call(|| pg_sys::have_createdb_privilege()) {
            return owns;
        }
        let cache = pg_sys::SysCacheIdentifier::DATABASEOID as i32;
        let tuple = guard::call(|| pg_sys::SearchSysCache1(cache, Datum::from(oid)));
        if tuple.is_null() {
            return false;
        }
        let is_template =
            (*(pg_sys::GETSTRUCT(tuple) as *mut pg_sys::FormData_pg_database)).datistemplate;
        pg_sys::ReleaseSysCache(tuple);
        is_template
    }
}

/// `datconnlimit` of a database whose DROP was interrupted.
const INVALID: i32 = -2;

/// OIDs of the databases that can be connected to.
pub fn connectable() -> Vec<u32> {
    let mut found = Vec::new();
    scan::rows(pg_sys::DatabaseRelationId, None, &[], |r| {
        // oid, datallowconn, datconnlimit
        if r.bool(7) && r.i32(8) != INVALID {
            found.push(u32::from(r.oid(1)));
        }
    });
    found
}

/// Our extension in this database.
fn extension() -> Oid {
    // SAFETY: look-up inside a transaction.
    unsafe { guard::call(|| pg_sys::get_extension_oid(c"citus".as_ptr(), true)) }
}

/// Whether our extension is installed in this database.
pub fn has_extension() -> bool {
    extension() != Oid::INVALID
}

/// Whether the current user may drop our extension.
pub fn may_drop_extension() -> bool {
    let extension = extension();
    // SAFETY: syscache look-ups inside a transaction.
    extension != Oid::INVALID
        && unsafe {
            guard::call(|| pg_sys::pg_extension_ownercheck(extension, pg_sys::GetUserId()))
        }
}
