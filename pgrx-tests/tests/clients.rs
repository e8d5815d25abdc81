//! What client libraries and tools rely on beyond the rows themselves.

use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

/// Django's bulk_create and psycopg2's execute_values give the keys that come back to their objects
/// one by one.
#[test]
fn returning_has_the_order_of_the_rows() {
    for workers in [0, 2] {
        let cluster = Cluster::start(workers, Kind::FAST, "");
        let mut c = cluster.connect(&cluster.database("order"));
        c.run("CREATE TABLE t (k bigserial PRIMARY KEY, a int, b xid8, s text)");
        c.run("SELECT create_distributed_table('t', 'k', shard_count := 8)");
        let given = |n: i64| (1..=n).map(|i| format!("({i})")).collect::<Vec<_>>().join(", ");
        let expected = |n: i64| (1..=n).map(|i| Some(i.to_string())).collect::<Vec<_>>();
        let mut check = |sql: &str, n: i64| {
            let found: Vec<_> = c.rows(sql).into_iter().map(|mut r| r.remove(0)).collect();
            assert_eq!(found, expected(n), "{workers} workers: {sql}");
        };
        check(&format!("INSERT INTO t (a) VALUES {} RETURNING a", given(100)), 100);
        check("INSERT INTO t (a) SELECT i FROM generate_series(1, 50) i RETURNING a", 50);
        // Rows that travel as literals, and what the coordinator makes of them.
        check(
            "INSERT INTO t (a, b) SELECT i, '7' FROM generate_series(1, 9) i RETURNING a + 0, b",
            9,
        );
        check(
            "INSERT INTO t (k, a) SELECT i, i FROM generate_series(1, 30) i \
             ON CONFLICT (k) DO UPDATE SET a = excluded.a RETURNING a",
            30,
        );
        check(
            "WITH new AS (INSERT INTO t (a) SELECT i FROM generate_series(1, 20) i RETURNING a) \
             SELECT a FROM new",
            20,
        );
        // More than what is sent at once.
        check(
            "INSERT INTO t (a, s) SELECT i, repeat('x', 60000) FROM generate_series(1, 200) i \
             RETURNING a",
            200,
        );
        let all = "INSERT INTO t (k, a) SELECT i, i FROM generate_series(1, 40) i \
                   ON CONFLICT DO NOTHING RETURNING a";
        assert!(c.rows(all).is_empty(), "no row is new");
        c.run("DELETE FROM t WHERE k BETWEEN 11 AND 20");
        let mut some = c.rows(all).into_iter().filter_map(|mut r| r.remove(0)).collect::<Vec<_>>();
        some.sort_by_key(|a| a.parse::<i64>().ok());
        assert_eq!(some, (11..=20).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}

/// What tools ask to list tables, indexes and their sizes.
const LISTS: [&str; 7] = [
    "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'app'::regnamespace ORDER BY 1",
    "SELECT n.nspname, c.relname FROM pg_namespace n LEFT JOIN pg_class c \
     ON c.relnamespace = n.oid WHERE n.nspname = 'app' ORDER BY 2",
    "SELECT tablename, hasindexes FROM pg_tables WHERE schemaname = 'app' ORDER BY 1",
    "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'app' ORDER BY 2",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'app' ORDER BY 1",
    "SELECT table_name, column_name FROM information_schema.columns \
     WHERE table_schema = 'app' ORDER BY 1, 2",
    "WITH t AS (SELECT oid FROM pg_class WHERE relnamespace = 'app'::regnamespace) SELECT \
     (SELECT count(*) FROM t), count(*) FROM pg_stat_user_tables WHERE schemaname = 'app'",
];

/// Migration tools drop the tables that their model does not have, and dump programs write what
/// they find.
#[test]
fn clients_do_not_see_shards() {
    for workers in [0, 2] {
        let cluster = Cluster::start(workers, Kind::FAST, "");
        let database = cluster.database("hidden");
        let mut c = cluster.connect(&database);
        c.run("SET citus.show_shards_for_app_name_prefixes = ''");
        c.run("CREATE SCHEMA app");
        c.run("CREATE TABLE app.kind (id int PRIMARY KEY, name text UNIQUE)");
        c.run("CREATE TABLE app.item (id int PRIMARY KEY, kind int REFERENCES app.kind, at date)");
        c.run("CREATE INDEX ON app.item (at)");
        // The names of these only look like those of shards.
        c.run("CREATE TABLE app.kind_102999 (a int); CREATE TABLE app.other_102008 (a int)");
        let before: Vec<_> = LISTS.iter().map(|sql| c.rows(sql)).collect();
        c.run("SELECT create_reference_table('app.kind')");
        c.run("SELECT create_distributed_table('app.item', 'id', shard_count := 4)");
        c.run("INSERT INTO app.kind VALUES (1, 'a'); INSERT INTO app.item VALUES (1, 1), (2, 1)");
        for (sql, rows) in LISTS.iter().zip(&before) {
            assert_eq!(&c.rows(sql), rows, "{workers} workers: {sql}");
        }
        c.run("CREATE ROLE reader LOGIN; SET ROLE reader");
        assert_eq!(c.rows(LISTS[0]), before[0], "{workers} workers, another user");
        c.run("RESET ROLE");

        let count = "SELECT count(*) FROM pg_class WHERE relnamespace = 'app'::regnamespace";
        c.prepare("count", count).expect("prepares");
        let counted = |c: &mut citus_tests::client::Conn| {
            c.execute("count", &[]).expect("counts").rows[0][0].clone().expect("not null")
        };
        let own = counted(&mut c);
        assert_eq!(own, before[0].len().to_string());
        c.run("SET application_name = 'pg amcheck 1'");
        c.run("SET citus.show_shards_for_app_name_prefixes = 'psql, pg amcheck'");
        let all = counted(&mut c);
        assert_ne!(all, own, "{workers} workers: this client sees shards");
        c.run("SET application_name = 'psq'");
        assert_eq!(counted(&mut c), own, "{workers} workers: known by its name");
        c.run("SET citus.override_table_visibility = off");
        assert_eq!(c.value(count), all, "{workers} workers: not hidden");
        c.run("RESET citus.override_table_visibility");

        assert_eq!(
            c.value("SELECT count(*) FROM citus_tables t JOIN pg_class c ON c.oid = t.table_name"),
            "2"
        );
        assert_ne!(c.value("SELECT citus_total_relation_size('app.item')"), "0");
    }
}

/// A shard that is changed by its own name does not fit the others and the metadata any more.
#[test]
fn shards_are_not_changed_by_their_name() {
    for workers in [0, 2] {
        let cluster = Cluster::start(workers, Kind::FAST, "");
        let mut c = cluster.connect(&cluster.database("shards"));
        c.run("CREATE TABLE \"Kind\" (id int PRIMARY KEY, name text)");
        c.run("SELECT create_reference_table('\"Kind\"')");
        c.run("INSERT INTO \"Kind\" VALUES (1, 'a')");
        let id = c.value("SELECT shardid FROM pg_dist_shard");
        for sql in [
            "DROP TABLE \"Kind_ID\"",
            "DROP TABLE IF EXISTS nothing, public.\"Kind_ID\" CASCADE",
            "DROP INDEX \"Kind_pkey_ID\"",
            "TRUNCATE \"Kind_ID\"",
            "ALTER TABLE \"Kind_ID\" ADD COLUMN x int",
            "ALTER TABLE \"Kind_ID\" RENAME TO x",
            "ALTER TABLE \"Kind_ID\" SET SCHEMA pg_temp",
            "ALTER INDEX \"Kind_pkey_ID\" RENAME TO x",
            "CREATE INDEX ON \"Kind_ID\" (name)",
            "CREATE RULE x AS ON INSERT TO \"Kind_ID\" DO INSTEAD NOTHING",
            "DO $$ BEGIN DROP TABLE \"Kind_ID\"; END $$",
        ] {
            let sql = sql.replace("ID", &id);
            let e = c.simple(&sql).expect_err(&sql);
            assert_eq!(e.code(), "42809", "{workers} workers: {sql}: {e:?}");
        }
        assert_eq!(c.value("SELECT name FROM \"Kind\""), "a", "{workers} workers");
        // Tables and their shards are changed as ever.
        c.run("CREATE INDEX i ON \"Kind\" (name); ALTER TABLE \"Kind\" ADD COLUMN x int");
        c.run("CREATE POLICY p_102008 ON public.\"Kind\"; DROP POLICY p_102008 ON public.\"Kind\"");
        c.run("DROP INDEX i; ALTER TABLE \"Kind\" RENAME TO kind; TRUNCATE kind");
        c.run("SET citus.enable_manual_changes_to_shards = on");
        c.run(&format!("CREATE INDEX j ON kind_{id} (name); DROP INDEX j"));
        c.run("RESET citus.enable_manual_changes_to_shards");
        c.run("DROP TABLE kind");
        assert_eq!(c.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'kind%'"), "0");
    }
}

/// Each shard has a row at `(0,1)`. What names a row by its place would change others with it:
/// deleting in batches, and what servers send that have the table as a foreign table.
#[test]
fn rows_are_not_changed_by_a_place_that_many_have() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let mut c = cluster.connect(&cluster.database("places"));
    c.run("CREATE TABLE t (k int, g int, v int DEFAULT 0, PRIMARY KEY (k, g))");
    c.run("INSERT INTO t (k, g) SELECT i % 20, i FROM generate_series(1, 200) i");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 8)");
    assert_eq!(c.value("SELECT count(*) > 1 FROM t WHERE ctid = '(0,1)'"), "t");
    c.run("PREPARE p (tid) AS UPDATE t SET v = 1 WHERE ctid = $1");
    let e = c.simple("UPDATE t SET v = 1 WHERE ctid = (SELECT ctid FROM t)").expect_err("many");
    assert_eq!(e.code(), "21000", "{e:?}");
    for sql in [
        "DELETE FROM t WHERE ctid IN (SELECT ctid FROM t LIMIT 1 FOR UPDATE SKIP LOCKED)",
        "WITH s AS (SELECT ctid c FROM t LIMIT 1) DELETE FROM t USING s WHERE t.ctid = s.c",
        "UPDATE t SET v = 1 WHERE ctid = '(0,1)'",
        "EXECUTE p ('(0,1)')",
        "UPDATE t SET v = 1 WHERE ctid NOT IN (SELECT min(ctid) FROM t GROUP BY k)",
        "DELETE FROM t a USING t b WHERE a.ctid < b.ctid AND a.v = b.v",
        "DELETE FROM t WHERE EXISTS (SELECT FROM (SELECT ctid c FROM t LIMIT 1) s WHERE s.c = t.ctid)",
        "MERGE INTO t USING (SELECT ctid c FROM t LIMIT 3) s ON s.c = t.ctid WHEN MATCHED THEN DELETE",
    ] {
        let e = c.simple(sql).expect_err(sql);
        assert_eq!(e.code(), "0A000", "{sql}: {e:?}");
    }
    // What finds places in the table itself, stays on one shard, or means the same on each.
    for (sql, n) in [
        ("DELETE FROM t WHERE ctid IN (SELECT ctid FROM t LIMIT 7)", 7),
        ("INSERT INTO t (k, g) SELECT i % 20, i FROM generate_series(1, 200) i ON CONFLICT DO NOTHING", 7),
        ("UPDATE t SET v = 7 WHERE ctid = (SELECT ctid FROM t WHERE k = 1 ORDER BY g DESC LIMIT 1)", 1),
        ("UPDATE t SET v = 7 WHERE ctid = ANY (ARRAY(SELECT ctid FROM t ORDER BY g LIMIT 3))", 3),
        ("UPDATE t SET v = 7 WHERE g > 190 AND NOT ctid IN (SELECT ctid FROM t WHERE g < 195)", 6),
        ("UPDATE t a SET v = 0 WHERE ctid IN (SELECT ctid FROM t b WHERE b.g = a.g AND b.v = 7)", 10),
        ("DELETE FROM t WHERE k = 1 AND ctid IN (SELECT ctid FROM t WHERE k = 1 LIMIT 2)", 2),
        ("UPDATE t SET v = 1 WHERE k = 2 AND ctid = (SELECT min(ctid) FROM t WHERE k = 2)", 1),
        ("UPDATE t SET k = 99 WHERE k = 3 AND ctid = (SELECT min(ctid) FROM t WHERE k = 3)", 1),
        ("UPDATE t SET v = 2 WHERE ctid >= '(0,0)' AND ctid < '(1000,0)'", 198),
        ("DELETE FROM t a USING t b WHERE a.k = b.k AND a.g < b.g AND a.ctid <> b.ctid", 177),
    ] {
        let tag = c.simple(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}")).remove(0).tag;
        assert_eq!(tag.rsplit(' ').next(), Some(n.to_string().as_str()), "{sql}");
    }
}
