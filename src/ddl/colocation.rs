//! `update_distributed_table_colocation`.

use super::info::{self, Relation};
use super::{layout, policies};
use crate::catalog::{self, Kind, Table};
use crate::error::{sqlstate, Error, Result};
use crate::pg::session::require_owner;
use crate::pg::shard_lock::Level;
use crate::pg::{relation, spi};
use pgrx::pg_sys::{self, Oid};

/// Moves a table to another table's co-location group, or to one of its own.
pub fn update(relid: Oid, with: Option<Oid>) -> Result<()> {
    catalog::require_coordinator()?;
    let rel = Relation::load(relid)?;
    require_owner(relid, &rel.name)?;
    relation::lock(relid, pg_sys::ShareUpdateExclusiveLock);
    let table = hash_table(relid, &rel.name)?;
    layout::lock()?;
    let colocation = match with {
        Some(other) => {
            let other_rel = Relation::load(other)?;
            require_owner(other, &other_rel.name)?;
            let other_table = hash_table(other, &other_rel.name)?;
            layout::lock_places(other_table.colocation, Level::Shared);
            let other_table = hash_table(other, &other_rel.name)?;
            require_same(&rel, &table, &other_rel, &other_table)?;
            other_table.colocation
        }
        None => {
            let shape = layout::shape_of(table.colocation)?
                .ok_or_else(|| Error::internal("the table's co-location group does not exist"))?;
            layout::create_group(shape)?
        }
    };
    if colocation == table.colocation {
        return Ok(());
    }
    require_no_foreign_keys(&rel)?;
    policies::require_apart(&rel)?;
    let sql = "UPDATE pg_catalog.pg_dist_partition SET colocationid = $2 WHERE logicalrelid = $1";
    spi::execute_as_owner(sql, &[spi::oid(relid), spi::i32(colocation)])?;
    layout::drop_group_if_empty(table.colocation)
}

fn hash_table(relid: Oid, name: &str) -> Result<std::rc::Rc<Table>> {
    catalog::table(relid).filter(|t| t.kind == Kind::Hash).ok_or_else(|| {
        let message = format!("table \"{name}\" is not hash-distributed");
        Error::new(sqlstate::WRONG_OBJECT_TYPE, message)
            .hint("Only hash-distributed tables can change their co-location.")
    })
}

/// Keys between co-located tables are enforced shard by shard.
fn require_no_foreign_keys(rel: &Relation) -> Result<()> {
    for k in info::foreign_keys(rel.oid)? {
        let other = if k.from == rel.oid { k.to } else { k.from };
        let hash = catalog::table(other).is_some_and(|t| t.kind == Kind::Hash);
        if other != rel.oid && hash {
            let message =
                format!("foreign key \"{}\" needs \"{}\" to stay co-located", k.name, rel.name);
            return Err(Error::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("Drop the foreign key first."));
        }
    }
    Ok(())
}

fn require_same(a: &Relation, ta: &Table, b: &Relation, tb: &Table) -> Result<()> {
    let refuse = |why: &str| {
        let message = format!("cannot co-locate \"{}\" with \"{}\"", a.name, b.name);
        Err(Error::new(sqlstate::INVALID_TABLE_DEFINITION, message).detail(why))
    };
    let key = |t: &Table| t.key.as_ref().map(|k| (k.typ, k.collation));
    if key(ta) != key(tb) {
        return refuse("The distribution columns have different types or collations.");
    }
    if ta.shards.len() != tb.shards.len() {
        return refuse("The tables have different numbers of shards.");
    }
    for (x, y) in ta.shards.iter().zip(&tb.shards) {
        let groups = |s: &catalog::Shard| {
            let mut g: Vec<i32> = s.placements.iter().map(|p| p.group).collect();
            g.sort_unstable();
            g
        };
        if x.range != y.range {
            return refuse("The shards have different ranges.");
        }
        if groups(x) != groups(y) {
            return refuse("The shards lie on different nodes.");
        }
    }
    Ok(())
}
