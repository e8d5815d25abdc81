//! CREATE POLICY and ALTER POLICY.

use super::{plainly, Managed};
use crate::ddl::definition;
use crate::ddl::dependencies;
use crate::ddl::info::{self, Relation};
use crate::ddl::send::{self, Named};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::quote_ident;
use crate::pg::{relation, spi};
use pgrx::pg_sys::NodeTag;

/// CREATE POLICY and ALTER POLICY: the policy is made anew on the shards.
pub fn policy(call: Call) -> Result<()> {
    let statement = call.statement();
    let Some(m) = Managed::named(statement.relation())? else { return plainly(&call) };
    plainly(&call)?;
    relation::command_counter_increment();
    let name = statement.object_name().unwrap_or_default();
    let table = m.rel.qualified();
    let mut commands = Vec::new();
    if statement.tag() == NodeTag::T_AlterPolicyStmt {
        commands.push(format!("DROP POLICY IF EXISTS {} ON {table}", quote_ident(&name)));
    }
    commands.extend(spi::pinned(|| definition::policies(m.rel.oid, &table, Some(&name)))?);
    ensure_roles(&m, &name)?;
    let others = tables_in_policy(&m, &name)?;
    let named: Vec<Named> =
        others.iter().map(|o| Named { table: &o.table, names: vec![o.rel.pair()] }).collect();
    m.ensure_used()?;
    let main = Named { table: &m.table, names: vec![m.rel.pair()] };
    send::apply(&send::batches(&main, &named, &commands)?)
}

fn ensure_roles(m: &Managed, policy: &str) -> Result<()> {
    let sql = "SELECT r.rolname FROM pg_policy p JOIN pg_roles r ON r.oid = ANY (p.polroles) \
        WHERE p.polrelid = $1 AND p.polname = $2 ORDER BY 1";
    let roles: Vec<String> = info::rows(sql, &[spi::oid(m.rel.oid), spi::text(policy)])?
        .iter()
        .map(|r| r.text(0))
        .collect();
    dependencies::ensure_roles(&roles, &send::groups_of(&m.table))
}

/// Other managed tables that the policy's subqueries read.
fn tables_in_policy(m: &Managed, policy: &str) -> Result<Vec<Managed>> {
    let sql = "SELECT DISTINCT d.refobjid FROM pg_policy p JOIN pg_depend d \
        ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid \
        AND d.refclassid = 'pg_class'::regclass \
        WHERE p.polrelid = $1 AND p.polname = $2 AND d.refobjid <> $1 ORDER BY 1";
    let mut found = Vec::new();
    for r in info::rows(sql, &[spi::oid(m.rel.oid), spi::text(policy)])? {
        let other = r.oid(0);
        match Managed::load(other)? {
            Some(o) if o.table.shards.len() == 1 || o.table.colocated_with(&m.table) => {
                found.push(o)
            }
            _ => {
                let name = Relation::load(other)?.name;
                return Err(crate::error::Error::unsupported(format!(
                    "policy \"{policy}\" of \"{}\" reads \"{name}\", which is neither a \
                     reference table nor co-located with it",
                    m.rel.name
                ))
                .hint(format!("Run create_reference_table('{name}') first.")));
            }
        }
    }
    Ok(found)
}
