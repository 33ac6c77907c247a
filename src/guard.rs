//! The wall around user code: what panics inside it is caught, named and never gets out.

use std::any::Any;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Makes the process's panic hook say where a panic was, and not what it said: a message made by
/// `panic!` or `assert!` may hold what an event holds. Nothing of the runtime needs it; the hook
/// belongs to the process, so it is installed only when you ask for it, once, early in `main`.
///
/// ```
/// cueline::redact_panics();
/// ```
pub fn redact_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        match info.location() {
            Some(at) => eprintln!("a panic at {at} in thread `{name}`"),
            None => eprintln!("a panic in thread `{name}`"),
        }
    }));
}

/// Runs user code; a panic comes back as its text.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        // A payload whose `Drop` panics, whose payload's `Drop` panics, … ends here.
        match catch_unwind(AssertUnwindSafe(|| describe(&*payload))) {
            Ok(text) => {
                if catch_unwind(AssertUnwindSafe(move || drop(payload))).is_err_and(leak) {
                    return format!("{text} (and its payload panicked when dropped)");
                }
                text
            }
            Err(payload) => {
                leak(payload);
                "a panic whose payload panicked".to_owned()
            }
        }
    })
}

fn describe(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic whose payload is no text".to_owned())
}

fn leak(payload: Box<dyn Any + Send>) -> bool {
    std::mem::forget(payload);
    true
}

/// A value of user code that outlives whoever could be told: its drop is contained, and logged.
pub(crate) struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Takes it out again; there always is one.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap_or_else(|| unreachable!("taken out when it is dropped"))
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if let Err(panic) = contain(move || drop(value)) {
            contain(|| tracing::error!(panic, "what the application gave panicked in its drop"))
                .ok();
        }
    }
}

/// A future of user code: its polls and its drop are contained.
pub(crate) struct Contained<F>(Option<Pin<Box<F>>>);

impl<F: Future> Contained<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else {
            return Poll::Pending;
        };
        match contain(|| future.as_mut().poll(task)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(text) => {
                let future = self.0.take();
                contain(move || drop(future)).ok();
                Poll::Ready(Err(text))
            }
        }
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        contain(move || drop(future)).ok();
    }
}

/// Awaits user code in place, without a box: a panic comes back as its text.
pub(crate) async fn contained<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, String> {
    std::future::poll_fn(|task| match contain(|| future.as_mut().poll(task)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
