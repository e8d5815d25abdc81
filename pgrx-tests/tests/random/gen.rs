//! What a statement is made with: chance, names, constants that can be changed, and what is in scope.

use crate::rng::Rng;
use crate::schema::{Table, Ty};

/// How many values each constant of a statement has.
pub const VARIANTS: usize = 4;

/// A constant of a statement: another value in each variant.
struct Slot {
    ty: Ty,
    values: Vec<Option<String>>,
}

/// Something that an expression can use.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub sql: String,
    pub ty: Ty,
    /// Can be used in a sub-query as well. (An aggregate there would be the sub-query's own.)
    pub deep: bool,
}

/// A relation whose whole row can be used.
#[derive(Clone)]
pub struct Rel {
    pub alias: String,
    pub table: Option<&'static str>,
    pub cols: Vec<(String, Ty)>,
}

impl Rel {
    pub fn of_table(table: &Table, alias: &str) -> Rel {
        let cols = table.cols.iter().map(|&(name, ty)| (name.to_owned(), ty)).collect();
        Rel { alias: alias.to_owned(), table: Some(table.name), cols }
    }

    pub fn leaves(&self) -> Vec<Leaf> {
        let leaf = |(name, ty): &(String, Ty)| Leaf {
            sql: format!("{}.{name}", self.alias),
            ty: *ty,
            deep: true,
        };
        self.cols.iter().map(leaf).collect()
    }
}

/// What one level of a query sees.
#[derive(Clone, Default)]
pub struct Scope {
    pub leaves: Vec<Leaf>,
    pub rels: Vec<Rel>,
}

impl Scope {
    pub fn add(&mut self, rel: Rel) {
        self.leaves.extend(rel.leaves());
        self.rels.push(rel);
    }
}

pub struct Gen {
    pub rng: Rng,
    slots: Vec<Slot>,
    names: usize,
    /// Levels of the query, the innermost last.
    pub scopes: Vec<Scope>,
    /// Queries of WITH that can be read.
    pub ctes: Vec<Rel>,
    /// How many more sub-queries a statement may have.
    pub fuel: usize,
    /// A table that may not be read here.
    pub banned: Option<&'static str>,
    /// Columns of queries outside may not be used: an aggregate over them would belong there.
    pub local_only: bool,
}

impl Gen {
    pub fn new(rng: Rng) -> Gen {
        Gen {
            rng,
            slots: Vec::new(),
            names: 0,
            scopes: Vec::new(),
            ctes: Vec::new(),
            fuel: 3,
            banned: None,
            local_only: false,
        }
    }

    pub fn name(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}{}", self.names)
    }

    /// Takes one sub-query from those that are left.
    pub fn spend(&mut self) -> bool {
        let left = self.fuel > 0;
        self.fuel = self.fuel.saturating_sub(1);
        left
    }

    pub fn scope(&self) -> &Scope {
        self.scopes.last().expect("a scope")
    }

    pub fn scope_mut(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("a scope")
    }

    /// Runs `what` with another innermost level, and gives that back too.
    pub fn within<T>(&mut self, scope: Scope, what: impl FnOnce(&mut Gen) -> T) -> (T, Scope) {
        self.scopes.push(scope);
        let made = what(self);
        let scope = self.scopes.pop().expect("a scope");
        (made, scope)
    }

    fn slot(&mut self, ty: Ty, bare: bool, nulls: usize) -> String {
        let values = (0..VARIANTS)
            .map(|_| if self.rng.chance(nulls) { None } else { Some(ty.value(&mut self.rng)) })
            .collect();
        self.slots.push(Slot { ty, values });
        format!("\u{1}{}{}\u{2}", self.slots.len() - 1, if bare { "b" } else { "" })
    }

    /// A constant that says its type.
    pub fn constant(&mut self, ty: Ty) -> String {
        self.slot(ty, false, 6)
    }

    /// A constant that gets its type from what stands beside it.
    pub fn bare(&mut self, ty: Ty) -> String {
        self.slot(ty, true, 2)
    }

    /// A constant that is not NULL.
    pub fn filled(&mut self, ty: Ty) -> String {
        self.slot(ty, false, 0)
    }

    /// A column of this type or a constant.
    pub fn leaf(&mut self, ty: Ty) -> String {
        if self.rng.chance(15) {
            return self.constant(ty);
        }
        match self.column(ty) {
            Some(leaf) => leaf.sql,
            None => self.constant(ty),
        }
    }

    /// A column of this type from here or, less often, from a query outside.
    pub fn column(&mut self, ty: Ty) -> Option<Leaf> {
        let inner = self.scopes.len().checked_sub(1)?;
        let outside = inner > 0 && !self.local_only && self.rng.chance(30);
        let level = if outside { self.rng.below(inner) } else { inner };
        let fits = |l: &&Leaf| l.ty == ty && (level == inner || l.deep);
        let found: Vec<Leaf> = self.scopes[level].leaves.iter().filter(fits).cloned().collect();
        if found.is_empty() {
            return None;
        }
        Some(found[self.rng.below(found.len())].clone())
    }

    /// Any column of this level.
    pub fn any_column(&mut self) -> Option<Leaf> {
        let leaves = self.scope().leaves.clone();
        if leaves.is_empty() {
            return None;
        }
        Some(leaves[self.rng.below(leaves.len())].clone())
    }

    /// The statement with constants of one variant.
    pub fn with_constants(&self, sql: &str, variant: usize) -> String {
        self.replace(sql, &mut |id, bare| {
            let slot = &self.slots[id];
            slot.ty.constant(slot.values[variant % VARIANTS].as_deref(), bare)
        })
    }

    /// The statement with parameters, and which constants these stand for.
    pub fn with_parameters(&self, sql: &str) -> (String, Vec<usize>) {
        let mut ids: Vec<usize> = Vec::new();
        let text = self.replace(sql, &mut |id, bare| {
            let at = ids.iter().position(|&i| i == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            let ty = self.slots[id].ty.sql();
            if bare {
                format!("${}", at + 1)
            } else {
                format!("${}::{ty}", at + 1)
            }
        });
        (text, ids)
    }

    /// The parameters' values in one variant.
    pub fn values(&self, ids: &[usize], variant: usize) -> Vec<Option<String>> {
        ids.iter().map(|&i| self.slots[i].values[variant % VARIANTS].clone()).collect()
    }

    fn replace(&self, sql: &str, with: &mut dyn FnMut(usize, bool) -> String) -> String {
        let mut text = String::new();
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('\u{1}') {
            let (mark, after) = after.split_once('\u{2}').expect("the end of a mark");
            text.push_str(before);
            let number = mark.trim_end_matches('b');
            text.push_str(&with(number.parse().expect("a number"), mark.ends_with('b')));
            rest = after;
        }
        text + rest
    }
}
