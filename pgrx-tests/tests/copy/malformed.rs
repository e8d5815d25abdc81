//! Input made of pieces that mean something to the parser, in any order.

use super::{both, BY_K};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

const TEXT: &[&[u8]] = &[
    b"1",
    b"2",
    b"33",
    b"-4",
    b"x",
    b"\t",
    b"\t",
    b"\t",
    b"\n",
    b"\n",
    b"\n",
    b"\\",
    b"\\N",
    b"\\.",
    b"\r",
    b"\r\n",
    b"\"",
    b"\\t",
    b"\\n",
    b"\\x41",
    b"\\101",
    b"\\\n",
    b" ",
    b"\xc3\xa9",
    b"\xff",
    b"\\xff",
    b"\\\\",
];
const CSV: &[&[u8]] = &[
    b"1",
    b"2",
    b"33",
    b"-4",
    b"x",
    b",",
    b",",
    b",",
    b"\n",
    b"\n",
    b"\n",
    b"\"",
    b"\"",
    b"\"\"",
    b"\"a\"",
    b"\"1\"",
    b"'",
    b"\\",
    b"\\.",
    b"\\.\n",
    b"\r",
    b"\r\n",
    b"\"\n\"",
    b" ",
    b"\xc3\xa9",
    b"\xe2\x82",
];
const PLANS: &[(&str, &[&[u8]])] = &[
    ("COPY # FROM STDIN", TEXT),
    ("COPY # FROM STDIN (NULL '1')", TEXT),
    ("COPY # FROM STDIN (HEADER)", TEXT),
    ("COPY # FROM STDIN CSV", CSV),
    ("COPY # FROM STDIN (FORMAT csv, ESCAPE '\\')", CSV),
    ("COPY # FROM STDIN (FORMAT csv, QUOTE '''', FORCE_NULL (v), NULL 'x')", CSV),
    ("COPY # (v, k) FROM STDIN CSV", CSV),
];

#[test]
fn malformed_input() {
    both(|pair| {
        for columns in ["k text NOT NULL, v text", "k int NOT NULL, v text"] {
            let mut p = pair(columns, BY_K);
            let mut dice = Dice(dice_seed(columns));
            if columns.contains("int") {
                // Many small pieces.
                p.conn.run("SET citus.remote_copy_flush_threshold = 20");
                p.conn.run("SET citus.local_copy_flush_threshold = 20");
            }
            for round in 0..350 {
                let (sql, pieces) = PLANS[dice.below(PLANS.len())];
                // A clean first line more often than not, so that the rest gets further.
                let mut data = Vec::new();
                if dice.below(3) > 0 {
                    let comma = pieces.contains(&&b","[..]);
                    data.extend_from_slice(if comma { b"7,7\n" } else { b"7\t7\n" });
                }
                for _ in 0..dice.below(24) {
                    data.extend_from_slice(pieces[dice.below(pieces.len())]);
                }
                let _ = p.load(sql, &data);
                if round % 10 == 9 {
                    p.clear();
                }
            }
        }
    });
}

fn dice_seed(columns: &str) -> u64 {
    columns.bytes().fold(0x9e37_79b9_7f4a_7c15, |h, b| h.rotate_left(5) ^ u64::from(b))
}
