//! What a request that has begun holds: all of it is given back when it is dropped, whatever happened.

use std::sync::Arc;

use super::Requests;
use super::slot::Slot;
use super::temporary::Owned;
use super::waits::Asker;
use crate::broker::handle::Broker;
use crate::broker::intake::Watch;
use crate::clock::Moment;
use crate::message::{EventId, Message};
use crate::signal::RequestOutcome;

pub(super) struct Way<R> {
    requests: Arc<Requests>,
    pub(super) slot: Arc<Slot<R>>,
    pub(super) until: Moment,
    /// By what it is known as long as it has no id.
    number: u64,
    /// The handler that waits, if one does.
    asker: Option<Asker>,
    /// Its own queue, if it has one, is there as long as this.
    _owned: Option<Owned>,
    door: Option<Door>,
    id: Option<EventId>,
}

/// It waits for room, or for somebody who handles the command.
struct Door {
    ticket: Option<u64>,
    give_up: fn(&Broker, u64),
}

impl<R: Send + 'static> Way<R> {
    /// If a handler waits, it is known by that number that it does.
    pub(super) fn begin<C: Message<Reply = R>>(
        requests: Arc<Requests>,
        number: u64,
        asker: Option<Asker>,
        (begun, until): (Moment, Moment),
        temporary_queue: bool,
    ) -> Self {
        let queue = temporary_queue.then(|| requests.queues.create(C::NAME, number));
        let (owned, queue) = queue.unzip();
        let slot = Slot::new(C::NAME, begun, queue);
        Self { requests, slot, until, number, asker, _owned: owned, door: None, id: None }
    }

    /// It is sent, and whoever handles it knows to whom to answer.
    pub(super) fn is_sent(&self) -> bool {
        self.id.is_some()
    }

    pub(super) fn ticket(&self) -> Option<u64> {
        self.door.as_ref().and_then(|door| door.ticket)
    }

    /// It waits at the door from now on, or still does. True if it has just come: it is to look once more,
    /// since before that no progress was told.
    pub(super) fn waits<C: Message<Reply = R>>(&mut self, ticket: Option<u64>) -> bool {
        if let Some(door) = &mut self.door {
            door.ticket = ticket.or(door.ticket);
            return false;
        }
        self.requests.broker.intake.watch(Watch::Room);
        self.door = Some(Door { ticket, give_up: Broker::give_up::<C> });
        self.requests.expect(self.as_number(), self.slot.clone(), self.until);
        true
    }

    pub(super) fn sent(&mut self, id: EventId) {
        self.id = Some(id);
        if let Some(door) = &mut self.door {
            door.ticket = None; // it has been used
        }
        self.leaves_door();
    }

    /// No event has such an id.
    fn as_number(&self) -> EventId {
        EventId(u128::from(self.number))
    }
}

impl<R> Way<R> {
    /// It waits there no more. Whether it could have gone on waiting.
    pub(super) fn leaves_door(&mut self) -> bool {
        let Some(Door { ticket, give_up }) = self.door.take() else { return false };
        let broker = &self.requests.broker;
        broker.intake.unwatch(Watch::Room);
        if let Some(ticket) = ticket {
            give_up(broker, ticket); // whoever stands behind it is not to wait for it
        }
        self.requests.inbox.take(EventId(u128::from(self.number))).is_some()
    }
}

impl<R> Drop for Way<R> {
    fn drop(&mut self) {
        let waited = self.leaves_door();
        let sent = self.id.is_some_and(|id| self.requests.inbox.take(id).is_some());
        if waited || sent {
            self.requests.is_over(self.slot.command, RequestOutcome::Abandoned);
        }
        if let Some(asker) = &self.asker {
            self.requests.waits.lock().end(asker, self.number);
        }
    }
}
