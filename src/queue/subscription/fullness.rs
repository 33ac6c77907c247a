//! Room: how much more may be held, and when publishers who wait for it are thought of: not at every
//! event, since a wake-up is to pay.

use std::sync::atomic::Ordering::Relaxed;

use super::{Inner, Subscription};
use crate::queue::batch::Load;

impl Subscription {
    /// Whether there is clearly more room than when this was asked last: worth waking publishers
    /// for, who pay for a wake-up with many events.
    pub(crate) fn has_made_room(&self) -> bool {
        let (waiting, mut bound) = (self.waiting(), self.settings.bound);
        bound = self.limit.get().map_or(bound, |limit| bound.min(*limit));
        let eighths = |of: u64, bound: u64| of / (bound / 8).max(1);
        let by_weight = eighths(waiting.weight, bound.weight);
        let step = eighths(waiting.events, bound.events).max(by_weight);
        self.fullness.swap(step, Relaxed) != step || waiting.events == 0
    }

    /// Publishers of a channel that it reads wait when so much does.
    pub(crate) fn limit_to(&self, limit: Load) {
        self.limit.set(limit).ok(); // once and for ever
    }

    /// Somebody begins to wait for room: what was thought of others does not count.
    pub(crate) fn forget_fullness(&self) {
        self.fullness.store(u64::MAX, Relaxed);
    }

    /// Whether one more publication may wait for its time, beside so many that are about to.
    pub(crate) fn has_room_for_delayed(&self, more: Load) -> bool {
        let mut load = self.inner.lock().delayed.load();
        load.add(more);
        load.fits(Load::new(self.settings.most_held as u64, self.settings.bound.weight))
    }
}

impl Inner {
    /// Too many events are held, or too heavy ones: nothing new is taken until some have left.
    pub(super) fn is_full(&self) -> bool {
        self.state.is_full() || self.kept.weight() >= self.most_held_weight
    }

    /// Nobody waits behind anybody, and there is room: first deliveries need not be asked for.
    pub(super) fn is_clear(&self) -> bool {
        self.state.is_clear() && !self.is_full()
    }
}
