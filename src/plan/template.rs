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
    /// The terms of a disjunction that can be true in the shard.
    Choice(Choice),
}

/// Terms of a disjunction, by the shards in which they can be true.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Choice {
    /// Texts of terms.
    parts: Vec<String>,
    /// Numbers of shards and parts, in order.
    of_shard: Vec<(u32, u32)>,
}

impl Choice {
    /// The parts of a shard.
    fn of(&self, shard: u32) -> impl Iterator<Item = &str> {
        let first = self.of_shard.partition_point(|(s, _)| *s < shard);
        let own = self.of_shard.iter().skip(first).take_while(move |(s, _)| *s == shard);
        own.filter_map(|(_, part)| self.parts.get(*part as usize).map(String::as_str))
    }
}

/// What stands between the terms of a disjunction.
const OR: &str = " OR ";

/// What stands behind the cast of a mark to its type.
fn behind_cast(text: &str) -> &str {
    let Some(cast) = text.strip_prefix("::") else { return text };
    let ends = [cast.find(OR), cast.find(')')];
    ends.into_iter().flatten().min().and_then(|end| cast.get(end..)).unwrap_or(text)
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

    /// Makes what stands between marks, `mark OR terms OR mark OR terms OR mark`, a choice: each part is
    /// for some shards.
    pub fn choose(&mut self, marks: &[String], shards: &[Vec<u32>]) {
        let Some((first, rest)) = marks.split_first() else { return };
        let mut of_shard: Vec<(u32, u32)> = Vec::new();
        for (part, shards) in shards.iter().enumerate() {
            of_shard.extend(shards.iter().map(|s| (*s, part as u32)));
        }
        of_shard.sort_unstable();
        let mut pieces = Vec::new();
        for p in self.pieces.drain(..) {
            let Piece::Text(mut text) = p else {
                pieces.push(p);
                continue;
            };
            // What is sorted by may be printed twice.
            while let Some((head, tail)) = text.split_once(first.as_str()) {
                let mut tail = behind_cast(tail);
                let mut parts = Vec::new();
                for mark in rest {
                    let Some((part, after)) = tail.split_once(mark.as_str()) else { break };
                    let part = part.strip_prefix(OR).unwrap_or(part);
                    parts.push(part.strip_suffix(OR).unwrap_or(part).to_owned());
                    tail = behind_cast(after);
                }
                pieces.push(Piece::Text(head.to_owned()));
                pieces.push(Piece::Choice(Choice { parts, of_shard: of_shard.clone() }));
                text = tail.to_owned();
            }
            pieces.push(Piece::Text(text));
        }
        self.pieces = pieces;
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
                    Piece::Choice(c) => c.of(shard).map(|t| t.len() + OR.len()).sum(),
                })
                .sum::<usize>(),
        );
        for p in &self.pieces {
            match p {
                Piece::Text(t) => out.push_str(t),
                Piece::Table(n) => table(*n, &mut out),
                Piece::Rows => out.push_str(rows.unwrap_or_default()),
                Piece::ShardNumber => out.push_str(&shard.to_string()),
                Piece::Choice(choice) => {
                    let before = out.len();
                    for part in choice.of(shard) {
                        if out.len() > before {
                            out.push_str(OR);
                        }
                        out.push_str(part);
                    }
                    if out.len() == before {
                        out.push_str("false");
                    }
                }
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
    fn choices() {
        let mut t = Template {
            pieces: vec![
                Piece::Table(0),
                Piece::Text(
                    " WHERE (M0::text OR a OR b OR M1 OR c OR M2::pg_catalog.text) END".into(),
                ),
            ],
        };
        let marks = ["M0", "M1", "M2"].map(str::to_owned);
        t.choose(&marks, &[vec![7], vec![3, 7]]);
        let fill = |shard| t.fill(&mut |_, o: &mut String| o.push('t'), None, shard);
        assert_eq!(fill(7), "t WHERE (a OR b OR c) END");
        assert_eq!(fill(3), "t WHERE (c) END");
        assert_eq!(fill(1), "t WHERE (false) END");
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
