//! Formats for programs are valid documents.

use super::*;

const STATEMENTS: &[&str] = &[
    "SELECT * FROM ev WHERE tenant = 3",
    "SELECT count(*) FROM ev WHERE v <> E'a\\n \"<b>&\\n</c>: - ''$1'",
    "SELECT tenant, avg(id) FROM ev GROUP BY 1 ORDER BY 2 LIMIT 3",
    "SELECT (SELECT max(id) FROM oth WHERE oth.id = ev.id) FROM ev",
    "SELECT count(*) FROM ev JOIN oth USING (id) JOIN ref USING (id)",
    "UPDATE ev SET n = n + 1",
    "UPDATE ref SET n = n + 1 RETURNING *",
    "INSERT INTO ev SELECT k, id FROM oth WHERE k < 3",
    "DELETE FROM ev WHERE tenant = 99",
    "MERGE INTO ev USING oth ON ev.tenant = oth.k AND ev.id = oth.id \
     WHEN MATCHED THEN UPDATE SET n = 1",
    "WITH gone AS (DELETE FROM ev WHERE tenant = 5 RETURNING *), \
          more AS (UPDATE ref SET n = 0 RETURNING *) SELECT count(*) FROM gone, more",
    "SELECT 1 FROM ev WHERE false",
];

fn each(stem: &str, format: &str, mut check: impl FnMut(&mut Conn, &str)) {
    let mut c = tables(stem);
    for all in ["on", "off"] {
        c.run(&format!("SET citus.explain_all_tasks = {all}"));
        for sql in STATEMENTS {
            for options in ["", "ANALYZE, ", "VERBOSE, ", "ANALYZE, VERBOSE, BUFFERS, WAL, "] {
                let options = format!("{options}FORMAT {format}");
                let document = explain(&mut c, &options, sql).join("\n");
                check(&mut c, &document);
            }
        }
    }
}

fn quoted(document: &str) -> String {
    format!("$doc${document}$doc$")
}

#[test]
fn json() {
    each("json", "JSON", |c, document| {
        let sql = format!("SELECT json_typeof({}::json->0->'Plan')", quoted(document));
        assert_eq!(c.value(&sql), "object", "{document}");
    });
    let mut c = tables("paths");
    let sql = "SELECT * FROM ev WHERE tenant = 3";
    let document = explain(&mut c, "ANALYZE, FORMAT JSON", sql).join("\n");
    let job = format!("{}::json->0->'Plan'->'Distributed Query'->'Job'", quoted(&document));
    for (path, value) in [
        ("->>'Task Count'", "1"),
        ("->>'Tasks Shown'", "All"),
        ("->>'Tuple data received from nodes'", "131 bytes"),
        ("->'Tasks'->0->>'Tuple data received from node'", "131 bytes"),
        ("->'Tasks'->0->'Remote Plan'->0->0->'Plan'->>'Node Type'", "Seq Scan"),
        ("->'Tasks'->0->'Remote Plan'->0->0->'Plan'->>'Actual Rows'", "4"),
    ] {
        assert_eq!(c.value(&format!("SELECT {job}{path}")), value, "{path}");
    }
    let time = "->'Tasks'->0->'Remote Plan'->0->0->>'Execution Time'";
    assert_eq!(c.value(&format!("SELECT ({job}{time})::float8 > 0")), "t");
}

#[test]
fn xml() {
    each("xml", "XML", |c, document| {
        let sql = format!("SELECT xml_is_well_formed_document({})", quoted(document));
        assert_eq!(c.value(&sql), "t", "{document}");
    });
    let mut c = tables("xpath");
    let literal = "a\n  <b> &";
    let sql = format!("SELECT * FROM ev WHERE tenant = 3 AND v <> '{literal}'");
    let document = explain(&mut c, "ANALYZE, FORMAT XML", &sql).join("\n");
    let path = "//*[local-name()=\"Remote-Plan\"]//*[local-name()=\"Filter\"]/text()";
    let sql = format!("SELECT (xpath('{path}', {}::xml))[1]", quoted(&document));
    let filter = c.value(&sql).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    assert!(filter.contains(literal), "{filter}");
}

#[test]
fn yaml() {
    each("yaml", "YAML", |c, document| {
        let json = to_json(document);
        let sql = format!("SELECT json_typeof({}::json->0->'Plan')", quoted(&json));
        assert_eq!(c.value(&sql), "object", "{document}\n{json}");
    });
    let mut c = tables("nested");
    let document = explain(&mut c, "FORMAT YAML", "SELECT * FROM ev WHERE tenant = 3").join("\n");
    let path = "->0->'Plan'->'Distributed Query'->'Job'->'Tasks'->0->'Remote Plan'->0->'Plan'";
    let sql = format!("SELECT {}::json{path}->>'Filter'", quoted(&to_json(&document)));
    assert_eq!(c.value(&sql), "(tenant = 3)", "{document}");
}

/// A line of a document: how far it is indented, whether a list's item begins, the rest.
type Line<'a> = (usize, bool, &'a str);

/// The YAML of EXPLAIN (block mappings and sequences, scalars on one line) as JSON.
fn to_json(document: &str) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for line in document.lines() {
        let text = line.trim_start();
        let mut indent = line.len() - text.len();
        let mut text = text;
        while let Some(rest) = text.strip_prefix("- ") {
            lines.push((indent, true, ""));
            indent += 2;
            text = rest;
        }
        lines.push((indent, false, text));
    }
    let mut at = 0;
    let out = node(&lines, &mut at, 0);
    assert_eq!(at, lines.len(), "not a part of the document: {:?}", &lines[at..]);
    out
}

fn node(lines: &[Line], at: &mut usize, indent: usize) -> String {
    let mut parts = Vec::new();
    let list = lines[*at].1;
    while let Some((i, item, text)) = lines.get(*at).copied() {
        if i != indent || item != list {
            assert!(i <= indent, "unexpected indentation: {text}");
            break;
        }
        *at += 1;
        if list {
            parts.push(match lines.get(*at) {
                Some((i, false, text)) if *i == indent + 2 && !text.contains(": ") => {
                    *at += 1;
                    scalar(text)
                }
                _ => node(lines, at, indent + 2),
            });
            continue;
        }
        let (key, value) = text
            .split_once(": ")
            .or(text.strip_suffix(':').map(|k| (k, "")))
            .unwrap_or_else(|| panic!("no key: {text}"));
        let value = match (value.trim(), lines.get(*at)) {
            ("", Some((i, _, _))) if *i > indent => node(lines, at, *i),
            ("", _) => "null".to_owned(),
            (v, _) => scalar(v),
        };
        parts.push(format!("\"{key}\": {value}"));
    }
    match list {
        true => format!("[{}]", parts.join(", ")),
        false => format!("{{{}}}", parts.join(", ")),
    }
}

fn scalar(v: &str) -> String {
    let plain = v.starts_with('"') || v.parse::<f64>().is_ok() || ["true", "false"].contains(&v);
    assert!(plain, "not a scalar of EXPLAIN: {v}");
    v.to_owned()
}
