//! How a thread tells what it did: all of it, under one lock.

use std::sync::Arc;

use super::{InHand, Inner, Subscription, Wakers};
use crate::clock::Timestamp;
use crate::error::Failure;
use crate::queue::batch::Batch;
use crate::queue::kept::Kept;
use crate::queue::report::Report;
use crate::queue::settlement::{Commit, Released, Settle};
use crate::queue::state::Verdict;
use crate::queue::waiting::{Cursor, load_between};
use crate::signal::{Cause, Signal};

impl Subscription {
    /// Carries out a commit. Everything in it happens, under one lock. Returns how many events of
    /// the front batch it settled.
    pub(crate) fn commit(&self, commit: Commit) -> u64 {
        let mut passed = 0;
        let mut released = Released::default();
        let mut inner = self.inner.lock();
        if let Some(to) = commit.to {
            let (left, gone) = inner.line.advance(to, &self.wanted);
            self.left.add(left);
            passed = left.events;
            released.batches.extend(gone);
        }
        let mut wakes = false;
        if let Some(settle) = commit.settle {
            self.settle(&mut inner, settle, &mut released);
            wakes = true;
        }
        if let Some(until) = commit.pressed_until {
            inner.pressed_until = until;
        }
        for (name, value) in commit.states {
            released.values.extend(inner.table.put(name, value));
        }
        if !commit.delayed.is_empty() {
            inner.delayed.extend(commit.delayed);
            inner.delayed.sort_by_key(|(due, _)| std::cmp::Reverse(*due));
            wakes = true;
        }
        let wakers = match wakes {
            _ if inner.closed => inner.wake_all(),
            true => inner.wake_one(),
            false => Wakers::default(),
        };
        drop(inner);
        wakers.wake();
        drop(released);
        passed
    }

    fn settle(&self, inner: &mut Inner, settle: Settle, released: &mut Released) {
        let seq = match &settle {
            Settle::Done { seq, .. } | Settle::Failed { seq, .. } => *seq,
        };
        let in_hand = inner.in_hand.remove(&seq);
        if let Some(InHand { batch, at, .. }) = &in_hand {
            let load = load_between(batch, &self.wanted, *at, at.next());
            inner.line.load = inner.line.load.less(load);
            self.left.add(load);
        }
        match settle {
            Settle::Done { seq, key } => {
                let key = key.or_else(|| in_hand.as_ref().and_then(|hand| hand.key.clone()));
                inner.state.finished(seq, key.as_ref());
                released.kept.extend(inner.kept.remove(&seq));
            }
            Settle::Failed { seq, failures, verdict, mut kept } => {
                if kept.key.is_none() {
                    kept.key = in_hand.as_ref().and_then(|hand| hand.key.clone());
                }
                inner.state.failed(seq, kept.key.clone(), failures, verdict);
                if verdict == Verdict::Park {
                    inner.parked.insert(kept.id(), seq);
                }
                released.kept.extend(inner.kept.insert(seq, kept));
            }
        }
        released.batches.extend(in_hand.map(|hand| hand.batch));
    }

    /// Parks the event at `at` of the front batch, whose `key()` panicked.
    pub(crate) fn park_keyless(&self, batch: &Arc<Batch>, at: Cursor, which: u16, panic: String) {
        let seq = batch.seq(&batch.events.runs()[at.run as usize], at.index);
        let mut kept = Kept::encoded(batch, at.run, at.index, which);
        let failure = Failure::permanent(format!("key() panicked: {panic}"));
        let report = Report::next(None, Cause::Panicked, failure, Vec::new(), Timestamp::now());
        kept.report = Some(Arc::new(report));
        let (event, attempts) = (kept.id(), 0);
        let settle = Settle::Failed { seq, failures: 1, verdict: Verdict::Park, kept };
        self.commit(Commit { to: Some(at.next()), settle: Some(settle), ..Commit::default() });
        let (processor, cause) = (&self.name, Cause::Panicked);
        self.signals.state(&Signal::Parked { processor, event, attempts, cause });
    }
}
