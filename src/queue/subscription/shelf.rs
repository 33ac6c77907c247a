//! Events that are held and that the log has: they are not in memory, but for those that have their turn
//! soon. A million may be parked, and a million wait behind one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{Inner, Subscription};
use crate::message::Seq;
use crate::queue::kept::Kept;
use crate::queue::state::Verdict;
use crate::signal::{DropReason, Signal};

/// So many are fetched at a time.
const FETCHED: usize = 1024;
/// Of those behind an event whose turn has come, so many come along.
const ALONG: usize = 256;

/// Reads single events back from the log; they are to be asked for in order.
pub(crate) type ReadBack = Box<dyn Fn(&[Seq]) -> Found + Send + Sync>;
/// Everything before that may be read back: what was handed out early may not yet.
pub(crate) type Readable = Box<dyn Fn() -> Seq + Send + Sync>;

/// What was found of single events.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) events: BTreeMap<Seq, Kept>,
    /// Those that are there, and of a type that is not handled here any more.
    pub(crate) strange: BTreeSet<Seq>,
    /// Some part could not be read now.
    pub(crate) failed: bool,
}

impl Found {
    /// An event that was not found may be there another time.
    pub(super) fn may_be_there(&self, seq: Seq) -> bool {
        self.failed || self.strange.contains(&seq)
    }
}

impl Inner {
    /// What the log has of that place can be read.
    pub(super) fn is_readable(&self, seq: Seq) -> bool {
        self.readable.as_ref().is_some_and(|readable| seq < readable())
    }

    /// An event need not be kept where it is: the log has it.
    fn is_in_log(&self, seq: Seq, kept: &Kept) -> bool {
        kept.logged && self.is_readable(seq)
    }

    /// Keeps an event that failed; of one that waits for a person, and that the log has, only what is
    /// said of it, and nothing of those who wait behind it. Gives back what is to be dropped outside of
    /// any lock.
    pub(super) fn keep(&mut self, seq: Seq, kept: Kept, verdict: Verdict) -> Vec<Kept> {
        let mut gone = Vec::new();
        if verdict != Verdict::Park {
            gone.extend(self.kept.insert(seq, kept));
            return gone;
        }
        match &kept.report {
            Some(report) if self.is_in_log(seq, &kept) => {
                self.parked.shelve(kept.id(), seq, report);
                gone.extend(self.kept.remove(seq));
                gone.push(kept);
            }
            _ => {
                self.parked.insert(kept.id(), seq);
                gone.extend(self.kept.insert(seq, kept));
            }
        }
        let behind: Vec<Seq> = self.state.behind_event(seq).take(ALONG).collect();
        for seq in behind {
            if self.kept.get(seq).is_some_and(|kept| self.is_in_log(seq, kept)) {
                gone.extend(self.kept.remove(seq));
            }
        }
        gone
    }

    /// Keeps an event that waits behind another of its key, if it is nowhere else.
    pub(super) fn keep_behind(&mut self, seq: Seq, kept: Kept) -> Option<Kept> {
        match self.is_in_log(seq, &kept) {
            true => Some(kept),
            false => self.kept.insert(seq, kept),
        }
    }

    /// It has its turn, and has to be fetched first.
    pub(super) fn wants(&mut self, seq: Seq) {
        self.fetch.insert(seq);
    }

    /// Others have to be there first.
    pub(super) fn fetches_enough(&self) -> bool {
        self.fetch.len() + self.fetching.len() >= FETCHED
    }
}

impl Subscription {
    /// How to read events back that only the log has.
    pub(crate) fn reads_back_by(&self, read: ReadBack, readable: Readable) {
        self.log.set(read).ok(); // once and for ever
        self.inner.lock().readable = Some(readable);
    }

    pub(super) fn read_back(&self, seqs: &[Seq]) -> Found {
        self.log.get().map_or_else(Found::default, |read| read(seqs))
    }

    /// Fetches what has its turn, for whoever reads for it.
    pub(crate) fn fetch(&self) {
        let asked: Vec<Seq> = {
            let inner = &mut *self.inner.lock();
            inner.fetch_asked = false;
            if inner.orphaned {
                return;
            }
            inner.fetching = std::mem::take(&mut inner.fetch);
            let mut asked: Vec<Seq> = inner.fetching.iter().copied().collect();
            let along = if inner.kept.weight() < inner.most_held_weight / 2 { ALONG } else { 0 };
            for seq in &inner.fetching {
                let behind = inner.state.behind_event(*seq).take(along);
                asked.extend(behind.filter(|seq| inner.kept.get(*seq).is_none()));
            }
            asked.sort_unstable();
            asked
        };
        if asked.is_empty() {
            return;
        }
        let mut found = self.read_back(&asked);
        let (mut inner, mut lost, mut gone) = (self.inner.lock(), 0, Vec::new());
        if inner.orphaned {
            return; // it was brought back otherwise
        }
        for seq in asked {
            let has_turn = inner.fetching.contains(&seq);
            let Some(mut kept) = found.events.remove(&seq) else {
                inner.acquits(seq);
                inner.suspects.remove(&seq);
                if has_turn && found.may_be_there(seq) {
                    // The next process may be able to read it.
                    inner.unreadable.insert(seq);
                    inner.state.finished(seq, None);
                } else if has_turn {
                    // The log is damaged there.
                    inner.vouched.remove(&seq);
                    inner.state.finished(seq, None);
                    inner.news.iter_mut().for_each(|news| {
                        news.done(seq, true);
                        news.acquits(seq);
                    });
                    lost += 1;
                }
                continue;
            };
            if has_turn {
                if let Some(before) = inner.vouched.remove(&seq) {
                    kept.report = Some(Arc::new(before.report()));
                    kept.forget_way();
                }
                inner.state.give_back(seq, None);
            }
            gone.extend(inner.kept.insert(seq, kept));
        }
        inner.fetching.clear();
        if !inner.fetch.is_empty() {
            inner.fetch_asked = true;
            self.hungry.store(true, SeqCst);
        }
        self.news.store(true, SeqCst);
        self.clock.working();
        let wakers = inner.wake_one();
        drop(inner);
        drop(gone);
        wakers.wake();
        if lost > 0 {
            let (processor, reason) = (&self.name, DropReason::Lost);
            self.signals.state(&Signal::Dropped { processor, events: lost, reason });
        }
    }

    /// Brings all that is held back into memory: there will be no log to fetch it from, or somebody
    /// else will ask for it.
    pub(super) fn bring_all_back(&self) {
        let asked: Vec<Seq> = {
            let inner = self.inner.lock();
            let shelved = inner.parked.shelved().map(|(seq, _)| seq);
            let mut asked: Vec<Seq> = shelved.chain(inner.state.all_behind()).collect();
            asked.extend(inner.fetch.iter().chain(&inner.fetching));
            asked.retain(|seq| inner.kept.get(*seq).is_none());
            asked.sort_unstable();
            asked.dedup();
            asked
        };
        let found = self.read_back(&asked);
        let inner = &mut *self.inner.lock();
        for (seq, mut kept) in found.events {
            kept.report = inner.parked.unshelve(kept.id()).map(Arc::new);
            inner.kept.insert(seq, kept);
        }
    }
}
