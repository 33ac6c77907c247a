//! Who waits behind whom: the events of each key whose turn somebody has. A million keys may be taken,
//! and a million events wait behind one, so both are few bytes. Pure.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::num::NonZeroU64;

use roaring::RoaringTreemap;

use crate::message::{Key, Seq};

/// A key, as far as it needs to be known here: its hash. Two keys that have the same are taken for one,
/// which keeps their order all the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyHash(NonZeroU64);

/// The events of one key, from the one that has its turn.
#[derive(Debug)]
struct Line {
    head: Seq,
    /// In their order; most have none.
    behind: Option<Box<RoaringTreemap>>,
}

impl Line {
    fn of(head: Seq) -> Self {
        Self { head, behind: None }
    }

    fn count(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.len() as usize)
    }

    fn behind(&self) -> impl Iterator<Item = Seq> {
        self.behind.iter().flat_map(|behind| behind.iter().map(Seq))
    }
}

/// The lines of all keys that are taken.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A table would take twice as much when it has just grown.
    lines: BTreeMap<KeyHash, Line>,
    hashes: foldhash::quality::RandomState,
}

/// What became of a key whose head is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// That one has the turn now.
    To(Seq),
    /// It was another's turn, or nobody is left.
    ToNobody,
}

impl Lines {
    pub(super) fn hash(&self, key: &Key) -> KeyHash {
        KeyHash(NonZeroU64::MIN | self.hashes.hash_one(key))
    }

    /// How many keys are taken.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// No key is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Who has a key's turn.
    pub(super) fn head(&self, key: KeyHash) -> Option<Seq> {
        self.lines.get(&key).map(|line| line.head)
    }

    /// That event takes the turn of a key that nobody has, or has it already. How many wait behind it;
    /// none if it is another's turn.
    pub(super) fn take(&mut self, key: KeyHash, seq: Seq) -> Option<usize> {
        let line = self.lines.entry(key).or_insert(Line::of(seq));
        (line.head == seq).then(|| line.count())
    }

    /// How many wait behind an event, if it has its key's turn.
    pub(super) fn count_behind(&self, key: KeyHash, seq: Seq) -> usize {
        let line = self.lines.get(&key).filter(|line| line.head == seq);
        line.map_or(0, Line::count)
    }

    /// Those who wait behind a key's head.
    pub(super) fn behind(&self, key: KeyHash) -> impl Iterator<Item = Seq> {
        self.lines.get(&key).into_iter().flat_map(Line::behind)
    }

    /// All that wait behind another, in no order.
    pub(super) fn all_behind(&self) -> impl Iterator<Item = Seq> {
        self.lines.values().flat_map(Line::behind)
    }

    /// The first one of all that wait behind another.
    pub(super) fn first_behind(&self) -> Option<Seq> {
        self.lines.values().filter_map(|line| line.behind().next()).min()
    }

    /// If another event has the key's turn, this one has its place behind it from now on, in order.
    /// Who has the turn.
    pub(super) fn wait_behind(&mut self, seq: Seq, key: KeyHash) -> Option<Seq> {
        let line = self.lines.get_mut(&key).filter(|line| line.head != seq)?;
        line.behind.get_or_insert_default().insert(seq.0);
        Some(line.head)
    }

    /// If the event has its key's turn, the next one behind it has it now.
    pub(super) fn pass(&mut self, key: KeyHash, seq: Seq) -> Passed {
        let Some(line) = self.lines.get_mut(&key).filter(|line| line.head == seq) else {
            return Passed::ToNobody;
        };
        let first = line.behind.as_ref().and_then(|behind| behind.min());
        match (first, &mut line.behind) {
            (Some(next), Some(behind)) => {
                behind.remove(next);
                line.head = Seq(next);
                Passed::To(line.head)
            }
            _ => {
                self.lines.remove(&key);
                Passed::ToNobody
            }
        }
    }
}
