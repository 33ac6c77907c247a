//! Publications that leave later, soonest first. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::batch::{Events, Load};
use crate::clock::Moment;

struct Delayed {
    due: Moment,
    /// Those of one moment leave in the order they were published.
    number: u64,
    events: Events,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// Publications that leave later.
#[derive(Default)]
pub(crate) struct DelayedEvents {
    heap: BinaryHeap<Reverse<Delayed>>,
    next: u64,
    load: Load,
}

impl DelayedEvents {
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// What they take up.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    pub(crate) fn push(&mut self, due: Moment, events: Events) {
        self.push_again(self.next, due, events);
    }

    /// As [`DelayedEvents::push`], for some that have their number.
    pub(crate) fn push_again(&mut self, number: u64, due: Moment, events: Events) {
        events.loads().for_each(|(_, load)| self.load.add(load));
        self.heap.push(Reverse(Delayed { due, number, events }));
        self.next = self.next.max(number + 1);
    }

    /// The number that the next ones get.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(first)| first.due)
    }

    /// The first one, if it is due by `now`; whenever it is due without one.
    pub(crate) fn pop(&mut self, now: Option<Moment>) -> Option<(u64, Events)> {
        if now.is_some_and(|now| self.next_due().is_none_or(|due| due > now)) {
            return None;
        }
        let Reverse(Delayed { number, events, .. }) = self.heap.pop()?;
        events.loads().for_each(|(_, load)| self.load = self.load.less(load));
        Some((number, events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::EventId;
    use crate::message::envelope::{Origin, TopicId};
    use crate::queue::form::Form;
    use crate::signal::Signals;
    use proptest::prelude::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Ping;
    crate::event!(Ping, "ping");

    fn one(id: u128) -> Events {
        let mut events = Events::new(Signals::new(Vec::new()));
        let (topic, event, form) = (TopicId(0), std::iter::once(Ping), Form::Values { each: 3 });
        events.push(topic, event, form, EventId(id), &Origin::OUTSIDE, Default::default);
        events
    }

    proptest! {
        #[test]
        fn they_leave_by_their_time_then_by_their_order_and_none_too_early(
            dues in prop::collection::vec(0u64..20, 0..60), now in 0u64..20
        ) {
            let mut delayed = DelayedEvents::default();
            for (id, due) in dues.iter().enumerate() {
                delayed.push(Moment(*due), one(id as u128));
            }
            prop_assert_eq!(delayed.load(), Load::new(dues.len() as u64, 3 * dues.len() as u64));
            let mut expected: Vec<_> = (0..dues.len()).filter(|id| dues[*id] <= now).collect();
            expected.sort_by_key(|id| (dues[*id], *id));
            for id in expected {
                let events = delayed.pop(Some(Moment(now)));
                prop_assert_eq!(events.map(|(_, of)| of.runs()[0].head.id(0)), Some(EventId(id as u128)));
            }
            prop_assert!(delayed.pop(Some(Moment(now))).is_none());
            prop_assert!(delayed.next_due().is_none_or(|due| due > Moment(now)));
            while delayed.pop(None).is_some() {}
            prop_assert_eq!(delayed.load(), Load::default());
        }
    }
}
