//! Roles are on the nodes what they are on the coordinator, whenever they were made or changed.

use crate::{cluster, refused, session};

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
    // What a node has of this name may do more.
    refused(&mut maker, "CREATE ROLE makers_here", "55000");
    maker.run("CREATE ROLE makers_there");
    refused(&mut maker, "ALTER ROLE makers_there RENAME TO makers_here", "55000");
    maker.run("ALTER ROLE makers_there RENAME TO makers_left");
    // Other tests bring everybody to the nodes, as what everybody may use needs them: also the maker.
    let sql = "SELECT string_agg(concat(rolname, rolsuper, rolcanlogin), ' ' ORDER BY rolname)
        FROM pg_roles WHERE rolname IN ('makers_app', 'makers_other', 'makers_here')";
    assert_eq!(w.value(sql), "makers_appft makers_herett");
    maker.run("CREATE ROLE makers_new LOGIN");
    let sql = "SELECT concat(rolsuper, rolcanlogin) FROM pg_roles WHERE rolname = 'makers_new'";
    assert_eq!(w.value(sql), "ft");
    assert_eq!(session(&cl.coordinator, "makers_app", db).value("SELECT count(*) FROM t"), "0");
}

/// A role gets nothing of what another one of its name could do on the nodes.
#[test]
fn nothing_is_left_of_dropped_roles() {
    let cl = cluster();
    let db = &cl.database("left");
    let mut c = cl.connect(db);
    c.run(
        "CREATE ROLE left_boss; CREATE ROLE left_emp LOGIN; GRANT left_boss TO left_emp;
         CREATE TABLE t (k int PRIMARY KEY, v int);
         SELECT create_distributed_table('t', 'k', shard_count := 4); INSERT INTO t VALUES (1, 1);
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY boss ON t TO left_boss USING (true);
         GRANT ALL ON t TO PUBLIC",
    );
    let upsert =
        "INSERT INTO t VALUES (1, 5) ON CONFLICT (k) DO UPDATE SET v = t.v + 1 RETURNING v";
    assert_eq!(session(&cl.coordinator, "left_emp", db).value(upsert), "2");
    let there = |of: &str| {
        let sql = format!(
            "SELECT string_agg(concat_ws(' ', rolname, rolsuper, rolbypassrls, pg_has_role(rolname,
                'left_boss', 'member')), ', ' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE '{of}'"
        );
        let all: Vec<String> = cl.workers.iter().map(|w| w.connect(db).value(&sql)).collect();
        assert_eq!(all[0], all[1]);
        all[0].clone()
    };
    assert_eq!(there("left_emp"), "left_emp f f t");
    // Dropped with its memberships, and made again; in a transaction that is rolled back, neither.
    c.run("BEGIN; DROP ROLE left_emp; CREATE ROLE left_emp LOGIN; ROLLBACK");
    assert_eq!(there("left_emp"), "left_emp f f t");
    c.run("DROP ROLE left_emp");
    assert_eq!(there("left_emp"), "");
    c.run("CREATE ROLE left_emp LOGIN");
    refused(&mut session(&cl.coordinator, "left_emp", db), upsert, "42501");
    // Something on a node still depends on it: it stays, and may do nothing.
    c.run("CREATE ROLE left_one LOGIN SUPERUSER IN ROLE left_boss");
    let mut w = cl.workers[0].connect(db);
    w.run("CREATE TABLE left_over (k int); ALTER TABLE left_over OWNER TO left_one");
    w.run("ALTER ROLE left_one CREATEROLE REPLICATION PASSWORD 'old'");
    cl.workers[1].connect(db).run("GRANT CREATE ON SCHEMA public TO left_one");
    assert_eq!(there("left_one"), "left_one t f t");
    c.run("DROP ROLE IF EXISTS left_nobody, left_one");
    assert_eq!(there("left_one"), "left_one f f f");
    let more = "SELECT concat(rolcreaterole, rolreplication, rolcanlogin, rolpassword)
        FROM pg_authid WHERE rolname = 'left_one'";
    assert_eq!(w.value(more), "fff");
    c.run("CREATE ROLE left_maker LOGIN CREATEROLE");
    let mut maker = session(&cl.coordinator, "left_maker", db);
    // It owns something there.
    refused(&mut maker, "CREATE ROLE left_one", "55000");
    // Dropped where nodes are not told: a role that is made, and one that gets the name.
    c.run("CREATE ROLE left_two LOGIN BYPASSRLS IN ROLE left_boss; CREATE ROLE left_three LOGIN");
    c.run("SET citus.enable_create_role_propagation = off; DROP ROLE left_two");
    c.run("RESET citus.enable_create_role_propagation");
    assert_eq!(there("left_two"), "left_two f t t");
    let e = refused(&mut c, "ALTER ROLE left_three RENAME TO left_two", "55000");
    assert!(e.message.contains("role left_two cannot be made on a node"), "{e}");
    c.run("CREATE ROLE left_two LOGIN");
    assert_eq!(there("left_two"), "left_two f f f");
    refused(&mut session(&cl.coordinator, "left_two", db), upsert, "42501");
    c.run("ALTER ROLE left_three RENAME TO left_four");
    assert_eq!(there("left_three"), "");
    assert_eq!(there("left_four"), "left_four f f f");
    // The role that gets the name was not on the nodes.
    c.run(
        "CREATE ROLE left_five IN ROLE left_boss; SET citus.enable_create_role_propagation = off",
    );
    c.run("DROP ROLE left_five; CREATE ROLE left_six; RESET citus.enable_create_role_propagation");
    c.run("ALTER ROLE left_six RENAME TO left_five");
    assert_eq!(there("left_five"), "left_five f f f");
}

/// Nodes are asked whatever settings say, and before there are tables; what they need stays as it is.
#[test]
fn nodes_keep_their_own_roles() {
    let cl = cluster();
    let db = &cl.database("own");
    let (mut c, mut w) = (cl.connect(db), cl.workers[0].connect(db));
    c.run("CREATE ROLE own_maker LOGIN CREATEROLE");
    w.run("CREATE ROLE own_one SUPERUSER; CREATE ROLE own_two SUPERUSER; CREATE ROLE own_ext SUPERUSER");
    w.run("UPDATE pg_extension SET extowner = 'own_ext'::regrole WHERE extname = 'citus'");
    let mut maker = session(&cl.coordinator, "own_maker", db);
    refused(&mut maker, "CREATE ROLE own_one", "55000");
    maker.run("SET citus.enable_create_role_propagation = off");
    maker.run("SET citus.enable_alter_role_propagation = off");
    refused(&mut maker, "CREATE ROLE own_one", "55000");
    maker.run("CREATE ROLE own_three");
    refused(&mut maker, "ALTER ROLE own_three RENAME TO own_one", "55000");
    let mut is_super = |name: &str| {
        w.value(&format!("SELECT rolsuper FROM pg_roles WHERE rolname = 'own_{name}'"))
    };
    assert_eq!((is_super("one"), is_super("two")), ("t".into(), "t".into()));
    // A superuser says what it is.
    c.run("CREATE TABLE t (k int); SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("CREATE ROLE own_two");
    assert_eq!(is_super("two"), "f");
    refused(&mut c, "CREATE ROLE own_ext", "55000");
    c.run("SET citus.enable_create_role_propagation = off; CREATE ROLE own_ext");
    c.run(
        "RESET citus.enable_create_role_propagation; ALTER ROLE own_ext INHERIT; DROP ROLE own_ext",
    );
    assert_eq!(is_super("ext"), "t");
}
