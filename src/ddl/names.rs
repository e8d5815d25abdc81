//! Names of shards, their indexes and constraints.

/// Longest name of an object in bytes (NAMEDATALEN - 1).
const MAX_NAME: usize = 63;

/// Name of the shard `id` of the relation `name`: `name_id`.
///
/// A result beyond PostgreSQL's limit would be cut by the server and lose the id. It is cut here
/// instead, in front of the id and at a character's boundary, with a hash of the whole name so that
/// long names that begin alike stay apart.
pub fn shard_name(name: &str, id: i64) -> String {
    let (mut digits, mut short) = (itoa::Buffer::new(), String::with_capacity(MAX_NAME));
    let digits = digits.format(id);
    if name.len() + 1 + digits.len() <= MAX_NAME {
        short.push_str(name);
        short.push('_');
        short.push_str(digits);
        return short;
    }
    let suffix = format!("_{digits}");
    let tail = format!("_{:08x}{suffix}", fnv1a(name.as_bytes()));
    let mut cut = MAX_NAME.saturating_sub(tail.len()).min(name.len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{tail}", name.get(..cut).unwrap_or_default())
}

/// Takes the ids of shards out of names in a message, so that it speaks of tables.
pub fn without_ids(text: &str, is_id: &dyn Fn(i64) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('_') {
        let (head, tail) = rest.split_at(at);
        let digits = tail.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        let number = tail.get(1..=digits).and_then(|d| d.parse::<i64>().ok());
        let after = tail.get(digits + 1..).unwrap_or_default();
        let ends = !after.starts_with(|c: char| c == '_' || c.is_alphanumeric());
        out.push_str(head);
        if head.is_empty() && out.is_empty() || !ends || !number.is_some_and(is_id) {
            out.push('_');
            rest = tail.get(1..).unwrap_or_default();
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// FNV-1a, 32 bits: stable over versions and platforms, which names on disk need.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_get_the_id() {
        assert_eq!(shard_name("events", 102008), "events_102008");
        let exact = "a".repeat(63 - 7);
        assert_eq!(shard_name(&exact, 102008), format!("{exact}_102008"));
    }

    #[test]
    fn messages_speak_of_tables() {
        let is_id = |id| id == 102008;
        let text = "column \"a_1\" of relation \"t_102008\" and t_102008x, t_102009, _102008";
        let want = "column \"a_1\" of relation \"t\" and t_102008x, t_102009, ";
        assert_eq!(without_ids(text, &is_id), want);
        assert_eq!(without_ids("x_y_102008_102008", &is_id), "x_y_102008");
        assert_eq!(without_ids("", &is_id), "");
    }

    #[test]
    fn long_names_stay_apart_and_within_the_limit() {
        let a = format!("{}x", "a".repeat(62));
        let b = format!("{}y", "a".repeat(62));
        let (sa, sb) = (shard_name(&a, 102008), shard_name(&b, 102008));
        assert_ne!(sa, sb);
        assert!(sa.len() <= 63 && sa.ends_with("_102008"));
        let wide = "表".repeat(21);
        for id in [1, 102008, i64::MAX] {
            let s = shard_name(&wide, id);
            assert!(s.len() <= 63 && s.starts_with('表') && s.ends_with(&format!("_{id}")));
        }
    }
}
