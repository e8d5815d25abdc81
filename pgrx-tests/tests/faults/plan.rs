//! What goes wrong, and where.

/// A message of the commit protocol, or of its recovery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    Begin,
    Prepare,
    CommitPrepared,
    /// Of a transaction on one node.
    Commit,
    /// After another node failed to prepare.
    RollbackPrepared,
    /// After a node was lost before the second phase: recovery asks what is prepared there,
    List,
    /// asks the nodes that decided together what they know,
    Verdict,
    /// and ends the transaction.
    End,
}

pub const STEPS: [Step; 8] = [
    Step::Begin,
    Step::Prepare,
    Step::CommitPrepared,
    Step::Commit,
    Step::RollbackPrepared,
    Step::List,
    Step::Verdict,
    Step::End,
];

impl Step {
    /// Whether it is recovery that sends the message.
    pub fn of_recovery(self) -> bool {
        matches!(self, Step::List | Step::Verdict | Step::End)
    }

    /// Whether a statement is this step's, sent by the session (or by recovery).
    pub fn is(self, sql: &str) -> bool {
        let starts = |word| sql.starts_with(word);
        match self {
            Step::Begin => starts("BEGIN"),
            Step::Prepare => starts("PREPARE TRANSACTION"),
            Step::CommitPrepared => starts("COMMIT PREPARED"),
            Step::Commit => sql == "COMMIT",
            Step::RollbackPrepared => starts("ROLLBACK PREPARED"),
            Step::List => sql.contains("gid LIKE"),
            Step::Verdict => sql.contains("pg_xact_status"),
            Step::End => starts("COMMIT PREPARED") || starts("ROLLBACK PREPARED"),
        }
    }
}

/// Where the message is when it happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Moment {
    /// The node has not got it.
    Before,
    /// The node just got it.
    After,
    /// The node has answered, and the answer did not arrive.
    Answered,
    /// The answer has arrived.
    Heard,
}

pub const MOMENTS: [Moment; 4] = [Moment::Before, Moment::After, Moment::Answered, Moment::Heard];

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Victim {
    Session,
    NodeBackend,
    Node,
    Coordinator,
    Maintenance,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Cut,
    /// Nothing gets through, nothing is closed.
    Hole,
    Kill(Victim),
    /// SIGSTOP, and SIGCONT after a while.
    Stop(Victim),
}

pub const KINDS: [Kind; 12] = [
    Kind::Cut,
    Kind::Hole,
    Kind::Kill(Victim::Session),
    Kind::Kill(Victim::NodeBackend),
    Kind::Kill(Victim::Node),
    Kind::Kill(Victim::Coordinator),
    Kind::Kill(Victim::Maintenance),
    Kind::Stop(Victim::Session),
    Kind::Stop(Victim::NodeBackend),
    Kind::Stop(Victim::Node),
    Kind::Stop(Victim::Coordinator),
    Kind::Stop(Victim::Maintenance),
];

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub step: Step,
    pub moment: Moment,
    pub kind: Kind,
}

/// Numbers that a seed gives.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 20) % limit as u64) as usize
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

/// So many faults, evenly over the steps, and over moments and kinds within each.
pub fn plan(number: usize, dice: &mut Dice) -> Vec<Fault> {
    let mut lists: Vec<Vec<Fault>> = Vec::new();
    for step in STEPS {
        let each = |moment| KINDS.map(|kind| Fault { step, moment, kind });
        let mut list: Vec<Fault> = MOMENTS.into_iter().flat_map(each).collect();
        dice.shuffle(&mut list);
        lists.push(list);
    }
    (0..number)
        .map(|i| {
            let list = &lists[i % lists.len()];
            list[i / lists.len() % list.len()]
        })
        .collect()
}
