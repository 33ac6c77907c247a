//! Publishing: the ways into the intake for the application.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::handle::Broker;
use super::intake::Watch;
use super::offer::Pushed;
use crate::error::Refused;
use crate::message::{Event, EventId};

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

/// An event on its way in, from [`Runtime::publish`](crate::Runtime::publish): await it, or call
/// [`Publish::wait`] on a plain thread. Resolves with the event's id.
#[must_use = "nothing is published until this is awaited, or `wait` is called"]
pub struct Publish<'a, E: Event> {
    broker: &'a Broker,
    event: Option<E>,
    key: Option<Arc<str>>,
    ticket: Option<u64>,
    pushed: Option<Pushed>,
}

impl<E: Event> Unpin for Publish<'_, E> {}

impl<'a, E: Event> Publish<'a, E> {
    pub(crate) fn new(broker: &'a Broker, event: E) -> Self {
        Self { broker, event: Some(event), key: None, ticket: None, pushed: None }
    }

    /// Publishes the event only if nothing was published on its channel under that key yet: for a
    /// publisher that does not know whether its first attempt came through. The same event again
    /// resolves as the first one does, with the first one's id; another one is refused
    /// ([`Refused::Invalid`], [`ErrorKind::Conflict`](crate::ErrorKind::Conflict)).
    ///
    /// Keys are remembered as the channel says ([`Channel::dedup`](crate::Channel::dedup)), on disk
    /// together with the event. Two events are the same if they are encoded to the same bytes, so a
    /// field that is a `HashMap` makes them different.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Paid { order: u32, cents: u64 }
    /// # cueline::event!(Paid, "order.paid");
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let runtime = Runtime::builder("shop").start()?;
    /// let first = runtime.publish(Paid { order: 7, cents: 950 }).dedup_key("order-7").wait()?;
    /// let again = runtime.publish(Paid { order: 7, cents: 950 }).dedup_key("order-7").wait()?;
    /// assert_eq!(first, again); // published once
    /// assert!(runtime.publish(Paid { order: 7, cents: 9 }).dedup_key("order-7").wait().is_err());
    /// # runtime.shutdown(secs(1)).wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dedup_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
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
            match self.broker.offer(event, self.key.as_ref(), None, None) {
                Err((Refused::Full(event), _)) if self.refuses() => return Err(self.full(event)),
                Err((Refused::Full(event), _)) => self.event = Some(event),
                Err((refused, _)) => return Err(refused),
                Ok(pushed) if self.broker.journal.is_none() => return Ok(pushed.id),
                Ok(pushed) => self.pushed = Some(pushed),
            }
        }
        pollster::block_on(self)
    }

    /// Nobody waits at this channel's limit.
    fn refuses(&self) -> bool {
        self.broker.durability.refuses(E::NAME)
    }

    fn full(&self, event: E) -> Refused<E> {
        self.broker.state_refused::<E>(false);
        Refused::Full(event)
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
            let Some(due) = due else { return Poll::Ready(Ok(id)) };
            let kept = self.broker.poll_kept(due, task.waker());
            return kept.map(|kept| kept.map(|()| id).map_err(Refused::NotKept));
        }
        if is_inside_handler() {
            return Poll::Ready(self.refuse());
        }
        let Some(event) = self.event.take() else { unreachable_after_ready() };
        if self.ticket.is_none() {
            // Before the first look, so that no progress goes unseen after it.
            match self.broker.offer(event, self.key.as_ref(), None, None) {
                Err((Refused::Full(event), _)) if self.refuses() => {
                    return Poll::Ready(Err(self.full(event)));
                }
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
        match self.broker.offer(event, self.key.as_ref(), ticket, Some(task.waker())) {
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
