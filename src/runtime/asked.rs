//! What somebody asks of the tree, and waits for.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::broker::publish::is_inside_handler;
use crate::error::{Error, ErrorKind};
use crate::supervise::Reason;

/// What somebody asks of the tree, and waits for. Await it, or call [`Asked::wait`] or
/// [`Asked::wait_at_most`] on a plain thread.
/// It is done whether anybody waits for it or not.
#[must_use = "await it, or call `wait`; it says whether it was done"]
pub struct Asked<T>(Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>);

impl<T: Send + 'static> Asked<T> {
    pub(super) fn new(answer: impl Future<Output = Result<T, Error>> + Send + 'static) -> Self {
        Self(Box::pin(answer))
    }

    pub(super) fn refused(error: Error) -> Self {
        Self::new(std::future::ready(Err(error)))
    }

    /// Blocks the thread until it is done.
    ///
    /// # Errors
    ///
    /// Those of the call; `InsideHandler` in a handler, which may be what it waits for: await it
    /// there.
    pub fn wait(self) -> Result<T, Error> {
        blocks()?;
        pollster::block_on(self.0)
    }

    /// As [`Asked::wait`], and no longer than that. What is asked goes on, whether anybody waits for it or
    /// not. In async code put a timeout around it instead.
    ///
    /// # Errors
    ///
    /// As [`Asked::wait`], and `TimedOut`.
    pub fn wait_at_most(mut self, timeout: Duration) -> Result<T, Error> {
        blocks()?;
        let waker = Waker::from(Arc::new(Unparks(std::thread::current())));
        let (mut task, began) = (Context::from_waker(&waker), Instant::now());
        loop {
            if let Poll::Ready(answer) = self.0.as_mut().poll(&mut task) {
                return answer;
            }
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                let text = format!(
                    "it was not done within {timeout:?}, and goes on: ask again, or wait longer"
                );
                return Err(Error::new(ErrorKind::TimedOut, text));
            }
            std::thread::park_timeout(left);
        }
    }
}

fn blocks() -> Result<(), Error> {
    match is_inside_handler() {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::InsideHandler,
            "a handler blocked its thread to wait for a supervisor, which may need that thread: await it \
             instead",
        )),
    }
}

/// Wakes the thread that waits.
struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<T> IntoFuture for Asked<T> {
    type Output = Result<T, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.0
    }
}

/// The end of a child that somebody waits for. Await it, or call [`Watching::wait`].
#[derive(Debug)]
#[must_use = "await it, or call `wait`"]
pub struct Watching(pub(super) oneshot::Receiver<Reason>);

impl Watching {
    /// Blocks the thread until the child has ended, or failed and starts again: how. None if the
    /// runtime ended first.
    pub fn wait(self) -> Option<Reason> {
        pollster::block_on(self.0).ok()
    }
}

impl IntoFuture for Watching {
    type Output = Option<Reason>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.0.await.ok() })
    }
}
