//! Publishing many events of one type: in order, and several times cheaper than one by one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::handle::Broker;
use super::intake::Watch;
use super::journal::Due;
use super::publish::is_inside_handler;
use crate::error::{ErrorKind, Refused};
use crate::message::Event;

/// Many events on their way in, from [`Runtime::publish_all`](crate::Runtime::publish_all): await
/// it, or call [`PublishAll::wait`] on a plain thread.
#[must_use = "nothing is published until this is awaited, or `wait` is called"]
pub struct PublishAll<'a, E: Event> {
    broker: &'a Broker,
    events: std::vec::IntoIter<E>,
    ticket: Option<u64>,
    watching: bool,
    /// What the last one that went in waits for.
    due: Option<Due>,
}

impl<E: Event> Unpin for PublishAll<'_, E> {}

impl<'a, E: Event> PublishAll<'a, E> {
    pub(crate) fn new(broker: &'a Broker, events: Vec<E>) -> Self {
        Self { broker, events: events.into_iter(), ticket: None, watching: false, due: None }
    }

    /// Blocks the thread until all events are kept. Not for async code: there, await it.
    ///
    /// # Errors
    ///
    /// As [`Runtime::publish_all`](crate::Runtime::publish_all).
    pub fn wait(self) -> Result<(), Refused<Vec<E>>> {
        pollster::block_on(self)
    }

    fn rest(&mut self) -> Vec<E> {
        std::mem::take(&mut self.events).collect()
    }
}

impl<E: Event> Future for PublishAll<'_, E> {
    type Output = Result<(), Refused<Vec<E>>>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if is_inside_handler() {
            return Poll::Ready(Err(Refused::InsideHandler(this.rest())));
        }
        loop {
            let Self { broker, events, ticket, due, .. } = this;
            match broker.offer_many(events, ticket, due, task.waker()) {
                Ok(Poll::Ready(())) => {
                    let Some(due) = *due else { return Poll::Ready(Ok(())) };
                    let kept = broker.poll_kept(due, task.waker());
                    return kept.map(|kept| kept.map_err(Refused::NotKept));
                }
                Ok(Poll::Pending) if this.broker.durability.refuses(E::NAME) => {
                    if let Some(ticket) = this.ticket.take() {
                        this.broker.give_up::<E>(ticket);
                    }
                    this.broker.state_refused::<E>(false);
                    return Poll::Ready(Err(Refused::Full(this.rest())));
                }
                Ok(Poll::Pending) if !this.watching => {
                    this.broker.intake.watch(Watch::Room);
                    this.watching = true;
                }
                Ok(Poll::Pending) => return Poll::Pending,
                Err(error) => {
                    if let Some(ticket) = this.ticket.take() {
                        this.broker.give_up::<E>(ticket);
                    }
                    return Poll::Ready(Err(match error.kind() {
                        ErrorKind::Closed => Refused::Closed(this.rest()),
                        ErrorKind::NoSpace | ErrorKind::Storage => {
                            Refused::unable(this.rest(), error)
                        }
                        _ => Refused::Invalid(this.rest(), error),
                    }));
                }
            }
        }
    }
}

impl<E: Event> Drop for PublishAll<'_, E> {
    fn drop(&mut self) {
        if self.watching {
            self.broker.intake.unwatch(Watch::Room);
        }
        if let Some(ticket) = self.ticket {
            self.broker.give_up::<E>(ticket);
        }
    }
}
