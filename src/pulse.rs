//! How a thread that is stuck in user code is seen from outside: it says when it enters and leaves,
//! with one relaxed store each, and somebody else has the clock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Moment;
use crate::inflight::Slot;
use crate::message::Seq;

/// What a thread says of itself; on cache lines that nobody else writes.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Pulse {
    /// Odd while it is inside; grows whenever it enters or leaves.
    beat: AtomicU64,
    /// Which host it is inside of; 0 for none.
    host: AtomicU64,
    /// The event in hand, its place in the order plus one; 0 for none.
    hand: AtomicU64,
    /// Where the same is known after the process has died, if there is a log.
    slot: Option<Slot>,
}

impl Pulse {
    pub(crate) fn new(slot: Option<Slot>) -> Self {
        Self { slot, ..Self::default() }
    }

    /// The thread runs code of that host from now on, and of that subscription: one more than its
    /// number in the log, 0 for none.
    #[inline]
    pub(crate) fn enter(&self, host: u64, subscription: u64) {
        self.host.store(host, Relaxed);
        self.hand.store(0, Relaxed);
        if let Some(slot) = &self.slot {
            slot.works_for(subscription);
        }
        self.beat.store(self.beat.load(Relaxed) + 1, Relaxed);
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.at(0);
        self.beat.store(self.beat.load(Relaxed) + 1, Relaxed);
    }

    /// It handles that event.
    #[inline]
    pub(crate) fn hold(&self, seq: Seq) {
        self.hand.store(seq.0 + 1, Relaxed);
        self.at(seq.0 + 1);
    }

    #[inline]
    fn at(&self, position: u64) {
        if let Some(slot) = &self.slot {
            slot.is_at(position);
        }
    }

    /// It begins with something that belongs to no event.
    pub(crate) fn release(&self) {
        self.hand.store(0, Relaxed);
        self.at(0);
        self.beat.store(self.beat.load(Relaxed) + 2, Relaxed); // perhaps once more of the same
    }
}

/// A thread that has been at one thing for so long, inside a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) host: u64,
    pub(crate) event: Option<Seq>,
    pub(crate) since: Duration,
}

/// What is known of a thread from looking at its pulse again and again.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    beat: u64,
    hand: u64,
    since: Moment,
}

impl Watch {
    /// Looks. None if the thread is outside, or has been there since the last look.
    pub(crate) fn look(&mut self, pulse: &Pulse, now: Moment) -> Option<Stuck> {
        let (beat, hand) = (pulse.beat.load(Relaxed), pulse.hand.load(Relaxed));
        if (beat, hand) != (self.beat, self.hand) {
            (self.beat, self.hand, self.since) = (beat, hand, now);
        }
        if beat.is_multiple_of(2) {
            return None;
        }
        let event = hand.checked_sub(1).map(Seq);
        let host = pulse.host.load(Relaxed);
        // It left and may be elsewhere already: what was read belongs to nothing.
        if pulse.beat.load(Relaxed) != beat {
            return None;
        }
        Some(Stuck { host, event, since: now.since(self.since) })
    }

    /// Nobody looked for so long, because the whole process stood still: that counts for nobody.
    pub(crate) fn skip(&mut self, gap: Duration) {
        self.since = self.since.after(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::default().after(Duration::from_millis(milliseconds))
    }

    #[test]
    fn only_who_stays_inside_is_seen_for_longer_and_longer() {
        let (pulse, mut watch) = (Pulse::default(), Watch::default());
        assert_eq!(watch.look(&pulse, at(0)), None);
        pulse.enter(7, 0);
        pulse.hold(Seq(0));
        let stuck =
            |since| Stuck { host: 7, event: Some(Seq(0)), since: Duration::from_millis(since) };
        assert_eq!(watch.look(&pulse, at(10)), Some(stuck(0)));
        assert_eq!(watch.look(&pulse, at(30)), Some(stuck(20)));
        pulse.hold(Seq(1));
        let Some(next) = watch.look(&pulse, at(35)) else { panic!("it is inside") };
        assert_eq!((next.event, next.since), (Some(Seq(1)), Duration::ZERO), "it went on");
        pulse.leave();
        assert_eq!(watch.look(&pulse, at(40)), None);
        pulse.enter(7, 0);
        let seen = watch.look(&pulse, at(50));
        assert_eq!(seen, Some(Stuck { host: 7, event: None, since: Duration::ZERO }));
        pulse.leave();
        pulse.enter(7, 0);
        pulse.hold(Seq(0));
        assert_eq!(watch.look(&pulse, at(99)), Some(stuck(0)), "it was outside in between");
    }
}
