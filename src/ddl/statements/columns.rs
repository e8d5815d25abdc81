//! ADD COLUMN: the column on the shards, and its value in rows that exist already.

use super::Managed;
use crate::ddl::definition::column_text;
use crate::ddl::info::{self, Column};
use crate::ddl::{dependencies, send};
use crate::error::{Error, Result};
use crate::pg::fmgr::{quote_ident, quote_literal};
use crate::pg::invalidation::make_stale;
use crate::pg::rows::with_portable_text;
use crate::pg::{relation, spi};
use pgrx::pg_sys::Oid;

/// Adds columns to the shards of a table that has them already.
pub fn add(m: &Managed, columns: &[&Column]) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let copies = has_copies(m);
    let owned: Vec<Column> = columns.iter().map(|c| (*c).clone()).collect();
    dependencies::ensure_columns(&owned, &send::groups_of(&m.table))?;
    let table = m.rel.qualified();
    let mut pieces = Vec::new();
    let mut clean = Vec::new();
    let mut numbered = Vec::new();
    for c in columns {
        let name = quote_ident(&c.name);
        let numbers = (c.uses_sequence || c.identity != 0) && c.generated == 0;
        if numbers || (copies && is_volatile(m, c)?) {
            // Numbers come from the coordinator's sequence, and copies get the same values.
            if !numbers {
                require_identity(m, columns, &c.name)?;
            }
            let mut nullable = (*c).clone();
            nullable.not_null = false;
            pieces.push(format!("ADD COLUMN {}", column_text(&nullable, false)));
            numbered.push(*c);
            continue;
        }
        if c.default.is_some() && c.generated == 0 {
            clean.push(format!("ALTER COLUMN {name} DROP DEFAULT"));
        }
        pieces.push(format!("ADD COLUMN {}", with_value(m, c)?));
        if c.statistics >= 0 {
            clean.push(format!("ALTER COLUMN {name} SET STATISTICS {}", c.statistics));
        }
    }
    let mut commands = vec![format!("ALTER TABLE {table} {}", pieces.join(", "))];
    if !clean.is_empty() {
        commands.push(format!("ALTER TABLE {table} {}", clean.join(", ")));
    }
    m.apply(&commands)?;
    if numbered.is_empty() {
        return Ok(());
    }
    without_forced_policies(m, || without_new_key(m, columns, || fill(m, &numbered)))
}

/// The column with what existing rows get: a value that is computed once, as PostgreSQL does, or
/// the expression where each row gets its own.
fn with_value(m: &Managed, c: &Column) -> Result<String> {
    let Some(expression) = c.default.as_ref().filter(|_| c.generated == 0) else {
        return Ok(column_text(c, true));
    };
    if is_volatile(m, c)? {
        return Ok(column_text(c, true));
    }
    let sql = format!("SELECT ({expression})::{}", c.type_text);
    let value = with_portable_text(|| spi::value(&sql, &[]))?;
    let mut constant = c.clone();
    constant.default = value.map(|v| format!("{}::{}", quote_literal(&v), c.type_text));
    Ok(column_text(&constant, true))
}

/// Whether each row gets a value of its own.
fn is_volatile(m: &Managed, c: &Column) -> Result<bool> {
    if c.default.is_none() || c.generated != 0 {
        return Ok(false);
    }
    let sql = "SELECT adbin::text FROM pg_attrdef WHERE adrelid = $1 AND adnum = $2";
    let params = [spi::oid(m.rel.oid), (pgrx::pg_sys::INT2OID, Some(c.attno.into()))];
    relation::is_volatile(&spi::value(sql, &params)?.unwrap_or_default())
}

/// Whether rows are on several nodes, which must not compute values by themselves.
pub fn has_copies(m: &Managed) -> bool {
    m.table.shards.iter().any(|s| s.placements.len() > 1)
}

/// Whether there may be rows. Those that policies hide from the owner count, too.
pub fn may_have_rows(m: &Managed) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {} LIMIT 1", m.rel.qualified());
    Ok(has_forced_policies(m)? || !spi::query(&sql, &[])?.is_empty())
}

/// Rows are told from each other by the primary key; those that are equal would get equal values.
fn require_identity(m: &Managed, new: &[&Column], name: &str) -> Result<()> {
    let has_key = primary_key(m)?.is_some_and(|key| !holds_new(&key, new));
    if has_key || !may_have_rows(m)? {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "column \"{name}\" cannot be added to \"{}\" with a volatile default: its rows have copies \
         on several nodes, and no primary key",
        m.rel.name
    ))
    .hint("Add a primary key first, or add the column without a default, UPDATE it, and set the default."))
}

/// The columns of the primary key.
fn primary_key(m: &Managed) -> Result<Option<Vec<i16>>> {
    let sql = "SELECT indkey::text FROM pg_index WHERE indrelid = $1 AND indisprimary";
    let found = info::rows(sql, &[spi::oid(m.rel.oid)])?;
    Ok(found.first().map(|r| r.numbers(0)))
}

fn holds_new(key: &[i16], new: &[&Column]) -> bool {
    new.iter().any(|c| key.contains(&c.attno))
}

/// Runs `f` while keys of columns that have no values yet are none, by which rows would be told from
/// each other.
fn without_new_key(m: &Managed, new: &[&Column], f: impl FnOnce() -> Result<()>) -> Result<()> {
    let sql = "SELECT indexrelid, indkey::text FROM pg_index \
         WHERE indrelid = $1 AND indisunique AND indisvalid";
    let found = info::rows(sql, &[spi::oid(m.rel.oid)])?;
    let of_new = found.iter().filter(|r| holds_new(&r.numbers(1), new));
    let indexes: Vec<Oid> = of_new.map(|r| r.oid(0)).collect();
    if indexes.is_empty() {
        return f();
    }
    let set = |valid: bool| -> Result<()> {
        let sql = "UPDATE pg_catalog.pg_index SET indisvalid = $2 WHERE indexrelid = $1";
        for index in &indexes {
            spi::execute_as_owner(sql, &[spi::oid(*index), spi::bool(valid)])?;
        }
        make_stale(Some(m.rel.oid), m.rel.oid);
        relation::command_counter_increment();
        Ok(())
    };
    set(false)?;
    f()?;
    set(true)
}

fn has_forced_policies(m: &Managed) -> Result<bool> {
    let sql = "SELECT 1 FROM pg_class WHERE oid = $1 AND relrowsecurity AND relforcerowsecurity";
    Ok(!spi::query(sql, &[spi::oid(m.rel.oid)])?.is_empty())
}

/// Runs `f` while policies do not hold for the owner, who is changing the table: all rows get values.
fn without_forced_policies(m: &Managed, f: impl FnOnce() -> Result<()>) -> Result<()> {
    if !has_forced_policies(m)? {
        return f();
    }
    let switch = |word: &str| {
        let table = m.rel.qualified();
        spi::execute(&format!("ALTER TABLE {table} {word} ROW LEVEL SECURITY"), &[]).map(|_| ())
    };
    switch("NO FORCE")?;
    f()?;
    switch("FORCE")
}

/// Gives existing rows their values.
fn fill(m: &Managed, columns: &[&Column]) -> Result<()> {
    let table = m.rel.qualified();
    let sets: Vec<String> =
        columns.iter().map(|c| format!("{} = DEFAULT", quote_ident(&c.name))).collect();
    relation::command_counter_increment();
    spi::execute(&format!("UPDATE {table} SET {}", sets.join(", ")), &[])?;
    let pieces: Vec<String> = columns
        .iter()
        .filter(|c| c.not_null)
        .map(|c| format!("ALTER COLUMN {} SET NOT NULL", quote_ident(&c.name)))
        .collect();
    if pieces.is_empty() {
        return Ok(());
    }
    m.apply(&[format!("ALTER TABLE {table} {}", pieces.join(", "))])
}
