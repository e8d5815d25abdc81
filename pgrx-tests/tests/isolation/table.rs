//! The table in `docs/isolation.md`, and where two nodes are expected to differ from one server.

use std::fmt::Write;

use super::run::{Place, Trace};
use super::schedules::SCHEDULES;

/// The isolation levels, by their SQL names.
pub const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// The column of rows in two shards of one node.
pub const SHARDS: &str = "shards of a node";
/// The column of rows on two nodes.
pub const NODES: &str = "two nodes";
/// The column of rows on two nodes, with consistent reads in READ COMMITTED, too.
pub const CONSISTENT: &str = "two nodes, `on`";
/// The entry of an anomaly that happened.
pub const POSSIBLE: &str = "**possible**";

/// Entries that differ from PostgreSQL's.
pub struct Difference {
    pub level: &'static str,
    pub places: &'static [&'static str],
    pub schedules: &'static [&'static str],
    /// The entry in the table.
    pub verdict: &'static str,
    /// For the reader of the table.
    pub why: &'static str,
}

/// All that differs. An entry that is here and does not differ any more fails the test.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        level: "READ COMMITTED",
        places: &[NODES],
        schedules: &["fractured read"],
        verdict: POSSIBLE,
        why: "all nodes have prepared when the first of them commits, but the others commit a \
              moment later; in the schedule this moment is made longer.",
    },
    Difference {
        level: "READ COMMITTED",
        places: &[SHARDS, NODES, CONSISTENT],
        schedules: &["PMP, write"],
        verdict: "waits",
        why: "changes of several shards of a table wait for each other before they begin, so the \
              second one sees what the first has committed.",
    },
    Difference {
        level: "SERIALIZABLE",
        places: &[NODES, CONSISTENT],
        schedules: &["G2-item", "G2", "G2, two edges"],
        verdict: POSSIBLE,
        why: "who read what somebody else wrote is known to each node for its own rows. A cycle with \
              one step on each node is seen by none of them. Transactions that must exclude each \
              other over nodes lock what they read (SELECT ... FOR UPDATE).",
    },
    Difference {
        level: "SERIALIZABLE",
        places: &[NODES, CONSISTENT],
        schedules: &["G1c"],
        verdict: "not seen",
        why: "none of the two saw the other's writes. PostgreSQL refuses one of them all the same \
              because each missed what the other wrote, which is the cycle of G2.",
    },
];

/// The text under the heading.
pub fn table(places: &[Place], traces: &[Vec<Vec<Trace>>]) -> String {
    let mut out = String::from("## Anomalies\n");
    out.push_str(
        "\nEach line is a schedule of two or three transactions that run step by step \
         (`pgrx-tests/tests/isolation/schedules.rs`).\nThe columns say where the rows lie that they \
         read and write; PostgreSQL is a single server without the extension.\n`on` \
         is the setting of `citus.consistent_reads`, elsewhere it is the default, `repeatable_read`.\n**possible**: the \
         anomaly happened. *waits*: it did not, because a transaction had to wait for another one. \
         *error 40001*: a\ntransaction was refused and has to be repeated. *not seen*: all went \
         through, without the anomaly.\n",
    );
    out.push_str("\n| schedule | the anomaly |\n|---|---|\n");
    for s in SCHEDULES {
        let _ = writeln!(out, "| {} | {} |", s.name, s.meaning);
    }
    for (l, level) in LEVELS.iter().enumerate() {
        let _ = write!(out, "\n### {level}\n\n| schedule |");
        places.iter().for_each(|p| write!(out, " {} |", p.title).unwrap());
        out.push_str("\n|---|");
        places.iter().for_each(|_| out.push_str("---|"));
        out.push('\n');
        for (s, schedule) in SCHEDULES.iter().enumerate() {
            let _ = write!(out, "| {} |", schedule.name);
            for of_place in traces {
                let _ = write!(out, " {} |", of_place[l][s].verdict(schedule));
            }
            out.push('\n');
        }
        let reasons = DIFFERENCES.iter().filter(|d| d.level == *level);
        for d in reasons {
            let _ = write!(
                out,
                "\n*{}* on {}: {}\n",
                d.schedules.join("*, *"),
                d.places.join(" and "),
                d.why
            );
        }
    }
    out
}
