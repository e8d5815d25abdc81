//! One case: a few statements that are run in one of several ways.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use citus_tests::client::{Conn, ResultSet};
use citus_tests::cluster::Cluster;

use crate::gen::{Gen, VARIANTS};
use crate::pair::{Answer, Outcome, Pair};
use crate::rng::Rng;

/// Who is slow is not asked again.
const PATIENCE: Duration = Duration::from_millis(700);

/// All cases with one seed.
pub struct Run<'a> {
    pair: Pair<'a>,
    seed: u64,
    case: u64,
    show: bool,
    statements: usize,
    cases: usize,
    errors: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
    timeouts: usize,
    pub failures: Vec<String>,
}

impl<'a> Run<'a> {
    pub fn new(plain: &'a Cluster, cluster: &'a Cluster, seed: u64) -> Run<'a> {
        Run {
            pair: Pair::new(plain, cluster),
            seed,
            case: 0,
            show: std::env::var_os("CITUS_RANDOM_SHOW").is_some(),
            statements: 0,
            cases: 0,
            errors: BTreeMap::new(),
            refused: BTreeMap::new(),
            timeouts: 0,
            failures: Vec::new(),
        }
    }

    pub fn reconnect(&mut self) {
        self.pair.reconnect();
    }

    pub fn case(&mut self, case: u64) {
        self.case = case;
        self.cases += 1;
        let mut rng = Rng::of_case(self.seed, case);
        match rng.below(10) {
            0..=3 => self.reads(&mut rng),
            4 => self.literals(&mut rng),
            5 => self.prepared(&mut rng),
            6 => self.in_parts(&mut rng),
            7 => self.cursor(&mut rng),
            _ => self.writes(&mut rng),
        }
    }

    fn gen(rng: &mut Rng) -> Gen {
        let seed = rng.next();
        Gen::new(Rng::of_case(seed, 0))
    }

    /// Files what became of a statement. True when both sides have the same result.
    fn judge(&mut self, sql: &str, outcome: Outcome) -> bool {
        self.statements += 1;
        if self.show {
            println!("case {} {outcome:?}\n  {sql};", self.case);
        }
        match outcome {
            Outcome::Same => return true,
            Outcome::Error(code) => *self.errors.entry(code).or_default() += 1,
            Outcome::Refused(text) => {
                println!("case {}: refused\n  {sql};", self.case);
                *self.refused.entry(text).or_default() += 1;
            }
            Outcome::Timeout { alone } => {
                self.timeouts += 1;
                if alone {
                    println!("case {}: slow on the cluster only\n  {sql};", self.case);
                }
            }
            Outcome::Different(text) => {
                let (seed, case) = (self.seed, self.case);
                let head = format!("CITUS_RANDOM_SEED={seed} CITUS_RANDOM_CASE={case}");
                self.failures.push(format!("{head}\n{sql};\n{text}"));
                if self.pair.conns.iter().any(|c| c.status == b'I') {
                    self.pair.reconnect();
                }
            }
        }
        false
    }

    /// Statements as they are.
    fn reads(&mut self, rng: &mut Rng) {
        for _ in 0..5 {
            let mut gen = Self::gen(rng);
            let query = if rng.chance(6) { gen.locked() } else { gen.statement() };
            let sql = gen.with_constants(&query.sql, 0);
            let outcome = self.pair.simple(query.ordered, &sql);
            self.judge(&sql, outcome);
        }
    }

    /// One statement with several constants, which may take a kept plan.
    fn literals(&mut self, rng: &mut Rng) {
        for _ in 0..2 {
            let mut gen = Self::gen(rng);
            let query = gen.statement();
            let began = Instant::now();
            for variant in 0..VARIANTS {
                if began.elapsed() > PATIENCE {
                    break;
                }
                let sql = gen.with_constants(&query.sql, variant);
                let outcome = self.pair.simple(query.ordered, &sql);
                if !self.judge(&sql, outcome) {
                    break;
                }
            }
        }
    }

    /// One prepared statement with several parameters, up to a generic plan.
    fn prepared(&mut self, rng: &mut Rng) {
        for _ in 0..2 {
            let mut gen = Self::gen(rng);
            let query = gen.statement();
            let (sql, ids) = gen.with_parameters(&query.sql);
            let generic = rng.chance(50);
            if generic {
                self.pair.command("SET plan_cache_mode = force_generic_plan");
            }
            let prepared = self.pair.ask(false, |c| {
                c.prepare("p", &sql)?;
                Ok(ResultSet::default())
            });
            if self.judge(&sql, prepared) {
                let began = Instant::now();
                for n in 0..7 {
                    if began.elapsed() > PATIENCE {
                        break;
                    }
                    let values = gen.values(&ids, n);
                    let outcome = self.pair.ask(query.ordered, |c| c.execute("p", &values));
                    if !self.judge(&format!("{sql}\n-- with {values:?}, execution {n}"), outcome) {
                        break;
                    }
                }
            }
            self.pair.command("RESET plan_cache_mode; DEALLOCATE ALL");
        }
    }

    /// Rows that are fetched in parts, by the protocol.
    fn in_parts(&mut self, rng: &mut Rng) {
        for _ in 0..3 {
            let mut gen = Self::gen(rng);
            let query = gen.statement();
            let (sql, ids) = gen.with_parameters(&query.sql);
            let limits = [rng.pick(&[1, 2, 5, 30]), rng.pick(&[1, 3, 100]), 0];
            let outcome = self.pair.ask(query.ordered, |c| {
                c.prepare("", &sql)?;
                c.execute_in_parts("", &gen.values(&ids, 0), &limits)
            });
            self.judge(&format!("{sql}\n-- in parts of {limits:?}"), outcome);
        }
    }

    /// Two cursors, read in turns.
    fn cursor(&mut self, rng: &mut Rng) {
        self.pair.command("BEGIN");
        let queries = [0, 1].map(|_| {
            let mut gen = Self::gen(rng);
            let query = gen.statement();
            (gen.with_constants(&query.sql, 0), query.ordered)
        });
        let turns = [rng.between(1, 9), rng.between(1, 3), rng.between(1, 40)];
        let fetch = |c: &mut Conn, from: &str, parts: &[String]| -> Answer {
            let mut all = ResultSet::default();
            for part in parts {
                let rows = std::mem::take(&mut all.rows);
                all = c.simple(&format!("FETCH {part} FROM {from}"))?.pop().unwrap_or_default();
                all.rows.splice(0..0, rows);
            }
            Ok(all)
        };
        let outcome = self.pair.ask(queries[0].1, |c| {
            for (n, (sql, _)) in queries.iter().enumerate() {
                c.simple(&format!("DECLARE c{n} NO SCROLL CURSOR FOR {sql}"))?;
            }
            let mut first = fetch(c, "c0", &[turns[0].to_string()])?;
            fetch(c, "c1", &[turns[1].to_string()])?;
            let rest = fetch(c, "c0", &[turns[2].to_string(), "ALL".to_owned()])?;
            first.rows.extend(rest.rows);
            Ok(first)
        });
        let text = format!("{}\n-- as a cursor beside\n{}", queries[0].0, queries[1].0);
        if self.judge(&text, outcome) {
            let parts = [turns[0].to_string(), "ALL".to_owned()];
            // How far the first part went is known only for a sorted one.
            if queries[1].1 {
                let outcome = self.pair.ask(queries[1].1, |c| fetch(c, "c1", &parts));
                self.judge(&text, outcome);
            }
        }
        self.pair.command("ROLLBACK");
    }

    /// A block of writes and reads, after each of which the tables are the same.
    fn writes(&mut self, rng: &mut Rng) {
        self.pair.command("BEGIN");
        let mut ran: Vec<String> = Vec::new();
        for _ in 0..rng.between(2, 5) {
            let mut gen = Self::gen(rng);
            let (sql, writes, ordered) = if rng.chance(80) {
                (gen.write().0, true, false)
            } else {
                let query = gen.statement();
                (query.sql, false, query.ordered)
            };
            self.pair.command("SAVEPOINT s");
            let prepared = rng.chance(35);
            let (text, outcome) = if prepared {
                let (sql, ids) = gen.with_parameters(&sql);
                let values = gen.values(&ids, 0);
                let outcome = self.pair.ask(ordered, |c| {
                    c.prepare("", &sql)?;
                    c.execute("", &values)
                });
                (format!("{sql}\n-- with {values:?}"), outcome)
            } else {
                let sql = gen.with_constants(&sql, 0);
                let outcome = self.pair.simple(ordered, &sql);
                (sql, outcome)
            };
            let outcome = match (outcome, writes) {
                (Outcome::Same, true) => {
                    self.pair.content().map_or(Outcome::Same, Outcome::Different)
                }
                (other, _) => other,
            };
            let failed = matches!(outcome, Outcome::Different(_));
            ran.push(text);
            let whole = ran.join(";\n-- and then\n");
            let same = self.judge(&whole, outcome);
            if failed {
                self.pair.reconnect();
                return;
            }
            if !same || rng.chance(20) {
                ran.pop();
                self.pair.command("ROLLBACK TO s");
            } else if rng.chance(50) {
                self.pair.command("RELEASE s");
            }
        }
        let end = rng.pick(&["ROLLBACK", "ROLLBACK", "ROLLBACK", "COMMIT"]);
        self.pair.command(end);
        let differs = self.pair.content();
        let as_before = end == "ROLLBACK" && differs.is_none();
        if let Some(text) = differs {
            self.judge(&format!("{};\n{end}", ran.join(";\n")), Outcome::Different(text));
        }
        if !as_before {
            self.pair.fill();
        }
    }

    pub fn summary(&self) -> String {
        let refused: usize = self.refused.values().sum();
        let mut text = format!(
            "{} cases, {} statements, {} differences, {} timeouts, {refused} refused, errors {:?}",
            self.cases,
            self.statements,
            self.failures.len(),
            self.timeouts,
            self.errors
        );
        for (message, count) in &self.refused {
            text += &format!("\n  refused {count} times: {message}");
        }
        text
    }

    /// Most statements must have a result, or nothing is tested.
    pub fn assert_worth_it(&self) {
        let refused: usize = self.refused.values().sum();
        let errors: usize = self.errors.values().sum();
        let all = self.statements.max(100);
        assert!(refused * 50 <= all, "{refused} of {all} statements are refused");
        assert!(self.timeouts * 50 <= all, "{} of {all} statements take too long", self.timeouts);
        assert!(errors * 10 <= all, "{errors} of {all} statements have errors");
    }
}
