//! Roles are on the nodes what they are on the coordinator, whenever they were made or changed.

use crate::{cluster, session};

#[test]
fn changes_of_roles_reach_the_nodes() {
    let cl = cluster();
    let db = &cl.database("roles");
    let mut c = cl.connect(db);
    c.run(
        "CREATE ROLE roles_one LOGIN; CREATE ROLE roles_all; CREATE TABLE t (k int, v int);
         SELECT create_distributed_table('t', 'k', shard_count := 4);
         INSERT INTO t SELECT i, i FROM generate_series(1, 10) i;
         GRANT SELECT ON t TO roles_one, roles_all",
    );
    let count = |role: &str| {
        session(&cl.coordinator, role, db).value("SELECT concat(count(*), ' ', sum(v)) FROM t")
    };
    // Made later: a member, a superuser, and anybody where everybody may read.
    c.run("CREATE ROLE roles_two LOGIN IN ROLE roles_all; CREATE ROLE roles_super LOGIN SUPERUSER");
    assert_eq!(count("roles_two"), "10 55");
    assert_eq!(count("roles_super"), "10 55");
    c.run("GRANT SELECT ON t TO PUBLIC; CREATE ROLE roles_any LOGIN");
    assert_eq!(count("roles_any"), "10 55");
    c.run("ALTER ROLE roles_one RENAME TO roles_new");
    assert_eq!(count("roles_new"), "10 55");
    // What decides which rows somebody sees is taken away there, too.
    c.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    assert_eq!(count("roles_new"), "0 ");
    c.run("ALTER ROLE roles_new BYPASSRLS");
    assert_eq!(count("roles_new"), "10 55");
    c.run("ALTER ROLE roles_new NOBYPASSRLS; ALTER ROLE roles_super NOSUPERUSER");
    assert_eq!(count("roles_new"), "0 ");
    assert_eq!(count("roles_super"), "0 ");
    c.run("BEGIN; ALTER ROLE roles_new BYPASSRLS; ROLLBACK");
    assert_eq!(count("roles_new"), "0 ");
    // Another one of the same name.
    c.run("ALTER ROLE roles_super SUPERUSER; DROP ROLE roles_super; CREATE ROLE roles_super LOGIN");
    assert_eq!(count("roles_super"), "0 ");
    // Only here. Other tests would bring it to the nodes if they saw it.
    let there = |what: &str| {
        let sql = format!("SELECT count(*) FROM pg_roles WHERE rolname = 'roles_here' AND {what}");
        cl.workers[0].connect(db).value(&sql)
    };
    c.run("SET citus.enable_create_role_propagation = off; BEGIN; CREATE ROLE roles_here LOGIN");
    assert_eq!(there("true"), "0");
    c.run("ROLLBACK; RESET citus.enable_create_role_propagation");
    c.run("CREATE ROLE roles_here LOGIN; SET citus.enable_alter_role_propagation = off");
    c.run("ALTER ROLE roles_here NOINHERIT");
    assert_eq!(there("rolinherit"), "1");
    c.run("RESET citus.enable_alter_role_propagation; ALTER ROLE roles_here NOLOGIN");
    assert_eq!(there("NOT rolcanlogin"), "1");
}

/// Who may make roles, and is no superuser, changes none on the nodes: that would stay when his transaction
/// is rolled back, and could be another one there.
#[test]
fn makers_of_roles_change_none_on_nodes() {
    let cl = cluster();
    let db = &cl.database("makers");
    let mut c = cl.connect(db);
    c.run(
        "CREATE ROLE makers_maker LOGIN CREATEROLE; CREATE ROLE makers_app LOGIN;
         CREATE TABLE t (k int); SELECT create_distributed_table('t', 'k', shard_count := 4);
         GRANT SELECT ON t TO makers_app",
    );
    let mut w = cl.workers[0].connect(db);
    w.run("CREATE ROLE makers_here SUPERUSER LOGIN");
    let mut maker = session(&cl.coordinator, "makers_maker", db);
    maker.run("BEGIN; ALTER ROLE makers_app NOLOGIN; ROLLBACK");
    maker.run("BEGIN; ALTER ROLE makers_app RENAME TO makers_other; ROLLBACK");
    maker.run("CREATE ROLE makers_here; ALTER ROLE makers_here RENAME TO makers_there");
    // Other tests bring everybody to the nodes, as what everybody may use needs them: also the maker.
    let sql = "SELECT string_agg(concat(rolname, rolsuper, rolcanlogin), ' ' ORDER BY rolname)
        FROM pg_roles WHERE rolname IN ('makers_app', 'makers_other', 'makers_here')";
    assert_eq!(w.value(sql), "makers_appft makers_herett");
    maker.run("CREATE ROLE makers_new LOGIN");
    let sql = "SELECT concat(rolsuper, rolcanlogin) FROM pg_roles WHERE rolname = 'makers_new'";
    assert_eq!(w.value(sql), "ft");
    assert_eq!(session(&cl.coordinator, "makers_app", db).value("SELECT count(*) FROM t"), "0");
}
