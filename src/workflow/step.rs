//! The futures of a workflow's steps.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::{Begin, Ended, Waits};
use super::effect::Effect;
use super::history::{Begun, Kind};
use super::owed::Owed;
use super::steps::Steps;
use crate::error::{Failure, Outcome};
use crate::message::{EventId, Key, Message, codec};
use crate::queue::backoff::Retry;
use crate::queue::loose::loose;

/// Where the future of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Made,
    Begun,
    Over,
}

/// A step's place in the history, and what becomes of it when nobody waits any more.
struct Place {
    steps: Steps,
    number: u32,
    at: At,
}

/// What a step is, but for its number.
pub(super) struct What {
    pub(super) kind: Kind,
    pub(super) name: std::borrow::Cow<'static, str>,
    pub(super) digest: u32,
    pub(super) key: Option<Key>,
    pub(super) wait: Option<Duration>,
}

impl Place {
    fn new(steps: Steps) -> Self {
        let number = steps.core().number();
        Self { steps, number, at: At::Made }
    }

    /// It is begun, in the place that it was made for. True if for the first time.
    fn begin(&mut self, what: What, waits: Waits) -> bool {
        let What { kind, name, digest, key, wait } = what;
        let mut core = self.steps.core();
        let (turn, step) = (core.turn, self.number);
        self.at = At::Begun;
        let digest = match wait {
            Some(wait) => crc32c::crc32c_append(digest, &wait.as_nanos().to_le_bytes()),
            None => digest,
        };
        let begun = Begun { turn, step, kind, name, digest, key, due: None };
        let new = matches!(core.begin(begun, waits), Begin::New);
        if let Some(wait) = wait.filter(|_| new) {
            core.effects.push(Effect::Within { step, wait });
        }
        new
    }

    fn is_cancelled(&self) -> bool {
        self.steps.core().cancelled
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Ended> {
        if self.at == At::Over {
            return Poll::Pending;
        }
        let polled = self.steps.core().poll(self.number, task.waker());
        if polled.is_ready() {
            self.at = At::Over;
        }
        polled
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.at == At::Begun
            && let Some(mut core) = self.steps.try_core()
        {
            core.abandon(self.number);
        }
    }
}

fn cancelled() -> Failure {
    Failure::permanent("the workflow was cancelled").reason("cancelled")
}

fn timed_out(what: &str) -> Failure {
    let text = format!("nobody answered `{what}` in time; it may still be handled");
    Failure::transient(text).reason("timed_out")
}

type Undo = Box<dyn FnOnce(u32) -> Owed>;

/// A command on its way, and its reply; from [`Steps::call`]. It is sent when it is awaited.
#[must_use = "is sent when it is awaited"]
pub struct Call<C: Message> {
    place: Place,
    command: Option<C>,
    undo: Option<Undo>,
    timeout: Option<Duration>,
    retry: Retry,
    waits_for_handler: bool,
}

impl<C: Message> Call<C> {
    pub(super) fn new(steps: Steps, command: C) -> Self {
        let (place, command) = (Place::new(steps), Some(command));
        let retry = Retry::attempts(1);
        Self { place, command, undo: None, timeout: None, retry, waits_for_handler: false }
    }

    /// What makes up for it if the workflow does not come to its end: a command, made from the id of this
    /// one and from its reply, if that is known. It is owed from the moment this one is sent: a timeout says
    /// that nobody knows whether it was done, and then the reply is `None`. Only if its handler itself says
    /// for good that it failed ([`Failure::permanent`]) there is nothing to make up for.
    ///
    /// These commands are sent one after the other, the last first, and each again and again until it
    /// succeeds. One may come to its handler before the command that it makes up for, if that still waits:
    /// the id says which one.
    pub fn undo_with<U: Message>(
        mut self,
        undo: impl FnOnce(EventId, Option<&C::Reply>) -> U + 'static,
    ) -> Self {
        self.undo = Some(Box::new(move |step| Owed::new::<C, U>(step, undo)));
        self
    }

    /// How long to wait for the reply. Default: as long as it takes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often, and how patiently, it is sent if it fails for good where it is handled, beside what its
    /// processor does itself. What the handler calls permanent is not sent again. Default: once.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Waits if no processor handles it. Default: it fails.
    pub fn wait_for_handler(mut self) -> Self {
        self.waits_for_handler = true;
        self
    }

    fn begin(&mut self) -> Outcome {
        let Some(command) = self.command.take() else { return Ok(()) };
        let command = loose(command)?;
        let again = self.retry.attempts > 1 || self.waits_for_handler;
        let again = again.then(|| command.another()).transpose()?;
        let digest = crc32c::crc32c(command.payload());
        let (key, wait) = (None, self.timeout);
        let what = What { kind: Kind::Call, name: C::NAME.into(), digest, key, wait };
        let again = again.map(|again| (again, self.retry));
        let for_handler = self.waits_for_handler;
        let new = self.place.begin(what, Waits { again, for_handler, ..Waits::default() });
        let step = self.place.number;
        let mut core = self.place.steps.core();
        if let Some(undo) = self.undo.take() {
            core.owed.push(undo(step));
        }
        if new {
            core.effects.push(Effect::Send { step, command, for_handler });
        }
        Ok(())
    }
}

impl<C: Message> Unpin for Call<C> {}

impl<C: Message> Future for Call<C> {
    type Output = Outcome<C::Reply>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.at == At::Made {
            if self.place.is_cancelled() {
                self.place.at = At::Over;
                return Poll::Ready(Err(cancelled()));
            }
            if let Err(failure) = self.begin() {
                return Poll::Ready(Err(failure));
            }
        }
        self.place.poll(task).map(|ended| match ended {
            Ended::Done(reply) => codec::decode(&reply),
            Ended::Failed(failure) => Err(failure),
            Ended::Over => Err(timed_out(C::NAME)),
            Ended::Cancelled => Err(cancelled()),
        })
    }
}

type Start = Box<dyn FnOnce(u32) -> Outcome<(What, Waits, Option<Effect>)>>;

/// A step that waits for something, from [`Steps`]. It begins when it is awaited.
#[must_use = "begins when it is awaited"]
pub struct Step<T> {
    place: Place,
    start: Option<Start>,
    decode: fn(&[u8]) -> Outcome<T>,
    /// What it gives when its time is over, if that is no failure.
    over: Option<fn() -> T>,
}

impl<T> Step<T> {
    pub(super) fn new(
        steps: Steps,
        decode: fn(&[u8]) -> Outcome<T>,
        over: Option<fn() -> T>,
        start: impl FnOnce(u32) -> Outcome<(What, Waits, Option<Effect>)> + 'static,
    ) -> Self {
        Self { place: Place::new(steps), start: Some(Box::new(start)), decode, over }
    }

    /// Waits at most so long; `None` if nothing has come by then. The time runs also while no process does.
    pub fn or_after(self, wait: Duration) -> OrAfter<T> {
        OrAfter { step: self, wait }
    }

    fn poll_within(
        &mut self,
        wait: Option<Duration>,
        task: &mut Context<'_>,
    ) -> Poll<Outcome<Option<T>>> {
        if self.place.at == At::Made {
            if self.place.is_cancelled() {
                self.place.at = At::Over;
                return Poll::Ready(Err(cancelled()));
            }
            let Some(start) = self.start.take() else { return Poll::Pending };
            let (mut what, waits, effect) = match start(self.place.number) {
                Ok(started) => started,
                Err(failure) => return Poll::Ready(Err(failure)),
            };
            what.wait = what.wait.or(wait);
            if self.place.begin(what, waits) {
                self.place.steps.core().effects.extend(effect);
            }
        }
        self.place.poll(task).map(|ended| match ended {
            Ended::Done(result) => (self.decode)(&result).map(Some),
            Ended::Failed(failure) => Err(failure),
            Ended::Over => Ok(self.over.map(|over| over())),
            Ended::Cancelled => Err(cancelled()),
        })
    }
}

impl<T> Unpin for Step<T> {}

impl<T> Future for Step<T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.poll_within(None, task);
        polled.map(|ended| ended.and_then(|ended| ended.ok_or_else(|| timed_out("the step"))))
    }
}

/// A step that waits at most so long; from [`Step::or_after`].
#[must_use = "begins when it is awaited"]
pub struct OrAfter<T> {
    step: Step<T>,
    wait: Duration,
}

impl<T> Future for OrAfter<T> {
    type Output = Outcome<Option<T>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let wait = Some(self.wait);
        self.step.poll_within(wait, task)
    }
}
