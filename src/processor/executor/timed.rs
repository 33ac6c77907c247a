//! What happens by the clock: publications that were to leave later, and ticks.

use std::time::Duration;

use super::Executor;
use crate::broker::handle::NoRoom;
use crate::guard::contain;
use crate::processor::Processor;
use crate::processor::context::InHand;
use crate::processor::dispatch::HandlerList;
use crate::processor::outcome::Ended;
use crate::queue::batch::Events;
use crate::signal::{DropReason, Hook, Signal};

/// How long a delayed publication waits for room before it asks again.
const ASK_AGAIN: Duration = Duration::from_millis(10);

impl<P: Processor, L: HandlerList<P>> Executor<P, L> {
    pub(super) fn publish_delayed(&mut self, number: u64, events: Events) {
        let (broker, subscription) = (&self.seat.broker, &self.seat.subscription);
        match broker.flush_later(subscription, number, events) {
            Ok(()) => {}
            Err(NoRoom::Yet(events)) => {
                subscription.delay(number, broker.clock.now().after(ASK_AGAIN), events);
            }
            Err(NoRoom::Ever(events)) => {
                let (processor, reason) = (&subscription.name, DropReason::NeverFits);
                let dropped =
                    Signal::Dropped { processor, events: u64::from(events.len()), reason };
                broker.signals.state(&dropped);
                subscription.has_left(number, None);
                drop(events);
            }
        }
        subscription.told(&self.seat.fence);
        broker.progressed(subscription);
    }

    /// Publishes what is due by the clock.
    pub(super) fn tick(&mut self, tick: usize) {
        let (period, make) = &self.spec.ticks[tick];
        self.ticked = true;
        self.cx.take(InHand::Nothing, 0, 0);
        let cx = &mut self.cx;
        let ended = match contain(|| make(cx)) {
            Ok(()) => self.cx.refuses(),
            Err(panic) => Some(Box::new(Ended::Panicked(panic))),
        };
        self.cx.forget();
        self.link.commit(None);
        // Those it was too slow for are left out.
        let now = self.seat.broker.clock.now();
        self.ticks[tick] = self.ticks[tick].after(*period).max(now);
        if let Some((_, failure)) = ended.map(|ended| ended.into_failure()) {
            self.say_hook_failed(Hook::Every, &failure);
        }
    }
}
