//! Random statements give the same on distributed tables as on plain ones: the same rows, or the same
//! SQLSTATE.
//!
//! All of it follows from a seed. What differs is reported with the seed and the number of its case:
//!
//! * `CITUS_RANDOM_SEED=7` begins with another seed;
//! * `CITUS_RANDOM_CASES=5000` runs so many cases, `CITUS_RANDOM_SECONDS=600` stops after a time;
//! * `CITUS_RANDOM_CASE=123` runs this case alone, `CITUS_RANDOM_CASE=100-123` those with the ones before
//!   in the same sessions, which have kept plans;
//! * `CITUS_RANDOM_SHOW=1` prints the statements.
//!
//! [`schema`] has the tables, [`gen`] what a statement is made with; [`expr`], [`query`], [`group`] and
//! [`write`] make it, [`pair`] asks both sides, and [`case`] says in which ways.

mod case;
mod expr;
mod gen;
mod group;
mod pair;
mod query;
mod rng;
mod schema;
mod write;

use std::time::{Duration, Instant};

use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

use case::Run;

const SEED: u64 = 20240229;
const CASES: u64 = 120;

/// Cases that share sessions.
const TOGETHER: u64 = 25;

/// So many differences are enough for a report.
const ENOUGH: usize = 40;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The cases to run.
fn cases() -> std::ops::RangeInclusive<u64> {
    let Ok(text) = std::env::var("CITUS_RANDOM_CASE") else {
        return 0..=number("CITUS_RANDOM_CASES").unwrap_or(CASES) - 1;
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let parse = |s: &str| s.parse().unwrap_or_else(|e| panic!("CITUS_RANDOM_CASE: {e}"));
    parse(first)..=parse(last)
}

#[test]
fn random_statements_give_the_same() {
    let seed = number("CITUS_RANDOM_SEED").unwrap_or(SEED);
    let limit = number("CITUS_RANDOM_SECONDS").map(Duration::from_secs);
    let plain = Cluster::start(0, Kind::PLAIN, "");
    let cluster = Cluster::start(2, Kind::FAST, "");
    let mut run = Run::new(&plain, &cluster, seed);
    let began = Instant::now();
    let mut fresh = true;
    for case in cases() {
        if limit.is_some_and(|l| began.elapsed() > l) || run.failures.len() >= ENOUGH {
            break;
        }
        if fresh || case % TOGETHER == 0 {
            run.reconnect();
        }
        fresh = false;
        run.case(case);
    }
    println!("seed {seed}: {} in {:.1} s", run.summary(), began.elapsed().as_secs_f64());
    let failures = &run.failures;
    assert!(failures.is_empty(), "{} differences\n\n{}", failures.len(), failures.join("\n\n"));
    run.assert_worth_it();
}
