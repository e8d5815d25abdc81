//! COPY of distributed and reference tables does what it does with plain ones: the same rows, the
//! same counts, the same errors with the same lines.

mod from;
mod inserts;
mod malformed;
mod to;

use std::sync::OnceLock;

use citus_tests::client::{Conn, Error, PgError, ResultSet};
use citus_tests::cluster::Cluster;
use citus_tests::server::Kind;

pub(crate) fn cluster() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(2, Kind::FAST, ""))
}

pub(crate) fn single() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(0, Kind::FAST, ""))
}

/// Two tables of the same form, `plain` and `dist`, in a database of their own.
pub(crate) struct Pair {
    pub(crate) conn: Conn,
}

/// A cluster with workers, and one of a single node.
pub(crate) fn both(test: impl Fn(&dyn Fn(&str, &str) -> Pair)) {
    for c in [cluster(), single()] {
        test(&|columns, distribute| {
            let mut conn = c.connect(&c.database("copy"));
            conn.run("SET citus.shard_count = 4");
            conn.run(&format!("CREATE TABLE plain ({columns})"));
            conn.run(&format!("CREATE TABLE dist ({columns})"));
            conn.run(distribute);
            Pair { conn }
        });
    }
}

pub(crate) const BY_K: &str = "SELECT create_distributed_table('dist', 'k')";
pub(crate) const REFERENCE: &str = "SELECT create_reference_table('dist')";

pub(crate) type Outcome = Result<Vec<ResultSet>, Error>;

/// What is compared of an outcome: the tag, or the error in the words of table `dist`.
pub(crate) fn essence(outcome: &Outcome) -> Result<String, (String, String, Option<String>)> {
    match outcome {
        Ok(sets) => Ok(sets.iter().map(|s| s.tag.clone()).collect::<Vec<_>>().join(";")),
        Err(Error::Server(e)) => {
            let say = |s: &str| s.replace("plain", "dist");
            // A node says where it is when no line of the input does.
            let context = e.context.as_deref().filter(|c| !c.starts_with("while executing"));
            Err((e.code.clone(), say(&e.message), context.map(say)))
        }
        Err(e) => panic!("{e}"),
    }
}

impl Pair {
    /// Runs a COPY FROM STDIN on both tables; `#` stands for the table.
    #[track_caller]
    pub(crate) fn load(&mut self, sql: &str, data: &[u8]) -> Outcome {
        let want = self.conn.copy_in(&sql.replace('#', "plain"), data);
        let got = self.conn.copy_in(&sql.replace('#', "dist"), data);
        let input = String::from_utf8_lossy(data).into_owned();
        let input: String = input.chars().take(2000).collect();
        assert_eq!(essence(&got), essence(&want), "{sql}\n{input:?}");
        self.same(&format!("{sql}\n{input:?}"));
        got
    }

    /// Both tables have the same rows.
    #[track_caller]
    pub(crate) fn same(&mut self, what: &str) {
        let mut rows = |t: &str| {
            let mut rows = self.conn.rows(&format!("SELECT * FROM {t}"));
            rows.sort();
            rows
        };
        let (want, got) = (rows("plain"), rows("dist"));
        assert_eq!(got, want, "{what}");
    }

    pub(crate) fn clear(&mut self) {
        self.conn.run("DELETE FROM plain");
        self.conn.run("DELETE FROM dist");
    }
}

pub(crate) fn error(outcome: Outcome) -> PgError {
    match outcome {
        Err(Error::Server(e)) => *e,
        other => panic!("no error: {other:?}"),
    }
}
