//! Rules for the proxies that make a fault happen at its message.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use citus_tests::process;
use citus_tests::proxy::{Action, Direction, Seen};
use citus_tests::server::Server;

use super::ground::{within, Ground, Shape};
use super::plan::{Dice, Fault, Kind, Moment, Step, Victim};

/// What the proxies' threads tell.
#[derive(Default)]
struct Told {
    /// What comes before the fault has happened.
    primed: AtomicBool,
    /// The message has come; the fault happens at once or a moment later.
    sprung: AtomicBool,
    fired: AtomicBool,
    /// The node at whose connection it happened.
    at: AtomicUsize,
    /// The process that was stopped.
    stopped: AtomicI32,
}

/// A fault that waits for its message.
pub struct Trap<'a> {
    ground: &'a Ground,
    fault: Fault,
    told: Arc<Told>,
}

/// Processes that may be hit.
#[derive(Clone, Copy)]
struct Pids {
    session: i32,
    node: i32,
    coordinator: i32,
    maintenance: i32,
}

impl Pids {
    fn of(&self, victim: Victim, seen: &Seen<'_>) -> i32 {
        match victim {
            Victim::Session => self.session,
            Victim::NodeBackend => seen.backend,
            Victim::Node => self.node,
            Victim::Coordinator => self.coordinator,
            Victim::Maintenance => self.maintenance,
        }
    }
}

impl<'a> Trap<'a> {
    /// Sets it at one of the nodes that the transaction writes to.
    pub fn set(
        ground: &'a Ground,
        fault: Fault,
        shape: &Shape,
        session: i32,
        maintenance: i32,
        dice: &mut Dice,
    ) -> Trap<'a> {
        let at = shape.nodes[dice.below(shape.nodes.len())];
        let told = Arc::new(Told::default());
        // What has to go wrong first, and where.
        let before = match fault.step {
            Step::RollbackPrepared => {
                shape.nodes.iter().find(|n| **n != at).map(|n| (*n, Step::Prepare))
            }
            s if s.of_recovery() => Some((at, Step::CommitPrepared)),
            _ => None,
        };
        told.primed.store(before.is_none(), Ordering::SeqCst);
        let pid = |s: &Server| s.pid().unwrap_or(0);
        let coordinator = pid(&ground.cluster.coordinator);
        for (n, proxy) in ground.proxies.iter().enumerate() {
            let first = before.filter(|b| b.0 == n).map(|b| b.1);
            // Who is asked for a verdict depends on what others have said.
            let spring = (n == at || fault.step == Step::Verdict).then(|| {
                let node = pid(&ground.cluster.workers[n]);
                let pids = Pids { session, node, coordinator, maintenance };
                Spring::new(n, fault, pids, told.clone(), dice)
            });
            if first.is_some() || spring.is_some() {
                proxy.set(rule(first, spring, told.clone(), session));
            }
        }
        Trap { ground, fault, told }
    }

    /// Whether the message has come.
    pub fn sprung(&self) -> bool {
        self.told.sprung.load(Ordering::SeqCst)
    }

    /// Puts everything right that does not come back by itself; whether the fault had happened.
    pub fn heal(&self, dice: &mut Dice) -> bool {
        let fired = self.sprung()
            && within(Duration::from_secs(20), || self.told.fired.load(Ordering::SeqCst));
        let pause = Duration::from_millis(20 + dice.below(350) as u64);
        if matches!(self.fault.kind, Kind::Hole | Kind::Stop(_)) && fired {
            std::thread::sleep(pause);
        }
        let at = self.told.at.load(Ordering::SeqCst);
        let proxy = &self.ground.proxies[at];
        self.ground.proxies.iter().for_each(|p| p.clear());
        if dice.below(2) == 0 {
            proxy.release();
        } else {
            proxy.cut_held();
        }
        if !fired {
            return false;
        }
        match self.fault.kind {
            Kind::Kill(Victim::Node) => restart(&self.ground.cluster.workers[at]),
            Kind::Kill(Victim::Coordinator) => restart(&self.ground.cluster.coordinator),
            Kind::Stop(_) => {
                // The one who stops it may still be at it.
                std::thread::sleep(Duration::from_millis(5));
                process::signal(self.told.stopped.load(Ordering::SeqCst), libc::SIGCONT);
            }
            _ => {}
        }
        true
    }
}

fn restart(server: &Server) {
    // It may have to be killed yet.
    std::thread::sleep(Duration::from_millis(5));
    server.end(libc::SIGKILL);
    server.start().unwrap();
}

/// What a proxy does: first `step` goes wrong, if that is given, then the fault waits.
fn rule(
    step: Option<Step>,
    mut spring: Option<Spring>,
    told: Arc<Told>,
    session: i32,
) -> impl FnMut(&Seen<'_>) -> Action + Send {
    move |seen| match (step, &mut spring) {
        (Some(step), _) if !told.primed.load(Ordering::SeqCst) => prime(&told, seen, session, step),
        (_, Some(spring)) => spring.judge(seen),
        _ => Action::Pass,
    }
}

/// Cuts the session's connection when it sends the step.
fn prime(told: &Told, seen: &Seen<'_>, session: i32, step: Step) -> Action {
    if seen.client == session && step.is(seen.sql()) && !told.primed.swap(true, Ordering::SeqCst) {
        return Action::Cut;
    }
    Action::Pass
}

/// Waits for the message and makes the fault happen.
struct Spring {
    /// Number of the node.
    at: usize,
    fault: Fault,
    pids: Pids,
    told: Arc<Told>,
    /// Connections on which recovery works.
    recovery: BTreeSet<u32>,
    /// The connection whose answer is awaited.
    awaited: Option<u32>,
    /// Whether the message is lost that a killed process had just sent.
    lost: bool,
    /// Microseconds after the message.
    later: u64,
}

impl Spring {
    fn new(at: usize, fault: Fault, pids: Pids, told: Arc<Told>, dice: &mut Dice) -> Spring {
        let (lost, later) = (dice.below(2) == 0, dice.below(1500) as u64);
        let recovery = BTreeSet::new();
        Spring { at, fault, pids, told, recovery, awaited: None, lost, later }
    }

    fn judge(&mut self, seen: &Seen<'_>) -> Action {
        let sql = seen.sql();
        if Step::List.is(sql) {
            self.recovery.insert(seen.connection);
        }
        if self.fault.kind == Kind::Hole
            && self.told.fired.load(Ordering::SeqCst)
            && self.told.at.load(Ordering::SeqCst) == self.at
        {
            // The node has vanished for everybody, or for who comes now.
            let all = self.lost || seen.tag == 0;
            return if all { Action::Hold } else { Action::Pass };
        }
        let ready =
            self.told.primed.load(Ordering::SeqCst) && !self.told.sprung.load(Ordering::SeqCst);
        if !ready {
            return Action::Pass;
        }
        if self.awaited == Some(seen.connection) {
            if seen.direction == Direction::FromNode && seen.tag == b'Z' {
                return self.fire(seen);
            }
            return Action::Pass;
        }
        let whose = if self.fault.step.of_recovery() {
            self.recovery.contains(&seen.connection)
        } else {
            seen.client == self.pids.session
        };
        if !whose || self.awaited.is_some() || !self.fault.step.is(sql) {
            return Action::Pass;
        }
        match self.fault.moment {
            Moment::Before | Moment::After => self.fire(seen),
            Moment::Answered | Moment::Heard => {
                self.awaited = Some(seen.connection);
                Action::Pass
            }
        }
    }

    fn fire(&mut self, seen: &Seen<'_>) -> Action {
        self.told.sprung.store(true, Ordering::SeqCst);
        self.told.at.store(self.at, Ordering::SeqCst);
        let passed = matches!(self.fault.moment, Moment::After | Moment::Heard);
        let (victim, signal) = match self.fault.kind {
            Kind::Cut | Kind::Hole => {
                self.told.fired.store(true, Ordering::SeqCst);
                return match (self.fault.kind, passed) {
                    (Kind::Cut, false) => Action::Cut,
                    (Kind::Cut, true) => Action::CutAfter,
                    (_, false) => Action::Hold,
                    (_, true) => Action::HoldAfter,
                };
            }
            Kind::Kill(victim) => (victim, libc::SIGKILL),
            Kind::Stop(victim) => (victim, libc::SIGSTOP),
        };
        let pid = self.pids.of(victim, seen);
        let (told, later) = (self.told.clone(), self.later);
        let hit = move || {
            let there = process::signal(pid, signal);
            if signal == libc::SIGSTOP && there {
                told.stopped.store(pid, Ordering::SeqCst);
            }
            told.fired.store(there, Ordering::SeqCst);
        };
        if passed {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(later));
                hit();
            });
            return Action::Pass;
        }
        hit();
        if signal == libc::SIGKILL && self.lost && victim != Victim::Maintenance {
            return Action::Cut;
        }
        Action::Pass
    }
}
