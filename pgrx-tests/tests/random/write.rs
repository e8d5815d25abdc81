//! Statements that write. Where several rows could decide about a new value, the source is grouped, so
//! that one does.

use crate::gen::{Gen, Rel, Scope};
use crate::schema::{Table, Ty, TABLES};

impl Gen {
    /// A statement that writes, and its table.
    pub fn write(&mut self) -> (String, &'static str) {
        let table = &TABLES[self.rng.pick(&[0, 0, 0, 1, 1, 2, 2, 3, 4])];
        self.fuel = 3;
        let sql = match self.rng.below(20) {
            0..=3 => self.insert_values(table),
            4..=7 => self.insert_select(table),
            8..=12 => self.update(table),
            13..=15 => self.delete(table),
            16..=17 => self.merge(table),
            _ => self.within_with(table),
        };
        (self.maybe_by_view(sql, table.name), table.name)
    }

    /// The statement, or the same to a view of the table.
    fn maybe_by_view(&mut self, sql: String, table: &str) -> String {
        let known = ["a", "c", "r"].contains(&table);
        // What is refused there is documented.
        if !known || sql.contains(" ON CONFLICT ") || !self.rng.chance(12) {
            return sql;
        }
        [("INSERT INTO ", " AS x"), ("UPDATE ", " x"), ("DELETE FROM ", " x")]
            .iter()
            .map(|(head, tail)| {
                (format!("{head}{table}{tail}"), format!("{head}some_{table}{tail}"))
            })
            .fold(sql, |sql, (from, to)| sql.replacen(&from, &to, 1))
    }

    /// A value that fits into a column for good.
    fn fitting(&mut self, ty: Ty, depth: usize) -> String {
        let x = self.expr(ty, depth);
        match ty {
            Ty::Int | Ty::Big => format!("({x} % 1000)"),
            Ty::Num => format!("({x} % 1000)"),
            Ty::Text => format!("left({x}, 20)"),
            _ => x,
        }
    }

    fn plain_columns(&mut self, table: &Table, most: usize) -> Vec<(&'static str, Ty)> {
        let mut cols: Vec<_> =
            table.cols.iter().filter(|c| !table.filled.contains(&c.0)).copied().collect();
        self.rng.shuffle(&mut cols);
        let count = 1 + self.rng.below(most.min(cols.len()));
        cols.truncate(count);
        cols
    }

    fn filled_columns(table: &Table) -> Vec<(&'static str, Ty)> {
        table.cols.iter().filter(|c| table.filled.contains(&c.0)).copied().collect()
    }

    fn insert_values(&mut self, table: &'static Table) -> String {
        let mut cols = Self::filled_columns(table);
        cols.extend(self.plain_columns(table, 4));
        self.rng.shuffle(&mut cols);
        let rows: Vec<String> = (0..self.rng.pick(&[1, 1, 1, 2, 3, 5]))
            .map(|_| {
                let row: Vec<String> = cols
                    .iter()
                    .map(|&(name, ty)| match table.filled.contains(&name) {
                        true if self.rng.chance(97) => self.filled(ty),
                        false if self.rng.chance(8) => "DEFAULT".to_owned(),
                        false if self.rng.chance(20) => {
                            self.within(Scope::default(), |g| g.fitting(ty, 1)).0
                        }
                        _ => self.constant(ty),
                    })
                    .collect();
                format!("({})", row.join(", "))
            })
            .collect();
        let names: Vec<&str> = cols.iter().map(|c| c.0).collect();
        let end = self.conflict(table) + &self.returning(table, "x");
        format!(
            "INSERT INTO {} AS x ({}) VALUES {}{end}",
            table.name,
            names.join(", "),
            rows.join(", ")
        )
    }

    /// Rows of a query; of those with a key, one for each.
    fn insert_select(&mut self, table: &'static Table) -> String {
        let filled = Self::filled_columns(table);
        let others = self.plain_columns(table, 3);
        let names: Vec<&str> = filled.iter().chain(&others).map(|c| c.0).collect();
        let end = self.conflict(table) + &self.returning(table, "x");
        let head = format!("INSERT INTO {} AS x ({}) ", table.name, names.join(", "));
        if self.rng.chance(40) {
            // From itself, next to the rows that are there.
            let mut scope = Scope::default();
            scope.add(Rel::of_table(table, "y"));
            let (query, _) = self.within(scope, |g| {
                let mut list: Vec<String> = filled.iter().map(|c| format!("y.{}", c.0)).collect();
                if let (Some(last), false) = (list.last_mut(), table.key.is_empty()) {
                    *last = match filled.last() {
                        Some((_, Ty::Text)) => format!("{last} || '+'"),
                        _ => format!("{last} + {}", g.rng.pick(&[1, 300, 300, 300])),
                    };
                }
                list.extend(others.iter().map(|c| g.fitting(c.1, 1)));
                format!("SELECT {} FROM {} y WHERE {}", list.join(", "), table.name, g.condition(1))
            });
            return head + &query + &end;
        }
        let types: Vec<Ty> = filled.iter().chain(&others).map(|c| c.1).collect();
        let query = self.query(&types, 1);
        let known: Vec<String> = (0..filled.len()).map(|n| format!("q.c{n}")).collect();
        let values: Vec<String> = others
            .iter()
            .enumerate()
            .map(|(n, &(_, ty))| {
                let value = format!("q.c{}", n + filled.len());
                let value = match ty {
                    _ if table.key.is_empty() => value,
                    Ty::Bool => format!("bool_or({value})"),
                    Ty::Json | Ty::Arr => {
                        format!("percentile_disc(0) WITHIN GROUP (ORDER BY {value})")
                    }
                    _ => format!("max({value})"),
                };
                match ty {
                    Ty::Int | Ty::Big | Ty::Num => format!("{value} % 1000"),
                    _ => value,
                }
            })
            .collect();
        let list: Vec<String> = known.iter().cloned().chain(values).collect();
        let group = match table.key.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", known.join(", ")),
        };
        let columns: Vec<String> = (0..types.len()).map(|n| format!("c{n}")).collect();
        let filter = match self.rng.chance(85) {
            true => format!(" WHERE num_nulls({}) = 0", known.join(", ")),
            false => String::new(),
        };
        format!(
            "{head}SELECT {} FROM ({query}) q({}){filter}{group}{end}",
            list.join(", "),
            columns.join(", ")
        )
    }

    fn conflict(&mut self, table: &'static Table) -> String {
        if table.key.is_empty() || self.rng.chance(45) {
            return String::new();
        }
        if self.rng.chance(40) {
            let target = match self.rng.chance(50) {
                true => format!(" ({})", table.key.join(", ")),
                false => String::new(),
            };
            return format!(" ON CONFLICT{target} DO NOTHING");
        }
        let mut scope = Scope::default();
        scope.add(Rel::of_table(table, "x"));
        scope.leaves.extend(Rel::of_table(table, "excluded").leaves());
        let fuel = std::mem::take(&mut self.fuel);
        let cols = self.plain_columns(table, 2);
        let (text, _) = self.within(scope, |g| {
            // The row as a whole is one of the refusals that are documented.
            g.scope_mut().rels.clear();
            let set: Vec<String> =
                cols.iter().map(|&(name, ty)| format!("{name} = {}", g.fitting(ty, 1))).collect();
            let filter = match g.rng.chance(35) {
                true => format!(" WHERE {}", g.condition(1)),
                false => String::new(),
            };
            format!("SET {}{filter}", set.join(", "))
        });
        self.fuel = fuel;
        format!(" ON CONFLICT ({}) DO UPDATE {text}", table.key.join(", "))
    }

    fn returning(&mut self, table: &'static Table, alias: &str) -> String {
        if self.rng.chance(50) {
            return String::new();
        }
        if self.rng.chance(30) {
            return format!(" RETURNING {alias}.*");
        }
        let mut scope = Scope::default();
        scope.add(Rel::of_table(table, alias));
        let outside = self.banned.replace(table.name);
        let (text, _) = self.within(scope, |g| {
            let list: Vec<String> = (0..g.rng.between(1, 3))
                .map(|_| {
                    let ty = Ty::random(&mut g.rng);
                    g.expr(ty, 1)
                })
                .collect();
            format!(" RETURNING {}", list.join(", "))
        });
        self.banned = outside;
        text
    }

    /// A condition for rows of the target: often one key, so that one shard has them all.
    fn target_filter(&mut self, table: &'static Table, alias: &str) -> String {
        let (key, ty) = table.cols[0];
        match self.rng.below(10) {
            0..=3 => {
                let value = self.bare(ty);
                format!("{alias}.{key} = {value} AND {}", self.condition(1))
            }
            4 => format!("{alias}.{key} IN ({}, {})", self.bare(ty), self.bare(ty)),
            _ => self.condition(2),
        }
    }

    /// A source with one row for each value of a column, and the condition that joins it.
    fn unique_source(&mut self, table: &'static Table, alias: &str) -> (String, Rel, String) {
        if self.rng.chance(35) {
            let column = self.rng.pick(&["n", "n", table.cols[0].0]);
            let rel = Rel::of_table(&TABLES[3], "y");
            if table.cols.iter().any(|c| c.0 == column && c.1 == Ty::Int) {
                return ("r y".to_owned(), rel, format!("y.id = {alias}.{column}"));
            }
        }
        let (key, ty) = table.cols[self.rng.pick(&[0, 0, 0, 1])];
        let types = [ty, Ty::random(&mut self.rng), Ty::random(&mut self.rng)];
        let (query, _) = self.within(Scope::default(), |g| {
            let (text, rel) = g.table();
            let same: Vec<String> =
                rel.cols.iter().filter(|c| c.1 == ty).map(|c| format!("{}.{}", rel.alias, c.0)).collect();
            g.scope_mut().add(rel);
            let group = match same.len() {
                0 => g.constant(ty),
                _ if g.rng.chance(70) => same[0].clone(),
                n => same[g.rng.below(n)].clone(),
            };
            let (one, two) = (g.aggregate(types[1], 1), g.aggregate(types[2], 1));
            let filter = g.condition(1);
            format!("SELECT {group} AS c0, {one} AS c1, {two} AS c2 FROM {text} WHERE {filter} GROUP BY 1")
        });
        (
            format!("({query}) y"),
            crate::query::derived("y", &types),
            format!("y.c0 = {alias}.{key}"),
        )
    }

    fn update(&mut self, table: &'static Table) -> String {
        let mut scope = Scope::default();
        scope.add(Rel::of_table(table, "x"));
        let source = self.rng.chance(35).then(|| self.unique_source(table, "x"));
        let returning = self.returning(table, "x");
        let cols = self.plain_columns(table, 3);
        let (text, _) = self.within(scope, |g| {
            let mut from = String::new();
            let mut join = String::new();
            if let Some((text, rel, on)) = source {
                from = format!(" FROM {text}");
                join = format!("{on} AND ");
                g.scope_mut().add(rel);
            }
            let mut set: Vec<String> =
                cols.iter().map(|&(name, ty)| format!("{name} = {}", g.fitting(ty, 2))).collect();
            if set.len() > 1 && g.rng.chance(20) {
                let two = [cols[0].1, cols[1].1];
                let (one, other) = (cols[0].0, cols[1].0);
                let value = match g.rng.below(3) {
                    0 => format!("ROW ({}, {})", g.fitting(two[0], 1), g.fitting(two[1], 1)),
                    _ => {
                        let row = g.total(&two, 1);
                        let y = [0, 1].map(|n| match two[n] {
                            Ty::Int | Ty::Big | Ty::Num => format!("y.c{n} % 1000"),
                            Ty::Text => format!("left(y.c{n}, 20)"),
                            _ => format!("y.c{n}"),
                        });
                        format!("(SELECT {}, {} FROM ({row}) y)", y[0], y[1])
                    }
                };
                set.drain(..2);
                set.insert(0, format!("({one}, {other}) = {value}"));
            }
            let mut filter = g.target_filter(table, "x");
            let (key, ty) = table.cols[0];
            if g.rng.chance(15) {
                if table.key.is_empty() {
                    set.push(format!("{key} = COALESCE({}, 1)", g.fitting(ty, 1)));
                } else {
                    // One row at most: else it depends on their order whether keys are twice.
                    set.push(format!("{key} = {}", g.filled(ty)));
                    let mut parts = Vec::new();
                    for k in table.key {
                        let ty = table.cols.iter().find(|c| c.0 == *k).map_or(Ty::Int, |c| c.1);
                        parts.push(format!("x.{k} = {}", g.bare(ty)));
                    }
                    filter = parts.join(" AND ");
                }
            }
            format!("UPDATE {} x SET {}{from} WHERE {join}{filter}", table.name, set.join(", "))
        });
        text + &returning
    }

    fn delete(&mut self, table: &'static Table) -> String {
        let mut scope = Scope::default();
        scope.add(Rel::of_table(table, "x"));
        let source = self.rng.chance(35).then(|| self.unique_source(table, "x"));
        let returning = self.returning(table, "x");
        let (text, _) = self.within(scope, |g| {
            let mut using = String::new();
            if let Some((text, rel, on)) = source {
                using = format!(" USING {text} WHERE {on} AND ");
                g.scope_mut().add(rel);
            }
            let filter = g.target_filter(table, "x");
            let word = if using.is_empty() { " WHERE " } else { &using };
            format!("DELETE FROM {} x{word}{filter}", table.name)
        });
        text + &returning
    }

    fn merge(&mut self, table: &'static Table) -> String {
        let (source, rel, on) = self.unique_source(table, "x");
        let mut both = Scope::default();
        both.add(Rel::of_table(table, "x"));
        let mut only = Scope::default();
        both.add(rel.clone());
        only.add(rel);
        // Whole rows and sub-queries of actions are another matter than merging.
        both.rels.clear();
        only.rels.clear();
        let fuel = std::mem::take(&mut self.fuel);
        let cols = self.plain_columns(table, 2);
        let (matched, _) = self.within(both, |g| {
            let condition = g.condition(1);
            let set: Vec<String> =
                cols.iter().map(|&(name, ty)| format!("{name} = {}", g.fitting(ty, 1))).collect();
            let update = format!("UPDATE SET {}", set.join(", "));
            let rest =
                g.rng.pick(&["", " WHEN MATCHED THEN DELETE", " WHEN MATCHED THEN DO NOTHING"]);
            match g.rng.below(3) {
                0 => format!(" WHEN MATCHED THEN {update}"),
                1 => format!(" WHEN MATCHED AND {condition} THEN {update}{rest}"),
                _ => format!(" WHEN MATCHED AND {condition} THEN DELETE"),
            }
        });
        let filled = Self::filled_columns(table);
        let (new, _) = self.within(only, |g| {
            if g.rng.chance(40) {
                return String::new();
            }
            let key = g.scope().leaves[0].sql.clone();
            let mut values = Vec::new();
            for (n, &(_, ty)) in filled.iter().enumerate() {
                let fits = n == 0 && g.scope().leaves[0].ty == ty;
                values.push(if fits { key.clone() } else { g.filled(ty) });
            }
            values.extend(cols.iter().map(|&(_, ty)| g.fitting(ty, 1)));
            let names: Vec<&str> = filled.iter().chain(&cols).map(|c| c.0).collect();
            let when = match g.rng.chance(40) {
                true => format!(" AND {}", g.condition(1)),
                false => format!(" AND {key} IS NOT NULL"),
            };
            let (names, values) = (names.join(", "), values.join(", "));
            format!(" WHEN NOT MATCHED{when} THEN INSERT ({names}) VALUES ({values})")
        });
        self.fuel = fuel;
        format!("MERGE INTO {} x USING {source} ON {on}{matched}{new}", table.name)
    }

    /// A change in WITH, whose rows are read.
    fn within_with(&mut self, table: &'static Table) -> String {
        let cols = self.plain_columns(table, 2);
        let mut scope = Scope::default();
        scope.add(Rel::of_table(table, "x"));
        let (change, _) = self.within(scope, |g| {
            let filter = g.target_filter(table, "x");
            let (name, ty) = cols[0];
            match g.rng.below(2) {
                0 => format!("DELETE FROM {} x WHERE {filter}", table.name),
                _ => format!(
                    "UPDATE {} x SET {name} = {} WHERE {filter}",
                    table.name,
                    g.fitting(ty, 1)
                ),
            }
        });
        let rel = Rel::of_table(table, "m");
        let mut scope = Scope::default();
        scope.add(rel);
        let fuel = std::mem::take(&mut self.fuel);
        // A function that reads the table would see the change (documented).
        let outside = self.banned.replace(table.name);
        let (read, _) = self.within(scope, |g| {
            let types = [Ty::random(&mut g.rng), Ty::Int];
            let from = "moved m";
            match g.rng.below(3) {
                0 => format!("SELECT {} FROM {from}", g.aggregates(&types, 1)),
                1 => g.grouped(&types, 1, from, ""),
                _ => format!("SELECT {}, {} FROM {from}", g.expr(types[0], 1), g.expr(types[1], 1)),
            }
        });
        self.fuel = fuel;
        self.banned = outside;
        format!("WITH moved AS ({change} RETURNING x.*) {read}")
    }
}
