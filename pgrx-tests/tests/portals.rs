//! What is bound and executed message by message: each sequence on a distributed table and on a
//! plain one, with the same answers, with new plans and with kept ones.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, Error, Row};
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(2, Kind::FAST, ""));

/// Executions until a plan is kept, with which PostgreSQL waits for the sixth.
const UNTIL_KEPT: usize = 8;

/// What a client got: rows of all statements and their tags, or the SQLSTATE.
type Answer = Result<Vec<(Vec<Row>, String)>, String>;

struct Both {
    name: String,
    conn: Conn,
}

/// A database with `d`, distributed, and `p`, plain: `k` from 1 to 20, each with three rows.
fn both(stem: &str) -> Both {
    let name = CLUSTER.database(stem);
    let mut conn = CLUSTER.connect(&name);
    for t in ["d", "p"] {
        conn.run(&format!("CREATE TABLE {t} (k int, n int, v text, PRIMARY KEY (k, n))"));
    }
    conn.run("SELECT create_distributed_table('d', 'k', shard_count := 4)");
    for t in ["d", "p"] {
        conn.run(&format!(
            "INSERT INTO {t} SELECT k, n, k || '-' || n
             FROM generate_series(1, 20) k, generate_series(0, 2) n"
        ));
    }
    Both { name, conn }
}

impl Both {
    /// A new session in which `statements`, with the table's name for `{t}`, are prepared as s0 ...
    fn session(&self, table: &str, statements: &[&str]) -> Conn {
        let mut c = CLUSTER.connect(&self.name);
        for (i, s) in statements.iter().enumerate() {
            c.prepare(&format!("s{i}"), &s.replace("{t}", table)).unwrap();
        }
        c
    }

    /// The sequence gives the same on both tables, with new plans and with kept ones.
    #[track_caller]
    fn same(&self, statements: &[&str], sequence: impl Fn(&mut Conn, &str) -> Answer) -> Answer {
        let [mut ours, mut theirs] = ["d", "p"].map(|t| self.session(t, statements));
        let mut last = Ok(Vec::new());
        for run in 0..UNTIL_KEPT {
            last = sequence(&mut ours, "d");
            assert_eq!(last, sequence(&mut theirs, "p"), "run {run} of {statements:?}");
            assert_eq!(ours.status, theirs.status, "state after run {run} of {statements:?}");
        }
        last
    }
}

fn answer(c: &mut Conn) -> Answer {
    match c.receive() {
        Ok(all) => Ok(all.into_iter().map(|r| (r.rows, r.tag)).collect()),
        Err(Error::Server(e)) => Err(e.code),
        Err(e) => panic!("{e}"),
    }
}

fn row(values: &[&str]) -> Row {
    values.iter().map(|v| Some((*v).to_owned())).collect()
}

const ONE: &str = "SELECT v, k FROM {t} WHERE k = $1 AND n = 1";

#[test]
fn formats_may_change_with_each_execution() {
    let both = both("portal_formats");
    let last = both.same(&[ONE], |c, _| {
        let mut all = Vec::new();
        for formats in [&[][..], &[1], &[0, 1], &[0], &[1, 0], &[], &[]] {
            c.bind("", "s0", &["7"], formats).unwrap();
            c.run_portal("", 0).unwrap();
            c.sync().unwrap();
            all.append(&mut answer(c)?);
        }
        Ok(all)
    });
    let all = last.unwrap();
    assert_eq!(all[0].0, [row(&["7-1", "7"])]);
    assert_eq!(all[1].0, [row(&["7-1", "\0\0\0\x07"])]);
    assert_eq!(all[6], (vec![row(&["7-1", "7"])], "SELECT 1".to_owned()));
}

#[test]
fn rows_come_in_portions() {
    let both = both("portal_portions");
    let last = both.same(&["SELECT n, v FROM {t} WHERE k = $1 ORDER BY n"], |c, _| {
        // The second time all at once, which is how its plan becomes known to be read.
        for k in ["5", "6"] {
            c.bind("", "s0", &[k], &[]).unwrap();
            c.run_portal("", if k == "5" { 2 } else { 0 }).unwrap();
            if k == "5" {
                c.run_portal("", 2).unwrap();
            }
        }
        c.sync().unwrap();
        answer(c)
    });
    let all = last.unwrap();
    assert_eq!(all[0].0, [row(&["0", "5-0"]), row(&["1", "5-1"]), row(&["2", "5-2"])]);
    assert_eq!(all[1].0.len(), 3);
}

#[test]
fn what_is_never_executed_leaves_nothing() {
    let both = both("portal_unused");
    let last = both.same(&[ONE, "UPDATE {t} SET v = v || $2 WHERE k = $1"], |c, t| {
        c.bind("", "s0", &["9"], &[]).unwrap();
        c.run_portal("", 0).unwrap();
        c.sync().unwrap();
        answer(c)?;
        for k in ["9", "10", "11"] {
            c.bind("", "s0", &[k], &[]).unwrap();
        }
        c.sync().unwrap();
        answer(c)?;
        // Within a block: bound over, another portal is executed.
        c.run("BEGIN");
        c.bind("", "s0", &["9"], &[]).unwrap();
        c.bind("w", "s1", &["9", "+"], &[]).unwrap();
        c.run_portal("w", 0).unwrap();
        c.bind("", "s0", &["9"], &[]).unwrap();
        c.run_portal("", 0).unwrap();
        c.sync().unwrap();
        let inside = answer(c)?;
        c.run("ROLLBACK");
        let after = c.rows(&format!("SELECT v FROM {t} WHERE k = 9 AND n = 1"));
        Ok([inside, vec![(after, String::new())]].concat())
    });
    let all = last.unwrap();
    assert_eq!(all[0].1, "UPDATE 3");
    assert_eq!(all[1].0, [row(&["9-1+", "9"])]);
    assert_eq!(all[2].0, [row(&["9-1"])]);
    let open = |w: &citus_tests::server::Server| {
        w.connect(&both.name).value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND pid <> pg_backend_pid() AND state <> 'idle'",
        )
    };
    // The end of a transaction that has only read is not waited for.
    let end = Instant::now() + Duration::from_secs(60);
    while !CLUSTER.workers.iter().all(|w| open(w) == "0") {
        assert!(Instant::now() < end, "sessions on the workers are not idle");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn errors_come_with_the_execution() {
    let both = both("portal_errors");
    let divide = "SELECT 10 / n FROM {t} WHERE k = $1 AND n = $2";
    let last = both.same(&[divide], |c, _| {
        let mut codes = Vec::new();
        for n in ["1", "0", "2", "0"] {
            c.bind("", "s0", &["4", n], &[]).unwrap();
            c.run_portal("", 0).unwrap();
            c.sync().unwrap();
            let code = answer(c).map_or_else(|code| code, |all| all[0].1.clone());
            codes.push((Vec::new(), code));
        }
        // A block has failed with it; nobody asks for the rows of the second one.
        c.run("BEGIN");
        c.bind("", "s0", &["4", "0"], &[]).unwrap();
        c.sync().unwrap();
        answer(c)?;
        codes.push((Vec::new(), String::from(char::from(c.status))));
        c.run("ROLLBACK");
        Ok(codes)
    });
    let codes: Vec<String> = last.unwrap().into_iter().map(|c| c.1).collect();
    assert_eq!(codes, ["SELECT 1", "22012", "SELECT 1", "22012", "T"]);
}

#[test]
fn what_may_do_something_waits_for_its_execution() {
    let mut both = both("portal_volatile");
    both.conn.run("CREATE SEQUENCE s");
    let statements = [
        "SELECT clock_timestamp() > $2::text::timestamptz, n FROM {t} WHERE k = $1 AND n = 1",
        "SELECT nextval('s') > 0, n FROM {t} WHERE k = $1 AND n = 1",
        "SELECT n FROM {t} WHERE k = $1 AND n = 1 FOR UPDATE",
    ];
    both.same(&statements, |c, _| {
        let now = c.value("SELECT clock_timestamp() + interval '40 ms'");
        let before = c.value("SELECT last_value, is_called FROM s");
        c.bind("", "s0", &["2", &now], &[]).unwrap();
        c.send_queued().unwrap();
        std::thread::sleep(Duration::from_millis(60));
        c.run_portal("", 0).unwrap();
        c.sync().unwrap();
        let later = answer(c)?;
        assert_eq!(later[0].0, [row(&["t", "1"])]);
        for s in ["s1", "s2"] {
            c.bind("", s, &["2"], &[]).unwrap();
            c.sync().unwrap();
            answer(c)?;
        }
        assert_eq!(c.value("SELECT last_value, is_called FROM s"), before);
        for s in ["s1", "s2"] {
            c.bind("", s, &["2"], &[]).unwrap();
            c.run_portal("", 0).unwrap();
            c.sync().unwrap();
            answer(c)?;
        }
        Ok(later)
    })
    .unwrap();
}

/// A message that binds values has room for 65535 of them; what is evaluated here goes with them.
#[test]
fn as_many_parameters_as_there_can_be() {
    let both = both("many");
    let list: Vec<String> = (1..=u16::MAX).map(|n| format!("n + ${n}::int")).collect();
    let values: Vec<Option<String>> = (1..=u16::MAX).map(|n| Some(n.to_string())).collect();
    let sql =
        format!("SELECT count(*) FROM {{t}} WHERE cardinality(ARRAY[{}]) > n", list.join(","));
    for (sql, ours) in [(sql.clone(), Ok("60")), (sql + " AND v <> now()::text", Err("54000"))] {
        for (table, expected) in [("d", ours), ("p", Ok("60"))] {
            let mut c = both.session(table, &[&sql]);
            c.run("SET plan_cache_mode = force_generic_plan");
            match (c.execute("s0", &values), expected) {
                (Ok(r), Ok(count)) => assert_eq!(r.rows[0][0].as_deref(), Some(count)),
                (Err(Error::Server(e)), Err(code)) => assert_eq!(e.code, code, "{e}"),
                (other, _) => panic!("{other:?} of {table}"),
            }
            assert_eq!(c.value("SELECT 1"), "1");
        }
    }
}

/// Rows of a scrollable cursor are kept above the plan, and EXPLAIN finds the names of its columns.
#[test]
fn scrollable_cursors_can_be_explained() {
    let both = both("scroll");
    let mut c = both.session("d", &[]);
    for query in ["SELECT k, v || '!' AS w FROM d WHERE k = 1", "SELECT k, v FROM d ORDER BY v"] {
        let rows = c.rows(&format!("EXPLAIN (VERBOSE) DECLARE c SCROLL CURSOR FOR {query}"));
        assert!(!rows.is_empty());
        c.run(&format!("BEGIN; DECLARE c SCROLL CURSOR FOR {query}"));
        let last = c.rows("FETCH LAST FROM c");
        let before = c.rows("FETCH PRIOR FROM c");
        assert_eq!(c.rows("FETCH NEXT FROM c"), last);
        assert_ne!(before, last);
        c.run("COMMIT");
    }
}

/// Statements that are sent one behind the other without a Sync between them are one transaction, as
/// drivers send several statements at once: none of them may run apart from those before it.
#[test]
fn statements_without_sync_between_them_are_one_transaction() {
    let both = both("portals_pipeline");
    let pipelines: [&[&str]; 4] = [
        &["GRANT SELECT ON {t} TO PUBLIC", "ANALYZE {t}"],
        &["CREATE INDEX {t}_v ON {t} (v)", "ANALYZE {t}", "SELECT count(*) FROM {t}"],
        &["ALTER TABLE {t} ADD c int", "ANALYZE {t} (c, v)", "VACUUM {t}"],
        &["SELECT count(*) FROM {t}", "DROP INDEX CONCURRENTLY {t}_v"],
    ];
    for statements in pipelines {
        let [ours, theirs] = ["d", "p"].map(|t| {
            let mut c = CLUSTER.connect(&both.name);
            for s in statements {
                c.queue(&s.replace("{t}", t)).unwrap();
            }
            c.sync().unwrap();
            answer(&mut c)
        });
        assert_eq!(ours, theirs, "{statements:?}");
    }
    let mut c = CLUSTER.connect(&both.name);
    c.run("SET enable_seqscan = off");
    assert_eq!(c.value("SELECT count(*) FROM d WHERE v = '7-1'"), "1");
    let sizes = "SELECT count(DISTINCT result) FROM run_command_on_shards('d',
        $$SELECT count(*) FROM pg_index WHERE indrelid = '%s'::regclass$$) WHERE result = '2'";
    assert_eq!(c.value(sizes), "1", "the index is on every shard still");
}
