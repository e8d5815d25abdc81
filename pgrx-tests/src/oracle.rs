//! Runs the same statements on plain PostgreSQL and on a cluster, in lockstep.

use std::collections::HashMap;

use crate::client::{Conn, Error, ResultSet};
use crate::compare::{difference, rows_difference};
use crate::corpus::{Statement, Step, Unit};
use crate::server::Server;

/// Words that make the content of tables worth a look after a statement.
const WRITES: [&str; 11] = [
    "insert", "update", "delete", "merge", "truncate", "copy", "call", "do", "commit", "rollback",
    "execute",
];

/// One side of the comparison: a database with its named sessions.
pub struct Side<'a> {
    server: &'a Server,
    database: String,
    sessions: HashMap<String, Conn>,
}

impl<'a> Side<'a> {
    /// A side that connects when it is used.
    pub fn new(server: &'a Server, database: &str) -> Self {
        Side { server, database: database.to_owned(), sessions: HashMap::new() }
    }

    fn session(&mut self, name: &str) -> Result<&mut Conn, Error> {
        if !self.sessions.contains_key(name) {
            let mut c = match self.server.try_connect(&self.database) {
                // After a crash the server needs its time.
                Err(_) => {
                    self.server.wait_ready()?;
                    self.server.try_connect(&self.database)?
                }
                Ok(c) => c,
            };
            c.simple("SET statement_timeout = '60s'")?;
            self.sessions.insert(name.to_owned(), c);
        }
        self.sessions.get_mut(name).ok_or_else(|| std::io::Error::other("no session").into())
    }

    fn status(&self, name: &str) -> u8 {
        self.sessions.get(name).map_or(b'I', |c| c.status)
    }

    fn query(&mut self, session: &str, sql: &str, data: &[u8]) -> Result<ResultSet, Error> {
        let answer = self.session(session)?.copy_in(sql, data);
        self.forget_lost(session, answer).map(|mut sets| sets.pop().unwrap_or_default())
    }

    fn execute(
        &mut self,
        session: &str,
        name: &str,
        params: &[Option<String>],
    ) -> Result<ResultSet, Error> {
        let answer = self.session(session)?.execute(name, params);
        self.forget_lost(session, answer)
    }

    fn prepare(&mut self, session: &str, name: &str, sql: &str) -> Result<(), Error> {
        let answer = self.session(session)?.prepare(name, sql);
        self.forget_lost(session, answer)
    }

    /// A session that was lost is opened anew by the next statement.
    fn forget_lost<T>(&mut self, session: &str, answer: Result<T, Error>) -> Result<T, Error> {
        let lost = match &answer {
            Err(Error::Connection(_)) => true,
            Err(Error::Server(e)) => e.severity == "FATAL" || e.severity == "PANIC",
            Ok(_) => false,
        };
        if lost {
            self.sessions.remove(session);
        }
        answer
    }
}

/// The outcome of a unit in one configuration.
#[derive(Default)]
pub struct Report {
    pub statements: usize,
    pub skipped: usize,
    pub failures: Vec<String>,
    pub known: Vec<String>,
}

/// What a configuration does besides running the statements.
#[derive(Clone, Copy)]
pub struct Mode {
    /// The cluster side has distributed tables (else the corpus itself is on trial).
    pub distributed: bool,
    /// Tables are distributed when they have their rows already.
    pub filled: bool,
    /// Reads run a second time through the extended protocol.
    pub twice: bool,
}

/// A unit being run in one configuration.
pub struct Duel<'a> {
    config: &'a str,
    unit: &'a Unit,
    plain: Side<'a>,
    cluster: Side<'a>,
    mode: Mode,
    report: Report,
}

impl<'a> Duel<'a> {
    pub fn new(
        config: &'a str,
        unit: &'a Unit,
        plain: Side<'a>,
        cluster: Side<'a>,
        mode: Mode,
    ) -> Self {
        Duel { config, unit, plain, cluster, mode, report: Report::default() }
    }

    /// Makes the tables and runs every file.
    pub fn run(mut self) -> Report {
        if self.make_schema() {
            for file in &self.unit.files {
                self.plain.sessions.clear();
                self.cluster.sessions.clear();
                self.run_file(file);
            }
        }
        self.report
    }

    fn make_schema(&mut self) -> bool {
        let mut steps: Vec<&Step> = self.unit.schema.iter().collect();
        if self.mode.filled {
            steps.sort_by_key(|s| matches!(s, Step::Spread(..)));
        }
        for step in steps {
            let (at, sql, outcome) = match step {
                Step::Both(s) => {
                    let want = self.plain.query("", &s.sql, &s.copy_data);
                    let got = self.cluster.query("", &s.sql, &s.copy_data);
                    (s.line, s.sql.clone(), want.and(got))
                }
                Step::Spread(_, _) if !self.mode.distributed => continue,
                Step::Spread(spread, line) => {
                    (*line, spread.sql(), self.cluster.query("", &spread.sql(), &[]))
                }
            };
            if let Err(e) = outcome {
                let text =
                    format!("{}/schema.sql:{at} [{}]\n{sql}\n{e}", self.unit.name, self.config);
                self.report.failures.push(text);
                return false;
            }
        }
        true
    }

    fn run_file(&mut self, file: &[Statement]) {
        // Sessions in which the cluster left the path of the oracle: wait for the transaction's end.
        let mut derailed: HashMap<String, bool> = HashMap::new();
        let mut session = String::new();
        for s in file {
            if let Some(name) = &s.marks.session {
                session.clone_from(name);
            }
            if derailed.remove(&session).is_some() {
                self.report.skipped += 1;
                let _ = self.ask_plain(&session, s);
                if self.plain.status(&session) == b'I' {
                    self.repair(&session);
                } else {
                    derailed.insert(session.clone(), true);
                }
                continue;
            }
            self.report.statements += 1;
            let found = self.run_statement(&session, s);
            let failed = found.is_some();
            self.judge(s, found);
            if failed {
                if self.plain.status(&session) == b'I' {
                    self.repair(&session);
                } else if self.plain.status(&session) != self.cluster.status(&session) {
                    derailed.insert(session.clone(), true);
                }
            }
        }
    }

    /// Files a difference as a failure or as known.
    fn judge(&mut self, s: &Statement, found: Option<String>) {
        let known = s.marks.known.iter().find(|(c, _)| c == "all" || c == self.config);
        let head = format!("{}:{} [{}]", s.file, s.line, self.config);
        match (found, known) {
            (None, None) => {}
            (Some(_), Some((_, reason))) if self.mode.distributed => {
                self.report.known.push(format!("{head} {reason}"))
            }
            (None, Some(_)) if self.mode.distributed => {
                self.report
                    .failures
                    .push(format!("{head} works now: remove its `-- @known` line\n{}", s.sql));
            }
            (None, Some(_)) => {}
            (Some(text), _) => self.report.failures.push(format!("{head}\n{}\n{text}", s.sql)),
        }
    }

    fn ask_plain(&mut self, session: &str, s: &Statement) -> Vec<Result<ResultSet, Error>> {
        ask(&mut self.plain, session, s)
    }

    /// Runs a statement on both sides and says what differs.
    fn run_statement(&mut self, session: &str, s: &Statement) -> Option<String> {
        let want = self.ask_plain(session, s);
        if let Some(text) = corpus_mistake(&want, s) {
            let _ = ask(&mut self.cluster, session, s);
            return Some(text);
        }
        let got = ask(&mut self.cluster, session, s);
        for (n, (w, g)) in want.iter().zip(&got).enumerate() {
            if let Some(text) = difference(w, g, &s.marks) {
                let run =
                    if want.len() > 1 { format!("execution {}: ", n + 1) } else { String::new() };
                return Some(run + &text);
            }
        }
        let (w, g) = (self.plain.status(session), self.cluster.status(session));
        if w != g {
            return Some(format!("expected transaction status {}, got {}", w as char, g as char));
        }
        if self.mode.twice && reads_only(s) {
            let again = extended(&mut self.cluster, session, &s.sql);
            if let Some(text) = want.first().and_then(|w| difference(w, &again, &s.marks)) {
                return Some(format!("through the extended protocol: {text}"));
            }
            // By now the statement's shape has come before, and its plan is a kept one.
            let again = self.cluster.query(session, &s.sql, &[]);
            if let Some(text) = want.first().and_then(|w| difference(w, &again, &s.marks)) {
                return Some(format!("the third time: {text}"));
            }
        }
        if w == b'E' || s.marks.tag_only || !writes(&s.sql) {
            return None;
        }
        self.tables_of(s).iter().find_map(|t| self.table_difference(session, t))
    }

    /// The tables that a statement names, or all.
    fn tables_of(&self, s: &Statement) -> Vec<String> {
        let named: Vec<String> =
            self.unit.tables.iter().filter(|t| has_word(&s.sql, t)).cloned().collect();
        if named.is_empty() {
            self.unit.tables.clone()
        } else {
            named
        }
    }

    fn table_difference(&mut self, session: &str, table: &str) -> Option<String> {
        let sql = format!("SELECT * FROM {table}");
        let want = self.plain.query(session, &sql, &[]);
        let got = self.cluster.query(session, &sql, &[]);
        let text = match (&want, &got) {
            (Ok(w), Ok(g)) => rows_difference(&w.rows, &g.rows, false)?,
            (Err(w), Err(g)) if w.code() == g.code() => return None,
            (w, g) => {
                let brief = |r: &Result<ResultSet, Error>| match r {
                    Ok(set) => set.tag.clone(),
                    Err(e) => e.to_string(),
                };
                format!("expected {}, got {}", brief(w), brief(g))
            }
        };
        Some(format!("afterwards the content of {table} differs: {text}"))
    }

    /// Brings the cluster's tables back to the oracle's content, so that one failure stays one.
    fn repair(&mut self, session: &str) {
        if self.cluster.status(session) != b'I' {
            let _ = self.cluster.query(session, "ROLLBACK", &[]);
        }
        for table in &self.unit.tables.clone() {
            if self.table_difference(session, table).is_none() {
                continue;
            }
            let Ok(content) = self.plain.query(session, &format!("COPY {table} TO STDOUT"), &[])
            else {
                continue;
            };
            let _ = self.cluster.query(session, &format!("DELETE FROM {table}"), &[]);
            let _ =
                self.cluster.query(session, &format!("COPY {table} FROM STDIN"), &content.copied);
        }
    }
}

/// Runs a statement: once, or once per set of parameters.
fn ask(side: &mut Side<'_>, session: &str, s: &Statement) -> Vec<Result<ResultSet, Error>> {
    if s.marks.params.is_empty() {
        return vec![side.query(session, &s.sql, &s.copy_data)];
    }
    let name = format!("{}:{}", s.file, s.line);
    if let Err(e) = side.prepare(session, &name, &s.sql) {
        return vec![Err(e)];
    }
    s.marks.params.iter().map(|p| side.execute(session, &name, p)).collect()
}

fn extended(side: &mut Side<'_>, session: &str, sql: &str) -> Result<ResultSet, Error> {
    side.prepare(session, "", sql)?;
    side.execute(session, "", &[])
}

/// The oracle must succeed or fail as the file says, else the corpus is wrong.
fn corpus_mistake(want: &[Result<ResultSet, Error>], s: &Statement) -> Option<String> {
    let failure = want.iter().find_map(|w| w.as_ref().err());
    match (failure, &s.marks.error) {
        (None, None) => None,
        (Some(e), Some(code)) if code.is_empty() || code == e.code() => None,
        (Some(e), Some(code)) => {
            Some(format!("corpus: plain PostgreSQL should fail with {code}: {e}"))
        }
        (Some(e), None) => Some(format!("corpus: plain PostgreSQL refuses this: {e}")),
        (None, Some(_)) => Some("corpus: plain PostgreSQL accepts this".to_owned()),
    }
}

fn words(sql: &str) -> impl Iterator<Item = String> + '_ {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
        .map(str::to_ascii_lowercase)
}

fn has_word(sql: &str, word: &str) -> bool {
    let wanted = word.trim_matches('"').to_ascii_lowercase();
    let wanted = wanted.rsplit('.').next().unwrap_or_default().to_owned();
    words(sql).any(|w| w == wanted)
        || (wanted.contains(' ') && sql.to_ascii_lowercase().contains(&wanted))
}

fn writes(sql: &str) -> bool {
    words(sql).any(|w| WRITES.contains(&w.as_str()))
}

/// True for a statement that can be run a second time without changing anything.
fn reads_only(s: &Statement) -> bool {
    let first = words(&s.sql).next().unwrap_or_default();
    let reads = ["select", "with", "values", "table"].contains(&first.as_str());
    let changes = ["nextval", "setval", "set_config", "pg_sleep", "into"];
    let plain_marks = s.marks.params.is_empty() && !s.marks.simple && s.marks.error.is_none();
    reads && plain_marks && !writes(&s.sql) && !words(&s.sql).any(|w| changes.contains(&w.as_str()))
}
