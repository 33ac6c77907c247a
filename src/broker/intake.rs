//! The intake: what has been published and has no place in the order yet. One lock serves
//! admission, ids and the open batch, so that what is published one by one becomes a batch by
//! itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst, fence};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::{Mutex, MutexGuard};

use super::door::Door;
use super::topics::{OUTSIDE, Topics};
use crate::clock::Timestamp;
use crate::message::Message;
use crate::message::envelope::{Origin, TopicId};
use crate::message::id::{IdSource, IdSpace};
use crate::message::EventId;
use crate::queue::Subscription;
use crate::queue::batch::Events;
use crate::signal::Signals;

/// What lies before the broker, in order.
pub(crate) enum Entry {
    Events(Events),
    Subscribe(Arc<Subscription>, usize),
    Unsubscribe(Arc<Subscription>, usize),
}

pub(crate) struct Inner {
    open: Events,
    sealed: Vec<Entry>,
    waker: Option<Waker>,
    ids: IdSource,
    now: Timestamp,
    seen_outside: Vec<bool>,
    pub(crate) door: Door,
    pub(crate) topics: Topics,
    /// No more from outside.
    pub(crate) closed: bool,
    ended: bool,
}

/// The place where everything that is published comes first.
pub(crate) struct Intake {
    inner: Mutex<Inner>,
    /// Publishers and others who want to hear of progress; read by who makes it.
    watchers: AtomicUsize,
    signals: Arc<Signals>,
}

/// Outboxes smaller than this are joined to what lies there already.
const JOINED: u32 = 32;

impl Intake {
    pub(crate) fn new(ids: Arc<IdSpace>, signals: Arc<Signals>) -> Self {
        let inner = Inner {
            open: Events::new(signals.clone()),
            sealed: Vec::new(),
            waker: None,
            ids: IdSource::new(ids),
            now: Timestamp::default(),
            seen_outside: Vec::new(),
            door: Door::default(),
            topics: Topics::default(),
            closed: false,
            ended: false,
        };
        Self { inner: Mutex::new(inner), watchers: AtomicUsize::new(0), signals }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Somebody begins to wait for progress. To be followed by another look at what it waits for.
    pub(crate) fn watch(&self) {
        self.watchers.fetch_add(1, SeqCst);
        fence(SeqCst);
    }

    pub(crate) fn unwatch(&self) {
        self.watchers.fetch_sub(1, SeqCst);
    }

    /// Whether anybody waits for progress; asked after it was made.
    pub(crate) fn is_watched(&self) -> bool {
        fence(SeqCst);
        self.watchers.load(SeqCst) > 0
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
    /// Adds an admitted event from outside to the open batch.
    pub(crate) fn push<E: Message>(&mut self, topic: TopicId, event: E, weight: u64) -> EventId {
        if self.open.is_empty() {
            self.now = Timestamp::now();
            self.ids.advance(self.now);
        }
        if self.seen_outside.get(usize::from(topic.0)) != Some(&true) {
            self.see_outside(topic);
        }
        let now = self.now;
        let id = self.ids.draw();
        self.open.push(topic, event, weight, id, &Origin::OUTSIDE, || now);
        self.door.before_broker += 1;
        id
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
        self.door.before_broker += u64::from(outbox.len());
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

    fn seal(&mut self) {
        if !self.open.is_empty() {
            let fresh = Events::new(self.open.signals().clone());
            let open = std::mem::replace(&mut self.open, fresh);
            self.sealed.push(Entry::Events(open));
        }
    }

    /// The broker, if it sleeps: to be woken when the lock is released.
    pub(crate) fn broker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }
}

/// The broker's end of the intake: all that has come, at once.
pub(crate) struct Published(pub(crate) Arc<Intake>);

impl Stream for Published {
    type Item = Vec<Entry>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let fresh = Events::new(self.0.signals.clone());
        let mut inner = self.0.lock();
        if inner.is_empty() {
            if inner.ended {
                return Poll::Ready(None);
            }
            inner.waker = Some(task.waker().clone());
            return Poll::Pending;
        }
        let open = std::mem::replace(&mut inner.open, fresh);
        let mut entries = std::mem::take(&mut inner.sealed);
        inner.door.before_broker = 0;
        drop(inner);
        if !open.is_empty() {
            entries.push(Entry::Events(open));
        }
        Poll::Ready(Some(entries))
    }
}
