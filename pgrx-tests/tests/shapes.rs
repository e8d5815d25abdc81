//! Statements that come again with other constants: their plans are kept, and nobody can tell.

use std::sync::LazyLock;

use citus_tests::client::{Conn, Error, Row};
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

const TABLES: &str = "
    CREATE TABLE item (
        id bigint NOT NULL, tenant int NOT NULL, name text NOT NULL, price numeric(8,2),
        tag varchar(5), open boolean, made timestamptz, day date, note jsonb,
        PRIMARY KEY (tenant, id), CHECK (price < 900000));
    CREATE UNIQUE INDEX item_open ON item (tenant, name) WHERE open;
    CREATE TABLE word (key text PRIMARY KEY, n int, total float8);
    CREATE TABLE line (tenant int, item bigint, amount int);
    INSERT INTO item SELECT g, g % 7, 'name ' || g, g * 1.5, 't' || g % 3, g % 2 = 0,
        '2024-01-01 00:00:00+00'::timestamptz + g * interval '7 hours',
        '2024-01-01'::date + g, jsonb_build_object('n', g) FROM generate_series(1, 200) g;
    INSERT INTO word SELECT 'k' || g, g, g / 3.0 FROM generate_series(1, 50) g;
    INSERT INTO line SELECT g % 7, g % 50, g FROM generate_series(1, 300) g;";

/// A session with plain tables and one with distributed ones of the same content.
struct Pair {
    plain: Conn,
    spread: Conn,
}

impl Pair {
    fn new(stem: &str) -> Pair {
        let database = CLUSTER.database(stem);
        let mut plain = CLUSTER.connect(&database);
        let mut spread = CLUSTER.connect(&database);
        for (c, schema) in [(&mut plain, "plain"), (&mut spread, "spread")] {
            c.run(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}, public"));
            c.run(TABLES);
        }
        spread.run(
            "SELECT create_distributed_table('item', 'tenant', shard_count := 8);
             SELECT create_distributed_table('word', 'key', colocate_with := 'none', shard_count := 8);
             SELECT create_distributed_table('line', 'tenant', colocate_with := 'item')",
        );
        Pair { plain, spread }
    }

    /// Runs a statement on both sides, which must say the same.
    fn both(&mut self, sql: &str) {
        let want = outcome(self.plain.simple(sql));
        let got = outcome(self.spread.simple(sql));
        assert_eq!(want, got, "{sql}");
    }

    fn same_content(&mut self) {
        for table in ["item", "word", "line"] {
            self.both(&format!("SELECT * FROM {table} t ORDER BY t::text"));
        }
    }

    fn kept(&mut self) -> i64 {
        let sql = "SELECT count(*) FROM pg_backend_memory_contexts
                   WHERE name = 'citus plan of a statement''s shape'";
        self.spread.value(sql).parse().expect("a number")
    }
}

/// Rows of the last result and its tag, or the SQLSTATE.
fn outcome(answer: Result<Vec<citus_tests::client::ResultSet>, Error>) -> (Vec<Row>, String) {
    match answer {
        Ok(mut sets) => sets.pop().map(|s| (s.rows, s.tag)).unwrap_or_default(),
        Err(e) => (Vec::new(), e.code().to_owned()),
    }
}

/// Statements with a slot, and what goes into it. The last column: whether a plan is kept.
const READS: &[(&str, &[&str], bool)] = &[
    ("SELECT * FROM item WHERE tenant = 3 AND id = {}", &["3", "10", "11", "-3", "17"], true),
    ("SELECT id FROM item WHERE id = 10 AND tenant = {}", &["3", "4", "3", "30000"], true),
    ("SELECT name, price * {} FROM item WHERE tenant = 2 AND id = 9", &["2", "3", "2.5", "1e2"], true),
    ("SELECT count(*), sum(price) FROM item WHERE tenant = {}", &["1", "2", "3", "99", "0"], true),
    ("SELECT id FROM item WHERE tenant = 5 AND name LIKE '{}' ORDER BY id", &["name 1%", "%9", "x", "%"], true),
    ("SELECT id FROM item WHERE tenant = 1 ORDER BY id LIMIT {}", &["3", "1", "0", "5"], true),
    ("SELECT id FROM item WHERE tenant = 1 ORDER BY id OFFSET {} LIMIT 2", &["3", "1", "0", "1000"], true),
    ("SELECT extract(day FROM made) FROM item WHERE tenant = {} ORDER BY 1", &["1", "2", "3"], true),
    ("SELECT date_part('day', made) FROM item WHERE tenant = {} ORDER BY 1", &["1", "2", "3"], true),
    ("SELECT name::varchar(6), {}::numeric(6,2) FROM item WHERE tenant = 4 ORDER BY id", &["1.239", "17.001", "2"], true),
    ("SELECT id FROM item WHERE tenant = 6 AND made > '2024-01-20'::timestamptz + '{} days'::interval ORDER BY id", &["1", "10", "30"], true),
    ("SELECT id FROM item WHERE tenant = 6 AND day = date '2024-0{}' ORDER BY id", &["1-14", "2-04", "1-21"], true),
    ("SELECT id FROM item WHERE tenant = 6 AND open AND id > {} ORDER BY id", &["1", "10", "100"], true),
    ("SELECT id FROM item WHERE tenant = 6 AND open = false AND id > {} ORDER BY id", &["1", "10", "100"], true),
    ("SELECT id FROM item WHERE tenant = 6 AND tag = '{}' ORDER BY id", &["t1", "t2", "x'' y"], true),
    ("SELECT id FROM item WHERE tenant = 6 AND note @> '{\"n\": {}}' ORDER BY id", &["6", "13", "5"], true),
    ("SELECT id FROM item WHERE tenant = 6 AND tag IS DISTINCT FROM NULL AND id < {} ORDER BY id", &["9", "30", "1"], true),
    ("SELECT tag, count(*) FROM item WHERE tenant = {} GROUP BY tag HAVING count(*) > 2 ORDER BY 1", &["1", "2", "3"], true),
    ("SELECT date_trunc('{}', made) d, count(*) FROM item WHERE tenant = 1 GROUP BY 1 ORDER BY 1", &["month", "year", "week"], true),
    ("SELECT 'x' || {} AS a, count(*) FROM item WHERE tenant = 1 GROUP BY 1", &["1", "22", "3"], true),
    ("SELECT id % 2 = {} AS a, CASE WHEN id % 2 = {} THEN count(*) END FROM item WHERE tenant = 1 GROUP BY id % 2 = {}", &["0", "1", "2"], false),
    ("SELECT count(*) FROM item WHERE tenant = 1 GROUP BY id % {} HAVING id % {} > 0 ORDER BY 1", &["2", "3", "4"], false),
    ("SELECT DISTINCT tag || '{}' FROM item WHERE tenant = 1 ORDER BY 1", &["a", "b", "c"], true),
    ("SELECT id, row_number() OVER (ORDER BY price DESC), lag(id, {}) OVER (ORDER BY id) FROM item WHERE tenant = 2 ORDER BY id", &["1", "2", "3"], true),
    ("SELECT i.id, sum(l.amount) FROM item i JOIN line l ON l.tenant = i.tenant AND l.item = i.id WHERE i.tenant = {} GROUP BY i.id ORDER BY i.id", &["1", "2", "3"], true),
    ("SELECT id FROM item i WHERE tenant = {} AND EXISTS (SELECT FROM line l WHERE l.tenant = i.tenant AND l.item = i.id AND l.amount > 100) ORDER BY id", &["1", "2", "3"], true),
    ("SELECT * FROM (SELECT id, price FROM item WHERE tenant = {} ORDER BY price LIMIT 3) s ORDER BY id", &["1", "2", "3"], true),
    ("SELECT n FROM word WHERE key = '{}'", &["k1", "k2", "nothing", "k''3"], true),
    ("SELECT n FROM word WHERE key = E'k\\x3{}'", &["1", "2", "3"], true),
    ("SELECT n FROM word WHERE key = $x$k{}$x$", &["1", "2", "3"], true),
    ("SELECT n /* {} */ FROM word WHERE key = 'k7' -- {}", &["1", "2", "3"], true),
    ("SELECT n / {} FROM word WHERE key = 'k7'", &["1", "0", "2", "0"], true),
    ("SELECT total * {} FROM word WHERE key = 'k7'", &["1e308", "1e10", "1e305"], true),
    ("SELECT count(*) FROM item WHERE tenant IN (1, {})", &["2", "3", "1"], false),
    ("SELECT count(*) FROM item WHERE tenant = 1 OR id = {}", &["2", "3", "1"], false),
    ("SELECT a.id FROM item a, item b WHERE a.tenant = 1 AND b.tenant = {} AND a.id = 8 AND b.id = 8", &["1", "2", "1"], false),
    ("SELECT count(*) FROM item WHERE id = {}", &["2", "3", "1"], false),
    ("SELECT {}", &["2", "3", "1"], false),
    ("SELECT id FROM item WHERE tenant = 2 AND id = 9 AND 1 = {}", &["1", "2", "1"], true),
];

const WRITES: &[(&str, &[&str])] = &[
    ("UPDATE item SET price = price + {} WHERE tenant = 3 AND id = 3", &["1", "2.25", "10", "900000", "3"]),
    ("UPDATE item SET name = '{}', open = NOT open WHERE id = 4 AND tenant = 4", &["a", "b", "c'' d"]),
    ("UPDATE item SET tag = '{}' WHERE tenant = 1", &["a", "bb", "too long", "ccc"]),
    ("UPDATE item SET note = note || '{\"m\": {}}' WHERE tenant = 1 AND id = 8 RETURNING note, id", &["1", "2", "\"x\""]),
    ("UPDATE item SET made = made + interval '{} minutes' WHERE tenant = 1 AND id = 8", &["1", "2", "x", "5"]),
    ("UPDATE item SET tenant = {} WHERE tenant = 1 AND id = 8", &["1", "1", "1"]),
    ("UPDATE line SET amount = amount * {} FROM item i WHERE line.tenant = 2 AND i.tenant = 2 AND i.id = line.item AND i.price > 20", &["1", "2", "3"]),
    ("DELETE FROM item WHERE tenant = 2 AND id = {}", &["2", "9", "16", "16", "4000000000"]),
    ("DELETE FROM line WHERE tenant = 3 AND amount < {} RETURNING amount", &["10", "20", "30"]),
    ("INSERT INTO word VALUES ('{}', 1, 2)", &["n1", "n2", "n1", "n3", "n''4"]),
    ("INSERT INTO word (key, n) VALUES ('m1', {}) ON CONFLICT (key) DO UPDATE SET n = word.n + excluded.n", &["1", "2", "3", "2147483647"]),
    ("INSERT INTO item (id, tenant, name, price, open) VALUES ({}, 5, 'fresh', 1.005, true)", &["1000", "1001", "1002"]),
    ("INSERT INTO item (id, tenant, name, open) VALUES ({}, 6, 'once', true) ON CONFLICT (tenant, name) WHERE open DO NOTHING", &["1000", "1001", "1002"]),
    ("INSERT INTO item (id, tenant, name) VALUES (1, {}, 'far') RETURNING *", &["50", "51", "50", "NULL", "52"]),
    ("INSERT INTO line VALUES (1, 2, {}), (2, 3, 4)", &["1", "2", "3"]),
    ("INSERT INTO line SELECT tenant, id, {} FROM item WHERE tenant = 4", &["1", "2", "3"]),
    ("INSERT INTO line SELECT tenant, id, 7 FROM item WHERE tenant = {} AND id < 30", &["1", "2", "99", "NULL", "3"]),
    ("INSERT INTO line SELECT {0}, count(*), 1 FROM item WHERE tenant = {0}", &["1", "2", "99", "3"]),
    ("INSERT INTO line SELECT {} % 7, 3, 1 FROM item WHERE tenant = 2 AND id < 50", &["2", "9", "3", "10"]),
    ("INSERT INTO line SELECT 2, amount, {0} FROM line WHERE tenant = 2 ORDER BY amount LIMIT {0}", &["2", "1", "0"]),
    ("INSERT INTO item (id, tenant, name) SELECT {}, 5, max(tag) FROM item WHERE tenant = 5 ON CONFLICT (tenant, id) DO UPDATE SET name = excluded.name || item.id RETURNING *", &["2000", "2001", "2000"]),
    ("INSERT INTO item (id, tenant, name, price) SELECT 3000 + id, 6, name, {} FROM item WHERE tenant = 6 AND id < 40", &["1", "900000", "2"]),
];

/// Fills the slots of a statement. Braces of JSON stay.
fn fill(sql: &str, value: &str) -> String {
    sql.replace("{}", value).replace("{0}", value)
}

#[test]
fn constants_change_and_nothing_else() {
    let mut p = Pair::new("shapes_same");
    for (sql, values, keeps) in READS {
        let before = p.kept();
        values.iter().chain(*values).for_each(|v| p.both(&fill(sql, v)));
        assert_eq!(p.kept() > before, *keeps, "whether a plan is kept for {sql}");
    }
    for (sql, values) in WRITES {
        values.iter().chain(*values).for_each(|v| p.both(&fill(sql, v)));
        p.same_content();
    }
    // Inside transactions and savepoints.
    p.both("BEGIN");
    for (sql, values) in WRITES {
        for v in *values {
            p.both("SAVEPOINT s");
            p.both(&fill(sql, v));
            p.both("ROLLBACK TO s");
            p.both(&fill(sql, v));
            p.both("ROLLBACK TO s");
        }
    }
    p.both("ROLLBACK");
    p.same_content();
}

#[test]
fn plans_of_inserts_of_queries_are_kept() {
    let mut p = Pair::new("shapes_inserts");
    for (sql, keeps) in [
        ("INSERT INTO line SELECT tenant, id, {} FROM item WHERE tenant = 1", true),
        ("INSERT INTO item (tenant, id, name) SELECT tenant, 1000 + {}, 'n' FROM line WHERE tenant = 2 LIMIT 1", true),
        ("INSERT INTO line SELECT tenant, id, {} FROM item", false),
        ("INSERT INTO line SELECT tenant + 1, id, {} FROM item WHERE tenant = 1", false),
    ] {
        let before = p.kept();
        ["1", "2", "3"].iter().for_each(|v| p.both(&fill(sql, v)));
        assert_eq!(p.kept() > before, keeps, "whether a plan is kept for {sql}");
    }
    p.same_content();
}

#[test]
fn changed_definitions_are_noticed() {
    let mut p = Pair::new("shapes_ddl");
    let point = |id: i32| format!("SELECT * FROM item WHERE tenant = 3 AND id = {id}");
    for id in [3, 10, 17] {
        p.both(&point(id));
    }
    let mut plans = p.kept();
    assert!(plans > 0);
    for change in [
        "ALTER TABLE item ADD COLUMN extra int DEFAULT 7",
        "ALTER TABLE item ALTER COLUMN price TYPE float8",
        "ALTER TABLE item RENAME COLUMN name TO title",
        "ALTER TABLE item DROP COLUMN note",
        "DROP INDEX item_open",
    ] {
        p.both(change);
        for id in [3, 10, 17] {
            p.both(&point(id));
        }
        plans = p.kept();
    }
    assert!(plans > 0);
    // Another table of the same name, another meaning of the same text.
    p.spread.run("CREATE SCHEMA other; CREATE TABLE other.word (key text PRIMARY KEY, n text)");
    p.spread.run("SELECT create_distributed_table('other.word', 'key')");
    p.spread.run("INSERT INTO other.word VALUES ('k1', 'text')");
    let value = |c: &mut Conn| c.value("SELECT n FROM word WHERE key = 'k1'");
    assert_eq!((value(&mut p.spread), value(&mut p.spread)), ("1".into(), "1".into()));
    p.spread.run("SET search_path = other, spread, public");
    assert_eq!((value(&mut p.spread), value(&mut p.spread)), ("text".into(), "text".into()));
    p.spread.run("SET search_path = spread, public");
    assert_eq!(value(&mut p.spread), "1");
    p.spread.run("DROP TABLE word; CREATE TABLE word (key text, n int)");
    p.spread.run("SELECT create_distributed_table('word', 'key')");
    p.spread.run("INSERT INTO word VALUES ('k1', 5)");
    assert_eq!((value(&mut p.spread), value(&mut p.spread)), ("5".into(), "5".into()));
    p.spread.run("SELECT undistribute_table('word')");
    assert_eq!((value(&mut p.spread), value(&mut p.spread)), ("5".into(), "5".into()));
}

#[test]
fn functions_and_rights_are_looked_at_each_time() {
    let mut p = Pair::new("shapes_rights");
    p.spread
        .run("CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'");
    let sql = |n: i32| format!("SELECT n + twice({n}) FROM word WHERE key = 'k1'");
    for n in [1, 2, 3] {
        assert_eq!(p.spread.value(&sql(n)), (1 + 2 * n).to_string());
    }
    p.spread.run(
        "CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 20'",
    );
    for n in [1, 2, 3] {
        assert_eq!(p.spread.value(&sql(n)), (1 + 20 * n).to_string());
    }
    // Rights of the role that runs the statement, in one session.
    let role = format!("shapes_{}", std::process::id());
    p.spread.run(&format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA spread TO {role}"));
    let point = |k: i32| format!("SELECT n FROM word WHERE key = 'k{k}'");
    for k in [1, 2, 3] {
        assert_eq!(p.spread.value(&point(k)), k.to_string());
    }
    p.spread.run(&format!("SET ROLE {role}"));
    for k in [1, 2, 3] {
        let e = p.spread.simple(&point(k)).expect_err("no right");
        assert_eq!(e.code(), "42501");
    }
    p.spread.run("RESET ROLE");
    p.spread.run(&format!(
        "GRANT SELECT ON word TO {role}; ALTER TABLE word ENABLE ROW LEVEL SECURITY;
         CREATE POLICY odd ON word USING (n % 2 = 1); SET ROLE {role}"
    ));
    let rows = |p: &mut Pair, k: i32| p.spread.rows(&point(k)).len();
    for _ in 0..3 {
        assert_eq!((rows(&mut p, 1), rows(&mut p, 2)), (1, 0));
    }
    p.spread.run("RESET ROLE");
    for _ in 0..3 {
        assert_eq!((rows(&mut p, 1), rows(&mut p, 2)), (1, 1));
    }
    p.spread.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn explain_and_the_switch() {
    let mut p = Pair::new("shapes_explain");
    for k in ["k1", "k2", "k3"] {
        p.both(&format!("SELECT n FROM word WHERE key = '{k}'"));
    }
    let kept = p.kept();
    assert!(kept > 0);
    let plan: String = (0..3)
        .flat_map(|_| p.spread.rows("EXPLAIN (VERBOSE) SELECT n FROM word WHERE key = 'k2'"))
        .filter_map(|r| r.first().cloned().flatten())
        .collect();
    assert!(plan.contains("'k2'") && !plan.contains("$1"), "{plan}");
    p.spread.run("SET citus.enable_fast_path_router_planner = off");
    for k in ["k1", "k2", "k3"] {
        p.both(&format!("SELECT total FROM word WHERE key = '{k}'"));
    }
    assert_eq!(p.kept(), kept);
}

#[test]
fn kept_plans_are_limited() {
    let mut p = Pair::new("shapes_limit");
    let mut most = 0;
    for i in 0..300 {
        for k in ["k1", "k2"] {
            p.spread.run(&format!("SELECT n AS c{i} FROM word WHERE key = '{k}'"));
        }
        if i % 10 == 0 || i > 240 {
            most = most.max(p.kept());
        }
    }
    assert!((200..=256).contains(&most), "{most} plans");
    assert!(p.kept() < 100, "they were never forgotten");
}
