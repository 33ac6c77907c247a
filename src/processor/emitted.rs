//! A topic that a driver publishes on, and what it is allowed to.

use std::any::TypeId;

use crate::broker::handle::Lease;
use crate::message::envelope::TopicId;
use crate::queue::batch::Load;

/// A topic that this driver publishes on.
pub(super) struct Emitted {
    pub(super) of: TypeId,
    pub(super) topic: TopicId,
    pub(super) name: &'static str,
    pub(super) lease: Lease,
    /// What the event in hand published beyond the lease.
    pub(super) short: Load,
}

impl Emitted {
    /// What was used of the lease; the rest is kept for the next commit.
    pub(super) fn take_used(&mut self) -> Option<(TopicId, Lease)> {
        let used = std::mem::take(&mut self.lease.used);
        (!used.is_zero()).then_some((self.topic, Lease { used, allowed: Load::default() }))
    }

    /// All of the lease, as if nothing had been used: what was is dropped.
    pub(super) fn abandon(&mut self) -> Option<(TopicId, Lease)> {
        let (topic, mut lease) = self.take_lease()?;
        lease.allowed.add(std::mem::take(&mut lease.used));
        Some((topic, lease))
    }

    /// All of the lease.
    pub(super) fn take_lease(&mut self) -> Option<(TopicId, Lease)> {
        let lease = std::mem::take(&mut self.lease);
        let is_zero = lease.allowed.is_zero() && lease.used.is_zero();
        (!is_zero).then_some((self.topic, lease))
    }
}
