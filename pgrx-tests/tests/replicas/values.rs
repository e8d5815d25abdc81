//! Values that differ each time they are computed are the same in all copies.

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

use super::equal_copies;

#[test]
fn copies_hold_the_same_values() {
    let cluster = Cluster::start(2, Kind::FAST, "");
    let name = cluster.database("replica_values");
    let mut c = cluster.connect(&name);
    for (n, distribute) in [
        "SELECT create_reference_table('v')",
        "SELECT create_distributed_table('v', 'k', shard_count := 4, replication_factor := 2)",
    ]
    .into_iter()
    .enumerate()
    {
        c.run("DROP TABLE IF EXISTS v, plain");
        c.run(
            "CREATE TABLE v (k int PRIMARY KEY, a timestamptz DEFAULT clock_timestamp(), \
                b float8 DEFAULT random(), c uuid DEFAULT gen_random_uuid(), d bigserial, \
                e timestamptz DEFAULT now(), f text DEFAULT current_user || pg_backend_pid(), \
                g float8 GENERATED ALWAYS AS (b * 3) STORED, h float4 DEFAULT 0);
             CREATE TABLE plain (k int, x float8)",
        );
        c.run(distribute);
        c.run("INSERT INTO plain SELECT i % 50, random() FROM generate_series(1, 500) i");
        let statements = [
            "INSERT INTO v (k) VALUES (1)",
            "INSERT INTO v (k) VALUES (2), (3), (4)",
            "INSERT INTO v (k) SELECT generate_series(5, 60)",
            "INSERT INTO v (k, b) SELECT i, random() FROM generate_series(61, 80) i",
            "INSERT INTO v (k) VALUES (1) ON CONFLICT (k) DO UPDATE SET b = excluded.b, c = excluded.c",
            "INSERT INTO v (k, a) VALUES (2, now()) ON CONFLICT (k) DO UPDATE SET e = now(), h = 1",
            "UPDATE v SET a = clock_timestamp()",
            "UPDATE v SET b = random(), c = gen_random_uuid() WHERE k % 2 = 0",
            "UPDATE v SET e = now(), f = pg_backend_pid()::text || inet_server_port()::text",
            "UPDATE v SET d = nextval('v_d_seq') WHERE k < 40",
            // Which of the matches counts is not said.
            "UPDATE v SET b = x FROM plain WHERE plain.k = v.k",
            "UPDATE v SET b = w.b FROM v w WHERE w.k % 10 = v.k % 10",
            "UPDATE v SET h = 1 WHERE k IN (SELECT k FROM v LIMIT 7)",
            "UPDATE v SET h = 2 WHERE ctid IN (SELECT ctid FROM v LIMIT 3)",
            "UPDATE v SET h = (SELECT sum(h) FROM v)",
            "UPDATE v SET b = (SELECT avg(b) FROM v w WHERE w.k = v.k), h = (SELECT sum(b) FROM v)",
            "UPDATE v SET h = random() WHERE random() < 0.5",
            "DELETE FROM v WHERE random() < 0.2",
            "DELETE FROM v WHERE k IN (SELECT k FROM v ORDER BY random() LIMIT 5)",
            "DELETE FROM v USING plain WHERE plain.k = v.k AND plain.x < 0.01",
            "WITH n AS (SELECT random() AS r) UPDATE v SET b = r FROM n",
            "WITH d AS (DELETE FROM v WHERE k > 70 RETURNING *) INSERT INTO v (k, b) SELECT k + 100, random() FROM d",
            "MERGE INTO v USING (SELECT k, random() AS r FROM plain GROUP BY k) p ON p.k = v.k \
             WHEN MATCHED AND r < 0.5 THEN UPDATE SET b = r WHEN NOT MATCHED THEN INSERT (k, b) VALUES (p.k, r)",
            "PREPARE p AS UPDATE v SET b = random(), e = now() WHERE k = $1; EXECUTE p(3); EXECUTE p(4); DEALLOCATE p",
        ];
        let copies = if n == 0 { 2 } else { 4 };
        for sql in statements {
            // Rows lie in other places, and in another order, on one of the nodes.
            if let Some(shards) = shuffle(&mut c) {
                cluster.workers[0].connect(&name).run(&shards);
            }
            // A statement that is refused changes nothing; those are listed here.
            match c.simple(sql) {
                Ok(_) => {}
                Err(e) => println!("refused: {sql}: {e}"),
            }
            assert_eq!(equal_copies(&cluster, &name, "v"), copies, "{sql}");
        }
        let lines: String = (200..300).map(|k| format!("{k}\n")).collect();
        c.copy_in("COPY v (k) FROM STDIN", lines.as_bytes()).unwrap();
        assert_eq!(equal_copies(&cluster, &name, "v"), copies, "COPY");
        assert!(c.value("SELECT count(DISTINCT b) FROM v").parse::<i32>().unwrap() > 90);
    }
}

/// Statements that rewrite some rows of all shards of `v` as they are.
fn shuffle(c: &mut Conn) -> Option<String> {
    let sql = "SELECT string_agg(format('UPDATE v_%s SET h = h WHERE k %% 3 = 1', shardid), ';') \
               FROM pg_dist_shard WHERE logicalrelid = 'v'::regclass";
    c.rows(sql).remove(0).remove(0)
}
