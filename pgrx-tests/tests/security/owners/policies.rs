//! Barriers and row-level security behind views.

use super::World;
use crate::error;

#[test]
fn barriers_stand_on_the_nodes_too() {
    let w = World::new("barrier", false);
    w.run(
        &mut w.session("o"),
        "CREATE VIEW {s}.behind WITH (security_barrier) AS
            SELECT k, who, v FROM {s}.t WHERE v * v - 6 * v + 9 <> 0;
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

const WRITES: &[&str] = &[
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
];

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
        (
            "SELECT a.v, b.v FROM {s}.t a JOIN {s}.owners b USING (k) WHERE a.k = 1",
            "SELECT 2 [2,1 2,2]",
        ),
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
    for sql in WRITES {
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
