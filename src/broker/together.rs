//! Admission of events of several types that go in together or not at all. Pure, but for whom it wakes.

use std::task::Waker;

use super::door::Door;
use crate::message::envelope::TopicId;
use crate::queue::batch::Load;

/// A place in the queue before a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) topic: TopicId,
    pub(crate) number: u64,
}

impl Door {
    /// Lets all of them in, or none: then it says where there is no room. Whoever has waited for one
    /// topic need not queue for the others as well, so that no two wait for each other.
    pub(crate) fn admit_together(
        &mut self,
        loads: &[(TopicId, Load)],
        ticket: Option<Ticket>,
    ) -> Result<(), TopicId> {
        for (number, (topic, load)) in loads.iter().enumerate() {
            let admitted = match ticket {
                Some(ticket) if ticket.topic != *topic => self.admit_out_of_turn(*topic, *load),
                _ => self.admit(*topic, *load, ticket.map(|ticket| ticket.number)),
            };
            if !admitted {
                for (topic, load) in &loads[..number] {
                    self.take_back(*topic, *load);
                }
                return Err(*topic);
            }
        }
        Ok(())
    }

    /// Whether so much is more than some subscription may ever hold.
    pub(crate) fn never_fit_together(&self, loads: &[(TopicId, Load)]) -> bool {
        self.gates.iter().flatten().any(|gate| {
            // As if nothing were waiting.
            let mut before = Load::default();
            let mut wanted =
                loads.iter().filter(|(topic, _)| gate.subscription.wanted.which(*topic).is_some());
            wanted.any(|(topic, load)| {
                before.add(*load);
                self.bound_of(gate, *topic).is_some_and(|(bound, _)| !before.fits(bound))
            })
        })
    }

    /// Queues before a topic, and before no other any more. Returns whom to wake: the next one there.
    pub(crate) fn wait_at(
        &mut self,
        topic: TopicId,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Option<Waker> {
        let (same, next) = match ticket.take() {
            Some(ticket) if ticket.topic == topic => (Some(ticket.number), None),
            Some(ticket) => (None, self.leave(ticket.topic, ticket.number)),
            None => (None, None),
        };
        let number = self.wait(topic, same, waker);
        *ticket = Some(Ticket { topic, number });
        next
    }
}
