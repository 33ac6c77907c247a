//! Events that are held and that the log has: they are not in memory, but for those that have their turn
//! soon. A million may be parked, and a million wait behind one.

use std::collections::BTreeMap;
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
pub(crate) type ReadBack = Box<dyn Fn(&[Seq]) -> BTreeMap<Seq, Kept> + Send + Sync>;

impl Inner {
    /// An event need not be kept where it is: the log has it.
    pub(super) fn is_in_log(&self, kept: &Kept) -> bool {
        kept.logged && self.news.is_some()
    }

    /// Keeps an event that failed; of one that waits for a person, and that the log has, only what is
    /// said of it. Gives back what is to be dropped outside of any lock.
    pub(super) fn keep(&mut self, seq: Seq, kept: Kept, verdict: Verdict) -> [Option<Kept>; 2] {
        if verdict == Verdict::Park {
            match &kept.report {
                Some(report) if self.is_in_log(&kept) => {
                    self.parked.shelve(kept.id(), seq, report);
                    return [self.kept.remove(seq), Some(kept)];
                }
                _ => self.parked.insert(kept.id(), seq),
            }
        }
        [self.kept.insert(seq, kept), None]
    }

    /// Keeps an event that waits behind another of its key, if it is nowhere else.
    pub(super) fn keep_behind(&mut self, seq: Seq, kept: Kept) -> Option<Kept> {
        match self.is_in_log(&kept) {
            true => Some(kept),
            false => self.kept.insert(seq, kept),
        }
    }

    /// It has its turn, and has to be fetched first. False if so many are fetched that it has to wait.
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
    pub(crate) fn reads_back_by(&self, read: ReadBack) {
        self.log.set(read).ok(); // once and for ever
    }

    pub(super) fn read_back(&self, seqs: &[Seq]) -> BTreeMap<Seq, Kept> {
        self.log.get().map_or_else(BTreeMap::new, |read| read(seqs))
    }

    /// Fetches what has its turn, for whoever reads for it.
    pub(crate) fn fetch(&self) {
        let asked: Vec<Seq> = {
            let inner = &mut *self.inner.lock();
            inner.fetching = std::mem::take(&mut inner.fetch);
            let mut asked: Vec<Seq> = inner.fetching.iter().copied().collect();
            for seq in &inner.fetching {
                let behind = inner.state.behind_event(*seq).take(ALONG);
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
        for seq in asked {
            let has_turn = inner.fetching.contains(&seq);
            let Some(mut kept) = found.remove(&seq) else {
                if has_turn {
                    // The log is damaged there.
                    inner.vouched.remove(&seq);
                    inner.state.finished(seq, None);
                    inner.news.iter_mut().for_each(|news| news.done(seq, true));
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
        for (seq, mut kept) in found {
            kept.report = inner.parked.unshelve(kept.id()).map(Arc::new);
            inner.kept.insert(seq, kept);
        }
    }
}
