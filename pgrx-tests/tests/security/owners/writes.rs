//! Views and rules that are written through.

use super::World;

const WRITES: &[&str] = &[
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
    "UPDATE {s}.colors SET n = upper(n) WHERE id > 1",
    "DELETE FROM {s}.colors WHERE id = 4",
    "INSERT INTO {s}.ruled VALUES (5, 'five')",
    "DELETE FROM {s}.ruled WHERE k = 5",
    "BEGIN; UPDATE {s}.up SET v = 1 WHERE k = 1; SELECT v FROM {s}.up WHERE k = 1; ROLLBACK",
    "BEGIN || INSERT INTO {s}.up VALUES (30, 'a', 1) || SAVEPOINT a || INSERT INTO {s}.t VALUES (1)
        || ROLLBACK TO a || INSERT INTO {s}.up VALUES (31, 'a', 1) || COMMIT",
    // Whoever owns the view may not, and who uses it may not himself.
    "INSERT INTO {s}.reads VALUES (1, 'x', 1)",
    "UPDATE {s}.reads SET v = 1 WHERE k = 1",
    "UPDATE {s}.reads SET v = v + k",
    "DELETE FROM {s}.reads",
    "INSERT INTO {s}.t VALUES (1, 'x', 1)",
    "UPDATE {s}.t SET v = 1 WHERE k = 1",
    "DELETE FROM {s}.t",
];

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
    for sql in WRITES {
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
