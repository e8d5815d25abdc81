//! Views and rules read and write as their owners, on the nodes as here. Every statement is run on
//! plain tables, too: rows, counts and SQLSTATEs have to be the same.

mod acting;
mod definers;
mod nodes;
mod policies;
mod reads;
mod writes;

use citus_tests::client::{Conn, Error};

use crate::{cluster, session, user};

/// Schemas with the same objects: plain tables and distributed ones.
const SIDES: [&str; 2] = ["plain", "dist"];

/// What a statement answers: tags and sorted rows, or the SQLSTATE. Several, with `||` between
/// them, are sent one after the other, and a transaction that they leave open is rolled back.
fn outcome(c: &mut Conn, sql: &str) -> String {
    if sql.contains("||") {
        let all: Vec<String> = sql.split("||").map(|part| outcome(c, part)).collect();
        c.run("ROLLBACK");
        return all.join(" || ");
    }
    match c.simple(sql) {
        Ok(results) => {
            let mut out = Vec::new();
            for r in results {
                let cell = |v: Option<String>| v.unwrap_or("NULL".into());
                let mut rows: Vec<String> = r
                    .rows
                    .into_iter()
                    .map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(","))
                    .collect();
                rows.sort();
                out.push(format!("{} [{}]", r.tag, rows.join(" ")));
            }
            out.join("; ")
        }
        Err(Error::Server(e)) => e.code,
        Err(e) => panic!("{sql}\n{e}"),
    }
}

/// A world with three roles: `{o}` owns tables, `{v}` owns views, `{u}` uses them.
struct World {
    db: String,
    stem: &'static str,
}

const TABLES: &str = "
    CREATE TABLE {s}.t (k int, who text, v int);
    CREATE TABLE {s}.w (k int PRIMARY KEY, n text);
    CREATE TABLE {s}.r (id int PRIMARY KEY, n text);";
const DISTRIBUTE: &str = "
    SELECT create_distributed_table('{s}.t', 'k', shard_count := 4);
    SELECT create_distributed_table('{s}.w', 'k', colocate_with := '{s}.t');
    SELECT create_reference_table('{s}.r');";
const ROWS: &str = "
    INSERT INTO {s}.t VALUES (1, '{o}', 1), (1, '{u}', 2), (2, '{v}', 3), (3, '{u}', 4), (4, '{v}', 5);
    INSERT INTO {s}.w VALUES (1, 'one'), (2, 'two'), (3, 'three');
    INSERT INTO {s}.r VALUES (1, 'red'), (2, 'blue');";

impl World {
    /// The tables on both sides; with `here`, shards are on the coordinator, too.
    fn new(stem: &'static str, here: bool) -> World {
        let cl = cluster();
        let world = World { db: cl.database(stem), stem };
        for role in ["o", "v", "u"] {
            user(&world.role(role), &world.db);
        }
        let mut admin = cl.connect(&world.db);
        if here {
            admin.run(&format!(
                "SELECT citus_set_node_property('127.0.0.1', {}, 'shouldhaveshards', true)",
                cl.coordinator.port
            ));
        }
        for s in SIDES {
            let schema = "CREATE SCHEMA {s} AUTHORIZATION {o}; GRANT USAGE ON SCHEMA {s} TO PUBLIC;
                GRANT CREATE ON SCHEMA {s} TO {v}";
            admin.run(&world.text(schema, s));
            let mut owner = world.session("o");
            owner.run(&world.text(TABLES, s));
            if s == "dist" {
                owner.run(&world.text(DISTRIBUTE, s));
            }
            owner.run(&world.text(ROWS, s));
        }
        world
    }

    fn role(&self, role: &str) -> String {
        format!("{}_{role}", self.stem)
    }

    fn session(&self, role: &str) -> Conn {
        match role {
            "admin" => cluster().connect(&self.db),
            _ => session(&cluster().coordinator, &self.role(role), &self.db),
        }
    }

    fn text(&self, sql: &str, side: &str) -> String {
        let mut text = sql.replace("{s}", side);
        for role in ["o", "v", "u"] {
            text = text.replace(&format!("{{{role}}}"), &self.role(role));
        }
        text
    }

    /// Runs a statement on both sides.
    #[track_caller]
    fn run(&self, c: &mut Conn, sql: &str) {
        SIDES.iter().for_each(|s| c.run(&self.text(sql, s)));
    }

    /// Runs a statement on both sides, which must answer the same.
    #[track_caller]
    fn same(&self, c: &mut Conn, sql: &str) -> String {
        let [plain, dist] = SIDES.map(|s| outcome(c, &self.text(sql, s)));
        assert_eq!(plain, dist, "{sql}");
        dist
    }

    /// [`World::same`], and what it must be.
    #[track_caller]
    fn answers(&self, c: &mut Conn, sql: &str, wanted: &str) {
        let found = self.same(c, sql);
        assert_eq!(found, wanted, "{sql}");
    }

    /// What is in the tables must be the same on both sides.
    #[track_caller]
    fn same_content(&self, c: &mut Conn) {
        for t in ["t", "w", "r"] {
            self.same(c, &format!("SELECT * FROM {{s}}.{t}"));
        }
    }
}

/// Makes a function on the workers another one than it is on the coordinator, as nobody else can: what the
/// table is made with was brought there.
fn change_on_workers(w: &World, role: &str, function: &str) {
    for worker in &cluster().workers {
        session(worker, &w.role(role), &w.db).run(&w.text(function, ""));
    }
}
