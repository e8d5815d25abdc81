//! Functions of the user's that tables are made with (in checks, indexes, generated columns, policies): all
//! nodes have them, and follow when they change.

use super::info;
use super::objects::{Maker, Objects};
use super::{dependencies, dropped, room, send};
use crate::catalog;
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::{qualified, quote_ident, quote_literal};
use crate::pg::{relation, server, spi};
use pgrx::pg_sys::{self, ObjectType, Oid};

/// A function as it is here.
#[derive(PartialEq, Eq)]
pub struct Function {
    oid: Oid,
    /// Its schema.
    pub schema: String,
    name: String,
    /// Types of its arguments as SQL text.
    arguments: String,
    /// The statement that makes it, or changes it into what it is.
    definition: String,
    /// Its owner.
    owner: String,
    /// Whether it belongs to the current user.
    pub is_own: bool,
    /// Whether its privileges are not the usual ones.
    has_privileges: bool,
    grants: Vec<Grant>,
}

/// A privilege of somebody else than the owner.
#[derive(PartialEq, Eq)]
struct Grant {
    /// `None` is PUBLIC.
    role: Option<String>,
    grantable: bool,
}

impl Grant {
    fn to(&self) -> String {
        self.role.as_deref().map_or("PUBLIC".to_owned(), quote_ident)
    }

    fn text(&self) -> String {
        let option = if self.grantable { " WITH GRANT OPTION" } else { "" };
        format!("{}{option}", self.to())
    }
}

impl Function {
    /// The function of an OID; none for aggregates and procedures.
    pub fn load(oid: Oid) -> Result<Option<Function>> {
        let sql = "SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), \
            pg_get_functiondef(p.oid), pg_get_userbyid(p.proowner), \
            pg_get_userbyid(p.proowner) = current_user, p.proacl IS NOT NULL \
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
            WHERE p.oid = $1 AND p.prokind IN ('f', 'w')";
        let rows = spi::pinned(|| info::rows(sql, &[spi::oid(oid)]))?;
        let Some(r) = rows.first() else { return Ok(None) };
        Ok(Some(Function {
            oid,
            schema: r.text(0),
            name: r.text(1),
            arguments: r.text(2),
            definition: r.text(3),
            owner: r.text(4),
            is_own: r.bool(5),
            has_privileges: r.bool(6),
            grants: grants(oid)?,
        }))
    }

    fn signature(&self) -> String {
        format!("{}({})", qualified(&self.schema, &self.name), self.arguments)
    }

    /// Its owner and whom its privileges name.
    pub fn roles(&self) -> Vec<String> {
        let named = self.grants.iter().filter_map(|g| g.role.clone());
        named.chain([self.owner.clone()]).collect()
    }

    /// The query that finds a row where the function is as it is here.
    fn check(&self) -> String {
        let grants: Vec<String> = self.grants.iter().map(|g| quote_literal(&g.text())).collect();
        format!(
            "SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname = {} AND p.proname = {} AND p.prokind IN ('f', 'w') \
             AND pg_get_functiondef(p.oid) = {} AND pg_get_userbyid(p.proowner) = {} \
             AND (p.proacl IS NOT NULL) = {} AND ARRAY(SELECT g.privilege FROM ({GRANTS}) g \
                WHERE g.function = p.oid ORDER BY g.privilege COLLATE \"C\") = ARRAY[{}]::text[]",
            quote_literal(&self.schema),
            quote_literal(&self.name),
            quote_literal(&self.definition),
            quote_literal(&self.owner),
            self.has_privileges,
            grants.join(", ")
        )
    }

    /// What makes it on a node what it is here; run by the owner, or by a superuser.
    pub fn commands(&self, by_owner: bool) -> Vec<String> {
        let signature = self.signature();
        let drop = format!("DROP FUNCTION {signature}");
        let mut commands = vec![self.check(), drop, self.definition.clone()];
        if !by_owner {
            let owner = quote_ident(&self.owner);
            commands.push(format!("ALTER FUNCTION {signature} OWNER TO {owner}"));
        }
        if self.has_privileges {
            commands.push(format!("REVOKE ALL ON FUNCTION {signature} FROM PUBLIC"));
        }
        let grant = |g: &Grant| format!("GRANT ALL ON FUNCTION {signature} TO {}", g.text());
        commands.extend(self.grants.iter().map(grant));
        commands
    }

    /// What takes the privileges away that others had.
    fn revokes(&self, new: &Function) -> Vec<String> {
        let on = new.signature();
        let lost = self.grants.iter().filter(|g| !new.grants.contains(g));
        lost.map(|g| format!("REVOKE ALL ON FUNCTION {on} FROM {}", g.to())).collect()
    }

    /// What gives the function on a node its new schema and name.
    fn moves(&self, new: &Function) -> Vec<String> {
        let mut commands = Vec::new();
        if self.schema != new.schema {
            let to = quote_ident(&new.schema);
            commands.push(format!("ALTER FUNCTION {} SET SCHEMA {to}", self.signature()));
        }
        if self.name != new.name {
            let old = qualified(&new.schema, &self.name);
            let (arguments, to) = (&self.arguments, quote_ident(&new.name));
            commands.push(format!("ALTER FUNCTION {old}({arguments}) RENAME TO {to}"));
        }
        commands
    }
}

/// Functions and what others than their owners may do, as [`Grant::text`] writes it.
const GRANTS: &str = "SELECT f.oid AS function, a.grantee, a.is_grantable, \
    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END \
        || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS privilege \
    FROM pg_proc f, aclexplode(f.proacl) a WHERE a.grantee <> f.proowner";

fn grants(oid: Oid) -> Result<Vec<Grant>> {
    let sql = format!(
        "SELECT CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee) END, g.is_grantable \
         FROM ({GRANTS}) g WHERE g.function = $1 ORDER BY g.privilege COLLATE \"C\""
    );
    let rows = info::rows(&sql, &[spi::oid(oid)])?;
    Ok(rows.iter().map(|r| Grant { role: r.opt(0), grantable: r.bool(1) }).collect())
}

/// The functions that tables on other nodes are made with.
fn used() -> Result<Vec<Function>> {
    let sql = "SELECT DISTINCT refobjid FROM pg_depend d \
        WHERE refclassid = 'pg_proc'::regclass AND refobjid >= 16384 AND deptype <> 'e' \
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.refclassid \
            AND e.objid = d.refobjid AND e.deptype = 'e') ORDER BY 1";
    let mut found = Vec::new();
    for r in info::rows(sql, &[])? {
        if catalog::is_used(pg_sys::ProcedureRelationId, r.oid(0)) {
            found.extend(Function::load(r.oid(0))?);
        }
    }
    Ok(found)
}

/// Whether statements about objects of a kind may be about functions.
pub fn is_kind(kind: ObjectType::Type) -> bool {
    use ObjectType::{OBJECT_FUNCTION, OBJECT_ROUTINE};
    matches!(kind, OBJECT_FUNCTION | OBJECT_ROUTINE)
}

/// Statements that may change a function: the nodes follow when they have it.
pub fn change(call: Call) -> Result<()> {
    let plainly = || dropped::following(|| call.proceed());
    let concerns =
        || !server::is_installing() && catalog::extension_ready() && catalog::any_tables();
    if !concerns() {
        return plainly();
    }
    let before = used()?;
    plainly()?;
    if before.is_empty() {
        return Ok(());
    }
    relation::command_counter_increment();
    let groups = catalog::other_groups()?;
    for old in before {
        let Some(new) = Function::load(old.oid)?.filter(|new| *new != old) else { continue };
        if old.schema != new.schema {
            dependencies::ensure_schema(&new.schema, &groups)?;
        }
        if old.signature() != new.signature() {
            room::drop_unused(&groups, &[format!("DROP FUNCTION {}", new.signature())])?;
        }
        for sql in old.moves(&new) {
            send::on_nodes(&groups.iter().map(|g| (*g, sql.clone())).collect::<Vec<_>>())?;
        }
        let mut objects = Objects::default();
        let maker = if new.is_own { Maker::User } else { Maker::Superuser };
        objects.push(maker, old.revokes(&new));
        objects.function(new.oid)?;
        dependencies::make(&groups, objects)?;
    }
    Ok(())
}
