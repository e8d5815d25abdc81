//! The tables that the statements are about, what is in them, and constants to compare with.

use crate::rng::Rng;

/// Types of columns and expressions. Equal values of them look the same, so a result is one multiset
/// of texts: every numeric that is generated has two digits after the point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    Int,
    Big,
    Num,
    Text,
    Ts,
    Json,
    Arr,
    Bool,
}

impl Ty {
    pub const ALL: [Ty; 8] =
        [Ty::Int, Ty::Big, Ty::Num, Ty::Text, Ty::Ts, Ty::Json, Ty::Arr, Ty::Bool];

    pub fn sql(self) -> &'static str {
        match self {
            Ty::Int => "int",
            Ty::Big => "bigint",
            Ty::Num => "numeric",
            Ty::Text => "text",
            Ty::Ts => "timestamptz",
            Ty::Json => "jsonb",
            Ty::Arr => "int[]",
            Ty::Bool => "bool",
        }
    }

    pub fn random(rng: &mut Rng) -> Ty {
        match rng.below(20) {
            0..=5 => Ty::Int,
            6..=9 => Ty::Text,
            10..=11 => Ty::Big,
            12..=13 => Ty::Num,
            n => Ty::ALL[n % 8],
        }
    }

    /// A value as a text, without quotes.
    pub fn value(self, rng: &mut Rng) -> String {
        match self {
            Ty::Int => match rng.below(10) {
                0 => rng.pick(&["0", "-1", "1000", "-1000"]).to_owned(),
                _ => rng.between(-3, 24).to_string(),
            },
            Ty::Big => match rng.below(3) {
                0 => (rng.between(-50, 50) * 100_000_000).to_string(),
                _ => rng.between(-10, 30).to_string(),
            },
            Ty::Num => {
                let quarters = rng.between(-100, 100);
                format!("{:.2}", quarters as f64 / 4.0)
            }
            Ty::Text => match rng.below(3) {
                0 => rng.pick(&["", "Abc", "abc", "x y", "ü", "%", "o'k", "-1", "z\\"]).to_owned(),
                _ => format!("k{}", rng.below(32)),
            },
            Ty::Ts => format!(
                "2024-01-{:02} {:02}:00:00+00",
                rng.between(1, 20),
                rng.pick(&[0, 0, 4, 7, 14])
            ),
            Ty::Json => match rng.below(4) {
                0 => rng.pick(&["{}", "null", "[1, 2, null]", "\"s\"", "true"]).to_owned(),
                1 => format!("{{\"name\": \"k{}\"}}", rng.below(12)),
                _ => format!("{{\"n\": {}}}", rng.below(10)),
            },
            Ty::Arr => match rng.below(4) {
                0 => rng.pick(&["{}", "{NULL}", "{1,NULL}"]).to_owned(),
                _ => format!("{{{},{}}}", rng.below(7), rng.below(3)),
            },
            Ty::Bool => rng.pick(&["true", "false"]).to_owned(),
        }
    }

    /// A value as a constant; `bare` leaves its type to what stands beside it.
    pub fn constant(self, value: Option<&str>, bare: bool) -> String {
        let Some(text) = value else {
            return if bare { "NULL".to_owned() } else { format!("NULL::{}", self.sql()) };
        };
        let quoted = format!("'{}'", text.replace('\'', "''"));
        match self {
            Ty::Int | Ty::Num if text.starts_with('-') => format!("({text})"),
            Ty::Int | Ty::Num | Ty::Bool => text.to_owned(),
            Ty::Big if bare => quoted,
            Ty::Big => format!("({text})::bigint"),
            _ if bare => quoted,
            _ => format!("{quoted}::{}", self.sql()),
        }
    }
}

pub struct Table {
    pub name: &'static str,
    pub cols: &'static [(&'static str, Ty)],
    /// Columns of the primary key, or none.
    pub key: &'static [&'static str],
    /// Columns that are not NULL.
    pub filled: &'static [&'static str],
}

pub const TABLES: [Table; 5] = [
    Table {
        name: "a",
        cols: &[
            ("k", Ty::Int),
            ("id", Ty::Int),
            ("n", Ty::Int),
            ("b", Ty::Big),
            ("d", Ty::Num),
            ("t", Ty::Text),
            ("ts", Ty::Ts),
            ("j", Ty::Json),
            ("arr", Ty::Arr),
            ("f", Ty::Bool),
        ],
        key: &["k", "id"],
        filled: &["k", "id"],
    },
    Table {
        name: "c",
        cols: &[
            ("k", Ty::Int),
            ("id", Ty::Int),
            ("n", Ty::Int),
            ("d", Ty::Num),
            ("t", Ty::Text),
            ("f", Ty::Bool),
        ],
        key: &[],
        filled: &["k"],
    },
    Table {
        name: "w",
        cols: &[("t", Ty::Text), ("n", Ty::Int), ("b", Ty::Big), ("ts", Ty::Ts), ("j", Ty::Json)],
        key: &["t"],
        filled: &["t"],
    },
    Table {
        name: "r",
        cols: &[("id", Ty::Int), ("n", Ty::Int), ("t", Ty::Text), ("f", Ty::Bool)],
        key: &["id"],
        filled: &["id"],
    },
    Table {
        name: "l",
        cols: &[("id", Ty::Int), ("n", Ty::Int), ("t", Ty::Text), ("arr", Ty::Arr)],
        key: &["id"],
        filled: &["id"],
    },
];

/// A view, and the tables that it reads.
pub struct View {
    pub table: Table,
    pub reads: &'static [&'static str],
}

const fn view(
    name: &'static str,
    cols: &'static [(&'static str, Ty)],
    reads: &'static [&'static str],
) -> View {
    View { table: Table { name, cols, key: &[], filled: &[] }, reads }
}

pub const VIEWS: [View; 4] = [
    view(
        "kinds",
        &[("t", Ty::Text), ("k", Ty::Int), ("n", Ty::Int), ("d", Ty::Num)],
        &["a", "c", "r"],
    ),
    view("sums", &[("k", Ty::Int), ("b", Ty::Big), ("n", Ty::Int), ("f", Ty::Bool)], &["a"]),
    view(
        "pairs",
        &[("k", Ty::Int), ("id", Ty::Int), ("n", Ty::Int), ("t", Ty::Text), ("ts", Ty::Ts)],
        &["a", "c", "r"],
    ),
    view("ranks", &[("t", Ty::Text), ("n", Ty::Int), ("b", Ty::Big), ("f", Ty::Bool)], &["w", "l"]),
];

/// Made on both sides when the tables are filled. Functions stay on the coordinator.
pub const DEFINE: &str = "
    CREATE VIEW kinds AS SELECT 'a' AS t, k, n, d FROM a UNION ALL SELECT 'c', k, n, d FROM c
        UNION ALL SELECT 'r', id, n, NULL FROM r;
    CREATE VIEW sums AS SELECT k, count(*) AS b, max(n) AS n, bool_or(f) AS f FROM a GROUP BY k;
    CREATE VIEW pairs AS SELECT a.k, a.id, c.n, r.t, a.ts FROM a JOIN c ON c.k = a.k AND c.id > a.id
        LEFT JOIN r ON r.id = a.n;
    CREATE VIEW ranks AS SELECT t, n, rank() OVER (ORDER BY b, t) AS b, false AS f FROM w
        UNION ALL SELECT 'k5', id, 17, true FROM l;
    CREATE VIEW some_a AS SELECT * FROM a WHERE n IS DISTINCT FROM 5 WITH CHECK OPTION;
    CREATE VIEW some_c AS SELECT * FROM c WHERE id < 40 OR t IS NULL;
    CREATE VIEW some_r AS SELECT * FROM r WHERE id < 12 WITH CHECK OPTION;
    CREATE FUNCTION near(int, int) RETURNS TABLE (c0 int, c1 text) LANGUAGE sql STABLE AS
        'SELECT id, t FROM a WHERE k = $1 AND n > $2';
    CREATE FUNCTION counted(int) RETURNS bigint LANGUAGE sql STABLE AS
        'SELECT count(*) FROM c WHERE k = $1';
    CREATE FUNCTION label(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
        'BEGIN RETURN ''k'' || $1; END';
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
    CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN plain AS text;
    CREATE DOMAIN natural_number AS int CHECK (VALUE >= 0);
    CREATE COLLATION bytes FROM \"C\";
    CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE OPERATOR |+| (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int);
    CREATE INDEX ON c (label(n));";

pub const CREATE: &str = "
    CREATE TABLE a (k int, id int, n int DEFAULT 7, b bigint, d numeric(12,2), t text DEFAULT 'k3',
        ts timestamptz, j jsonb, arr int[], f bool, PRIMARY KEY (k, id), CHECK (n <> 23));
    CREATE INDEX ON a (n);
    CREATE TABLE c (k int NOT NULL, id int DEFAULT 5, n int, d numeric(12,2), t text, f bool);
    CREATE INDEX ON c (id);
    CREATE TABLE w (t text PRIMARY KEY, n int, b bigint DEFAULT 9, ts timestamptz, j jsonb);
    CREATE TABLE r (id int PRIMARY KEY, n int, t text, f bool DEFAULT true);
    CREATE TABLE l (id int PRIMARY KEY, n int, t text, arr int[]);";

pub const SPREAD: &str = "
    SELECT create_distributed_table('a', 'k', shard_count := 8);
    SELECT create_distributed_table('c', 'k', colocate_with := 'a');
    SELECT create_distributed_table('w', 't', shard_count := 6, colocate_with := 'none');
    SELECT create_reference_table('r');";

/// A quarter of the rows of `a` have the same key; `c` has rows twice.
pub const FILL: &str = "
    INSERT INTO a SELECT CASE WHEN g % 4 = 0 THEN 1 ELSE g % 21 - 1 END, g,
        CASE WHEN g % 7 = 0 THEN NULL ELSE g * 37 % 41 - 18 END,
        CASE WHEN g % 9 = 0 THEN NULL ELSE (g * 7919 % 100 - 50) * bigint '100000000' END,
        CASE WHEN g % 11 = 0 THEN NULL ELSE (g * 31 % 200 - 100) / 4.0 END,
        CASE g % 6 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'Abc' ELSE 'k' || g % 30 END,
        CASE WHEN g % 5 = 0 THEN NULL
            ELSE '2024-01-01 00:00:00+00'::timestamptz + g % 50 * interval '7 hours' END,
        CASE g % 8 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN '[1, 2, null]' WHEN 3 THEN '\"s\"'
            ELSE jsonb_build_object('n', g % 10, 'name', 'k' || g % 12, 'x', NULL) END,
        CASE g % 6 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY[1, NULL, g % 5]
            ELSE ARRAY[g % 7, g % 3] END,
        CASE g % 3 WHEN 0 THEN NULL ELSE g % 3 = 1 END
        FROM generate_series(1, 120) g;
    INSERT INTO c SELECT CASE WHEN g % 5 = 0 THEN 2 ELSE g % 23 END,
        CASE WHEN g % 13 = 0 THEN NULL ELSE g % 60 END,
        CASE WHEN g % 4 = 0 THEN NULL ELSE g * 17 % 37 - 12 END,
        CASE WHEN g % 6 = 0 THEN NULL ELSE (g * 29 % 160 - 80) / 4.0 END,
        CASE g % 5 WHEN 0 THEN NULL WHEN 1 THEN 'x y' ELSE 'k' || g % 25 END, g % 2 = 0
        FROM generate_series(1, 90) g;
    INSERT INTO c SELECT * FROM c WHERE k IN (3, 4);
    INSERT INTO w SELECT 'k' || g, CASE WHEN g % 5 = 0 THEN NULL ELSE g % 13 END,
        CASE WHEN g % 3 = 0 THEN NULL ELSE g * 10 END,
        '2024-01-01 00:00:00+00'::timestamptz + g % 9 * interval '1 day',
        CASE WHEN g % 4 = 0 THEN NULL ELSE jsonb_build_object('n', g % 5) END
        FROM generate_series(1, 30) g;
    INSERT INTO w VALUES ('', NULL, NULL, NULL, NULL), ('ü', -3, 0, NULL, '[]'), ('Abc', 4, 5, NULL, NULL);
    INSERT INTO r SELECT g, CASE WHEN g % 6 = 0 THEN NULL ELSE g % 8 END,
        CASE WHEN g % 7 = 0 THEN NULL ELSE 'k' || g END, g % 2 = 0 FROM generate_series(-2, 16) g;
    INSERT INTO l SELECT g, CASE WHEN g % 4 = 0 THEN NULL ELSE g % 11 - 3 END,
        CASE g % 5 WHEN 0 THEN '' ELSE 'k' || g % 9 END, ARRAY[g % 3, g % 5]
        FROM generate_series(1, 20) g;";
