//! Who passes a gate between two classes: each class shares it, the classes exclude each other,
//! and neither starves.

/// Who wants to pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Transactions in the second phase of their commit.
    Committer,
    /// Those who take snapshots on several nodes.
    Taker,
}

impl Class {
    /// The class that this one excludes.
    pub fn other(self) -> Class {
        match self {
            Class::Committer => Class::Taker,
            Class::Taker => Class::Committer,
        }
    }
}

/// The state of a gate in one word: how many of each class are inside, and whether anybody waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(pub u64);

const WIDTH: u32 = 24;
const MASK: u64 = (1 << WIDTH) - 1;
const WAITED: u64 = 1 << (2 * WIDTH);

fn shift(class: Class) -> u32 {
    match class {
        Class::Committer => 0,
        Class::Taker => WIDTH,
    }
}

impl Word {
    /// How many of a class are inside.
    pub fn inside(self, class: Class) -> u64 {
        (self.0 >> shift(class)) & MASK
    }

    /// Whether somebody waits: then nobody enters or leaves without a look at who does.
    pub fn is_waited_for(self) -> bool {
        self.0 & WAITED != 0
    }

    /// With the mark of those who wait set or not.
    pub fn waited_for(self, yes: bool) -> Word {
        Word(if yes { self.0 | WAITED } else { self.0 & !WAITED })
    }

    /// With `n` more of a class inside.
    pub fn plus(self, class: Class, n: u64) -> Word {
        Word(self.0 + (n << shift(class)))
    }

    /// With one less of a class inside.
    pub fn minus(self, class: Class) -> Word {
        Word(self.0.saturating_sub(1 << shift(class)))
    }

    /// The word after one more has entered, when it may without asking.
    pub fn entered(self, class: Class) -> Option<Word> {
        let free = !self.is_waited_for() && self.inside(class.other()) == 0;
        free.then(|| self.plus(class, 1))
    }

    /// The class whose waiters may enter now, all together, if there is one. When nobody is
    /// inside it is the turn of `turn`.
    pub fn admits(self, waiting: impl Fn(Class) -> bool, turn: Class) -> Option<Class> {
        let (here, there) = (self.inside(turn), self.inside(turn.other()));
        match (here, there) {
            (0, 0) => [turn, turn.other()].into_iter().find(|c| waiting(*c)),
            // Who shares with those inside enters only if that keeps nobody else waiting longer.
            (_, 0) => (waiting(turn) && !waiting(turn.other())).then_some(turn),
            (0, _) => (waiting(turn.other()) && !waiting(turn)).then_some(turn.other()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Class::{Committer, Taker};
    use super::*;

    #[test]
    fn a_class_shares_and_excludes_the_other() {
        let w = Word(0).entered(Committer).and_then(|w| w.entered(Committer));
        let w = w.unwrap_or(Word(0));
        assert_eq!((w.inside(Committer), w.inside(Taker)), (2, 0));
        assert_eq!(w.entered(Taker), None);
        assert_eq!(w.minus(Committer).minus(Committer), Word(0));
        let t = Word(0).plus(Taker, 3);
        assert_eq!((t.inside(Taker), t.entered(Committer)), (3, None));
        assert_eq!(t.minus(Taker).inside(Taker), 2);
    }

    #[test]
    fn nobody_passes_those_who_wait() {
        let w = Word(0).plus(Committer, 1).waited_for(true);
        assert!(w.is_waited_for());
        assert_eq!((w.entered(Committer), w.entered(Taker)), (None, None));
        assert_eq!(w.waited_for(false).entered(Committer), Some(Word(0).plus(Committer, 2)));
    }

    #[test]
    fn turns_alternate() {
        let both = |_: Class| true;
        // The last committer leaves: it is the takers' turn, and the other way round.
        assert_eq!(Word(0).admits(both, Taker), Some(Taker));
        assert_eq!(Word(0).admits(both, Committer), Some(Committer));
        assert_eq!(Word(0).admits(|c| c == Committer, Taker), Some(Committer));
        assert_eq!(Word(0).admits(|_| false, Taker), None);
        // Somebody is inside: his class joins him only when nobody of the other waits.
        let inside = Word(0).plus(Committer, 1);
        for turn in [Committer, Taker] {
            assert_eq!(inside.admits(both, turn), None);
            assert_eq!(inside.admits(|c| c == Committer, turn), Some(Committer));
            assert_eq!(inside.admits(|c| c == Taker, turn), None);
        }
    }
}
