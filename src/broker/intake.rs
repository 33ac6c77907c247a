//! The intake: what has been published and has no place in the order yet. One lock serves
//! admission, ids and the open batch, so that what is published one by one becomes a batch by
//! itself.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst, fence};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::{Mutex, MutexGuard};

use super::dedup::{Dedup, First, Known, Once};
use super::door::Door;
use super::journal::Due;
use super::topics::{OUTSIDE, Topics};
use crate::clock::{Timestamp, Trusted};
use crate::message::EventId;
use crate::message::Message;
use crate::message::envelope::{Origin, TopicId};
use crate::message::id::{IdSource, IdSpace};
use crate::queue::Subscription;
use crate::queue::batch::{Events, Load};
use crate::queue::form::Form;
use crate::queue::once::{KeyNote, Keyed};
use crate::signal::Signals;

/// What lies before the broker, in order.
pub(crate) enum Entry {
    Events(Events),
    Subscribe(Arc<Subscription>, usize),
    Unsubscribe(Arc<Subscription>, usize),
}

pub(crate) struct Inner {
    open: Events,
    pub(super) sealed: Vec<Entry>,
    /// Subscriptions that have something to tell to the log.
    news: Vec<Arc<Subscription>>,
    /// What was taken is being written.
    pub(crate) writing: bool,
    pub(crate) ahead: usize, // handed out before it is written
    waker: Option<Waker>,
    /// The broker actor is asked to take the turn.
    asked: bool,
    ids: IdSource,
    /// When the open batch began, as far as events from outside are in it.
    now: Option<Timestamp>,
    seen_outside: Vec<bool>,
    pub(crate) door: Door,
    pub(crate) topics: Topics,
    pub(crate) dedup: Dedup,
    /// Keys that are forgotten, for the log, with what is published under one next.
    forgotten: Vec<KeyNote>,
    pub(crate) trusted: Trusted,
    /// No more from outside.
    pub(crate) closed: bool,
    ended: bool,
    /// How often all of it has been taken.
    pub(crate) taken: u64,
}

/// The place where everything that is published comes first.
pub(crate) struct Intake {
    inner: Mutex<Inner>,
    /// Who wants to hear of progress; read by who makes it.
    watchers: [AtomicUsize; 2],
    /// Whom to wake when the runtime may have come to rest.
    resters: Mutex<Vec<(u64, Waker)>>,
    next_rester: AtomicU64,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Watch {
    Room,
    Rest,
}

/// Outboxes smaller than this are joined to what lies there already.
const JOINED: u32 = 32;

/// So many bytes that are to be stored are a batch.
const LARGE: usize = 1 << 20;

impl Intake {
    pub(crate) fn new(ids: Arc<IdSpace>, signals: Arc<Signals>) -> Self {
        let inner = Inner {
            open: Events::new(signals),
            sealed: Vec::new(),
            news: Vec::new(),
            writing: false,
            ahead: 0,
            waker: None,
            asked: false,
            ids: IdSource::new(ids),
            now: None,
            seen_outside: Vec::new(),
            door: Door::default(),
            topics: Topics::default(),
            dedup: Dedup::default(),
            forgotten: Vec::new(),
            trusted: Trusted::new(Timestamp::now().as_millis()),
            closed: false,
            ended: false,
            taken: 0,
        };
        Self {
            inner: Mutex::new(inner),
            watchers: Default::default(),
            resters: Mutex::default(),
            next_rester: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Somebody begins to wait for progress of that kind. To be followed by another look at what
    /// it waits for.
    pub(crate) fn watch(&self, watch: Watch) {
        self.watchers[watch as usize].fetch_add(1, SeqCst);
        fence(SeqCst);
    }

    pub(crate) fn unwatch(&self, watch: Watch) {
        self.watchers[watch as usize].fetch_sub(1, SeqCst);
    }

    /// Whether anybody waits for progress of that kind; asked after it was made.
    pub(crate) fn is_watched(&self, watch: Watch) -> bool {
        fence(SeqCst);
        self.watchers[watch as usize].load(SeqCst) > 0
    }

    pub(crate) fn next_rester(&self) -> u64 {
        self.next_rester.fetch_add(1, SeqCst)
    }

    pub(crate) fn await_rest(&self, number: u64, waker: &Waker) {
        let mut resters = self.resters.lock();
        match resters.iter_mut().find(|(of, _)| *of == number) {
            Some((_, known)) => known.clone_from(waker),
            None => resters.push((number, waker.clone())),
        }
    }

    pub(crate) fn forget_rester(&self, number: u64) {
        self.resters.lock().retain(|(of, _)| *of != number);
    }

    pub(crate) fn wake_resters(&self) {
        let resters = std::mem::take(&mut *self.resters.lock());
        resters.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The broker has no more to do when this is empty and stays so.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Inner {
    /// Adds admitted events from outside to the open batch; returns the last one's id.
    #[inline]
    pub(crate) fn push<E: Message>(
        &mut self,
        topic: TopicId,
        mut events: impl ExactSizeIterator<Item = E>,
        mut form: Form<'_>,
        origin: &Origin,
    ) -> EventId {
        let now = *self.now.get_or_insert_with(|| {
            let now = Timestamp::now();
            self.ids.advance(now);
            now
        });
        if origin.parent.is_none() {
            self.sees_outside(topic);
        }
        self.seal_if_large();
        self.door.before_broker.events += events.len() as u64;
        self.door.before_broker.weight += form.bytes().map_or(0, <[u8]>::len) as u64;
        loop {
            let (first, drawn) = self.ids.draw_many(events.len() as u64);
            let left = events.len() as u64 - drawn;
            let part = Part { events: &mut events, left: drawn as usize };
            let (head, tail) = form.split(drawn as usize);
            self.open.push(topic, part, head, first, origin, || now);
            form = tail;
            if left == 0 {
                return EventId(first.0 + u128::from(drawn - 1));
            }
        }
    }

    /// What is known of a publication's key.
    pub(crate) fn look(&mut self, topic: TopicId, once: &Once) -> Known {
        self.dedup.look(topic, once, self.trusted.now(), &mut self.forgotten)
    }

    /// Something is published under that key: what a log is to be told together with it.
    pub(crate) fn note(
        &mut self,
        topic: TopicId,
        once: &Once,
        id: EventId,
        due: Due,
    ) -> Vec<KeyNote> {
        let at = Timestamp::now().as_millis();
        let keyed = Keyed { id, digest: once.digest, at };
        let first = First { keyed, due: Some(due) };
        let key = once.key.clone();
        let mut notes = std::mem::take(&mut self.forgotten);
        notes.push(KeyNote { topic, key: key.clone(), first: Some(keyed) });
        self.dedup.note(topic, key, first, self.trusted.now(), &mut notes);
        let keeps = self.door.keeps;
        notes.retain(|note| keeps && self.door.durability.keeps_topic(note.topic));
        notes
    }

    /// As [`Inner::note`], of what was pushed last.
    pub(crate) fn note_pushed(&mut self, topic: TopicId, once: &Once, id: EventId, due: Due) {
        let notes = self.note(topic, once, id, due);
        self.open.note(notes);
    }

    /// The application publishes on that topic.
    #[inline]
    pub(crate) fn sees_outside(&mut self, topic: TopicId) {
        if self.seen_outside.get(usize::from(topic.0)) != Some(&true) {
            self.see_outside(topic);
        }
    }

    #[cold]
    fn see_outside(&mut self, topic: TopicId) {
        let index = usize::from(topic.0);
        if self.seen_outside.len() <= index {
            self.seen_outside.resize(index + 1, false);
        }
        self.seen_outside[index] = true;
        self.topics.saw(OUTSIDE, topic);
    }

    /// Adds what a handler published.
    pub(crate) fn push_outbox(&mut self, outbox: Events) {
        let stored = outbox.stored().len() as u64;
        self.door.before_broker.add(Load::new(u64::from(outbox.len()), stored));
        self.seal_if_large();
        if self.open.is_empty() || outbox.len() < JOINED {
            self.open.append(outbox);
        } else {
            self.seal();
            self.sealed.push(Entry::Events(outbox));
        }
    }

    pub(crate) fn push_entry(&mut self, entry: Entry) {
        self.seal();
        self.sealed.push(entry);
    }

    pub(crate) fn push_news(&mut self, subscription: Arc<Subscription>) {
        self.news.push(subscription);
    }

    pub(crate) fn take_news(&mut self) -> Vec<Arc<Subscription>> {
        std::mem::take(&mut self.news)
    }

    /// What is written at once is not to grow much: it is lost together, if the disk damages it.
    #[inline]
    fn seal_if_large(&mut self) {
        if self.open.stored().len() >= LARGE {
            self.seal();
        }
    }

    fn seal(&mut self) {
        self.now = None;
        if !self.open.is_empty() {
            let fresh = self.open.another();
            let open = std::mem::replace(&mut self.open, fresh);
            self.sealed.push(Entry::Events(open));
        }
    }

    /// Takes all that has come, in order.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        self.seal();
        let taken = std::mem::take(&mut self.door.before_broker);
        if self.door.keeps {
            self.door.unwritten.add(taken);
        }
        std::mem::take(&mut self.sealed)
    }

    /// Asks the broker actor to take the turn. If it sleeps, it is to be woken when the lock is
    /// released.
    pub(crate) fn ask_broker(&mut self) -> Option<Waker> {
        self.asked = true;
        self.waker.take()
    }

    /// Nothing lies here that was published.
    pub(crate) fn has_no_events(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }

    /// Nothing lies here at all.
    pub(crate) fn has_none(&self) -> bool {
        self.has_no_events() && self.news.is_empty() && self.ahead == 0
    }

    /// Nothing lies here at all, and nothing is being written.
    pub(crate) fn is_empty(&self) -> bool {
        self.has_none() && !self.writing
    }
}

/// The next few of an iterator, which goes on afterwards.
struct Part<'a, I> {
    events: &'a mut I,
    left: usize,
}

impl<I: Iterator> Iterator for Part<'_, I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.checked_sub(1)?;
        self.events.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: Iterator> ExactSizeIterator for Part<'_, I> {}

/// Ready whenever the broker actor is asked for; ends when nothing will be published any more.
pub(crate) struct Arrived(pub(crate) Weak<Intake>);

impl Stream for Arrived {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(intake) = self.0.upgrade() else { return Poll::Ready(None) };
        let mut inner = intake.lock();
        if std::mem::take(&mut inner.asked) {
            return Poll::Ready(Some(()));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        inner.waker = Some(task.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Ping;
    crate::event!(Ping, "ping");
    const FREE: Form<'static> = Form::Values { each: 0 };

    /// What handlers publish may be there first, with times of its own.
    #[test]
    fn events_from_outside_have_their_own_time_whatever_lies_there_already() {
        let signals = Signals::new(Vec::new());
        let intake = Intake::new(IdSpace::new(), signals.clone());
        let mut inner = intake.lock();
        let topic = inner.topics.topic::<Ping>().unwrap();
        for _ in 0..2 {
            let mut outbox = Events::new(signals.clone());
            let (old, one) = (Timestamp::default(), std::iter::once(Ping));
            outbox.push(topic, one, FREE, EventId(7), &Origin::OUTSIDE, || old);
            inner.push_outbox(outbox);
            let before = Timestamp::now();
            let id = inner.push(topic, std::iter::once(Ping), FREE, &Origin::OUTSIDE);
            assert!(id.timestamp() >= before, "{id}");
            assert!(inner.open.runs().last().unwrap().head.at >= before);
            drop(inner.take());
        }
    }
}
