//! Views and rules read and write as their owners, on the nodes as here. Every statement is run on
//! plain tables, too: rows, counts and SQLSTATEs have to be the same.

use citus_tests::client::{Conn, Error};
use citus_tests::server::Server;

use crate::{cluster, error, refused, session, user};

/// Schemas with the same objects: plain tables and distributed ones.
const SIDES: [&str; 2] = ["plain", "dist"];

/// What a statement answers: tags and sorted rows, or the SQLSTATE.
fn outcome(c: &mut Conn, sql: &str) -> String {
    match c.simple(sql) {
        Ok(results) => {
            let mut out = Vec::new();
            for r in results {
                let cell = |v: Option<String>| v.unwrap_or("NULL".into());
                let mut rows: Vec<String> = r
                    .rows
                    .into_iter()
                    .map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(","))
                    .collect();
                rows.sort();
                out.push(format!("{} [{}]", r.tag, rows.join(" ")));
            }
            out.join("; ")
        }
        Err(Error::Server(e)) => e.code,
        Err(e) => panic!("{sql}\n{e}"),
    }
}

/// A world with three roles: `{o}` owns tables, `{v}` owns views, `{u}` uses them.
struct World {
    db: String,
    stem: &'static str,
}

const TABLES: &str = "
    CREATE TABLE {s}.t (k int, who text, v int);
    CREATE TABLE {s}.w (k int PRIMARY KEY, n text);
    CREATE TABLE {s}.r (id int PRIMARY KEY, n text);";
const DISTRIBUTE: &str = "
    SELECT create_distributed_table('{s}.t', 'k', shard_count := 4);
    SELECT create_distributed_table('{s}.w', 'k', colocate_with := '{s}.t');
    SELECT create_reference_table('{s}.r');";
const ROWS: &str = "
    INSERT INTO {s}.t VALUES (1, '{o}', 1), (1, '{u}', 2), (2, '{v}', 3), (3, '{u}', 4), (4, '{v}', 5);
    INSERT INTO {s}.w VALUES (1, 'one'), (2, 'two'), (3, 'three');
    INSERT INTO {s}.r VALUES (1, 'red'), (2, 'blue');";

impl World {
    /// The tables on both sides; with `here`, shards are on the coordinator, too.
    fn new(stem: &'static str, here: bool) -> World {
        let cl = cluster();
        let world = World { db: cl.database(stem), stem };
        for role in ["o", "v", "u"] {
            user(&world.role(role), &world.db);
        }
        let mut admin = cl.connect(&world.db);
        if here {
            admin.run(&format!(
                "SELECT citus_set_node_property('127.0.0.1', {}, 'shouldhaveshards', true)",
                cl.coordinator.port
            ));
        }
        for s in SIDES {
            let schema = "CREATE SCHEMA {s} AUTHORIZATION {o}; GRANT USAGE ON SCHEMA {s} TO PUBLIC;
                GRANT CREATE ON SCHEMA {s} TO {v}";
            admin.run(&world.text(schema, s));
            let mut owner = world.session("o");
            owner.run(&world.text(TABLES, s));
            if s == "dist" {
                owner.run(&world.text(DISTRIBUTE, s));
            }
            owner.run(&world.text(ROWS, s));
        }
        world
    }

    fn role(&self, role: &str) -> String {
        format!("{}_{role}", self.stem)
    }

    fn session(&self, role: &str) -> Conn {
        match role {
            "admin" => cluster().connect(&self.db),
            _ => session(&cluster().coordinator, &self.role(role), &self.db),
        }
    }

    fn text(&self, sql: &str, side: &str) -> String {
        let mut text = sql.replace("{s}", side);
        for role in ["o", "v", "u"] {
            text = text.replace(&format!("{{{role}}}"), &self.role(role));
        }
        text
    }

    /// Runs a statement on both sides.
    #[track_caller]
    fn run(&self, c: &mut Conn, sql: &str) {
        SIDES.iter().for_each(|s| c.run(&self.text(sql, s)));
    }

    /// Runs a statement on both sides, which must answer the same.
    #[track_caller]
    fn same(&self, c: &mut Conn, sql: &str) -> String {
        let [plain, dist] = SIDES.map(|s| outcome(c, &self.text(sql, s)));
        assert_eq!(plain, dist, "{sql}");
        dist
    }

    /// [`World::same`], and what it must be.
    #[track_caller]
    fn answers(&self, c: &mut Conn, sql: &str, wanted: &str) {
        let found = self.same(c, sql);
        assert_eq!(found, wanted, "{sql}");
    }

    /// What is in the tables must be the same on both sides.
    #[track_caller]
    fn same_content(&self, c: &mut Conn) {
        for t in ["t", "w", "r"] {
            self.same(c, &format!("SELECT * FROM {{s}}.{t}"));
        }
    }
}

/// Views of several kinds; `{v}` may read some columns, `{u}` nothing but views.
const VIEWS: [(&str, &str); 3] = [
    (
        "o",
        "CREATE VIEW {s}.all_t AS SELECT * FROM {s}.t;
         CREATE VIEW {s}.asks WITH (security_invoker) AS SELECT * FROM {s}.t;
         CREATE VIEW {s}.behind WITH (security_barrier) AS SELECT k, v FROM {s}.t WHERE v <> 3;
         CREATE VIEW {s}.names AS SELECT id, n FROM {s}.r;
         CREATE VIEW {s}.both AS SELECT t.k, t.v, w.n FROM {s}.t JOIN {s}.w USING (k);
         CREATE VIEW {s}.sums AS SELECT who, sum(v) AS s, count(*) AS c FROM {s}.t GROUP BY who;
         GRANT SELECT ON {s}.all_t TO {v};
         GRANT SELECT (k, v) ON {s}.t TO {v};
         GRANT SELECT ON {s}.asks, {s}.behind, {s}.names, {s}.both, {s}.sums TO {u}",
    ),
    (
        "v",
        "CREATE VIEW {s}.deep AS SELECT k, who, v FROM {s}.all_t WHERE v > 1;
         CREATE VIEW {s}.some AS SELECT k, v FROM {s}.t;
         CREATE VIEW {s}.lacks AS SELECT k, who FROM {s}.t;
         GRANT SELECT ON {s}.deep, {s}.some, {s}.lacks TO {u}",
    ),
    ("o", "GRANT SELECT (k) ON {s}.t TO {u}"),
];

const READS: &[&str] = &[
    "SELECT * FROM {s}.deep",
    "SELECT * FROM {s}.deep WHERE k = 1",
    "SELECT count(*), sum(v) FROM {s}.some",
    "SELECT k, count(*) FROM {s}.some GROUP BY k",
    "SELECT max(v) FROM {s}.some WHERE k IN (1, 2)",
    "SELECT v, count(*) FROM {s}.some GROUP BY v HAVING count(*) > 0 ORDER BY v LIMIT 2",
    "SELECT k, v FROM {s}.some ORDER BY v DESC LIMIT 2",
    "SELECT * FROM {s}.both",
    "SELECT * FROM {s}.both WHERE k = 1",
    "SELECT * FROM {s}.sums",
    "SELECT * FROM {s}.names",
    "SELECT s.v, n.n FROM {s}.some s JOIN {s}.names n ON s.k = n.id",
    "SELECT a.v FROM {s}.some a JOIN {s}.deep b ON a.k = b.k AND a.v = b.v",
    "SELECT a.v FROM {s}.some a JOIN {s}.deep b ON a.v = b.k",
    "SELECT a.k FROM {s}.t a JOIN {s}.some b USING (k)",
    "SELECT a.k, b.v FROM {s}.t a JOIN {s}.some b USING (k) WHERE a.k = 1",
    "SELECT a.v FROM {s}.t a JOIN {s}.some b USING (k)",
    "SELECT a.v FROM {s}.t a JOIN {s}.some b USING (k) WHERE a.k = 1",
    "SELECT v FROM {s}.some WHERE k IN (SELECT k FROM {s}.sums JOIN {s}.both ON c = v)",
    "SELECT k FROM {s}.t WHERE EXISTS (SELECT 1 FROM {s}.some s WHERE s.k = t.k AND s.v > 2)",
    "WITH x AS MATERIALIZED (SELECT * FROM {s}.some) SELECT sum(v) FROM x",
    "SELECT k FROM {s}.some UNION SELECT k FROM {s}.t",
    "SELECT k, (SELECT count(*) FROM {s}.deep d WHERE d.k = s.k) FROM {s}.some s",
    "SELECT v, row_number() OVER (PARTITION BY k ORDER BY v) FROM {s}.some",
    "SELECT * FROM {s}.lacks",
    "SELECT k FROM {s}.lacks WHERE k = 1",
    "SELECT count(*) FROM {s}.lacks",
    "SELECT * FROM {s}.asks",
    "SELECT k FROM {s}.asks",
    "SELECT k FROM {s}.asks WHERE k = 1",
    "SELECT * FROM {s}.all_t",
    "SELECT * FROM {s}.t WHERE k = 1",
    "SELECT * FROM {s}.some FOR UPDATE",
    "SELECT * FROM {s}.some WHERE k = 1 FOR SHARE",
    "COPY (SELECT * FROM {s}.some) TO STDOUT",
    "BEGIN; SELECT count(*) FROM {s}.some; SELECT count(*) FROM {s}.deep; SELECT k FROM {s}.t; COMMIT",
    "BEGIN; SELECT count(*) FROM {s}.some; SAVEPOINT a; SELECT * FROM {s}.lacks",
    "ROLLBACK TO a; SELECT sum(v) FROM {s}.some WHERE k = 1; SELECT v FROM {s}.t",
    "ROLLBACK",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT sum(v) FROM {s}.some; SELECT v FROM {s}.deep; COMMIT",
    "SET citus.consistent_reads = on; SELECT sum(v) FROM {s}.some; RESET citus.consistent_reads",
    "CREATE TEMP TABLE x AS SELECT * FROM {s}.some; SELECT sum(v) FROM x; DROP TABLE x",
];

fn reads(stem: &'static str, here: bool) {
    let w = World::new(stem, here);
    for (role, sql) in VIEWS {
        w.run(&mut w.session(role), sql);
    }
    let mut u = w.session("u");
    for sql in READS {
        w.same(&mut u, sql);
    }
    // Some of them as they must be: both sides could be wrong in the same way.
    w.answers(&mut u, "SELECT count(*), sum(v) FROM {s}.some", "SELECT 1 [5,15]");
    w.answers(&mut u, "SELECT v FROM {s}.t", "42501");
    w.answers(&mut u, "SELECT a.v FROM {s}.t a JOIN {s}.some b USING (k) WHERE a.k = 1", "42501");
    w.answers(&mut u, "SELECT * FROM {s}.lacks", "42501");
    w.answers(&mut u, "SELECT * FROM {s}.asks", "42501");
    // As somebody else in one session, and as a superuser, who has more rights than the owner.
    let mut admin = w.session("admin");
    w.answers(&mut admin, "SELECT k FROM {s}.lacks WHERE k = 1", "42501");
    w.same(&mut admin, &w.text("SET ROLE {u}; SELECT sum(v) FROM {s}.some; RESET ROLE", "{s}"));
    w.same(&mut admin, "SELECT sum(v) FROM {s}.some");
    let explained = u.rows("EXPLAIN SELECT * FROM dist.some WHERE k = 1");
    assert!(explained.iter().flatten().flatten().any(|l| l.contains("Task")), "{explained:?}");
    let analyzed = u.rows("EXPLAIN (ANALYZE, COSTS off) SELECT * FROM dist.some");
    assert!(analyzed.iter().flatten().flatten().any(|l| l.contains("Scan")), "{analyzed:?}");
}

#[test]
fn views_are_read_as_their_owners() {
    reads("reads", false);
}

#[test]
fn views_over_shards_here_are_read_as_their_owners() {
    reads("reads_here", true);
}

#[test]
fn what_is_revoked_is_gone_at_once() {
    let w = World::new("revoked", false);
    for (role, sql) in VIEWS {
        w.run(&mut w.session(role), sql);
    }
    let mut u = w.session("u");
    let mut owner = w.session("o");
    let by_key = "SELECT v FROM {s}.some WHERE k = 2";
    for (i, s) in SIDES.iter().enumerate() {
        let sql = w.text("SELECT v FROM {s}.some WHERE k = $1", s);
        u.prepare(&format!("p{i}"), &sql).unwrap();
    }
    let prepared = |u: &mut Conn| {
        let [a, b] = [0, 1].map(|i| match u.execute(&format!("p{i}"), &[Some("2".into())]) {
            Ok(r) => format!("{:?}", r.rows),
            Err(Error::Server(e)) => e.code,
            Err(e) => panic!("{e}"),
        });
        assert_eq!(a, b);
        b
    };
    let mut check = |u: &mut Conn, wanted: bool| {
        let (rows, row) = if wanted { ("SELECT 1 [3]", "[[Some(\"3\")]]") } else { ("42501", "42501") };
        for _ in 0..7 {
            w.answers(u, by_key, rows);
            assert_eq!(prepared(u), row);
        }
    };
    check(&mut u, true);
    // The view's owner loses the table, and gets it back.
    w.run(&mut owner, "REVOKE SELECT (k, v) ON {s}.t FROM {v}");
    check(&mut u, false);
    w.run(&mut owner, "GRANT SELECT (k, v) ON {s}.t TO {v}");
    check(&mut u, true);
    // The user loses the view.
    let mut admin = w.session("admin");
    w.run(&mut admin, "REVOKE SELECT ON {s}.some FROM {u}");
    check(&mut u, false);
    w.run(&mut admin, "GRANT SELECT ON {s}.some TO {u}");
    check(&mut u, true);
    // The view gets another owner, who may not read the table.
    w.run(&mut admin, "ALTER VIEW {s}.some OWNER TO {u}");
    check(&mut u, false);
    w.run(&mut admin, "ALTER VIEW {s}.some OWNER TO {o}");
    check(&mut u, true);
    w.run(&mut admin, "ALTER VIEW {s}.some SET (security_invoker)");
    check(&mut u, false);
    w.run(&mut admin, "ALTER VIEW {s}.some RESET (security_invoker)");
    check(&mut u, true);
    // The same plans for another user of the same session.
    let mut c = w.session("admin");
    for _ in 0..3 {
        for (role, wanted) in [("u", "SELECT 1 [3]"), ("o", "SELECT 1 [3]"), ("v", "42501")] {
            w.run(&mut admin, "REVOKE ALL ON {s}.some FROM {v}");
            c.run(&format!("SET ROLE {}", w.role(role)));
            w.answers(&mut c, by_key, wanted);
            c.run("RESET ROLE");
        }
    }
}

#[test]
fn barriers_stand_on_the_nodes_too() {
    let w = World::new("barrier", false);
    w.run(
        &mut w.session("o"),
        "CREATE VIEW {s}.behind WITH (security_barrier) AS SELECT k, who, v FROM {s}.t WHERE v <> 3;
         CREATE VIEW {s}.plain AS SELECT k, who, v FROM {s}.t WHERE v <> 3;
         GRANT ALL ON {s}.behind TO {u}",
    );
    let mut u = w.session("u");
    // The division fails for the row that the view hides, if it is asked about it.
    for sql in [
        "SELECT v FROM {s}.behind WHERE 1 / (v - 3) < 100",
        "SELECT v FROM {s}.behind WHERE k = 2 AND 1 / (v - 3) < 100",
        "SELECT count(*) FROM {s}.behind WHERE 1 / (v - 3) < 100",
        "SELECT k, max(v) FROM {s}.behind WHERE 1 / (v - 3) < 100 GROUP BY k",
        "SELECT a.v FROM {s}.behind a JOIN {s}.behind b USING (k) WHERE 1 / (a.v - 3) < b.v",
        "UPDATE {s}.behind SET who = 'x' WHERE 1 / (v - 3) < 100",
        "UPDATE {s}.behind SET who = 'y' WHERE k = 2 AND 1 / (v - 3) < 100",
        "DELETE FROM {s}.behind WHERE k = 2 AND 1 / (v - 3) > 100",
    ] {
        let found = w.same(&mut u, sql);
        assert_ne!(found, "22012", "{sql}");
    }
    w.same_content(&mut w.session("admin"));
    // The control: there is such a row, and the division fails for it.
    let e = error(&mut w.session("o"), "SELECT v FROM dist.t WHERE k = 2 AND 1 / (v - 3) < 100");
    assert_eq!(e.code, "22012");
}

#[test]
fn policies_are_those_of_the_views_owner() {
    let w = World::new("policy", false);
    let mut owner = w.session("o");
    w.run(
        &mut owner,
        "ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY pv ON {s}.t TO {v} USING (who = '{v}');
         CREATE POLICY pu ON {s}.t TO {u} USING (who = '{u}');
         GRANT SELECT, INSERT, UPDATE, DELETE ON {s}.t TO {v}, {u};
         CREATE VIEW {s}.owners AS SELECT * FROM {s}.t;
         CREATE VIEW {s}.invoked WITH (security_invoker) AS SELECT * FROM {s}.t;
         GRANT ALL ON {s}.owners, {s}.invoked TO {u}, {v}",
    );
    w.run(
        &mut w.session("v"),
        "CREATE VIEW {s}.mine AS SELECT * FROM {s}.t;
         CREATE VIEW {s}.over AS SELECT * FROM {s}.owners;
         GRANT ALL ON {s}.mine, {s}.over TO {u}",
    );
    let mut u = w.session("u");
    let reads = [
        ("SELECT v FROM {s}.mine", "SELECT 2 [3 5]"),
        ("SELECT v FROM {s}.mine WHERE k = 2", "SELECT 1 [3]"),
        ("SELECT count(*), sum(v) FROM {s}.mine", "SELECT 1 [2,8]"),
        ("SELECT v FROM {s}.t", "SELECT 2 [2 4]"),
        ("SELECT v FROM {s}.t WHERE k = 1", "SELECT 1 [2]"),
        ("SELECT v FROM {s}.owners WHERE k = 1", "SELECT 2 [1 2]"),
        ("SELECT sum(v) FROM {s}.owners", "SELECT 1 [15]"),
        ("SELECT sum(v) FROM {s}.over", "SELECT 1 [15]"),
        ("SELECT v FROM {s}.invoked", "SELECT 2 [2 4]"),
        ("SELECT a.v, b.v FROM {s}.t a JOIN {s}.mine b ON a.k = b.k", "SELECT 0 []"),
        ("SELECT a.v, b.v FROM {s}.t a JOIN {s}.owners b USING (k) WHERE a.k = 1", "SELECT 2 [2,1 2,2]"),
        ("SELECT a.v, b.v FROM {s}.t a, {s}.mine b WHERE b.k = 2", "SELECT 2 [2,3 4,3]"),
        ("SELECT v FROM {s}.mine UNION ALL SELECT v FROM {s}.t", "SELECT 4 [2 3 4 5]"),
    ];
    for (sql, wanted) in reads {
        w.answers(&mut u, sql, wanted);
    }
    // A superuser has to keep to the policies of the view's owner as well.
    let mut admin = w.session("admin");
    w.answers(&mut admin, "SELECT v FROM {s}.mine", "SELECT 2 [3 5]");
    w.answers(&mut admin, "SELECT v FROM {s}.mine WHERE k = 1", "SELECT 0 []");
    w.answers(&mut admin, "SELECT sum(v) FROM {s}.t", "SELECT 1 [15]");
    for sql in [
        "INSERT INTO {s}.mine VALUES (9, '{u}', 9)",
        "INSERT INTO {s}.mine VALUES (9, '{v}', 9)",
        "INSERT INTO {s}.mine VALUES (10, '{v}', 9), (11, '{v}', 9)",
        "INSERT INTO {s}.owners VALUES (12, 'any', 12)",
        "UPDATE {s}.mine SET v = v + 1",
        "UPDATE {s}.mine SET who = '{u}' WHERE k = 9",
        "UPDATE {s}.mine SET v = 0 WHERE k = 1",
        "UPDATE {s}.owners SET v = v + 1 WHERE k = 1",
        "DELETE FROM {s}.mine WHERE k = 10",
        "DELETE FROM {s}.t WHERE k = 9",
        "DELETE FROM {s}.mine USING {s}.w WHERE mine.k = w.k",
    ] {
        w.same(&mut u, sql);
        w.same_content(&mut admin);
    }
    w.run(&mut owner, "ALTER TABLE {s}.t FORCE ROW LEVEL SECURITY");
    w.answers(&mut u, "SELECT count(*) FROM {s}.owners", "SELECT 1 [0]");
    w.answers(&mut u, "SELECT v FROM {s}.owners WHERE k = 1", "SELECT 0 []");
    w.run(&mut owner, "CREATE POLICY po ON {s}.t TO {o} USING (who = current_user)");
    // What a policy calls the current user is who sent the query.
    w.answers(&mut u, "SELECT v FROM {s}.owners WHERE k = 3", "SELECT 1 [4]");
    w.answers(&mut w.session("v"), "SELECT v FROM {s}.owners WHERE k = 3", "SELECT 0 []");
    w.answers(&mut owner, "SELECT v FROM {s}.owners WHERE k = 3", "SELECT 0 []");
}

#[test]
fn views_and_rules_are_written_as_their_owners() {
    writes("writes", false);
}

#[test]
fn views_over_shards_here_are_written_as_their_owners() {
    writes("writes_here", true);
}

fn writes(stem: &'static str, here: bool) {
    let w = World::new(stem, here);
    w.run(
        &mut w.session("o"),
        "CREATE VIEW {s}.up AS SELECT k, who, v FROM {s}.t WHERE v < 100;
         CREATE VIEW {s}.checked AS SELECT k, who, v FROM {s}.t WHERE v < 100 WITH CHECK OPTION;
         CREATE VIEW {s}.keyed AS SELECT k, n FROM {s}.w;
         CREATE VIEW {s}.colors AS SELECT id, n FROM {s}.r;
         CREATE VIEW {s}.ruled AS SELECT k, n FROM {s}.w;
         CREATE RULE ins AS ON INSERT TO {s}.ruled DO INSTEAD INSERT INTO {s}.w VALUES (NEW.k, NEW.n);
         CREATE RULE del AS ON DELETE TO {s}.ruled DO INSTEAD DELETE FROM {s}.w WHERE k = OLD.k;
         GRANT ALL ON {s}.up, {s}.checked, {s}.keyed, {s}.colors, {s}.ruled TO {u};
         GRANT SELECT ON {s}.t TO {v}",
    );
    w.run(
        &mut w.session("v"),
        "CREATE VIEW {s}.reads AS SELECT k, who, v FROM {s}.t; GRANT ALL ON {s}.reads TO {u}",
    );
    let (mut u, mut admin) = (w.session("u"), w.session("admin"));
    for sql in [
        "INSERT INTO {s}.up VALUES (7, 'x', 7)",
        "INSERT INTO {s}.up VALUES (8, 'x', 8)",
        "INSERT INTO {s}.up VALUES (9, 'x', 9), (10, 'x', 10), (11, 'x', 500) RETURNING k, v",
        "INSERT INTO {s}.up SELECT k + 20, who, v FROM {s}.up WHERE k < 3",
        "INSERT INTO {s}.checked VALUES (12, 'x', 12)",
        "INSERT INTO {s}.checked VALUES (12, 'x', 500)",
        "INSERT INTO {s}.checked VALUES (13, 'x', 13), (14, 'x', 500)",
        "UPDATE {s}.up SET v = v + 1 WHERE k = 1",
        "UPDATE {s}.up SET v = v + 1",
        "UPDATE {s}.up SET v = v + 1 WHERE k = 1 RETURNING who, v",
        "UPDATE {s}.up SET v = 50 FROM {s}.keyed y WHERE y.k = up.k AND y.n = 'two'",
        "UPDATE {s}.up SET v = (SELECT count(*) FROM {s}.up) WHERE k = 7",
        "UPDATE {s}.checked SET v = 500 WHERE k = 1",
        "UPDATE {s}.checked SET v = v + 2 WHERE k = 1",
        "UPDATE {s}.up SET k = k + 100 WHERE k = 8",
        "DELETE FROM {s}.up WHERE k = 3",
        "DELETE FROM {s}.up WHERE v = 12 RETURNING k",
        "DELETE FROM {s}.up USING {s}.keyed y WHERE y.n = up.who",
        "INSERT INTO {s}.keyed VALUES (1, 'new') ON CONFLICT (k) DO UPDATE SET n = excluded.n",
        "INSERT INTO {s}.keyed VALUES (1, 'new') ON CONFLICT DO NOTHING",
        "INSERT INTO {s}.colors VALUES (3, 'green'), (4, 'pink')",
        "UPDATE {s}.colors SET n = n || '!' WHERE id > 1",
        "DELETE FROM {s}.colors WHERE id = 4",
        "INSERT INTO {s}.ruled VALUES (5, 'five')",
        "DELETE FROM {s}.ruled WHERE k = 5",
        "BEGIN; UPDATE {s}.up SET v = 1 WHERE k = 1; SELECT v FROM {s}.up WHERE k = 1; ROLLBACK",
        "BEGIN; INSERT INTO {s}.up VALUES (30, 'a', 1); SAVEPOINT a; INSERT INTO {s}.t VALUES (1)",
        "ROLLBACK TO a; INSERT INTO {s}.up VALUES (31, 'a', 1); COMMIT",
        // Whoever owns the view may not, and who uses it may not himself.
        "INSERT INTO {s}.reads VALUES (1, 'x', 1)",
        "UPDATE {s}.reads SET v = 1 WHERE k = 1",
        "UPDATE {s}.reads SET v = v + k",
        "DELETE FROM {s}.reads",
        "INSERT INTO {s}.t VALUES (1, 'x', 1)",
        "UPDATE {s}.t SET v = 1 WHERE k = 1",
        "DELETE FROM {s}.t",
    ] {
        w.same(&mut u, sql);
        w.same_content(&mut admin);
    }
    for i in 40..45 {
        w.answers(&mut u, &format!("INSERT INTO {{s}}.up VALUES ({i}, 'y', 1)"), "INSERT 0 1 []");
        w.answers(&mut u, &format!("UPDATE {{s}}.up SET v = 2 WHERE k = {i}"), "UPDATE 1 []");
    }
    w.answers(&mut u, "UPDATE {s}.reads SET v = v + k", "42501");
    w.answers(&mut u, "INSERT INTO {s}.checked VALUES (12, 'x', 500)", "44000");
    w.same_content(&mut admin);
}

/// A function on every node that tries what the query that calls it may do.
const PEEK: &str = "CREATE FUNCTION {o}.peek(int) RETURNS boolean LANGUAGE plpgsql AS $f$
    DECLARE got text;
    BEGIN
        BEGIN
            EXECUTE current_query();
            got := 'everything';
        EXCEPTION WHEN OTHERS THEN
            got := SQLSTATE;
        END;
        RAISE NOTICE 'peeked as %: %', current_user, got;
        RETURN true;
    END $f$";

#[test]
fn functions_on_the_nodes_run_as_the_caller() {
    let w = World::new("peek", false);
    for node in cluster().nodes() {
        session(node, &w.role("o"), &w.db).run(&w.text(PEEK, ""));
        let grant = "GRANT USAGE ON SCHEMA {o} TO PUBLIC";
        session(node, &w.role("o"), &w.db).run(&w.text(grant, ""));
    }
    let mut owner = w.session("o");
    // The table that the policy is about has an owner; others read it by his view.
    owner.run(&w.text(
        "ALTER TABLE dist.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON dist.t TO {v} USING ({o}.peek(v));
         GRANT SELECT ON dist.t TO {v}",
        "",
    ));
    let mut v = w.session("v");
    v.run(&w.text("CREATE VIEW dist.some AS SELECT k, v FROM dist.t; GRANT SELECT ON dist.some TO {u}", ""));
    let mut u = w.session("u");
    let told = |c: &mut Conn| -> Vec<String> {
        let mut all: Vec<String> = c.notices.drain(..).map(|n| n.message).collect();
        all.retain(|m| m.starts_with("peeked"));
        all.sort();
        all.dedup();
        all
    };
    assert_eq!(outcome(&mut u, "SELECT v FROM dist.some WHERE k = 1"), "SELECT 2 [1 2]");
    assert_eq!(told(&mut u), [format!("peeked as {}: 42501", w.role("u"))]);
    // A second task of the same node is still checked as the owner, after what the first one did.
    assert_eq!(outcome(&mut u, "SELECT count(*) FROM dist.some"), "SELECT 1 [5]");
    assert_eq!(told(&mut u), [format!("peeked as {}: 42501", w.role("u"))]);
    // The control: with rights of his own, what the function tries works.
    owner.run(&w.text("GRANT SELECT ON dist.t TO {u}; CREATE POLICY q ON dist.t TO {u} USING (true)", ""));
    assert_eq!(outcome(&mut u, "SELECT v FROM dist.some WHERE k = 1"), "SELECT 2 [1 2]");
    assert_eq!(told(&mut u), [format!("peeked as {}: everything", w.role("u"))]);
}

/// A shard of `dist.t` on a node.
fn shard(node: &Server, db: &str) -> String {
    node.connect(db).value("SELECT min(relname::text) FROM pg_class WHERE relname ~ '^t_[0-9]+$'")
}

#[test]
fn a_node_is_told_by_the_coordinator_only() {
    let w = World::new("told", false);
    w.run(
        &mut w.session("o"),
        "CREATE VIEW {s}.some AS SELECT k, v FROM {s}.t; GRANT SELECT ON {s}.some TO {u}",
    );
    let mut u = w.session("u");
    assert_eq!(outcome(&mut u, "SELECT count(*) FROM dist.some"), "SELECT 1 [5]");
    let owner = w.role("o");
    for node in &cluster().workers {
        let read = format!("SELECT count(*) >= 0 FROM dist.{} t", shard(node, &w.db));
        let tell = |proof: &str| {
            format!("SELECT citus_internal_check_as('{{dist,t,t,{owner}}}', {proof})")
        };
        let mut thief = session(node, &w.role("u"), &w.db);
        for (proof, code) in [("NULL", "42501"), ("'1:00'", "28000")] {
            thief.run("BEGIN");
            refused(&mut thief, &tell(proof), code);
            thief.run("ROLLBACK");
            refused(&mut thief, &read, "42501");
        }
        // What the coordinator said, once more.
        let log = node.log();
        let calls: Vec<&str> = log
            .split("statement: ")
            .filter_map(|s| s.find("SELECT pg_catalog.citus_internal_check_as(").and_then(|i| s.get(i..)))
            .map(|s| s.split("\n2").next().unwrap_or(s).trim_end())
            .filter(|s| s.contains(&owner) && s.ends_with("')"))
            .collect();
        assert!(!calls.is_empty(), "nothing was said to {}", node.name);
        for sql in calls {
            thief.run("BEGIN");
            refused(&mut thief, sql, "28000");
            thief.run("ROLLBACK");
        }
        // The control: a superuser may, and then it works, for as long as it should.
        let mut admin = node.connect(&w.db);
        assert_eq!(error(&mut admin, &tell("NULL")).code, "25P01");
        let start = format!("BEGIN; {}; SET LOCAL ROLE {}", tell("NULL"), w.role("u"));
        admin.run(&start);
        assert_eq!(admin.value(&read), "t");
        admin.run(&format!("EXPLAIN {read}"));
        admin.run(&format!("SAVEPOINT s; DO $$ BEGIN RAISE division_by_zero; EXCEPTION WHEN OTHERS THEN END $$; {read}"));
        // By another name, or inside of something else, it is another table.
        for other in [
            read.replace(" t", " other"),
            format!("DO $$ BEGIN PERFORM 1 FROM dist.{} t; END $$", shard(node, &w.db)),
            "SELECT * FROM dist.w t".to_owned(),
        ] {
            let e = error(&mut admin, &other);
            assert!(["42501", "42P01"].contains(&e.code.as_str()), "{other}\n{e}");
            admin.run("ROLLBACK TO s");
        }
        assert_eq!(admin.value(&read), "t");
        admin.run("SELECT citus_internal_check_as_self()");
        refused(&mut admin, &read, "42501");
        admin.run("ROLLBACK");
        for end in ["COMMIT; BEGIN", "ROLLBACK; BEGIN"] {
            admin.run(&start);
            admin.run(&format!("{end}; SET LOCAL ROLE {}", w.role("u")));
            refused(&mut admin, &read, "42501");
            admin.run("ROLLBACK");
        }
        admin.run("BEGIN; SAVEPOINT s");
        admin.run(&format!("{}; ROLLBACK TO s; SET LOCAL ROLE {}", tell("NULL"), w.role("u")));
        refused(&mut admin, &read, "42501");
        admin.run("ROLLBACK");
        // A role that the node does not have.
        admin.run("BEGIN");
        let missing = tell("NULL").replace(&owner, "nobody_of_this_name");
        assert_eq!(error(&mut admin, &missing).code, "42704");
        admin.run("ROLLBACK");
    }
}
