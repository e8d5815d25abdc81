//! Roles that nodes need: whoever may use a table here connects to its nodes under the same name.

use super::info::{self, Relation};
use crate::error::Result;
use crate::pg::fmgr::{quote_ident, quote_literal};
use crate::pg::spi::{self, Param};

/// A table's owner, whom its privileges and policies name, and the members of all of these.
pub fn of_table(rel: &Relation) -> Result<Vec<String>> {
    let start = "SELECT relowner AS role FROM pg_class WHERE oid = $1 \
        UNION SELECT a.grantee FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $1 \
        UNION SELECT a.grantee FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = $1 \
        UNION SELECT r FROM pg_policy p, unnest(p.polroles) r WHERE p.polrelid = $1 AND r <> 0 \
        UNION SELECT oid FROM pg_roles WHERE rolsuper AND rolcanlogin \
            OR rolname IN ('pg_read_all_data', 'pg_write_all_data')";
    commands(start, &[spi::oid(rel.oid)])
}

/// A schema's owner and whom its privileges name, and the members of all of these. That everybody
/// may use a schema does not mean that everybody uses its tables.
pub fn of_schema(name: &str) -> Result<Vec<String>> {
    let start = "SELECT nspowner AS role FROM pg_namespace WHERE nspname = $1 \
        UNION SELECT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a \
            WHERE n.nspname = $1 AND a.grantee <> 0";
    commands(start, &[spi::text(name)])
}

/// The roles of all managed tables and their schemas.
pub fn of_all_tables() -> Result<Vec<String>> {
    let start = "SELECT c.relowner AS role FROM pg_dist_partition p \
            JOIN pg_class c ON c.oid = p.logicalrelid \
        UNION SELECT a.grantee FROM pg_dist_partition p \
            JOIN pg_class c ON c.oid = p.logicalrelid, aclexplode(c.relacl) a \
        UNION SELECT a.grantee FROM pg_dist_partition p \
            JOIN pg_attribute t ON t.attrelid = p.logicalrelid, aclexplode(t.attacl) a \
        UNION SELECT r FROM pg_dist_partition p \
            JOIN pg_policy y ON y.polrelid = p.logicalrelid, unnest(y.polroles) r WHERE r <> 0 \
        UNION SELECT a.grantee FROM pg_dist_partition p \
            JOIN pg_class c ON c.oid = p.logicalrelid \
            JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(n.nspacl) a \
            WHERE a.grantee <> 0 \
        UNION SELECT oid FROM pg_roles WHERE rolsuper AND rolcanlogin \
            OR rolname IN ('pg_read_all_data', 'pg_write_all_data')";
    commands(start, &[])
}

/// The condition that a node has a role.
pub fn is_there(name: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) {})",
        quote_literal(name)
    )
}

/// The condition that a node has a role which can be one of here: not the one that it was made with, nor the
/// one by which the extension works there.
pub fn is_plain(name: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) {} \
            AND r.oid OPERATOR(pg_catalog.>=) '{}'::pg_catalog.oid \
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension e \
                WHERE e.extname OPERATOR(pg_catalog.=) 'citus' \
                    AND e.extowner OPERATOR(pg_catalog.=) r.oid))",
        quote_literal(name),
        pgrx::pg_sys::FirstNormalObjectId
    )
}

/// The statement that ends a membership where there is one.
pub fn end_membership(role: &str, member: &str) -> String {
    let body = format!(
        "BEGIN IF {} AND {} THEN REVOKE {} FROM {}; END IF; END",
        is_there(role),
        is_there(member),
        quote_ident(role),
        quote_ident(member)
    );
    format!("DO {}", quote_literal(&body))
}

/// What takes all memberships from a role, and from others those in it: PL/pgSQL, with a variable `other`.
fn all_memberships(name: &str) -> String {
    let (quoted, literal) = (quote_ident(name), quote_literal(name));
    let each = |wanted: &str, of: &str, command: &str| {
        format!(
            "FOR other IN SELECT DISTINCT w.rolname FROM pg_catalog.pg_auth_members m \
                JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) m.{of} \
                JOIN pg_catalog.pg_roles w ON w.oid OPERATOR(pg_catalog.=) m.{wanted} \
                WHERE r.rolname OPERATOR(pg_catalog.=) {literal} \
             LOOP EXECUTE pg_catalog.format({}, other); END LOOP; ",
            quote_literal(command)
        )
    };
    // In a format a percent sign is one of its own when it is doubled.
    let quoted = quoted.replace('%', "%%");
    each("roleid", "member", &format!("REVOKE %I FROM {quoted}"))
        + &each("member", "roleid", &format!("REVOKE {quoted} FROM %I"))
}

/// The statement that takes all memberships from a role that is new here, and those of others in it.
pub fn end_memberships(name: &str) -> String {
    let there = refusal(name, "A role of this name is there already, which the node needs.");
    block(&format!(
        "DECLARE other pg_catalog.name; BEGIN \
            IF {} AND NOT {} THEN {there} END IF; {}END",
        is_there(name),
        is_plain(name),
        all_memberships(name)
    ))
}

/// The statement that gives a role another name; where it is not, one that has this name already is another
/// one.
pub fn renamed(old: &str, new: &str) -> String {
    block(&format!(
        "DECLARE other pg_catalog.name; BEGIN IF {} THEN IF {} THEN {} END IF; \
            ALTER ROLE {} RENAME TO {}; ELSE {}END IF; END",
        is_plain(old),
        is_there(new),
        refusal(new, "There is a role of this name already."),
        quote_ident(old),
        quote_ident(new),
        all_memberships(new)
    ))
}

/// The statement that drops a role where it is; one that is needed there loses what it may do.
pub fn dropped(name: &str) -> String {
    let quoted = quote_ident(name);
    block(&format!(
        "DECLARE other pg_catalog.name; BEGIN IF {} THEN \
            BEGIN DROP ROLE {quoted}; \
            EXCEPTION WHEN dependent_objects_still_exist OR object_in_use THEN \
                ALTER ROLE {quoted} NOLOGIN NOSUPERUSER NOBYPASSRLS {NO_MORE} PASSWORD NULL; {}\
            END; \
         END IF; END",
        is_plain(name),
        all_memberships(name)
    ))
}

/// Attributes that no role gets on nodes.
pub const NO_MORE: &str = "NOCREATEROLE NOCREATEDB NOREPLICATION";

/// The statement that fails where there is a role of this name which may do more than any other, or owns
/// something.
pub fn refuse_rights(name: &str) -> String {
    block(&format!(
        "BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_roles r \
            WHERE r.rolname OPERATOR(pg_catalog.=) {} AND (r.rolsuper OR r.rolbypassrls \
                OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication \
                OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m \
                    WHERE r.oid OPERATOR(pg_catalog.=) ANY (ARRAY[m.member, m.roleid])) \
                OR EXISTS (SELECT FROM pg_catalog.pg_shdepend d \
                    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass \
                        AND d.refobjid OPERATOR(pg_catalog.=) r.oid))) \
         THEN {} END IF; END",
        quote_literal(name),
        refusal(name, "A role of this name is there already, and has rights of its own.")
    ))
}

/// What raises the error that a node has another role of a name.
pub fn refusal(name: &str, why: &str) -> String {
    format!(
        "RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = {}, \
            DETAIL = {}, HINT = 'Drop it on the node, or choose another name.';",
        quote_literal(&format!("role {} cannot be made on a node", quote_ident(name))),
        quote_literal(why)
    )
}

fn block(body: &str) -> String {
    format!("DO {}", quote_literal(body))
}

/// Roles by name, and their members.
pub fn named(names: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for n in names {
        for c in commands("SELECT oid AS role FROM pg_roles WHERE rolname = $1", &[spi::text(n)])? {
            if !all.contains(&c) {
                all.push(c);
            }
        }
    }
    Ok(all)
}

/// Statements that make the roles of a query and their members, as far as they are not there, and
/// the memberships. Role 0 is everybody who can log in.
///
/// Sessions of other nodes come as the role itself, or as a member of it where it cannot log in.
/// Without a password that is open to those only whom the node's pg_hba.conf trusts.
fn commands(start: &str, params: &[Param]) -> Result<Vec<String>> {
    let sql = format!(
        "WITH RECURSIVE start AS ({start}), \
        wanted(role) AS ( \
            SELECT role FROM start WHERE role <> 0 \
            UNION SELECT oid FROM pg_roles \
                WHERE rolcanlogin AND EXISTS (SELECT FROM start WHERE role = 0) \
            UNION SELECT m.member FROM wanted w JOIN pg_auth_members m ON m.roleid = w.role) \
        SELECT * FROM ( \
            SELECT 1, format('CREATE ROLE %I %s%s%s%s', r.rolname, \
                CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, \
                CASE WHEN r.rolsuper THEN ' SUPERUSER' END, \
                CASE WHEN r.rolbypassrls THEN ' BYPASSRLS' END, \
                CASE WHEN NOT r.rolinherit THEN ' NOINHERIT' END) \
            FROM wanted w JOIN pg_roles r ON r.oid = w.role WHERE r.oid >= 16384 \
            UNION ALL \
            SELECT 2, format('GRANT %I TO %I', g.rolname, r.rolname) \
            FROM wanted w JOIN pg_auth_members m ON m.member = w.role \
            JOIN wanted v ON v.role = m.roleid \
            JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member \
            WHERE r.oid >= 16384 \
        ) x ORDER BY 1, 2"
    );
    Ok(info::rows(&sql, params)?.iter().map(|r| r.text(1)).collect())
}
