//! Leases: what handlers are allowed to publish before they do. They never wait: what they need comes
//! from a reserve if it must.

use super::door::Door;
use crate::message::envelope::TopicId;
use crate::queue::batch::Load;

/// How many a handler gets to publish before it asks again.
const LEASE: u64 = 256;

impl Door {
    /// Lets a handler publish `need`, from the reserve if it must; allows it more than it needs if
    /// there is plenty, so that it need not ask each time.
    pub(crate) fn lease(&mut self, topic: TopicId, need: Load) -> Option<Load> {
        let fit = self.need(topic, need);
        let mut room = self.room(topic, true);
        if !fit.fits(room) {
            self.withdraw_credits(topic);
            room = self.room(topic, true);
            if !fit.fits(room) {
                return None;
            }
        }
        let plenty = Load::new(room.events / 8, room.weight / 8);
        let mut lease = Load::new(LEASE, need.weight.saturating_mul(LEASE)).min(plenty);
        lease = Load::new(lease.events.max(need.events), lease.weight.max(need.weight));
        self.topic(topic).leased.add(lease);
        Some(lease)
    }

    /// A handler's publications take their place; what it did not use comes back.
    pub(crate) fn settle_lease(&mut self, topic: TopicId, published: Load, unused: Load) {
        let door = self.topic(topic);
        door.leased = door.leased.less(published).less(unused);
        door.published.add(published);
    }

    /// Publications whose room was not kept for them after all.
    pub(crate) fn publish_unleased(&mut self, topic: TopicId, published: Load) {
        self.topic(topic).published.add(published);
    }

    /// Publications that were allowed long ago, or that only the reserve must hold.
    pub(crate) fn admit_from_reserve(&mut self, topic: TopicId, load: Load) -> bool {
        let Some(lease) = self.lease(topic, load) else { return false };
        self.settle_lease(topic, load, lease.less(load));
        true
    }

    /// Whether what handlers publish on a topic lives off the reserve by now. Asked for bounds that
    /// hold a whole claim, where a short pause pays.
    pub(crate) fn lives_off_reserve(&self, topic: TopicId, claim: u64) -> bool {
        self.least_bound(topic) >= claim && self.room(topic, false).events == 0
    }
}
