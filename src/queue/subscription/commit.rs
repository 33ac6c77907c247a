//! How a thread tells what it did: all of it, under one lock.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use parking_lot::MutexGuard;

use super::durable::News;
use super::{InHand, Inner, Subscription, Wakers};
use crate::clock::Timestamp;
use crate::error::Failure;
use crate::message::{Key, Seq};
use crate::queue::answer::{Answers, give};
use crate::queue::batch::{Batch, Load};
use crate::queue::fence::Fence;
use crate::queue::kept::Kept;
use crate::queue::report::Report;
use crate::queue::settlement::{Commit, Released, Settle};
use crate::queue::state::Verdict;
use crate::queue::waiting::{Cursor, load_between};
use crate::signal::{Cause, Signal};

/// A commit that was carried out, and what is left to do when no lock is held. Until it is
/// finished, the runtime does not rest.
#[must_use = "wakes nobody until it is finished"]
pub(crate) struct Committed {
    /// How many events of the front batch it settled.
    pub(crate) passed: u64,
    wakers: Wakers,
    released: Released,
    /// The key of an event that failed: those behind it may have to wait long.
    failed: Option<Key>,
    /// Who is told now; with a log, when it is there.
    answers: Answers,
}

impl Committed {
    /// To be called when all has been told that there is to tell.
    pub(crate) fn finish(self, subscription: &Subscription, by: &Fence) {
        if !self.answers.is_empty() {
            give(self.answers, &subscription.signals);
        }
        subscription.told(by);
        self.wakers.wake();
        drop(self.released);
        if let Some(key) = self.failed {
            subscription.unpin_behind(&key);
        }
    }
}

/// The process died of it once, perhaps: it is delivered once more, and then that is known.
fn is_charged_with_a_death(settle: &Settle) -> bool {
    match settle {
        Settle::Failed { verdict: Verdict::Retry(_), kept, .. } => {
            kept.report.as_ref().is_some_and(|report| report.cause == Cause::Crashed)
        }
        _ => false,
    }
}

impl Subscription {
    /// Carries out a commit of that host. Everything in it happens, under one lock; or nothing, if
    /// the host is fenced, or what was left undone has been given back already.
    pub(crate) fn commit(&self, by: &Fence, commit: Commit) -> Option<Committed> {
        self.carry_out(by, self.inner.lock(), commit)
    }

    fn carry_out(
        &self,
        by: &Fence,
        mut inner: MutexGuard<'_, Inner>,
        commit: Commit,
    ) -> Option<Committed> {
        if inner.sealed || by.is_fenced() {
            drop(inner); // before what the commit holds: `Drop` is user code
            return None;
        }
        let mut passed = 0;
        let mut released = Released::default();
        self.about_to_tell(by);
        if let Some(to) = commit.to {
            let counts = inner.line.batches.front().is_some_and(|front| inner.counts(&front.batch));
            let (left, gone) = inner.line.advance(to, &self.wanted);
            self.left.add(if counts { left } else { Load::default() });
            passed = left.events;
            released.batches.extend(gone);
            inner.news.iter_mut().for_each(News::moves);
        }
        let mut wakes = false;
        let mut failed = None;
        if let Some(settle) = commit.settle {
            commit.by.into_iter().for_each(|driver| inner.drivers.settles(driver));
            failed = self.settle(&mut inner, settle, &mut released);
            wakes = true;
        }
        if let Some(until) = commit.pressed_until {
            inner.pressed_until = until;
        }
        for (name, value, stored) in commit.states {
            if let (Some(news), Some((of, bytes))) = (&mut inner.news, stored) {
                news.kept(of, &name.1, &bytes);
            }
            released.values.extend(inner.table.put(name, value));
        }
        if let (Some(news), Some(outbox)) = (&mut inner.news, commit.outbox) {
            news.published(outbox);
        }
        if let Some(applies) = commit.applies {
            applies();
        }
        let mut answers = commit.answers;
        if let Some(news) = &mut inner.news {
            news.facts(&commit.facts);
            let later = answers.extract_if(.., |answer| !answer.runs_ahead());
            news.answers.extend(later);
            self.news.store(true, SeqCst);
            self.note_hunger(&mut inner);
        }
        for (due, events, topic) in commit.delayed {
            let (number, news) = (inner.delayed.next_number(), &mut inner.news);
            if let Some(news) = news {
                news.delayed(number, due, self.clock.now(), &events, topic);
            }
            inner.delayed.push(due, events);
            wakes = true;
        }
        let wakers = match wakes {
            _ if inner.closed => inner.wake_all(),
            true => inner.wake_one(),
            false => Wakers::default(),
        };
        Some(Committed { passed, wakers, released, failed, answers })
    }

    /// Returns the key if the event failed.
    fn settle(&self, inner: &mut Inner, settle: Settle, released: &mut Released) -> Option<Key> {
        let seq = match &settle {
            Settle::Done { seq, .. } | Settle::Failed { seq, .. } | Settle::GivenUp { seq, .. } => {
                *seq
            }
        };
        inner.acknowledged.remove(&seq);
        if !is_charged_with_a_death(&settle) {
            inner.acquits(seq);
        }
        // Somebody had said so before its handler returned: whatever the handler says, and however late.
        let settle = match settle {
            Settle::Failed { kept, .. } if inner.is_done_early(seq) => {
                inner.ends_lease(seq);
                Settle::Done { seq, key: kept.key }
            }
            settle => settle,
        };
        let in_hand = inner.in_hand.remove(&seq);
        if let Some(InHand { batch, at, .. }) = &in_hand {
            let load = load_between(batch, &self.wanted, *at, at.next());
            inner.in_hand_load = inner.in_hand_load.less(load);
            if inner.counts(batch) {
                self.left.add(load);
            }
        }
        let mut failed = None;
        match settle {
            Settle::Done { seq, key } | Settle::GivenUp { seq, key } => {
                let key = key.or_else(|| in_hand.as_ref().and_then(|hand| hand.key.clone()));
                if let Some(news) = &mut inner.news {
                    news.done(seq, inner.state.status(seq).is_some());
                }
                inner.state.finished(seq, key.as_ref());
                released.kept.extend(inner.kept.remove(seq));
            }
            Settle::Failed { seq, failures, verdict, mut kept } => {
                if kept.key.is_none() {
                    kept.key = in_hand.as_ref().and_then(|hand| hand.key.clone());
                }
                failed.clone_from(&kept.key);
                if let Some(news) = &mut inner.news {
                    let now = self.clock.now();
                    news.held(seq, failures, verdict, kept.report.as_deref(), now);
                }
                inner.state.failed(seq, kept.key.clone(), failures, verdict);
                released.kept.extend(inner.keep(seq, kept, verdict));
            }
        }
        released.batches.extend(in_hand.map(|hand| hand.batch));
        failed
    }

    /// Whoever waits behind an event that is held may wait long, and is kept as bytes from now on:
    /// no batch is pinned by one event.
    fn unpin_behind(&self, key: &Key) {
        let pinned: Vec<(Seq, Kept)> = {
            let inner = self.inner.lock();
            let behind = inner.state.behind(key);
            let kept = behind.filter_map(|seq| Some((seq, inner.kept.get(seq)?.clone())));
            kept.filter(|(_, kept)| kept.is_pinned()).collect()
        };
        for (seq, kept) in pinned {
            let unpinned = kept.unpinned();
            let mut inner = self.inner.lock();
            let before = inner.kept.unpin(seq, unpinned);
            drop(inner);
            drop(before);
        }
    }

    /// Parks the event at `at` of the front batch, whose `key()` panicked.
    pub(super) fn park_keyless(
        &self,
        by: &Fence,
        inner: MutexGuard<'_, Inner>,
        at: Cursor,
        seq: Seq,
        mut kept: Kept,
        panic: String,
    ) -> Option<Committed> {
        let failure = Failure::permanent(format!("key() panicked: {panic}"));
        let report = Report::next(None, Cause::Panicked, failure, Vec::new(), Timestamp::now());
        kept.report = Some(Arc::new(report));
        let (event, attempts) = (kept.id(), 0);
        let settle = Settle::Failed { seq, failures: 1, verdict: Verdict::Park, kept };
        let commit = Commit { to: Some(at.next()), settle: Some(settle), ..Commit::default() };
        let committed = self.carry_out(by, inner, commit)?;
        let (processor, cause) = (&self.name, Cause::Panicked);
        self.signals.state(&Signal::Parked { processor, event, attempts, cause });
        Some(committed)
    }

    /// As [`Subscription::park_keyless`], for the one driver of a range.
    pub(crate) fn park_first(
        &self,
        by: &Fence,
        batch: &Arc<Batch>,
        at: Cursor,
        which: u16,
        panic: String,
    ) {
        let seq = batch.seq(&batch.events.runs()[at.run as usize], at.index);
        let kept = Kept::encoded(batch, at.run, at.index, which);
        if let Some(parked) = self.park_keyless(by, self.inner.lock(), at, seq, kept, panic) {
            parked.finish(self, by);
        }
    }
}
