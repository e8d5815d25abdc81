//! What a table's shards need on their nodes before they can be made there: schema, roles, types,
//! collations and extensions.

use super::info::{self, Column, Relation};
use super::{roles, send};
use crate::catalog;
use crate::error::Result;
use crate::model::proof::Arguments;
use crate::pg::fmgr::{quote_ident, quote_literal};
use crate::pg::{session, spi};
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
    let mut basis = roles::of_table(rel)?;
    basis.extend(schema(&rel.schema)?);
    let mut commands = Vec::new();
    used_extensions(rel, &mut commands)?;
    run_all(&remote, basis, commands)?;
    ensure_columns(columns, groups)
}

/// Makes sure that the groups have a schema.
pub fn ensure_schema(name: &str, groups: &[i32]) -> Result<()> {
    run_basis(&remote(groups)?, &schema(name)?)
}

/// Makes sure that the groups have roles, and who is a member of them.
pub fn ensure_roles(names: &[String], groups: &[i32]) -> Result<()> {
    let remote = remote(groups)?;
    if remote.is_empty() {
        return Ok(());
    }
    run_basis(&remote, &roles::named(names)?)
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
    let used: Vec<(Oid, Oid)> = columns.iter().map(|c| (c.typ, c.collation)).collect();
    run_all(&everywhere(groups)?, Vec::new(), parts(&used)?)
}

/// Makes sure that a new node has the types and collations of all columns of tables that other nodes
/// have shards of.
pub fn ensure_all_columns(group: i32) -> Result<()> {
    let sql = "SELECT DISTINCT a.atttypid, a.attcollation FROM pg_dist_partition p \
        JOIN pg_attribute a ON a.attrelid = p.logicalrelid AND a.attnum > 0 AND NOT a.attisdropped \
        WHERE (a.atttypid >= 16384 OR a.attcollation >= 16384) AND EXISTS ( \
            SELECT FROM pg_dist_shard s JOIN pg_dist_placement l ON l.shardid = s.shardid \
            WHERE s.logicalrelid = p.logicalrelid AND l.groupid <> $1) ORDER BY 1, 2";
    let rows = info::rows(sql, &[spi::i32(catalog::local_group()?)])?;
    let used: Vec<(Oid, Oid)> = rows.iter().map(|r| (r.oid(0), r.oid(1))).collect();
    run_all(&remote(&[group])?, Vec::new(), parts(&used)?)
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

/// What makes types with collations.
fn parts(used: &[(Oid, Oid)]) -> Result<Vec<String>> {
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for (typ, collation) in used {
        self::collation(*collation, &mut commands)?;
        type_and_parts(*typ, &mut seen, &mut commands)?;
    }
    Ok(commands)
}

/// Runs what is the basis of everything, and then the rest, which belongs to the user.
fn run_all(groups: &[i32], mut basis: Vec<String>, commands: Vec<String>) -> Result<()> {
    let is_basis = |c: &String| {
        ["CREATE SCHEMA ", "CREATE EXTENSION ", "CREATE ROLE ", "GRANT "]
            .iter()
            .any(|start| c.starts_with(start))
    };
    let (more, own): (Vec<String>, Vec<String>) = commands.into_iter().partition(is_basis);
    basis.extend(more);
    run_basis(groups, &basis)?;
    if own.is_empty() || groups.is_empty() {
        return Ok(());
    }
    let work: Vec<(i32, Call)> = groups.iter().map(|g| (*g, ensuring(&own))).collect();
    send::call_on_nodes(&work)
}

/// Runs what only a superuser can make for others: roles, schemas, extensions. For ordinary users
/// the extension's owner does it, apart from the transaction, since their own sessions may need it.
/// It is never more than what is here already.
fn run_basis(groups: &[i32], commands: &[String]) -> Result<()> {
    if groups.is_empty() || commands.is_empty() {
        return Ok(());
    }
    if session::is_superuser() {
        let work: Vec<(i32, Call)> = groups.iter().map(|g| (*g, ensuring(commands))).collect();
        return send::call_on_nodes(&work);
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

fn schema(name: &str) -> Result<Vec<String>> {
    if name == "public" {
        return Ok(Vec::new());
    }
    let mut list = Vec::new();
    let sql = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1";
    for r in info::rows(sql, &[spi::text(name)])? {
        list.extend(roles::of_schema(name)?);
        let (name, owner) = (quote_ident(name), quote_ident(&r.text(0)));
        list.push(format!("CREATE SCHEMA {name} AUTHORIZATION {owner}"));
    }
    // A row each: a superuser runs them, and names may look like statements.
    let sql = "SELECT format('GRANT %s ON SCHEMA %I TO %s', a.privilege_type, nspname, \
            CASE a.grantee WHEN 0 THEN 'PUBLIC' \
            ELSE quote_ident(pg_get_userbyid(a.grantee)) END) \
        FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = $1 AND a.grantee <> nspowner";
    list.extend(info::rows(sql, &[spi::text(name)])?.iter().map(|r| r.text(0)));
    Ok(list)
}

fn collation(oid: Oid, commands: &mut Vec<String>) -> Result<()> {
    let sql = "SELECT format('CREATE COLLATION %I.%I (provider = %s, %s, deterministic = %s)', \
            n.nspname, c.collname, CASE c.collprovider WHEN 'i' THEN 'icu' ELSE 'libc' END, \
            CASE WHEN c.collprovider = 'i' THEN format('locale = %L', c.colliculocale) \
            ELSE format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype) END, \
            CASE WHEN c.collisdeterministic THEN 'true' ELSE 'false' END), n.nspname \
        FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace \
        WHERE c.oid = $1 AND c.oid >= 16384";
    for r in info::rows(sql, &[spi::oid(oid)])? {
        commands.extend(schema(&r.text(1))?);
        commands.push(r.text(0));
    }
    Ok(())
}

/// A user-defined type and what it is made of, innermost first.
fn type_and_parts(oid: Oid, seen: &mut Vec<Oid>, commands: &mut Vec<String>) -> Result<()> {
    if u32::from(oid) < pgrx::pg_sys::FirstNormalObjectId || seen.contains(&oid) {
        return Ok(());
    }
    seen.push(oid);
    let sql = "SELECT t.typtype, t.typelem, t.typbasetype, t.typrelid, n.nspname, \
        (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
            WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'), \
        (SELECT k.relkind FROM pg_class k WHERE k.oid = t.typrelid), t.typcategory, \
        (SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR r.rngmultitypid = t.oid) \
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = $1";
    let Some(r) = info::rows(sql, &[spi::oid(oid)])?.into_iter().next() else { return Ok(()) };
    if let Some(extension) = r.opt(5) {
        return self::extension(&extension, commands);
    }
    if r.char(7) == b'A' && r.num::<u32>(1) != 0 {
        return type_and_parts(r.oid(1), seen, commands);
    }
    commands.extend(schema(&r.text(4))?);
    match r.char(0) {
        b'e' => enum_type(oid, commands),
        b'd' => {
            type_and_parts(r.oid(2), seen, commands)?;
            domain(oid, commands)
        }
        b'c' if r.char(6) == b'c' => composite(oid, r.oid(3), seen, commands),
        b'r' => {
            type_and_parts(r.oid(8), seen, commands)?;
            range(oid, commands)
        }
        _ => Ok(()),
    }
}

/// The statement that makes a type what it is here, by its name as SQL writes it.
pub fn type_definition(name: &str) -> Result<Option<String>> {
    let sql = "SELECT to_regtype($1)::oid";
    let Some(oid) = spi::pinned(|| spi::value(sql, &[spi::text(name)]))? else { return Ok(None) };
    let Ok(oid) = oid.parse::<u32>() else { return Ok(None) };
    let mut commands = Vec::new();
    type_and_parts(Oid::from(oid), &mut Vec::new(), &mut commands)?;
    Ok(commands.pop())
}

/// An extension, in the same schema and version as here.
fn extension(name: &str, commands: &mut Vec<String>) -> Result<()> {
    let sql = "SELECT n.nspname, e.extversion, \
        (SELECT string_agg(r.extname, '/') FROM pg_depend d JOIN pg_extension r ON r.oid = d.refobjid \
            WHERE d.classid = 'pg_extension'::regclass AND d.objid = e.oid \
            AND d.refclassid = 'pg_extension'::regclass) \
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1";
    for r in info::rows(sql, &[spi::text(name)])? {
        for required in r.opt(2).unwrap_or_default().split('/').filter(|n| !n.is_empty()) {
            extension(required, commands)?;
        }
        // What lies in pg_catalog can only have been put there by the extension itself.
        let place = match r.text(0).as_str() {
            "pg_catalog" => String::new(),
            at => {
                commands.extend(schema(at)?);
                format!(" SCHEMA {}", quote_ident(at))
            }
        };
        let command = format!(
            "CREATE EXTENSION IF NOT EXISTS {}{place} VERSION {}",
            quote_ident(name),
            quote_ident(&r.text(1))
        );
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    Ok(())
}

/// Extensions whose operator classes, functions and the like the table, its indexes, defaults and
/// constraints use.
fn used_extensions(rel: &Relation, commands: &mut Vec<String>) -> Result<()> {
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
    for r in info::rows(sql, &[spi::oid(rel.oid)])? {
        extension(&r.text(0), commands)?;
    }
    Ok(())
}

fn push_all(sql: &str, oid: Oid, commands: &mut Vec<String>) -> Result<()> {
    let found = spi::pinned(|| info::rows(sql, &[spi::oid(oid)]))?;
    commands.extend(found.iter().map(|r| r.text(0)));
    Ok(())
}

fn enum_type(oid: Oid, commands: &mut Vec<String>) -> Result<()> {
    let sql = "SELECT format('CREATE TYPE %s AS ENUM (%s)', format_type($1, NULL), \
        (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) \
         FROM pg_enum WHERE enumtypid = $1))";
    push_all(sql, oid, commands)
}

fn domain(oid: Oid, commands: &mut Vec<String>) -> Result<()> {
    let sql = "SELECT format('CREATE DOMAIN %s AS %s%s%s%s%s', format_type(t.oid, NULL), \
        format_type(t.typbasetype, t.typtypmod), \
        (SELECT format(' COLLATE %I.%I', n.nspname, c.collname) FROM pg_collation c \
         JOIN pg_namespace n ON n.oid = c.collnamespace JOIN pg_type b ON b.oid = t.typbasetype \
         WHERE c.oid = t.typcollation AND t.typcollation <> b.typcollation), \
        ' DEFAULT ' || pg_get_expr(t.typdefaultbin, 0), \
        CASE WHEN t.typnotnull THEN ' NOT NULL' END, \
        (SELECT string_agg(format(' CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), '' \
            ORDER BY conname) FROM pg_constraint WHERE contypid = t.oid)) \
        FROM pg_type t WHERE t.oid = $1";
    push_all(sql, oid, commands)
}

fn composite(oid: Oid, relid: Oid, seen: &mut Vec<Oid>, commands: &mut Vec<String>) -> Result<()> {
    let sql = "SELECT atttypid FROM pg_attribute \
        WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    for r in info::rows(sql, &[spi::oid(relid)])? {
        type_and_parts(r.oid(0), seen, commands)?;
    }
    let sql = "SELECT format('CREATE TYPE %s AS (%s)', format_type($1, NULL), \
        (SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod), \
            (SELECT format(' COLLATE %I.%I', n.nspname, c.collname) FROM pg_collation c \
             JOIN pg_namespace n ON n.oid = c.collnamespace JOIN pg_type b ON b.oid = a.atttypid \
             WHERE c.oid = a.attcollation AND a.attcollation <> b.typcollation)), \
            ', ' ORDER BY a.attnum) \
         FROM pg_attribute a JOIN pg_type t ON t.typrelid = a.attrelid \
         WHERE t.oid = $1 AND a.attnum > 0 AND NOT a.attisdropped))";
    push_all(sql, oid, commands)
}

fn range(oid: Oid, commands: &mut Vec<String>) -> Result<()> {
    let sql = "SELECT format('CREATE TYPE %s AS RANGE (subtype = %s%s%s)', \
        format_type(r.rngtypid, NULL), format_type(r.rngsubtype, NULL), \
        (SELECT format(', collation = %I.%I', n.nspname, c.collname) FROM pg_collation c \
         JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = r.rngcollation), \
        CASE WHEN r.rngsubdiff <> 0 THEN format(', subtype_diff = %s', r.rngsubdiff::regproc) END) \
        FROM pg_range r WHERE r.rngtypid = $1 OR r.rngmultitypid = $1";
    push_all(sql, oid, commands)
}
