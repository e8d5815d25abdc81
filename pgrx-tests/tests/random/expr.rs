//! Expressions of each type. None of them fails for some rows only: which rows a condition sees first
//! is up to the plan, and so would be the error.

use crate::gen::Gen;
use crate::schema::Ty;

impl Gen {
    /// An expression of this type.
    pub fn expr(&mut self, ty: Ty, depth: usize) -> String {
        if depth == 0 || self.rng.chance(35) {
            return self.leaf(ty);
        }
        let d = depth - 1;
        match self.rng.below(12) {
            0 => format!("COALESCE({}, {})", self.expr(ty, d), self.expr(ty, d)),
            1 => format!("NULLIF({}, {})", self.expr(ty, d), self.leaf(ty)),
            2 => format!(
                "CASE WHEN {} THEN {} WHEN {} THEN {} ELSE {} END",
                self.condition(d),
                self.expr(ty, d),
                self.condition(d),
                self.leaf(ty),
                self.expr(ty, d)
            ),
            3 => format!(
                "CASE {} WHEN {} THEN {} ELSE {} END",
                self.leaf(Ty::Int),
                self.constant(Ty::Int),
                self.expr(ty, d),
                self.leaf(ty)
            ),
            4 if ty != Ty::Bool && self.fuel > 0 => self.scalar_query(ty, d),
            5 => {
                let function = self.rng.pick(&["GREATEST", "LEAST"]);
                if ty == Ty::Json {
                    return self.leaf(ty);
                }
                format!("{function}({}, {})", self.expr(ty, d), self.expr(ty, d))
            }
            _ => match ty {
                Ty::Int => self.int(d),
                Ty::Big => self.big(d),
                Ty::Num => self.num(d),
                Ty::Text => self.text(d),
                Ty::Ts => self.time(d),
                Ty::Json => self.json(d),
                Ty::Arr => self.array(d),
                Ty::Bool => format!("({})", self.condition(d)),
            },
        }
    }

    fn int(&mut self, d: usize) -> String {
        let x = self.expr(Ty::Int, d);
        match self.rng.below(16) {
            13 => format!("({x} |+| {})", self.leaf(Ty::Int)),
            14 => format!("abs({x} % 1000)::natural_number"),
            0..=2 => format!("({x} + {})", self.expr(Ty::Int, d)),
            3 => format!("({x} - {})", self.expr(Ty::Int, d)),
            4 => format!("({x} % 1000 * ({} % 100))", self.leaf(Ty::Int)),
            5 => format!("({x} / NULLIF({}, 0))", self.leaf(Ty::Int)),
            6 => format!("({x} % NULLIF({}, 0))", self.leaf(Ty::Int)),
            7 => format!("abs({x})"),
            8 => format!("length({})", self.expr(Ty::Text, d)),
            9 => format!("cardinality({})", self.expr(Ty::Arr, d)),
            10 => format!("({})[{}]", self.expr(Ty::Arr, d), self.rng.between(1, 2)),
            11 => format!("extract(day FROM {})::int", self.expr(Ty::Ts, d)),
            12 => format!("({})::int", self.condition(d)),
            _ => format!("(- {x})"),
        }
    }

    fn big(&mut self, d: usize) -> String {
        match self.rng.below(6) {
            0 => format!("({} + {})", self.expr(Ty::Big, d), self.expr(Ty::Big, d)),
            1 => format!("({} - {})", self.expr(Ty::Big, d), self.expr(Ty::Int, d)),
            2 => format!("({} % 1000000 * 3)", self.expr(Ty::Big, d)),
            3 => format!("abs({})", self.expr(Ty::Big, d)),
            4 if self.banned != Some("c") && self.rng.chance(30) => {
                format!("counted({})", self.expr(Ty::Int, d))
            }
            _ => format!("({})::bigint", self.expr(Ty::Int, d)),
        }
    }

    fn num(&mut self, d: usize) -> String {
        match self.rng.below(7) {
            0 => format!("({} + {})", self.expr(Ty::Num, d), self.expr(Ty::Num, d)),
            1 => format!("round({} * {}, 2)", self.expr(Ty::Num, d), self.leaf(Ty::Num)),
            2 => format!("round({} / NULLIF({}, 0), 2)", self.expr(Ty::Num, d), self.leaf(Ty::Num)),
            3 => format!("round({} * {}, 2)", self.expr(Ty::Num, d), self.expr(Ty::Int, d)),
            4 => format!("(- {})", self.expr(Ty::Num, d)),
            5 => format!("round({}::numeric, 2)", self.expr(Ty::Big, d)),
            _ => format!("round({}::numeric, 2)", self.expr(Ty::Int, d)),
        }
    }

    fn text(&mut self, d: usize) -> String {
        let x = self.expr(Ty::Text, d);
        match self.rng.below(14) {
            11 => self.odd_text(x),
            12 => format!("CASE WHEN {} THEN 'sad'::mood ELSE 'ok' END::text", self.condition(d)),
            0..=1 => format!("({x} || {})", self.expr(Ty::Text, d)),
            2 => {
                let function = self.rng.pick(&["upper", "lower", "md5", "reverse", "initcap"]);
                format!("{function}({x})")
            }
            3 if self.rng.chance(40) => format!("label({})", self.expr(Ty::Int, d)),
            3 => format!("left({x}, {})", self.rng.between(0, 4)),
            4 => format!("substr({x}, {})", self.rng.between(1, 3)),
            5 => format!("replace({x}, 'k', {})", self.filled(Ty::Text)),
            6 => {
                let ty = Ty::random(&mut self.rng);
                format!("({})::text", self.expr(ty, d))
            }
            7 => {
                let ty = Ty::random(&mut self.rng);
                format!("concat({x}, '-', {})", self.expr(ty, d))
            }
            8 => format!("({} ->> 'name')", self.expr(Ty::Json, d)),
            9 => format!("to_char({}, 'YYYY-MM-DD')", self.expr(Ty::Ts, d)),
            10 => format!("array_to_string({}, ',', '*')", self.expr(Ty::Arr, d)),
            _ => match self.whole_row() {
                Some(row) => format!("{row}::text"),
                None => format!("jsonb_typeof({})", self.expr(Ty::Json, d)),
            },
        }
    }

    /// By way of types and collations that no table has columns of.
    fn odd_text(&mut self, x: String) -> String {
        match self.rng.below(5) {
            0 => format!("(ROW({}, {x})::pair).b", self.leaf(Ty::Int)),
            1 => format!("({x})::plain"),
            2 => format!("({x} COLLATE bytes)"),
            3 => format!("('{{sad,ok,glad}}'::mood[])[1 + abs({} % 3)]::text", self.leaf(Ty::Int)),
            _ => format!("ROW({}, {x})::pair::text", self.leaf(Ty::Int)),
        }
    }

    fn time(&mut self, d: usize) -> String {
        let x = self.expr(Ty::Ts, d);
        match self.rng.below(4) {
            2 => format!("('2024-01-0' || 1 + abs({} % 9))::timestamptz", self.leaf(Ty::Int)),
            0 => format!("({x} + {} % 1000 * interval '1 hour')", self.expr(Ty::Int, d)),
            1 => format!("date_trunc('{}', {x})", self.rng.pick(&["day", "week", "month"])),
            _ => format!("({x} - interval '90 minutes')"),
        }
    }

    fn json(&mut self, d: usize) -> String {
        match self.rng.below(5) {
            0 => {
                let ty = Ty::random(&mut self.rng);
                format!("to_jsonb({})", self.expr(ty, d))
            }
            1 => {
                let ty = Ty::random(&mut self.rng);
                let (x, y) = (self.expr(Ty::Int, d), self.expr(ty, d));
                format!("jsonb_build_object('n', {x}, 'v', {y})")
            }
            2 => format!("({} -> 'n')", self.expr(Ty::Json, d)),
            3 => match self.whole_row() {
                Some(row) => format!("to_jsonb({row})"),
                None => self.leaf(Ty::Json),
            },
            _ => format!("jsonb_build_array({}, {})", self.leaf(Ty::Int), self.leaf(Ty::Text)),
        }
    }

    fn array(&mut self, d: usize) -> String {
        match self.rng.below(5) {
            0 => format!("({} || {})", self.expr(Ty::Arr, d), self.expr(Ty::Arr, d)),
            1 => format!("array_append({}, {})", self.expr(Ty::Arr, d), self.expr(Ty::Int, d)),
            2 => format!("ARRAY[{}, {}]", self.expr(Ty::Int, d), self.expr(Ty::Int, d)),
            3 => format!("({})[1:{}]", self.expr(Ty::Arr, d), self.rng.between(1, 2)),
            _ if self.spend() => {
                let query = self.select(&[Ty::Int], d.min(1));
                format!("ARRAY({query} ORDER BY 1)")
            }
            _ => format!("array_remove({}, {})", self.expr(Ty::Arr, d), self.leaf(Ty::Int)),
        }
    }

    /// The alias of a relation in scope.
    fn whole_row(&mut self) -> Option<String> {
        let rels = &self.scopes.last()?.rels;
        if rels.is_empty() {
            return None;
        }
        let n = self.rng.below(rels.len());
        Some(self.scopes.last()?.rels[n].alias.clone())
    }

    /// A condition.
    pub fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.rng.chance(35) {
            return self.comparison();
        }
        let d = depth - 1;
        match self.rng.below(16) {
            0..=2 => format!("({} AND {})", self.condition(d), self.condition(d)),
            3..=5 => format!("({} OR {})", self.condition(d), self.condition(d)),
            6 => format!("(NOT {})", self.condition(d)),
            7 => {
                let test = self.rng.pick(&["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN"]);
                format!("(({}) IS {test})", self.condition(d))
            }
            8..=9 => {
                let ty = Ty::random(&mut self.rng);
                let op = self.rng.pick(&["=", "<>", "<", ">=", "IS DISTINCT FROM"]);
                format!("({} {op} {})", self.expr(ty, d), self.expr(ty, d))
            }
            10 => {
                let ty = Ty::random(&mut self.rng);
                let test = self.rng.pick(&["IS NULL", "IS NOT NULL"]);
                format!("({} {test})", self.expr(ty, d))
            }
            11 => self.row_condition(d),
            _ if self.fuel > 0 => self.query_condition(d),
            _ => self.comparison(),
        }
    }

    /// A short condition about one column.
    pub fn comparison(&mut self) -> String {
        let ty = Ty::random(&mut self.rng);
        let Some(column) = self.column(ty).map(|l| l.sql) else {
            return match self.any_column() {
                Some(leaf) => format!("{} IS NOT NULL", leaf.sql),
                None => format!("{} < {}", self.leaf(Ty::Int), self.constant(Ty::Int)),
            };
        };
        let op = self.rng.pick(&["=", "=", "<", ">", "<=", ">=", "<>", "IS DISTINCT FROM"]);
        match self.rng.below(10) {
            0 => format!("{column} IS NULL"),
            1 => format!("{column} IN ({}, {}, {})", self.bare(ty), self.bare(ty), self.bare(ty)),
            2 => format!("{column} BETWEEN {} AND {}", self.bare(ty), self.bare(ty)),
            3 => format!("{column} NOT IN ({}, {})", self.bare(ty), self.bare(ty)),
            4..=5 => match ty {
                Ty::Text => {
                    let pattern = self.rng.pick(&["'k1%'", "'%1'", "'_b%'", "'%'", "'k_'", "''"]);
                    let like = self.rng.pick(&["LIKE", "NOT LIKE", "ILIKE"]);
                    match self.rng.chance(20) {
                        true => format!("{column} {op} {} COLLATE ci", self.leaf(ty)),
                        false => format!("{column} {like} {pattern}"),
                    }
                }
                Ty::Bool => column,
                Ty::Arr => {
                    let op = self.rng.pick(&["@>", "<@", "&&"]);
                    format!("{column} {op} {}", self.constant(ty))
                }
                Ty::Json => format!("{column} @> {}", self.constant(ty)),
                Ty::Int => format!("{column} = ANY ({})", self.constant(Ty::Arr)),
                _ => format!("{column} {op} {}", self.leaf(ty)),
            },
            6 => format!("{column} {op} {}", self.leaf(ty)),
            _ => format!("{column} {op} {}", self.bare(ty)),
        }
    }

    /// Rows that are compared or tested.
    fn row_condition(&mut self, d: usize) -> String {
        let op = self.rng.pick(&["=", "<>", "<", ">="]);
        let rels = self.scopes.last().map(|s| s.rels.clone()).unwrap_or_default();
        if !rels.is_empty() && self.rng.chance(50) {
            let one = &rels[self.rng.below(rels.len())];
            let same = |r: &&crate::gen::Rel| r.table.is_some() && r.table == one.table;
            let others: Vec<_> = rels.iter().filter(same).collect();
            let alias = &one.alias;
            return match self.rng.below(4) {
                0 => format!("({alias} IS NULL)"),
                1 => format!("({alias} IS NOT NULL)"),
                2 if !others.is_empty() => {
                    format!("({alias} {op} {})", others[self.rng.below(others.len())].alias)
                }
                _ => format!("({alias}.* IS NOT DISTINCT FROM {alias})"),
            };
        }
        let (one, two) = (Ty::random(&mut self.rng), Ty::random(&mut self.rng));
        format!(
            "(({}, {}) {op} ({}, {}))",
            self.expr(one, d),
            self.expr(two, d),
            self.expr(one, d),
            self.leaf(two)
        )
    }

    /// A condition with a sub-query.
    fn query_condition(&mut self, d: usize) -> String {
        self.fuel -= 1;
        let d = d.min(1);
        let ty = Ty::random(&mut self.rng);
        match self.rng.below(6) {
            0..=1 => {
                let not = self.rng.pick(&["", "NOT "]);
                format!("{not}EXISTS ({})", self.query(&[ty], d))
            }
            2..=3 => {
                let op = self.rng.pick(&["IN", "IN", "NOT IN"]);
                format!("{} {op} ({})", self.expr(ty, d), self.query(&[ty], d))
            }
            4 => {
                let op = self.rng.pick(&["= ANY", "<> ALL", "< ANY", ">= ALL", "> SOME"]);
                format!("{} {op} ({})", self.expr(ty, d), self.query(&[ty], d))
            }
            _ => {
                let other = Ty::random(&mut self.rng);
                let row = format!("({}, {})", self.expr(ty, d), self.expr(other, d));
                let op = self.rng.pick(&["IN", "NOT IN"]);
                format!("{row} {op} ({})", self.query(&[ty, other], d))
            }
        }
    }

    /// A sub-query of one value.
    fn scalar_query(&mut self, ty: Ty, d: usize) -> String {
        self.fuel -= 1;
        let d = d.min(1);
        if self.rng.chance(60) {
            return format!("({})", self.total(&[ty], d));
        }
        let query = self.select(&[ty], d);
        let (way, nulls) = self.direction();
        format!("({query} ORDER BY 1{way}{nulls} LIMIT 1)")
    }

    /// A direction of sorting.
    pub fn direction(&mut self) -> (&'static str, &'static str) {
        (self.rng.pick(&["", "", " DESC"]), self.rng.pick(&["", "", " NULLS FIRST", " NULLS LAST"]))
    }
}
