//! CREATE POLICY and ALTER POLICY.

use super::{plainly, Managed};
use crate::ddl::{definition, dependencies, info, policies, send};
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
    m.ensure_used()?;
    policies::check(&m.rel, &m.table, Some(&name))?;
    send::apply(&policies::batches(&m.rel, &m.table, Some(&name), &commands)?)
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
