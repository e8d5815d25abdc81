//! What client libraries and tools rely on beyond the rows themselves.

use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

/// Django's bulk_create and psycopg2's execute_values give the keys that come back to their objects
/// one by one.
#[test]
fn returning_has_the_order_of_the_rows() {
    for workers in [0, 2] {
        let cluster = Cluster::start(workers, Kind::FAST, "");
        let mut c = cluster.connect(&cluster.database("order"));
        c.run("CREATE TABLE t (k bigserial PRIMARY KEY, a int, b xid8, s text)");
        c.run("SELECT create_distributed_table('t', 'k', shard_count := 8)");
        let given = |n: i64| (1..=n).map(|i| format!("({i})")).collect::<Vec<_>>().join(", ");
        let expected = |n: i64| (1..=n).map(|i| Some(i.to_string())).collect::<Vec<_>>();
        let mut check = |sql: &str, n: i64| {
            let found: Vec<_> = c.rows(sql).into_iter().map(|mut r| r.remove(0)).collect();
            assert_eq!(found, expected(n), "{workers} workers: {sql}");
        };
        check(&format!("INSERT INTO t (a) VALUES {} RETURNING a", given(100)), 100);
        check("INSERT INTO t (a) SELECT i FROM generate_series(1, 50) i RETURNING a", 50);
        // Rows that travel as literals, and what the coordinator makes of them.
        check(
            "INSERT INTO t (a, b) SELECT i, '7' FROM generate_series(1, 9) i RETURNING a + 0, b",
            9,
        );
        check(
            "INSERT INTO t (k, a) SELECT i, i FROM generate_series(1, 30) i \
             ON CONFLICT (k) DO UPDATE SET a = excluded.a RETURNING a",
            30,
        );
        check(
            "WITH new AS (INSERT INTO t (a) SELECT i FROM generate_series(1, 20) i RETURNING a) \
             SELECT a FROM new",
            20,
        );
        // More than what is sent at once.
        check(
            "INSERT INTO t (a, s) SELECT i, repeat('x', 60000) FROM generate_series(1, 200) i \
             RETURNING a",
            200,
        );
        let all = "INSERT INTO t (k, a) SELECT i, i FROM generate_series(1, 40) i \
                   ON CONFLICT DO NOTHING RETURNING a";
        assert!(c.rows(all).is_empty(), "no row is new");
        c.run("DELETE FROM t WHERE k BETWEEN 11 AND 20");
        let mut some = c.rows(all).into_iter().filter_map(|mut r| r.remove(0)).collect::<Vec<_>>();
        some.sort_by_key(|a| a.parse::<i64>().ok());
        assert_eq!(some, (11..=20).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}
