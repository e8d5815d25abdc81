//! Names of prepared transactions.
//!
//! A name tells who decides about it: the group, and the identity of the server and database
//! whose `pg_dist_transaction` holds the decision. It also holds the id of the deciding local
//! transaction, so that a running one is never mistaken for a dead one, and a random number,
//! because ids may be handed out again after a restore from a backup.

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gid {
    /// Who decides.
    pub decider: Decider,
    /// The deciding process.
    pub pid: i32,
    /// The deciding transaction, with epoch.
    pub xid: u64,
    /// Chance.
    pub random: u64,
    /// Number of the participant.
    pub part: u32,
}

impl std::fmt::Display for Gid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let d = &self.decider;
        write!(
            f,
            "citus_{}_{}_{}_{}_{}_{:016x}_{}",
            d.group, d.system, d.database, self.pid, self.xid, self.random, self.part
        )
    }
}

impl Gid {
    /// Reads a name; `None` when it is not one of ours.
    pub fn parse(text: &str) -> Option<Gid> {
        let mut words = text.strip_prefix("citus_")?.split('_');
        let gid = Gid {
            decider: Decider {
                group: words.next()?.parse().ok()?,
                system: words.next()?.parse().ok()?,
                database: words.next()?.parse().ok()?,
            },
            pid: words.next()?.parse().ok()?,
            xid: words.next()?.parse().ok()?,
            random: u64::from_str_radix(words.next()?, 16).ok()?,
            part: words.next()?.parse().ok()?,
        };
        (words.next().is_none() && gid.to_string() == text).then_some(gid)
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
            xid: u64::MAX,
            random: u64::MAX,
            part: u32::MAX,
        };
        assert_eq!(Gid::parse(&gid.to_string()), Some(gid));
        assert!(gid.to_string().len() < 200);
    }

    #[test]
    fn others_are_left_alone() {
        for bad in [
            "",
            "citus_",
            "citus_0_1_2",
            "x_0_1_2_3_4_5_6",
            "citus_0_1_2_3_4_zz_6",
            "citus_0_1_2_3_4_0000000000000005_6_7",
            "citus_+0_1_2_3_4_0000000000000005_6",
        ] {
            assert_eq!(Gid::parse(bad), None, "{bad}");
        }
    }
}
