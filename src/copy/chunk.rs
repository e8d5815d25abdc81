//! Rows of one shard on their way to it.

/// End of a row in the data, and its line in the client's input.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: u32,
    line: u32,
}

/// Rows of one shard, sent together as the input of one COPY.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Index of the shard.
    pub shard: usize,
    data: Vec<u8>,
    marks: Vec<Mark>,
    first_line: u64,
    rows: u64,
}

impl Chunk {
    /// An empty chunk for a shard.
    pub fn new(shard: usize) -> Chunk {
        Chunk { shard, ..Chunk::default() }
    }

    /// Bytes it holds, with what is remembered about its rows.
    pub fn size(&self) -> usize {
        self.data.len() + self.marks.len() * std::mem::size_of::<Mark>()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Appends a line that is made of two parts, with its end and its number in the input.
    pub fn push_line(&mut self, prefix: &[u8], text: &[u8], line: u64) {
        if self.rows == 0 {
            self.first_line = line;
        }
        self.data.reserve(prefix.len() + text.len() + 1);
        self.data.extend_from_slice(prefix);
        self.data.extend_from_slice(text);
        self.data.push(b'\n');
        self.mark(line);
    }

    /// Appends a row by a function that writes it. `line` is its number in the input, if any.
    pub fn push_with<E>(
        &mut self,
        line: Option<u64>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        write(&mut self.data)?;
        match line {
            Some(line) => {
                if self.rows == 0 {
                    self.first_line = line;
                }
                self.mark(line);
            }
            None => self.rows += 1,
        }
        Ok(())
    }

    fn mark(&mut self, line: u64) {
        self.rows += 1;
        let end = self.data.len() as u32;
        let line = line.saturating_sub(self.first_line).min(u64::from(u32::MAX)) as u32;
        self.marks.push(Mark { end, line });
    }

    /// Number of a row's line in the client's input and the row's bytes, by the row's place in
    /// the chunk.
    pub fn row(&self, index: usize) -> Option<(u64, &[u8])> {
        let mark = self.marks.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.marks.get(before)?.end as usize,
            None => 0,
        };
        let row = self.data.get(start..mark.end as usize)?;
        Some((self.first_line + u64::from(mark.line), row))
    }

    /// Number of rows whose lines are known.
    pub fn marked(&self) -> usize {
        self.marks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_lines() {
        let mut c = Chunk::new(3);
        assert!(c.is_empty());
        c.push_line(b"", b"a,b", 7);
        c.push_line(b"x,", b"c", 12);
        assert_eq!(c.data(), b"a,b\nx,c\n");
        assert_eq!(c.row(0), Some((7, &b"a,b\n"[..])));
        assert_eq!(c.row(1), Some((12, &b"x,c\n"[..])));
        assert_eq!(c.row(2), None);
        assert_eq!(c.marked(), 2);
    }
}
