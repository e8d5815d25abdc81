//! Queries of views, and what is revoked.

use citus_tests::client::{Conn, Error};

use super::{World, SIDES};

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
    "BEGIN || SELECT count(*) FROM {s}.some || SAVEPOINT a || SELECT * FROM {s}.lacks || ROLLBACK TO a
        || SELECT sum(v) FROM {s}.some WHERE k = 1 || SELECT v FROM {s}.t || COMMIT",
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
    // A superuser's view.
    let mut admin = w.session("admin");
    w.run(
        &mut admin,
        "CREATE VIEW {s}.admins AS SELECT who, sum(v) FROM {s}.t GROUP BY who;
         GRANT SELECT ON {s}.admins TO {u}",
    );
    w.answers(&mut u, "SELECT count(*) FROM {s}.admins", "SELECT 1 [3]");
    // As somebody else in one session, and as a superuser, who has more rights than the owner.
    w.answers(&mut admin, "SELECT k FROM {s}.lacks WHERE k = 1", "42501");
    w.same(&mut admin, "SET ROLE {u}; SELECT sum(v) FROM {s}.some; RESET ROLE");
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
    let check = |u: &mut Conn, wanted: bool| {
        let (rows, row) =
            if wanted { ("SELECT 1 [3]", "[[Some(\"3\")]]") } else { ("42501", "42501") };
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
    w.run(&mut admin, "ALTER VIEW {s}.some OWNER TO {o}; GRANT SELECT ON {s}.some TO {u}");
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
