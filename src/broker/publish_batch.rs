//! Publishing events of several types together: all of them, one behind the other, or none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::dedup::Once;
use super::encoded::form_of;
use super::handle::Broker;
use super::intake::Watch;
use super::offer::{Pushed, known, too_heavy_together};
use super::publish::is_inside_handler;
use super::together::Ticket;
use super::topics::OUTSIDE;
use crate::clock::Timestamp;
use crate::error::{Error, Refused};
use crate::message::envelope::{Origin, TopicId};
use crate::message::id::IdSource;
use crate::message::{Event, EventId};
use crate::queue::batch::{Events, Load};
use crate::store::LARGEST_BATCH;

/// Events of any types that are published together, from [`Runtime::batch`](crate::Runtime::batch):
/// they follow each other in the order of all events, and are kept all or not at all.
///
/// ```
/// # use cueline::prelude::*;
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Debited { account: u32 }
/// # cueline::event!(Debited, "account.debited");
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Credited { account: u32 }
/// # cueline::event!(Credited, "account.credited");
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = Runtime::builder("bank").start()?;
/// let mut transfer = runtime.batch();
/// transfer.add(Debited { account: 1 })?;
/// transfer.add(Credited { account: 2 })?;
/// transfer.dedup_key("transfer-81").publish().wait()?; // or `.await`
/// # runtime.shutdown(secs(1)).wait()?;
/// # Ok(())
/// # }
/// ```
///
/// Dropped without being published, nothing of it was.
pub struct Batch {
    broker: Arc<Broker>,
    contents: Box<Contents>,
    key: Option<Arc<str>>,
    /// None of them has to be synced to count as kept.
    all_buffered: bool,
}

struct Contents {
    ids: IdSource,
    events: Events,
    /// What they take up, by topic.
    loads: Vec<(TopicId, Load)>,
}

impl Batch {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        let ids = IdSource::new(broker.ids.clone());
        let events = Events::new(broker.signals.clone());
        let contents = Box::new(Contents { ids, events, loads: Vec::new() });
        Self { broker, contents, key: None, all_buffered: true }
    }

    /// Adds an event behind those that are there.
    ///
    /// # Errors
    ///
    /// [`Refused::Invalid`] gives the event back: it cannot be encoded, two types have its name, or it
    /// is too large, alone or with the others.
    pub fn add<E: Event>(&mut self, event: E) -> Result<(), Refused<E>> {
        let broker = &self.broker;
        let topic = match broker.topic::<E>(OUTSIDE) {
            Ok(topic) => topic,
            Err(error) => return Err(Refused::Invalid(event, error)),
        };
        let stored = match broker.stored(std::slice::from_ref(&event)) {
            Ok(stored) => stored,
            Err(error) => return Err(Refused::Invalid(event, error)),
        };
        let form = form_of(&event, stored.as_ref());
        let Contents { ids, events, loads } = &mut *self.contents;
        if events.stored().len() + form.bytes().map_or(0, <[u8]>::len) > LARGEST_BATCH {
            let error = Error::too_large("a batch", LARGEST_BATCH);
            return Err(Refused::Invalid(event, error));
        }
        let now = Timestamp::now();
        ids.advance(now);
        let event = std::iter::once(event);
        events.push(topic, event, form, ids.draw(), &Origin::OUTSIDE, || now);
        let load = Load::new(1, form.first());
        match loads.iter_mut().find(|(of, _)| *of == topic) {
            Some((_, known)) => known.add(load),
            None => loads.push((topic, load)),
        }
        self.all_buffered &= broker.durability.is_buffered(topic);
        Ok(())
    }

    /// How many events are in it.
    pub fn len(&self) -> usize {
        self.contents.events.len() as usize
    }

    /// Whether nothing has been added yet.
    pub fn is_empty(&self) -> bool {
        self.contents.events.is_empty()
    }

    /// Publishes all of it only if nothing was published under that key yet, on the channel of its first
    /// event; as [`Publish::dedup_key`](crate::Publish::dedup_key).
    #[must_use]
    pub fn dedup_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Publishes all of it: `.await`, or `.wait()` on a plain thread. Resolves with the id of the first
    /// event when all are kept; waits at the door until there is room for all.
    pub fn publish(self) -> PublishBatch {
        PublishBatch {
            broker: self.broker.clone(),
            batch: Some(self),
            ticket: None,
            watching: false,
            pushed: None,
        }
    }

    fn once(&self) -> Result<Option<(TopicId, Once)>, Error> {
        let (Some(key), Some(run)) = (&self.key, self.contents.events.runs().first()) else {
            return Ok(None);
        };
        // Event by event: how they fall into runs differs from time to time.
        let mut bytes = Vec::new();
        for run in self.contents.events.runs() {
            let name = self.broker.name_of(run.head.topic).as_bytes();
            let column = self.contents.events.column(run);
            for index in run.start..run.start + run.length {
                let encoded = column.encode(index as usize);
                let encoded =
                    encoded.map_err(|failure| Error::config(failure.chain().join(": ")))?;
                bytes.push([name, &(encoded.len() as u64).to_le_bytes(), &encoded].concat());
            }
        }
        let once = Once::of(key.clone(), bytes.iter().map(Vec::as_slice));
        Ok(Some((run.head.topic, once)))
    }
}

/// A [`Batch`] on its way in: await it, or call [`PublishBatch::wait`] on a plain thread. Resolves with
/// the id of its first event.
#[must_use = "nothing is published until this is awaited, or `wait` is called"]
pub struct PublishBatch {
    broker: Arc<Broker>,
    batch: Option<Batch>,
    ticket: Option<Ticket>,
    watching: bool,
    pushed: Option<Pushed>,
}

impl PublishBatch {
    /// Blocks the thread until all events are kept. Not for async code: there, await it.
    ///
    /// # Errors
    ///
    /// As [`Runtime::publish`](crate::Runtime::publish); it gives the whole batch back.
    pub fn wait(self) -> Result<EventId, Refused<Batch>> {
        pollster::block_on(self)
    }

    /// One attempt: what it waits for, or why it is refused; none if there is no room yet.
    fn offer(&mut self, task: &Context<'_>) -> Option<Result<Pushed, Refused<Batch>>> {
        let mut batch = self.batch.take()?;
        if let Some(why) = self.broker.unable() {
            return Some(Err(Refused::unable(batch, why)));
        }
        let once = match batch.once() {
            Ok(once) => once,
            Err(error) => return Some(Err(Refused::Invalid(batch, error))),
        };
        let mut inner = self.broker.intake.lock();
        if inner.closed {
            return Some(Err(Refused::Closed(batch)));
        }
        if let Some((topic, once)) = &once {
            match known(&inner.look(*topic, once), &once.key) {
                Ok(None) => {}
                Ok(Some(pushed)) => {
                    let name = inner.topics.name(*topic);
                    drop(inner);
                    self.broker.state_duplicate(*topic, name);
                    return Some(Ok(pushed));
                }
                Err(error) => {
                    drop(inner);
                    return Some(Err(Refused::Invalid(batch, error)));
                }
            }
        }
        if let Err(topic) = inner.door.admit_together(&batch.contents.loads, self.ticket) {
            if inner.door.never_fit_together(&batch.contents.loads) {
                let error = too_heavy_together(batch.len());
                drop(inner);
                return Some(Err(Refused::Invalid(batch, error)));
            }
            if self.broker.durability.refuses(inner.topics.name(topic)) {
                drop(inner);
                return Some(Err(Refused::Full(batch)));
            }
            let next = inner.door.wait_at(topic, &mut self.ticket, task.waker());
            drop(inner);
            next.into_iter().for_each(std::task::Waker::wake);
            self.batch = Some(batch);
            return None;
        }
        let id = batch.contents.events.runs().first().map_or(EventId(0), |run| run.head.id(0));
        let due = super::journal::Due { group: inner.taken, written: batch.all_buffered };
        let lanes = batch
            .contents
            .loads
            .iter()
            .fold(0, |lanes, (topic, _)| lanes | inner.door.lanes(*topic));
        for (topic, _) in &batch.contents.loads {
            inner.sees_outside(*topic);
        }
        if let Some((topic, once)) = &once {
            let notes = inner.note(*topic, once, id, due);
            batch.contents.events.note(notes);
        }
        inner.push_outbox(batch.contents.events);
        let next = self.ticket.take();
        let next = next.and_then(|ticket| inner.door.leave(ticket.topic, ticket.number));
        self.broker.gathered(inner, lanes);
        next.into_iter().for_each(std::task::Waker::wake);
        Some(Ok(Pushed { id, due: Some(due) }))
    }

    /// It waits no longer.
    fn leave(&mut self) {
        if std::mem::take(&mut self.watching) {
            self.broker.intake.unwatch(Watch::Room);
        }
        if let Some(ticket) = self.ticket.take() {
            let next = self.broker.intake.lock().door.leave(ticket.topic, ticket.number);
            next.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

impl Future for PublishBatch {
    type Output = Result<EventId, Refused<Batch>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(Pushed { id, due }) = self.pushed {
                let Some(due) = due else { return Poll::Ready(Ok(id)) };
                let kept = self.broker.poll_kept(due, task.waker());
                return kept.map(|kept| kept.map(|()| id).map_err(Refused::NotKept));
            }
            if let Some(batch) = self.batch.take_if(|batch| is_inside_handler() || batch.is_empty())
            {
                return Poll::Ready(match batch.is_empty() {
                    true => Err(Refused::Invalid(batch, Error::config("the batch is empty"))),
                    false => Err(Refused::InsideHandler(batch)),
                });
            }
            match self.offer(task) {
                Some(Ok(pushed)) => {
                    self.leave();
                    self.pushed = Some(pushed);
                }
                Some(Err(refused)) => {
                    self.leave();
                    return Poll::Ready(Err(refused));
                }
                // Once more, so that no progress goes unseen that was made before it watched.
                None if !self.watching => {
                    self.broker.intake.watch(Watch::Room);
                    self.watching = true;
                }
                None => return Poll::Pending,
            }
        }
    }
}

impl Drop for PublishBatch {
    fn drop(&mut self) {
        self.leave();
    }
}
