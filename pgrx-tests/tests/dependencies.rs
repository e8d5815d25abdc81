//! Types, collations and functions of the user's that tables are made with: all nodes have them, follow when
//! they change, and queries use them there.

use std::sync::OnceLock;

use citus_tests::client::{refused, Conn};
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

fn cluster() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(2, Kind::FAST, ""))
}

/// What a query gives on each worker.
fn on_workers(db: &str, sql: &str) -> Vec<String> {
    cluster().workers.iter().map(|w| w.connect(db).value(sql)).collect()
}

fn plan(c: &mut Conn, sql: &str) -> String {
    let lines: Vec<String> =
        c.rows(&format!("EXPLAIN (COSTS OFF) {sql}")).into_iter().flatten().flatten().collect();
    lines.join("\n")
}

const FUNCTIONS: &str = "CREATE SCHEMA f;
    CREATE FUNCTION f.inner_next(i int) RETURNS int LANGUAGE sql IMMUTABLE
        BEGIN ATOMIC SELECT i + 1; END;
    CREATE FUNCTION f.next(i int) RETURNS int LANGUAGE sql IMMUTABLE
        BEGIN ATOMIC SELECT f.inner_next(i); END;
    CREATE FUNCTION f.slug(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN lower(v); END';
    CREATE TYPE f.kind AS ENUM ('new', 'old');
    CREATE FUNCTION f.kind_of(v text) RETURNS f.kind LANGUAGE plpgsql IMMUTABLE
        AS $$BEGIN RETURN CASE WHEN v LIKE 'o%' THEN 'old' ELSE 'new' END; END$$;
    CREATE FUNCTION f.is_short(v text) RETURNS bool LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN length(v) < 10; END';
    CREATE DOMAIN f.short AS text CHECK (f.is_short(VALUE));
    CREATE COLLATION f.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";

#[test]
fn tables_are_made_with_functions() {
    let db = cluster().database("made");
    let mut c = cluster().connect(&db);
    c.run(FUNCTIONS);
    c.run(
        "CREATE TABLE t (k int, v text, d f.short, s text GENERATED ALWAYS AS (f.slug(v)) STORED, \
         CHECK (f.next(k) > 0), CHECK (f.kind_of(v) <> 'old'))",
    );
    c.run("CREATE UNIQUE INDEX t_slug ON t (k, f.slug(v))");
    c.run("INSERT INTO t SELECT i, 'V' || i FROM generate_series(0, 99) i");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("INSERT INTO t VALUES (100, 'New', 'abc')");
    assert_eq!(c.value("SELECT s FROM t WHERE k = 100"), "new");
    assert_eq!(
        refused(&mut c, "INSERT INTO t VALUES (-1, 'x')", "23514").table.as_deref(),
        Some("t")
    );
    refused(&mut c, "INSERT INTO t VALUES (5, 'old')", "23514");
    refused(&mut c, "INSERT INTO t VALUES (5, 'x', 'much too long')", "23514");
    refused(&mut c, "INSERT INTO t VALUES (100, 'NEW')", "23505");
    // Functions that all nodes have run there, with the index.
    c.run("SET enable_seqscan = off");
    let sql = "SELECT v FROM t WHERE k = 7 AND f.slug(v) = 'v7'";
    let found = plan(&mut c, sql);
    assert!(
        found.contains("Index Scan using t_slug") && found.contains("slug(v) = 'v7'"),
        "{found}"
    );
    assert_eq!(c.value(sql), "V7");
    let grouped = plan(&mut c, "SELECT f.kind_of(v), count(*) FROM t GROUP BY 1");
    assert!(
        grouped.contains("Task Count: 4") && grouped.contains("Group Key: (f.kind_of(v))"),
        "{grouped}"
    );
    assert_eq!(c.value("SELECT count(*) FROM t WHERE f.kind_of(v) = 'new'"), "101");

    // What comes later brings what it needs.
    c.run("CREATE FUNCTION f.odd(i int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN i % 2 = 1; END'");
    c.run("CREATE FUNCTION f.even(i int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN i % 2 = 0; END'");
    let here = plan(&mut c, "SELECT count(*) FROM t WHERE f.odd(k)");
    assert!(here.contains("  Filter: f.odd(k)"), "{here}");
    c.run("CREATE INDEX CONCURRENTLY ON t (f.odd(k))");
    c.run("CREATE INDEX ON t ((v COLLATE f.ci))");
    c.run("ALTER TABLE t ADD CONSTRAINT c CHECK (f.odd(k) OR f.even(k))");
    c.run("CREATE STATISTICS st ON (f.even(k)), v FROM t");
    c.run("CREATE POLICY p ON t USING (f.even(k))");
    let there = plan(&mut c, "SELECT count(*) FROM t WHERE f.odd(k)");
    assert!(
        !there.starts_with("Aggregate\n  ->  Custom Scan (Citus Real-Time) on t\n        Filter")
    );
    assert_eq!(c.value("SELECT count(*) FROM t WHERE f.odd(k)"), "50");
    let made = "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc p \
        WHERE pronamespace = 'f'::regnamespace";
    let all = "even inner_next is_short kind_of next odd slug";
    assert_eq!(on_workers(&db, made), [all, all]);
    // On reference tables, too.
    c.run("CREATE TABLE r (id int PRIMARY KEY, v text); SELECT create_reference_table('r')");
    c.run("CREATE FUNCTION f.last(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN right(v, 1); END'");
    c.run("CREATE UNIQUE INDEX ON r (f.last(v)); INSERT INTO r VALUES (1, 'ab')");
    refused(&mut c, "INSERT INTO r VALUES (2, 'xb')", "23505");
    c.run("ALTER DOMAIN f.short ADD CHECK (f.last(VALUE) <> '!')");
    refused(&mut c, "UPDATE t SET d = 'a!' WHERE k = 1", "23514");
}

#[test]
fn nodes_follow_changes_of_functions() {
    let db = cluster().database("changed");
    let mut c = cluster().connect(&db);
    c.run("CREATE FUNCTION name_of(k int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN ''a'' || k; END'");
    c.run("CREATE TABLE t (k int, n int, s text GENERATED ALWAYS AS (name_of(k)) STORED)");
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 4)");
    c.run("INSERT INTO t VALUES (1, 1)");
    c.run("CREATE OR REPLACE FUNCTION name_of(k int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN ''b'' || k; END'");
    c.run("INSERT INTO t VALUES (2, 1)");
    c.run(
        "BEGIN; ALTER FUNCTION name_of(int) COST 7; ALTER FUNCTION name_of RENAME TO \"Name Of\"",
    );
    c.run("CREATE SCHEMA later; ALTER FUNCTION \"Name Of\" SET SCHEMA later; ROLLBACK");
    c.run("ALTER FUNCTION name_of(int) COST 9; ALTER ROUTINE name_of RENAME TO \"Name Of\"");
    c.run("CREATE SCHEMA later; ALTER FUNCTION \"Name Of\"(int) SET SCHEMA later");
    c.run("CREATE OR REPLACE FUNCTION later.\"Name Of\"(k int) RETURNS text LANGUAGE plpgsql IMMUTABLE COST 9 AS 'BEGIN RETURN ''c'' || k; END'");
    c.run("INSERT INTO t VALUES (3, 1)");
    assert_eq!(c.value("SELECT string_agg(s, ' ' ORDER BY k) FROM t"), "a1 b2 c3");
    let sql =
        "SELECT string_agg(pronamespace::regnamespace || '.' || proname || ' ' || procost, ',') \
        FROM pg_proc WHERE proname ~* '^name.of$'";
    assert_eq!(on_workers(&db, sql), ["later.Name Of 9", "later.Name Of 9"]);

    // Owner and privileges.
    let role = format!("owner_of_{db}");
    c.run(&format!("CREATE ROLE {role}; ALTER FUNCTION later.\"Name Of\" OWNER TO {role}"));
    c.run("REVOKE EXECUTE ON FUNCTION later.\"Name Of\" FROM PUBLIC");
    c.run("GRANT EXECUTE ON FUNCTION later.\"Name Of\" TO pg_monitor WITH GRANT OPTION");
    c.run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA later TO pg_read_all_stats");
    let rights =
        "SELECT pg_get_userbyid(proowner) || ' ' || (SELECT string_agg(a.grantee::regrole || \
        a.is_grantable::text, ' ' ORDER BY 1) FROM aclexplode(proacl) a WHERE grantee <> proowner) \
        FROM pg_proc WHERE proname = 'Name Of'";
    let all = format!("{role} pg_monitortrue pg_read_all_statsfalse");
    assert_eq!(on_workers(&db, rights), [all.clone(), all]);
    c.run("REVOKE ALL ON FUNCTION later.\"Name Of\" FROM pg_monitor");
    let left = format!("{role} pg_read_all_statsfalse");
    assert_eq!(on_workers(&db, rights), [left.clone(), left]);

    // Another function of the name: what is left over on the nodes gives way, unless it is in use.
    c.run("ALTER TABLE t DROP COLUMN s; DROP FUNCTION later.\"Name Of\"");
    c.run("CREATE FUNCTION later.\"Name Of\"(int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'");
    c.run("ALTER TABLE t ADD CHECK (later.\"Name Of\"(k) < 10)");
    refused(&mut c, "INSERT INTO t VALUES (11)", "23514");
    // Functions that no table uses stay here.
    c.run("CREATE FUNCTION unused() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION unused() COST 3");
    let none = "SELECT count(*) FROM pg_proc WHERE proname = 'unused'";
    assert_eq!(on_workers(&db, none), ["0", "0"]);
    c.run(&format!("REASSIGN OWNED BY {role} TO postgres; DROP ROLE {role}"));
    let there = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'");
    assert_eq!(on_workers(&db, &there), ["0", "0"]);
}

#[test]
fn an_ordinary_user_makes_them() {
    let db = cluster().database("ordinary");
    let mut c = cluster().connect(&db);
    let role = format!("user_of_{db}");
    c.run(&format!("CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}"));
    c.run("CREATE SCHEMA lib; CREATE FUNCTION lib.by_admin(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'");
    c.run(&format!("GRANT USAGE ON SCHEMA lib TO {role}"));
    c.run("SELECT run_command_on_workers('GRANT ALL ON SCHEMA public TO PUBLIC')");
    let mut u = Conn::connect(cluster().coordinator.port, &role, &db).unwrap();
    u.run("CREATE TYPE mine AS ENUM ('a', 'b')");
    u.run("CREATE FUNCTION of_mine(mine) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN length($1::text); END'");
    u.run("CREATE TABLE t (k int, m mine, CHECK (of_mine(m) > 0), CHECK (lib.by_admin(k) > 0))");
    u.run("SELECT create_distributed_table('t', 'k', shard_count := 4); INSERT INTO t VALUES (1, 'a')");
    refused(&mut u, "INSERT INTO t VALUES (-1, 'a')", "23514");
    u.run("CREATE OR REPLACE FUNCTION of_mine(mine) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN -1; END'");
    refused(&mut u, "INSERT INTO t VALUES (1, 'a')", "23514");
    let owners = "SELECT string_agg(pg_get_userbyid(proowner), ' ' ORDER BY proname) FROM pg_proc \
        WHERE proname IN ('of_mine', 'by_admin')";
    let both = format!("postgres {role}");
    assert_eq!(on_workers(&db, owners), [both.clone(), both]);
    // Types of somebody else, in a schema where the user may make nothing, and functions of these.
    c.run(
        "CREATE TYPE lib.grade AS ENUM ('good', 'bad'); CREATE DOMAIN lib.grades AS lib.grade[]; \
         CREATE COLLATION lib.bytes FROM \"C\"; \
         CREATE FUNCTION lib.of_grade(lib.grade) RETURNS int LANGUAGE plpgsql IMMUTABLE \
             AS 'BEGIN RETURN length($1::text); END'",
    );
    u.run(
        "CREATE TABLE graded (k int, g lib.grade, gs lib.grades, v text COLLATE lib.bytes, \
             CHECK (lib.of_grade(g) > 3)); \
         SELECT create_distributed_table('graded', 'k', shard_count := 4)",
    );
    u.run("INSERT INTO graded VALUES (1, 'good', '{bad}')");
    refused(&mut u, "INSERT INTO graded VALUES (1, 'bad')", "23514");
    c.run("ALTER TYPE lib.grade ADD VALUE 'excellent'");
    u.run("INSERT INTO graded VALUES (2, 'excellent')");
    let owner = "SELECT DISTINCT pg_get_userbyid(typowner) FROM pg_type WHERE typname IN ('grade', 'grades')";
    assert_eq!(on_workers(&db, owner), ["postgres", "postgres"]);
    // The other way round: a superuser distributes what is made with types and functions of the user.
    u.run(
        "CREATE TYPE size AS ENUM ('s', 'xl'); \
         CREATE FUNCTION of_size(size) RETURNS int LANGUAGE plpgsql IMMUTABLE \
             AS 'BEGIN RETURN length($1::text); END'; \
         CREATE TABLE sized (k int, v text, CHECK (of_size(v::size) < 2))",
    );
    c.run("SELECT create_distributed_table('sized', 'k', shard_count := 4)");
    refused(&mut u, "INSERT INTO sized VALUES (1, 'xl')", "23514");
    u.run("INSERT INTO sized VALUES (1, 's')");
    u.run("ALTER TYPE size ADD VALUE 'm'");
    u.run("INSERT INTO sized VALUES (1, 'm')");
    // Rights on schemas that have nothing but functions and types follow, and so do their names.
    c.run(&format!("REVOKE USAGE ON SCHEMA lib FROM {role}"));
    refused(&mut u, "SELECT count(*) FROM t WHERE lib.by_admin(k) = 1", "42501");
    c.run(&format!("ALTER SCHEMA lib RENAME TO \"L\"; GRANT USAGE ON SCHEMA \"L\" TO {role}"));
    assert_eq!(u.value("SELECT count(*) FROM t WHERE \"L\".by_admin(k) = 1"), "1");
    c.run("REVOKE EXECUTE ON FUNCTION \"L\".by_admin FROM PUBLIC");
    refused(&mut u, "SELECT count(*) FROM t WHERE \"L\".by_admin(k) = 1", "42501");
    // A type that a table is made with otherwise than by its columns.
    u.run("CREATE TYPE other AS ENUM ('x'); ALTER TABLE t ADD CHECK ('x'::other::text <> m::text)");
    u.run("ALTER TYPE other ADD VALUE 'y'");
    assert_eq!(on_workers(&db, "SELECT max(o) FROM unnest(enum_range(NULL::other)) o"), ["y", "y"]);
    drop(u);
    c.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    for w in &cluster().workers {
        w.connect(&db).run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    }
}

/// A function needs a type of somebody else: the type comes first, whoever makes it there.
#[test]
fn functions_of_types_of_others() {
    let db = cluster().database("mixed");
    let mut c = cluster().connect(&db);
    let role = format!("mixed_user_of_{db}");
    c.run(&format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA s; GRANT ALL ON SCHEMA s TO {role}"));
    let mut u = Conn::connect(cluster().coordinator.port, &role, &db).unwrap();
    u.run("CREATE TYPE s.theirs AS ENUM ('a', 'bb'); CREATE TYPE s.also AS (x s.theirs)");
    c.run("CREATE TYPE s.ours AS ENUM ('a', 'bb')");
    for (who, name, typ) in [(&mut c, "f", "s.theirs"), (&mut u, "g", "s.ours")] {
        who.run(&format!(
            "CREATE FUNCTION s.{name}({typ}) RETURNS int LANGUAGE plpgsql IMMUTABLE \
             AS 'BEGIN RETURN length($1::text); END'"
        ));
    }
    let table = |name: &str| {
        format!(
            "CREATE TABLE s.{name} (k int, v text, t s.theirs, a s.also, \
                 CHECK (s.f(v::s.theirs) < 2), CHECK (s.g(v::s.ours) < 2)); \
             SELECT create_distributed_table('s.{name}', 'k', shard_count := 4); \
             INSERT INTO s.{name} VALUES (1, 'a', 'bb', '(bb)')"
        )
    };
    u.run(&table("by_user"));
    refused(&mut u, "INSERT INTO s.by_user VALUES (1, 'bb')", "23514");
    c.run("DROP TABLE s.by_user");
    for w in &cluster().workers {
        w.connect(&db).run("DROP SCHEMA s CASCADE");
    }
    c.run(&table("by_superuser"));
    refused(&mut c, "INSERT INTO s.by_superuser VALUES (1, 'bb')", "23514");
    drop(u);
    c.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    for w in &cluster().workers {
        w.connect(&db).run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    }
}

/// Queries name types of other tables than the one that a node has shards of.
#[test]
fn types_come_with_the_node() {
    let cl = cluster();
    let db = cl.bare_database("types_of_nodes");
    let mut c = cl.connect(&db);
    let (w1, w2) = (cl.workers[0].port, cl.workers[1].port);
    c.run(&format!("SELECT citus_add_node('127.0.0.1', {w1})"));
    c.run(
        "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'ok'); \
         CREATE DOMAIN s.moods AS s.mood[]; \
         CREATE COLLATION s.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         CREATE FUNCTION s.one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; \
         CREATE TABLE t (k int, m s.moods, v text COLLATE s.ci, CHECK (k > s.one()))",
    );
    c.run("SELECT create_distributed_table('t', 'k', shard_count := 2)");
    c.run(&format!("SELECT citus_add_inactive_node('127.0.0.1', {w2})"));
    c.run("ALTER TYPE s.mood ADD VALUE 'glad'");
    c.run(&format!("SELECT citus_activate_node('127.0.0.1', {w2})"));
    c.run("ALTER TYPE s.mood ADD VALUE 'mad'");
    c.run("CREATE TABLE u (k int, v text)");
    c.run("SELECT create_distributed_table('u', 'k', shard_count := 2, colocate_with := 'none')");
    c.run("INSERT INTO u SELECT i, 'v' || i FROM generate_series(1, 10) i");
    let values = "SELECT string_agg(m::text, ' ' ORDER BY m) \
        FROM unnest(enum_range(NULL::s.mood)) m";
    for w in &cl.workers {
        assert_eq!(w.connect(&db).value(values), "sad ok glad mad");
        assert_eq!(w.connect(&db).value("SELECT s.one()"), "1");
    }
    let sql = "SELECT count(*), min(ARRAY['mad']::s.moods::text) FROM u \
        WHERE v = 'V3' COLLATE s.ci AND ARRAY[v || '']::text[] <> (NULL::s.moods)::text[] IS NULL";
    let plan = c.rows(&format!("EXPLAIN (COSTS OFF) {sql}"));
    assert!(format!("{plan:?}").contains("Task Count: 2"), "{plan:?}");
    assert_eq!(c.rows(sql)[0], [Some("1".to_owned()), Some("{mad}".to_owned())]);
    // A column that comes later brings its type to nodes without shards of the table, too.
    c.run("CREATE TYPE later AS (x int); ALTER TABLE t ADD COLUMN l later");
    for w in &cl.workers {
        assert_eq!(w.connect(&db).value("SELECT (ROW(5)::later).x"), "5");
    }
}

/// Who gets a type, domain or collation may change it on the nodes, too.
#[test]
fn owners_of_types_change_everywhere() {
    let cl = cluster();
    let db = cl.database("owners");
    let mut c = cl.connect(&db);
    let role = format!("heir_{}", c.pid);
    c.run(&format!(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN small AS int CHECK (VALUE < 100);
         CREATE COLLATION german (provider = icu, locale = 'de');
         CREATE TABLE t (k int, m mood, s small, v text COLLATE german);
         SELECT create_distributed_table('t', 'k', shard_count := 4);
         CREATE ROLE {role}; ALTER ROLE {role} RENAME TO \"{role} %I\""
    ));
    let role = format!("{role} %I");
    c.run(&format!(
        "GRANT CREATE ON SCHEMA public TO \"{role}\"; ALTER TYPE mood OWNER TO \"{role}\";
         ALTER DOMAIN small OWNER TO \"{role}\"; ALTER COLLATION german OWNER TO \"{role}\""
    ));
    let owners = "SELECT concat_ws(', ', pg_get_userbyid(m.typowner), pg_get_userbyid(s.typowner),
        pg_get_userbyid(c.collowner)) FROM pg_type m, pg_type s, pg_collation c
        WHERE m.typname = 'mood' AND s.typname = 'small' AND c.collname = 'german'";
    for node in cl.nodes() {
        assert_eq!(node.connect(&db).value(owners), format!("{role}, {role}, {role}"));
    }
    c.run(&format!("SET ROLE \"{role}\"; ALTER TYPE mood ADD VALUE 'calm'"));
    c.run("ALTER DOMAIN small SET NOT NULL; ALTER COLLATION german RENAME TO \"of the north\"");
    c.run("RESET ROLE; INSERT INTO t VALUES (1, 'calm', 1, 'x')");
    assert_eq!(c.value("SELECT max(v COLLATE \"of the north\") FROM t WHERE m = 'calm'"), "x");
    // With what the role owns it goes.
    c.run(&format!("REASSIGN OWNED BY \"{role}\" TO CURRENT_USER; DROP OWNED BY \"{role}\""));
    c.run(&format!("DROP ROLE \"{role}\""));
}
