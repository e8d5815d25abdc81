//! What a table's shards need on their nodes before they can be made there: schema, roles, types,
//! collations and extensions.

use super::info::{self, Column, Relation};
use super::objects::{Maker, Objects};
use super::{roles, send};
use crate::catalog;
use crate::error::Result;
use crate::model::proof::Arguments;
use crate::pg::fmgr::quote_literal;
use crate::pg::session;
use crate::pg::spi::{self, Param};
use crate::remote::proof::Call;
use crate::remote::NodeAddr;
use crate::txn::run;
use pgrx::pg_sys::Oid;

/// The function that makes objects unless they exist.
pub const ENSURE: &str = "citus_internal_ensure_objects";

/// Makes sure that the groups have what the table needs.
pub fn ensure(rel: &Relation, columns: &[Column], groups: &[i32]) -> Result<()> {
    let remote = remote(groups)?;
    if remote.is_empty() {
        return Ok(());
    }
    let mut objects = Objects::default();
    objects.push(Maker::Superuser, roles::of_table(rel)?);
    objects.schema(&rel.schema)?;
    for name in used_extensions(rel)? {
        objects.extension(&name)?;
    }
    make(&remote, objects)?;
    ensure_used(rel.oid, groups)?;
    ensure_columns(columns, groups)
}

/// Makes sure that the groups have a schema.
pub fn ensure_schema(name: &str, groups: &[i32]) -> Result<()> {
    let mut objects = Objects::default();
    objects.schema(name)?;
    make(&remote(groups)?, objects)
}

/// Makes sure that the groups have roles, and who is a member of them.
pub fn ensure_roles(names: &[String], groups: &[i32]) -> Result<()> {
    let remote = remote(groups)?;
    if remote.is_empty() {
        return Ok(());
    }
    run_basis(&remote, &roles::named(names)?)
}

/// Runs statements about roles, which are what they are here.
pub fn make_roles(groups: &[i32], commands: &[String]) -> Result<()> {
    run_basis(&remote(groups)?, commands)
}

/// Brings a GRANT or REVOKE of roles to the other nodes: the pairs are role and member.
pub fn follow_memberships(grant: bool, pairs: &[(String, String)]) -> Result<()> {
    let groups = catalog::other_groups()?;
    let any = "SELECT 1 FROM pg_dist_partition LIMIT 1";
    if groups.is_empty() || info::rows(any, &[])?.is_empty() {
        return Ok(());
    }
    let commands = match grant {
        true => roles::of_all_tables()?,
        false => pairs.iter().map(|(r, m)| roles::end_membership(r, m)).collect(),
    };
    run_basis(&groups, &commands)
}

/// Makes sure that all nodes have the types and collations of columns of a table that these groups have
/// shards of: queries name them beside other tables, too.
pub fn ensure_columns(columns: &[Column], groups: &[i32]) -> Result<()> {
    if remote(groups)?.is_empty() {
        return Ok(());
    }
    let mut objects = Objects::default();
    for c in columns {
        objects.collation(c.collation)?;
        objects.typ(c.typ)?;
    }
    make(&everywhere(groups)?, objects)
}

/// Makes sure that all nodes have the user's types, collations and functions that the indexes, constraints,
/// generated columns, policies and statistics of a table with shards on these groups are made with, and the
/// extensions from which they have operator classes and the like.
pub fn ensure_used(table: Oid, groups: &[i32]) -> Result<()> {
    if remote(groups)?.is_empty() {
        return Ok(());
    }
    make(&everywhere(groups)?, used("SELECT $1", &[spi::oid(table)], false)?)
}

/// Makes sure that a new node has all that tables with shards on other nodes are made with.
pub fn ensure_all_used(group: i32) -> Result<()> {
    let tables = "SELECT s.logicalrelid::oid FROM pg_dist_shard s \
        JOIN pg_dist_placement l ON l.shardid = s.shardid WHERE l.groupid <> $1";
    make(&remote(&[group])?, used(tables, &[spi::i32(catalog::local_group()?)], true)?)
}

/// What the tables of a query are made with; their columns, too, if wanted.
fn used(tables: &str, params: &[Param], columns: bool) -> Result<Objects> {
    let sql = format!(
        "WITH tables(oid) AS ({tables}), parts(class, oid) AS ( \
        SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i \
            WHERE i.indrelid IN (SELECT oid FROM tables) \
        UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d \
            JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
            WHERE d.adrelid IN (SELECT oid FROM tables) AND a.attgenerated <> '' \
        UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c \
            WHERE c.conrelid IN (SELECT oid FROM tables) \
        UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p \
            WHERE p.polrelid IN (SELECT oid FROM tables) \
        UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s \
            WHERE s.stxrelid IN (SELECT oid FROM tables)), \
        columns(typ, collated) AS ( \
            SELECT atttypid, attcollation FROM pg_attribute \
            WHERE {columns} AND attrelid IN (SELECT oid FROM tables) AND attnum > 0 \
            AND NOT attisdropped) \
        SELECT d.refclassid, d.refobjid FROM parts p \
            JOIN pg_depend d ON d.classid = p.class AND d.objid = p.oid AND d.refobjid >= 16384 \
            AND d.refclassid IN \
                ('pg_type'::regclass, 'pg_collation'::regclass, 'pg_proc'::regclass, \
                'pg_opclass'::regclass, 'pg_operator'::regclass, 'pg_ts_config'::regclass, \
                'pg_ts_dict'::regclass) \
        UNION SELECT 'pg_type'::regclass::oid, typ FROM columns WHERE typ >= 16384 \
        UNION SELECT 'pg_collation'::regclass::oid, collated FROM columns WHERE collated >= 16384 \
        ORDER BY 1 DESC, 2"
    );
    let mut objects = Objects::default();
    // Functions (by the order of catalogs' OIDs) come first: where they belong to others, so do what they are
    // made with.
    for r in info::rows(&sql, params)? {
        objects.add(r.oid(0), r.oid(1))?;
    }
    Ok(objects)
}

/// Whether tables on other nodes are made with a type, collation or function of a schema.
pub fn is_schema_used(name: &str) -> Result<bool> {
    let sql = "WITH n AS (SELECT oid FROM pg_namespace WHERE nspname = $1) \
        SELECT 'pg_type'::regclass::oid, t.oid FROM pg_type t, n \
            WHERE t.typnamespace = n.oid AND t.typelem = 0 \
        UNION ALL SELECT 'pg_proc'::regclass::oid, p.oid FROM pg_proc p, n WHERE p.pronamespace = n.oid \
        UNION ALL SELECT 'pg_collation'::regclass::oid, c.oid FROM pg_collation c, n \
            WHERE c.collnamespace = n.oid";
    let objects = info::rows(sql, &[spi::text(name)])?;
    Ok(objects.iter().any(|r| catalog::is_used(r.oid(0), r.oid(1))))
}

/// The groups, and those of all active nodes, without this node's.
pub fn everywhere(groups: &[i32]) -> Result<Vec<i32>> {
    let mut all = remote(groups)?;
    all.extend(catalog::other_groups()?);
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn remote(groups: &[i32]) -> Result<Vec<i32>> {
    let local = catalog::local_group()?;
    Ok(groups.iter().copied().filter(|g| *g != local).collect())
}

/// Makes objects on nodes. Where an ordinary user needs what only a superuser can make, it is made first.
pub fn make(groups: &[i32], objects: Objects) -> Result<()> {
    if session::is_superuser() {
        return run_here(groups, &objects.all());
    }
    let (basis, own) = objects.by_maker();
    run_basis(groups, &basis)?;
    run_here(groups, &own)
}

fn run_here(groups: &[i32], commands: &[String]) -> Result<()> {
    if groups.is_empty() || commands.is_empty() {
        return Ok(());
    }
    let work: Vec<(i32, Call)> = groups.iter().map(|g| (*g, ensuring(commands))).collect();
    send::call_on_nodes(&work)
}

/// Runs what only a superuser can make for others. For ordinary users the extension's owner does it, apart
/// from the transaction, since their own sessions may need it. It is never more than what is here
/// already.
fn run_basis(groups: &[i32], commands: &[String]) -> Result<()> {
    if groups.is_empty() || commands.is_empty() {
        return Ok(());
    }
    if session::is_superuser() {
        return run_here(groups, commands);
    }
    let sql = ensuring(commands).unproven();
    let mut work = Vec::new();
    for g in groups {
        let n = catalog::node_of_group(*g)?;
        let node = NodeAddr { id: n.id, group: *g, name: n.name.clone(), port: n.port };
        work.push((node, vec![sql.clone()]));
    }
    for result in spi::as_owner(|| run::apart(&work))?.into_iter().flatten() {
        result?;
    }
    Ok(())
}

fn ensuring(commands: &[String]) -> Call {
    let quoted: Vec<String> = commands.iter().map(|c| quote_literal(c)).collect();
    let sql = format!("ARRAY[{}]::pg_catalog.text[]", quoted.join(","));
    let mut arguments = Arguments::default();
    arguments.list(commands.iter());
    Call { function: ENSURE, sql, arguments }
}

/// Extensions whose operator classes, functions and the like the table, its indexes, defaults and
/// constraints use.
fn used_extensions(rel: &Relation) -> Result<Vec<String>> {
    let sql = "WITH parts(class, oid) AS ( \
        SELECT 'pg_class'::regclass, $1 \
        UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = $1 \
        UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = $1 \
        UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = $1) \
        SELECT DISTINCT e.extname FROM parts p \
        JOIN pg_depend u ON u.classid = p.class AND u.objid = p.oid \
        JOIN pg_depend m ON m.classid = u.refclassid AND m.objid = u.refobjid AND m.deptype = 'e' \
        JOIN pg_extension e ON e.oid = m.refobjid AND m.refclassid = 'pg_extension'::regclass \
        WHERE e.extname NOT IN ('citus', 'plpgsql') ORDER BY 1";
    Ok(info::rows(sql, &[spi::oid(rel.oid)])?.iter().map(|r| r.text(0)).collect())
}
