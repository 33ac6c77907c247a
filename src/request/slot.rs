//! Where one requester waits for one answer.

use std::any::Any;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::temporary::TemporaryQueue;
use crate::clock::Moment;
use crate::error::Error;
use crate::guard::Quiet;

/// What somebody asked, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) command: &'static str,
    pub(super) begun: Moment,
    /// By what the host is known of whose handlers one asked; 0 if the application did.
    pub(super) host: usize,
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nobody answered in time.
    Over,
    /// It says so itself.
    Failed(Error),
}

pub(super) type Reply<R> = Result<R, Unanswered>;

/// What a handler returned: wherever it is dropped, that hurts nobody.
pub(super) type Returned<R> = Quiet<R>;

/// A requester, whatever it waits for.
pub(super) trait Told: Send + Sync {
    /// What it asked.
    fn asked(&self) -> Asked;

    /// Its time is over.
    fn is_over(&self);

    /// There will be no reply.
    fn fails(&self, error: Error);

    /// To give it a reply of the type that it waits for.
    fn to(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

enum State<R> {
    Empty(Option<Waker>),
    Full(Reply<Returned<R>>),
    Emptied,
}

/// A requester that waits for an `R`.
pub(super) struct Slot<R> {
    state: Mutex<State<R>>,
    pub(super) asked: Asked,
    /// Replies come through that one, not directly.
    queue: Option<TemporaryQueue<Returned<R>>>,
}

impl<R: Send + 'static> Slot<R> {
    pub(super) fn new(asked: Asked, queue: Option<TemporaryQueue<Returned<R>>>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Empty(None)), asked, queue })
    }

    /// Gives it its reply, if it has none yet; else gives that back.
    fn fill(&self, reply: Reply<Returned<R>>) -> Result<(), Reply<Returned<R>>> {
        let mut state = self.state.lock();
        let State::Empty(waker) = &mut *state else { return Err(reply) };
        let waker = waker.take();
        *state = State::Full(reply);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Whoever waits is to look again.
    fn wake(&self) {
        let waker = match &mut *self.state.lock() {
            State::Empty(waker) => waker.take(),
            _ => None,
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// A reply for it: directly, or into its queue. Dropped if it has one.
    pub(super) fn answer(&self, reply: Returned<R>) {
        match &self.queue {
            Some(queue) => {
                queue.send(reply).ok();
                self.wake();
            }
            None => drop(self.fill(Ok(reply))),
        }
    }

    pub(super) fn poll(&self, waker: &Waker) -> Poll<Reply<R>> {
        let mut state = self.state.lock();
        if let Some(reply) = self.queue.as_ref().and_then(TemporaryQueue::receive) {
            *state = State::Emptied;
            return into_reply(Ok(reply));
        }
        match &mut *state {
            State::Empty(known) => {
                *known = Some(waker.clone());
                Poll::Pending
            }
            State::Full(_) => match std::mem::replace(&mut *state, State::Emptied) {
                State::Full(reply) => into_reply(reply),
                _ => Poll::Pending,
            },
            State::Emptied => Poll::Pending,
        }
    }
}

fn into_reply<R>(reply: Reply<Returned<R>>) -> Poll<Reply<R>> {
    match reply {
        Ok(reply) => reply.into_inner().map_or(Poll::Pending, |reply| Poll::Ready(Ok(reply))),
        Err(why) => Poll::Ready(Err(why)),
    }
}

impl<R: Send + 'static> Told for Slot<R> {
    fn asked(&self) -> Asked {
        self.asked
    }

    fn is_over(&self) {
        self.fill(Err(Unanswered::Over)).ok();
    }

    fn fails(&self, error: Error) {
        self.fill(Err(Unanswered::Failed(error))).ok();
    }

    fn to(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
