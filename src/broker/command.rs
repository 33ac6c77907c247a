//! Offering a command: as an event is offered, but to one processor, and whoever asks is known before
//! anybody can answer.

use std::task::Waker;

use super::encoded::form_of;
use super::handle::Broker;
use crate::error::{Error, ErrorKind, Refused};
use crate::message::envelope::{Origin, TopicId};
use crate::message::{Declared, EventId, Message};
use crate::queue::Subscription;
use crate::queue::batch::Load;

/// How somebody asks.
pub(crate) struct Asking<'a> {
    /// What the command descends from.
    pub(crate) origin: &'a Origin,
    /// The processor whose handler asks, if one does: it is finished also when the runtime takes in nothing
    /// more.
    pub(crate) asker: Option<&'a str>,
    /// If nobody handles it, it waits until somebody does.
    pub(crate) waits_for_handler: bool,
    /// With it, who finds no room joins the queue, and gets a ticket.
    pub(crate) waker: &'a Waker,
    pub(crate) ticket: Option<u64>,
}

impl Broker {
    /// As [`Broker::topic`], of a message whose type is known by its parts.
    pub(crate) fn topic_of(&self, of: &Declared, publisher: &str) -> Result<TopicId, Error> {
        let mut inner = self.intake.lock();
        let topic = inner.topics.register(of.of, of.name, of.type_name)?;
        inner.topics.saw(publisher, topic);
        Ok(topic)
    }

    /// Whether somebody handles what is sent there, and whether so much never fits.
    pub(crate) fn takes(&self, topic: TopicId, load: Load) -> (bool, bool) {
        let door = &self.intake.lock().door;
        (door.servant(topic).is_some(), door.never_fits_reserve(topic, load))
    }

    /// One attempt. `permit` is asked whether it may be sent to whoever handles it, `known` is told its id
    /// before it can be handled; both under the lock.
    pub(crate) fn ask<C: Message>(
        &self,
        command: C,
        asking: &Asking<'_>,
        permit: impl FnOnce(&Subscription) -> bool,
        known: impl FnOnce(EventId),
    ) -> Result<EventId, (Refused<C>, Option<u64>)> {
        let Asking { origin, asker, waits_for_handler, waker, ticket } = *asking;
        if let Some(why) = self.unable() {
            return Err((Refused::unable(command, why), None));
        }
        let stored = match self.stored(std::slice::from_ref(&command)) {
            Ok(stored) => stored,
            Err(error) => return Err((Refused::Invalid(command, error), None)),
        };
        let form = form_of(&command, stored.as_ref());
        let mut inner = self.intake.lock();
        if inner.closed && asker.is_none() {
            return Err((Refused::Closed(command), None));
        }
        let topic = match inner.topics.topic::<C>() {
            Ok(topic) => topic,
            Err(error) => return Err((Refused::Invalid(command, error), None)),
        };
        match inner.door.servant(topic) {
            Some(servant) if !permit(servant) => {
                return Err((Refused::InsideHandler(command), None));
            }
            Some(_) => {}
            None if waits_for_handler => {
                let ticket = inner.door.wait(topic, ticket, waker);
                return Err((Refused::Full(command), Some(ticket)));
            }
            None => return Err((Refused::Invalid(command, no_handler::<C>()), None)),
        }
        asker.into_iter().for_each(|asker| inner.topics.saw(asker, topic));
        let load = Load::new(1, form.first());
        let command = super::offer::let_in(&mut inner, topic, load, command, ticket, Some(waker));
        let command = match command {
            Err((Refused::Full(command), _)) if self.durability.refuses(C::NAME) => {
                return Err((Refused::Invalid(command, is_full::<C>()), None));
            }
            command => command?,
        };
        let id = inner.push(topic, std::iter::once(command), form, origin);
        known(id);
        let next = ticket.and_then(|ticket| inner.door.leave(topic, ticket));
        self.pushed(inner, topic);
        next.into_iter().for_each(Waker::wake);
        if asker.is_some() {
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
            "nobody handles the command `{}`: let a processor of this runtime say `.serves::<{}>()`, start \
             it if it is stopped, or wait for one with `.wait_for_handler()`",
            C::NAME,
            std::any::type_name::<C>()
        ),
    )
}

fn is_full<C: Message>() -> Error {
    let text = format!(
        "the channel `{}` is at its limit, and whoever sends is refused there: ask again later, or raise \
         its `limit`",
        C::NAME
    );
    Error::new(ErrorKind::Full, text)
}
