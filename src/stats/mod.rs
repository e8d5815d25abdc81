//! Statistics in shared memory: [`counters`] per database, [`statements`] per query and tenant,
//! [`tenants`] per tenant. Recording costs a look at a setting while it is off.

pub mod counters;
pub mod query;
pub mod statements;
pub mod tenants;

use crate::pg::shmem::Slot;
use std::sync::atomic::Ordering::Relaxed;

/// Text of limited length in words of a slot: zero-padded, cut at a character's boundary.
fn pack<const W: usize>(text: &str) -> [u64; W] {
    let mut cut = text.len().min(W * 8);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut bytes = text.as_bytes().get(..cut).unwrap_or_default().chunks(8);
    std::array::from_fn(|_| {
        let mut word = [0u8; 8];
        for (to, from) in word.iter_mut().zip(bytes.next().unwrap_or_default()) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    })
}

/// The text that [`pack`] put into words.
fn unpack(words: &[u64]) -> String {
    let bytes: Vec<u8> =
        words.iter().flat_map(|w| w.to_le_bytes()).take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All words of a slot.
fn read<const N: usize>(slot: &Slot<N>) -> [u64; N] {
    std::array::from_fn(|i| slot[i].load(Relaxed))
}

/// Writes all words of a slot.
fn write<const N: usize>(slot: &Slot<N>, words: &[u64; N]) {
    slot.iter().zip(words).for_each(|(to, from)| to.store(*from, Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_packing() {
        for text in ["", "a", "12345678", "123456789", "tenant ü"] {
            assert_eq!(unpack(&pack::<4>(text)), text);
        }
        assert_eq!(unpack(&pack::<1>("1234567ü")), "1234567");
    }
}
