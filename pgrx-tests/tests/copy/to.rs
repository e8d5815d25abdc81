//! COPY TO, and what it wrote read again.

use std::fs;

use super::{both, error, Pair, BY_K};
use citus_tests::client::Conn;

#[test]
fn out_and_in_again() {
    both(|pair| {
        let mut p = pair(
            "k int, v text, a int[], t timestamptz, g int GENERATED ALWAYS AS (k) STORED",
            BY_K,
        );
        let data = "1\ta\\tb\t{1,2}\t2020-01-01\n2\t\\N\t\\N\t\\N\n3\t\"q\",\\n\t{}\tinfinity\n";
        p.load("COPY # (k, v, a, t) FROM STDIN", data.as_bytes()).unwrap();
        let dir = std::env::temp_dir().join(format!("citus_copy_{}", std::process::id()));
        let _ = fs::create_dir(&dir);
        citus_tests::process::give(&dir);
        let file = dir.join("rows").display().to_string();
        for options in ["", "CSV", "CSV HEADER", "(FORMAT binary)", "(FORMAT csv, FORCE_QUOTE *)"] {
            let lines = |p: &mut Pair, t: &str| {
                let out = p.conn.simple(&format!("COPY {t} TO STDOUT {options}")).unwrap();
                let bytes = out.into_iter().next().unwrap_or_default();
                (bytes.tag.clone(), bytes.copied.len())
            };
            assert_eq!(lines(&mut p, "dist"), lines(&mut p, "plain"), "{options}");
            p.conn.run(&format!("COPY dist TO '{file}' {options}"));
            p.clear();
            let options = if options.contains("FORCE") { "CSV" } else { options };
            for t in ["plain", "dist"] {
                p.conn.run(&format!("COPY {t} FROM '{file}' {options}"));
            }
            p.same(options);
            assert_eq!(p.conn.value("SELECT count(*) FROM dist"), "3", "{options}");
        }
        p.conn.run("COPY dist (v, k) TO PROGRAM 'cat > /dev/null'");
        p.clear();
        for t in ["plain", "dist"] {
            p.conn.run(&format!("COPY {t} (k, v) FROM PROGRAM 'seq 1 1000 | sed \"s/$/\\tx/\"'"));
        }
        p.same("program");
        let e = error(p.conn.simple("COPY dist (k) FROM PROGRAM 'echo 5; exit 3'"));
        assert_eq!(e.code, "38000");
        let e = error(p.conn.simple("COPY dist FROM '/nowhere/at/all'"));
        assert_eq!(e.code, "58P01");
        p.same("failed programs leave nothing");
        let _ = fs::remove_dir_all(&dir);
    });
}

/// Rows of a COPY TO in whatever order, the first line apart when it is a header.
fn rows_out(conn: &mut Conn, sql: &str, header: bool) -> (String, Vec<u8>, Vec<Vec<u8>>) {
    let set = conn.simple(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).remove(0);
    let mut lines: Vec<Vec<u8>> = set.copied.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let first = if header { lines.remove(0) } else { Vec::new() };
    lines.sort();
    (set.tag, first, lines)
}

const OUT_OPTIONS: &[(&str, bool)] = &[
    ("", false),
    ("(HEADER)", true),
    ("(FORMAT csv, HEADER, FORCE_QUOTE *)", true),
    ("(FORMAT csv, NULL 'none', QUOTE '''', ESCAPE '\\', DELIMITER ';')", false),
    ("(DELIMITER '|', NULL '')", false),
    ("(FORMAT csv, ENCODING 'win1252')", false),
];

#[test]
fn rows_to_the_client() {
    both(|pair| {
        let columns = "k int, \"V \"\"x\" text, d date, g int GENERATED ALWAYS AS (k) STORED";
        let mut p = pair(columns, BY_K);
        for t in ["plain", "dist"] {
            p.conn.run(&format!(
                "INSERT INTO {t} (k, \"V \"\"x\", d) \
                 SELECT i, '\u{20ac} \u{e9},\"|'' ' || i, date '2020-01-01' + i \
                 FROM generate_series(1, 500) i"
            ));
            p.conn.run(&format!("INSERT INTO {t} VALUES (1000, NULL, NULL), (1001, '', NULL)"));
        }
        for (options, header) in OUT_OPTIONS {
            for columns in ["", "(d, k)", "(\"V \"\"x\")"] {
                let sql = |t: &str| format!("COPY {t} {columns} TO STDOUT {options}");
                let want = rows_out(&mut p.conn, &sql("plain"), *header);
                let got = rows_out(&mut p.conn, &sql("dist"), *header);
                assert_eq!(got, want, "{}", sql("dist"));
            }
        }
        let sql = "COPY # (k, d) TO STDOUT (FORMAT csv, FORCE_QUOTE (d))";
        let want = rows_out(&mut p.conn, &sql.replace('#', "plain"), false);
        assert_eq!(rows_out(&mut p.conn, &sql.replace('#', "dist"), false), want);
        p.conn.run("SET DateStyle = 'German'");
        p.conn.run("BEGIN");
        for t in ["plain", "dist"] {
            p.conn.run(&format!("DELETE FROM {t} WHERE k % 3 = 0"));
        }
        let want = rows_out(&mut p.conn, "COPY plain TO STDOUT", false);
        assert_eq!(rows_out(&mut p.conn, "COPY dist TO STDOUT", false), want);
        p.conn.run("ROLLBACK");
        for sql in [
            "COPY # (nope) TO STDOUT",
            "COPY # (g) TO STDOUT",
            "COPY # TO STDOUT (FORCE_QUOTE (k))",
            "COPY # (k) TO STDOUT (FORMAT csv, FORCE_QUOTE (d))",
            "COPY # TO STDOUT (FORMAT xml)",
            "COPY # TO 'relative/path'",
            "COPY # TO '/nowhere/at/all'",
        ] {
            let want = error(p.conn.simple(&sql.replace('#', "plain")));
            let got = error(p.conn.simple(&sql.replace('#', "dist")));
            assert_eq!(got.code, want.code, "{sql}: {got}");
        }
        p.conn.run("SELECT 1");
    });
}
