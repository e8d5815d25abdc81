//! Cuts SQL text into statements, the way psql does.

/// The length of the first statement of `sql` including its semicolon, or None without one.
///
/// As in psql, `\;` does not end it: what it separates is sent together.
pub fn statement_length(sql: &str) -> Option<usize> {
    let b = sql.as_bytes();
    let mut i = 0;
    while i < b.len() {
        match b[i] {
            b';' => return Some(i + 1),
            b'\\' if b.get(i + 1) == Some(&b';') => i += 2,
            b'\'' => i = end_of_string(b, i),
            b'"' => i = end_of_quoted(b, i),
            b'$' => i = end_of_dollar(sql, i),
            b'-' if b.get(i + 1) == Some(&b'-') => i = end_of_line(b, i),
            b'/' if b.get(i + 1) == Some(&b'*') => i = end_of_comment(b, i),
            _ => i += 1,
        }
    }
    None
}

/// Where a statement of a psql script ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Its length, with its semicolon.
    pub length: usize,
    /// A command such as `\gset` ends it, not a semicolon.
    pub command: bool,
    /// It has a variable of psql (`:name`, `:'name'`, `:"name"`) that is to be put in.
    pub variable: bool,
}

/// The first statement of a psql script: besides [`statement_length`], semicolons in parentheses and
/// in the body of a SQL function do not end it, and commands of psql do.
pub fn psql_statement(sql: &str) -> Option<Cut> {
    let b = sql.as_bytes();
    let mut i = 0;
    let (mut round, mut square, mut body) = (0usize, 0usize, Body::default());
    let mut variable = false;
    while i < b.len() {
        let next = b.get(i + 1).copied().unwrap_or_default();
        match b[i] {
            b';' if round == 0 && body.depth == 0 => {
                return Some(Cut { length: i + 1, command: false, variable });
            }
            b'\\' if next == b';' => i += 2,
            b'\\' => return Some(Cut { length: i, command: true, variable }),
            b'\'' => i = end_of_string(b, i),
            b'"' => i = end_of_quoted(b, i),
            b'$' => i = end_of_dollar(sql, i),
            b'-' if next == b'-' => i = end_of_line(b, i),
            b'/' if next == b'*' => i = end_of_comment(b, i),
            b':' if next == b':' => i += 2,
            c => {
                match c {
                    b'(' => round += 1,
                    b')' => round = round.saturating_sub(1),
                    b'[' => square += 1,
                    b']' => square = square.saturating_sub(1),
                    b':' if square == 0 => {
                        let name = next.is_ascii_alphabetic() || b"_'\"".contains(&next);
                        variable |= name;
                    }
                    _ => {}
                }
                let word = word_length(&b[i..]);
                if word > 0 {
                    body.read(&sql[i..i + word]);
                }
                i += word.max(1);
            }
        }
    }
    None
}

fn word_length(b: &[u8]) -> usize {
    b.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_' || **c >= 0x80).count()
}

/// Whether a scan is inside `BEGIN ATOMIC ... END` of a function.
#[derive(Default)]
struct Body {
    words: usize,
    routine: bool,
    depth: usize,
}

impl Body {
    fn read(&mut self, word: &str) {
        let is = |w: &str| word.eq_ignore_ascii_case(w);
        self.words += 1;
        match self.words {
            1 if !is("create") => self.words = usize::MAX / 2,
            2..=4 => self.routine |= is("function") || is("procedure"),
            _ => {}
        }
        if (self.routine && is("begin")) || (self.depth > 0 && is("case")) {
            self.depth += 1;
        } else if self.depth > 0 && is("end") {
            self.depth -= 1;
        }
    }
}

fn end_of_line(b: &[u8], from: usize) -> usize {
    b[from..].iter().position(|&c| c == b'\n').map_or(b.len(), |n| from + n)
}

fn end_of_quoted(b: &[u8], from: usize) -> usize {
    b[from + 1..].iter().position(|&c| c == b'"').map_or(b.len(), |n| from + n + 2)
}

fn end_of_string(b: &[u8], from: usize) -> usize {
    let escapes = from > 0
        && matches!(b[from - 1], b'e' | b'E')
        && (from < 2 || !(b[from - 2].is_ascii_alphanumeric() || b[from - 2] == b'_'));
    let mut i = from + 1;
    while i < b.len() {
        match b[i] {
            b'\\' if escapes => i += 2,
            b'\'' => return i + 1,
            _ => i += 1,
        }
    }
    b.len()
}

fn end_of_comment(b: &[u8], from: usize) -> usize {
    let mut depth = 0;
    let mut i = from;
    while i < b.len() {
        match (b[i], b.get(i + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                i += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    b.len()
}

fn end_of_dollar(sql: &str, from: usize) -> usize {
    let b = sql.as_bytes();
    let before = from.checked_sub(1).map(|i| b[i]);
    if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_') {
        return from + 1;
    }
    let mut end = from + 1;
    while end < b.len() && (b[end].is_ascii_alphanumeric() || b[end] == b'_') {
        end += 1;
    }
    let is_parameter = b.get(from + 1).is_some_and(u8::is_ascii_digit);
    if is_parameter || b.get(end) != Some(&b'$') {
        return from + 1;
    }
    let tag = &sql[from..=end];
    sql[end + 1..].find(tag).map_or(b.len(), |n| end + 1 + n + tag.len())
}

#[cfg(test)]
mod tests {
    use super::{psql_statement, statement_length};

    #[test]
    fn scripts_of_psql() {
        for sql in [
            "SELECT ';', 1::int, a[1:b] FROM t;",
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END;",
            "BEGIN;",
            "SELECT 1\\; SELECT 2;",
        ] {
            let cut = psql_statement(sql).unwrap();
            assert_eq!((cut.length, cut.command, cut.variable), (sql.len(), false, false), "{sql}");
        }
        let cut = psql_statement("SELECT 1 AS a \\gset\nSELECT 2;").unwrap();
        assert_eq!((cut.length, cut.command), (14, true));
        for sql in ["SELECT :a;", "SELECT :'a';", "SELECT * FROM :\"a\";"] {
            assert!(psql_statement(sql).unwrap().variable, "{sql}");
        }
        assert_eq!(psql_statement("SELECT (1;"), None);
    }

    #[test]
    fn semicolons_inside_are_not_the_end() {
        for sql in [
            "SELECT ';';",
            "SELECT E'\\';';",
            "SELECT \";\";",
            "SELECT 1 -- ;\n;",
            "SELECT /* ; /* ; */ ; */ 1;",
            "DO $$ BEGIN; END $$;",
            "DO $a$ $$ ; $$ $a$;",
            "SELECT $1, a$b;",
            "SELECT 1\\; SELECT 2;",
        ] {
            assert_eq!(statement_length(sql), Some(sql.len()), "{sql}");
        }
        assert_eq!(statement_length("SELECT 1"), None);
    }
}
