//! Statement text with slots.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

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
    fn new(parts: Vec<String>, shards: &[Vec<u32>]) -> Choice {
        let numbered = shards.iter().zip(0..);
        let mut of_shard: Vec<(u32, u32)> =
            numbered.flat_map(|(shards, part)| shards.iter().map(move |s| (*s, part))).collect();
        of_shard.sort_unstable();
        Choice { parts, of_shard }
    }

    /// The parts of a shard.
    fn of(&self, shard: u32) -> impl Iterator<Item = &str> {
        let first = self.of_shard.partition_point(|(s, _)| *s < shard);
        let own = self.of_shard.iter().skip(first).take_while(move |(s, _)| *s == shard);
        own.filter_map(|(_, part)| self.parts.get(*part as usize).map(String::as_str))
    }
}

/// What stands between the terms of a disjunction.
const OR: &str = " OR ";

/// A list in a text.
pub struct Marked {
    /// The marks around its parts, one more than these.
    pub marks: Vec<String>,
    /// The shards that get each part.
    pub shards: Vec<Vec<u32>>,
}

/// Where marks belong: a list and a place in it.
type Places<'a> = HashMap<&'a str, (usize, usize)>;

/// Cuts a text at the marks of lists, each of which begins with `prefix` and ends with a quote.
fn cut_lists(
    text: &str,
    prefix: &str,
    lists: &[Marked],
    places: &Places,
    pieces: &mut Vec<Piece>,
) -> bool {
    let mut from = 0;
    // The list that is open, and its parts so far.
    let mut open: Option<(usize, Vec<String>)> = None;
    for (start, _) in text.match_indices(prefix) {
        let rest = text.get(start..).unwrap_or_default();
        let len = rest.get(prefix.len()..).and_then(|r| r.find('\'')).map(|n| n + prefix.len() + 1);
        let Some(mark) = len.and_then(|n| rest.get(..n)) else { continue };
        let Some((list, at)) = places.get(mark).copied() else { continue };
        let before = text.get(from..start).unwrap_or_default();
        from = text.len() - behind_cast(rest.get(mark.len()..).unwrap_or_default()).len();
        let (parts, last) = match &mut open {
            None if at == 0 => {
                pieces.push(Piece::Text(before.to_owned()));
                open = Some((list, Vec::new()));
                continue;
            }
            Some((of, parts)) if *of == list && at == parts.len() + 1 => {
                let part = before.strip_prefix(OR).unwrap_or(before);
                parts.push(part.strip_suffix(OR).unwrap_or(part).to_owned());
                (std::mem::take(parts), at)
            }
            _ => return false,
        };
        match lists.get(list).filter(|l| l.marks.len() == last + 1) {
            Some(l) => {
                pieces.push(Piece::Choice(Choice::new(parts, &l.shards)));
                open = None;
            }
            None => open = Some((list, parts)),
        }
    }
    pieces.push(Piece::Text(text.get(from..).unwrap_or_default().to_owned()));
    open.is_none()
}

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

    /// Makes what stands between the marks of lists, `mark OR terms OR mark OR terms OR mark`, choices: each
    /// part is for some shards. False when a list is not there as a whole.
    pub fn choose(&mut self, lists: &[Marked], prefix: &str) -> bool {
        let mut places = HashMap::new();
        for (list, marked) in lists.iter().enumerate() {
            let marks = marked.marks.iter().enumerate();
            places.extend(marks.map(|(at, m)| (m.as_str(), (list, at))));
        }
        let mut pieces = Vec::new();
        for p in self.pieces.drain(..) {
            match p {
                Piece::Text(text) if text.contains(prefix) => {
                    if !cut_lists(&text, prefix, lists, &places, &mut pieces) {
                        return false;
                    }
                }
                other => pieces.push(other),
            }
        }
        self.pieces = pieces;
        true
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
                    " WHERE ('M0'::text OR a OR b OR 'M1' OR c OR 'M2'::pg_catalog.text) END 'M' 'M9'".into(),
                ),
            ],
        };
        let list = Marked {
            marks: ["'M0'", "'M1'", "'M2'"].map(str::to_owned).into(),
            shards: vec![vec![7], vec![3, 7]],
        };
        assert!(t.choose(std::slice::from_ref(&list), "'M"));
        let fill = |shard| t.fill(&mut |_, o: &mut String| o.push('t'), None, shard);
        assert_eq!(fill(7), "t WHERE (a OR b OR c) END 'M' 'M9'");
        assert_eq!(fill(3), "t WHERE (c) END 'M' 'M9'");
        assert_eq!(fill(1), "t WHERE (false) END 'M' 'M9'");
        // A mark that is not where it should be.
        for text in ["'M0' OR a OR 'M2'", "a OR 'M1' OR b", "'M0' OR a OR 'M1' OR b", "'M0' 'M0'"] {
            let mut t = Template { pieces: vec![Piece::Text(text.into())] };
            assert!(!t.choose(std::slice::from_ref(&list), "'M"), "{text}");
        }
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
