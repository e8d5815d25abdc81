//! Creating, changing and dropping managed tables: what arrives on the nodes, what is refused and
//! leaves everything as it was, and who may do what.

use std::sync::OnceLock;

use citus_tests::client::{refused, Conn};
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

fn two_workers() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(2, Kind::FAST, ""))
}

fn single() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(0, Kind::FAST, ""))
}

/// Both kinds of cluster, each with a fresh database of four shards a table.
fn both(stem: &str, test: impl Fn(&Cluster, &str, &mut Conn)) {
    for cluster in [two_workers(), single()] {
        let db = cluster.database(stem);
        cluster.connect(&db).run(&format!("ALTER DATABASE {db} SET citus.shard_count = 4"));
        test(cluster, &db, &mut cluster.connect(&db));
    }
}

/// The distinct answers of all nodes to a query about their shards.
#[track_caller]
fn on_nodes(cluster: &Cluster, db: &str, sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    for node in cluster.nodes() {
        for row in node.connect(db).rows(sql) {
            let text: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
            found.push(text.join("|"));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Relations left on the nodes whose name ends in a shard's id.
fn shards(cluster: &Cluster, db: &str) -> Vec<String> {
    on_nodes(
        cluster,
        db,
        "SELECT relname FROM pg_class WHERE relname ~ '_10[0-9]{4}$' AND relkind IN ('r', 'i')",
    )
}

/// Everything in the metadata.
fn metadata(c: &mut Conn) -> String {
    c.value(
        "SELECT concat((SELECT count(*) FROM pg_dist_partition), ' ', \
         (SELECT count(*) FROM pg_dist_shard), ' ', (SELECT count(*) FROM pg_dist_placement), ' ', \
         (SELECT count(*) FROM pg_dist_colocation))",
    )
}

const RICH: &str = "
    CREATE TABLE rich (
        id int NOT NULL, n bigserial, who int GENERATED ALWAYS AS IDENTITY,
        name varchar(40) COLLATE \"C\" DEFAULT 'x', doc jsonb, twice int GENERATED ALWAYS AS (id * 2) STORED,
        made timestamptz DEFAULT now(), gone int,
        PRIMARY KEY (id, n), CONSTRAINT positive CHECK (id > 0)) WITH (fillfactor = 70);
    ALTER TABLE rich DROP COLUMN gone;
    ALTER TABLE rich ALTER name SET STORAGE EXTERNAL, ALTER doc SET STATISTICS 250;
    CREATE INDEX rich_doc ON rich USING gin (doc jsonb_path_ops);
    CREATE INDEX rich_made ON rich USING brin (made);
    CREATE UNIQUE INDEX rich_part ON rich (id, lower(name) DESC NULLS LAST) INCLUDE (made) NULLS NOT DISTINCT WHERE n > 5;
    CREATE STATISTICS rich_st (ndistinct) ON id, name FROM rich;
    COMMENT ON TABLE rich IS 'rich';";

#[test]
fn definition_and_rows_arrive() {
    both("rich", |cluster, db, c| {
        c.run(RICH);
        c.run("INSERT INTO rich (id, name, doc) SELECT i, E'a\\\\b\\t' || i, '{\"k\": \"\\\\n\"}' FROM generate_series(1, 200) i");
        let before = c.rows("SELECT * FROM rich ORDER BY id, n");
        c.run("SELECT create_distributed_table('rich', 'id')");
        assert_eq!(c.rows("SELECT * FROM rich ORDER BY id, n"), before);
        assert_eq!(c.value("SELECT count(*) FROM ONLY pg_class WHERE oid = 'rich'::regclass AND pg_relation_size(oid) = 0"), "1");
        let columns = on_nodes(cluster, db, "SELECT string_agg(concat(a.attname, ':', format_type(a.atttypid, a.atttypmod), ':', a.attnotnull, ':', a.attgenerated, ':', a.attidentity, ':', a.atthasdef, ':', a.attstorage, ':', a.attstattarget, ':', a.attcollation), ',' ORDER BY attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped WHERE c.relname ~ '^rich_10[0-9]+$' GROUP BY c.oid");
        assert_eq!(columns.len(), 1, "{columns:?}");
        assert_eq!(columns[0], "id:integer:t:::f:p:-1:0,n:bigint:t:::f:p:-1:0,who:integer:t:::f:p:-1:0,name:character varying(40):f:::f:e:-1:950,doc:jsonb:f:::f:x:250:0,twice:integer:f:s::t:p:-1:0,made:timestamp with time zone:f:::f:p:-1:0");
        let indexes = on_nodes(cluster, db, "SELECT regexp_replace(pg_get_indexdef(indexrelid), '_10[0-9]{4}', '', 'g') FROM pg_index WHERE indrelid::regclass::text ~ '^rich_10'");
        assert_eq!(indexes.len(), 4, "{indexes:#?}");
        assert!(indexes.iter().any(|i| i.contains("NULLS NOT DISTINCT") && i.contains("INCLUDE")));
        let options = on_nodes(
            cluster,
            db,
            "SELECT reloptions FROM pg_class WHERE relname ~ '^rich_10[0-9]+$'",
        );
        assert_eq!(options, ["{fillfactor=70}"]);
        let statistics = on_nodes(cluster, db, "SELECT count(*) FROM pg_statistic_ext WHERE stxname ~ '_10[0-9]{4}$' HAVING count(*) > 0");
        assert_eq!(statistics, if cluster.workers.is_empty() { ["4"] } else { ["2"] });
        c.run("INSERT INTO rich (id) VALUES (500)");
        assert_eq!(
            c.value("SELECT concat(n > 200, who > 200, twice, name) FROM rich WHERE id = 500"),
            "tt1000x"
        );
        c.run("SELECT undistribute_table('rich'); DELETE FROM rich WHERE id = 500");
        assert_eq!(c.rows("SELECT * FROM rich ORDER BY id, n"), before);
        assert_eq!(shards(cluster, db), Vec::<String>::new());
        assert_eq!(metadata(c), "0 0 0 0");
    });
}

#[test]
fn refusals_change_nothing() {
    both("refuse", |cluster, db, c| {
        c.run("CREATE TABLE t (id int, v text UNIQUE, j json, g int GENERATED ALWAYS AS (id + 1) STORED);
               CREATE TABLE bare (id int, v text); CREATE VIEW vw AS SELECT 1 AS id; CREATE SEQUENCE sq;
               CREATE TEMP TABLE tmp (id int); CREATE TABLE parted (id int) PARTITION BY LIST (id);
               CREATE TABLE part PARTITION OF parted FOR VALUES IN (1); CREATE TABLE parent (id int);
               CREATE TABLE child () INHERITS (parent); CREATE TABLE ruled (id int);
               CREATE RULE r AS ON INSERT TO ruled DO NOTHING; CREATE TABLE nulls (id int);
               INSERT INTO nulls VALUES (1), (NULL); CREATE TABLE trig (id int);
               CREATE TRIGGER tr BEFORE INSERT ON trig FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
               CREATE TABLE local (id int PRIMARY KEY); CREATE TABLE refs (id int REFERENCES local);
               CREATE TABLE other (id bigint); SELECT create_distributed_table('other', 'id');");
        let before = (metadata(c), shards(cluster, db));
        for (code, sql) in [
            ("0A000", "create_distributed_table('t', 'id')"),
            ("42883", "create_distributed_table('t', 'nothing', 1, 2, 3, 4, 5)"),
            ("42703", "create_distributed_table('bare', 'nothing')"),
            ("42703", "create_distributed_table('bare', 'ctid')"),
            ("22023", "create_distributed_table('bare', '')"),
            ("42704", "create_distributed_table('t', 'j')"),
            ("0A000", "create_distributed_table('t', 'g')"),
            ("0A000", "create_distributed_table('bare', 'id', 'append')"),
            ("22P02", "create_distributed_table('bare', 'id', 'nonsense')"),
            ("22004", "create_distributed_table(NULL, 'id')"),
            ("22004", "create_distributed_table('bare', 'id', NULL)"),
            ("22004", "create_distributed_table('bare', 'id', colocate_with => NULL)"),
            ("42P01", "create_distributed_table('bare', 'id', colocate_with => 'missing')"),
            ("42809", "create_distributed_table('bare', 'id', colocate_with => 'local')"),
            ("42804", "create_distributed_table('bare', 'id', colocate_with => 'other')"),
            ("22023", "create_distributed_table('bare', 'id', shard_count => 0)"),
            ("22023", "create_distributed_table('bare', 'id', shard_count => 64001)"),
            ("22023", "create_distributed_table('bare', 'id', replication_factor => -1)"),
            ("55000", "create_distributed_table('bare', 'id', replication_factor => 9)"),
            ("22023", "create_distributed_table('bare', NULL, shard_count => 4)"),
            ("42P01", "create_distributed_table('missing', 'id')"),
            ("42P01", "create_distributed_table(4294967295::oid, 'id')"),
            ("42809", "create_distributed_table('vw', 'id')"),
            ("42809", "create_distributed_table('sq', 'id')"),
            ("42809", "create_reference_table('other_pkey'::text::regclass)"),
            ("0A000", "create_distributed_table('tmp', 'id')"),
            ("0A000", "create_distributed_table('parted', 'id')"),
            ("0A000", "create_reference_table('part')"),
            ("0A000", "create_distributed_table('parent', 'id')"),
            ("0A000", "create_distributed_table('child', 'id')"),
            ("0A000", "create_distributed_table('ruled', 'id')"),
            ("0A000", "create_distributed_table('trig', 'id')"),
            ("0A000", "create_distributed_table('refs', 'id')"),
            ("0A000", "create_reference_table('refs')"),
            ("23502", "create_distributed_table('nulls', 'id')"),
            ("42501", "create_distributed_table('pg_class', 'oid')"),
            ("42501", "create_reference_table('information_schema.sql_features')"),
            ("42809", "create_distributed_table('other', 'id')"),
            ("42809", "create_reference_table('other')"),
            ("42809", "undistribute_table('bare')"),
            ("42809", "update_distributed_table_colocation('bare', 'none')"),
            ("22023", "update_distributed_table_colocation('other', 'default')"),
            ("42809", "truncate_local_data_after_distributing_table('bare')"),
        ] {
            let sql = format!("SELECT {sql}");
            let code = if sql.contains("other_pkey") { "42P01" } else { code };
            refused(c, &sql, code);
            assert_eq!((metadata(c), shards(cluster, db)), before, "{sql}");
        }
    });
}

#[test]
fn statements_that_shards_cannot_follow_are_refused() {
    both("refstmt", |cluster, db, c| {
        c.run("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT create_distributed_table('t', 'id');
               CREATE TABLE far (id text PRIMARY KEY); SELECT create_distributed_table('far', 'id');
               CREATE TABLE plain (id int);
               CREATE TABLE parts (id int NOT NULL, v text) PARTITION BY LIST (id); CREATE TABLE heir (id int, v text)");
        let shape = "SELECT count(*) FROM pg_attribute a, pg_class c WHERE c.oid = a.attrelid AND c.relname ~ '^t(_10|$)' AND attnum > 0 AND NOT attisdropped";
        let before = on_nodes(cluster, db, shape);
        for sql in [
            "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "CREATE RULE r AS ON INSERT TO t DO NOTHING",
            "CREATE TABLE c () INHERITS (t)",
            "ALTER TABLE t INHERIT plain",
            "ALTER TABLE heir INHERIT t",
            "ALTER TABLE parts ATTACH PARTITION t FOR VALUES IN (1)",
            "CREATE PUBLICATION p FOR TABLE t",
            "ALTER TABLE t DROP COLUMN id",
            "ALTER TABLE t ALTER COLUMN id TYPE bigint",
            "ALTER TABLE t ADD UNIQUE (v)",
            "CREATE UNIQUE INDEX ON t (v)",
            "ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING btree (v WITH =)",
            "ALTER TABLE t ADD COLUMN f text REFERENCES far",
            "ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES far",
        ] {
            let e = refused(c, sql, "0A000");
            assert!(e.hint.is_some() || e.detail.is_some(), "{sql}\n{e}");
            assert_eq!(on_nodes(cluster, db, shape), before, "{sql}");
        }
        c.run("CREATE TYPE pair AS (a int, b text); ALTER TABLE t ADD COLUMN p pair");
        if !cluster.workers.is_empty() {
            let e = refused(c, "ALTER TYPE pair ADD ATTRIBUTE c int", "0A000");
            let told =
                "cannot change the attributes of type pair: distributed tables have columns of it";
            assert_eq!(e.message, told);
        }
    });
}

#[test]
fn changes_arrive_and_go_back() {
    both("change", |cluster, db, c| {
        c.run("CREATE TABLE t (id int PRIMARY KEY, v text); SELECT create_distributed_table('t', 'id');
               INSERT INTO t SELECT i, i::text FROM generate_series(1, 50) i");
        let columns = "SELECT DISTINCT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attnotnull, ',' ORDER BY attnum) FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped WHERE relname ~ '^t(_10[0-9]{4})?$' GROUP BY c.oid";
        c.run("BEGIN; ALTER TABLE t ADD COLUMN w int DEFAULT 7, ALTER v TYPE int USING v::int * 2, ADD CHECK (w > 0)");
        assert_eq!(c.value("SELECT sum(v + w) FROM t"), "2900");
        c.run("ROLLBACK");
        assert_eq!(on_nodes(cluster, db, columns), ["id integertrue,v textfalse"]);
        c.run("ALTER TABLE t ADD COLUMN n serial, ADD COLUMN o timestamptz DEFAULT now(), ADD COLUMN u uuid DEFAULT gen_random_uuid()");
        assert_eq!(c.value("SELECT concat(count(DISTINCT n), ' ', count(DISTINCT o), ' ', count(DISTINCT u)) FROM t"), "50 1 50");
        c.run("ALTER TABLE t DROP COLUMN o, DROP COLUMN u, ALTER v SET NOT NULL");
        assert_eq!(on_nodes(cluster, db, columns), ["id integertrue,v texttrue,n integertrue"]);
        let e = refused(c, "ALTER TABLE t ADD CHECK (id < 10)", "23514");
        assert!(e.message.contains("\"t\""), "{e}");
        c.run("CREATE TYPE mood AS ENUM ('a'); ALTER TABLE t ADD COLUMN m mood DEFAULT 'a'; ALTER TYPE mood ADD VALUE 'b'");
        c.run("UPDATE t SET m = 'b' WHERE id = 1; DROP TYPE mood CASCADE");
        assert_eq!(on_nodes(cluster, db, columns), ["id integertrue,v texttrue,n integertrue"]);
        c.run("CREATE INDEX CONCURRENTLY tc ON t (v)");
        c.run("REINDEX INDEX tc");
        assert_eq!(shards(cluster, db).iter().filter(|s| s.starts_with("tc_")).count(), 4);
        c.run("DROP INDEX CONCURRENTLY tc");
        assert_eq!(shards(cluster, db).iter().filter(|s| s.starts_with("tc_")).count(), 0);
        c.run("BEGIN; SAVEPOINT s; DROP TABLE t; ROLLBACK TO s; COMMIT");
        assert_eq!(c.value("SELECT count(*) FROM t"), "50");
        c.run("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; ALTER TABLE s.t RENAME TO longer; ALTER SCHEMA s RENAME TO s2");
        assert_eq!(c.value("SELECT count(*) FROM s2.longer"), "50");
        c.run("DROP SCHEMA s2 CASCADE");
        assert_eq!((metadata(c).as_str(), shards(cluster, db).len()), ("0 0 0 0", 0));
    });
}

#[test]
fn keys_between_local_tables_hold() {
    both("lockeys", |_, _, c| {
        c.run(
            "CREATE TABLE o (id int PRIMARY KEY); INSERT INTO o VALUES (1);
               CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t VALUES (1, 1), (2, 5);
               SELECT citus_add_local_table_to_metadata('t')",
        );
        let key = "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES o";
        let e = refused(c, key, "23503");
        assert!(e.message.contains("\"t\"") && e.message.contains("\"k\""), "{e}");
        c.run("UPDATE t SET x = NULL WHERE id = 2");
        c.run(key);
        refused(c, "INSERT INTO t VALUES (3, 9)", "23503");
        refused(c, "DELETE FROM o", "23503");
        c.run("INSERT INTO o VALUES (9); INSERT INTO t VALUES (3, 9)");
        c.run("CREATE TEMP TABLE tmp (id int PRIMARY KEY)");
        refused(c, "ALTER TABLE t ADD FOREIGN KEY (x) REFERENCES tmp", "0A000");
        assert_eq!(c.value("SELECT count(*) FROM t"), "3");
    });
}

#[test]
fn types_of_a_name_that_was_used_before_are_the_new_ones() {
    both("retyped", |cluster, db, c| {
        for (types, value) in [
            ("CREATE TYPE a.kind AS ENUM ('a', 'b')", "'b'"),
            ("CREATE TYPE a.kind AS ENUM ('c', 'a')", "'c'"),
            ("CREATE TYPE a.kind AS (x int, y text)", "row(1, 'y')"),
            ("CREATE TYPE a.kind AS (z int)", "row(2)"),
            ("CREATE DOMAIN a.kind AS int CHECK (VALUE > 0)", "5"),
            ("CREATE DOMAIN a.kind AS text CHECK (VALUE <> '')", "'five'"),
            // Of the same text, made of another one.
            ("CREATE TYPE a.part AS ENUM ('a'); CREATE TYPE a.kind AS (x a.part)", "row('a')"),
            ("CREATE TYPE a.part AS ENUM ('b'); CREATE TYPE a.kind AS (x a.part)", "row('b')"),
            ("CREATE DOMAIN a.part AS int; CREATE TYPE a.kind AS (x a.part)", "row(7)"),
            (
                "CREATE TYPE a.part AS RANGE (subtype = int); CREATE TYPE a.kind AS (x a.part)",
                "row('[1,2)')",
            ),
        ] {
            c.run(&format!(
                "CREATE SCHEMA a; {types};
                 CREATE TABLE a.t (id int, k a.kind, l a.kind[]); SELECT create_distributed_table('a.t', 'id');
                 INSERT INTO a.t SELECT i, ({value})::a.kind, ARRAY[({value})::a.kind] FROM generate_series(1, 20) i"
            ));
            let sql = format!("SELECT count(*) FROM a.t WHERE k = ({value})::a.kind AND l[1] = k");
            assert_eq!(c.value(&sql), "20", "{types}");
            c.run("DROP SCHEMA a CASCADE");
        }
        // What is in use there stays, and is told.
        for w in &cluster.workers {
            w.connect(db).run("CREATE TYPE used AS ENUM ('old'); CREATE TABLE uses (k used)");
        }
        c.run("CREATE TYPE used AS ENUM ('new'); CREATE TABLE u (id int, k used)");
        if !cluster.workers.is_empty() {
            let e = refused(c, "SELECT create_distributed_table('u', 'id')", "55000");
            assert!(e.message.contains("used") && e.hint.is_some(), "{e}");
            assert!(e.detail.is_some_and(|d| d.contains("'old'") && d.contains("uses")));
        }
        // The default of a domain is not part of what its values are.
        c.run("CREATE DOMAIN dom AS int DEFAULT 1; CREATE TABLE d (id int, k dom); SELECT create_distributed_table('d', 'id')");
        c.run("ALTER DOMAIN dom SET DEFAULT 2; CREATE TABLE d2 (id int, k dom); SELECT create_distributed_table('d2', 'id')");
        c.run("INSERT INTO d2 (id) VALUES (1)");
        assert_eq!(c.value("SELECT k FROM d2"), "2");
    });
}

/// What migrations of enums do, time and again; and names of functions and schemas that come back.
#[test]
fn names_can_be_given_that_nodes_still_have() {
    both("renamed", |_, _, c| {
        c.run("CREATE TYPE kind AS ENUM ('v1'); CREATE TABLE t (id int PRIMARY KEY, k kind, n int); SELECT create_distributed_table('t', 'id');
               INSERT INTO t SELECT i, 'v1', i FROM generate_series(1, 20) i");
        for n in 2..5 {
            let values: Vec<String> = (1..=n).map(|i| format!("'v{i}'")).collect();
            c.run(&format!(
                "BEGIN; CREATE TYPE kind_new AS ENUM ({}); ALTER TABLE t ALTER k TYPE kind_new USING k::text::kind_new;
                 ALTER TYPE kind RENAME TO kind_old; ALTER TYPE kind_new RENAME TO kind; DROP TYPE kind_old; COMMIT;
                 UPDATE t SET k = 'v{n}' WHERE id <= 10",
                values.join(", ")
            ));
            let sql = format!("SELECT count(*) FROM t WHERE k = 'v{n}'::kind");
            assert_eq!(c.value(&sql), "10");
        }
        c.run("CREATE SCHEMA other; CREATE TYPE other.kind AS ENUM ('a'); CREATE TABLE o (id int, k other.kind); SELECT create_distributed_table('o', 'id');
               DROP TABLE o; DROP TYPE other.kind; ALTER TYPE kind SET SCHEMA other");
        assert_eq!(c.value("SELECT count(*) FROM t WHERE k = 'v4'::other.kind"), "10");

        let function = |name: &str, plus: u32| {
            format!("CREATE FUNCTION {name}(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + {plus}'; CREATE INDEX ON t ({name}(n));")
        };
        c.run(&(function("f", 1) + "DROP FUNCTION f CASCADE"));
        c.run(&(function("g", 2) + "ALTER FUNCTION g RENAME TO f"));
        assert_eq!(c.value("SELECT id FROM t WHERE f(n) = 12"), "10");
        c.run(
            &(function("other.f", 3)
                + "DROP FUNCTION other.f CASCADE; ALTER FUNCTION f SET SCHEMA other"),
        );
        assert_eq!(c.value("SELECT id FROM t WHERE other.f(n) = 12"), "10");

        c.run("CREATE SCHEMA one; CREATE TYPE one.inner AS ENUM ('a'); CREATE TYPE one.outer AS (x one.inner);
               CREATE TABLE one.t (id int, k one.outer); SELECT create_distributed_table('one.t', 'id'); DROP SCHEMA one CASCADE;
               CREATE SCHEMA two; CREATE TABLE two.t (id int); SELECT create_distributed_table('two.t', 'id');
               INSERT INTO two.t VALUES (1); ALTER SCHEMA two RENAME TO one");
        assert_eq!(c.value("SELECT count(*) FROM one.t"), "1");
    });
}

#[test]
fn foreign_keys_hold_between_shards() {
    both("fkeys", |_, _, c| {
        c.run("CREATE TABLE ref (id int PRIMARY KEY); INSERT INTO ref VALUES (1), (2);
               CREATE TABLE a (id int PRIMARY KEY, up int REFERENCES a); CREATE TABLE b (id int REFERENCES a ON DELETE CASCADE, r int REFERENCES ref);
               CREATE TABLE loc (id int REFERENCES ref); INSERT INTO loc VALUES (1)");
        c.run("SELECT create_reference_table('ref')");
        refused(c, "SELECT create_distributed_table('a', 'id')", "0A000");
        c.run("ALTER TABLE a DROP COLUMN up; SELECT create_distributed_table('a', 'id'); SELECT create_distributed_table('b', 'id')");
        c.run("INSERT INTO a SELECT generate_series(1, 20); INSERT INTO b SELECT i, 1 + i % 2 FROM generate_series(1, 20) i");
        refused(c, "INSERT INTO b VALUES (21, 1)", "23503");
        refused(c, "INSERT INTO b VALUES (1, 3)", "23503");
        refused(c, "DELETE FROM ref WHERE id = 2", "23503");
        refused(c, "INSERT INTO loc VALUES (3)", "23503");
        c.run("DELETE FROM a WHERE id <= 5");
        assert_eq!(c.value("SELECT count(*) FROM b"), "15");
        refused(c, "TRUNCATE a", "0A000");
        c.run("TRUNCATE a CASCADE");
        assert_eq!(c.value("SELECT count(*) FROM b"), "0");
        refused(c, "SELECT undistribute_table('ref')", "0A000");
        c.run("SELECT undistribute_table('ref', cascade_via_foreign_keys => true)");
        assert_eq!(c.value("SELECT count(*) FROM pg_dist_partition"), "0");
        assert_eq!(c.value("SELECT count(*) FROM loc JOIN ref USING (id)"), "1");
        refused(c, "INSERT INTO loc VALUES (3)", "23503");
    });
}

#[test]
fn only_owners_change_tables() {
    let cluster = two_workers();
    let db = cluster.database("owners");
    let mut c = cluster.connect(&db);
    for node in cluster.nodes() {
        node.connect(&db).run("DO $$ BEGIN CREATE ROLE ddl_owner LOGIN; CREATE ROLE ddl_other LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT CREATE ON SCHEMA public TO ddl_owner");
    }
    c.run("CREATE TABLE theirs (id int); ALTER TABLE theirs OWNER TO ddl_owner");
    let mut owner = Conn::connect(cluster.coordinator.port, "ddl_owner", &db).unwrap();
    let mut other = Conn::connect(cluster.coordinator.port, "ddl_other", &db).unwrap();
    refused(&mut other, "SELECT create_distributed_table('theirs', 'id')", "42501");
    owner.run("SELECT create_distributed_table('theirs', 'id'); INSERT INTO theirs SELECT generate_series(1, 10)");
    for sql in [
        "SELECT undistribute_table('theirs')",
        "SELECT truncate_local_data_after_distributing_table('theirs')",
        "SELECT update_distributed_table_colocation('theirs', 'none')",
        "ALTER TABLE theirs ADD COLUMN x int",
        "CREATE INDEX ON theirs (id)",
        "DROP TABLE theirs",
        "TRUNCATE theirs",
        "SELECT * FROM theirs",
        "GRANT SELECT ON theirs TO ddl_other",
    ] {
        refused(&mut other, sql, "42501");
    }
    owner.run("GRANT SELECT ON theirs TO ddl_other");
    assert_eq!(other.value("SELECT count(*) FROM theirs"), "10");
    refused(&mut other, "DELETE FROM theirs", "42501");
    owner.run(
        "REVOKE SELECT ON theirs FROM ddl_other; ALTER TABLE theirs ADD COLUMN x int DEFAULT 1",
    );
    refused(&mut other, "SELECT * FROM theirs", "42501");
    c.run("GRANT INSERT ON theirs TO ddl_other; DROP OWNED BY ddl_owner");
    assert_eq!(metadata(&mut c), "0 0 0 0");
    assert_eq!(shards(cluster, &db), Vec::<String>::new());
}

#[test]
fn the_extension_goes_with_its_tables() {
    both("ext", |cluster, db, c| {
        c.run("CREATE TABLE t (id int); SELECT create_distributed_table('t', 'id'); CREATE TABLE r (id int); SELECT create_reference_table('r')");
        refused(c, "DROP EXTENSION citus", "2BP01");
        c.run("DROP EXTENSION citus CASCADE");
        assert_eq!(c.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
        assert_eq!(shards(cluster, db), Vec::<String>::new());
        c.run("CREATE EXTENSION citus");
    });
}

#[test]
fn the_extension_outlives_the_schema_public() {
    both("public", |cluster, db, c| {
        c.run("CREATE SCHEMA app; CREATE TABLE app.t (id int); SELECT create_distributed_table('app.t', 'id');
               INSERT INTO app.t SELECT generate_series(1, 100)");
        c.run("DROP SCHEMA public");
        c.run("CREATE SCHEMA public; CREATE TABLE public.t (id int); SELECT create_distributed_table('public.t', 'id')");
        assert_eq!(c.value("SELECT count(*) FROM citus_tables"), "2");
        c.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE public.t (id int); SELECT create_distributed_table('public.t', 'id')");
        assert_eq!(c.value("SELECT count(*) FROM app.t"), "100");
        assert_eq!(shards(cluster, db).len(), 8);
        assert_eq!(c.value("SELECT count(*) FROM citus_schemas"), "0");
    });
}

#[test]
fn the_extension_does_not_go_by_a_cascade_while_rows_are_in_shards() {
    both("owned", |cluster, db, c| {
        let role = format!("{db}_owner");
        c.run(&format!("CREATE ROLE {role} LOGIN SUPERUSER; DROP EXTENSION citus"));
        Conn::connect(cluster.coordinator.port, &role, db)
            .expect("the role connects")
            .run("CREATE EXTENSION citus");
        c.run(
            "CREATE TABLE t (id int); SELECT create_reference_table('t'); INSERT INTO t VALUES (1)",
        );
        refused(c, &format!("DROP OWNED BY {role} CASCADE"), "2BP01");
        assert_eq!(c.value("SELECT count(*) FROM t"), "1");
        c.run(&format!("DROP TABLE t; DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
        assert_eq!(c.value("SELECT count(*) FROM pg_extension WHERE extname = 'citus'"), "0");
    });
}

#[test]
fn every_statement_kind_is_listed() {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let registry = std::fs::read_to_string(format!("{top}/src/ddl/registry.rs")).unwrap();
    let headers = citus_tests::server::pg_config_value("--includedir-server");
    let Ok(nodes) = std::fs::read_to_string(headers.join("nodes/nodes.h")) else {
        println!("skipped: no server headers");
        return;
    };
    // Planned statements, and those that only occur inside of others.
    let inner = "RawStmt InsertStmt DeleteStmt UpdateStmt MergeStmt SelectStmt ReturnStmt PLAssignStmt SetOperationStmt ReplicaIdentityStmt";
    let inner: Vec<&str> = inner.split(' ').collect();
    let mut count = 0;
    for word in nodes.split(|c: char| !c.is_alphanumeric() && c != '_') {
        let Some(kind) = word.strip_prefix("T_").filter(|k| k.ends_with("Stmt")) else { continue };
        let listed = registry.matches(&format!("({word}, ")).count();
        let wanted = usize::from(!inner.contains(&kind));
        assert_eq!(listed, wanted, "{kind} is listed {listed} times in the registry");
        count += wanted;
    }
    assert!(count > 100, "{count} kinds");
}
