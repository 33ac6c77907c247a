//! One request: a command on its way to whoever handles it, and its reply on the way back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::slot::Unanswered;
use super::waits::{Asker, Servant};
use super::way::Way;
use super::{PATIENCE, Requests, host_of};
use crate::broker::command::Asking;
use crate::broker::publish::is_inside_handler;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Refused};
use crate::message::Message;
use crate::message::envelope::Origin;
use crate::queue::Subscription;
use crate::queue::fence::Fence;
use crate::signal::RequestOutcome;

/// A command on its way, from [`Runtime::request`](crate::Runtime::request) or
/// [`Context::request`](crate::Context::request): await it, or call [`Request::wait`] on a plain thread.
/// Resolves with the reply.
///
/// Dropped before that, nobody waits for the reply any more; the command is handled all the same, once it
/// has been sent. It is sent when it is polled for the first time.
#[must_use = "nothing is sent until this is awaited, or `wait` is called"]
pub struct Request<C: Message> {
    ask: Ask<C>,
    stage: Stage<C::Reply>,
}

/// What is asked, and how.
struct Ask<C: Message> {
    requests: Arc<Requests>,
    command: Option<C>,
    origin: Origin,
    /// If a handler asks.
    inside: Option<Inside>,
    timeout: Option<Duration>,
    /// Nobody waits for longer than that for whoever asks.
    at_most: Option<Moment>,
    waits_for_handler: bool,
    temporary_queue: bool,
}

/// What is known of a handler that asks.
pub(crate) struct Inside {
    pub(crate) asker: Asker,
    pub(crate) fence: Arc<Fence>,
    /// Its thread is its own: nobody else waits if it blocks.
    pub(crate) may_block: bool,
    pub(crate) hop_limit: u16,
}

enum Stage<R> {
    New,
    Begun(Way<R>),
    Done,
}

impl<C: Message> Unpin for Request<C> {}

impl<C: Message> Request<C> {
    pub(crate) fn new(requests: Arc<Requests>, command: C) -> Self {
        let ask = Ask {
            requests,
            command: Some(command),
            origin: Origin::OUTSIDE,
            inside: None,
            timeout: None,
            at_most: None,
            waits_for_handler: false,
            temporary_queue: false,
        };
        Self { ask, stage: Stage::New }
    }

    /// A handler asks, on behalf of the event in hand.
    pub(crate) fn on_behalf_of(mut self, inside: Inside, origin: Origin) -> Self {
        self.ask.at_most = self.ask.requests.deadline_of(inside.asker.event);
        (self.ask.inside, self.ask.origin) = (Some(inside), origin);
        self
    }

    /// How long to wait for the reply, the way to the door included. Default: 10 s. Inside the handler of a
    /// command for which somebody waits: at most as long as that one does.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.ask.timeout = Some(timeout);
        self
    }

    /// If no processor handles the command, waits until one does. Default: that is an error
    /// ([`ErrorKind::NoHandler`]).
    pub fn wait_for_handler(mut self) -> Self {
        self.ask.waits_for_handler = true;
        self
    }

    /// The reply comes through a queue that is made for this one request and is gone with it, instead of
    /// the inbox that all requests share. It is named in
    /// [`Runtime::requests`](crate::Runtime::requests) while it is there. Slower; for those who want to see
    /// one request apart from all others.
    pub fn temporary_queue(mut self) -> Self {
        self.ask.temporary_queue = true;
        self
    }

    /// Blocks the thread until there is a reply. Not for async code: there, await it; inside a handler that
    /// is refused, unless its processor is [`blocking`](crate::ProcessorSpec::blocking).
    ///
    /// # Errors
    ///
    /// As [`Runtime::request`](crate::Runtime::request).
    pub fn wait(self) -> Result<C::Reply, Error> {
        if self.ask.inside.as_ref().is_some_and(|inside| !inside.may_block) && is_inside_handler() {
            return self.ask.refused(blocks::<C>());
        }
        pollster::block_on(self)
    }
}

impl<C: Message> Ask<C> {
    fn begin(&mut self) -> Result<Way<C::Reply>, Error> {
        match &self.inside {
            // `cx.request` leaves with a handler's knowledge, and may be awaited there.
            None if is_inside_handler() => return Err(Error::asked_inside_handler()),
            Some(inside) if inside.fence.is_fenced() => return Err(fenced::<C>()),
            Some(inside) if self.origin.hops > inside.hop_limit => {
                return Err(too_many_hops::<C>(inside.hop_limit));
            }
            _ => {}
        }
        let requests = &self.requests;
        let begun = requests.broker.clock.now();
        let until = begun.after(self.timeout.unwrap_or(PATIENCE));
        let times = (begun, self.at_most.map_or(until, |most| until.min(most)));
        let host = self.inside.as_ref().map_or(0, |inside| host_of(&inside.fence));
        Ok(Way::begin::<C>(requests.clone(), times, host, self.temporary_queue))
    }

    /// One attempt to get in. Whether it has to wait for something.
    fn send(&mut self, way: &mut Way<C::Reply>, waker: &Waker) -> Result<bool, Error> {
        let Some(command) = self.command.take() else { return Ok(true) };
        let asking = Asking {
            origin: &self.origin,
            asker: self.inside.as_ref().map(|inside| &*inside.asker.name),
            waits_for_handler: self.waits_for_handler,
            waker,
            ticket: way.ticket(),
        };
        // User code: asked outside of the lock.
        let key = self.inside.as_ref().and_then(|_| command.key());
        let mut circle = None;
        let (slot, until, requests) = (way.slot.clone(), way.until, &self.requests);
        let permit = |of: &Subscription| {
            let Some(Inside { asker, .. }) = &self.inside else { return true };
            let (number, name) = (of.name.index, of.name.name.clone());
            // A pool has as many as it has children.
            let instances = if of.settings.shared { usize::MAX } else { of.settings.instances };
            let servant = Servant { number, name, instances };
            circle = way.is_seen(asker, servant, key.as_ref()).err();
            circle.is_none()
        };
        let asked = requests.broker.ask(command, &asking, permit, |id| {
            requests.expect(id, slot, until);
        });
        if let Some(circle) = circle {
            return Err(waits_for_itself::<C>(&circle.join(" -> ")));
        }
        match asked {
            Ok(id) => {
                way.sent(id);
                Ok(false)
            }
            Err((Refused::Full(command), ticket)) => {
                self.command = Some(command);
                Ok(!way.waits::<C>(ticket))
            }
            Err((refused, _)) => Err(refused.into_error()),
        }
    }

    fn poll_begun(
        &mut self,
        way: &mut Way<C::Reply>,
        waker: &Waker,
    ) -> Poll<Result<C::Reply, Error>> {
        loop {
            if way.may_be_told()
                && let Poll::Ready(reply) = way.slot.poll(waker)
            {
                let sent = way.is_sent();
                way.is_over();
                return Poll::Ready(reply.map_err(|why| match why {
                    Unanswered::Failed(error) => error,
                    Unanswered::Over => timed_out::<C>(way.until.since(way.slot.asked.begun), sent),
                }));
            }
            if way.is_sent() {
                return Poll::Pending;
            }
            match self.send(way, waker) {
                Ok(true) => return Poll::Pending,
                Ok(false) => {}
                Err(error) => {
                    way.is_over();
                    return Poll::Ready(self.refused(error));
                }
            }
        }
    }

    fn refused<T>(&self, error: Error) -> Result<T, Error> {
        self.requests.ended(C::NAME, RequestOutcome::Refused);
        Err(error)
    }
}

impl<C: Message> Future for Request<C> {
    type Output = Result<C::Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { ask, stage } = &mut *self;
        if let Stage::New = stage {
            match ask.begin() {
                Ok(way) => *stage = Stage::Begun(way),
                Err(error) => {
                    *stage = Stage::Done;
                    return Poll::Ready(ask.refused(error));
                }
            }
        }
        let Stage::Begun(way) = stage else { panic!("a request was polled after it was done") };
        let polled = ask.poll_begun(way, task.waker());
        if polled.is_ready() {
            *stage = Stage::Done;
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

fn blocks<C: Message>() -> Error {
    Error::new(
        ErrorKind::InsideHandler,
        format!(
            "the request `{}` would block its thread, and perhaps whoever answers: await it, or declare \
             the processor `blocking()`",
            C::NAME
        ),
    )
}

fn fenced<C: Message>() -> Error {
    let text = "was not sent: the handler that asks has lost its event to another";
    Error::new(ErrorKind::Closed, format!("the request `{}` {text}", C::NAME))
}

fn too_many_hops<C: Message>(limit: u16) -> Error {
    let text = format!(
        "the request `{}` is more than {limit} hops from what began it, and was not sent: look for a loop, \
         or raise `hop_limit`",
        C::NAME
    );
    Error::new(ErrorKind::WaitsForItself, text)
}
