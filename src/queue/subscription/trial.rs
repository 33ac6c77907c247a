//! After a process that died at some events: these are delivered before all else, one at a time and with
//! nothing beside them. If it dies again, it is known of which one, and no event is parked for what
//! another one did.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Inner, Subscription};
use crate::message::Seq;

/// Who may be handed something, as long as it lasts.
pub(crate) struct Trial {
    over: AtomicBool,
    /// By its number in the log, whose turn it is; 0 for nobody's.
    turn: AtomicU64,
    parties: Mutex<Parties>,
}

#[derive(Default)]
struct Parties {
    /// Those with such events, in the order of their turns.
    accused: VecDeque<Weak<Subscription>>,
    all: Vec<Weak<Subscription>>,
}

/// What a subscription may hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// Whatever it has.
    Free,
    /// One event at a time, in order.
    Alone,
    /// Nothing: it is another one's turn.
    Barred,
}

impl Trial {
    /// If no process died, it is over before it begins.
    pub(crate) fn new(somebody_died: bool) -> Arc<Self> {
        let (over, turn) = (AtomicBool::new(!somebody_died), AtomicU64::new(0));
        Arc::new(Self { over, turn, parties: Mutex::default() })
    }

    /// From now on the subscription keeps to it.
    pub(crate) fn joins(self: &Arc<Self>, subscription: &Arc<Subscription>) {
        let accused = !subscription.inner.lock().on_trial.is_empty();
        let parties = &mut *self.parties.lock();
        if self.is_over() || subscription.trial.set(self.clone()).is_err() {
            return;
        }
        parties.all.push(Arc::downgrade(subscription));
        if accused {
            parties.accused.push_back(Arc::downgrade(subscription));
        }
    }

    /// All are there. How many events are to be delivered first.
    pub(crate) fn begin(&self) -> usize {
        let accused: Vec<_> =
            self.parties.lock().accused.iter().filter_map(Weak::upgrade).collect();
        let events = accused.iter().map(|of| of.inner.lock().on_trial.len()).sum();
        self.next(0);
        events
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// If it is still that one's turn, it is the next one's; after the last one it is over. To be called
    /// when what that one did is on disk: else, if the process dies of the next one, it is done again.
    pub(crate) fn next(&self, after: u64) {
        let mut parties = self.parties.lock();
        if self.is_over() || self.turn.load(SeqCst) != after {
            return;
        }
        while let Some(accused) = parties.accused.pop_front() {
            if let Some(accused) = accused.upgrade() {
                self.turn.store(accused.log_number(), SeqCst);
                drop(parties);
                return accused.look_again();
            }
        }
        drop(parties);
        self.end();
    }

    /// All may do what they like.
    pub(crate) fn end(&self) {
        self.over.store(true, SeqCst);
        let Parties { all, .. } = std::mem::take(&mut *self.parties.lock());
        all.iter().filter_map(Weak::upgrade).for_each(|subscription| subscription.look_again());
    }

    /// Whose turn it is, if that one is through with it, or cannot move; by its number, if it is gone.
    pub(crate) fn is_through(&self) -> Option<(u64, Option<Arc<Subscription>>)> {
        let turn = self.turn.load(SeqCst);
        let all: Vec<_> = self.parties.lock().all.iter().filter_map(Weak::upgrade).collect();
        let its = all.into_iter().find(|subscription| subscription.log_number() == turn);
        let moves = its.as_ref().is_some_and(|its| {
            let settled = its.has_settled();
            let through = settled && !its.has_untold();
            !(through || its.is_detached() || its.is_stuck() || its.is_closed())
        });
        (!moves).then_some((turn, its))
    }
}

impl Subscription {
    pub(super) fn stance(&self) -> Stance {
        match self.trial.get() {
            Some(trial) if !trial.is_over() => match trial.turn.load(SeqCst) {
                turn if turn == self.log_number() => Stance::Alone,
                _ => Stance::Barred,
            },
            _ => Stance::Free,
        }
    }

    /// Whoever waits for something to do looks again.
    fn look_again(&self) {
        let wakers = self.inner.lock().wake_all();
        wakers.wake();
    }
}

impl Subscription {
    /// Whether nothing is left of what it was accused of. What has been passed over without being handled
    /// is not wanted any more, or not there.
    fn has_settled(&self) -> bool {
        let inner = &mut *self.inner.lock();
        let to = inner.taken_to(self);
        let Inner { on_trial, state, in_hand, fetch, fetching, .. } = inner;
        let passed = |seq: &Seq| {
            let is_here = state.status(*seq).is_some() || in_hand.contains_key(seq);
            *seq < to && !(is_here || fetch.contains(seq) || fetching.contains(seq))
        };
        let gone: Vec<Seq> = on_trial.extract_if(.., passed).collect();
        for seq in gone {
            inner.suspects.remove(&seq);
            inner.news.iter_mut().for_each(|news| news.acquits(seq));
            self.news.store(true, SeqCst);
        }
        inner.on_trial.is_empty()
    }
}

impl Inner {
    /// The process did not die of that event, or it is known that it did.
    pub(super) fn acquits(&mut self, seq: Seq) {
        self.on_trial.remove(&seq);
    }
}
