//! What somebody asks of the tree, and waits for.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::broker::publish::is_inside_handler;
use crate::error::{Error, ErrorKind};
use crate::supervise::Reason;

/// What somebody asks of the tree, and waits for. Await it, or call [`Asked::wait`] on a plain thread.
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
        if is_inside_handler() {
            return Err(Error::new(
                ErrorKind::InsideHandler,
                "a handler blocked its thread to wait for a supervisor, which may need that \
                 thread: await it instead",
            ));
        }
        pollster::block_on(self.0)
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
