//! Groups, aggregates and windows. An aggregate whose result depends on the order of its rows has an
//! ORDER BY by its own argument, and so has a window, by all columns.

use crate::gen::{Gen, Leaf, Scope};
use crate::query::named;
use crate::schema::Ty;

impl Gen {
    /// A list of aggregates, for one row.
    pub fn aggregates(&mut self, types: &[Ty], depth: usize) -> String {
        let list: Vec<String> = types.iter().map(|&t| self.aggregate(t, depth)).collect();
        named(&list)
    }

    /// An aggregate that gives this type.
    pub fn aggregate(&mut self, ty: Ty, depth: usize) -> String {
        let call = self.aggregate_call(ty, depth.min(1));
        match ty {
            Ty::Int => format!("({call} % 1000)::int"),
            Ty::Num => format!("round({call}, 2)"),
            _ => call,
        }
    }

    /// The argument of an aggregate: of this level, or the aggregate would be of another one.
    fn argument(&mut self, ty: Ty, depth: usize) -> String {
        let outside = std::mem::replace(&mut self.local_only, true);
        let fuel = std::mem::take(&mut self.fuel);
        let text = self.expr(ty, depth);
        self.fuel = fuel;
        let has_column = self.scope().leaves.iter().any(|l| text.contains(&l.sql));
        let column = self.column(ty).map(|l| l.sql);
        let text = match column {
            _ if has_column => text,
            Some(column) => column,
            None => {
                let any = self.any_column().map_or("1".to_owned(), |l| l.sql);
                format!("CASE WHEN {any} IS NULL THEN {text} ELSE {text} END")
            }
        };
        self.local_only = outside;
        text
    }

    fn filter(&mut self) -> String {
        if !self.rng.chance(15) {
            return String::new();
        }
        let outside = std::mem::replace(&mut self.local_only, true);
        let text = format!(" FILTER (WHERE {})", self.comparison());
        self.local_only = outside;
        text
    }

    fn aggregate_call(&mut self, ty: Ty, d: usize) -> String {
        let extreme = self.rng.pick(&["min", "max"]);
        let distinct = self.rng.pick(&["", "", "DISTINCT "]);
        let n = self.rng.below(6);
        let call = match (ty, n) {
            (Ty::Int | Ty::Big, 0..=1) => "count(*)".to_owned(),
            (Ty::Int | Ty::Big, 2) => {
                let any = Ty::random(&mut self.rng);
                format!("count({distinct}{})", self.argument(any, d))
            }
            (Ty::Int | Ty::Big, 3) => format!("sum({distinct}{})", self.argument(Ty::Int, d)),
            (Ty::Int, 4) => format!("bit_xor({})", self.argument(Ty::Int, d)),
            (Ty::Num, 0) => format!("avg({distinct}{})", self.argument(Ty::Int, d)),
            (Ty::Num, 1) => format!("avg({distinct}{})", self.argument(Ty::Num, d)),
            (Ty::Num, 2) => format!("sum({})", self.argument(Ty::Big, d)),
            (Ty::Num, 3) => {
                let function = self.rng.pick(&["variance", "stddev_pop", "var_pop", "stddev"]);
                format!("{function}({})", self.argument(Ty::Int, d))
            }
            (Ty::Num, 4) => format!("sum({distinct}{})", self.argument(Ty::Num, d)),
            (Ty::Text, 0..=2) => {
                let x = self.argument(Ty::Text, d);
                let (way, nulls) = self.direction();
                format!("string_agg({distinct}{x}, ',' ORDER BY {x}{way}{nulls})")
            }
            (Ty::Json, _) => {
                let any = Ty::random(&mut self.rng);
                let (x, way) = (self.argument(any, d), self.direction().0);
                format!("jsonb_agg({distinct}{x} ORDER BY {x}{way})")
            }
            (Ty::Arr, _) => {
                let (x, way) = (self.argument(Ty::Int, d), self.direction().0);
                format!("array_agg({distinct}{x} ORDER BY {x}{way})")
            }
            (Ty::Bool, _) => {
                let function = self.rng.pick(&["bool_and", "bool_or", "every"]);
                format!("{function}({})", self.argument(Ty::Bool, d))
            }
            (_, 5) => {
                let x = self.argument(ty, d);
                format!("percentile_disc(0.5) WITHIN GROUP (ORDER BY {x})")
            }
            _ => format!("{extreme}({})", self.argument(ty, d)),
        };
        call + &self.filter()
    }

    /// SELECT ... GROUP BY.
    pub fn grouped(&mut self, types: &[Ty], depth: usize, from: &str, filter: &str) -> String {
        let mut keys: Vec<Leaf> = Vec::new();
        for &ty in types {
            if self.rng.chance(45) {
                keys.push(self.key(ty, depth));
            }
        }
        if keys.is_empty() || self.rng.chance(30) {
            let columns: Vec<Leaf> = self.scope().leaves.clone();
            let distributed = columns.iter().find(|l| l.sql.ends_with(".k"));
            match distributed {
                Some(k) if self.rng.chance(60) => keys.push(k.clone()),
                _ => keys.push(self.any_column().expect("a relation has columns")),
            }
        }
        let plain = keys.iter().all(|k| k.deep);
        let sets = plain && self.rng.chance(20);
        let group = self.group_clause(&keys, sets);
        let mut leaves = keys.clone();
        for _ in 0..2 {
            let ty = Ty::random(&mut self.rng);
            let sql = self.aggregate(ty, depth);
            leaves.push(Leaf { sql, ty, deep: false });
        }
        if sets {
            leaves.push(Leaf {
                sql: format!("grouping({})", keys[0].sql),
                ty: Ty::Int,
                deep: false,
            });
        }
        for &ty in types {
            if !leaves.iter().any(|l| l.ty == ty) {
                let sql = self.aggregate(ty, depth);
                leaves.push(Leaf { sql, ty, deep: false });
            }
        }
        let (made, _) = self.within_groups(leaves, |g| {
            let list: Vec<String> = types.iter().map(|&t| g.over_groups(t)).collect();
            let having = match g.rng.chance(30) {
                true => format!(" HAVING {}", g.condition(1)),
                false => String::new(),
            };
            format!("SELECT {} FROM {from}{filter} GROUP BY {group}{having}", named(&list))
        });
        made
    }

    /// Expressions see groups in the place of rows.
    fn within_groups<T>(
        &mut self,
        leaves: Vec<Leaf>,
        what: impl FnOnce(&mut Gen) -> T,
    ) -> (T, Scope) {
        let rows = self.scopes.pop().expect("a scope");
        let made = self.within(Scope { leaves, rels: Vec::new() }, what);
        self.scopes.push(rows);
        made
    }

    /// A key of groups: a column, or an expression with one.
    fn key(&mut self, ty: Ty, depth: usize) -> Leaf {
        let outside = std::mem::replace(&mut self.local_only, true);
        let column = self.column(ty);
        self.local_only = outside;
        match column {
            Some(leaf) if self.rng.chance(75) => leaf,
            _ => Leaf { sql: format!("({})", self.argument(ty, depth.min(1))), ty, deep: false },
        }
    }

    fn group_clause(&mut self, keys: &[Leaf], sets: bool) -> String {
        let all: Vec<&str> = keys.iter().map(|k| k.sql.as_str()).collect();
        let all = all.join(", ");
        if !sets {
            return all;
        }
        match self.rng.below(4) {
            0 => format!("ROLLUP ({all})"),
            1 => format!("CUBE ({all})"),
            2 => format!("GROUPING SETS (({all}), ({}))", keys[0].sql),
            _ => format!("GROUPING SETS (({all}), ())"),
        }
    }

    /// An expression over groups, or a window over them.
    fn over_groups(&mut self, ty: Ty) -> String {
        if ty == Ty::Big && self.rng.chance(25) {
            let by = self.any_column().map(|l| l.sql).unwrap_or_default();
            return match self.rng.below(3) {
                0 => format!("rank() OVER (ORDER BY {by})"),
                1 => "sum(count(*)) OVER ()::bigint".to_owned(),
                _ => format!("dense_rank() OVER (ORDER BY {by} DESC NULLS LAST)"),
            };
        }
        self.expr(ty, 1)
    }

    /// SELECT with window functions. One of them at most numbers rows: two could tell equal rows apart
    /// in different ways.
    pub fn windowed(&mut self, types: &[Ty], depth: usize, from: &str, filter: &str) -> String {
        let (mut list, mut numbered) = (Vec::new(), false);
        for &ty in types {
            let (window, numbers) = self.window(ty);
            if self.rng.chance(65) && !(numbers && numbered) {
                numbered |= numbers;
                list.push(window);
            } else {
                list.push(self.expr(ty, depth));
            }
        }
        format!("SELECT {} FROM {from}{filter}", named(&list))
    }

    /// A window function, and whether it needs a total order.
    fn window(&mut self, ty: Ty) -> (String, bool) {
        let part = match self.rng.below(3) {
            0 => String::new(),
            _ => format!("PARTITION BY {}", self.any_column().map(|l| l.sql).unwrap_or_default()),
        };
        let by = self.any_column().map(|l| l.sql).unwrap_or_default();
        let peers = format!("OVER ({part} ORDER BY {by}{})", self.direction().0);
        let all: Vec<String> = self.scope().leaves.iter().map(|l| l.sql.clone()).collect();
        let frame = self.rng.pick(&[
            "",
            "",
            " ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
            " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW",
            " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        ]);
        let total = format!("OVER ({part} ORDER BY {by}, {}{frame})", all.join(", "));
        let x = self.leaf(ty);
        let text = match (ty, self.rng.below(5)) {
            (Ty::Big, 0) => format!("count(*) {peers}"),
            (Ty::Big, 1) => format!("rank() {peers}"),
            (Ty::Big, 2) => format!("row_number() {total}"),
            (Ty::Big, 3) => format!("sum({}) {peers}", self.leaf(Ty::Int)),
            (Ty::Int, 0) => format!("ntile(3) {total}"),
            (Ty::Num, 0) => format!("sum({x}) {total}"),
            (Ty::Num, 1) => format!("round(avg({x}) {peers}, 2)"),
            (Ty::Num, 2) => format!("round(percent_rank() {peers}::numeric, 2)"),
            (Ty::Bool, 0) => format!("bool_or({x}) {peers}"),
            (Ty::Int | Ty::Text | Ty::Ts, 1) => format!("max({x}) {peers}"),
            (_, 2) => format!("lead({x}, 2) {total}"),
            (_, 3) => format!("first_value({x}) {total}"),
            _ => format!("lag({x}) {total}"),
        };
        let numbers = text.ends_with(&total);
        (text, numbers)
    }
}
