//! As whom a node checks the rights and row-level policies of the tables in a task.
//!
//! A table that came into a query by a view or rule is checked as the owner of that, while
//! everything else in the query, functions above all, runs as whoever sent it. PostgreSQL keeps
//! this in `checkAsUser` of the range table entry, which SQL cannot say. So the coordinator tells
//! the node beside the task: [`Others`] is what it tells, [`check_as`] takes note of it there, and
//! [`analyzed`] writes it into the task's range table before the rewriter looks for policies.
//!
//! What keeps others from using it:
//! - The call is proven (`model::proof`), so that it is the coordinator's, who has checked the
//!   same rights on its own tables; it holds until the call behind the task or the end of the
//!   (sub)transaction.
//! - It is for what the client of the node's session sends, not for what runs inside of that:
//!   statements of functions, triggers and policies have texts of their own, and are told from the
//!   client's by the address of the text.
//! - A task of this kind is never a named prepared statement, which a function could EXECUTE.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

use super::capture;
use crate::ddl::names::shard_name;
use crate::error::{sqlstate, Error, Result};
use crate::model::proof::{self, Arguments};
use crate::pg::fmgr::quote_literal;
use crate::pg::query::{Kind, Query, RangeTblEntry, Ref, Visit};
use crate::pg::{guc_scan, identity, lookup, nodes, session, snapshot, xact};
use crate::plan::{CheckAs, DistPlan};
use crate::remote::proof::Call;
use crate::txn;
use pgrx::pg_sys::{self, CmdType, ExplainStmt, NodeTag, Oid, ParseState, RTEKind};
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, CStr};
use std::rc::Rc;

/// The function that tells a node.
pub const CHECK_AS: &str = "citus_internal_check_as";
/// The statement behind the tasks.
pub const CHECK_AS_SELF: &str = "SELECT pg_catalog.citus_internal_check_as_self()";

/// A table in a statement on shards, and who is checked for it.
struct Rule {
    schema: String,
    table: String,
    alias: String,
    role: Oid,
}

/// The tables of a plan that are checked as somebody else than the current user.
pub struct Others {
    rules: Rules,
    /// Schema, table, alias and role of each.
    texts: Vec<String>,
}

impl Others {
    /// Those of a plan that is about to run; `None` when the current user is checked for all.
    /// Whoever opened it is checked for what came in by no view: rows of a cursor may be fetched by
    /// another user.
    pub fn of(plan: &DistPlan, opener: Oid) -> Result<Option<Others>> {
        if plan.check_as.is_empty() {
            return Ok(None);
        }
        let me = u32::from(session::user());
        let (mut rules, mut texts) = (Vec::new(), Vec::new());
        let role = |c: &CheckAs| if c.role == 0 { u32::from(opener) } else { c.role };
        for c in plan.check_as.iter().filter(|c| role(c) != me) {
            let relid = plan.tables.get(c.table as usize);
            let relid = relid.ok_or_else(|| Error::internal("a table without a number"))?;
            let (schema, table) = lookup::relation_names(Oid::from(*relid));
            let role = Oid::from(role(c));
            let name = session::name_of_role(role).ok_or_else(|| {
                let message = "the owner of a view in the query does not exist any more";
                Error::new(sqlstate::UNDEFINED_OBJECT, message)
            })?;
            texts.extend([schema.clone(), table.clone(), c.alias.clone(), name]);
            rules.push(Rule { schema, table, alias: c.alias.clone(), role });
        }
        Ok((!rules.is_empty()).then(|| Others { rules: Rc::new(rules), texts }))
    }

    /// The call that tells a node.
    pub fn call(&self) -> Call {
        let quoted: Vec<String> = self.texts.iter().map(|t| quote_literal(t)).collect();
        let sql = format!("ARRAY[{}]::pg_catalog.text[]", quoted.join(","));
        Call { function: CHECK_AS, sql, arguments: arguments(&self.texts) }
    }
}

/// What the proof of a call is about.
pub fn arguments(texts: &[String]) -> Arguments {
    let mut all = Arguments::default();
    all.list(texts.iter());
    all
}

type Rules = Rc<Vec<Rule>>;
/// The address of a statement's text, and its rules.
type OfText = Option<(*const c_char, Rules)>;

/// What the coordinator has told this node.
struct Told {
    level: i32,
    rules: Rules,
}

thread_local! {
    static TOLD: RefCell<Option<Told>> = const { RefCell::new(None) };
    /// For the statement at this address, which runs in this backend.
    static HERE: RefCell<OfText> = const { RefCell::new(None) };
    /// Whether there is one of both.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

fn note_any() {
    let here = HERE.with(|h| h.try_borrow().map_or(true, |h| h.is_some()));
    ANY.set(here || TOLD.with(|t| t.try_borrow().map_or(true, |t| t.is_some())));
}

/// From now on the tables of the client's statements are checked as the coordinator says: schema,
/// table, alias and role of each.
pub fn check_as(texts: &[String]) -> Result<()> {
    if !xact::in_block() {
        let message = format!("{CHECK_AS} can be called only in a transaction block");
        return Err(Error::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message));
    }
    let mut rules = Vec::new();
    for rule in texts.chunks(4) {
        let [schema, table, alias, role] = rule else {
            let message = "the list must have four texts for each table";
            return Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        };
        let role = session::role_oid(role).map(Oid::from).ok_or_else(|| {
            let message = format!("role \"{role}\" does not exist on this node");
            Error::new(sqlstate::UNDEFINED_OBJECT, message)
                .detail("It owns a view or rule by which the query reads or writes a table.")
                .hint("Create the role on the node as it is on the coordinator.")
        })?;
        let (schema, table, alias) = (schema.clone(), table.clone(), alias.clone());
        rules.push(Rule { schema, table, alias, role });
    }
    let told = Told { level: xact::nest_level(), rules: Rc::new(rules) };
    TOLD.with(|t| *t.borrow_mut() = Some(told));
    note_any();
    Ok(())
}

/// The current user is checked again.
pub fn check_as_self() {
    TOLD.with(|t| t.borrow_mut().take());
    note_any();
}

/// From now on the client's statements run as another role, to the end of the transaction: the
/// coordinator's side is `txn::acting`. What was said or changed for statements before means nothing
/// any more: those were somebody else's.
///
/// A proof can become known and not be used, when the call comes after an error. So that nothing can
/// use it that runs inside of a statement, the call has to be what the client has sent, and its end.
pub fn act_as(role: &str, restricted: bool, proof: Option<&str>) -> Result<()> {
    if !xact::in_block() {
        let message = format!("{} can be called only in a transaction block", proof::ACT_AS);
        return Err(Error::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message));
    }
    let proof = proof.map(quote_literal);
    let call = proof::acting_call(&quote_literal(role), restricted, proof.as_deref());
    if txn::is_inside_of_another() || !session::statement().is_some_and(|s| s.ends_with(&call)) {
        let message = format!("{} cannot be called by other statements", proof::ACT_AS);
        return Err(Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail("Only other nodes of the cluster call it."));
    }
    let oid = session::role_oid(role).map(Oid::from).ok_or_else(|| {
        let message = format!("role \"{role}\" does not exist on this node");
        Error::new(sqlstate::UNDEFINED_OBJECT, message)
            .detail("Statements of the transaction run as this role.")
            .hint("Create the role on the node as it is on the coordinator.")
    })?;
    check_as_self();
    capture::forget();
    snapshot::read_with(0)?;
    guc_scan::reset_locally();
    identity::act_as(oid, restricted)
}

/// A transaction has ended (level 1), or a subtransaction was rolled back.
pub fn forget(level: i32) {
    TOLD.with(|t| {
        if let Ok(mut t) = t.try_borrow_mut() {
            t.take_if(|t| t.level >= level);
        }
    });
    note_any();
}

/// Runs a statement of this backend whose tables are checked as others.
pub fn here<R>(others: Option<&Others>, text: &CStr, run: impl FnOnce() -> R) -> R {
    struct Back(OfText);
    impl Drop for Back {
        fn drop(&mut self) {
            HERE.with(|h| *h.borrow_mut() = self.0.take());
            note_any();
        }
    }
    let Some(others) = others else { return run() };
    let mine = Some((text.as_ptr(), others.rules.clone()));
    let _back = Back(HERE.with(|h| h.replace(mine)));
    note_any();
    run()
}

/// Whether [`analyzed`] may have something to do; costs nothing.
pub fn may_concern() -> bool {
    ANY.get()
}

/// The rules for a statement with this text.
unsafe fn rules_for(text: *const c_char) -> Option<Rules> {
    if text.is_null() {
        return None;
    }
    let here = |h: &OfText| h.as_ref().filter(|h| std::ptr::eq(h.0, text)).map(|h| h.1.clone());
    if let Some(rules) = HERE.with(|h| here(&h.borrow())) {
        return Some(rules);
    }
    // What the client sends is analyzed before anything of it runs, from the very text that the
    // server shows as the session's query.
    if txn::is_nested() || !std::ptr::eq(text, pg_sys::debug_query_string) {
        return None;
    }
    TOLD.with(|t| t.borrow().as_ref().map(|t| t.rules.clone()))
}

/// A statement was analyzed, and is about to be rewritten.
pub unsafe fn analyzed(state: *mut ParseState, query: *mut pg_sys::Query) {
    let Some(rules) = rules_for((*state).p_sourcetext) else { return };
    let mut query = query;
    if (*query).commandType == CmdType::CMD_UTILITY {
        let explain = nodes::cast::<ExplainStmt>((*query).utilityStmt, NodeTag::T_ExplainStmt);
        let Some(inner) = explain.and_then(|e| nodes::cast((*e).query, NodeTag::T_Query)) else {
            return;
        };
        query = inner;
    }
    let Some(query): Option<Query> = Ref::from_raw(query) else { return };
    query.walk(|n| {
        if let Some(rte) = n.cast::<RangeTblEntry>() {
            if let Some(rule) = rules.iter().find(|r| r.is_for(rte)) {
                rte.set_check_as_user(rule.role);
            }
        }
        Visit::Descend
    });
    query.walk(|n| {
        if let Kind::Query(q) = n.kind() {
            excluded(q);
        }
        Visit::Descend
    });
}

/// The row that ON CONFLICT calls EXCLUDED is the statement's own, and whoever is checked for its
/// table is checked for that.
fn excluded(q: Query) {
    let Some(conflict) = q.on_conflict() else { return };
    if let (Some(target), Some(rte)) = (q.target(), q.entry(conflict.excl_rel_index() as u32)) {
        rte.set_check_as_user(target.check_as_user());
    }
}

impl Rule {
    fn is_for(&self, rte: RangeTblEntry) -> bool {
        let named = || rte.eref().is_some_and(|e| e.aliasname().to_string() == self.alias);
        let is_table = rte.rtekind() == RTEKind::RTE_RELATION && rte.relkind() != b'c';
        if !is_table || !named() {
            return false;
        }
        let (schema, name) = lookup::relation_names(rte.relid());
        schema == self.schema && is_shard_of(&self.table, &name)
    }
}

/// Whether a relation's name is that of a shard of a table.
fn is_shard_of(table: &str, name: &str) -> bool {
    let id = name.rsplit_once('_').and_then(|(_, id)| id.parse::<i64>().ok());
    id.is_some_and(|id| shard_name(table, id) == name)
}

#[cfg(test)]
mod tests {
    use super::is_shard_of;

    #[test]
    fn shards_are_known_by_their_names() {
        let long = "a".repeat(63);
        let shard = crate::ddl::names::shard_name(&long, 102008);
        assert!(is_shard_of("events", "events_102008") && is_shard_of(&long, &shard));
        for (table, name) in [
            ("events", "events"),
            ("event", "events_102008"),
            ("e", "e_x"),
            ("e", "e_01"),
            (&long, &long),
        ] {
            assert!(!is_shard_of(table, name), "{table} {name}");
        }
    }
}
