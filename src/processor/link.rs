//! What a driver stages between two commits, shared by the handler's [`Context`] and by the poll
//! that drives the handler: publications, kept state, how far the driver came.
//!
//! [`Context`]: super::context::Context

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::emitted::Emitted;
use super::outcome::{Ended, pause_for_readers, pause_under_pressure};
use crate::broker::handle::{Broker, Lease};
use crate::clock::{Moment, Timestamp};
use crate::error::{Failure, Outcome};
use crate::message::envelope::{Origin, TopicId};
use crate::message::id::IdSource;
use crate::message::{Event, EventId};
use crate::queue::batch::{Events, Load};
use crate::queue::settlement::{Commit, Settle};
use crate::queue::{Cursor, Subscription};
use crate::signal::{Sample, Signal};
use crate::store::memory::{StateKey, Value};

/// How many events a driver handles before others on its thread get their turn.
pub(crate) const BUDGET: u32 = 256;

struct Chunk {
    outbox: Events,
    emitted: Vec<Emitted>,
    staged: HashMap<StateKey, Arc<dyn Value>, foldhash::fast::RandomState>,
    delayed: Vec<(Moment, Events)>,
    now: Option<Timestamp>,
}

/// What a driver stages between two commits.
pub(crate) struct Link {
    pub(crate) broker: Arc<Broker>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) hop_limit: u16,
    pub(crate) timeout: Duration,
    ids: Rc<RefCell<IdSource>>,
    chunk: RefCell<Chunk>,
    /// Where in the outbox the publications of the event in hand begin, and where they end.
    mark: Cell<u32>,
    published: Cell<u32>,
    /// Outcomes in a row that found no room for what they published.
    refused_in_a_row: Cell<u32>,
    /// Claims in a row after which it paused for who reads what it publishes.
    pauses: Cell<u32>,
    /// Some lease was too small for what the event in hand published.
    short: Cell<bool>,
    /// Everything of the front batch before this is settled, once it is committed.
    progress: Cell<Option<Cursor>>,
    handled: Cell<u64>,
    filtered: Cell<u64>,
    sample: Cell<Option<Sample>>,
    /// First deliveries need not be asked for.
    pub(crate) clear: Cell<bool>,
    timer: RefCell<Option<Pin<Box<Sleep>>>>,
    /// A handler of this driver waits: another driver may be needed.
    pub(crate) waits: Rc<Cell<bool>>,
}

impl Link {
    pub(crate) fn new(
        broker: Arc<Broker>,
        subscription: Arc<Subscription>,
        hop_limit: u16,
        timeout: Duration,
        ids: Rc<RefCell<IdSource>>,
        waits: Rc<Cell<bool>>,
    ) -> Rc<Self> {
        let chunk = Chunk {
            outbox: Events::new(broker.signals.clone()),
            emitted: Vec::new(),
            staged: HashMap::default(),
            delayed: Vec::new(),
            now: None,
        };
        Rc::new(Self {
            broker,
            subscription,
            hop_limit,
            timeout,
            ids,
            chunk: RefCell::new(chunk),
            mark: Cell::new(0),
            published: Cell::new(0),
            refused_in_a_row: Cell::new(0),
            pauses: Cell::new(0),
            short: Cell::new(false),
            progress: Cell::new(None),
            handled: Cell::new(0),
            filtered: Cell::new(0),
            sample: Cell::new(None),
            clear: Cell::new(true),
            timer: RefCell::new(None),
            waits,
        })
    }

    /// Stages a publication of the event in hand.
    #[inline]
    pub(crate) fn publish<E: Event>(&self, event: E, origin: &Origin) -> Outcome<EventId> {
        let weight = event.weight() as u64;
        let chunk = &mut *self.chunk.borrow_mut();
        let slot = self.emitted::<E>(&mut chunk.emitted)?;
        let mut ids = self.ids.borrow_mut();
        let now = *chunk.now.get_or_insert_with(|| {
            let now = Timestamp::now();
            ids.advance(now);
            now
        });
        let id = ids.draw();
        let emitted = &mut chunk.emitted[slot];
        let load = Load::new(1, weight);
        if load.fits(emitted.lease.allowed) {
            emitted.lease.spend(load);
        } else {
            emitted.short.add(load);
            self.short.set(true);
        }
        let event = std::iter::once(event);
        chunk.outbox.push(emitted.topic, event, weight, id, origin, || now);
        self.published.set(chunk.outbox.len());
        Ok(id)
    }

    /// A publication that travels alone, later.
    pub(crate) fn one_event<E: Event>(&self, event: E, origin: &Origin) -> Outcome<Events> {
        let weight = event.weight() as u64;
        let chunk = &mut *self.chunk.borrow_mut();
        let slot = self.emitted::<E>(&mut chunk.emitted)?;
        let mut ids = self.ids.borrow_mut();
        let now = Timestamp::now();
        ids.advance(now);
        let mut events = Events::new(self.broker.signals.clone());
        let (topic, event) = (chunk.emitted[slot].topic, std::iter::once(event));
        events.push(topic, event, weight, ids.draw(), origin, || now);
        Ok(events)
    }

    #[inline]
    fn emitted<E: Event>(&self, emitted: &mut Vec<Emitted>) -> Outcome<usize> {
        let of = TypeId::of::<E>();
        match emitted.iter().position(|emitted| emitted.of == of) {
            Some(known) => Ok(known),
            None => self.emits_too::<E>(of, emitted),
        }
    }

    #[cold]
    fn emits_too<E: Event>(&self, of: TypeId, emitted: &mut Vec<Emitted>) -> Outcome<usize> {
        let topic = self
            .broker
            .topic::<E>(&self.subscription.name.name)
            .map_err(|error| Failure::permanent(error.to_string()))?;
        let (lease, short) = (Lease::default(), Load::default());
        emitted.push(Emitted { of, topic, name: E::NAME, lease, short });
        Ok(emitted.len() - 1)
    }

    /// Asks for room for what the event in hand published. On failure, the topic that has none.
    #[inline]
    pub(crate) fn admit_publications(&self) -> Result<(), &'static str> {
        if self.short.get() {
            let chunk = &mut *self.chunk.borrow_mut();
            for emitted in chunk.emitted.iter_mut().filter(|emitted| !emitted.short.is_zero()) {
                let more = self.broker.lease(emitted.topic, emitted.short).ok_or(emitted.name)?;
                emitted.lease.allowed.add(more);
                emitted.lease.spend(std::mem::take(&mut emitted.short));
            }
            self.short.set(false);
        }
        self.mark.set(self.published.get());
        self.refused_in_a_row.set(0);
        Ok(())
    }

    /// An outcome found no room for what it published: until when nothing fresh should be handed
    /// out, if at all.
    pub(crate) fn under_pressure(&self, at_most: Moment) -> Option<Moment> {
        let times = self.refused_in_a_row.get();
        self.refused_in_a_row.set(times.saturating_add(1));
        let pause = pause_under_pressure(times)?;
        Some(self.broker.clock.now().after(pause).min(at_most))
    }

    /// After a claim: what this driver publishes lives off the reserve of who reads it, so it pauses
    /// for a while, before its outcomes have to be refused. Until when, if so. Never for ever:
    /// processors that answer each other would wait for each other.
    pub(crate) fn pause_for_readers(&self) -> Option<Moment> {
        let chunk = self.chunk.borrow();
        let wanted = &self.subscription.wanted;
        let others = chunk.emitted.iter().map(|emitted| emitted.topic);
        let mut others = others.filter(|topic| wanted.which(*topic).is_none()).peekable();
        let full =
            others.peek().is_some() && self.broker.lives_off_reserve(others, u64::from(BUDGET));
        let pauses = if full { self.pauses.get() } else { 0 };
        self.pauses.set(if full { pauses + 1 } else { 0 });
        full.then(|| self.broker.clock.now().after(pause_for_readers(pauses)))
    }

    /// Drops what the event in hand published.
    pub(crate) fn drop_publications(&self) {
        let dropped = {
            let chunk = &mut *self.chunk.borrow_mut();
            let dropped = chunk.outbox.split_off(self.mark.get());
            self.published.set(self.mark.get());
            for emitted in &mut chunk.emitted {
                let mut spent = Load::default();
                for (_, load) in dropped.loads().filter(|(topic, _)| *topic == emitted.topic) {
                    spent.add(load);
                }
                spent = spent.less(std::mem::take(&mut emitted.short));
                emitted.lease.allowed.add(spent);
                emitted.lease.used = emitted.lease.used.less(spent);
            }
            self.short.set(false);
            dropped
        };
        drop(dropped);
    }

    /// The value as an earlier event of the same commit left it.
    pub(crate) fn staged(&self, name: &StateKey) -> Option<Arc<dyn Value>> {
        self.chunk.borrow().staged.get(name).cloned()
    }

    /// Whether one more state may be kept, beside the event's own and those staged before.
    pub(crate) fn has_room_for_state<'a>(&self, own: impl Iterator<Item = &'a StateKey>) -> bool {
        let chunk = self.chunk.borrow();
        let mut staged: Vec<&StateKey> = chunk.staged.keys().collect();
        for name in own.filter(|name| !chunk.staged.contains_key(name)) {
            staged.push(name);
        }
        self.subscription.has_room_for_state(&staged)
    }

    pub(crate) fn stage(
        &self,
        states: impl Iterator<Item = (StateKey, Box<dyn Value>)>,
        delayed: impl Iterator<Item = (Moment, Events)>,
    ) {
        let mut chunk = self.chunk.borrow_mut();
        let mut replaced = Vec::new();
        for (name, value) in states {
            replaced.extend(chunk.staged.insert(name, Arc::from(value)));
        }
        chunk.delayed.extend(delayed);
        drop(chunk);
        drop(replaced);
    }

    /// Notes how far the driver came in the front batch, without committing it yet.
    #[inline]
    pub(crate) fn reached(&self, at: Cursor) {
        self.progress.set(Some(at));
    }

    pub(crate) fn forget_reached(&self) {
        self.progress.set(None);
    }

    /// An event that was handed out by itself was handled.
    pub(crate) fn count_handled(&self) {
        self.handled.set(self.handled.get() + 1);
    }

    pub(crate) fn count_filtered(&self) {
        self.filtered.set(self.filtered.get() + 1);
    }

    pub(crate) fn sampled(&self, sample: Sample) {
        self.sample.set(Some(sample));
    }

    /// Commits all that was staged: publications leave, state is kept, events are settled.
    pub(crate) fn commit(&self, settle: Option<Settle>) {
        self.commit_under_pressure(settle, None);
    }

    /// As [`Link::commit`]; hands out nothing fresh before that moment.
    pub(crate) fn commit_under_pressure(
        &self,
        settle: Option<Settle>,
        pressed_until: Option<Moment>,
    ) {
        let (outbox, leases, states, delayed) = {
            let chunk = &mut *self.chunk.borrow_mut();
            let outbox = match self.mark.take() {
                0 => Events::new(self.broker.signals.clone()),
                mark if mark == chunk.outbox.len() => {
                    let fresh = chunk.outbox.another();
                    std::mem::replace(&mut chunk.outbox, fresh)
                }
                mark => {
                    let rest = chunk.outbox.split_off(mark);
                    std::mem::replace(&mut chunk.outbox, rest)
                }
            };
            self.published.set(chunk.outbox.len());
            chunk.now = None;
            let leases: Leases = chunk.emitted.iter_mut().filter_map(Emitted::take_used).collect();
            let states: Vec<_> = chunk.staged.drain().collect();
            (outbox, leases, states, std::mem::take(&mut chunk.delayed))
        };
        if !leases.is_empty() {
            self.broker.flush(outbox, leases.into_iter());
        }
        let to = self.progress.take();
        let failed = to.is_some() && matches!(settle, Some(Settle::Failed { .. }));
        let passed =
            self.subscription.commit(Commit { to, settle, states, delayed, pressed_until });
        let events = self.handled.take() + passed - u64::from(failed);
        let filtered = self.filtered.take();
        if events > 0 {
            let (processor, sample) = (&self.subscription.name, self.sample.take());
            self.broker.signals.state(&Signal::Handled { processor, events, filtered, sample });
        }
        self.broker.progressed(&self.subscription);
    }

    /// The driver rests: what it was allowed to publish and did not need comes back.
    pub(crate) fn give_back_leases(&self) {
        let mut chunk = self.chunk.borrow_mut();
        let leases: Leases = chunk.emitted.iter_mut().filter_map(Emitted::take_lease).collect();
        drop(chunk);
        if !leases.is_empty() {
            let nothing = Events::new(self.broker.signals.clone());
            self.broker.flush(nothing, leases.into_iter());
        }
    }

    /// Commits what a hook staged, if it staged anything.
    pub(crate) fn commit_if_staged(&self) {
        let staged = {
            let chunk = self.chunk.borrow();
            self.mark.get() > 0 || !chunk.staged.is_empty() || !chunk.delayed.is_empty()
        };
        if staged {
            self.commit(None);
        }
    }

    /// The handler in hand returned pending. The first time, all that was settled before it is
    /// committed, and its time limit begins. Ready when its time is over.
    #[cold]
    pub(crate) fn wait(
        &self,
        pending: &mut bool,
        task: &mut std::task::Context<'_>,
    ) -> Poll<Ended> {
        if !std::mem::replace(pending, true) {
            self.commit(None);
            self.arm(Instant::now() + self.timeout);
            self.waits.set(true);
        }
        self.poll_timer(task).map(|()| Ended::TimedOut(self.timeout))
    }

    /// Sets the driver's one timer.
    pub(crate) fn arm(&self, deadline: Instant) {
        match &mut *self.timer.borrow_mut() {
            Some(timer) => timer.as_mut().reset(deadline),
            none => *none = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
    }

    pub(crate) fn poll_timer(&self, task: &mut std::task::Context<'_>) -> Poll<()> {
        match &mut *self.timer.borrow_mut() {
            Some(timer) => timer.as_mut().poll(task),
            None => Poll::Pending,
        }
    }
}

type Leases = Vec<(TopicId, Lease)>;

/// Lets others on the thread have their turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|task| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        Waker::wake_by_ref(task.waker());
        Poll::Pending
    })
    .await;
}
