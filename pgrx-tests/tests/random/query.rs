//! Queries: what they read, and how they are put together.

use crate::gen::{Gen, Leaf, Rel, Scope};
use crate::schema::{Ty, TABLES, VIEWS};

/// A query at the top of a statement.
pub struct Query {
    pub sql: String,
    /// Its ORDER BY is total.
    pub ordered: bool,
}

impl Gen {
    /// A whole statement that reads.
    pub fn statement(&mut self) -> Query {
        let types: Vec<Ty> =
            (0..self.rng.between(1, 4)).map(|_| Ty::random(&mut self.rng)).collect();
        let mut with = Vec::new();
        if self.rng.chance(20) {
            let recursive = self.rng.chance(20);
            for _ in 0..self.rng.between(1, 2) {
                with.push(if recursive { self.recursive_cte() } else { self.cte() });
            }
            let word = if recursive { "WITH RECURSIVE" } else { "WITH" };
            with[0] = format!("{word} {}", with[0]);
        }
        let body = self.unordered(&types, 2);
        let mut sql = if with.is_empty() { body } else { format!("{} {body}", with.join(", ")) };
        let ordered = self.rng.chance(50);
        if ordered {
            sql += &self.total_order(types.len());
            if self.rng.chance(60) {
                sql += &self.limit();
            }
        }
        self.ctes.clear();
        Query { sql, ordered }
    }

    fn cte(&mut self) -> String {
        let types: Vec<Ty> =
            (0..self.rng.between(1, 3)).map(|_| Ty::random(&mut self.rng)).collect();
        let query = self.query(&types, 1);
        let name = self.name("q");
        let how = self.rng.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
        let text = format!("{name}{} AS {how}({query})", columns(&types));
        self.ctes.push(derived(&name, &types));
        text
    }

    fn recursive_cte(&mut self) -> String {
        let name = self.name("q");
        let table = self.rng.pick(&["a", "c"]);
        let last = self.rng.between(3, 25);
        let (first, rest) = self.recursive_parts(&name, table);
        self.ctes.push(derived(&name, &[Ty::Int]));
        format!("{name}(c0) AS ({first} UNION {rest} AND x.c0 < {last})")
    }

    fn recursive_parts(&mut self, name: &str, table: &'static str) -> (String, String) {
        let index = TABLES.iter().position(|t| t.name == table).unwrap_or(0);
        let mut scope = Scope::default();
        scope.add(Rel::of_table(&TABLES[index], "y"));
        let (first, _) = self.within(scope.clone(), |g| {
            format!("SELECT y.k FROM {table} y WHERE {}", g.condition(1))
        });
        let on = self.rng.pick(&["y.k", "y.id", "y.n"]);
        let (rest, _) = self.within(scope, |g| {
            format!(
                "SELECT x.c0 + 1 FROM {name} x JOIN {table} y ON {on} = x.c0 WHERE {}",
                g.comparison()
            )
        });
        (first, rest)
    }

    /// A query of these types, maybe sorted and cut off.
    pub fn query(&mut self, types: &[Ty], depth: usize) -> String {
        let mut sql = self.unordered(types, depth);
        if self.rng.chance(15) {
            sql += &self.total_order(types.len());
            sql += &self.limit();
        }
        sql
    }

    /// A query without ORDER BY.
    fn unordered(&mut self, types: &[Ty], depth: usize) -> String {
        match self.rng.below(20) {
            0..=1 if self.spend() => {
                let op = self.rng.pick(&[
                    "UNION",
                    "UNION ALL",
                    "INTERSECT",
                    "EXCEPT",
                    "INTERSECT ALL",
                    "EXCEPT ALL",
                ]);
                let (one, two) = (self.select(types, depth), self.select(types, depth));
                format!("{one} {op} {two}")
            }
            2 if self.rng.chance(40) => self.constant_rows(types),
            3 if self.rng.chance(30) => self.no_table(types, depth),
            4 if self.rng.chance(40) && self.spend() => {
                let parts: Vec<String> = (0..3).map(|_| self.select(types, depth)).collect();
                parts.join(" UNION ALL ")
            }
            _ => self.select(types, depth),
        }
    }

    fn constant_rows(&mut self, types: &[Ty]) -> String {
        let rows: Vec<String> = (0..self.rng.between(1, 3))
            .map(|_| {
                let row: Vec<String> = types.iter().map(|&t| self.constant(t)).collect();
                format!("({})", row.join(", "))
            })
            .collect();
        format!("VALUES {}", rows.join(", "))
    }

    /// By all columns, so that equal places are equal rows.
    pub fn total_order(&mut self, columns: usize) -> String {
        let mut places: Vec<usize> = (1..=columns).collect();
        self.rng.shuffle(&mut places);
        let terms: Vec<String> = places
            .iter()
            .map(|p| {
                let (way, nulls) = self.direction();
                format!("{p}{way}{nulls}")
            })
            .collect();
        format!(" ORDER BY {}", terms.join(", "))
    }

    fn limit(&mut self) -> String {
        let limit = match self.rng.below(8) {
            0 => String::new(),
            1 => " FETCH FIRST 4 ROWS WITH TIES".to_owned(),
            _ => format!(" LIMIT {}", self.rng.pick(&[0, 1, 2, 3, 5, 10, 40])),
        };
        if self.rng.chance(30) {
            format!(" OFFSET {}{limit}", self.rng.pick(&[0, 1, 2, 7, 30]))
        } else {
            limit
        }
    }

    /// SELECT with these types, named c0, c1, ...
    pub fn select(&mut self, types: &[Ty], depth: usize) -> String {
        let (made, _) = self.within(Scope::default(), |g| {
            let from = g.from(depth);
            let filter = if g.rng.chance(70) {
                format!(" WHERE {}", g.condition(depth + 1))
            } else {
                String::new()
            };
            match g.rng.below(20) {
                0..=5 => g.grouped(types, depth, &from, &filter),
                6 => format!("SELECT {} FROM {from}{filter}", g.aggregates(types, depth)),
                7..=9 => g.windowed(types, depth, &from, &filter),
                10 => g.first_of_groups(types, depth, &from, &filter),
                n => {
                    let distinct = if n < 13 { "DISTINCT " } else { "" };
                    let list: Vec<String> = types.iter().map(|&t| g.output(t, depth)).collect();
                    format!("SELECT {distinct}{} FROM {from}{filter}", named(&list))
                }
            }
        });
        made
    }

    /// An expression for the list of outputs, or a function that gives several rows.
    fn output(&mut self, ty: Ty, depth: usize) -> String {
        match self.rng.below(25) {
            0 if ty == Ty::Int => format!("generate_series(1, {} % 3)", self.leaf(ty)),
            1 if ty == Ty::Int => format!("unnest({})", self.leaf(Ty::Arr)),
            _ => self.expr(ty, depth + 1),
        }
    }

    /// A row that is from no table.
    fn no_table(&mut self, types: &[Ty], depth: usize) -> String {
        let (made, _) = self.within(Scope::default(), |g| {
            let list: Vec<String> = types.iter().map(|&t| g.expr(t, depth)).collect();
            format!("SELECT {} WHERE {}", named(&list), g.condition(depth))
        });
        made
    }

    /// Rows that are locked.
    pub fn locked(&mut self) -> Query {
        let types = [Ty::random(&mut self.rng), Ty::random(&mut self.rng)];
        let (sql, _) = self.within(Scope::default(), |g| {
            let from = g.from(0);
            let list: Vec<String> = types.iter().map(|&t| g.expr(t, 1)).collect();
            let filter = g.condition(1);
            let how = g.rng.pick(&["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"]);
            format!("SELECT {} FROM {from} WHERE {filter} FOR {how}", named(&list))
        });
        Query { sql, ordered: false }
    }

    /// One row of aggregates.
    pub fn total(&mut self, types: &[Ty], depth: usize) -> String {
        let (made, _) = self.within(Scope::default(), |g| {
            let from = g.from(depth);
            let filter = g.condition(depth + 1);
            format!("SELECT {} FROM {from} WHERE {filter}", g.aggregates(types, depth))
        });
        made
    }

    /// The first row of each group, in a total order.
    fn first_of_groups(&mut self, types: &[Ty], depth: usize, from: &str, filter: &str) -> String {
        let list: Vec<String> = types.iter().map(|&t| self.expr(t, depth)).collect();
        let (way, nulls) = self.direction();
        let rest: String = (2..=types.len()).map(|p| format!(", {p}")).collect();
        let name = self.name("s");
        // The key is named by its place, as the list says it.
        let key = format!("ORDER BY 1{way}{nulls}{rest}");
        let inner = format!("SELECT DISTINCT ON (1) {} FROM {from}{filter} {key}", named(&list));
        format!("SELECT * FROM ({}) {name}", inner.replace("DISTINCT ON (1)", "DISTINCT ON (c0)"))
    }

    /// FROM, whose relations come into the innermost scope.
    fn from(&mut self, depth: usize) -> String {
        let mut text = self.first_item(depth);
        // What a sub-query reads may be read for each row of the query around it.
        let most = if self.scopes.len() > 1 { 5 } else { 7 };
        let more = [0, 0, 0, 0, 1, 1, 2][self.rng.below(most)];
        for n in 0..more {
            if n + 1 == more && self.rng.chance(12) {
                text += &self.comma(depth);
                break;
            }
            text += &self.join(depth);
        }
        text
    }

    fn first_item(&mut self, depth: usize) -> String {
        let (text, rel) = self.item(depth);
        self.scope_mut().add(rel);
        text
    }

    /// A table, a query of WITH, or a sub-query; not yet in scope.
    fn item(&mut self, depth: usize) -> (String, Rel) {
        if !self.ctes.is_empty() && self.rng.chance(35) {
            let cte = self.ctes[self.rng.below(self.ctes.len())].clone();
            let alias = self.name("x");
            let text = format!("{} {alias}", cte.alias);
            return (text, Rel { alias, ..cte });
        }
        if depth > 0 && self.rng.chance(18) && self.spend() {
            let types: Vec<Ty> =
                (0..self.rng.between(1, 3)).map(|_| Ty::random(&mut self.rng)).collect();
            // What stands beside it cannot be seen.
            let hidden = self.scopes.pop().expect("a scope");
            let query = self.query(&types, depth - 1);
            self.scopes.push(hidden);
            let alias = self.name("s");
            return (format!("({query}) {alias}{}", columns(&types)), derived(&alias, &types));
        }
        if self.rng.chance(4) {
            let types = [Ty::Int, Ty::Text];
            let values = self.constant_rows(&types);
            let alias = self.name("v");
            return (format!("({values}) {alias}(c0, c1)"), derived(&alias, &types));
        }
        self.table()
    }

    pub fn table(&mut self) -> (String, Rel) {
        loop {
            if self.rng.chance(10) {
                let view = &VIEWS[self.rng.below(VIEWS.len())];
                if !view.reads.iter().any(|t| self.banned == Some(t)) {
                    let alias = self.name("u");
                    let text = format!("{} {alias}", view.table.name);
                    return (text, Rel::of_table(&view.table, &alias));
                }
            }
            let table = &TABLES[self.rng.pick(&[0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4])];
            if self.banned != Some(table.name) {
                let alias = self.name(table.name);
                return (format!("{} {alias}", table.name), Rel::of_table(table, &alias));
            }
        }
    }

    fn comma(&mut self, depth: usize) -> String {
        if self.rng.chance(50) {
            return match self.lateral(depth) {
                (text, _, true) => format!(", {text}"),
                (text, _, false) => format!(", LATERAL {text}"),
            };
        }
        // Without a condition: small tables only.
        let alias = self.name("r");
        self.scope_mut().add(Rel::of_table(&TABLES[3], &alias));
        format!(", r {alias}")
    }

    /// Something that sees what stands before it. True for a function, which needs no word for that.
    fn lateral(&mut self, depth: usize) -> (String, Rel, bool) {
        let alias = self.name("f");
        let (text, rel, function) = if self.rng.chance(50) || depth == 0 || !self.spend() {
            if self.rng.chance(20) && self.banned != Some("a") {
                let (k, n) = (self.leaf(Ty::Int), self.leaf(Ty::Int));
                let rel = derived(&alias, &[Ty::Int, Ty::Text]);
                let text = format!("near({k}, {n}) {alias}(c0, c1)");
                self.scope_mut().add(rel.clone());
                return (text, rel, true);
            }
            let call = match self.rng.below(3) {
                0 => format!("unnest({})", self.leaf(Ty::Arr)),
                1 => format!("generate_series(1, {} % 4)", self.leaf(Ty::Int)),
                _ => format!("generate_subscripts({}, 1)", self.leaf(Ty::Arr)),
            };
            if self.rng.chance(40) {
                let rel = derived(&alias, &[Ty::Int, Ty::Big]);
                (format!("{call} WITH ORDINALITY {alias}(c0, c1)"), rel, true)
            } else {
                (format!("{call} {alias}(c0)"), derived(&alias, &[Ty::Int]), true)
            }
        } else {
            let types = [Ty::random(&mut self.rng), Ty::random(&mut self.rng)];
            let query = self.query(&types, depth - 1);
            (format!("({query}) {alias}(c0, c1)"), derived(&alias, &types), false)
        };
        // The row of a function with one column is that column.
        let seen = if function {
            Scope { leaves: rel.leaves(), rels: Vec::new() }
        } else {
            let mut scope = Scope::default();
            scope.add(rel.clone());
            scope
        };
        self.scope_mut().leaves.extend(seen.leaves);
        self.scope_mut().rels.extend(seen.rels);
        (text, rel, function)
    }

    fn join(&mut self, depth: usize) -> String {
        if self.rng.chance(12) {
            let (text, _, function) = self.lateral(depth);
            let word = if function { "" } else { "LATERAL " };
            return match self.rng.below(2) {
                0 => format!(" CROSS JOIN {word}{text}"),
                _ => format!(" LEFT JOIN {word}{text} ON true"),
            };
        }
        let (text, right) = if self.rng.chance(12) {
            self.nested()
        } else {
            let (text, rel) = self.item(depth);
            let mut scope = Scope::default();
            scope.add(rel);
            (text, scope)
        };
        let kind = self.rng.pick(&[
            "JOIN",
            "JOIN",
            "JOIN",
            "LEFT JOIN",
            "LEFT JOIN",
            "RIGHT JOIN",
            "FULL JOIN",
        ]);
        let equal = self.equality(&right.leaves);
        let left = self.scope().leaves.clone();
        self.scope_mut().leaves.extend(right.leaves.clone());
        self.scope_mut().rels.extend(right.rels);
        let names = |all: &[Leaf]| all.iter().filter(|l| l.sql.ends_with(".k")).count();
        if names(&left) == 1 && names(&right.leaves) == 1 && self.rng.chance(15) {
            return format!(" {kind} {text} USING (k)");
        }
        // A full join takes only conditions that can be hashed.
        if kind == "FULL JOIN" || self.rng.chance(60) {
            return format!(" {kind} {text} ON {equal}");
        }
        format!(" {kind} {text} ON {equal} AND {}", self.condition(depth.min(1)))
    }

    /// Two tables, joined in parentheses.
    fn nested(&mut self) -> (String, Scope) {
        let hidden = self.scopes.pop().expect("a scope");
        let ((one, left), (two, right)) = (self.table(), self.table());
        let mut scope = Scope::default();
        scope.add(left);
        let (text, mut scope) = self.within(scope, |g| {
            let kind = g.rng.pick(&["JOIN", "LEFT JOIN"]);
            format!("({one} {kind} {two} ON {})", g.equality(&right.leaves()))
        });
        self.scopes.push(hidden);
        scope.add(right);
        (text, scope)
    }

    /// An equality between what is in scope and a relation to come.
    fn equality(&mut self, right: &[Leaf]) -> String {
        let left = self.scope().leaves.clone();
        let mut keys = Vec::new();
        let mut others = Vec::new();
        for l in &left {
            for r in right {
                let selective = !matches!(l.ty, Ty::Bool | Ty::Arr | Ty::Json);
                if l.ty == r.ty && selective {
                    let both = l.sql.ends_with(".k") && r.sql.ends_with(".k");
                    (if both { &mut keys } else { &mut others }).push((l, r));
                }
            }
        }
        let pairs = if !keys.is_empty() && (others.is_empty() || self.rng.chance(55)) {
            &keys
        } else {
            &others
        };
        match pairs.len() {
            0 => format!("{}::text = {}::text", left[0].sql, right[0].sql),
            n => {
                let (l, r) = pairs[self.rng.below(n)];
                format!("{} = {}", l.sql, r.sql)
            }
        }
    }
}

/// A relation with the columns c0, c1, ...
pub fn derived(alias: &str, types: &[Ty]) -> Rel {
    let cols = types.iter().enumerate().map(|(n, &ty)| (format!("c{n}"), ty)).collect();
    Rel { alias: alias.to_owned(), table: None, cols }
}

fn columns(types: &[Ty]) -> String {
    let names: Vec<String> = (0..types.len()).map(|n| format!("c{n}")).collect();
    format!("({})", names.join(", "))
}

/// `x AS c0, y AS c1`.
pub fn named(list: &[String]) -> String {
    let items: Vec<String> = list.iter().enumerate().map(|(n, x)| format!("{x} AS c{n}")).collect();
    items.join(", ")
}
