//! Room for new names: what tables were made with stays on the nodes when it is dropped here, and is in the
//! way when something else gets its name. It goes then, if nothing uses it there; otherwise the statement
//! that gives the name fails, and says why.

use super::send;
use crate::error::Result;
use crate::pg::fmgr::quote_literal;

/// Makes room for a schema.
///
/// What lies in an old one was made for tables that are not there any more. Twice, since one thing in it may
/// be made of another.
const SCHEMA: &str = "FOR command IN SELECT c FROM pg_catalog.generate_series(1, 2), LATERAL ( \
        SELECT pg_catalog.format('DROP FUNCTION %s', oid::pg_catalog.regprocedure) AS c \
            FROM pg_catalog.pg_proc WHERE pronamespace = old_oid AND prokind IN ('f', 'w') \
        UNION ALL SELECT pg_catalog.format('DROP TYPE %I.%I', name, t.typname) \
            FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class k ON k.oid = t.typrelid \
            WHERE t.typnamespace = old_oid AND (t.typtype IN ('e', 'd', 'r') OR k.relkind = 'c') \
        UNION ALL SELECT pg_catalog.format('DROP COLLATION %I.%I', name, collname) \
            FROM pg_catalog.pg_collation WHERE collnamespace = old_oid \
        UNION ALL SELECT pg_catalog.format('DROP SCHEMA %I', name)) AS old \
    LOOP BEGIN EXECUTE command; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP";

/// Drops objects on nodes by statements, each of which may fail.
pub fn drop_unused(groups: &[i32], statements: &[String]) -> Result<()> {
    let one = |sql: &String| {
        format!(
            "BEGIN {sql}; EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege \
             OR undefined_object OR undefined_function OR wrong_object_type OR invalid_schema_name THEN NULL; END; "
        )
    };
    on_nodes(groups, &format!("BEGIN {}END", statements.iter().map(one).collect::<String>()))
}

/// Drops a schema on nodes, with what is in it, unless that is used.
pub fn drop_unused_schema(groups: &[i32], name: &str) -> Result<()> {
    let name = quote_literal(name);
    on_nodes(
        groups,
        &format!(
            "DECLARE name CONSTANT pg_catalog.text := {name}; command pg_catalog.text; \
             old_oid CONSTANT pg_catalog.oid := pg_catalog.to_regnamespace(pg_catalog.quote_ident({name})); \
             BEGIN {SCHEMA}; END"
        ),
    )
}

fn on_nodes(groups: &[i32], body: &str) -> Result<()> {
    let sql = format!("DO {}", quote_literal(body));
    send::on_nodes(&groups.iter().map(|g| (*g, sql.clone())).collect::<Vec<_>>())
}
