//! When publishers who wait for room are thought of: not at every event, since a wake-up is to pay.

use std::sync::atomic::Ordering::Relaxed;

use super::Subscription;

impl Subscription {
    /// Whether there is clearly more room than when this was asked last: worth waking publishers
    /// for, who pay for a wake-up with many events.
    pub(crate) fn has_made_room(&self) -> bool {
        let (waiting, mut bound) = (self.waiting(), self.settings.bound);
        bound.events = bound.events.min(self.limit.load(Relaxed));
        let eighths = |of: u64, bound: u64| of / (bound / 8).max(1);
        let by_weight = eighths(waiting.weight, bound.weight);
        let step = eighths(waiting.events, bound.events).max(by_weight);
        self.fullness.swap(step, Relaxed) != step || waiting.events == 0
    }

    /// Publishers of a channel that it reads wait when so many events do.
    pub(crate) fn limit_to(&self, events: u64) {
        self.limit.fetch_min(events, Relaxed);
    }

    /// Somebody begins to wait for room: what was thought of others does not count.
    pub(crate) fn forget_fullness(&self) {
        self.fullness.store(u64::MAX, Relaxed);
    }
}
