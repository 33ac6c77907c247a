//! Offering: how something that is published gets into the intake, if there is room.

use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::MutexGuard;

use super::dedup::{Known, Once};
use super::encoded::{StoredBytes, form_of};
use super::handle::Broker;
use super::intake::Inner;
use super::journal::Due;
use super::publish::is_inside_handler;
use crate::error::{Error, ErrorKind, Refused};
use crate::message::envelope::{Origin, TopicId};
use crate::message::{Event, EventId, Message, weight_of};
use crate::queue::batch::Load;
use crate::queue::form::Form;
use crate::signal::Signal;

/// How many events of a `publish_all` go in under one lock.
const SLICE: usize = 256;

impl Broker {
    /// Publishes if there is room.
    pub(crate) fn try_publish<E: Event>(&self, event: E) -> Result<EventId, Refused<E>> {
        if is_inside_handler() {
            return Err(Refused::InsideHandler(event));
        }
        self.offer(event, None, None, None).map(|pushed| pushed.id).map_err(|(refused, _)| {
            if refused.is_for_now() {
                self.state_refused::<E>(false);
            }
            refused
        })
    }

    /// Publishes, or drops and says so.
    pub(crate) fn tell<E: Event>(&self, event: E) -> Result<(), Refused<E>> {
        if is_inside_handler() {
            return Err(Refused::InsideHandler(event));
        }
        match self.offer(event, None, None, None) {
            Err((refused, _)) if refused.is_for_now() => self.state_refused::<E>(true),
            Err((refused, _)) => return Err(refused),
            Ok(_) => {}
        }
        Ok(())
    }

    pub(super) fn state_refused<E: Event>(&self, dropped: bool) {
        let topic = self.intake.lock().topics.topic::<E>();
        if let Ok(topic) = topic {
            let index = usize::from(topic.0);
            self.signals.state(&Signal::Refused { index, topic: E::NAME, dropped });
        }
    }

    /// One attempt. With a waker, a publisher without room joins the queue, and gets its ticket.
    #[inline]
    pub(super) fn offer<E: Event>(
        &self,
        event: E,
        key: Option<&Arc<str>>,
        ticket: Option<u64>,
        waker: Option<&Waker>,
    ) -> Result<Pushed, (Refused<E>, Option<u64>)> {
        match self.journal {
            None if key.is_none() => {
                let form = form_of(&event, None);
                self.offer_as(event, None, ticket, waker, form)
            }
            _ => match self.unable() {
                Some(why) => Err((Refused::unable(event, why), None)),
                None => self.offer_stored(event, key, ticket, waker),
            },
        }
    }

    #[cold]
    fn offer_stored<E: Event>(
        &self,
        event: E,
        key: Option<&Arc<str>>,
        ticket: Option<u64>,
        waker: Option<&Waker>,
    ) -> Result<Pushed, (Refused<E>, Option<u64>)> {
        let keeps = self.journal.is_some() && self.durability.keeps(E::NAME);
        let value = form_of(&event, None);
        if !keeps && key.is_none() {
            return self.offer_as(event, None, ticket, waker, value);
        }
        match StoredBytes::of(std::slice::from_ref(&event)) {
            Ok(stored) => {
                let once = key.map(|key| Once::of(key.clone(), [stored.bytes()]));
                let form = if keeps { stored.form() } else { value };
                self.offer_as(event, once.as_ref(), ticket, waker, form)
            }
            Err(error) => Err((Refused::Invalid(event, error), None)),
        }
    }

    /// As [`Broker::offer`], of an event that is that to a queue.
    fn offer_as<E: Event>(
        &self,
        event: E,
        once: Option<&Once>,
        ticket: Option<u64>,
        waker: Option<&Waker>,
        form: Form<'_>,
    ) -> Result<Pushed, (Refused<E>, Option<u64>)> {
        let mut inner = self.intake.lock();
        if inner.closed {
            return Err((Refused::Closed(event), None));
        }
        let topic = match inner.topics.topic::<E>() {
            Ok(topic) => topic,
            Err(error) => return Err((Refused::Invalid(event, error), None)),
        };
        if let Some(once) = once {
            match known(&inner.look(topic, once), &once.key) {
                Ok(None) => {}
                Ok(Some(pushed)) => {
                    let next = ticket.and_then(|ticket| inner.door.leave(topic, ticket));
                    drop(inner);
                    next.into_iter().for_each(Waker::wake);
                    self.state_duplicate(topic, E::NAME);
                    return Ok(pushed);
                }
                Err(error) => return Err((Refused::Invalid(event, error), None)),
            }
        }
        let load = Load::new(1, form.first());
        let event = let_in(&mut inner, topic, load, event, ticket, waker)?;
        let id = inner.push(topic, std::iter::once(event), form, &Origin::OUTSIDE);
        let due = self.due(inner.taken, topic);
        if let Some(once) = once {
            inner.note_pushed(topic, once, id, due);
        }
        let next = ticket.and_then(|ticket| inner.door.leave(topic, ticket));
        self.pushed(inner, topic);
        if let Some(waker) = next {
            waker.wake();
        }
        Ok(Pushed { id, due: Some(due) })
    }

    /// Events as bytes, if they are to be kept.
    pub(super) fn stored<E: Message>(&self, events: &[E]) -> Result<Option<StoredBytes>, Error> {
        if self.journal.is_none() || !self.durability.keeps(E::NAME) {
            return Ok(None);
        }
        StoredBytes::of(events).map(Some)
    }

    /// The same came again under its key, and was not published again.
    pub(super) fn state_duplicate(&self, topic: TopicId, name: &'static str) {
        let index = usize::from(topic.0);
        self.signals.state(&Signal::Duplicate { index, topic: name });
    }

    /// What whoever publishes on that topic waits for.
    #[inline]
    pub(super) fn due(&self, group: u64, topic: TopicId) -> Due {
        Due { group, written: self.durability.is_buffered(topic) }
    }

    /// Ready when what was pushed is kept.
    pub(super) fn poll_kept(&self, due: Due, waker: &Waker) -> Poll<Result<(), Error>> {
        match &self.journal {
            Some(journal) => journal.poll_kept(due, waker),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Publishes as many of `events` as there is room for: one lock, one type, one run.
    pub(super) fn offer_many<E: Event>(
        &self,
        events: &mut std::vec::IntoIter<E>,
        ticket: &mut Option<u64>,
        due: &mut Option<Due>,
        waker: &Waker,
    ) -> Result<Poll<()>, Error> {
        while !events.as_slice().is_empty() {
            if let Some(why) = self.unable() {
                return Err(why);
            }
            let slice = events.as_slice();
            let slice = &slice[..slice.len().min(SLICE)];
            // User code: asked outside of the lock.
            let stored = self.stored(slice)?;
            let (most, form) = match &stored {
                Some(stored) => (stored.count(), stored.form()),
                None => alike(slice),
            };
            let mut inner = self.intake.lock();
            if inner.closed {
                return Err(Error::closed());
            }
            let topic = inner.topics.topic::<E>()?;
            let admitted = inner.door.admit_some(topic, form, most as u64, *ticket);
            if admitted > 0 {
                let count = admitted as usize;
                inner.push(
                    topic,
                    events.by_ref().take(count),
                    form.split(count).0,
                    &Origin::OUTSIDE,
                );
                *due = Some(self.due(inner.taken, topic));
            }
            let mut next = None;
            if admitted == 0 {
                if inner.door.never_fits(topic, Load::new(1, form.first())) {
                    return Err(too_heavy::<E>(form.first()));
                }
                *ticket = Some(inner.door.wait(topic, *ticket, waker));
            } else if let Some(ticket) = ticket.take() {
                next = inner.door.leave(topic, ticket);
            }
            if admitted == 0 {
                return Ok(Poll::Pending);
            }
            self.pushed(inner, topic);
            if let Some(waker) = next {
                waker.wake();
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Takes a publisher that gave up out of the queue.
    pub(crate) fn give_up<E: Message>(&self, ticket: u64) {
        let mut inner = self.intake.lock();
        let Ok(topic) = inner.topics.topic::<E>() else { return };
        let next = inner.door.leave(topic, ticket);
        drop(inner);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    /// Something of that topic lies in the intake now. If a thread that wants it has nothing to do,
    /// it is put in order at once; else it may gather: a thread that runs out of work takes the
    /// turn itself, and the broker actor does when much has gathered or time has passed.
    #[inline]
    pub(super) fn pushed(&self, inner: MutexGuard<'_, Inner>, topic: TopicId) {
        let lanes = inner.door.lanes(topic);
        self.gathered(inner, lanes);
    }
}

/// Lets a publisher in if there is room, and gives it back what it publishes; else it joins the queue, with
/// a waker.
pub(super) fn let_in<E: Message>(
    inner: &mut Inner,
    topic: TopicId,
    load: Load,
    event: E,
    ticket: Option<u64>,
    waker: Option<&Waker>,
) -> Result<E, (Refused<E>, Option<u64>)> {
    if inner.door.admit(topic, load, ticket) {
        return Ok(event);
    }
    if inner.door.never_fits(topic, load) {
        return Err((Refused::Invalid(event, too_heavy::<E>(load.weight)), None));
    }
    let ticket = waker.map(|waker| inner.door.wait(topic, ticket, waker));
    Err((Refused::Full(event), ticket))
}

/// How many of these events weigh as much as the first, if they all weigh what is usual; else one. What
/// they weigh is said by user code.
fn alike<E: Message>(events: &[E]) -> (usize, Form<'static>) {
    let usual = size_of::<E>() as u64;
    match events.iter().take_while(|event| weight_of(*event) == usual).count() {
        0 => (1, Form::Values { each: weight_of(&events[0]) }),
        alike => (alike, Form::Values { each: usual }),
    }
}

/// What was pushed: the last event's id, and what is to be waited for, if there is a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed {
    pub(super) id: EventId,
    /// None if it has long been there.
    pub(super) due: Option<Due>,
}

/// What a publisher is told of its key: that the event is there, or that another one is; nothing of a key
/// that is not known.
pub(super) fn known(known: &Known, key: &str) -> Result<Option<Pushed>, Error> {
    match known {
        Known::Fresh => Ok(None),
        Known::Again(first) => Ok(Some(Pushed { id: first.keyed.id, due: first.due })),
        Known::Other(first) => Err(other_event(key, first.keyed.id)),
    }
}

/// Something else was published under that key.
fn other_event(key: &str, first: EventId) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "something else was published under the key `{key}` (event {first}): give each event a key \
             of its own, and the same event the same key"
        ),
    )
}

/// So many events of one batch find no room, however long they wait.
pub(super) fn too_heavy_together(events: usize) -> Error {
    Error::config(format!(
        "the batch has {events} events, more than a subscription of them may hold at all: publish them \
         in several, or raise its `bound` or `bound_bytes`, or the `limit` or `limit_bytes` of their \
         channels"
    ))
}

/// An event of that weight finds no room, however long it waits.
pub(crate) fn too_heavy<E: Message>(weight: u64) -> Error {
    Error::config(format!(
        "an event `{}` weighs {weight} bytes, more than a subscription of it may hold at all: \
         raise its `bound_bytes`, or the channel's `limit_bytes`",
        E::NAME
    ))
}
