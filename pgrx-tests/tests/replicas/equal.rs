//! Rows of tables with copies that are equal in all columns, which nothing tells from each other on
//! all nodes; and rows that are found again by their keys.

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

use super::{equal_copies, refused};

const ROWS: &str = "TRUNCATE r; INSERT INTO r VALUES ('a', 1.0), ('a', 1.0), ('a', 1.0), \
    ('b', 1.0), ('b', 1.00), (NULL, NULL), (NULL, NULL), ('c', 3)";

fn all(c: &mut Conn) -> String {
    c.value("SELECT string_agg(format('%s:%s', name, n), ' ' ORDER BY name, n::text) FROM r")
}

#[test]
fn equal_rows_are_changed_alike_or_not_at_all() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let name = cluster.database("equal");
    let mut c = cluster.connect(&name);
    c.run("CREATE SEQUENCE sq");
    for (distribute, copies) in [
        ("SELECT create_reference_table('r')", 2),
        (
            "SELECT create_distributed_table('r', 'name', shard_count := 1, replication_factor := 2)",
            1,
        ),
    ] {
        c.run("DROP TABLE IF EXISTS r");
        c.run("CREATE TABLE r (name text, n numeric)");
        c.run(distribute);
        if copies == 1 {
            c.run("INSERT INTO r VALUES ('z', 1)");
        }
        let rows = if copies == 1 { ROWS.replace("(NULL, NULL), (NULL, NULL), ", "") } else { ROWS.to_owned() };
        c.run(&rows);
        let before = all(&mut c);
        for sql in [
            "DELETE FROM r WHERE ctid NOT IN (SELECT min(ctid) FROM r GROUP BY name)",
            "DELETE FROM r WHERE ctid IN (SELECT ctid FROM r WHERE name = 'a' LIMIT 1)",
            "DELETE FROM r a USING r b WHERE a.name = b.name AND a.ctid < b.ctid AND a.name = 'a'",
            "UPDATE r SET n = nextval('sq')",
            "UPDATE r SET n = n + 1 WHERE name = 'a' AND nextval('sq') % 2 = 0",
            "MERGE INTO r USING (SELECT 'a' AS name) s ON r.name = s.name \
             WHEN MATCHED AND nextval('sq') % 2 = 0 THEN DELETE",
        ] {
            let told = refused(&mut c, sql, "0A000");
            assert!(told.contains("equal rows of table \"r\""), "{sql}: {told}");
            assert_eq!(all(&mut c), before, "{sql}");
            equal_copies(&cluster, &name, "r");
        }
        let told = refused(&mut c, "ALTER TABLE r ADD COLUMN id serial", "0A000");
        assert!(told.contains("equal rows"), "{told}");
        // All together, and those that are not the same.
        for (sql, tag) in [
            ("UPDATE r SET n = n + length(random()::text) * 0 + 7 WHERE name = 'a'", "UPDATE 3"),
            ("DELETE FROM r WHERE ctid IN (SELECT ctid FROM r WHERE name = 'a')", "DELETE 3"),
            ("UPDATE r SET n = nextval('sq') WHERE name = 'c'", "UPDATE 1"),
            ("DELETE FROM r WHERE name = 'b' AND n::text = '1.00' AND random() < 2", "DELETE 1"),
        ] {
            assert_eq!(c.simple(sql).unwrap()[0].tag, tag, "{sql}");
            assert_eq!(equal_copies(&cluster, &name, "r"), copies, "{sql}");
        }
        assert_eq!(c.value("SELECT n FROM r WHERE name = 'b'"), "1.0");
        if copies == 2 {
            let gone = "DELETE FROM r WHERE name IS NULL AND random() < 2";
            assert_eq!(c.simple(gone).unwrap()[0].tag, "DELETE 2");
        }
        // Columns that no two rows have the same values in tell them apart.
        c.run(&rows);
        c.run("DELETE FROM r; ALTER TABLE r ADD COLUMN id int NOT NULL");
        c.run("INSERT INTO r SELECT 'x', 1, i FROM generate_series(1, 9) i");
        c.run("CREATE UNIQUE INDEX ON r (name, id); ALTER TABLE r ALTER COLUMN name SET NOT NULL");
        c.run("UPDATE r SET n = nextval('sq')");
        assert_eq!(c.value("SELECT count(DISTINCT n) FROM r"), "9");
        let half = "DELETE FROM r WHERE ctid IN (SELECT ctid FROM r ORDER BY id LIMIT 4)";
        assert_eq!(c.simple(half).unwrap()[0].tag, "DELETE 4");
        assert_eq!(equal_copies(&cluster, &name, "r"), copies);
    }
}

#[test]
fn many_rows_are_found_again_in_no_time() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let name = cluster.database("many");
    let mut c = cluster.connect(&name);
    c.run(
        "CREATE TABLE keyed (id int PRIMARY KEY, v int);
         CREATE TABLE bare (id int, v int);
         CREATE TABLE s (id int PRIMARY KEY, v int);
         SELECT create_reference_table(t) FROM unnest('{keyed,bare,s}'::regclass[]) t;
         INSERT INTO s SELECT i, i FROM generate_series(1, 20000) i;
         INSERT INTO keyed SELECT i, 0 FROM generate_series(1, 20000) i;
         INSERT INTO bare SELECT i, 0 FROM generate_series(1, 20000) i",
    );
    // Comparing each row with each takes half a minute.
    c.run("SET statement_timeout = '25s'");
    for table in ["keyed", "bare"] {
        c.run(&format!("UPDATE {table} t SET v = s.v FROM s WHERE s.id = t.id"));
        let sums = format!("SELECT sum(v) || ' ' || count(*) FILTER (WHERE v = id) FROM {table}");
        assert_eq!(c.value(&sums), "200010000 20000", "{table}");
        assert_eq!(equal_copies(&cluster, &name, table), 2, "{table}");
    }
}
