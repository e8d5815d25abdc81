//! Server-side prepared statements of one session, by text.

use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A statement costs a node some 12 kB and more, so a session keeps a limited number.
const LIMIT: usize = 256;

#[derive(Debug)]
struct Entry {
    types: Box<[u32]>,
    shape: u64,
    name: Rc<str>,
    used: u64,
}

/// The cache; names are never reused.
#[derive(Debug, Default)]
pub(super) struct Statements {
    by_text: FxHashMap<Box<str>, Vec<Entry>>,
    count: usize,
    clock: u64,
    names: u64,
    /// Statements that still exist on the node but are forgotten here.
    stale: Vec<Rc<str>>,
}

impl Statements {
    /// The statement's name when it exists.
    pub fn find(&mut self, sql: &str, types: &[u32], shape: u64) -> Option<Rc<str>> {
        self.clock += 1;
        let clock = self.clock;
        let entry = self
            .by_text
            .get_mut(sql)?
            .iter_mut()
            .find(|e| e.shape == shape && *e.types == *types)?;
        entry.used = clock;
        Some(entry.name.clone())
    }

    /// Makes room for a new statement and names it. What had to go is found in
    /// [`Statements::take_stale`].
    pub fn add(&mut self, sql: &str, types: &[u32], shape: u64) -> Rc<str> {
        if self.count >= LIMIT {
            self.evict();
        }
        self.names += 1;
        self.clock += 1;
        let name: Rc<str> = format!("c{}", self.names).into();
        let entry = Entry { types: types.into(), shape, name: name.clone(), used: self.clock };
        self.by_text.entry(sql.into()).or_default().push(entry);
        self.count += 1;
        name
    }

    /// Forgets the quarter of the statements that was not used for the longest time.
    fn evict(&mut self) {
        let mut ages: Vec<u64> = self.by_text.values().flatten().map(|e| e.used).collect();
        ages.sort_unstable();
        let Some(&limit) = ages.get(ages.len() / 4) else { return };
        let stale = &mut self.stale;
        self.by_text.retain(|_, entries| {
            entries.retain(|e| {
                if e.used <= limit {
                    stale.push(e.name.clone());
                }
                e.used > limit
            });
            !entries.is_empty()
        });
        self.count = self.by_text.values().map(Vec::len).sum();
    }

    /// Forgets a statement that the node refused to parse.
    pub fn remove(&mut self, name: &str) {
        self.by_text.retain(|_, entries| {
            entries.retain(|e| *e.name != *name);
            !entries.is_empty()
        });
        self.count = self.by_text.values().map(Vec::len).sum();
    }

    /// Forgets everything: definitions of tables changed under the statements.
    pub fn clear(&mut self) {
        self.stale.extend(self.by_text.drain().flat_map(|(_, v)| v).map(|e| e.name));
        self.count = 0;
    }

    /// None of them exists on the node any more.
    pub fn are_gone(&mut self) {
        self.by_text.clear();
        self.stale.clear();
        self.count = 0;
    }

    /// Names to be closed on the node.
    pub fn take_stale(&mut self) -> Vec<Rc<str>> {
        std::mem::take(&mut self.stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_text_same_name() {
        let mut s = Statements::default();
        assert!(s.find("SELECT 1", &[], 0).is_none());
        let n = s.add("SELECT 1", &[], 0);
        assert_eq!(s.find("SELECT 1", &[], 0), Some(n.clone()));
        assert!(s.find("SELECT 1", &[23], 0).is_none());
        assert!(s.find("SELECT 1", &[], 1).is_none());
        s.remove(&n);
        assert!(s.find("SELECT 1", &[], 0).is_none());
    }

    #[test]
    fn limited() {
        let mut s = Statements::default();
        for i in 0..10 * LIMIT {
            s.add(&format!("SELECT {i}"), &[], 0);
            assert!(s.count <= LIMIT);
        }
        assert_eq!(s.take_stale().len() + s.count, 10 * LIMIT);
        assert!(s.find(&format!("SELECT {}", 10 * LIMIT - 1), &[], 0).is_some());
    }
}
