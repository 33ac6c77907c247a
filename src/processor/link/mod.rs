//! What a driver stages between two commits, shared by the handler's [`Context`] and by the poll
//! that drives the handler: publications, kept state, how far the driver came.
//!
//! [`Context`]: super::context::Context

mod chunk;
mod commit;
pub(crate) mod loose;
mod publications;
pub(crate) mod turns;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use self::chunk::Chunk;
use super::measured::Measured;
use super::outcome::Ended;
use super::pressure::Pressure;
use crate::broker::handle::{Broker, Lease};
use crate::broker::holders::Holder;
use crate::clock::{Moment, deadline};
use crate::message::envelope::TopicId;
use crate::message::id::IdSource;
use crate::message::{Key, Message};
use crate::pulse::Pulse;
use crate::queue::answer::Answer;
use crate::queue::backoff::Retry;
use crate::queue::batch::Events;
use crate::queue::fence::Fence;
use crate::queue::{Cursor, Driver, Subscription};
use crate::request::Requests;
use crate::store::memory::{StateKey, StoredValue, Value};
use crate::supervise::Reason;
use crate::supervise::child::Seat;

/// Says by its key whether an event is for a child.
pub(crate) type Mine = Box<dyn Fn(Option<&Key>) -> bool>;

/// In memory, so many who asked need not wait for others that are answered: they may go on meanwhile.
const AWAITED: usize = 16;

/// How many events a driver handles before others on its thread get their turn.
pub(crate) const BUDGET: u32 = 256;

/// What a driver stages between two commits.
pub(crate) struct Link {
    pub(crate) broker: Arc<Broker>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) hop_limit: u16,
    /// The thread is this host's alone.
    pub(crate) own_thread: bool,
    pub(crate) timeout: Duration,
    pub(crate) retry: Retry,
    holder: Holder,
    /// As which it asks for work.
    pub(crate) driver: Driver,
    /// Which events are for this child, of all that its siblings get too.
    mine: Option<Mine>,
    /// The child is to end after what is in hand, and why.
    pub(crate) ends: RefCell<Option<Reason>>,
    /// How many had subscribed when room was allowed last.
    epoch: Cell<u64>,
    ids: Rc<RefCell<IdSource>>,
    chunk: RefCell<Chunk>,
    /// Where in the outbox the publications of the event in hand begin, and where they end.
    mark: Cell<u32>,
    published: Cell<u32>,
    /// The number of the next commit.
    commits: Cell<u64>,
    /// So many bytes are to be stored, or so many are to be told, that all should be committed.
    pub(crate) heavy: Cell<bool>,
    pressure: Pressure,
    /// How long nothing fresh is to be taken, because what follows from it does not keep up.
    pub(crate) pause: Cell<Option<Duration>>,
    /// Some lease was too small for what the event in hand published.
    short: Cell<bool>,
    /// Everything of the front batch before this is settled, once it is committed.
    progress: Cell<Option<Cursor>>,
    handled: Cell<u64>,
    filtered: Cell<u64>,
    pub(crate) measured: Measured,
    /// First deliveries need not be asked for.
    pub(crate) clear: Cell<bool>,
    timer: RefCell<Option<Pin<Box<Sleep>>>>,
    /// A handler of this driver waits: another driver may be needed.
    pub(crate) waits: Rc<Cell<bool>>,
}

impl Link {
    pub(crate) fn new(
        seat: &Seat,
        (timeout, retry): (Duration, Retry),
        mine: Option<Mine>,
        ids: Rc<RefCell<IdSource>>,
        waits: Rc<Cell<bool>>,
    ) -> Rc<Self> {
        let broker = seat.broker.clone();
        let holder = broker.join();
        seat.holders.lock().push(holder);
        let chunk = Chunk::new(Events::new(broker.signals.clone()));
        Rc::new(Self {
            epoch: Cell::new(broker.epoch()),
            holder,
            driver: seat.subscription.join(seat.host, seat.fence.clone()),
            mine,
            broker,
            requests: seat.requests.clone(),
            subscription: seat.subscription.clone(),
            fence: seat.fence.clone(),
            pulse: seat.pulse.clone(),
            hop_limit: seat.hop_limit,
            own_thread: seat.own_thread,
            timeout,
            retry,
            ends: RefCell::new(None),
            ids,
            chunk: RefCell::new(chunk),
            mark: Cell::new(0),
            published: Cell::new(0),
            commits: Cell::new(1),
            heavy: Cell::new(false),
            pressure: Pressure::default(),
            pause: Cell::new(None),
            short: Cell::new(false),
            progress: Cell::new(None),
            handled: Cell::new(0),
            filtered: Cell::new(0),
            measured: Measured::default(),
            clear: Cell::new(true),
            timer: RefCell::new(None),
            waits,
        })
    }

    /// After a claim: what this driver publishes lives off the reserve of who reads it, so it pauses
    /// for a while, before its outcomes have to be refused. Until when, if so.
    pub(crate) fn pause_for_readers(&self) -> Option<Moment> {
        let pause = self.pressure.of_readers().max(self.pause.take())?;
        Some(self.broker.clock.now().after(pause))
    }

    /// An outcome found no room for what it published: until when nothing fresh should be handed
    /// out, if at all.
    pub(crate) fn under_pressure(&self, at_most: Moment) -> Option<Moment> {
        let pause = self.pressure.of_refusal()?;
        Some(self.broker.clock.now().after(pause).min(at_most))
    }

    /// Whether an event is for this child.
    #[inline]
    pub(crate) fn is_mine<M: Message>(&self, message: &M) -> bool {
        self.mine.as_ref().is_none_or(|mine| mine(message.key().as_ref()))
    }

    /// The value as an earlier event of the same commit left it.
    pub(crate) fn staged(&self, name: &StateKey) -> Option<Arc<dyn Value>> {
        self.chunk.borrow().staged.get(name).map(|(value, _)| value.clone())
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

    /// Whether the event's own publications may wait for their time, beside those staged before.
    pub(crate) fn has_room_for_delayed<'a>(&self, own: impl Iterator<Item = &'a Events>) -> bool {
        let mut load = self.chunk.borrow().delayed_load;
        own.flat_map(Events::loads).for_each(|(_, more)| load.add(more));
        self.subscription.has_room_for_delayed(load)
    }

    pub(crate) fn stage(
        &self,
        states: impl Iterator<Item = (StateKey, Box<dyn Value>, Option<StoredValue>)>,
        delayed: impl Iterator<Item = (Moment, Events, &'static str)>,
    ) {
        let mut chunk = self.chunk.borrow_mut();
        let mut replaced = Vec::new();
        for (name, value, stored) in states {
            replaced.extend(chunk.staged.insert(name, (Arc::from(value), stored)));
        }
        for (due, events, topic) in delayed {
            events.loads().for_each(|(_, load)| chunk.delayed_load.add(load));
            chunk.delayed.push((due, events, topic));
        }
        drop(chunk);
        drop(replaced);
    }

    /// Whoever asked is to be told when all that is staged is committed.
    pub(crate) fn stage_answer(&self, answer: Box<dyn Answer>) {
        self.chunk.borrow_mut().answers.push(answer);
    }

    /// Somebody waits for what is answered next: that is committed as soon as it is worth it.
    pub(crate) fn is_awaited(&self) {
        if self.broker.journal.is_none() && self.chunk.borrow().answers.len() + 1 >= AWAITED {
            self.heavy.set(true);
        }
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

    /// The child is to end after what is in hand: nothing more is taken.
    pub(crate) fn end(&self, reason: Reason) {
        self.ends.replace(Some(reason));
        self.clear.set(false); // what is left of the claim is asked for
        self.subscription.stop(&self.fence);
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
            // Others may need the room while this one waits.
            self.give_back_leases();
            self.measured.went_pending(self.broker.clock.now());
            self.arm(deadline(self.timeout));
            self.waits.set(true);
        }
        self.poll_timer(task).map(|()| Ended::TimedOut(self.timeout))
    }

    /// A new claim begins. What was allowed before somebody else subscribed is asked for anew, so
    /// that the newcomer's bound holds.
    #[inline]
    pub(crate) fn renew_leases(&self) {
        let epoch = self.broker.epoch();
        if self.epoch.replace(epoch) != epoch {
            self.give_back_leases();
        }
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

impl Drop for Link {
    /// The driver ends: all room that was allowed to it comes back.
    fn drop(&mut self) {
        self.broker.leave(self.holder);
    }
}

type Leases = Vec<(TopicId, Lease)>;
