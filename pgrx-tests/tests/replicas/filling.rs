//! Columns that are added to rows, or get another type: all copies of a row get the same value.

use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

use super::{equal_copies, refused};

const DISTRIBUTE: [&str; 2] = [
    "create_reference_table('{t}')",
    "create_distributed_table('{t}', 'k', shard_count := 4, replication_factor := 2)",
];

#[test]
fn rows_get_the_same_values_in_all_copies() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let name = cluster.database("filling");
    let mut c = cluster.connect(&name);
    for distribute in DISTRIBUTE {
        c.run(&format!(
            "DROP TABLE IF EXISTS v, w;
             CREATE TABLE v (k int PRIMARY KEY, t text, d timestamp, e timestamp);
             CREATE TABLE w (k int, t text);
             SELECT {}; SELECT {};
             INSERT INTO v SELECT i, 't' || i, '2024-05-06 07:08:09', '2024-05-06' FROM generate_series(1, 60) i",
            distribute.replace("{t}", "v"),
            distribute.replace("{t}", "w"),
        ));
        // Values of their own: computed once for a row.
        c.run(
            "ALTER TABLE v ADD COLUMN u uuid DEFAULT gen_random_uuid(),
                ADD COLUMN r float8 NOT NULL DEFAULT random(), ADD COLUMN g int GENERATED ALWAYS AS (k * 2) STORED,
                ADD COLUMN c timestamptz DEFAULT clock_timestamp(), ADD CHECK (r >= 0)",
        );
        assert!(equal_copies(&cluster, &name, "v") > 0);
        assert_eq!(
            c.value("SELECT concat_ws(' ', count(DISTINCT u), count(DISTINCT r), count(c), sum(g)) FROM v"),
            "60 60 60 3660"
        );
        refused(&mut c, "UPDATE v SET r = NULL WHERE k = 1", "23502");
        refused(&mut c, "UPDATE v SET r = -1 WHERE k = 1", "23514");
        // Types: what each copy would compute for itself is refused, what is constant is computed here.
        for using in ["t || random()", "t || clock_timestamp()", "to_char(d, 'DD') || t"] {
            let sql = format!("ALTER TABLE v ALTER COLUMN t TYPE varchar USING {using}");
            let e = refused(&mut c, &sql, "0A000");
            assert!(e.contains("\"t\" of \"v\""), "{e}");
        }
        c.run(
            "ALTER TABLE v ALTER COLUMN e TYPE timestamptz USING now() + (k || ' days')::interval",
        );
        c.run("ALTER TABLE v ALTER COLUMN d TYPE timestamptz, ALTER COLUMN t TYPE varchar USING t || k::text || d::text");
        assert_eq!(c.value("SELECT count(DISTINCT e - (k || ' days')::interval) FROM v"), "1");
        assert_eq!(c.value("SELECT t FROM v WHERE k = 7"), "t772024-05-06 07:08:09");
        equal_copies(&cluster, &name, "v");
        // Rows without a key cannot be told from each other.
        c.run("ALTER TABLE w ADD COLUMN a uuid DEFAULT gen_random_uuid()");
        c.run("ALTER TABLE w ALTER COLUMN t TYPE varchar USING t || random()");
        c.run("INSERT INTO w (k, t) SELECT 1, 'w' FROM generate_series(1, 9)");
        let e =
            refused(&mut c, "ALTER TABLE w ADD COLUMN u uuid DEFAULT gen_random_uuid()", "0A000");
        assert!(e.contains("\"w\"") && e.contains("primary key"), "{e}");
        c.run("ALTER TABLE w ADD COLUMN u uuid DEFAULT '00000000-0000-0000-0000-000000000001'");
        equal_copies(&cluster, &name, "w");
    }
}

#[test]
fn a_key_of_numbers_is_made_when_rows_have_them() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let name = cluster.database("numbered");
    let mut c = cluster.connect(&name);
    c.run(
        "CREATE TABLE r (a int, b text); SELECT create_reference_table('r');
         INSERT INTO r SELECT i, NULLIF(i % 3, 0)::text FROM generate_series(1, 20) i;
         ALTER TABLE r ADD COLUMN id serial PRIMARY KEY;
         ALTER TABLE r ADD COLUMN other serial UNIQUE;
         CREATE TABLE h (k int, b text);
         SELECT create_distributed_table('h', 'k', shard_count := 4, replication_factor := 2);
         INSERT INTO h SELECT i % 5, i::text FROM generate_series(1, 20) i;
         ALTER TABLE h ADD COLUMN id int GENERATED ALWAYS AS IDENTITY, ADD PRIMARY KEY (k, id)",
    );
    for table in ["r", "h"] {
        let sql =
            format!("SELECT concat_ws(' ', count(DISTINCT id), min(id), max(id)) FROM {table}");
        assert_eq!(c.value(&sql), "20 1 20");
        assert!(equal_copies(&cluster, &name, table) > 0);
        let sql = format!("SELECT bool_and(indisvalid) AND bool_or(indisprimary) FROM pg_index WHERE indrelid = '{table}'::regclass");
        assert_eq!(c.value(&sql), "t");
    }
    refused(&mut c, "INSERT INTO r VALUES (1, 'x', 7)", "23505");
    // One copy of each row: what is constant is still one value for all of them.
    c.run(
        "CREATE TABLE p (k int, d timestamp); SELECT create_distributed_table('p', 'k', shard_count := 4);
         INSERT INTO p SELECT i FROM generate_series(1, 40) i;
         ALTER TABLE p ALTER COLUMN d TYPE timestamptz USING now(), ADD COLUMN x float8 DEFAULT random()",
    );
    assert_eq!(c.value("SELECT concat(count(DISTINCT d), ' ', count(DISTINCT x)) FROM p"), "1 40");
}
