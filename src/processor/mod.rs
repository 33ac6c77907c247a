//! Event processors: what a user writes ([`Processor`], [`Handle`]), how it is declared
//! ([`spec`]), and how it runs. A [`host`] actor on a thread owns the instances; its drivers claim
//! events from the subscription, run the handler in place ([`executor`]) and settle what became of
//! it. [`outcome`] decides; [`context`] is what a handler sees.

pub(crate) mod acknowledgement;
pub(crate) mod actor;
mod asking;
pub(crate) mod context;
pub(crate) mod dispatch;
mod emitted;
pub(crate) mod executor;
pub(crate) mod host;
pub(crate) mod link;
pub(crate) mod measured;
pub(crate) mod outcome;
mod pressure;
pub(crate) mod recipient;
pub(crate) mod spec;
pub(crate) mod start;
mod states;
mod subscribes;

use crate::error::Outcome;
use crate::message::Message;

pub use context::Context;

/// An event processor: an actor that handles events, does one thing, and says so.
///
/// A value of the type is an *instance*. It lives on one thread and never needs to be `Send`; it
/// handles one event at a time, also while it awaits. When it panics it is dropped and its factory
/// makes a new one: what is in `self` is a cache, what must last is kept state
/// ([`Context::state`]).
///
/// ```
/// use cueline::prelude::*;
///
/// struct Registry {
///     aircraft: Vec<String>,
/// }
/// impl Processor for Registry {
///     async fn started(&mut self, _: &mut Context) -> Outcome {
///         let text = std::fs::read_to_string("aircraft.txt")?; // missing: tried again, with back-off
///         self.aircraft = text.lines().map(str::to_owned).collect();
///         Ok(())
///     }
/// }
/// let spec = processor("registry", || Registry { aircraft: Vec::new() });
/// ```
pub trait Processor: 'static {
    /// Runs before the first event of each new instance. A failure or a panic is a failed start:
    /// it is tried again, with back-off.
    fn started(&mut self, cx: &mut Context) -> impl Future<Output = Outcome> {
        let _ = cx;
        async { Ok(()) }
    }

    /// Runs when the processor stops in order. Not after a panic.
    fn stopping(&mut self, cx: &mut Context) -> impl Future<Output = Outcome> {
        let _ = cx;
        async { Ok(()) }
    }
}

/// How a processor handles one type of message. A processor of several types implements it for
/// each, and says so with [`on`](crate::ProcessorSpec::on).
///
/// What is handled once and what may repeat: the handler's publications, its kept state and its
/// settlement are one commit, and happen once. Values in `self`, memory shared through the
/// factory, and the handler's own input and output may be repeated when an event is delivered
/// again, with the same event id.
pub trait Handle<M: Message>: Processor {
    /// Handles one. `Ok` settles it, together with all that the handler published and kept; a
    /// [`Failure`](crate::Failure) or a panic leaves nothing behind and is retried or parked.
    fn handle(&mut self, event: &M, cx: &mut Context) -> impl Future<Output = Outcome<M::Reply>>;
}
