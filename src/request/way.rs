//! What a request that has begun holds: all of it is given back when it is dropped, whatever happened.

use std::sync::Arc;

use super::Requests;
use super::slot::{Asked, Slot};
use super::temporary::Owned;
use super::waits::{Asker, Servant};
use crate::clock::Moment;
use crate::message::{EventId, Key, Message};
use crate::signal::RequestOutcome;

pub(super) struct Way<R> {
    requests: Arc<Requests>,
    pub(super) slot: Arc<Slot<R>>,
    pub(super) until: Moment,
    /// By what it is known as long as it has no id, if anybody has to know it.
    number: Option<u64>,
    /// The handler that waits, if one does and that is known.
    asker: Option<Asker>,
    /// Its own queue, if it has one, is there as long as this.
    _owned: Option<Owned>,
    at_door: bool,
    id: Option<EventId>,
}

impl<R: Send + 'static> Way<R> {
    pub(super) fn begin<C: Message<Reply = R>>(
        requests: Arc<Requests>,
        (begun, until): (Moment, Moment),
        host: usize,
        temporary_queue: bool,
    ) -> Self {
        let number = temporary_queue.then(|| requests.number());
        let queue = number.map(|number| requests.queues.create(C::NAME, number, host));
        let (owned, queue) = queue.unzip();
        let slot = Slot::new(Asked { command: C::NAME, begun, host }, queue);
        let (asker, at_door, id) = (None, false, None);
        Self { requests, slot, until, number, asker, _owned: owned, at_door, id }
    }

    /// A handler waits for that servant from now on. If it would wait for itself, the circle.
    pub(super) fn is_seen(
        &mut self,
        asker: &Asker,
        servant: Servant,
        key: Option<&Key>,
    ) -> Result<(), Vec<Arc<str>>> {
        if self.asker.is_none() {
            let number = self.number();
            self.requests.waits.lock().begin(asker, servant, key.cloned(), number)?;
            self.asker = Some(asker.clone());
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        *self.number.get_or_insert_with(|| self.requests.number())
    }

    pub(super) fn is_sent(&self) -> bool {
        self.id.is_some()
    }

    /// Somebody may know of it, and tell it something.
    pub(super) fn may_be_told(&self) -> bool {
        self.at_door || self.is_sent()
    }

    pub(super) fn ticket(&self) -> Option<u64> {
        self.requests.at_door.ticket(self.number.filter(|_| self.at_door)?)
    }

    /// It waits at the door from now on, or still does. True if it has just come: it is to look once more,
    /// since before that no progress was told.
    pub(super) fn waits<C: Message<Reply = R>>(&mut self, ticket: Option<u64>) -> bool {
        let number = self.number();
        let (requests, host) = (&self.requests, self.slot.asked.host);
        let comes = requests.at_door.waits::<C>(&requests.broker, number, ticket, host);
        if !std::mem::replace(&mut self.at_door, true) {
            requests.expect(as_id(number), self.slot.clone(), self.until);
        }
        comes
    }

    pub(super) fn sent(&mut self, id: EventId) {
        self.id = Some(id);
        self.leaves_door(true);
        if let (Some(asker), Some(number)) = (&self.asker, self.number) {
            self.requests.waits.lock().sent(asker, number, id);
        }
    }

    /// It knows what became of it: whoever told it took it out of the inbox.
    pub(super) fn is_over(&mut self) {
        self.leaves_door(false);
        self.id = None;
    }
}

impl<R> Way<R> {
    /// It waits there no more. Whether it could have gone on waiting.
    fn leaves_door(&mut self, used: bool) -> bool {
        let Some(number) = self.number.filter(|_| std::mem::take(&mut self.at_door)) else {
            return false;
        };
        self.requests.at_door.leaves(&self.requests.broker, number, used);
        self.requests.inbox.take(as_id(number)).is_some()
    }
}

impl<R> Drop for Way<R> {
    fn drop(&mut self) {
        let waited = self.leaves_door(false);
        let sent = self.id.is_some_and(|id| self.requests.inbox.take(id).is_some());
        if waited || sent {
            self.requests.ended(self.slot.asked.command, RequestOutcome::Abandoned);
        }
        if let (Some(asker), Some(number)) = (&self.asker, self.number) {
            self.requests.waits.lock().end(asker, number);
        }
    }
}

/// The id under which a request waits that has none yet: no event has such a one.
pub(super) fn as_id(number: u64) -> EventId {
    EventId(u128::from(number))
}
