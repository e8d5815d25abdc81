//! The differences that are known: `known.txt`.
//!
//! A line `# reason` gives the reason of the lines after it. Each of these names
//!
//! * the pass: `shared`, `own`, or `both`;
//! * the script;
//! * how many statements it is about, or `*` where chance decides whether they differ;
//! * their beginning, with single blanks for any white space, in small letters.
//!
//! A line that is about another number of statements than it says fails the test, so that the
//! list stays true.

use std::cell::Cell;

/// A line of the list.
pub struct Entry {
    pass: String,
    script: String,
    /// None for statements that may differ.
    count: Option<usize>,
    beginning: String,
    line: usize,
    seen: Cell<usize>,
}

/// All lines.
pub struct Known(Vec<Entry>);

impl Known {
    /// Reads the list.
    pub fn read(text: &str) -> Known {
        let mut entries = Vec::new();
        let mut reason = false;
        for (n, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                reason = line.len() > 2;
            } else if !line.trim().is_empty() {
                assert!(reason, "known.txt:{}: no reason stands above", n + 1);
                let mut words = line.splitn(4, ' ');
                let mut word = || words.next().unwrap_or_default().to_owned();
                let (pass, script, count, beginning) = (word(), word(), word(), word());
                let number = count.parse().ok();
                let good = ["shared", "own", "both"].contains(&pass.as_str())
                    && (count == "*" || number > Some(0))
                    && !beginning.is_empty();
                assert!(good, "known.txt:{}: not an entry: {line}", n + 1);
                let seen = Cell::new(0);
                let line = n + 1;
                entries.push(Entry { pass, script, count: number, beginning, line, seen });
            }
        }
        Known(entries)
    }

    /// Whether a statement that differs is in the list: the longest beginning counts.
    pub fn excuses(&self, pass: &str, script: &str, sql: &str) -> bool {
        let sql = flat(sql);
        let fits = |e: &&Entry| e.is_about(pass, script) && sql.starts_with(&e.beginning);
        let found = self.0.iter().filter(fits).max_by_key(|e| e.beginning.len());
        found.is_some_and(|e| {
            e.seen.set(e.seen.get() + 1);
            true
        })
    }

    /// What the list says about a script that has run, and is not so.
    pub fn stale(&self, pass: &str, script: &str) -> Vec<String> {
        let mut found = Vec::new();
        for e in self.0.iter().filter(|e| e.is_about(pass, script)) {
            let seen = e.seen.take();
            if e.count.is_some_and(|count| count != seen) {
                let text = format!("{} {} {}", e.pass, e.script, e.beginning);
                found.push(format!("known.txt:{}: {seen} statements differ: {text}", e.line));
            }
        }
        found
    }
}

impl Entry {
    fn is_about(&self, pass: &str, script: &str) -> bool {
        (self.pass == pass || self.pass == "both") && self.script == script
    }
}

/// A statement as the list has it.
pub fn flat(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::Known;

    #[test]
    fn the_list_stays_true() {
        let list = "# a reason\nown limit 2 fetch backward\nboth limit * select random\n";
        let known = Known::read(list);
        assert!(known.excuses("own", "limit", "FETCH\n  BACKWARD 1 IN c"));
        assert!(!known.excuses("shared", "limit", "FETCH BACKWARD 1 IN c"));
        assert!(!known.excuses("own", "window", "FETCH BACKWARD 1 IN c"));
        assert!(known.excuses("shared", "limit", "SELECT random()"));
        assert_eq!(known.stale("own", "limit").len(), 1);
        assert!(known.stale("shared", "limit").is_empty());
        for _ in 0..2 {
            assert!(known.excuses("own", "limit", "fetch backward all in c"));
        }
        assert!(known.stale("own", "limit").is_empty());
    }
}
