//! What statements drop: tables with their shards, and columns, constraints, indexes, statistics
//! and policies of tables, whichever statement drops them and by whatever cascade.

use super::send::{self, Named};
use super::{extension, leftovers, metadata, undistribute};
use crate::catalog::{self, Table};
use crate::error::{Error, Result};
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::{object, relation, session, spi};
use pgrx::pg_sys::Oid;
use std::cell::RefCell;
use std::rc::Rc;

// Catalogs by OID.
const PG_CLASS: u32 = 1259;
const PG_CONSTRAINT: u32 = 2606;
const PG_POLICY: u32 = 3256;
const PG_STATISTIC_EXT: u32 = 3381;

/// Something that was dropped from a managed table.
#[derive(Clone, Debug)]
enum Dropped {
    /// The table.
    Table(Rc<Table>, String, String),
    /// A part of it: the statement that drops it from the shards, and names that it uses.
    Part(Rc<Table>, Vec<(String, String)>, String),
}

thread_local! {
    /// A list for each statement in progress, innermost last.
    static FRAMES: RefCell<Vec<Vec<Dropped>>> = const { RefCell::new(Vec::new()) };
}

/// Collects what is dropped while it lives.
struct Frame(usize);

impl Frame {
    fn new() -> Self {
        FRAMES.with(|f| {
            let mut f = f.borrow_mut();
            f.push(Vec::new());
            Frame(f.len())
        })
    }

    fn take(&self) -> Vec<Dropped> {
        FRAMES.with(|f| f.borrow_mut().get_mut(self.0 - 1).map(std::mem::take)).unwrap_or_default()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        FRAMES.with(|f| f.borrow_mut().truncate(self.0 - 1));
    }
}

/// Runs a statement and then drops from shards what it dropped here.
pub fn following(run: impl FnOnce() -> Result<()>) -> Result<()> {
    let frame = Frame::new();
    run()?;
    let list = frame.take();
    drop(frame);
    if list.is_empty() {
        return Ok(());
    }
    relation::command_counter_increment();
    follow(list)
}

/// Runs a statement and forgets what it dropped: the caller takes care of the shards itself.
pub fn ignoring(run: impl FnOnce() -> Result<()>) -> Result<()> {
    let _frame = Frame::new();
    run()
}

/// Called for each object just before it is dropped.
pub fn notice_drop(class: Oid, object: Oid, sub: i32, internal: bool) {
    if u32::from(class) == PG_CLASS && sub == 0 {
        extension::refuse_without_metadata(object);
    }
    if FRAMES.with(|f| f.borrow().is_empty()) || !catalog::extension_ready() {
        return;
    }
    let class = u32::from(class);
    let found = match class {
        PG_CLASS if sub == 0 => relation_dropped(object, internal),
        PG_CLASS if !internal => column_dropped(object, sub),
        PG_CONSTRAINT if !internal => constraint_dropped(object),
        PG_STATISTIC_EXT if !internal => statistics_dropped(object),
        PG_POLICY if !internal => policy_dropped(object),
        _ => None,
    };
    if let Some(d) = found {
        FRAMES.with(|f| {
            if let Some(list) = f.borrow_mut().last_mut() {
                list.push(d);
            }
        });
    }
}

fn managed(relid: Oid) -> Option<(Rc<Table>, String, String)> {
    let table = catalog::table(relid)?;
    let (schema, name) = session::relation_name(relid)?;
    Some((table, schema, name))
}

fn relation_dropped(relid: Oid, internal: bool) -> Option<Dropped> {
    match relation::kind(relid) {
        b'r' | b'm' | b'p' => {
            let (table, schema, name) = managed(relid)?;
            Some(Dropped::Table(table, schema, name))
        }
        b'i' if !internal => {
            let (table, schema, _) = managed(relation::table_of_index(relid)?)?;
            if object::constraint_of_index(relid) {
                return None;
            }
            let (_, index) = session::relation_name(relid)?;
            let sql = format!("DROP INDEX IF EXISTS {}", qualified(&schema, &index));
            Some(Dropped::Part(table, vec![(schema, index)], sql))
        }
        _ => None,
    }
}

fn column_dropped(relid: Oid, column: i32) -> Option<Dropped> {
    let (table, schema, name) = managed(relid)?;
    let number = column as i16;
    let column = object::column_name(relid, number)?;
    if table.key.as_ref().is_some_and(|k| k.attno == number) {
        let message = format!(
            "column \"{column}\" of \"{name}\" cannot be dropped: it is the distribution column"
        );
        let hint = "Run undistribute_table, change the column, and distribute the table again.";
        Error::unsupported(message).hint(hint).raise();
    }
    let sql = format!(
        "ALTER TABLE {} DROP COLUMN IF EXISTS {} CASCADE",
        qualified(&schema, &name),
        quote_ident(&column)
    );
    Some(Dropped::Part(table, vec![(schema, name)], sql))
}

fn constraint_dropped(oid: Oid) -> Option<Dropped> {
    let (relid, constraint) = object::constraint(oid)?;
    let (table, schema, name) = managed(relid)?;
    let sql = format!(
        "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}",
        qualified(&schema, &name),
        quote_ident(&constraint)
    );
    Some(Dropped::Part(table, vec![(schema, name)], sql))
}

fn statistics_dropped(oid: Oid) -> Option<Dropped> {
    let (relid, schema, name) = object::statistics(oid)?;
    let (table, ..) = managed(relid)?;
    let sql = format!("DROP STATISTICS IF EXISTS {}", qualified(&schema, &name));
    Some(Dropped::Part(table, vec![(schema, name)], sql))
}

fn policy_dropped(oid: Oid) -> Option<Dropped> {
    let (relid, policy) = object::policy(oid)?;
    let (table, schema, name) = managed(relid)?;
    let sql =
        format!("DROP POLICY IF EXISTS {} ON {}", quote_ident(&policy), qualified(&schema, &name));
    Some(Dropped::Part(table, vec![(schema, name)], sql))
}

fn follow(list: Vec<Dropped>) -> Result<()> {
    let gone =
        |t: &Table| list.iter().any(|d| matches!(d, Dropped::Table(g, ..) if g.relid == t.relid));
    // What does not exist on a shard any more went with something else.
    spi::with_setting("client_min_messages", "error", || {
        for d in &list {
            if let Dropped::Part(table, names, sql) = d {
                if !gone(table) {
                    let main = Named { table, names: names.clone() };
                    send::apply(&send::batches(&main, &[], std::slice::from_ref(sql))?)?;
                }
            }
        }
        for d in &list {
            if let Dropped::Table(table, schema, name) = d {
                leftovers::record_stale(table.relid, schema, name)?;
                metadata::delete(table)?;
                undistribute::drop_shards(table, schema, name)?;
            }
        }
        Ok(())
    })
}
