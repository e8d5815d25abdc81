//! The statements of a script of PostgreSQL's suite, as a client without psql can run them.
//!
//! Left out is what has no answer that could be compared:
//! * commands of psql, and statements with a variable of psql (other than the name of a data file);
//! * `EXPLAIN`, since plans differ by nature, and functions that run it;
//! * what shows where a row lies or who asks: `ctid`, `xmin`, `xmax`, `cmin`, `cmax`,
//!   `pg_backend_pid`, `pg_relation_filenode`.
//!
//! `COPY ... FROM STDIN` gets the data that follow it, `COPY ... FROM` a file of the suite its content.

use std::fs;
use std::path::Path;

use citus_tests::split::psql_statement;

/// Words that leave a statement out.
const LEFT_OUT: [&str; 8] =
    ["explain", "ctid", "xmin", "xmax", "cmin", "cmax", "pg_backend_pid", "pg_relation_filenode"];

/// A statement with the data of its COPY.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub sql: String,
    pub data: Vec<u8>,
}

/// Reads `sql/NAME.sql` of the suite.
pub fn read(suite: &Path, name: &str) -> Vec<Statement> {
    let path = suite.join("sql").join(name).with_extension("sql");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    statements(&text, |file| fs::read(suite.join(file)).unwrap_or_else(|e| panic!("{file}: {e}")))
}

fn statements(text: &str, content: impl Fn(&str) -> Vec<u8>) -> Vec<Statement> {
    let mut found = Vec::new();
    let (mut rest, mut file) = (text, None);
    loop {
        rest = after_comments(rest);
        let line = rest.split('\n').next().unwrap_or_default();
        if rest.is_empty() {
            return found;
        }
        if line.starts_with('\\') {
            if let Some(name) = line.strip_prefix("\\set filename :abs_srcdir '/") {
                file = name.strip_suffix('\'');
            }
            rest = &rest[line.len()..];
            continue;
        }
        let Some(cut) = psql_statement(rest) else { return found };
        let mut sql = rest[..cut.length].replace("\\;", ";");
        rest = &rest[cut.length..];
        if cut.command {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        }
        let mut data = Vec::new();
        let mut variable = cut.variable;
        if let (Some(file), true) = (file, sql.contains(":'filename'")) {
            if first_word(&sql) == "copy" {
                sql = sql.replace(":'filename'", "STDIN");
                data = content(file);
                variable = false;
            }
        } else if from_stdin(&sql) {
            let length = data_length(rest);
            data = rest[..length].trim_start_matches([' ', ';']).as_bytes().to_vec();
            data.drain(..data.iter().position(|&c| c == b'\n').map_or(data.len(), |n| n + 1));
            rest = rest[length..].strip_prefix("\\.").unwrap_or(&rest[length..]);
        }
        if !variable && !words(&sql).any(|w| LEFT_OUT.contains(&w.as_str())) {
            found.push(Statement { sql, data });
        }
    }
}

/// Skips blanks and comments in front of a statement.
fn after_comments(text: &str) -> &str {
    let mut rest = text.trim_start();
    loop {
        let end = if rest.starts_with("--") {
            rest.find('\n')
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|n| n + 2)
        } else {
            return rest;
        };
        rest = rest[end.unwrap_or(rest.len())..].trim_start();
    }
}

fn from_stdin(sql: &str) -> bool {
    let all: Vec<String> = words(sql).collect();
    all.first().is_some_and(|w| w == "copy") && all.windows(2).any(|w| w == ["from", "stdin"])
}

/// The length of the data of a COPY, up to `\.`: none if statements come first, because that COPY
/// is one that the suite expects to be refused.
fn data_length(rest: &str) -> usize {
    match rest.find("\n\\.") {
        Some(end) if !rest[..end].lines().skip(1).any(|l| l.ends_with(';')) => end + 1,
        _ => 0,
    }
}

/// The words of a statement in small letters.
pub fn words(sql: &str) -> impl Iterator<Item = String> + '_ {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
        .map(str::to_ascii_lowercase)
}

/// The first word in small letters.
pub fn first_word(sql: &str) -> String {
    words(after_comments(sql)).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{statements, Statement};

    #[test]
    fn what_is_run() {
        let script = "-- a\n\\set filename :abs_srcdir '/data/a.data'\nCOPY a FROM :'filename';\n\
            EXPLAIN SELECT 1; SELECT 1 \\gset\n/* b */ COPY b FROM stdin;\n1\t2\n\\.\n\
            COPY c FROM stdin; -- refused\nSELECT ctid FROM c;\nSELECT :a;\nSELECT 2;\n\\.\n";
        let made = |sql: &str, data: &str| Statement {
            sql: sql.to_owned(),
            data: data.as_bytes().to_vec(),
        };
        let found = statements(script, |name| name.as_bytes().to_vec());
        let want = [
            made("COPY a FROM STDIN;", "data/a.data"),
            made("SELECT 1 ", ""),
            made("COPY b FROM stdin;", "1\t2\n"),
            made("COPY c FROM stdin;", ""),
            made("SELECT 2;", ""),
        ];
        assert_eq!(found, want);
    }
}
