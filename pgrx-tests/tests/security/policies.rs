//! Policies that read other tables show and hide the same rows on every node, or are refused.

use citus_tests::client::Conn;

use crate::{cluster, refused, session, user};

/// The first column, sorted.
fn column(c: &mut Conn, sql: &str) -> String {
    let mut all: Vec<String> = c.rows(sql).into_iter().filter_map(|mut r| r.remove(0)).collect();
    all.sort();
    all.join(" ")
}

const TABLES: &str = "
    CREATE TABLE blocked (org int PRIMARY KEY);
    CREATE TABLE doc (id int PRIMARY KEY, org int);
    CREATE TABLE members (tenant int, usr text);
    CREATE TABLE tdoc (tenant int, id int, PRIMARY KEY (tenant, id));
    CREATE TABLE vip (org int PRIMARY KEY);
    CREATE TABLE lone (x int); CREATE TABLE loc (x int); CREATE TABLE plain (x int);
    SELECT create_distributed_table('blocked', 'org', shard_count := 4);
    SELECT create_distributed_table('doc', 'id', colocate_with := 'blocked');
    SELECT create_distributed_table('members', 'tenant', colocate_with := 'blocked');
    SELECT create_distributed_table('tdoc', 'tenant', colocate_with := 'blocked');
    SELECT create_reference_table('vip'), create_distributed_table('lone', NULL);
    SELECT citus_add_local_table_to_metadata('loc');
    INSERT INTO blocked SELECT generate_series(1, 8, 2);
    INSERT INTO doc SELECT i, 1 + i % 8 FROM generate_series(1, 40) i;
    INSERT INTO vip VALUES (2), (4);
    INSERT INTO members SELECT i, CASE WHEN i % 2 = 0 THEN 'pol_u' ELSE 'x' END FROM generate_series(1, 10) i;
    INSERT INTO tdoc SELECT i, i FROM generate_series(1, 10) i;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO pol_u;";

const REFUSED: &[&str] = &[
    "ON doc USING (NOT EXISTS (SELECT 1 FROM blocked b WHERE b.org = doc.org))",
    "ON doc USING (org IN (SELECT org FROM blocked))",
    "ON doc USING (id NOT IN (SELECT org FROM blocked))",
    "ON doc USING ((SELECT count(*) FROM blocked) = 0)",
    "ON doc USING (EXISTS (SELECT 1 FROM blocked b WHERE b.org = doc.id OR b.org = doc.org))",
    "ON doc USING (EXISTS (SELECT 1 FROM blocked b, members m WHERE b.org = doc.id AND m.tenant = doc.org))",
    "ON doc USING (EXISTS (SELECT 1 FROM vip v WHERE v.org = doc.org AND v.org IN (SELECT org FROM blocked)))",
    "ON doc USING (true) WITH CHECK (EXISTS (SELECT 1 FROM blocked b WHERE b.org = doc.org))",
    "ON doc USING (EXISTS (SELECT 1 FROM lone))",
    "ON doc USING (EXISTS (SELECT 1 FROM loc))",
    "ON doc USING (EXISTS (SELECT 1 FROM plain))",
    "ON vip USING (org IN (SELECT org FROM blocked))",
    "ON lone USING (x IN (SELECT org FROM blocked))",
    "ON loc USING (x IN (SELECT x FROM lone))",
];

/// A condition on doc, and what it shows of ten rows.
const SHOWN: &[(&str, &str)] = &[
    ("EXISTS (SELECT 1 FROM blocked b WHERE b.org = doc.id)", "1 3 5 7"),
    ("id IN (SELECT org FROM blocked)", "1 3 5 7"),
    ("org = 3 OR id IN (SELECT b.org FROM blocked b)", "1 10 2 3 5 7"),
    ("(SELECT count(*) FROM blocked b WHERE b.org = doc.id) = 0", "10 2 4 6 8 9"),
    ("NOT EXISTS (SELECT 1 FROM vip WHERE vip.org = doc.org)", "10 2 4 5 6 7 8"),
    ("EXISTS (SELECT 1 FROM blocked b JOIN members m ON m.tenant = b.org WHERE b.org = doc.id AND m.usr = 'x')", "1 3 5 7"),
];

#[test]
fn policies_read_what_is_beside_the_row() {
    let cl = cluster();
    let db = &cl.database("policies");
    user("pol_u", db);
    let mut c = cl.connect(db);
    c.run(TABLES);
    let mut u = session(&cl.coordinator, "pol_u", db);
    for policy in REFUSED {
        let e = refused(&mut c, &format!("CREATE POLICY p {policy}"), "0A000");
        assert!(e.message.contains("policy \"p\"") && e.hint.is_some(), "{policy}: {e}");
    }
    assert_eq!(c.value("SELECT count(*) FROM pg_policy"), "0");
    c.run("ALTER TABLE doc ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON doc USING (true)");
    for (condition, wanted) in SHOWN {
        c.run(&format!("ALTER POLICY p ON doc USING ({condition})"));
        assert_eq!(column(&mut u, "SELECT id FROM doc WHERE id <= 10"), *wanted, "{condition}");
    }
    let bad =
        "ALTER POLICY p ON doc USING (NOT EXISTS (SELECT 1 FROM blocked b WHERE b.org = doc.org))";
    refused(&mut c, bad, "0A000");
    c.run(
        "ALTER TABLE tdoc ENABLE ROW LEVEL SECURITY;
         CREATE POLICY mine ON tdoc USING (EXISTS (
            SELECT 1 FROM members m WHERE m.tenant = tdoc.tenant AND m.usr = current_user))",
    );
    assert_eq!(column(&mut u, "SELECT id FROM tdoc"), "10 2 4 6 8");
    // Policies that a table had before.
    c.run(
        "CREATE TABLE late (k int PRIMARY KEY, org int); ALTER TABLE late ENABLE ROW LEVEL SECURITY;
         INSERT INTO late SELECT i, i % 5 FROM generate_series(1, 10) i; GRANT SELECT ON late TO pol_u;
         CREATE POLICY a ON late USING (EXISTS (SELECT 1 FROM vip WHERE vip.org = late.org));
         CREATE POLICY b ON late USING (EXISTS (SELECT 1 FROM blocked WHERE blocked.org = late.k))",
    );
    refused(
        &mut c,
        "SELECT create_distributed_table('late', 'org', colocate_with := 'doc')",
        "0A000",
    );
    refused(&mut c, "SELECT create_reference_table('late')", "0A000");
    assert_eq!(
        c.value("SELECT count(*) FROM pg_dist_partition WHERE logicalrelid = 'late'::regclass"),
        "0"
    );
    c.run("SELECT create_distributed_table('late', 'k', colocate_with := 'doc')");
    assert_eq!(column(&mut u, "SELECT k FROM late"), "1 2 3 4 5 7 9");
    // They go with the shards, and what they read stays.
    c.run("SELECT citus_move_shard_placement(shardid, '127.0.0.1', p.nodeport, '127.0.0.1', n.nodeport, shard_transfer_mode := 'block_writes') \
        FROM (SELECT min(shardid) AS shardid FROM pg_dist_shard WHERE logicalrelid = 'late'::regclass) s \
        JOIN pg_dist_shard_placement p USING (shardid), pg_dist_node n \
        WHERE n.shouldhaveshards AND n.nodeport <> p.nodeport LIMIT 1");
    assert_eq!(column(&mut u, "SELECT k FROM late"), "1 2 3 4 5 7 9");
    for sql in [
        "SELECT undistribute_table('vip')",
        "SELECT undistribute_table('blocked')",
        "SELECT update_distributed_table_colocation('late', 'none')",
        "SELECT update_distributed_table_colocation('blocked', 'none')",
    ] {
        let e = refused(&mut c, sql, "55000");
        assert!(e.message.contains("policy"), "{e}");
    }
    assert_eq!(column(&mut u, "SELECT k FROM late"), "1 2 3 4 5 7 9");
}

#[test]
fn columns_are_filled_in_rows_that_policies_hide() {
    let cl = cluster();
    let db = &cl.database("forced");
    user("forced_o", db);
    let mut c = session(&cl.coordinator, "forced_o", db);
    c.run(
        "SET search_path = forced_o;
         CREATE TABLE d (k int, who text); SELECT create_distributed_table('d', 'k', shard_count := 4);
         INSERT INTO d SELECT i, CASE WHEN i % 2 = 0 THEN 'forced_o' END FROM generate_series(1, 10) i;
         CREATE POLICY p ON d USING (who = current_user);
         ALTER TABLE d ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE SEQUENCE sq",
    );
    assert_eq!(c.value("SELECT count(*) FROM d"), "5");
    c.run("ALTER TABLE d ADD COLUMN n int DEFAULT nextval('sq'), ADD COLUMN s serial");
    // Still forced, here and on the nodes.
    assert_eq!(c.value("SELECT count(*) FROM d"), "5");
    let mut admin = cl.connect(db);
    assert_eq!(
        admin.value(
            "SELECT concat(count(DISTINCT n), ' ', count(DISTINCT s), ' ', max(n)) FROM forced_o.d"
        ),
        "10 10 10"
    );
    for node in cl.nodes() {
        let shards = "SELECT count(*) FROM pg_class WHERE relname ~ '^d_1[0-9]+$' AND relkind = 'r' AND NOT relforcerowsecurity";
        assert_eq!(node.connect(db).value(shards), "0");
    }
}
