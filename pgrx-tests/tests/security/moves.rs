//! Rows that a new value of the distribution column takes to other shards, under policies.

use crate::{cluster, refused, session, user};

#[test]
fn rows_that_may_not_be_deleted_do_not_come_twice() {
    let cl = cluster();
    let db = &cl.database("moves");
    user("moves_a", db);
    user("moves_b", db);
    let mut owner = session(&cl.coordinator, "moves_a", db);
    owner.run(
        "CREATE TABLE moves_a.e (k int, v int);
         SELECT create_distributed_table('moves_a.e', 'k', shard_count := 8);
         CREATE TABLE moves_a.one (k int, v int);
         SELECT create_distributed_table('moves_a.one', 'k', shard_count := 1, colocate_with := 'none');
         INSERT INTO moves_a.e SELECT i, i FROM generate_series(1, 5) i;
         INSERT INTO moves_a.one SELECT i, i FROM generate_series(1, 5) i;
         ALTER TABLE moves_a.e ENABLE ROW LEVEL SECURITY;
         ALTER TABLE moves_a.one ENABLE ROW LEVEL SECURITY;
         GRANT USAGE ON SCHEMA moves_a TO moves_b;
         GRANT ALL ON moves_a.e, moves_a.one TO moves_b",
    );
    for t in ["e", "one"] {
        owner.run(&format!(
            "CREATE POLICY s ON moves_a.{t} FOR SELECT USING (true);
             CREATE POLICY u ON moves_a.{t} FOR UPDATE USING (true);
             CREATE POLICY i ON moves_a.{t} FOR INSERT WITH CHECK (true)"
        ));
    }
    let mut c = session(&cl.coordinator, "moves_b", db);
    let all = "SELECT string_agg(k || ':' || v, ' ' ORDER BY v, k) FROM moves_a.";
    let e = refused(&mut c, "UPDATE moves_a.e SET k = k + 100, v = v", "42501");
    assert!(e.message.contains("keeps a row of table \"e\""), "{e}");
    assert!(e.hint.as_deref().unwrap_or("").contains("DELETE"), "{e}");
    assert_eq!(owner.value(&format!("{all}e")), "1:1 2:2 3:3 4:4 5:5");
    // Rows that stay in their shard need no more than UPDATE.
    c.run("UPDATE moves_a.e SET k = k + 0, v = v + 1; UPDATE moves_a.one SET k = k + 100");
    assert_eq!(owner.value(&format!("{all}e")), "1:2 2:3 3:4 4:5 5:6");
    assert_eq!(owner.value(&format!("{all}one")), "101:1 102:2 103:3 104:4 105:5");
    owner.run("CREATE POLICY d ON moves_a.e FOR DELETE USING (v < 4)");
    refused(&mut c, "UPDATE moves_a.e SET k = k + 100", "42501");
    assert_eq!(owner.value(&format!("{all}e")), "1:2 2:3 3:4 4:5 5:6");
    c.run("UPDATE moves_a.e SET k = k + 100 WHERE v < 4");
    assert_eq!(owner.value(&format!("{all}e")), "101:2 102:3 3:4 4:5 5:6");
}

#[test]
fn rows_of_others_keep_what_they_refer_to() {
    let cl = cluster();
    let db = &cl.database("kept");
    user("kept_a", db);
    user("kept_b", db);
    let mut owner = session(&cl.coordinator, "kept_a", db);
    owner.run(
        "CREATE TABLE kept_a.p (k int PRIMARY KEY, v int);
         SELECT create_distributed_table('kept_a.p', 'k', shard_count := 8);
         CREATE TABLE kept_a.c (k int REFERENCES kept_a.p ON DELETE CASCADE, v int);
         SELECT create_distributed_table('kept_a.c', 'k', colocate_with := 'kept_a.p');
         INSERT INTO kept_a.p SELECT i, i FROM generate_series(1, 6) i;
         INSERT INTO kept_a.c VALUES (1, 1), (2, 2);
         ALTER TABLE kept_a.c ENABLE ROW LEVEL SECURITY;
         GRANT USAGE ON SCHEMA kept_a TO kept_b;
         GRANT ALL ON kept_a.p TO kept_b",
    );
    let mut c = session(&cl.coordinator, "kept_b", db);
    refused(&mut c, "SELECT * FROM kept_a.c", "42501");
    // He may neither see nor name the rows that refer to his.
    let e = refused(&mut c, "UPDATE kept_a.p SET k = k + 100", "23503");
    assert!(e.message.ends_with("\"c_k_fkey\" on table \"c\""), "{e}");
    assert_eq!(c.simple("UPDATE kept_a.p SET k = k + 100 WHERE k > 2").unwrap()[0].tag, "UPDATE 4");
    let all = "SELECT string_agg(k || ':' || v, ' ' ORDER BY v) FROM kept_a.";
    assert_eq!(owner.value(&format!("{all}p")), "1:1 2:2 103:3 104:4 105:5 106:6");
    assert_eq!(owner.value(&format!("{all}c")), "1:1 2:2");
}
