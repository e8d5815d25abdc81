//! ADD COLUMN: the column on the shards, and its value in rows that exist already.

use super::Managed;
use crate::ddl::definition::column_text;
use crate::ddl::info::Column;
use crate::ddl::{dependencies, send};
use crate::error::Result;
use crate::pg::fmgr::{quote_ident, quote_literal};
use crate::pg::rows::with_portable_text;
use crate::pg::{relation, spi};

/// Adds columns to the shards of a table that has them already.
pub fn add(m: &Managed, columns: &[&Column]) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let owned: Vec<Column> = columns.iter().map(|c| (*c).clone()).collect();
    dependencies::ensure_columns(&owned, &send::groups_of(&m.table))?;
    let table = m.rel.qualified();
    let mut pieces = Vec::new();
    let mut clean = Vec::new();
    let mut numbered = Vec::new();
    for c in columns {
        let name = quote_ident(&c.name);
        if (c.uses_sequence || c.identity != 0) && c.generated == 0 {
            // Numbers come from the coordinator's sequence.
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
    fill_numbers(m, &numbered)
}

/// The column with what existing rows get: a value that is computed once, as PostgreSQL does, or
/// the expression where each row gets its own.
fn with_value(m: &Managed, c: &Column) -> Result<String> {
    let Some(expression) = c.default.as_ref().filter(|_| c.generated == 0) else {
        return Ok(column_text(c, true));
    };
    let sql = "SELECT adbin::text FROM pg_attrdef WHERE adrelid = $1 AND adnum = $2";
    let params = [spi::oid(m.rel.oid), (pgrx::pg_sys::INT2OID, Some(c.attno.into()))];
    let stored = spi::value(sql, &params)?.unwrap_or_default();
    if relation::is_volatile(&stored)? {
        return Ok(column_text(c, true));
    }
    let sql = format!("SELECT ({expression})::{}", c.type_text);
    let value = with_portable_text(|| spi::value(&sql, &[]))?;
    let mut constant = c.clone();
    constant.default = value.map(|v| format!("{}::{}", quote_literal(&v), c.type_text));
    Ok(column_text(&constant, true))
}

/// Gives existing rows their numbers.
fn fill_numbers(m: &Managed, columns: &[&Column]) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
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
