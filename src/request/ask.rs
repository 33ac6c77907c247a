//! One request: a command on its way to whoever handles it, and its reply on the way back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::slot::{Slot, Unanswered};
use super::temporary::Owned;
use super::waits::{Asker, Servant};
use super::{PATIENCE, Requests};
use crate::broker::command::Asking;
use crate::broker::intake::Watch;
use crate::broker::publish::is_inside_handler;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Refused};
use crate::message::envelope::Origin;
use crate::message::{EventId, Message};
use crate::signal::RequestOutcome;

/// Of so many requests one is measured.
const MEASURED: u128 = 16;

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
    /// It waits for room, or for somebody who handles it.
    AtDoor {
        way: Way<R>,
        ticket: u64,
    },
    /// It has its id, and is handled, or will be.
    Sent {
        way: Way<R>,
        id: EventId,
    },
    Done,
}

/// What a request that has begun holds.
struct Way<R> {
    slot: Arc<Slot<R>>,
    /// As what it is known as long as it has no id.
    number: u64,
    begun: Moment,
    until: Moment,
    /// It is known that its handler waits.
    is_seen: bool,
    /// Its own queue, if it has one, is there as long as this.
    _owned: Option<Owned>,
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
        let mut is_seen = false;
        if let Some(asker) = &self.asker
            && let Some(servant) = self.servant()
        {
            let key = self.command.as_ref().and_then(Message::key);
            let begun = requests.waits.lock().begin(asker, servant, key, number);
            begun.map_err(|circle| waits_for_itself::<C>(&circle.join(" -> ")))?;
            is_seen = true;
        }
        let begun = requests.broker.clock.now();
        let until = begun.after(self.timeout.unwrap_or(PATIENCE));
        let until = self.at_most.map_or(until, |most| until.min(most));
        let queue = self.temporary_queue.then(|| requests.queues.create(C::NAME, number));
        let (owned, queue) = queue.unzip();
        Ok(Way { slot: Slot::new(queue), number, begun, until, is_seen, _owned: owned })
    }

    fn servant(&self) -> Option<Servant> {
        let mut inner = self.requests.broker.intake.lock();
        let topic = inner.topics.topic::<C>().ok()?;
        let of = inner.door.servant(topic)?;
        let (number, name) = (of.name.index, of.name.name.clone());
        Some(Servant { number, name, instances: of.settings.instances })
    }

    /// One attempt to get in.
    fn send(&mut self, way: Way<C::Reply>, ticket: Option<u64>, waker: &Waker) -> Option<Error> {
        let Some(command) = self.command.take() else { return Some(Error::closed()) };
        let requests = &self.requests;
        let asking = Asking {
            origin: &self.origin,
            waits_for_handler: self.waits_for_handler,
            waker,
            ticket: ticket.filter(|&ticket| ticket != 0),
        };
        let known = |id| requests.expect(id, way.slot.clone(), way.until);
        match requests.broker.ask(command, &asking, known) {
            Ok(id) => {
                if ticket.is_some() {
                    self.leave_door(&way, 0);
                }
                self.stage = Stage::Sent { way, id };
                None
            }
            Err((Refused::Full(command), at)) => {
                self.command = Some(command);
                self.stage = Stage::AtDoor { ticket: at.or(ticket).unwrap_or(0), way };
                None
            }
            Err((refused, _)) => {
                if let Some(ticket) = ticket {
                    self.leave_door(&way, ticket);
                }
                self.end(&way, RequestOutcome::Refused, None);
                Some(refused.into_error())
            }
        }
    }

    /// It does not wait at the door any more; with a ticket, others may have waited behind it.
    fn leave_door(&self, way: &Way<C::Reply>, ticket: u64) {
        let requests = &self.requests;
        requests.broker.intake.unwatch(Watch::Room);
        requests.inbox.take(EventId(u128::from(way.number)));
        if ticket != 0 {
            requests.broker.give_up::<C>(ticket);
        }
    }

    /// It is over, and counted.
    fn end(&self, way: &Way<C::Reply>, outcome: RequestOutcome, id: Option<EventId>) {
        let requests = &self.requests;
        if way.is_seen
            && let Some(asker) = &self.asker
        {
            requests.waits.lock().end(asker, way.number);
        }
        let measured = id.is_some_and(|id| id.0 % MEASURED == 0);
        let took = measured.then(|| requests.broker.clock.now().since(way.begun));
        requests.is_over(C::NAME, outcome, took);
    }

    fn failed(&self, way: &Way<C::Reply>, why: Unanswered, sent: Option<EventId>) -> Error {
        let (outcome, error) = match why {
            Unanswered::Over => {
                let waited = way.until.since(way.begun);
                (RequestOutcome::TimedOut, timed_out::<C>(waited, sent.is_some()))
            }
            Unanswered::Failed(error) => (RequestOutcome::Failed, error),
        };
        self.end(way, outcome, sent);
        error
    }
}

impl<C: Message> Future for Request<C> {
    type Output = Result<C::Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::New => {
                    let way = match self.begin() {
                        Ok(way) => way,
                        Err(error) => {
                            self.requests.is_over(C::NAME, RequestOutcome::Refused, None);
                            return Poll::Ready(Err(error));
                        }
                    };
                    if let Some(error) = self.send(way, None, task.waker()) {
                        return Poll::Ready(Err(error));
                    }
                    if let Stage::AtDoor { way, .. } = &self.stage {
                        // Before the next look, so that no progress goes unseen after it.
                        self.requests.broker.intake.watch(Watch::Room);
                        let as_number = EventId(u128::from(way.number));
                        self.requests.expect(as_number, way.slot.clone(), way.until);
                        // Looked again below.
                    }
                }
                Stage::AtDoor { way, ticket } => {
                    if let Poll::Ready(Err(why)) = way.slot.poll(task.waker()) {
                        self.leave_door(&way, ticket);
                        return Poll::Ready(Err(self.failed(&way, why, None)));
                    }
                    if let Some(error) = self.send(way, Some(ticket), task.waker()) {
                        return Poll::Ready(Err(error));
                    }
                    if let Stage::AtDoor { .. } = &self.stage {
                        return Poll::Pending;
                    }
                }
                Stage::Sent { way, id } => match way.slot.poll(task.waker()) {
                    Poll::Pending => {
                        self.stage = Stage::Sent { way, id };
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(reply)) => {
                        self.end(&way, RequestOutcome::Answered, Some(id));
                        return Poll::Ready(Ok(reply));
                    }
                    Poll::Ready(Err(why)) => {
                        return Poll::Ready(Err(self.failed(&way, why, Some(id))));
                    }
                },
                Stage::Done => panic!("a request was polled after it was done"),
            }
        }
    }
}

impl<C: Message> Drop for Request<C> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::New | Stage::Done => {}
            Stage::AtDoor { way, ticket } => {
                self.leave_door(&way, ticket);
                self.end(&way, RequestOutcome::Abandoned, None);
            }
            Stage::Sent { way, id } => {
                self.requests.inbox.take(id);
                self.end(&way, RequestOutcome::Abandoned, Some(id));
            }
        }
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
