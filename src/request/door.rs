//! Requests that wait for room, or for somebody who handles their command.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::broker::handle::Broker;
use crate::broker::intake::Watch;
use crate::message::Message;

/// Requests at the door, by their numbers.
#[derive(Default)]
pub(super) struct AtDoor(Mutex<HashMap<u64, Place>>);

struct Place {
    ticket: Option<u64>,
    give_up: fn(&Broker, u64),
    host: usize,
}

impl AtDoor {
    /// It waits from now on, or still does, with that ticket. True if it has just come.
    pub(super) fn waits<C: Message>(
        &self,
        broker: &Broker,
        number: u64,
        ticket: Option<u64>,
        host: usize,
    ) -> bool {
        let mut all = self.0.lock();
        if let Some(place) = all.get_mut(&number) {
            place.ticket = ticket.or(place.ticket);
            return false;
        }
        all.insert(number, Place { ticket, give_up: Broker::give_up::<C>, host });
        drop(all);
        broker.intake.watch(Watch::Room);
        true
    }

    pub(super) fn ticket(&self, number: u64) -> Option<u64> {
        self.0.lock().get(&number)?.ticket
    }

    /// It waits no more; `used` if that is because its turn has come. Nobody is to wait behind it.
    pub(super) fn leaves(&self, broker: &Broker, number: u64, used: bool) {
        let place = self.0.lock().remove(&number);
        if let Some(place) = place {
            place.leave(broker, used);
        }
    }

    /// A host is gone, and so is who waited there.
    pub(super) fn gone(&self, broker: &Broker, host: usize) {
        let gone: Vec<_> = self.0.lock().extract_if(|_, place| place.host == host).collect();
        gone.into_iter().for_each(|(_, place)| place.leave(broker, false));
    }
}

impl Place {
    fn leave(self, broker: &Broker, used: bool) {
        broker.intake.unwatch(Watch::Room);
        if let Some(ticket) = self.ticket.filter(|_| !used) {
            (self.give_up)(broker, ticket);
        }
    }
}
