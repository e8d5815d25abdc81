//! What a maintenance process does, and when.

use crate::ddl::leftovers;
use crate::error::{Error, Result};
use crate::pg::guc;
use crate::settings;
use crate::txn::{deadlock, recovery};
use std::time::{Duration, Instant};

/// What came of a round.
#[derive(Default)]
pub struct Round {
    /// Something could not be finished: the next round comes sooner than after the interval.
    pub unfinished: bool,
    /// What went wrong without ending the round, for the log.
    pub problems: Vec<Error>,
}

/// Something to be done again and again, in a transaction of its own.
pub struct Duty {
    /// What it does, for the log and `pg_stat_activity`.
    pub name: &'static str,
    /// Time between two rounds; `None` for never. Asked each time, so that a reload counts.
    pub interval: fn() -> Option<Duration>,
    /// One round.
    pub run: fn() -> Result<Round>,
}

/// The duties, most urgent first.
pub const DUTIES: &[Duty] = &[
    Duty {
        name: "detection of distributed deadlocks",
        interval: between_deadlock_checks,
        run: || deadlock::check().map(|_| Round::default()),
    },
    Duty {
        name: RECOVERY,
        interval: || millis(settings::recover_2pc_interval()),
        run: || recovery::round().map(|r| Round { unfinished: r.unfinished, problems: r.problems }),
    },
    Duty {
        name: "removal of tables that shards left behind",
        interval: || millis(settings::defer_shard_delete_interval()),
        run: || leftovers::clean(true).map(|r| Round { unfinished: false, problems: r.problems }),
    },
];

/// `citus.distributed_deadlock_detection_factor` times `deadlock_timeout`.
fn between_deadlock_checks() -> Option<Duration> {
    let factor = settings::distributed_deadlock_detection_factor();
    let timeout = Duration::from_millis(u64::try_from(guc::deadlock_timeout()).ok()?);
    (factor > 0.0).then(|| timeout.mul_f64(factor))
}

/// The duty that sessions ask for when a second phase failed.
pub const RECOVERY: &str = "recovery of prepared transactions";

/// An interval setting in milliseconds, negative for never.
fn millis(setting: i32) -> Option<Duration> {
    u64::try_from(setting).ok().map(Duration::from_millis)
}

/// No duty is done more often than this.
const LEAST: Duration = Duration::from_millis(20);
/// Time until something unfinished is tried again, unless its interval is shorter.
const SOON: Duration = Duration::from_secs(5);

/// When a duty was done last, and when it is due.
#[derive(Default)]
pub struct Schedule {
    last: Option<Instant>,
    soon: bool,
    asked: bool,
}

impl Schedule {
    /// Time until the duty is due; `None` for never.
    pub fn left(&self, duty: &Duty, now: Instant) -> Option<Duration> {
        let interval = (duty.interval)()?.max(LEAST);
        let wait = match self {
            Schedule { last: None, .. } | Schedule { asked: true, .. } => {
                return Some(Duration::ZERO)
            }
            Schedule { soon: true, .. } => interval.min(SOON),
            _ => interval,
        };
        let passed = self.last.map_or(wait, |l| now.saturating_duration_since(l));
        Some(wait.saturating_sub(passed))
    }

    /// Somebody wants the duty done at once.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// A round begins.
    pub fn begins(&mut self) {
        self.asked = false;
    }

    /// A round has ended. The first one comes so early after a crash that other nodes may not have
    /// noticed it yet.
    pub fn ended(&mut self, unfinished: bool) {
        let first = self.last.replace(Instant::now()).is_none();
        self.soon = first || unfinished;
    }
}
