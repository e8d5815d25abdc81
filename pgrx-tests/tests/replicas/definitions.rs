//! Definitions that change while a shard is copied: the copy has them like the shard it was made
//! from, whichever of the two came first.

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;
use std::time::Duration;

use super::equal_copies;

/// A statement on the objects of schema `{s}`, and what the shard's definition has afterwards.
struct Case {
    sql: &'static str,
    want: &'static str,
    /// It runs outside of transaction blocks only.
    alone: bool,
}

const fn case(sql: &'static str, want: &'static str) -> Case {
    Case { sql, want, alone: false }
}

const CASES: &[Case] = &[
    case("GRANT UPDATE ON {s}.t TO copies_b", "copies_b=w/copies_owner"),
    case("GRANT UPDATE ON ALL TABLES IN SCHEMA {s} TO copies_b", "copies_b=w/copies_owner"),
    case("GRANT SELECT (v) ON {s}.t TO copies_b", "v int4 {copies_b=r/copies_owner}"),
    case("REVOKE INSERT ON {s}.t FROM copies_a", "copies_a=r/copies_owner"),
    case("GRANT CREATE ON SCHEMA {s} TO copies_a", "copies_a=C/"),
    case("ALTER INDEX {s}.t_v RENAME TO t_other", "t_other_{id}"),
    case("ALTER INDEX {s}.t_v SET (fillfactor = 40)", "fillfactor='40'"),
    case("ALTER STATISTICS {s}.t_s SET STATISTICS 77", "t_s_{id} 77"),
    case("ALTER STATISTICS {s}.t_s RENAME TO t_x", "t_x_{id} -1"),
    case("ALTER TABLE {s}.t ADD COLUMN x int DEFAULT 5", "x int4"),
    case("ALTER TABLE {s}.t SET SCHEMA {s}_b", "{s}_b.t_{id}"),
    case("ALTER TABLE {s}.t OWNER TO copies_b", "owner copies_b"),
    case("ALTER SCHEMA {s} RENAME TO {s}_c", "{s}_c.t_{id}"),
    case("ALTER TYPE {s}.mood ADD VALUE 'odd'", "mood sad,glad,odd"),
    case("DROP OWNED BY copies_a", "owner copies_owner "),
    case("REASSIGN OWNED BY copies_owner TO copies_b", "owner copies_b"),
    case("CREATE POLICY p ON {s}.t TO copies_b USING (v > 1)", "policy p"),
    Case {
        sql: "CREATE INDEX CONCURRENTLY t_late ON {s}.t (v, k)",
        want: "t_late_{id}",
        alone: true,
    },
    Case { sql: "DROP INDEX CONCURRENTLY {s}.t_v", want: "t_pkey_{id}", alone: true },
];

/// One table with one shard on the first worker, and the copy of it that is to be.
struct Ground {
    cluster: Cluster,
    database: String,
}

impl Ground {
    fn new() -> Ground {
        let cluster = Cluster::start(2, Kind::FAST, "");
        let database = cluster.database("definitions");
        let mut c = cluster.connect(&database);
        c.run("CREATE ROLE copies_owner; CREATE ROLE copies_a; CREATE ROLE copies_b");
        c.run(&format!("GRANT CREATE ON DATABASE {database} TO copies_owner, copies_b"));
        Ground { cluster, database }
    }

    fn connect(&self) -> Conn {
        self.cluster.connect(&self.database)
    }

    /// The schema's shard and the statement that copies it to the other worker.
    fn table(&self, c: &mut Conn, s: &str) -> (String, String) {
        c.run(&format!(
            "CREATE SCHEMA {s}; CREATE SCHEMA {s}_b;
             GRANT ALL ON SCHEMA {s}, {s}_b TO copies_owner, copies_b;
             CREATE TYPE {s}.mood AS ENUM ('sad', 'glad');
             CREATE TABLE {s}.t (k int PRIMARY KEY, v int, m {s}.mood);
             CREATE INDEX t_v ON {s}.t (v);
             CREATE STATISTICS {s}.t_s ON k, v FROM {s}.t;
             ALTER TABLE {s}.t OWNER TO copies_owner;
             GRANT SELECT, INSERT ON {s}.t TO copies_a;
             SELECT create_distributed_table('{s}.t', 'k', shard_count := 1, \
                colocate_with := 'none', replication_factor := 1);
             INSERT INTO {s}.t SELECT i, i, 'sad' FROM generate_series(1, 50) i"
        ));
        let sql = format!(
            "SELECT shardid, nodeport FROM pg_dist_shard_placement JOIN pg_dist_shard USING (shardid) \
             WHERE logicalrelid = '{s}.t'::regclass"
        );
        let row: Vec<String> = c.rows(&sql).remove(0).into_iter().flatten().collect();
        let from: u16 = row[1].parse().unwrap();
        let to = self.cluster.workers.iter().find(|w| w.port != from).unwrap().port;
        let copy = format!(
            "SELECT citus_copy_shard_placement({}, '127.0.0.1', {from}, '127.0.0.1', {to})",
            row[0]
        );
        (row[0].clone(), copy)
    }

    /// What both workers have of a shard.
    fn definitions(&self, shard: &str) -> Vec<String> {
        let acl = |acl: &str, kind: &str, owner: &str| {
            format!(
                "(SELECT string_agg(a::text, ',' ORDER BY a::text COLLATE \"C\") \
                  FROM unnest(coalesce({acl}, acldefault('{kind}', {owner}))) a)"
            )
        };
        let sql = format!(
            "SELECT format('%s.%s owner %s %s schema %s', n.nspname, c.relname, \
                c.relowner::regrole, {}, {}) \
              || (SELECT string_agg(format(' column %s %s %s', a.attname, t.typname, a.attacl), '' \
                  ORDER BY a.attname) \
                  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                  WHERE attrelid = c.oid AND attnum > 0) \
              || (SELECT string_agg(' ' || pg_get_indexdef(indexrelid), '' \
                  ORDER BY pg_get_indexdef(indexrelid)) FROM pg_index WHERE indrelid = c.oid) \
              || (SELECT string_agg(format(' statistics %s %s', stxname, stxstattarget), '') \
                  FROM pg_statistic_ext WHERE stxrelid = c.oid) \
              || coalesce((SELECT string_agg(' policy ' || polname, '') FROM pg_policy \
                  WHERE polrelid = c.oid), '') \
              || (SELECT string_agg(format(' type %s %s', t.typname, \
                    (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) \
                     FROM pg_enum WHERE enumtypid = t.oid)), '') \
                  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                  WHERE attrelid = c.oid AND typtype = 'e') \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = 't_{shard}'",
            acl("c.relacl", "r", "c.relowner"),
            acl("n.nspacl", "n", "n.nspowner"),
        );
        let workers = &self.cluster.workers;
        workers.iter().map(|w| w.connect(&self.database).value(&sql)).collect()
    }

    /// Both workers have the same, with what is wanted.
    fn check(&self, sql: &str, shard: &str, want: &str) -> Result<(), String> {
        let found = self.definitions(shard);
        if found[0] != found[1] {
            return Err(format!("{sql}: the copies differ:\n  {}\n  {}", found[0], found[1]));
        }
        match found[0].contains(want) {
            true => Ok(()),
            false => Err(format!("{sql}: no {want:?} in\n  {}", found[0])),
        }
    }
}

/// Runs a statement in a thread of its own while `meanwhile` ends what it may have to wait for.
fn beside(g: &Ground, sql: &str, meanwhile: impl FnOnce()) -> Result<(), String> {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| g.connect().simple(sql).map(|_| ()));
        std::thread::sleep(Duration::from_millis(200));
        meanwhile();
        other.join().unwrap().map_err(|e| format!("{sql}: {e}"))
    })
}

fn run_cases(copy_first: bool) {
    let g = Ground::new();
    let mut c = g.connect();
    let mut wrong = Vec::new();
    for (i, case) in CASES.iter().enumerate() {
        if case.alone && !copy_first {
            continue;
        }
        let s = format!("s{i}");
        let (shard, copy) = g.table(&mut c, &s);
        let fill = |text: &str| text.replace("{s}", &s).replace("{id}", &shard);
        let sql = fill(case.sql);
        let (first, second) = if copy_first { (&copy, &sql) } else { (&sql, &copy) };
        c.run(&format!("BEGIN; {first}"));
        let done = beside(&g, second, || c.run("COMMIT"));
        let result = done.and_then(|()| g.check(&sql, &shard, &fill(case.want)));
        wrong.extend(result.err());
        // Statements about all that a role has concern this table only.
        c.run(&format!("DROP SCHEMA IF EXISTS {s}, {s}_b, {s}_c CASCADE"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn changes_during_a_copy_reach_it() {
    run_cases(true);
}

#[test]
fn a_copy_has_changes_that_were_under_way() {
    run_cases(false);
}

/// A table that becomes co-located while a shard is copied has its copy, too.
#[test]
fn new_tables_follow_their_group() {
    let g = Ground::new();
    let mut c = g.connect();
    for (i, copy_first) in [true, false].into_iter().enumerate() {
        let s = format!("s{i}");
        let (_, copy) = g.table(&mut c, &s);
        c.run(&format!(
            "CREATE TABLE {s}.n (k int PRIMARY KEY, v int); INSERT INTO {s}.n VALUES (1, 1)"
        ));
        let new =
            format!("SELECT create_distributed_table('{s}.n', 'k', colocate_with := '{s}.t')");
        let (first, second) = if copy_first { (&copy, &new) } else { (&new, &copy) };
        c.run(&format!("BEGIN; {first}"));
        beside(&g, second, || c.run("COMMIT")).unwrap();
        for table in ["t", "n"] {
            let copies = equal_copies(&g.cluster, &g.database, &format!("{s}.{table}"));
            assert_eq!(copies, 1, "{table}, copied first: {copy_first}");
        }
        let sql = format!("SELECT count(*) FROM {s}.t JOIN {s}.n USING (k)");
        assert_eq!(c.value(&sql), "1");
    }
}
