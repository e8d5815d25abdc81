//! Relations: look-ups, locks, storage.

use super::transmit::transmit;
use super::{guard, nodes, scan, spi};
use crate::error::{OrRaise, Result};
use pgrx::pg_sys::{self, Oid};
use std::ffi::c_char;

extern "C-unwind" {
    fn get_relation_constraint_oid(relid: Oid, name: *const c_char, missing_ok: bool) -> Oid;
}

/// OID of a relation by schema and name, without privilege checks.
pub fn find(schema: &str, name: &str) -> Option<Oid> {
    let (schema, name) = (spi::cstring(schema).ok()?, spi::cstring(name).ok()?);
    // SAFETY: syscache look-ups with valid strings.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == Oid::INVALID {
            return None;
        }
        let oid = pg_sys::get_relname_relid(name.as_ptr(), namespace);
        (oid != Oid::INVALID).then_some(oid)
    }
}

/// Whether a relation, given by its names, has a constraint of that name.
pub fn has_constraint(schema: &str, relation: &str, constraint: &str) -> bool {
    let Some(relid) = find(schema, relation) else { return false };
    let Ok(name) = spi::cstring(constraint) else { return false };
    let name = name.as_ptr();
    // SAFETY: scans pg_constraint by its index.
    let oid = unsafe { guard::call(|| get_relation_constraint_oid(relid, name, true)) };
    oid != Oid::INVALID
}

/// Opens relations, which are locked already, as a scan of them does: commands of the same session that
/// would change them underneath are refused (55006) until [`let_go`].
///
/// # Safety
/// The result is allocated in the current memory context, and belongs to the current resource owner.
pub unsafe fn hold(relations: &[u32]) -> *mut pg_sys::List {
    // SAFETY: a look-up in the cache of relations, none for one that does not exist.
    let open = |r: &u32| unsafe {
        let oid = Oid::from(*r);
        let relation = guard::call(|| pg_sys::RelationIdGetRelation(oid));
        (!relation.is_null()).then_some(relation)
    };
    // SAFETY: a list of pointers.
    unsafe { nodes::list(relations.iter().filter_map(open)) }
}

/// Closes what [`hold`] has opened.
///
/// # Safety
/// The result of [`hold`], once, under the same resource owner.
pub unsafe fn let_go(relations: *mut pg_sys::List) {
    // SAFETY: the caller's promise.
    unsafe {
        for r in nodes::iter(relations) {
            guard::call(|| pg_sys::RelationClose(r));
        }
    }
}

/// Locks a relation until the end of the transaction.
pub fn lock(relid: Oid, mode: u32) {
    // SAFETY: waits for the lock; errors become panics.
    unsafe { guard::call(|| pg_sys::LockRelationOid(relid, mode as i32)) }
}

/// A lock that outlives transactions.
pub struct SessionLock(pg_sys::LockRelId, i32);

/// Locks a relation of this database until the value is dropped, whatever transactions end
/// meanwhile. An error that ends the transaction ends the lock as well.
pub fn lock_for_session(relid: Oid, mode: u32) -> SessionLock {
    // SAFETY: reads a global that is set since the connection was made.
    let database = unsafe { pg_sys::MyDatabaseId };
    let mut lock = SessionLock(pg_sys::LockRelId { relId: relid, dbId: database }, mode as i32);
    // SAFETY: waits for the lock; errors become panics. Waiting for it does not read what others
    // have changed, as it does for other locks of relations.
    unsafe {
        guard::call(|| {
            pg_sys::LockRelationIdForSession(&mut lock.0, lock.1);
            pg_sys::AcceptInvalidationMessages();
        })
    };
    lock
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        // SAFETY: the lock is held: while an error passes, the transaction has not ended yet.
        unsafe { guard::call(|| pg_sys::UnlockRelationIdForSession(&mut self.0, self.1)) }
    }
}

/// The kind of a relation (`r`, `v`, ...), 0 when it does not exist.
pub fn kind(relid: Oid) -> u8 {
    // SAFETY: syscache look-up.
    unsafe { pg_sys::get_rel_relkind(relid) as u8 }
}

/// Whether a relation still exists.
pub fn exists(relid: Oid) -> bool {
    kind(relid) != 0
}

/// The table of an index.
pub fn table_of_index(index: Oid) -> Option<Oid> {
    // SAFETY: syscache look-up.
    let oid = unsafe { pg_sys::IndexGetRelation(index, true) };
    (oid != Oid::INVALID).then_some(oid)
}

/// Empties a table, without looking at foreign keys and without firing triggers; a rollback
/// brings the rows back.
pub fn empty(relid: Oid) -> Result<()> {
    // SAFETY: the table is locked against everybody; this is what TRUNCATE does to one relation.
    unsafe {
        guard::call(|| {
            let rel = pg_sys::table_open(relid, pg_sys::AccessExclusiveLock as i32);
            pg_sys::CheckTableNotInUse(rel, c"distribute".as_ptr());
            let persistence = (*(*rel).rd_rel).relpersistence;
            pg_sys::RelationSetNewRelfilenode(rel, persistence);
            let toast = (*(*rel).rd_rel).reltoastrelid;
            if toast != Oid::INVALID {
                let t = pg_sys::relation_open(toast, pg_sys::AccessExclusiveLock as i32);
                pg_sys::RelationSetNewRelfilenode(t, (*(*t).rd_rel).relpersistence);
                pg_sys::table_close(t, pg_sys::NoLock as i32);
            }
            let mut params = pg_sys::ReindexParams::default();
            pg_sys::reindex_relation(relid, pg_sys::REINDEX_REL_PROCESS_TOAST as i32, &mut params);
            pg_sys::pgstat_count_truncate(rel);
            pg_sys::table_close(rel, pg_sys::NoLock as i32);
            pg_sys::CommandCounterIncrement();
        });
    }
    Ok(())
}

/// A column as PostgreSQL stores references to it (`nodeToString` of a `Var`).
pub fn stored_column(attno: i16, typ: Oid, typmod: i32, collation: Oid) -> String {
    // SAFETY: builds a node and prints it; both live in the current memory context.
    unsafe {
        let var = pg_sys::makeVar(1, attno, typ, typmod, collation, 0);
        let c = guard::call(|| pg_sys::nodeToString(var as *const std::ffi::c_void));
        super::tree::text(c)
    }
}

/// Whether a type has a default hash function, which distribution by hash needs.
pub fn is_hashable(typ: Oid) -> bool {
    // SAFETY: type cache entries live as long as the process.
    unsafe {
        let flags = pg_sys::TYPECACHE_HASH_PROC | pg_sys::TYPECACHE_HASH_PROC_FINFO;
        let entry = guard::call(|| pg_sys::lookup_type_cache(typ, flags as i32));
        (*entry).hash_proc != Oid::INVALID
    }
}

/// The full `ALTER TABLE ... ADD CONSTRAINT` of a constraint, which means the same to every session
/// (with the search path pinned by the caller).
pub fn constraint_command(constraint: Oid) -> String {
    // SAFETY: a zero-terminated palloc'd text comes back.
    let command = || unsafe {
        super::tree::text(guard::call(|| pg_sys::pg_get_constraintdef_command(constraint)))
    };
    transmit(|| Ok(command())).or_raise()
}

/// Whether a stored expression has volatile functions.
pub fn is_volatile(stored: &str) -> Result<bool> {
    let text = spi::cstring(stored)?;
    let c = text.as_ptr();
    // SAFETY: the text is a stored expression of the server's own catalogs.
    unsafe {
        Ok(guard::call(|| {
            let node = pg_sys::stringToNode(c) as *mut pg_sys::Node;
            pg_sys::contain_volatile_functions(node)
        }))
    }
}

/// Makes later statements of this transaction see changes made so far.
pub fn command_counter_increment() {
    // SAFETY: inside a transaction.
    unsafe { guard::call(|| pg_sys::CommandCounterIncrement()) }
}

/// Whether a table has an index by which rows can conflict: unique or of an exclusion constraint.
pub fn has_unique_index(relid: Oid) -> bool {
    const INDRELID: i16 = 2;
    const INDISUNIQUE: usize = 5;
    const INDISEXCLUSION: usize = 8;
    let key = scan::Key { attno: INDRELID, equal: pg_sys::F_OIDEQ, value: relid.into() };
    let mut found = false;
    scan::rows(
        pg_sys::IndexRelationId,
        Some(Oid::from(pg_sys::IndexIndrelidIndexId)),
        &[key],
        |r| found |= r.bool(INDISUNIQUE) || r.bool(INDISEXCLUSION),
    );
    found
}

/// Names of a table, its indexes and its constraints; none when it does not exist.
pub fn names(relid: Oid) -> Vec<String> {
    const INDEXRELID: usize = 1;
    const INDRELID: i16 = 2;
    const CONNAME: usize = 2;
    const CONRELID: i16 = 8;
    // pg_constraint and its index by table.
    const CONSTRAINTS: u32 = 2606;
    const BY_TABLE: u32 = 2665;
    let name = |oid: Oid| {
        // SAFETY: syscache look-up that answers null or a zero-terminated copy.
        unsafe {
            let c = pg_sys::get_rel_name(oid);
            (!c.is_null()).then(|| super::tree::text(c))
        }
    };
    let mut found: Vec<String> = name(relid).into_iter().collect();
    let key = |attno| scan::Key { attno, equal: pg_sys::F_OIDEQ, value: relid.into() };
    let index = |oid: u32| Some(Oid::from(oid));
    scan::rows(
        pg_sys::IndexRelationId,
        index(pg_sys::IndexIndrelidIndexId),
        &[key(INDRELID)],
        |r| found.extend(name(r.oid(INDEXRELID))),
    );
    scan::rows(Oid::from(CONSTRAINTS), index(BY_TABLE), &[key(CONRELID)], |r| {
        found.extend(r.name(CONNAME))
    });
    found
}
