//! A table's definition as statements on its own name, from the catalogs.
//!
//! `pg_get_*def` functions print expressions, indexes and constraints; with the search path pinned
//! to `pg_catalog` everything they print is qualified, so it means the same on every node.

use super::info::{self, Column, ForeignKey, Relation};
use crate::error::Result;
use crate::pg::fmgr::quote_ident;
use crate::pg::{relation, spi};
use pgrx::pg_sys::Oid;

/// The statements that make a table without rows: before its data is loaded, and after.
#[derive(Debug, Default)]
pub struct Definition {
    /// The table itself.
    pub table: Vec<String>,
    /// What is cheaper to build on loaded data, and what concerns the finished table.
    pub rest: Vec<String>,
    /// Policies, whose sub-queries may name other tables.
    pub policies: Vec<String>,
    /// Foreign keys.
    pub foreign_keys: Vec<String>,
    /// Schema and name of indexes and statistics: they are renamed with the table.
    pub dependents: Vec<(String, String)>,
}

/// Reads the definition of a table.
pub fn read(rel: &Relation, keys: &[ForeignKey]) -> Result<Definition> {
    let columns = info::columns(rel.oid)?;
    read_with(rel, &columns, keys, &columns_set_by_foreign_keys(rel.oid, keys))
}

/// The statements that make an empty copy of a table with its defaults, without foreign keys.
pub fn statements(oid: Oid) -> Result<Vec<String>> {
    let rel = Relation::load(oid)?;
    let columns = info::columns(oid)?;
    let all: Vec<i16> = columns.iter().map(|c| c.attno).collect();
    let d = read_with(&rel, &columns, &[], &all)?;
    Ok(d.table.into_iter().chain(d.rest).chain(d.policies).collect())
}

fn read_with(
    rel: &Relation,
    columns: &[Column],
    keys: &[ForeignKey],
    with_default: &[i16],
) -> Result<Definition> {
    let mut d = Definition::default();
    spi::pinned(|| {
        d.table.push(create_table(rel, columns, with_default)?);
        d.table.extend(check_constraints(rel)?);
        d.table.extend(column_storage(rel, columns));
        indexes(rel, &mut d)?;
        statistics(rel, &mut d)?;
        d.rest.extend(security(rel)?);
        d.policies = policies(rel.oid, &rel.qualified(), None)?;
        d.rest.extend(privileges(rel)?);
        if rel.owner != crate::pg::session::user_name() {
            let owner = quote_ident(&rel.owner);
            d.rest.push(format!("ALTER TABLE {} OWNER TO {owner}", rel.qualified()));
        }
        for k in keys.iter().filter(|k| k.from == rel.oid) {
            d.foreign_keys.push(relation::constraint_command(k.oid));
        }
        Ok(())
    })?;
    Ok(d)
}

/// Columns that a foreign key may set to their default: only these need it on shards, since rows
/// come to shards complete.
pub fn columns_set_by_foreign_keys(table: Oid, keys: &[ForeignKey]) -> Vec<i16> {
    let mut columns = Vec::new();
    for k in keys.iter().filter(|k| k.from == table) {
        if k.actions.0 == b'd' || (k.actions.1 == b'd' && k.set_columns.is_empty()) {
            columns.extend(&k.from_columns);
        } else if k.actions.1 == b'd' {
            columns.extend(&k.set_columns);
        }
    }
    columns
}

/// A column as written in CREATE TABLE and ADD COLUMN, without identity.
pub fn column_text(c: &Column, with_default: bool) -> String {
    let mut s = format!("{} {}", quote_ident(&c.name), c.type_text);
    if let Some(m) = c.compression {
        s += &format!(" COMPRESSION {m}");
    }
    if let Some(collation) = &c.collation_text {
        s += &format!(" COLLATE {collation}");
    }
    match &c.default {
        Some(e) if c.generated != 0 => s += &format!(" GENERATED ALWAYS AS ({e}) STORED"),
        Some(e) if with_default && !c.uses_sequence => s += &format!(" DEFAULT {e}"),
        _ => {}
    }
    if c.not_null {
        s += " NOT NULL";
    }
    s
}

fn create_table(rel: &Relation, columns: &[Column], set_default: &[i16]) -> Result<String> {
    let list: Vec<String> =
        columns.iter().map(|c| column_text(c, set_default.contains(&c.attno))).collect();
    let unlogged = if rel.persistence == b'u' { "UNLOGGED " } else { "" };
    let mut s = format!("CREATE {unlogged}TABLE {} ({})", rel.qualified(), list.join(", "));
    let sql = "SELECT (SELECT m.amname FROM pg_am m WHERE m.oid = c.relam), \
        (SELECT string_agg(format('%I = %L', o.option_name, o.option_value), ', ') \
         FROM pg_options_to_table(c.reloptions) o), \
        (SELECT string_agg(format('toast.%I = %L', o.option_name, o.option_value), ', ') \
         FROM pg_class t, pg_options_to_table(t.reloptions) o WHERE t.oid = c.reltoastrelid) \
        FROM pg_class c WHERE c.oid = $1";
    for r in info::rows(sql, &[spi::oid(rel.oid)])? {
        if let Some(method) = r.opt(0) {
            s += &format!(" USING {}", quote_ident(&method));
        }
        let options: Vec<String> = [r.opt(1), r.opt(2)].into_iter().flatten().collect();
        if !options.is_empty() {
            s += &format!(" WITH ({})", options.join(", "));
        }
    }
    Ok(s)
}

fn check_constraints(rel: &Relation) -> Result<Vec<String>> {
    let sql =
        "SELECT oid FROM pg_constraint WHERE conrelid = $1 AND contype = 'c' ORDER BY conname";
    let found = info::rows(sql, &[spi::oid(rel.oid)])?;
    Ok(found.iter().map(|r| relation::constraint_command(r.oid(0))).collect())
}

fn column_storage(rel: &Relation, columns: &[Column]) -> Vec<String> {
    let mut list = Vec::new();
    for c in columns {
        let name = quote_ident(&c.name);
        if let Some(storage) = c.storage {
            list.push(format!("ALTER COLUMN {name} SET STORAGE {storage}"));
        }
        if c.statistics >= 0 {
            list.push(format!("ALTER COLUMN {name} SET STATISTICS {}", c.statistics));
        }
        if let Some(options) = &c.options {
            list.push(format!("ALTER COLUMN {name} SET ({options})"));
        }
    }
    list.into_iter().map(|c| format!("ALTER TABLE {} {c}", rel.qualified())).collect()
}

fn indexes(rel: &Relation, d: &mut Definition) -> Result<()> {
    let sql = "SELECT i.relname, k.oid, pg_get_indexdef(x.indexrelid), x.indisclustered, \
        x.indisreplident, c.relreplident \
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
        JOIN pg_class c ON c.oid = x.indrelid \
        LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid \
            AND k.contype IN ('p', 'u', 'x') \
        WHERE x.indrelid = $1 AND x.indisvalid ORDER BY k.contype = 'p' DESC NULLS LAST, i.oid";
    let table = rel.qualified();
    let found = info::rows(sql, &[spi::oid(rel.oid)])?;
    for r in &found {
        let name = r.text(0);
        match r.opt(1) {
            Some(_) => d.rest.push(relation::constraint_command(r.oid(1))),
            None => d.rest.push(r.text(2)),
        }
        if r.bool(3) {
            d.rest.push(format!("ALTER TABLE {table} CLUSTER ON {}", quote_ident(&name)));
        }
        if r.bool(4) && r.char(5) == b'i' {
            let name = quote_ident(&name);
            d.rest.push(format!("ALTER TABLE {table} REPLICA IDENTITY USING INDEX {name}"));
        }
        d.dependents.push((rel.schema.clone(), name));
    }
    let sql = "SELECT relreplident FROM pg_class WHERE oid = $1";
    match info::rows(sql, &[spi::oid(rel.oid)])?.first().map(|r| r.char(0)) {
        Some(b'f') => d.rest.push(format!("ALTER TABLE {table} REPLICA IDENTITY FULL")),
        Some(b'n') => d.rest.push(format!("ALTER TABLE {table} REPLICA IDENTITY NOTHING")),
        _ => {}
    }
    index_column_statistics(rel, d)
}

fn index_column_statistics(rel: &Relation, d: &mut Definition) -> Result<()> {
    let sql = "SELECT format('ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', \
        $2, i.relname, a.attnum, a.attstattarget) \
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
        JOIN pg_attribute a ON a.attrelid = i.oid AND a.attstattarget >= 0 \
        WHERE x.indrelid = $1 ORDER BY 1";
    let found = info::rows(sql, &[spi::oid(rel.oid), spi::text(&rel.schema)])?;
    d.rest.extend(found.iter().map(|r| r.text(0)));
    Ok(())
}

fn statistics(rel: &Relation, d: &mut Definition) -> Result<()> {
    let sql = "SELECT stxname, pg_get_statisticsobjdef(s.oid), stxstattarget, n.nspname \
        FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace \
        WHERE stxrelid = $1 ORDER BY s.oid";
    for r in info::rows(sql, &[spi::oid(rel.oid)])? {
        d.rest.push(r.text(1));
        if r.num::<i32>(2) >= 0 {
            let name = crate::pg::fmgr::qualified(&r.text(3), &r.text(0));
            d.rest.push(format!("ALTER STATISTICS {name} SET STATISTICS {}", r.num::<i32>(2)));
        }
        d.dependents.push((r.text(3), r.text(0)));
    }
    Ok(())
}

/// The switches of row-level security.
fn security(rel: &Relation) -> Result<Vec<String>> {
    let table = rel.qualified();
    let mut list = Vec::new();
    let sql = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = $1";
    for r in info::rows(sql, &[spi::oid(rel.oid)])? {
        if r.bool(0) {
            list.push(format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"));
        }
        if r.bool(1) {
            list.push(format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY"));
        }
    }
    Ok(list)
}

/// CREATE POLICY for all policies of a table, or for one.
pub fn policies(oid: Oid, table: &str, only: Option<&str>) -> Result<Vec<String>> {
    let sql = "SELECT p.polname, p.polpermissive, p.polcmd, \
        CASE WHEN p.polroles = '{0}' THEN 'PUBLIC' ELSE \
            (SELECT string_agg(quote_ident(r.rolname), ', ') FROM pg_roles r \
             WHERE r.oid = ANY (p.polroles)) END, \
        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) \
        FROM pg_policy p WHERE p.polrelid = $1 AND ($2 IS NULL OR p.polname = $2) ORDER BY 1";
    let found = info::rows(sql, &[spi::oid(oid), spi::opt_text(only)])?;
    Ok(found
        .iter()
        .map(|r| {
            let mut s = format!("CREATE POLICY {} ON {table}", quote_ident(&r.text(0)));
            s += if r.bool(1) { " AS PERMISSIVE" } else { " AS RESTRICTIVE" };
            s += match r.char(2) {
                b'r' => " FOR SELECT",
                b'a' => " FOR INSERT",
                b'w' => " FOR UPDATE",
                b'd' => " FOR DELETE",
                _ => " FOR ALL",
            };
            s += &format!(" TO {}", r.text(3));
            if let Some(e) = r.opt(4) {
                s += &format!(" USING ({e})");
            }
            if let Some(e) = r.opt(5) {
                s += &format!(" WITH CHECK ({e})");
            }
            s
        })
        .collect())
}

/// GRANTs of the table and its columns.
fn privileges(rel: &Relation) -> Result<Vec<String>> {
    let sql = "SELECT string_agg(x.privilege_type || coalesce(x.col, ''), ', '), x.who, \
            x.is_grantable FROM ( \
        SELECT a.privilege_type, NULL AS col, a.grantee, a.is_grantable, \
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END \
            AS who FROM pg_class c, aclexplode(c.relacl) a \
        WHERE c.oid = $1 AND a.grantee <> c.relowner \
        UNION ALL \
        SELECT a.privilege_type, ' (' || quote_ident(t.attname) || ')', a.grantee, \
            a.is_grantable, \
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END \
        FROM pg_attribute t, aclexplode(t.attacl) a \
        WHERE t.attrelid = $1 AND NOT t.attisdropped) x \
        GROUP BY x.who, x.is_grantable ORDER BY x.who, x.is_grantable";
    let found = info::rows(sql, &[spi::oid(rel.oid)])?;
    Ok(found
        .iter()
        .map(|r| {
            let option = if r.bool(2) { " WITH GRANT OPTION" } else { "" };
            format!("GRANT {} ON TABLE {} TO {}{option}", r.text(0), rel.qualified(), r.text(1))
        })
        .collect())
}
