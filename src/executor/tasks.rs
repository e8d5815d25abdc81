//! From a plan and its parameter values to statements on groups of nodes.

use super::batch::Array;
use super::lists::{self, Own};
use super::prepared::Prepared;
use super::reach::{self, Chooser};
use crate::catalog::{self, Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::value::Typed;
use crate::pg::{fmgr, nodes};
use crate::plan::{By, DistPlan, Operation, Target};
use crate::planner::values;
use crate::txn::sight::Sight;
use pgrx::pg_sys::{self, Datum, Oid};
use std::rc::Rc;

/// A parameter's value: its type here and its datum.
pub type Value = (Oid, Option<Datum>);

/// One statement on one group.
#[derive(Clone)]
pub struct Task {
    /// Node group.
    pub group: i32,
    /// Text of the statement.
    pub sql: Rc<str>,
    /// Its rows and counts are not wanted: another replica delivers them.
    pub mute: bool,
    /// Shard id by which names are turned back in messages (0: none).
    pub shard: i64,
    /// Healthy placements of the shard.
    pub copies: usize,
    /// Its rows, where they are parameters of the statement.
    pub rows: Option<Rc<[Array]>>,
    /// Values of parameters that are only its shard's.
    pub own: Option<Own>,
}

/// The rows of an INSERT for one shard: what stands for them in the statement, and what is sent
/// beside it.
pub type Rows<'a> = (&'a str, Option<Rc<[Array]>>);

/// A table of the plan and its name for shard names.
struct Named {
    table: Rc<Table>,
    /// The schema as it stands in front of names: quoted as needed, with the dot.
    schema: String,
    name: String,
}

impl Named {
    /// Position of the shard that goes with a shard of the plan's anchor.
    fn index(&self, index: usize) -> usize {
        if self.table.kind == Kind::Hash {
            index
        } else {
            0
        }
    }
}

/// As of when the statement reads; asked only where shards are looked up.
pub type Sights<'a> = &'a dyn Fn() -> Result<Option<Sight>>;

/// The tasks of a plan, in shard order.
pub fn tasks(plan: &Prepared, values: &[Value], sight: Sights) -> Result<Vec<Task>> {
    let shards = indices(plan, values)?;
    let [shard] = shards.as_slice() else {
        let mut tasks = tasks_with_rows(plan, &shards, None, sight)?;
        if plan.params.iter().any(|p| p.list) {
            lists::split(plan, values, &shards, &mut tasks)?;
        }
        return Ok(tasks);
    };
    // What was remembered was there before: only newer metadata can make it invisible.
    if let Some(known) = plan.task(*shard) {
        return Ok(vec![known]);
    }
    let generation = catalog::generation();
    let tasks = tasks_with_rows(plan, &shards, None, sight)?;
    let [one] = tasks.as_slice() else { return Ok(tasks) };
    // Which copy is read may differ each time.
    if one.copies == 1 || one.group == catalog::local_group()? {
        plan.remember(*shard, one, generation);
    }
    Ok(tasks)
}

/// A table of the plan.
pub fn lookup(relid: u32) -> Result<Rc<Table>> {
    catalog::table(Oid::from(relid)).ok_or_else(|| {
        Error::new(sqlstate::UNDEFINED_TABLE, "a distributed table of the query no longer exists")
    })
}

/// Shards the plan runs on; a plan that needs one and is left with none gets the first.
pub fn indices(plan: &DistPlan, params: &[Value]) -> Result<Vec<u32>> {
    let Target::Shards { anchor, prune, single } = &plan.target else { return Ok(vec![0]) };
    let table = lookup(*anchor)?;
    let set = prune.eval(&mut |i, by| -> Result<Option<Vec<u32>>> {
        let (typ, value) = params
            .get(i as usize)
            .copied()
            .ok_or_else(|| Error::internal("pruning refers to a missing parameter"))?;
        if by == By::Number {
            return Ok(Some(value.map(|v| v.value() as u32).into_iter().collect()));
        }
        // SAFETY: the datum is of the type that goes with it.
        let value = value.map(|v| unsafe { Typed::new(typ, v) });
        Ok(match by {
            By::Elements => values::shards_of_array(&table, value),
            _ => values::shard_of(&table, value),
        })
    })?;
    let count = table.shards.len() as u32;
    let mut set = set.unwrap_or_else(|| (0..count).collect());
    if set.is_empty() && plan.insert {
        set.push(crate::planner::modify::shard_without_key(&table)?);
    }
    if set.is_empty() && plan.operation != Operation::Modify && count > 0 {
        // No row can match, but an aggregate over nothing still has a row.
        set.push(0);
    }
    if *single && set.len() > 1 {
        return Err(Error::internal("a single-shard plan matched several shards"));
    }
    Ok(set)
}

/// Tasks on given shards, with rows for INSERT.
pub fn tasks_with_rows<'a>(
    plan: &DistPlan,
    shards: &[u32],
    rows: Option<&dyn Fn(u32) -> Rows<'a>>,
    sight: Sights,
) -> Result<Vec<Task>> {
    let sight = sight()?;
    let named = plan.tables.iter().map(|t| named(*t)).collect::<Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(shards.len());
    let mut chooser = Chooser::default();
    match &plan.target {
        Target::Shards { anchor, .. } => {
            let table = lookup(*anchor)?;
            for &i in shards {
                let shard = table
                    .shards
                    .get(i as usize)
                    .ok_or_else(|| Error::internal("shard number out of range"))?;
                let (text, rows) = rows.map(|r| r(i)).unzip();
                let groups: Vec<i32> = shard.placements.iter().map(|p| p.group).collect();
                if groups.is_empty() {
                    return Err(no_placement(shard.id));
                }
                let sql = fill(plan, &named, i as usize, text);
                let groups = common(plan, &named, i as usize, groups);
                let groups = visible(plan, &named, i as usize, groups, sight.as_ref())?;
                let task = (sql, shard.id, rows.flatten());
                push(plan, &mut out, &mut chooser, (&groups, table.kind), task)?;
            }
        }
        Target::Statement { .. } => {}
        Target::AnyReplica { anchor } | Target::AllReplicas { anchor } => {
            let table = lookup(*anchor)?;
            let shard = table
                .shards
                .first()
                .ok_or_else(|| Error::internal("a reference table without shard"))?;
            let groups: Vec<i32> = shard.placements.iter().map(|p| p.group).collect();
            let groups = visible(plan, &named, 0, groups, sight.as_ref())?;
            let (text, rows) = rows.map(|r| r(0)).unzip();
            let sql = fill(plan, &named, 0, text);
            let task = (sql, shard.id, rows.flatten());
            push(plan, &mut out, &mut chooser, (&groups, table.kind), task)?;
        }
    }
    Ok(out)
}

fn no_placement(shard: i64) -> Error {
    Error::new(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("shard {shard} has no healthy placement"),
    )
}

/// For a read of several tables the groups that have healthy copies of all of them.
fn common(plan: &DistPlan, named: &[Named], index: usize, groups: Vec<i32>) -> Vec<i32> {
    if groups.len() == 1 || named.len() == 1 || plan.operation != Operation::Select {
        return groups;
    }
    let has = |t: &Named, g: i32| {
        t.table
            .shards
            .get(t.index(index))
            .is_some_and(|s| s.placements.iter().any(|p| p.group == g))
    };
    let all: Vec<i32> =
        groups.iter().copied().filter(|g| named.iter().all(|t| has(t, *g))).collect();
    if all.is_empty() {
        return groups;
    }
    all
}

/// The groups whose copies have what the statement reads: a read takes one of them, a write needs
/// all.
fn visible(
    plan: &DistPlan,
    named: &[Named],
    index: usize,
    groups: Vec<i32>,
    sight: Option<&Sight>,
) -> Result<Vec<i32>> {
    let Some(sight) = sight else { return Ok(groups) };
    let trouble = |group: i32| {
        named.iter().find_map(|t| sight.trouble(t.table.shards.get(t.index(index))?, group))
    };
    let (mut seen, mut why) = (Vec::with_capacity(groups.len()), None);
    for group in groups {
        match trouble(group) {
            None => seen.push(group),
            e => why = why.or(e),
        }
    }
    match why {
        Some(e) if seen.is_empty() || plan.operation != Operation::Select => Err(e),
        _ => Ok(seen),
    }
}

/// Reads take one placement; writes take all, those that lock rows all that can be reached.
fn push(
    plan: &DistPlan,
    out: &mut Vec<Task>,
    chooser: &mut Chooser,
    (groups, kind): (&[i32], Kind),
    (sql, shard, rows): (String, i64, Option<Rc<[Array]>>),
) -> Result<()> {
    let sql: Rc<str> = sql.into();
    let copies = groups.len();
    let task = |group, mute| {
        let (sql, rows) = (sql.clone(), rows.clone());
        Task { group, sql, mute, shard, copies, rows, own: None }
    };
    if let [group] = groups {
        out.push(task(*group, false));
        return Ok(());
    }
    if plan.operation == Operation::Select {
        let group = chooser.choose(groups, kind == Kind::Reference, catalog::local_group()?);
        out.push(task(group, false));
        return Ok(());
    }
    let used = match plan.operation {
        Operation::Modify => groups.to_vec(),
        _ => reach::reachable(groups),
    };
    for (n, group) in used.into_iter().enumerate() {
        out.push(task(group, n > 0));
    }
    Ok(())
}

fn named(relid: u32) -> Result<Named> {
    let table = lookup(relid)?;
    let oid = Oid::from(relid);
    // SAFETY: syscache look-ups; the strings are copied.
    let (schema, name) = unsafe {
        (
            nodes::str_of(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid))),
            nodes::str_of(pg_sys::get_rel_name(oid)),
        )
    };
    let schema = fmgr::quote_ident(&schema) + ".";
    Ok(Named { table, schema, name })
}

fn fill(plan: &DistPlan, named: &[Named], index: usize, rows: Option<&str>) -> String {
    plan.template.fill(
        &mut |n, out| {
            let Some(t) = named.get(n as usize) else { return };
            let Some(shard) = t.table.shards.get(t.index(index)) else { return };
            let name = crate::ddl::names::shard_name(&t.name, shard.id);
            out.push_str(&t.schema);
            if needs_no_quotes(&name) {
                out.push_str(&name);
            } else {
                out.push_str(&fmgr::quote_ident(&name));
            }
        },
        rows,
        index as u32,
    )
}

/// Whether the name of a shard is an identifier as it is; no word of SQL ends with a number.
fn needs_no_quotes(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    starts && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::needs_no_quotes;

    #[test]
    fn plain_names() {
        assert!(needs_no_quotes("t_102008"));
        assert!(needs_no_quotes("_1_102008"));
        for name in ["T_1", "1t_1", "t\"_1", "t 1_1", "t$_1", "\u{e9}t_1", ""] {
            assert!(!needs_no_quotes(name), "{name}");
        }
    }
}
