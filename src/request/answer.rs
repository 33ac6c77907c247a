//! The way back: what a handler returned goes to whoever asked, when the commit holds.

use std::sync::Arc;

use super::Requests;
use super::slot::{Slot, Told};
use crate::error::Error;
use crate::message::{EventId, Message};
use crate::queue::answer::{Answer, Found};
use crate::signal::{During, RequestOutcome, Signal};

/// Of so many requests one is measured.
const MEASURED: u128 = 16;

/// What a handler returned.
pub(crate) struct Answered<C: Message> {
    requests: Arc<Requests>,
    command: EventId,
    reply: C::Reply,
    to: Option<Arc<Slot<C::Reply>>>,
}

impl<C: Message> Answered<C> {
    pub(crate) fn new(requests: Arc<Requests>, command: EventId, reply: C::Reply) -> Self {
        Self { requests, command, reply, to: None }
    }
}

impl<C: Message> Answer for Answered<C> {
    fn find(&mut self) -> Option<Found> {
        let to = self.requests.inbox.take(self.command)?;
        let found = found(&self.requests, self.command, &*to, RequestOutcome::Answered);
        self.to = to.to().downcast().ok();
        Some(found)
    }

    fn give(self: Box<Self>) {
        let Self { requests, command, reply, to } = *self;
        let left = match to {
            Some(slot) => slot.answer(reply).err(),
            None => {
                let signal = Signal::ReplyDropped { command: C::NAME, event: command };
                requests.broker.signals.state(&signal);
                Some(reply)
            }
        };
        if let Some(reply) = left {
            let signals = &requests.broker.signals;
            signals.contain(During::EventDrop, Some(command), move || drop(reply));
        }
    }
}

/// The handler failed for good.
pub(crate) struct GaveUp {
    requests: Arc<Requests>,
    command: EventId,
    error: Error,
    to: Option<Arc<dyn Told>>,
}

impl GaveUp {
    pub(crate) fn new(requests: Arc<Requests>, command: EventId, error: Error) -> Self {
        Self { requests, command, error, to: None }
    }
}

impl Answer for GaveUp {
    fn find(&mut self) -> Option<Found> {
        let to = self.requests.inbox.take(self.command)?;
        let found = found(&self.requests, self.command, &*to, RequestOutcome::Failed);
        self.to = Some(to);
        Some(found)
    }

    fn give(self: Box<Self>) {
        if let Some(to) = self.to {
            to.fails(self.error);
        }
    }
}

fn found(requests: &Requests, id: EventId, to: &dyn Told, outcome: RequestOutcome) -> Found {
    let asked = to.asked();
    let is_measured = id.0.is_multiple_of(MEASURED);
    let took = is_measured.then(|| requests.broker.clock.now().since(asked.begun));
    Found { command: asked.command, outcome, took }
}
