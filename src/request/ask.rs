//! One request: a command on its way to whoever handles it, and its reply on the way back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::slot::Unanswered;
use super::waits::{Asker, Servant};
use super::way::Way;
use super::{PATIENCE, Requests};
use crate::broker::command::Asking;
use crate::broker::publish::is_inside_handler;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Refused};
use crate::message::Message;
use crate::message::envelope::Origin;
use crate::signal::RequestOutcome;

/// A command on its way, from [`Runtime::request`](crate::Runtime::request) or
/// [`Context::request`](crate::Context::request): await it, or call [`Request::wait`] on a plain thread.
/// Resolves with the reply.
///
/// Dropped before that, nobody waits for the reply any more; the command is handled all the same, once it
/// has been sent. It is sent when it is polled for the first time.
#[must_use = "nothing is sent until this is awaited, or `wait` is called"]
pub struct Request<C: Message> {
    requests: Arc<Requests>,
    command: Option<C>,
    origin: Origin,
    /// The handler that asks, if one does.
    asker: Option<Asker>,
    timeout: Option<Duration>,
    /// Nobody waits for longer than that for whoever asks.
    at_most: Option<Moment>,
    waits_for_handler: bool,
    temporary_queue: bool,
    stage: Stage<C::Reply>,
}

enum Stage<R> {
    New,
    Begun(Way<R>),
    Done,
}

impl<C: Message> Unpin for Request<C> {}

impl<C: Message> Request<C> {
    pub(crate) fn new(requests: Arc<Requests>, command: C) -> Self {
        Self {
            requests,
            command: Some(command),
            origin: Origin::OUTSIDE,
            asker: None,
            timeout: None,
            at_most: None,
            waits_for_handler: false,
            temporary_queue: false,
            stage: Stage::New,
        }
    }

    /// A handler asks, on behalf of the event in hand.
    pub(crate) fn on_behalf_of(mut self, asker: Asker, origin: Origin) -> Self {
        self.at_most = self.requests.deadline_of(asker.event);
        (self.asker, self.origin) = (Some(asker), origin);
        self
    }

    /// How long to wait for the reply, the way to the door included. Default: 10 s. Inside the handler of a
    /// command for which somebody waits: at most as long as that one does.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// If no processor handles the command, waits until one does. Default: that is an error
    /// ([`ErrorKind::NoHandler`]).
    pub fn wait_for_handler(mut self) -> Self {
        self.waits_for_handler = true;
        self
    }

    /// The reply comes through a queue that is made for this one request and is gone with it, instead of
    /// the inbox that all requests share. It is named in
    /// [`Runtime::requests`](crate::Runtime::requests) while it is there. Slower; for those who want to see
    /// one request apart from all others.
    pub fn temporary_queue(mut self) -> Self {
        self.temporary_queue = true;
        self
    }

    /// Blocks the thread until there is a reply. Not for async code: there, await it.
    ///
    /// # Errors
    ///
    /// As [`Runtime::request`](crate::Runtime::request).
    pub fn wait(self) -> Result<C::Reply, Error> {
        pollster::block_on(self)
    }

    fn begin(&mut self) -> Result<Way<C::Reply>, Error> {
        // `cx.request` leaves with a handler's knowledge, and may be awaited there.
        if self.asker.is_none() && is_inside_handler() {
            return Err(Error::asked_inside_handler());
        }
        let requests = &self.requests;
        let number = requests.number();
        let begun = requests.broker.clock.now();
        let until = begun.after(self.timeout.unwrap_or(PATIENCE));
        let until = self.at_most.map_or(until, |most| until.min(most));
        let mut seen = None;
        if let Some(asker) = &self.asker
            && let Some(servant) = self.servant()
        {
            let key = self.command.as_ref().and_then(Message::key);
            let waits = requests.waits.lock().begin(asker, servant, key, number);
            waits.map_err(|circle| waits_for_itself::<C>(&circle.join(" -> ")))?;
            seen = Some(asker.clone());
        }
        let times = (begun, until);
        Ok(Way::begin::<C>(requests.clone(), number, seen, times, self.temporary_queue))
    }

    fn servant(&self) -> Option<Servant> {
        let mut inner = self.requests.broker.intake.lock();
        let topic = inner.topics.topic::<C>().ok()?;
        let of = inner.door.servant(topic)?;
        let (number, name) = (of.name.index, of.name.name.clone());
        Some(Servant { number, name, instances: of.settings.instances })
    }

    /// One attempt to get in. Ready if it is refused; else whether it has to wait for something.
    fn send(&mut self, way: &mut Way<C::Reply>, waker: &Waker) -> Result<bool, Error> {
        let Some(command) = self.command.take() else { return Ok(true) };
        let asking = Asking {
            origin: &self.origin,
            waits_for_handler: self.waits_for_handler,
            waker,
            ticket: way.ticket(),
        };
        let known = |id| self.requests.expect(id, way.slot.clone(), way.until);
        match self.requests.broker.ask(command, &asking, known) {
            Ok(id) => {
                way.sent(id);
                Ok(false)
            }
            Err((Refused::Full(command), ticket)) => {
                self.command = Some(command);
                Ok(!way.waits::<C>(ticket))
            }
            Err((refused, _)) => {
                way.leaves_door();
                Err(refused.into_error())
            }
        }
    }

    fn poll_begun(
        &mut self,
        way: &mut Way<C::Reply>,
        waker: &Waker,
    ) -> Poll<Result<C::Reply, Error>> {
        loop {
            match way.slot.poll(waker) {
                Poll::Ready(Ok(reply)) => return Poll::Ready(Ok(reply)),
                Poll::Ready(Err(Unanswered::Failed(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Err(Unanswered::Over)) => {
                    let waited = way.until.since(way.slot.begun);
                    return Poll::Ready(Err(timed_out::<C>(waited, way.is_sent())));
                }
                Poll::Pending if way.is_sent() => return Poll::Pending,
                Poll::Pending => {}
            }
            match self.send(way, waker) {
                Ok(true) => return Poll::Pending,
                Ok(false) => {}
                Err(error) => return Poll::Ready(self.refused(error)),
            }
        }
    }

    fn refused<T>(&self, error: Error) -> Result<T, Error> {
        self.requests.is_over(C::NAME, RequestOutcome::Refused);
        Err(error)
    }
}

impl<C: Message> Future for Request<C> {
    type Output = Result<C::Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let mut way = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::New => match self.begin() {
                Ok(way) => way,
                Err(error) => return Poll::Ready(self.refused(error)),
            },
            Stage::Begun(way) => way,
            Stage::Done => panic!("a request was polled after it was done"),
        };
        let polled = self.poll_begun(&mut way, task.waker());
        if polled.is_pending() {
            self.stage = Stage::Begun(way);
        }
        polled
    }
}

fn timed_out<C: Message>(waited: Duration, sent: bool) -> Error {
    let what = match sent {
        true => {
            "it may still be handled, and its reply is dropped then; look whether its processor is up \
                 and keeps up, or wait longer with `.timeout()`"
        }
        false => {
            "it was not sent: there was no room, or nobody to handle it; look whether its processor is \
                  up and keeps up, raise its `bound`, or wait longer with `.timeout()`"
        }
    };
    let text = format!("`{}` was not answered within {waited:?}: {what}", C::NAME);
    Error::new(ErrorKind::TimedOut, text)
}

fn waits_for_itself<C: Message>(circle: &str) -> Error {
    Error::new(
        ErrorKind::WaitsForItself,
        format!(
            "the request `{}` would wait for itself ({circle}), so it was not sent: answer without \
             asking back, publish an event instead, or give the processor more `instances`",
            C::NAME
        ),
    )
}
