//! What happens by the clock: publications that were to leave later, and ticks.

use std::time::Duration;

use super::Executor;
use crate::guard::contain;
use crate::processor::Processor;
use crate::processor::context::InHand;
use crate::processor::dispatch::HandlerList;
use crate::processor::outcome::Ended;
use crate::queue::batch::Events;
use crate::queue::settlement::Commit;
use crate::signal::Hook;

/// How long a delayed publication waits for room before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(10);

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    pub(super) fn publish_delayed(&mut self, events: Events) {
        if let Err(events) = self.seat.broker.flush_later(events) {
            let again = self.seat.broker.clock.now().after(ASK_AGAIN);
            let delayed = vec![(again, events)];
            let commit = Commit { delayed, ..Commit::default() };
            if let Some(committed) = self.seat.subscription.commit(commit) {
                committed.finish(&self.seat.subscription);
            }
        }
    }

    /// Publishes what is due by the clock.
    pub(super) fn tick(&mut self, tick: usize) {
        let (period, make) = &self.spec.ticks[tick];
        let now = self.seat.broker.clock.now();
        self.ticks[tick] = self.ticks[tick].after(*period).max(now);
        self.cx.take(InHand::Nothing, 0, 0);
        let cx = &mut self.cx;
        let ended = match contain(|| make(cx)) {
            Ok(()) => self.cx.refuses(),
            Err(panic) => Some(Box::new(Ended::Panicked(panic))),
        };
        self.cx.forget();
        self.link.commit(None);
        if let Some((_, failure)) = ended.map(|ended| ended.into_failure()) {
            self.say_hook_failed(Hook::Every, &failure);
        }
    }
}
