//! Statement files of the differential tests.
//!
//! A unit of the corpus is a directory with a `schema.sql` and any number of other `.sql` files,
//! which run in name order, each in a session of its own, against the same tables.
//!
//! In `schema.sql` these lines say what becomes of the tables on the cluster; on the plain side
//! they do nothing:
//! ```sql
//! -- @distribute TABLE COLUMN [colocate OTHER]
//! -- @reference TABLE
//! -- @citus_local TABLE
//! -- @cluster SQL               any other statement for the cluster alone
//! -- @compare TABLE ...          further tables whose content is compared after writes
//! ```
//! In the other files, lines before a statement say how it is judged:
//! ```sql
//! -- @ordered                    its ORDER BY is total: rows are compared in order
//! -- @error [SQLSTATE]           plain PostgreSQL refuses it, so must the cluster, with the same SQLSTATE
//! -- @params 1, 'a''b', NULL     prepared once, executed with each such line's parameters
//! -- @digits N                   floats are rounded to N significant digits
//! -- @rows                       only the number of rows is compared (LIMIT without a total order)
//! -- @tag                        only success and the command tag are compared
//! -- @session NAME               goes through another connection; `-- @session` alone is the first
//! -- @simple                     not run a second time through the extended protocol
//! -- @expect VALUE               the first value of the result (only in tests that have no oracle)
//! -- @plan TEXT                  some line of the result contains this (likewise)
//! -- @known CONFIG reason        does not work yet in CONFIG (or `all`): reported, and the test
//!                                fails as soon as it works, so that the line is removed
//! ```
//! Statements separated by `\;` are sent together, and their last result counts.
//! Data of `COPY ... FROM STDIN` follows the statement up to a line `\.`, as in psql.

use std::fs;
use std::path::{Path, PathBuf};

use crate::split::statement_length;

/// How a statement is run and judged.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    pub ordered: bool,
    pub error: Option<String>,
    pub params: Vec<Vec<Option<String>>>,
    pub digits: Option<usize>,
    pub rows_only: bool,
    pub tag_only: bool,
    pub session: Option<String>,
    pub simple: bool,
    pub expect: Option<String>,
    pub plan: Option<String>,
    pub known: Vec<(String, String)>,
}

/// One statement of a file.
#[derive(Debug, Clone)]
pub struct Statement {
    pub file: String,
    pub line: usize,
    pub sql: String,
    pub copy_data: Vec<u8>,
    pub marks: Marks,
}

/// How a table is spread over the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Spread {
    Distributed { table: String, column: String, colocate: Option<String> },
    Reference(String),
    Local(String),
    Other(String),
}

impl Spread {
    /// The statement that does it.
    pub fn sql(&self) -> String {
        let text = |s: &str| format!("'{}'", s.replace('\'', "''"));
        match self {
            Spread::Distributed { table, column, colocate: None } => {
                format!("SELECT create_distributed_table({}, {})", text(table), text(column))
            }
            Spread::Distributed { table, column, colocate: Some(other) } => format!(
                "SELECT create_distributed_table({}, {}, colocate_with := {})",
                text(table),
                text(column),
                text(other)
            ),
            Spread::Reference(table) => format!("SELECT create_reference_table({})", text(table)),
            Spread::Other(sql) => sql.clone(),
            Spread::Local(table) => {
                format!("SELECT citus_add_local_table_to_metadata({})", text(table))
            }
        }
    }
}

/// A step of `schema.sql`.
#[derive(Debug, Clone)]
pub enum Step {
    /// Runs on both sides.
    Both(Statement),
    /// Runs on the cluster.
    Spread(Spread, usize),
}

/// A directory of the corpus.
#[derive(Debug, Clone)]
pub struct Unit {
    pub name: String,
    pub schema: Vec<Step>,
    /// Tables whose content is compared after writes.
    pub tables: Vec<String>,
    pub files: Vec<Vec<Statement>>,
}

/// Reads a directory of the corpus.
pub fn read_unit(dir: &Path) -> Unit {
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut tables = Vec::new();
    let schema = read_schema(&dir.join("schema.sql"), &mut tables);
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "sql") && !p.ends_with("schema.sql"))
        .collect();
    paths.sort();
    let files = paths.iter().map(|p| read_file(p)).collect();
    Unit { name, schema, tables, files }
}

/// Reads a file of statements.
pub fn read_file(path: &Path) -> Vec<Statement> {
    let mut statements = Vec::new();
    parse(path, &mut |_, _| false, &mut |s| statements.push(s));
    statements
}

fn read_schema(path: &Path, tables: &mut Vec<String>) -> Vec<Step> {
    let steps = std::cell::RefCell::new(Vec::new());
    parse(
        path,
        &mut |words, line| {
            let owned = |i: usize| words.get(i).map(|w| (*w).to_owned()).unwrap_or_default();
            let spread = match words.first() {
                Some(&"distribute") => Spread::Distributed {
                    table: owned(1),
                    column: owned(2),
                    colocate: (words.get(3) == Some(&"colocate")).then(|| owned(4)),
                },
                Some(&"reference") => Spread::Reference(owned(1)),
                Some(&"citus_local") => Spread::Local(owned(1)),
                Some(&"cluster") => {
                    let step = Step::Spread(Spread::Other(words[1..].join(" ")), line);
                    steps.borrow_mut().push(step);
                    return true;
                }
                Some(&"compare") => {
                    tables.extend(words[1..].iter().map(|w| (*w).to_owned()));
                    return true;
                }
                _ => return false,
            };
            tables.push(owned(1));
            steps.borrow_mut().push(Step::Spread(spread, line));
            true
        },
        &mut |s| steps.borrow_mut().push(Step::Both(s)),
    );
    steps.into_inner()
}

/// Calls `special` with the words of each `-- @` line and `found` with each statement, in order.
fn parse(
    path: &Path,
    special: &mut dyn FnMut(&[&str], usize) -> bool,
    found: &mut dyn FnMut(Statement),
) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = path
        .components()
        .rev()
        .take(2)
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .reduce(|name, dir| format!("{dir}/{name}"))
        .unwrap_or_default();
    let mut rest = text.as_str();
    let mut line = 1;
    let mut marks = Marks::default();
    let advance = |rest: &mut &str, line: &mut usize, n: usize| {
        *line += rest[..n].matches('\n').count();
        *rest = &rest[n..];
    };
    loop {
        let blank = rest.len() - rest.trim_start().len();
        advance(&mut rest, &mut line, blank);
        if rest.is_empty() {
            return;
        }
        let first = rest.split('\n').next().unwrap_or_default();
        if let Some(comment) = first.strip_prefix("--") {
            if let Some(mark) = comment.trim().strip_prefix('@') {
                let words = mark_words(mark);
                if !special(&words, line) && !marks.read(mark) {
                    panic!("{file}:{line}: unknown mark @{mark}");
                }
            }
            let n = first.len();
            advance(&mut rest, &mut line, n);
            continue;
        }
        let Some(n) = statement_length(rest) else {
            panic!("{file}:{line}: statement without an end")
        };
        let sql = rest[..n].replace("\\;", ";");
        let at = line;
        advance(&mut rest, &mut line, n);
        let mut copy_data = Vec::new();
        if wants_data(&sql) {
            let body = rest.find('\n').map_or(rest.len(), |i| i + 1);
            advance(&mut rest, &mut line, body);
            let end = if rest.starts_with("\\.\n") {
                Some(0)
            } else {
                rest.find("\n\\.\n").map(|i| i + 1)
            };
            let Some(end) = end else { panic!("{file}:{at}: COPY data without an end") };
            copy_data = rest.as_bytes()[..end].to_vec();
            advance(&mut rest, &mut line, end + 3);
        }
        found(Statement {
            file: file.clone(),
            line: at,
            sql,
            copy_data,
            marks: std::mem::take(&mut marks),
        });
    }
}

fn wants_data(sql: &str) -> bool {
    let upper = sql.trim_start().to_ascii_uppercase();
    upper.starts_with("COPY")
        && upper.split_whitespace().any(|w| w.trim_end_matches(';') == "STDIN")
}

impl Marks {
    fn read(&mut self, mark: &str) -> bool {
        let (word, rest) = mark.split_once(char::is_whitespace).unwrap_or((mark, ""));
        let rest = rest.trim();
        match word {
            "ordered" => self.ordered = true,
            "error" => self.error = Some(rest.to_owned()),
            "params" => self.params.push(parameters(rest)),
            "digits" => self.digits = rest.parse().ok(),
            "rows" => self.rows_only = true,
            "tag" => self.tag_only = true,
            "session" => self.session = Some(rest.to_owned()),
            "simple" => self.simple = true,
            "expect" => self.expect = Some(rest.to_owned()),
            "plan" => self.plan = Some(rest.to_owned()),
            "known" => {
                let (config, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                self.known.push((config.to_owned(), reason.to_owned()));
            }
            _ => return false,
        }
        true
    }
}

/// The words of a mark; a word may have parts in double quotes, with blanks.
fn mark_words(mark: &str) -> Vec<&str> {
    let mut quoted = false;
    let blank = move |c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    };
    mark.split(blank).filter(|w| !w.is_empty()).collect()
}

/// `1, 'a''b', NULL` as parameter texts.
fn parameters(list: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        if let Some(body) = rest.strip_prefix('\'') {
            let mut text = String::new();
            let mut chars = body.char_indices().peekable();
            let mut end = body.len();
            while let Some((i, c)) = chars.next() {
                if c != '\'' {
                    text.push(c);
                } else if chars.peek().is_some_and(|&(_, c)| c == '\'') {
                    text.push('\'');
                    chars.next();
                } else {
                    end = i + 1;
                    break;
                }
            }
            found.push(Some(text));
            rest = &body[end..];
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let word = rest[..end].trim();
            found.push((!word.eq_ignore_ascii_case("null")).then(|| word.to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::parameters;

    #[test]
    fn parameter_lists() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(
            parameters("1, 'a''b, c', NULL,x"),
            vec![some("1"), some("a'b, c"), None, some("x")]
        );
        assert!(parameters("").is_empty());
    }
}
