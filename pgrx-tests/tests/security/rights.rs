//! What is done for a user on other nodes is done with his rights, whatever stands between.

use citus_tests::client::Conn;

use crate::{cluster, refused, session, user};

fn sorted(c: &mut Conn, sql: &str) -> String {
    let rows = c.rows(sql);
    let mut all: Vec<String> =
        rows.into_iter().map(|r| r.into_iter().flatten().collect::<Vec<_>>().join("|")).collect();
    all.sort();
    all.join(" ")
}

/// A table of `{a}` with rows of two owners, of which `{b}` may see his own.
fn table(a: &str, b: &str, db: &str) -> Conn {
    user(a, db);
    user(b, db);
    let mut c = session(&cluster().coordinator, a, db);
    c.run(&format!(
        "GRANT USAGE ON SCHEMA {a} TO {b};
         CREATE TABLE {a}.t (k int, who text, v int);
         SELECT create_distributed_table('{a}.t', 'k', shard_count := 4);
         INSERT INTO {a}.t VALUES (1, '{a}', 1), (1, '{b}', 2), (2, '{b}', 3), (3, '{a}', 4);
         ALTER TABLE {a}.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON {a}.t TO {b} USING (who = current_user);
         GRANT SELECT, UPDATE, DELETE, INSERT ON {a}.t TO {b}"
    ));
    c
}

#[test]
fn row_security_holds_on_every_way() {
    let cl = cluster();
    let db = &cl.database("rows");
    let mut owner = table("rows_a", "rows_b", db);
    let mut c = session(&cl.coordinator, "rows_b", db);
    // A function that is cheap and tells what it sees.
    c.run(
        "CREATE FUNCTION rows_b.tell(int) RETURNS boolean LANGUAGE plpgsql COST 0.000001
            AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$",
    );
    assert_eq!(sorted(&mut c, "SELECT k, v FROM rows_a.t"), "1|2 2|3");
    assert_eq!(sorted(&mut c, "SELECT k, v FROM rows_a.t WHERE k = 1"), "1|2");
    assert_eq!(sorted(&mut c, "SELECT count(*), sum(v) FROM rows_a.t"), "2|5");
    assert_eq!(sorted(&mut c, "SELECT v FROM rows_a.t WHERE rows_b.tell(v)"), "2 3");
    let told: Vec<String> = c.notices.iter().map(|n| n.message.clone()).collect();
    assert!(told.len() == 2 && !told.contains(&"saw 4".to_owned()), "{told:?}");
    assert_eq!(sorted(&mut c, "SELECT a.v FROM rows_a.t a JOIN rows_a.t b ON a.v = b.v"), "2 3");
    assert_eq!(c.rows("WITH x AS MATERIALIZED (SELECT * FROM rows_a.t) SELECT * FROM x").len(), 2);
    let copied = c.simple("COPY rows_a.t TO STDOUT").unwrap().remove(0).copied;
    assert_eq!(String::from_utf8_lossy(&copied).lines().count(), 2);
    c.run("CREATE TEMP TABLE mine AS SELECT * FROM rows_a.t");
    assert_eq!(c.value("SELECT count(*) FROM mine"), "2");
    assert_eq!(c.simple("UPDATE rows_a.t SET v = v + 10").unwrap()[0].tag, "UPDATE 2");
    assert_eq!(c.simple("DELETE FROM rows_a.t WHERE k = 1").unwrap()[0].tag, "DELETE 1");
    refused(&mut c, "INSERT INTO rows_a.t VALUES (5, 'rows_a', 1)", "42501");
    refused(&mut c, "UPDATE rows_a.t SET who = 'rows_a' WHERE k = 2", "42501");
    c.run("INSERT INTO rows_a.t VALUES (5, 'rows_b', 5)");
    // On the nodes, too, and in other guises.
    let everywhere =
        "SELECT sum(result::int) FROM run_command_on_shards('rows_a.t', 'SELECT count(*) FROM %s')";
    assert_eq!(c.value(everywhere), "2");
    let mut admin = cl.connect(db);
    assert_eq!(admin.value(everywhere), "4", "the control: a superuser sees all");
    admin.run("SET SESSION AUTHORIZATION rows_b");
    assert_eq!(admin.value("SELECT count(*) FROM rows_a.t"), "2");
    admin.run("RESET SESSION AUTHORIZATION; SET ROLE rows_b");
    assert_eq!(admin.value("SELECT count(*) FROM rows_a.t"), "2");
    assert_eq!(admin.value(everywhere), "2");
    admin.run("RESET ROLE");
    assert_eq!(admin.value("SELECT count(*) FROM rows_a.t"), "4");
    assert_eq!(owner.value("SELECT count(*) FROM rows_a.t"), "4");
    refused(&mut c, "SET row_security = off; SELECT * FROM rows_a.t", "42501");
}

#[test]
fn views_and_functions_give_no_more_than_their_owner_has() {
    let cl = cluster();
    let db = &cl.database("views");
    let mut owner = table("views_a", "views_b", db);
    owner.run(
        "CREATE FUNCTION views_a.total() RETURNS bigint LANGUAGE sql SECURITY DEFINER
            SET search_path = pg_catalog AS 'SELECT sum(v) FROM views_a.t';
         CREATE FUNCTION views_a.seen() RETURNS bigint LANGUAGE sql
            SET search_path = pg_catalog AS 'SELECT sum(v) FROM views_a.t';
         CREATE VIEW views_a.asks WITH (security_invoker) AS SELECT v FROM views_a.t;
         CREATE TABLE views_a.closed (k int);
         SELECT create_distributed_table('views_a.closed', 'k', colocate_with := 'none');
         CREATE VIEW views_a.open AS SELECT * FROM views_a.closed;
         INSERT INTO views_a.closed VALUES (1);
         GRANT SELECT ON views_a.asks, views_a.open TO views_b",
    );
    let mut c = session(&cl.coordinator, "views_b", db);
    assert_eq!(c.value("SELECT views_a.total()"), "10");
    assert_eq!(c.value("SELECT views_a.seen()"), "5");
    assert_eq!(sorted(&mut c, "SELECT v FROM views_a.asks"), "2 3");
    refused(&mut c, "SELECT * FROM views_a.closed", "42501");
    refused(&mut c, "SELECT * FROM views_a.closed WHERE k = 1", "42501");
    for w in &cl.workers {
        let mut there = session(w, "views_b", db);
        let names = w.connect(db).rows(
            "SELECT oid::regclass FROM pg_class WHERE relname ~ '^closed_[0-9]+$' AND relkind = 'r'",
        );
        for name in names.into_iter().flatten().flatten() {
            refused(&mut there, &format!("SELECT * FROM {name}"), "42501");
        }
    }
    // A view whose owner may not read the table gives nothing to those who may.
    let mut admin = cl.connect(db);
    admin.run("ALTER VIEW views_a.open OWNER TO views_b; GRANT SELECT ON views_a.open TO views_a");
    refused(&mut owner, "SELECT * FROM views_a.open", "42501");
    refused(&mut owner, "SELECT * FROM views_a.open WHERE k = 1", "42501");
    assert_eq!(owner.value("SELECT count(*) FROM views_a.closed"), "1", "the control");
}

#[test]
fn what_a_schema_is_called_gives_no_rights() {
    let cl = cluster();
    let db = &cl.database("called");
    user("called", db);
    let mut admin = cl.connect(db);
    admin
        .run(&format!("GRANT CREATE ON DATABASE {db} TO called; CREATE ROLE called_chief NOLOGIN"));
    // Granting on it writes statements for the nodes that a superuser runs there.
    let names = [
        "x;GRANT called_chief TO called;y",
        "x\";GRANT called_chief TO called;--",
        "x';GRANT called_chief TO called;--",
    ];
    let mut c = session(&cl.coordinator, "called", db);
    for (i, name) in names.iter().enumerate() {
        let schema = format!("\"{}\"", name.replace('"', "\"\""));
        c.run(&format!(
            "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO called_chief, PUBLIC"
        ));
        c.run(&format!("CREATE TABLE {schema}.t (k int)"));
        c.run(&format!("SELECT create_distributed_table('{}.t', 'k')", schema.replace('\'', "''")));
        c.run(&format!("INSERT INTO {schema}.t VALUES ({i})"));
        assert_eq!(c.value(&format!("SELECT k FROM {schema}.t")), i.to_string());
    }
    for node in cl.nodes() {
        let mut n = node.connect(db);
        let granted = "SELECT count(*) FROM pg_auth_members WHERE member = 'called'::regrole";
        assert_eq!(n.value(granted), "0", "{}", node.name);
        let usage = "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) a
            WHERE nspname LIKE 'x%' AND a.grantee = 0";
        assert_eq!(n.value(usage), "3", "on {}", node.name);
    }
}
