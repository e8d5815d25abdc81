//! Two sessions, one with plain tables and one with distributed ones, that are asked the same.

use citus_tests::client::{Conn, Error, ResultSet};
use citus_tests::cluster::Cluster;
use citus_tests::compare::{difference, rows_difference};
use citus_tests::corpus::Marks;

use crate::schema::{CREATE, DEFINE, FILL, SPREAD, TABLES};

/// The longest that a statement may take.
const TIMEOUT: &str = "SET statement_timeout = '10s'";
/// For what must not fail: a machine may be slow.
const NO_TIMEOUT: &str = "SET statement_timeout = 0";

/// What became of a statement.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Same,
    /// Both sides refuse it, with the same SQLSTATE.
    Error(String),
    /// It took too long, perhaps on the cluster alone.
    Timeout {
        alone: bool,
    },
    /// The cluster says that it does not support this.
    Refused(String),
    Different(String),
}

pub type Answer = Result<ResultSet, Error>;

pub struct Pair<'a> {
    servers: [&'a Cluster; 2],
    databases: [String; 2],
    pub conns: [Conn; 2],
}

impl<'a> Pair<'a> {
    /// Makes the tables on both sides.
    pub fn new(plain: &'a Cluster, cluster: &'a Cluster) -> Pair<'a> {
        let databases = [plain.bare_database("random"), cluster.database("random")];
        let servers = [plain, cluster];
        let conns = [0, 1].map(|n: usize| servers[n].connect(&databases[n]));
        let mut pair = Pair { servers, databases, conns };
        pair.conns.iter_mut().for_each(|c| c.run(CREATE));
        pair.conns[1].run(SPREAD);
        pair.conns.iter_mut().for_each(|c| c.run(DEFINE));
        pair.fill();
        pair
    }

    /// Sessions that know nothing of what was before.
    pub fn reconnect(&mut self) {
        for n in 0..2 {
            let server = &self.servers[n].coordinator;
            let conn = server.try_connect(&self.databases[n]).or_else(|_| {
                server.wait_ready()?;
                server.try_connect(&self.databases[n])
            });
            self.conns[n] = conn.unwrap_or_else(|e| panic!("{e}"));
            self.conns[n].run(TIMEOUT);
        }
    }

    /// Gives the tables the rows that every case begins with.
    pub fn fill(&mut self) {
        for c in &mut self.conns {
            c.run("SET statement_timeout = 0; TRUNCATE a, c, w, r, l");
            c.run(FILL);
            c.run("ANALYZE");
            c.run(TIMEOUT);
        }
    }

    /// Asks both sides in one way and compares what they say.
    pub fn ask(&mut self, ordered: bool, mut way: impl FnMut(&mut Conn) -> Answer) -> Outcome {
        let [plain, spread] = &mut self.conns;
        let (want, got) = (way(plain), way(spread));
        let code = |a: &Answer| a.as_ref().err().map(|e| e.code().to_owned()).unwrap_or_default();
        let (w, g) = (code(&want), code(&got));
        if w == "57014" || g == "57014" {
            return Outcome::Timeout { alone: w != "57014" };
        }
        if g == "0A000" && w != g {
            return Outcome::Refused(got.err().map(|e| e.to_string()).unwrap_or_default());
        }
        // Constants are folded before PostgreSQL's planner sees them, and then it may find out that
        // a side of a join cannot be missing. (The corpus has the errors.)
        let missing = |e: &Error| e.to_string().contains("nullable side of an outer join");
        if got.is_ok() && want.as_ref().is_err_and(missing) {
            return Outcome::Error(w);
        }
        // Of several rows that break several rules, which is met first depends on the order of rows.
        let breaks = |code: &str| code.starts_with("23") || code == "44000";
        if breaks(&w) && breaks(&g) {
            return Outcome::Error(w);
        }
        let marks = Marks { ordered, ..Marks::default() };
        match difference(&want, &got, &marks) {
            Some(text) => Outcome::Different(text),
            None if w.is_empty() => self.same_status(),
            None => Outcome::Error(w),
        }
    }

    fn same_status(&self) -> Outcome {
        let [w, g] = [0, 1].map(|n: usize| self.conns[n].status as char);
        match w == g {
            true => Outcome::Same,
            false => Outcome::Different(format!("expected transaction status {w}, got {g}")),
        }
    }

    pub fn simple(&mut self, ordered: bool, sql: &str) -> Outcome {
        self.ask(ordered, |c| Ok(c.simple(sql)?.pop().unwrap_or_default()))
    }

    /// Runs a command on both sides that cannot differ.
    pub fn command(&mut self, sql: &str) {
        for c in &mut self.conns {
            c.simple(sql).unwrap_or_else(|e| panic!("{sql}\n{e}"));
        }
    }

    /// Compares what the tables have.
    pub fn content(&mut self) -> Option<String> {
        self.command(NO_TIMEOUT);
        let found = self.tables();
        // Where a table could not be read the transaction has failed, and with it what was set.
        self.conns.iter_mut().for_each(|c| drop(c.simple(TIMEOUT)));
        found
    }

    fn tables(&mut self) -> Option<String> {
        TABLES.iter().find_map(|t| {
            let sql = format!("SELECT * FROM {}", t.name);
            let [want, got] = self.conns.each_mut().map(|c| c.simple(&sql));
            let text = match (want, got) {
                (Ok(w), Ok(g)) => rows_difference(&w[0].rows, &g[0].rows, false)?,
                (w, g) => format!("{}\n{}", brief(w.err()), brief(g.err())),
            };
            Some(format!("afterwards the content of {} differs: {text}", t.name))
        })
    }
}

fn brief(e: Option<Error>) -> String {
    e.map_or("no error".to_owned(), |e| e.to_string())
}
