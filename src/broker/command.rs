//! Offering a command: as an event is offered, but to one processor, and whoever asks is known before
//! anybody can answer.

use std::task::Waker;

use super::encoded::form_of;
use super::handle::Broker;
use crate::error::{Error, ErrorKind, Refused};
use crate::message::envelope::Origin;
use crate::message::{EventId, Message};
use crate::queue::batch::Load;

/// How somebody asks.
pub(crate) struct Asking<'a> {
    /// What the command descends from.
    pub(crate) origin: &'a Origin,
    /// If nobody handles it, it waits until somebody does.
    pub(crate) waits_for_handler: bool,
    /// With it, who finds no room joins the queue, and gets a ticket.
    pub(crate) waker: &'a Waker,
    pub(crate) ticket: Option<u64>,
}

impl Broker {
    /// One attempt. `known` is told the command's id before it can be handled.
    pub(crate) fn ask<C: Message>(
        &self,
        command: C,
        asking: &Asking<'_>,
        known: impl FnOnce(EventId),
    ) -> Result<EventId, (Refused<C>, Option<u64>)> {
        let Asking { origin, waits_for_handler, waker, ticket } = *asking;
        if let Some(why) = self.unable() {
            return Err((Refused::unable(command, why), None));
        }
        let stored = match self.stored(std::slice::from_ref(&command)) {
            Ok(stored) => stored,
            Err(error) => return Err((Refused::Invalid(command, error), None)),
        };
        let form = form_of(&command, stored.as_ref());
        let mut inner = self.intake.lock();
        if inner.closed {
            return Err((Refused::Closed(command), None));
        }
        let topic = match inner.topics.topic::<C>() {
            Ok(topic) => topic,
            Err(error) => return Err((Refused::Invalid(command, error), None)),
        };
        if inner.door.servant(topic).is_none() {
            if !waits_for_handler {
                return Err((Refused::Invalid(command, no_handler::<C>()), None));
            }
            let ticket = inner.door.wait(topic, ticket, waker);
            return Err((Refused::Full(command), Some(ticket)));
        }
        let load = Load::new(1, form.first());
        let command = super::offer::let_in(&mut inner, topic, load, command, ticket, Some(waker))?;
        let id = inner.push(topic, std::iter::once(command), form, origin);
        known(id);
        let next = ticket.and_then(|ticket| inner.door.leave(topic, ticket));
        self.pushed(inner, topic);
        next.into_iter().for_each(Waker::wake);
        if origin.parent.is_some() {
            // A handler waits for it, and so does its thread, perhaps: not until that runs out of work.
            self.sequencer.take_turn();
        }
        Ok(id)
    }
}

fn no_handler<C: Message>() -> Error {
    Error::new(
        ErrorKind::NoHandler,
        format!(
            "nobody handles the command `{}`: let a processor of this runtime say `.serves::<{}>()`, or \
             wait for one with `.wait_for_handler()`",
            C::NAME,
            std::any::type_name::<C>()
        ),
    )
}
