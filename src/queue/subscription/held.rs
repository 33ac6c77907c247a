//! What a person sees and does: parked events, and all that is not settled at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{Inner, Subscription, key_of};
use crate::clock::Moment;
use crate::message::{EventId, Seq};
use crate::queue::batch::{Batch, Events};
use crate::queue::kept::Kept;
use crate::queue::report::{ParkedEvent, Report};
use crate::queue::state::{Status, Verdict};
use crate::queue::waiting::Cursor;
use crate::signal::{DropReason, Signal};

/// Where an unsettled event stood when the runtime stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsettled {
    /// It waited for its first delivery, or was in hand for it.
    Waiting,
    /// It had failed and was to be delivered again.
    Retrying,
    /// It was parked.
    Parked,
    /// It waited behind another event of its key.
    Behind,
    /// It was to be published later.
    Delayed,
}

impl Unsettled {
    fn of(status: Status, failures: u32) -> Self {
        match status {
            // It was in hand for its first delivery when its host was given up.
            Status::Retrying(_) | Status::Ready | Status::InHand if failures == 0 => Self::Waiting,
            Status::Retrying(_) | Status::Ready | Status::InHand => Self::Retrying,
            Status::Parked => Self::Parked,
            Status::Behind => Self::Behind,
        }
    }
}

impl Subscription {
    /// All parked events, in their order.
    pub(crate) fn parked(&self, name_of: impl Fn(&Kept) -> &'static str) -> Vec<ParkedEvent> {
        let (mut parked, shelved): (Vec<(Seq, Kept)>, Vec<(Seq, Report)>) = {
            let inner = self.inner.lock();
            let seqs = inner.parked.kept();
            let here = seqs.filter_map(|seq| Some((seq, inner.kept.get(seq)?.clone()))).collect();
            (here, inner.parked.shelved().map(|(seq, of)| (seq, of.report())).collect())
        };
        let mut seqs: Vec<Seq> = shelved.iter().map(|(seq, _)| *seq).collect();
        seqs.sort_unstable(); // they are by their ids
        let mut found = self.read_back(&seqs);
        parked.extend(shelved.into_iter().filter_map(|(seq, report)| {
            let report = Some(Arc::new(report));
            Some((seq, Kept { report, ..found.events.remove(&seq)? }))
        }));
        let mut events: Vec<_> = parked
            .into_iter()
            .filter_map(|(seq, kept)| {
                let report = kept.report.as_ref()?;
                Some(ParkedEvent {
                    processor: self.name.name.clone(),
                    topic: name_of(&kept),
                    id: kept.id(),
                    seq,
                    correlation: kept.head.correlation(0),
                    causation: kept.head.causation(0),
                    key: kept.key.clone(),
                    published: kept.head.at,
                    cause: report.cause,
                    reason: report.reason,
                    chain: report.chain.clone(),
                    attempts: report.deliveries,
                    first_failed: report.first_failed,
                    last_failed: report.last_failed,
                    path: report.path.clone(),
                    payload: kept.payload(),
                })
            })
            .collect();
        events.sort_by_key(|event| event.seq);
        events
    }

    /// How many events are parked, by reason.
    pub(crate) fn parked_by_reason(&self) -> BTreeMap<&'static str, u64> {
        let inner = self.inner.lock();
        let mut by_reason = BTreeMap::new();
        let kept = inner.parked.kept().filter_map(|seq| inner.kept.get(seq)?.report.as_ref());
        let shelved = inner.parked.shelved().map(|(_, report)| report.text.reason);
        for reason in kept.map(|report| report.reason).chain(shelved) {
            *by_reason.entry(reason).or_default() += 1;
        }
        by_reason
    }

    /// Hands a parked event back, with a clean record. False if it is not parked (any more).
    pub(crate) fn resubmit(&self, id: EventId) -> bool {
        let mut inner = self.inner.lock();
        let Some(seq) = inner.parked_at(id) else { return false };
        if !inner.state.resubmit(seq) {
            return false;
        }
        if let Some(shelved) = inner.parked.take(id) {
            inner.vouched.insert(seq, shelved);
        }
        inner.kept.forget_way(seq);
        let now = self.clock.now();
        if let Some(news) = &mut inner.news {
            news.held(seq, 0, Verdict::Retry(now), None, now);
            self.news.store(true, SeqCst);
        }
        self.clock.working();
        let wakers = inner.wake_one();
        drop(inner);
        wakers.wake();
        self.signals.state(&Signal::Resubmitted { processor: &self.name, event: id });
        true
    }

    /// Gives a parked event up. False if it is not parked (any more).
    pub(crate) fn discard(&self, id: EventId) -> bool {
        let mut inner = self.inner.lock();
        let Some(seq) = inner.parked_at(id) else { return false };
        if !inner.state.discard(seq) {
            return false;
        }
        inner.parked.remove(id);
        if let Some(news) = &mut inner.news {
            news.done(seq, true);
            self.news.store(true, SeqCst);
        }
        let kept = inner.kept.remove(seq);
        let wakers = inner.wake_one();
        drop(inner);
        drop(kept);
        wakers.wake();
        let reason = DropReason::Discarded;
        self.signals.state(&Signal::Dropped { processor: &self.name, events: 1, reason });
        true
    }

    /// Everything that is not settled, for who shuts down: what it is, and where it stood.
    pub(crate) fn unsettled(&self) -> Vec<(Seq, Kept, Unsettled)> {
        let (waiting, held) = {
            let inner = self.inner.lock();
            let mut waiting: Vec<(Arc<Batch>, Cursor, Cursor)> = inner
                .line
                .batches
                .iter()
                .map(|waiting| (waiting.batch.clone(), waiting.at, waiting.end))
                .collect();
            // What counts as handled already is nobody's to do again.
            let undone = |(seq, _): &(&Seq, &super::InHand)| !inner.acknowledged.contains(seq);
            let in_hand = inner.in_hand.iter().filter(undone);
            waiting.extend(in_hand.map(|(_, hand)| (hand.batch.clone(), hand.at, hand.at.next())));
            let held: Vec<_> = inner
                .kept
                .iter()
                .filter(|(seq, _)| !inner.acknowledged.contains(seq))
                .map(|(seq, kept)| {
                    // Those that wait behind another for the first time are not known one by one.
                    let status = inner.state.status(*seq).unwrap_or(Status::Behind);
                    let failures = inner.state.failures(*seq).unwrap_or_default();
                    (*seq, kept.clone(), Unsettled::of(status, failures))
                })
                .collect();
            (waiting, held)
        };
        let mut all: Vec<(Seq, Kept, Unsettled)> = held;
        for (batch, mut at, end) in waiting {
            while let Some((here, which)) =
                at.seek(&batch, &self.wanted).filter(|(here, _)| *here < end)
            {
                let seq = batch.seq(&batch.events.runs()[here.run as usize], here.index);
                let mut kept = Kept::encoded(&batch, here.run, here.index, which);
                kept.key = key_of(&batch, here).unwrap_or_default();
                all.push((seq, kept, Unsettled::Waiting));
                at = here.next();
            }
        }
        all.sort_by_key(|(seq, _, _)| *seq);
        all
    }

    /// Publications whose time had come, but not their room, wait on. To be followed by
    /// [`Subscription::told`].
    pub(crate) fn delay(&self, number: u64, due: Moment, events: Events) {
        let mut inner = self.inner.lock();
        inner.delayed.push_again(number, due, events);
        let wakers = inner.wake_one();
        drop(inner);
        wakers.wake();
    }

    /// Publications that were to leave later, in their order.
    pub(crate) fn take_delayed(&self) -> Vec<Events> {
        let mut delayed = std::mem::take(&mut self.inner.lock().delayed);
        std::iter::from_fn(|| delayed.pop(None)).map(|(_, events)| events).collect()
    }
}

impl Inner {
    /// The place of a parked event about which something can still be done: nobody would deliver it
    /// again after the processor was removed, and it was given back when the runtime stopped.
    fn parked_at(&self, id: EventId) -> Option<Seq> {
        let gone = (self.closed && !self.orphaned) || self.sealed;
        self.parked.seq(id).filter(|_| !gone)
    }
}
