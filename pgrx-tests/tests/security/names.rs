//! Names that try to be more than names, in every place of every kind of statement that reaches a
//! node. What happens to the cluster happens to plain tables beside it, and both must be equal.

use citus_tests::client::Conn;

use crate::cluster;

const NAMES: &[&str] = &[
    "a\"b",
    "a'b''c",
    "; DROP TABLE victim; --",
    "back\\slash\\",
    "line\nbreak\r",
    "ünïcødé 表 \u{1F980}",
    "sixty-three bytes long, with a tail that a shard's id displaces",
    "$$ $1 $x$ $",
    "%s %I %1$s %%",
    "E'x\\'",
    "{1,\"2\"}",
    "/* no comment",
    " select ",
    "a.b",
    "tab\t_102008",
    "U&\"\\0041\"",
];

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The statements about one name, in schema `{s}`; the table is distributed by `{distribute}`.
fn statements(name: &str, schema: &str, role: &str, distribute: Option<&str>) -> Vec<String> {
    let (n, s, r) = (ident(name), ident(schema), ident(role));
    let other = ident(&format!("2{}", name.chars().skip(1).collect::<String>()));
    let t = format!("{s}.{n}");
    let all = [
        "CREATE TYPE {s}.{n} AS ENUM ({l}, 'other')",
        "DROP TYPE {s}.{n}",
        "CREATE DOMAIN {s}.{o} AS int CONSTRAINT {n} CHECK (VALUE < 1000)",
        "CREATE TABLE {t} (k int CONSTRAINT {n} CHECK (k > 0), {n} text DEFAULT {l}, d {s}.{o},
            CONSTRAINT {o} UNIQUE (k, {n}))",
        "{distribute}",
        "INSERT INTO {t} (k, {n}) VALUES (1, {l}), (2, {l}), (3, 'x')",
        "INSERT INTO {t} (k) SELECT i FROM generate_series(4, 9) i",
        "INSERT INTO {t} VALUES (1, {l}) ON CONFLICT (k, {n}) DO UPDATE SET d = 7",
        "UPDATE {t} SET {n} = {n} || {l} WHERE k = 2",
        "UPDATE {t} AS {o} SET {n} = {l} WHERE {o}.{n} = 'x'",
        "UPDATE {t} SET d = k WHERE {n} IN (SELECT {n} FROM {t} WHERE k = 5)",
        "DELETE FROM {t} WHERE {n} = 'none' OR k = 9",
        "ALTER TABLE {t} ADD COLUMN {o} text DEFAULT {l} NOT NULL",
        "ALTER TABLE {t} ALTER COLUMN {o} TYPE varchar(400), ALTER COLUMN {o} SET DEFAULT 'y'",
        "ALTER TABLE {t} ADD CONSTRAINT \"more {o0}\" CHECK ({o} <> 'never')",
        "ALTER TABLE {t} RENAME CONSTRAINT \"more {o0}\" TO \"less {o0}\"",
        "ALTER TABLE {t} DROP CONSTRAINT \"less {o0}\"",
        "CREATE INDEX {i} ON {t} ({n}, lower({o}))",
        "ALTER INDEX {s}.{i} RENAME TO {i2}",
        "REINDEX INDEX {s}.{i2}",
        "COMMENT ON TABLE {t} IS {l}",
        "COMMENT ON COLUMN {t}.{n} IS {l}",
        "GRANT SELECT ({n}), UPDATE ON {t} TO {r}",
        "REVOKE UPDATE ON {t} FROM {r}",
        "CREATE POLICY {n} ON {t} TO {r} USING ({n} <> {l})",
        "ALTER POLICY {n} ON {t} RENAME TO {o}",
        "DROP POLICY {o} ON {t}",
        "ALTER TABLE {t} RENAME COLUMN {o} TO {i}",
        "ALTER TABLE {t} RENAME TO {i}",
        "ALTER TABLE {s}.{i} RENAME TO {n}",
        "VACUUM {t}",
        "ANALYZE {t} ({n})",
        "SELECT k, {n}, d, {i} FROM {t} ORDER BY 1",
        "SELECT {n} AS {o}, count(*) FROM {t} AS {i} GROUP BY {n} ORDER BY 1",
        "SELECT {n}.{n} FROM {t} AS {n} WHERE {n}.k = 1",
        "SELECT row_to_json({o}) FROM {t} {o} ORDER BY k",
        "WITH {n} AS (SELECT {n} FROM {t}) SELECT * FROM {n} ORDER BY 1",
        "SELECT a.{n} FROM {t} a JOIN {t} b USING (k, {n}) ORDER BY a.k",
        "COPY {t} (k, {n}) TO STDOUT",
        "SELECT obj_description({t_literal}::regclass), col_description({t_literal}::regclass, 2)",
        "DROP INDEX {s}.{i2}",
    ];
    let list = all.iter().filter_map(|sql| match (*sql, distribute) {
        ("{distribute}", None) => None,
        ("{distribute}", Some(d)) => Some(d.replace("{t}", &literal(&t))),
        (sql, _) => Some(
            sql.replace("{t_literal}", &literal(&t))
                .replace("{t}", &t)
                .replace("{s}", &s)
                .replace("{n}", &n)
                .replace("{l}", &literal(name))
                .replace("{o0}", &name.replace('"', "\"\"").chars().take(8).collect::<String>())
                .replace("{o}", &other)
                .replace("{i2}", &ident(&format!("j{}", name.chars().skip(1).collect::<String>())))
                .replace("{i}", &ident(&format!("i{}", name.chars().skip(1).collect::<String>())))
                .replace("{r}", &r),
        ),
    });
    list.collect()
}

/// What a statement gave: rows sorted as they came, and what was copied; or its SQLSTATE.
fn outcome(c: &mut Conn, sql: &str) -> String {
    match c.simple(sql) {
        Ok(r) => r.last().map_or_else(String::new, |r| {
            let mut lines: Vec<&str> =
                std::str::from_utf8(&r.copied).unwrap_or_default().lines().collect();
            lines.sort_unstable();
            format!("{:?} {:?} {}", r.rows, lines, r.tag)
        }),
        Err(e) => format!("ERROR {} {e}", e.code()),
    }
}

/// Runs the statements on both sides; gives back what differs.
fn differences(plain: &[String], ours: &[String], p: &mut Conn, c: &mut Conn) -> Vec<String> {
    let mut bad = Vec::new();
    let mut ours = ours.iter();
    for sql in plain {
        let mut mine = ours.next().unwrap();
        if mine.starts_with("SELECT create_") {
            if let Err(e) = c.simple(mine) {
                bad.push(format!("{mine}\n{e}"));
            }
            mine = ours.next().unwrap();
        }
        let (expected, found) = (outcome(p, sql), outcome(c, mine));
        // What fails on plain tables would test nothing.
        if found != expected || expected.starts_with("ERROR") {
            bad.push(format!("{mine}\n  plain: {expected}\n  ours:  {found}"));
        }
    }
    bad
}

#[test]
fn names_are_names() {
    let cl = cluster();
    let db = &cl.database("names");
    let plain_db = &cl.bare_database("plain_names");
    let mut c = cl.connect(db);
    let mut p = cl.connect(plain_db);
    for x in [&mut c, &mut p] {
        x.run("CREATE TABLE victim (k int); INSERT INTO victim VALUES (1)");
    }
    let mut bad = Vec::new();
    for (i, name) in NAMES.iter().enumerate() {
        let role = format!("{name:.40}");
        let role = role.chars().take(20).collect::<String>() + &i.to_string();
        c.run(&format!("CREATE ROLE {}", ident(&role)));
        let schema = NAMES[(i + 1) % NAMES.len()].chars().take(18).collect::<String>();
        let schema = &format!("{schema}{i}");
        for x in [&mut c, &mut p] {
            x.run(&format!("CREATE SCHEMA {}", ident(schema)));
        }
        let distribute = match i % 3 {
            2 => "SELECT create_reference_table({t})",
            _ => "SELECT create_distributed_table({t}, 'k', shard_count := 4)",
        };
        let plain = statements(name, schema, &role, None);
        let ours = statements(name, schema, &role, Some(distribute));
        bad.extend(differences(&plain, &ours, &mut p, &mut c));
        let mut last = vec![
            format!(
                "BEGIN; INSERT INTO {0}.{1} (k) VALUES (20), (21), (22), (23); COMMIT",
                ident(schema),
                ident(name)
            ),
            format!("SELECT count(*) FROM {}.{}", ident(schema), ident(name)),
            format!("TRUNCATE {}.{}", ident(schema), ident(name)),
            format!("DROP TABLE {}.{}", ident(schema), ident(name)),
            format!("DROP SCHEMA {} CASCADE", ident(schema)),
        ];
        // EXPLAIN shows how it would run, which is not the same on both sides.
        let explain =
            format!("EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM {}.{}", ident(schema), ident(name));
        let shown = outcome(&mut c, &explain);
        if shown.starts_with("ERROR") {
            bad.push(format!("{explain}\n{shown}"));
        }
        bad.extend(differences(&last, &last, &mut p, &mut c));
        last.clear();
    }
    assert!(bad.is_empty(), "{} of them\n{}", bad.len(), bad.join("\n"));
    for node in cl.nodes() {
        let left = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relname ~ '_1[0-9]{5}$' AND relkind = 'r'";
        assert_eq!(node.connect(db).value(left), "", "shards left on {}", node.name);
        let prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        assert_eq!(node.connect(db).value(prepared), "0");
    }
    assert_eq!(c.value("SELECT count(*) FROM victim"), "1");
    // The control: a name that is put into a statement as it is does harm.
    c.run(&format!("SELECT 1 AS x {}", NAMES[2]));
    assert_eq!(c.simple("SELECT count(*) FROM victim").unwrap_err().code(), "42P01");
}

/// Database and user are part of every connection.
#[test]
fn a_database_and_a_user_with_hostile_names() {
    let cl = cluster();
    for (i, name) in ["d\"b' ;--", "d=b host=evil\\", "dätabase $$"].iter().enumerate() {
        let db = &format!("{name}{i}");
        let role = &format!("r{name}{i}");
        for node in cl.workers_first() {
            let mut c = node.connect("postgres");
            c.run(&format!("CREATE DATABASE {} TEMPLATE citus_template", ident(db)));
            c.run(&format!("CREATE ROLE {} LOGIN", ident(role)));
            c.run(&format!("GRANT CREATE ON DATABASE {} TO {}", ident(db), ident(role)));
        }
        let mut admin = cl.connect(db);
        for w in &cl.workers {
            admin.run(&format!("SELECT citus_add_node('127.0.0.1', {})", w.port));
        }
        let mut c = Conn::connect(cl.coordinator.port, role, db).unwrap();
        c.run("CREATE SCHEMA s; CREATE TABLE s.t (k int, v text)");
        c.run("SELECT create_distributed_table('s.t', 'k', shard_count := 4)");
        c.run("INSERT INTO s.t SELECT i, current_user FROM generate_series(1, 20) i");
        c.run("ALTER TABLE s.t ADD COLUMN x int; CREATE INDEX ON s.t (x)");
        assert_eq!(c.value("SELECT DISTINCT v FROM s.t"), *role);
        assert_eq!(
            c.value("SELECT string_agg(DISTINCT result, ' ') FROM run_command_on_workers('SELECT current_user')"),
            *role
        );
        // All nodes took part, in transactions whose names are written by us.
        c.run("BEGIN; UPDATE s.t SET x = 1; COMMIT");
        assert_eq!(c.value("SELECT sum(x) FROM s.t"), "20");
        drop(c);
    }
}
