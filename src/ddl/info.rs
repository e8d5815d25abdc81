//! What the server's catalogs say about a table.

use crate::error::{sqlstate, Error, Result};
use crate::pg::fmgr::qualified;
use crate::pg::spi;
use crate::pg::transmit::transmit;
use pgrx::pg_sys::Oid;

/// A row of text values with typed access.
pub struct Row(Vec<Option<String>>);

impl Row {
    /// A value, empty when NULL.
    pub fn text(&self, i: usize) -> String {
        self.opt(i).unwrap_or_default()
    }
    /// A value or NULL.
    pub fn opt(&self, i: usize) -> Option<String> {
        self.0.get(i).cloned().flatten()
    }
    /// A boolean.
    pub fn bool(&self, i: usize) -> bool {
        self.0.get(i).and_then(|v| v.as_deref()) == Some("t")
    }
    /// A number, 0 when NULL.
    pub fn num<T: std::str::FromStr + Default>(&self, i: usize) -> T {
        self.0.get(i).and_then(|v| v.as_deref()).and_then(|v| v.parse().ok()).unwrap_or_default()
    }
    /// An OID.
    pub fn oid(&self, i: usize) -> Oid {
        Oid::from(self.num::<u32>(i))
    }
    /// A "char".
    pub fn char(&self, i: usize) -> u8 {
        self.0.get(i).and_then(|v| v.as_deref()).and_then(|v| v.bytes().next()).unwrap_or(0)
    }
    /// An array of integers in PostgreSQL's text form.
    pub fn numbers(&self, i: usize) -> Vec<i16> {
        let text = self.text(i);
        let parts = text.trim_matches(|c| c == '{' || c == '}').split([',', ' ']);
        parts.filter_map(|p| p.parse().ok()).collect()
    }
}

/// Runs a catalog query. Expressions in its rows mean the same to every session.
pub fn rows(sql: &str, params: &[spi::Param]) -> Result<Vec<Row>> {
    Ok(transmit(|| spi::query(sql, params))?.into_iter().map(Row).collect())
}

/// A table of the user.
#[derive(Clone, Debug)]
pub struct Relation {
    /// OID.
    pub oid: Oid,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Kind as in `pg_class.relkind`.
    pub kind: u8,
    /// Persistence as in `pg_class.relpersistence`.
    pub persistence: u8,
    /// Name of the owner.
    pub owner: String,
    /// It is a partition.
    pub is_partition: bool,
    /// It has parents or children.
    pub inherits: bool,
    /// It is of a composite type (`CREATE TABLE ... OF`).
    pub typed: bool,
    /// It belongs to an extension.
    pub of_extension: bool,
}

impl Relation {
    /// Reads a table's row of pg_class.
    pub fn load(oid: Oid) -> Result<Self> {
        let sql = "SELECT n.nspname, c.relname, c.relkind, c.relpersistence, \
            pg_get_userbyid(c.relowner), c.relispartition, \
            EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid OR i.inhparent = c.oid), \
            c.reloftype <> 0, \
            EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
                AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e') \
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
        let row = rows(sql, &[spi::oid(oid)])?.into_iter().next().ok_or_else(|| {
            Error::new(
                sqlstate::UNDEFINED_TABLE,
                format!("relation with OID {} does not exist", u32::from(oid)),
            )
        })?;
        Ok(Relation {
            oid,
            schema: row.text(0),
            name: row.text(1),
            kind: row.char(2),
            persistence: row.char(3),
            owner: row.text(4),
            is_partition: row.bool(5),
            inherits: row.bool(6),
            typed: row.bool(7),
            of_extension: row.bool(8),
        })
    }

    /// Quoted `schema.name`.
    pub fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// Schema and name.
    pub fn pair(&self) -> (String, String) {
        (self.schema.clone(), self.name.clone())
    }
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Attribute number.
    pub attno: i16,
    /// Name.
    pub name: String,
    /// Type.
    pub typ: Oid,
    /// Type modifier.
    pub typmod: i32,
    /// Type as SQL text.
    pub type_text: String,
    /// NOT NULL.
    pub not_null: bool,
    /// Collation.
    pub collation: Oid,
    /// Quoted name of a collation that is not the type's.
    pub collation_text: Option<String>,
    /// `s` for stored generated columns, else 0.
    pub generated: u8,
    /// Default or generation expression.
    pub default: Option<String>,
    /// The default uses a sequence.
    pub uses_sequence: bool,
    /// `a` or `d` for identity columns, else 0.
    pub identity: u8,
    /// Storage where it is not the type's.
    pub storage: Option<&'static str>,
    /// Compression method.
    pub compression: Option<&'static str>,
    /// Statistics target, -1 for the default.
    pub statistics: i32,
    /// Options such as n_distinct, as SQL text.
    pub options: Option<String>,
}

/// The live columns of a table.
pub fn columns(oid: Oid) -> Result<Vec<Column>> {
    let sql = "SELECT a.attnum, a.attname, a.atttypid, a.atttypmod, \
        format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation, \
        CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0 THEN \
            (SELECT format('%I.%I', n.nspname, c.collname) FROM pg_collation c \
             JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation) END, \
        a.attgenerated, pg_get_expr(d.adbin, d.adrelid), \
        EXISTS (SELECT FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid \
            WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid \
            AND p.refclassid = 'pg_class'::regclass AND s.relkind = 'S'), \
        a.attidentity, CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END, \
        a.attcompression, a.attstattarget, \
        (SELECT string_agg(format('%I = %L', o.option_name, o.option_value), ', ') \
         FROM pg_options_to_table(a.attoptions) o) \
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    Ok(rows(sql, &[spi::oid(oid)])?.iter().map(column).collect())
}

fn column(r: &Row) -> Column {
    let default = r.opt(9);
    let by_text = default.as_deref().is_some_and(|d| d.contains("nextval("));
    Column {
        attno: r.num(0),
        name: r.text(1),
        typ: r.oid(2),
        typmod: r.num(3),
        type_text: r.text(4),
        not_null: r.bool(5),
        collation: r.oid(6),
        collation_text: r.opt(7),
        generated: r.char(8),
        default,
        uses_sequence: r.bool(10) || by_text,
        identity: r.char(11),
        storage: match r.char(12) {
            b'p' => Some("PLAIN"),
            b'e' => Some("EXTERNAL"),
            b'm' => Some("MAIN"),
            b'x' => Some("EXTENDED"),
            _ => None,
        },
        compression: match r.char(13) {
            b'p' => Some("pglz"),
            b'l' => Some("lz4"),
            _ => None,
        },
        statistics: r.num(14),
        options: r.opt(15),
    }
}

/// A constraint that owns an index, or a unique index that is none.
#[derive(Clone, Debug)]
pub struct Unique {
    /// Name.
    pub name: String,
    /// `p`, `u`, `x`, or `i` for an index without constraint.
    pub kind: u8,
    /// Key columns (0 for expressions).
    pub columns: Vec<i16>,
    /// For exclusion constraints: names of the operators of the columns.
    pub operators: Vec<String>,
}

impl Unique {
    /// What it is called in messages.
    pub fn description(&self) -> &'static str {
        match self.kind {
            b'p' => "primary key",
            b'u' => "unique constraint",
            b'x' => "exclusion constraint",
            _ => "unique index",
        }
    }
}

/// Everything that promises uniqueness of a table's rows.
pub fn uniques(oid: Oid) -> Result<Vec<Unique>> {
    let sql = "SELECT coalesce(k.conname, i.relname), coalesce(k.contype, 'i'::\"char\"), \
        (SELECT string_agg(u.c::text, ' ' ORDER BY u.o) FROM unnest(x.indkey::int2[]) \
            WITH ORDINALITY u(c, o) WHERE u.o <= x.indnkeyatts), \
        (SELECT string_agg(o.oprname, ' ' ORDER BY e.n) FROM unnest(k.conexclop) \
            WITH ORDINALITY e(op, n) JOIN pg_operator o ON o.oid = e.op) \
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
        LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid \
            AND k.contype IN ('p', 'u', 'x') \
        WHERE x.indrelid = $1 AND (x.indisunique OR x.indisexclusion) ORDER BY 1";
    let found = rows(sql, &[spi::oid(oid)])?;
    Ok(found
        .iter()
        .map(|r| Unique {
            name: r.text(0),
            kind: r.char(1),
            columns: r.numbers(2),
            operators: r.text(3).split(' ').map(str::to_owned).collect(),
        })
        .collect())
}

/// A foreign key.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// OID of the constraint.
    pub oid: Oid,
    /// Name.
    pub name: String,
    /// Referencing table.
    pub from: Oid,
    /// Referenced table.
    pub to: Oid,
    /// Referencing columns.
    pub from_columns: Vec<i16>,
    /// Referenced columns.
    pub to_columns: Vec<i16>,
    /// ON UPDATE and ON DELETE actions.
    pub actions: (u8, u8),
    /// Columns that ON DELETE SET changes; empty for all.
    pub set_columns: Vec<i16>,
}

/// Foreign keys of the table, and those that point to it.
pub fn foreign_keys(oid: Oid) -> Result<Vec<ForeignKey>> {
    let sql = "SELECT k.oid, k.conname, k.conrelid::oid, k.confrelid::oid, k.conkey, k.confkey, \
        k.confupdtype, k.confdeltype, k.confdelsetcols FROM pg_constraint k \
        WHERE k.contype = 'f' AND (k.conrelid = $1 OR k.confrelid = $1) ORDER BY k.conname, k.oid";
    let found = rows(sql, &[spi::oid(oid)])?;
    Ok(found
        .iter()
        .map(|r| ForeignKey {
            oid: r.oid(0),
            name: r.text(1),
            from: r.oid(2),
            to: r.oid(3),
            from_columns: r.numbers(4),
            to_columns: r.numbers(5),
            actions: (r.char(6), r.char(7)),
            set_columns: r.numbers(8),
        })
        .collect())
}

/// A quoted, qualified name for messages; the OID when the table is gone.
pub fn name_of(oid: Oid) -> String {
    match crate::pg::session::relation_name(oid) {
        Some((schema, name)) if schema == "public" => name,
        Some((schema, name)) => qualified(&schema, &name),
        None => u32::from(oid).to_string(),
    }
}
