//! The way back: what a handler returned goes to whoever asked, when the commit holds.

use std::sync::Arc;

use super::Requests;
use super::slot::Slot;
use crate::error::Error;
use crate::message::{EventId, Message};
use crate::queue::answer::Answer;
use crate::signal::{During, Signal};

/// What a handler returned.
pub(crate) struct Answered<C: Message> {
    pub(crate) requests: Arc<Requests>,
    pub(crate) command: EventId,
    pub(crate) reply: C::Reply,
}

impl<C: Message> Answer for Answered<C> {
    fn give(self: Box<Self>) {
        let Self { requests, command, reply } = *self;
        let to = requests.inbox.take(command).and_then(|to| to.to().downcast().ok());
        let to: Option<Arc<Slot<C::Reply>>> = to;
        let left = match to {
            Some(slot) => slot.answer(reply).err(),
            None => Some(reply),
        };
        if let Some(reply) = left {
            let signals = &requests.broker.signals;
            signals.state(&Signal::ReplyDropped { command: C::NAME, event: command });
            signals.contain(During::EventDrop, Some(command), move || drop(reply));
        }
    }
}

/// The handler failed for good.
pub(crate) struct GaveUp {
    pub(crate) requests: Arc<Requests>,
    pub(crate) command: EventId,
    pub(crate) error: Error,
}

impl Answer for GaveUp {
    fn give(self: Box<Self>) {
        // Whoever went away meanwhile has been counted.
        if let Some(to) = self.requests.inbox.take(self.command) {
            to.fails(self.error);
        }
    }
}
