//! Turning ordinary tables into managed ones.

use super::checks::{self, Target};
use super::definition::{self, Definition};
use super::info::{self, Column, ForeignKey, Relation};
use super::layout::{self, Layout, NewShard, Shape};
use super::metadata::{self, NewTable};
use super::send::{self, Named};
use super::{dependencies, policies, rows};
use crate::catalog::{self, Kind, Table};
use crate::cluster::join;
use crate::error::{sqlstate, Error, Result};
use crate::pg::shard_lock::Level;
use crate::pg::{guard, relation, spi};
use crate::settings;
use pgrx::pg_sys::{self, Oid};
use std::rc::Rc;

/// With which tables a new one is co-located.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Colocate {
    /// With all of the same shape that did not ask otherwise.
    Default,
    /// With none.
    None,
    /// With this table.
    With(Oid),
}

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The table.
    pub relid: Oid,
    /// What it is to become.
    pub target: Target,
    /// Distribution column.
    pub column: Option<String>,
    /// Co-location.
    pub colocate: Colocate,
    /// Number of shards.
    pub shard_count: Option<i32>,
    /// Copies of each shard.
    pub replication: Option<i32>,
    /// Done along with another table, without having been asked for.
    pub automatic: bool,
}

impl Request {
    /// A request with defaults.
    pub fn new(relid: Oid, target: Target) -> Self {
        Request {
            relid,
            target,
            column: None,
            colocate: Colocate::Default,
            shard_count: None,
            replication: None,
            automatic: false,
        }
    }
}

/// Everything that is known before the first change.
struct Plan {
    rel: Relation,
    columns: Vec<Column>,
    key: Option<Column>,
    keys: Vec<ForeignKey>,
}

/// Converts a table.
pub fn convert(request: &Request) -> Result<()> {
    if !relation::exists(request.relid) {
        return Relation::load(request.relid).map(|_| ());
    }
    catalog::require_coordinator()?;
    checks::load_table(request.relid, request.target)?;
    relation::lock(request.relid, pg_sys::AccessExclusiveLock);
    // Again: it may have changed or gone while we waited for the lock.
    let rel = checks::load_table(request.relid, request.target)?;
    let columns = info::columns(rel.oid)?;
    let key = match (&request.column, request.target) {
        (Some(name), Target::Hash) => Some(checks::distribution_column(&rel, &columns, name)?),
        _ => None,
    };
    let keys = info::foreign_keys(rel.oid)?;
    let plan = Plan { rel, columns, key, keys };
    let key_no = plan.key.as_ref().map(|c| c.attno);
    checks::uniqueness(&plan.rel, &plan.columns, key_no)?;
    let partner = partner(request, &plan)?;
    check_options(request)?;
    match request.target {
        Target::Local => join::ensure_coordinator()?,
        _ => catalog::ensure_local_node()?,
    }
    catalog::lock_nodes_shared()?;
    let layout = layout_for(request, &plan, partner.as_deref())?;
    release_referencing(request.target, &plan)?;
    let colocated = |o: Oid| catalog::table(o).is_some_and(|t| t.colocation == layout.colocation);
    checks::foreign_keys(&plan.rel, request.target, key_no, &plan.keys, &colocated)?;
    if catalog::table(plan.rel.oid).is_some_and(|t| t.kind == Kind::Local) {
        // A local table of the metadata becomes an ordinary one first.
        super::undistribute::to_plain(plan.rel.oid)?;
    }
    build(request, &plan, &layout)?;
    convert_neighbours(request, &plan)
}

/// Local tables that were added to the metadata along with others and reference a table that is to
/// be distributed become ordinary ones again: they wait for their own distribution.
fn release_referencing(target: Target, plan: &Plan) -> Result<()> {
    if !matches!(target, Target::Hash | Target::Single) {
        return Ok(());
    }
    for k in plan.keys.iter().filter(|k| k.to == plan.rel.oid && k.from != plan.rel.oid) {
        if added_along(k.from)? == Some(true) {
            release(k.from)?;
        }
    }
    Ok(())
}

/// Whether a local table of the metadata was added along with others; `None` for what is none.
fn added_along(relid: Oid) -> Result<Option<bool>> {
    let sql = "SELECT autoconverted FROM pg_dist_partition WHERE logicalrelid = $1 \
        AND partmethod = 'n' AND repmodel = 's' AND colocationid = 0";
    Ok(info::rows(sql, &[spi::oid(relid)])?.pop().map(|row| row.bool(0)))
}

/// Makes a local table that was added to the metadata along with others an ordinary one again, and before
/// it those that reference it: their keys hold between shards or between tables.
pub fn release(relid: Oid) -> Result<()> {
    let Some(along) = added_along(relid)? else { return Ok(()) };
    if !along {
        return Err(Error::unsupported(format!(
            "local table \"{}\" is in the metadata and cannot wait for its distribution",
            info::name_of(relid)
        ))
        .hint("Run undistribute_table for it, and add the foreign key then."));
    }
    relation::lock(relid, pg_sys::AccessExclusiveLock);
    let mut all = vec![relid];
    let mut at = 0;
    while let Some(t) = all.get(at).copied() {
        at += 1;
        for k in info::foreign_keys(t)?.iter().filter(|k| k.to == t) {
            if all.contains(&k.from) {
                continue;
            }
            let Some(along) = added_along(k.from)? else { continue };
            if !along {
                return Err(Error::unsupported(format!(
                    "local table \"{}\", which is in the metadata, references \"{}\"",
                    info::name_of(k.from),
                    info::name_of(t)
                ))
                .hint("Run undistribute_table for it first."));
            }
            relation::lock(k.from, pg_sys::AccessExclusiveLock);
            all.push(k.from);
        }
    }
    all.into_iter().rev().try_for_each(super::undistribute::to_plain)
}

fn check_options(request: &Request) -> Result<()> {
    let range = |what: &str, v: Option<i32>, max: i32| match v {
        Some(v) if v < 1 || v > max => Err(Error::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("{what} must be between 1 and {max}"),
        )
        .detail(format!("It is {v}."))),
        _ => Ok(()),
    };
    range("shard_count", request.shard_count, crate::model::ranges::MAX_SHARDS)?;
    range("replication_factor", request.replication, 100)
}

/// The table named by colocate_with, checked.
fn partner(request: &Request, plan: &Plan) -> Result<Option<Rc<Table>>> {
    let Colocate::With(oid) = request.colocate else { return Ok(None) };
    let name = info::name_of(oid);
    let refuse = |code, why: String, hint: &str| {
        let message = format!("cannot co-locate \"{}\" with \"{name}\"", plan.rel.name);
        Err(Error::new(code, message).detail(why).hint(hint))
    };
    let Some(t) = catalog::table(oid) else {
        return refuse(
            sqlstate::WRONG_OBJECT_TYPE,
            format!("\"{name}\" is not distributed."),
            "Distribute it first.",
        );
    };
    match (request.target, t.kind, &plan.key, &t.key) {
        (Target::Hash, Kind::Hash, Some(mine), Some(theirs)) => {
            if mine.typ != theirs.typ {
                return refuse(
                    sqlstate::DATATYPE_MISMATCH,
                    "The distribution columns have different types.".to_owned(),
                    "Use columns of the same type, or colocate_with => 'none'.",
                );
            }
            if mine.collation != theirs.collation {
                return refuse(
                    sqlstate::DATATYPE_MISMATCH,
                    "The distribution columns have different collations.".to_owned(),
                    "Use columns of the same collation, or colocate_with => 'none'.",
                );
            }
            Ok(Some(t))
        }
        (Target::Single, Kind::Single, _, _) => Ok(Some(t)),
        _ => refuse(
            sqlstate::WRONG_OBJECT_TYPE,
            "Only tables that are distributed in the same way can be co-located.".to_owned(),
            "Name a table that is distributed in the same way, or use colocate_with => 'none'.",
        ),
    }
}

fn layout_for(request: &Request, plan: &Plan, partner: Option<&Table>) -> Result<Layout> {
    let shape = shape(request, plan);
    if let Some(p) = partner {
        warn_of_other_count(request, p);
        layout::lock_places(p.colocation, Level::Shared);
        // Again: its shards may have been copied or moved meanwhile.
        let now = catalog::table(p.relid).filter(|t| t.colocation == p.colocation);
        let shards = layout::same_places(now.as_deref().unwrap_or(p));
        return Ok(Layout { colocation: p.colocation, shards });
    }
    match (request.target, &request.colocate) {
        (Target::Local, _) => {
            let groups = vec![catalog::local_group()?];
            Ok(Layout { colocation: 0, shards: vec![NewShard { range: None, groups }] })
        }
        (Target::Reference, _) | (_, Colocate::Default) => {
            layout::default_layout(shape, plan.rel.oid)
        }
        _ => {
            layout::lock()?;
            layout::new_layout(shape)
        }
    }
}

fn shape(request: &Request, plan: &Plan) -> Shape {
    let replicas = request.replication.unwrap_or_else(settings::shard_replication_factor);
    match (request.target, &plan.key) {
        (Target::Hash, Some(key)) => Shape {
            shards: request.shard_count.unwrap_or_else(settings::shard_count),
            replicas,
            typ: key.typ,
            collation: key.collation,
        },
        (Target::Reference, _) => {
            Shape { shards: 1, replicas: -1, typ: Oid::INVALID, collation: Oid::INVALID }
        }
        _ => Shape { shards: 1, replicas: 1, typ: Oid::INVALID, collation: Oid::INVALID },
    }
}

fn warn_of_other_count(request: &Request, partner: &Table) {
    let count = partner.shards.len();
    match request.shard_count {
        Some(wanted) if wanted as usize != count => {
            let message = format!("shard_count {wanted} is ignored");
            guard::warning(&Error::new(sqlstate::INVALID_PARAMETER_VALUE, message).detail(
                format!(
                    "Tables co-located with \"{}\" have {count} shards.",
                    info::name_of(partner.relid)
                ),
            ));
        }
        _ => {}
    }
}

/// Registers the table and makes its shards.
fn build(request: &Request, plan: &Plan, layout: &Layout) -> Result<()> {
    let rel = &plan.rel;
    let definition = definition::read(rel, &plan.keys)?;
    let stored =
        plan.key.as_ref().map(|c| relation::stored_column(c.attno, c.typ, c.typmod, c.collation));
    // The snapshot of the rows is taken before the table stops being an ordinary one.
    let source = rows::Source::open(rel.oid)?;
    let replicated = layout.shards.iter().any(|s| s.groups.len() > 1);
    let new = NewTable {
        relid: rel.oid,
        method: if request.target == Target::Hash { 'h' } else { 'n' },
        key: stored.as_deref(),
        colocation: layout.colocation,
        replication: match request.target {
            Target::Reference => 't',
            Target::Hash if replicated => 'c',
            _ => 's',
        },
        automatic: request.automatic,
    };
    metadata::insert(&new, &layout.shards)?;
    let table = catalog::table(rel.oid)
        .ok_or_else(|| Error::internal("the new table is not in the metadata"))?;
    dependencies::ensure(rel, &plan.columns, &send::groups_of(&table))?;
    policies::check(rel, &table, None)?;
    make_shards(plan, &definition, &table, source)?;
    relation::command_counter_increment();
    Ok(())
}

fn make_shards(
    plan: &Plan,
    definition: &Definition,
    table: &Table,
    source: rows::Source,
) -> Result<()> {
    let rel = &plan.rel;
    let names = || {
        let mut names = vec![rel.pair()];
        names.extend(definition.dependents.iter().cloned());
        names
    };
    let filled = !source.is_empty();
    let mut first = definition.table.clone();
    if !filled {
        first.extend(definition.rest.iter().cloned());
    }
    send::to_shards(table, names(), &first)?;
    if filled {
        relation::command_counter_increment();
        rows::move_to_shards(rel, &plan.columns, table, source)?;
        send::to_shards(table, names(), &definition.rest)?;
        relation::empty(rel.oid)?;
    } else {
        source.close();
    }
    send::apply(&policies::batches(rel, table, None, &definition.policies)?)?;
    make_foreign_keys(rel, definition, table, &plan.keys)
}

/// The table's own foreign keys, and those of tables that were converted before it.
fn make_foreign_keys(
    rel: &Relation,
    definition: &Definition,
    table: &Table,
    keys: &[ForeignKey],
) -> Result<()> {
    if !definition.foreign_keys.is_empty() {
        foreign_key_commands(rel.pair(), table, keys, &definition.foreign_keys)?;
    }
    for k in keys.iter().filter(|k| k.to == rel.oid && k.from != rel.oid) {
        let Some(other) = catalog::table(k.from) else { continue };
        let other_rel = Relation::load(k.from)?;
        let command = spi::pinned(|| Ok(relation::constraint_command(k.oid)))?;
        foreign_key_commands(other_rel.pair(), &other, std::slice::from_ref(k), &[command])?;
    }
    Ok(())
}

/// Adds foreign keys to the shards of the referencing table. Keys to tables that are not managed
/// (yet) are left to the shell table.
pub fn foreign_key_commands(
    from: (String, String),
    table: &Table,
    keys: &[ForeignKey],
    commands: &[String],
) -> Result<()> {
    let outgoing: Vec<&ForeignKey> = keys.iter().filter(|k| k.from == table.relid).collect();
    for (k, command) in outgoing.into_iter().zip(commands) {
        let main = Named { table, names: vec![from.clone()] };
        let mut others = Vec::new();
        let referenced = catalog::table(k.to);
        match &referenced {
            Some(t) if k.to != table.relid => {
                others.push(Named { table: t, names: vec![Relation::load(k.to)?.pair()] });
            }
            Some(_) => {}
            None => continue,
        }
        send::apply(&send::batches(&main, &others, std::slice::from_ref(command))?)?;
    }
    Ok(())
}

/// Local tables that reference a new reference table, or that the new local table is connected
/// with, are managed too: their foreign keys hold between shards.
fn convert_neighbours(request: &Request, plan: &Plan) -> Result<()> {
    if !matches!(request.target, Target::Reference | Target::Local) {
        return Ok(());
    }
    let wanted =
        request.target == Target::Local || settings::enable_local_reference_table_foreign_keys();
    for k in &plan.keys {
        let other = if k.from == plan.rel.oid { k.to } else { k.from };
        if other == plan.rel.oid || catalog::table(other).is_some() {
            continue;
        }
        if !wanted {
            return Err(Error::unsupported(format!(
                "foreign key \"{}\" connects \"{}\" with a local table",
                k.name, plan.rel.name
            ))
            .hint("Set citus.enable_local_reference_table_foreign_keys, or drop the key."));
        }
        if !can_be_local(other)? {
            continue;
        }
        let mut r = Request::new(other, Target::Local);
        r.automatic = true;
        convert(&r)?;
    }
    Ok(())
}

/// Whether a table that was not asked for can become a managed local one: its foreign keys lead
/// to reference and local tables only. Otherwise it waits for its own distribution.
fn can_be_local(relid: Oid) -> Result<bool> {
    let distributed =
        |o: Oid| catalog::table(o).is_some_and(|t| matches!(t.kind, Kind::Hash | Kind::Single));
    let keys = info::foreign_keys(relid)?;
    Ok(!keys.iter().any(|k| distributed(k.from) || distributed(k.to)))
}
