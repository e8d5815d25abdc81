//! Names of prepared transactions.
//!
//! A name tells who decides about it: the group, and the identity of the server and database
//! whose `pg_dist_transaction` holds the decision. It also holds a number of the deciding local
//! transaction, so that a running one is never mistaken for a dead one, and a random number,
//! because numbers may be handed out again after a restore from a backup. Where the participants
//! themselves decide (see `peers`), it lists them all with the ids of their transactions. Long numbers
//! are written with 36 digits, so that there is room for more of them.

use crate::pg::starts::TransactionId;
use crate::pg::{procs, xact};

/// Who may decide about a prepared transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decider {
    /// Group of the deciding node.
    pub group: i32,
    /// The server's identifier, given by initdb.
    pub system: u64,
    /// The database's OID.
    pub database: u32,
}

/// A name taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Gid {
    /// Who decides.
    pub decider: Decider,
    /// The deciding process.
    pub pid: i32,
    /// The deciding transaction: its id with epoch. Where the participants decide it has written
    /// nothing and needs no id: then its number in the process (see [`procs::my_run`]).
    pub number: u64,
    /// Chance.
    pub random: u64,
    /// Number of the participant.
    pub part: u32,
    /// All participants by number. Empty where the log of the deciding node tells.
    pub peers: Vec<Peer>,
}

/// A participant of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// The group of its node.
    pub group: i32,
    /// Its part.
    pub transaction: TransactionId,
}

/// Longest name that PostgreSQL takes (access/xact.h: GIDSIZE with its terminator).
const MAX_LEN: usize = 199;

impl std::fmt::Display for Gid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names().of(self.part))
    }
}

/// The names of all participants, which differ in their number only.
pub(super) struct Names {
    before: String,
    after: String,
}

impl Names {
    /// The name of a participant.
    pub fn of(&self, part: u32) -> String {
        format!("{}{part}{}", self.before, self.after)
    }

    /// Whether PostgreSQL takes the names of so many.
    pub fn fit(&self, parts: usize) -> bool {
        let digits = parts.checked_ilog10().unwrap_or(0) as usize + 1;
        self.before.len() + digits + self.after.len() <= MAX_LEN
    }
}

/// A number with digits and letters.
struct Short(u64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut rest, mut text, mut at) = (self.0, [0u8; 13], 13);
        while at == 13 || rest > 0 {
            at -= 1;
            let digit = char::from_digit((rest % 36) as u32, 36).unwrap_or('0');
            if let Some(place) = text.get_mut(at) {
                *place = digit as u8;
            }
            rest /= 36;
        }
        f.write_str(text.get(at..).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or_default())
    }
}

fn short(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 36).ok()
}

/// Participants as they stand in a name.
fn peers(text: &str) -> Option<Vec<Peer>> {
    let one = |p: &str| {
        let mut words = p.split('-');
        let group = i32::try_from(short(words.next()?)?).ok()?;
        let (id, start) = (short(words.next()?)?, short(words.next()?)?);
        let transaction = TransactionId { id, start };
        words.next().is_none().then_some(Peer { group, transaction })
    };
    text.split('.').map(one).collect()
}

impl Gid {
    /// Reads a name; `None` when it is not one of ours.
    pub fn parse(text: &str) -> Option<Gid> {
        let mut words = text.strip_prefix("citus_")?.split('_');
        let gid = Gid {
            decider: Decider {
                group: words.next()?.parse().ok()?,
                system: short(words.next()?)?,
                database: words.next()?.parse().ok()?,
            },
            pid: words.next()?.parse().ok()?,
            number: short(words.next()?)?,
            random: short(words.next()?)?,
            part: words.next()?.parse().ok()?,
            peers: match words.next() {
                Some(list) => peers(list)?,
                None => Vec::new(),
            },
        };
        (words.next().is_none() && gid.to_string() == text).then_some(gid)
    }

    /// Whether the transaction that decides is still running; on the node that decides.
    pub fn is_running(&self) -> bool {
        if self.peers.is_empty() {
            xact::is_running(self.number)
        } else {
            procs::runs(self.pid, self.number)
        }
    }

    /// The names of this transaction's participants.
    pub fn names(&self) -> Names {
        use std::fmt::Write;
        let d = &self.decider;
        let before = format!(
            "citus_{}_{}_{}_{}_{}_{}_",
            d.group,
            Short(d.system),
            d.database,
            self.pid,
            Short(self.number),
            Short(self.random)
        );
        let mut after = String::new();
        for (i, Peer { group, transaction: t }) in self.peers.iter().enumerate() {
            let (group, id, start) =
                (Short(u64::from(group.unsigned_abs())), Short(t.id), Short(t.start));
            let _ = write!(after, "{}{group}-{id}-{start}", if i == 0 { '_' } else { '.' });
        }
        Names { before, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let gid = Gid {
            decider: Decider { group: 0, system: u64::MAX, database: u32::MAX },
            pid: i32::MAX,
            number: u64::MAX,
            random: u64::MAX,
            part: u32::MAX,
            peers: Vec::new(),
        };
        assert_eq!(Gid::parse(&gid.to_string()), Some(gid.clone()));
        assert_eq!(gid.to_string().len(), 82);
        assert!(gid.names().fit(usize::MAX));
        let peer = |group, id, start| Peer { group, transaction: TransactionId { id, start } };
        let peers = vec![peer(1, 0x1_0000_0001, 0), peer(i32::MAX, 7, u64::MAX)];
        let gid = Gid { peers, ..gid };
        assert_eq!(Gid::parse(&gid.to_string()), Some(gid.clone()));
        assert_eq!(Gid::parse(&gid.names().of(1)).map(|g| (g.part, g.peers)), Some((1, gid.peers)));
    }

    #[test]
    fn some_participants_fit() {
        let decider = Decider { group: 0, system: 7_700_000_000_000_000_000, database: 16384 };
        let gid = |n: i32| Gid {
            decider,
            pid: 100_000,
            number: 848_000_000 << 32,
            random: u64::MAX,
            part: 0,
            peers: (1..=n)
                .map(|group| {
                    let transaction = TransactionId { id: 1_000_000_000, start: 848_000_000 };
                    Peer { group, transaction }
                })
                .collect(),
        };
        assert!(gid(8).names().fit(8));
        assert!(!gid(50).names().fit(50));
        // As long as the longest of them.
        let names = Names { before: "x".repeat(MAX_LEN - 2), after: String::new() };
        assert!(names.fit(10) && names.of(9).len() < MAX_LEN);
        assert!(names.fit(99) && !names.fit(101));
    }

    #[test]
    fn others_are_left_alone() {
        for bad in [
            "",
            "citus_",
            "citus_0_1_2",
            "x_0_1_2_3_4_5_6",
            "citus_0_1_2_3_4_5_z",
            "citus_0_1_2_3_4_Z_6",
            "citus_0_1_2_3_4_05_6",
            "citus_0_1_2_3_4_5_6_7",
            "citus_0_1_2_3_4_5_6_",
            "citus_0_1_2_3_4_5_6_1-2",
            "citus_0_1_2_3_4_5_6_1-2-3.",
            "citus_0_1_2_3_4_5_6_1-2-3-4",
            "citus_0_1_2_3_4_5_6_1-2-3_3",
            "citus_0_1_2_3_4_5_6_+1-2-3",
            "citus_0_1_2_3_4_5_6_zzzzzzz-2-3",
            "citus_+0_1_2_3_4_5_6",
        ] {
            assert_eq!(Gid::parse(bad), None, "{bad}");
        }
    }
}
