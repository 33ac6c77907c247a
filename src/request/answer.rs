//! The way back: what a handler returned goes to whoever asked, when the commit holds.

use std::sync::Arc;
use std::task::Waker;

use super::Requests;
use super::slot::{Returned, Slot, Told};
use crate::error::Error;
use crate::guard::Quiet;
use crate::message::{EventId, Message};
use crate::queue::answer::{Answer, Found};
use crate::signal::RequestOutcome;

/// Of so many requests that are answered within one tick, one is measured; and the first one of each tick.
const MEASURED: u128 = 16;

/// What a handler returned.
pub(crate) struct Answered<C: Message> {
    requests: Arc<Requests>,
    command: EventId,
    reply: Returned<C::Reply>,
    to: Option<Arc<Slot<C::Reply>>>,
}

impl<C: Message> Answered<C> {
    pub(crate) fn new(requests: Arc<Requests>, command: EventId, reply: C::Reply) -> Self {
        Self { requests, command, reply: Quiet::new(reply), to: None }
    }
}

impl<C: Message> Answer for Answered<C> {
    fn find(&mut self) -> Option<Found> {
        let to = self.requests.inbox.take(self.command)?;
        let found = found(&self.requests, self.command, &*to, RequestOutcome::Answered);
        self.to = to.to().downcast().ok();
        Some(found)
    }

    fn give(self: Box<Self>) -> Option<Waker> {
        let Self { requests, command, reply, to } = *self;
        match to {
            Some(slot) => slot.answer(reply),
            None => requests.dropped(C::NAME, command),
        }
        None
    }
}

/// The handler failed for good.
pub(crate) struct GaveUp {
    requests: Arc<Requests>,
    command: EventId,
    name: &'static str,
    error: Error,
    to: Option<Arc<dyn Told>>,
}

impl GaveUp {
    pub(crate) fn new(
        requests: Arc<Requests>,
        command: EventId,
        name: &'static str,
        error: Error,
    ) -> Self {
        Self { requests, command, name, error, to: None }
    }
}

impl Answer for GaveUp {
    fn find(&mut self) -> Option<Found> {
        let to = self.requests.inbox.take(self.command)?;
        let found = found(&self.requests, self.command, &*to, RequestOutcome::Failed);
        self.to = Some(to);
        Some(found)
    }

    fn give(self: Box<Self>) -> Option<Waker> {
        match self.to {
            Some(to) => to.fails(self.error),
            // It went away since that was decided.
            None => self.requests.dropped(self.name, self.command),
        }
        None
    }
}

fn found(requests: &Requests, id: EventId, to: &dyn Told, outcome: RequestOutcome) -> Found {
    let asked = to.asked();
    let is_measured = id.0.is_multiple_of(MEASURED) || requests.is_first_of_tick();
    let took = is_measured.then(|| requests.broker.clock.now().since(asked.begun));
    Found { command: asked.command, outcome, took }
}
