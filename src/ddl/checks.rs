//! What cannot be distributed, refused before anything is changed.

use super::info::{self, Column, ForeignKey, Relation};
use crate::catalog::{self, Kind};
use crate::error::{sqlstate, Error, Result};
use crate::pg::session::require_owner;
use crate::pg::{relation, spi};
use crate::settings;
use pgrx::pg_sys::{self, Oid};

/// What a table is to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Hash-distributed.
    Hash,
    /// Distributed without a column: one shard.
    Single,
    /// Reference table.
    Reference,
    /// Local table in the metadata.
    Local,
}

impl Target {
    fn done(self) -> &'static str {
        match self {
            Target::Hash | Target::Single => "distributed",
            Target::Reference => "turned into a reference table",
            Target::Local => "added to the metadata",
        }
    }
}

/// Loads a table and refuses what is not an ordinary table of the current user.
pub fn load_table(relid: Oid, target: Target) -> Result<Relation> {
    if !relation::exists(relid) {
        return Relation::load(relid);
    }
    let rel = Relation::load(relid)?;
    require_owner(relid, &rel.name)?;
    require_kind(&rel, target)?;
    require_plain(&rel, target)?;
    require_unmanaged(&rel, target)?;
    Ok(rel)
}

fn cannot(rel: &Relation, target: Target) -> String {
    format!("table \"{}\" cannot be {}", rel.name, target.done())
}

fn require_kind(rel: &Relation, target: Target) -> Result<()> {
    let what = match rel.kind {
        b'r' => return Ok(()),
        b'm' if target == Target::Hash => return Ok(()),
        b'p' => {
            return Err(Error::unsupported(cannot(rel, target))
                .detail("It is partitioned.")
                .hint("Distribute tables that are not partitioned."))
        }
        b'v' => "a view",
        b'm' => "a materialized view",
        b'f' => "a foreign table",
        b'S' => "a sequence",
        b'i' | b'I' => "an index",
        b'c' => "a composite type",
        b't' => "a TOAST table",
        _ => "not a table",
    };
    let message = format!("\"{}\" is not a table", rel.name);
    Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, message)
        .detail(format!("It is {what}."))
        .hint("Only ordinary tables can be managed."))
}

fn require_plain(rel: &Relation, target: Target) -> Result<()> {
    let refuse =
        |why: &str, hint: &str| Err(Error::unsupported(cannot(rel, target)).detail(why).hint(hint));
    if u32::from(rel.oid) < pg_sys::FirstNormalObjectId
        || ["pg_catalog", "information_schema", "pg_toast"].contains(&rel.schema.as_str())
    {
        return Err(Error::new(sqlstate::INSUFFICIENT_PRIVILEGE, cannot(rel, target))
            .detail("It is a system catalog."));
    }
    if rel.of_extension {
        return refuse("It belongs to an extension.", "Use a table of your own.");
    }
    if rel.persistence == b't' {
        return refuse(
            "It is a temporary table, which only this session sees.",
            "Use a permanent table.",
        );
    }
    if rel.is_partition {
        return refuse("It is a partition of another table.", "Detach it first.");
    }
    if rel.inherits {
        return refuse("It takes part in inheritance.", "Remove the inheritance first.");
    }
    if rel.typed {
        return refuse("It is a typed table.", "Run ALTER TABLE ... NOT OF first.");
    }
    require_no_rules(rel, target)?;
    require_no_triggers(rel, target)?;
    require_not_published(rel)
}

fn require_no_rules(rel: &Relation, target: Target) -> Result<()> {
    let sql = "SELECT rulename FROM pg_rewrite WHERE ev_class = $1 AND rulename <> '_RETURN' \
        ORDER BY 1 LIMIT 1";
    match spi::value(sql, &[spi::oid(rel.oid)])? {
        None => Ok(()),
        Some(rule) => Err(Error::unsupported(cannot(rel, target))
            .detail(format!("It has the rule \"{rule}\"."))
            .hint("Drop the rule first.")),
    }
}

fn require_no_triggers(rel: &Relation, target: Target) -> Result<()> {
    if settings::enable_unsafe_triggers() {
        return Ok(());
    }
    let sql = "SELECT tgname FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal \
        ORDER BY 1 LIMIT 1";
    match spi::value(sql, &[spi::oid(rel.oid)])? {
        None => Ok(()),
        Some(trigger) => Err(Error::unsupported(cannot(rel, target))
            .detail(format!(
                "It has the trigger \"{trigger}\", which would not fire for rows in shards."
            ))
            .hint("Drop the trigger first.")),
    }
}

/// Logical replication reads what is written to the table itself, and rows go to shards.
fn require_not_published(rel: &Relation) -> Result<()> {
    let sql = "SELECT p.pubname FROM pg_publication_rel r \
        JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = $1 ORDER BY 1 LIMIT 1";
    if let Some(publication) = spi::value(sql, &[spi::oid(rel.oid)])? {
        let message = format!(
            "publication \"{publication}\" will not publish rows of \"{}\" any more",
            rel.name
        );
        crate::pg::guard::warning(&Error::unsupported(message));
    }
    Ok(())
}

fn require_unmanaged(rel: &Relation, target: Target) -> Result<()> {
    let Some(t) = catalog::table(rel.oid) else { return Ok(()) };
    if t.kind == Kind::Local && target != Target::Local {
        return Ok(());
    }
    let is = match t.kind {
        Kind::Hash | Kind::Single => "distributed",
        Kind::Reference => "a reference table",
        Kind::Local => "in the metadata as a local table",
    };
    let message = format!("table \"{}\" is already {is}", rel.name);
    let e = Error::new(sqlstate::WRONG_OBJECT_TYPE, message);
    Err(match t.kind {
        Kind::Local => e,
        _ => e.hint("Run undistribute_table first."),
    })
}

/// The distribution column: it exists, can be hashed, and its values do not change by themselves.
pub fn distribution_column(rel: &Relation, columns: &[Column], name: &str) -> Result<Column> {
    // The argument is read as an identifier would be: folded to lower case unless quoted.
    let wanted = identifier(name)?;
    let found = columns.iter().find(|c| c.name == wanted || c.name == name);
    let Some(c) = found else {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", rel.name);
        return Err(Error::new(sqlstate::UNDEFINED_COLUMN, message)
            .hint("Name an existing column as the distribution column."));
    };
    if c.generated != 0 {
        let message = format!("column \"{}\" cannot be the distribution column", c.name);
        return Err(Error::unsupported(message)
            .detail("It is a generated column, whose value is computed where the row is stored.")
            .hint("Distribute by a column that it is computed from."));
    }
    if !relation::is_hashable(c.typ) {
        let message = format!(
            "data type {} has no default operator class for access method \"hash\"",
            c.type_text
        );
        return Err(Error::new(sqlstate::UNDEFINED_OBJECT, message)
            .detail(format!("Column \"{}\" cannot be the distribution column.", c.name))
            .hint("Distribute by a column of a type that can be hashed."));
    }
    Ok(c.clone())
}

fn identifier(name: &str) -> Result<String> {
    if name.is_empty() {
        let message = "the distribution column's name is empty";
        return Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let quoted = name.strip_prefix('"').and_then(|n| n.strip_suffix('"'));
    Ok(match quoted {
        Some(q) => q.replace("\"\"", "\""),
        None => name.to_lowercase(),
    })
}

/// Uniqueness holds per shard, so it has to include the distribution column.
pub fn uniqueness(rel: &Relation, columns: &[Column], key: Option<i16>) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    let key_name = columns.iter().find(|c| c.attno == key).map_or("", |c| c.name.as_str());
    for u in info::uniques(rel.oid)? {
        unique_includes(&rel.name, &u, key, key_name)?;
    }
    Ok(())
}

/// Refuses a promise of uniqueness that shards cannot keep.
pub fn unique_includes(table: &str, u: &info::Unique, key: i16, key_name: &str) -> Result<()> {
    let what = u.description();
    let at = u.columns.iter().position(|c| *c == key);
    let message = format!(
        "{what} \"{}\" of table \"{table}\" does not include the distribution column \"{key_name}\"",
        u.name
    );
    let Some(at) = at else {
        return Err(Error::unsupported(message)
            .detail("Uniqueness is enforced within each shard only.")
            .hint(format!(
                "Add column \"{key_name}\" to the {what}, or distribute by one of its columns."
            )));
    };
    if u.kind == b'x' && u.operators.get(at).is_some_and(|o| o != "=") {
        return Err(Error::unsupported(format!("{message} with the equality operator"))
            .hint(format!("Use \"{key_name}\" WITH = in the {what}.")));
    }
    Ok(())
}

/// Foreign keys that shards can enforce. `colocated` says whether the other distributed table's
/// shards lie beside this one's.
pub fn foreign_keys(
    rel: &Relation,
    target: Target,
    key: Option<i16>,
    keys: &[ForeignKey],
    colocated: &dyn Fn(Oid) -> bool,
) -> Result<()> {
    for k in keys {
        if k.from == k.to {
            if let Some(key) = key {
                require_aligned(rel, k, key, key)?;
            }
            continue;
        }
        if k.from == rel.oid {
            outgoing(rel, target, key, k, colocated)?;
        } else {
            incoming(rel, target, key, k, colocated)?;
        }
    }
    Ok(())
}

fn key_of(table: &catalog::Table) -> Option<i16> {
    table.key.as_ref().map(|k| k.attno)
}

fn outgoing(
    rel: &Relation,
    target: Target,
    key: Option<i16>,
    k: &ForeignKey,
    colocated: &dyn Fn(Oid) -> bool,
) -> Result<()> {
    let other = catalog::table(k.to);
    let other_kind = other.as_ref().map(|t| t.kind);
    let name = info::name_of(k.to);
    let refuse = |why: String, hint: String| Err(foreign_key_error(rel, k).detail(why).hint(hint));
    match (target, other_kind) {
        (_, Some(Kind::Reference)) => match key.filter(|c| k.from_columns.contains(c)) {
            Some(from) => require_key_kept(rel, k, from),
            None => Ok(()),
        },
        (Target::Local, None | Some(Kind::Local)) => Ok(()),
        (Target::Reference, Some(Kind::Local)) | (Target::Reference, None) => refuse(
            format!("\"{name}\" is a local table."),
            format!("Run create_reference_table('{name}') first, or drop the foreign key."),
        ),
        (Target::Hash, Some(Kind::Hash)) if colocated(k.to) => {
            match (key, other.as_deref().and_then(key_of)) {
                (Some(from), Some(to)) => require_aligned(rel, k, from, to),
                _ => Ok(()),
            }
        }
        (Target::Single, Some(Kind::Single)) if colocated(k.to) => Ok(()),
        (_, Some(Kind::Hash | Kind::Single)) => refuse(
            format!("The referenced table \"{name}\" is distributed and not co-located with it."),
            format!(
                "Use colocate_with => '{name}', make \"{name}\" a reference table, or drop \
                     the foreign key."
            ),
        ),
        (_, None | Some(Kind::Local)) => refuse(
            format!("The referenced table \"{name}\" is a local table."),
            format!(
                "Distribute \"{name}\" first, run create_reference_table('{name}'), or drop the \
                 foreign key."
            ),
        ),
    }
}

fn incoming(
    rel: &Relation,
    target: Target,
    key: Option<i16>,
    k: &ForeignKey,
    colocated: &dyn Fn(Oid) -> bool,
) -> Result<()> {
    let other = catalog::table(k.from);
    let other_kind = other.as_ref().map(|t| t.kind);
    let name = info::name_of(k.from);
    match (target, other_kind) {
        // A table that is not distributed yet cannot write rows that break the key: it finds
        // nothing in the shell table. Its own distribution decides.
        (_, None) | (Target::Reference, _) | (Target::Local, Some(Kind::Local)) => Ok(()),
        (Target::Hash, Some(Kind::Hash)) if colocated(k.from) => {
            match (other.as_deref().and_then(key_of), key) {
                (Some(from), Some(to)) => require_aligned(rel, k, from, to),
                _ => Ok(()),
            }
        }
        (Target::Single, Some(Kind::Single)) if colocated(k.from) => Ok(()),
        _ => Err(foreign_key_error(rel, k)
            .detail(format!("The referencing table \"{name}\" is not co-located with it."))
            .hint(format!(
                "Drop the foreign key, distribute both tables, and create it again; or run \
                 create_reference_table('{}').",
                rel.name
            ))),
    }
}

fn foreign_key_error(rel: &Relation, k: &ForeignKey) -> Error {
    Error::unsupported(format!(
        "foreign key \"{}\" cannot be enforced when table \"{}\" is distributed like this",
        k.name, rel.name
    ))
}

/// Both sides' distribution columns have to be the same pair of the key.
fn require_aligned(rel: &Relation, k: &ForeignKey, from: i16, to: i16) -> Result<()> {
    if k.from_columns.iter().zip(&k.to_columns).any(|(f, t)| *f == from && *t == to) {
        return require_key_kept(rel, k, from);
    }
    Err(foreign_key_error(rel, k)
        .detail("It does not connect the distribution columns of both tables.")
        .hint("Include both distribution columns at the same place of the foreign key."))
}

/// An action that changes the distribution column would have to move the row.
fn require_key_kept(rel: &Relation, k: &ForeignKey, from: i16) -> Result<()> {
    let delete = k.set_columns.is_empty() || k.set_columns.contains(&from);
    let sets = |a: u8| a == b'n' || a == b'd';
    if sets(k.actions.0) || (sets(k.actions.1) && delete) || k.actions.0 == b'c' {
        return Err(foreign_key_error(rel, k)
            .detail("Its ON UPDATE or ON DELETE action changes the distribution column.")
            .hint("Use NO ACTION, RESTRICT, or ON DELETE CASCADE."));
    }
    Ok(())
}
