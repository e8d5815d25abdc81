//! The input buffer of a session: one growing vector, reused for all messages.

use std::io;
use std::ops::Range;

/// Size of a buffer to begin with; an idle session keeps no more than this.
const SMALL: usize = 8 * 1024;
/// A stream that fills the buffer is read in larger pieces.
const LARGE: usize = 256 * 1024;
/// A buffer that had to hold a huge message is given back beyond this size.
const KEEP: usize = 1024 * 1024;
/// PostgreSQL's own limit of a message.
const MAX_MESSAGE: usize = 0x3fff_ffff + 1024;

/// Bytes received and not yet consumed.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read left no room.
    streaming: bool,
}

/// A complete message in the buffer.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub tag: u8,
    pub body: Range<usize>,
}

impl Buffer {
    /// Bytes not yet consumed.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Gives memory back when there is nothing in it; true when it was much.
    pub fn shrink(&mut self) -> bool {
        if self.start != self.end || self.data.len() <= SMALL {
            return false;
        }
        let much = self.data.len() >= LARGE;
        *self = Buffer::default();
        much
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Reads once with `read`; the number of bytes that came, 0 at the end of the stream.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        if self.start == self.end {
            self.clear();
            if self.data.len() > KEEP {
                self.data = Vec::new();
            }
        }
        let usual = if self.streaming { LARGE } else { SMALL };
        let need = self.wanted().max(self.len() + usual / 2);
        if self.start + need > self.data.len() {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if need > self.data.len() {
                self.data.resize(need.next_multiple_of(usual), 0);
            }
        }
        let end = self.end;
        let room = self.data.get_mut(end..).unwrap_or_default();
        let size = room.len();
        let n = read(room)?;
        self.streaming = n == size;
        self.end += n;
        Ok(n)
    }

    /// Size of the message at the front (0 when unknown).
    fn wanted(&self) -> usize {
        self.header().map_or(0, |(_, len)| len.saturating_add(1))
    }

    /// Tag and length (counting itself) of the message at the front.
    fn header(&self) -> Option<(u8, usize)> {
        match self.data.get(self.start..self.end)? {
            [tag, a, b, c, d, ..] => Some((*tag, u32::from_be_bytes([*a, *b, *c, *d]) as usize)),
            _ => None,
        }
    }

    /// Takes the next complete message; an error when the stream makes no sense.
    pub fn next(&mut self) -> Result<Option<Frame>, usize> {
        let Some((tag, len)) = self.header() else { return Ok(None) };
        if !(4..=MAX_MESSAGE).contains(&len) {
            return Err(len);
        }
        if self.len() < len + 1 {
            return Ok(None);
        }
        let body = self.start + 5..self.start + 1 + len;
        self.start = body.end;
        Ok(Some(Frame { tag, body }))
    }

    /// Takes a single byte, for the answer to the request for encryption.
    pub fn byte(&mut self) -> Option<u8> {
        let b = self.data.get(self.start..self.end)?.first().copied()?;
        self.start += 1;
        Some(b)
    }

    /// The bytes of a frame; valid until the next [`Buffer::fill`].
    pub fn slice(&self, body: &Range<usize>) -> &[u8] {
        self.data.get(body.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut m = vec![tag];
        m.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        m.extend_from_slice(body);
        m
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_messages() {
        let mut stream = Vec::new();
        for i in 0..50usize {
            stream.extend(message(b'D', &vec![i as u8; i * 997]));
        }
        for step in [1, 2, 3, 5, 4096, 65_536, 1 << 20] {
            let (mut b, mut at, mut seen) = (Buffer::default(), 0, 0usize);
            while at < stream.len() {
                let n = b
                    .fill(|to| {
                        let n = to.len().min(step).min(stream.len() - at);
                        assert!(n > 0);
                        to[..n].copy_from_slice(&stream[at..at + n]);
                        Ok(n)
                    })
                    .unwrap_or(0);
                at += n;
                while let Ok(Some(f)) = b.next() {
                    assert_eq!(b.slice(&f.body), vec![seen as u8; seen * 997]);
                    seen += 1;
                }
            }
            assert_eq!(seen, 50);
            assert_eq!(b.len(), 0);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut b = Buffer::default();
        let _ = b.fill(|to| {
            to[..5].copy_from_slice(&[b'D', 0, 0, 0, 3]);
            Ok(5)
        });
        assert!(b.next().is_err());
    }
}
