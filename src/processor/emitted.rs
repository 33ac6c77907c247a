//! A topic that a driver publishes on, and what it is allowed to.

use std::any::TypeId;

use crate::broker::handle::Lease;
use crate::message::envelope::TopicId;
use crate::queue::batch::{Events, Load};

/// A topic that this driver publishes on.
pub(super) struct Emitted {
    pub(super) of: TypeId,
    pub(super) topic: TopicId,
    pub(super) name: &'static str,
    pub(super) lease: Lease,
    /// What the event in hand published beyond the lease.
    pub(super) short: Load,
    /// In which commit it was asked last whether anybody takes what is sent there, and how much of it.
    pub(super) asked: (u64, u64),
}

impl Emitted {
    /// What was used of the lease, but for what the event in hand published, which has not left
    /// yet; the rest is kept for the next commit.
    pub(super) fn take_used(&mut self, of_event_in_hand: &Events) -> Option<(TopicId, Lease)> {
        let mut kept = Load::default();
        let of_topic = of_event_in_hand.loads().filter(|(of, _)| *of == self.topic);
        of_topic.for_each(|(_, load)| kept.add(load));
        kept = kept.less(self.short);
        let used = self.lease.used.less(kept);
        self.lease.used = kept;
        (!used.is_zero()).then_some((self.topic, Lease { used, allowed: Load::default() }))
    }

    /// What is not used of the lease.
    pub(super) fn take_unused(&mut self) -> Option<(TopicId, Lease)> {
        let allowed = std::mem::take(&mut self.lease.allowed);
        (!allowed.is_zero()).then_some((self.topic, Lease { allowed, used: Load::default() }))
    }
}
