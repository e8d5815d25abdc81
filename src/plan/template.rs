//! Statement text with slots.

use serde::{Deserialize, Serialize};

/// A piece of a statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// The shard of table number `n` of the plan.
    Table(u32),
    /// The rows of an INSERT, supplied by the executor.
    Rows,
}

/// A statement deparsed once; a task's text is a join of its pieces with shard names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Template {
    /// The pieces in order.
    pub pieces: Vec<Piece>,
}

impl Template {
    /// Cuts a text at tokens; `slots` gives each token and what stands for it. A token that does
    /// not occur, or occurs inside a longer word, is an error of the caller's making.
    pub fn cut(text: &str, slots: &[(String, Piece)]) -> Option<Self> {
        let mut hits: Vec<(usize, usize, Piece)> = Vec::new();
        for (token, piece) in slots {
            let mut from = 0;
            let mut any = false;
            while let Some(at) = text[from..].find(token.as_str()) {
                let start = from + at;
                hits.push((start, start + token.len(), piece.clone()));
                from = start + token.len();
                any = true;
            }
            if !any {
                return None;
            }
        }
        hits.sort_by_key(|h| h.0);
        let mut pieces = Vec::new();
        let mut from = 0;
        for (start, end, piece) in hits {
            if start > from {
                pieces.push(Piece::Text(text[from..start].to_owned()));
            }
            pieces.push(piece);
            from = end;
        }
        if from < text.len() {
            pieces.push(Piece::Text(text[from..].to_owned()));
        }
        Some(Template { pieces })
    }

    /// The statement with the slots filled.
    pub fn fill(&self, table: &mut dyn FnMut(u32, &mut String), rows: Option<&str>) -> String {
        let mut out = String::with_capacity(
            64 + self
                .pieces
                .iter()
                .map(|p| match p {
                    Piece::Text(t) => t.len(),
                    Piece::Table(_) => 40,
                    Piece::Rows => rows.map_or(0, str::len),
                })
                .sum::<usize>(),
        );
        for p in &self.pieces {
            match p {
                Piece::Text(t) => out.push_str(t),
                Piece::Table(n) => table(*n, &mut out),
                Piece::Rows => out.push_str(rows.unwrap_or_default()),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_and_fill() {
        let slots = vec![("tok_a".into(), Piece::Table(0)), ("tok_b".into(), Piece::Table(1))];
        let t = Template::cut("SELECT x FROM tok_a a JOIN tok_b b, tok_a c", &slots).unwrap();
        let s = t.fill(&mut |n, o| o.push_str(&format!("s{n}")), None);
        assert_eq!(s, "SELECT x FROM s0 a JOIN s1 b, s0 c");
        assert!(Template::cut("SELECT 1", &slots).is_none());
    }
}
