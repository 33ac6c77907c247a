//! A lane: what the broker hands to one thread. Each batch crosses once, however many
//! subscriptions the thread has, and is passed round them by the actor at its end; or by whoever
//! puts the next one in, if the thread is stuck in a handler and much lies there already.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::{Mutex, MutexGuard};

use super::routes::LocalRoutes;
use crate::pulse::Pulse;
use crate::queue::Subscription;
use crate::queue::batch::Batch;

/// What goes along a lane, in the order of the log.
pub(crate) enum Parcel {
    Batch(Arc<Batch>),
    Subscribe(Arc<Subscription>),
    Unsubscribe(Arc<Subscription>),
}

/// So many events, or parcels, lie in the lane of a thread that is stuck.
const MUCH: (u64, usize) = (65_536, 4_096);

/// So much that nobody wants lies there before its thread is woken to drop it.
const MUCH_UNWANTED: u64 = 256;

/// Ticks after which what lies in a lane is passed round by another thread.
const LONG: u32 = 3;

#[derive(Default)]
struct Inner {
    parcels: Vec<Parcel>,
    /// How many events are in all that lies here.
    events: u64,
    /// How many ticks have found the first of them here.
    seen: u32,
    /// Batches that have been passed round and wait for a thread that may drop them.
    passed: Vec<Arc<Batch>>,
    waker: Option<Waker>,
    /// Grows when the lane becomes another thread's.
    hands: u64,
    closed: bool,
}

/// The way to one thread.
#[derive(Default)]
pub(crate) struct Lane {
    inner: Mutex<Inner>,
    /// Held while parcels are passed round, so that they are in order whoever does it.
    routes: Mutex<LocalRoutes>,
}

/// Batches that may be dropped now: the `Drop` of events is user code, and may take its time.
pub(crate) type Passed = Vec<Arc<Batch>>;

impl Lane {
    /// Returns whether so much lies here that somebody should see to it.
    pub(crate) fn push(&self, parcel: Parcel) -> bool {
        let mut inner = self.inner.lock();
        if let Parcel::Batch(batch) = &parcel {
            inner.events += u64::from(batch.events.len());
        }
        inner.parcels.push(parcel);
        let much = inner.events >= MUCH.0 || inner.parcels.len() + inner.passed.len() >= MUCH.1;
        wake(inner);
        much
    }

    /// Passes all that has come round the subscriptions.
    pub(crate) fn pass_round(&self) -> Passed {
        self.pass_on(&mut self.routes.lock())
    }

    /// As [`Lane::pass_round`], unless somebody is at it.
    pub(crate) fn try_pass_round(&self) -> Passed {
        self.routes.try_lock().map_or_else(Vec::new, |mut routes| self.pass_on(&mut routes))
    }

    fn pass_on(&self, routes: &mut LocalRoutes) -> Passed {
        let (parcels, mut passed) = {
            let mut inner = self.inner.lock();
            (inner.events, inner.seen) = (0, 0);
            (std::mem::take(&mut inner.parcels), std::mem::take(&mut inner.passed))
        };
        for parcel in parcels {
            match parcel {
                Parcel::Batch(batch) => {
                    routes.deliver(&batch, &mut passed);
                    passed.push(batch);
                }
                Parcel::Subscribe(subscription) => routes.add(subscription),
                Parcel::Unsubscribe(subscription) => {
                    routes.remove(&subscription);
                    subscription.close();
                }
            }
        }
        passed
    }

    /// A tick has passed. Whether what lies here has seen so many that its thread must be stuck in a
    /// handler, while others may wait for what the lane carries.
    pub(crate) fn tick(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.seen = if inner.parcels.is_empty() { 0 } else { inner.seen.saturating_add(1) };
        inner.seen > LONG
    }

    /// As [`Lane::tick`], without one.
    pub(crate) fn is_stuck(&self) -> bool {
        self.inner.lock().seen > LONG
    }

    /// As [`Lane::pass_round`], unless somebody is at it, for a thread that may run no user code:
    /// what may be dropped stays here for another.
    pub(crate) fn pass_round_for_it(&self) {
        let passed = self.try_pass_round();
        if passed.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        inner.events += passed.iter().map(|batch| u64::from(batch.events.len())).sum::<u64>();
        inner.passed.extend(passed);
        wake(inner);
    }

    /// A batch that nobody wants: its thread drops it when it is awake, or when much of that lies here.
    pub(crate) fn push_unwanted(&self, batch: Arc<Batch>) {
        let mut inner = self.inner.lock();
        inner.events += u64::from(batch.events.len());
        inner.passed.push(batch);
        if inner.events >= MUCH_UNWANTED || inner.passed.len() as u64 >= MUCH_UNWANTED {
            wake(inner);
        }
    }

    /// Batches that its thread is to drop.
    pub(crate) fn take_over(&self, passed: Passed) {
        if passed.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        inner.passed.extend(passed);
        wake(inner);
    }

    /// The end of the lane, for the thread whose it is now.
    pub(crate) fn arrivals(self: &Arc<Self>) -> Arrivals {
        Arrivals { hands: self.inner.lock().hands, lane: self.clone() }
    }

    /// Its thread was given up, and it is another's from now on.
    pub(crate) fn change_hands(&self) {
        let mut inner = self.inner.lock();
        inner.hands += 1;
        wake(inner);
    }

    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        wake(inner);
    }
}

/// Wakes who waits at the end of the lane, after the lock is released.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A thread's end of its lane: ready whenever something has come, until the lane is another thread's.
pub(crate) struct Arrivals {
    lane: Arc<Lane>,
    hands: u64,
}

impl Stream for Arrivals {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<()>> {
        let mut inner = self.lane.inner.lock();
        if inner.hands != self.hands {
            return Poll::Ready(None);
        }
        if !(inner.parcels.is_empty() && inner.passed.is_empty()) {
            return Poll::Ready(Some(()));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.waker = Some(task.waker().clone());
        Poll::Pending
    }
}

/// The actor at the end of a lane: passes each batch round the thread's subscriptions.
pub(crate) struct Carrier {
    lane: Arc<Lane>,
    arrivals: Option<Arrivals>,
    pulse: Arc<Pulse>,
}

impl Carrier {
    pub(crate) fn new(lane: Arc<Lane>, pulse: Arc<Pulse>) -> Self {
        Self { arrivals: Some(lane.arrivals()), lane, pulse }
    }
}

impl actix::Actor for Carrier {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        use actix::AsyncContext;
        if let Some(arrivals) = self.arrivals.take() {
            ctx.add_stream(arrivals);
        }
    }
}

impl actix::StreamHandler<()> for Carrier {
    fn handle(&mut self, (): (), _: &mut Self::Context) {
        self.pulse.enter(0, 0); // `Drop` of events is user code
        drop(self.lane.pass_round());
        self.pulse.leave();
    }
}
