//! Faults at every message of the commit protocol and of recovery.
//!
//! Each round one session runs a transaction over one to three nodes, a proxy waits for the chosen
//! message, and there the chosen thing happens: the connection is cut or swallows everything, or a
//! process is killed with -9 or stands still for a while. Two more sessions run transactions all
//! the time and keep the same ledger. Then everything has to come to rest by itself, and be right:
//! what a client was told to be committed is on all nodes, everything else on all or none, and no
//! prepared transaction, session, lock, connection or decision is left.
//!
//! `CITUS_TEST_FAULTS=512` is the number of rounds and `CITUS_TEST_SEED` repeats them.

mod ground;
mod plan;
mod silent;
mod trap;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use citus_tests::client::Conn;
use citus_tests::server::Kind as ServerKind;
use ground::{within, Entry, Fate, Ground, Ledger, Shape, LANES, NODES};
use plan::{plan, Dice, Fault, Kind, Step};
use trap::Trap;

/// Rounds of the normal test run.
const ROUNDS: usize = 32;
/// Rounds between two looks at the number of connections.
const COUNT_EVERY: usize = 12;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What a transaction in whose course a step comes may write.
fn shape(step: Step, dice: &mut Dice) -> Shape {
    let mut nodes: Vec<usize> = (0..NODES).collect();
    dice.shuffle(&mut nodes);
    let few = 2 + dice.below(NODES - 1);
    let plain = |nodes: &[usize]| Shape { nodes: nodes.to_vec(), here: false, mark: false };
    match (step, dice.below(4)) {
        (Step::Commit, _) => plain(&nodes[..1]),
        (Step::Verdict, _) | (_, 0 | 1) => plain(&nodes[..few]),
        (_, 2) => Shape { here: true, ..plain(&nodes[..few]) },
        _ => Shape { mark: true, ..plain(&nodes) },
    }
}

struct Campaign {
    ground: Ground,
    next: AtomicU64,
    ledger: Mutex<Ledger>,
    /// Transactions that were found whole.
    present: BTreeSet<u64>,
    /// Answers of clients, with their number.
    said: Mutex<BTreeMap<String, usize>>,
}

impl Campaign {
    fn new(kind: ServerKind) -> Campaign {
        Campaign {
            ground: Ground::new(kind),
            next: AtomicU64::new(1),
            ledger: Mutex::default(),
            present: BTreeSet::new(),
            said: Mutex::default(),
        }
    }

    /// Runs a transaction and enters it in the ledger.
    fn run(&self, c: &mut Conn, lane: usize, shape: &Shape) -> (u64, Fate, String) {
        let tx = self.next.fetch_add(1, Ordering::SeqCst);
        let (fate, said) = self.ground.run(c, tx, lane, shape);
        let entry = Entry { lane, shape: shape.clone(), fate };
        self.ledger.lock().unwrap().insert(tx, entry);
        if !said.is_empty() {
            let first = said.lines().next().unwrap_or_default();
            let digits = |c: char| if c.is_ascii_digit() { '#' } else { c };
            let text = format!("{fate:?}: {}", first.chars().map(digits).collect::<String>());
            *self.said.lock().unwrap().entry(text).or_default() += 1;
        }
        (tx, fate, said)
    }

    /// A session that is not aimed at.
    fn bystander(&self, lane: usize, mut dice: Dice, stop: &AtomicBool) {
        let mut conn = None;
        while !stop.load(Ordering::SeqCst) {
            let mut c = match conn.take().map_or_else(|| self.ground.connect(), Ok) {
                Ok(c) => c,
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
            };
            let step = [Step::Commit, Step::Prepare][dice.below(2)];
            let shape = shape(step, &mut dice);
            self.run(&mut c, lane, &shape);
            if c.simple("SELECT 1").is_ok() {
                conn = Some(c);
            }
            std::thread::sleep(Duration::from_millis(2 + dice.below(10) as u64));
        }
    }

    /// One fault; whether it happened, and what was found afterwards.
    fn round(&mut self, fault: Fault, dice: &mut Dice) -> (bool, Vec<String>) {
        let first = self.next.load(Ordering::SeqCst);
        let shape = shape(fault.step, dice);
        let Some(maintenance) = self.ground.maintenance() else {
            return (false, vec!["there is no maintenance process".to_owned()]);
        };
        let mut subject = match self.ground.connect() {
            Ok(c) => c,
            Err(e) => return (false, vec![format!("cannot connect: {e}")]),
        };
        if dice.below(2) == 0 {
            // With connections that are there already.
            let _ = subject.simple("SELECT count(*) FROM entries WHERE tx < 0");
        }
        let trap = Trap::set(&self.ground, fault, &shape, subject.pid, maintenance, dice);
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        let campaign = &*self;
        let (fired, said) = std::thread::scope(|s| {
            for lane in 1..LANES {
                let dice = Dice::new(first * 10 + lane as u64);
                let stop = &stop;
                s.spawn(move || campaign.bystander(lane, dice, stop));
            }
            let shape = &shape;
            let session = s.spawn(move || {
                let outcome = campaign.run(&mut subject, 0, shape);
                (outcome, subject)
            });
            let limit = Duration::from_secs(20);
            within(limit, || trap.sprung() || (session.is_finished() && !fault.step.of_recovery()));
            let fired = trap.heal(dice);
            let outcome = session.join();
            stop.store(true, Ordering::SeqCst);
            (fired, outcome.map(|(o, _)| o).ok())
        });
        let mut wrong: Vec<String> = Vec::new();
        for node in self.ground.cluster.nodes() {
            wrong.extend(node.wait_ready().err().map(|e| e.to_string()));
        }
        let took = began.elapsed();
        if number("CITUS_TEST_VERBOSE").is_some() {
            println!("  {took:?} to heal");
        }
        let ledger = self.ledger.lock().unwrap();
        wrong.extend(self.ground.findings(&ledger, first, &mut self.present));
        if number("CITUS_TEST_VERBOSE").is_some() {
            println!("  {:?} to recover", began.elapsed());
        }
        wrong.extend(self.ground.leaks());
        for w in &mut wrong {
            *w = format!("{fault:?}, {said:?}, {took:?}: {w}");
        }
        (fired, wrong)
    }
}

#[test]
fn nothing_is_lost_or_torn() {
    let seed = number("CITUS_TEST_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_millis() as u64 % 1_000_000
    });
    let rounds = number("CITUS_TEST_FAULTS").map_or(ROUNDS, |n| n as usize);
    println!("CITUS_TEST_SEED={seed} CITUS_TEST_FAULTS={rounds}");
    let mut dice = Dice::new(seed);
    let mut campaign = Campaign::new(ServerKind::DURABLE);
    let began = Instant::now();
    let (mut hit, mut missed) = (BTreeMap::new(), BTreeMap::new());
    let mut wrong = Vec::new();
    let sum = |m: &BTreeMap<String, usize>| -> usize { m.values().sum::<usize>() / 2 };
    let mut faults: VecDeque<Fault> = plan(rounds, &mut dice).into();
    let (mut again, mut i) = (VecDeque::new(), 0);
    while let Some(fault) = faults.pop_front() {
        let start = Instant::now();
        let (fired, found) = campaign.round(fault, &mut dice);
        let count: &mut BTreeMap<String, usize> = if fired { &mut hit } else { &mut missed };
        *count.entry(format!("{:?}", fault.step)).or_default() += 1;
        *count.entry(kind_name(fault.kind)).or_default() += 1;
        wrong.extend(found);
        if !fired && i < rounds {
            again.push_back(fault);
        }
        if i % COUNT_EVERY == COUNT_EVERY - 1 {
            wrong.extend(campaign.ground.counted());
        }
        if number("CITUS_TEST_VERBOSE").is_some() {
            println!("{i} {fault:?} {fired} {:.1} s", start.elapsed().as_secs_f64());
        }
        if wrong.len() > 5 {
            break;
        }
        i += 1;
        // On a busy machine some come too late. Those that cannot happen do not do so again either.
        if faults.is_empty() && sum(&hit) * 10 < rounds * 9 {
            faults.append(&mut again);
        }
    }
    wrong.extend(campaign.ground.counted());
    report(&campaign, began.elapsed(), &hit, &missed);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sum(&hit) * 10 >= rounds * 9, "only {} of {rounds} faults happened", sum(&hit));
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Kill(v) => format!("kill -9 {v:?}"),
        Kind::Stop(v) => format!("SIGSTOP {v:?}"),
        other => format!("{other:?}"),
    }
}

fn report(
    campaign: &Campaign,
    took: Duration,
    hit: &BTreeMap<String, usize>,
    missed: &BTreeMap<String, usize>,
) {
    println!("{:.1} s; faults that happened: {hit:?}", took.as_secs_f64());
    println!("rounds that did not come to their message: {missed:?}");
    let ledger = campaign.ledger.lock().unwrap();
    let count = |f: Fate| ledger.values().filter(|e| e.fate == f).count();
    let counts = (count(Fate::Committed), count(Fate::RolledBack), count(Fate::Unknown));
    println!("committed, rolled back, unknown: {counts:?}; whole: {}", campaign.present.len());
    for (text, n) in campaign.said.lock().unwrap().iter() {
        println!("{n} x {text}");
    }
}

/// The checks themselves: they must see every kind of damage.
#[test]
fn damage_is_seen() {
    let mut campaign = Campaign::new(ServerKind::FAST);
    let mut c = campaign.ground.connect().unwrap();
    let all: Vec<usize> = (0..NODES).collect();
    for (here, mark) in [(false, false), (true, false), (false, true)] {
        let shape = Shape { nodes: all.clone(), here, mark };
        let (tx, fate, said) = campaign.run(&mut c, 0, &shape);
        assert_eq!((fate, said.as_str()), (Fate::Committed, ""), "{tx}");
    }
    let mut look = || {
        let ledger = campaign.ledger.lock().unwrap();
        campaign.ground.findings(&ledger, 1, &mut campaign.present)
    };
    assert_eq!(look(), Vec::<String>::new());
    let mut worker = campaign.ground.cluster.workers[0].connect(&campaign.ground.database);
    let shard = |worker: &mut Conn, like: &str, filled: bool| {
        let names = worker.rows(&format!(
            "SELECT relname FROM pg_class WHERE relname ~ '^{like}_[0-9]+$' AND relkind = 'r'"
        ));
        let mut names = names.into_iter().flatten().flatten();
        names
            .find(|n| !filled || worker.value(&format!("SELECT count(*) FROM {n}")) != "0")
            .unwrap()
    };
    let entries = shard(&mut worker, "entries", true);
    let marks = shard(&mut worker, "marks", true);
    let counters = shard(&mut worker, "counters", false);
    for (plant, undo, expected) in [
        (
            format!("CREATE TABLE lost AS SELECT * FROM {entries} WHERE tx = 1; DELETE FROM {entries} WHERE tx = 1"),
            format!("INSERT INTO {entries} SELECT * FROM lost"),
            "1 Committed",
        ),
        (
            format!("INSERT INTO {entries} SELECT k, 99 FROM {entries} LIMIT 1"),
            format!("DELETE FROM {entries} WHERE tx = 99"),
            "99 was never run",
        ),
        (
            format!("DELETE FROM {marks} WHERE tx = 3"),
            format!("INSERT INTO {marks} VALUES (3)"),
            "3 Committed",
        ),
        (
            format!("UPDATE {counters} SET n = n - 1"),
            format!("UPDATE {counters} SET n = n + 1"),
            "lane",
        ),
    ] {
        worker.run(&plant);
        let wrong = look();
        assert!(wrong.iter().any(|w| w.contains(expected)), "{plant}: {wrong:?}");
        worker.run(&undo);
        assert_eq!(look(), Vec::<String>::new(), "{undo}");
    }
    drop((c, worker));
    assert_eq!(campaign.ground.leaks(), Vec::<String>::new());
    assert_eq!(campaign.ground.counted(), Vec::<String>::new());
}
