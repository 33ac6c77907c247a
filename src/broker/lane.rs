//! A lane: what the broker hands to one thread. Each batch crosses once, however many
//! subscriptions the thread has.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::Mutex;

use super::routes::LocalRoutes;
use crate::queue::Subscription;
use crate::queue::batch::Batch;

/// What goes along a lane, in the order of the log.
pub(crate) enum Parcel {
    Batch(Arc<Batch>),
    Subscribe(Arc<Subscription>),
    Unsubscribe(Arc<Subscription>),
}

#[derive(Default)]
struct Inner {
    parcels: Vec<Parcel>,
    waker: Option<Waker>,
    closed: bool,
}

/// The way to one thread.
#[derive(Default)]
pub(crate) struct Lane {
    inner: Mutex<Inner>,
}

impl Lane {
    pub(crate) fn push(&self, parcel: Parcel) {
        let mut inner = self.inner.lock();
        inner.parcels.push(parcel);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what was not picked up, for who shuts down.
    pub(crate) fn take(&self) -> Vec<Parcel> {
        std::mem::take(&mut self.inner.lock().parcels)
    }

    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The thread's end of its lane: all parcels that have come, at once.
pub(crate) struct Arrivals(pub(crate) Arc<Lane>);

impl Stream for Arrivals {
    type Item = Vec<Parcel>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inner = self.0.inner.lock();
        if !inner.parcels.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut inner.parcels)));
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
    routes: LocalRoutes,
}

impl Carrier {
    pub(crate) fn new(lane: Arc<Lane>) -> Self {
        Self { lane, routes: LocalRoutes::default() }
    }
}

impl actix::Actor for Carrier {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        use actix::AsyncContext;
        ctx.add_stream(Arrivals(self.lane.clone()));
    }
}

impl actix::StreamHandler<Vec<Parcel>> for Carrier {
    fn handle(&mut self, parcels: Vec<Parcel>, _: &mut Self::Context) {
        for parcel in parcels {
            match parcel {
                Parcel::Batch(batch) => self.routes.deliver(batch),
                Parcel::Subscribe(subscription) => self.routes.add(subscription),
                Parcel::Unsubscribe(subscription) => {
                    self.routes.remove(&subscription);
                    subscription.close();
                }
            }
        }
    }
}
