//! Many rows of an INSERT that travel to their shards go by COPY, and nobody can tell.

use super::*;

const COLUMNS: &str =
    "k int NOT NULL, v text, n numeric(6,2) DEFAULT 7, at date, PRIMARY KEY (k), \
                       CHECK (v <> 'bad'), UNIQUE (k, v)";
/// Rows enough for COPY.
const MANY: i32 = 5000;

/// Runs a statement on both tables; `#` stands for the table.
#[track_caller]
fn run(p: &mut Pair, sql: &str) -> Outcome {
    let want = p.conn.simple(&sql.replace('#', "plain"));
    let got = p.conn.simple(&sql.replace('#', "dist"));
    let fields = |o: &Outcome| match o {
        Err(Error::Server(e)) => {
            let say = |s: &Option<String>| s.as_deref().map(|s| s.replace("plain", "dist"));
            Some((say(&e.table), say(&e.constraint), e.column.clone(), e.schema.clone()))
        }
        _ => None,
    };
    assert_eq!((essence(&got), fields(&got)), (essence(&want), fields(&want)), "{sql}");
    p.same(sql);
    got
}

#[test]
fn rows_and_errors() {
    both(|pair| {
        let mut p = pair(COLUMNS, BY_K);
        let rows = format!("SELECT i, E'a\\tb\\\\' || i, NULL, date '2020-01-01' + i FROM generate_series(1, {MANY}) i");
        run(&mut p, &format!("INSERT INTO # {rows}")).unwrap();
        run(&mut p, "INSERT INTO # (v, k) SELECT upper(v), k + 10000 FROM #").unwrap();
        run(&mut p, "INSERT INTO # SELECT k + 20000, v, n, at FROM # ORDER BY k LIMIT 7000")
            .unwrap();
        for (bad, code) in [
            ("INSERT INTO # SELECT CASE k WHEN 4990 THEN 1 ELSE k + 50000 END, v FROM # ORDER BY k", "23505"),
            ("INSERT INTO # SELECT k + 50000, CASE k WHEN 4990 THEN 'bad' ELSE v END FROM # ORDER BY k", "23514"),
            ("INSERT INTO # SELECT nullif(k + 50000, 54990), v FROM # ORDER BY k", "23502"),
            ("INSERT INTO # SELECT k + 50000, v, k FROM # ORDER BY k", "22003"),
            ("INSERT INTO # SELECT CASE k WHEN 4990 THEN 1 / (k - 4990) ELSE k + 50000 END, v FROM # ORDER BY k", "22012"),
        ] {
            assert_eq!(error(run(&mut p, bad)).code, code, "{bad}");
        }
        p.conn.run("BEGIN");
        run(&mut p, "UPDATE # SET n = 1 WHERE k = 3").unwrap();
        run(&mut p, "INSERT INTO # SELECT k + 60000, 'block', n FROM #").unwrap();
        p.conn.run("SAVEPOINT s");
        run(&mut p, "INSERT INTO # SELECT k + 90000, 'gone', n FROM # WHERE v = 'block'").unwrap();
        p.conn.run("ROLLBACK TO s");
        p.same("after the savepoint");
        run(&mut p, "INSERT INTO # SELECT k + 90000, 'again', n FROM # WHERE v = 'block'").unwrap();
        p.conn.run("COMMIT");
        p.same("after the commit");
        // A key that is missing is refused even where the column allows it.
        p.conn.run("CREATE TABLE free (k int, v text)");
        p.conn.run("SELECT create_distributed_table('free', 'k', colocate_with := 'none')");
        let e = error(
            p.conn.simple("INSERT INTO free SELECT nullif(k + 1, 4001), v FROM dist ORDER BY k"),
        );
        assert_eq!((e.code.as_str(), e.column.as_deref()), ("23502", Some("k")), "{e}");
        assert_eq!(p.conn.value("SELECT count(*) FROM free"), "0");
    });
}

#[test]
fn which_statements_go_by_copy() {
    let c = Cluster::start(2, Kind::FAST, "log_statement = all");
    let mut conn = c.connect(&c.database("by_copy"));
    conn.run(
        "CREATE TABLE far (k int PRIMARY KEY, v text);
         CREATE TABLE near (k int PRIMARY KEY, v text);
         CREATE TABLE everywhere (k int PRIMARY KEY, v text);
         CREATE TABLE twice (k int PRIMARY KEY, v text);
         CREATE VIEW seen AS SELECT k, v FROM far WHERE k > 0 WITH CHECK OPTION;
         CREATE VIEW plain_view AS SELECT k, v FROM far;
         SELECT create_distributed_table('near', 'k', shard_count := 4);
         SELECT create_distributed_table('far', 'k', shard_count := 4, colocate_with := 'none');
         SELECT create_distributed_table('twice', 'k', shard_count := 4, colocate_with := 'none', replication_factor := 2);
         SELECT create_reference_table('everywhere')",
    );
    conn.run(&format!("INSERT INTO near SELECT i, 'row ' || i FROM generate_series(1, {MANY}) i"));
    for (sql, table, copies) in [
        ("INSERT INTO far SELECT * FROM near", "far", true),
        ("INSERT INTO far SELECT k + 10000, v FROM far", "far", true),
        ("INSERT INTO far SELECT 20000 + i, 'x' FROM generate_series(1, 9000) i", "far", true),
        ("INSERT INTO everywhere SELECT * FROM near", "everywhere", true),
        ("INSERT INTO twice SELECT * FROM near", "twice", true),
        ("INSERT INTO far SELECT 30000 + i, 'x' FROM generate_series(1, 100) i", "far", false),
        ("INSERT INTO near SELECT k + 100000, v FROM far ON CONFLICT DO NOTHING", "near", false),
        ("INSERT INTO near SELECT k + 200000, v FROM far RETURNING k", "near", false),
        ("INSERT INTO seen SELECT k + 300000, v FROM near", "far", false),
        ("INSERT INTO plain_view SELECT k + 600000, v FROM near", "far", false),
        ("INSERT INTO near SELECT k + 1000000, v FROM near WHERE k < 0", "near", false),
    ] {
        let seen = |c: &Cluster| -> usize {
            let copied = format!("COPY public.{table}_");
            c.workers.iter().map(|w| w.log().matches(&copied).count()).sum()
        };
        let before = seen(&c);
        conn.run(sql);
        assert_eq!(seen(&c) > before, copies, "{sql}");
    }
    assert_eq!(conn.value("SELECT count(*) FROM everywhere"), MANY.to_string());
    let shards = "SELECT result FROM run_command_on_placements('twice', 'SELECT count(*), sum(k) FROM %s') ORDER BY shardid";
    let counts: Vec<String> = conn.rows(shards).into_iter().flatten().flatten().collect();
    assert_eq!(counts.len(), 8);
    counts.chunks(2).for_each(|pair| assert_eq!(pair[0], pair[1]));
}

#[test]
fn an_insert_can_be_cancelled_while_it_copies() {
    for c in [cluster(), single()] {
        let database = c.database("copy_insert_cancel");
        let mut a = c.connect(&database);
        a.run("SET citus.shard_count = 4");
        a.run("CREATE TABLE dist (k int, v text)");
        a.run(BY_K);
        a.run("SET statement_timeout = '500ms'");
        let sql = "INSERT INTO dist SELECT i, 'row ' || i FROM generate_series(1, 100000000) i";
        assert_eq!(error(a.simple(sql)).code, "57014");
        a.run("RESET statement_timeout");
        assert_eq!(a.value("SELECT count(*) FROM dist"), "0");
        a.run("INSERT INTO dist SELECT i, 'row ' || i FROM generate_series(1, 20000) i");
        assert_eq!(a.value("SELECT count(*) FROM dist"), "20000");
    }
}
