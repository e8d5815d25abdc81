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
    use super::statement_length;

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
