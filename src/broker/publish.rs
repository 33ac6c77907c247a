//! Publishing: the ways into the intake for the application.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use parking_lot::MutexGuard;

use super::handle::Broker;
use super::intake::{Inner, Watch};
use super::journal::{Due, StoredBytes};
use crate::error::{Error, Refused};
use crate::message::envelope::TopicId;
use crate::message::{Event, EventId, Message, weight_of};
use crate::queue::batch::Load;
use crate::signal::Signal;

/// How many events of a `publish_all` go in under one lock.
const SLICE: usize = 256;

thread_local! {
    static INSIDE_HANDLER: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as inside a processor while `run` runs.
pub(crate) fn inside_handler<T>(run: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            INSIDE_HANDLER.set(self.0);
        }
    }
    let _restore = Restore(INSIDE_HANDLER.replace(true));
    run()
}

/// Whether the caller is inside a handler, where waiting for the runtime would be waiting for
/// oneself.
pub(crate) fn is_inside_handler() -> bool {
    INSIDE_HANDLER.get()
}

impl Broker {
    /// Publishes if there is room.
    pub(crate) fn try_publish<E: Event>(&self, event: E) -> Result<EventId, Refused<E>> {
        if is_inside_handler() {
            return Err(Refused::InsideHandler(event));
        }
        self.offer(event, None, None).map(|pushed| pushed.id).map_err(|(refused, _)| {
            if matches!(refused, Refused::Full(_) | Refused::NoSpace(_)) {
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
        match self.offer(event, None, None) {
            Err((Refused::Full(_) | Refused::NoSpace(_), _)) => self.state_refused::<E>(true),
            Err((refused, _)) => return Err(refused),
            Ok(_) => {}
        }
        Ok(())
    }

    fn state_refused<E: Event>(&self, dropped: bool) {
        let topic = self.intake.lock().topics.topic::<E>();
        if let Ok(topic) = topic {
            let index = usize::from(topic.0);
            self.signals.state(&Signal::Refused { index, topic: E::NAME, dropped });
        }
    }

    /// One attempt. With a waker, a publisher without room joins the queue, and gets its ticket.
    #[inline]
    fn offer<E: Event>(
        &self,
        event: E,
        ticket: Option<u64>,
        waker: Option<&Waker>,
    ) -> Result<Pushed, (Refused<E>, Option<u64>)> {
        match self.journal {
            None => self.offer_as(event, ticket, waker, None),
            Some(_) if self.is_short() => Err((Refused::NoSpace(event), None)),
            Some(_) => self.offer_stored(event, ticket, waker),
        }
    }

    #[cold]
    fn offer_stored<E: Event>(
        &self,
        event: E,
        ticket: Option<u64>,
        waker: Option<&Waker>,
    ) -> Result<Pushed, (Refused<E>, Option<u64>)> {
        match self.stored(std::slice::from_ref(&event)) {
            Ok(stored) => {
                let stored = stored.as_ref().map(|stored| stored.first(1));
                self.offer_as(event, ticket, waker, stored)
            }
            Err(error) => Err((Refused::Invalid(event, error), None)),
        }
    }

    /// As [`Broker::offer`], of an event that is these bytes, if it is to be kept.
    fn offer_as<E: Event>(
        &self,
        event: E,
        ticket: Option<u64>,
        waker: Option<&Waker>,
        stored: Option<&[u8]>,
    ) -> Result<Pushed, (Refused<E>, Option<u64>)> {
        let weight = weight_of(&event);
        let mut inner = self.intake.lock();
        if inner.closed {
            return Err((Refused::Closed(event), None));
        }
        let topic = match inner.topics.topic::<E>() {
            Ok(topic) => topic,
            Err(error) => return Err((Refused::Invalid(event, error), None)),
        };
        let load = Load::new(1, weight);
        if !inner.door.admit(topic, load, ticket) {
            if inner.door.never_fits(topic, load) {
                let error = too_heavy::<E>(weight);
                return Err((Refused::Invalid(event, error), None));
            }
            let ticket = waker.map(|waker| inner.door.wait(topic, ticket, waker));
            return Err((Refused::Full(event), ticket));
        }
        let id = inner.push(topic, std::iter::once(event), weight, stored);
        let due = self.due(inner.taken, topic);
        let next = ticket.and_then(|ticket| inner.door.leave(topic, ticket));
        self.pushed(inner, topic);
        if let Some(waker) = next {
            waker.wake();
        }
        Ok(Pushed { id, due })
    }

    /// Events as bytes, if they are to be kept.
    fn stored<E: Message>(&self, events: &[E]) -> Result<Option<StoredBytes>, Error> {
        if self.journal.is_none() || !self.durability.keeps(E::NAME) {
            return Ok(None);
        }
        let stored = StoredBytes::of(events);
        stored.map(Some).map_err(|failure| {
            Error::config(format!("`{}`: {}", E::NAME, failure.chain().join(": ")))
        })
    }

    /// What whoever publishes on that topic waits for.
    #[inline]
    fn due(&self, group: u64, topic: TopicId) -> Due {
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
            if self.is_short() {
                return Err(Error::no_space());
            }
            // `weight` is user code: asked outside of the lock.
            let usual = size_of::<E>() as u64;
            let slice = events.as_slice();
            let slice = &slice[..slice.len().min(SLICE)];
            let alike = slice.iter().take_while(|event| weight_of(*event) == usual).count();
            let (most, weight) = match alike {
                0 => (1, weight_of(&slice[0])),
                alike => (alike as u64, usual),
            };
            let one = Load::new(1, weight);
            let stored = self.stored(&slice[..most as usize])?;
            let mut inner = self.intake.lock();
            if inner.closed {
                return Err(Error::closed());
            }
            let topic = inner.topics.topic::<E>()?;
            let admitted = inner.door.admit_some(topic, one, most, *ticket);
            if admitted > 0 {
                let count = admitted as usize;
                let stored = stored.as_ref().map(|stored| stored.first(count));
                inner.push(topic, events.by_ref().take(count), weight, stored);
                *due = Some(self.due(inner.taken, topic));
            }
            let mut next = None;
            if admitted == 0 {
                if inner.door.never_fits(topic, one) {
                    return Err(too_heavy::<E>(weight));
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
    pub(super) fn give_up<E: Event>(&self, ticket: u64) {
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
    fn pushed(&self, inner: MutexGuard<'_, Inner>, topic: TopicId) {
        let lanes = inner.door.lanes(topic);
        self.gathered(inner, lanes);
    }
}

/// What was pushed: the last event's id, and what is to be waited for, if there is a log.
#[derive(Debug, Clone, Copy)]
struct Pushed {
    id: EventId,
    due: Due,
}

/// An event of that weight finds no room, however long it waits.
pub(crate) fn too_heavy<E: Message>(weight: u64) -> Error {
    Error::config(format!(
        "an event `{}` weighs {weight} bytes, more than a subscription of it may hold at all: \
         raise its `bound_bytes`",
        E::NAME
    ))
}

/// An event on its way in, from [`Runtime::publish`](crate::Runtime::publish): await it, or call
/// [`Publish::wait`] on a plain thread. Resolves with the event's id.
#[must_use = "nothing is published until this is awaited, or `wait` is called"]
pub struct Publish<'a, E: Event> {
    broker: &'a Broker,
    event: Option<E>,
    ticket: Option<u64>,
    pushed: Option<Pushed>,
}

impl<E: Event> Unpin for Publish<'_, E> {}

impl<'a, E: Event> Publish<'a, E> {
    pub(crate) fn new(broker: &'a Broker, event: E) -> Self {
        Self { broker, event: Some(event), ticket: None, pushed: None }
    }

    /// Blocks the thread until the event is kept. Not for async code: there, await it.
    ///
    /// # Errors
    ///
    /// As [`Runtime::publish`](crate::Runtime::publish).
    pub fn wait(mut self) -> Result<EventId, Refused<E>> {
        if is_inside_handler() {
            return self.refuse();
        }
        if let Some(event) = self.event.take() {
            match self.broker.offer(event, None, None) {
                Err((Refused::Full(event), _)) => self.event = Some(event),
                Err((refused, _)) => return Err(refused),
                Ok(pushed) if self.broker.journal.is_none() => return Ok(pushed.id),
                Ok(pushed) => self.pushed = Some(pushed),
            }
        }
        pollster::block_on(self)
    }

    fn refuse(&mut self) -> Result<EventId, Refused<E>> {
        match self.event.take() {
            Some(event) => Err(Refused::InsideHandler(event)),
            None => unreachable_after_ready(),
        }
    }
}

/// Polling a future again after it was ready is a mistake in the executor.
fn unreachable_after_ready() -> ! {
    panic!("a publication was polled after it was done")
}

impl<E: Event> Future for Publish<'_, E> {
    type Output = Result<EventId, Refused<E>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Pushed { id, due }) = self.pushed {
            let kept = self.broker.poll_kept(due, task.waker());
            return kept.map(|kept| kept.map(|()| id).map_err(Refused::NotKept));
        }
        if is_inside_handler() {
            return Poll::Ready(self.refuse());
        }
        let Some(event) = self.event.take() else { unreachable_after_ready() };
        if self.ticket.is_none() {
            // Before the first look, so that no progress goes unseen after it.
            match self.broker.offer(event, None, None) {
                Err((Refused::Full(event), _)) => {
                    self.broker.intake.watch(Watch::Room);
                    self.ticket = Some(0);
                    self.event = Some(event);
                }
                Err((refused, _)) => return Poll::Ready(Err(refused)),
                Ok(pushed) => self.pushed = Some(pushed),
            }
            return self.poll(task);
        }
        let ticket = self.ticket.filter(|&ticket| ticket != 0);
        match self.broker.offer(event, ticket, Some(task.waker())) {
            Err((Refused::Full(event), ticket)) => {
                self.event = Some(event);
                self.ticket = ticket.or(self.ticket);
                Poll::Pending
            }
            done => {
                self.broker.intake.unwatch(Watch::Room);
                if let Some(ticket) = self.ticket.take()
                    && done.is_err()
                {
                    // Whoever stands behind it in the queue is not to wait for it.
                    self.broker.give_up::<E>(ticket);
                }
                match done {
                    Err((refused, _)) => Poll::Ready(Err(refused)),
                    Ok(pushed) => {
                        self.pushed = Some(pushed);
                        self.poll(task)
                    }
                }
            }
        }
    }
}

impl<E: Event> Drop for Publish<'_, E> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.broker.intake.unwatch(Watch::Room);
            self.broker.give_up::<E>(ticket);
        }
    }
}
