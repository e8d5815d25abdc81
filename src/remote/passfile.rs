//! Passwords from a file in libpq's format: lines of `host:port:database:user:password`.

use super::tls;

/// The password for a connection, of which host, port, database and user are given.
pub(super) fn password(file: &str, wanted: [&str; 4]) -> Result<Option<String>, String> {
    tls::private(file, "password file")?;
    let bytes = std::fs::read(file)
        .map_err(|e| format!("could not read password file \"{file}\": {}", e.kind()))?;
    Ok(find(&String::from_utf8_lossy(&bytes), wanted))
}

/// The password of the first line that fits.
fn find(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for want in wanted {
            let (field, after) = field(rest)?;
            if field != want && rest.strip_suffix(after) != Some("*:") {
                return None;
            }
            rest = after;
        }
        let (password, _) = unescaped(rest, None);
        Some(password).filter(|p| !p.is_empty())
    })
}

/// The field up to the next colon, and what follows that.
fn field(text: &str) -> Option<(String, &str)> {
    let (field, end) = unescaped(text, Some(':'));
    Some((field, text.get(end? + 1..)?))
}

/// A text up to an end, and where that is; a backslash takes away the meaning of what follows.
fn unescaped(text: &str, end: Option<char>) -> (String, Option<usize>) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c if Some(c) == end => return (out, Some(at)),
            c => out.push(c),
        }
    }
    (out, None)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# comment\nbroken\nh:1:d:u:one\r\n*:*:d:u:two:with\\:colons\\\\\n\\*:1:d:v:three\nx:2:*:w:";
        let of = |h, p, d, u| find(text, [h, p, d, u]);
        assert_eq!(of("h", "1", "d", "u").as_deref(), Some("one"));
        assert_eq!(of("h", "2", "d", "u").as_deref(), Some("two:with:colons\\"));
        assert_eq!(of("*", "1", "d", "v").as_deref(), Some("three"));
        // An escaped star is a star, an empty password none.
        assert_eq!(of("h", "1", "d", "v"), None);
        assert_eq!(of("x", "2", "d", "w"), None);
        assert_eq!(of("h", "1", "d", ""), None);
    }
}
