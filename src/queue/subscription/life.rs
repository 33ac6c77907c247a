//! How a subscription is paused, ends, and is given up.

use std::sync::atomic::Ordering::Relaxed;

use super::{Driver, Subscription};
use crate::clock::Moment;

impl Subscription {
    /// No batch arrives any more; what waits is still handled.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        // Nobody can resume it any more, or make room in what it holds.
        inner.paused = false;
        inner.state.lift_bound();
        inner.most_held_weight = u64::MAX;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
        self.leaving.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    pub(crate) fn instance_made(&self) {
        self.instances.fetch_add(1, Relaxed);
    }

    pub(crate) fn instance_broke(&self) {
        self.instances.fetch_sub(1, Relaxed);
    }

    /// Whether any instance lives, on any thread.
    pub(crate) fn has_instances(&self) -> bool {
        self.instances.load(Relaxed) > 0
    }

    /// A driver asks for nothing more.
    pub(crate) fn ends(&self, driver: Driver) {
        self.inner.lock().gets_up(driver);
    }

    /// Hands out nothing any more, whatever waits: the runtime stops, or there is nobody to handle
    /// it.
    pub(crate) fn halt(&self) {
        let mut inner = self.inner.lock();
        inner.halted = true;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
        self.leaving.notify_waiters();
    }

    /// Nothing is done any more, not by whoever is still at it either.
    pub(crate) fn seal(&self) {
        self.inner.lock().sealed = true;
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.inner.lock().halted
    }

    /// Resolves when it was closed or halted.
    pub(crate) async fn leaves(&self) {
        let called = self.leaving.notified();
        let leaves = {
            let inner = self.inner.lock();
            inner.halted || inner.closed
        };
        if !leaves {
            called.await;
        }
    }

    /// Hands out nothing fresh before that moment.
    pub(crate) fn press(&self, until: Moment) {
        self.inner.lock().pressed_until = until;
    }

    /// Paused, it hands out nothing, and its events wait.
    pub(crate) fn pause(&self, paused: bool) {
        let mut inner = self.inner.lock();
        inner.paused = paused && !inner.closed;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
    }

    /// Whether what waits stays where it is until somebody resumes it or makes room.
    pub(crate) fn is_stuck(&self) -> bool {
        let inner = self.inner.lock();
        let moves = !inner.busy.is_empty() || self.has_untold();
        !moves && (inner.paused || (inner.is_full() && inner.state.counts().active() == 0))
    }

    /// Whether it takes nothing new because too many events are held.
    pub(crate) fn is_stopped(&self) -> bool {
        self.inner.lock().is_full()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.inner.lock().paused
    }
}
