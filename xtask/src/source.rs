//! Just enough of Rust's grammar to measure functions and to tell code from text.

/// Replaces comments and the contents of literals by spaces; line breaks stay where they are.
pub fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let end = token_end(&chars, at);
        if end > at {
            code.extend(chars.iter().take(end).skip(at).map(|&c| blank(c)));
            at = end;
        } else {
            code.push(c);
            at += 1;
        }
    }
    code
}

fn blank(c: char) -> char {
    match c {
        '\n' => '\n',
        _ => ' ',
    }
}

/// The end of the comment or literal that starts at `at`, or `at` if none does.
fn token_end(chars: &[char], at: usize) -> usize {
    let peek = |n: usize| chars.get(at + n).copied().unwrap_or('\0');
    let previous = at.checked_sub(1).and_then(|i| chars.get(i)).copied().unwrap_or(' ');
    let starts_word = !is_word(previous);
    match peek(0) {
        '/' if peek(1) == '/' => find(chars, at, |rest| rest.first() == Some(&'\n'), 0),
        '/' if peek(1) == '*' => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' if starts_word => raw_string_end(chars, at, at + 1),
        'b' if starts_word && peek(1) == '"' => string_end(chars, at + 2),
        'b' if starts_word && peek(1) == 'r' => raw_string_end(chars, at, at + 2),
        'c' if starts_word && peek(1) == '"' => string_end(chars, at + 2),
        '\'' if peek(1) == '\\' => find(chars, at + 3, |rest| rest.first() == Some(&'\''), 1),
        '\'' if peek(2) == '\'' => at + 3,
        _ => at,
    }
}

/// First position from `at` where `found` holds, plus `extra`; the end of the text otherwise.
fn find(chars: &[char], at: usize, found: impl Fn(&[char]) -> bool, extra: usize) -> usize {
    let hit = (at..chars.len()).find(|&i| chars.get(i..).is_some_and(&found));
    hit.map_or(chars.len(), |i| i + extra)
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
            (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start;
    while let Some(c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// End of a raw string whose hashes or quote are expected at `hashes_at`; `start` if it is none.
fn raw_string_end(chars: &[char], start: usize, hashes_at: usize) -> usize {
    let hashes = chars.iter().skip(hashes_at).take_while(|c| **c == '#').count();
    if chars.get(hashes_at + hashes) != Some(&'"') {
        return start;
    }
    let mut close = vec!['"'];
    close.resize(hashes + 1, '#');
    find(chars, hashes_at + hashes + 1, |rest| rest.starts_with(&close), close.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`, counted from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub length: usize,
}

/// All functions in a text that went through [`code_only`].
pub fn functions(code: &str) -> Vec<Function> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let mut line = 1;
    for (at, c) in chars.iter().enumerate() {
        line += usize::from(*c == '\n');
        let boundary = at == 0 || chars.get(at - 1).is_some_and(|p| !is_word(*p));
        if !boundary || !chars.get(at..).is_some_and(|rest| rest.starts_with(&['f', 'n', ' '])) {
            continue;
        }
        let name: String = chars.iter().skip(at + 3).take_while(|c| is_word(**c)).collect();
        if let (false, Some(breaks)) = (name.is_empty(), body_lines(&chars, at)) {
            found.push(Function { name, line, length: breaks + 1 });
        }
    }
    found
}

/// Line breaks between `start` and the brace that closes the body; nothing if there is no body.
fn body_lines(chars: &[char], start: usize) -> Option<usize> {
    let (mut lines, mut braces, mut brackets) = (0, 0, 0);
    for c in chars.iter().skip(start) {
        match c {
            '\n' => lines += 1,
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(lines);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_vanish() {
        let source =
            "a // {\nb /* } /* { */ */ c \"{\\\"\" 'x' '\\'' '\\u{7b}' r#\"}\"# b\"{\" d<'a>";
        let code = code_only(source);
        assert!(!code.contains(['{', '}', '"']), "{code}");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "d<'a>"]);
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn functions_are_measured() {
        let source = "trait T { fn a(x: [u8; 3]); }\npub fn b() {\n  if x { fn c() {} }\n}\n";
        let expected = [("b", 2, 3), ("c", 3, 1)];
        let found = functions(&code_only(source));
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.length)).collect();
        assert_eq!(found, expected);
    }
}
