//! What becomes of the events of a processor that is gone for good: they are parked as orphaned, and
//! somebody may hand them to a processor that takes its place.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use parking_lot::MutexGuard;

use super::{Inner, Subscription, key_of};
use crate::clock::Timestamp;
use crate::error::Failure;
use crate::message::{EventId, Seq};
use crate::queue::kept::{Body, Kept};
use crate::queue::report::Report;
use crate::queue::state::{OnPark, State, Verdict};
use crate::queue::waiting::Cursor;
use crate::signal::Signal;

impl Subscription {
    /// The processor is gone: all that waits, is held, or comes yet is parked. No user code runs: the
    /// events stay where they are, and nobody asks for their keys.
    pub(crate) fn orphan(&self) {
        {
            let mut inner = self.inner.lock();
            inner.orphaned = true;
            inner.halted = true;
        }
        self.bring_all_back();
        self.park_all(self.inner.lock());
    }

    pub(super) fn park_all(&self, mut inner: MutexGuard<'_, Inner>) {
        let mut all: Vec<(Seq, Kept)> = Vec::new();
        let lines = std::mem::take(&mut inner.line);
        for waiting in &lines.batches {
            let (batch, mut at) = (&waiting.batch, waiting.at);
            while let Some((here, which)) =
                at.seek(batch, &self.wanted).filter(|(here, _)| *here < waiting.end)
            {
                let seq = batch.seq(&batch.events.runs()[here.run as usize], here.index);
                all.push((seq, Kept::pinned(batch, here.run, here.index, which)));
                at = here.next();
            }
        }
        self.left.add(lines.load);
        let in_hand = std::mem::take(&mut inner.in_hand);
        all.extend(in_hand.into_iter().map(|(seq, hand)| (seq, hand.kept(&self.wanted))));
        self.left.add(std::mem::take(&mut inner.in_hand_load));
        let parked = inner.parked.len();
        let held = std::mem::take(&mut inner.kept);
        all.extend(held.into_events());
        inner.fetch.clear();
        inner.fetching.clear();
        inner.vouched.clear();
        inner.leases.clear();
        inner.state = State::new(OnPark::LetKeyGo, false, usize::MAX);
        inner.most_held_weight = u64::MAX;
        for (seq, mut kept) in all {
            let known = inner.parked.contains(kept.id());
            if !known {
                let gone = Failure::permanent("its processor is gone");
                let (report, now) = (kept.report.as_deref(), Timestamp::now());
                kept.report = Some(Arc::new(Report::orphaned(report, gone, now)));
                inner.parked.insert(kept.id(), seq);
                // So that it is there after a restart as well.
                let (now, report) = (self.clock.now(), kept.report.as_deref());
                if let Some(news) = &mut inner.news {
                    news.held(seq, 1, Verdict::Park, report, now);
                    self.news.store(true, SeqCst);
                }
            }
            inner.state.failed(seq, None, 1, Verdict::Park);
            inner.kept.insert(seq, kept);
        }
        let events = (inner.parked.len() - parked) as u64;
        drop(inner);
        if events > 0 {
            self.signals.state(&Signal::Orphaned { processor: &self.name, events });
        }
    }

    /// Takes over a parked event that another subscription left behind: its processor is gone, and
    /// this one has taken its place. None if it is not there, or of a type that is not wanted here, or
    /// if this one takes nothing any more.
    pub(crate) fn adopt(&self, from: &Self, id: EventId) -> Option<()> {
        let (seq, mut kept) = {
            let inner = from.inner.lock();
            let seq = inner.parked.seq(id).filter(|_| inner.orphaned && !inner.sealed)?;
            (seq, inner.kept.get(seq)?.clone())
        };
        kept.which = self.wanted.which(kept.head.topic)?;
        if let Body::Pinned { batch, run, index } = &kept.body {
            let at = Cursor { run: *run, index: *index };
            kept.key = key_of(batch, at).unwrap_or_default(); // user code: outside of any lock
        }
        kept.forget_way();
        // Both at once, so that it is never nowhere; in the one order for all.
        let (mut theirs, mut inner);
        if self.name.index < from.name.index {
            inner = self.inner.lock();
            theirs = from.inner.lock();
        } else {
            theirs = from.inner.lock();
            inner = self.inner.lock();
        }
        if inner.closed || inner.halted || inner.sealed {
            return None;
        }
        if !theirs.parked.remove(id) {
            return None; // who is faster has it
        }
        theirs.state.discard(seq);
        if let Some(news) = &mut theirs.news {
            news.done(seq, true);
            from.news.store(true, SeqCst);
        }
        if let Some(news) = &mut inner.news {
            news.behind(seq);
            self.news.store(true, SeqCst);
        }
        let left = theirs.kept.remove(seq);
        drop(theirs);
        let key = kept.key.clone();
        let before = inner.kept.insert(seq, kept);
        inner.state.give_back(seq, key);
        self.clock.working();
        let wakers = inner.wake_one();
        drop(inner);
        drop((left, before));
        wakers.wake();
        self.signals.state(&Signal::Resubmitted { processor: &self.name, event: id });
        Some(())
    }

    pub(crate) fn is_parked(&self, id: EventId) -> bool {
        self.inner.lock().parked.contains(id)
    }
}
