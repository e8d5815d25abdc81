//! The schedules: what several transactions do, in which order, and what would be an anomaly.
//!
//! There is a table `t (k, v)` with the rows a = 10 and b = 20. `{a}` to `{d}` stand for keys; a and
//! c lie in one place, b and d in another one. Every transaction of a schedule begins with its first
//! step, at the same isolation level. One that failed skips its steps up to its end.

use super::run::Trace;

/// Who does what; a step that reads may have a name, under which the anomaly looks at its rows.
pub struct Step(pub usize, pub &'static str, pub &'static str);

/// A schedule.
pub struct Schedule {
    /// Its short name, as in the literature.
    pub name: &'static str,
    /// What the anomaly would be.
    pub meaning: &'static str,
    pub steps: &'static [Step],
    /// Whether it happened.
    pub anomaly: fn(&Trace) -> bool,
}

/// Holds back what ends the second phase of commits on one of two nodes.
pub const HOLD: &str = "hold";
/// Lets it go.
pub const LET_GO: &str = "let go";
/// The name of the rows that are there at the end.
pub const END: &str = "end";

const BOTH: &str = "SELECT k, v FROM t WHERE k IN ({a}, {b})";
const ALL: &str = "SELECT k, v FROM t WHERE k IN ({a}, {b}, {c}, {d})";
const A: &str = "SELECT k, v FROM t WHERE k = {a}";
const B: &str = "SELECT k, v FROM t WHERE k = {b}";
const THREES: &str = "SELECT k, v FROM t WHERE k IN ({a}, {b}, {c}, {d}) AND v % 3 = 0";
const COMMIT: &str = "COMMIT";

/// All schedules, in the order of the table.
pub const SCHEDULES: &[Schedule] = &[
    Schedule {
        name: "G0",
        meaning: "dirty write: writes of two transactions are mixed",
        steps: &[
            Step(1, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 12 WHERE k = {a}"),
            Step(1, "", "UPDATE t SET v = 21 WHERE k = {b}"),
            Step(1, "", COMMIT),
            Step(2, "", "UPDATE t SET v = 22 WHERE k = {b}"),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| ["a=11 b=22", "a=12 b=21"].contains(&t.read(END)),
    },
    Schedule {
        name: "G1a",
        meaning: "aborted read: what was rolled back was seen",
        steps: &[
            Step(1, "", "UPDATE t SET v = 101 WHERE k = {a}"),
            Step(2, "x", BOTH),
            Step(1, "", "ROLLBACK"),
            Step(2, "y", BOTH),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| t.read("x").contains("101") || t.read("y").contains("101"),
    },
    Schedule {
        name: "G1b",
        meaning: "intermediate read: a value was seen that its writer replaced itself",
        steps: &[
            Step(1, "", "UPDATE t SET v = 101 WHERE k = {a}"),
            Step(2, "x", BOTH),
            Step(1, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(1, "", COMMIT),
            Step(2, "y", BOTH),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| t.read("x").contains("101") || t.read("y").contains("101"),
    },
    Schedule {
        name: "G1c",
        meaning: "circular information flow: each of two transactions saw the other's writes",
        steps: &[
            Step(1, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 22 WHERE k = {b}"),
            Step(1, "x", B),
            Step(2, "y", A),
            Step(1, "", COMMIT),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| t.read("x") == "b=22" && t.read("y") == "a=11",
    },
    Schedule {
        name: "OTV",
        meaning: "observed transaction vanishes: what was seen once is not seen later",
        steps: &[
            Step(1, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(1, "", "UPDATE t SET v = 19 WHERE k = {b}"),
            Step(2, "", "UPDATE t SET v = 12 WHERE k = {a}"),
            Step(1, "", COMMIT),
            Step(3, "a1", A),
            Step(2, "", "UPDATE t SET v = 18 WHERE k = {b}"),
            Step(3, "b1", B),
            Step(2, "", COMMIT),
            Step(3, "b2", B),
            Step(3, "a2", A),
            Step(3, "", COMMIT),
        ],
        anomaly: |t| {
            let first = (t.read("a1"), t.read("b1"));
            let last = (t.read("a2"), t.read("b2"));
            let torn = |(a, b): (&str, &str)| {
                [("a=11", "b=20"), ("a=10", "b=19"), ("a=12", "b=19"), ("a=11", "b=18")]
                    .contains(&(a, b))
            };
            torn(first) || torn(last)
        },
    },
    Schedule {
        name: "PMP",
        meaning: "predicate-many-preceders: a condition answered twice, differently",
        steps: &[
            Step(1, "x", "SELECT k, v FROM t WHERE k IN ({a}, {b}, {c}, {d}) AND v = 30"),
            Step(2, "", "INSERT INTO t VALUES ({c}, 30)"),
            Step(2, "", COMMIT),
            Step(1, "y", THREES),
            Step(1, "", COMMIT),
        ],
        anomaly: |t| t.read("x") == "none" && t.read("y") == "c=30",
    },
    Schedule {
        name: "PMP, write",
        meaning: "the same for a write: what it deletes is not what its condition says",
        steps: &[
            Step(1, "", "UPDATE t SET v = v + 10 WHERE k IN ({a}, {b})"),
            Step(2, "x", BOTH),
            Step(2, "", "DELETE FROM t WHERE k IN ({a}, {b}) AND v = 20"),
            Step(1, "", COMMIT),
            Step(2, "y", "SELECT k, v FROM t WHERE k IN ({a}, {b}) AND v = 20"),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| t.read("y") != "none" && t.read("y") != "-",
    },
    Schedule {
        name: "P4",
        meaning: "lost update: both read, both write what they computed from it",
        steps: &[
            Step(1, "x", A),
            Step(2, "y", A),
            Step(1, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(1, "", COMMIT),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| t.committed(1) && t.committed(2),
    },
    Schedule {
        name: "G-single",
        meaning: "read skew: one row from before a transaction, another from after it",
        steps: &[
            Step(1, "x", A),
            Step(2, "", A),
            Step(2, "", B),
            Step(2, "", "UPDATE t SET v = 12 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 18 WHERE k = {b}"),
            Step(2, "", COMMIT),
            Step(1, "y", B),
            Step(1, "", COMMIT),
        ],
        anomaly: |t| t.read("x") == "a=10" && t.read("y") == "b=18",
    },
    Schedule {
        name: "G-single, condition",
        meaning: "read skew between the answers to two conditions",
        steps: &[
            Step(1, "x", "SELECT k, v FROM t WHERE k = {a} AND v % 5 = 0"),
            Step(2, "", "UPDATE t SET v = 12 WHERE k IN ({a}, {b}) AND v IN (10, 20)"),
            Step(2, "", COMMIT),
            Step(1, "y", "SELECT k, v FROM t WHERE k = {b} AND v % 3 = 0"),
            Step(1, "", COMMIT),
        ],
        anomaly: |t| t.read("x") == "a=10" && t.read("y") == "b=12",
    },
    Schedule {
        name: "G-single, write",
        meaning: "read skew between a read and a write",
        steps: &[
            Step(1, "x", A),
            Step(2, "", "UPDATE t SET v = 12 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 18 WHERE k = {b}"),
            Step(2, "", COMMIT),
            Step(1, "w", "DELETE FROM t WHERE k = {b} AND v = 20"),
            Step(1, "", COMMIT),
        ],
        anomaly: |t| t.read("x") == "a=10" && t.read("w") == "DELETE 0",
    },
    Schedule {
        name: "G-single, write of both",
        meaning: "read skew between a read and a write that finds the same row changed",
        steps: &[
            Step(1, "x", A),
            Step(2, "", BOTH),
            Step(2, "", "UPDATE t SET v = 12 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 18 WHERE k = {b}"),
            Step(1, "w", "DELETE FROM t WHERE k IN ({a}, {b}) AND v = 20"),
            Step(2, "", COMMIT),
            Step(1, "", COMMIT),
        ],
        anomaly: |t| t.read("x") == "a=10" && t.read("w") == "DELETE 0",
    },
    Schedule {
        name: "G2-item",
        meaning: "write skew: each read what the other wrote",
        steps: &[
            Step(1, "x", BOTH),
            Step(2, "y", BOTH),
            Step(1, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 21 WHERE k = {b}"),
            Step(1, "", COMMIT),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| t.committed(1) && t.committed(2),
    },
    Schedule {
        name: "G2",
        meaning: "anti-dependency cycle: each added a row that the other's condition missed",
        steps: &[
            Step(1, "x", THREES),
            Step(2, "y", THREES),
            Step(1, "", "INSERT INTO t VALUES ({c}, 30)"),
            Step(2, "", "INSERT INTO t VALUES ({d}, 42)"),
            Step(1, "", COMMIT),
            Step(2, "", COMMIT),
        ],
        anomaly: |t| t.committed(1) && t.committed(2),
    },
    Schedule {
        name: "G2, two edges",
        meaning: "a reader saw one transaction without the one that came before it",
        steps: &[
            Step(1, "x", ALL),
            Step(2, "", "UPDATE t SET v = v + 5 WHERE k = {b}"),
            Step(2, "", COMMIT),
            Step(3, "y", ALL),
            Step(3, "", COMMIT),
            Step(1, "", "UPDATE t SET v = 0 WHERE k = {a}"),
            Step(1, "", COMMIT),
        ],
        anomaly: |t| t.committed(1) && t.committed(2) && t.read("y") == "a=10 b=25",
    },
    Schedule {
        name: "fractured read",
        meaning: "one statement saw a commit in one place and not in the other",
        steps: &[
            Step(2, "", "UPDATE t SET v = 11 WHERE k = {a}"),
            Step(2, "", "UPDATE t SET v = 21 WHERE k = {b}"),
            Step(0, "", HOLD),
            Step(2, "", COMMIT),
            Step(1, "x", BOTH),
            Step(0, "", LET_GO),
            Step(1, "", COMMIT),
        ],
        anomaly: |t| ["a=11 b=20", "a=10 b=21"].contains(&t.read("x")),
    },
];
