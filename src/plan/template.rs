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
    /// The number of the shard in its table's order.
    ShardNumber,
    /// The name of the shard of the plan's first table, as a literal.
    Name,
}

/// A statement deparsed once; a task's text is a join of its pieces with shard names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Template {
    /// The pieces in order.
    pub pieces: Vec<Piece>,
}

impl Template {
    /// Puts the slot for rows where `mark` stands; false when it is not there.
    pub fn split_rows(&mut self, mark: &str) -> bool {
        let Some(i) =
            self.pieces.iter().position(|p| matches!(p, Piece::Text(t) if t.contains(mark)))
        else {
            return false;
        };
        let Piece::Text(text) = self.pieces[i].clone() else { return false };
        let Some((head, tail)) = text.split_once(mark) else { return false };
        let new = [Piece::Text(head.to_owned()), Piece::Rows, Piece::Text(tail.to_owned())];
        self.pieces.splice(i..=i, new);
        true
    }

    /// Makes every occurrence of the number `mark` a slot for the shard's number.
    pub fn name_shard(&mut self, mark: u32) {
        self.cut(&mark.to_string(), &Piece::ShardNumber);
    }

    /// Makes every occurrence of `mark` a slot for the name of the first table's shard.
    pub fn name_table(&mut self, mark: &str) {
        self.cut(mark, &Piece::Name);
    }

    /// Puts a piece where `mark` stands.
    fn cut(&mut self, mark: &str, piece: &Piece) {
        let mut pieces = Vec::new();
        for p in self.pieces.drain(..) {
            let Piece::Text(text) = p else {
                pieces.push(p);
                continue;
            };
            for (i, part) in text.split(mark).enumerate() {
                if i > 0 {
                    pieces.push(piece.clone());
                }
                pieces.push(Piece::Text(part.to_owned()));
            }
        }
        self.pieces = pieces;
    }

    /// The statement with the slots filled.
    pub fn fill(
        &self,
        table: &mut dyn FnMut(u32, &mut String),
        rows: Option<&str>,
        shard: u32,
    ) -> String {
        let mut out = String::with_capacity(
            64 + self
                .pieces
                .iter()
                .map(|p| match p {
                    Piece::Text(t) => t.len(),
                    Piece::Table(_) | Piece::ShardNumber | Piece::Name => 40,
                    Piece::Rows => rows.map_or(0, str::len),
                })
                .sum::<usize>(),
        );
        for p in &self.pieces {
            match p {
                Piece::Text(t) => out.push_str(t),
                Piece::Table(n) => table(*n, &mut out),
                Piece::Rows => out.push_str(rows.unwrap_or_default()),
                Piece::ShardNumber => out.push_str(&shard.to_string()),
                Piece::Name => {
                    let mut name = String::new();
                    table(0, &mut name);
                    let escape = if name.contains('\\') { "E" } else { "" };
                    let quoted = name.replace('\\', "\\\\").replace('\'', "''");
                    out.push_str(&format!("{escape}'{quoted}'"));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_tables() {
        let mut t = Template {
            pieces: vec![
                Piece::Text("INSERT INTO ".into()),
                Piece::Table(0),
                Piece::Text(" t VALUES ('tok'::text) RETURNING a".into()),
            ],
        };
        assert!(!t.clone().split_rows("nothing"));
        assert!(t.split_rows("('tok'::text)"));
        let s = t.fill(&mut |n, o| o.push_str(&format!("s{n}")), Some("(1)"), 0);
        assert_eq!(s, "INSERT INTO s0 t VALUES (1) RETURNING a");
    }

    #[test]
    fn names_as_literals() {
        let mut t = Template { pieces: vec![Piece::Text("SELECT f('mark'::text) + 77".into())] };
        t.name_table("'mark'");
        t.name_shard(77);
        let fill = |name: &'static str| t.fill(&mut |_, o: &mut String| o.push_str(name), None, 5);
        assert_eq!(fill("s.\"it's\""), "SELECT f('s.\"it''s\"'::text) + 5");
        assert_eq!(fill("a\\b"), "SELECT f(E'a\\\\b'::text) + 5");
    }
}
