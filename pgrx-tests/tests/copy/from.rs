//! COPY FROM.

use super::{both, cluster, error, essence, single, Pair, BY_K, REFERENCE};

#[test]
fn formats_and_options() {
    both(|pair| {
        let mut p = pair("k int NOT NULL, v text, n numeric, d date DEFAULT '2020-02-02'", BY_K);
        let cases: &[(&str, &str)] = &[
            ("COPY # FROM STDIN", "1\ta\t1.5\t2021-01-01\n2\t\\N\t\\N\t\\N\n3\tx\\ty\\\\\t2\t2022-12-31\n"),
            ("COPY # FROM STDIN", "4\tb\t1\t2021-01-01\n\\.\n"),
            ("COPY # FROM STDIN", "4\tb\t1\t2021-01-01\r\n5\tc\t1\t2021-01-01\r\n"),
            ("COPY # FROM STDIN", "6\tb\t1\t2021-01-01\r7\tc\t1\t2021-01-01\r"),
            ("COPY # FROM STDIN", "8\tno end of line\t1\t2021-01-01"),
            ("COPY # (v, k) FROM STDIN", "a\t10\nb\t11\n"),
            ("COPY # (v, k) FROM STDIN CSV HEADER", "v,k\n\"a\nb\",20\n\"q\"\"q\",\"21\"\n"),
            ("COPY # (v, k) FROM STDIN CSV HEADER MATCH", "v,k\nx,22\n"),
            ("COPY # (v, k) FROM STDIN CSV HEADER MATCH", "k,v\nx,23\n"),
            ("COPY # (k, v) FROM STDIN (FORMAT csv, DELIMITER ';', NULL 'none', QUOTE '''', ESCAPE '\\')",
             "30;none\n31;'no''\n32;'a\\'b\\\\'\n"),
            ("COPY # (k, v) FROM STDIN (FORMAT csv, DELIMITER ';', NULL 'none', QUOTE '''', ESCAPE '\\')",
             "30;none\n32;'a\\'b\\\\;\n'\n"),
            ("COPY # (k, v) FROM STDIN (FORMAT csv, FORCE_NULL (v), NULL 'x')", "40,\"x\"\n41,x\n42,\n"),
            ("COPY # (k, v) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (v))", "50,\n51,\"\"\n"),
            ("COPY # (k, v) FROM STDIN (FORMAT csv)", "60,\\.\n\\.\n61,a\n"),
            ("COPY # (v, k) FROM STDIN (FORMAT csv)", "\\.x,62\n\\.,63\n"),
            ("COPY # (k, v) FROM STDIN (DELIMITER '|', NULL '')", "70|\n71|a\n"),
            ("COPY # (k, v) FROM STDIN (ENCODING 'latin1')", "80\t\u{e9}\n"),
            ("COPY # FROM STDIN WHERE k % 2 = 0 AND v <> 'no'",
             "90\tyes\t1\t2021-01-01\n91\tyes\t1\t2021-01-01\n92\tno\t1\t2021-01-01\n"),
            ("COPY # (k, v) FROM STDIN CSV WHERE d = '2020-02-02'", "94,a\n95,b\n"),
            ("COPY # FROM STDIN", ""),
            ("COPY # FROM STDIN", "\\.\n"),
        ];
        for (sql, data) in cases {
            let _ = p.load(sql, data.as_bytes());
        }
    });
}

#[test]
fn bad_input() {
    both(|pair| {
        let mut p = pair("k int NOT NULL, v text CHECK (v <> 'bad'), n numeric", BY_K);
        let cases: &[(&str, &str)] = &[
            ("COPY # FROM STDIN", "1\ta\t1\n2\tb\tx\n"),
            ("COPY # FROM STDIN", "1\ta\t1\nx\tb\t1\n"),
            ("COPY # FROM STDIN", "1\ta\t1\n2\tb\n"),
            ("COPY # FROM STDIN", "1\ta\t1\n2\tb\t1\t1\n"),
            ("COPY # FROM STDIN", "1\ta\t1\n\n"),
            ("COPY # FROM STDIN", "1\ta\t1\n\\N\tb\t1\n"),
            ("COPY # FROM STDIN", "1\ta\t1\n2\tbad\t1\n"),
            ("COPY # FROM STDIN", "1\ta\t1\r\n2\tb\t1\n"),
            ("COPY # FROM STDIN", "1\ta\t1\n2\tb\t1\r\n"),
            ("COPY # FROM STDIN", "1\ta\t1\n\\.x\n"),
            ("COPY # FROM STDIN CSV", "1,a,1\n2,\"b,1\n"),
            ("COPY # FROM STDIN CSV", "1,\"a\nb\",1\n2,\"c\n\nd\",x\n"),
            ("COPY # FROM STDIN CSV", "1,\"a\nb\",1\n2,bad,1\n"),
            ("COPY # (n, v, k) FROM STDIN", "x\ta\ty\n"),
            ("COPY # (n, v, k) FROM STDIN", "x\ta\t\\N\n"),
            ("COPY # (v) FROM STDIN", "a\n"),
            ("COPY # (nope) FROM STDIN", "a\n"),
            ("COPY # (k, k) FROM STDIN", "1\t1\n"),
            ("COPY # FROM STDIN (FORMAT parquet)", ""),
            ("COPY # FROM STDIN (DELIMITER 'ab')", ""),
            ("COPY # FROM STDIN WHERE nope = 1", ""),
            ("COPY # FROM STDIN WHERE k", ""),
            ("COPY # FROM STDIN (FORMAT binary)", "PGCOPY\n"),
        ];
        for (sql, data) in cases {
            error(p.load(sql, data.as_bytes()));
        }
        let invalid = p.load("COPY # (k, v) FROM STDIN", b"1\ta\n2\t\xff\xfe\n3\tb\n");
        assert_eq!(error(invalid).code, "22021");
        let freeze = p.load("COPY # FROM STDIN (FREEZE)", b"1\ta\t1\n");
        assert_eq!(error(freeze).code, "55000");
        p.conn.run("BEGIN");
        p.conn.run("TRUNCATE plain, dist");
        p.load("COPY # FROM STDIN (FREEZE)", b"1\ta\t1\n2\tb\t2\n").unwrap();
        p.conn.run("COMMIT");
        // The session and its protocol state are sound after all that.
        p.load("COPY # FROM STDIN", b"1\ta\t1\n").unwrap();
    });
}

#[test]
fn long_input_and_its_lines() {
    both(|pair| {
        let mut p = pair("k int PRIMARY KEY, v text, n int", BY_K);
        let line = |i: u32| format!("{i}\tvalue number {i}\t{}\n", i * 7);
        let data: String = (1..=60_000).map(line).collect();
        p.load("COPY # FROM STDIN", data.as_bytes()).unwrap();
        p.clear();
        for bad in [1u32, 777, 31_234, 60_000] {
            let text = |i: u32| if i == bad { format!("{i}\tv\tx{i}\n") } else { line(i) };
            let data: String = (1..=60_000).map(text).collect();
            let e = error(p.load("COPY # FROM STDIN", data.as_bytes()));
            assert_eq!(e.context, Some(format!("COPY dist, line {bad}, column n: \"x{bad}\"")));
        }
        let data: String = (1..=3000).map(line).chain(["17\tagain\t1\n".to_owned()]).collect();
        let e = error(p.load("COPY # FROM STDIN", data.as_bytes()));
        assert_eq!(e.context.as_deref(), Some("COPY dist, line 3001"));
        assert_eq!(e.constraint.as_deref(), Some("dist_pkey"));
        let csv =
            |i: u32| format!("{i},\"multi\nline {i}\",{}\n", if i == 900 { "x" } else { "1" });
        let data: String = (1..=2000).map(csv).collect();
        error(p.load("COPY # FROM STDIN CSV", data.as_bytes()));
    });
}

#[test]
fn defaults_identity_and_generated_columns() {
    both(|pair| {
        let mut p = pair(
            "k int, id int GENERATED ALWAYS AS IDENTITY, v text DEFAULT 'it''s \\ \"x\",\t', \
             s serial, n text DEFAULT NULL, g int GENERATED ALWAYS AS (k * 2) STORED",
            BY_K,
        );
        for (sql, data) in [
            ("COPY # (k) FROM STDIN", "1\n2\n3\n"),
            ("COPY # (k) FROM STDIN CSV", "4\n5\n"),
            ("COPY # (k) FROM STDIN (FORMAT csv, QUOTE '''', ESCAPE '\\')", "6\n7\n"),
            ("COPY # (k, n) FROM STDIN (NULL '')", "8\t\n9\tx\n"),
            ("COPY # (k, n) FROM STDIN WHERE s % 2 = 0", "10\ta\n11\tb\n12\tc\n"),
            ("COPY # (k, n) FROM STDIN", "13\ta\n14\n"),
            ("COPY # (k, n) FROM STDIN", "13\ta\n14\tb\tc\n"),
            ("COPY # (k, g) FROM STDIN", "13\ta\n"),
        ] {
            let _ = p.load(sql, data.as_bytes());
        }
        let mut p = pair("k bigserial, v text NOT NULL", BY_K);
        p.load("COPY # (v) FROM STDIN", b"a\nb\nc\n").unwrap();
        error(p.load("COPY # (v) FROM STDIN", b"a\n\\N\n"));
    });
}

#[test]
fn key_types() {
    both(|pair| {
        let keys: &[(&str, &[&str])] = &[
            ("smallint", &["1", "-32768", " 7 ", "+9"]),
            ("bigint", &["1", "-9223372036854775808", "9223372036854775807", "007"]),
            ("text", &["a", "", "\u{e4}\u{6f22}", " x "]),
            ("varchar(3)", &["abc", "a  ", "ab    "]),
            ("char(5)", &["a", "a    ", "abcde"]),
            ("uuid", &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a12"]),
            ("timestamptz", &["2020-01-01 00:00:00+02", "epoch", "infinity"]),
            ("numeric", &["1.0", "1", "1e3", "NaN"]),
            ("boolean", &["t", "false"]),
            ("int[]", &["{1,2}", "{}"]),
            ("jsonb", &["{\"a\": 1}", "null"]),
        ];
        for (typ, values) in keys {
            let mut p = pair(&format!("k {typ}, v int"), BY_K);
            let data: String =
                values.iter().enumerate().map(|(i, v)| format!("{v}\t{i}\n")).collect();
            p.load("COPY # FROM STDIN", data.as_bytes()).unwrap();
            let quote = |v: &str| format!("\"{}\"", v.replace('"', "\"\""));
            let data: String =
                values.iter().enumerate().map(|(i, v)| format!("{},{i}\n", quote(v))).collect();
            p.load("COPY # FROM STDIN CSV", data.as_bytes()).unwrap();
            // Every row is where a query by key looks for it.
            let rows = p.conn.rows("SELECT DISTINCT k FROM plain");
            for row in rows {
                let key = row[0].clone().unwrap_or_default().replace('\'', "''");
                let count = |t: &str| format!("SELECT count(*) FROM {t} WHERE k = '{key}'::{typ}");
                let want = p.conn.value(&count("plain"));
                assert_eq!(p.conn.value(&count("dist")), want, "{typ} {key}");
            }
        }
    });
}

#[test]
fn transactions() {
    both(|pair| {
        let mut p = pair("k int, v text", BY_K);
        p.conn.run("BEGIN");
        p.load("COPY # FROM STDIN", b"1\ta\n2\tb\n3\tc\n4\td\n").unwrap();
        p.conn.run("SAVEPOINT s");
        p.load("COPY # FROM STDIN", b"5\ta\n6\tb\n").unwrap();
        p.conn.run("ROLLBACK TO s");
        p.same("after the savepoint");
        p.conn.run("SAVEPOINT s");
        error(p.conn.copy_in("COPY dist FROM STDIN", b"7\ta\n8\tb\n9\n"));
        assert_eq!(p.conn.status, b'E');
        p.conn.run("ROLLBACK TO s");
        p.same("after the error");
        p.load("COPY # FROM STDIN", b"10\ta\n").unwrap();
        p.conn.run("COMMIT");
        p.same("after commit");
        p.conn.run("BEGIN");
        p.load("COPY # FROM STDIN", b"11\ta\n12\tb\n13\tc\n").unwrap();
        p.conn.run("ROLLBACK");
        p.same("after rollback");
        p.conn.run("BEGIN READ ONLY");
        let e = error(p.conn.copy_in("COPY dist FROM STDIN", b"1\tx\n"));
        assert_eq!((e.code.as_str(), p.conn.status), ("25006", b'E'));
        p.conn.run("ROLLBACK");
    });
}

#[test]
fn tables_that_refer_to_themselves() {
    both(|pair| {
        let columns = "k int, id int, up int, filler text, PRIMARY KEY (k, id)";
        let mut p = pair(columns, BY_K);
        for t in ["plain", "dist"] {
            p.conn.run(&format!("ALTER TABLE {t} ADD FOREIGN KEY (k, up) REFERENCES {t} (k, id)"));
        }
        // Children come long before their parents.
        let filler = "x".repeat(300);
        let row = |i: u32| {
            let up = if i < 3000 { (i + 3000).to_string() } else { "\\N".to_owned() };
            format!("{}\t{i}\t{up}\t{filler}\n", i % 3)
        };
        let data: String = (0..6000).map(row).collect();
        p.load("COPY # FROM STDIN", data.as_bytes()).unwrap();
        error(p.load("COPY # FROM STDIN", b"1\t9001\t9999\tx\n"));
    });
}

#[test]
fn cancel_and_timeouts() {
    for c in [cluster(), single()] {
        let database = c.database("copy_cancel");
        let mut a = c.connect(&database);
        a.run("SET citus.shard_count = 4");
        a.run("CREATE TABLE dist (k int, v text)");
        a.run(BY_K);
        let mut b = c.connect(&database);
        a.run("BEGIN");
        a.run("LOCK TABLE dist IN ACCESS EXCLUSIVE MODE");
        b.run("SET statement_timeout = '300ms'");
        let start = std::time::Instant::now();
        let data: String = (0..100_000).map(|i| format!("{i}\trow {i}\n")).collect();
        assert_eq!(error(b.copy_in("COPY dist FROM STDIN", data.as_bytes())).code, "57014");
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
        a.run("ROLLBACK");
        b.run("RESET statement_timeout");
        assert_eq!(b.copy_in("COPY dist FROM STDIN", b"1\ta\n").unwrap()[0].tag, "COPY 1");
        assert_eq!(b.value("SELECT count(*) FROM dist"), "1");
    }
}

#[test]
fn dates_follow_the_session() {
    both(|pair| {
        let mut p = pair("k int, d date DEFAULT now()", BY_K);
        p.conn.run("SET DateStyle = 'SQL, DMY'");
        p.load("COPY # FROM STDIN", b"1\t02/03/2020\n2\t31.12.2021\n").unwrap();
        error(p.load("COPY # FROM STDIN", b"1\t12/31/2020\n"));
        p.load("COPY # (k) FROM STDIN", b"5\n6\n").unwrap();
        p.conn.run("SET DateStyle = 'ISO, MDY'");
        p.same("dates");
    });
}

#[test]
fn reference_tables() {
    let mut p = Pair { conn: cluster().connect(&cluster().database("copy_ref")) };
    p.conn.run("CREATE TABLE plain (a int, b text)");
    p.conn.run("CREATE TABLE dist (a int, b text)");
    p.conn.run(REFERENCE);
    let data: String = (0..5000).map(|i| format!("{i}\trow {i}\n")).collect();
    p.load("COPY # FROM STDIN", data.as_bytes()).unwrap();
    error(p.load("COPY # FROM STDIN", b"1\ta\nx\tb\n"));
    let name = p.conn.value(
        "SELECT 'dist_' || shardid FROM pg_dist_shard WHERE logicalrelid = 'dist'::regclass",
    );
    let database = p.conn.value("SELECT current_database()");
    for w in &cluster().workers {
        let mut c = w.connect(&database);
        assert_eq!(c.value(&format!("SELECT count(*) FROM {name}")), "5000");
    }
}

#[test]
fn row_security() {
    both(|pair| {
        let mut p = pair("k int, v text", BY_K);
        p.conn.run("DROP ROLE IF EXISTS copy_someone");
        p.conn.run("CREATE ROLE copy_someone");
        for t in ["plain", "dist"] {
            p.conn.run(&format!("GRANT ALL ON {t} TO copy_someone"));
            p.conn.run(&format!("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY"));
        }
        p.conn.run("SET ROLE copy_someone");
        let want = error(p.conn.copy_in("COPY plain FROM STDIN", b"1\ta\n"));
        let got = error(p.conn.copy_in("COPY dist FROM STDIN", b"1\ta\n"));
        assert_eq!((got.code, got.message), (want.code, want.message));
        p.conn.run("RESET ROLE");
        for t in ["plain", "dist"] {
            p.conn.run(&format!("REVOKE ALL ON {t} FROM copy_someone"));
        }
        p.conn.run("DROP ROLE copy_someone");
    });
}

#[test]
fn privileges() {
    both(|pair| {
        let mut p = pair("k int, v text", BY_K);
        p.conn.run("DROP ROLE IF EXISTS copy_nobody");
        p.conn.run("CREATE ROLE copy_nobody");
        p.conn.run("SET ROLE copy_nobody");
        for (sql, data) in [
            ("COPY # FROM STDIN", "1\ta\n"),
            ("COPY # (k) FROM STDIN", "1\n"),
            ("COPY # TO STDOUT", ""),
            ("COPY # FROM '/etc/passwd'", ""),
            ("COPY # TO '/tmp/x'", ""),
            ("COPY # FROM PROGRAM 'true'", ""),
        ] {
            let want = p.conn.copy_in(&sql.replace('#', "plain"), data.as_bytes());
            let got = p.conn.copy_in(&sql.replace('#', "dist"), data.as_bytes());
            assert_eq!(essence(&got), essence(&want), "{sql}");
            assert_eq!(error(got).code, "42501", "{sql}");
        }
        p.conn.run("RESET ROLE");
        p.conn.run("DROP ROLE copy_nobody");
    });
}

/// Drivers make objects of the fields of an error.
#[test]
fn a_row_without_key_names_table_and_schema() {
    both(|pair| {
        let mut p = pair("k int NOT NULL, v int", BY_K);
        for (sql, data) in
            [("COPY # FROM STDIN", "\\N\t1\n"), ("COPY # (v, k) FROM STDIN (FORMAT csv)", "1,\n")]
        {
            let e = error(p.load(sql, data.as_bytes()));
            let named = [e.schema, e.table, e.column].map(Option::unwrap_or_default);
            assert_eq!(named, ["public", "dist", "k"], "{sql}");
        }
    });
}
