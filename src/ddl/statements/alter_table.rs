//! ALTER TABLE (and ALTER MATERIALIZED VIEW) on managed tables.
//!
//! The server alters the table itself first. What was dropped reaches the shards through
//! `ddl::dropped`; what was added (columns, constraints) is found by comparing the catalogs before
//! and after, so that names and types are those that the server chose; the rest is written anew
//! from the statement.

use super::refuse::not_supported;
use super::{alter_index, columns, create, drop, plainly, types, Managed};
use crate::catalog::{self, Kind};
use crate::ddl::checks::{self, Target};
use crate::ddl::info::{self, Column, ForeignKey};
use crate::ddl::{create as convert, definition, policies};
use crate::error::{sqlstate, Error, Result};
use crate::hooks::utility::Call;
use crate::pg::fmgr::{quote_ident, quote_literal};
use crate::pg::rows::TableScan;
use crate::pg::statement::{AlterCommand, Name, Option_};
use crate::pg::{relation, session, spi};
use pgrx::pg_sys::AlterTableType as At;
use pgrx::pg_sys::{ConstrType, Oid};

/// ALTER TABLE.
pub fn alter_table(mut call: Call) -> Result<()> {
    let statement = call.statement();
    let Some(oid) = statement.relation().and_then(Name::find) else { return plainly(&call) };
    if relation::kind(oid) == b'i' {
        return alter_index::alter_index(call, oid);
    }
    if relation::kind(oid) == b'c' {
        types::refuse_composite(oid)?;
    }
    // A foreign key to a reference table has made it managed; one to a distributed table tells that it is
    // to be distributed itself.
    if catalog::table(oid).is_some_and(|t| t.kind == Kind::Local)
        && names_distributed(statement).is_some()
    {
        session::require_owner(oid, &info::name_of(oid))?;
        convert::release(oid)?;
    }
    if catalog::table(oid).is_none() {
        before_alter_local(statement, oid)?;
    }
    let Some(m) = Managed::load(oid)? else { return plainly(&call) };
    let Some(m) = m.locked(statement.alter_lock())? else { return plainly(&call) };
    let commands = statement.alter_commands();
    commands.iter().try_for_each(|c| check(&m, *c))?;
    let before = State::read(oid)?;
    let mut using = Vec::new();
    for c in &commands {
        using.push(match c.kind() {
            At::AT_AlterColumnType => match c.using_expression(oid)? {
                Some(u) => {
                    if u.differs && columns::has_copies(&m) && columns::may_have_rows(&m)? {
                        return Err(using_error(&m, &c.name()));
                    }
                    Some(u.text)
                }
                None => None,
            },
            _ => None,
        });
    }
    if m.table.kind == Kind::Local {
        manage_referenced(statement)?;
    }
    // The shards look whether their rows fulfil them; here the columns may be ahead of theirs.
    call.writable().trust_new_keys();
    plainly(&call)?;
    relation::command_counter_increment();
    let after = State::read(oid)?;
    let pieces: Vec<(AlterCommand, Option<String>)> = commands.into_iter().zip(using).collect();
    apply(&m, &pieces, &before, &after)
}

/// The error for values that each copy of a row would compute for itself.
fn using_error(m: &Managed, column: &str) -> Error {
    Error::unsupported(format!(
        "the type of column \"{column}\" of \"{}\" cannot be changed with USING a function that is \
         not immutable: its rows have copies on several nodes",
        m.rel.name
    ))
    .hint("Add a column of the new type, UPDATE it, and drop the old one.")
}

/// A local table that gets a foreign key to a managed one; or one as its partition or parent,
/// whose rows would not be seen through it.
fn before_alter_local(statement: crate::pg::tree::Tree, oid: Oid) -> Result<()> {
    if let Some(t) =
        statement.related_tables().iter().find_map(|n| n.find().and_then(catalog::table))
    {
        return Err(not_supported("inheritance", &info::name_of(t.relid)));
    }
    let waits = refers_to_distributed(oid)? || names_distributed(statement).is_some();
    for name in statement.referenced_tables() {
        let Some(t) = name.find().and_then(catalog::table) else { continue };
        if t.kind == Kind::Reference && !waits {
            manage(oid)?;
        } else if waits && relation::kind(oid) == b'r' && has_rows(oid)? {
            let local = info::name_of(oid);
            let other = info::name_of(names_distributed(statement).unwrap_or(t.relid));
            return Err(Error::unsupported(format!(
                "local table \"{local}\" cannot reference distributed table \"{other}\""
            ))
            .hint(format!("Distribute \"{local}\" first.")));
        }
    }
    Ok(())
}

/// A distributed table that a statement makes a table refer to.
fn names_distributed(statement: crate::pg::tree::Tree) -> Option<Oid> {
    statement.referenced_tables().iter().filter_map(|n| n.find()).find(|o| is_distributed(*o))
}

/// Whether a table waits for its own distribution, since it refers to a distributed one.
fn refers_to_distributed(oid: Oid) -> Result<bool> {
    let keys = info::foreign_keys(oid)?;
    Ok(keys.iter().any(|k| k.from == oid && is_distributed(k.to)))
}

fn is_distributed(oid: Oid) -> bool {
    catalog::table(oid).is_some_and(|t| matches!(t.kind, Kind::Hash | Kind::Single))
}

/// Tables of this server that a managed local table is to reference are managed too, as when it
/// became one itself: the key holds between shards.
fn manage_referenced(statement: crate::pg::tree::Tree) -> Result<()> {
    for name in statement.referenced_tables() {
        let Some(oid) = name.find().filter(|o| catalog::table(*o).is_none()) else { continue };
        let mut request = convert::Request::new(oid, Target::Local);
        request.automatic = true;
        convert::convert(&request)?;
        relation::command_counter_increment();
    }
    Ok(())
}

/// Does nothing for a table that an earlier key of the same statement has brought in.
fn manage(oid: Oid) -> Result<()> {
    if relation::kind(oid) != b'r'
        || catalog::table(oid).is_some()
        || !crate::settings::enable_local_reference_table_foreign_keys()
        || info::Relation::load(oid)?.persistence == b't'
    {
        return Ok(());
    }
    let mut request = convert::Request::new(oid, Target::Local);
    request.automatic = true;
    convert::convert(&request)?;
    relation::command_counter_increment();
    create::manage_if_connected(oid)
}

fn has_rows(oid: Oid) -> Result<bool> {
    let scan = TableScan::open(oid)?;
    let found = scan.has_row();
    scan.close();
    Ok(found)
}

/// What the catalogs say about columns and constraints.
struct State {
    columns: Vec<Column>,
    /// Constraints: OID, kind and name.
    constraints: Vec<(Oid, u8, String)>,
    keys: Vec<ForeignKey>,
}

impl State {
    fn read(oid: Oid) -> Result<Self> {
        let sql = "SELECT oid, contype, conname FROM pg_constraint WHERE conrelid = $1 AND contype <> 't' \
            ORDER BY contype = 'f', oid";
        let constraints = info::rows(sql, &[spi::oid(oid)])?;
        Ok(State {
            columns: info::columns(oid)?,
            constraints: constraints.iter().map(|r| (r.oid(0), r.char(1), r.text(2))).collect(),
            keys: info::foreign_keys(oid)?,
        })
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Refuses what cannot be done, before anything is changed.
fn check(m: &Managed, c: AlterCommand) -> Result<()> {
    let key = m.table.key.as_ref().map(|k| k.attno);
    let names_key = || -> Result<bool> {
        let columns = info::columns(m.rel.oid)?;
        Ok(columns.iter().any(|x| Some(x.attno) == key && x.name == c.name()))
    };
    let refuse = |what: &str| Err(not_supported(&format!("ALTER TABLE ... {what}"), &m.rel.name));
    match c.kind() {
        At::AT_EnableRowSecurity => policies::check(&m.rel, &m.table, None),
        At::AT_AlterColumnType if names_key()? => Err(key_error(m, &c.name(), "altered")),
        At::AT_EnableTrig
        | At::AT_EnableAlwaysTrig
        | At::AT_EnableReplicaTrig
        | At::AT_DisableTrig => refuse("ENABLE/DISABLE TRIGGER name"),
        At::AT_EnableRule
        | At::AT_EnableAlwaysRule
        | At::AT_EnableReplicaRule
        | At::AT_DisableRule => refuse("ENABLE/DISABLE RULE"),
        At::AT_AddInherit | At::AT_DropInherit => refuse("INHERIT"),
        At::AT_AddOf | At::AT_DropOf => refuse("OF"),
        At::AT_AttachPartition | At::AT_DetachPartition | At::AT_DetachPartitionFinalize => {
            refuse("PARTITION")
        }
        At::AT_GenericOptions | At::AT_AlterColumnGenericOptions => refuse("OPTIONS"),
        _ => Ok(()),
    }
}

/// The error for a change of the distribution column. (Whoever drops it is refused when the server
/// is about to do so, in `ddl::dropped`: the server's own objections come first.)
pub fn key_error(m: &Managed, column: &str, what: &str) -> Error {
    let message = format!(
        "column \"{column}\" of \"{}\" cannot be {what}: it is the distribution column",
        m.rel.name
    );
    Error::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
        .hint("Run undistribute_table, change the column, and distribute the table again.")
}

fn apply(
    m: &Managed,
    commands: &[(AlterCommand, Option<String>)],
    before: &State,
    after: &State,
) -> Result<()> {
    let table = m.rel.qualified();
    let key = m.table.key.as_ref().map(|k| k.attno);
    checks::uniqueness(&m.rel, &after.columns, key)?;
    let mut retyped = Vec::new();
    let mut rest = Vec::new();
    for (c, using) in commands {
        match c.kind() {
            At::AT_AlterColumnType => retyped.extend(column_type(*c, using.as_deref(), after)),
            At::AT_ChangeOwner => {
                if let Some(owner) = c.owner() {
                    drop::change_owner(m, &owner)?;
                }
            }
            _ => rest.extend(simple(*c, after)),
        }
    }
    if !retyped.is_empty() {
        ensure_types(m, before, after)?;
        m.apply(&[format!("ALTER TABLE {table} {}", retyped.join(", "))])?;
    }
    let new: Vec<&Column> = after
        .columns
        .iter()
        .filter(|c| before.columns.iter().all(|b| b.attno != c.attno))
        .collect();
    columns::add(m, &new)?;
    if !rest.is_empty() {
        m.apply(&[format!("ALTER TABLE {table} {}", rest.join(", "))])?;
    }
    add_constraints(m, commands, before, after)
}

fn ensure_types(m: &Managed, before: &State, after: &State) -> Result<()> {
    let changed: Vec<Column> = after
        .columns
        .iter()
        .filter(|c| {
            let other = |b: &Column| b.typ != c.typ || b.collation != c.collation;
            before.columns.iter().any(|b| b.attno == c.attno && other(b))
        })
        .cloned()
        .collect();
    let groups = crate::ddl::send::groups_of(&m.table);
    crate::ddl::dependencies::ensure_columns(&changed, &groups)
}

fn column_type(c: AlterCommand, using: Option<&str>, after: &State) -> Option<String> {
    let column = after.column(&c.name())?;
    let mut s = format!("ALTER COLUMN {} TYPE {}", quote_ident(&column.name), column.type_text);
    if let Some(collation) = &column.collation_text {
        s += &format!(" COLLATE {collation}");
    }
    if let Some(e) = using {
        s += &format!(" USING {e}");
    }
    Some(s)
}

/// Options in parentheses.
pub fn options_text(options: &[Option_], with_values: bool) -> String {
    let list: Vec<String> = options
        .iter()
        .map(|o| {
            let namespace = o.namespace.as_ref().map(|n| format!("{}.", quote_ident(n)));
            let mut s = format!("{}{}", namespace.unwrap_or_default(), quote_ident(&o.name));
            if let (true, Some(v)) = (with_values, &o.value) {
                s += &format!(" = {}", quote_literal(v));
            }
            s
        })
        .collect();
    format!("({})", list.join(", "))
}

/// Commands that are written anew from the statement alone; `None` for what concerns the table
/// itself only, or is done elsewhere.
fn simple(c: AlterCommand, after: &State) -> Option<String> {
    let name = quote_ident(&c.name());
    let column = format!("ALTER COLUMN {name}");
    Some(match c.kind() {
        At::AT_ColumnDefault => return default_command(c, after),
        At::AT_DropNotNull => format!("{column} DROP NOT NULL"),
        At::AT_SetNotNull => format!("{column} SET NOT NULL"),
        At::AT_DropExpression => format!("{column} DROP EXPRESSION IF EXISTS"),
        At::AT_SetStatistics => format!("{column} SET STATISTICS {}", c.value()?),
        At::AT_SetOptions => format!("{column} SET {}", options_text(&c.options(), true)),
        At::AT_ResetOptions => format!("{column} RESET {}", options_text(&c.options(), false)),
        At::AT_SetStorage => format!("{column} SET STORAGE {}", quote_ident(&c.value()?)),
        At::AT_SetCompression => format!("{column} SET COMPRESSION {}", compression(&c.value()?)),
        At::AT_ValidateConstraint => format!("VALIDATE CONSTRAINT {name}"),
        At::AT_AlterConstraint => {
            let k = c.constraint()?;
            let constraint = quote_ident(&k.name.unwrap_or_default());
            let deferrable = if k.deferrable { "DEFERRABLE" } else { "NOT DEFERRABLE" };
            let deferred = if k.deferred { "INITIALLY DEFERRED" } else { "INITIALLY IMMEDIATE" };
            format!("ALTER CONSTRAINT {constraint} {deferrable} {deferred}")
        }
        At::AT_ClusterOn => format!("CLUSTER ON {name}"),
        At::AT_DropCluster => "SET WITHOUT CLUSTER".to_owned(),
        At::AT_SetLogged => "SET LOGGED".to_owned(),
        At::AT_SetUnLogged => "SET UNLOGGED".to_owned(),
        At::AT_DropOids => return None,
        At::AT_SetAccessMethod => format!("SET ACCESS METHOD {name}"),
        At::AT_SetTableSpace => format!("SET TABLESPACE {name}"),
        At::AT_SetRelOptions => format!("SET {}", options_text(&c.options(), true)),
        At::AT_ResetRelOptions => format!("RESET {}", options_text(&c.options(), false)),
        At::AT_EnableTrigAll => "ENABLE TRIGGER ALL".to_owned(),
        At::AT_DisableTrigAll => "DISABLE TRIGGER ALL".to_owned(),
        At::AT_EnableTrigUser => "ENABLE TRIGGER USER".to_owned(),
        At::AT_DisableTrigUser => "DISABLE TRIGGER USER".to_owned(),
        At::AT_ReplicaIdentity => match c.replica_identity()? {
            (b'f', _) => "REPLICA IDENTITY FULL".to_owned(),
            (b'n', _) => "REPLICA IDENTITY NOTHING".to_owned(),
            (b'i', Some(i)) => format!("REPLICA IDENTITY USING INDEX {}", quote_ident(&i)),
            _ => "REPLICA IDENTITY DEFAULT".to_owned(),
        },
        At::AT_EnableRowSecurity => "ENABLE ROW LEVEL SECURITY".to_owned(),
        At::AT_DisableRowSecurity => "DISABLE ROW LEVEL SECURITY".to_owned(),
        At::AT_ForceRowSecurity => "FORCE ROW LEVEL SECURITY".to_owned(),
        At::AT_NoForceRowSecurity => "NO FORCE ROW LEVEL SECURITY".to_owned(),
        _ => return None,
    })
}

fn compression(method: &str) -> String {
    if method.eq_ignore_ascii_case("default") {
        "default".to_owned()
    } else {
        quote_ident(method)
    }
}

/// Shards know a default only where a foreign key may set it.
fn default_command(c: AlterCommand, after: &State) -> Option<String> {
    let column = after.column(&c.name())?;
    let table = after.keys.first().map(|k| k.from)?;
    if !definition::columns_set_by_foreign_keys(table, &after.keys).contains(&column.attno) {
        return None;
    }
    let name = quote_ident(&column.name);
    match &column.default {
        Some(e) if !column.uses_sequence => Some(format!("ALTER COLUMN {name} SET DEFAULT {e}")),
        _ => Some(format!("ALTER COLUMN {name} DROP DEFAULT")),
    }
}

fn add_constraints(
    m: &Managed,
    commands: &[(AlterCommand, Option<String>)],
    before: &State,
    after: &State,
) -> Result<()> {
    // Constraints made of an existing index take it over on the shards too.
    let from_index = |name: &str| {
        commands.iter().filter_map(|(c, _)| c.constraint()).find(|k| {
            let n = k.name.as_ref().or(k.index.as_ref());
            k.index.is_some() && n.is_some_and(|n| n == name)
        })
    };
    // A change of type makes constraints anew, here as on the shards: one that had its name
    // before is new only if the statement dropped the old one.
    let dropped = |name: &str| {
        commands.iter().any(|(c, _)| c.kind() == At::AT_DropConstraint && c.name() == name)
    };
    let known = |oid: Oid, name: &str| {
        before.constraints.iter().any(|(o, _, n)| *o == oid || (n == name && !dropped(name)))
    };
    for (oid, kind, name) in &after.constraints {
        if *kind == b'f' || known(*oid, name) {
            continue;
        }
        let command = match from_index(name) {
            Some(k) => using_index(m, name, &k),
            None => spi::pinned(|| Ok(relation::constraint_command(*oid)))?,
        };
        m.apply(&[command])?;
    }
    let new: Vec<ForeignKey> = after
        .keys
        .iter()
        .filter(|k| k.from == m.rel.oid && !known(k.oid, &k.name))
        .cloned()
        .collect();
    add_foreign_keys(m, &new, after)
}

fn using_index(m: &Managed, name: &str, k: &crate::pg::statement::ConstraintView) -> String {
    let kind = match k.kind {
        ConstrType::CONSTR_PRIMARY => "PRIMARY KEY",
        _ => "UNIQUE",
    };
    let index = quote_ident(k.index.as_deref().unwrap_or_default());
    let deferrable = if k.deferrable { " DEFERRABLE" } else { "" };
    let deferred = if k.deferred { " INITIALLY DEFERRED" } else { "" };
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} {kind} USING INDEX {index}{deferrable}{deferred}",
        m.rel.qualified(),
        quote_ident(name)
    )
}

fn add_foreign_keys(m: &Managed, keys: &[ForeignKey], after: &State) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let target = match m.table.kind {
        Kind::Hash => Target::Hash,
        Kind::Single => Target::Single,
        Kind::Reference => Target::Reference,
        Kind::Local => Target::Local,
    };
    let key = m.table.key.as_ref().map(|k| k.attno);
    let colocated = |o: Oid| catalog::table(o).is_some_and(|t| t.colocated_with(&m.table));
    checks::foreign_keys(&m.rel, target, key, keys, &colocated)?;
    let set = definition::columns_set_by_foreign_keys(m.rel.oid, keys);
    for c in after.columns.iter().filter(|c| set.contains(&c.attno) && !c.uses_sequence) {
        if let Some(e) = &c.default {
            let name = quote_ident(&c.name);
            let table = m.rel.qualified();
            m.apply(&[format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {e}")])?;
        }
    }
    let commands = spi::pinned(|| {
        Ok(keys.iter().map(|k| relation::constraint_command(k.oid)).collect::<Vec<_>>())
    })?;
    convert::foreign_key_commands(m.rel.pair(), &m.table, keys, &commands)
}
