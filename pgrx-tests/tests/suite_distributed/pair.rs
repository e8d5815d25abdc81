//! A session on plain PostgreSQL and one on a cluster, which get the same statements.
//!
//! What the cluster refuses and plain PostgreSQL accepts is a difference, and is undone on the plain
//! side: both go on from the same state, so that one refused statement is one difference.

use citus_tests::client::{Conn, Error, ResultSet};
use citus_tests::cluster::Cluster;
use citus_tests::compare::difference;
use citus_tests::corpus::Marks;
use citus_tests::split::psql_statement;

use crate::script::{first_word, words, Statement};

/// What the programs of PostgreSQL's suite set before they run a script.
const SETTINGS: &str = "SET extra_float_digits = 0; SET datestyle = 'Postgres, MDY';
    SET timezone = 'PST8PDT'; SET intervalstyle = 'postgres_verbose'; SET statement_timeout = '110s'";

/// Statements that cannot be undone by a ROLLBACK around them.
const NOT_UNDONE: [&str; 23] = [
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "prepare",
    "deallocate",
    "declare",
    "fetch",
    "move",
    "close",
    "lock",
    "vacuum",
    "set",
    "reset",
    "call",
    "do",
    "discard",
    "cluster",
    "reindex",
];

/// How many digits of a floating-point number are compared: sums depend on the order of rows.
const DIGITS: usize = 10;

type Answer = Result<ResultSet, Error>;

/// What differs after a statement.
pub struct Difference {
    pub text: String,
    /// A session was lost, which nothing excuses.
    pub lost: bool,
}

/// Two sessions that are in the same state.
pub struct Pair<'a> {
    servers: [&'a Cluster; 2],
    databases: &'a [String; 2],
    plain: Conn,
    cluster: Conn,
}

impl<'a> Pair<'a> {
    /// Opens the sessions, plain PostgreSQL first.
    pub fn connect(servers: [&'a Cluster; 2], databases: &'a [String; 2]) -> Pair<'a> {
        let open = |n: usize| {
            // After a crash the server needs its time.
            servers[n].coordinator.wait_ready().unwrap();
            let mut c = servers[n].connect(&databases[n]);
            c.run(SETTINGS);
            c
        };
        let [plain, mut cluster] = [open(0), open(1)];
        cluster.run("SET citus.shard_count = 4");
        Pair { servers, databases, plain, cluster }
    }

    /// Runs a statement on the cluster alone.
    pub fn on_cluster(&mut self, sql: &str) -> Answer {
        last(self.cluster.simple(sql))
    }

    /// Runs a statement on both sides and says what differs.
    pub fn run(&mut self, s: &Statement) -> Option<Difference> {
        let before = self.cluster.status;
        let got = last(self.cluster.copy_in(&s.sql, &s.data));
        let want = match &got {
            Err(Error::Server(e)) => self.ask_plain_undone(s, before, &e.code),
            _ => self.ask_plain(s),
        };
        if is_lost(&got) || is_lost(&want) {
            let tell = |a: &Answer| a.as_ref().map_or_else(|e| e.to_string(), |r| r.tag.clone());
            let text = format!("expected: {}\ngot: {}", tell(&want), tell(&got));
            *self = Pair::connect(self.servers, self.databases);
            return Some(Difference { text, lost: true });
        }
        let marks = Marks { digits: Some(DIGITS), ..Marks::default() };
        let text = difference(&want, &got, &marks).or_else(|| self.status_difference());
        self.align();
        text.map(|text| Difference { text, lost: false })
    }

    fn ask_plain(&mut self, s: &Statement) -> Answer {
        last(self.plain.copy_in(&s.sql, &s.data))
    }

    /// Asks the plain side for what the cluster refused with `code`, and undoes it.
    fn ask_plain_undone(&mut self, s: &Statement, before: u8, code: &str) -> Answer {
        let single = psql_statement(&s.sql).is_none_or(|cut| cut.length >= s.sql.trim_end().len());
        if !single || NOT_UNDONE.contains(&first_word(&s.sql).as_str()) || self.plain.status == b'E'
        {
            return self.ask_plain(s);
        }
        let (begin, undo) = match before {
            b'T' => ("SAVEPOINT refused", "ROLLBACK TO refused; RELEASE refused"),
            _ => ("BEGIN", "ROLLBACK"),
        };
        self.plain.run(begin);
        let mut want = self.ask_plain(s);
        if before == b'T' && want.is_err() {
            return want;
        }
        // Constraints that are checked at the end.
        if before == b'I' && want.is_ok() && code.starts_with("23") {
            if let Err(e) = self.plain.simple("SET CONSTRAINTS ALL IMMEDIATE") {
                want = Err(e);
            }
        }
        if self.plain.status != b'I' {
            self.plain.run(undo);
        }
        want
    }

    fn status_difference(&self) -> Option<String> {
        let (want, got) = (self.plain.status as char, self.cluster.status as char);
        (want != got).then(|| format!("expected transaction status {want}, got {got}"))
    }

    /// Brings both sessions into the same state of their transaction.
    fn align(&mut self) {
        match (self.plain.status, self.cluster.status) {
            (a, b) if a == b => {}
            (b'T', b'E') => {
                let _ = self.plain.simple("SELECT 1/0");
            }
            (b'E', b'T') => {
                let _ = self.cluster.simple("SELECT 1/0");
            }
            _ => {
                self.plain.run("ROLLBACK");
                self.cluster.run("ROLLBACK");
            }
        }
    }

    /// Distributes the table that a statement has made by its first column, if that is possible.
    pub fn distribute_created(&mut self, s: &Statement) -> bool {
        let Some(name) = created_table(&s.sql) else { return false };
        let inside = self.cluster.status == b'T';
        if self.cluster.status == b'E' {
            return false;
        }
        if inside {
            self.cluster.run("SAVEPOINT made");
        }
        let name = name.replace('\'', "''");
        let column = format!(
            "SELECT pg_catalog.quote_literal(attname) FROM pg_catalog.pg_attribute a
               JOIN pg_catalog.pg_class c ON c.oid = attrelid
              WHERE attrelid = '{name}'::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped
                AND relkind = 'r' AND relpersistence <> 't' AND NOT relispartition
              ORDER BY attnum LIMIT 1"
        );
        let column =
            self.on_cluster(&column).ok().and_then(|r| r.rows.into_iter().flatten().next());
        let done = column.flatten().is_some_and(|column| {
            let sql = format!("SELECT pg_catalog.create_distributed_table('{name}', {column})");
            self.on_cluster(&sql).is_ok()
        });
        if inside {
            let end = if done { "RELEASE made" } else { "ROLLBACK TO made; RELEASE made" };
            self.cluster.run(end);
        }
        done
    }
}

fn last(answer: Result<Vec<ResultSet>, Error>) -> Answer {
    answer.map(|mut sets| sets.pop().unwrap_or_default())
}

fn is_lost(answer: &Answer) -> bool {
    match answer {
        Err(Error::Connection(_)) => true,
        Err(Error::Server(e)) => e.severity == "FATAL" || e.severity == "PANIC",
        Ok(_) => false,
    }
}

/// The name in `CREATE [UNLOGGED] TABLE [IF NOT EXISTS] name`, as it stands there.
fn created_table(sql: &str) -> Option<&str> {
    let mut all = words(sql);
    let mut head = 2;
    if all.next()? != "create" {
        return None;
    }
    let mut word = all.next()?;
    if word == "unlogged" {
        (word, head) = (all.next()?, head + 1);
    }
    if word != "table" {
        return None;
    }
    if all.next()? == "if" {
        head += 3;
    }
    let mut rest = sql.trim_start();
    for _ in 0..head {
        rest = rest[rest.find(char::is_whitespace)?..].trim_start();
    }
    let mut quoted = false;
    let end = rest.find(|c: char| {
        quoted ^= c == '"';
        !quoted && (c.is_whitespace() || c == '(' || c == ';')
    });
    Some(&rest[..end.unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::created_table;

    #[test]
    fn names_of_tables() {
        for (sql, name) in [
            ("CREATE TABLE t(a int)", Some("t")),
            ("create unlogged table if not exists s.\"T t\" (a int)", Some("s.\"T t\"")),
            ("CREATE TABLE t AS SELECT 1", Some("t")),
            ("CREATE TEMP TABLE t (a int)", None),
            ("CREATE VIEW v AS SELECT 1", None),
        ] {
            assert_eq!(created_table(sql), name, "{sql}");
        }
    }
}
