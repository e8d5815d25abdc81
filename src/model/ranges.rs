//! Hash ranges of shards.
//!
//! The space of 32-bit signed hashes is cut into `n` ranges of equal width from the lowest value
//! up; what the division leaves over belongs to the last range. This is the layout that existing
//! clusters have, so a value lands in the same range there and here.

/// Most shards a table may have.
pub const MAX_SHARDS: i32 = 64_000;

/// Width of each range but the last for `n` shards (`n >= 1`).
fn width(n: u32) -> u64 {
    (1u64 << 32) / u64::from(n.max(1))
}

/// The inclusive ranges of `n` shards in order.
pub fn ranges(n: u32) -> Vec<(i32, i32)> {
    let w = width(n) as i64;
    (0..i64::from(n))
        .map(|i| {
            let min = i64::from(i32::MIN) + i * w;
            let max = if i + 1 == i64::from(n) { i64::from(i32::MAX) } else { min + w - 1 };
            (min as i32, max as i32)
        })
        .collect()
}

/// Whether sorted ranges are exactly those of [`ranges`], which allows [`uniform_index`].
pub fn is_uniform(sorted: &[(i32, i32)]) -> bool {
    sorted == ranges(sorted.len() as u32).as_slice()
}

/// Index of the range that holds `hash` among the ranges of `n` shards.
pub fn uniform_index(hash: i32, n: u32) -> usize {
    let offset = (i64::from(hash) - i64::from(i32::MIN)) as u64;
    ((offset / width(n)) as usize).min(n.saturating_sub(1) as usize)
}

/// Index of the range that holds `hash` among sorted, non-overlapping ranges.
pub fn search(hash: i32, sorted: &[(i32, i32)]) -> Option<usize> {
    let i = sorted.partition_point(|r| r.0 <= hash).checked_sub(1)?;
    (hash <= sorted[i].1).then_some(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_layouts() {
        assert_eq!(ranges(1), vec![(i32::MIN, i32::MAX)]);
        let r = ranges(32);
        assert_eq!(r[0], (-2147483648, -2013265921));
        assert_eq!(r[1], (-2013265920, -1879048193));
        assert_eq!(r[31], (2013265920, 2147483647));
        let r = ranges(3);
        assert_eq!(r[2], (715827882, 2147483647));
    }

    #[test]
    fn every_hash_has_one_range() {
        for n in [1, 2, 3, 4, 7, 32, 100, 64_000] {
            let r = ranges(n);
            assert!(is_uniform(&r));
            for w in r.windows(2) {
                assert_eq!(i64::from(w[0].1) + 1, i64::from(w[1].0));
            }
            for h in [i32::MIN, i32::MIN + 1, -1, 0, 1, 12345, i32::MAX - 1, i32::MAX] {
                let i = uniform_index(h, n);
                assert!(r[i].0 <= h && h <= r[i].1, "{h} of {n}");
                assert_eq!(search(h, &r), Some(i));
            }
        }
    }

    #[test]
    fn gaps_are_found() {
        let r = [(-10, -5), (0, 10)];
        assert!(!is_uniform(&r));
        assert_eq!(search(-11, &r), None);
        assert_eq!(search(-7, &r), Some(0));
        assert_eq!(search(-4, &r), None);
        assert_eq!(search(11, &r), None);
    }
}
