//! Several requests at once, with one deadline: scatter-gather (Hohpe & Woolf, "Enterprise Integration
//! Patterns").

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{JoinAll, join_all};

use super::Request;
use crate::error::Error;
use crate::message::Message;

/// Several commands on their way, from [`Runtime::request_all`](crate::Runtime::request_all): await it, or
/// call [`Gather::wait`] on a plain thread. Resolves with what became of each, in their order, when all are
/// answered or their time is over.
#[must_use = "nothing is sent until this is awaited, or `wait` is called"]
pub struct Gather<C: Message> {
    requests: Vec<Request<C>>,
    sent: Option<JoinAll<Request<C>>>,
}

impl<C: Message> Gather<C> {
    pub(crate) fn new(requests: Vec<Request<C>>) -> Self {
        Self { requests, sent: None }
    }

    fn each(mut self, change: impl FnMut(Request<C>) -> Request<C>) -> Self {
        self.requests = self.requests.drain(..).map(change).collect();
        self
    }

    /// How long to wait for all of them. Default: 10 s. Whoever has not answered by then is an error, and the
    /// others' replies are there.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.each(|request| request.timeout(timeout))
    }

    /// As [`Request::wait_for_handler`].
    pub fn wait_for_handler(self) -> Self {
        self.each(Request::wait_for_handler)
    }

    /// As [`Request::temporary_queue`]: one for each.
    pub fn temporary_queue(self) -> Self {
        self.each(Request::temporary_queue)
    }

    /// Blocks the thread until all are answered, or their time is over.
    pub fn wait(self) -> Vec<Result<C::Reply, Error>> {
        pollster::block_on(self)
    }
}

impl<C: Message> Unpin for Gather<C> {}

impl<C: Message> Future for Gather<C> {
    type Output = Vec<Result<C::Reply, Error>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let requests = &mut this.requests;
        let sent = this.sent.get_or_insert_with(|| join_all(requests.drain(..)));
        Pin::new(sent).poll(task)
    }
}
